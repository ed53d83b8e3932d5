use super::DeniedBy;
use crate::auth::{Denial, DenialKind};
use crate::stun::error_code as code;

/// Why a request was refused. It feeds the response's code and reason phrase, the metric and the
/// log from one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// 400, 401, 420 or 438: the sender is not believed.
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
    /// 400: classic STUN (RFC 3489) over DTLS (RFC 7350 §3).
    Classic,
    /// 400: TCP allocations and their connections are asked for over TCP or TLS only (RFC 6062).
    NeedsStream,
    /// 400: no peer's connection of this user waits under this CONNECTION-ID.
    UnknownConnection,
    /// 403
    PeerDenied(DeniedBy),
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
    /// 486: the user's connections with peers.
    ConnectionQuota,
    /// 486: the user's allocations.
    UserQuota,
    /// 486: the client address's allocations.
    AddressQuota,
    /// 486: the server's allocations.
    TotalQuota,
    /// 508: no relay port is free.
    NoPort,
    /// 508: the reservation token is unknown, expired or another user's.
    BadReservation,
    /// 508: the system gives no socket.
    NoSocket,
    /// 508: the allocation's permissions.
    PermissionLimit,
    /// 508: the allocation's channels.
    ChannelLimit,
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
    pub const COUNT: usize = LABELS.len();

    /// The error code of the response.
    pub const fn code(self) -> u16 {
        match self {
            Self::Auth(kind) => Denial { kind, proven: false }.code(),
            Self::Malformed
            | Self::Missing
            | Self::Contradiction
            | Self::ChannelRange
            | Self::ChannelConflict
            | Self::Classic
            | Self::BadTicket
            | Self::UsedTicket
            | Self::SameAddress
            | Self::NeedsStream
            | Self::UnknownConnection => code::BAD_REQUEST,
            Self::TryAlternate(_) => code::TRY_ALTERNATE,
            Self::PeerDenied(_) => code::FORBIDDEN,
            Self::MobilityForbidden => code::MOBILITY_FORBIDDEN,
            Self::UnknownAttribute => code::UNKNOWN_ATTRIBUTE,
            Self::NoAllocation
            | Self::AllocationExists
            | Self::LostAllocation
            | Self::WrongProtocol => code::ALLOCATION_MISMATCH,
            Self::FamilyNotSupported => code::ADDRESS_FAMILY_NOT_SUPPORTED,
            Self::WrongUser => code::WRONG_CREDENTIALS,
            Self::TransportNotSupported => code::UNSUPPORTED_TRANSPORT,
            Self::PeerFamily => code::PEER_ADDRESS_FAMILY_MISMATCH,
            Self::ConnectionExists => code::CONNECTION_ALREADY_EXISTS,
            Self::ConnectTimeout | Self::ConnectFailed => code::CONNECTION_TIMEOUT_OR_FAILURE,
            Self::UserQuota | Self::AddressQuota | Self::TotalQuota | Self::ConnectionQuota => {
                code::ALLOCATION_QUOTA_REACHED
            }
            Self::NoPort
            | Self::BadReservation
            | Self::NoSocket
            | Self::PermissionLimit
            | Self::ChannelLimit
            | Self::ConnectionLimit
            | Self::Busy
            | Self::Draining => code::INSUFFICIENT_CAPACITY,
        }
    }

    /// Its place among the metrics' labels: 0 to [`Self::COUNT`] - 1.
    pub const fn index(self) -> usize {
        match self {
            Self::Auth(DenialKind::Challenge) => 0,
            Self::Auth(DenialKind::WrongRealm) => 1,
            Self::Auth(DenialKind::UnknownUser) => 2,
            Self::Auth(DenialKind::WrongPassword) => 3,
            Self::Auth(DenialKind::ExpiredCredential) => 4,
            Self::Auth(DenialKind::StaleNonce) => 5,
            Self::Auth(DenialKind::Incomplete) => 6,
            Self::Auth(DenialKind::BidDown) => 7,
            Self::Malformed => 8,
            Self::Missing => 9,
            Self::Contradiction => 10,
            Self::ChannelRange => 11,
            Self::ChannelConflict => 12,
            Self::PeerDenied(_) => 13,
            Self::UnknownAttribute => 14,
            Self::NoAllocation => 15,
            Self::AllocationExists => 16,
            Self::FamilyNotSupported => 17,
            Self::WrongUser => 18,
            Self::TransportNotSupported => 19,
            Self::PeerFamily => 20,
            Self::UserQuota => 21,
            Self::AddressQuota => 22,
            Self::TotalQuota => 23,
            Self::NoPort => 24,
            Self::BadReservation => 25,
            Self::NoSocket => 26,
            Self::PermissionLimit => 27,
            Self::ChannelLimit => 28,
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
            Self::ConnectionQuota => 42,
            Self::ConnectionLimit => 43,
            Self::Auth(DenialKind::UnknownTokenKey) => 44,
            Self::Auth(DenialKind::BadToken) => 45,
            Self::Auth(DenialKind::ExpiredToken) => 46,
            Self::Auth(DenialKind::WrongSessionKey) => 47,
            Self::Auth(DenialKind::UnexpectedToken) => 48,
            Self::TryAlternate(_) => 49,
            Self::Draining => 50,
        }
    }

    /// The metric label and log word.
    pub const fn label(self) -> &'static str {
        LABELS[self.index()].0
    }

    /// Code and label of each place, for the metrics.
    pub fn labels() -> impl Iterator<Item = (&'static str, u16)> {
        LABELS.iter().copied()
    }

    /// The reason phrase for a client that has proved its address.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Auth(DenialKind::Challenge) => "Unauthenticated",
            Self::Auth(DenialKind::WrongRealm) => "wrong realm",
            Self::Auth(DenialKind::UnknownUser) => "unknown user",
            Self::Auth(DenialKind::WrongPassword) => "wrong password",
            Self::Auth(DenialKind::ExpiredCredential) => {
                "the credential has expired (or a clock is wrong)"
            }
            Self::Auth(DenialKind::StaleNonce) => "Stale Nonce",
            Self::Auth(DenialKind::Incomplete) => "USERNAME, REALM or NONCE is missing",
            Self::Auth(DenialKind::BidDown) => "password algorithms differ from those offered",
            Self::Auth(DenialKind::UnknownTokenKey) => {
                "no key of this kid is valid for access tokens here"
            }
            Self::Auth(DenialKind::BadToken) => "the access token was not sealed for this server",
            Self::Auth(DenialKind::ExpiredToken) => {
                "the access token has expired (or a clock is wrong)"
            }
            Self::Auth(DenialKind::WrongSessionKey) => {
                "the request is not signed with the access token's key"
            }
            Self::Auth(DenialKind::UnexpectedToken) => "access tokens are not taken here",
            Self::TryAlternate(_) => "Try Alternate",
            Self::Malformed => "an attribute is malformed",
            Self::Missing => "a required attribute is missing",
            Self::Contradiction => "these attributes exclude each other",
            Self::ChannelRange => "channel numbers are 0x4000 to 0x4FFF",
            Self::ChannelConflict => "the channel or the peer is bound already",
            Self::Classic => "RFC 3489 is not spoken over DTLS",
            Self::PeerDenied(by) => by.phrase(),
            Self::UnknownAttribute => "Unknown Attribute",
            Self::NoAllocation => "there is no allocation",
            Self::AllocationExists => "there is an allocation already",
            Self::FamilyNotSupported => "Address Family not Supported",
            Self::WrongUser => "the allocation belongs to another user",
            Self::TransportNotSupported => "Unsupported Transport Protocol",
            Self::PeerFamily => "the allocation has no address of the peer's family",
            Self::UserQuota => "the user has too many allocations",
            Self::AddressQuota => "the client's address has too many allocations",
            Self::TotalQuota => "the server has too many allocations",
            Self::NoPort => "no relay port is free",
            Self::BadReservation => "the reservation token is not valid",
            Self::NoSocket => "the server is out of sockets",
            Self::PermissionLimit => "the allocation has too many permissions",
            Self::ChannelLimit => "the allocation has too many channels",
            Self::MobilityForbidden => "Mobility Forbidden",
            Self::BadTicket => "the mobility ticket is not valid",
            Self::UsedTicket => "the mobility ticket has been used",
            Self::SameAddress => "the client has not moved: refresh without the mobility ticket",
            Self::LostAllocation => "the mobility ticket's allocation has ended",
            Self::Busy => "the server is too busy for this now",
            Self::Draining => "the server is about to end: no new allocations",
            Self::NeedsStream => "TCP is relayed for clients on TCP or TLS only",
            Self::UnknownConnection => "no connection waits under this CONNECTION-ID",
            Self::WrongProtocol => "not what this allocation relays (UDP or TCP)",
            Self::ConnectionExists => "Connection Already Exists",
            Self::ConnectTimeout => "the peer did not answer in time",
            Self::ConnectFailed => "the peer refused, or cannot be reached",
            Self::ConnectionQuota => "the user has too many connections with peers",
            Self::ConnectionLimit => "the allocation has too many connections with peers",
        }
    }
}

