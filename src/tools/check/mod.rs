//! `turnwire check`: whether a TURN server works, way by way, and why not.
//!
//! Every way to the server (UDP, TCP, TLS or DTLS, by IPv4 or IPv6) is walked alone, on a thread of its own, from
//! the name to data that come back, and the first thing that fails on it is named: a `Fault` has a name for
//! scripts, a sentence that says what is wrong and one that says what to do. What can be tried in spite of a fault
//! is tried.
//!
//! ```text
//! options, target   what is asked, and the ways that follow from it
//! srv               what SRV records say of a name
//! link              a socket that messages go through, whatever lies around them
//! dialogue          a client's session over a link: requests with their answers, and data
//! walk              the stages of one way: reach, tls, binding, challenge, authenticate, allocate, ...
//! address           whether a relayed address is one that peers can reach
//! peers             data: from one relay to another, and between a relay and a socket outside
//! fault             everything that can be wrong, with words
//! report            the table for people, and JSON
//! ```
//!
//! Any server may be asked: nothing of this one's own is needed. What a server tells besides (reason phrases) makes
//! the answer more exact.

mod address;
mod dialogue;
mod fault;
mod link;
mod options;
mod peers;
mod report;
mod srv;
mod target;
mod walk;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

pub use options::Options;

pub(super) use link::{Broken, Link};
pub(super) use options::Start;
pub(super) use target::{Target, Way};

use super::say;
use fault::{Blame, Fault};
use report::Report;

/// No way works at all.
const NOTHING: u8 = 3;
/// Servers of one way, where each sends on to the next.
const STOPS: usize = 8;

/// Walks every way and prints what was found. 0 when all ways work, 1 when some do not, 3 when none does.
pub fn run(options: &Options) -> ExitCode {
    let started = match options.start(unix()) {
        Ok(start) => start,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}");
            return ExitCode::FAILURE;
        }
    };
    let mut reports: Vec<Report> = Vec::new();
    for uri in &options.uris {
        let mut found = Target::all(uri, options);
        // What another URI has led to already.
        let is_walked = |target: &Target| reports.iter().any(|report| report.is_of(target));
        found.retain(|found| {
            let beside = |it: &Target| it.beside.is_some_and(|port| is_walked(&it.at(port)));
            !found.as_ref().is_ok_and(|it| is_walked(it) || beside(it))
        });
        reports.extend(std::thread::scope(|scope| {
            let started = &started;
            let walks: Vec<_> = found
                .into_iter()
                .map(|found| {
                    scope.spawn(move || match found {
                        Ok(target) => walk_on(target, options, started),
                        Err(fault) => vec![Report::nowhere(uri, fault)],
                    })
                })
                .collect();
            let broken = |_| {
                let why = "a fault of this program's own: it has said on standard error which";
                vec![Report::nowhere(uri, Fault::Here(why.to_owned()))]
            };
            walks
                .into_iter()
                .flat_map(|walk| walk.join().unwrap_or_else(broken))
                .collect::<Vec<_>>()
        }));
    }
    compare(&mut reports);
    let text = if options.json { report::json(&reports) } else { report::page(&reports) };
    let code = match reports.iter().filter(|report| report.works()).count() {
        works if works == reports.len() => ExitCode::SUCCESS,
        0 => ExitCode::from(NOTHING),
        _ => ExitCode::FAILURE,
    };
    say(&text, code)
}

/// Walks a way, and goes on to where its server sends its clients (RFC 8489 §10).
fn walk_on(target: Target, options: &Options, start: &Start) -> Vec<Report> {
    let mut reports = vec![walk_either(target, options, start)];
    while reports.len() < STOPS
        && let Some(next) = reports.last().and_then(Report::next)
        && !reports.iter().any(|report| report.is_at(next.address))
    {
        reports.push(walk::walk(next, options, start));
    }
    // Who sends to a server that does not work, or round and round, does not work.
    let mut arrives = false;
    for report in reports.iter_mut().rev() {
        report.blame(|fault| match fault {
            Fault::Redirected(place, _) if !arrives => Some(Fault::Astray(*place)),
            _ => None,
        });
        arrives = report.works();
    }
    reports
}

/// Walks a way; TLS that is not where it usually is may be on the port of plain TURN.
fn walk_either(target: Target, options: &Options, start: &Start) -> Report {
    let beside = target.beside.map(|port| (target.address.port(), target.at(port)));
    let mut report = walk::walk(target, options, start);
    let nobody = ["port-closed", "no-answer", "unreachable"].iter().any(|it| report.last_is(it));
    let Some((usual, beside)) = beside.filter(|_| nobody) else {
        return report;
    };
    let named = beside.address.port();
    let other = walk::walk(beside, options, start);
    if other.is_secured() {
        return other;
    }
    report.blame(|_| Some(Fault::NotOffered { usual, named }));
    report
}

/// What one way alone cannot know: that silence over UDP is a firewall's when a stream gets through.
fn compare(reports: &mut [Report]) {
    let streams: Vec<IpAddr> = reports
        .iter()
        .filter(|report| report.answered())
        .filter_map(|report| report.target.as_ref().filter(|it| it.way.is_stream()))
        .map(|target| target.address.ip())
        .collect();
    for report in reports {
        if report.target.as_ref().is_some_and(|it| streams.contains(&it.address.ip())) {
            report.blame(|fault| match fault {
                Fault::Silent(Blame::Udp) => Some(Fault::UdpBlocked),
                _ => None,
            });
        }
    }
}

/// Seconds since 1970.
pub(super) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::report::{Stage, Verdict};
    use super::*;

    fn report(way: Way, address: &str, verdict: Verdict) -> Report {
        let address: SocketAddr = address.parse().unwrap();
        let host = "turn.example.org".to_owned();
        let mut report =
            Report::of(&Target { host, way, address, relays: true, record: None, beside: None });
        report.step(Stage::Binding, verdict, String::new(), Duration::ZERO);
        report
    }

    #[test]
    fn an_answer_by_one_family_says_nothing_of_udp_by_the_other() {
        let silent = |address| report(Way::Udp, address, Verdict::Fault(Fault::Silent(Blame::Udp)));
        let six = report(Way::Tcp, "[2001:db8::1]:3478", Verdict::Fine);
        let mut reports = [silent("192.0.2.1:3478"), silent("[2001:db8::1]:3478"), six];
        compare(&mut reports);
        assert!(reports[0].found("no-answer") && reports[1].found("udp-blocked"));
    }

    #[test]
    fn a_way_on_which_nothing_was_tried_does_not_work() {
        assert!(!report(Way::Dtls, "192.0.2.1:5349", Verdict::Skipped).works());
        assert!(report(Way::Tls, "192.0.2.1:5349", Verdict::Fine).works());
    }
}
