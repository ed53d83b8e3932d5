//! Requests that wait for the stores: nobody here knows their users yet.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::guard::prefix;
use super::request::Request;
use super::{Client, Dropped, Effect, RelaySockets, Server, Stats, Transport, Verdict};
use crate::auth::UserName;
use crate::stun::TransactionId;
use crate::time::{Mono, Now};

/// Requests that may wait at one worker.
const MOST: usize = 512;
/// Those of one client address, or of one IPv6 /64: a call is set up with a handful.
const SHARE: usize = 64;
/// The longest request that waits, in bytes. They have a few hundred.
const LONGEST: usize = 2048;
/// Stores answer within their time limit, with words or without. What still waits then has been forgotten.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a store takes for an answer. What has waited so long may have missed it, and whoever comes later is not to
/// wait for the same: the stores are asked again.
const AGAIN: Duration = Duration::from_secs(11);

/// A request that waits.
struct Waiting {
    since: Mono,
    /// When its question was asked, which may be that of another request.
    asked: Mono,
    user: Arc<UserName>,
    client: Client,
    id: TransactionId,
    /// The worker at which it has arrived, if it is another one.
    origin: Option<u32>,
    packet: Box<[u8]>,
}

/// A request that has waited, with what has become of it.
#[derive(Debug)]
pub struct Resumed {
    /// Whose it is.
    pub client: Client,
    /// The worker at which it has arrived, if it is another one.
    pub origin: Option<u32>,
    /// The request.
    pub packet: Box<[u8]>,
    /// What to do about it, as if it had come just now.
    pub verdict: Verdict,
}

/// The requests that wait at one worker, the oldest first.
#[derive(Default)]
pub(super) struct Parked {
    waiting: VecDeque<Waiting>,
    /// Those whose answer has come.
    ready: VecDeque<Waiting>,
}

impl Parked {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.ready.len()
    }

    /// When [`Server::expire_parked`] has something to do.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.waiting.front().map(|oldest| oldest.since + PATIENCE)
    }

    fn has_room(&self, from: IpAddr) -> bool {
        let all = || self.waiting.iter().chain(&self.ready);
        let same = |waiting: &&Waiting| prefix(waiting.client.tuple.client.ip()) == prefix(from);
        self.len() < MOST && all().filter(same).count() < SHARE
    }

    /// Whether somebody waits at a UDP listener of this worker.
    pub(super) fn is_on(&self, leg: u32) -> bool {
        self.waiting.iter().chain(&self.ready).any(|waiting| {
            let Client { tuple, leg: at } = waiting.client;
            waiting.origin.is_none() && at == leg && tuple.transport == Transport::Udp
        })
    }

    fn has(&self, client: &Client, id: TransactionId) -> bool {
        let mut all = self.waiting.iter().chain(&self.ready);
        all.any(|waiting| waiting.client.tuple == client.tuple && waiting.id == id)
    }
}

impl Server {
    /// Keeps a request until the stores have said what they know of its user, whom they are asked about once.
    /// `None` when there is no room for it.
    pub(super) fn park(
        &mut self,
        now: Mono,
        client: &Client,
        request: &Request<'_>,
        packet: &[u8],
        stats: &Stats,
    ) -> Option<Verdict> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let realm = request.claim.realm.and_then(text)?;
        let name = request.claim.username.and_then(text)?;
        // A client that does not hear anything says it again.
        if self.parked.has(client, request.id) {
            return Some(Verdict::Park);
        }
        if packet.len() > LONGEST || !self.parked.has_room(client.tuple.client.ip()) {
            return None;
        }
        let mut waiting = self.parked.waiting.iter().rev();
        let same = |it: &&Waiting| *it.user.name == *name && *it.user.realm == *realm;
        let (user, asked) = match waiting.find(same).filter(|last| now < last.asked + AGAIN) {
            Some(last) => (Arc::clone(&last.user), last.asked),
            None => {
                let user = Arc::new(UserName { realm: realm.into(), name: name.into() });
                let (asked, client) = (Arc::clone(&user), client.tuple);
                self.effects.push_back(Effect::LookUp { user: asked, client });
                (user, now)
            }
        };
        let (id, origin, packet) = (request.id, self.origin, packet.into());
        let waiting = Waiting { since: now, asked, user, client: *client, id, origin, packet };
        self.parked.waiting.push_back(waiting);
        stats.parked.add(1);
        Some(Verdict::Park)
    }

    /// The stores have said what they know of a user, or that they cannot say, and the directory knows it: the requests
    /// that have waited for that can be taken up ([`Self::resume`]).
    pub fn provide_key(&mut self, user: &UserName) {
        let Parked { waiting, ready } = &mut self.parked;
        for one in std::mem::take(waiting) {
            let place = if *one.user == *user { &mut *ready } else { &mut *waiting };
            place.push_back(one);
        }
    }

    /// Takes up the next request whose answer has come, as [`Self::receive`] would; `None` when there is no more.
    pub fn resume(
        &mut self,
        now: Now,
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) -> Option<Resumed> {
        let Waiting { client, origin, packet, .. } = self.parked.ready.pop_front()?;
        stats.unparked.add(1);
        (self.origin, self.resumed) = (origin, true);
        let verdict = self.receive(now, &client, &packet, out, sockets, stats);
        (self.origin, self.resumed) = (None, false);
        Some(Resumed { client, origin, packet, verdict })
    }

    /// Forgets what a client has asked whose connection is gone, closed or handed to somebody else: nobody there would
    /// hear the answer, and another one may get its 5-tuple or its leg.
    pub fn forget_parked(&mut self, client: &Client, stats: &Stats) {
        let before = self.parked.len();
        let others = |waiting: &Waiting| waiting.client != *client || waiting.origin.is_some();
        self.parked.waiting.retain(others);
        self.parked.ready.retain(others);
        stats.unparked.add((before - self.parked.len()) as u64);
    }

    /// Forgets what nobody has answered.
    pub(super) fn expire_parked(&mut self, now: Mono, stats: &Stats) {
        let over = |oldest: &mut Waiting| oldest.since + PATIENCE <= now;
        while self.parked.waiting.pop_front_if(over).is_some() {
            stats.unparked.add(1);
            stats.drop(Dropped::StoreWait);
        }
    }

    /// Requests that wait for the stores.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }
}
