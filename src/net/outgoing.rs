//! One datagram on its way out, and what the kernel is told about its way.

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use super::buffers::Buffers;
use super::message::{Control, space};

/// One datagram to send; its payload lies in a slot of the [`Buffers`] that
/// [`SendBatch::flush`](super::SendBatch::flush) is given.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing {
    /// The socket. It is a number so that a batch borrows nothing: flush before closing a socket. A closed one
    /// costs its datagrams (`EBADF`), or they leave from the socket that has the number by then; it is never
    /// a question of memory safety.
    pub socket: RawFd,
    /// Where to.
    pub to: SocketAddr,
    /// The source address, for a socket on a wildcard address; of the same family as `to`, or it is ignored.
    pub from: Option<IpAddr>,
    /// The slot that holds the payload.
    pub slot: u32,
    /// Where in the slot the payload begins; the slot's headroom counts.
    pub start: u32,
    /// Bytes of payload.
    pub len: u32,
    /// Send it in one piece or not at all (RFC 8656 §14). Slower with IPv4, where it cannot share a system call.
    pub dont_fragment: bool,
    /// What to write into the IPv4 header's type of service, or the IPv6 header's traffic class: the DSCP in the
    /// upper six bits, ECN in the lower two. 0 is the socket's own.
    pub traffic_class: u8,
}

/// What waits for a flush.
pub(super) struct Queued {
    pub(super) datagram: Outgoing,
    /// Where the header begins among the batch's headers.
    pub(super) header_at: u32,
    pub(super) header_len: u8,
    pub(super) padding: u8,
    /// The place in the queue of the one behind it in its train.
    pub(super) next: u32,
}

impl Outgoing {
    pub(super) fn payload<'a>(&self, buffers: &'a Buffers) -> Option<&'a [u8]> {
        buffers.range(self.slot as usize, self.start as usize, self.len as usize)
    }

    /// The same socket, destination and source.
    pub(super) fn same_way(&self, other: &Self) -> bool {
        (self.socket, self.to, self.from) == (other.socket, other.to, other.from)
    }

    /// IPv4 has a socket option for it, IPv6 a control message.
    pub(super) fn wants_option(&self) -> bool {
        self.dont_fragment && self.to.is_ipv4()
    }

    /// Writes the control messages that say how to send it, and returns their length.
    pub(super) fn write_control(&self, control: &mut Control<CONTROL_SIZE>) -> usize {
        let mut len = 0;
        match (self.from, self.to) {
            (Some(IpAddr::V4(from)), SocketAddr::V4(_)) => {
                // in_pktinfo: any interface, the source, and a destination that only receiving uses.
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&from.octets());
                len = control.add(len, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            (Some(IpAddr::V6(from)), SocketAddr::V6(to)) => {
                // in6_pktinfo: a link-local source needs its interface, which is that of the peer.
                let mut info = [0; 20];
                info[..16].copy_from_slice(&from.octets());
                info[16..].copy_from_slice(&to.scope_id().to_ne_bytes());
                len = control.add(len, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            _ => {}
        }
        if self.dont_fragment && self.to.is_ipv6() {
            let on = 1_i32.to_ne_bytes();
            len = control.add(len, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, &on);
        }
        if self.traffic_class != 0 {
            let class = i32::from(self.traffic_class).to_ne_bytes();
            let (level, kind) = match self.to {
                SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
                SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
            };
            len = control.add(len, level, kind, &class);
        }
        len
    }
}

impl Queued {
    /// How many pieces the kernel gathers it from.
    pub(super) fn pieces(&self) -> usize {
        1 + usize::from(self.header_len > 0) + usize::from(self.padding > 0)
    }

    /// Bytes of the whole datagram.
    pub(super) fn size(&self) -> u32 {
        self.datagram.len.saturating_add(u32::from(self.header_len) + u32::from(self.padding))
    }
}

// An `in6_pktinfo`, the traffic class, and IPV6_DONTFRAG or UDP_SEGMENT.
pub(super) const CONTROL_SIZE: usize =
    space(mem::size_of::<libc::in6_pktinfo>()) + 2 * space(mem::size_of::<libc::c_int>());
