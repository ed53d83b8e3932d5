//! Questions of the process's owner to the workers, about allocations that live: asked by letter, and answered in
//! small steps behind the packets of a wake-up.

use std::collections::VecDeque;
use std::sync::Arc;

use super::engine::Engine;
use super::group::Shared;
use super::mailbox::Letter;
use super::relays::Door;
use crate::turn::{Depth, EndReason, Filter, SessionId, View};

/// Places for allocations that are looked at in one wake-up.
const LOOKED_AT: usize = 256;
/// Allocations that are told, or ended, in one wake-up: an end closes a socket or two.
const DONE: usize = 64;
/// Questions that may wait at a worker.
const WAITING: usize = 64;

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the order of their places at the worker.
    pub sessions: Vec<View>,
    /// Where to go on at this worker; nothing when that was all.
    pub next: Option<u32>,
}

/// Asks the workers. An answer comes from the worker's own thread, by the function that is given along, which must not
/// wait for anything. It is dropped unused when the worker has too many questions or stops.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

/// A worker takes no question now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker has too much to do")]
pub struct Busy;

impl Remote {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// How many workers there are; their numbers begin at 0.
    pub fn workers(&self) -> u32 {
        self.0.mailboxes.len() as u32
    }

    /// Lists up to `limit` allocations of a worker, from a place on: 0, or the [`next`](Page::next) of the page
    /// before.
    ///
    /// # Errors
    /// The worker takes no question, or there is none of this number.
    pub fn list(
        &self,
        worker: u32,
        filter: Filter,
        from: u32,
        limit: usize,
        tell: impl FnOnce(Page) + Send + 'static,
    ) -> Result<(), Busy> {
        let task = Task::List { limit, found: Vec::new(), tell: Box::new(tell) };
        self.ask(worker, Question { filter, from, task })
    }

    /// Tells all about one allocation, if this worker has it.
    ///
    /// # Errors
    /// As for [`Self::list`].
    pub fn show(
        &self,
        worker: u32,
        id: SessionId,
        tell: impl FnOnce(Option<Box<Depth>>) + Send + 'static,
    ) -> Result<(), Busy> {
        let filter = Filter { id: Some(id), ..Filter::default() };
        self.ask(worker, Question { filter, from: 0, task: Task::Show(Box::new(tell)) })
    }

    /// Ends the allocations of a worker that fit, and tells how many these were.
    ///
    /// # Errors
    /// As for [`Self::list`].
    pub fn end(
        &self,
        worker: u32,
        filter: Filter,
        reason: EndReason,
        tell: impl FnOnce(usize) + Send + 'static,
    ) -> Result<(), Busy> {
        let task = Task::End { ended: 0, reason, tell: Box::new(tell) };
        self.ask(worker, Question { filter, from: 0, task })
    }

    fn ask(&self, worker: u32, question: Question) -> Result<(), Busy> {
        let mailbox = self.0.mailboxes.get(worker as usize).ok_or(Busy)?;
        mailbox.post(Letter::Question(Box::new(question))).map_err(|_| Busy)
    }
}

/// A question on its way, or half answered.
pub(super) struct Question {
    filter: Filter,
    /// Where to look next.
    from: u32,
    task: Task,
}

enum Task {
    List { limit: usize, found: Vec<View>, tell: Box<dyn FnOnce(Page) + Send> },
    Show(Box<dyn FnOnce(Option<Box<Depth>>) + Send>),
    End { ended: usize, reason: EndReason, tell: Box<dyn FnOnce(usize) + Send> },
}

impl Task {
    /// How many allocations it wants still.
    fn wants(&self) -> usize {
        match self {
            Self::List { limit, found, .. } => limit.saturating_sub(found.len()),
            Self::Show(_) => 1,
            Self::End { .. } => usize::MAX,
        }
    }
}

/// What a worker was asked and has not answered yet.
#[derive(Default)]
pub(super) struct Questions(VecDeque<Question>);

impl Questions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without room it is dropped, and whoever waits for the answer sees that.
    pub(super) fn keep(&mut self, question: Question) {
        if self.0.len() < WAITING {
            self.0.push_back(question);
        }
    }
}

impl Engine {
    /// Goes on with the oldest question for a step.
    pub(super) fn answer_questions(&mut self) {
        let Some(Question { filter, from, mut task }) = self.questions.0.pop_front() else {
            return;
        };
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let found = self.server.scan(from, LOOKED_AT, task.wants().min(DONE), &filter);
        for slot in &found.slots {
            match &mut task {
                Task::List { found, .. } => found.extend(self.server.view(now, *slot)),
                Task::Show(_) => {}
                Task::End { ended, reason, .. } => {
                    let mut door =
                        Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
                    self.server.kill(now, *slot, *reason, &mut door, &stats.turn);
                    *ended += 1;
                }
            }
        }
        let shown = found.slots.first().filter(|_| matches!(task, Task::Show(_)));
        if let Some(next) = found.next
            && task.wants() > 0
            && shown.is_none()
        {
            return self.questions.0.push_front(Question { filter, from: next, task });
        }
        match task {
            Task::List { found: sessions, tell, .. } => tell(Page { sessions, next: found.next }),
            Task::Show(tell) => {
                tell(shown.and_then(|slot| self.server.depth(now, *slot)).map(Box::new));
            }
            Task::End { ended, tell, .. } => tell(ended),
        }
    }
}
