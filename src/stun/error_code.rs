//! STUN and TURN error codes with the phrases that the RFCs recommend.

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
/// 486, RFC 8656 §19.
pub const ALLOCATION_QUOTA_REACHED: u16 = 486;
/// 500, RFC 8489 §14.8.
pub const SERVER_ERROR: u16 = 500;
/// 508, RFC 8656 §19.
pub const INSUFFICIENT_CAPACITY: u16 = 508;
