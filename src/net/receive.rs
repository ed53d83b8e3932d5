//! Receiving a batch of datagrams, and of trains of them, with one system call.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr;

use super::buffers::{Buffers, HEADROOM, SLOT_SIZE};
use super::call::{receive_many, receive_one};
use super::errors::is_pending_icmp;
use super::message::{
    Control, NAME_SIZE, Name, array, control_len, empty_message, packet_info, space,
};

/// The arrays that `recvmmsg` fills: a header for each slot of the arena, so that a call prepares nothing.
pub struct RecvBatch {
    /// Each points at the part and the slot of the same index; only what the kernel overwrote is written again.
    headers: Vec<libc::mmsghdr>,
    parts: Vec<Part>,
    /// The first byte of the arena that the headers point into.
    base: *mut u8,
    max: usize,
    first_slot: usize,
    received: usize,
}

/// What one header points at, besides the slot.
struct Part {
    iovec: libc::iovec,
    name: Name,
    control: Control<CONTROL_SIZE>,
}

/// One message of the last [`RecvBatch::receive`]; its payload is in the slot, from [`HEADROOM`] on: a slot is longer
/// than any. From a socket with [`enable_gro`](super::enable_gro) it can be a train: several datagrams of one source,
/// without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// The slot that holds it.
    pub slot: usize,
    /// Who sent it. An IPv6 flow label is left out; a scope is kept (link-local addresses have one).
    pub from: SocketAddr,
    /// The destination address in its IP header, if the socket tells (a listener on a wildcard address does).
    pub to: Option<IpAddr>,
    /// The DSCP (upper six bits) and ECN (lower two) in its IP header; 0 unless the socket tells
    /// ([`enable_traffic_class`](super::enable_traffic_class)).
    pub traffic_class: u8,
    /// Bytes of payload, of all segments.
    pub len: usize,
    /// Bytes of each segment but the last, which may be shorter; `len` if there is only one.
    pub segment: usize,
}

impl Datagram {
    /// The datagrams that it is made of, as ranges of its payload: at least one, which is empty if `len` is 0.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let (len, segment) = (self.len, self.segment.max(1));
        (0..len.div_ceil(segment).max(1)).map(move |i| i * segment..len.min((i + 1) * segment))
    }
}

impl RecvBatch {
    /// Makes a batch of at most `max` messages per system call. Its arrays are made by the first call.
    pub fn new(max: usize) -> Self {
        Self {
            headers: Vec::new(),
            parts: Vec::new(),
            base: ptr::null_mut(),
            max,
            first_slot: 0,
            received: 0,
        }
    }

