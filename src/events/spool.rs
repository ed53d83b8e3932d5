//! The thread that writes the spool, and those that bring what is in it to the sinks.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::deliver::{Courier, Deliver, Tidings};
use super::file::QUEUE;
use super::journal::Journal;
use super::reader::Reader;
use super::stats::{Sink, Stats};
use crate::worker::RecordKinds;

/// The most bytes that wait while the disk is full, beside the queue.
const BACKLOG: usize = 16 << 20;
/// How soon a full disk is tried again, and how often it is looked what can go.
const AGAIN: Duration = Duration::from_millis(500);
/// How long sinks have for the last records when the server stops.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the log is told of a full disk.
const REMINDER: Duration = Duration::from_secs(60);

/// A sink that reads from the spool.
pub(super) struct Outlet {
    pub(super) sink: Sink,
    pub(super) kinds: RecordKinds,
    pub(super) to: Box<dyn Deliver>,
}

/// The spool of a running server.
pub(super) struct Spooler {
    lines: SyncSender<Arc<str>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Makes the directory where it is missing, and sees whether something can be written there.
///
/// # Errors
/// Not so.
pub(super) fn try_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let probe = directory.join("probe");
    // Left by one that was killed, or put there by somebody as a link.
    let _ = fs::remove_file(&probe);
    fs::File::create_new(&probe)?;
    fs::remove_file(probe)
}

impl Spooler {
    /// `before` is the one that has had the directory: it is finished first.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        directory: PathBuf,
        limit: u64,
        outlets: Vec<Outlet>,
        stats: Stats,
        before: Option<Self>,
    ) -> io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let stop = Arc::new(AtomicBool::default());
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("events-spool".to_owned());
        let thread = thread.spawn(move || {
            if let Some(before) = before {
                before.finish();
            }
            match Work::begin(&directory, limit, outlets, stats, stopped) {
                Ok(work) => work.run(&queue),
                Err(error) => tracing::error!(
                    event = "events_spool",
                    "the spool in {directory:?} cannot be used: {error}; \
                     records for webhook and Redis are lost",
                ),
            }
        })?;
        Ok(Self { lines, stop, thread })
    }

    pub(super) fn lines(&self) -> SyncSender<Arc<str>> {
        self.lines.clone()
    }

    /// Writes down what it has and gives the sinks their last time. Everybody else has to have let go of
    /// [`Self::lines`].
    pub(super) fn finish(self) {
        self.stop.store(true, Ordering::Release);
        drop(self.lines);
        let _ = self.thread.join();
    }
}

struct Work {
    journal: Journal,
    couriers: Vec<Courier>,
    tidings: watch::Sender<Tidings>,
    stats: Stats,
    stop: Arc<AtomicBool>,
    trouble: Option<Instant>,
}

impl Work {
    fn begin(
        directory: &Path,
        limit: u64,
        outlets: Vec<Outlet>,
        stats: Stats,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let mut journal = Journal::open(directory, limit)?;
        let end = journal.end();
        let (tidings, told) = watch::channel(Tidings { end, deadline: None });
        let mut couriers = Vec::new();
        for Outlet { sink, kinds, to } in outlets {
            let (directory, name) = (directory.to_owned(), sink.label());
            let reader = Reader::open(directory, name, kinds, journal.bounds())?;
            journal.add_reader(Arc::clone(reader.cursor()));
            couriers.push(Courier::start(sink, reader, to, told.clone(), stats.clone())?);
        }
        Ok(Self { journal, couriers, tidings, stats, stop, trouble: None })
    }

    fn run(mut self, queue: &Receiver<Arc<str>>) {
        let mut looked = Instant::now();
        loop {
            let next = queue.recv_timeout(AGAIN);
            let ended = next == Err(RecvTimeoutError::Disconnected);
            next.into_iter().for_each(|line| self.journal.push(line));
            let stopping = self.stop.load(Ordering::Acquire);
            while (stopping || self.journal.waiting().1 < BACKLOG)
                && let Ok(line) = queue.try_recv()
            {
                self.journal.push(line);
            }
            let outcome = self.journal.write();
            let failed = outcome.is_err();
            self.tell(outcome);
            let end = self.journal.end();
            self.tidings
                .send_if_modified(|tidings| std::mem::replace(&mut tidings.end, end) != end);
            if ended || looked.elapsed() >= AGAIN {
                self.journal.trim();
                self.report();
                looked = Instant::now();
            }
            if ended {
                break;
            }
            if failed && !stopping {
                thread::sleep(AGAIN);
            }
        }
        self.end();
    }

    fn end(mut self) {
        let lost = self.journal.waiting().0 as u64;
        if lost > 0 {
            let sinks = self.couriers.iter().map(|courier| courier.sink);
            sinks.for_each(|sink| self.stats.count_dropped(sink, lost));
            tracing::error!(
                event = "events_lost",
                records = lost,
                "{lost} records are lost: the spool could not be written at the end",
            );
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        self.tidings.send_modify(|tidings| tidings.deadline = Some(deadline));
        for courier in std::mem::take(&mut self.couriers) {
            let (sink, cursor) = (courier.sink, Arc::clone(&courier.cursor));
            courier.join();
            let bytes = self.journal.behind(&cursor);
            if bytes > 0 {
                tracing::warn!(
                    event = "events_left",
                    sink = sink.label(),
                    bytes,
                    "events.{} has not taken the last records: they wait in the spool for the next start",
                    sink.label(),
                );
            }
        }
        self.journal.trim();
    }

    fn report(&self) {
        for courier in &self.couriers {
            let missed = courier.cursor.missed.swap(0, Ordering::Relaxed);
            self.stats.set_waiting(courier.sink, self.journal.behind(&courier.cursor));
            if missed > 0 {
                self.stats.count_dropped(courier.sink, missed);
                tracing::error!(
                    event = "events_lost",
                    sink = courier.sink.label(),
                    records = missed,
                    "{missed} records for events.{} are lost: it was away for too long for \
                     events.spool_limit",
                    courier.sink.label(),
                );
            }
        }
    }

    fn tell(&mut self, outcome: io::Result<()>) {
        match (outcome, self.trouble) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                self.trouble = None;
                tracing::info!(event = "events_spool", "the spool can be written again");
            }
            (Err(error), told) => {
                if told.is_none_or(|told| told.elapsed() >= REMINDER) {
                    self.trouble = Some(Instant::now());
                    tracing::error!(
                        event = "events_spool",
                        waiting = self.journal.waiting().0,
                        "the spool of records cannot be written: {error}; they wait in memory",
                    );
                }
            }
        }
    }
}
