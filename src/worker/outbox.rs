//! The arena that datagrams lie in from their receipt to their sending, and the batch that they leave with.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

use super::Stats;
use crate::net::{Buffers, Outgoing, SLOT_SIZE, SendBatch};

/// Slots of the arena for what is received: as many datagrams, or trains of them, may be between
/// their receipt and the next flush.
const SLOTS: usize = 256;
/// Slots behind these for what is made here: responses, and records of DTLS. Each takes as much of
/// them as fits.
const RESPONSES: usize = 64;
/// Datagrams that may wait for the flush: a train is up to 64.
const WAITING: usize = 1024;

/// The arena with what is to be sent out of it.
///
/// Slots are given out in order and all come back with a flush.
pub(super) struct Outbox {
    pub(super) buffers: Buffers,
    pub(super) sends: SendBatch,
    used: usize,
    responses: usize,
    /// Where the next [`Self::room`] begins in the last slot of responses, if it is shared.
    shared: Option<usize>,
}

impl Outbox {
    /// With `segmentation`, datagrams for one destination leave as trains (UDP_SEGMENT).
    pub(super) fn new(segmentation: bool) -> Self {
        let mut sends = SendBatch::with_capacity(WAITING);
        sends.set_segmentation(segmentation);
        let buffers = Buffers::new(SLOTS + RESPONSES);
        Self { buffers, sends, used: 0, responses: 0, shared: None }
    }

    /// The first of `count` slots that nothing waits in; flushes when there are not so many.
    pub(super) fn reserve(&mut self, count: usize, stats: &Stats) -> usize {
        if self.used + count > SLOTS {
            self.flush(stats);
        }
        self.used
    }

    /// Keeps the next `count` slots until the flush.
    pub(super) const fn keep(&mut self, count: usize) {
        self.used += count;
    }

    /// Queues a part of a slot; `start` counts from the slot's first byte.
    pub(super) fn push(
        &mut self,
        way: Way,
        slot: usize,
        start: usize,
        length: usize,
        stats: &Stats,
    ) {
        self.make_room(stats);
        self.sends.push(way.outgoing(slot, start, length));
    }

    /// The same with a header that does not stand in front of it, and padding behind.
    pub(super) fn push_framed(
        &mut self,
        way: Way,
        slot: usize,
        part: Range<usize>,
        header: &[u8],
        padding: usize,
        stats: &Stats,
    ) {
        self.make_room(stats);
        self.sends.push_framed(way.outgoing(slot, part.start, part.len()), header, padding);
    }

    /// Queues a response.
    pub(super) fn push_response(&mut self, way: Way, bytes: &[u8], stats: &Stats) {
        let (slot, start) = self.room(bytes.len(), stats);
        self.buffers.slot_mut(slot)[start..start + bytes.len()].copy_from_slice(bytes);
        self.push(way, slot, start, bytes.len(), stats);
    }

    /// A place in a slot, with room for a datagram that is made there and pushed next.
    pub(super) fn room(&mut self, length: usize, stats: &Stats) -> (usize, usize) {
        debug_assert!(length <= SLOT_SIZE);
        // Pushing must not send: that would give away the room before it is used.
        self.make_room(stats);
        let start = self.shared.filter(|start| start + length <= SLOT_SIZE);
        if start.is_none() {
            if self.responses == RESPONSES {
                self.send(stats);
            }
            self.responses += 1;
        }
        let start = start.unwrap_or(0);
        self.shared = Some(start + length);
        (SLOTS + self.responses - 1, start)
    }

    fn make_room(&mut self, stats: &Stats) {
        if self.sends.is_full() {
            self.send(stats);
        }
    }

    /// Sends everything. What was received stays kept: more of it may still be pushed.
    fn send(&mut self, stats: &Stats) {
        stats.sent(self.sends.flush(&self.buffers));
        (self.responses, self.shared) = (0, None);
    }

    /// Sends everything; all slots are free again.
    pub(super) fn flush(&mut self, stats: &Stats) {
        self.send(stats);
        self.used = 0;
    }
}

/// A datagram in the arena, or one of a train.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) slot: usize,
    /// Counts from the slot's first byte.
    pub(super) start: usize,
    pub(super) length: usize,
    /// What of its IP header's traffic class is passed on.
    pub(super) class: u8,
}

impl Piece {
    pub(super) const fn place(&self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

/// From which socket to whom.
#[derive(Clone, Copy)]
pub(super) struct Way {
    socket: RawFd,
    to: SocketAddr,
    from: Option<IpAddr>,
    dont_fragment: bool,
    class: u8,
}

impl Way {
    pub(super) fn new(socket: &impl AsRawFd, to: SocketAddr) -> Self {
        Self { socket: socket.as_raw_fd(), to, from: None, dont_fragment: false, class: 0 }
    }

    /// The socket, for DTLS associations of a listener that goes.
    #[cfg(feature = "dtls")]
    pub(super) const fn socket(&self) -> RawFd {
        self.socket
    }

    /// With a source address of one's own choice, for a wildcard socket.
    pub(super) const fn from(mut self, from: Option<IpAddr>) -> Self {
        self.from = from;
        self
    }

    const fn outgoing(self, slot: usize, start: usize, length: usize) -> Outgoing {
        let Self { socket, to, from, dont_fragment, class: traffic_class } = self;
        let (slot, start, len) = (slot as u32, start as u32, length as u32);
        Outgoing { socket, to, from, slot, start, len, dont_fragment, traffic_class }
    }

    pub(super) const fn dont_fragment(mut self, dont_fragment: bool) -> Self {
        self.dont_fragment = dont_fragment;
        self
    }

    /// With another traffic class than the socket's.
    pub(super) const fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }
}
