use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use super::{Fault, Options, srv};
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
    /// How it was found, if not by an address of the host's name.
    pub(in crate::tools) record: Option<Record>,
    /// The port that the URI names for plain TURN, where only the usual one for TLS was asked: some servers, this one
    /// among them, have both on one.
    pub(in crate::tools) beside: Option<u16>,
}

/// A way that an SRV record tells of.
#[derive(Clone, Debug)]
pub(in crate::tools) struct Record {
    /// The service whose record it is, and what stands in it.
    pub(super) words: String,
    /// The host's name has no address of its own.
    pub(super) alone: bool,
}

impl Target {
    /// The ways that follow from a URI: each transport to each address of the name, and to each place that its SRV
    /// records tell of where the URI has no port (RFC 5928 §3). What leads nowhere comes as a fault.
    pub(in crate::tools) fn all(uri: &Uri, options: &Options) -> Vec<Result<Self, Fault>> {
        let ways = if options.all { Way::ALL.to_vec() } else { vec![Way::of(uri)] };
        let direct = addresses(&uri.host, uri.port, options);
        let target = |way: Way, address, record: Option<Record>| Self {
            host: uri.host.clone(),
            way,
            address,
            relays: uri.scheme == Scheme::Turn,
            beside: (way.is_secure() && !uri.secure && record.is_none()).then_some(uri.port),
            record,
        };
        let mut all = Vec::new();
        for way in &ways {
            let known = direct.iter().flatten();
            let known = known.map(|address| SocketAddr::new(address.ip(), port(uri, *way)));
            let known: Vec<SocketAddr> = known.collect();
            all.extend(known.iter().map(|address| Ok(target(*way, *address, None))));
            for found in by_records(uri, *way, options) {
                match found {
                    Ok((address, _)) if known.contains(&address) => {}
                    Ok((address, words)) => {
                        let record = Record { words, alone: direct.is_err() };
                        all.push(Ok(target(*way, address, Some(record))));
                    }
                    Err(fault) => all.push(Err(fault)),
                }
            }
        }
        match direct {
            Err(fault) if all.is_empty() => vec![Err(fault)],
            _ => all,
        }
    }

    /// The same way to another port.
    pub(super) fn at(&self, port: u16) -> Self {
        let address = SocketAddr::new(self.address.ip(), port);
        Self { address, beside: None, ..self.clone() }
    }

    /// As a client would write it.
    pub(in crate::tools) fn uri(&self) -> Uri {
        Uri {
            scheme: if self.relays { Scheme::Turn } else { Scheme::Stun },
            secure: self.way.is_secure(),
            host: self.host.clone(),
            port: self.address.port(),
            explicit_port: true,
            transport: if self.way.is_stream() { Transport::Tcp } else { Transport::Udp },
        }
    }
}

/// The addresses of a name: of several of one family the first, which is what clients take.
///
/// # Errors
/// The name has no address, or none of the family that is wanted.
fn addresses(host: &str, port: u16, options: &Options) -> Result<Vec<SocketAddr>, Fault> {
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| Fault::NoName(error.to_string()))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        let wanted = if address.is_ipv4() { !options.ipv6 } else { !options.ipv4 };
        let first = !addresses.iter().any(|known| known.is_ipv4() == address.is_ipv4());
        if wanted && first {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Fault::NoFamily(if options.ipv6 { "IPv6" } else { "IPv4" }));
    }
    Ok(addresses)
}

/// The places that SRV records tell of, each with the words of its record.
fn by_records(uri: &Uri, way: Way, options: &Options) -> Vec<Result<(SocketAddr, String), Fault>> {
    // RFC 5928 §3: an address or a port says it all.
    if uri.explicit_port || uri.host.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let scheme = if uri.scheme == Scheme::Turn { "turn" } else { "stun" };
    let secure = if way.is_secure() { "s" } else { "" };
    let transport = if way.is_stream() { "tcp" } else { "udp" };
    let service = format!("_{scheme}{secure}._{transport}.{}", uri.host);
    let mut found = Vec::new();
    for place in srv::places(&service) {
        if place.target.is_empty() {
            found.push(Err(Fault::SrvNone(service.clone())));
            continue;
        }
        let words =
            format!("SRV {service}: {}:{}, priority {}", place.target, place.port, place.priority);
        match addresses(&place.target, place.port, options) {
            Ok(all) => found.extend(all.into_iter().map(|address| Ok((address, words.clone())))),
            Err(fault) => found.push(Err(Fault::SrvTarget(words, fault.to_string()))),
        }
    }
    found
}

/// The URI's own port for what is as secure as it, else the usual one.
fn port(uri: &Uri, way: Way) -> u16 {
    if way.is_secure() == uri.secure { uri.port } else { PORTS[usize::from(way.is_secure())] }
}
