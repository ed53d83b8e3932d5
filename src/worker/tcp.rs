use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::engine::{Engine, Token};
use super::relays::Door;
use super::streams::Stream;
use super::{Event, Stats};
use crate::net::{self, Interest, SLOT_SIZE};
use crate::stun::{Frame, Framer, Hopeless, Method};
use crate::time::{Mono, Now};
use crate::turn::{Client, ConnectionId, Dropped, FiveTuple, RelayId, Reply, Transport, Verdict};

/// Connections accepted from one listener in one wake-up.
const ACCEPTS: usize = 64;
/// How long nothing is accepted after the system was out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest message of a client without an allocation, in bytes.
const STRANGER_LIMIT: usize = 4096;
/// Bytes kept for answers when the queue of a slow client is full of data.
const ANSWERS: usize = 16 << 10;

/// Why a connection is closed in the middle of what it says.
enum Closing {
    /// It makes no sense.
    Hopeless(Hopeless),
    /// A stranger asks more than is answered; on a stream nobody would ask again.
    Flood,
    /// It is another worker's now, with what it said: there is nothing to close.
    HandedOver,
}

/// What a message has led to.
enum After {
    /// The next one may follow.
    Next,
    /// An allocation was made, refreshed or ended, and then the same.
    Changed,
    /// What follows are bytes for a peer.
    Bound(ConnectionId),
}

/// What stands behind the whole messages that were read.
enum Rest {
    /// The beginning of a message, from here on.
    Begun(usize),
    /// Bytes for a peer, from here on.
    Raw(usize, ConnectionId),
}

