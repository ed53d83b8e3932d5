//! Accounting and events: records of sessions, for somebody's books.
//!
//! Workers tell [`Record`](crate::worker::Record)s; a [`Hub`] makes one line of JSON of each and hands it to the sinks
//! that want its kind. Each sink has its own thread and its own bounded queue, so that one that is dead or slow holds up
//! neither a worker nor another sink.
//!
//! ```text
//! workers --queue--> hub --queue--> file        one line for each record, appended
//!                        --queue--> spool       segments of lines on disk
//!                                     |--> webhook   reads from its own place in the spool,
//!                                     |--> redis     which moves when the other side has taken a batch
//! ```
//!
//! # What is promised
//! - A record of a session is in the next place of this chain within a second, and never in memory only for longer: a
//!   killed process loses that second, and the traffic since the last usage record of each session.
//! - A sink that is away is tried again, and what it has missed waits in the spool, up to its limit; then the oldest goes
//!   and is counted.
//! - A stop ends every session, writes all records down, and gives the sinks a few seconds; what they have not taken is
//!   delivered after the next start.
//! - A record may come twice (after a lost answer, or a kill) and has an `id` by which that is seen. Records of one session
//!   have numbers without a gap, and come in order.
//! - The parts of a session's records add up to its totals, and those to what was relayed.
//!
//! Not here: what is counted (`turn`), and where it is configured (`config`).

mod deliver;
mod file;
mod hub;
mod journal;
mod line;
mod lines;
mod reader;
#[cfg(feature = "redis")]
mod redis;
mod settings;
mod spool;
mod stats;
mod webhook;

pub use hub::{Hub, NoSink, Prepared};
pub use settings::{File, Redis, Settings, Spool, Webhook};
pub use stats::{Sink, Stats};