    /// Receives at most `max` messages with one system call, number `i` into slot `first_slot + i`, and says
    /// how many came. Never blocks: 0 means that nothing is there now (or that there is no such slot). A `max`
    /// of 1 is cheaper by a look at the empty queue for a socket that mostly has one message waiting.
    ///
    /// # Errors
    /// What `recvmmsg` says. Not an error: a pending ICMP error of an earlier send, which is taken off the
    /// socket here (its details stay in the error queue, see [`next_icmp`](super::next_icmp)).
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        buffers: &mut Buffers,
        first_slot: usize,
        max: usize,
    ) -> io::Result<usize> {
        self.receive_with(buffers, first_slot, max, |headers| {
            // SAFETY: `arm` pointed each header at its own part and at its own slot of the arena, with their
            // sizes; both are borrowed exclusively here until the kernel is done.
            unsafe { receive_many(socket, headers) }
        })
    }

    /// Receives at most one datagram into `slot`: [`receive`](Self::receive) for a socket without control messages,
    /// that is, without [`enable_gro`](super::enable_gro), [`enable_drop_count`](super::enable_drop_count),
    /// [`enable_traffic_class`](super::enable_traffic_class) and not on a wildcard address. The kernel has less to
    /// copy. From such a socket it leaves nothing out.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_plain(
        &mut self,
        socket: BorrowedFd<'_>,
        buffers: &mut Buffers,
        slot: usize,
    ) -> io::Result<usize> {
        self.receive_with(buffers, slot, 1, |headers| match headers {
            // SAFETY: as above.
            [header] => unsafe { receive_one(socket, header) },
            _ => Ok(0),
        })
    }

    /// [`receive`](Self::receive) through a system call of one's choice.
    fn receive_with(
        &mut self,
        buffers: &mut Buffers,
        first_slot: usize,
        max: usize,
        mut call: impl FnMut(&mut [libc::mmsghdr]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.arm(buffers);
        let max = max.min(self.max).min(self.headers.len().saturating_sub(first_slot));
        if max == 0 {
            return Ok(0);
        }
        self.first_slot = first_slot;
        let mut pending_taken = false;
        loop {
            let error = match call(&mut self.headers[first_slot..first_slot + max]) {
                Ok(received) => {
                    self.received = received;
                    return Ok(received);
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Ok(0),
                Some(errno) if is_pending_icmp(errno) && !pending_taken => pending_taken = true,
                // A second one right behind the first: the socket stays ready, and is asked again.
                Some(errno) if is_pending_icmp(errno) => return Ok(0),
                _ => return Err(error),
            }
        }
    }

    /// Message `i` of the last call of [`receive`](Self::receive), if it brought that many.
    pub fn datagram(&self, i: usize) -> Option<Datagram> {
        let (header, part) = self.message(i)?;
        let len = header.msg_len as usize;
        let (mut to, mut segment, mut traffic_class) = (None, len, 0);
        for (level, kind, data) in part.control.messages(control_len(&header.msg_hdr)) {
            match (level, kind) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = array(data, 0).map_or(0, libc::c_int::from_ne_bytes);
                    segment = usize::try_from(size).unwrap_or(0).clamp(1, len.max(1));
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => {
                    traffic_class = data.first().copied().unwrap_or(0);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    // An `int` that is no larger than the field.
                    traffic_class = array(data, 0).map_or(0, libc::c_int::from_ne_bytes) as u8;
                }
                _ => to = to.or_else(|| packet_info(level, kind, data)),
            }
        }
        Some(Datagram {
            slot: self.first_slot + i,
            from: part.name.get(header.msg_hdr.msg_namelen as usize)?,
            to,
            traffic_class,
            len,
            segment,
        })
    }

    /// How many datagrams the socket of the last call had lost to a full receive buffer since it was made, when
    /// the newest message was queued (it wraps around). `None` if it does not count
    /// ([`enable_drop_count`](super::enable_drop_count)) or has lost none.
    pub fn drop_count(&self) -> Option<u32> {
        let (header, part) = self.message(self.received.checked_sub(1)?)?;
        part.control
            .messages(control_len(&header.msg_hdr))
            .find(|(level, kind, _)| (*level, *kind) == (libc::SOL_SOCKET, libc::SO_RXQ_OVFL))
            .and_then(|(_, _, data)| array(data, 0))
            .map(u32::from_ne_bytes)
    }

    /// What the kernel wrote about message `i` of the last call.
    fn message(&self, i: usize) -> Option<(&libc::mmsghdr, &Part)> {
        if i >= self.received {
            return None;
        }
        let slot = self.first_slot + i;
        Some((self.headers.get(slot)?, self.parts.get(slot)?))
    }

    /// Makes the headers that the last call used ready again, and all of them for an arena that is new here.
    fn arm(&mut self, buffers: &mut Buffers) {
        let used = self.first_slot..self.first_slot + mem::take(&mut self.received);
        for header in self.headers.get_mut(used).unwrap_or_default() {
            header.msg_hdr.msg_namelen = NAME_SIZE as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_SIZE as _;
        }
        let base = buffers.as_mut_ptr();
        if self.base != base || self.headers.len() != buffers.slots() {
            self.base = base;
            self.parts = (0..buffers.slots()).map(|i| Part::new(base, i)).collect();
            self.headers = self.parts.iter_mut().map(Part::header).collect();
        }
    }
}

impl Part {
    /// For slot `i` of the arena that begins at `base`.
    fn new(base: *mut u8, i: usize) -> Self {
        let iovec = libc::iovec {
            iov_base: base.wrapping_add(i * SLOT_SIZE + HEADROOM).cast(),
            iov_len: SLOT_SIZE - HEADROOM,
        };
        Self { iovec, name: Name::EMPTY, control: Control::EMPTY }
    }

    /// A header that points at this part, which must not move while the header is in use.
    fn header(&mut self) -> libc::mmsghdr {
        let mut message = empty_message();
        let header = &mut message.msg_hdr;
        header.msg_name = ptr::from_mut(&mut self.name).cast();
        header.msg_namelen = NAME_SIZE as libc::socklen_t;
        header.msg_iov = &mut self.iovec;
        header.msg_iovlen = 1;
        header.msg_control = ptr::from_mut(&mut self.control).cast();
        header.msg_controllen = CONTROL_SIZE as _;
        message
    }
}

// SAFETY: the raw pointers lead only to `parts`, which the batch owns and never grows, and to a `Buffers`
// that is borrowed for as long as they are used.
unsafe impl Send for RecvBatch {}

// An `in6_pktinfo`, the segment size of UDP_GRO, the traffic class and the drop count.
const CONTROL_SIZE: usize =
    space(mem::size_of::<libc::in6_pktinfo>()) + 3 * space(mem::size_of::<libc::c_int>());
