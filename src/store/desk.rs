//! All stores together, in the order in which they are asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::stats::{Outcome, StoreStats};
use super::{Found, Proof, Question, Settings, Store, StoreError, open};
use crate::auth::{Answer, Keys, Secret};

/// How often the log is told that a store fails.
const TELL: Duration = Duration::from_secs(60);
/// The number of the next shelf.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Asks stores one after the other.
#[derive(Default)]
pub struct Desk {
    shelves: Vec<Arc<Shelf>>,
}

/// One store with what is to be observed when it is asked.
struct Shelf {
    /// Tells it from every other one that there was, of the same name as well.
    number: u64,
    settings: Settings,
    store: Arc<dyn Store>,
    /// Questions that may be under way at a time.
    free: Semaphore,
    stats: Arc<StoreStats>,
    /// Since when it has failed, and when the log was told so last.
    failing: Mutex<Option<(Instant, Instant)>>,
}

impl Desk {
    /// Opens the stores. What `before` has open already is taken over, with its connections.
    ///
    /// # Errors
    /// The name of the store that can never work, and why.
    pub fn open(all: &[Settings], before: &Self) -> Result<Self, (String, StoreError)> {
        let shelf = |settings: &Settings| {
            if let Some(same) = before.shelves.iter().find(|shelf| shelf.settings == *settings) {
                return Ok(Arc::clone(same));
            }
            let store = open(settings).map_err(|error| (settings.name.clone(), error))?;
            Ok(Arc::new(Shelf {
                number: NEXT.fetch_add(1, Ordering::Relaxed),
                settings: settings.clone(),
                store,
                free: Semaphore::new(settings.connections.max(1) as usize),
                stats: Arc::default(),
                failing: Mutex::default(),
            }))
        };
        Ok(Self { shelves: all.iter().map(shelf).collect::<Result<_, _>>()? })
    }

    /// Whether one of them may have an MD5 key only of somebody. An application is known to when it has said so.
    pub fn may_have_only_md5(&self) -> bool {
        self.shelves.iter().any(|it| it.settings.kind.is_md5_only() || it.store.is_md5_only())
    }

    /// What was counted, by the stores' names.
    pub fn stats(&self) -> Vec<(String, Arc<StoreStats>)> {
        let one = |shelf: &Arc<Shelf>| (shelf.settings.name.clone(), Arc::clone(&shelf.stats));
        self.shelves.iter().map(one).collect()
    }

    /// Asks about a user: the first store that knows it has the last word. Where one cannot say, and no other knows
    /// the user, nothing is known.
    pub async fn look_up(&self, question: &Question) -> Answer {
        let mut silent = self.shelves.is_empty();
        for shelf in self.of(&question.realm) {
            match shelf.look_up(question).await {
                Ok(Some(answer)) => return answer,
                Ok(None) => {}
                Err(()) => silent = true,
            }
        }
        if silent { Answer::Unavailable } else { Answer::NoUser }
    }

    /// The shared secrets that each of them has for a realm, by its number; `None` when it cannot say.
    pub async fn secrets(&self, realm: &str) -> Vec<(u64, Option<Vec<Secret>>)> {
        let mut all = Vec::new();
        for shelf in self.of(realm) {
            all.push((shelf.number, shelf.secrets(realm).await));
        }
        all
    }

    /// Those that are asked about this realm.
    fn of(&self, realm: &str) -> impl Iterator<Item = &Arc<Shelf>> {
        let is_of = move |shelf: &&Arc<Shelf>| {
            shelf.settings.realm.as_deref().is_none_or(|own| own == realm)
        };
        self.shelves.iter().filter(is_of)
    }
}

impl Shelf {
    async fn look_up(&self, question: &Question) -> Result<Option<Answer>, ()> {
        let began = Instant::now();
        let looked_up = timeout(self.settings.timeout, async {
            let _turn = self.free.acquire().await.map_err(|_| StoreError::Overloaded)?;
            self.store.look_up(question).await
        });
        let found = looked_up.await.unwrap_or(Err(StoreError::TimedOut));
        let found = found.and_then(|found| found.map(|found| answer(question, found)).transpose());
        let outcome = match &found {
            Ok(Some(_)) => Outcome::Found,
            Ok(None) => Outcome::Unknown,
            Err(StoreError::TimedOut | StoreError::Overloaded) => Outcome::TimedOut,
            Err(_) => Outcome::Failed,
        };
        self.stats.count(outcome, began.elapsed());
        match found {
            Ok(found) => {
                self.is_back();
                Ok(found)
            }
            Err(error) => {
                self.tell(&error);
                Err(())
            }
        }
    }

    async fn secrets(&self, realm: &str) -> Option<Vec<Secret>> {
        let secrets = timeout(self.settings.timeout, self.store.secrets(realm)).await;
        match secrets.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(mut secrets) => {
                self.is_back();
                // An empty one would let everybody in.
                secrets.retain(|secret| !secret.expose().is_empty());
                Some(secrets)
            }
            Err(error) => {
                self.tell(&error);
                None
            }
        }
    }

    /// Has the log say that it fails, now and then.
    fn tell(&self, error: &StoreError) {
        let now = Instant::now();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, told) = match *failing {
            Some((since, told)) if now < told + TELL => (since, told),
            before => {
                tracing::warn!(
                    event = "store_failed",
                    store = self.settings.name,
                    "the store {:?} {error}; who is known goes on, nobody else comes in by it",
                    self.settings.name,
                );
                (before.map_or(now, |(since, _)| since), now)
            }
        };
        *failing = Some((since, told));
    }

    fn is_back(&self) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, _)) = failing.take() {
            tracing::info!(
                event = "store_back",
                store = self.settings.name,
                "the store {:?} answers again, after {} s",
                self.settings.name,
                since.elapsed().as_secs(),
            );
        }
    }
}

/// What a user is let in with.
fn answer(question: &Question, found: Found) -> Result<Answer, StoreError> {
    let Question { username, .. } = question;
    let realm: Arc<str> = (&*question.realm).into();
    let keys = match &found.proof {
        Proof::Password(password) => Keys::stored_password(&realm, username, password.expose()),
        Proof::Keys { md5: None, sha256: None } => None,
        Proof::Keys { md5, sha256 } => {
            Some(Keys::stored(&realm, username, md5.as_deref(), sha256.as_deref()))
        }
    };
    let unusable = || {
        let what =
            format!("has a password for {username:?} that is empty or has control characters");
        StoreError::Unusable(what)
    };
    Ok(Answer::User(Arc::new(keys.ok_or_else(unusable)?), found.keep))
}

#[cfg(test)]
#[path = "tests/desk.rs"]
mod tests;
