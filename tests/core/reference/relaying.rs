//! The part of the model that is about data: RFC 8656 §11 and §12.

use super::{Model, Peer};
use turnwire::stun::Family;

impl Model {
    /// §11.2: the peer that a Send indication goes to.
    pub(crate) fn send(&mut self, client: usize, peer: usize, length: usize) -> Option<Peer> {
        let (now, peer) = (self.now, self.peers[peer]);
        let allocation = self.allocations.get_mut(&client)?;
        let good = allocation.alive(peer.family(), now)
            && allocation.permits(peer.address.ip(), now)
            && peer.port_allowed;
        good.then(|| {
            allocation.traffic.to_peer_packets += 1;
            allocation.traffic.to_peer_bytes += length as u64;
            peer
        })
    }

    /// §12.6: the peer that ChannelData goes to.
    pub(crate) fn channel_data(
        &mut self,
        client: usize,
        number: u16,
        length: usize,
    ) -> Option<Peer> {
        let allocation = self.allocations.get(&client)?;
        let mut live = allocation.live_channels(self.now);
        let (_, address) = live.find(|(bound, _)| *bound == number)?;
        let place = self.peers.iter().position(|peer| peer.address == address)?;
        drop(live);
        self.send(client, place, length)
    }

    /// §11.3, §12.7: whether a peer's datagram is delivered, and on which channel.
    pub(crate) fn peer_sends(
        &mut self,
        client: usize,
        peer: usize,
        length: usize,
    ) -> Option<Option<u16>> {
        let (now, peer) = (self.now, self.peers[peer]);
        let allocation = self.allocations.get_mut(&client)?;
        let good = allocation.alive(peer.family(), now)
            && allocation.permits(peer.address.ip(), now)
            && peer.port_allowed;
        if !good {
            return None;
        }
        allocation.traffic.to_client_packets += 1;
        allocation.traffic.to_client_bytes += length as u64;
        let mut live = allocation.live_channels(now);
        Some(live.find(|(_, bound)| *bound == peer.address).map(|(n, _)| n))
    }

    /// §11.5: whether an ICMP error is told to the client.
    pub(crate) fn icmp(&self, client: usize, peer: usize, kind: u8) -> bool {
        let peer = self.peers[peer];
        let kinds: &[u8] = match peer.family() {
            Family::V4 => &[3, 11],
            Family::V6 => &[1, 2, 3],
        };
        self.allocations.get(&client).is_some_and(|allocation| {
            kinds.contains(&kind)
                && allocation.alive(peer.family(), self.now)
                && allocation.permits(peer.address.ip(), self.now)
        })
    }
}
