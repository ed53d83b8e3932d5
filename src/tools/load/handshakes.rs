//! TLS handshakes beside a load: each is a connection of its own that is closed as soon as TLS is agreed on.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hdrhistogram::Histogram;
use slab::Slab;

use super::io::Io;
use super::options::Rate;
use super::pace::Pace;
use super::stream::Stream;
use super::tally::histogram;
use crate::net;
use crate::tls;

/// The poller's token of the first of them; the clients' are below it, the peer's is above all of them.
const TOKEN: u64 = 1 << 40;
/// Handshakes under way at a time; what is due beyond that is not begun, and told.
pub(super) const AT_A_TIME: usize = 256;
/// How long one may take, in nanoseconds: as long as a request.
const LONGEST: u64 = 5_500_000_000;
/// How often those that take longer are looked for, in nanoseconds.
const TICK: u64 = 20_000_000;

/// Those who shake hands.
pub(super) struct Handshakes {
    client: tls::Client,
    source: IpAddr,
    server: SocketAddr,
    pace: Pace,
    open: Slab<(Stream, u64)>,
    next_tick: u64,
    skipped: u64,
    tally: Tally,
    times: Histogram<u64>,
}

/// How many have come to their end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) done: u64,
    pub(super) failed: u64,
}

impl Handshakes {
    /// So many per second with a server, from `start` on.
    ///
    /// # Errors
    /// There is no TLS on this system.
    pub(super) fn new(
        rate: u32,
        source: IpAddr,
        server: SocketAddr,
        start: u64,
    ) -> Result<Self, tls::NoClient> {
        Ok(Self {
            client: tls::Client::new(&tls::Trust::Anyone, &server.ip().to_string())?,
            source,
            server,
            pace: Pace::new(Rate::Fixed(rate), 1, 1, start),
            open: Slab::new(),
            next_tick: start,
            skipped: 0,
            tally: Tally::default(),
            times: histogram(),
        })
    }

    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    /// Those whose time came, and for which there was no room, no socket, or no time any more.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped + self.pace.skipped()
    }

    /// Those that are under way.
    pub(super) fn under_way(&self) -> usize {
        self.open.len()
    }

    /// From when each was due to when TLS was agreed on, in nanoseconds.
    pub(super) const fn times(&self) -> &Histogram<u64> {
        &self.times
    }

    /// Forgets the times so far.
    pub(super) fn measure(&mut self) {
        self.times.reset();
    }

    /// Gives up what hangs, and begins what is due.
    ///
    /// # Errors
    /// There are no random numbers on this system.
    pub(super) fn begin_due(&mut self, io: &Io, now: u64) -> io::Result<()> {
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            let before = self.open.len();
            self.open.retain(|_, (_, due)| now.saturating_sub(*due) <= LONGEST);
            self.tally.failed += (before - self.open.len()) as u64;
        }
        let Some(due) = self.pace.take(now) else {
            return Ok(());
        };
        if self.open.len() == AT_A_TIME {
            self.skipped += 1;
            return Ok(());
        }
        let session = self.client.connect().map_err(io::Error::other)?;
        let place = self.open.vacant_entry();
        let token = TOKEN + place.key() as u64;
        let source = SocketAddr::new(self.source, 0);
        match Stream::open(io, source, self.server, token, Some(session)) {
            Ok(stream) => drop(place.insert((stream, due))),
            // No port, no descriptor, no route: this host's lack, and no failure of the server.
            Err(_) => self.skipped += 1,
        }
        Ok(())
    }

    /// Does what an event of the poller says; whether it is about one of these.
    pub(super) fn handle(&mut self, io: &mut Io, event: net::Event, now: u64) -> bool {
        let Some(key) = event.token().checked_sub(TOKEN).and_then(|key| usize::try_from(key).ok())
        else {
            return false;
        };
        let Some((stream, due)) = self.open.get_mut(key) else {
            return false;
        };
        match go_on(stream, io, event) {
            Ok(false) => {}
            Ok(true) => {
                self.tally.done += 1;
                self.times.saturating_record(now.saturating_sub(*due));
                self.open.remove(key);
            }
            Err(_) => {
                self.tally.failed += 1;
                self.open.remove(key);
            }
        }
        true
    }
}

/// Goes on with a handshake, and tells whether it is at its end.
fn go_on(stream: &mut Stream, io: &mut Io, event: net::Event) -> io::Result<bool> {
    if event.readable() {
        stream.receive(io, &mut |_| ())?;
    }
    if event.error() {
        return Err(stream.failure().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()));
    }
    stream.flush(io, event.token())?;
    Ok(stream.is_agreed() && !stream.has_output())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::interrupt::Interrupt;
    use super::*;

    #[test]
    fn a_server_that_says_nothing_has_failed() {
        let io = Io::new(false, Interrupt::default()).unwrap();
        // The system connects; nobody ever says a word.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = silent.local_addr().unwrap();
        let mut handshakes = Handshakes::new(10, server.ip(), server, 0).unwrap();
        handshakes.begin_due(&io, 0).unwrap();
        handshakes.begin_due(&io, LONGEST).unwrap();
        assert_eq!((handshakes.under_way(), handshakes.tally().failed), (1, 0));
        handshakes.begin_due(&io, LONGEST + TICK).unwrap();
        assert_eq!((handshakes.under_way(), handshakes.tally().failed), (0, 1));
    }

    #[test]
    fn what_this_host_cannot_begin_is_no_failure_of_the_server() {
        let io = Io::new(false, Interrupt::default()).unwrap();
        let server = "127.0.0.1:9".parse().unwrap();
        // TEST-NET-1 (RFC 5737): no host has it, so no socket can be bound to it.
        let mut handshakes = Handshakes::new(10, [192, 0, 2, 1].into(), server, 0).unwrap();
        handshakes.begin_due(&io, 0).unwrap();
        assert_eq!((handshakes.skipped(), handshakes.tally().failed), (1, 0));
        assert_eq!(handshakes.under_way(), 0);
    }
}
