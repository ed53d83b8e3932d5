//! Sending a batch of datagrams, with one system call for each socket that has any.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use super::buffers::Buffers;
use super::message::{Control, Name, empty_header, space};
use super::transmit::{SendReport, send_many, send_run, send_unfragmented};

/// Datagrams that wait for the end of the wake-up, and the arrays that `sendmmsg` reads.
pub struct SendBatch {
    queue: Vec<Outgoing>,
    /// Socket and place in `queue`, sorted: so each socket's datagrams stand together, in their order.
    order: Vec<u64>,
    /// In the order of `order`; each points at the part of the same index.
    headers: Vec<libc::mmsghdr>,
    parts: Vec<Part>,
    /// Pushed into a full batch since the last flush.
    refused: u64,
}

/// One datagram to send; its payload lies in a slot of the [`Buffers`] that [`SendBatch::flush`] is given.
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
}

impl SendBatch {
    /// Makes room for `max` datagrams.
    pub fn with_capacity(max: usize) -> Self {
        let mut parts: Vec<Part> = (0..max).map(|_| Part::EMPTY).collect();
        let headers = parts.iter_mut().map(Part::header).collect();
        Self {
            queue: Vec::with_capacity(max),
            order: Vec::with_capacity(max),
            headers,
            parts,
            refused: 0,
        }
    }

    /// Remembers one datagram. If the batch is full, it is dropped and counted in the next report.
    pub fn push(&mut self, datagram: Outgoing) {
        if self.is_full() {
            self.refused += 1;
        } else {
            self.queue.push(datagram);
        }
    }

    /// It takes no more before the next flush.
    pub fn is_full(&self) -> bool {
        self.queue.len() == self.parts.len()
    }

    /// How many datagrams wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends everything that was pushed and empties the batch. Datagrams of one socket keep their order. Never
    /// blocks and never waits: what fails is dropped and counted, and costs no other datagram, except that a
    /// socket that would block loses the rest of its own.
    pub fn flush(&mut self, buffers: &Buffers) -> SendReport {
        self.flush_with(buffers, |socket, messages| {
            // SAFETY: `arm` has filled in these messages: each header points at its own part and at a range of
            // the arena, with their lengths, and both are borrowed here until the kernel is done.
            unsafe { send_many(socket, messages) }
        })
    }

    /// [`flush`](Self::flush) through `sendmmsg` or a stand-in for it.
    fn flush_with(
        &mut self,
        buffers: &Buffers,
        mut transmit: impl FnMut(RawFd, &mut [libc::mmsghdr]) -> io::Result<usize>,
    ) -> SendReport {
        let mut report = self.arm(buffers);
        let mut start = 0;
        while let Some(first) = self.at(start) {
            let (socket, alone) = (first.socket, first.wants_option());
            let more = (start + 1..self.order.len())
                .take_while(|next| {
                    !alone
                        && self.at(*next).is_some_and(|d| d.socket == socket && !d.wants_option())
                })
                .count();
            let run = &mut self.headers[start..start + 1 + more];
            report += if alone {
                send_unfragmented(run, socket, &mut transmit)
            } else {
                send_run(run, |messages| transmit(socket, messages))
            };
            start += 1 + more;
        }
        self.queue.clear();
        report
    }

    /// Sorts the queue by socket and fills in a header for each datagram of it.
    fn arm(&mut self, buffers: &Buffers) -> SendReport {
        let mut report = SendReport { full: mem::take(&mut self.refused), ..SendReport::default() };
        self.order.clear();
        for (i, datagram) in self.queue.iter().enumerate() {
            if datagram.payload(buffers).is_some() {
                self.order.push(u64::from(datagram.socket as u32) << 32 | i as u64);
            } else {
                report.other += 1;
            }
        }
        // The place in the queue is part of the key, so this is stable; unlike a stable sort it allocates nothing.
        self.order.sort_unstable();
        for ((key, header), part) in self.order.iter().zip(&mut self.headers).zip(&mut self.parts) {
            let datagram = &self.queue[*key as u32 as usize];
            part.fill(datagram, datagram.payload(buffers).unwrap_or_default(), &mut header.msg_hdr);
        }
        report
    }

    /// The datagram at `place` of the sorted order.
    fn at(&self, place: usize) -> Option<&Outgoing> {
        self.order.get(place).map(|key| &self.queue[*key as u32 as usize])
    }
}

impl Outgoing {
    fn payload<'a>(&self, buffers: &'a Buffers) -> Option<&'a [u8]> {
        buffers.range(self.slot as usize, self.start as usize, self.len as usize)
    }

    /// IPv4 has a socket option for it, IPv6 a control message.
    fn wants_option(&self) -> bool {
        self.dont_fragment && self.to.is_ipv4()
    }
}

