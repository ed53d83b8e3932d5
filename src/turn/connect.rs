//! TCP connections with peers (RFC 6062 §5), each with a client data connection in the end:
//!
//! ```text
//! Connect          -> Connecting -- the peer answers: its response --> Unbound -- ConnectionBind --> Bound
//! from the peer    ------------------ ConnectionAttempt -------------> Unbound
//! ```
//!
//! The first two last 30 seconds at most; all end with the allocation.

use std::net::SocketAddr;
use std::time::Duration;

use super::connection::State;
use super::index::Place;
use super::request::Request;
use super::server::{Answer, Context};
use super::{
    Cause, Client, ConnectionId, Decision, DeniedBy, Dropped, Effect, RelayId, Reply, Server, Stats,
};
use crate::stun::{Family, Kind, Method, TransactionId, Writer, attribute};
use crate::time::{Mono, Now};

/// RFC 6062 §5.2: at least 30 seconds for the peer; §5.2, §5.3: 30 seconds for the client.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time limits worked off in one call.
const EXPIRIES: usize = 256;

/// Why there is no connection with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The peer did not answer in time.
    TimedOut,
    /// The peer refused, or there is no way to it.
    Failed,
    /// The system gives no socket.
    NoSocket,
}

impl ConnectFailure {
    const fn cause(self) -> Cause {
        match self {
            Self::TimedOut => Cause::ConnectTimeout,
            Self::Failed => Cause::ConnectFailed,
            Self::NoSocket => Cause::NoSocket,
        }
    }
}

/// A peer's connection that was taken; the ConnectionAttempt stands in `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its name.
    pub connection: ConnectionId,
    /// Whom the indication is for.
    pub client: Client,
    /// The length of the indication.
    pub length: usize,
}

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the peer.
    ToPeer,
    /// From the peer to the client.
    ToClient,
}

impl Server {
    /// RFC 6062 §5.2. The answer comes from [`Server::connected`].
    pub(super) fn connect(&mut self, context: &Context<'_>, slot: u32) -> Result<Answer, Cause> {
        // RFC 8016 §3.2.2 waits for data on a new 5-tuple, of which a TCP allocation's has none.
        if self.find_place(&context.client.tuple).is_some_and(Place::is_next) {
            self.arrive(slot, context.stats);
        }
        let allocation = &self.allocations[slot as usize];
        let tcp = allocation.tcp.as_ref().ok_or(Cause::WrongProtocol)?;
        let peer = context.request.peer.ok_or(Cause::Missing)?;
        let with = |id: &ConnectionId| self.connections.get(*id).is_some_and(|c| c.peer == peer);
        if tcp.connections.iter().any(with) {
            return Err(Cause::ConnectionExists);
        }
        let decision = allocation.admit_peer(peer)?;
        if decision == Decision::Guarded && !self.settings.peers.admits_port(peer) {
            return Err(Cause::PeerDenied { peer: peer.ip(), by: DeniedBy::OwnPort });
        }
        let state = State::Connecting(Box::new(context.asked()));
        let connection = self.open_connection(context.now.mono, slot, peer, state)?;
        let relay = RelayId { slot, family: Family::of(&peer.ip()) };
        let peer = self.settings.peers.route(peer);
        self.effects.push_back(Effect::Connect { connection, relay, peer });
        Ok(Answer::Later)
    }

    /// The end of a handshake that [`Effect::Connect`] has asked for: the Connect's response is written into `out`,
    /// and the client it is for is told. `None` when nobody waits for it any more: the connection is to be closed.
    pub fn connected(
        &mut self,
        now: Now,
        connection: ConnectionId,
        outcome: Result<(), ConnectFailure>,
        out: &mut [u8],
        stats: &Stats,
    ) -> Option<(Client, Reply)> {
        let found = self.connections.get(connection)?;
        let State::Connecting(asked) = &found.state else {
            return None;
        };
        let slot = found.allocation;
        let allocation = self.allocations.get(slot as usize)?;
        let client = allocation.client;
        if allocation.detached {
            // A mobile client that is away hears nothing: it will have to ask again.
            self.forget_connection(connection, stats);
            return None;
        }
        let refusal = outcome.err().map(ConnectFailure::cause);
        let length = match refusal {
            None => asked.connected(connection, self.settings.software.as_deref(), out),
            Some(cause) => asked.refused(cause, self.settings.explain, out),
        };
        match refusal {
            None => {
                stats.connections_out.add(1);
                let due = Some(now.mono + PATIENCE);
                self.connections.advance(connection, State::Unbound, due);
            }
            Some(cause) => {
                stats.refuse(cause);
                self.forget_connection(connection, stats);
            }
        }
        self.tell_connected(now, slot, refusal);
        let method = Method::CONNECT;
        Some((client, Reply { length, method, refusal, proven: true, detour: None }))
    }

