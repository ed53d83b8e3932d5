//! `turnwire load`: load and look, for any TURN server.
//!
//! One thread and one poll loop make all allocations, play the peer, send, echo and receive. While it measures, the
//! loop never sleeps: it takes a core, so that its own waking up is in nobody's figures.
//!
//! ```text
//! options  what to do                    setup    all allocations, pipelined        report  figures, JSON
//! fleet    clients and what they ask     run      the loop of a packet load         text    the table
//!   link, stream   one socket              traffic   packets through allocations    progress  the moving line
//!   errand requests in a row               binding   Binding requests
//! io       slots and system calls        churn    the loop of allocation cycles
//! pace     when to send                  keep_up  when to prolong what the clients have
//! payload, flow, tally   what came, and in which state                          interrupt  Ctrl-C
//! handshakes   TLS, besides
//! ```
//!
//! What it tells can be relied on:
//! - Every payload carries its client, its number and a checksum over all of it: loss, duplicates, overtaking,
//!   corruption and delivery to the wrong place are told apart, in each direction.
//! - At a fixed rate a packet's time counts from when it was meant to be sent: a server that stalls cannot hide it.
//! - What the load tester itself did not send, or has lost in its own sockets, is told apart from the server's loss.

mod binding;
mod churn;
mod errand;
mod fleet;
mod flow;
mod handshakes;
mod interrupt;
mod io;
mod keep_up;
mod link;
mod options;
mod pace;
mod payload;
mod peer;
mod ports;
mod process;
mod progress;
mod report;
mod run;
mod setup;
mod stream;
mod tally;
mod text;
mod traffic;

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use options::Options;

use super::say;
use binding::Requests;
use errand::Plan;
use fleet::{Fleet, Target};
use interrupt::Interrupt;
use io::Io;
use link::Way;
use options::Mode;
use peer::Peer;
use ports::Ports;
use process::Process;
use progress::Progress;
use report::Report;
use text::Text;
use traffic::Traffic;

use crate::client::{Credentials, Timing, Transport};
use crate::net::raise_descriptor_limit;
use crate::stun::Family;
use crate::tls;

/// A minted credential's life: a load that lasts a day is over by then.
const CREDENTIAL_LIFE: Duration = Duration::from_secs(25 * 3600);
/// Descriptors besides those of the clients.
const SPARE: u64 = 32;

/// When a request is given up: after 5.5 s. The RFC's 39.5 s are for paths, not for a server of one's own.
const TIMING: Timing = Timing { rto: Duration::from_millis(500), requests: 4, last: 4 };

/// Runs the load and prints what it has found. 0 when all was set up and kept and nothing was corrupted or misrouted, 1
/// when not, 2 when the options cannot be followed.
pub fn run(options: &Options) -> ExitCode {
    if let Err(problem) = options.check() {
        tell(&problem);
        return ExitCode::from(2);
    }
    let report = match measure(options) {
        Ok(report) => report,
        Err(problem) => {
            tell(&problem);
            return ExitCode::FAILURE;
        }
    };
    let text = match options.json {
        true => format!("{:#}", report.to_json()),
        false => Text(&report).to_string(),
    };
    let code = if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    say(&format!("{text}\n"), code)
}

fn tell(problem: &str) {
    // As above.
    let _ = writeln!(std::io::stderr(), "turnwire load: {problem}");
}

fn measure(options: &Options) -> Result<Report<'_>, String> {
    make_room(options)?;
    let target = target(options)?;
    let process =
        options.pid.map(|pid| Process::new(pid).map_err(|error| format!("--pid {pid}: {error}")));
    let process = process.transpose()?;
    let server = target.server;
    let family = match options.peer.unwrap_or(server) {
        SocketAddr::V4(_) => None,
        SocketAddr::V6(_) => Some(Family::V6),
    };
    let plan = Plan { mode: options.mode, family, peer: options.peer };
    let io = Io::new(options.offload, Interrupt::listen()).map_err(|error| error.to_string())?;
    let fleet = Fleet::new(target, plan, Peer::new(options.peer), io);
    let mut fleet = fleet.map_err(|error| format!("no way to {server}: {error}"))?;
    let mut report = Report {
        options,
        server,
        tls: None,
        set_up: None,
        figures: None,
        cycles: None,
        causes: Default::default(),
        resident: None,
    };
    let mut progress = Progress::new(options.quiet);
    let ended = load(&mut report, &mut fleet, process.as_ref(), &mut progress);
    progress.clear();
    report.causes = fleet.causes().clone();
    match ended {
        Ok(()) => Ok(report),
        Err(error) => Err(error.to_string()),
    }
}

