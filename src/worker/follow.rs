//! Those who follow one client live.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Event;
use super::engine::Engine;
use crate::turn::{Audience, Case, Drops, FOLLOWERS, Notice, Session, Whom};

/// What one of them may leave unread before the workers leave it out.
const UNREAD: usize = 512;

/// What somebody hears who follows a client.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A request of the client's, with what was decided and why.
    Case(Arc<Case>),
    /// Packets of the client's or of its peers that were dropped within a second.
    Drops(Arc<Drops>),
    /// A session of the client's has ended.
    Ended(Arc<Session>),
}

/// Lets somebody follow a client: what the workers decide about it goes into a bounded queue, which no worker waits
/// for.
#[derive(Clone)]
pub struct Followers {
    audience: Arc<Audience>,
    queues: Arc<Mutex<[Option<Queue>; FOLLOWERS]>>,
}

#[derive(Clone)]
struct Queue {
    sender: Sender<Heard>,
    lost: Arc<AtomicU64>,
}

impl Followers {
    pub(super) fn new(audience: Arc<Audience>) -> Self {
        Self { audience, queues: Arc::default() }
    }

    /// Begins to follow. `None` when [`FOLLOWERS`] do already.
    pub fn follow(&self, filter: Whom) -> Option<Follower> {
        let place = self.audience.follow(filter)?;
        let (sender, receiver) = channel(UNREAD);
        let lost = Arc::new(AtomicU64::new(0));
        self.set(place, Some(Queue { sender, lost: Arc::clone(&lost) }));
        Some(Follower { place, receiver, lost, followers: self.clone() })
    }

    /// Tells those who follow: a bit for each place.
    pub(super) fn tell(&self, followers: u8, heard: &Heard) {
        if followers == 0 {
            return;
        }
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let places = queues.iter().enumerate().filter(|(place, _)| followers >> place & 1 == 1);
        for queue in places.filter_map(|(_, queue)| queue.as_ref()) {
            if queue.sender.try_send(heard.clone()).is_err() {
                queue.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Tells those who follow its client that a session has ended.
    pub(super) fn tell_end(&self, session: &Session) {
        let followers = self.audience.interested_in(session);
        if followers != 0 {
            self.tell(followers, &Heard::Ended(Arc::new(session.clone())));
        }
    }

    fn set(&self, place: usize, queue: Option<Queue>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues[place] = queue;
    }
}

impl Engine {
    /// Tells the log, if it is to be told, and those who follow the client.
    pub(super) fn tell_case(&self, case: Box<Case>, followers: u8, notice: Option<Notice>) {
        let case = Arc::from(case);
        self.shared.followers.tell(followers, &Heard::Case(Arc::clone(&case)));
        if let Some(notice) = notice {
            self.events.tell(Event::Refused { case, notice });
        }
    }
}

/// One who follows, until it is dropped.
pub struct Follower {
    place: usize,
    receiver: Receiver<Heard>,
    lost: Arc<AtomicU64>,
    followers: Followers,
}

impl Follower {
    /// The next of what is heard; has the task woken when there is more. `None` when the workers have ended.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Heard>> {
        self.receiver.poll_recv(context)
    }

    /// How much has been left out so far, because it was not read in time.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // The queue first: whoever gets the place next sets its own.
        self.followers.set(self.place, None);
        self.followers.audience.unfollow(self.place);
    }
}
