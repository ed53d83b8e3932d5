//! How handshakes and associations begin, go on and end.

use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::handshakes::Entry;
use crate::time::Now;
use crate::tls::dtls::{ALERT_MAX, Alert, Handshake, Progress, Session};
use crate::tls::{Cause, Failure};
use crate::turn::{Client, FiveTuple};
use crate::worker::engine::{Engine, HANDSHAKES};
use crate::worker::relays::Door;
use crate::worker::{Event, Stats, Unfit};

/// How an association ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// With close_notify.
    InWords,
    /// The client knows, or could not read it.
    Silent,
}

impl Engine {
    /// Begins a handshake with a ClientHello, of a client that is at a listener.
    pub(super) fn begin_handshake(
        &mut self,
        client: &Client,
        slot: usize,
        place: Range<usize>,
        stats: &Stats,
    ) {
        let (tuple, now, way) = (client.tuple, self.now.mono, self.way_to(client));
        let (Some(dtls), Some(way)) = (&mut self.dtls, way) else {
            return;
        };
        let (ip, limits) = (tuple.client.ip(), &dtls.limits);
        let bounds = [limits.per_address, limits.handshakes_per_address];
        let [limit, of_address] = if self.exempt.exempts(ip) { [0; 2] } else { bounds };
        // A client that restarts takes the place of its own association in the end.
        let replaced = u32::from(limit != 0 && dtls.associations.find(&tuple).is_some());
        if !self.shared.associate(ip, limit.saturating_add(replaced)) {
            stats.dtls.refused.add(1);
            return;
        }
        stats.dtls.begun.add(1);
        let datagram = &self.outbox.buffers.slot(slot)[place];
        match Handshake::new(&dtls.acceptor, now, datagram) {
            Ok(handshake) => {
                let crowded = dtls.handshakes.makes_room(ip, limits.handshakes, of_address);
                if let Some(entry) = crowded.and_then(|place| dtls.handshakes.remove(place)) {
                    stats.dtls.crowded_out.add(1);
                    self.shared.dissociate(entry.tuple.client.ip());
                }
                dtls.handshakes.insert(handshake, tuple, way, now);
            }
            Err(failure) => {
                self.shared.dissociate(ip);
                self.tell_failure(tuple, None, failure, stats);
            }
        }
    }

    /// Goes on with handshakes for a while, and leaves the others for the next wake-up.
    pub(in crate::worker) fn shake_hands_by_dtls(&mut self) {
        let stats = Arc::clone(&self.stats);
        let mut now = self.clock.now();
        let until = now.mono + HANDSHAKES;
        while now.mono < until
            && let Some(place) = self.dtls.as_mut().and_then(|it| it.handshakes.next_work())
        {
            self.advance_handshake(place, now, &stats);
            now = self.clock.now();
        }
    }

    /// Does what is due, and ends what is over.
    pub(in crate::worker) fn finish_dtls(&mut self, now: Now) {
        let stats = Arc::clone(&self.stats);
        while let Some(dtls) = &mut self.dtls
            && let Some((place, over)) = dtls.handshakes.next_due(now.mono, dtls.limits.handshake)
        {
            if over {
                self.end_handshake(place, Failure::new(Cause::LeftSilently), &stats);
                continue;
            }
            if let Some(entry) = dtls.handshakes.get_mut(place) {
                entry.handshake.repeat(now.mono);
                for datagram in entry.handshake.transmit() {
                    self.outbox.push_response(entry.way, datagram, &stats);
                }
            }
            dtls.handshakes.arm(place, dtls.limits.handshake);
        }
        while let Some(dtls) = &self.dtls
            && let Some((since, leg)) = dtls.associations.longest_waiting()
            && since + dtls.limits.idle <= now.mono
        {
            stats.dtls.idle.add(1);
            self.close_association(leg, Farewell::InWords);
        }
    }

