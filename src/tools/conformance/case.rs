//! One sentence of an RFC, and how a case can end.

use std::time::Duration;

use super::stand::Stand;
use crate::tools::check::Broken;

/// One sentence of an RFC, and how a server is asked whether it keeps it.
pub(super) struct Case {
    /// Stays the same from release to release: scripts know it.
    pub(super) name: &'static str,
    pub(super) rfc: u16,
    pub(super) section: &'static str,
    /// What is demanded, in the RFC's words as far as they stand alone.
    pub(super) must: &'static str,
    pub(super) run: fn(&Stand) -> Outcome,
}

impl Case {
    /// As the RFC is cited.
    pub(super) fn place(&self) -> String {
        format!("RFC {} §{}", self.rfc, self.section)
    }
}

/// What a case ends with; nothing is the best of it.
pub(super) type Outcome = Result<(), Stop>;

/// Why a case has ended before it had passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The server does otherwise.
    Failed(String),
    /// The server does not offer what it is about, or this host cannot try it.
    Skipped(String),
    /// What had to go before has failed; another case says so.
    Unable(String),
}

impl Stop {
    pub(super) fn failed<T>(words: impl Into<String>) -> Result<T, Self> {
        Err(Self::Failed(words.into()))
    }

    pub(super) fn skipped<T>(words: impl Into<String>) -> Result<T, Self> {
        Err(Self::Skipped(words.into()))
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Failed(match broken {
            Broken::System(error) => error.to_string(),
            Broken::Closed => "the server has closed the connection".to_owned(),
            Broken::Foreign(why) => format!("what comes is not STUN: {why}"),
            Broken::Tls(dislike) => dislike.to_string(),
            Broken::Slow => "no handshake in time".to_owned(),
        })
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Unable(error.to_string())
    }
}

/// What has to work before the sentence itself can be tried.
pub(super) trait Before<T> {
    /// A failure here is not this case's.
    fn before(self, what: &str) -> Result<T, Stop>;
}

impl<T> Before<T> for Result<T, Stop> {
    fn before(self, what: &str) -> Result<T, Stop> {
        self.map_err(|stop| match stop {
            Stop::Failed(why) => Stop::Unable(format!("{what}: {why}")),
            other => other,
        })
    }
}

/// A claim about the server.
pub(super) fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Stop::Failed(otherwise())) }
}

/// A case that was run.
pub(super) struct Done {
    pub(super) case: &'static Case,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}
