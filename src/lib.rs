//! Turnwire: a STUN/TURN server.
//!
//! The rooms, from the ground up; a room imports only from those above it in this list.
//!
//! | room | what it is for |
//! |---|---|
//! | [`time`] | the two clocks that the core is told of |
//! | [`text`] | what others have written, fit for a line that people read |
//! | [`stun`] | the wire: borrowed views and writers, no state |
//! | [`net`] | system calls and nearly all of the `unsafe` |
//! | [`auth`] | who is asking: keys, nonces, REST credentials |
//! | [`turn`] | what is allowed: the server as a pure state machine |
//! | [`tls`] | certificates, TLS and DTLS as pure state machines |
//! | [`http`] | a small client of HTTP/1.1 |
//! | [`client`] | the other side: a STUN/TURN client as a pure state machine |
//! | [`store`] | where users live: a file, a database, an application |
//! | [`worker`] | the datapath: one thread, its sockets and its [`turn::Server`] |
//! | [`events`] | records of sessions for a file, a webhook and Redis |
//! | [`web`] | what applications and browsers are served over HTTP |
//! | [`config`] | flags and TOML to the settings of each room |
//! | [`control`] | the process: lifecycle, log, metrics |
//! | [`tools`] | what the client-side commands do: `check`, `nat`, `load`, `users`; and those that ask the admin API |

pub mod auth;
pub mod client;
pub mod config;
pub mod control;
pub mod events;
pub mod http;
pub mod net;
pub mod store;
pub mod stun;
pub mod text;
pub mod time;
pub mod tls;
pub mod tools;
pub mod turn;
pub mod web;
pub mod worker;
