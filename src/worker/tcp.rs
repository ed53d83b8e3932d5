//! TURN on a stream: messages are cut out and decided one by one, and answers queued.

use std::ops::Range;
use std::sync::Arc;

use super::engine::Engine;
use super::outbox::Piece;
use super::relays::Door;
use super::stream::STRANGER_LIMIT;
use super::{Stats, Unfit};
use crate::net::SLOT_SIZE;
use crate::stun::{Frame, Framer, Hopeless, Method};
use crate::time::{Mono, Now};
use crate::turn::{Client, ConnectionId, Dropped, FiveTuple, Reply, Verdict};

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
    /// Handles what a client of STUN and TURN has sent, which stands in a slot that is kept.
    pub(super) fn handle_input(&mut self, leg: u32, slot: usize, part: Range<usize>) {
        let Some(stream) = self.streams.get_mut(leg) else {
            return;
        };
        let (client, stats) = (Client { tuple: stream.tuple, leg }, Arc::clone(&self.stats));
        let filled = part.end;
        match self.handle_messages(&client, slot, part, &stats) {
            Ok(Rest::Begun(at)) => {
                let begun = &self.outbox.buffers.slot(slot)[at..filled];
                self.streams.keep_input(leg, begun);
            }
            Ok(Rest::Raw(at, connection)) => {
                let surplus = self.outbox.buffers.slot(slot)[at..filled].to_vec();
                self.bind(leg, connection, &surplus);
            }
            Err(Closing::HandedOver) => {}
            Err(Closing::Hopeless(what)) => self.unfit(leg, Unfit::Turn(what)),
            Err(Closing::Flood) => {
                stats.streams_refused.add(1);
                // What was asked before is answered before the end.
                self.streams.write(leg);
                self.close_stream(leg);
            }
        }
    }

    /// Handles the whole messages in a slot and tells what comes behind them.
    fn handle_messages(
        &mut self,
        client: &Client,
        slot: usize,
        part: Range<usize>,
        stats: &Stats,
    ) -> Result<Rest, Closing> {
        let now = self.now;
        let mut known = self.streams.get_mut(client.leg).is_some_and(|stream| !stream.is_waiting());
        let Range { start: mut at, end: filled } = part;
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
                    known = self.server.has_allocation(now, &client.tuple);
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
                self.decide_here(now, client, slot, place.clone(), stats)
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::ToPeer(decision) => {
                // RFC 8656 §15: Best Effort and Not-ECT, whatever the TCP segments had.
                let packet = Piece { slot, start: at, length: place.len(), class: 0 };
                self.send_to_peer(&decision, packet, stats);
            }
            Verdict::Reply(reply) => {
                self.answer(client, reply, stats);
                self.effects(now);
                let changes = matches!(reply.method, Method::ALLOCATE | Method::REFRESH);
                if changes && reply.refusal.is_none() {
                    return Ok(After::Changed);
                }
            }
            Verdict::Later | Verdict::Park => self.effects(now),
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
        self.streams.queue_for(client, [message, &[]], 0, limit, stats);
        self.record_refusal(client, reply);
    }

    pub(super) fn close_stream(&mut self, leg: u32) {
        let Some(mut stream) = self.streams.remove(leg) else {
            return;
        };
        stream.wire.say_goodbye();
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

    pub(super) fn stream_deadline(&self) -> Option<Mono> {
        let idle = self.streams.longest_waiting().map(|(since, _)| since + self.limits.idle);
        let slow = self.streams.longest_opening().map(|(since, _)| since + self.limits.handshake);
        [idle, slow, self.accept_again].into_iter().flatten().min()
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
        while let Some((since, leg)) = self.streams.longest_opening()
            && since + self.limits.handshake <= now.mono
        {
            self.on_slow_opening(leg);
        }
        if self.accept_again.is_some_and(|again| again <= now.mono) {
            self.resume_accepting();
        }
    }

    pub(super) fn close_all_streams(&mut self, now: Now) {
        self.finish_streams(now);
        for leg in self.streams.legs() {
            self.close_stream(leg);
        }
    }
}
