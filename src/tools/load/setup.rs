//! Makes all allocations, many at a time, and gives them back.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::errand::{Errand, Outcome};
use super::fleet::Fleet;
use super::io::Io;
use super::progress::Progress;
use super::tally::histogram;

/// Clients that are set up at a time.
const AT_A_TIME: usize = 64;
/// How long giving everything back may take.
const PARTING: u64 = 2_000_000_000;
/// The longest sleep between two looks at the timers.
const NAP: Duration = Duration::from_millis(10);

/// How the set-up went.
pub(super) struct SetUp {
    pub(super) wanted: u32,
    pub(super) succeeded: u32,
    pub(super) elapsed: Duration,
    /// Of each client, from its first request to its last answer, in nanoseconds.
    pub(super) times: Histogram<u64>,
    pub(super) retransmitted: u64,
}

/// Sets `wanted` clients up.
///
/// # Errors
/// The system lacks descriptors.
pub(super) fn set_up(fleet: &mut Fleet, wanted: u32, progress: &mut Progress) -> io::Result<SetUp> {
    let start = fleet.io.nanos();
    progress.begin(start);
    let (mut succeeded, mut times) = (0_u32, histogram());
    let (mut events, mut outcomes) = (Io::events(), Vec::new());
    loop {
        let more = fleet.io.goes_on(start, u64::MAX);
        while more && fleet.busy() < AT_A_TIME && fleet.clients.len() < wanted as usize {
            let number = fleet.open()?;
            let now = fleet.io.nanos();
            fleet.begin(number, Errand::SetUp, now);
        }
        fleet.flush();
        if fleet.busy() == 0 && (!more || fleet.clients.len() == wanted as usize) {
            break;
        }
        turn(fleet, &mut events)?;
        fleet.take_outcomes(&mut outcomes);
        for Outcome { started, ended, result, .. } in &outcomes {
            if result.is_ok() {
                succeeded += 1;
                times.saturating_record(ended - started);
            }
        }
        let line = |per_second| format!("setting up: {succeeded} of {wanted}, {per_second:.0}/s");
        progress.tick(fleet.io.nanos(), || succeeded.into(), line);
    }
    let elapsed = Duration::from_nanos(fleet.io.nanos() - start);
    Ok(SetUp { wanted, succeeded, elapsed, times, retransmitted: fleet.retransmitted() })
}

/// Gives all allocations back, so that the server is as it was: those of clients that are on an errand when that is
/// over. What is not answered in time ends by itself.
///
/// # Errors
/// None that a sound system makes.
pub(super) fn tear_down(fleet: &mut Fleet) -> io::Result<()> {
    let deadline = fleet.io.nanos() + PARTING;
    let mut events = Io::events();
    let mut left: VecDeque<u32> = (0..fleet.clients.len() as u32).collect();
    while fleet.io.nanos() < deadline {
        part(fleet, &mut left);
        fleet.flush();
        if fleet.busy() == 0 && left.is_empty() {
            break;
        }
        turn(fleet, &mut events)?;
    }
    Ok(())
}

/// Lets those of `left` give back what they have who can ask for it now.
fn part(fleet: &mut Fleet, left: &mut VecDeque<u32>) {
    for _ in 0..left.len() {
        if fleet.busy() >= AT_A_TIME {
            return;
        }
        let Some(number) = left.pop_front() else {
            return;
        };
        let client = &fleet.clients[number as usize];
        if client.is_on_errand() {
            // What it asks for now may be the allocation.
            left.push_back(number);
        } else if client.session.relayed().is_some() {
            let now = fleet.io.nanos();
            fleet.begin(number, Errand::TearDown, now);
        }
    }
}

/// Waits for a moment and does what has come of it, data aside.
fn turn(fleet: &mut Fleet, events: &mut crate::net::Events) -> io::Result<()> {
    fleet.io.wait(events, NAP)?;
    for event in events.iter() {
        if let Ok(number) = u32::try_from(event.token()) {
            fleet.handle(number, event, &mut |session, packet| Some(session.receive(packet)));
        } else {
            fleet.at_peer(event, &mut |_, _| false)?;
        }
    }
    fleet.expire();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::super::fleet::tests::{fleet, patient};
    use super::*;
    use crate::stun::{Kind, Message, Method, Writer, attribute};

    /// A server that says yes to everything and gives everybody this relayed address, with what it was asked for.
    fn yes(relayed: &str) -> (SocketAddr, Arc<Mutex<Vec<Method>>>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, relayed) = (socket.local_addr().unwrap(), relayed.parse().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        thread::spawn(move || {
            let (mut packet, mut out) = ([0; 2048], [0; 2048]);
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let message = Message::parse(&packet[..length]).unwrap();
                let method = message.kind().method;
                seen.lock().unwrap().push(method);
                let id = message.transaction_id();
                let mut writer = Writer::new(&mut out, Kind::success(method), &id);
                writer.xor_address(attribute::XOR_RELAYED_ADDRESS, relayed);
                let length = writer.finish().unwrap();
                socket.send_to(&out[..length], from).unwrap();
            }
        });
        (address, asked)
    }

    #[test]
    fn who_is_on_an_errand_gives_back_what_it_has_when_that_is_over() {
        let (server, asked) = yes("127.0.0.1:9");
        let mut fleet = fleet(server, patient());
        for errand in [Errand::SetUp, Errand::KeepUp] {
            let number = fleet.open().unwrap();
            fleet.begin(number, errand, 0);
        }
        tear_down(&mut fleet).unwrap();
        let first = &fleet.clients[0];
        assert!(!first.is_on_errand() && first.session.relayed().is_none());
        let refreshes = asked.lock().unwrap().iter().filter(|one| **one == Method::REFRESH).count();
        assert_eq!(refreshes, 2, "one prolongs, and one gives back");
    }

    /// 255.255.255.255 is nobody's, and no packet goes there from a socket that has not asked for it.
    #[test]
    fn an_allocation_that_no_peer_can_reach_is_given_back() {
        let (server, _) = yes("255.255.255.255:9");
        let mut fleet = fleet(server, patient());
        let progress = &mut Progress::new(true);
        assert_eq!(set_up(&mut fleet, 1, progress).unwrap().succeeded, 0);
        assert!(fleet.clients[0].session.relayed().is_some(), "the server has made it");
        tear_down(&mut fleet).unwrap();
        assert!(fleet.clients[0].session.relayed().is_none());
    }
}
