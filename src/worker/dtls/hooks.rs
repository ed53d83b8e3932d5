//! What comes in: a datagram of DTLS goes to a cookie, a handshake or an association.

use std::ops::Range;

use super::life::Farewell;
use crate::tls::dtls::{
    ALERT_MAX, Alert, ClientHello, Content, Discarded, LAST_FLIGHT_MAX, Records, VERIFY_REQUEST_MAX,
};
use crate::tls::{Cause, Failure};
use crate::turn::{Client, FiveTuple, Transport};
use crate::worker::Stats;
use crate::worker::engine::Engine;
use crate::worker::outbox::Piece;

impl Engine {
    /// Takes a datagram that is DTLS by its first byte, or by its listener. The client is as UDP
    /// knows it. `begins`: a new association may be begun; without, the certificate is shown to nobody.
    pub(in crate::worker) fn on_dtls(
        &mut self,
        client: &Client,
        piece: Piece,
        begins: bool,
        stats: &Stats,
    ) {
        let (slot, place) = (piece.slot, piece.place());
        let tuple = FiveTuple { transport: Transport::Dtls, ..client.tuple };
        let client = &Client { tuple, leg: client.leg };
        let datagram = &self.outbox.buffers.slot(slot)[place.clone()];
        let Some(dtls) = &mut self.dtls else {
            return;
        };
        if let Some(hello) = ClientHello::parse(datagram) {
            if !begins {
                return stats.listener_gone.add(1);
            }
            let (now, from, to) = (self.now.mono, tuple.client, tuple.server);
            if dtls.cookies.admits(now, from, to, &hello) {
                return self.on_hello(client, slot, place, stats);
            }
            let mut answer = [0; VERIFY_REQUEST_MAX];
            let length =
                hello.verify_request(&dtls.cookies.mint(now, from, to, &hello), &mut answer);
            stats.dtls.cookies.add(1);
            if let Some(way) = self.way_to(client) {
                self.outbox.push_response(way, &answer[..length], stats);
            }
            return;
        }
        let handshake = dtls.handshakes.find(&tuple);
        if let Some(place) = handshake
            && let Some(entry) = dtls.handshakes.get_mut(place)
        {
            entry.handshake.push(self.now.mono, datagram);
            dtls.handshakes.queue(place);
        }
        match dtls.associations.find(&tuple) {
            Some(leg) => self.on_records(&Client { tuple, leg }, piece, stats),
            None if handshake.is_none() => stats.dtls.unknown.add(1),
            None => {}
        }
    }

    /// Handles the records of a client that has an association.
    fn on_records(&mut self, client: &Client, piece: Piece, stats: &Stats) {
        let (slot, place) = (piece.slot, piece.place());
        let mut records = Records::new();
        loop {
            let datagram = &mut self.outbox.buffers.slot_mut(slot)[place.clone()];
            // A record may have been the association's last.
            let association = self.dtls.as_mut().and_then(|it| it.associations.of(client));
            let (Some(association), Some((header, record))) = (association, records.next(datagram))
            else {
                return;
            };
            if header.is_plain() {
                continue;
            }
            let session = &mut association.session;
            match session.open(header, &mut datagram[record.clone()]) {
                Ok(Content::Data(plain)) => {
                    let start = place.start + record.start + plain.start;
                    let message = Piece { start, length: plain.len(), ..piece };
                    self.on_dtls_data(client, message, stats);
                }
                Ok(Content::Repeated) => {
                    let mut flight = [0; LAST_FLIGHT_MAX];
                    let length = session.last_flight(&mut flight);
                    self.outbox.push_response(association.way, &flight[..length], stats);
                }
                Ok(Content::Renegotiation) => {
                    let mut alert = [0; ALERT_MAX];
                    let length = session.alert(Alert::NO_RENEGOTIATION, &mut alert);
                    self.outbox.push_response(association.way, &alert[..length], stats);
                }
                // RFC 5246 §7.2.1: close_notify is answered with the same.
                Ok(Content::Closed(Alert::CLOSE_NOTIFY)) => {
                    self.close_association(client.leg, Farewell::InWords);
                }
                Ok(Content::Closed(_)) => self.close_association(client.leg, Farewell::Silent),
                Ok(Content::Nothing) => {}
                Err(Discarded::Forged) => stats.dtls.forged.add(1),
                Err(Discarded::Replayed) => stats.dtls.replayed.add(1),
            }
        }
    }

    /// Handles a message as if it had come over UDP.
    fn on_dtls_data(&mut self, client: &Client, message: Piece, stats: &Stats) {
        let first = self.outbox.buffers.slot(message.slot)[message.start];
        self.on_packet(self.now, client, message, stats);
        // RFC 7983 §7: STUN, and so perhaps an Allocate or a Refresh.
        if first < 4 {
            let waiting = !self.server.has_allocation(self.now, &client.tuple);
            if let Some(dtls) = &mut self.dtls {
                dtls.set_waiting(client, waiting, self.now.mono);
            }
        }
    }

    /// Takes a ClientHello that has proved its address.
    fn on_hello(&mut self, client: &Client, slot: usize, place: Range<usize>, stats: &Stats) {
        let (tuple, now) = (client.tuple, self.now.mono);
        let datagram = &self.outbox.buffers.slot(slot)[place.clone()];
        let (Some(dtls), Some(hello)) = (&mut self.dtls, ClientHello::parse(datagram)) else {
            return;
        };
        if let Some(leg) = dtls.associations.find(&tuple)
            && let Some(association) = dtls.associations.get_mut(leg)
            && association.session.began_with(hello.random)
        {
            // A late repetition.
            return;
        }
        let before = dtls.handshakes.find(&tuple);
        if let Some(place) = before
            && let Some(entry) = dtls.handshakes.get_mut(place)
            && entry.handshake.began_with(hello.random)
        {
            entry.handshake.push(now, datagram);
            dtls.handshakes.queue(place);
            return;
        }
        let exempt = self.exempt.exempts(tuple.client.ip());
        let rate = if exempt { 0 } else { dtls.limits.handshakes_per_second };
        if !self.server.admit_handshake(&tuple, now, rate) {
            stats.dtls.hasty.add(1);
            return;
        }
        if let Some(place) = before {
            // The client has begun anew.
            self.end_handshake(place, Failure::new(Cause::Cancelled), stats);
        }
        self.begin_handshake(client, slot, place, stats);
    }
}
