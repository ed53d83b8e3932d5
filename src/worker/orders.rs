//! What the owner of the workers changes while they work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::engine::{Engine, lowest_rate};
use super::relays::Door;
use super::{DtlsLimits, StreamLimits, WebSettings};
use crate::auth::Authority;
use crate::turn::{self, Prefix};

/// What can be changed ([`Workers::change`](super::Workers::change)): all of it at once, from the next wake-up on.
#[derive(Clone)]
pub struct Live {
    /// How the core decides. Relay addresses and ports are those of before.
    pub turn: Arc<turn::Settings>,
    /// Who may come in.
    pub authority: Arc<Authority>,
    /// Bounds on TCP connections: on those that come, and on all at what they do next.
    pub streams: StreamLimits,
    /// Bounds on DTLS, the same.
    pub dtls: DtlsLimits,
    /// Addresses whose connections begin with a PROXY protocol header.
    pub proxies: Vec<Prefix>,
    /// What becomes of HTTP that comes.
    pub web: WebSettings,
}

/// A change that is under way.
#[derive(Clone)]
pub struct Change(Arc<Order>);

struct Order {
    live: Live,
    /// Workers that have not done so yet.
    left: AtomicUsize,
}

impl Change {
    fn new(live: Live, workers: usize) -> Self {
        Self(Arc::new(Order { live, left: AtomicUsize::new(workers) }))
    }

    /// Whether every worker goes by it.
    pub fn is_done(&self) -> bool {
        self.0.left.load(Ordering::Acquire) == 0
    }
}

/// Where the last change lies until the workers have seen it.
#[derive(Default)]
pub(super) struct Orders(Mutex<Option<Change>>);

impl Orders {
    /// Puts a change in the place of the last one.
    pub(super) fn give(&self, live: Live, workers: usize) -> Change {
        let change = Change::new(live, workers);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(change.clone());
        change
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
        let Live { turn, authority, streams, dtls, proxies, web } = &change.0.live;
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        self.server.reconfigure(now, turn, authority, &mut door, &stats.turn);
        self.effects(now);
        let workers = self.shared.mailboxes.len();
        self.limits = streams.per_worker(workers);
        if let Some(mine) = &mut self.dtls {
            mine.set_limits(dtls.per_worker(workers));
        }
        self.links.set_rate(lowest_rate(&turn.limits));
        self.exempt = turn.limits.clone();
        self.proxies.clone_from(proxies);
        self.web.clone_from(web);
        change.0.left.fetch_sub(1, Ordering::AcqRel);
        self.order = Some(change);
    }
}
