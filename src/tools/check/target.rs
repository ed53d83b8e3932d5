use std::net::{SocketAddr, ToSocketAddrs as _};

use super::{Fault, Options};
use crate::client::{Scheme, Transport, Uri};

/// The ports of RFC 7065 §3.2.
const PORTS: [u16; 2] = [3478, 5349];

/// What goes around the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tools) enum Way {
    Udp,
    Tcp,
    Tls,
    Dtls,
}

impl Way {
    const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];

    const fn of(uri: &Uri) -> Self {
        match (uri.transport, uri.secure) {
            (Transport::Udp, false) => Self::Udp,
            (Transport::Tcp, false) => Self::Tcp,
            (Transport::Tcp, true) => Self::Tls,
            (Transport::Udp, true) => Self::Dtls,
        }
    }

    pub(in crate::tools) const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }

    pub(in crate::tools) const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    pub(in crate::tools) const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Dtls)
    }
}

/// One way to a server.
#[derive(Clone, Debug)]
pub(in crate::tools) struct Target {
    pub(in crate::tools) host: String,
    pub(in crate::tools) way: Way,
    pub(in crate::tools) address: SocketAddr,
    /// Whether it is to relay, and not only to answer Binding requests.
    pub(in crate::tools) relays: bool,
}

impl Target {
    /// The ways that follow from a URI: each transport to each address of the name.
    ///
    /// # Errors
    /// The name has no address, or none of the family that is wanted.
    pub(in crate::tools) fn all(uri: &Uri, options: &Options) -> Result<Vec<Self>, Fault> {
        let found = (uri.host.as_str(), uri.port).to_socket_addrs();
        let found = found.map_err(|error| Fault::NoName(error.to_string()))?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            let wanted = if address.is_ipv4() { !options.ipv6 } else { !options.ipv4 };
            // Of several addresses of one family the first is what clients take.
            let first = !addresses.iter().any(|known| known.is_ipv4() == address.is_ipv4());
            if wanted && first {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(Fault::NoFamily(if options.ipv6 { "IPv6" } else { "IPv4" }));
        }
        let ways = if options.all { Way::ALL.to_vec() } else { vec![Way::of(uri)] };
        let all = ways.into_iter().flat_map(|way| {
            addresses.iter().map(move |address| Self {
                host: uri.host.clone(),
                way,
                address: SocketAddr::new(address.ip(), port(uri, way)),
                relays: uri.scheme == Scheme::Turn,
            })
        });
        Ok(all.collect())
    }

    /// As a client would write it.
    pub(in crate::tools) fn uri(&self) -> Uri {
        Uri {
            scheme: if self.relays { Scheme::Turn } else { Scheme::Stun },
            secure: self.way.is_secure(),
            host: self.host.clone(),
            port: self.address.port(),
            transport: if self.way.is_stream() { Transport::Tcp } else { Transport::Udp },
        }
    }
}

/// The URI's own port for what is as secure as it, else the usual one.
fn port(uri: &Uri, way: Way) -> u16 {
    if way.is_secure() == uri.secure { uri.port } else { PORTS[usize::from(way.is_secure())] }
}
