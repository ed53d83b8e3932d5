//! Attribute types (IANA's STUN registry) and which of them this server comprehends.

/// RFC 8489 §14.1.
pub const MAPPED_ADDRESS: u16 = 0x0001;
/// RFC 3489 §11.2.2. Never comprehended: it sends an answer to whatever address it names, which
/// makes any server a reflector.
pub const RESPONSE_ADDRESS: u16 = 0x0002;
/// RFC 3489 §11.2.4, RFC 5780 §7.2.
pub const CHANGE_REQUEST: u16 = 0x0003;
/// RFC 3489 §11.2.5: RESPONSE-ORIGIN for clients of that time.
pub const SOURCE_ADDRESS: u16 = 0x0004;
/// RFC 3489 §11.2.3: OTHER-ADDRESS for clients of that time.
pub const CHANGED_ADDRESS: u16 = 0x0005;
/// RFC 8489 §14.3.
pub const USERNAME: u16 = 0x0006;
/// RFC 8489 §14.5.
pub const MESSAGE_INTEGRITY: u16 = 0x0008;
/// RFC 8489 §14.8.
pub const ERROR_CODE: u16 = 0x0009;
/// RFC 8489 §14.13.
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// RFC 8656 §18.1.
pub const CHANNEL_NUMBER: u16 = 0x000C;
/// RFC 8656 §18.2.
pub const LIFETIME: u16 = 0x000D;
/// RFC 8656 §18.3.
pub const XOR_PEER_ADDRESS: u16 = 0x0012;
/// RFC 8656 §18.4.
pub const DATA: u16 = 0x0013;
/// RFC 8489 §14.9.
pub const REALM: u16 = 0x0014;
/// RFC 8489 §14.10.
pub const NONCE: u16 = 0x0015;
/// RFC 8656 §18.5.
pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
/// RFC 8656 §18.6.
pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
/// RFC 8656 §18.7.
pub const EVEN_PORT: u16 = 0x0018;
/// RFC 8656 §18.8.
pub const REQUESTED_TRANSPORT: u16 = 0x0019;
/// RFC 8656 §18.9.
pub const DONT_FRAGMENT: u16 = 0x001A;
/// RFC 7635 §6.2.
pub const ACCESS_TOKEN: u16 = 0x001B;
/// RFC 8489 §14.6.
pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
/// RFC 8489 §14.12.
pub const PASSWORD_ALGORITHM: u16 = 0x001D;
/// RFC 8489 §14.4.
pub const USERHASH: u16 = 0x001E;
/// RFC 8489 §14.2.
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// RFC 8656 §18.10.
pub const RESERVATION_TOKEN: u16 = 0x0022;
/// RFC 5780 §7.6.
pub const PADDING: u16 = 0x0026;
/// RFC 5780 §7.5.
pub const RESPONSE_PORT: u16 = 0x0027;
/// RFC 6062 §6.2.1.
pub const CONNECTION_ID: u16 = 0x002A;
/// RFC 8656 §18.11.
pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
/// RFC 8656 §18.12.
pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
/// RFC 8489 §14.11.
pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
/// RFC 8489 §14.16.
pub const ALTERNATE_DOMAIN: u16 = 0x8003;
/// RFC 8656 §18.13.
pub const ICMP: u16 = 0x8004;
/// RFC 8489 §14.14.
pub const SOFTWARE: u16 = 0x8022;
/// RFC 8489 §14.15.
pub const ALTERNATE_SERVER: u16 = 0x8023;
/// RFC 8489 §14.7.
pub const FINGERPRINT: u16 = 0x8028;
/// RFC 5780 §7.3.
pub const RESPONSE_ORIGIN: u16 = 0x802B;
/// RFC 5780 §7.4.
pub const OTHER_ADDRESS: u16 = 0x802C;
/// RFC 7635 §6.1.
pub const THIRD_PARTY_AUTHORIZATION: u16 = 0x802E;
/// draft-johnston-tram-stun-origin, as IANA has it: the web page that a browser's request is for.
pub const ORIGIN: u16 = 0x802F;
/// RFC 8016 §3.3.
pub const MOBILITY_TICKET: u16 = 0x8030;

/// Whether a receiver that does not know the attribute must refuse the message (RFC 8489 §14).
pub const fn comprehension_required(kind: u16) -> bool {
    kind < 0x8000
}

/// Whether this server knows the comprehension-required attribute wherever it stands. Those of
/// RFC 5780 depend on the request and on the settings.
pub const fn comprehended(kind: u16) -> bool {
    matches!(
        kind,
        MAPPED_ADDRESS
            | USERNAME
            | MESSAGE_INTEGRITY
            | ERROR_CODE
            | UNKNOWN_ATTRIBUTES
            | CHANNEL_NUMBER
            | LIFETIME
            | XOR_PEER_ADDRESS
            | DATA
            | REALM
            | NONCE
            | XOR_RELAYED_ADDRESS
            | REQUESTED_ADDRESS_FAMILY
            | EVEN_PORT
            | REQUESTED_TRANSPORT
            | DONT_FRAGMENT
            | MESSAGE_INTEGRITY_SHA256
            | PASSWORD_ALGORITHM
            | USERHASH
            | XOR_MAPPED_ADDRESS
            | RESERVATION_TOKEN
            | CONNECTION_ID
    )
}
