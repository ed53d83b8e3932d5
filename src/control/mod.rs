//! The process around the workers: start, log, metrics, signals and the end.
//!
//! [`run`] goes through these steps, and any that fails ends it with one line that says what to do:
//!
//! 1. the log;
//! 2. addresses: where allocations are made and how that is known outside, with the reasons;
//! 3. credentials: those configured, or a secret of its own, so that no server is ever open;
//! 4. sockets and certificates, then another user, then workers and the admin endpoint;
//! 5. ready: the ready file, the line `ready`, the service manager;
//! 6. until somebody wants an end (`wishes`: signals and the admin API): counters are watched, requests of the admin
//!    API answered, and the configuration is read again when that is wanted (`reload`);
//! 7. the end: every session is ended and logged, then the ready file goes.
//!
//! One small single-threaded tokio runtime does all of that beside the workers, and threads of its own write the log.
//! Neither is ever waited for by a worker, nor the log by anybody.
//!
//! Not here: what is configured (`config`), and any packet (`worker`).

mod accounts;
mod addresses;
mod admin;
mod alternates;
mod base;
mod capacity;
mod causes;
mod certificates;
mod discovery;
mod drain;
mod error;
mod health;
mod heard;
mod invitation;
mod listen;
mod log;
mod lookout;
mod metrics;
mod own;
mod places;
mod privileges;
mod ready;
mod realms;
mod reflexive;
mod reload;
mod sandbox;
mod secret;
mod start;
mod stores;
mod uris;
mod watch;
mod web;
mod wishes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use admin::AdminPart;
pub use causes::{cause_in_words, causes_page};
use drain::Drain;
use error::StartError;
use own::with_own_database;
use ready::{ReadyFile, Status};
use reload::{Part, Reloader};
pub use secret::state_directories;
use start::Running;
use stores::StoresPart;
use watch::{INTERVAL, Watch};
use wishes::{Asked, Wish, Wishes};

use crate::config::{AdminSocket, Config, Flags, Level};

/// How often it is seen whether all workers are alive.
const PULSE: Duration = Duration::from_secs(1);
/// How long the end waits for what is under way beside the workers.
const LAST: Duration = Duration::from_secs(1);
/// The time for a drain that is given none, where none is configured either.
const DRAIN: Duration = Duration::from_secs(3600);
/// How often it is seen whether a drain is over.
const COUNTED: Duration = Duration::from_millis(100);

/// Where the admin socket of a server with this configuration may be.
pub fn admin_sockets(config: &Config) -> Vec<PathBuf> {
    match &config.admin_socket {
        AdminSocket::Off => Vec::new(),
        AdminSocket::At(path) => vec![path.clone()],
        AdminSocket::Auto => {
            let directories = secret::state_directories(config).into_iter();
            directories.map(|directory| directory.join(admin::SOCKET_NAME)).collect()
        }
    }
}

/// Serves until SIGTERM or SIGINT. Success is a clean end. A failed start is a failure with one
/// line in the log, and so is the loss of a worker. `config` is what `flags` have given, which are
/// read again with SIGHUP.
pub fn run(config: Config, flags: Flags) -> ExitCode {
    log::init(&config.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::System("an event loop", error));
    let served = runtime.and_then(|runtime| {
        let served = runtime.block_on(serve(config, flags));
        // A question to a STUN or name server may be under way still.
        runtime.shutdown_timeout(LAST);
        served
    });
    let code = served.unwrap_or_else(|error| {
        tracing::error!(event = "start_failed", "cannot start: {error}");
        ExitCode::FAILURE
    });
    log::finish();
    code
}

