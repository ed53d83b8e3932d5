//! Between the workers and the stores: takes the workers' questions, asks each once, and has everybody told.
//!
//! It also keeps what is known in step with the stores: answers that somebody relies on are asked for again before they
//! are out of date, and so are the shared secrets.

mod backlog;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc};
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::error::StartError;
use super::reload::{Commit, Part};
use crate::auth::{Answer, Directory, Secret, UserName};
use crate::config::Config;
use crate::store::{Desk, Question, StoreStats};
use crate::time::Mono;
use crate::turn::FiveTuple;
use crate::worker::{Answers, Clerk, Clock, Workers};
use backlog::Backlog;

/// Questions that may lie in the queue from the workers.
const QUEUE: usize = 1024;
/// Users about whom stores are asked at a time. Each store has a bound of its own.
const MOST: usize = 1024;
/// Of these, those about whom nobody waits to hear.
const IN_STOCK: usize = 64;
/// How often some of what is known is looked through.
const TICK: Duration = Duration::from_secs(1);
/// In so many ticks all of it is.
const ROUND: usize = 8;
/// How soon a worker without room for a letter is tried again, and how often.
const AGAIN: (Duration, usize) = (Duration::from_millis(10), 500);

/// What the stores are asked with, and what they have said.
pub(super) struct Stores {
    pub(super) directory: Arc<Directory>,
    desk: ArcSwap<Desk>,
    plan: Mutex<Plan>,
    /// Secrets are to be asked for at once, and these users.
    changed: Notify,
    news: Mutex<Vec<Arc<UserName>>>,
}

/// Of whom the shared secrets are asked for, and how often.
struct Plan {
    realms: Vec<Arc<str>>,
    every: Duration,
    /// The number of the question to which each realm's secrets are the answer.
    heard: HashMap<Arc<str>, u64>,
}

/// One question of a worker.
struct Inquiry {
    worker: u32,
    user: Arc<UserName>,
    client: FiveTuple,
}

/// What came of something that was asked.
enum Heard {
    /// About a user, and for whom it was asked.
    User(Arc<UserName>, Option<FiveTuple>, Answer),
    /// The secrets of a realm, by store, and the number of the question.
    Secrets(Arc<str>, u64, Said),
}

/// What each store says about the secrets of a realm.
type Said = Vec<(u64, Option<Vec<Secret>>)>;

struct Queue(mpsc::Sender<Inquiry>);

impl Clerk for Queue {
    fn look_up(&self, worker: u32, user: &Arc<UserName>, client: &FiveTuple) -> bool {
        let inquiry = Inquiry { worker, user: Arc::clone(user), client: *client };
        self.0.try_send(inquiry).is_ok()
    }
}

impl Stores {
    /// None of them is open yet.
    pub(super) fn new(config: &Config) -> Arc<Self> {
        let directory = Arc::new(Directory::new(config.store.retention));
        let (plan, changed) = (Mutex::new(Plan::of(config)), Notify::new());
        let (desk, news) = (ArcSwap::default(), Mutex::default());
        Arc::new(Self { directory, desk, plan, changed, news })
    }

    /// Opens what is configured.
    ///
    /// # Errors
    /// A store that can never work.
    pub(super) fn open(&self, config: &Config) -> Result<(), StartError> {
        let desk = open(config, &Desk::default())?;
        self.directory.expect_only_md5(desk.may_have_only_md5());
        self.desk.store(Arc::new(desk));
        Ok(())
    }

    /// What authorities are to ask; nothing where there is no store.
    pub(super) fn directory_for(&self, config: &Config) -> Option<Arc<Directory>> {
        (!config.stores.is_empty()).then(|| Arc::clone(&self.directory))
    }

    /// What was counted, by store.
    pub(super) fn stats(&self) -> Vec<(String, Arc<StoreStats>)> {
        self.desk.load().stats()
    }

    /// Serves the workers from now on.
    pub(super) fn serve(self: &Arc<Self>, workers: &Workers, clock: Clock) {
        let (sender, queue) = mpsc::channel(QUEUE);
        workers.set_clerk(Arc::new(Queue(sender)));
        let stores = Arc::clone(self);
        let desk = Reception {
            stores,
            answers: workers.answers(),
            clock,
            under_way: HashMap::new(),
            in_stock: HashSet::new(),
            asking: JoinSet::new(),
            names: HashMap::new(),
            backlog: Backlog::default(),
            again: HashSet::new(),
            next_secrets: Instant::now(),
            rounds: 0,
        };
        tokio::spawn(desk.run(queue));
    }

