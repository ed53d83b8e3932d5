use std::sync::atomic::{AtomicU64, Ordering};

use super::{Cause, EndReason, Histogram, Protocol, Transport};

/// How long sessions last, in milliseconds: a second to a day.
const DURATIONS: &[u64] = &[
    1_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000,
    43_200_000, 86_400_000,
];
/// What sessions relay in both directions together, in bytes: a kilobyte to 100 gigabytes.
const BYTES: &[u64] = &[
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
];
/// How long clients take from the allocation to the first datagram for a peer, in milliseconds.
const SETUPS: &[u64] = &[5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// A counter with one writer. Others may read it at any time.
///
/// The writer loads and stores without a locked instruction, so that counting costs nothing.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds, by the owning worker only.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a packet was dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Neither STUN nor ChannelData.
    Noise,
    /// STUN or ChannelData that cannot be read.
    Malformed,
    /// FINGERPRINT does not match.
    Fingerprint,
    /// A method or class that this server does not serve.
    Unserved,
    /// An address sent more unauthenticated requests than are answered.
    RateLimited,
    /// More NAT behaviour discovery than is answered.
    DiscoveryLimited,
    /// Data on a 5-tuple without an allocation.
    NoAllocation,
    /// ChannelData on an unbound channel.
    NoChannel,
    /// Data to or from a peer without a permission.
    NoPermission,
    /// Data to or from a peer that the policy denies by its port.
    PeerDenied,
    /// Beyond the bytes per second of the allocation or its user.
    Bandwidth,
    /// Too long for the framing towards the client.
    TooLong,
    /// Data for a mobile client that is away.
    Away,
    /// A datagram for an allocation that relays TCP.
    TcpAllocation,
    /// A peer's TCP connection beyond a limit of the allocation or its user.
    ConnectionLimit,
    /// A request of a user about whom the stores have to be asked, when no more of them may wait for that, or when it
    /// has waited too long.
    StoreWait,
}

impl Dropped {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();
    /// All of them in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Noise,
        Self::Malformed,
        Self::Fingerprint,
        Self::Unserved,
        Self::RateLimited,
        Self::DiscoveryLimited,
        Self::NoAllocation,
        Self::NoChannel,
        Self::NoPermission,
        Self::PeerDenied,
        Self::Bandwidth,
        Self::TooLong,
        Self::Away,
        Self::TcpAllocation,
        Self::ConnectionLimit,
        Self::StoreWait,
    ];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Malformed => "malformed",
            Self::Fingerprint => "fingerprint",
            Self::Unserved => "unserved",
            Self::RateLimited => "rate_limited",
            Self::DiscoveryLimited => "discovery_limited",
            Self::NoAllocation => "no_allocation",
            Self::NoChannel => "no_channel",
            Self::NoPermission => "no_permission",
            Self::PeerDenied => "peer_denied",
            Self::Bandwidth => "bandwidth",
            Self::TooLong => "too_long",
            Self::Away => "client_away",
            Self::TcpAllocation => "tcp_allocation",
            Self::ConnectionLimit => "connection_limit",
            Self::StoreWait => "store_wait",
        }
    }
}

