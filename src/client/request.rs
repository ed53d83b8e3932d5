use std::net::SocketAddr;

use crate::stun::{ChannelNumber, Family, Method, Writer, attribute};

/// The protocol number of UDP in REQUESTED-TRANSPORT (RFC 8656 §18.8).
const UDP: u32 = 17 << 24;

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// "What is my address?" (RFC 8489 §3); never with credentials.
    Binding,
    /// A relayed transport address (RFC 8656 §7).
    Allocate {
        /// Its family; IPv4 where it is `None` (RFC 8656 §7.1).
        family: Option<Family>,
        /// For how many seconds; the server's default where it is `None`.
        lifetime: Option<u32>,
    },
    /// A longer life of the allocation, or its end with 0 seconds (RFC 8656 §8).
    Refresh {
        /// For how many seconds from now.
        lifetime: u32,
    },
    /// That packets from this peer's address may come (RFC 8656 §10).
    CreatePermission {
        /// The peer; its port means nothing.
        peer: SocketAddr,
    },
    /// A channel to the peer (RFC 8656 §12), which is a permission as well.
    ChannelBind {
        /// The channel's number, of the client's choice.
        number: ChannelNumber,
        /// The peer.
        peer: SocketAddr,
    },
}

impl Request {
    /// The method on the wire.
    pub const fn method(&self) -> Method {
        match self {
            Self::Binding => Method::BINDING,
            Self::Allocate { .. } => Method::ALLOCATE,
            Self::Refresh { .. } => Method::REFRESH,
            Self::CreatePermission { .. } => Method::CREATE_PERMISSION,
            Self::ChannelBind { .. } => Method::CHANNEL_BIND,
        }
    }

    /// Writes the attributes of the request itself.
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match *self {
            Self::Binding => {}
            Self::Allocate { family, lifetime } => {
                writer.number(attribute::REQUESTED_TRANSPORT, UDP);
                if let Some(family) = family {
                    let value = u32::from(family.code()) << 24;
                    writer.number(attribute::REQUESTED_ADDRESS_FAMILY, value);
                }
                if let Some(lifetime) = lifetime {
                    writer.number(attribute::LIFETIME, lifetime);
                }
            }
            Self::Refresh { lifetime } => writer.number(attribute::LIFETIME, lifetime),
            Self::CreatePermission { peer } => {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer)
            }
            Self::ChannelBind { number, peer } => {
                writer.number(attribute::CHANNEL_NUMBER, u32::from(number.get()) << 16);
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            }
        }
    }
}