// SAFETY: the raw pointers lead only to `parts`, which the batch owns and never grows, and to a `Buffers`
// that is borrowed for as long as they are used.
unsafe impl Send for SendBatch {}

/// What one header points at.
struct Part {
    iovec: libc::iovec,
    name: Name,
    control: Control<CONTROL_SIZE>,
}

impl Part {
    const EMPTY: Self = Self {
        iovec: libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 },
        name: Name::EMPTY,
        control: Control::EMPTY,
    };

    /// A header that points at this part, which must not move while the header is in use.
    fn header(&mut self) -> libc::mmsghdr {
        let mut header = empty_header();
        header.msg_name = ptr::from_mut(&mut self.name).cast();
        header.msg_iov = &mut self.iovec;
        header.msg_iovlen = 1;
        header.msg_control = ptr::from_mut(&mut self.control).cast();
        libc::mmsghdr { msg_hdr: header, msg_len: 0 }
    }

    fn fill(&mut self, datagram: &Outgoing, payload: &[u8], header: &mut libc::msghdr) {
        self.iovec.iov_base = payload.as_ptr().cast_mut().cast();
        self.iovec.iov_len = payload.len();
        header.msg_namelen = self.name.set(datagram.to) as libc::socklen_t;
        header.msg_controllen = self.fill_control(datagram) as _;
    }

    fn fill_control(&mut self, datagram: &Outgoing) -> usize {
        let mut len = 0;
        match (datagram.from, datagram.to) {
            (Some(IpAddr::V4(from)), SocketAddr::V4(_)) => {
                // in_pktinfo: any interface, the source, and a destination that only receiving uses.
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&from.octets());
                len = self.control.add(len, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            (Some(IpAddr::V6(from)), SocketAddr::V6(to)) => {
                // in6_pktinfo: a link-local source needs its interface, which is that of the peer.
                let mut info = [0; 20];
                info[..16].copy_from_slice(&from.octets());
                info[16..].copy_from_slice(&to.scope_id().to_ne_bytes());
                len = self.control.add(len, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            _ => {}
        }
        if datagram.dont_fragment && datagram.to.is_ipv6() {
            len = self.control.add(
                len,
                libc::IPPROTO_IPV6,
                libc::IPV6_DONTFRAG,
                &1_i32.to_ne_bytes(),
            );
        }
        len
    }
}

// An `in6_pktinfo` and IPV6_DONTFRAG.
const CONTROL_SIZE: usize =
    space(mem::size_of::<libc::in6_pktinfo>()) + space(mem::size_of::<libc::c_int>());

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(socket: RawFd, len: u32) -> Outgoing {
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        Outgoing { socket, to, from: None, slot: 0, start: 0, len, dont_fragment: false }
    }

    #[test]
    fn each_socket_gets_one_call_with_its_datagrams_in_order() {
        let mut batch = SendBatch::with_capacity(8);
        for (i, socket) in [9, 3, 9, 5, 9, 3].into_iter().enumerate() {
            batch.push(outgoing(socket, i as u32));
        }
        let mut calls = Vec::new();
        let report = batch.flush_with(&Buffers::new(1), |socket, messages| {
            // SAFETY: `arm` pointed each header at the iovec of its part, which the batch still owns.
            let lengths = messages.iter().map(|m| unsafe { (*m.msg_hdr.msg_iov).iov_len });
            calls.push((socket, lengths.collect::<Vec<_>>()));
            Ok(messages.len())
        });
        assert_eq!(calls, [(3, vec![1, 5]), (5, vec![3]), (9, vec![0, 2, 4])]);
        assert_eq!(report.sent, 6);
    }

    #[test]
    fn a_full_batch_and_a_range_out_of_its_slot_are_counted() {
        let mut batch = SendBatch::with_capacity(2);
        assert!(!batch.is_full() && batch.is_empty());
        batch.push(outgoing(3, 1));
        batch.push(Outgoing { slot: 1, ..outgoing(3, 1) });
        assert!(batch.is_full());
        batch.push(outgoing(3, 1));
        assert_eq!(batch.len(), 2);
        let buffers = Buffers::new(1);
        assert_eq!(
            batch.flush_with(&buffers, |_, m| Ok(m.len())),
            SendReport { sent: 1, full: 1, other: 1, ..SendReport::default() }
        );
        assert_eq!(batch.flush_with(&buffers, |_, m| Ok(m.len())), SendReport::default());
    }
}
