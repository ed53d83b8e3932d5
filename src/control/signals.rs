//! The signals that the process listens to, and how long it goes on after them.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};

/// What somebody wants of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM: an end that may take the configured time.
    Terminate,
    /// SIGINT: an end now.
    Interrupt,
    /// SIGHUP.
    Hangup,
}

/// The handlers of SIGTERM, SIGINT and SIGHUP.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// How often the live allocations are counted during a wait.
const COUNTED: Duration = Duration::from_millis(100);

impl Signals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Terminate,
            _ = self.interrupt.recv() => Wish::Interrupt,
            _ = self.hangup.recv() => Wish::Hangup,
        }
    }

    /// The next one that wants an end; each SIGHUP before it is answered by `hangup`.
    pub(super) async fn end(&mut self, hangup: &impl Fn()) -> Wish {
        loop {
            match self.next().await {
                // The default action would end the process and every call with it.
                Wish::Hangup => hangup(),
                wish => return wish,
            }
        }
    }

    /// Waits until no allocation is alive, the time is over, or a second signal wants an end.
    pub(super) async fn drained(
        &mut self,
        limit: Duration,
        live: impl Fn() -> u64,
        hangup: &impl Fn(),
    ) {
        let deadline = Instant::now() + limit;
        let mut ticks = interval(COUNTED);
        let mut end = std::pin::pin!(self.end(hangup));
        loop {
            tokio::select! {
                _ = &mut end => return,
                () = sleep_until(deadline) => return,
                _ = ticks.tick() => if live() == 0 { return },
            }
        }
    }
}
