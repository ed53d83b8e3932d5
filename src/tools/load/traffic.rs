//! The packets of a run: made, followed, and checked at both ends.

use std::net::SocketAddr;

use hdrhistogram::Histogram;

use super::errand::CHANNEL;
use super::fleet::Fleet;
use super::flow::Flow;
use super::options::{Direction, Mode, Options, Rate};
use super::pace::Pace;
use super::payload::{Payloads, Stamp, Wrong};
use super::run::Load;
use super::tally::{Tally, histogram};
use crate::client::{Data, DataHeader, Event, Session, Source};
use crate::stun::{ChannelNumber, TransactionId};

/// Packets that are sent before what has come is looked at again, of the load and of the flood.
const BURST: u32 = 32;

/// All flows with their counters.
pub(super) struct Traffic {
    direction: Direction,
    size: usize,
    train: u32,
    payloads: Payloads,
    header: DataHeader,
    /// How clients are told who has sent.
    source: Source,
    lanes: Vec<Lane>,
    /// The first of the lanes, which take turns; behind them comes the one that floods.
    in_turn: usize,
    flood: Option<Flood>,
    pace: Pace,
    /// The client whose turn it is.
    turn: usize,
    tally: Tally,
    /// Packets for which there was no room.
    skipped: u64,
    /// Of packets meant to be sent since `measured_from`, in nanoseconds.
    latency: Histogram<u64>,
    measured_from: u64,
}

/// The client that floods.
struct Flood {
    client: usize,
    pace: Pace,
    tally: Tally,
    skipped: u64,
}

/// One client's flows.
struct Lane {
    relayed: SocketAddr,
    /// From where its packets come to the peer: the relayed address, unless a NAT has translated it.
    seen_from: Option<SocketAddr>,
    sent: u64,
    to_peer: Flow,
    to_client: Flow,
}

impl Traffic {
    /// The traffic between all clients of the fleet and its peer; `None` when no header can stand before such payloads.
    pub(super) fn new(options: &Options, fleet: &Fleet, run: u32) -> Option<Self> {
        let peer = fleet.plan.peer?;
        let number = ChannelNumber::new(CHANNEL)?;
        let (header, source) = match options.mode {
            Mode::Send => {
                let id = TransactionId::new([0; 12]);
                (DataHeader::indication(&id, peer, options.size)?, Source::Peer(peer))
            }
            _ => (DataHeader::channel(number, options.size), Source::Channel(number)),
        };
        let nobody = SocketAddr::from(([0; 4], 0));
        let (in_turn, start) = (options.clients as usize, fleet.io.nanos());
        let flood = |rate| Flood {
            client: in_turn,
            pace: Pace::new(Rate::Fixed(rate), options.window, BURST, start),
            tally: Tally::default(),
            skipped: 0,
        };
        let lane = |relayed: Option<SocketAddr>| Lane {
            relayed: relayed.unwrap_or(nobody),
            seen_from: None,
            sent: 0,
            to_peer: Flow::new(),
            to_client: Flow::new(),
        };
        Some(Self {
            direction: options.direction,
            size: options.size.into(),
            train: options.train,
            payloads: Payloads::new(run, options.size),
            header,
            source,
            lanes: fleet.clients.iter().map(|client| lane(client.session.relayed())).collect(),
            in_turn,
            flood: options.flood.map(flood),
            pace: Pace::new(options.rate, options.window, options.train, start),
            turn: 0,
            tally: Tally::default(),
            skipped: 0,
            latency: histogram(),
            measured_from: 0,
        })
    }

    /// The next client in turn that still has its allocation.
    fn next_client(&mut self, fleet: &Fleet) -> Option<usize> {
        for _ in 0..self.in_turn {
            let client = self.turn;
            self.turn = (self.turn + 1) % self.in_turn;
            if can_send(fleet, client) {
                return Some(client);
            }
        }
        None
    }

    /// Sends what the flood has due, a train of it at most.
    fn send_flood(&mut self, fleet: &mut Fleet, now: u64) {
        let Some(flood) = &mut self.flood else {
            return;
        };
        let client = flood.client;
        let Some(due) = flood.pace.take(now) else {
            return;
        };
        let sent = match can_send(fleet, client) {
            true => (0..BURST).filter(|_| self.send(fleet, client, due)).count() as u64,
            false => 0,
        };
        if let Some(flood) = &mut self.flood {
            flood.tally.sent += sent;
            flood.skipped += u64::from(BURST) - sent;
        }
    }

    fn send_one(&mut self, fleet: &mut Fleet, client: usize, due: u64) {
        let nanos = self.pace.stamp(due);
        if !self.send(fleet, client, nanos) {
            self.skipped += 1;
            return;
        }
        self.tally.sent += 1;
        self.pace.sent(client as u32, self.lanes[client].sent, nanos);
    }

    /// Sends a client's next packet; whether there was room for it.
    fn send(&mut self, fleet: &mut Fleet, client: usize, nanos: u64) -> bool {
        let lane = &mut self.lanes[client];
        let stamp = Stamp { client: client as u32, number: lane.sent + 1, nanos };
        let slot = fleet.io.slot();
        let taken = if self.direction == Direction::Down {
            self.payloads.write(&stamp, &mut fleet.io.out(slot)[..self.size]);
            fleet.send_from_peer(lane.relayed, slot, self.size)
        } else {
            let (start, length) =
                (self.header.bytes().len(), self.header.message_len(fleet.is_stream()));
            let out = &mut fleet.io.out(slot)[..length];
            out[..start].copy_from_slice(self.header.bytes());
            out[start + self.size..].fill(0);
            self.payloads.write(&stamp, &mut out[start..start + self.size]);
            fleet.send(stamp.client, slot, length)
        };
        lane.sent += u64::from(taken);
        taken
    }

