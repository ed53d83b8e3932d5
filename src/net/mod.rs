//! System calls: batches of datagrams, socket options, readiness, and what the host says about itself.
//!
//! Nearly all `unsafe` stands in this room. It moves bytes and decides nothing: it knows no STUN, no client
//! and no relay, and it imports nothing of ours. Linux only (5.4 or later). One thread drives it like this:
//!
//! ```text
//! poller.wait(&mut events, deadline)?                          sleep until a socket or a timer has work
//! batch.receive(socket, &mut buffers, first_slot, max)?        one recvmmsg, payloads at HEADROOM
//! batch.datagram(i), buffers.slot_mut(slot)                    decide; write a header in front, in place
//! sends.push(Outgoing { .. })                                  only remembered; flush when `is_full`
//! sends.push_framed(Outgoing { .. }, header, padding)          the same, with a header that has no place in front
//! sends.flush(&buffers)                                        one sendmmsg per socket, at the wake-up's end
//! next_icmp(socket)?                                           when an event says `error`
//! ```
//!
//! TCP is asked for one call at a time: listeners, and connections made from the address of a listener
//! ([`relay_listener`], [`connect_from`]) or to a server ([`connect`]) without waiting for them.
//!
//! What costs is the walk through the kernel, and a train of datagrams walks once: those of one source that arrived
//! in one piece ([`enable_gro`]), and those of one size from one socket to one destination that wait for the same
//! flush ([`SendBatch::set_segmentation`]). [`Offload::probe`] says what the kernel has; without it, the same calls
//! move the same datagrams one by one.
//!
//! ```text
//! arrives    d1 d2 d3                 of one source; the last may be shorter
//! received   slot: headroom|d1|d2|d3  one Datagram { len, segment, .. }; segments() says where each lies
//! decided    once for all three       push_framed(d1, h1, 0), push_framed(d2, h2, 0), push_framed(d3, h3, 0)
//! flushed    h1|d1|h2|d2|h3|d3        one message, gathered by the kernel from where the pieces lie
//! leaves     h1d1 h2d2 h3d3           cut by the kernel, or by the network card
//! ```
//!
//! Datagrams of one way that differ in their traffic class leave in their order, and each with its own: a train ends
//! where the class changes.
//!
//! - Nothing is allocated per packet: every array is made once and reused.
//! - Nothing blocks but [`Poller::wait`]: what the kernel does not take at once is counted and dropped.
//! - A message that cannot be sent costs itself and no other message ([`SendReport`] says why).
//! - Not here: retries with a clock, fairness between sockets, TLS, and any copy of a payload.

mod buffers;
mod call;
mod connect;
mod errors;
mod host;
mod message;
mod name;
mod offload;
mod outgoing;
mod poll;
mod receive;
mod send;
mod socket;
mod stream;
mod system;
mod terminal;
#[cfg(test)]
mod tests;
mod thread;
mod train;
mod transmit;
mod user;

pub use buffers::{Buffers, HEADROOM, SLOT_SIZE};
pub use connect::{
    Endpoint, connect, connect_from, finish_writing, outcome_of_connect, relay_listener,
    reset_on_close,
};
pub use errors::{IcmpError, next_icmp};
pub use host::{
    Family, InterfaceAddress, interface_addresses, raise_descriptor_limit, route_source,
};
pub use name::name_records;
pub use offload::{Offload, enable_drop_count, enable_gro, enable_traffic_class};
pub use outgoing::Outgoing;
pub use poll::{Event, Events, Interest, Poller, Waker, sharpen_timers};
pub use receive::{Datagram, RecvBatch};
pub use send::{HEADER_MAX, SendBatch};
pub use socket::{
    Transport, UdpOptions, accept, bare_relay_socket, port_is_free, ready_to_send, relay_socket,
    set_buffers, tcp_listener, udp_listener,
};
pub use stream::{read, write};
pub use terminal::without_echo;
pub use thread::ThreadClock;
pub use transmit::SendReport;
pub use user::{
    Account, account, become_user, effective_groups, effective_user, give_to_owner_of_directory,
    group, group_name, user_name,
};
