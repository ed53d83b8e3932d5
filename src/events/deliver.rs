//! Brings what is in the spool to one sink, in order, and again until it is taken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::journal::{Cursor, Position};
use super::reader::{Batch, Reader};
use super::stats::{Sink, Stats};

/// Records in one batch.
const MOST: usize = 500;
/// How soon a batch that was not taken is tried again, at first and at last.
const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(60);
/// How often the log is told of the same trouble.
const REMINDER: Duration = Duration::from_secs(60);

/// A sink that takes batches.
pub(super) trait Deliver: Send {
    /// Brings these lines there, in this order. When it is not known whether they were taken, they were not.
    fn deliver<'a>(&'a mut self, lines: &'a [String]) -> Delivery<'a>;
}

pub(super) type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), Refused>> + Send + 'a>>;

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// In words, without secrets.
    pub(super) why: String,
    /// A smaller one might be.
    pub(super) too_large: bool,
}

/// What the one that writes the spool tells those that read it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tidings {
    /// Up to where it is written.
    pub(super) end: Position,
    /// When the process ends; nothing more is written then.
    pub(super) deadline: Option<Instant>,
}

/// The thread of one sink.
pub(super) struct Courier {
    pub(super) sink: Sink,
    pub(super) cursor: Arc<Cursor>,
    thread: JoinHandle<()>,
}

impl Courier {
    /// # Errors
    /// The system gives no thread or no event loop.
    pub(super) fn start(
        sink: Sink,
        reader: Reader,
        to: Box<dyn Deliver>,
        tidings: watch::Receiver<Tidings>,
        stats: Stats,
    ) -> io::Result<Self> {
        let cursor = Arc::clone(reader.cursor());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let round = Round {
            sink,
            reader,
            to,
            tidings,
            stats,
            most: MOST,
            failures: 0,
            told: None,
            misplaced: None,
        };
        let thread = thread::Builder::new().name(format!("events-{}", sink.label()));
        let thread = thread.spawn(move || {
            runtime.block_on(round.run());
            // A name server may be asked still, for as long as it likes.
            runtime.shutdown_background();
        })?;
        Ok(Self { sink, cursor, thread })
    }

    /// Waits for its end, which the tidings have told it.
    pub(super) fn join(self) {
        let _ = self.thread.join();
    }
}

struct Round {
    sink: Sink,
    reader: Reader,
    to: Box<dyn Deliver>,
    tidings: watch::Receiver<Tidings>,
    stats: Stats,
    most: usize,
    failures: u32,
    /// When the log was told last that the sink takes nothing.
    told: Option<Instant>,
    /// And that its place cannot be kept, which is no matter of the sink's.
    misplaced: Option<Instant>,
}

impl Round {
    async fn run(mut self) {
        loop {
            let Tidings { end, deadline } = *self.tidings.borrow_and_update();
            if self.reader.is_at(end) {
                // An end of the sender is the end as well.
                if deadline.is_some() || self.tidings.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return;
            }
            let outcome = match self.reader.read(end, self.most) {
                Ok(batch) => self.bring(batch).await,
                Err(error) => Err(Refused { why: error.to_string(), too_large: false }),
            };
            match outcome {
                Ok(()) => self.succeed(),
                Err(refused) => self.fail(refused).await,
            }
        }
    }

    async fn bring(&mut self, batch: Batch) -> Result<(), Refused> {
        let count = batch.lines.len();
        if count > 0 {
            let late = end_of_time(&mut self.tidings);
            tokio::select! {
                taken = self.to.deliver(&batch.lines) => taken?,
                () = late => return Err(Refused { why: "the server stops".to_owned(), too_large: false }),
            }
            self.stats.count_sent(self.sink, count as u64);
        }
        // It was taken, and would only come again: no reason to hold up the next.
        match self.reader.take(batch.end_of(count)) {
            Ok(()) => self.misplaced = None,
            Err(error) => self.misplace(&error),
        }
        Ok(())
    }

    fn misplace(&mut self, error: &io::Error) {
        if is_due(&mut self.misplaced) {
            tracing::warn!(
                event = "events_place",
                sink = self.sink.label(),
                "the place of events.{} in the spool cannot be kept, so that records come again after a restart: {error}",
                self.sink.label(),
            );
        }
    }