    /// Somebody has written to a store: it is asked for its secrets at once, and about this user of that realm, or of
    /// each. False when too much of that is to be done already.
    pub(super) fn look_again(&self, user: Option<(&str, Option<&str>)>) -> bool {
        if let Some((name, realm)) = user {
            let realms = self.plan().realms.clone();
            let own = realms.iter().filter(|of| realm.is_none_or(|realm| realm == &***of));
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            if news.len() >= MOST {
                return false;
            }
            news.extend(
                own.map(|of| Arc::new(UserName { realm: Arc::clone(of), name: name.into() })),
            );
        }
        self.changed.notify_one();
        true
    }

    /// Whether these are still the stores that are asked.
    fn has(&self, desk: &Arc<Desk>) -> bool {
        Arc::ptr_eq(desk, &self.desk.load())
    }

    /// Files what stores have said about a user, and tells whether a credential of before is none any more. `None` when
    /// others are to be asked by now: it does not count.
    fn learn(
        &self,
        asked: &Arc<Desk>,
        now: Mono,
        user: &Arc<UserName>,
        answer: Answer,
    ) -> Option<bool> {
        // Held meanwhile, so that the stores do not change in between.
        let _plan = self.plan();
        self.has(asked).then(|| self.directory.learn(now, user, answer))
    }

    /// The same of a realm's secrets. What was asked for earlier than what is known does not count either.
    fn learn_secrets(&self, asked: &Arc<Desk>, realm: &Arc<str>, round: u64, said: Said) -> bool {
        let mut plan = self.plan();
        if !self.has(asked) || plan.heard.get(realm).is_some_and(|heard| round < *heard) {
            return false;
        }
        plan.heard.insert(Arc::clone(realm), round);
        self.directory.learn_secrets(realm, said)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the stores; what is open already is taken over.
fn open(config: &Config, before: &Desk) -> Result<Desk, StartError> {
    Desk::open(&config.stores, before).map_err(|(name, error)| StartError::Store(name, error))
}

impl Plan {
    fn of(config: &Config) -> Self {
        let further = config.realms.iter().map(|realm| &realm.auth);
        let all = std::iter::once(&config.auth).chain(further);
        let prepared = all.filter_map(|auth| crate::auth::prepare(&auth.realm));
        let realms = prepared.map(|realm| realm.into()).collect();
        Self { realms, every: config.store.refresh_secrets, heard: HashMap::new() }
    }
}

/// The stores, where the configuration is read again.
pub(super) struct StoresPart(pub(super) Arc<Stores>);

impl Part for StoresPart {
    fn prepare<'a>(
        &'a mut self,
        before: &Config,
        after: &'a Config,
    ) -> Result<Commit<'a>, StartError> {
        let desk = open(after, &self.0.desk.load())?;
        let doubt = before.stores != after.stores;
        let stores = &self.0;
        Ok(Box::new(move || {
            // Held until all is changed: nobody files meanwhile what the stores of before have said.
            let mut plan = stores.plan();
            *plan = Plan::of(after);
            if doubt {
                stores.directory.expect_only_md5(desk.may_have_only_md5());
            }
            stores.desk.store(Arc::new(desk));
            stores.directory.set_retention(after.store.retention, doubt);
            drop(plan);
            stores.changed.notify_one();
        }))
    }
}

/// The task that asks.
struct Reception {
    stores: Arc<Stores>,
    answers: Answers,
    clock: Clock,
    /// Who waits for the answer about a user.
    under_way: HashMap<Arc<UserName>, Vec<u32>>,
    /// Those of them about whom nobody waits to hear.
    in_stock: HashSet<Arc<UserName>>,
    /// What comes of it, and of which stores.
    asking: JoinSet<(Arc<Desk>, Heard)>,
    /// Whom each of these asks about.
    names: HashMap<task::Id, Arc<UserName>>,
    /// Those about whom nobody waits to hear, and for whom there is no room yet.
    backlog: Backlog,
    /// What is being heard about these may be older than what somebody has written.
    again: HashSet<Arc<UserName>>,
    next_secrets: Instant,
    /// How often secrets have been asked for.
    rounds: u64,
}