    /// A peer has connected to a relayed transport address (RFC 6062 §5.3).
    ///
    /// # Errors
    /// Why the connection is to be closed; it has been counted.
    pub fn incoming(
        &mut self,
        now: Now,
        relay: RelayId,
        sender: SocketAddr,
        out: &mut [u8],
        stats: &Stats,
    ) -> Result<Attempt, Dropped> {
        let attempt = self.attempt(now.mono, relay, sender, out);
        match attempt {
            Ok(_) => stats.connections_in.add(1),
            Err(reason) => stats.drop(reason),
        }
        attempt
    }

    fn attempt(
        &mut self,
        now: Mono,
        relay: RelayId,
        sender: SocketAddr,
        out: &mut [u8],
    ) -> Result<Attempt, Dropped> {
        let allocation = self.allocations.get(relay.slot as usize).ok_or(Dropped::NoAllocation)?;
        let live = allocation.relay(relay.family).filter(|relay| now < relay.expires);
        live.ok_or(Dropped::NoAllocation)?;
        let client = allocation.client;
        if allocation.detached {
            return Err(Dropped::Away);
        }
        let knows = |ip| allocation.permission(ip, now).is_some();
        let peer = self.settings.peers.known_to(sender, knows);
        let permission = allocation.permission(peer.ip(), now).ok_or(Dropped::NoPermission)?;
        if permission.guarded && !self.settings.peers.admits_port(peer) {
            return Err(Dropped::PeerDenied);
        }
        let opened = self.open_connection(now, relay.slot, peer, State::Unbound);
        let connection = opened.map_err(|_| Dropped::ConnectionLimit)?;
        let id = TransactionId::new(self.next_indication());
        let mut writer = Writer::new(out, Kind::indication(Method::CONNECTION_ATTEMPT), &id);
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        writer.number(attribute::CONNECTION_ID, connection.get());
        // An indication that does not fit is not sent: RESPONSE_MAX has room for it.
        let length = writer.finish().unwrap_or(0);
        Ok(Attempt { connection, client, length })
    }

    /// RFC 6062 §5.4; `slot` is the allocation of the 5-tuple on which it came, of which there should be none.
    pub(super) fn connection_bind(
        &mut self,
        context: &Context<'_>,
        slot: Option<u32>,
        out: &mut [u8],
    ) -> Result<Answer, Cause> {
        if !context.client.tuple.transport.is_stream() {
            return Err(Cause::NeedsStream);
        }
        if slot.is_some() {
            return Err(Cause::AllocationExists);
        }
        if context.request.malformed {
            return Err(Cause::Malformed);
        }
        let id = ConnectionId::new(context.request.connection.ok_or(Cause::Missing)?);
        if id.server(self.seat) != self.seat.number {
            return Err(Cause::Busy);
        }
        let found = self.connections.get(id).ok_or(Cause::UnknownConnection)?;
        let allocation = &self.allocations[found.allocation as usize];
        // RFC 6062 §4.3: the same credentials as for the control connection.
        let own = allocation.credential.is_of_same_user(&context.who.credential);
        if !own || !matches!(found.state, State::Unbound) {
            return Err(Cause::UnknownConnection);
        }
        self.connections.advance(id, State::Bound, None);
        context.stats.connections_bound.add(1);
        let writer = context.success(out);
        let length = context.finish(writer, self.settings.software.as_deref());
        Ok(Answer::Bound(length, id))
    }

    /// The server that a ConnectionBind is for, when it is another one (RFC 6062 §5.4).
    pub(super) fn elsewhere(&self, client: &Client, request: &Request<'_>) -> Option<u32> {
        let id = request.connection.filter(|_| request.method == Method::CONNECTION_BIND)?;
        let server = ConnectionId::new(id).server(self.seat);
        // What is not signed gets its challenge here.
        let signed = request.message.has_integrity() && !self.here;
        let other = server != self.seat.number && client.tuple.transport.is_stream();
        (signed && other).then_some(server)
    }

    /// The slot of the allocation whose connection waits for this ConnectionBind: its user is who has to have signed.
    pub(super) fn slot_of_connection(&self, request: &Request<'_>) -> Option<u32> {
        let id = request.connection.filter(|_| request.method == Method::CONNECTION_BIND)?;
        self.connections.get(ConnectionId::new(id)).map(|found| found.allocation)
    }