    fn succeed(&mut self) {
        (self.failures, self.most) = (0, (self.most * 2).min(MOST));
        if self.told.take().is_some() {
            tracing::info!(
                event = "events_delivered",
                sink = self.sink.label(),
                "events.{} takes records again",
                self.sink.label(),
            );
        }
    }

    async fn fail(&mut self, refused: Refused) {
        self.stats.count_retry(self.sink);
        self.complain(&refused.why);
        if refused.too_large && self.most > 1 {
            self.most /= 2;
            return;
        }
        self.failures += 1;
        let pause = backoff(self.failures);
        let stopping = self.tidings.borrow().deadline.is_some();
        let pause = if stopping { pause.min(FIRST) } else { pause };
        let late = stop(&mut self.tidings, stopping);
        tokio::select! {
            () = sleep(pause) => {}
            () = late => {}
        }
    }

    fn complain(&mut self, why: &str) {
        if is_due(&mut self.told) {
            tracing::warn!(
                event = "events_undelivered",
                sink = self.sink.label(),
                "events.{} does not take records, which wait in the spool: {why}",
                self.sink.label(),
            );
        }
    }
}

/// Whether the log is to be told, which it was then. It is, if so.
fn is_due(told: &mut Option<Instant>) -> bool {
    let due = told.is_none_or(|told| told.elapsed() >= REMINDER);
    if due {
        *told = Some(Instant::now());
    }
    due
}

/// Twice as long each time, and never at the same moment as everybody else's.
fn backoff(failures: u32) -> Duration {
    let whole = (FIRST * (1 << failures.saturating_sub(1).min(16))).min(LAST);
    let mut random = [0];
    // Without randomness it is the whole time.
    let share = getrandom::fill(&mut random).map_or(255, |()| u32::from(random[0]));
    whole / 2 + whole / 2 * share / 255
}

/// Waits until the time for the last deliveries is over.
async fn end_of_time(tidings: &mut watch::Receiver<Tidings>) {
    let told = tidings.wait_for(|tidings| tidings.deadline.is_some()).await;
    let deadline = told.ok().and_then(|tidings| tidings.deadline);
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}

/// Waits until the process is about to end, if it is not yet.
async fn stop(tidings: &mut watch::Receiver<Tidings>, stopping: bool) {
    if stopping {
        return std::future::pending().await;
    }
    let _ = tidings.wait_for(|tidings| tidings.deadline.is_some()).await;
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::*;
    use crate::worker::{RecordKinds, Records};

    #[test]
    fn pauses_grow_and_are_never_alike() {
        for failures in 1..40 {
            let whole = (FIRST * (1 << (failures - 1).min(16))).min(LAST);
            let pause = backoff(failures);
            assert!(pause >= whole / 2 && pause <= whole, "{failures}: {pause:?}");
        }
        let pauses: std::collections::HashSet<_> = (0..50).map(|_| backoff(9)).collect();
        assert!(pauses.len() > 10);
    }

    /// A sink whose name server takes its time.
    struct Slow(std::sync::mpsc::Sender<()>);

    impl Deliver for Slow {
        fn deliver<'a>(&'a mut self, _: &'a [String]) -> Delivery<'a> {
            Box::pin(async {
                let asked = tokio::task::spawn_blocking(|| thread::sleep(Duration::from_secs(20)));
                let _ = self.0.send(());
                asked.await.map_err(|error| Refused { why: error.to_string(), too_large: false })
            })
        }
    }

    #[test]
    fn a_name_server_that_is_silent_holds_up_no_end() {
        let directory =
            std::env::temp_dir().join(format!("spool-slow-{}", getrandom::u32().unwrap()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut journal = Journal::open(&directory, 1 << 20).unwrap();
        let bounds = journal.bounds();
        let reader = Reader::open(directory.clone(), "slow", RecordKinds::ALL, bounds).unwrap();
        journal.push("{\"v\":1,\"kind\":\"ended\"}\n".into());
        journal.write().unwrap();
        let (sender, tidings) = watch::channel(Tidings { end: journal.end(), deadline: None });
        let demand = Records::queue(1).1.demand();
        let (told, asked) = std::sync::mpsc::channel();
        let (slow, stats) = (Box::new(Slow(told)), Stats::new(demand));
        let courier = Courier::start(Sink::Webhook, reader, slow, tidings, stats).unwrap();
        asked.recv().unwrap();
        let begun = std::time::Instant::now();
        sender.send_modify(|it| it.deadline = Some(Instant::now() + Duration::from_millis(100)));
        courier.join();
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
