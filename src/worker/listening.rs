//! What a server listens on, as its owner sees it, and how all workers leave a listener together.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Alternate;

/// How often and how long sockets that are about to be closed are waited for: all workers close them between two
/// packets.
const SETTLES: usize = 1000;
const SETTLE: Duration = Duration::from_millis(2);

/// What is spoken at an address that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// UDP and TCP.
    Plain,
    /// TLS alone, over TCP.
    Tls,
    /// DTLS alone, over UDP.
    Dtls,
}

/// What a server listens on.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    /// In the order of the settings, of each kind; behind these the ones of before that one for every address covers.
    pub(super) open: Vec<Entry>,
    pub(super) corners: Vec<Corners>,
    /// Addresses at which nobody new is let in, and some are served still.
    pub(super) leaving: Vec<(Entry, Arc<Departure>)>,
    /// The name of the next listener: none has the name of another.
    pub(super) next: u32,
}

/// One address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: u32,
    pub(super) kind: Kind,
    /// As it is configured.
    pub(super) asked: SocketAddr,
    pub(super) bound: SocketAddr,
}

/// The addresses of NAT discovery beside a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corners {
    pub(super) listener: u32,
    pub(super) first: IpAddr,
    /// As it is configured.
    pub(super) second: SocketAddr,
    /// The first and the second address with their ports.
    pub(super) bound: (SocketAddr, SocketAddr),
}

impl Corners {
    pub(super) fn is_of(&self, listener: u32, alternate: &Alternate) -> bool {
        self.listener == listener
            && self.first == alternate.first
            && self.second == alternate.second
    }
}

impl Listening {
    /// The addresses listened on, for UDP and for TCP alike, in the order of the settings; behind
    /// these what the alternates add, and what one for every address covers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.of(Kind::Plain)
    }

    /// Those of them that were asked for as one of these.
    pub fn configured(&self, listeners: &[SocketAddr]) -> Vec<SocketAddr> {
        let plain = self.open.iter().filter(|entry| entry.kind == Kind::Plain);
        plain.filter(|it| listeners.contains(&it.asked)).map(|entry| entry.bound).collect()
    }

    /// The addresses listened on for TLS alone, in the order of the settings.
    pub fn tls(&self) -> Vec<SocketAddr> {
        self.of(Kind::Tls)
    }

    /// The same for DTLS.
    pub fn dtls(&self) -> Vec<SocketAddr> {
        self.of(Kind::Dtls)
    }

    /// The first and the second address of each alternate, with their ports.
    pub fn alternates(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.corners.iter().map(|corners| corners.bound).collect()
    }

    /// UDP addresses at which nobody new is let in, and some are served still.
    pub fn leaving(&self) -> Vec<SocketAddr> {
        let open = self.leaving.iter().filter(|(_, departure)| departure.is_open());
        open.map(|(entry, _)| entry.bound).collect()
    }

    fn of(&self, kind: Kind) -> Vec<SocketAddr> {
        self.open.iter().filter(|entry| entry.kind == kind).map(|entry| entry.bound).collect()
    }
}

/// The end of a UDP listener at which clients have allocations still. Its sockets stay open at all workers until none
/// has a client there: the kernel spreads clients over the sockets of an address by how many these are, so that one
/// that closes before the others would send theirs astray.
#[derive(Debug)]
pub(super) struct Departure {
    /// Workers that have clients there, and those who may want it back.
    left: AtomicUsize,
    /// Workers whose socket is open.
    open: AtomicUsize,
}

impl Departure {
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(workers), open: AtomicUsize::new(workers) })
    }

    /// One worker has no client there any more, and will have none.
    pub(super) fn leave(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether the sockets are to be closed.
    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// One worker has closed its socket.
    pub(super) fn close(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Waits a moment for sockets that are about to be closed.
    pub(super) fn settle(&self) {
        for _ in 0..SETTLES {
            if !self.is_over() || !self.is_open() {
                return;
            }
            std::thread::sleep(SETTLE);
        }
    }

    /// Keeps the sockets from being closed, if it is not too late.
    pub(super) fn hold(self: &Arc<Self>) -> Option<Hold> {
        let more = |left: usize| (left > 0).then_some(left + 1);
        let held = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        held.is_ok().then(|| Hold(Arc::clone(self)))
    }
}

/// Somebody may want a listener back.
pub(super) struct Hold(Arc<Departure>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.leave();
    }
}
