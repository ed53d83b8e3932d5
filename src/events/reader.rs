//! The reading end of the spool: batches of lines for one sink, and the place up to which it has taken them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use super::journal::{self, Cursor, Position};
use super::line::kind_of;
use crate::worker::RecordKinds;

/// The most bytes that are read at once, and so the most in one batch.
const CHUNK: u64 = 256 << 10;

/// Reads the spool for one sink, from where it was done the last time.
pub(super) struct Reader {
    directory: PathBuf,
    /// Where its place is kept.
    kept: PathBuf,
    kinds: RecordKinds,
    at: Position,
    cursor: Arc<Cursor>,
}

/// Lines that are delivered together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Without their ends.
    pub(super) lines: Vec<String>,
    /// Behind each of them.
    ends: Vec<Position>,
    /// Behind the last that was looked at, wanted or not.
    end: Position,
}

impl Batch {
    /// Behind the first `count` lines; with all of them, behind what was not wanted as well.
    pub(super) fn end_of(&self, count: usize) -> Position {
        if count >= self.ends.len() { self.end } else { self.ends[count.saturating_sub(1)] }
    }
}

impl Reader {
    /// `bounds` are the oldest place that there is and the newest, where one begins that was never there.
    ///
    /// # Errors
    /// Its place cannot be kept.
    pub(super) fn open(
        directory: PathBuf,
        name: &str,
        kinds: RecordKinds,
        bounds: (Position, Position),
    ) -> io::Result<Self> {
        let kept = directory.join(format!("{name}.place"));
        let (first, last) = bounds;
        let at = match fs::read_to_string(&kept) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => last,
            // Where nobody knows the place any more: rather twice than never.
            kept => match kept.ok().and_then(|text| parse(&text)) {
                None => first,
                Some(place) if place <= last => place.max(first),
                Some(_) => last,
            },
        };
        let cursor = Arc::new(Cursor::default());
        cursor.set(at);
        let mut reader = Self { directory, kept, kinds, at, cursor };
        // Also of one that never gets to take anything: after a restart it is where it is now.
        reader.take(at)?;
        Ok(reader)
    }

    pub(super) fn cursor(&self) -> &Arc<Cursor> {
        &self.cursor
    }

    /// Whether there is nothing more up to there.
    pub(super) fn is_at(&self, end: Position) -> bool {
        self.at >= end
    }

    /// The next at most `most` lines that are wanted, up to `end`. Not to be [taken](Self::take) means to be read again.
    ///
    /// # Errors
    /// The spool cannot be read, or has no whole line where there is to be one.
    pub(super) fn read(&mut self, end: Position, most: usize) -> io::Result<Batch> {
        loop {
            let batch = self.read_segment(end, most)?;
            let moved = batch.end != self.at;
            if !batch.lines.is_empty() || self.at.segment >= end.segment {
                // As a success it would be asked for again at once, and for ever.
                if !moved && self.at < end {
                    return Err(io::Error::other("no whole line is where one was written"));
                }
                return Ok(batch);
            }
            if moved {
                self.take(batch.end)?;
                continue;
            }
            // This segment is over, and what is left of it was never written to its end.
            let next = journal::list(&self.directory)?;
            let next = next.iter().map(|(number, _)| *number).find(|it| *it > self.at.segment);
            let segment = next.unwrap_or(end.segment).min(end.segment);
            self.take(Position { segment, offset: 0 })?;
        }
    }

    fn read_segment(&self, end: Position, most: usize) -> io::Result<Batch> {
        let mut batch = Batch { end: self.at, ..Batch::default() };
        let mut file = match File::open(journal::path(&self.directory, self.at.segment)) {
            // It had to go, or nothing was written yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(batch),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.at.offset))?;
        let left = match self.at.segment == end.segment {
            true => end.offset.saturating_sub(self.at.offset),
            false => u64::MAX,
        };
        let mut bytes = Vec::new();
        file.take(left.min(CHUNK)).read_to_end(&mut bytes)?;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            if batch.lines.len() == most {
                break;
            }
            batch.end.offset += line.len() as u64;
            // What is broken has no kind that anybody wants.
            let text = String::from_utf8_lossy(whole);
            if kind_of(&text).is_some_and(|kind| self.kinds.has(kind)) {
                batch.lines.push(text.into_owned());
                batch.ends.push(batch.end);
            }
        }
        Ok(batch)
    }

    /// Is done up to there, also after a restart.
    ///
    /// # Errors
    /// The place cannot be kept; a restart would read from an earlier one.
    pub(super) fn take(&mut self, end: Position) -> io::Result<()> {
        self.at = end;
        self.cursor.set(end);
        let new = self.kept.with_extension("place.new");
        fs::write(&new, format!("{} {}\n", end.segment, end.offset))?;
        fs::rename(new, &self.kept)
    }
}

