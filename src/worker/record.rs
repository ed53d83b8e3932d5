//! What workers tell of sessions for good: kinds, a bounded queue, and what of it is left out when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryIter, sync_channel};
use std::time::Duration;

use crate::auth::DenialKind;
use crate::stun::Method;
use crate::time::Mono;
use crate::turn::{Cause, FiveTuple, Progress, Session};

/// Refusals that one worker tells in a second; the others are counted.
const REFUSALS: u32 = 50;

/// What is told of sessions for good: to be kept and counted, not read as the log is.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it happened.
    pub at: Mono,
    /// What.
    pub what: What,
}

/// What a record is about.
#[derive(Clone, Debug)]
pub enum What {
    /// An allocation was made.
    Began(Box<Progress>),
    /// An allocation has relayed so much by now.
    Usage(Box<Progress>),
    /// An allocation has ended.
    Ended(Box<Session>),
    /// An Allocate was refused for good: no challenge, no old nonce, nobody sent elsewhere.
    Refused {
        /// Who asked.
        client: FiveTuple,
        /// Why not.
        cause: Cause,
        /// How many other refusals of this worker were left out before it, because they were too many.
        left_out: u32,
    },
}

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// [`What::Began`]
    Began,
    /// [`What::Usage`]
    Usage,
    /// [`What::Ended`]
    Ended,
    /// [`What::Refused`]
    Refused,
}

impl RecordKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Began, Self::Usage, Self::Ended, Self::Refused];

    /// Its word in a record and in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Usage => "usage",
            Self::Ended => "ended",
            Self::Refused => "refused",
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordKinds(u8);

impl RecordKinds {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self(0b1111);

