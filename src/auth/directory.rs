//! What stores have said about users, for as long as that may be relied upon.
//!
//! All workers share one. It is asked when a request comes from somebody who is neither configured nor in an
//! allocation; no packet of a call comes here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use hashbrown::{Equivalent, HashMap};

use super::{Credential, Keys, Secret};
use crate::time::Mono;

/// After a failure, so long is a user who was known taken without asking again.
const TRUST: Duration = Duration::from_secs(5);
/// How long it stays that a store could not say, for one user: requests that come at once need not ask each.
const UNSAID: Duration = Duration::from_millis(500);
/// A password that does not match may be new: it is asked for again when the answer is older than this.
const DOUBT: Duration = Duration::from_secs(10);
/// An answer is good for the request that asked for it, at least.
const LEAST: Duration = Duration::from_secs(1);
/// Names that are nobody's, as far as is known: strangers make them up.
const STRANGERS: usize = 8192;
/// Of so many entries one has to go when there is no room; those that are in use are passed over.
const CHANCES: usize = 8;
/// So many entries are looked at before the lock is given back.
const STEP: usize = 1024;
/// The order of a table is cleared of removed names when it is so many times as long as the table may be.
const GHOSTS: usize = 4;

/// How long answers are relied upon, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A user's keys.
    pub keep: Duration,
    /// That there is no such user.
    pub keep_unknown: Duration,
    /// A user's keys, beyond that, while no store can say anything.
    pub stale: Duration,
    /// Users that are remembered: each takes about a kilobyte.
    pub users: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(300),
            keep_unknown: Duration::from_secs(10),
            stale: Duration::from_secs(3600),
            users: 65536,
        }
    }
}

/// What the stores say about one user.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is there, with these keys, and that may be relied upon for so long, or for as long as is configured.
    User(Arc<Keys>, Option<Duration>),
    /// There is no such user.
    NoUser,
    /// They cannot say.
    Unavailable,
}

/// A user of a realm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName {
    /// The realm.
    pub realm: Arc<str>,
    /// The name, prepared.
    pub name: Box<str>,
}

/// The same, to look for.
#[derive(Hash)]
struct Wanted<'a> {
    realm: &'a str,
    name: &'a str,
}

impl Equivalent<Arc<UserName>> for Wanted<'_> {
    fn equivalent(&self, key: &Arc<UserName>) -> bool {
        *key.name == *self.name && *key.realm == *self.realm
    }
}

/// What the directory has about a user.
pub(super) enum Entry {
    /// Good keys. The flag: whether they are old enough to be asked for again when they do not match.
    User(Arc<Keys>, bool),
    NoUser,
    /// The stores have to be asked.
    NotAsked,
    /// They have just been asked and could not say.
    Unavailable,
}

/// The memory of all answers.
#[derive(Debug, Default)]
pub struct Directory {
    inner: Mutex<Inner>,
    /// How often somebody was asked about who is here, and who is not.
    hits: AtomicU64,
    misses: AtomicU64,
    /// Of somebody only an MD5 key may be known.
    only_md5: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    retention: Retention,
    users: Table<Known>,
    strangers: Table<Stranger>,
    /// By realm; none is known of a realm that is not here.
    secrets: HashMap<Arc<str>, Shared, RandomState>,
    /// What was heard before the last change of the stores is of another age, and not relied upon.
    age: u64,
}

/// The shared secrets of a realm, each store's for itself: one that cannot say keeps those of before, and what another
/// has taken out is gone.
#[derive(Debug)]
struct Shared {
    of: Vec<(u64, Option<Arc<[Secret]>>)>,
    all: Arc<[Secret]>,
}

#[derive(Debug)]
struct Known {
    keys: Arc<Keys>,
    heard: Mono,
    keep: Option<Duration>,
    /// The age of the directory when it was heard.
    age: u64,
    /// When it was asked for last, with whatever result.
    asked: Mono,
    /// When the stores could not say whether it is still so. Of this user: that they could not about another one,
    /// whom somebody may have made up, means nothing here.
    failed: Option<Mono>,
    /// Somebody has come with it since it was heard.
    used: bool,
}

impl Known {
    /// How long it is relied upon.
    fn keep(&self, retention: Retention, age: u64) -> Duration {
        if self.age == age { self.keep.unwrap_or(retention.keep) } else { Duration::ZERO }
    }
}

#[derive(Clone, Copy, Debug)]
struct Stranger {
    until: Mono,
    /// Whether there is such a user is not known.
    unsaid: bool,
}

/// Entries by user, and the order in which they are looked through.
#[derive(Debug)]
struct Table<T> {
    of: HashMap<Arc<UserName>, T, RandomState>,
    /// The same users, and some who have been removed: they go when it is their turn.
    order: VecDeque<Arc<UserName>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { of: HashMap::default(), order: VecDeque::new() }
    }
}

impl<T> Table<T> {
    fn get_mut(&mut self, wanted: &Wanted<'_>) -> Option<&mut T> {
        self.of.get_mut(wanted)
    }

