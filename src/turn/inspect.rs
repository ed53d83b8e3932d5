//! What an operator sees of live allocations, and how one is ended.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::allocation::Allocation;
use super::connection::{Connection, State};
use super::{
    EndReason, FiveTuple, Prefix, Protocol, Refusals, RelaySockets, Server, SessionId, Stats,
    Traffic, Transport,
};
use crate::time::{Mono, Now};

/// Which allocations are meant: those that fit all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The one of this name.
    pub id: Option<SessionId>,
    /// The username, or the user part of an ephemeral one.
    pub user: Option<String>,
    /// The realm.
    pub realm: Option<String>,
    /// Where the client is, or what it is relayed by.
    pub address: Option<Where>,
    /// The transport between client and server.
    pub transport: Option<Transport>,
}

/// An address that somebody asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// The client's address lies in it.
    Within(Prefix),
    /// The client's transport address, or a relayed one as clients or as this host know it.
    At(SocketAddr),
}

impl Filter {
    fn fits(&self, allocation: &Allocation) -> bool {
        let credential = &allocation.credential;
        let tuple = &allocation.client.tuple;
        let same = |wanted: &Option<String>, names: [&str; 2]| {
            wanted.as_deref().is_none_or(|wanted| names.contains(&wanted))
        };
        let there = |place: Where| match place {
            Where::Within(prefix) => prefix.contains(tuple.client.ip()),
            Where::At(address) => {
                let mut relays = allocation.relays.iter().flatten();
                tuple.client == address
                    || relays.any(|relay| [relay.local, relay.advertised].contains(&address))
            }
        };
        !allocation.own
            && self.id.is_none_or(|id| id == allocation.id)
            && same(&self.user, [credential.username(), credential.owner()])
            && same(&self.realm, [credential.realm(); 2])
            && self.transport.is_none_or(|transport| transport == tuple.transport)
            && self.address.is_none_or(there)
    }
}

/// A live allocation, as a line of a list.
#[derive(Clone, Debug)]
pub struct View {
    /// Names it.
    pub id: SessionId,
    /// The worker that holds it.
    pub worker: u32,
    /// The realm of its user.
    pub realm: Arc<str>,
    /// The username of its Allocate.
    pub username: String,
    /// Whom it counts for: the same, or the user part of an ephemeral username.
    pub owner: String,
    /// The 5-tuple.
    pub client: FiveTuple,
    /// The relayed transport addresses as clients know them: IPv4, IPv6.
    pub relayed: [Option<SocketAddr>; 2],
    /// What it relays.
    pub protocol: Protocol,
    /// How long it lives already.
    pub age: Duration,
    /// How long it lives unless it is refreshed.
    pub remaining: Duration,
    /// How much it has relayed.
    pub traffic: Traffic,
    /// What was refused to its client, if anything was.
    pub refusals: Option<Refusals>,
    /// Permissions that are good now.
    pub permissions: usize,
    /// Channels that are bound now.
    pub channels: usize,
    /// TCP connections with peers, those that are being made with them.
    pub connections: usize,
}

/// A live allocation in depth.
#[derive(Clone, Debug)]
pub struct Depth {
    /// What a list has.
    pub view: View,
    /// The 5-tuples before the present one, the oldest first.
    pub earlier: Vec<FiveTuple>,
    /// The addresses of this host that it relays from: IPv4, IPv6.
    pub local: [Option<SocketAddr>; 2],
    /// Peers' addresses with a permission, and what is left of it.
    pub permissions: Vec<(IpAddr, Duration)>,
    /// Channels.
    pub channels: Vec<ChannelView>,
    /// TCP connections with peers (RFC 6062).
    pub connections: Vec<ConnectionView>,
    /// When its credential expires, in seconds since 1970.
    pub credential_expires: Option<u64>,
    /// Its credential was taken back: only a new one of the same user is believed.
    pub revoked: bool,
    /// It can be taken along to another address (RFC 8016).
    pub mobile: bool,
    /// Its client is nowhere at present, and may come back.
    pub away: bool,
}

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// Its number.
    pub number: u16,
    /// Its peer.
    pub peer: SocketAddr,
    /// What is left of it.
    pub remaining: Duration,
}