    /// With this one.
    pub const fn with(self, kind: RecordKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// With those of the other one.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has this one.
    pub const fn has(self, kind: RecordKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

impl FromIterator<RecordKind> for RecordKinds {
    fn from_iter<I: IntoIterator<Item = RecordKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }
}

impl What {
    /// Its kind.
    pub const fn kind(&self) -> RecordKind {
        match self {
            Self::Began(_) => RecordKind::Began,
            Self::Usage(_) => RecordKind::Usage,
            Self::Ended(_) => RecordKind::Ended,
            Self::Refused { .. } => RecordKind::Refused,
        }
    }
}

/// The workers' end of a bounded queue of [`Record`]s.
///
/// When half of it is full, no usage is told any more: allocations go on counting, and the next record has it all. The
/// other half is for sessions that begin and end, which have no later record; what finds it full is counted as lost.
#[derive(Clone)]
pub struct Records {
    queue: SyncSender<Record>,
    gauge: Arc<Gauge>,
}

struct Gauge {
    /// The bits of [`RecordKinds`].
    wanted: AtomicU8,
    waiting: AtomicUsize,
    /// Above it, what can wait has to.
    half: usize,
    lost: AtomicU64,
}

/// The other end.
pub struct RecordQueue {
    queue: Receiver<Record>,
    gauge: Arc<Gauge>,
}

impl Records {
    /// A queue of at most `capacity` records.
    pub fn queue(capacity: usize) -> (Self, RecordQueue) {
        let (sender, receiver) = sync_channel(capacity);
        let half = capacity / 2;
        let (waiting, lost) = (AtomicUsize::default(), AtomicU64::default());
        let wanted = AtomicU8::default();
        let gauge = Arc::new(Gauge { wanted, waiting, half, lost });
        (Self { queue: sender, gauge: Arc::clone(&gauge) }, RecordQueue { queue: receiver, gauge })
    }

    /// Whether anybody wants records of this kind.
    pub(super) fn want(&self, kind: RecordKind) -> bool {
        RecordKinds(self.gauge.wanted.load(Ordering::Relaxed)).has(kind)
    }

    /// Whether there is room for what can wait.
    pub(super) fn have_room(&self) -> bool {
        self.gauge.waiting.load(Ordering::Relaxed) < self.gauge.half
    }

    pub(super) fn tell(&self, at: Mono, what: What) {
        self.gauge.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(Record { at, what }).is_err() {
            self.gauge.lose();
        }
    }

    /// Waits for room: for the last words of a worker that is stopping.
    pub(super) fn tell_at_last(&self, at: Mono, what: What) {
        self.gauge.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(Record { at, what }).is_err() {
            self.gauge.lose();
        }
    }
}

impl Gauge {
    fn lose(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

impl RecordQueue {
    /// The next record, if there is one within this time.
    ///
    /// # Errors
    /// There is none yet, or none will come any more.
    pub fn next(&self, within: Duration) -> Result<Record, RecvTimeoutError> {
        let next = self.queue.recv_timeout(within);
        if next.is_ok() {
            self.gauge.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        next
    }

    /// Those that are there.
    pub fn waiting(&self) -> impl Iterator<Item = Record> {
        let taken: TryIter<'_, Record> = self.queue.try_iter();
        taken.inspect(|_| {
            self.gauge.waiting.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// What is asked of the workers, and what became of it.
    pub fn demand(&self) -> Demand {
        Demand(Arc::clone(&self.gauge))
    }
}

/// Which records are wanted, and how many found no room.
#[derive(Clone)]
pub struct Demand(Arc<Gauge>);

impl Demand {
    /// Has the workers tell records of these kinds, and no others. At first they tell none.
    pub fn set(&self, kinds: RecordKinds) {
        self.0.wanted.store(kinds.0, Ordering::Relaxed);
    }

    /// Records that found no room so far.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

/// Which refusals a worker tells: not those of every day, and not too many.
#[derive(Default)]
pub(super) struct Sieve {
    second: u64,
    told: u32,
    left_out: u32,
}

impl Sieve {
    /// How many were left out before this one, if it is to be told.
    pub(super) fn pass(&mut self, now: Mono, method: Method, cause: &Cause) -> Option<u32> {
        if method != Method::ALLOCATE || is_ordinary(cause) {
            return None;
        }
        if self.second != now.as_secs() {
            (self.second, self.told) = (now.as_secs(), 0);
        }
        if self.told == REFUSALS {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// What every client causes that is let in afterwards.
const fn is_ordinary(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Auth(DenialKind::Challenge | DenialKind::StaleNonce) | Cause::TryAlternate(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> What {
        let address = "192.0.2.1:1".parse().unwrap();
        let client =
            FiveTuple { client: address, server: address, transport: crate::turn::Transport::Udp };
        What::Refused { client, cause: Cause::NoSocket, left_out: 0 }
    }

    #[test]
    fn what_can_wait_has_to_when_half_is_full_and_what_cannot_is_counted() {
        let (records, queue) = Records::queue(4);
        for told in 0..6_u64 {
            assert_eq!(records.have_room(), told < 2);
            records.tell(Mono::from_secs(told), refusal());
        }
        assert_eq!(queue.demand().lost(), 2);
        assert_eq!(queue.next(Duration::ZERO).unwrap().at, Mono::from_secs(0));
        assert_eq!(queue.waiting().count(), 3);
        assert!(records.have_room());
        drop(records);
        assert_eq!(queue.next(Duration::ZERO).unwrap_err(), RecvTimeoutError::Disconnected);
    }

    #[test]
    fn refusals_of_every_day_are_not_told_and_others_are_bounded() {
        let (mut sieve, now) = (Sieve::default(), Mono::from_secs(9));
        let mut pass = |now, method, cause| sieve.pass(now, method, &cause);
        assert_eq!(pass(now, Method::ALLOCATE, Cause::Auth(DenialKind::Challenge)), None);
        assert_eq!(pass(now, Method::REFRESH, Cause::NoAllocation), None);
        for _ in 0..REFUSALS {
            assert_eq!(pass(now, Method::ALLOCATE, Cause::NoSocket), Some(0));
        }
        assert_eq!(pass(now, Method::ALLOCATE, Cause::NoSocket), None);
        assert_eq!(pass(now, Method::ALLOCATE, Cause::NoSocket), None);
        assert_eq!(pass(Mono::from_secs(10), Method::ALLOCATE, Cause::NoSocket), Some(2));
        assert_eq!(pass(Mono::from_secs(10), Method::ALLOCATE, Cause::NoSocket), Some(0));
    }
}
