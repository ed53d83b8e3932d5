//! TLS for the stream side: whose certificates, and sessions as pure state machines. DTLS for
//! datagrams, with the same certificates, stands in `dtls`; the client's end, for the tools and
//! for asking other servers whether they are alive, in [`Client`].
//!
//! # How it is driven
//! [`Files::load`] gives an [`Identity`], or says which file is wrong and how;
//! [`Identity::doubts`] says what clients may dislike. [`Identities`] is the set of them, replaced
//! as a whole while connections live. A
//! [`Server`] is made of it once for each kind of listener, and a [`Session`] of the server for
//! each connection:
//!
//! ```text
//! session.receive(ciphertext, plaintext, output)   what came from the socket
//! session.send(plaintext, output)                  what is to go to the client
//! session.close(output)                            close_notify
//! ```
//!
//! `output` is ciphertext for the socket, appended to the connection's own queue. When a session
//! fails, `output` has the alert for the client and the [`Failure`] says in words what was wrong.
//!
//! Not here: sockets and time, which port speaks TLS, when files are read again, and how a certificate is come by.
//!
//! # Why rustls' unbuffered API
//! A session holds no buffers: the caller has them already, and an idle connection costs 7 KB
//! where the buffered API holds 11 KB and more after a burst. A record of 1204 bytes costs 0.31 µs
//! to take in and 0.33 µs to send (buffered 0.35 each, one allocation either way); joined twelve
//! to a record, a message costs 0.12 µs to send, so the caller joins what a wake-up has for one
//! connection. A record layer of our own on extracted keys would cost 0.19 µs each way: a few
//! percent of a relayed packet, and not worth being in charge of nonces.

mod chain;
mod client;
#[cfg(feature = "dtls")]
pub mod dtls;
mod failure;
mod files;
mod identities;
mod identity;
mod probe;
mod server;
mod session;
#[cfg(test)]
mod testing;

pub use chain::{Doubt, Roots};
pub use client::{Client, Dislike, NoClient, Objection, Trust};
pub use failure::{Cause, Failure};
pub use files::{Barrier, Files, InvalidFile, Why, others_may_read};
pub use identities::{Identities, NoIdentity};
pub use identity::{Identity, InvalidIdentity};
pub use probe::{Opinion, Probe, Probes, Shown, dtls_greeting, is_dtls_answer};
pub use server::{Protocol, Server, ServerError, Settings, Version};
pub use session::{INPUT_MAX, Received, Session};
#[cfg(test)]
pub(crate) use testing::talks_after_its_leave;
