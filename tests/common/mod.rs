//! What the black-box tests share: the built server as a process, a client and a peer on real
//! sockets. The client is built on the library's own `stun` and `auth`, whose vectors are tested
//! elsewhere.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

mod application;
mod backend;
#[cfg(feature = "dtls")]
mod carried;
pub(crate) mod certificate;
mod client;
mod connections;
mod credential;
#[cfg(feature = "dtls")]
mod dtls;
mod http;
mod ip_header;
mod message;
mod peer;
mod server;
mod stamp;
mod tls;
mod wait;

pub(crate) use application::{Application, Mood};
pub(crate) use backend::{Backend, Passed, cut_off, web_client};
#[cfg(feature = "dtls")]
pub(crate) use carried::{Carried, kind, receive};
pub(crate) use certificate::Authority;
pub(crate) use client::{Client, Leg, channel_message};
pub(crate) use connections::{
    Data, LOCALHOST, TcpPeer, connected, dial, is_closed, more_than_buffers, pattern, read_exactly,
    read_to_end, small_window,
};
pub(crate) use credential::Credential;
#[cfg(feature = "dtls")]
pub(crate) use dtls::{Dtls, Way};
pub(crate) use http::{Reply, ask, post, request};
pub(crate) use ip_header::{Seen, mark, see};
pub(crate) use message::{Answer, Inbound, new_id, plain};
pub(crate) use peer::{Peer, free_ports, unique_loopback};
pub(crate) use server::{Server, Setup};
pub(crate) use stamp::{arrival, stamp};
pub(crate) use tls::{Sealed, Trust, seal, trusting};
pub(crate) use wait::{PATIENCE, eventually};
