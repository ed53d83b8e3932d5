use std::net::SocketAddr;

use super::allocation::Allocation;
use super::rate::{Bucket, Shares};
use super::request::Request;
use super::{Client, Dropped, Limits, Protocol, RelayId, Server, Stats, ToPeer, Verdict};
use crate::stun::{
    CHANNEL_HEADER, ChannelData, ChannelNumber, DATA_INDICATION_MAX, Family, Kind, Message, Method,
    TransactionId, Writer, attribute, write_channel_header, write_data_indication_header,
};
use crate::time::{Mono, Now};

/// The most application bytes in a relayed datagram: what UDP over IPv4 can carry.
pub const MAX_RELAYED: usize = 65_507;

/// A peer's datagram on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The client it goes to.
    pub client: Client,
    /// The header in front of it.
    pub framing: Framing,
}

/// What stands in front of application data on the way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A ChannelData message (RFC 8656 §12.7).
    Channel(ChannelNumber),
    /// A Data indication (RFC 8656 §11.3).
    Indication {
        /// The peer as the client knows it.
        peer: SocketAddr,
        /// The transaction ID.
        id: [u8; 12],
    },
}

impl Framing {
    /// Writes the header so that it ends where `headroom` ends, and returns its length. `None`
    /// when the payload is too long for it.
    ///
    /// [`Self::padding`] bytes follow the payload.
    pub fn write(&self, headroom: &mut [u8; DATA_INDICATION_MAX], payload: usize) -> Option<usize> {
        match *self {
            Self::Channel(number) => {
                let (_, header) = headroom.split_last_chunk_mut::<CHANNEL_HEADER>()?;
                write_channel_header(header, number, u16::try_from(payload).ok()?);
                Some(CHANNEL_HEADER)
            }
            Self::Indication { peer, id } => {
                write_data_indication_header(headroom, id, peer, payload)
            }
        }
    }

    /// Zero bytes to append: RFC 8656 §12.5 pads ChannelData on streams only, RFC 8489 §14 pads
    /// every attribute.
    pub const fn padding(&self, payload: usize, stream: bool) -> usize {
        match self {
            Self::Channel(_) if !stream => 0,
            _ => payload.next_multiple_of(4) - payload,
        }
    }
}

/// An ICMP error about a relayed packet (RFC 8656 §18.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The next hop's MTU where the error tells it, otherwise 0.
    pub mtu: u32,
}

impl Server {
    /// RFC 8656 §12.6
    pub(super) fn channel_data(
        &mut self,
        now: Now,
        client: &Client,
        packet: &[u8],
        stats: &Stats,
    ) -> Result<Verdict, Dropped> {
        let data = ChannelData::parse(packet).map_err(|_| Dropped::Malformed)?;
        let place = self.find_place(&client.tuple).ok_or(Dropped::NoAllocation)?;
        let slot = place.slot();
        let mut allocation = &mut self.allocations[slot as usize];
        let channel = allocation.channel(data.number, now.mono).ok_or(Dropped::NoChannel)?;
        let (peer, route) = (channel.peer, channel.route);
        // RFC 8656 §9: the permission may be over before the channel is.
        allocation.permission(peer.ip(), now.mono).ok_or(Dropped::NoPermission)?;
        // RFC 8016 §3.2.2. Any four bytes with a forged address could be no data at all.
        if place.is_next() {
            self.arrive(slot, stats);
            allocation = &mut self.allocations[slot as usize];
        }
        let payload = data.payload;
        to_peer(allocation, now.mono, peer, payload.len(), stats)?;
        let relay = RelayId { slot, family: Family::of(&peer.ip()) };
        Ok(Verdict::ToPeer(ToPeer { relay, peer: route, payload, dont_fragment: false }))
    }

    /// RFC 8656 §11.2
    pub(super) fn send_indication(
        &mut self,
        now: Now,
        client: &Client,
        message: Message<'_>,
        packet: &[u8],
        stats: &Stats,
    ) -> Result<Verdict, Dropped> {
        // Before it is looked for whose it is: only what can be relayed is sent on to another worker.
        let request = Request::read(message, packet);
        // RFC 8489 §6.3.2: an indication with unknown attributes is discarded.
        if request.malformed || !request.unknown().is_empty() {
            return Err(Dropped::Malformed);
        }
        let (Some(peer), Some(payload)) = (request.peer, request.data) else {
            return Err(Dropped::Malformed);
        };
        let place = self.find_place(&client.tuple).ok_or(Dropped::NoAllocation)?;
        let slot = place.slot();
        let mut allocation = &mut self.allocations[slot as usize];
        if allocation.protocol() == Protocol::Tcp {
            return Err(Dropped::TcpAllocation);
        }
        let permission = allocation.permission(peer.ip(), now.mono).ok_or(Dropped::NoPermission)?;
        if permission.guarded && !self.settings.peers.admits_port(peer) {
            return Err(Dropped::PeerDenied);
        }
        if place.is_next() {
            self.arrive(slot, stats);
            allocation = &mut self.allocations[slot as usize];
        }
        to_peer(allocation, now.mono, peer, payload.len(), stats)?;
        let relay = RelayId { slot, family: Family::of(&peer.ip()) };
        let route = self.settings.peers.route(peer);
        let dont_fragment = request.dont_fragment;
        Ok(Verdict::ToPeer(ToPeer { relay, peer: route, payload, dont_fragment }))
    }

