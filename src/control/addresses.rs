//! Which addresses allocations are made on, under which address they are known outside, and why.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::config::External;
use crate::net::{self, InterfaceAddress};
use crate::stun::Family;
use crate::turn::{Decision, PeerPolicy, RelayAddress};

/// What the host says about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The addresses of all interfaces.
    pub(super) interfaces: Vec<InterfaceAddress>,
    /// Whether the kernel knows IPv6 at all.
    pub(super) ipv6: bool,
    /// The source that the kernel takes towards the Internet, for IPv4.
    pub(super) route4: Option<IpAddr>,
    /// The same for IPv6.
    pub(super) route6: Option<IpAddr>,
}

impl Facts {
    /// Asks the kernel. A list that cannot be had is an empty one: the routes may still be known.
    pub(super) fn gather() -> Self {
        Self {
            interfaces: net::interface_addresses().unwrap_or_default(),
            ipv6: UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok(),
            route4: net::route_source(net::Family::V4),
            route6: net::route_source(net::Family::V6),
        }
    }

    fn route(&self, family: Family) -> Option<IpAddr> {
        let source = match family {
            Family::V4 => self.route4,
            Family::V6 => self.route6,
        };
        source.filter(|ip| !ip.is_loopback() && !is_link_local(*ip))
    }

    /// The first address with which another host can be reached.
    fn first(&self, family: Family) -> Option<&InterfaceAddress> {
        let usable = |entry: &&InterfaceAddress| {
            entry.up && !entry.loopback && !entry.addr.is_loopback() && !is_link_local(entry.addr)
        };
        self.interfaces.iter().filter(usable).find(|entry| Family::of(&entry.addr) == family)
    }
}

/// A relay address with the reasons for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) relay: RelayAddress,
    pub(super) local: LocalReason,
    pub(super) advertised: AdvertisedReason,
}

/// Why allocations are made on an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LocalReason {
    Configured,
    Listener,
    Route,
    Interface(String),
    LoopbackOnly,
}

/// Why an address is advertised for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AdvertisedReason {
    /// `--external-ip`.
    External,
    /// It is globally reachable as it is.
    Public,
    /// A STUN server sees it so.
    Reflexive,
    /// Nothing better is known, with what the STUN server's answer was if one was asked.
    Unknown(Option<String>),
}

/// Takes IPv6 wildcards from the listeners where the kernel has no IPv6: they are there by
/// default, and IPv4 alone is worth starting for.
pub(super) fn drop_unsupported(listeners: &mut Vec<SocketAddr>, facts: &Facts) {
    let supported =
        |listener: &SocketAddr| facts.ipv6 || listener.is_ipv4() || !listener.ip().is_unspecified();
    if listeners.iter().all(&supported) || !listeners.iter().any(&supported) {
        return;
    }
    tracing::warn!(event = "ipv6_missing", "this host has no IPv6: listening on IPv4 only");
    listeners.retain(supported);
}

/// Decides all of it. `reflexive` asks a STUN server how it sees an address of this host; it
/// gives nothing when there is none to ask.
pub(super) fn choose(
    listeners: &[SocketAddr],
    configured: &[IpAddr],
    external: &[External],
    facts: &Facts,
    reflexive: impl Fn(IpAddr) -> Option<Result<IpAddr, String>>,
) -> Vec<Chosen> {
    let locals = locals(listeners, configured, facts);
    let complete = |(local, why)| {
        let (address, advertised) = advertise(local, external, &reflexive);
        let relay = RelayAddress { local, advertised: address };
        Chosen { relay, local: why, advertised }
    };
    locals.into_iter().map(complete).collect()
}

/// The addresses of this host that sockets are bound to.
fn locals(
    listeners: &[SocketAddr],
    configured: &[IpAddr],
    facts: &Facts,
) -> Vec<(IpAddr, LocalReason)> {
    let mut found: Vec<(IpAddr, LocalReason)> = Vec::new();
    let mut add = |ip, why| {
        if found.iter().all(|(known, _)| *known != ip) {
            found.push((ip, why));
        }
    };
    if !configured.is_empty() {
        configured.iter().for_each(|ip| add(*ip, LocalReason::Configured));
        return found;
    }
    for family in [Family::V4, Family::V6] {
        let of_family =
            || listeners.iter().map(SocketAddr::ip).filter(|ip| Family::of(ip) == family);
        if of_family().any(|ip| ip.is_unspecified()) {
            if let Some((ip, why)) = behind_wildcard(family, facts) {
                add(ip, why);
            }
            continue;
        }
        // A loopback listener beside others is for this host; it is no place for everybody's calls.
        let others = of_family().any(|ip| !ip.is_loopback());
        of_family()
            .filter(|ip| !(others && ip.is_loopback()))
            .for_each(|ip| add(ip, LocalReason::Listener));
    }
    found
}

