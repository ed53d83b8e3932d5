//! Connections that come, and what happens when there are too many of them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::super::engine::{Engine, Token};
use super::super::streams::{Phase, Stream};
use super::wire::Wire;
use crate::net::{self, Interest};
use crate::turn::{FiveTuple, RelayId, Transport};

/// Connections accepted from one listener in one wake-up.
const ACCEPTS: usize = 64;
/// How long nothing is accepted after the system was out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener of streams.
pub(in crate::worker) struct Acceptor {
    /// As its owner calls it.
    pub(in crate::worker) name: u32,
    pub(in crate::worker) socket: TcpListener,
    /// It has nothing but TLS.
    pub(in crate::worker) tls_only: bool,
}

impl Engine {
    pub(in crate::worker) fn on_acceptor(&mut self, index: usize) {
        for _ in 0..ACCEPTS {
            // An event may be about a listener that this wake-up has closed.
            let Some(Acceptor { socket, tls_only, .. }) = self.acceptors.get(index) else {
                return;
            };
            match net::accept(socket) {
                Ok(Some((socket, client))) => self.on_connection(socket, client, *tls_only),
                Ok(None) => return,
                Err(_) => {
                    // Out of descriptors: make room, and leave the queue alone for a moment.
                    self.close_longest_waiting();
                    self.pause_accepting();
                    return;
                }
            }
        }
    }

    fn on_connection(&mut self, socket: TcpStream, client: SocketAddr, tls_only: bool) {
        // Of those accepted in one wake-up, too, the oldest is to be known.
        let (now, stats) = (self.clock.now().mono, Arc::clone(&self.stats));
        let proxy = self.proxies.iter().any(|prefix| prefix.contains(client.ip().to_canonical()));
        // A proxy's clients are counted by themselves, as soon as it has named them.
        let limit = if proxy { 0 } else { self.connection_limit(client) };
        if !self.shared.connect(client.ip(), limit) {
            stats.streams_refused.add(1);
            return;
        }
        // Before the leg is known: a place that becomes free is given out next.
        self.make_room_for_stranger();
        let token = self.streams.next_token();
        let Ok(server) = socket.local_addr().and_then(|local| {
            self.poller.add(socket.as_fd(), token, Interest::Edges).map(|()| local)
        }) else {
            stats.streams_refused.add(1);
            self.shared.disconnect(client.ip());
            return;
        };
        stats.streams_accepted.add(1);
        let tuple = FiveTuple { transport: Transport::Tcp, client, server };
        let phase = if proxy { Phase::Proxy } else { Phase::First };
        let mut stream = Stream::new(Wire::new(socket), tuple, phase, now);
        stream.tls_only = tls_only;
        self.streams.insert(stream);
    }

    /// How many connections a client's address may have; 0 is no limit.
    pub(super) fn connection_limit(&self, client: SocketAddr) -> u32 {
        if self.exempt.exempts(client.ip()) { 0 } else { self.limits.per_address }
    }

    /// Closes the connection that is without an allocation for longest when there are too many.
    pub(in crate::worker) fn make_room_for_stranger(&mut self) {
        if self.streams.waiting() >= self.limits.without_allocation as usize {
            self.stats.streams_idle.add(1);
            self.close_longest_waiting();
        }
    }

    fn close_longest_waiting(&mut self) {
        if let Some((_, leg)) = self.streams.longest_waiting() {
            self.close_stream(leg);
        }
    }

    fn pause_accepting(&mut self) {
        self.accept_again = Some(self.now.mono + ACCEPT_PAUSE);
        self.set_accepting(Interest::Errors);
    }

    /// The same for the peers of one allocation.
    pub(in crate::worker) fn pause_relay(&mut self, relay: RelayId) {
        self.accept_again = Some(self.now.mono + ACCEPT_PAUSE);
        self.relays.pause(relay, &self.poller);
    }

    pub(in crate::worker) fn resume_accepting(&mut self) {
        if self.accept_again.take().is_some() {
            self.set_accepting(Interest::Read);
            self.relays.resume(&self.poller);
        }
    }

    fn set_accepting(&self, interest: Interest) {
        for (index, acceptor) in &self.acceptors {
            let token = Token::Acceptor(index as u32).pack();
            // It was added at start, so it can be changed.
            let _ = self.poller.modify(acceptor.socket.as_fd(), token, interest);
        }
    }
}