/// Loads, and gives everything back however that has ended.
fn load(
    report: &mut Report<'_>,
    fleet: &mut Fleet,
    process: Option<&Process>,
    progress: &mut Progress,
) -> std::io::Result<()> {
    let ended = by_mode(report, fleet, process, progress);
    report.tls = fleet.clients.iter().find_map(|client| client.link.as_ref()?.cipher());
    let parted = setup::tear_down(fleet);
    ended.and(parted)
}

/// Goes through what the mode needs.
fn by_mode(
    report: &mut Report<'_>,
    fleet: &mut Fleet,
    process: Option<&Process>,
    progress: &mut Progress,
) -> std::io::Result<()> {
    let options = report.options;
    match options.mode {
        Mode::Binding => {
            let before = process.map(|process| process.usage().resident);
            for _ in 0..options.clients {
                fleet.open()?;
            }
            let mut mask = [0; 12];
            getrandom::fill(&mut mask).map_err(|_| std::io::Error::other("no random numbers"))?;
            let requests = Requests::new(options, fleet, mask);
            report.figures = Some(run::run(options, fleet, requests, process, progress)?);
            report.resident = before.zip(process.map(|process| process.usage().resident));
        }
        Mode::Churn => report.cycles = Some(churn::run(options, fleet, process, progress)?),
        Mode::Channel | Mode::Send => {
            let before = process.map(|process| process.usage().resident);
            let set_up = setup::set_up(fleet, options.allocations(), progress)?;
            report.resident = before.zip(process.map(|process| process.usage().resident));
            let some = set_up.succeeded > 0;
            report.set_up = Some(set_up);
            let number =
                getrandom::u32().map_err(|_| std::io::Error::other("no random numbers"))?;
            if let Some(traffic) = Traffic::new(options, fleet, number).filter(|_| some) {
                report.figures = Some(run::run(options, fleet, traffic, process, progress)?);
            }
        }
    }
    Ok(())
}

/// The server's address and the credentials for it.
fn target(options: &Options) -> Result<Target, String> {
    let (host, port) = (options.uri.host.as_str(), options.uri.port);
    let mut addresses =
        (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let server = addresses.next().ok_or_else(|| format!("{host} has no address"))?;
    let user = options.user.as_deref().unwrap_or("");
    let credentials = match (&options.secret, &options.password) {
        (Some(secret), _) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Some(Credentials::ephemeral(secret, user, (now + CREDENTIAL_LIFE).as_secs()))
        }
        (None, Some(password)) => Some(Credentials::new(user, password)),
        (None, None) => None,
    };
    let credentials = credentials.transpose().map_err(|error| error.to_string())?;
    Ok(Target {
        server,
        way: way(options)?,
        credentials: credentials.map(Arc::new),
        sha256: options.sha256,
        timing: TIMING,
    })
}

fn way(options: &Options) -> Result<Way, String> {
    match (options.transport(), options.uri.secure) {
        (Transport::Udp, _) => Ok(Way::Udp),
        (Transport::Tcp, false) => Ok(Way::Tcp),
        (Transport::Tcp, true) => {
            let client = tls::Client::new(&options.trust(), &options.uri.host);
            client.map(Way::Tls).map_err(|error| error.to_string())
        }
    }
}

fn make_room(options: &Options) -> Result<(), String> {
    let besides = if options.handshakes.is_some() { handshakes::AT_A_TIME as u64 } else { 0 };
    // Where the limit cannot be read, opening sockets will tell.
    let descriptors = raise_descriptor_limit().map_or(u64::MAX, |(soft, _)| soft);
    suffice(options.allocations(), Ports::new(0).count(), besides + SPARE, descriptors)
}

fn suffice(clients: u32, ports: u32, besides: u64, descriptors: u64) -> Result<(), String> {
    if clients > ports {
        return Err(format!(
            "{clients} clients need as many ports, and this host gives {ports} to clients: \
             widen net.ipv4.ip_local_port_range"
        ));
    }
    let needed = u64::from(clients) + besides;
    if needed > descriptors {
        return Err(format!(
            "{clients} clients need {needed} descriptors, and this process may have {descriptors}: \
             raise the limit (ulimit -n)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_cannot_give_is_told_before_anything_is_asked_of_the_server() {
        assert_eq!(suffice(1000, 1000, 24, 1024), Ok(()));
        let told = |clients, ports| suffice(clients, ports, 24, 1024).unwrap_err();
        assert!(
            told(1000, 999).contains("gives 999 to clients: widen net.ipv4.ip_local_port_range")
        );
        assert!(told(1001, 65_000).contains("need 1025 descriptors"), "{}", told(1001, 65_000));
    }
}
