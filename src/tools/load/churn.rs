//! Allocations that are made, used as a browser would begin to, and ended again.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::errand::{Errand, Outcome};
use super::fleet::Fleet;
use super::io::Io;
use super::options::Options;
use super::pace::Pace;
use super::process::{Process, Usage};
use super::progress::{Progress, to_go};
use super::run::WARM_UP;
use super::tally::histogram;
use crate::net::Events;

/// The longest wait for cycles that are on their way at the end.
const DRAIN: u64 = 6_000_000_000;

/// What a run of cycles has found; of the measured time, but for `failed` and `skipped`.
pub(super) struct Cycles {
    pub(super) elapsed: Duration,
    pub(super) done: u64,
    /// In all of the run.
    pub(super) failed: u64,
    /// Cycles whose time came when no client was free, until it was too late for them.
    pub(super) skipped: u64,
    /// Of each cycle, in nanoseconds.
    pub(super) times: Histogram<u64>,
    pub(super) cpu: Duration,
    pub(super) retransmitted: u64,
}

struct Churn<'a> {
    fleet: &'a mut Fleet,
    pace: Pace,
    reuse_sockets: bool,
    idle: Vec<u32>,
    outcomes: Vec<Outcome>,
    done: u64,
    failed: u64,
    times: Histogram<u64>,
    measured_from: u64,
    /// Of the run.
    end: u64,
}

/// Goes through cycles for as long as the options say.
///
/// # Errors
/// The system lacks descriptors.
pub(super) fn run(
    options: &Options,
    fleet: &mut Fleet,
    process: Option<&Process>,
    progress: &mut Progress,
) -> io::Result<Cycles> {
    for _ in 0..options.clients {
        fleet.open()?;
    }
    let start = fleet.io.nanos();
    let duration = options.duration.as_nanos() as u64;
    progress.begin(start);
    let mut churn = Churn {
        pace: Pace::new(options.rate, options.clients, 1, start),
        reuse_sockets: options.reuse_sockets,
        idle: (0..options.clients).rev().collect(),
        fleet,
        outcomes: Vec::new(),
        done: 0,
        failed: 0,
        times: histogram(),
        measured_from: 0,
        end: start + duration,
    };
    let mut events = Io::events();
    let usage = || process.map(Process::usage).unwrap_or_default();
    churn.until(start + WARM_UP.min(duration / 10), &mut events, progress)?;
    let (from, before, Usage { cpu, .. }) = (churn.fleet.io.nanos(), churn.done, usage());
    churn.measured_from = from;
    churn.until(start + duration, &mut events, progress)?;
    let (to, after, used) = (churn.fleet.io.nanos(), churn.done, usage());
    if churn.idle.is_empty() {
        churn.pace.give_up(to);
    }
    churn.drain(&mut events)?;
    progress.clear();
    Ok(Cycles {
        elapsed: Duration::from_nanos(to - from),
        done: after - before,
        failed: churn.failed,
        skipped: churn.pace.skipped(),
        times: churn.times,
        cpu: used.cpu.saturating_sub(cpu),
        retransmitted: churn.fleet.retransmitted(),
    })
}

impl Churn<'_> {
    fn until(&mut self, end: u64, events: &mut Events, progress: &mut Progress) -> io::Result<()> {
        loop {
            let now = self.fleet.io.nanos();
            if !self.fleet.io.goes_on(now, end) {
                return Ok(());
            }
            self.begin_due(now)?;
            self.turn(events, Duration::ZERO)?;
            let line = |per_second| {
                let left = to_go(self.end, now);
                format!("{left}: {per_second:.0} cycles/s, {} failed", self.failed)
            };
            progress.tick(now, || self.done, line);
        }
    }

    fn drain(&mut self, events: &mut Events) -> io::Result<()> {
        let deadline = self.fleet.io.nanos() + DRAIN;
        while self.fleet.busy() > 0 && self.fleet.io.nanos() < deadline {
            self.turn(events, Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn begin_due(&mut self, now: u64) -> io::Result<()> {
        while let Some(number) = self.idle.pop() {
            let Some(due) = self.pace.take(now) else {
                self.idle.push(number);
                return Ok(());
            };
            let lost = self.fleet.clients[number as usize].link.is_none();
            if lost || !self.reuse_sockets {
                self.fleet.reopen(number)?;
            }
            self.fleet.begin(number, Errand::Cycle, due);
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events, limit: Duration) -> io::Result<()> {
        self.fleet.flush();
        self.fleet.io.wait(events, limit)?;
        for event in events.iter() {
            if let Ok(number) = u32::try_from(event.token()) {
                let each = &mut |session: &mut crate::client::Session, packet: &[u8]| {
                    Some(session.receive(packet))
                };
                self.fleet.handle(number, event, each);
            } else {
                self.fleet.at_peer(event, &mut |_, _| false)?;
            }
        }
        self.fleet.expire();
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.fleet.take_outcomes(&mut outcomes);
        outcomes.iter().for_each(|outcome| self.ended(outcome));
        self.outcomes = outcomes;
        Ok(())
    }

    fn ended(&mut self, outcome: &Outcome) {
        let number = outcome.client;
        let failed = outcome.result.is_err();
        if outcome.errand == Errand::Cycle {
            if failed {
                self.failed += 1;
            } else {
                self.done += 1;
                if outcome.started >= self.measured_from {
                    self.times.saturating_record(outcome.ended.saturating_sub(outcome.started));
                }
            }
        }
        let client = &self.fleet.clients[number as usize];
        if failed && outcome.errand == Errand::Cycle && client.session.relayed().is_some() {
            // An allocation that is left would refuse the next cycle.
            let now = self.fleet.io.nanos();
            self.fleet.begin(number, Errand::TearDown, now);
            if self.fleet.clients[number as usize].is_on_errand() {
                return;
            }
        }
        if failed && outcome.errand == Errand::TearDown {
            // Whatever is left of it is no hindrance to a new socket.
            self.fleet.clients[number as usize].link = None;
        }
        self.idle.push(number);
    }
}
