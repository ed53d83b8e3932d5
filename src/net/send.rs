//! Sending a batch of datagrams, with one system call for each socket that has any.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::ptr;

use super::buffers::Buffers;
use super::call::send_many;
use super::message::{Control, Name, control_len, empty_message, space};
use super::outgoing::{CONTROL_SIZE, Outgoing, Queued};
use super::train::{MAX_SEGMENTS, Planner, Train};
use super::transmit::{End, SendReport, send_run, send_unfragmented, total};

/// Most bytes of a header that [`SendBatch::push_framed`] copies: a Data indication with an IPv6 peer has as many.
pub const HEADER_MAX: usize = 48;
/// Most bytes of padding (RFC 8656 §12.5).
const PADDING_MAX: usize = 3;
/// A header, a payload and padding.
const PIECES: usize = 3;

/// Datagrams that wait for the end of the wake-up, and the arrays that `sendmmsg` reads.
pub struct SendBatch {
    queue: Vec<Queued>,
    /// The headers of the queued datagrams, one behind the other.
    framing: Vec<u8>,
    planner: Planner,
    /// One for each train, in the order of sending; each points at the part of the same index.
    headers: Vec<libc::mmsghdr>,
    /// How many datagrams each header sends.
    counts: Vec<u32>,
    parts: Vec<Part>,
    pieces: Vec<libc::iovec>,
    /// For the datagrams of a train that the kernel has refused.
    apart: Vec<libc::mmsghdr>,
    segmentation: bool,
    /// Pushed into a full batch since the last flush, and with a header or padding that is too long.
    refused: u64,
    misframed: u64,
}

/// What one header points at, besides the pieces.
struct Part {
    name: Name,
    control: Control<CONTROL_SIZE>,
}

impl SendBatch {
    /// Makes room for `max` datagrams, each sent as a message of its own.
    pub fn with_capacity(max: usize) -> Self {
        let mut parts: Vec<Part> = (0..max).map(|_| Part::EMPTY).collect();
        let headers = parts.iter_mut().map(Part::header).collect();
        Self {
            queue: Vec::with_capacity(max),
            framing: Vec::with_capacity(max * HEADER_MAX),
            planner: Planner::new(max),
            headers,
            counts: Vec::with_capacity(max),
            parts,
            pieces: Vec::with_capacity(max * PIECES),
            apart: vec![empty_message(); MAX_SEGMENTS as usize],
            segmentation: false,
            refused: 0,
            misframed: 0,
        }
    }

    /// Whether datagrams of one way may share a message, which the kernel cuts up again. Only for a kernel that
    /// can ([`Offload::send`](super::Offload)): another would send them as one long datagram.
    pub fn set_segmentation(&mut self, on: bool) {
        self.segmentation = on;
    }

    /// Remembers one datagram. If the batch is full, it is dropped and counted in the next report.
    pub fn push(&mut self, datagram: Outgoing) {
        self.push_framed(datagram, &[], 0);
    }

    /// Remembers a datagram that is made of `header` (at most [`HEADER_MAX`] bytes, copied here), the payload that
    /// `datagram` names, and 0 to 3 zero bytes of `padding`. With a longer header or padding it is dropped and
    /// counted in the next report.
    pub fn push_framed(&mut self, datagram: Outgoing, header: &[u8], padding: usize) {
        if header.len() > HEADER_MAX || padding > PADDING_MAX {
            self.misframed += 1;
        } else if self.is_full() {
            self.refused += 1;
        } else {
            self.queue.push(Queued {
                datagram,
                header_at: self.framing.len() as u32,
                header_len: header.len() as u8,
                padding: padding as u8,
                next: 0,
            });
            self.framing.extend_from_slice(header);
        }
    }

