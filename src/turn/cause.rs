use std::net::IpAddr;

use super::{DeniedBy, PortRange};
use crate::auth::DenialKind;

mod table;
mod words;

pub use table::Entry;
pub(super) use words::{Facts, Phrase, Told};

/// Why a request was refused. It feeds the response's code and reason phrase, the metric and the
/// log from one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// 400, 401, 420, 438 or 500: the sender is not believed.
    Auth(DenialKind),
    /// 300: another server is to be asked, the one of this number.
    TryAlternate(u16),
    /// 400: an attribute's value cannot be what its type says.
    Malformed,
    /// 400: a required attribute is missing.
    Missing,
    /// 400: attributes that exclude each other.
    Contradiction,
    /// 400: a channel number outside of the range.
    ChannelRange,
    /// 400: the channel or the peer is bound otherwise (RFC 8656 §12.2).
    ChannelConflict,
    /// 500: classic STUN (RFC 3489) over DTLS (RFC 8489 §11).
    Classic,
    /// 400: TCP allocations and their connections are asked for over TCP or TLS only (RFC 6062).
    NeedsStream,
    /// 400: no peer's connection of this user waits under this CONNECTION-ID.
    UnknownConnection,
    /// 403
    PeerDenied {
        /// The peer that is not relayed to.
        peer: IpAddr,
        /// Why not.
        by: DeniedBy,
    },
    /// 420
    UnknownAttribute,
    /// 437: a request that needs an allocation.
    NoAllocation,
    /// 437: an Allocate on a 5-tuple that has one.
    AllocationExists,
    /// 437: the allocation relays UDP and the request is about TCP, or the other way round.
    WrongProtocol,
    /// 440
    FamilyNotSupported,
    /// 441
    WrongUser,
    /// 442
    TransportNotSupported,
    /// 443
    PeerFamily,
    /// 446: the allocation has a connection with this peer.
    ConnectionExists,
    /// 447: the peer did not answer in time.
    ConnectTimeout,
    /// 447: the peer refused, or there is no way to it.
    ConnectFailed,
    /// 486: the user's connections with peers; as many are allowed.
    ConnectionQuota(u32),
    /// 486: the user's allocations; as many are allowed.
    UserQuota(u32),
    /// 486: the client address's allocations; as many are allowed.
    AddressQuota(u32),
    /// 486: the server's allocations; as many are allowed.
    TotalQuota(u32),
    /// 486: the realm's allocations; as many are allowed.
    RealmQuota(u32),
    /// 508: no relay port of these is free.
    NoPort(PortRange),
    /// 508: the reservation token is unknown, expired or another user's.
    BadReservation,
    /// 508: the system gives no socket.
    NoSocket,
    /// 508: the allocation's permissions; as many are allowed.
    PermissionLimit(u16),
    /// 508: the allocation's channels; as many are allowed.
    ChannelLimit(u16),
    /// 405: MOBILITY-TICKET, and the settings do not want it (RFC 8016 §3.1.2, §3.2.2).
    MobilityForbidden,
    /// 400: a ticket that was not made here, or was altered, or is not to be there.
    BadTicket,
    /// 400: a ticket that has been used.
    UsedTicket,
    /// 400: a ticket from the 5-tuple that the allocation has (RFC 8016 §3.2.2).
    SameAddress,
    /// 437: the allocation that a ticket names has ended.
    LostAllocation,
    /// 508: the allocation's connections with peers.
    ConnectionLimit,
    /// 508: the worker that has to answer has no time.
    Busy,
    /// 508: no new allocations, since the server is about to end.
    Draining,
}

impl Cause {
    /// How many there are for the metrics.
    pub const COUNT: usize = table::TABLE.len();

    /// All that can be said of each, in the order of their [indices](Self::index).
    pub const ENTRIES: &[Entry] = &table::TABLE;

    /// Its place among the metrics' labels: 0 to [`Self::COUNT`] - 1.
    pub const fn index(self) -> usize {
        match self {
            Self::Auth(DenialKind::Challenge) => 0,
            Self::Auth(DenialKind::WrongRealm) => 1,
            Self::Auth(DenialKind::UnknownUser) => 2,
            Self::Auth(DenialKind::WrongPassword) => 3,
            Self::Auth(DenialKind::ExpiredCredential { .. }) => 4,
            Self::Auth(DenialKind::StaleNonce) => 5,
            Self::Auth(DenialKind::Incomplete) => 6,
            Self::Auth(DenialKind::BidDown) => 7,
            Self::Malformed => 8,
            Self::Missing => 9,
            Self::Contradiction => 10,
            Self::ChannelRange => 11,
            Self::ChannelConflict => 12,
            Self::PeerDenied { .. } => 13,
            Self::UnknownAttribute => 14,
            Self::NoAllocation => 15,
            Self::AllocationExists => 16,
            Self::FamilyNotSupported => 17,
            Self::WrongUser => 18,
            Self::TransportNotSupported => 19,
            Self::PeerFamily => 20,
            Self::UserQuota(_) => 21,
            Self::AddressQuota(_) => 22,
            Self::TotalQuota(_) => 23,
            Self::NoPort(_) => 24,
            Self::BadReservation => 25,
            Self::NoSocket => 26,
            Self::PermissionLimit(_) => 27,
            Self::ChannelLimit(_) => 28,
            Self::Classic => 29,
            Self::MobilityForbidden => 30,
            Self::BadTicket => 31,
            Self::UsedTicket => 32,
            Self::SameAddress => 33,
            Self::LostAllocation => 34,
            Self::Busy => 35,
            Self::NeedsStream => 36,
            Self::UnknownConnection => 37,
            Self::WrongProtocol => 38,
            Self::ConnectionExists => 39,
            Self::ConnectTimeout => 40,
            Self::ConnectFailed => 41,
            Self::ConnectionQuota(_) => 42,
            Self::ConnectionLimit => 43,
            Self::Auth(DenialKind::UnknownTokenKey) => 44,
            Self::Auth(DenialKind::BadToken) => 45,
            Self::Auth(DenialKind::ExpiredToken) => 46,
            Self::Auth(DenialKind::WrongSessionKey) => 47,
            Self::Auth(DenialKind::UnexpectedToken) => 48,
            Self::TryAlternate(_) => 49,
            Self::Draining => 50,
            Self::Auth(DenialKind::WrongSecret) => 51,
            Self::Auth(DenialKind::StoreDown) => 52,
            Self::Auth(DenialKind::OnlyMd5) => 53,
            Self::RealmQuota(_) => 54,
            Self::Auth(DenialKind::Revoked) => 55,
            Self::Auth(DenialKind::NotAsked) => 56,
        }
    }

    /// What can be said of it without its request.
    pub const fn entry(self) -> &'static Entry {
        &table::TABLE[self.index()]
    }

    /// The error code of the response.
    pub const fn code(self) -> u16 {
        self.entry().code
    }

    /// The metric label and log word.
    pub const fn label(self) -> &'static str {
        self.entry().label
    }

    /// Label and code of each place, for the metrics.
    pub fn labels() -> impl Iterator<Item = (&'static str, u16)> {
        Self::ENTRIES.iter().map(|entry| (entry.label, entry.code))
    }

    /// What it means, in short.
    pub const fn phrase(self) -> &'static str {
        self.entry().phrase
    }

    /// What the operator may do about it.
    pub const fn hint(self) -> &'static str {
        self.entry().hint
    }
}
