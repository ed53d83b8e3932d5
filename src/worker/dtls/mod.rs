//! DTLS on UDP listeners (RFC 7350): the tables of one worker, and what the engine does with them.
//!
//! ```text
//! datagram --- ClientHello --- no good cookie ---> HelloVerifyRequest, nothing is kept
//!        |                 `-- good cookie ------> handshakes (bounded, by address as well: see crowd.rs)
//!        |-- record in the clear ----------------> its handshake
//!        `-- record under keys ------------------> its association: opened in its slot, then as UDP
//! ```
//!
//! The work of a handshake (a signature, a key exchange) takes up to a millisecond. It is put off
//! until the wake-up's packets have left, and little of it is done in each, so that nobody's wait.
//!
//! A client that has restarted begins anew from an address that has an association still. The old
//! one goes on until the new handshake is complete (RFC 6347 §4.2.8), so that nobody can end it by
//! forging the address. Its allocation ends with it.

mod associations;
mod crowd;
mod handshakes;
mod hooks;
mod index;
mod life;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use associations::Associations;
use handshakes::Handshakes;

use super::outbox::{Outbox, Piece};
use super::{DtlsLimits, Stats};
use crate::time::Mono;
use crate::tls::Identities;
use crate::tls::dtls::{Acceptor, Cookies};
use crate::turn::{Client, FiveTuple};

/// What one worker knows about DTLS.
pub(super) struct Dtls {
    acceptor: Acceptor,
    cookies: Cookies,
    associations: Associations,
    handshakes: Handshakes,
    limits: DtlsLimits,
}

impl Dtls {
    /// For one of so many workers; `None` when there is no certificate.
    ///
    /// # Errors
    /// When OpenSSL cannot do DTLS, or the system gives no random numbers.
    pub(super) fn new(
        identities: Option<&Arc<Identities>>,
        limits: &DtlsLimits,
        workers: usize,
    ) -> io::Result<Option<Self>> {
        let Some(identities) = identities else {
            return Ok(None);
        };
        let mut master = [0; 32];
        getrandom::fill(&mut master).map_err(io::Error::other)?;
        let acceptor = Acceptor::new(identities).map_err(io::Error::other)?;
        Ok(Some(Self {
            acceptor,
            cookies: Cookies::new(master),
            associations: Associations::default(),
            handshakes: Handshakes::default(),
            limits: limits.per_worker(workers),
        }))
    }

    /// Whether a 5-tuple has an association.
    pub(super) fn knows(&self, tuple: &FiveTuple) -> bool {
        self.associations.find(tuple).is_some()
    }

    /// The name that a client has asked for (SNI).
    pub(super) fn asked_name(&self, client: &Client) -> Option<&str> {
        self.associations.asked_name(client)
    }

    /// Whether a client on a socket has an allocation.
    pub(super) fn has_calls_on(&self, socket: RawFd) -> bool {
        self.associations.has_calls_on(socket)
    }

    /// Goes by other bounds from the next datagram on.
    pub(super) fn set_limits(&mut self, limits: DtlsLimits) {
        self.limits = limits;
    }

    /// Queues a message for a client.
    pub(super) fn respond(
        &mut self,
        outbox: &mut Outbox,
        client: &Client,
        message: &[u8],
        stats: &Stats,
    ) {
        self.send(outbox, client, (message.len(), 0), stats, |outbox, (slot, start)| {
            let room = &mut outbox.buffers.slot_mut(slot)[start..];
            room[..message.len()].copy_from_slice(message);
        });
    }

    /// Queues a payload, which lies in a slot, with its header and padding.
    pub(super) fn deliver(
        &mut self,
        outbox: &mut Outbox,
        client: &Client,
        header: &[u8],
        payload: Piece,
        padding: usize,
        stats: &Stats,
    ) {
        let (before, length) = (header.len(), header.len() + payload.length);
        let plain = (length + padding, payload.class);
        self.send(outbox, client, plain, stats, |outbox, (to, start)| {
            outbox.buffers.copy((payload.slot, payload.place()), (to, start + before));
            let room = &mut outbox.buffers.slot_mut(to)[start..];
            room[..before].copy_from_slice(header);
            room[length..length + padding].fill(0);
        });
    }

    /// Queues a record with so much plaintext, which `fill` puts to a place in a slot, in a datagram of this traffic
    /// class.
    fn send(
        &mut self,
        outbox: &mut Outbox,
        client: &Client,
        (length, class): (usize, u8),
        stats: &Stats,
        fill: impl FnOnce(&mut Outbox, (usize, usize)),
    ) {
        // It may have ended in this wake-up.
        let Some(association) = self.associations.of(client) else {
            return;
        };
        let session = &mut association.session;
        let Some(record) = session.record_len(length) else {
            stats.turn.drop_too_long();
            return;
        };
        let (slot, start) = outbox.room(record, stats);
        fill(outbox, (slot, start + session.prefix()));
        if session.seal(&mut outbox.buffers.slot_mut(slot)[start..start + record]) {
            outbox.push(association.way.class(class), slot, start, record, stats);
        }
    }

    /// Notes whether a client has no allocation; false when it has no association any more.
    pub(super) fn set_waiting(&mut self, client: &Client, waiting: bool, now: Mono) -> bool {
        self.associations.set_waiting(client, waiting, now)
    }

    /// When [`super::engine::Engine::finish_dtls`] has something to do.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let idle = self.associations.longest_waiting();
        let idle = idle.map(|(since, _)| since + self.limits.idle);
        [self.handshakes.deadline(), idle].into_iter().flatten().min()
    }

    /// Whether handshakes wait to be worked on.
    pub(super) fn has_work(&self) -> bool {
        self.handshakes.has_work()
    }
}