    /// Where a client's packets are counted.
    fn tally_of(&mut self, client: u32) -> &mut Tally {
        match &mut self.flood {
            Some(flood) if flood.client == client as usize => &mut flood.tally,
            _ => &mut self.tally,
        }
    }

    /// Checks a payload and counts what is wrong with it.
    fn read(&mut self, payload: &[u8], to_client: bool) -> Option<Stamp> {
        match self.payloads.read(payload) {
            Ok(stamp) => return Some(stamp),
            Err(Wrong::Stray) => self.tally.stray += 1,
            Err(Wrong::Corrupted) if to_client => self.tally.to_client.corrupted += 1,
            Err(Wrong::Corrupted) => self.tally.to_peer.corrupted += 1,
        }
        None
    }

    /// A packet is at the end of its way.
    fn arrived(&mut self, Stamp { client, nanos, .. }: Stamp, now: u64) {
        self.tally_of(client).finished += 1;
        if client as usize >= self.in_turn {
            return;
        }
        if nanos >= self.measured_from {
            self.latency.saturating_record(now.saturating_sub(nanos));
        }
        self.pace.came(nanos);
    }
}

impl Load for Traffic {
    fn send_due(&mut self, fleet: &mut Fleet) {
        let now = fleet.io.nanos();
        self.send_flood(fleet, now);
        let (lanes, direction) = (&self.lanes, self.direction);
        self.pace.settle(now, |client, number| lanes[client as usize].has_come(direction, number));
        let mut sent = 0;
        while sent < BURST {
            let Some(due) = self.pace.take(now) else {
                return;
            };
            let Some(client) = self.next_client(fleet) else {
                return self.pace.skip();
            };
            for _ in 0..self.train {
                self.send_one(fleet, client, due);
            }
            sent += self.train;
        }
    }

    fn at_client(
        &mut self,
        client: u32,
        session: &mut Session,
        packet: &[u8],
        now: u64,
    ) -> Option<Event> {
        let leg = &mut self.tally.to_client;
        let data = match Data::parse(packet) {
            Ok(Some(data)) => data,
            Ok(None) => return Some(session.receive(packet)),
            Err(_) => {
                leg.corrupted += 1;
                return None;
            }
        };
        let stamp = self.read(&packet[data.payload], true)?;
        let lane = self.lanes.get_mut(client as usize)?;
        if stamp.client != client || data.source != self.source {
            self.tally_of(stamp.client).to_client.misrouted += 1;
            return None;
        }
        let arrival = lane.to_client.arrive(stamp.number);
        if self.tally_of(client).to_client.count(arrival) {
            self.arrived(stamp, now);
        }
        None
    }

    fn at_peer(&mut self, from: SocketAddr, payload: &[u8], now: u64) -> bool {
        let Some(stamp) = self.read(payload, false) else {
            return false;
        };
        let lane = self.lanes.get_mut(stamp.client as usize);
        let Some(lane) = lane.and_then(|lane| lane.is_from(from).then_some(lane)) else {
            self.tally_of(stamp.client).to_peer.misrouted += 1;
            return false;
        };
        let arrival = lane.to_peer.arrive(stamp.number);
        let new = self.tally_of(stamp.client).to_peer.count(arrival);
        if new && self.direction == Direction::Up {
            self.arrived(stamp, now);
        }
        new && self.direction == Direction::Echo
    }

    fn measure_from(&mut self, nanos: u64) {
        self.latency.reset();
        self.measured_from = nanos;
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn flood(&self) -> Option<(Tally, u64)> {
        let flood = self.flood.as_ref()?;
        Some((flood.tally, flood.skipped + flood.pace.skipped()))
    }

    fn skipped(&self) -> u64 {
        self.skipped + self.pace.skipped()
    }

    fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }
}

fn can_send(fleet: &Fleet, client: usize) -> bool {
    let client = fleet.clients.get(client);
    client.is_some_and(|one| one.link.is_some() && one.session.relayed().is_some())
}

impl Lane {
    fn has_come(&self, direction: Direction, number: u64) -> bool {
        match direction {
            Direction::Up => self.to_peer.has(number),
            Direction::Echo | Direction::Down => self.to_client.has(number),
        }
    }

    /// Whether a packet from this address has come through this client's relay. A 1:1 NAT on the way keeps
    /// the port; what the first packet shows is expected from then on.
    fn is_from(&mut self, from: SocketAddr) -> bool {
        if from.port() != self.relayed.port() {
            return false;
        }
        *self.seen_from.get_or_insert(from) == from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_known_by_its_port_and_then_by_all_of_its_address() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let mut lane = Lane {
            relayed: address("203.0.113.1:50000"),
            seen_from: None,
            sent: 0,
            to_peer: Flow::new(),
            to_client: Flow::new(),
        };
        // Somebody else's comes first, and must not be taken for the address behind the NAT.
        assert!(!lane.is_from(address("10.0.0.5:50001")));
        assert!(lane.is_from(address("10.0.0.5:50000")));
        assert!(lane.is_from(address("10.0.0.5:50000")));
        assert!(!lane.is_from(address("10.0.0.6:50000")));
    }
}
