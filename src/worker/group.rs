//! Starting, stopping and asking all workers, and what these share.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::engine::{Engine, Parts};
use super::mailbox::Mailbox;
use super::orders::Orders;
use super::random::SystemRandom;
use super::{Answers, Change, Clerk, Events, Followers, Live, Remote, Settings, Sockets, Stats};
use crate::auth::Realms;
use crate::net::{Offload, Waker};
use crate::time::{Mono, Now};
use crate::turn::{self, Audience, Ledger, Seat};

/// The clocks of the process. All workers count from the same start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        Now { mono: Mono::default() + self.start.elapsed(), unix }
    }
}

/// What the workers and their owner share.
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    pub(super) verbose: AtomicBool,
    /// TCP connections by client address.
    connections: Addresses,
    /// DTLS associations and handshakes by client address.
    #[cfg(feature = "dtls")]
    associations: Addresses,
    /// HTTP connections that are passed on, and of them those of each client address.
    webs: AtomicU32,
    web_clients: Addresses,
    /// Those who follow a client.
    pub(super) followers: Followers,
    /// What the owner wants changed.
    pub(super) orders: Orders,
    /// Who asks the stores.
    pub(super) clerk: OnceLock<Arc<dyn Clerk>>,
    /// By the worker's number.
    pub(super) mailboxes: Box<[Mailbox]>,
}

impl Shared {
    fn new(wakers: &[Arc<Waker>], followers: Followers) -> Self {
        Self {
            stop: AtomicBool::default(),
            verbose: AtomicBool::default(),
            connections: Addresses::default(),
            #[cfg(feature = "dtls")]
            associations: Addresses::default(),
            webs: AtomicU32::default(),
            web_clients: Addresses::default(),
            followers,
            orders: Orders::default(),
            clerk: OnceLock::new(),
            mailboxes: wakers.iter().map(|waker| Mailbox::new(Arc::clone(waker))).collect(),
        }
    }

    /// Counts one more connection of the address, unless it has `limit` of them; 0 is no limit.
    pub(super) fn connect(&self, address: IpAddr, limit: u32) -> bool {
        self.connections.count(address, limit)
    }

    pub(super) fn disconnect(&self, address: IpAddr) {
        self.connections.discount(address);
    }

    /// The same for DTLS.
    #[cfg(feature = "dtls")]
    pub(super) fn associate(&self, address: IpAddr, limit: u32) -> bool {
        self.associations.count(address, limit)
    }

    #[cfg(feature = "dtls")]
    pub(super) fn dissociate(&self, address: IpAddr) {
        self.associations.discount(address);
    }

    /// Counts one more HTTP connection of the address that is passed on, unless there are `limit` of them, or the
    /// address has as many as are free: one alone has half of them at most, and the next one gets through. An
    /// `exempt` address may have all.
    pub(super) fn enter_web(&self, address: IpAddr, limit: u32, exempt: bool) -> bool {
        let more = |count: u32| (count < limit).then_some(count + 1);
        let entered = self.webs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let Ok(free) = entered.map(|before| limit - before) else {
            return false;
        };
        let has_its_share = self.web_clients.count(address, if exempt { 0 } else { free });
        if !has_its_share {
            self.webs.fetch_sub(1, Ordering::Relaxed);
        }
        has_its_share
    }

    pub(super) fn leave_web(&self, address: IpAddr) {
        self.web_clients.discount(address);
        self.webs.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many of something each client address has.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, u32>>);

impl Addresses {
    fn count(&self, address: IpAddr, limit: u32) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(subnet(address)).or_default();
        if limit != 0 && *count >= limit {
            return false;
        }
        *count += 1;
        true
    }

    fn discount(&self, address: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&subnet(address)) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&subnet(address));
            }
        }
    }
}

/// One subscriber's address: an IPv6 /64 is one.
pub(super) fn subnet(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & (u128::MAX << 64)).into()),
    }
}

/// The running workers.
pub struct Workers {
    threads: Vec<(JoinHandle<()>, Arc<Waker>)>,
    stats: Vec<Arc<Stats>>,
    shared: Arc<Shared>,
    offload: Offload,
    audience: Arc<Audience>,
}

