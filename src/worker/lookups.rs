//! Requests of users whom only a store may know. The worker has somebody else ask ([`Clerk`]), goes on, and takes the
//! request up again when a letter says that the answer is there.

use std::sync::Arc;

use super::Stats;
use super::engine::Engine;
use super::group::Shared;
use super::held::Content;
use super::mailbox::Letter;
use super::relays::Door;
use crate::auth::UserName;
use crate::time::Now;
use crate::turn::{Client, Dropped, FiveTuple, Resumed, Transport, Verdict};

/// Has the stores asked for the workers.
pub trait Clerk: Send + Sync {
    /// Takes a question of the worker of this number, without waiting for anything. When the answer is there,
    /// [`Answers::tell`] says so. False when no more questions can be taken.
    fn look_up(&self, worker: u32, user: &Arc<UserName>, client: &FiveTuple) -> bool;
}

/// The way of the stores' answers to the workers. What they say lies in the [`crate::auth::Directory`].
#[derive(Clone)]
pub struct Answers(pub(super) Arc<Shared>);

impl Answers {
    /// Tells a worker that what it wanted to know of a user is known now, or cannot be. False when that worker takes
    /// no letters at the moment.
    pub fn tell(&self, worker: u32, user: &Arc<UserName>) -> bool {
        let mailbox = self.0.mailboxes.get(worker as usize);
        mailbox.is_none_or(|mailbox| mailbox.post(Letter::LookedUp(Arc::clone(user))).is_ok())
    }

    /// Has a worker look whether the credentials of this user, or of everybody, are still good: the stores have said
    /// something else than before. False when that worker takes no letters at the moment.
    pub fn doubt(&self, worker: u32, user: Option<&Arc<UserName>>) -> bool {
        let mailbox = self.0.mailboxes.get(worker as usize);
        mailbox.is_none_or(|mailbox| mailbox.post(Letter::Doubted(user.cloned())).is_ok())
    }

    /// How many workers there are.
    pub fn workers(&self) -> u32 {
        self.0.mailboxes.len() as u32
    }
}

impl Engine {
    /// The server wants to know something of a user.
    pub(super) fn look_up(&mut self, user: &Arc<UserName>, client: &FiveTuple) {
        let clerk = self.shared.clerk.get();
        if !clerk.is_some_and(|clerk| clerk.look_up(self.number as u32, user, client)) {
            // The request is refused, as it would be without an answer.
            self.server.provide_key(user);
        }
    }

    /// Some credentials may be none any more.
    pub(super) fn on_doubted(&mut self, user: Option<&UserName>) {
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        self.server.look_again(now, user, &mut door, &stats.turn);
        self.effects(now);
    }

    /// Goes on with the requests whose answers have come.
    pub(super) fn resume_parked(&mut self, now: Now) {
        let stats = Arc::clone(&self.stats);
        loop {
            let door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
            let mut door = door.knowing(&self.streams, self.dtls.as_ref());
            let out = &mut self.response[..];
            let Some(resumed) = self.server.resume(now, out, &mut door, &stats.turn) else {
                break;
            };
            self.take_up(now, resumed, &stats);
            self.effects(now);
        }
    }

    fn take_up(&mut self, now: Now, resumed: Resumed, stats: &Stats) {
        let Resumed { client, origin, packet, verdict } = resumed;
        let content = Content { bytes: packet, class: 0 };
        match (origin, client.tuple.transport) {
            (Some(origin), _) => self.settle_forwarded(now, (origin, 0), client, content, verdict),
            (None, Transport::Tcp | Transport::Tls) => {
                self.take_up_on_stream(now, &client, &content, verdict, stats);
            }
            (None, transport) => {
                let piece = self.lay_down(&content, stats);
                self.act(now, &client, piece, verdict, stats);
                let waiting = !self.server.has_allocation(now, &client.tuple);
                if let (Transport::Dtls, Some(dtls)) = (transport, &mut self.dtls) {
                    dtls.set_waiting(&client, waiting, now.mono);
                }
            }
        }
    }

    fn take_up_on_stream(
        &mut self,
        now: Now,
        client: &Client,
        content: &Content,
        verdict: Verdict,
        stats: &Stats,
    ) {
        // It may have gone to another worker meanwhile.
        let leg = client.leg;
        let Some(stream) = self.streams.get_mut(leg).filter(|it| it.tuple == client.tuple) else {
            return;
        };
        match verdict {
            Verdict::Reply(reply) => {
                self.answer(client, reply, stats);
                let known = self.server.has_allocation(now, &client.tuple);
                self.streams.set_waiting(leg, (!known).then_some(now.mono));
            }
            Verdict::Bound(reply, connection) => {
                // What has come behind the request is the peer's.
                let surplus = std::mem::take(&mut stream.input);
                self.answer(client, reply, stats);
                self.bind(leg, connection, &surplus);
            }
            Verdict::Elsewhere(worker) => {
                let mut message_on = content.bytes.to_vec();
                message_on.append(&mut stream.input);
                // Without an answer on a stream, the client would wait for ever.
                if !self.hand_over(leg, &message_on, worker as usize) {
                    self.close_stream(leg);
                }
            }
            Verdict::Drop(Dropped::RateLimited) => {
                stats.streams_refused.add(1);
                self.close_stream(leg);
            }
            // A request is no data, and it does not wait a second time.
            Verdict::Later | Verdict::Drop(_) | Verdict::Ignore | Verdict::Hold => {}
            Verdict::ToPeer(_) | Verdict::Park => {}
        }
    }
}
