//! What the tests of the core share: a [`turn::Server`](turnwire::turn::Server) with a clock that
//! is stepped by hand, sockets that are none, and a small client that speaks to it in bytes.
//!
//! [`TestServer`] checks on every call what must always hold, so each test gets that for nothing.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]

mod client;
pub(crate) mod connections;
mod forged;
mod random;
mod response;
mod server;
mod sockets;
mod workers;

pub(crate) use client::{Style, TestClient, channel_data, send_indication};
pub(crate) use forged::Forged;
pub(crate) use random::Random;
pub(crate) use response::Response;
pub(crate) use server::{
    Deed, LISTENER, LISTENER_V6, REALM, RELAYS, START, Setup, TestServer, auth_settings,
    turn_settings,
};
pub(crate) use sockets::{FakeSockets, Host};
pub(crate) use workers::{Relayed, Workers};
