//! The file with a line for each record.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::lines::{self, Lines};
use super::stats::{Sink, Stats};

/// Lines that may wait between two threads.
pub(super) const QUEUE: usize = 32 << 10;
/// The most bytes that wait beside that while the disk is full.
const BACKLOG: usize = 16 << 20;
/// How often a disk that is full is tried again, and how soon it is seen that the file is to be opened anew.
const AGAIN: Duration = Duration::from_millis(500);
/// How often the log is told that it still is.
const REMINDER: Duration = Duration::from_secs(60);

/// The thread that writes the file.
pub(super) struct Writer {
    lines: SyncSender<Arc<str>>,
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Orders {
    reopen: AtomicBool,
    stop: AtomicBool,
}

impl Writer {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(path: PathBuf, file: File, stats: Stats) -> io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let orders = Arc::new(Orders::default());
        let work = Work {
            path,
            file: Some(file),
            lines: Lines::default(),
            stats,
            orders: Arc::clone(&orders),
            trouble: None,
        };
        let thread = thread::Builder::new().name("events-file".to_owned());
        let thread = thread.spawn(move || work.run(&queue))?;
        Ok(Self { lines, orders, thread })
    }

    pub(super) fn lines(&self) -> SyncSender<Arc<str>> {
        self.lines.clone()
    }

    /// The file was moved away, for all we know: opens it by its name again.
    pub(super) fn reopen(&self) {
        self.orders.reopen.store(true, Ordering::Release);
    }

    /// Lets it write what it has. Everybody else has to have let go of [`Self::lines`].
    pub(super) fn finish(self) {
        self.orders.stop.store(true, Ordering::Release);
        drop(self.lines);
        // A thread that panicked has said so itself.
        let _ = self.thread.join();
    }
}

struct Work {
    path: PathBuf,
    /// Nothing while it cannot be opened.
    file: Option<File>,
    lines: Lines,
    stats: Stats,
    orders: Arc<Orders>,
    /// When the log was told that it cannot be written.
    trouble: Option<Instant>,
}

impl Work {
    fn run(mut self, queue: &Receiver<Arc<str>>) {
        loop {
            let next = queue.recv_timeout(AGAIN);
            let ended = next == Err(RecvTimeoutError::Disconnected);
            if self.orders.reopen.swap(false, Ordering::Acquire) {
                self.file = None;
            }
            next.into_iter().for_each(|line| self.lines.push(line));
            // What has no room here waits in the queue, and what has none there is counted where it is put.
            let stopping = self.orders.stop.load(Ordering::Acquire);
            while (stopping || self.lines.bytes() < BACKLOG)
                && let Ok(line) = queue.try_recv()
            {
                self.lines.push(line);
            }
            let outcome = self.write();
            let failed = outcome.is_err();
            self.tell(outcome);
            self.stats.set_waiting(Sink::File, self.lines.bytes() as u64);
            if ended {
                break;
            }
            if failed && !stopping {
                thread::sleep(AGAIN);
            }
        }
        let lost = self.lines.len() as u64;
        if lost > 0 {
            self.stats.count_dropped(Sink::File, lost);
            tracing::error!(
                event = "events_lost",
                records = lost,
                "{lost} records are lost: {:?} could not be written at the end",
                self.path,
            );
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let file = lines::open(&self.path)?;
            self.lines.begin_again();
            self.file = Some(file);
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        let (lines, _, outcome) = self.lines.write(file);
        self.stats.count_sent(Sink::File, lines);
        outcome
    }

    fn tell(&mut self, outcome: io::Result<()>) {
        match (outcome, self.trouble) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                self.trouble = None;
                tracing::info!(event = "events_file", "{:?} can be written again", self.path);
            }
            (Err(error), told) => {
                self.stats.count_retry(Sink::File);
                if told.is_none_or(|told| told.elapsed() >= REMINDER) {
                    self.trouble = Some(Instant::now());
                    tracing::error!(
                        event = "events_file",
                        waiting = self.lines.len(),
                        "events.file.path {:?} cannot be written: {error}; records wait in memory, up to {} MiB",
                        self.path,
                        BACKLOG >> 20,
                    );
                }
            }
        }
    }
}
