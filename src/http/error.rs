//! Why there is no answer, in words for a log.

use std::io;
use std::time::Duration;

use hyper::StatusCode;

use crate::tls;

/// Why there is no answer. Each is one line for a log, and none has a part of the request in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name has no address.
    #[error("the name {0:?} has no address: {1}")]
    Resolve(String, io::Error),
    /// Nobody there, or not for us.
    #[error("no connection with {0}: {1}")]
    Connect(String, io::Error),
    /// The time for a connection was over first.
    #[error("no connection with {0} within {1:?}")]
    ConnectTimeout(String, Duration),
    /// TLS says no.
    #[error("{0}")]
    Tls(tls::Dislike),
    /// The time for the whole was over first.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection has ended in the middle.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// More than [`super::Limits::answer`].
    #[error("the answer ({status}) is longer than {limit} bytes")]
    TooLong {
        /// What it began with.
        status: StatusCode,
        /// How long it may be.
        limit: usize,
    },
    /// What came back is not HTTP/1.1.
    #[error("what came back is not HTTP: {0}")]
    NotHttp(String),
    /// The query cannot be written into a URL.
    #[error("the query cannot be written into a URL")]
    Query,
    /// The system failed underneath.
    #[error("the connection failed: {0}")]
    Failed(String),
}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return Self::Closed;
        }
        if error.is_parse() {
            return Self::NotHttp(error.to_string());
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                return match io.kind() {
                    io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof => Self::Closed,
                    _ => Self::Failed(io.to_string()),
                };
            }
            cause = inner.source();
        }
        Self::Failed(error.to_string())
    }
}
