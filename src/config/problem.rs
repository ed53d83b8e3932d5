//! What is wrong with a configuration, for people: where, what, what would be right, and the line.

use std::fmt;

/// Something in the configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub origin: Origin,
    /// What is wrong. Never shows a password or a secret.
    pub what: String,
    /// What would be right, when that can be said.
    pub hint: Option<String>,
    /// The line it is on, unless nothing of it may be shown.
    pub excerpt: Option<Excerpt>,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file as a whole.
    Whole(String),
    /// A place in a file.
    File {
        /// The file's name as it was given.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// A flag of the command line.
    Flag(&'static str),
}

/// A line with a mark below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line; what may be a password or a secret is cut off.
    pub line: String,
    /// How many characters stand before the mark.
    pub before: usize,
    /// How many characters are marked, at least 1.
    pub marked: usize,
}

/// Every problem of a configuration, in the order of the file; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Err` with the problems in order, if there are any.
    pub(super) fn none_of(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        Err(Self(problems))
    }

    /// The problems.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(name) => f.write_str(name),
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, ": {hint}")?;
        }
        match (&self.excerpt, &self.origin) {
            (Some(excerpt), Origin::File { line, .. }) => excerpt.draw(f, *line),
            _ => Ok(()),
        }
    }
}

impl Excerpt {
    fn draw(&self, f: &mut fmt::Formatter<'_>, number: usize) -> fmt::Result {
        write!(f, "\n{number:>5} | {}\n      | ", self.line)?;
        // A tab stays a tab, so that the mark stands below what it marks.
        for c in self.line.chars().take(self.before) {
            write!(f, "{}", if c == '\t' { '\t' } else { ' ' })?;
        }
        write!(f, "{}", "^".repeat(self.marked))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