const LABELS: [(&str, u16); 51] = [
    ("challenge", 401),
    ("wrong_realm", 401),
    ("unknown_user", 401),
    ("wrong_password", 401),
    ("expired_credential", 401),
    ("stale_nonce", 438),
    ("incomplete_credential", 400),
    ("bid_down", 400),
    ("malformed", 400),
    ("missing_attribute", 400),
    ("contradiction", 400),
    ("channel_range", 400),
    ("channel_conflict", 400),
    ("peer_denied", 403),
    ("unknown_attribute", 420),
    ("no_allocation", 437),
    ("allocation_exists", 437),
    ("family_not_supported", 440),
    ("wrong_user", 441),
    ("transport_not_supported", 442),
    ("peer_family", 443),
    ("user_quota", 486),
    ("address_quota", 486),
    ("total_quota", 486),
    ("no_port", 508),
    ("bad_reservation", 508),
    ("no_socket", 508),
    ("permission_limit", 508),
    ("channel_limit", 508),
    ("classic_over_dtls", 400),
    ("mobility_forbidden", 405),
    ("bad_ticket", 400),
    ("used_ticket", 400),
    ("same_address", 400),
    ("lost_allocation", 437),
    ("busy", 508),
    ("needs_stream", 400),
    ("unknown_connection", 400),
    ("wrong_protocol", 437),
    ("connection_exists", 446),
    ("connect_timeout", 447),
    ("connect_failed", 447),
    ("connection_quota", 486),
    ("connection_limit", 508),
    ("unknown_token_key", 401),
    ("bad_token", 401),
    ("expired_token", 401),
    ("wrong_session_key", 401),
    ("unexpected_token", 420),
    ("try_alternate", 300),
    ("draining", 508),
];