    /// Data has come for a bound connection. `Some`: none is to be read for this direction before that time, or it
    /// would go beyond the bytes per second of the allocation or its user.
    pub fn relayed(
        &mut self,
        now: Mono,
        connection: ConnectionId,
        direction: Direction,
        bytes: u64,
        stats: &Stats,
    ) -> Option<Mono> {
        let slot = self.connections.get(connection)?.allocation;
        let allocation = self.allocations.get_mut(slot as usize)?;
        let (own, owner, traffic, counter) = match direction {
            Direction::ToPeer => (
                &mut allocation.to_peer,
                &allocation.owner.to_peer,
                &mut allocation.traffic.to_peer_bytes,
                &stats.to_peer_bytes,
            ),
            Direction::ToClient => (
                &mut allocation.to_client,
                &allocation.owner.to_client,
                &mut allocation.traffic.to_client_bytes,
                &stats.to_client_bytes,
            ),
        };
        *traffic += bytes;
        counter.add(bytes);
        let limits = &allocation.realm.limits;
        let own = own.charge(now, bytes, limits.bytes_per_second);
        own.max(owner.charge(now, bytes, limits))
    }

    /// A connection with a peer, or its client data connection, is over.
    pub fn connection_closed(&mut self, connection: ConnectionId, stats: &Stats) {
        self.forget_connection(connection, stats);
    }

    /// Ends the connections of an allocation, or those of one family.
    pub(super) fn end_connections(&mut self, slot: u32, family: Option<Family>, stats: &Stats) {
        let tcp = self.allocations.get(slot as usize).and_then(|found| found.tcp.as_ref());
        let all = tcp.map(|tcp| tcp.connections.clone()).unwrap_or_default();
        for id in all {
            let found = self.connections.get(id);
            let of = found.map(|connection| Family::of(&connection.peer.ip()));
            if family.is_none() || family == of {
                self.forget_connection(id, stats);
                self.effects.push_back(Effect::Disconnect(id));
            }
        }
    }

    /// Gives up what has not got further in time.
    pub(super) fn expire_connections(&mut self, now: Mono, stats: &Stats) {
        for _ in 0..EXPIRIES {
            let Some(id) = self.connections.pop_due(now) else {
                return;
            };
            let state = self.connections.get(id).map(|connection| &connection.state);
            if matches!(state, Some(State::Connecting(_))) {
                self.effects.push_back(Effect::ConnectTimedOut(id));
            } else {
                self.forget_connection(id, stats);
                self.effects.push_back(Effect::Disconnect(id));
            }
        }
    }

    /// Files a new connection, if the limits have room for it.
    fn open_connection(
        &mut self,
        now: Mono,
        slot: u32,
        peer: SocketAddr,
        state: State,
    ) -> Result<ConnectionId, Cause> {
        let allocation = &mut self.allocations[slot as usize];
        let limits = &allocation.realm.limits;
        let tcp = allocation.tcp.as_mut().ok_or(Cause::WrongProtocol)?;
        let is_pending = |id: &&ConnectionId| {
            self.connections.get(**id).is_some_and(|connection| connection.is_pending())
        };
        if tcp.connections.len() >= usize::from(limits.connections)
            || tcp.connections.iter().filter(is_pending).count()
                >= usize::from(limits.pending_connections)
        {
            return Err(Cause::ConnectionLimit);
        }
        if !self.ledger.admit_connection(&allocation.owner, limits.connections_per_user) {
            return Err(Cause::ConnectionQuota(limits.connections_per_user));
        }
        let mut id = ConnectionId::random(self.random.next_u64() as u32, self.seat);
        while self.connections.get(id).is_some() {
            id = ConnectionId::random(self.random.next_u64() as u32, self.seat);
        }
        tcp.connections.push(id);
        self.connections.insert(id, slot, peer, state, now + PATIENCE);
        Ok(id)
    }

    pub(super) fn forget_connection(&mut self, id: ConnectionId, stats: &Stats) {
        let Some(connection) = self.connections.remove(id) else {
            return;
        };
        if !matches!(connection.state, State::Connecting(_)) {
            stats.connections_ended.add(1);
        }
        if let Some(allocation) = self.allocations.get_mut(connection.allocation as usize) {
            self.ledger.dismiss_connection(&allocation.owner);
            if let Some(tcp) = &mut allocation.tcp {
                tcp.connections.retain(|other| *other != id);
            }
        }
    }
}