    /// It takes no more before the next flush.
    pub fn is_full(&self) -> bool {
        self.queue.len() == self.parts.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends everything that was pushed and empties the batch. Datagrams from one socket to one destination keep
    /// their order. Never blocks and never waits: what fails is dropped and counted, and costs no other datagram,
    /// except that a socket that would block loses the rest of its own.
    pub fn flush(&mut self, buffers: &Buffers) -> SendReport {
        self.flush_with(buffers, |socket, messages| {
            // SAFETY: `arm` and `arm_apart` have filled in these messages: each header points at its own part and
            // at pieces, which lie in the arena, in `framing` or in `ZEROS`, with their lengths. All are borrowed
            // here until the kernel is done.
            unsafe { send_many(socket, messages) }
        })
    }

    /// [`flush`](Self::flush) through `sendmmsg` or a stand-in for it.
    pub(super) fn flush_with(
        &mut self,
        buffers: &Buffers,
        mut transmit: impl FnMut(RawFd, &mut [libc::mmsghdr]) -> io::Result<usize>,
    ) -> SendReport {
        let mut report = SendReport {
            full: mem::take(&mut self.refused),
            other: mem::take(&mut self.misframed),
            ..SendReport::default()
        };
        report.other += self.planner.plan(&mut self.queue, buffers, self.segmentation);
        self.arm(buffers);
        let mut start = 0;
        while let Some((socket, end, alone)) = self.planner.run(start) {
            report += if alone {
                let run = &mut self.headers[start..end];
                send_unfragmented(run, socket, |run| transmit(socket, run))
            } else {
                self.send_run(start, end, |run| transmit(socket, run))
            };
            start = end;
        }
        self.queue.clear();
        self.framing.clear();
        report
    }

    /// Sends the messages from `start` to `end`, which are of one socket. The datagrams of a train that the
    /// kernel refuses are sent one by one.
    fn send_run(
        &mut self,
        mut start: usize,
        end: usize,
        mut transmit: impl FnMut(&mut [libc::mmsghdr]) -> io::Result<usize>,
    ) -> SendReport {
        let mut report = SendReport::default();
        loop {
            let counts = &self.counts[start..end];
            let outcome =
                send_run(&mut self.headers[start..end], counts, &mut report, &mut transmit);
            let End::Refused { at, errno } = outcome else {
                return report;
            };
            let train = start + at;
            let count = self.arm_apart(train);
            if matches!(errno, libc::EINVAL | libc::EMSGSIZE | libc::EIO) {
                self.planner.refused(train, &self.queue);
            }
            let apart = &mut self.apart[..count];
            let outcome = send_run(apart, &ONES[..count], &mut report, &mut transmit);
            start = train + 1;
            if outcome == End::Blocked {
                report.full += total(&self.counts[start..end]);
                return report;
            }
        }
    }

    /// Fills in a header for each train.
    fn arm(&mut self, buffers: &Buffers) {
        self.counts.clear();
        self.pieces.clear();
        let Self { queue, pieces, .. } = self;
        for (i, train) in self.planner.trains().enumerate() {
            let (part, header) = (&mut self.parts[i], &mut self.headers[i].msg_hdr);
            let first = pieces.len();
            for queued in train.members(queue) {
                push_pieces(pieces, queued, &self.framing, buffers);
            }
            // There is room for all pieces, so this is where they stay.
            header.msg_iov = pieces.as_mut_ptr().wrapping_add(first);
            header.msg_iovlen = (pieces.len() - first) as _;
            part.fill(&queue[train.first as usize].datagram, train, header);
            self.counts.push(train.count);
        }
    }

    /// Fills in a header for each datagram of train `i`, which is armed, and says how many they are.
    fn arm_apart(&mut self, i: usize) -> usize {
        let Some(train) = self.planner.train(i) else {
            return 0;
        };
        let whole = self.headers[i].msg_hdr;
        // The segment size is the last of a train's control messages.
        let control = control_len(&whole).saturating_sub(SEGMENT_SPACE);
        let mut piece = whole.msg_iov;
        for (queued, single) in train.members(&self.queue).zip(&mut self.apart) {
            single.msg_hdr = whole;
            single.msg_hdr.msg_iov = piece;
            single.msg_hdr.msg_iovlen = queued.pieces() as _;
            single.msg_hdr.msg_controllen = control as _;
            piece = piece.wrapping_add(queued.pieces());
        }
        train.count as usize
    }
}

// SAFETY: the raw pointers lead only to `parts`, `pieces` and `framing`, which the batch owns and never grows past
// what it began with, and to a `Buffers` that is borrowed for as long as they are used.
unsafe impl Send for SendBatch {}

impl Part {
    const EMPTY: Self = Self { name: Name::EMPTY, control: Control::EMPTY };

    /// A header that points at this part, which must not move while the header is in use.
    fn header(&mut self) -> libc::mmsghdr {
        let mut header = empty_message();
        header.msg_hdr.msg_name = ptr::from_mut(&mut self.name).cast();
        header.msg_hdr.msg_control = ptr::from_mut(&mut self.control).cast();
        header
    }

    fn fill(&mut self, datagram: &Outgoing, train: &Train, header: &mut libc::msghdr) {
        header.msg_namelen = self.name.set(datagram.to) as libc::socklen_t;
        let mut len = datagram.write_control(&mut self.control);
        if train.count > 1 {
            // A train is at most 65,000 bytes long, so its segments are.
            let segment = (train.segment as u16).to_ne_bytes();
            len = self.control.add(len, libc::SOL_UDP, libc::UDP_SEGMENT, &segment);
        }
        header.msg_controllen = len as _;
    }
}

/// Adds what the kernel has to gather for one datagram.
fn push_pieces(pieces: &mut Vec<libc::iovec>, queued: &Queued, framing: &[u8], buffers: &Buffers) {
    let header = &framing[queued.header_at as usize..][..queued.header_len.into()];
    // The planner has left out those without one.
    let payload = queued.datagram.payload(buffers).unwrap_or_default();
    if !header.is_empty() {
        pieces.push(piece(header));
    }
    pieces.push(piece(payload));
    if queued.padding > 0 {
        pieces.push(piece(&ZEROS[..queued.padding.into()]));
    }
}

fn piece(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

static ZEROS: [u8; PADDING_MAX] = [0; PADDING_MAX];
const ONES: [u32; MAX_SEGMENTS as usize] = [1; MAX_SEGMENTS as usize];
const SEGMENT_SPACE: usize = space(mem::size_of::<u16>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_array_grows() {
        let mut batch = SendBatch::with_capacity(8);
        let buffers = Buffers::new(1);
        let mut capacities = Vec::new();
        for on in [false, true, false, true] {
            batch.set_segmentation(on);
            for i in 0..8 {
                let datagram = Outgoing {
                    socket: i % 2,
                    to: ([127, 0, 0, 1], 9).into(),
                    from: None,
                    slot: 0,
                    start: 0,
                    len: 100,
                    dont_fragment: false,
                    traffic_class: 0,
                };
                batch.push_framed(datagram, &[1; HEADER_MAX], PADDING_MAX);
            }
            let report = batch.flush_with(&buffers, |_, _| Err(io::ErrorKind::Other.into()));
            assert_eq!(report.other, 8);
            let SendBatch { queue, framing, pieces, counts, .. } = &batch;
            let now = [queue.capacity(), framing.capacity(), pieces.capacity(), counts.capacity()];
            capacities.push(now);
        }
        assert!(capacities.iter().all(|now| *now == capacities[0]), "{capacities:?}");
        assert_eq!(capacities[0], [8, 8 * HEADER_MAX, 8 * PIECES, 8]);
    }
}
