//! The loop of every load that is made of packets: send, echo, receive, and count.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::errand::Errand;
use super::fleet::Fleet;
use super::handshakes::{self, Handshakes};
use super::io::Io;
use super::keep_up::KeepUp;
use super::options::Options;
use super::process::{Process, Usage, dropped};
use super::progress::{Progress, to_go};
use super::report::{self, Figures, Flood, Measured};
use super::tally::Tally;
use super::text::Micros;
use crate::client::{Event, Session};
use crate::net::Events;

/// The most that is left out at the beginning, in nanoseconds: caches and the server's own start.
pub(super) const WARM_UP: u64 = 500_000_000;
/// When nothing has come for so long, nothing will.
const QUIET: u64 = 300_000_000;
/// The longest wait for what is still on its way.
const DRAIN: u64 = 2_000_000_000;

/// What is sent, and what becomes of it. Times are in nanoseconds since the start.
pub(super) trait Load {
    /// Sends what is due, a burst of it at most.
    fn send_due(&mut self, fleet: &mut Fleet);

    /// Takes a message from the server; what it means to the client's session, if it is for that.
    fn at_client(
        &mut self,
        client: u32,
        session: &mut Session,
        packet: &[u8],
        now: u64,
    ) -> Option<Event>;

    /// Takes a datagram to the built-in peer; whether it is sent back.
    fn at_peer(&mut self, from: SocketAddr, payload: &[u8], now: u64) -> bool;

    /// Latency counts for packets that are meant to be sent from now on.
    fn measure_from(&mut self, nanos: u64);

    /// All that was counted so far.
    fn tally(&self) -> Tally;

    /// The same of the client that floods, with what it could not send.
    fn flood(&self) -> Option<(Tally, u64)> {
        None
    }

    /// Packets whose time came and for which there was no room, or no time any more.
    fn skipped(&self) -> u64;

    /// From when a packet was meant to be sent to when it was at its end.
    fn latency(&self) -> &Histogram<u64>;
}

/// One run over clients that are there.
struct Run<'a, L> {
    fleet: &'a mut Fleet,
    load: L,
    keep_up: KeepUp,
    handshakes: Option<Handshakes>,
    last_arrival: u64,
    end: u64,
}

/// What was so at an instant.
#[derive(Clone, Copy)]
struct Snapshot {
    nanos: u64,
    tally: Tally,
    flood: Option<(Tally, u64)>,
    handshakes: handshakes::Tally,
    usage: Usage,
}

/// Loads the server for as long as the options say.
///
/// # Errors
/// None that a sound system makes.
pub(super) fn run(
    options: &Options,
    fleet: &mut Fleet,
    load: impl Load,
    process: Option<&Process>,
    progress: &mut Progress,
) -> io::Result<Figures> {
    let start = fleet.io.nanos();
    progress.begin(start);
    let duration = options.duration.as_nanos() as u64;
    let keep_up = KeepUp::new(fleet.clients.len() as u32, shortest_lifetime(fleet), start);
    let handshakes = options.handshakes.map(|rate| fleet.handshakes(rate, start)).transpose()?;
    let mut run =
        Run { fleet, load, keep_up, handshakes, last_arrival: start, end: start + duration };
    let mut events = Io::events();
    run.until(start + WARM_UP.min(duration / 10), &mut events, progress)?;
    let from = run.snapshot(process);
    run.load.measure_from(from.nanos);
    if let Some(handshakes) = &mut run.handshakes {
        handshakes.measure();
    }
    run.until(run.end, &mut events, progress)?;
    let to = run.snapshot(process);
    run.drain(&mut events)?;
    progress.clear();
    Ok(run.figures(options, &from, &to))
}

/// What the allocations were granted, in seconds.
fn shortest_lifetime(fleet: &Fleet) -> u32 {
    let alive = fleet.clients.iter().filter(|client| client.session.relayed().is_some());
    alive.map(|client| client.session.lifetime()).min().unwrap_or(u32::MAX)
}

