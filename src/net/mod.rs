//! System calls: batches of datagrams, socket options, readiness, and what the host says about itself.
//!
//! This room is the only one with `unsafe`. It moves bytes and decides nothing: it knows no STUN, no client
//! and no relay, and it imports nothing of ours. Linux only (5.4 or later). One thread drives it like this:
//!
//! ```text
//! poller.wait(&mut events, deadline)?                          sleep until a socket or a timer has work
//! batch.receive(socket, &mut buffers, first_slot, max)?        one recvmmsg, payloads at HEADROOM
//! batch.datagram(i), buffers.slot_mut(slot)                    decide; write a header in front, in place
//! sends.push(Outgoing { .. })                                  only remembered; flush when `is_full`
//! sends.flush(&buffers)                                        one sendmmsg per socket, at the wake-up's end
//! next_icmp(socket)?                                           when an event says `error`
//! ```
//!
//! - Nothing is allocated per packet: every array is made once and reused.
//! - Nothing blocks but [`Poller::wait`]: what the kernel does not take at once is counted and dropped.
//! - A message that cannot be sent costs itself and no other message ([`SendReport`] says why).
//! - Not here: retries with a clock, fairness between sockets, TLS, and any copy of a payload.

mod buffers;
mod errors;
mod host;
mod message;
mod poll;
mod receive;
mod send;
mod socket;
#[cfg(test)]
mod tests;
mod transmit;

pub use buffers::{Buffers, HEADROOM, SLOT_SIZE};
pub use errors::{IcmpError, next_icmp};
pub use host::{
    Family, InterfaceAddress, interface_addresses, raise_descriptor_limit, route_source,
};
pub use poll::{Event, Events, Interest, Poller, Waker};
pub use receive::{Datagram, RecvBatch};
pub use send::{Outgoing, SendBatch};
pub use socket::{
    Transport, UdpOptions, accept, port_is_free, relay_socket, tcp_listener, udp_listener,
};
pub use transmit::SendReport;
