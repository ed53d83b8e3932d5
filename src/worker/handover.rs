//! TCP connections that go from one worker to another with what they have said, and the reading of letters.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::engine::Engine;
use super::mailbox::Letter;
use super::streams::Stream;
use crate::net::{Interest, SLOT_SIZE};
use crate::turn::Client;

impl Engine {
    /// Hands a connection without an allocation to another worker, with a message that this worker has no answer to
    /// and what follows it. False when that worker takes nothing: the connection then has its leg again and is to
    /// be answered here.
    pub(super) fn hand_over(&mut self, leg: u32, message_on: &[u8], worker: usize) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(mailbox) = shared.mailboxes.get(worker) else {
            return false;
        };
        let Some(mut stream) = self.streams.remove(leg) else {
            return true;
        };
        // It stays open, so the poller would go on telling about it.
        let _ = self.poller.delete(stream.wire.as_fd());
        stream.input.clear();
        stream.input.extend_from_slice(message_on);
        let client = Client { tuple: stream.tuple, leg };
        match mailbox.post(Letter::Stream(Box::new(stream))) {
            Ok(()) => {
                // What still waits for a store would be granted to a leg that is somebody else's by then.
                self.server.forget_parked(&client, &self.stats.turn);
                true
            }
            Err(Letter::Stream(stream)) => {
                // A leg that became free is the next one given out: it is the same.
                self.take_in(*stream);
                false
            }
            // It is what was posted that comes back.
            Err(_) => false,
        }
    }

    /// Reads what the other workers have left.
    pub(super) fn read_letters(&mut self) {
        let shared = Arc::clone(&self.shared);
        for letter in shared.mailboxes[self.number].take() {
            match letter {
                Letter::Stream(stream) => self.on_handed_over(*stream),
                Letter::Packet(packet) => self.on_packet_letter(*packet),
                Letter::Answer(answer) => self.on_answer(&answer),
                Letter::Arrival(arrival) => self.on_arrival(*arrival),
                Letter::Gone(client) => self.on_gone(&client),
                Letter::Stays(tuple) => self.on_stays(&tuple),
                Letter::Renewed(tuple, until) => {
                    self.server.prolong_guest(self.now, &tuple, until);
                }
                Letter::Parted(client) => self.on_parted(&client),
                Letter::Question(question) => self.questions.keep(*question),
                // Taken up at the end of the wake-up.
                Letter::LookedUp(user) => self.server.provide_key(&user),
                Letter::Doubted(user) => self.on_doubted(user.as_deref()),
            }
        }
    }

    /// Ends what was still to come from other workers.
    pub(super) fn close_mailbox(&mut self) {
        let shared = Arc::clone(&self.shared);
        for letter in shared.mailboxes[self.number].close() {
            match letter {
                Letter::Stream(stream) => self.count_closed(stream.tuple),
                // It ends with the others.
                Letter::Arrival(arrival) => self.take_allocation(*arrival),
                _ => {}
            }
        }
    }

    fn on_handed_over(&mut self, mut stream: Stream) {
        let stats = Arc::clone(&self.stats);
        let input = std::mem::take(&mut stream.input);
        if stream.is_waiting() {
            self.make_room_for_stranger();
        }
        let Some(leg) = self.take_in(stream) else {
            return;
        };
        let slot = self.outbox.reserve(1, &stats);
        let filled = input.len().min(SLOT_SIZE);
        self.outbox.buffers.slot_mut(slot)[..filled].copy_from_slice(&input[..filled]);
        self.outbox.keep(1);
        self.handle_input(leg, slot, 0..filled);
    }

    /// Files and watches a connection that was another worker's.
    fn take_in(&mut self, stream: Stream) -> Option<u32> {
        let token = self.streams.next_token();
        if self.poller.add(stream.wire.as_fd(), token, Interest::Edges).is_err() {
            self.count_closed(stream.tuple);
            return None;
        }
        Some(self.streams.insert(stream))
    }
}
