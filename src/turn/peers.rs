use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{PortRange, Prefix, RelayAddress};

/// One rule about peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRule {
    /// The addresses it is about.
    pub prefix: Prefix,
    /// Whether they may be relayed to.
    pub allow: bool,
}

/// Why a peer is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedBy {
    /// A rule of the operator's.
    Rule(PeerRule),
    /// A built-in rule.
    Special(&'static Special),
    /// A port of this server that is not a relayed transport address.
    OwnPort,
}

impl fmt::Display for DeniedBy {
    /// The rule: one of the operator's as it is configured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => {
                write!(f, "{} {}", if rule.allow { "allow" } else { "deny" }, rule.prefix)
            }
            Self::Special(special) => {
                write!(f, "built-in {} ({})", special.prefix(), special.kind())
            }
            Self::OwnPort => f.write_str("built-in: the server's own ports"),
        }
    }
}

/// Whether an address may be relayed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// On all ports.
    Allow,
    /// A socket of this server has the address: only on the ports that [`PeerPolicy::admits_port`] admits.
    Guarded,
    /// Not at all.
    Deny(DeniedBy),
}

/// Decides which peers may be relayed to.
///
/// The most specific of the operator's rules that matches decides, deny wins a tie, and any of
/// them comes before the built-in ones, except that no rule opens an unspecified address, which
/// leads to this host, nor a port on which this server itself listens: one that listens on all
/// addresses or on a loopback one is taken to listen on all loopback addresses of its family. Without a rule, the server's own relayed transport addresses are allowed (two of
/// its clients must be able to talk to each other), addresses that are not globally reachable are
/// denied, and all others are allowed. An IPv6 address with an IPv4 address inside is allowed only
/// if both are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerPolicy {
    rules: Vec<PeerRule>,
    /// A realm's own.
    further: Vec<PeerRule>,
    /// The relay addresses with their ports, and behind them those of before.
    relays: Vec<(RelayAddress, PortRange)>,
    listeners: Vec<SocketAddr>,
}

impl PeerPolicy {
    /// `listeners` are this server's own sockets as a peer would address them.
    pub fn new(
        rules: Vec<PeerRule>,
        relays: Vec<RelayAddress>,
        ports: PortRange,
        listeners: Vec<SocketAddr>,
    ) -> Self {
        let relays = relays.into_iter().map(|relay| (relay, ports)).collect();
        Self { rules, further: Vec::new(), relays, listeners }
    }

    /// The same with relay addresses and ports of before, on which allocations live still.
    #[must_use]
    pub fn with_former(
        mut self,
        former: impl IntoIterator<Item = (RelayAddress, PortRange)>,
    ) -> Self {
        self.relays.extend(former);
        self
    }

    /// The same with a realm's own rules besides. Of these as well the most specific one decides, and they come
    /// before what is built in. What a rule of the operator's denies they cannot open, and what one of them allows
    /// they can close; nor can they open a port of this server itself.
    pub fn of_realm(&self, further: Vec<PeerRule>) -> Self {
        Self { further, ..self.clone() }
    }

    /// A realm's own rules as they are, and all others as they are for the whole `server`.
    pub(super) fn following(&self, server: &Self) -> Self {
        server.of_realm(self.further.clone())
    }

    /// Decides about an address.
    pub fn decide(&self, peer: IpAddr) -> Decision {
        if let Some(special) = unspecified(peer) {
            return Decision::Deny(DeniedBy::Special(special));
        }
        let outer = self.decide_one(peer);
        match (outer, embedded_ipv4(peer)) {
            // Its own address leads to no translator.
            (Decision::Deny(_) | Decision::Guarded, _) | (_, None) => outer,
            (_, Some((inner, length))) => match self.decide_one(inner.into()) {
                Decision::Allow => outer,
                // A rule of the operator's that reaches into the inner address has decided it, and so has
                // a realm's where the operator has none.
                _ if reaches(longest(&self.rules, peer), length)
                    && !self.is_listener(inner.into()) =>
                {
                    outer
                }
                _ if reaches(longest(&self.further, peer), length)
                    && longest(&self.rules, inner.into()).is_none_or(|rule| rule.allow)
                    && !self.is_own(inner.into()) =>
                {
                    outer
                }
                // A translator would bring it back to this server, on whatever port.
                Decision::Guarded => Decision::Deny(DeniedBy::OwnPort),
                denied => denied,
            },
        }
    }

    fn decide_one(&self, peer: IpAddr) -> Decision {
        let (rule, further) = (longest(&self.rules, peer), longest(&self.further, peer));
        if let Some(denied) = [rule, further].into_iter().flatten().find(|rule| !rule.allow) {
            return Decision::Deny(DeniedBy::Rule(denied));
        }
        if rule.is_some() {
            return if self.is_listener(peer) { Decision::Guarded } else { Decision::Allow };
        }
        if further.is_some() && !self.is_own(peer) {
            return Decision::Allow;
        }
        if self.is_relay(peer) || further.is_some() {
            return Decision::Guarded;
        }
        if let Some(special) = special(peer).filter(|special| special.denied.is_some()) {
            return Decision::Deny(DeniedBy::Special(special));
        }
        if self.is_listener(peer) { Decision::Guarded } else { Decision::Allow }
    }

