//! TCP connections with peers (RFC 6062), as the worker would make and lose them.

use std::net::SocketAddr;

use turnwire::turn::{ConnectFailure, ConnectionId, Direction, RelayId};

use crate::harness::{Deed, RELAYS, TestServer};
use crate::{DENIED, PEERS, PORTS, World, peer};

impl World {
    /// Does what the server wants for connections with peers.
    pub(crate) fn deeds(&mut self) {
        for deed in self.server.deeds() {
            match deed {
                Deed::Connect(connection, _, to) => {
                    let denied =
                        (DENIED..PEERS.len()).any(|place| peer(place as u8).ip() == to.ip());
                    assert!(!denied, "connects to {to}");
                    let own = RELAYS.iter().any(|relay| relay.local == to.ip());
                    assert!(!own || PORTS.contains(to.port()), "to the server itself");
                    assert!(self.connecting.insert(connection));
                    self.named.push(connection);
                }
                Deed::GiveUp(connection) => {
                    assert!(self.connecting.remove(&connection), "given up twice");
                    let failure = Err(ConnectFailure::TimedOut);
                    self.server.connected(connection, failure);
                }
                Deed::Close(connection) => {
                    let open = self.connecting.remove(&connection)
                        || self.unbound.remove(&connection)
                        || self.bound.remove(&connection);
                    assert!(open, "closed twice");
                }
            }
        }
        let open = self.connecting.len() + self.unbound.len() + self.bound.len();
        assert_eq!(self.server.server.connections(), open);
        self.named.drain(..self.named.len().saturating_sub(16));
    }

    pub(crate) fn connection(&self, which: u8) -> Option<ConnectionId> {
        self.named.get(usize::from(which) % self.named.len().max(1)).copied()
    }

    pub(crate) fn connected(&mut self, which: u8, outcome: u8) {
        let Some(connection) = self.connection(which) else { return };
        let outcome = match outcome % 4 {
            0 => Err(ConnectFailure::Failed),
            1 => Err(ConnectFailure::NoSocket),
            _ => Ok(()),
        };
        let waited_for = self.connecting.remove(&connection);
        let told = self.server.connected(connection, outcome);
        // A mobile client that is away is told nothing.
        assert!(waited_for || told.is_none());
        if let Some((client, response)) = told {
            assert!(self.known(&client));
            assert_eq!(response.connection().is_some(), outcome.is_ok());
            if outcome.is_ok() {
                self.unbound.insert(connection);
            }
        }
    }

    pub(crate) fn incoming(&mut self, relay: u8, sender: SocketAddr) {
        let relay = RelayId::from_index(usize::from(relay % 8));
        let listens = self.server.sockets.listening.contains(&relay.index());
        let Ok((connection, client, indication)) = self.server.incoming(relay, sender) else {
            return;
        };
        assert!(listens, "at a relay that takes none");
        assert!(self.known(&client));
        assert_eq!(indication.connection(), Some(connection.get()));
        assert!(self.unbound.insert(connection));
        self.named.push(connection);
    }

    pub(crate) fn data(&mut self, which: u8, to_peer: bool, bytes: u16, over: bool) {
        let Some(connection) = self.connection(which) else { return };
        let TestServer { server, stats, now, .. } = &mut self.server;
        let direction = if to_peer { Direction::ToPeer } else { Direction::ToClient };
        let until = server.relayed(now.mono, connection, direction, bytes.into(), stats);
        assert!(until.is_none_or(|until| until > now.mono));
        if over && (self.unbound.remove(&connection) || self.bound.remove(&connection)) {
            server.connection_closed(connection, stats);
        }
    }
}
