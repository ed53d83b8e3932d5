//! STUN and TURN error codes with the phrases that the RFCs recommend.

/// The phrase that the RFCs recommend.
pub const fn phrase(code: u16) -> &'static str {
    match code {
        TRY_ALTERNATE => "Try Alternate",
        BAD_REQUEST => "Bad Request",
        UNAUTHENTICATED => "Unauthenticated",
        FORBIDDEN => "Forbidden",
        MOBILITY_FORBIDDEN => "Mobility Forbidden",
        UNKNOWN_ATTRIBUTE => "Unknown Attribute",
        ALLOCATION_MISMATCH => "Allocation Mismatch",
        STALE_NONCE => "Stale Nonce",
        ADDRESS_FAMILY_NOT_SUPPORTED => "Address Family not Supported",
        WRONG_CREDENTIALS => "Wrong Credentials",
        UNSUPPORTED_TRANSPORT => "Unsupported Transport Protocol",
        PEER_ADDRESS_FAMILY_MISMATCH => "Peer Address Family Mismatch",
        CONNECTION_ALREADY_EXISTS => "Connection Already Exists",
        CONNECTION_TIMEOUT_OR_FAILURE => "Connection Timeout or Failure",
        ALLOCATION_QUOTA_REACHED => "Allocation Quota Reached",
        SERVER_ERROR => "Server Error",
        INSUFFICIENT_CAPACITY => "Insufficient Capacity",
        _ => "",
    }
}

/// 300, RFC 8489 §14.8.
pub const TRY_ALTERNATE: u16 = 300;
/// 400, RFC 8489 §14.8.
pub const BAD_REQUEST: u16 = 400;
/// 401, RFC 8489 §14.8.
pub const UNAUTHENTICATED: u16 = 401;
/// 403, RFC 8656 §19.
pub const FORBIDDEN: u16 = 403;
/// 405, RFC 8016 §3.4.
pub const MOBILITY_FORBIDDEN: u16 = 405;
/// 420, RFC 8489 §14.8.
pub const UNKNOWN_ATTRIBUTE: u16 = 420;
/// 437, RFC 8656 §19.
pub const ALLOCATION_MISMATCH: u16 = 437;
/// 438, RFC 8489 §14.8.
pub const STALE_NONCE: u16 = 438;
/// 440, RFC 8656 §19.
pub const ADDRESS_FAMILY_NOT_SUPPORTED: u16 = 440;
/// 441, RFC 8656 §19.
pub const WRONG_CREDENTIALS: u16 = 441;
/// 442, RFC 8656 §19.
pub const UNSUPPORTED_TRANSPORT: u16 = 442;
/// 443, RFC 8656 §19.
pub const PEER_ADDRESS_FAMILY_MISMATCH: u16 = 443;
/// 446, RFC 6062 §6.3.
pub const CONNECTION_ALREADY_EXISTS: u16 = 446;
/// 447, RFC 6062 §6.3.
pub const CONNECTION_TIMEOUT_OR_FAILURE: u16 = 447;
/// 486, RFC 8656 §19.
pub const ALLOCATION_QUOTA_REACHED: u16 = 486;
/// 500, RFC 8489 §14.8.
pub const SERVER_ERROR: u16 = 500;
/// 508, RFC 8656 §19.
pub const INSUFFICIENT_CAPACITY: u16 = 508;
