//! Why a store cannot say.

/// Why a store cannot say. The words stand in the log, so there is no secret in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nobody is there, or the connection was lost.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It does not let this server in.
    #[error("lets this server not in: {0}")]
    Denied(String),
    /// It did not answer in time.
    #[error("does not answer in time")]
    TimedOut,
    /// As many questions as it may be asked at a time are under way.
    #[error("has too many questions to answer already")]
    Overloaded,
    /// What it says makes no sense.
    #[error("{0}")]
    Unusable(String),
    /// This program was built without its driver.
    #[error(
        "this turnwire was built without {0}: build it with the feature `{1}`, or take this store out"
    )]
    NotBuiltIn(&'static str, &'static str),
}

/// What a database says, for a line of the log or of a terminal.
#[cfg(any(feature = "redis", feature = "sql"))]
pub(super) fn on_one_line(words: &str) -> String {
    words.replace(crate::text::steers, " ")
}
