//! What the file says, by option.

use super::grammar::{Line, boolean, lines, number};
use super::options::{Fate, Shape, known, meant};
use super::page::Page;
use super::page::Weight::{Act, Same};

/// What is said about a switch that is off.
pub(super) const OFF: &str = "it is switched off: nothing to write";

/// The lines that can be used, for the rooms to ask.
#[derive(Default)]
pub(super) struct Facts<'t> {
    lines: Vec<(&'static str, Shape, Line<'t>)>,
    /// Whether there are options as on a command line, which nobody has read, about who comes in.
    pub(super) unread: bool,
}

impl<'t> Facts<'t> {
    /// Sorts the lines. What no room can use gets its note at once.
    pub(super) fn read(text: &'t str, page: &mut Page) -> Self {
        let mut facts = Self::default();
        let mut dashed = Vec::new();
        for line in lines(text) {
            let Some(mut opt) = known(line.name) else {
                if line.name.starts_with('-') || line.name.ends_with("turnserver") {
                    dashed.push(line);
                } else {
                    unknown(&line, page);
                }
                continue;
            };
            if let Fate::Alias(name) = opt.fate {
                // unwrap: a test goes through the whole table.
                opt = known(name).expect("an option of the table");
            }
            if let Some(doubt) = line.doubt {
                page.note("", Act, &[&line], doubt);
            }
            let bad = match opt.shape {
                Shape::Flag if boolean(line.value).is_none() => {
                    Some("coturn refuses to start with this value: write yes or no")
                }
                Shape::Value | Shape::List if line.value.is_empty() => Some("there is no value"),
                _ => None,
            };
            match (bad, opt.fate) {
                (Some(bad), _) => page.note("", Act, &[&line], bad),
                (None, Fate::Note(section, weight, why)) => {
                    if opt.shape == Shape::Flag && boolean(line.value) == Some(false) {
                        page.note(section, Same, &[&line], OFF);
                    } else {
                        page.note(section, weight, &[&line], why);
                    }
                }
                (None, _) => facts.lines.push((opt.name, opt.shape, line)),
            }
        }
        facts.unread = dashed.iter().any(lets_in);
        command_line(&dashed, page);
        facts
    }

    /// Adds a row of coturn's database that says what a line with this option would.
    pub(super) fn row(&mut self, option: &'static str, shape: Shape, row: Line<'t>) {
        self.lines.push((option, shape, row));
    }

    /// Whether no line of a file is in it, so that nobody has said how the database is read.
    pub(super) fn has_no_file(&self) -> bool {
        self.lines.iter().all(|(.., line)| line.number == 0)
    }

    /// All lines of an option.
    pub(super) fn all(&self, name: &str) -> Vec<&Line<'t>> {
        let of_name = self.lines.iter().filter(|(of, ..)| *of == name);
        of_name.map(|(.., line)| line).collect()
    }

    /// The same for several options.
    pub(super) fn all_of(&self, names: &[&str]) -> Vec<&Line<'t>> {
        names.iter().flat_map(|name| self.all(name)).collect()
    }

    /// The value that counts.
    pub(super) fn value(&self, name: &str) -> Option<&'t str> {
        self.all(name).last().map(|line| line.value)
    }

    /// Whether the option is there, and on.
    pub(super) fn on(&self, name: &str) -> bool {
        self.switch(name) == Some(true)
    }

    /// Whether the option is on or off; `None` when it is not there.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        let (_, shape, line) = self.lines.iter().rfind(|(of, ..)| *of == name)?;
        if *shape == Shape::Presence { Some(true) } else { boolean(line.value) }
    }

    /// The number that counts, and a note when it is not one.
    pub(super) fn number(&self, name: &str, page: &mut Page) -> Option<u64> {
        let lines = self.all(name);
        let (number, clean) = number(lines.last()?.value);
        if !clean {
            let text = format!("that is not a whole number: it is read as {number}, as by coturn");
            page.note("", Act, &lines, text);
        }
        Some(number)
    }
}

/// Options that say who comes in, by their long names and by their letters.
const WHO: [&str; 13] = [
    "user",
    "realm",
    "lt-cred-mech",
    "use-auth-secret",
    "static-auth-secret",
    "oauth",
    "userdb",
    "db",
    "psql-userdb",
    "sql-userdb",
    "mysql-userdb",
    "mongo-userdb",
    "redis-userdb",
];
const WHO_LETTERS: [char; 8] = ['u', 'r', 'a', 'b', 'e', 'M', 'J', 'N'];
/// Letters without a value, behind which others can follow at once.
const SWITCHES: [char; 6] = ['n', 'v', 'V', 'f', 'o', 'z'];

/// Whether a line from a command line says who comes in.
fn lets_in(line: &Line<'_>) -> bool {
    let words = [line.name].into_iter().chain(line.value.split_ascii_whitespace());
    words.filter_map(|word| word.strip_prefix('-')).any(|word| match word.strip_prefix('-') {
        Some(long) => WHO.contains(&long.split('=').next().unwrap_or_default()),
        None => word.trim_start_matches(SWITCHES).starts_with(WHO_LETTERS),
    })
}

/// Lines from a command line, as `docker run` and compose files have it.
fn command_line(lines: &[Line<'_>], page: &mut Page) {
    if lines.is_empty() {
        return;
    }
    let nameless: Vec<Line<'_>> = lines.iter().map(|line| Line { name: "", ..*line }).collect();
    let text = "these are options of the command line, and coturn ignores them in its file. Write each on a line of \
                its own, by its long name and without the dashes, and import again: --realm=NAME is realm=NAME, \
                -u NAME:PASSWORD is user=NAME:PASSWORD";
    page.note("", Act, &nameless.iter().collect::<Vec<_>>(), text);
}

/// A line that coturn ignores as well. What stands there may be anything, so it is not repeated.
fn unknown(line: &Line<'_>, page: &mut Page) {
    let nameless = Line { name: "", ..*line };
    let text = match meant(line.name) {
        Some(name) => {
            format!("coturn has no such option and ignores the line: did you mean {name:?}?")
        }
        None => "coturn has no such option and ignores the line".to_owned(),
    };
    page.note("", Act, &[&nameless], text);
}
