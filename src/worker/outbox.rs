use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use super::Stats;
use crate::net::{Buffers, HEADROOM, Outgoing, SLOT_SIZE, SendBatch};

/// Slots of the arena: as many datagrams may be between their receipt and the next flush.
const SLOTS: usize = 256;
/// Most datagrams read from one socket at a time.
pub(super) const BATCH: usize = 64;

/// The arena with what is to be sent out of it.
///
/// Slots are given out in order and all come back with a flush.
pub(super) struct Outbox {
    pub(super) buffers: Buffers,
    pub(super) sends: SendBatch,
    used: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { buffers: Buffers::new(SLOTS), sends: SendBatch::with_capacity(4 * SLOTS), used: 0 }
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
        if self.sends.is_full() {
            // The slots stay kept: more of them may still be pushed.
            stats.sent(self.sends.flush(&self.buffers));
        }
        self.sends.push(Outgoing {
            socket: way.socket,
            to: way.to,
            from: way.from,
            slot: slot as u32,
            start: start as u32,
            len: length as u32,
            dont_fragment: way.dont_fragment,
        });
    }

    /// Queues a response in place of the request, which nobody reads any more.
    pub(super) fn push_in_place(&mut self, way: Way, slot: usize, bytes: &[u8], stats: &Stats) {
        debug_assert!(bytes.len() <= SLOT_SIZE - HEADROOM);
        self.buffers.slot_mut(slot)[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        self.push(way, slot, HEADROOM, bytes.len(), stats);
    }

    /// Sends everything; all slots are free again.
    pub(super) fn flush(&mut self, stats: &Stats) {
        stats.sent(self.sends.flush(&self.buffers));
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

    pub(super) const fn dont_fragment(mut self, dont_fragment: bool) -> Self {
        self.dont_fragment = dont_fragment;
        self
    }
}
