//! Binding requests: what a server answers to everybody.

use std::net::SocketAddr;

use hdrhistogram::Histogram;

use super::fleet::Fleet;
use super::flow::Flow;
use super::options::Options;
use super::pace::Pace;
use super::payload::Stamp;
use super::run::Load;
use super::tally::{Tally, histogram};
use crate::client::{Event, Failure, Session, error_of};
use crate::stun::{
    Class, Kind, Message, Method, TransactionId, Writer, attribute, decode_xor_address,
};

/// Requests that are sent before what has come is looked at again.
const BURST: u32 = 32;
/// The length of a request without attributes, in bytes.
const REQUEST: usize = 20;

/// All requests with their counters. The stamp of a request is its transaction ID, under a mask that makes it look
/// random and tells this run from others.
pub(super) struct Requests {
    pace: Pace,
    train: u32,
    turn: usize,
    lanes: Vec<Lane>,
    mask: [u8; 12],
    tally: Tally,
    latency: Histogram<u64>,
    measured_from: u64,
    skipped: u64,
}

/// One socket.
struct Lane {
    sent: u64,
    came: Flow,
    /// The address that the first response has told; they all must tell the same.
    mapped: Option<SocketAddr>,
}

impl Lane {
    /// The last number that was sent whose lower half this is: more are sent than 32 bits can tell.
    fn number_of(&self, low: u32) -> Option<u64> {
        let behind = (self.sent as u32).wrapping_sub(low);
        self.sent.checked_sub(behind.into()).filter(|number| *number > 0)
    }
}

impl Requests {
    /// Requests from all clients of the fleet.
    pub(super) fn new(options: &Options, fleet: &Fleet, mask: [u8; 12]) -> Self {
        let lane = |_| Lane { sent: 0, came: Flow::new(), mapped: None };
        Self {
            pace: Pace::new(options.rate, options.window, options.train, fleet.io.nanos()),
            train: options.train,
            turn: 0,
            lanes: fleet.clients.iter().map(lane).collect(),
            mask,
            tally: Tally::default(),
            latency: histogram(),
            measured_from: 0,
            skipped: 0,
        }
    }

    /// 16 bits of the client, the lower 32 of the number, 48 of the time: three days.
    fn id(&self, stamp: &Stamp) -> TransactionId {
        let mut id = self.mask;
        let fields = (stamp.client as u16).to_be_bytes().into_iter();
        let fields = fields.chain((stamp.number as u32).to_be_bytes());
        let fields = fields.chain(stamp.nanos.to_be_bytes().into_iter().skip(2));
        id.iter_mut().zip(fields).for_each(|(byte, field)| *byte ^= field);
        TransactionId::new(id)
    }

    fn stamp(&self, id: &TransactionId) -> Stamp {
        let mut b = *id.bytes();
        b.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
        Stamp {
            client: u16::from_be_bytes([b[0], b[1]]).into(),
            number: u32::from_be_bytes([b[2], b[3], b[4], b[5]]).into(),
            nanos: u64::from_be_bytes([0, 0, b[6], b[7], b[8], b[9], b[10], b[11]]),
        }
    }

    fn send_one(&mut self, fleet: &mut Fleet, client: usize, due: u64) {
        let nanos = self.pace.stamp(due);
        let number = self.lanes[client].sent + 1;
        let stamp = Stamp { client: client as u32, number, nanos };
        let (slot, id) = (fleet.io.slot(), self.id(&stamp));
        let out = &mut fleet.io.out(slot)[..REQUEST];
        let writer = Writer::new(out, Kind::request(Method::BINDING), &id);
        let written = writer.finish().is_ok();
        if !written || !fleet.send(stamp.client, slot, REQUEST) {
            self.skipped += 1;
            return;
        }
        self.lanes[client].sent += 1;
        self.tally.sent += 1;
        self.pace.sent(stamp.client, number, nanos);
    }

    /// The next socket in turn that is not lost.
    fn next_client(&mut self, fleet: &Fleet) -> Option<usize> {
        (0..self.lanes.len()).find_map(|_| {
            let client = self.turn;
            self.turn = (client + 1) % self.lanes.len();
            fleet.clients[client].link.is_some().then_some(client)
        })
    }
}

impl Load for Requests {
    fn send_due(&mut self, fleet: &mut Fleet) {
        let (now, lanes) = (fleet.io.nanos(), &self.lanes);
        self.pace.settle(now, |client, number| lanes[client as usize].came.has(number));
        let mut sent = 0;
        while sent < BURST {
            let Some(due) = self.pace.take(now) else {
                return;
            };
            let Some(client) = self.next_client(fleet) else {
                return self.pace.skip();
            };
            (0..self.train).for_each(|_| self.send_one(fleet, client, due));
            sent += self.train;
        }
    }

    fn at_client(
        &mut self,
        client: u32,
        _: &mut Session,
        packet: &[u8],
        now: u64,
    ) -> Option<Event> {
        let leg = &mut self.tally.to_client;
        let Ok(message) = Message::parse(packet) else {
            leg.corrupted += 1;
            return None;
        };
        let id = message.transaction_id();
        if message.kind() == Kind::error(Method::BINDING) {
            let (code, reason) = error_of(&message);
            let method = Method::BINDING.0;
            return Some(Event::Failed(Failure::Refused { method, code, reason }));
        }
        let value = message.attribute(attribute::XOR_MAPPED_ADDRESS);
        let mapped = value.and_then(|value| decode_xor_address(value, &id).ok());
        let success = message.kind().class == Class::Success;
        let (Some(mapped), true) = (mapped, success) else {
            leg.corrupted += 1;
            return None;
        };
        let stamp = self.stamp(&id);
        let leg = &mut self.tally.to_client;
        let lane = self.lanes.get_mut(client as usize)?;
        if stamp.client != client || *lane.mapped.get_or_insert(mapped) != mapped {
            leg.misrouted += 1;
            return None;
        }
        let number = lane.number_of(stamp.number as u32).filter(|_| stamp.nanos <= now);
        let Some(number) = number else {
            leg.corrupted += 1;
            return None;
        };
        if leg.count(lane.came.arrive(number)) {
            self.tally.finished += 1;
            self.pace.came(stamp.nanos);
            if stamp.nanos >= self.measured_from {
                self.latency.saturating_record(now - stamp.nanos);
            }
        }
        None
    }

    fn at_peer(&mut self, _: SocketAddr, _: &[u8], _: u64) -> bool {
        false
    }

    fn measure_from(&mut self, nanos: u64) {
        self.latency.reset();
        self.measured_from = nanos;
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn skipped(&self) -> u64 {
        self.skipped + self.pace.skipped()
    }

    fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_by_its_lower_half() {
        let number_of = |sent, low| Lane { sent, came: Flow::new(), mapped: None }.number_of(low);
        assert_eq!((number_of(5, 5), number_of(5, 1)), (Some(5), Some(1)));
        assert_eq!((number_of(5, 0), number_of(5, 6)), (None, None));
        let wrap = 1 << 32;
        assert_eq!((number_of(wrap + 5, 5), number_of(wrap + 5, 0)), (Some(wrap + 5), Some(wrap)));
        assert_eq!(number_of(wrap + 5, u32::MAX), Some(wrap - 1));
        assert_eq!(number_of(wrap - 1, 0), None);
    }
}