impl Engine {
    pub(super) fn on_acceptor(&mut self, index: usize) {
        for _ in 0..ACCEPTS {
            match net::accept(&self.acceptors[index]) {
                Ok(Some((socket, client))) => self.on_connection(socket, client),
                Ok(None) => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    // Out of descriptors: make room, and leave the queue alone for a moment.
                    self.close_longest_waiting();
                    self.pause_accepting();
                    return;
                }
            }
        }
    }

    fn on_connection(&mut self, socket: std::net::TcpStream, client: SocketAddr) {
        let (now, stats) = (self.now.mono, Arc::clone(&self.stats));
        let limit = if self.exempt.exempts(client.ip()) { 0 } else { self.limits.per_address };
        if !self.shared.connect(client.ip(), limit) {
            stats.streams_refused.add(1);
            return;
        }
        // Before the leg is known: a place that becomes free is given out next.
        self.make_room_for_stranger();
        let token = Token::Stream(self.streams.next_leg()).pack();
        let Ok(server) = socket.local_addr().and_then(|local| {
            self.poller.add(socket.as_fd(), token, Interest::Edges).map(|()| local)
        }) else {
            stats.streams_refused.add(1);
            self.shared.disconnect(client.ip());
            return;
        };
        stats.streams_accepted.add(1);
        let tuple = FiveTuple { transport: Transport::Tcp, client, server };
        self.streams.insert(Stream::new(socket, tuple, now));
    }

    /// Closes the connection that is without an allocation for longest when there are too many.
    pub(super) fn make_room_for_stranger(&mut self) {
        if self.streams.waiting() >= self.limits.without_allocation as usize {
            self.stats.streams_idle.add(1);
            self.close_longest_waiting();
        }
    }

    pub(super) fn on_stream(&mut self, leg: u32, event: net::Event) {
        // An event may be about a connection that this wake-up has closed.
        let Some(stream) = self.streams.get_mut(leg) else {
            return;
        };
        stream.ended |= event.hangup();
        if event.writable() && stream.is_blocked() && !self.streams.write(leg) {
            self.close_stream(leg);
            return;
        }
        if event.readable() || event.error() {
            self.read_stream(leg);
        }
    }

    /// Goes on with `count` connections that had more to read than is read in one wake-up.
    pub(super) fn read_unfinished(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(leg) = self.streams.pop_unfinished() {
                self.read_stream(leg);
            }
        }
    }

    /// Reads once, into a slot of the arena, and handles each whole message in it.
    fn read_stream(&mut self, leg: u32) {
        let stats = Arc::clone(&self.stats);
        let slot = self.outbox.reserve(1, &stats);
        let Some(stream) = self.streams.get_mut(leg) else {
            return;
        };
        let buffer = self.outbox.buffers.slot_mut(slot);
        let before = stream.input.len();
        buffer[..before].copy_from_slice(&stream.input);
        // A stranger's turn is short: others wait behind it.
        let end = if stream.is_waiting() { before + STRANGER_LIMIT } else { SLOT_SIZE };
        let end = end.min(SLOT_SIZE);
        let read = match net::read(stream.socket.as_fd(), &mut buffer[before..end]) {
            Ok(0) => return self.close_stream(leg),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.close_stream(leg),
        };
        let client = Client { tuple: stream.tuple, leg };
        // The poller has told it once and will not again.
        if before + read == end || stream.ended {
            self.streams.read_again(leg);
        }
        self.outbox.keep(1);
        self.taken += 1;
        self.handle_input(&client, slot, before + read, &stats);
    }

    /// Handles what a connection has sent, which fills a slot that is kept.
    pub(super) fn handle_input(
        &mut self,
        client: &Client,
        slot: usize,
        filled: usize,
        stats: &Stats,
    ) {
        let leg = client.leg;
        match self.handle_messages(client, slot, filled, stats) {
            Ok(Rest::Begun(at)) => {
                let begun = &self.outbox.buffers.slot(slot)[at..filled];
                self.streams.keep_input(leg, begun);
            }
            Ok(Rest::Raw(at, connection)) => {
                let surplus = self.outbox.buffers.slot(slot)[at..filled].to_vec();
                self.bind(leg, connection, &surplus);
            }
            Err(closing) => {
                match closing {
                    Closing::HandedOver => return,
                    Closing::Flood => stats.streams_refused.add(1),
                    Closing::Hopeless(what) => {
                        stats.streams_hopeless.add(1);
                        self.tell_hopeless(client, what);
                    }
                }
                // What was asked before is answered before the end.
                self.streams.write(leg);
                self.close_stream(leg);
            }
        }
    }

    fn tell_hopeless(&self, client: &Client, what: Hopeless) {
        if self.shared.verbose.load(Ordering::Relaxed) {
            self.events.tell(Event::Hopeless { client: client.tuple.client, what });
        }
    }

    /// Handles the whole messages in a slot and tells what comes behind them.
    fn handle_messages(
        &mut self,
        client: &Client,
        slot: usize,
        filled: usize,
        stats: &Stats,
    ) -> Result<Rest, Closing> {
        let now = self.now;
        let mut known = self.streams.get_mut(client.leg).is_some_and(|stream| !stream.is_waiting());
        let mut at = 0;
        loop {
            let framer = Framer { limit: if known { SLOT_SIZE } else { STRANGER_LIMIT } };
            let stream = &self.outbox.buffers.slot(slot)[at..filled];
            let frame = framer.next(stream).map_err(Closing::Hopeless)?;
            let Frame::Message { length, consumed } = frame else {
                return Ok(Rest::Begun(at));
            };
            match self.on_message(now, client, slot, at..at + length, filled, stats)? {
                After::Next => {}
                After::Changed => {
                    known = self.server.has_allocation(&client.tuple);
                    self.streams.set_waiting(client.leg, (!known).then_some(now.mono));
                }
                After::Bound(connection) => return Ok(Rest::Raw(at + consumed, connection)),
            }
            at += consumed;
        }
    }

    /// Handles one message, which begins `at` and is `length` bytes long; the slot is `filled` so far.
    fn on_message(
        &mut self,
        now: Now,
        client: &Client,
        slot: usize,
        place: Range<usize>,
        filled: usize,
        stats: &Stats,
    ) -> Result<After, Closing> {
        let at = place.start;
        let verdict = match self.decide(now, client, slot, place.clone(), stats) {
            Verdict::Elsewhere(worker) => {
                let message_on = self.outbox.buffers.slot(slot)[at..filled].to_vec();
                if self.hand_over(client.leg, &message_on, worker as usize) {
                    return Err(Closing::HandedOver);
                }
                self.decide_here(now, client, slot, place, stats)
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::ToPeer(decision) => self.send_to_peer(&decision, slot, at, stats),
            Verdict::Reply(reply) => {
                self.answer(client, reply, stats);
                self.effects(now);
                let changes = matches!(reply.method, Method::ALLOCATE | Method::REFRESH);
                if changes && reply.refusal.is_none() {
                    return Ok(After::Changed);
                }
            }
            Verdict::Later => self.effects(now),
            Verdict::Bound(reply, connection) => {
                self.answer(client, reply, stats);
                return Ok(After::Bound(connection));
            }
            Verdict::Drop(Dropped::RateLimited) => return Err(Closing::Flood),
            // Whoever can be asked has been asked; streams are nobody's guests.
            Verdict::Drop(_) | Verdict::Ignore | Verdict::Elsewhere(_) | Verdict::Hold => {}
        }
        Ok(After::Next)
    }

    /// Queues a response for a client on a stream.
    pub(super) fn answer(&mut self, client: &Client, reply: Reply, stats: &Stats) {
        // RFC 8489 §6.2.2: nobody repeats a request on a stream, so there is room kept for its
        // answer behind the data.
        let limit = self.limits.queue + ANSWERS;
        let message = &self.response[..reply.length];
        self.streams.queue(client.leg, [message, &[]], 0, limit, stats);
        self.tell_refusal(client, reply);
    }

    pub(super) fn close_stream(&mut self, leg: u32) {
        let Some(stream) = self.streams.remove(leg) else {
            return;
        };
        self.count_closed(stream.tuple);
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        let client = Client { tuple: stream.tuple, leg };
        self.server.disconnected(now, &client, &mut door, &stats.turn);
        self.effects(now);
        self.resume_accepting();
    }

    /// A client's connection is closed.
    pub(super) fn count_closed(&self, tuple: FiveTuple) {
        self.shared.disconnect(tuple.client.ip());
        self.stats.streams_closed.add(1);
    }

    fn close_longest_waiting(&mut self) {
        if let Some((_, leg)) = self.streams.longest_waiting() {
            self.close_stream(leg);
        }
    }

    pub(super) fn stream_deadline(&self) -> Option<Mono> {
        let idle = self.streams.longest_waiting().map(|(since, _)| since + self.limits.idle);
        [idle, self.accept_again].into_iter().flatten().min()
    }

    /// Writes what is queued and closes what is broken or has waited too long.
    pub(super) fn finish_streams(&mut self, now: Now) {
        self.streams.flush();
        while let Some(leg) = self.streams.pop_broken() {
            self.close_stream(leg);
        }
        while let Some((since, leg)) = self.streams.longest_waiting()
            && since + self.limits.idle <= now.mono
        {
            self.stats.streams_idle.add(1);
            self.close_stream(leg);
        }
        if self.accept_again.is_some_and(|again| again <= now.mono) {
            self.resume_accepting();
        }
    }

    fn pause_accepting(&mut self) {
        self.accept_again = Some(self.now.mono + ACCEPT_PAUSE);
        self.set_accepting(Interest::Errors);
    }

    /// The same for the peers of one allocation.
    pub(super) fn pause_relay(&mut self, relay: RelayId) {
        self.accept_again = Some(self.now.mono + ACCEPT_PAUSE);
        self.relays.pause(relay, &self.poller);
    }

    pub(super) fn resume_accepting(&mut self) {
        if self.accept_again.take().is_some() {
            self.set_accepting(Interest::Read);
            self.relays.resume(&self.poller);
        }
    }

    fn set_accepting(&self, interest: Interest) {
        for (index, acceptor) in self.acceptors.iter().enumerate() {
            let token = Token::Acceptor(index as u32).pack();
            // It was added at start, so it can be changed.
            let _ = self.poller.modify(acceptor.as_fd(), token, interest);
        }
    }

    pub(super) fn close_all_streams(&mut self, now: Now) {
        self.finish_streams(now);
        for leg in self.streams.legs() {
            self.close_stream(leg);
        }
    }
}
