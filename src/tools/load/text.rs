//! The report for people.

use std::fmt::{self, Display, Formatter};

use hdrhistogram::Histogram;

use super::churn::Cycles;
use super::options::{Direction, Mode, Options, Rate};
use super::report::{Figures, Report, percentiles};
use super::setup::SetUp;
use super::tally::Tally;

/// A report as a table of names and figures.
pub(super) struct Text<'a>(pub(super) &'a Report<'a>);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        writeln!(f, "{}", Headline(report.options, report))?;
        if let Some(set_up) = &report.set_up {
            write_set_up(f, set_up)?;
        }
        for (trouble, count) in &report.causes {
            writeln!(f, "failed      {count} times: {trouble}")?;
        }
        if let Some(each) = report.resident_each() {
            let kib = |bytes: u64| bytes as f64 / 1024.0;
            let (before, after) = report.resident.unwrap_or_default();
            writeln!(
                f,
                "memory      {:.0} KiB before, {:.0} KiB after: {:.2} KiB per {}",
                kib(before),
                kib(after),
                kib(each),
                report.options.mode.holds()
            )?;
        }
        if let Some(figures) = &report.figures {
            write_load(f, report.options, figures)?;
        }
        if let Some(cycles) = &report.cycles {
            write_cycles(f, report.options, cycles)?;
        }
        let verdict = if report.is_ok() { "ok" } else { "NOT ok" };
        write!(f, "{verdict}")
    }
}

/// What was done to whom.
struct Headline<'a>(&'a Options, &'a Report<'a>);

impl Display for Headline<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(options, report) = self;
        write!(f, "{} at {} over {}", options.uri, report.server, options.way())?;
        if let Some(tls) = &report.tls {
            write!(f, " ({tls})")?;
        }
        f.write_str(": ")?;
        let rate = match options.rate {
            Rate::Fixed(rate) => format!("{rate}/s"),
            Rate::Max if options.mode == Mode::Churn => "as fast as they end".to_owned(),
            Rate::Max => format!("{} in flight", options.window),
        };
        let train = match (options.train, options.offload) {
            (1, false) => String::new(),
            (1, true) => ", with offload".to_owned(),
            (train, false) => format!(", trains of {train}"),
            (train, true) => format!(", trains of {train} in one piece"),
        };
        match options.mode {
            Mode::Binding => write!(f, "Binding, {} sockets, {rate}{train}", options.clients),
            Mode::Churn => write!(f, "allocation cycles, {} at a time, {rate}", options.clients),
            Mode::Channel | Mode::Send => {
                let way = match options.direction {
                    Direction::Echo => "to the peer and back",
                    Direction::Up => "to the peer",
                    Direction::Down => "from the peer",
                };
                let kind = if options.mode == Mode::Send { "indications" } else { "ChannelData" };
                write!(
                    f,
                    "{kind}, {} clients, {} B {way}, {rate}{train}",
                    options.clients, options.size
                )?;
                match options.flood {
                    Some(flood) => write!(f, ", and one client with {flood}/s"),
                    None => Ok(()),
                }
            }
        }
    }
}

fn write_set_up(f: &mut Formatter<'_>, set_up: &SetUp) -> fmt::Result {
    let seconds = set_up.elapsed.as_secs_f64();
    let per_second = f64::from(set_up.succeeded) / seconds.max(1e-9);
    write!(
        f,
        "set-up      {} of {} in {seconds:.3} s, {per_second:.0}/s",
        set_up.succeeded, set_up.wanted
    )?;
    if set_up.retransmitted > 0 {
        write!(f, ", {} requests sent again", set_up.retransmitted)?;
    }
    writeln!(f)?;
    write_times(f, "set-up time", &set_up.times)
}