fn behind_wildcard(family: Family, facts: &Facts) -> Option<(IpAddr, LocalReason)> {
    if let Some(ip) = facts.route(family) {
        return Some((ip, LocalReason::Route));
    }
    if let Some(entry) = facts.first(family) {
        return Some((entry.addr, LocalReason::Interface(entry.name.clone())));
    }
    // A host without any IPv6 is no reason to offer IPv6 relays that reach nobody.
    (family == Family::V4).then_some((Ipv4Addr::LOCALHOST.into(), LocalReason::LoopbackOnly))
}

/// The address under which one of this host is known outside, and why that one.
pub(super) fn advertise(
    local: IpAddr,
    external: &[External],
    reflexive: impl Fn(IpAddr) -> Option<Result<IpAddr, String>>,
) -> (IpAddr, AdvertisedReason) {
    let family = Family::of(&local);
    let paired = external.iter().find(|entry| entry.private == Some(local));
    let general = || {
        let mut general = external.iter().filter(|entry| entry.private.is_none());
        general.find(|entry| Family::of(&entry.public) == family)
    };
    if let Some(entry) = paired.or_else(general) {
        return (entry.public, AdvertisedReason::External);
    }
    if is_public(local) {
        return (local, AdvertisedReason::Public);
    }
    match reflexive(local) {
        Some(Ok(seen)) => (seen, AdvertisedReason::Reflexive),
        Some(Err(why)) => (local, AdvertisedReason::Unknown(Some(why))),
        None => (local, AdvertisedReason::Unknown(None)),
    }
}

/// This server's own sockets as a peer would address them: no relay may send there.
pub(super) fn own_sockets(
    bound: &[SocketAddr],
    relays: &[RelayAddress],
    facts: &Facts,
) -> Vec<SocketAddr> {
    let mut own = Vec::new();
    for socket in bound {
        let meant = |ip: &IpAddr| match socket.ip() {
            any if any.is_unspecified() => Family::of(ip) == Family::of(&any),
            concrete => *ip == concrete,
        };
        let interfaces = facts.interfaces.iter().map(|entry| entry.addr).filter(meant);
        let relays = relays.iter().filter(|relay| meant(&relay.local));
        let relays = relays.flat_map(|relay| [relay.local, relay.advertised]);
        own.extend(
            interfaces
                .chain(relays)
                .chain([socket.ip()])
                .map(|ip| SocketAddr::new(ip, socket.port())),
        );
    }
    own.sort_unstable();
    own.dedup();
    own
}

/// Whether the address is reachable from everywhere, by IANA's special-purpose registries: the
/// same table by which strangers' peers are judged.
fn is_public(ip: IpAddr) -> bool {
    PeerPolicy::default().decide(ip) == Decision::Allow
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

impl fmt::Display for LocalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("configured"),
            Self::Listener => f.write_str("it is listened on"),
            Self::Route => f.write_str("the route to the Internet leaves from it"),
            Self::Interface(name) => write!(f, "no route to the Internet, first address of {name}"),
            Self::LoopbackOnly => f.write_str("the host has no other address than loopback"),
        }
    }
}

impl fmt::Display for AdvertisedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External => f.write_str("external address, configured"),
            Self::Public => f.write_str("it is public"),
            Self::Reflexive => f.write_str("the STUN server sees it so"),
            Self::Unknown(None) => f.write_str("no external address is known"),
            Self::Unknown(Some(why)) => write!(f, "no external address is known: {why}"),
        }
    }
}

/// Logs each choice, once, and warns of those that clients elsewhere cannot use.
pub(super) fn report(chosen: &[Chosen], external: &[External], development: bool) {
    for Chosen { relay, local, advertised } in chosen {
        tracing::info!(
            event = "relay_address",
            local = %relay.local,
            why_local = local.to_string(),
            advertised = %relay.advertised,
            why_advertised = advertised.to_string(),
            "relay address",
        );
        if matches!(advertised, AdvertisedReason::Unknown(_)) && !development {
            tracing::warn!(
                event = "external_address_unknown",
                local = %relay.local,
                "{} is not a public address and no external one is known: clients and peers \
                 outside of this network cannot reach allocations on it; \
                 give the public address with --external-ip",
                relay.local,
            );
        }
    }
    for entry in external {
        if !is_public(entry.public) && !development {
            tracing::warn!(
                event = "external_address_private",
                address = %entry.public,
                "the external address {} is not a public one: clients and peers outside of its own \
                 network cannot reach allocations on it; give the address that the Internet knows \
                 with --external-ip (relay.external)",
                entry.public,
            );
        }
        if chosen.iter().all(|chosen| chosen.relay.advertised != entry.public) {
            tracing::warn!(
                event = "external_address_unused",
                address = %entry.public,
                "the external address {} stands for no relay address: add one with --relay-ip",
                entry.public,
            );
        }
    }
}

#[cfg(test)]
#[path = "addresses/tests.rs"]
mod tests;