impl<L: Load> Run<'_, L> {
    /// Sends and receives until the time has come. It never sleeps, so that nothing waits for its waking up.
    fn until(&mut self, end: u64, events: &mut Events, progress: &mut Progress) -> io::Result<()> {
        loop {
            let now = self.fleet.io.nanos();
            if !self.fleet.io.goes_on(now, end) {
                return Ok(());
            }
            self.load.send_due(self.fleet);
            if let Some(handshakes) = &mut self.handshakes {
                handshakes.begin_due(&self.fleet.io, now)?;
            }
            self.keep_up(now);
            self.fleet.flush();
            self.receive(events, Duration::ZERO)?;
            let finished = || self.load.tally().finished;
            progress.tick(now, finished, |per_second| self.line(now, per_second));
        }
    }

    fn line(&self, now: u64, per_second: f64) -> String {
        let (tally, times) = (self.load.tally(), self.load.latency());
        let bad = tally.bad();
        let (left, missing) = (to_go(self.end, now), tally.outstanding());
        let line = format!("{left}: {per_second:.0}/s, {missing} missing, {bad} bad");
        if times.is_empty() {
            return line;
        }
        let [p50, p99] = [0.5, 0.99].map(|at| Micros(times.value_at_quantile(at) as f64 / 1e3));
        format!("{line}, p50 {p50}, p99 {p99}")
    }

    /// Takes in what is still on its way.
    fn drain(&mut self, events: &mut Events) -> io::Result<()> {
        let start = self.fleet.io.nanos();
        self.last_arrival = start;
        loop {
            self.fleet.flush();
            let now = self.fleet.io.nanos();
            let quiet = now - self.last_arrival > QUIET;
            if self.outstanding() == 0 || quiet || now - start > DRAIN {
                return Ok(());
            }
            self.receive(events, Duration::from_millis(10))?;
        }
    }

    /// What has been sent, the flood included, and is not at its end.
    fn outstanding(&self) -> u64 {
        let flood = self.load.flood().map_or(0, |(tally, _)| tally.outstanding());
        self.load.tally().outstanding() + flood
    }

    fn receive(&mut self, events: &mut Events, limit: Duration) -> io::Result<()> {
        self.fleet.io.wait(events, limit)?;
        for event in events.iter() {
            let now = self.fleet.io.nanos();
            let handshakes = self.handshakes.as_mut();
            if handshakes.is_some_and(|it| it.handle(&mut self.fleet.io, event, now)) {
                continue;
            }
            self.last_arrival = now;
            let load = &mut self.load;
            if let Ok(number) = u32::try_from(event.token()) {
                self.fleet.handle(number, event, &mut |session, packet| {
                    load.at_client(number, session, packet, now)
                });
            } else {
                self.fleet.at_peer(event, &mut |from, payload| load.at_peer(from, payload, now))?;
            }
        }
        self.fleet.expire();
        Ok(())
    }

    fn keep_up(&mut self, now: u64) {
        if let Some(number) = self.keep_up.take(now)
            && self.fleet.clients[number as usize].session.relayed().is_some()
        {
            self.fleet.begin(number, Errand::KeepUp, now);
        }
    }

    fn snapshot(&self, process: Option<&Process>) -> Snapshot {
        Snapshot {
            nanos: self.fleet.io.nanos(),
            tally: self.load.tally(),
            flood: self.load.flood(),
            handshakes: self.handshakes.as_ref().map(Handshakes::tally).unwrap_or_default(),
            usage: process.map(Process::usage).unwrap_or_default(),
        }
    }

    fn figures(&self, options: &Options, from: &Snapshot, to: &Snapshot) -> Figures {
        let (tally, unsent) = (self.load.tally(), self.fleet.io.unsent());
        // Beside a flood nobody knows whose it was: rather too much is called lost than too little.
        let known_unsent = if self.load.flood().is_some() { 0 } else { unsent };
        let mut passed = to.passed() - from.passed();
        if options.peer.is_some() {
            // What has come back has passed the server twice, the first time unseen.
            passed *= 2;
        }
        let handshakes = self.handshakes.as_ref().map(|all| report::Handshakes {
            done: to.handshakes.done - from.handshakes.done,
            failed: all.tally().failed,
            skipped: all.skipped(),
            under_way: all.under_way(),
            times: all.times().clone(),
        });
        let links = self.fleet.clients.iter().filter_map(|client| client.link.as_ref());
        let sockets = links.map(|link| link as &dyn AsFd);
        let peer = self.fleet.peer.socket().map(|socket| socket as &dyn AsFd);
        Figures {
            measured: Measured {
                elapsed: Duration::from_nanos(to.nanos - from.nanos),
                sent: to.tally.sent - from.tally.sent,
                finished: to.tally.finished - from.tally.finished,
                passed,
                cpu: to.usage.cpu.saturating_sub(from.usage.cpu),
            },
            tally,
            losses: self.fleet.losses(),
            lost: tally.outstanding().saturating_sub(known_unsent),
            skipped: self.load.skipped(),
            unsent,
            receive_drops: dropped(sockets.chain(peer)),
            latency: self.load.latency().clone(),
            handshakes,
            flood: self.load.flood().zip(to.flood).zip(from.flood).map(
                |(((tally, skipped), to), from)| Flood {
                    sent: to.0.sent - from.0.sent,
                    finished: to.0.finished - from.0.finished,
                    tally,
                    skipped,
                },
            ),
        }
    }
}

impl Snapshot {
    fn passed(&self) -> u64 {
        self.tally.passed() + self.flood.map_or(0, |(tally, _)| tally.passed())
    }
}
