//! Sockets, slots and system calls: all that a run needs of the machine, in one thread.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use crate::net::{
    Buffers, Datagram, Events, HEADROOM, Interest, Offload, Outgoing, Poller, RecvBatch, SendBatch,
    enable_gro, next_icmp,
};
use crate::stun::TransactionId;
use crate::time::Mono;

/// Datagrams of one system call: many enough to be cheap, and few enough to be no burst for the server when they are
/// sent back.
const BATCH: usize = 32;
/// Room for what several sockets have received, and for an answer to each datagram of it.
const SLOTS: usize = 8 * BATCH;
/// Sockets that are told ready at once.
const EVENTS: usize = 256;

/// One thread's poller, buffers and batches.
pub(super) struct Io {
    pub(super) poller: Poller,
    buffers: Buffers,
    batch: RecvBatch,
    sends: SendBatch,
    /// Slots in use until the next flush.
    used: usize,
    /// Datagrams that the kernel did not take.
    unsent: u64,
    start: Instant,
    ids: u64,
    offload: bool,
    interrupt: Interrupt,
}

impl Io {
    /// With `offload`, what goes the same way at the same time is sent in one piece, and received so.
    ///
    /// # Errors
    /// The system lacks descriptors or random numbers, or the kernel what `offload` needs.
    pub(super) fn new(offload: bool, interrupt: Interrupt) -> io::Result<Self> {
        if offload && Offload::probe() != (Offload { receive: true, send: true }) {
            return Err(io::Error::other(
                "this kernel has no UDP_SEGMENT and UDP_GRO for --offload",
            ));
        }
        let mut sends = SendBatch::with_capacity(SLOTS);
        sends.set_segmentation(offload);
        Ok(Self {
            poller: Poller::new()?,
            buffers: Buffers::new(SLOTS),
            batch: RecvBatch::new(BATCH),
            sends,
            used: 0,
            unsent: 0,
            start: Instant::now(),
            ids: getrandom::u64().map_err(|_| io::Error::other("no random numbers"))?,
            offload,
            interrupt,
        })
    }

    /// Room for what one wait tells.
    pub(super) fn events() -> Events {
        Events::with_capacity(EVENTS)
    }

    /// Nanoseconds since the start.
    pub(super) fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether the run is to go on until `end`, which has not come yet.
    pub(super) fn goes_on(&self, now: u64, end: u64) -> bool {
        now < end && !self.interrupt.is_asked()
    }

    /// The same for sessions.
    pub(super) fn mono(&self) -> Mono {
        Mono::from_micros(self.nanos() / 1000)
    }

    /// A transaction ID that nobody else has.
    pub(super) fn id(&mut self) -> TransactionId {
        self.ids = self.ids.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.ids ^ (self.ids >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let mut id = [0; 12];
        id[..8].copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
        id[8..].copy_from_slice(&(self.ids as u32).to_be_bytes());
        TransactionId::new(id)
    }

    /// What was sent and not taken by the kernel, so far.
    pub(super) const fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Watches a socket for what it receives.
    pub(super) fn watch(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        if self.offload {
            enable_gro(socket)?;
        }
        self.poller.add(socket, token, Interest::Read)
    }

    /// Sends everything and makes all slots free.
    pub(super) fn flush(&mut self) {
        self.transmit();
        self.used = 0;
    }

    fn transmit(&mut self) {
        if !self.sends.is_empty() {
            let report = self.sends.flush(&self.buffers);
            self.unsent += report.full + report.unreachable + report.too_big + report.other;
        }
    }

    /// A free slot.
    pub(super) fn slot(&mut self) -> usize {
        if self.used == SLOTS {
            self.flush();
        }
        self.used += 1;
        self.used - 1
    }

    /// The bytes of a slot behind its headroom: to be written.
    pub(super) fn out(&mut self, slot: usize) -> &mut [u8] {
        &mut self.buffers.slot_mut(slot)[HEADROOM..]
    }

    /// Bytes of a slot, counted from behind its headroom.
    pub(super) fn bytes(&self, slot: usize, range: Range<usize>) -> &[u8] {
        &self.buffers.slot(slot)[HEADROOM..][range]
    }

    /// Sends such bytes, at the next flush at the latest.
    pub(super) fn send(
        &mut self,
        socket: &impl AsRawFd,
        to: SocketAddr,
        slot: usize,
        range: Range<usize>,
    ) {
        if self.sends.is_full() {
            self.transmit();
        }
        self.sends.push(Outgoing {
            socket: socket.as_raw_fd(),
            to,
            from: None,
            slot: slot as u32,
            start: (HEADROOM + range.start) as u32,
            len: range.len() as u32,
            dont_fragment: false,
            traffic_class: 0,
        });
    }

    /// Receives a batch of datagrams; they stay until the next flush, and there is a slot for an answer to each.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Range<usize>> {
        if self.used + 2 * BATCH > SLOTS {
            self.flush();
        }
        let count = self.batch.receive(socket, &mut self.buffers, self.used, BATCH)?;
        self.used += count;
        Ok(0..count)
    }

    /// A datagram of the last batch.
    pub(super) fn datagram(&self, place: usize) -> Option<Datagram> {
        self.batch.datagram(place)
    }

    /// Takes the ICMP errors off a socket; whether one said that nothing listens there.
    pub(super) fn icmp(&self, socket: BorrowedFd<'_>) -> bool {
        let mut refused = false;
        // What cannot be read was no error about anything sent.
        while let Ok(Some(error)) = next_icmp(socket) {
            refused |= matches!((error.v6, error.kind, error.code), (false, 3, 3) | (true, 1, 4));
        }
        refused
    }

    /// Waits until something is ready, at most for `limit`.
    pub(super) fn wait(&self, events: &mut Events, limit: Duration) -> io::Result<()> {
        self.poller.wait(events, Some(limit))
    }
}
