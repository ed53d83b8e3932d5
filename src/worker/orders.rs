//! What the owner of the workers changes while they work.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::dtls::Dtls;
use super::engine::{Engine, lowest_rate};
use super::gather::Gather;
use super::listening::{Departure, Hold};
use super::relays::Door;
use super::settings::passed_class;
use super::sockets::Listeners;
use super::{DtlsLimits, Settings, Sockets, StreamLimits, WebSettings};
use crate::auth::Realms;
use crate::tls;
use crate::turn::{self, Prefix};

/// What can be changed ([`Workers::change`](super::Workers::change)): all of it at once, from the next wake-up on.
#[derive(Clone)]
pub struct Live {
    /// How the core decides.
    pub turn: Arc<turn::Settings>,
    /// Who may come in.
    pub realms: Arc<Realms>,
    /// Bounds on TCP connections: on those that come, and on all at what they do next.
    pub streams: StreamLimits,
    /// Bounds on DTLS, the same.
    pub dtls: DtlsLimits,
    /// Addresses whose connections begin with a PROXY protocol header.
    pub proxies: Vec<Prefix>,
    /// What becomes of HTTP that comes.
    pub web: WebSettings,
    /// The rest of the datapath.
    pub path: Datapath,
}

/// What of [`Settings`](super::Settings) has no part of its own in [`Live`].
#[derive(Clone)]
pub struct Datapath {
    /// With this TLS is served.
    pub tls: Option<tls::Server>,
    /// The certificates; without them, nobody begins DTLS.
    pub identities: Option<Arc<tls::Identities>>,
    /// Whether DTLS is also served on UDP listeners that are not for it alone.
    pub dtls_on_udp: bool,
    /// Buffers of UDP listeners, in bytes; 0 leaves them as they are.
    pub listener_buffer: usize,
    /// Buffers of relay sockets that are opened from now on; 0 leaves the system's.
    pub relay_buffer: usize,
    /// The longest time for which packets may gather.
    pub gather: Duration,
    /// Whether a datagram keeps its DSCP.
    pub pass_dscp: bool,
    /// Whether it keeps its ECN bits.
    pub pass_ecn: bool,
}

impl Datapath {
    /// What of the settings can change.
    pub fn of(settings: &Settings) -> Self {
        Self {
            tls: settings.tls.clone(),
            identities: settings.identities.clone(),
            dtls_on_udp: settings.dtls_on_udp,
            listener_buffer: settings.listener_buffer,
            relay_buffer: settings.relay_buffer,
            gather: settings.gather,
            pass_dscp: settings.pass_dscp,
            pass_ecn: settings.pass_ecn,
        }
    }
}

/// Listeners that come and go with a change.
pub(super) struct SocketOrder {
    /// By the worker's number, until it has taken them.
    fresh: Mutex<Vec<Listeners>>,
    pub(super) gone: Vec<(u32, Arc<Departure>)>,
    pub(super) back: Vec<u32>,
    _holds: Vec<Hold>,
    /// The workers that could not serve all of their new sockets, and why.
    unserved: Mutex<Vec<(usize, io::Error)>>,
}

impl SocketOrder {
    /// The new sockets of a worker.
    pub(super) fn take(&self, worker: usize) -> Listeners {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.get_mut(worker).map(std::mem::take).unwrap_or_default()
    }

    /// Tells the owner that a worker could not serve all of its new sockets.
    pub(super) fn complain(&self, worker: usize, error: io::Error) {
        let mut unserved = self.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        unserved.push((worker, error));
    }
}

impl From<Sockets> for SocketOrder {
    fn from(sockets: Sockets) -> Self {
        let Sockets { workers, gone, back, holds, .. } = sockets;
        let unserved = Mutex::default();
        Self { fresh: Mutex::new(workers), gone, back, _holds: holds, unserved }
    }
}

/// A change that is under way.
#[derive(Clone)]
pub struct Change(Arc<Order>);

struct Order {
    live: Live,
    sockets: Option<SocketOrder>,
    /// Workers that have not done so yet.
    left: AtomicUsize,
}

impl Change {
    fn new(live: Live, sockets: Option<Sockets>, workers: usize) -> Self {
        let (left, sockets) = (AtomicUsize::new(workers), sockets.map(SocketOrder::from));
        Self(Arc::new(Order { live, sockets, left }))
    }

    /// Whether every worker goes by it.
    pub fn is_done(&self) -> bool {
        self.0.left.load(Ordering::Acquire) == 0
    }

    /// What came in the way of new listeners at workers, in words; those of other workers serve their clients.
    pub fn trouble(&self) -> Option<String> {
        let sockets = self.0.sockets.as_ref()?;
        let unserved = sockets.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        let told = unserved.iter().map(|(worker, error)| format!("worker {worker}: {error}"));
        (!unserved.is_empty()).then(|| told.collect::<Vec<_>>().join("; "))
    }
}

/// Where the last change lies until the workers have seen it.
#[derive(Default)]
pub(super) struct Orders(Mutex<Option<Change>>);

impl Orders {
    /// Puts a change in the place of the last one.
    pub(super) fn give(&self, live: Live, sockets: Option<Sockets>, workers: usize) -> Change {
        let change = Change::new(live, sockets, workers);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(change.clone());
        change
    }

    /// Whether some worker does not go by the last one yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.last().is_some_and(|change| !change.is_done())
    }

    fn last(&self) -> Option<Change> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Engine {
    /// Goes by what the owner wants now, if it is something new.
    pub(super) fn take_orders(&mut self) {
        let Some(change) = self.shared.orders.last() else {
            return;
        };
        let known = |last: &Change| Arc::ptr_eq(&last.0, &change.0);
        if self.order.as_ref().is_some_and(known) {
            return;
        }
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let Live { turn, realms, streams, dtls, proxies, web, path } = &change.0.live;
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        self.server.reconfigure(now, turn, realms, &mut door, &stats.turn);
        self.effects(now);
        let workers = self.shared.mailboxes.len();
        self.limits = streams.per_worker(workers);
        self.change_path(path, dtls);
        if let Some(order) = &change.0.sockets {
            self.change_listeners(order);
        }
        self.take_dtls(path.dtls_on_udp);
        self.links.set_rate(lowest_rate(turn));
        self.exempt = turn.limits.clone();
        self.proxies.clone_from(proxies);
        self.web.clone_from(web);
        change.0.left.fetch_sub(1, Ordering::AcqRel);
        self.order = Some(change);
    }

    /// Goes by another layout of the datapath, as far as that can be changed.
    fn change_path(&mut self, path: &Datapath, limits: &DtlsLimits) {
        let workers = self.shared.mailboxes.len();
        self.tls.clone_from(&path.tls);
        self.has_certificate = path.identities.is_some();
        match &mut self.dtls {
            Some(mine) => mine.set_limits(limits.per_worker(workers)),
            // What it takes, TLS with the same certificates has got already.
            none => *none = Dtls::new(path.identities.as_ref(), limits, workers).ok().flatten(),
        }
        self.gather = Gather::new(path.gather);
        self.relays.set_buffer(path.relay_buffer);
        self.set_listener_buffers(path.listener_buffer);
        self.passed_class = passed_class(path.pass_dscp, path.pass_ecn);
        self.tell_classes();
    }
}