/// What one [`super::Server`] has done, readable while it runs.
#[derive(Debug)]
pub struct Stats {
    /// Binding requests answered.
    pub bindings: Counter,
    /// Those of them that were answered from another address or port (CHANGE-REQUEST).
    pub change_requests: Counter,
    /// Those that were answered to another port (RESPONSE-PORT).
    pub response_ports: Counter,
    /// Those that were answered with PADDING.
    pub paddings: Counter,
    /// Allocations made.
    pub allocations: Counter,
    /// The same by the client's transport, what is relayed, and the families of its relayed addresses
    /// (`made_at`).
    pub made: [Counter; MADE],
    /// How long sessions have lasted, in milliseconds.
    pub durations: Histogram,
    /// How many bytes they have relayed, both ways together.
    pub session_bytes: Histogram,
    /// How long each has taken to relay its first datagram to a peer, in milliseconds.
    pub setups: Histogram,
    /// Allocations ended, by [`EndReason`].
    pub ended: [Counter; EndReason::COUNT],
    /// Requests refused, by [`Cause`].
    pub refused: [Counter; Cause::COUNT],
    /// Requests that had to wait for the stores.
    pub parked: Counter,
    /// Those of them that wait no more.
    pub unparked: Counter,
    /// Packets dropped, by [`Dropped`].
    pub dropped: [Counter; Dropped::COUNT],
    /// Packets relayed from clients to peers.
    pub to_peer_packets: Counter,
    /// Their application bytes.
    pub to_peer_bytes: Counter,
    /// Packets relayed from peers to clients.
    pub to_client_packets: Counter,
    /// Their application bytes.
    pub to_client_bytes: Counter,
    /// ICMP errors handed to clients (RFC 8656 §11.5).
    pub icmp: Counter,
    /// Clients that have come to a new 5-tuple (RFC 8016).
    pub moves: Counter,
    /// Allocations that have come from other workers.
    pub moved_in: Counter,
    /// Allocations that have gone to other workers.
    pub moved_out: Counter,
    /// TCP connections made to peers (RFC 6062 §5.2).
    pub connections_out: Counter,
    /// TCP connections taken from peers (RFC 6062 §5.3).
    pub connections_in: Counter,
    /// Those of both that a client has bound (RFC 6062 §5.4).
    pub connections_bound: Counter,
    /// Those of both that have ended.
    pub connections_ended: Counter,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            bindings: Counter::default(),
            change_requests: Counter::default(),
            response_ports: Counter::default(),
            paddings: Counter::default(),
            allocations: Counter::default(),
            made: std::array::from_fn(|_| Counter::default()),
            durations: Histogram::new(DURATIONS),
            session_bytes: Histogram::new(BYTES),
            setups: Histogram::new(SETUPS),
            ended: std::array::from_fn(|_| Counter::default()),
            refused: std::array::from_fn(|_| Counter::default()),
            parked: Counter::default(),
            unparked: Counter::default(),
            dropped: std::array::from_fn(|_| Counter::default()),
            to_peer_packets: Counter::default(),
            to_peer_bytes: Counter::default(),
            to_client_packets: Counter::default(),
            to_client_bytes: Counter::default(),
            icmp: Counter::default(),
            moves: Counter::default(),
            moved_in: Counter::default(),
            moved_out: Counter::default(),
            connections_out: Counter::default(),
            connections_in: Counter::default(),
            connections_bound: Counter::default(),
            connections_ended: Counter::default(),
        }
    }
}

/// The client's transports, what is relayed, and one address of either family or both.
const MADE: usize = 4 * 2 * 3;

impl Stats {
    /// The place of an allocation among [`Self::made`]; `families` of its relayed addresses: IPv4, IPv6.
    pub(super) const fn made_at(
        transport: Transport,
        protocol: Protocol,
        families: [bool; 2],
    ) -> usize {
        let family = match families {
            [true, true] => 2,
            [_, second] => second as usize,
        };
        (transport as usize * 2 + protocol as usize) * 3 + family
    }

    /// Allocations made, with the words for where they are counted: transport, protocol, family.
    pub fn made(&self) -> impl Iterator<Item = ([&'static str; 3], &Counter)> {
        const FAMILIES: [&str; 3] = ["ipv4", "ipv6", "both"];
        self.made.iter().enumerate().map(|(place, count)| {
            let (kind, family) = (place / 3, place % 3);
            let transport = Transport::ALL[kind / 2].label();
            let protocol = if kind % 2 == 0 { Protocol::Udp } else { Protocol::Tcp };
            ([transport, protocol.label(), FAMILIES[family]], count)
        })
    }

    pub(super) fn refuse(&self, cause: Cause) {
        self.refused[cause.index()].add(1);
    }

    pub(super) fn drop(&self, reason: Dropped) {
        self.dropped[reason as usize].add(1);
    }

    /// Counts a datagram that is too long for its client's framing.
    pub fn drop_too_long(&self) {
        self.drop(Dropped::TooLong);
    }

    /// Allocations alive now.
    pub fn live(&self) -> u64 {
        let ended: u64 = self.ended.iter().map(Counter::get).sum();
        let came = self.allocations.get() + self.moved_in.get();
        came.saturating_sub(ended + self.moved_out.get())
    }
}
