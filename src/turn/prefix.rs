use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address prefix in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    network: IpAddr,
    length: u8,
}

/// Text that is not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// No address before the slash.
    #[error("not an address: expected something like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1")]
    Address,
    /// No number behind the slash, or one beyond the family's bits.
    #[error("the length behind the slash must be 0 to 32 for IPv4 and 0 to 128 for IPv6")]
    Length,
    /// Bits are set behind the length.
    #[error("bits are set behind the prefix: did you mean {0}?")]
    HostBits(Prefix),
}

impl Prefix {
    /// A prefix of the first `length` bits of `network`.
    ///
    /// # Errors
    /// When the length is too long for the family, or bits are set behind it.
    pub fn new(network: IpAddr, length: u8) -> Result<Self, InvalidPrefix> {
        if length > bits_of(&network) {
            return Err(InvalidPrefix::Length);
        }
        let clean = Self { network: mask(network, length), length };
        if clean.network == network { Ok(clean) } else { Err(InvalidPrefix::HostBits(clean)) }
    }

    /// The prefix that holds just this address.
    pub const fn host(ip: IpAddr) -> Self {
        let length = match ip {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { network: ip, length }
    }

    /// Whether the address lies in it. An IPv4 address never lies in an IPv6 prefix.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.network.is_ipv4() == ip.is_ipv4() && mask(ip, self.length) == self.network
    }

    /// The first address in it.
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// The number of leading bits that count.
    pub const fn length(&self) -> u8 {
        self.length
    }
}

const fn bits_of(ip: &IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn mask(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & keep).into())
        }
        IpAddr::V6(ip) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & keep).into())
        }
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let ip: IpAddr = address.trim().parse().map_err(|_| InvalidPrefix::Address)?;
        match length {
            None => Ok(Self::host(ip)),
            Some(length) => {
                Self::new(ip, length.trim().parse().map_err(|_| InvalidPrefix::Length)?)
            }
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leading_bits_count() {
        let prefix: Prefix = "10.128.0.0/9".parse().unwrap();
        assert!(prefix.contains("10.255.255.255".parse().unwrap()));
        assert!(!prefix.contains("10.127.255.255".parse().unwrap()));
        assert!(!prefix.contains("::ffff:10.128.0.1".parse().unwrap()));
        let all: Prefix = "::/0".parse().unwrap();
        assert!(all.contains("ff00::1".parse().unwrap()));
        assert_eq!("192.0.2.7".parse::<Prefix>().unwrap().length(), 32);
    }

    #[test]
    fn mistakes_are_named() {
        let suggestion = Prefix::new("10.0.0.0".parse().unwrap(), 8).unwrap();
        assert_eq!("10.0.0.1/8".parse::<Prefix>(), Err(InvalidPrefix::HostBits(suggestion)));
        assert_eq!("10.0.0.0/33".parse::<Prefix>(), Err(InvalidPrefix::Length));
        assert_eq!("10.0.0.0/x".parse::<Prefix>(), Err(InvalidPrefix::Length));
        assert_eq!("10.0.0/8".parse::<Prefix>(), Err(InvalidPrefix::Address));
    }
}