/// A TCP connection with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// CONNECTION-ID.
    pub id: u32,
    /// The peer.
    pub peer: SocketAddr,
    /// `connecting`, `unbound` (it waits for its ConnectionBind) or `bound`.
    pub state: &'static str,
}

/// What a look at some of the allocations has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where those are that fit.
    pub slots: Vec<u32>,
    /// Where to go on; nothing when all have been looked at.
    pub next: Option<u32>,
}

impl Server {
    /// Looks at up to `steps` places for allocations, from one on, until `most` are found.
    ///
    /// An allocation keeps its place at its worker for as long as it lives: who goes on until the end sees each that
    /// was there all the time once.
    pub fn scan(&self, from: u32, steps: usize, most: usize, filter: &Filter) -> Found {
        let end = self.allocations.capacity();
        let mut found = Found::default();
        for slot in (from as usize..end).take(steps) {
            found.next = Some(slot as u32 + 1);
            if self.allocations.get(slot).is_some_and(|it| filter.fits(it)) {
                found.slots.push(slot as u32);
                if found.slots.len() >= most {
                    break;
                }
            }
        }
        found.next = found.next.filter(|next| (*next as usize) < end);
        found
    }

    /// The allocation at a place.
    pub fn view(&self, now: Now, slot: u32) -> Option<View> {
        let allocation = self.allocations.get(slot as usize)?;
        let (now, credential) = (now.mono, &allocation.credential);
        let live = |until: Mono| now < until;
        Some(View {
            id: allocation.id,
            worker: self.seat.number,
            realm: Arc::clone(credential.realm()),
            username: credential.username().to_owned(),
            owner: credential.owner().to_owned(),
            client: allocation.client.tuple,
            relayed: allocation.relays.map(|relay| relay.map(|relay| relay.advertised)),
            protocol: allocation.protocol(),
            age: now.since(allocation.birth.at),
            remaining: allocation.last_end().map_or(Duration::ZERO, |end| end.since(now)),
            traffic: allocation.traffic,
            refusals: allocation.refusals.as_deref().copied(),
            permissions: allocation.permissions.iter().filter(|it| live(it.until)).count(),
            channels: allocation.channels.iter().filter(|it| live(it.until)).count(),
            connections: allocation.tcp.as_ref().map_or(0, |tcp| tcp.connections.len()),
        })
    }

    /// All about the allocation at a place.
    pub fn depth(&self, now: Now, slot: u32) -> Option<Depth> {
        let view = self.view(now, slot)?;
        let allocation = self.allocations.get(slot as usize)?;
        let left = |until: Mono| Some(until.since(now.mono)).filter(|left| !left.is_zero());
        let permissions = allocation.permissions.iter();
        let permissions = permissions.filter_map(|it| Some((it.peer, left(it.until)?)));
        let channels = allocation.channels.iter().filter_map(|it| {
            let number = it.number.get();
            Some(ChannelView { number, peer: it.peer, remaining: left(it.until)? })
        });
        let connections = allocation.tcp.iter().flat_map(|tcp| &tcp.connections).copied();
        let connections = connections.filter_map(|id| {
            let Connection { peer, state, .. } = self.connections.get(id)?;
            let state = match state {
                State::Connecting(_) => "connecting",
                State::Unbound => "unbound",
                State::Bound => "bound",
            };
            Some(ConnectionView { id: id.get(), peer: *peer, state })
        });
        Some(Depth {
            earlier: allocation.mobility.as_ref().map_or_else(Vec::new, |it| it.earlier.clone()),
            local: allocation.relays.map(|relay| relay.map(|relay| relay.local)),
            permissions: permissions.collect(),
            channels: channels.collect(),
            connections: connections.collect(),
            credential_expires: allocation.credential.expires(),
            revoked: allocation.revoked,
            mobile: allocation.mobility.is_some(),
            away: allocation.detached,
            view,
        })
    }

    /// Ends the allocation at a place, because an operator wants it for this reason.
    pub fn kill(
        &mut self,
        now: Now,
        slot: u32,
        reason: EndReason,
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) {
        self.end(slot, reason, now.mono, sockets, stats);
    }
}