fn write_load(f: &mut Formatter<'_>, options: &Options, figures: &Figures) -> fmt::Result {
    let Figures { measured, tally, .. } = figures;
    let percent = 100.0 * figures.lost as f64 / tally.sent.max(1) as f64;
    writeln!(
        f,
        "rate        {:.0}/s sent, {:.0}/s delivered, in {:.2} s",
        measured.per_second(measured.sent),
        measured.per_second(measured.finished),
        measured.elapsed.as_secs_f64()
    )?;
    writeln!(
        f,
        "packets     {} sent, {} delivered, {} lost ({percent:.3} %)",
        tally.sent, tally.finished, figures.lost
    )?;
    for (name, leg, shown) in [
        ("to peer   ", &tally.to_peer, matches!(options.mode, Mode::Channel | Mode::Send)),
        ("to clients", &tally.to_client, true),
    ] {
        if shown && leg != &super::tally::Leg::default() {
            writeln!(
                f,
                "{name}  {} received, {} duplicated, {} reordered, {} corrupted, {} misrouted",
                leg.received, leg.duplicated, leg.reordered, leg.corrupted, leg.misrouted
            )?;
        }
    }
    for (count, what) in [
        (figures.losses.links, "clients were lost on the way"),
        (figures.losses.not_prolonged, "times the server did not prolong what a client had"),
        (figures.skipped, "not sent: the load tester had no time, no room or no client for them"),
        (figures.unsent, "not taken by this host's kernel"),
        (figures.receive_drops, "lost in the load tester's own sockets"),
        (tally.stray, "packets of an earlier run came"),
    ] {
        if count > 0 {
            writeln!(f, "note        {count} {what}")?;
        }
    }
    let name = match (options.mode, options.direction) {
        (Mode::Binding, _) | (_, Direction::Echo) => "round trip",
        _ => "one way",
    };
    write_times(f, name, &figures.latency)?;
    write_besides(f, figures)?;
    if options.pid.is_some() {
        let what = if options.mode == Mode::Binding { "requests" } else { "relayed packets" };
        writeln!(
            f,
            "server      {:.3} CPU s per million {what} ({:.0}/s), {:.2} cores",
            measured.cpu_per_million(),
            measured.per_second(measured.passed),
            measured.cpu.as_secs_f64() / measured.elapsed.as_secs_f64().max(1e-9)
        )?;
    }
    Ok(())
}

/// What ran at the same time.
fn write_besides(f: &mut Formatter<'_>, figures: &Figures) -> fmt::Result {
    let measured = &figures.measured;
    if let Some(handshakes) = &figures.handshakes {
        writeln!(
            f,
            "handshakes  {:.0}/s of TLS besides, {} failed, {} not begun, {} under way at the end",
            measured.per_second(handshakes.done),
            handshakes.failed,
            handshakes.skipped,
            handshakes.under_way
        )?;
        write_times(f, "handshake", &handshakes.times)?;
    }
    if let Some(flood) = &figures.flood {
        writeln!(
            f,
            "flood       {:.0}/s sent, {:.0}/s delivered, besides all of the above",
            measured.per_second(flood.sent),
            measured.per_second(flood.finished)
        )?;
        let Tally { to_peer, to_client, .. } = &flood.tally;
        if flood.tally.bad() > 0 {
            writeln!(
                f,
                "note        {} of the flood's packets came corrupted, {} misrouted",
                to_peer.corrupted + to_client.corrupted,
                to_peer.misrouted + to_client.misrouted
            )?;
        }
    }
    Ok(())
}

fn write_cycles(f: &mut Formatter<'_>, options: &Options, cycles: &Cycles) -> fmt::Result {
    writeln!(
        f,
        "cycles      {} in {:.2} s, {:.0}/s, {} failed",
        cycles.done,
        cycles.elapsed.as_secs_f64(),
        cycles.per_second(),
        cycles.failed
    )?;
    if cycles.skipped > 0 {
        writeln!(f, "note        {} cycles not begun: no client was free in time", cycles.skipped)?;
    }
    if cycles.retransmitted > 0 {
        writeln!(f, "note        {} requests sent again", cycles.retransmitted)?;
    }
    write_times(f, "cycle", &cycles.times)?;
    if options.pid.is_some() {
        writeln!(f, "server      {:.4} CPU s per 1000 cycles", cycles.cpu_per_thousand())?;
    }
    Ok(())
}

fn write_times(f: &mut Formatter<'_>, name: &str, times: &Histogram<u64>) -> fmt::Result {
    if times.is_empty() {
        return Ok(());
    }
    write!(f, "{name:<11}")?;
    for (place, (name, value)) in percentiles(times).iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        write!(f, "{comma} {name} {}", Micros(*value))?;
    }
    writeln!(f)
}

/// A time in the unit in which it is short.
pub(super) struct Micros(pub(super) f64);

impl Display for Micros {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros if micros < 1000.0 => write!(f, "{micros:.1} us"),
            micros if micros < 1e6 => write!(f, "{:.2} ms", micros / 1e3),
            micros => write!(f, "{:.3} s", micros / 1e6),
        }
    }
}