impl Workers {
    /// Starts one thread for each worker that sockets were bound for.
    ///
    /// # Errors
    /// When the system gives no thread, poller or random numbers.
    pub fn start(
        sockets: Sockets,
        settings: &Settings,
        turn: &Arc<turn::Settings>,
        realms: &Arc<Realms>,
        ledger: &Arc<Ledger>,
        clock: Clock,
        events: &Events,
    ) -> io::Result<Self> {
        let count = sockets.workers.len();
        let audience = Arc::new(Audience::default());
        let wakers = (0..count).map(|_| Waker::new().map(Arc::new));
        let wakers = wakers.collect::<io::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared::new(&wakers, Followers::new(Arc::clone(&audience))));
        let offload = if settings.trains { Offload::probe() } else { Offload::NONE };
        let mut workers = Self {
            threads: Vec::new(),
            stats: Vec::new(),
            shared,
            offload,
            audience: Arc::clone(&audience),
        };
        for (number, (listeners, waker)) in sockets.workers.into_iter().zip(wakers).enumerate() {
            let stats = Arc::new(Stats::default());
            let server = turn::Server::new(
                Arc::clone(turn),
                Arc::clone(realms),
                Arc::clone(ledger),
                Box::new(SystemRandom::new()),
                clock.now().mono,
            )
            .seated(Seat { number: number as u32, of: count as u32 })
            .heard_by(Arc::clone(&audience));
            let engine = Engine::new(Parts {
                server,
                sockets: listeners,
                settings,
                turn,
                offload,
                number,
                workers: count,
                shared: Arc::clone(&workers.shared),
                stats: Arc::clone(&stats),
                waker: Arc::clone(&waker),
                clock,
                events: events.clone(),
            })?;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || engine.run())?;
            workers.threads.push((thread, waker));
            workers.stats.push(stats);
        }
        Ok(workers)
    }

    /// What asks them about what they hold.
    pub fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.shared))
    }

    /// The counters of each worker.
    pub fn stats(&self) -> &[Arc<Stats>] {
        &self.stats
    }

    /// Whether the kernel moves trains of datagrams.
    pub const fn offload(&self) -> Offload {
        self.offload
    }

    /// Allocations alive now.
    pub fn live(&self) -> u64 {
        self.stats.iter().map(|stats| stats.turn.live()).sum()
    }

    /// Whether a worker has ended by itself, which is a defect.
    pub fn failed(&self) -> bool {
        self.threads.iter().any(|(thread, _)| thread.is_finished())
    }

    /// Whether some worker does not go by the last [change](Self::change) yet.
    pub fn is_changing(&self) -> bool {
        self.shared.orders.is_under_way()
    }

    /// Has the workers go by other settings from their next wake-up on, which comes at once. One change at a time: the
    /// last one must be [done](Change::is_done). `sockets` are listeners that come and go with it.
    pub fn change(&self, live: Live, sockets: Option<Sockets>) -> Change {
        let change = self.shared.orders.give(live, sockets, self.threads.len());
        self.wake();
        change
    }

    /// Says who asks the stores from now on; only the first one does. Until then users who are not configured are
    /// told that nobody can be asked.
    pub fn set_clerk(&self, clerk: Arc<dyn Clerk>) {
        let _ = self.shared.clerk.set(clerk);
    }

    /// The way of the stores' answers.
    pub fn answers(&self) -> Answers {
        Answers(Arc::clone(&self.shared))
    }

    /// Has each look for work once, also those that have none: what they have done then shows in their
    /// [`Stats::wake_ups`].
    pub fn wake(&self) {
        self.threads.iter().for_each(|(_, waker)| waker.wake());
    }

    /// Lets somebody follow a client.
    pub fn followers(&self) -> Followers {
        self.shared.followers.clone()
    }

    /// Whether all refusals are told as [`super::Event`]s.
    pub fn set_verbose(&self, verbose: bool) {
        self.shared.verbose.store(verbose, Ordering::Relaxed);
        self.audience.set_verbose(verbose);
    }

    /// Ends all allocations and threads. The last events are in the queue when it returns, for
    /// which its other end has to be read meanwhile.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        for (thread, _) in self.threads {
            // A worker that panicked has said so itself; the others are still to be joined.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
