use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Alternates, Discovery, FiveTuple, PeerPolicy, Prefix, RealmSettings, SelfCheck};
use crate::stun::Family;

/// What the server may do and how much of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// SOFTWARE in responses to authenticated requests (RFC 8656 §5). Never sent to strangers,
    /// whose answers are kept short.
    pub software: Option<String>,
    /// Whether a client that has proved its address is told in words why it is refused; without, it gets the
    /// code's phrase of the RFC, which does not tell an unknown user from a wrong password.
    pub explain: bool,
    /// The addresses that allocations are made on; several of a family are used in turn.
    pub relays: Vec<RelayAddress>,
    /// The ports that allocations are made on.
    pub ports: PortRange,
    /// Lifetime of an allocation whose client asks for none (RFC 8656 §3.2: 10 minutes).
    pub default_lifetime: Duration,
    /// The longest lifetime granted (RFC 8656 §7.2: at most an hour).
    pub max_lifetime: Duration,
    /// Whether allocations for TCP are made (RFC 6062).
    pub tcp_allocations: bool,
    /// Also admit the channel numbers 0x5000-0x7FFF of RFC 5766.
    pub rfc5766_channels: bool,
    /// Whether clients may take their allocations along to another address (RFC 8016).
    pub mobility: bool,
    /// Which peers may be relayed to; a realm may have rules of its own besides.
    pub peers: PeerPolicy,
    /// Where NAT behaviour discovery is served: at most once for each family, or not at all.
    pub discovery: Vec<Discovery>,
    /// Other servers that clients are sent to.
    pub alternates: Arc<Alternates>,
    /// How much of everything.
    pub limits: Limits,
    /// How often it is told what an allocation has relayed; never, but at its end, when absent.
    pub usage_interval: Option<Duration>,
    /// How the process finds out whether it relays.
    pub self_check: Option<Arc<SelfCheck>>,
    /// Realms whose users may do something else than those of the default one.
    pub realms: Vec<RealmSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            software: Some("Turnwire".to_owned()),
            explain: true,
            relays: Vec::new(),
            ports: PortRange::default(),
            default_lifetime: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            tcp_allocations: true,
            rfc5766_channels: false,
            mobility: false,
            peers: PeerPolicy::default(),
            discovery: Vec::new(),
            alternates: Arc::default(),
            limits: Limits::default(),
            usage_interval: None,
            self_check: None,
            realms: Vec::new(),
        }
    }
}

impl Settings {
    /// Whether a packet may have come from the process itself, which looks whether it relays.
    pub(super) fn may_be_self_check(&self, tuple: &FiveTuple) -> bool {
        self.self_check.as_ref().is_some_and(|check| check.may_be(tuple))
    }

    /// The relay addresses of a family, with their place in `relays`.
    pub(super) fn relays_of(&self, family: Family) -> impl Iterator<Item = &RelayAddress> {
        self.relays.iter().filter(move |relay| Family::of(&relay.local) == family)
    }
}

/// An address that allocations are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// The address of this host that the sockets are bound to.
    pub local: IpAddr,
    /// The address that clients and peers know: the same, or what a 1:1 NAT makes of it.
    pub advertised: IpAddr,
}

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl Default for PortRange {
    /// The dynamic ports (RFC 8656 §7.2).
    fn default() -> Self {
        Self { first: 49152, last: 65535 }
    }
}

impl PortRange {
    /// Whether the port lies in it.
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether every port of the other one lies in it.
    pub const fn covers(&self, other: Self) -> bool {
        other.is_empty() || self.first <= other.first && other.last <= self.last
    }

    /// How many ports it has.
    pub const fn len(&self) -> usize {
        (self.last as usize + 1).saturating_sub(self.first as usize)
    }

    /// Whether the ends are the wrong way round.
    pub const fn is_empty(&self) -> bool {
        self.last < self.first
    }
}

/// Upper bounds. For those in `u32` and `u64`, 0 means none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Allocations in all.
    pub allocations: u32,
    /// Allocations of one user at a time; of an ephemeral credential, of its user part.
    pub allocations_per_user: u32,
    /// Allocations of one client address at a time (IPv6: of its /64).
    pub allocations_per_address: u32,
    /// Permissions of one allocation.
    pub permissions: u16,
    /// Channels of one allocation.
    pub channels: u16,
    /// TCP connections with peers of one allocation.
    pub connections: u16,
    /// Those of them that are being made or are not bound yet (RFC 6062 §5.2, §5.3).
    pub pending_connections: u16,
    /// TCP connections with peers of all allocations of one user.
    pub connections_per_user: u32,
    /// Application bytes per second of one allocation, counted in each direction by itself;
    /// one second's worth may come at once.
    pub bytes_per_second: u64,
    /// The same for all allocations of one user together.
    pub user_bytes_per_second: u64,
    /// The same for all allocations of one realm together.
    pub all_bytes_per_second: u64,
    /// STUN requests per second that are answered to one address (IPv6: one /64) before they
    /// have authenticated; twice as many may come at once.
    pub unauthenticated_per_second: u32,
    /// Requests of NAT behaviour discovery per second that are answered to one address (IPv6: one
    /// /64) from another address, to another port or with padding; twice as many may come at once.
    pub discovery_per_second: u32,
    /// The same for all addresses together.
    pub all_discovery_per_second: u32,
    /// Client addresses to which the limits per address do not apply.
    pub exempt: Vec<Prefix>,
}

impl Default for Limits {
    fn default() -> Self {
        // unwrap: these are constants with no bits behind their prefixes.
        let host = |ip: IpAddr, length| Prefix::new(ip, length).expect("a constant");
        Self {
            allocations: 0,
            allocations_per_user: 0,
            allocations_per_address: 4096,
            permissions: 256,
            channels: 256,
            connections: 64,
            pending_connections: 16,
            connections_per_user: 1024,
            bytes_per_second: 0,
            user_bytes_per_second: 0,
            all_bytes_per_second: 0,
            unauthenticated_per_second: 500,
            discovery_per_second: 20,
            all_discovery_per_second: 1000,
            exempt: vec![
                host([127, 0, 0, 0].into(), 8),
                host([0, 0, 0, 0, 0, 0, 0, 1].into(), 128),
            ],
        }
    }
}

impl Limits {
    /// Whether the limits per address do not apply to the client.
    pub fn exempts(&self, client: IpAddr) -> bool {
        self.exempt.iter().any(|prefix| prefix.contains(client))
    }
}
