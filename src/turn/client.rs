use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use crate::stun::Family;

/// The transport between client and server (RFC 8656 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP
    Udp,
    /// TCP
    Tcp,
    /// TLS over TCP (RFC 7443, RFC 8656 §3.1).
    Tls,
    /// DTLS over UDP (RFC 7350): datagrams, from an address that is proved.
    Dtls,
}

impl Transport {
    /// All of them in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];

    /// Whether what is sent arrives, in order.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Whether the client's address is proved before its first message: nobody can forge it.
    pub const fn proves_address(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// For the log and the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }
}

/// The 5-tuple: what identifies an allocation towards its client (RFC 8656 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiveTuple {
    /// The transport.
    pub transport: Transport,
    /// The client's address as the server sees it.
    pub client: SocketAddr,
    /// The server's address that the client sends to.
    pub server: SocketAddr,
}

impl Hash for FiveTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Packed, because this is hashed for each packet.
        let transport = (self.transport as u64) << 48;
        match (self.client, self.server) {
            (SocketAddr::V4(client), SocketAddr::V4(server)) => {
                let client = u64::from(client.ip().to_bits()) << 16 | u64::from(client.port());
                let server = u64::from(server.ip().to_bits()) << 16 | u64::from(server.port());
                state.write_u64(client);
                state.write_u64(server | transport);
            }
            (client, server) => {
                state.write_u128(bits(client.ip()));
                state.write_u128(bits(server.ip()));
                let ports = u64::from(client.port()) << 16 | u64::from(server.port());
                state.write_u64(ports | transport);
            }
        }
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl fmt::Display for FiveTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} to {}", self.transport.label(), self.client, self.server)
    }
}

/// Which of the servers that share a [`super::Ledger`] one is. What a server hands out and another
/// may get back tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its own number: less than `of`.
    pub number: u32,
    /// How many there are: at least 1.
    pub of: u32,
}

impl Default for Seat {
    /// The only server.
    fn default() -> Self {
        Self { number: 0, of: 1 }
    }
}

/// A client with the leg on which the worker reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The 5-tuple.
    pub tuple: FiveTuple,
    /// The worker's own number for the socket or connection; the core only gives it back.
    pub leg: u32,
}

/// Names a relayed transport address for as long as its socket is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RelayId {
    pub(super) slot: u32,
    pub(super) family: Family,
}

impl RelayId {
    /// A small number, unique among the open relays of a server.
    pub const fn index(self) -> usize {
        self.slot as usize * 2 + self.family as usize
    }

    /// The relay of a number.
    pub const fn from_index(index: usize) -> Self {
        let family = if index.is_multiple_of(2) { Family::V4 } else { Family::V6 };
        Self { slot: (index / 2) as u32, family }
    }
}
