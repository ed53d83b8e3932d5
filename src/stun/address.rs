use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::message::MAGIC_COOKIE;
use super::{Error, TransactionId};

/// An address family as STUN numbers them (RFC 8489 §14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// 0x01
    V4,
    /// 0x02
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(ip: &IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    /// The family of a number on the wire.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            _ => None,
        }
    }
}

/// Decodes the value of MAPPED-ADDRESS (RFC 8489 §14.1).
pub fn decode_address(value: &[u8]) -> Result<SocketAddr, Error> {
    let (family, port) = match *value {
        [_, family, high, low, ..] => (family, u16::from_be_bytes([high, low])),
        _ => return Err(Error::Value),
    };
    let ip = match (Family::from_code(family), &value[4..]) {
        (Some(Family::V4), rest) => {
            let octets: [u8; 4] = rest.try_into().map_err(|_| Error::Value)?;
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        (Some(Family::V6), rest) => {
            let octets: [u8; 16] = rest.try_into().map_err(|_| Error::Value)?;
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        (None, _) => return Err(Error::Value),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Decodes the value of an XOR-...-ADDRESS attribute (RFC 8489 §14.2).
pub fn decode_xor_address(value: &[u8], id: &TransactionId) -> Result<SocketAddr, Error> {
    decode_address(value).map(|address| xor(address, id))
}

/// The XOR of RFC 8489 §14.2, which is its own inverse.
pub(super) fn xor(address: SocketAddr, id: &TransactionId) -> SocketAddr {
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match address.ip() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() ^ MAGIC_COOKIE)),
        IpAddr::V6(ip) => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(id.bytes());
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() ^ u128::from_be_bytes(mask)))
        }
    };
    SocketAddr::new(ip, port)
}

/// Encodes an address value into `out` and returns its length: 8 or 20 bytes.
pub(super) fn encode(address: SocketAddr, out: &mut [u8; 20]) -> usize {
    out[0] = 0;
    out[1] = Family::of(&address.ip()).code();
    out[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            out[4..8].copy_from_slice(&ip.octets());
            8
        }
        IpAddr::V6(ip) => {
            out[4..20].copy_from_slice(&ip.octets());
            20
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_family_or_length_is_refused() {
        assert_eq!(decode_address(&[0, 1, 0, 1, 127, 0, 0]), Err(Error::Value));
        assert_eq!(decode_address(&[0, 2, 0, 1, 127, 0, 0, 1]), Err(Error::Value));
        assert_eq!(decode_address(&[0, 3, 0, 1, 127, 0, 0, 1]), Err(Error::Value));
        assert_eq!(decode_address(&[0, 1]), Err(Error::Value));
    }

    #[test]
    fn xor_is_its_own_inverse() {
        let id = TransactionId::new(*b"abcdefghijkl");
        for text in ["192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(xor(xor(address, &id), &id), address);
            assert_ne!(xor(address, &id), address);
        }
    }
}