fn parse(text: &str) -> Option<Position> {
    let (segment, offset) = text.trim().split_once(' ')?;
    Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::*;
    use crate::worker::RecordKind;
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("spool-{}-{number}", getrandom::u32().unwrap());
            let directory = std::env::temp_dir().join(name);
            fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }

        fn journal(&self, limit: u64) -> Journal {
            Journal::open(&self.0, limit).unwrap()
        }

        fn reader(&self, kinds: RecordKinds, journal: &mut Journal) -> Reader {
            let reader = Reader::open(self.0.clone(), "test", kinds, journal.bounds()).unwrap();
            journal.add_reader(Arc::clone(reader.cursor()));
            reader
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn line(number: usize) -> String {
        let kind = if number.is_multiple_of(3) { "ended" } else { "usage" };
        format!("{{\"v\":1,\"kind\":\"{kind}\",\"n\":{number}}}")
    }

    fn write(journal: &mut Journal, numbers: std::ops::Range<usize>) {
        for number in numbers {
            journal.push(format!("{}\n", line(number)).into());
            journal.write().unwrap();
        }
    }

    /// Everything up to the end, seven at a time.
    fn read_all(reader: &mut Reader, end: Position) -> Vec<String> {
        let mut all = Vec::new();
        while !reader.is_at(end) {
            let batch = reader.read(end, 7).unwrap();
            reader.take(batch.end_of(batch.lines.len())).unwrap();
            all.extend(batch.lines);
        }
        all
    }

    #[test]
    fn everything_is_read_once_over_segments_and_restarts() {
        let place = Place::new();
        let mut all = Vec::new();
        for round in 0..3 {
            let mut journal = place.journal(1 << 20);
            // The first time it begins at the end, and later where it was.
            let mut reader = place.reader(RecordKinds::ALL, &mut journal);
            write(&mut journal, round * 4000..(round + 1) * 4000);
            if round != 1 {
                all.extend(read_all(&mut reader, journal.end()));
            }
            journal.trim();
        }
        let expected: Vec<_> = (0..12_000).map(line).collect();
        assert!(all == expected, "{} of {}", all.len(), expected.len());
        assert!(journal::list(&place.0).unwrap().len() < 3, "what is done with goes");
    }

    #[test]
    fn a_batch_that_is_not_taken_comes_again_and_part_of_one_can_be_taken() {
        let place = Place::new();
        let mut journal = place.journal(1 << 20);
        let ended = RecordKinds::NONE.with(RecordKind::Ended);
        let mut reader = place.reader(ended, &mut journal);
        write(&mut journal, 0..10);
        let end = journal.end();
        let batch = reader.read(end, 100).unwrap();
        assert_eq!(batch.lines, [0, 3, 6, 9].map(line));
        assert_eq!(reader.read(end, 100).unwrap(), batch);
        reader.take(batch.end_of(2)).unwrap();
        let batch = reader.read(end, 100).unwrap();
        assert_eq!(batch.lines, [6, 9].map(line));
        assert!(journal.behind(reader.cursor()) > 0);
        reader.take(batch.end_of(2)).unwrap();
        assert!(reader.is_at(end));
        assert_eq!(journal.behind(reader.cursor()), 0);
    }

    #[test]
    fn the_oldest_goes_when_there_is_too_much_and_is_counted() {
        let place = Place::new();
        let mut journal = place.journal(16 << 10);
        let mut reader = place.reader(RecordKinds::ALL, &mut journal);
        for number in 0..2000 {
            write(&mut journal, number..number + 1);
            journal.trim();
        }
        let total: u64 = journal::list(&place.0).unwrap().iter().map(|(_, length)| length).sum();
        assert!(total <= 18 << 10, "{total}");
        let left = read_all(&mut reader, journal.end());
        let missed = reader.cursor().missed.load(Ordering::Relaxed) as usize;
        assert!(missed > 0 && left == (missed..2000).map(line).collect::<Vec<_>>());
    }

    /// A file on a disk with room for so many bytes, which takes a few at once.
    struct Narrow<'a>(&'a File, &'a mut usize);

    impl Write for Narrow<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if *self.1 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = self.0.write(&bytes[..bytes.len().min(*self.1).min(7)])?;
            *self.1 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_has_taken_half_is_not_there_until_it_is_whole() {
        let place = Place::new();
        let mut journal = place.journal(1 << 20);
        let mut reader = place.reader(RecordKinds::ALL, &mut journal);
        let file = File::create(journal::path(&place.0, journal.end().segment)).unwrap();
        (0..9).for_each(|number| journal.push(format!("{}\n", line(number)).into()));
        let (mut all, mut halves) = (Vec::new(), 0);
        while journal.waiting().0 > 0 {
            let outcome = journal.write_to(Narrow(&file, &mut 10));
            assert_eq!(outcome.is_err(), journal.waiting().0 > 0);
            let end = journal.end();
            halves += usize::from(end.offset < file.metadata().unwrap().len());
            // It ends: what is at the end of the spool has been read, and there is nothing to ask for again.
            all.extend(read_all(&mut reader, end));
            assert_eq!(all.len(), 9 - journal.waiting().0);
            assert_eq!(journal.behind(reader.cursor()), 0);
        }
        assert!(halves > 9, "{halves}");
        assert_eq!(all, (0..9).map(line).collect::<Vec<_>>());
    }

    #[test]
    fn where_no_whole_line_is_there_is_no_batch_that_could_be_brought() {
        let place = Place::new();
        let mut journal = place.journal(1 << 20);
        let mut reader = place.reader(RecordKinds::ALL, &mut journal);
        let Position { segment, offset } = journal.end();
        let end = Position { segment, offset: offset + 5 };
        assert!(reader.read(end, 7).is_err(), "no file");
        fs::write(journal::path(&place.0, segment), "{\"v\":1,\"kind").unwrap();
        assert!(reader.read(end, 7).is_err(), "half a line");
    }

    #[test]
    fn what_a_killed_process_has_left_half_is_passed_over() {
        let place = Place::new();
        let mut journal = place.journal(1 << 20);
        place.reader(RecordKinds::ALL, &mut journal).take(journal.end()).unwrap();
        write(&mut journal, 0..3);
        let last = journal::path(&place.0, journal.end().segment);
        let mut text = fs::read_to_string(&last).unwrap();
        text.push_str("{\"v\":1,\"kind\":\"usa");
        fs::write(last, text).unwrap();
        drop(journal);
        let mut journal = place.journal(1 << 20);
        let mut reader = place.reader(RecordKinds::ALL, &mut journal);
        write(&mut journal, 3..5);
        assert_eq!(read_all(&mut reader, journal.end()), [0, 1, 2, 3, 4].map(line));
    }

    #[test]
    fn a_place_that_cannot_be_read_is_the_first_one_and_only_one_that_was_never_there_the_last() {
        let place = Place::new();
        let mut journal = place.journal(1 << 20);
        place.reader(RecordKinds::ALL, &mut journal);
        write(&mut journal, 0..3);
        drop(journal);
        // What a power cut may leave of a file that was just renamed.
        fs::write(place.0.join("test.place"), "").unwrap();
        let mut journal = place.journal(1 << 20);
        let mut reader = place.reader(RecordKinds::ALL, &mut journal);
        assert_eq!(read_all(&mut reader, journal.end()), [0, 1, 2].map(line));
    }
}
