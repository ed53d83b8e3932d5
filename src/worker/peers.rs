//! TCP connections with peers: made, accepted, joined with a client data connection, and ended (RFC 6062).

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::bridge::{Bridge, Fate, HALF_CLOSED};
use super::engine::{Engine, Token};
use super::links::Stage;
use crate::net::{self, Interest};
use crate::time::Now;
use crate::turn::{Client, ConnectFailure, ConnectionId, Direction, RelayId};

/// Connections accepted from one relay in one wake-up.
const ACCEPTS: usize = 16;

impl Engine {
    /// Peers have connected to a relayed transport address.
    pub(super) fn on_relay_listener(&mut self, relay: RelayId) {
        for _ in 0..ACCEPTS {
            // An event may be about a socket that this wake-up has closed.
            let Some(listener) = self.relays.listener(relay) else {
                return;
            };
            match net::accept(&listener.socket) {
                Ok(Some((socket, sender))) => self.on_incoming(relay, socket, sender),
                Ok(None) => return,
                Err(_) => {
                    // Out of descriptors: leave the queue alone for a moment.
                    self.pause_relay(relay);
                    return;
                }
            }
        }
    }

    fn on_incoming(&mut self, relay: RelayId, socket: TcpStream, sender: SocketAddr) {
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let out = &mut self.response[..];
        // RFC 6062 §5.3: without a permission it is closed at once.
        let Ok(attempt) = self.server.incoming(now, relay, sender, out, &stats.turn) else {
            return;
        };
        let token = Token::Peer(self.links.next_place()).pack();
        if self.poller.add(socket.as_fd(), token, Interest::Errors).is_err() {
            self.server.connection_closed(attempt.connection, &stats.turn);
            return;
        }
        let stage = Stage::Waiting { socket: Some(socket), made: true };
        self.links.insert(attempt.connection, stage);
        let (limit, message) = (self.limits.queue, &self.response[..attempt.length]);
        self.streams.queue_for(&attempt.client, [message, &[]], 0, limit, &stats);
    }

    /// Begins a connection that the server wants.
    pub(super) fn connect(
        &mut self,
        now: Now,
        connection: ConnectionId,
        relay: RelayId,
        to: SocketAddr,
    ) {
        let made = match self.relays.listener(relay) {
            Some(listener) => net::connect_from(listener.address, to),
            // Its allocation has ended meanwhile, and nobody waits for the answer.
            None => return,
        };
        let place = self.links.next_place();
        let watched = made.and_then(|socket| {
            let token = Token::Peer(place).pack();
            self.poller.add(socket.as_fd(), token, Interest::Write).map(|()| socket)
        });
        match watched {
            Ok(socket) => {
                let stage = Stage::Waiting { socket: Some(socket), made: false };
                self.links.insert(connection, stage);
            }
            Err(error) => self.tell_connected(now, connection, Err(failure(&error))),
        }
    }

    /// Gives up a connection whose time is over.
    pub(super) fn connect_timed_out(&mut self, now: Now, connection: ConnectionId) {
        if let Some(place) = self.links.place_of(connection) {
            self.links.remove(place);
        }
        self.tell_connected(now, connection, Err(ConnectFailure::TimedOut));
    }

    /// Answers a Connect.
    fn tell_connected(
        &mut self,
        now: Now,
        connection: ConnectionId,
        outcome: Result<(), ConnectFailure>,
    ) {
        let stats = Arc::clone(&self.stats);
        let out = &mut self.response[..];
        let told = self.server.connected(now, connection, outcome, out, &stats.turn);
        match (told, self.links.place_of(connection)) {
            (Some((client, reply)), _) => self.answer(&client, reply, &stats),
            // Nobody waits for it any more.
            (None, Some(place)) => self.close_link(place, false),
            (None, None) => {}
        }
    }

    pub(super) fn on_peer(&mut self, place: u32, event: net::Event) {
        let now = self.now;
        let Some(link) = self.links.get_mut(place) else {
            return;
        };
        let connection = link.connection;
        match &mut link.stage {
            Stage::Bound(..) => self.on_bridge(place, Direction::ToClient, event),
            Stage::Waiting { socket: Some(socket), made: made @ false } => {
                match net::outcome_of_connect(socket) {
                    // The event was about a socket that had this place before.
                    Ok(false) => {}
                    Ok(true) => {
                        *made = true;
                        // Until it is bound, only its loss is of interest.
                        let token = Token::Peer(place).pack();
                        let _ = self.poller.modify(socket.as_fd(), token, Interest::Errors);
                        self.tell_connected(now, connection, Ok(()));
                    }
                    Err(error) => {
                        self.links.remove(place);
                        self.tell_connected(now, connection, Err(failure(&error)));
                    }
                }
            }
            Stage::Waiting { socket: Some(socket), made: true } => {
                if !matches!(socket.take_error(), Ok(None)) {
                    self.close_link(place, false);
                }
            }
            Stage::Waiting { socket: None, .. } => {}
        }
    }