    /// A datagram of `length` bytes from a peer (RFC 8656 §11.3).
    ///
    /// # Errors
    /// Why it is not relayed; it has been counted.
    pub fn from_peer(
        &mut self,
        now: Now,
        relay: RelayId,
        sender: SocketAddr,
        length: usize,
        stats: &Stats,
    ) -> Result<Delivery, Dropped> {
        let delivery = self.deliver(now.mono, relay, sender, length, stats);
        match delivery {
            Ok(delivery) => Ok(delivery),
            Err(reason) => Err(self.drop_from_peer(now, relay, reason, stats)),
        }
    }

    fn deliver(
        &mut self,
        now: Mono,
        relay: RelayId,
        sender: SocketAddr,
        length: usize,
        stats: &Stats,
    ) -> Result<Delivery, Dropped> {
        let allocation =
            self.allocations.get_mut(relay.slot as usize).ok_or(Dropped::NoAllocation)?;
        let live = allocation.relay(relay.family).filter(|relay| now < relay.expires);
        live.ok_or(Dropped::NoAllocation)?;
        if allocation.detached {
            return Err(Dropped::Away);
        }
        let knows = |ip| allocation.permission(ip, now).is_some();
        let peer = self.settings.peers.known_to(sender, knows);
        let permission = allocation.permission(peer.ip(), now).ok_or(Dropped::NoPermission)?;
        if permission.guarded && !self.settings.peers.admits_port(peer) {
            return Err(Dropped::PeerDenied);
        }
        let framing = match allocation.channel_to(peer, now) {
            Some(channel) => Framing::Channel(channel.number),
            None => Framing::Indication { peer, id: next_id(&mut self.indications) },
        };
        let (limits, cost) = (&allocation.realm.limits, length as u64);
        take(&mut allocation.to_client, &allocation.owner.to_client, now, cost, limits)?;
        allocation.traffic.to_client_packets += 1;
        allocation.traffic.to_client_bytes += cost;
        if !allocation.own {
            stats.to_client_packets.add(1);
            stats.to_client_bytes.add(cost);
        }
        Ok(Delivery { client: allocation.client, framing })
    }

    /// An ICMP error about a packet to `destination` (RFC 8656 §11.5): a Data indication is
    /// written into `out`, and the client it is for is returned with its length.
    pub fn from_icmp(
        &mut self,
        now: Now,
        relay: RelayId,
        destination: SocketAddr,
        icmp: Icmp,
        out: &mut [u8],
        stats: &Stats,
    ) -> Option<(Client, usize)> {
        // Only these types say that a packet was dropped.
        let relayed = match relay.family {
            Family::V4 => matches!(icmp.kind, 3 | 11),
            Family::V6 => matches!(icmp.kind, 1..=3),
        };
        let allocation = self.allocations.get(relay.slot as usize)?;
        let live = allocation.relay(relay.family);
        live.filter(|relay| now.mono < relay.expires)?;
        let knows = |ip| allocation.permission(ip, now.mono).is_some();
        let peer = self.settings.peers.known_to(destination, knows);
        if !relayed || allocation.detached || !knows(peer.ip()) {
            return None;
        }
        let too_big = match relay.family {
            Family::V4 => (icmp.kind, icmp.code) == (3, 4),
            Family::V6 => icmp.kind == 2,
        };
        let id = TransactionId::new(next_id(&mut self.indications));
        let mut writer = Writer::new(out, Kind::indication(Method::DATA), &id);
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        let mut value = [0, 0, icmp.kind, icmp.code, 0, 0, 0, 0];
        if too_big {
            value[4..].copy_from_slice(&icmp.mtu.to_be_bytes());
        }
        writer.attribute(attribute::ICMP, &value);
        let length = writer.finish().ok()?;
        stats.icmp.add(1);
        Some((allocation.client, length))
    }
}

impl Server {
    /// The transaction ID of an indication.
    pub(super) fn next_indication(&mut self) -> [u8; 12] {
        next_id(&mut self.indications)
    }
}

/// Checks what is left to check and counts a packet to a peer.
fn to_peer(
    allocation: &mut Allocation,
    now: Mono,
    peer: SocketAddr,
    length: usize,
    stats: &Stats,
) -> Result<(), Dropped> {
    let relay = allocation.relay(Family::of(&peer.ip()));
    relay.filter(|relay| now < relay.expires).ok_or(Dropped::NoAllocation)?;
    if length > MAX_RELAYED {
        return Err(Dropped::TooLong);
    }
    let (limits, cost) = (&allocation.realm.limits, length as u64);
    take(&mut allocation.to_peer, &allocation.owner.to_peer, now, cost, limits)?;
    allocation.traffic.to_peer_packets += 1;
    allocation.traffic.to_peer_bytes += cost;
    if !allocation.own {
        stats.to_peer_packets.add(1);
        stats.to_peer_bytes.add(cost);
        if allocation.traffic.to_peer_packets == 1 {
            stats.setups.add(now.since(allocation.birth.at).as_millis() as u64);
        }
    }
    Ok(())
}

/// Takes the bytes from the allocation's bucket and its user's and realm's, or from none.
fn take(
    own: &mut Bucket,
    owner: &Shares,
    now: Mono,
    cost: u64,
    limits: &Limits,
) -> Result<(), Dropped> {
    let free = own.has(now, cost, limits.bytes_per_second) && owner.take(now, cost, limits);
    if !free {
        return Err(Dropped::Bandwidth);
    }
    own.take(now, cost, limits.bytes_per_second);
    Ok(())
}

/// RFC 8489 §6: an indication's ID only has to be unlike the others; nothing is proved by it.
fn next_id(state: &mut u64) -> [u8; 12] {
    let mut id = [0; 12];
    id[..8].copy_from_slice(&mix(state).to_be_bytes());
    id[8..].copy_from_slice(&mix(state).to_be_bytes()[..4]);
    id
}

/// One step of SplitMix64.
const fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
