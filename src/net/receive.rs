//! Receiving a batch of datagrams with one system call.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::buffers::{Buffers, HEADROOM, SLOT_SIZE};
use super::errors::is_pending_icmp;
use super::message::{Control, NAME_SIZE, Name, empty_header, packet_info, space};

/// The arrays that `recvmmsg` fills, made once and armed again for each call.
pub struct RecvBatch {
    /// Each points into the part of the same index; only what the kernel overwrote is written again.
    headers: Vec<libc::mmsghdr>,
    parts: Vec<Part>,
    received: usize,
    first_slot: usize,
}

/// What one header points at.
struct Part {
    iovec: libc::iovec,
    name: Name,
    control: Control<CONTROL_SIZE>,
}

/// One datagram of the last [`RecvBatch::receive`]; its payload is in the slot, from [`HEADROOM`] on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// The slot that holds it.
    pub slot: usize,
    /// Who sent it. An IPv6 flow label is left out; a scope is kept (link-local addresses have one).
    pub from: SocketAddr,
    /// The destination address in its IP header, if the socket tells (a listener on a wildcard address does).
    pub to: Option<IpAddr>,
    /// Bytes of payload.
    pub len: usize,
    /// It was longer than a slot, and its end is lost.
    pub truncated: bool,
}

impl RecvBatch {
    /// Makes room for at most `max` datagrams per system call.
    pub fn new(max: usize) -> Self {
        let mut parts: Vec<Part> = (0..max).map(|_| Part::new()).collect();
        let headers = parts.iter_mut().map(Part::header).collect();
        Self { headers, parts, received: 0, first_slot: 0 }
    }

    /// Receives at most `max` datagrams with one system call, number `i` into slot `first_slot + i`, and says
    /// how many came. Never blocks: 0 means that nothing is there now (or that there is no such slot).
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
        let max = max.min(self.headers.len()).min(buffers.slots().saturating_sub(first_slot));
        self.arm(buffers, first_slot, max);
        if max == 0 {
            return Ok(0);
        }
        let mut pending_taken = false;
        loop {
            // SAFETY: `arm` pointed each header at its own part and at its own slot of the arena, with their
            // sizes; both are borrowed exclusively here until the kernel is done.
            let answer = unsafe { receive_many(socket, &mut self.headers[..max]) };
            let error = match answer {
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

    /// Datagram `i` of the last call of [`receive`](Self::receive), if it brought that many.
    pub fn datagram(&self, i: usize) -> Option<Datagram> {
        let header = self.headers[..self.received].get(i)?;
        let part = self.parts.get(i)?;
        #[allow(clippy::unnecessary_cast, reason = "with musl it is a u32")]
        let control_len = header.msg_hdr.msg_controllen as usize;
        Some(Datagram {
            slot: self.first_slot + i,
            from: part.name.get(header.msg_hdr.msg_namelen as usize)?,
            to: part
                .control
                .messages(control_len)
                .find_map(|(level, kind, data)| packet_info(level, kind, data)),
            len: header.msg_len as usize,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }

    /// Makes the first `max` headers ready for slots `first_slot..first_slot + max`, which exist.
    fn arm(&mut self, buffers: &mut Buffers, first_slot: usize, max: usize) {
        for header in &mut self.headers[..self.received] {
            header.msg_hdr.msg_namelen = NAME_SIZE as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_SIZE as _;
            header.msg_hdr.msg_flags = 0;
        }
        self.received = 0;
        self.first_slot = first_slot;
        let base = buffers.as_mut_ptr();
        for (i, part) in self.parts[..max].iter_mut().enumerate() {
            part.iovec.iov_base = base.wrapping_add((first_slot + i) * SLOT_SIZE + HEADROOM).cast();
        }
    }
}

impl Part {
    fn new() -> Self {
        let iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: SLOT_SIZE - HEADROOM };
        Self { iovec, name: Name::EMPTY, control: Control::EMPTY }
    }

    /// A header that points at this part, which must not move while the header is in use.
    fn header(&mut self) -> libc::mmsghdr {
        let mut header = empty_header();
        header.msg_name = ptr::from_mut(&mut self.name).cast();
        header.msg_namelen = NAME_SIZE as libc::socklen_t;
        header.msg_iov = &mut self.iovec;
        header.msg_iovlen = 1;
        header.msg_control = ptr::from_mut(&mut self.control).cast();
        header.msg_controllen = CONTROL_SIZE as _;
        libc::mmsghdr { msg_hdr: header, msg_len: 0 }
    }
}

// SAFETY: the raw pointers lead only to `parts`, which the batch owns and never grows, and to a `Buffers`
// that is borrowed for as long as they are used.
unsafe impl Send for RecvBatch {}

/// One `recvmmsg`, which does not block.
///
/// # Safety
/// Every header's pointers are valid for its sizes, and nothing else uses what they point at.
unsafe fn receive_many(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let (count, flags) = (headers.len() as libc::c_uint, libc::MSG_DONTWAIT);
    let (socket, headers) = (socket.as_raw_fd(), headers.as_mut_ptr());
    // SAFETY: the caller's promise; a null time limit is none.
    let received = unsafe { libc::recvmmsg(socket, headers, count, flags as _, ptr::null_mut()) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

// An `in6_pktinfo`, the segment size of UDP_GRO and the traffic class.
const CONTROL_SIZE: usize =
    space(mem::size_of::<libc::in6_pktinfo>()) + 2 * space(mem::size_of::<libc::c_int>());