    /// Whether a socket of this server has the address.
    fn is_own(&self, ip: IpAddr) -> bool {
        self.is_relay(ip) || self.is_listener(ip)
    }

    fn is_listener(&self, ip: IpAddr) -> bool {
        self.listeners.iter().any(|listener| listens_at(listener.ip(), ip))
    }

    fn is_relay(&self, ip: IpAddr) -> bool {
        self.relays.iter().any(|(relay, _)| relay.local == ip || relay.advertised == ip)
    }

    /// Whether a [guarded](Decision::Guarded) address may be relayed to on this port.
    pub fn admits_port(&self, peer: SocketAddr) -> bool {
        let of = |relay: &RelayAddress| relay.local == peer.ip() || relay.advertised == peer.ip();
        let relayed = |(relay, ports): &(_, PortRange)| of(relay) && ports.contains(peer.port());
        let opened = || !self.is_relay(peer.ip()) || longest(&self.rules, peer.ip()).is_some();
        let listens = |it: &SocketAddr| it.port() == peer.port() && listens_at(it.ip(), peer.ip());
        !self.listeners.iter().any(listens) && (self.relays.iter().any(relayed) || opened())
    }

    /// Where a packet for the peer has to go: one of this server's relayed transport addresses
    /// is reached at its local address, because many a 1:1 NAT sends nothing back inside.
    pub fn route(&self, peer: SocketAddr) -> SocketAddr {
        let mut relays = self.relays.iter();
        let relay = relays
            .find(|(relay, ports)| relay.advertised == peer.ip() && ports.contains(peer.port()));
        relay.map_or(peer, |(relay, _)| SocketAddr::new(relay.local, peer.port()))
    }

    /// The inverse of [`Self::route`]: how the client knows the sender of a packet.
    pub fn known_as(&self, sender: SocketAddr) -> SocketAddr {
        self.names_of(sender).next().unwrap_or(sender)
    }

    /// The same for a client that `knows` an address: an allocation of before is known by the address of that time.
    pub(super) fn known_to(
        &self,
        sender: SocketAddr,
        knows: impl Fn(IpAddr) -> bool,
    ) -> SocketAddr {
        let known = self.names_of(sender).find(|name| knows(name.ip()));
        known.unwrap_or_else(|| self.known_as(sender))
    }

    fn names_of(&self, sender: SocketAddr) -> impl Iterator<Item = SocketAddr> {
        let own = self.relays.iter().filter(move |(relay, ports)| {
            relay.local == sender.ip() && ports.contains(sender.port())
        });
        own.map(move |(relay, _)| SocketAddr::new(relay.advertised, sender.port()))
    }
}

/// Whether what is bound to one address may be reached at the other. What is bound to all is reached at every loopback
/// address, of which a host lists one at most; for one of loopback this is closed as well.
fn listens_at(bound: IpAddr, peer: IpAddr) -> bool {
    let here = || bound.is_unspecified() || bound.is_loopback();
    bound == peer || bound.is_ipv4() == peer.is_ipv4() && peer.is_loopback() && here()
}

/// What is built in about an unspecified address, also one inside of an IPv6 address. The kernel sends to this host
/// what is sent there.
pub(super) fn unspecified(peer: IpAddr) -> Option<&'static Special> {
    let innermost = embedded_ipv4(peer).map_or(peer, |(inner, _)| inner.into());
    if innermost.is_unspecified() { special(innermost) } else { None }
}

fn special(ip: IpAddr) -> Option<&'static Special> {
    let special = SPECIAL.iter().filter(|special| special.prefix().contains(ip));
    special.max_by_key(|special| special.length)
}

/// The longest of the prefixes that hold the address; deny wins a tie.
fn longest(rules: &[PeerRule], peer: IpAddr) -> Option<PeerRule> {
    let matching = rules.iter().filter(|rule| rule.prefix.contains(peer));
    matching.max_by_key(|rule| (rule.prefix.length(), !rule.allow)).copied()
}

/// Whether there is a rule about more than so many bits.
fn reaches(rule: Option<PeerRule>, length: u8) -> bool {
    rule.is_some_and(|rule| rule.prefix.length() > length)
}

