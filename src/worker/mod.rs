//! The datapath: threads that move bytes as [`crate::turn::Server`] decides.
//!
//! Each worker is one thread with its own listener sockets (SO_REUSEPORT keeps a 5-tuple on its
//! worker), its own relay sockets, TCP connections and allocations. Workers share the
//! [`crate::turn::Ledger`] (asked when an allocation begins or ends) and a count of connections by
//! address, and nothing for a packet. What arrives at one worker and is another's to decide about
//! goes there in a letter (`mailbox`).
//!
//! # One wake-up
//! 1. Sleep until a socket is ready, a deadline has come or another thread calls.
//! 2. For each ready socket, one batch: datagrams land in slots of one arena, behind some headroom.
//! 3. The server decides. Client to peer: the payload's place in its slot goes into the send batch.
//!    Peer to client: the header is written into the headroom, in place.
//! 4. Send the batch, grouped by socket; write to the connections that got something.
//! 5. End what is over.
//!
//! Nothing is allocated for a relayed packet, and nobody is waited for: what the kernel does not
//! take is dropped and counted.
//!
//! # How it is driven
//! [`Sockets::bind`], then [`Workers::start`], then [`Workers::stop`].

mod appetite;
mod engine;
mod event;
mod gather;
mod group;
mod handover;
mod mailbox;
mod outbox;
mod relays;
mod settings;
mod sockets;
mod stats;
mod streams;
mod tcp;
mod udp;

pub use event::{Event, Events};
pub use group::{Clock, Workers};
pub use settings::{Alternate, Settings, StreamLimits};
pub use sockets::{BindError, Sockets};
pub use stats::Stats;
