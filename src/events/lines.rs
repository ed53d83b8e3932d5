//! Whole lines on their way into a file, however writing fails.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// The most that is written at once.
const CHUNK: usize = 256 << 10;

/// Lines on their way into a file: whole ones, however writing fails.
#[derive(Default)]
pub(super) struct Lines {
    waiting: VecDeque<Arc<str>>,
    /// Bytes in all of them.
    bytes: usize,
    /// Bytes of the first one that are in the file already.
    done: usize,
}

/// Opens a file to append lines to. What a killed process has left half is ended first.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(0o640).open(path)?;
    // A device or a pipe has no end to look at.
    if file.metadata()?.is_file() && file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

impl Lines {
    pub(super) fn push(&mut self, line: Arc<str>) {
        self.bytes += line.len();
        self.waiting.push_back(line);
    }

    /// Bytes that wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes - self.done
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no line is half in the file.
    pub(super) const fn is_whole(&self) -> bool {
        self.done == 0
    }

    /// Bytes of a line that are in the file without its end.
    pub(super) const fn half(&self) -> usize {
        self.done
    }

    /// The file is another one: what is half in the one before is written whole.
    pub(super) const fn begin_again(&mut self) {
        self.done = 0;
    }

    /// Writes what waits: how many lines, and bytes, have got to the file, and what kept the rest from it.
    pub(super) fn write(&mut self, mut to: impl Write) -> (u64, u64, io::Result<()>) {
        let (mut lines, mut bytes) = (0, 0);
        let mut chunk = Vec::new();
        while !self.waiting.is_empty() {
            chunk.clear();
            for (place, line) in self.waiting.iter().enumerate() {
                let from = if place == 0 { self.done } else { 0 };
                chunk.extend_from_slice(&line.as_bytes()[from..]);
                if chunk.len() >= CHUNK {
                    break;
                }
            }
            match to.write(&chunk) {
                Ok(0) => return (lines, bytes, Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    bytes += written as u64;
                    lines += self.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (lines, bytes, Err(error)),
            }
        }
        (lines, bytes, Ok(()))
    }

    fn advance(&mut self, written: usize) -> u64 {
        self.done += written;
        let mut lines = 0;
        while let Some(first) = self.waiting.front()
            && first.len() <= self.done
        {
            self.done -= first.len();
            self.bytes -= first.len();
            self.waiting.pop_front();
            lines += 1;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes now and then.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.room).min(5);
            self.room -= taken;
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_fills_up_breaks_no_line() {
        let (mut lines, mut narrow) = (Lines::default(), Narrow { taken: Vec::new(), room: 0 });
        for line in ["one\n", "two and more\n", "three\n"] {
            lines.push(line.into());
        }
        let mut written = 0;
        while lines.len() > 0 {
            narrow.room = 3;
            let (whole, _, outcome) = lines.write(&mut narrow);
            written += whole;
            assert_eq!(outcome.is_err(), lines.len() > 0);
        }
        assert_eq!((written, lines.bytes()), (3, 0));
        assert_eq!(narrow.taken, b"one\ntwo and more\nthree\n");
    }

    #[test]
    fn a_line_that_is_half_in_another_file_is_written_whole() {
        let (mut lines, mut old) = (Lines::default(), Narrow { taken: Vec::new(), room: 6 });
        lines.push("one\n".into());
        lines.push("two\n".into());
        assert!(lines.write(&mut old).2.is_err());
        lines.begin_again();
        let mut new = Vec::new();
        assert_eq!(lines.write(&mut new).0, 1);
        assert_eq!((&*old.taken, &*new), (&b"one\ntw"[..], &b"two\n"[..]));
    }

    #[test]
    fn what_a_killed_process_has_left_half_is_ended() {
        let path = std::env::temp_dir().join(format!("lines-{}", getrandom::u32().unwrap()));
        for (before, after) in [("", ""), ("a\n", "a\n"), ("a\nhal", "a\nhal\n")] {
            std::fs::write(&path, before).unwrap();
            drop(open(&path).unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
        std::fs::remove_file(path).unwrap();
    }
}
