//! DTLS 1.2 for datagrams (RFC 7350, RFC 6347), sans-IO: the server's side of associations, and a plain
//! [`Client`] for the tools.
//!
//! # How it is driven
//! A datagram whose first byte is 20 to 63 is DTLS (RFC 7983 §7). Of a client that is not known:
//!
//! ```text
//! ClientHello::parse(datagram)            else it is dropped
//! cookies.admits(.., hello)               no: answer with hello.verify_request, forget the rest
//! Handshake::new(acceptor, datagram)      yes: the address is proved
//! handshake.push(datagram)                what else comes of it
//! handshake.advance(), transmit()         the work; then what is to be sent
//! handshake.repeat(), at its deadline     the client is silent
//! ```
//!
//! When the handshake is [`Progress::Complete`], the [`Session`] takes over:
//!
//! ```text
//! Records::next(datagram)                 one datagram may hold several records
//! session.open(record)                    in place: data, a repetition, or the end
//! session.seal(record)                    in place
//! session.last_flight(), alert()          what it answers by itself
//! ```
//!
//! Time comes in as an argument. Nothing is remembered for an address that is not proved, and it is
//! never sent more bytes than have come in its name.
//!
//! # Who does what
//! OpenSSL leads the handshake and is then let go: its own session would cost 40 KB for each idle
//! client, buffers that DTLS does not need, and a copy for each packet. The records that follow are
//! AEAD under keys that the handshake has agreed on (RFC 5246 §6.3), which takes a nonce that only
//! counts up, a window against replays, and no state besides. There is no resumption and no
//! renegotiation, so the server's flight is always the last.
//!
//! Retransmission is ours too, because OpenSSL's reads the wall clock: a flight is kept as it was
//! sent, and sent again in new records.

mod acceptor;
mod assembly;
mod client;
mod cookie;
mod failure;
mod ffi;
mod handshake;
mod hello;
mod keys;
mod record;
mod session;
#[cfg(test)]
mod tests;

pub use acceptor::Acceptor;
pub(super) use acceptor::Credentials;
pub use client::Client;
pub use cookie::{Cookie, Cookies};
pub use handshake::{Handshake, Progress};
pub use hello::{ClientHello, VERIFY_REQUEST_MAX};
pub use record::{Header, Records};
pub use session::{ALERT_MAX, Alert, Content, Discarded, LAST_FLIGHT_MAX, Session};
