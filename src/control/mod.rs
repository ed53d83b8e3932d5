//! The process around the workers: start, log, metrics, signals and the end.
//!
//! [`run`] goes through these steps, and any that fails ends it with one line that says what to do:
//!
//! 1. the log;
//! 2. addresses: where allocations are made and how that is known outside, with the reasons;
//! 3. credentials: those configured, or a secret of its own, so that no server is ever open;
//! 4. sockets and certificates, then another user, then workers and the admin endpoint;
//! 5. ready: the ready file, the line `ready`, the service manager;
//! 6. until a signal: counters are watched, `/metrics` and `/healthz` answered, and with SIGHUP the
//!    configuration is read again (`reload`);
//! 7. the end: every session is ended and logged, then the ready file goes.
//!
//! One small single-threaded tokio runtime does all of that beside the workers, and one thread
//! writes the log. Neither is ever waited for by a worker.
//!
//! Not here: what is configured (`config`), and any packet (`worker`).

mod addresses;
mod admin;
mod alternates;
mod base;
mod capacity;
mod certificates;
mod discovery;
mod error;
mod invitation;
mod log;
mod metrics;
mod privileges;
mod ready;
mod reflexive;
mod reload;
mod secret;
mod signals;
mod start;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep_until};

use admin::Phase;
use error::StartError;
use reload::Reloader;
use signals::{Signals, Wish};
use start::Running;
use watch::{INTERVAL, Watch};

use crate::config::{Config, Flags};

/// How often it is seen whether all workers are alive.
const PULSE: Duration = Duration::from_secs(1);
/// How often the live allocations are counted while the last of them are waited for.
const COUNTED: Duration = Duration::from_millis(100);

/// Serves until SIGTERM or SIGINT. Success is a clean end. A failed start is a failure with one
/// line in the log, and so is the loss of a worker. `config` is what `flags` have given, which are
/// read again with SIGHUP.
pub fn run(config: Config, flags: Flags) -> ExitCode {
    log::init(&config.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime
        .map_err(|error| StartError::System("an event loop", error))
        .and_then(|runtime| runtime.block_on(serve(config, flags)));
    served.unwrap_or_else(|error| {
        tracing::error!(event = "start_failed", "cannot start: {error}");
        ExitCode::FAILURE
    })
}

async fn serve(config: Config, flags: Flags) -> Result<ExitCode, StartError> {
    let mut signals =
        Signals::install().map_err(|error| StartError::System("signal handlers", error))?;
    let (running, base) = start::start(config.clone())?;
    let mut reloader = Reloader::new(flags, config, base);
    let mut watch = Watch::new();
    let wish = until_end(&running, &mut signals, &mut reloader, &mut watch).await;
    if wish == Some(Wish::Terminate) && !reloader.drain().is_zero() {
        wait_for_sessions(&running, &mut signals, &mut reloader).await;
    }
    stop(running, watch);
    Ok(if wish.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for a signal that wants an end; none comes when a worker is lost.
async fn until_end(
    running: &Running,
    signals: &mut Signals,
    reloader: &mut Reloader,
    watch: &mut Watch,
) -> Option<Wish> {
    let mut look = interval(INTERVAL);
    let mut pulse = interval(PULSE);
    loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Hangup => read_again(running, reloader).await,
                wish => return Some(wish),
            },
            _ = look.tick() => watch.look(&running.sources.stats, running.sources.lost.get()),
            _ = pulse.tick() => if running.workers.failed() {
                // A half that listens and does not answer is worse than a restart.
                tracing::error!(event = "worker_lost", "a worker has ended by itself: stopping");
                return None;
            },
        }
    }
}

/// What SIGHUP does.
async fn read_again(running: &Running, reloader: &mut Reloader) {
    reloader.reload(&running.workers).await;
    if let Some(certificates) = &running.certificates {
        certificates.read_again();
    }
}

/// Goes on for those who are in a call, until none is left, the time is over, or a second signal wants an end. New
/// allocations are still made meanwhile.
async fn wait_for_sessions(running: &Running, signals: &mut Signals, reloader: &mut Reloader) {
    let limit = reloader.drain();
    running.admin.set_phase(Phase::Draining);
    running.sources.ledger.set_draining(true);
    tracing::info!(
        event = "draining",
        allocations = running.workers.live(),
        "SIGTERM: waiting up to {} s for live allocations to end; new ones are sent to another \
         server where one is alive, and still admitted where not; a second signal stops at once",
        limit.as_secs(),
    );
    let deadline = Instant::now() + limit;
    let mut ticks = interval(COUNTED);
    loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Hangup => read_again(running, reloader).await,
                _ => return,
            },
            () = sleep_until(deadline) => return,
            _ = ticks.tick() => if running.workers.live() == 0 { return },
        }
    }
}

/// Ends every session, logs each, and takes back what says that the server is ready.
fn stop(running: Running, mut watch: Watch) {
    let Running { workers, admin, sources, log_thread, ready_file, certificates: _ } = running;
    ready::notify("STOPPING=1");
    admin.set_phase(Phase::Stopping);
    let cut = workers.live();
    workers.stop();
    sources.lost.close();
    // It ends when it has written the last worker's last line.
    let _ = log_thread.join();
    watch.look(&sources.stats, sources.lost.get());
    if let Some(file) = ready_file {
        file.remove();
    }
    tracing::info!(
        event = "stopped",
        allocations_cut = cut,
        uptime_seconds = sources.clock.now().mono.as_secs(),
        "stopped",
    );
}