    /// Files an entry. Without room another goes, if possible one that `spare` does not hold.
    fn insert(&mut self, name: &Arc<UserName>, value: T, most: usize, spare: impl Fn(&T) -> bool) {
        if let Some(earlier) = self.of.get_mut(name) {
            *earlier = value;
            return;
        }
        let mut chances = CHANCES;
        for _ in 0..STEP {
            if self.of.len() < most {
                break;
            }
            let Some(oldest) = self.order.pop_front() else { break };
            let Some(held) = self.value(&oldest) else { continue };
            chances = chances.saturating_sub(1);
            if chances > 0 && spare(held) {
                self.order.push_back(oldest);
            } else {
                self.of.remove(&oldest);
            }
        }
        if self.order.len() > GHOSTS * (most + 1) {
            let of = &self.of;
            self.order.retain(|name| is_in(of, name));
        }
        self.of.insert(Arc::clone(name), value);
        self.order.push_back(Arc::clone(name));
    }

    /// The value of a name in the order, unless it has been removed since.
    fn value(&self, name: &Arc<UserName>) -> Option<&T> {
        self.of.get(name).filter(|_| is_in(&self.of, name))
    }

    fn remove(&mut self, wanted: &Wanted<'_>) -> Option<T> {
        self.of.remove(wanted)
    }

    /// Looks at the next entries in turn and forgets those that are not worth keeping.
    fn pass(&mut self, count: usize, mut keep: impl FnMut(&Arc<UserName>, &mut T) -> bool) {
        for _ in 0..count.min(self.order.len()) {
            let Some(name) = self.order.pop_front() else {
                return;
            };
            if !is_in(&self.of, &name) {
                continue;
            }
            if self.of.get_mut(&name).is_some_and(|value| keep(&name, value)) {
                self.order.push_back(name);
            } else {
                self.of.remove(&name);
            }
        }
    }
}

/// Whether this is the very name of an entry, and not that of one that was there before.
fn is_in<T>(of: &HashMap<Arc<UserName>, T, RandomState>, name: &Arc<UserName>) -> bool {
    of.get_key_value(name).is_some_and(|(key, _)| Arc::ptr_eq(key, name))
}

impl Directory {
    /// An empty one.
    pub fn new(retention: Retention) -> Self {
        let directory = Self::default();
        directory.lock().retention = retention;
        directory
    }

    /// Goes by another retention. With `doubt` nothing that is known is relied upon any more: other stores may say
    /// something else. It is asked for anew when somebody comes, and goes on while they cannot say.
    pub fn set_retention(&self, retention: Retention, doubt: bool) {
        let mut inner = self.lock();
        inner.retention = retention;
        if doubt {
            inner.strangers = Table::default();
            inner.age += 1;
        }
    }

    /// Tells whether the stores may have an MD5 key only of somebody. When one is heard of, they do.
    pub fn expect_only_md5(&self, expected: bool) {
        self.only_md5.store(expected, Ordering::Relaxed);
    }

    /// Whether there may be somebody with an MD5 key only.
    pub(super) fn may_have_only_md5(&self) -> bool {
        self.only_md5.load(Ordering::Relaxed)
    }

    /// What is known of a user.
    pub(super) fn find(&self, realm: &str, name: &str, now: Mono) -> Entry {
        let entry = self.entry(realm, name, now);
        let count = if matches!(entry, Entry::NotAsked) { &self.misses } else { &self.hits };
        count.fetch_add(1, Ordering::Relaxed);
        entry
    }

    fn entry(&self, realm: &str, name: &str, now: Mono) -> Entry {
        let wanted = Wanted { realm, name };
        let mut inner = self.lock();
        let (retention, current) = (inner.retention, inner.age);
        if let Some(known) = inner.users.get_mut(&wanted) {
            let age = now.since(known.heard);
            let keep = known.keep(retention, current);
            let trusted = known.failed.is_some_and(|at| now < at + TRUST);
            if age < keep || (trusted && age < keep + retention.stale) {
                known.used = true;
                let doubtful = now.since(known.asked) >= DOUBT;
                return Entry::User(Arc::clone(&known.keys), doubtful);
            }
        }
        match inner.strangers.get_mut(&wanted) {
            Some(stranger) if now < stranger.until && stranger.unsaid => Entry::Unavailable,
            Some(stranger) if now < stranger.until => Entry::NoUser,
            _ => Entry::NotAsked,
        }
    }

    /// Whether a credential of a store's user is still good; `None` when nothing is remembered of the user.
    pub(super) fn vouches_for(&self, credential: &Credential) -> Option<bool> {
        let wanted = Wanted { realm: credential.realm(), name: credential.username() };
        let mut inner = self.lock();
        if let Some(known) = inner.users.get_mut(&wanted) {
            return Some(known.keys.have(credential.key()));
        }
        inner.strangers.get_mut(&wanted).filter(|stranger| !stranger.unsaid).map(|_| false)
    }

