//! Takes what the workers tell and hands it to the sinks, which can be exchanged while it runs.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::file::Writer;
use super::line::{Scribe, unix};
use super::lines;
use super::settings::Settings;
use super::spool::{self, Outlet, Spooler};
use super::stats::{Sink, Stats};
use super::webhook::Webhook;
use crate::tls::NoClient;
use crate::worker::{Clock, Demand, Record, RecordKinds, RecordQueue};

/// How long the thread sleeps after it has handed on what there was: workers then wake it once for all that comes
/// meanwhile.
const NAP: Duration = Duration::from_millis(20);
/// How often it looks whether the end has come, should somebody keep the other end of the queue.
const IDLE: Duration = Duration::from_secs(1);

/// Why there is no sink.
#[derive(Debug, thiserror::Error)]
pub enum NoSink {
    /// The file cannot be opened.
    #[error("events.file.path {0:?} cannot be written: {1}")]
    File(PathBuf, io::Error),
    /// The spool cannot be written.
    #[error(
        "records cannot wait in {0:?}: {1}; name a directory of this server's own with \
         events.spool, or a --state-directory"
    )]
    Spool(PathBuf, io::Error),
    /// There is no place for a spool.
    #[error(
        "records for the webhook and Redis have to wait on disk: name a directory with events.spool"
    )]
    NoSpool,
    /// TLS cannot be set up.
    #[error("events.webhook: {0}")]
    Webhook(#[from] NoClient),
    /// Its URL cannot be used.
    #[cfg(feature = "redis")]
    #[error("events.redis: {0}")]
    Redis(#[from] crate::store::StoreError),
    /// The system gives no thread, or no random numbers.
    #[error("the system refuses what events need: {0}")]
    System(#[from] io::Error),
}

/// Where lines go.
#[derive(Default)]
struct Targets {
    /// With the kinds that each wants, and those who count what finds no room.
    file: Option<(SyncSender<Arc<str>>, RecordKinds)>,
    spool: Option<(SyncSender<Arc<str>>, RecordKinds)>,
    /// Who reads from the spool.
    spooled: Vec<Sink>,
}

/// The sinks of a running server.
pub struct Hub {
    targets: Arc<ArcSwap<Targets>>,
    demand: Demand,
    stats: Stats,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    settings: Settings,
    file: Option<Writer>,
    spooler: Option<Spooler>,
}

/// Sinks that are ready to begin.
pub struct Prepared {
    settings: Settings,
    /// `None` leaves the one that there is.
    file: Option<Option<(PathBuf, File)>>,
    spool: Option<Option<(PathBuf, Vec<Outlet>)>>,
}

impl Hub {
    /// Begins without any sink.
    ///
    /// # Errors
    /// The system gives no thread or no random numbers.
    pub fn start(queue: RecordQueue, clock: Clock) -> Result<Self, NoSink> {
        let mut boot = [0; 8];
        getrandom::fill(&mut boot).map_err(io::Error::other)?;
        let targets = Arc::new(ArcSwap::from_pointee(Targets::default()));
        let (demand, stop) = (queue.demand(), Arc::new(AtomicBool::default()));
        let stats = Stats::new(demand.clone());
        let desk = Desk {
            queue,
            clock,
            scribe: Scribe::new(boot),
            targets: Arc::clone(&targets),
            stats: stats.clone(),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new().name("events".to_owned());
        let thread = thread.spawn(move || desk.run())?;
        let settings = Settings::default();
        Ok(Self { targets, demand, stats, stop, thread, settings, file: None, spooler: None })
    }

    /// What becomes of the records.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Makes ready what other settings need, and changes nothing yet. `state` is where this server may keep things.
    ///
    /// # Errors
    /// See [`NoSink`].
    pub fn prepare(&self, settings: &Settings, state: &[PathBuf]) -> Result<Prepared, NoSink> {
        let path = &settings.file.path;
        let file = (self.settings.file.path != *path).then(|| {
            let open = |path: &PathBuf| match lines::open(path) {
                Ok(file) => Ok((path.clone(), file)),
                Err(error) => Err(NoSink::File(path.clone(), error)),
            };
            path.as_ref().map(open).transpose()
        });
        let same = self.settings.spool == settings.spool
            && self.settings.webhook == settings.webhook
            && self.settings.redis == settings.redis
            && self.settings.webhook_kinds() == settings.webhook_kinds()
            && self.settings.redis_kinds() == settings.redis_kinds();
        let spool = (!same).then(|| outlets(settings, state));
        let (file, spool) = (file.transpose()?, spool.transpose()?);
        Ok(Prepared { settings: settings.clone(), file, spool })
    }

    /// Goes by what was made ready. Sinks that go are given a little time for what they have, without holding anybody
    /// up.
    pub fn commit(&mut self, prepared: Prepared) {
        if let Err(error) = self.exchange(prepared) {
            tracing::error!(
                event = "events_failed",
                "the sinks of records cannot be changed: {error}"
            );
        }
    }

    fn exchange(&mut self, prepared: Prepared) -> io::Result<()> {
        let Prepared { settings, file, spool } = prepared;
        let mut old = None;
        match file {
            Some(file) => {
                let start = |(path, file)| Writer::start(path, file, self.stats.clone());
                old = std::mem::replace(&mut self.file, file.map(start).transpose()?);
            }
            // Somebody may have moved it away, as logrotate does.
            None => self.file.iter().for_each(Writer::reopen),
        }
        let mut ended = None;
        if let Some(spool) = spool {
            let before = self.spooler.take();
            match spool {
                Some((directory, outlets)) => {
                    let (limit, stats) = (settings.spool.limit, self.stats.clone());
                    let begun = Spooler::start(directory, limit, outlets, stats, before)?;
                    self.spooler = Some(begun);
                }
                None => ended = before,
            }
        }
        self.settings = settings;
        self.demand.set(self.settings.wanted());
        self.targets.store(Arc::new(Targets {
            file: self.file.as_ref().map(|file| (file.lines(), self.settings.file_kinds())),
            spool: self.spooler.as_ref().map(|it| (it.lines(), self.settings.spooled_kinds())),
            spooled: self.settings.spooled(),
        }));
        if old.is_some() || ended.is_some() {
            let finish = move || {
                old.into_iter().for_each(Writer::finish);
                ended.into_iter().for_each(Spooler::finish);
            };
            thread::Builder::new().name("events-end".to_owned()).spawn(finish)?;
        }
        Ok(())
    }

    /// Writes everything down when the workers have ended, and gives the sinks a little time.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Release);
        // It ends when it has handed on the last worker's last record.
        let _ = self.thread.join();
        self.targets.store(Arc::new(Targets::default()));
        drop(self.targets);
        self.file.into_iter().for_each(Writer::finish);
        self.spooler.into_iter().for_each(Spooler::finish);
    }
}

/// What reads from the spool, and where that is; `None` when nobody does.
fn outlets(
    settings: &Settings,
    state: &[PathBuf],
) -> Result<Option<(PathBuf, Vec<Outlet>)>, NoSink> {
    let mut outlets = Vec::new();
    if let Some(webhook) = Webhook::new(&settings.webhook)? {
        let kinds = settings.webhook_kinds();
        outlets.push(Outlet { sink: Sink::Webhook, kinds, to: Box::new(webhook) });
    }
    #[cfg(feature = "redis")]
    if let Some(redis) = super::redis::Redis::new(&settings.redis)? {
        let kinds = settings.redis_kinds();
        outlets.push(Outlet { sink: Sink::Redis, kinds, to: Box::new(redis) });
    }
    if outlets.is_empty() {
        return Ok(None);
    }
    if let Some(directory) = &settings.spool.directory {
        return match spool::try_directory(directory) {
            Ok(()) => Ok(Some((directory.clone(), outlets))),
            Err(error) => Err(NoSink::Spool(directory.clone(), error)),
        };
    }
    let mut failure = NoSink::NoSpool;
    for directory in state.iter().map(|state| state.join("events")) {
        match spool::try_directory(&directory) {
            Ok(()) => return Ok(Some((directory, outlets))),
            Err(error) => failure = NoSink::Spool(directory, error),
        }
    }
    Err(failure)
}

/// The thread between the workers and the sinks.
struct Desk {
    queue: RecordQueue,
    clock: Clock,
    scribe: Scribe,
    targets: Arc<ArcSwap<Targets>>,
    stats: Stats,
    stop: Arc<AtomicBool>,
}

impl Desk {
    fn run(mut self) {
        loop {
            match self.queue.next(IDLE) {
                Ok(record) => {
                    let waiting: Vec<_> = self.queue.waiting().collect();
                    self.hand_on(&record);
                    waiting.iter().for_each(|record| self.hand_on(record));
                    thread::sleep(NAP);
                }
                Err(RecvTimeoutError::Timeout) if !self.stop.load(Ordering::Acquire) => {}
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn hand_on(&mut self, record: &Record) {
        let kind = record.what.kind();
        let targets = self.targets.load();
        let wants = |target: &Option<(_, RecordKinds)>| {
            target.as_ref().is_some_and(|(_, kinds)| kinds.has(kind))
        };
        if !wants(&targets.file) && !wants(&targets.spool) {
            return;
        }
        let line = self.scribe.line(record, unix(record.at, self.clock.now().mono));
        let line: Arc<str> = line.into();
        let (file, spool) = (&targets.file, &targets.spool);
        for (target, sinks) in [(file, &[Sink::File][..]), (spool, &targets.spooled)] {
            if let Some((queue, kinds)) = target
                && kinds.has(kind)
                && queue.try_send(Arc::clone(&line)).is_err()
            {
                sinks.iter().for_each(|sink| self.stats.count_dropped(*sink, 1));
            }
        }
    }
}
