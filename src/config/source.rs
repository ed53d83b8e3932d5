//! The text of a file: read with a bound, its places in lines and columns, and what of a line may be shown.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;

use super::keys::known;
use super::{Excerpt, Origin};
use crate::text::steers;
use crate::tls::Barrier;

/// More than any configuration has; keeps a device file from filling the memory.
const MAX_FILE: u64 = 16 << 20;
/// Longer lines are not shown.
const MAX_LINE: usize = 200;
/// Stands for what must not be shown.
const CUT: &str = "[redacted]";

/// The text of a file, and what of it may be shown.
pub(super) struct Source {
    name: String,
    text: String,
}

/// Why a file could not be read.
pub(super) enum Unreadable {
    /// The system's reason, and what is behind it where that can be seen.
    Io(io::Error, Option<Barrier>),
    /// Larger than [`MAX_FILE`].
    TooLarge,
    /// The bytes before this one are UTF-8.
    NotText(Vec<u8>, usize),
}

/// Reads a whole file of text.
pub(super) fn read_text(path: &Path) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    let io = |error| {
        let barrier = Barrier::behind(&error, path);
        Unreadable::Io(error, barrier)
    };
    let file = File::open(path).map_err(io)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Unreadable::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        Unreadable::NotText(error.into_bytes(), valid)
    })
}

impl Unreadable {
    /// In words.
    pub(super) fn phrase(&self) -> String {
        match self {
            Self::Io(_, Some(barrier)) => format!("cannot be read: {barrier}"),
            Self::Io(error, None) => format!("cannot be read: {error}"),
            Self::TooLarge => format!("is larger than {} MiB", MAX_FILE >> 20),
            Self::NotText(..) => "is not UTF-8 text".to_owned(),
        }
    }
}

impl Source {
    pub(super) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where the file's byte `offset` is, in lines and columns.
    pub(super) fn origin(&self, offset: usize) -> Origin {
        let (start, offset) = self.line_start(offset);
        let line = self.text[..start].matches('\n').count() + 1;
        let column = self.text[start..offset].chars().count() + 1;
        Origin::File { name: self.name.clone(), line, column }
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Origin {
        Origin::Whole(self.name.clone())
    }

    /// The line in which `span` begins, with everything from the first `hidden` byte on cut off.
    /// What goes on over several lines may have swallowed others, and a comment may be a secret
    /// that was taken out: neither is shown.
    pub(super) fn excerpt(&self, span: &Range<usize>, hidden: &[Range<usize>]) -> Option<Excerpt> {
        let (start, from) = self.line_start(span.start);
        let end = start + self.text[start..].lines().next()?.len();
        let comment = self.text.get(span.end..end).and_then(|rest| rest.find('#'));
        let end = comment.map_or(end, |comment| span.end + comment);
        let cut = hidden.iter().filter(|secret| secret.start <= end && start < secret.end);
        let long = (span.end > end).then_some(from);
        let cut = cut.map(|secret| secret.start.max(start)).chain(long).min();
        let shown = match cut {
            Some(cut) => self.text.get(start..cut)?,
            None => self.text.get(start..end)?.trim_end(),
        };
        if shown.len() > MAX_LINE {
            return None;
        }
        let marked = from.min(start + shown.len())..span.end.min(start + shown.len());
        let count = |range: Range<usize>| self.text.get(range).map_or(0, |it| it.chars().count());
        // It could rewrite the terminal's line, or turn it round.
        let clean = |c: char| {
            if steers(c) && c != '\t' { '\u{FFFD}' } else { c }
        };
        Some(Excerpt {
            line: shown.chars().map(clean).chain(cut.iter().flat_map(|_| CUT.chars())).collect(),
            before: count(start..marked.start),
            marked: count(marked).max(1),
        })
    }

    /// The same for a file whose grammar is broken, where nobody knows what is a secret: only a
    /// line with a key known to be harmless is shown, up to the mark.
    pub(super) fn excerpt_of_broken(&self, span: &Range<usize>) -> Option<Excerpt> {
        let (start, _) = self.line_start(span.start);
        let line = self.text[start..].lines().next()?;
        let (key, value) = line.split_once('=')?;
        let header = self.text[..start].lines().rev().find(|line| line.trim().starts_with('['))?;
        let section = header.trim().strip_prefix('[')?.strip_suffix(']')?;
        let harmless = known(&format!("{section}.{}", key.trim())).is_some()
            && !section.starts_with("auth")
            && !value.contains('=');
        let rest = span.end..start + line.len();
        let hidden = if rest.is_empty() { &[] } else { std::slice::from_ref(&rest) };
        harmless.then(|| self.excerpt(span, hidden))?
    }

    /// The start of the line of `offset`, and `offset` itself on a character's boundary.
    fn line_start(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        (self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1), offset)
    }
}
