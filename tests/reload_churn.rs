//! Reloads in a row, of everything at once, while clients come and go and calls are under way.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Credential, Peer, free_ports, unique_loopback};
use configured::Configured;

const CHANNEL: u16 = 0x4000;
const RELOADS: usize = 20;
/// How soon one follows the other at the earliest.
const PACE: Duration = Duration::from_millis(100);

/// Other users, listeners, relay addresses, ports, rules and buffers in each round.
fn config(round: usize, ours: SocketAddr, relays: [std::net::IpAddr; 2]) -> String {
    let listen = |nth: u16| SocketAddr::new(ours.ip(), ours.port() + nth);
    let more = match round % 4 {
        0 => String::new(),
        1 => format!(", \"{}\"", listen(1)),
        2 => format!(", \"{}\", \"{}\"", listen(1), listen(2)),
        _ => format!(", \"{}\"", listen(2)),
    };
    let relay = relays[round / 2 % 2];
    let first = 20_000 + round % 3 * 1000;
    format!(
        "[listen]\naddresses = [\"{ours}\"{more}]\nbuffer = {}\n\
         [relay]\naddresses = [\"{relay}\"]\nports = \"{first}-60000\"\npass_ecn = {}\n\
         [auth]\nusers.alice = \"wonder\"\nusers.u{round} = \"x\"\n\
         [peers]\nallow = [\"127.0.0.0/8\"]\ndeny = [\"192.0.2.{round}/32\"]\n\
         [limits]\npermissions = {}\n",
        (1 << 20) + round,
        round.is_multiple_of(2),
        100 + round,
    )
}

fn alice(server: SocketAddr, stream: bool) -> Client {
    let client = if stream { Client::tcp_to(server) } else { Client::udp_to(server) };
    client.with(Credential::user("alice", "wonder"))
}

/// Sends and gets back, one at a time, until it is over: each that is lost is a timeout.
fn talk(server: SocketAddr, stream: bool, over: &AtomicBool, count: &AtomicUsize) {
    let (mut client, peer) = (alice(server, stream), Peer::at(unique_loopback()));
    let relayed = client.allocate();
    client.bind(CHANNEL, peer.address);
    while !over.load(Ordering::Relaxed) {
        client.channel(CHANNEL, b"ping");
        assert_eq!(peer.receive(), (b"ping".to_vec(), relayed));
        peer.send(relayed, b"pong");
        assert_eq!(client.channel_data(), (CHANNEL, b"pong".to_vec()));
        count.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(client.refresh(600).code(), 0);
}

/// Makes allocations and ends them, until it is over.
fn churn(server: SocketAddr, stream: bool, over: &AtomicBool, count: &AtomicUsize) {
    while !over.load(Ordering::Relaxed) {
        let mut client = alice(server, stream);
        client.allocate();
        assert_eq!(client.refresh(0).code(), 0);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn ten_reloads_a_second_lose_nothing() {
    let ip = unique_loopback();
    let ours = SocketAddr::new(ip, free_ports(&[ip], 4));
    let relays = [unique_loopback(), unique_loopback()];
    let mut configured = Configured::listening(&config(0, ours, relays));
    let (over, talked, churned) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        // A failure ends the others as well, and the test.
        let _ends = Ends(&over);
        let talkers: Vec<_> = [false, false, false, true]
            .map(|stream| {
                scope.spawn({
                    let (over, talked) = (&over, &talked);
                    move || talk(ours, stream, over, talked)
                })
            })
            .into();
        let churners: Vec<_> = [false, true]
            .map(|stream| {
                scope.spawn({
                    let (over, churned) = (&over, &churned);
                    move || churn(ours, stream, over, churned)
                })
            })
            .into();
        for round in 1..=RELOADS {
            let began = Instant::now();
            configured.accepts(&config(round, ours, relays));
            // A file that is broken somewhere changes nothing, whatever else is in it.
            if round.is_multiple_of(5) {
                let wrong = config(round + 1, ours, relays).replace("permissions", "permission");
                configured.refuses(&wrong);
            }
            thread::sleep(PACE.saturating_sub(began.elapsed()));
        }
        over.store(true, Ordering::Relaxed);
        for thread in talkers.into_iter().chain(churners) {
            thread.join().expect("nothing was lost");
        }
    });
    assert!(talked.load(Ordering::Relaxed) > RELOADS && churned.load(Ordering::Relaxed) > RELOADS);
}

/// Ends the threads when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
