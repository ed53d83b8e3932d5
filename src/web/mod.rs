//! What browsers are served over HTTP: the page, and signalling for a call in it.
//!
//! [`page`] is an axum `Router`, served on whatever listener there is. [`Signalling`] makes a WebSocket of a request and
//! serves rooms in which two browsers find each other. Both know neither sockets nor the configuration.

mod page;
mod rooms;
mod signalling;

pub use page::page;
pub use signalling::{Desk, Signalling};