    /// Remembers what the stores have said. True when a credential that was good before is so no more.
    pub fn learn(&self, now: Mono, user: &Arc<UserName>, answer: Answer) -> bool {
        let wanted = Wanted { realm: &user.realm, name: &user.name };
        let mut inner = self.lock();
        let retention = inner.retention;
        let (most, strangers) = (retention.users.max(1), retention.users.clamp(1, STRANGERS));
        match answer {
            Answer::User(keys, keep) => {
                if keys.are_only_md5() {
                    self.expect_only_md5(true);
                }
                inner.strangers.remove(&wanted);
                let earlier = inner.users.get_mut(&wanted).map(|known| Arc::clone(&known.keys));
                let (keys, lost) = merged(keys, earlier);
                let keep = keep.map(|keep| keep.max(LEAST));
                let age = inner.age;
                let known =
                    Known { keys, heard: now, keep, age, asked: now, failed: None, used: false };
                inner.users.insert(user, known, most, |known| known.used || known.keys.are_held());
                lost
            }
            Answer::NoUser => {
                let until = now + retention.keep_unknown;
                inner
                    .strangers
                    .insert(user, Stranger { until, unsaid: false }, strangers, |_| false);
                inner.users.remove(&wanted).is_some()
            }
            Answer::Unavailable => {
                let until = now + UNSAID;
                inner
                    .strangers
                    .insert(user, Stranger { until, unsaid: true }, strangers, |_| false);
                if let Some(known) = inner.users.get_mut(&wanted) {
                    known.asked = now;
                    known.failed = Some(now);
                }
                false
            }
        }
    }

    /// Looks at the next `count` users in turn: forgets those whose time is over, and tells of whom the stores are to
    /// be asked again, before an answer that somebody relies on is out of date.
    pub fn pass(&self, now: Mono, count: usize) -> Vec<Arc<UserName>> {
        let (mut users, mut strangers) = {
            let inner = self.lock();
            (count.min(inner.users.order.len()), count.min(inner.strangers.order.len()))
        };
        let mut due = Vec::new();
        // A worker may wait for the lock: it is given back now and then.
        while users + strangers > 0 {
            let mut inner = self.lock();
            let (retention, current) = (inner.retention, inner.age);
            inner.strangers.pass(strangers.min(STEP), |_, stranger| now < stranger.until);
            inner.users.pass(users.min(STEP), |name, known| {
                let age = now.since(known.heard);
                let keep = known.keep(retention, current);
                let held = known.keys.are_held();
                if age >= keep * 3 / 4 && (known.used || held) {
                    due.push(Arc::clone(name));
                }
                held || age < keep + retention.stale
            });
            (users, strangers) = (users.saturating_sub(STEP), strangers.saturating_sub(STEP));
        }
        due
    }

    /// The shared secrets that stores have for a realm, and whether all of them have said which.
    pub(super) fn secrets(&self, realm: &str) -> (Option<Arc<[Secret]>>, bool) {
        match self.lock().secrets.get(realm) {
            Some(shared) => {
                let complete = shared.of.iter().all(|(_, said)| said.is_some());
                (Some(Arc::clone(&shared.all)), complete)
            }
            None => (None, false),
        }
    }

    /// Remembers what each store has said about the secrets of a realm, by the store's number; `None` when it could not
    /// say, so that those of before stay. Other stores are none any more. True when a secret of before is gone.
    pub fn learn_secrets(&self, realm: &Arc<str>, said: Vec<(u64, Option<Vec<Secret>>)>) -> bool {
        let mut inner = self.lock();
        let before = inner.secrets.remove(realm);
        let of_before = |store: u64| {
            let mut known = before.iter().flat_map(|before| &before.of);
            known.find(|(other, _)| *other == store).and_then(|(_, secrets)| secrets.clone())
        };
        let own = |(store, said): (u64, Option<Vec<Secret>>)| {
            (store, said.map(Arc::from).or_else(|| of_before(store)))
        };
        let of: Vec<_> = said.into_iter().map(own).collect();
        let all = of.iter().flat_map(|(_, secrets)| secrets.iter().flat_map(|all| all.iter()));
        let all: Arc<[Secret]> = all.cloned().collect();
        let is_gone = |secret: &Secret| !all.contains(secret);
        let lost = before.as_ref().is_some_and(|before| before.all.iter().any(is_gone));
        inner.secrets.insert(Arc::clone(realm), Shared { of, all });
        lost
    }

    /// Users that are remembered, and names that are known to be nobody's.
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.users.of.len(), inner.strangers.of.len())
    }

    /// How often it knew something about a name that it was asked about, and how often not.
    pub fn asked(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // It is whole at every moment.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// New keys with what they have in common with those of before, and whether one is gone.
fn merged(keys: Arc<Keys>, earlier: Option<Arc<Keys>>) -> (Arc<Keys>, bool) {
    let Some(earlier) = earlier else {
        return (keys, false);
    };
    match Arc::try_unwrap(keys) {
        Ok(mut keys) => {
            let lost = keys.take_over(&earlier);
            (Arc::new(keys), lost)
        }
        Err(keys) => (keys, true),
    }
}

#[cfg(test)]
mod tests;
