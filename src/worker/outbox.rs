use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

use super::Stats;
use crate::net::{Buffers, HEADROOM, Outgoing, SLOT_SIZE, SendBatch};

/// Slots of the arena for what is received: as many datagrams, or trains of them, may be between
/// their receipt and the next flush.
const SLOTS: usize = 256;
/// Slots behind these for responses.
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
}

impl Outbox {
    /// With `segmentation`, datagrams for one destination leave as trains (UDP_SEGMENT).
    pub(super) fn new(segmentation: bool) -> Self {
        let mut sends = SendBatch::with_capacity(WAITING);
        sends.set_segmentation(segmentation);
        Self { buffers: Buffers::new(SLOTS + RESPONSES), sends, used: 0, responses: 0 }
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

    /// Queues a response, which has a slot of its own.
    pub(super) fn push_response(&mut self, way: Way, bytes: &[u8], stats: &Stats) {
        debug_assert!(bytes.len() <= SLOT_SIZE - HEADROOM);
        if self.responses == RESPONSES {
            self.send(stats);
        }
        let slot = SLOTS + self.responses;
        self.responses += 1;
        self.buffers.slot_mut(slot)[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        self.push(way, slot, HEADROOM, bytes.len(), stats);
    }

    fn make_room(&mut self, stats: &Stats) {
        if self.sends.is_full() {
            self.send(stats);
        }
    }

    /// Sends everything. What was received stays kept: more of it may still be pushed.
    fn send(&mut self, stats: &Stats) {
        stats.sent(self.sends.flush(&self.buffers));
        self.responses = 0;
    }

    /// Sends everything; all slots are free again.
    pub(super) fn flush(&mut self, stats: &Stats) {
        self.send(stats);
        self.used = 0;
    }
}

/// From which socket to whom.
#[derive(Clone, Copy)]
pub(super) struct Way {
    socket: RawFd,
    to: SocketAddr,
    from: Option<IpAddr>,
    dont_fragment: bool,
}

impl Way {
    pub(super) fn new(socket: &impl AsRawFd, to: SocketAddr) -> Self {
        Self { socket: socket.as_raw_fd(), to, from: None, dont_fragment: false }
    }

    /// With a source address of one's own choice, for a wildcard socket.
    pub(super) const fn from(mut self, from: Option<IpAddr>) -> Self {
        self.from = from;
        self
    }

    const fn outgoing(self, slot: usize, start: usize, length: usize) -> Outgoing {
        let Self { socket, to, from, dont_fragment } = self;
        let (slot, start, len) = (slot as u32, start as u32, length as u32);
        Outgoing { socket, to, from, slot, start, len, dont_fragment }
    }

    pub(super) const fn dont_fragment(mut self, dont_fragment: bool) -> Self {
        self.dont_fragment = dont_fragment;
        self
    }
}
