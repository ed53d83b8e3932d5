//! Makes all allocations, many at a time, and gives them back.

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

/// Gives all allocations back, so that the server is as it was. What is not answered in time ends by itself.
///
/// # Errors
/// None that a sound system makes.
pub(super) fn tear_down(fleet: &mut Fleet) -> io::Result<()> {
    let deadline = fleet.io.nanos() + PARTING;
    let (mut events, mut next) = (Io::events(), 0);
    while fleet.io.nanos() < deadline {
        while fleet.busy() < AT_A_TIME && next < fleet.clients.len() {
            if fleet.clients[next].session.relayed().is_some() {
                let now = fleet.io.nanos();
                fleet.begin(next as u32, Errand::TearDown, now);
            }
            next += 1;
        }
        fleet.flush();
        if fleet.busy() == 0 {
            break;
        }
        turn(fleet, &mut events)?;
    }
    Ok(())
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