async fn serve(config: Config, flags: Flags) -> Result<ExitCode, StartError> {
    let config = with_own_database(config);
    let (mut wishes, wisher) =
        Wishes::install().map_err(|error| StartError::System("signal handlers", error))?;
    let (running, base) = start::start(config.clone(), wisher)?;
    let mut reloader = {
        let ledger = Arc::clone(&running.sources.ledger);
        let admin = AdminPart(Arc::clone(&running.admin));
        let accounts = running.accounts.clone();
        let stores = StoresPart(Arc::clone(&base.stores));
        let parts: Vec<Box<dyn Part>> = vec![Box::new(admin), Box::new(accounts), Box::new(stores)];
        Reloader::new(flags, config, base, ledger, parts)
    };
    let mut watch = Watch::new();
    let clean = until_end(&running, &mut wishes, &mut reloader, &mut watch).await;
    stop(running, reloader.take_ready_file(), watch);
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until somebody wants an end and the drain before it, if there is one, is over: true; or until a worker is
/// lost: false.
async fn until_end(
    running: &Running,
    wishes: &mut Wishes,
    reloader: &mut Reloader,
    watch: &mut Watch,
) -> bool {
    let mut look = interval(INTERVAL);
    let mut pulse = interval(PULSE);
    let mut counted = interval(COUNTED);
    // Two looks are to lie apart also when the first one comes late.
    counted.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drain: Option<Drain> = None;
    let mut status = Status::default();
    loop {
        tokio::select! {
            asked = wishes.next() => match asked.wish {
                Wish::Terminate if drain.is_none() && !reloader.drain().is_zero() => {
                    drain = Some(Drain::begin(running, reloader.drain()));
                }
                Wish::Terminate | Wish::Stop => return true,
                Wish::Drain(limit) => {
                    let configured = Some(reloader.drain()).filter(|limit| !limit.is_zero());
                    let limit = limit.or(configured).unwrap_or(DRAIN);
                    drain = Some(Drain::begin(running, limit));
                    // Who has asked is answered before an end that comes at once.
                    counted.reset();
                    asked.answer(Ok(draining(running, limit)));
                }
                _ => {
                    fulfil(running, reloader, asked).await;
                    if drain.is_none() {
                        status.tell(running.workers.live(), reloader.has_failed());
                    }
                }
            },
            places = reloader.other_places() => reloader.move_to(places, &running.workers).await,
            _ = look.tick() => {
                watch.look(&running.sources.stats, running.sources.lost.get());
                // A drain tells of itself.
                if drain.is_none() {
                    status.tell(running.workers.live(), reloader.has_failed());
                }
            }
            _ = pulse.tick() => {
                if running.workers.failed() {
                    // A half that listens and does not answer is worse than a restart.
                    tracing::error!(event = "worker_lost", "a worker has ended by itself: stopping");
                    return false;
                }
                running.sources.feel_pulse(&running.workers);
            }
            _ = counted.tick(), if drain.is_some() => {
                if drain.as_mut().is_some_and(|drain| drain.is_over(running)) {
                    return true;
                }
            }
        }
    }
}

/// Does what is wanted of a server that goes on.
async fn fulfil(running: &Running, reloader: &mut Reloader, asked: Asked) {
    let answer = match asked.wish {
        Wish::Reload => {
            let answer = beating(running, reloader.reload(&running.workers)).await;
            running.sources.readiness.ask_at(&reloader.listeners());
            reloader.read_certificates();
            answer
        }
        Wish::LogLevel(level) => {
            log::set_level(level);
            running.workers.set_verbose(level >= Level::Debug);
            tracing::info!(event = "log_level", "the log level is {} now", level.name());
            Ok(format!("the log level is {} until the next reload", level.name()))
        }
        // The loop itself does these.
        Wish::Terminate | Wish::Stop | Wish::Drain(_) => return,
    };
    asked.answer(answer);
}

/// Does what takes its time, and feels the pulse meanwhile: the service manager would take this process for dead.
async fn beating<T>(running: &Running, work: impl Future<Output = T>) -> T {
    let mut pulse = interval(PULSE);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = pulse.tick() => running.sources.feel_pulse(&running.workers),
        }
    }
}

/// What a drain is answered with.
fn draining(running: &Running, limit: Duration) -> String {
    let (live, seconds) = (running.workers.live(), limit.as_secs());
    format!("draining: {live} allocations have up to {seconds} s to end")
}

/// Ends every session, logs each, and takes back what says that the server is ready.
fn stop(running: Running, ready_file: Option<ReadyFile>, mut watch: Watch) {
    let Running { workers, accounts, admin_socket, sources, log_thread, .. } = running;
    ready::notify("STOPPING=1");
    sources.health.stop();
    let cut = workers.live();
    workers.stop();
    sources.lost.close();
    accounts.finish();
    log::join(log_thread);
    watch.look(&sources.stats, sources.lost.get());
    if let Some(file) = ready_file {
        file.remove();
    }
    if let Some(socket) = admin_socket {
        socket.remove();
    }
    tracing::info!(
        event = "stopped",
        allocations_cut = cut,
        uptime_seconds = sources.clock.now().mono.as_secs(),
        "stopped",
    );
}
