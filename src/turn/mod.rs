//! What is allowed: a STUN and TURN server (RFC 8489, RFC 8656) as a pure state machine. It sees
//! no socket, no clock and no configuration file; the time, the packets and the random numbers
//! come in as arguments.
//!
//! # How it is driven
//! - [`Server::receive`]: a datagram or a framed message from a client. The [`Verdict`] says what
//!   to do: answer with the bytes that were written, relay a part of the packet, or nothing.
//! - [`Server::from_peer`]: a datagram from a peer, seen by its address and length only. The
//!   [`Delivery`] says to whom it goes and under which header, which is written in front of it.
//! - [`Server::from_icmp`]: an ICMP error about a packet that was relayed.
//! - [`Server::disconnected`]: a client's connection is gone.
//! - [`Server::incoming`], [`Server::connected`], [`Server::relayed`] and [`Server::connection_closed`]: what becomes
//!   of TCP connections with peers (RFC 6062).
//! - [`Server::expire`] when [`Server::next_deadline`] has come.
//! - [`Server::report`] when [`Server::next_report`] has come and there is room for records.
//! - [`Server::poll_effect`] after each of these: sessions that ended, clients that moved, peers to connect with.
//!
//! A request of somebody whom only a store may know is parked ([`Verdict::Park`]): [`Effect::LookUp`] has the stores
//! asked, [`Server::provide_key`] tells that their answer has come, and [`Server::resume`] goes on with it.
//!
//! What an operator wants goes the same way: [`Server::reconfigure`] and [`Server::look_again`] (other settings, other
//! users), [`Server::scan`], [`Server::view`] and [`Server::kill`] (what lives here), [`Server::shutdown`].
//!
//! Relay sockets are asked for through [`RelaySockets`] in the middle of it: an Allocate's answer
//! depends on whether its socket can be opened, and a port may be given away only when its socket
//! is closed.
//!
//! For data the core answers with a decision, never with a copy: nothing is allocated, formatted
//! or locked for a relayed packet.
//!
//! Several servers, one in each worker, share a [`Ledger`]: quotas and relay ports. A mobile client
//! (RFC 8016) may come to another worker than its allocation's:
//! - [`Verdict::Elsewhere`]: the packet is for [`Server::receive_forwarded`] of that worker. After
//!   its answer the 5-tuple is a guest where it is ([`Server::host`]).
//! - [`Effect::Moved`] to another worker: the allocation goes there, by [`Server::release`] and
//!   [`Server::adopt`].
//!
//! Not here: who somebody is (`auth`), the bytes of a message (`stun`), and what moves them (`worker`).

mod account;
mod allocate;
mod allocation;
mod alternate;
mod audience;
mod case;
mod cause;
mod client;
mod connect;
mod connection;
mod data;
mod discovery;
mod guard;
mod guests;
mod histogram;
mod index;
mod inspect;
mod ledger;
mod lifecycle;
mod mobility;
mod parked;
mod peers;
mod permission;
mod pools;
mod ports;
mod prefix;
mod rate;
mod realm;
mod reconfigure;
mod refresh;
mod request;
mod response;
mod revocations;
mod self_check;
mod server;
mod session_id;
mod settings;
mod sockets;
mod stats;
mod tally;
mod ticket;
mod transfer;
mod verdict;
mod wheel;

pub use account::{Progress, Usage};
pub use allocation::{EndReason, Move, Protocol, Session, Traffic};
pub use alternate::{Alternate, Alternates, Place, Redirect};
pub use audience::{Audience, FOLLOWERS, NOTICES, Notice, Whom};
pub use case::{Case, Facets, Outcome, Refusal, Refusals};
pub use cause::{Cause, Entry};
pub use client::{Client, FiveTuple, RelayId, Seat, Transport};
pub use connect::{Attempt, ConnectFailure, Direction};
pub use connection::ConnectionId;
pub use data::{Delivery, Framing, Icmp, MAX_RELAYED};
pub use discovery::{Detour, Discovery};
pub use histogram::{Histogram, Spread};
pub use inspect::{ChannelView, ConnectionView, Depth, Filter, Found, View, Where};
pub use ledger::Ledger;
pub use parked::Resumed;
pub use peers::{Decision, DeniedBy, PeerPolicy, PeerRule, Special};
pub use pools::FormerRelay;
pub use prefix::{InvalidPrefix, Prefix};
pub use realm::RealmSettings;
pub use revocations::{Revocation, Revocations, TooMany};
pub use self_check::SelfCheck;
pub use server::{RESPONSE_MAX, Server};
pub use session_id::{InvalidSessionId, SessionId};
pub use settings::{Limits, PortRange, RelayAddress, Settings};
pub use sockets::{OpenError, Random, RelaySockets};
pub use stats::{Counter, Dropped, Stats};
pub use tally::Drops;
pub use transfer::Moved;
pub use verdict::{Effect, Reply, ToPeer, Verdict};
