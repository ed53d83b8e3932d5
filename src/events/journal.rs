//! The spool on disk: numbered segments of lines, appended to by one thread and read by several.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lines::{self, Lines};

/// A place in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u64,
    /// In bytes, at the beginning of a line.
    pub(super) offset: u64,
}

/// Up to where a reader is done.
#[derive(Default)]
pub(super) struct Cursor {
    segment: AtomicU64,
    offset: AtomicU64,
    /// What it was kept from: lines of segments that had to go.
    pub(super) missed: AtomicU64,
}

impl Cursor {
    pub(super) fn set(&self, position: Position) {
        self.offset.store(position.offset, Ordering::Relaxed);
        self.segment.store(position.segment, Ordering::Release);
    }

    fn get(&self) -> Position {
        let segment = self.segment.load(Ordering::Acquire);
        Position { segment, offset: self.offset.load(Ordering::Relaxed) }
    }
}

/// The writer's end.
pub(super) struct Journal {
    directory: PathBuf,
    /// All of them, the oldest first, with their lengths. The last one is written.
    segments: Vec<(u64, u64)>,
    file: Option<File>,
    lines: Lines,
    limit: u64,
    cursors: Vec<Arc<Cursor>>,
}

impl Journal {
    /// Goes on in a segment of its own behind those that are there.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn open(directory: &Path, limit: u64) -> io::Result<Self> {
        let mut segments = list(directory)?;
        let next = segments.last().map_or(1, |(number, _)| number + 1);
        segments.push((next, 0));
        Ok(Self {
            directory: directory.to_owned(),
            segments,
            file: None,
            lines: Lines::default(),
            limit,
            cursors: Vec::new(),
        })
    }

    /// Where a reader begins that has never read, and where it cannot have been before.
    pub(super) fn bounds(&self) -> (Position, Position) {
        let first = self.segments.first().map_or(0, |(number, _)| *number);
        (Position { segment: first, offset: 0 }, self.end())
    }

    pub(super) fn add_reader(&mut self, cursor: Arc<Cursor>) {
        self.cursors.push(cursor);
    }

    /// Behind the last line that is whole.
    pub(super) fn end(&self) -> Position {
        let (segment, length) = self.segments.last().copied().unwrap_or_default();
        Position { segment, offset: length.saturating_sub(self.lines.half() as u64) }
    }

    pub(super) fn push(&mut self, line: Arc<str>) {
        self.lines.push(line);
    }

    /// Lines that are not on the disk yet, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.lines.len(), self.lines.bytes())
    }

    /// Writes down what waits.
    ///
    /// # Errors
    /// What kept it from the disk; it still waits.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.lines.len() == 0 {
            return Ok(());
        }
        if self.end().offset >= self.segment_size() && self.lines.is_whole() {
            let next = self.end().segment + 1;
            self.segments.push((next, 0));
            self.file = None;
        }
        if self.file.is_none() {
            self.file = Some(lines::open(&path(&self.directory, self.end().segment))?);
        }
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let outcome = self.write_to(&file);
        self.file = Some(file);
        outcome
    }

    /// Writes what waits into the last segment, which this is.
    pub(super) fn write_to(&mut self, segment: impl io::Write) -> io::Result<()> {
        let (_, bytes, outcome) = self.lines.write(segment);
        if let Some((_, length)) = self.segments.last_mut() {
            *length += bytes;
        }
        outcome
    }

    /// Sixteen of them make the limit.
    fn segment_size(&self) -> u64 {
        (self.limit / 16).clamp(1 << 10, 8 << 20)
    }

    /// Removes what all readers are done with, and the oldest where there is too much.
    pub(super) fn trim(&mut self) {
        while self.segments.len() > 1 {
            let (number, _) = self.segments[0];
            let done = self.cursors.iter().all(|cursor| cursor.get().segment > number);
            let total: u64 = self.segments.iter().map(|(_, length)| length).sum();
            if !done && total <= self.limit {
                break;
            }
            let path = path(&self.directory, number);
            let bytes = if done { Vec::new() } else { fs::read(&path).unwrap_or_default() };
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => break,
                _ => self.segments.remove(0),
            };
            if !done {
                self.count_missed(number, &bytes);
            }
        }
    }

    /// Counts the lines of a segment that is no longer there.
    fn count_missed(&self, number: u64, bytes: &[u8]) {
        for cursor in &self.cursors {
            let Position { segment, offset } = cursor.get();
            let from = match segment.cmp(&number) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => usize::try_from(offset).unwrap_or(usize::MAX),
                std::cmp::Ordering::Greater => continue,
            };
            let lines = bytes.iter().skip(from).filter(|byte| **byte == b'\n').count();
            cursor.missed.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }

    /// Bytes that wait for a reader.
    pub(super) fn behind(&self, cursor: &Cursor) -> u64 {
        let Position { segment, offset } = cursor.get();
        let later = self.segments.iter().filter(|(number, _)| *number >= segment);
        let all: u64 = later.map(|(_, length)| length).sum();
        let all = all.saturating_sub(self.lines.half() as u64);
        let first = self.segments.first().map_or(0, |(number, _)| *number);
        if segment < first { all } else { all.saturating_sub(offset) }
    }
}

/// The segments in the directory, the oldest first, with their lengths.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse::<u64>().ok());
        if let Some(number) = number {
            found.push((number, entry.metadata()?.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Where a segment is.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{PREFIX}{number:012}{SUFFIX}"))
}

const PREFIX: &str = "records-";
const SUFFIX: &str = ".jsonl";