/// The IPv4 address inside an IPv6 one (mapped, compatible, translated, NAT64 or 6to4) and the
/// number of bits in front of it.
fn embedded_ipv4(ip: IpAddr) -> Option<(Ipv4Addr, u8)> {
    let IpAddr::V6(ip) = ip else { return None };
    let tail = Ipv4Addr::from_bits(ip.to_bits() as u32);
    match ip.segments() {
        // RFC 4291 §2.5.5.1: these two are not compatible addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xFFFF, ..] | [0, 0, 0, 0, 0xFFFF, 0, ..] => Some((tail, 96)),
        // RFC 6052 §2.1; RFC 8215's local-use prefix is denied as a whole.
        [0x64, 0xFF9B, 0, 0, 0, 0, ..] => Some((tail, 96)),
        // RFC 3056 §2
        [0x2002, high, low, ..] => {
            Some((Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)), 16))
        }
        _ => None,
    }
}

/// A range of addresses with a meaning of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Special {
    network: IpAddr,
    length: u8,
    denied: Option<&'static str>,
}

impl Special {
    /// What such addresses are, if they are not relayed to.
    pub fn kind(&self) -> &'static str {
        self.denied.unwrap_or("global address")
    }

    /// The range.
    pub fn prefix(&self) -> Prefix {
        // unwrap: a test goes through the whole table.
        Prefix::new(self.network, self.length).expect("a constant")
    }
}

const fn v4(a: u8, b: u8, c: u8, length: u8, what: &'static str) -> Special {
    let network = IpAddr::V4(Ipv4Addr::new(a, b, c, 0));
    Special { network, length, denied: Some(what) }
}

const fn v6(s: [u16; 8], length: u8, denied: Option<&'static str>) -> Special {
    let [a, b, c, d, e, f, g, h] = s;
    Special { network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), length, denied }
}

const PRIVATE: &str = "private address of RFC 1918";
const DOCUMENTATION: &str = "documentation address";
const MULTICAST: &str = "multicast address";
const LINK_LOCAL: &str = "link-local address";
const LOOPBACK: &str = "loopback address";
const UNSPECIFIED: &str = "unspecified address";
const BENCHMARK: &str = "benchmarking address";
const DISGUISED: &str = "IPv4 address in IPv6 form";
const SPECIAL_PURPOSE: &str = "special-purpose address";
const NOT_GLOBAL: &str = "not a global unicast address";

/// What IANA's special-purpose registries call not globally reachable, and the address space
/// that is not unicast at all.
const SPECIAL: &[Special] = &[
    v4(0, 0, 0, 8, UNSPECIFIED),
    v4(10, 0, 0, 8, PRIVATE),
    v4(100, 64, 0, 10, "carrier-grade NAT address of RFC 6598"),
    v4(127, 0, 0, 8, LOOPBACK),
    v4(169, 254, 0, 16, LINK_LOCAL),
    v4(172, 16, 0, 12, PRIVATE),
    v4(192, 0, 0, 24, SPECIAL_PURPOSE),
    v4(192, 0, 2, 24, DOCUMENTATION),
    v4(192, 88, 99, 24, SPECIAL_PURPOSE),
    v4(192, 168, 0, 16, PRIVATE),
    v4(198, 18, 0, 15, BENCHMARK),
    v4(198, 51, 100, 24, DOCUMENTATION),
    v4(203, 0, 113, 24, DOCUMENTATION),
    v4(224, 0, 0, 4, MULTICAST),
    v4(240, 0, 0, 4, "reserved or broadcast address"),
    v6([0; 8], 0, Some(NOT_GLOBAL)),
    v6([0; 8], 128, Some(UNSPECIFIED)),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Some(LOOPBACK)),
    v6([0; 8], 96, Some(DISGUISED)),
    v6([0, 0, 0, 0, 0, 0xFFFF, 0, 0], 96, Some(DISGUISED)),
    v6([0, 0, 0, 0, 0xFFFF, 0, 0, 0], 96, Some(DISGUISED)),
    v6([0x64, 0xFF9B, 0, 0, 0, 0, 0, 0], 96, None),
    v6([0x64, 0xFF9B, 1, 0, 0, 0, 0, 0], 48, Some(SPECIAL_PURPOSE)),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Some("discard-only address of RFC 6666")),
    v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, None),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Some(SPECIAL_PURPOSE)),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Some(BENCHMARK)),
    v6([0x2001, 0xDB8, 0, 0, 0, 0, 0, 0], 32, Some(DOCUMENTATION)),
    v6([0x3FFF, 0, 0, 0, 0, 0, 0, 0], 20, Some(DOCUMENTATION)),
    v6([0x5F00, 0, 0, 0, 0, 0, 0, 0], 16, Some(SPECIAL_PURPOSE)),
    v6([0xFC00, 0, 0, 0, 0, 0, 0, 0], 7, Some("unique-local address of RFC 4193")),
    v6([0xFE80, 0, 0, 0, 0, 0, 0, 0], 10, Some(LINK_LOCAL)),
    v6([0xFEC0, 0, 0, 0, 0, 0, 0, 0], 10, Some("site-local address of RFC 3879")),
    v6([0xFF00, 0, 0, 0, 0, 0, 0, 0], 8, Some(MULTICAST)),
];

#[cfg(test)]
mod tests;
