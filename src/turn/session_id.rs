use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// Bits of the number below the worker's.
const NUMBER: u32 = 48;
const MASK: u64 = (1 << NUMBER) - 1;

/// Names one allocation in this process, from its birth to its last line in the log, at whichever worker it is.
///
/// The worker at which it was made stands in the upper 16 bits, and the number of it there, from 1 on, below. Written
/// as `W-N`, in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// The `number`th allocation that was made at a worker. A number needs 48 bits at most: that is a million each
    /// second for nine years.
    pub const fn new(worker: u32, number: u64) -> Self {
        Self((worker as u64) << NUMBER | (number & MASK))
    }

    /// The worker at which it was made; it may have moved to another one since.
    pub const fn worker(self) -> u32 {
        (self.0 >> NUMBER) as u32
    }

    /// Its number there.
    pub const fn number(self) -> u64 {
        self.0 & MASK
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker(), self.number())
    }
}

/// A text is not a session's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a session looks like 0-17: the number of a worker, a hyphen, a number")]
pub struct InvalidSessionId;

impl From<ParseIntError> for InvalidSessionId {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        let (worker, number) = text.split_once('-').ok_or(InvalidSessionId)?;
        // A sign is none of ours, and `parse` takes one.
        if text.contains('+') {
            return Err(InvalidSessionId);
        }
        let (worker, number): (u16, u64) = (worker.parse()?, number.parse()?);
        if number >> NUMBER != 0 {
            return Err(InvalidSessionId);
        }
        Ok(Self::new(worker.into(), number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for (worker, number) in [(0, 1), (7, 123_456), (65_535, (1 << 48) - 1)] {
            let id = SessionId::new(worker, number);
            assert_eq!((id.worker(), id.number()), (worker, number));
            assert_eq!(id.to_string(), format!("{worker}-{number}"));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert!(SessionId::new(0, u64::MAX) < SessionId::new(1, 0));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "65536-1",
            "1-281474976710656",
            "+1-1",
            "1-+1",
            "1-2-3",
            "a-1",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(InvalidSessionId), "{text}");
        }
    }
}