impl Reception {
    async fn run(mut self, mut queue: mpsc::Receiver<Inquiry>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stores = Arc::clone(&self.stores);
            tokio::select! {
                inquiry = queue.recv() => match inquiry {
                    Some(inquiry) => self.on_inquiry(inquiry),
                    None => return,
                },
                Some(heard) = self.asking.join_next_with_id() => match heard {
                    Ok((id, (desk, heard))) => {
                        self.names.remove(&id);
                        self.on_heard(&desk, heard);
                    }
                    Err(error) => self.on_defect(&error),
                },
                () = stores.changed.notified() => {
                    self.ask_for_secrets();
                    self.ask_for_news();
                }
                _ = ticks.tick() => self.look_through(),
            }
        }
    }

    fn on_inquiry(&mut self, inquiry: Inquiry) {
        let Inquiry { worker, user, client } = inquiry;
        if let Some(waiting) = self.under_way.get_mut(&user) {
            self.in_stock.remove(&user);
            if !waiting.contains(&worker) {
                waiting.push(worker);
            }
            return;
        }
        if self.under_way.len() >= MOST {
            return self.tell(worker, &user);
        }
        self.ask(&user, vec![worker], Some(client));
    }

    fn ask(&mut self, user: &Arc<UserName>, waiting: Vec<u32>, client: Option<FiveTuple>) {
        self.under_way.insert(Arc::clone(user), waiting);
        let (stores, user) = (Arc::clone(&self.stores), Arc::clone(user));
        let name = Arc::clone(&user);
        let asking = self.asking.spawn(async move {
            let (realm, username) = ((*user.realm).into(), user.name.clone());
            let question = Question { realm, username, client: client.map(|it| it.client) };
            let desk = stores.desk.load_full();
            let answer = desk.look_up(&question).await;
            (desk, Heard::User(user, client, answer))
        });
        self.names.insert(asking.id(), name);
    }

    /// A driver has panicked: that is no answer, and no reason to stop asking.
    fn on_defect(&mut self, error: &task::JoinError) {
        tracing::error!(event = "store_defect", "asking a store has failed: {error}");
        if let Some(user) = self.names.remove(&error.id()) {
            let desk = self.stores.desk.load_full();
            self.on_heard(&desk, Heard::User(user, None, Answer::Unavailable));
        }
    }

    fn on_heard(&mut self, desk: &Arc<Desk>, heard: Heard) {
        match heard {
            Heard::User(user, client, answer) => {
                let now = self.clock.now().mono;
                let Some(lost) = self.stores.learn(desk, now, &user, answer) else {
                    let waiting = self.under_way.remove(&user).unwrap_or_default();
                    return self.ask(&user, waiting, client);
                };
                self.in_stock.remove(&user);
                for worker in self.under_way.remove(&user).unwrap_or_default() {
                    self.tell(worker, &user);
                }
                if lost {
                    self.doubt(Some(&user));
                }
                if self.again.remove(&user) {
                    self.ask(&user, Vec::new(), None);
                }
                self.ask_in_stock();
            }
            // Where they do not count, others have been asked for since.
            Heard::Secrets(realm, round, said) => {
                if self.stores.learn_secrets(desk, &realm, round, said) {
                    self.doubt(None);
                }
            }
        }
    }

    fn look_through(&mut self) {
        if self.next_secrets <= Instant::now() {
            self.ask_for_secrets();
        }
        let (users, strangers) = self.stores.directory.counts();
        let count = users.max(strangers) / ROUND + 1;
        let due = self.stores.directory.pass(self.clock.now().mono, count);
        for user in due {
            self.backlog.add(user);
        }
        self.ask_in_stock();
    }

    /// Asks about as many as there is room for. The next one goes out when an answer has come.
    fn ask_in_stock(&mut self) {
        while self.in_stock.len() < IN_STOCK && self.under_way.len() < MOST {
            let Some(user) = self.backlog.next() else { return };
            if !self.under_way.contains_key(&user) {
                self.in_stock.insert(Arc::clone(&user));
                self.ask(&user, Vec::new(), None);
            }
        }
    }

    /// Asks about users of whom somebody has written something.
    fn ask_for_news(&mut self) {
        let news =
            std::mem::take(&mut *self.stores.news.lock().unwrap_or_else(PoisonError::into_inner));
        for user in news {
            if self.under_way.contains_key(&user) {
                self.again.insert(user);
            } else {
                self.ask(&user, Vec::new(), None);
            }
        }
    }

    fn ask_for_secrets(&mut self) {
        let (realms, every) = {
            let plan = self.stores.plan();
            (plan.realms.clone(), plan.every)
        };
        self.next_secrets = Instant::now() + every;
        self.rounds += 1;
        let round = self.rounds;
        for realm in realms {
            let stores = Arc::clone(&self.stores);
            self.asking.spawn(async move {
                let desk = stores.desk.load_full();
                let said = desk.secrets(&realm).await;
                (desk, Heard::Secrets(realm, round, said))
            });
        }
    }

    /// Tells a worker that the answer is there.
    fn tell(&self, worker: u32, user: &Arc<UserName>) {
        let (answers, user) = (self.answers.clone(), Arc::clone(user));
        insist(move || answers.tell(worker, &user));
    }

    /// Has all workers look whether credentials are still good.
    fn doubt(&self, user: Option<&Arc<UserName>>) {
        for worker in 0..self.answers.workers() {
            let (answers, user) = (self.answers.clone(), user.cloned());
            insist(move || answers.doubt(worker, user.as_ref()));
        }
    }
}

/// Leaves a letter, if not now, then in a moment.
fn insist(post: impl Fn() -> bool + Send + 'static) {
    if post() {
        return;
    }
    tokio::spawn(async move {
        let (pause, times) = AGAIN;
        for _ in 0..times {
            sleep(pause).await;
            if post() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests;