    fn advance_handshake(&mut self, place: u32, now: Now, stats: &Stats) {
        let Some(dtls) = &mut self.dtls else {
            return;
        };
        let Some(entry) = dtls.handshakes.get_mut(place) else {
            return;
        };
        let progress = entry.handshake.advance(now.mono);
        for datagram in entry.handshake.transmit() {
            self.outbox.push_response(entry.way, datagram, stats);
        }
        match progress {
            Ok(Progress::Waiting) => dtls.handshakes.arm(place, dtls.limits.handshake),
            Ok(Progress::Complete(session)) => {
                if let Some(entry) = dtls.handshakes.remove(place) {
                    self.open_association(&entry, session, now, stats);
                }
            }
            Err(failure) => self.end_handshake(place, failure, stats),
        }
    }

    /// Ends a handshake that has come to nothing.
    pub(super) fn end_handshake(&mut self, place: u32, failure: Failure, stats: &Stats) {
        let entry = self.dtls.as_mut().and_then(|dtls| dtls.handshakes.remove(place));
        if let Some(Entry { tuple, handshake, .. }) = entry {
            self.shared.dissociate(tuple.client.ip());
            self.tell_failure(tuple, handshake.asked_name(), failure, stats);
        }
    }

    fn tell_failure(
        &mut self,
        client: FiveTuple,
        name: Option<&str>,
        failure: Failure,
        stats: &Stats,
    ) {
        stats.dtls.failed[failure.cause.index()].add(1);
        let (why, verbose) = (Unfit::Tls(failure), self.shared.verbose.load(Ordering::Relaxed));
        if self.told.is_due(&why, self.now.mono) || verbose {
            self.events.tell(Event::Unfit { client, name: name.map(Box::from), why });
        }
    }

    fn open_association(&mut self, entry: &Entry, session: Box<Session>, now: Now, stats: &Stats) {
        stats.dtls.completed.add(1);
        let find = |engine: &Self| engine.dtls.as_ref()?.associations.find(&entry.tuple);
        // The client has restarted, and cannot read what is under the old keys.
        if let Some(old) = find(self) {
            self.close_association(old, Farewell::Silent);
        }
        let crowded = |engine: &Self| {
            let dtls = engine.dtls.as_ref()?;
            let full = dtls.associations.waiting() >= dtls.limits.without_allocation as usize;
            dtls.associations.longest_waiting().filter(|_| full)
        };
        if let Some((_, leg)) = crowded(self) {
            stats.dtls.idle.add(1);
            self.close_association(leg, Farewell::InWords);
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.associations.insert(session, entry, now.mono);
        }
    }

    /// Ends an association, and its allocation with it.
    pub(super) fn close_association(&mut self, leg: u32, farewell: Farewell) {
        let removed = self.dtls.as_mut().and_then(|dtls| dtls.associations.remove(leg));
        let Some(mut association) = removed else {
            return;
        };
        let (now, stats) = (self.now, Arc::clone(&self.stats));
        if farewell == Farewell::InWords {
            let mut alert = [0; ALERT_MAX];
            let length = association.session.alert(Alert::CLOSE_NOTIFY, &mut alert);
            self.outbox.push_response(association.way, &alert[..length], &stats);
        }
        self.shared.dissociate(association.tuple.client.ip());
        stats.dtls.closed.add(1);
        let mut door = Door::new(&mut self.relays, &self.poller, &mut self.outbox, &stats);
        let client = Client { tuple: association.tuple, leg };
        self.server.disconnected(now, &client, &mut door, &stats.turn);
        self.effects(now);
    }

    /// Ends what there is on a socket that is about to be closed.
    pub(in crate::worker) fn end_dtls_on(&mut self, socket: RawFd) {
        let stats = Arc::clone(&self.stats);
        let handshakes = self.dtls.as_ref().map(|dtls| dtls.handshakes.on(socket));
        for place in handshakes.unwrap_or_default() {
            self.end_handshake(place, Failure::new(Cause::Cancelled), &stats);
        }
        let legs = self.dtls.as_ref().map(|dtls| dtls.associations.on(socket));
        for leg in legs.unwrap_or_default() {
            self.close_association(leg, Farewell::InWords);
        }
    }

    pub(in crate::worker) fn close_all_associations(&mut self) {
        let legs = self.dtls.as_ref().map(|dtls| dtls.associations.legs());
        for leg in legs.unwrap_or_default() {
            self.close_association(leg, Farewell::InWords);
        }
    }
}
