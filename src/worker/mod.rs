//! The datapath: threads that move bytes as [`crate::turn::Server`] decides.
//!
//! Each worker is one thread with its own listener sockets (SO_REUSEPORT keeps a 5-tuple on its
//! worker), its own relay sockets, TCP connections and allocations. Workers share the
//! [`crate::turn::Ledger`] (asked when an allocation begins or ends) and a count of connections by
//! address, and nothing for a packet. What arrives at one worker and is another's to decide about
//! goes there in a letter (`mailbox`).
//!
//! # One wake-up
//! 1. Sleep until a socket is ready, a deadline has come or another thread calls. A busy worker may rest a little
//!    before that, so that more is there (`gather`). The clock is read once.
//! 2. For each ready socket, one batch: datagrams land in slots of one arena, behind some headroom. A listener,
//!    which carries all clients, gets up to four batches of 64, a relay socket one, of as many as it is used to
//!    (`appetite`). What is left is told again, behind the others: nobody starves.
//! 3. The server decides. Client to peer: the payload's place in its slot goes into the send batch.
//!    Peer to client: the header is written into the headroom, in place.
//! 4. Send the batch, grouped by socket; write to the connections that got something.
//! 5. End what is over.
//! 6. What packets must not wait for, a little of each: handshakes of TLS (`stream`) and of DTLS (`dtls`), HTTP that is
//!    passed on (`web`), what the owner has asked (`remote`).
//!
//! Nothing is allocated for a relayed packet (but by rustls, for each record), and nobody is waited for: what the
//! kernel does not take is dropped and counted.
//!
//! # A train goes through
//! A packet's price is its system calls and its walk through the kernel's stack; deciding about it is a few percent.
//! Datagrams that come together therefore stay together. From a peer to two clients, in one wake-up:
//!
//! ```text
//! relay socket A    p p p p p          one message (UDP_GRO)     relay socket B    q q
//!                       |                                                            |
//! arena  [headroom|p1|p2|p3|p4|p5]                         [headroom|q1] [headroom|q2]
//!                       |  decide: the permission, the channel, the budget            |
//! send batch   to a: h p1, h p2, h p3, h p4, h p5          to b: h|q1, h|q2   (headers in place)
//!                       |  plan: by socket, then by way                               |
//! listener     one sendmmsg: [h p1 h p2 h p3 h p4 h p5 | UDP_SEGMENT] [h q1 h q2 | UDP_SEGMENT]
//!                       |                                                             |
//! on the wire   c1 c2 c3 c4 c5  to a                                   d1 d2  to b
//! ```
//!
//! Payloads stay where the kernel put them: headers inside a train are gathered from beside the arena. From a client
//! to peers it is the same the other way around, with one call for each relay socket that has something to send.
//! Without these offloads (an old kernel, `trains` off) each datagram is a train of one on the same way.
//!
//! # DTLS
//! A record of DTLS is opened where it lies in the arena, and what was in it goes the way of a datagram. What goes to
//! such a client is put together and encrypted behind the received slots, from where it leaves in trains as well.
//!
//! # How it is driven
//! [`Sockets::bind`], then [`Workers::start`], then [`Workers::stop`]; meanwhile [`Workers::change`] with what
//! [`Sockets::rebind`] has bound, and [`Workers::remote`] for what is asked of allocations that live.
//!
//! Not here: what is allowed ([`crate::turn`]), what stands in a message ([`crate::stun`]), system calls
//! ([`crate::net`]), the configuration, and whom the stores know.

mod accounts;
mod appetite;
mod bridge;
#[cfg(feature = "dtls")]
mod dtls;
#[cfg(not(feature = "dtls"))]
#[path = "no_dtls.rs"]
mod dtls;
mod engine;
mod event;
mod follow;
mod gather;
mod group;
mod handover;
mod held;
mod links;
mod listen;
mod listening;
mod lookups;
mod mailbox;
mod mobility;
mod orders;
mod outbox;
mod peers;
mod random;
mod record;
mod relays;
mod remote;
mod settings;
mod sockets;
mod stats;
mod stream;
mod streams;
mod tcp;
mod timers;
mod udp;
mod web;
mod webs;

pub use event::{Event, Events};
pub use follow::{Follower, Followers, Heard};
pub use group::{Clock, Workers};
pub use listening::Listening;
pub use lookups::{Answers, Clerk};
pub use orders::{Change, Datapath, Live};
pub use record::{Demand, Record, RecordKind, RecordKinds, RecordQueue, Records, What};
pub use remote::{Busy, Page, Remote};
pub use settings::{Alternate, DtlsLimits, Settings, StreamLimits, WebSettings};
pub use sockets::{BindError, Sockets};
pub use stats::{DtlsStats, Stats};
pub use stream::{Unfit, first, proxy};