    /// Something has happened at the end of a bridge that is the source of a direction.
    pub(super) fn on_bridge(&mut self, place: u32, from: Direction, event: net::Event) {
        let back = match from {
            Direction::ToPeer => Direction::ToClient,
            Direction::ToClient => Direction::ToPeer,
        };
        let mut fate = Fate::Open;
        if event.readable() || event.error() {
            fate = self.pump(place, from);
        }
        if fate == Fate::Open && event.writable() {
            fate = self.pump(place, back);
        }
        if fate == Fate::Open && event.error() {
            fate = Fate::Broken;
        }
        self.settle(place, fate, event.hangup().then_some(from));
    }

    /// Joins a client's connection, on which a ConnectionBind has been granted and its response queued, with a
    /// connection of a peer. `surplus` has come behind the request.
    pub(super) fn bind(&mut self, leg: u32, connection: ConnectionId, surplus: &[u8]) {
        let Some(stream) = self.streams.remove(leg) else {
            return;
        };
        let tuple = stream.tuple;
        self.server.forget_parked(&Client { tuple, leg }, &self.stats.turn);
        let joined = self.links.place_of(connection).and_then(|place| {
            let (client, peer) = (Token::DataClient(place).pack(), Token::Peer(place).pack());
            self.poller.modify(stream.wire.as_fd(), client, Interest::Errors).ok()?;
            let link = self.links.get_mut(place)?;
            let Stage::Waiting { socket: other, .. } = &mut link.stage else {
                return None;
            };
            let (other, (wire, unsent)) = (other.take()?, stream.into_parts());
            let bridge = Bridge::new((wire, client), (other, peer), unsent, surplus);
            link.stage = Stage::Bound(Box::new(bridge), tuple);
            Some(place)
        });
        let Some(place) = joined else {
            // Only a lost connection cannot be watched any more.
            self.count_closed(tuple);
            self.server.connection_closed(connection, &self.stats.turn);
            return;
        };
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let (direction, bytes) = (Direction::ToPeer, surplus.len() as u64);
        if bytes > 0 {
            self.server.relayed(now.mono, connection, direction, bytes, &stats.turn);
        }
        let mut fate = self.pump(place, Direction::ToPeer);
        if fate == Fate::Open {
            fate = self.pump(place, Direction::ToClient);
        }
        self.settle(place, fate, None);
    }

    /// Moves what one end has sent to the other.
    fn pump(&mut self, place: u32, direction: Direction) -> Fate {
        let (now, stats) = (self.now.mono, Arc::clone(&self.stats));
        let server = &mut self.server;
        let Some((link, scratch, tools)) = self.links.parts(place) else {
            return Fate::Open;
        };
        let connection = link.connection;
        let Stage::Bound(bridge, _) = &mut link.stage else {
            return Fate::Open;
        };
        bridge.pump(direction, scratch, tools, |bytes| {
            server.relayed(now, connection, direction, bytes as u64, &stats.turn)
        })
    }

    /// Closes a bridge that is over, or has the poller watch what it now waits for.
    fn settle(&mut self, place: u32, fate: Fate, hung_up: Option<Direction>) {
        let now = self.now.mono;
        let Some(link) = self.links.get_mut(place) else {
            return;
        };
        let Stage::Bound(bridge, _) = &mut link.stage else {
            return;
        };
        if fate != Fate::Open || bridge.watch(&self.poller, hung_up).is_err() {
            self.close_link(place, fate != Fate::Done);
            return;
        }
        // RFC 6062 §5.5 ends both ends together; one that is only done with sending is still answered.
        let silent = bridge.is_half_closed().then(|| now + HALF_CLOSED);
        let timer = [bridge.resumes_at(), silent].into_iter().flatten().min();
        self.links.set_timer(place, timer);
    }

    /// The server has forgotten a connection: it ends, and what it still keeps is lost.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        if let Some(place) = self.links.place_of(connection) {
            let cut_off = match self.links.get_mut(place).map(|link| &link.stage) {
                Some(Stage::Bound(bridge, _)) => bridge.keeps_anything(),
                _ => false,
            };
            self.close_link(place, cut_off);
        }
    }

    /// Closes a connection with a peer and the client's with it.
    fn close_link(&mut self, place: u32, cut_off: bool) {
        let Some(link) = self.links.remove(place) else {
            return;
        };
        if let Stage::Bound(mut bridge, client) = link.stage {
            if cut_off {
                bridge.abort();
            }
            self.count_closed(client);
        }
        self.server.connection_closed(link.connection, &self.stats.turn);
        self.resume_accepting();
    }

    /// Goes on with the bridges whose rest is over, and closes those that are silent after one end has ended.
    pub(super) fn finish_links(&mut self, now: Now) {
        while let Some(place) = self.links.pop_timer(now.mono) {
            let Some(Stage::Bound(bridge, _)) = self.links.get_mut(place).map(|l| &mut l.stage)
            else {
                continue;
            };
            let rested = bridge.resume(now.mono);
            if rested == [None; 2] && bridge.resumes_at().is_none() {
                self.close_link(place, true);
                continue;
            }
            let mut fate = Fate::Open;
            for direction in rested.into_iter().flatten() {
                if fate == Fate::Open {
                    fate = self.pump(place, direction);
                }
            }
            self.settle(place, fate, None);
        }
    }
}

/// What a Connect is answered with.
fn failure(error: &io::Error) -> ConnectFailure {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC) => {
            ConnectFailure::NoSocket
        }
        Some(libc::ETIMEDOUT) => ConnectFailure::TimedOut,
        _ => ConnectFailure::Failed,
    }
}
