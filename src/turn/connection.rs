use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use super::Seat;
use super::response::Asked;
use crate::time::Mono;

/// Names a TCP connection with a peer towards clients: CONNECTION-ID (RFC 6062 §6.2.1).
///
/// It tells which of several servers has the connection ([`Seat`]), and is random besides. It is worth something only
/// to the user of the allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u32);

impl ConnectionId {
    pub(super) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// A random one of the server with this seat.
    pub(super) const fn random(random: u32, seat: Seat) -> Self {
        // Rounded down to a whole round of seats, so that it does not leave the 32 bits.
        let rounds = u32::MAX / seat.of;
        Self(random % rounds * seat.of + seat.number)
    }

    /// The number on the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number of the server that has the connection, if anyone has.
    pub(super) const fn server(self, seat: Seat) -> u32 {
        self.0 % seat.of
    }
}

/// A TCP connection with a peer.
pub(super) struct Connection {
    /// The slot of its allocation.
    pub(super) allocation: u32,
    /// The peer as the client knows it.
    pub(super) peer: SocketAddr,
    pub(super) state: State,
    /// When it is given up unless it gets further.
    due: Option<Mono>,
}

/// How far a connection has got.
pub(super) enum State {
    /// A Connect waits for the peer.
    Connecting(Box<Asked>),
    /// It waits for its ConnectionBind.
    Unbound,
    /// The client's data connection belongs to it.
    Bound,
}

impl Connection {
    /// Whether it still has to get further.
    pub(super) const fn is_pending(&self) -> bool {
        !matches!(self.state, State::Bound)
    }
}

/// The connections of a server with peers.
#[derive(Default)]
pub(super) struct Connections {
    open: HashMap<ConnectionId, Connection>,
    /// Those with a time limit, the soonest first.
    due: BTreeSet<(Mono, ConnectionId)>,
}

impl Connections {
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.open.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn insert(
        &mut self,
        id: ConnectionId,
        allocation: u32,
        peer: SocketAddr,
        state: State,
        due: Mono,
    ) {
        self.open.insert(id, Connection { allocation, peer, state, due: Some(due) });
        self.due.insert((due, id));
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        if let Some(due) = connection.due {
            self.due.remove(&(due, id));
        }
        Some(connection)
    }

    /// The connection has got further, and has a new time limit or none.
    pub(super) fn advance(&mut self, id: ConnectionId, state: State, due: Option<Mono>) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.state = state;
            if let Some(before) = std::mem::replace(&mut connection.due, due) {
                self.due.remove(&(before, id));
            }
            self.due.extend(due.map(|due| (due, id)));
        }
    }

    /// Takes the time limit off one connection that has reached it.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<ConnectionId> {
        let (due, id) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, id));
        if let Some(connection) = self.open.get_mut(&id) {
            connection.due = None;
        }
        Some(id)
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.due.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_tells_its_server(random: u32, of in 1_u32..=1024, number in 0_u32..1024) {
            let seat = Seat { number: number % of, of };
            prop_assert_eq!(ConnectionId::random(random, seat).server(seat), seat.number);
        }
    }
}
