//! A STUN and TURN client without a socket and without a clock: what the client-side tools stand on.
//!
//! # How it is driven
//! - [`Session::begin`] writes a request into a buffer of the caller's, who sends it.
//! - [`Session::receive`] takes a message from the server. The [`Event`] says whether the request is done or
//!   refused, whether it must be sent again ([`Session::repeat`]: it was challenged), or that data have come.
//! - [`Session::expire`] when [`Session::deadline`] has come: it retransmits, or gives up (RFC 8489 §6.2.1).
//!
//! A session has one request on its way at a time. Transaction IDs and the time are arguments. Over TCP the
//! caller frames with [`crate::stun::Framer`].
//!
//! Data go past the session: a [`DataHeader`] is made once for each peer and copied in front of each payload,
//! and [`Data::parse`] finds the payload in what was received.
//!
//! Not here: TLS, ICE, and any choice between several servers.

mod challenge;
mod credentials;
mod data;
mod request;
mod session;
mod timing;
mod uri;

pub use credentials::{Credentials, InvalidCredentials};
pub use data::{Data, DataHeader, HEADER_MAX, Source};
pub use request::Request;
pub use session::{Event, Expiry, Failure, REQUEST_MAX, Session, error_of};
pub use timing::Timing;
pub use uri::{InvalidUri, Scheme, Transport, Uri};
