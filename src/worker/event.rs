//! What workers tell the log. What is kept and counted of sessions goes another way (`record`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use super::{Records, Unfit};
use crate::turn::{Case, FiveTuple, Move, Notice, Session};

/// How long a worker that is stopping waits for room, and how often it looks for some meanwhile.
const PATIENCE: u32 = 200;
const LOOK: Duration = Duration::from_millis(5);

/// Something worth a log line, told by a worker.
#[derive(Clone, Debug)]
pub enum Event {
    /// An allocation has ended.
    Ended(Box<Session>),
    /// A mobile allocation's client has come to another address.
    Moved(Box<Move>),
    /// A request was refused; of each cause and client one is told in a minute, and all of them only while
    /// [`super::Workers::set_verbose`] asks for it.
    Refused {
        /// The request, and why it was refused.
        case: Arc<Case>,
        /// Why it is told.
        notice: Notice,
    },
    /// A connection was closed for what it said, or a DTLS handshake has failed. Of what somebody can set right, one
    /// of each kind is told in a minute; all of them only while [`super::Workers::set_verbose`] asks for it.
    Unfit {
        /// The client.
        client: FiveTuple,
        /// The name that it has asked for in TLS (SNI).
        name: Option<Box<str>>,
        /// What was wrong with it.
        why: Unfit,
    },
    /// HTTP cannot be passed on; told once a minute by each worker.
    BackendUnreachable {
        /// Where it was to go.
        backend: Box<str>,
        /// What the system says.
        why: Box<str>,
    },
}

/// The workers' end of a bounded queue of [`Event`]s. When it is full, events are counted and
/// lost: a slow log never holds up a packet.
#[derive(Clone)]
pub struct Events {
    queue: SyncSender<Event>,
    lost: Arc<AtomicU64>,
    /// Whether it was waited for in vain.
    stuck: Arc<AtomicBool>,
    /// Where records go, if anywhere.
    pub(super) records: Option<Records>,
}

impl Events {
    /// A queue of at most `capacity` events.
    pub fn queue(capacity: usize) -> (Self, Receiver<Event>) {
        let (queue, receiver) = sync_channel(capacity);
        (Self { queue, lost: Arc::default(), stuck: Arc::default(), records: None }, receiver)
    }

    /// With records of sessions beside the events.
    pub fn with(self, records: Records) -> Self {
        Self { records: Some(records), ..self }
    }

    /// Events lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for room: for the last words of a worker that is stopping. Not twice for a log that makes none.
    pub(super) fn tell_at_last(&self, mut event: Event) {
        let mut looks = 0;
        while let Err(TrySendError::Full(back)) = self.queue.try_send(event) {
            if looks == PATIENCE || self.stuck.load(Ordering::Relaxed) {
                self.stuck.store(true, Ordering::Relaxed);
                self.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            event = back;
            looks += 1;
            thread::sleep(LOOK);
        }
    }
}
