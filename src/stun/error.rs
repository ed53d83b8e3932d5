/// Why bytes are not a STUN message, or do not fit into one.
///
/// Small and without text on purpose: noise from the network is counted, not described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the header or the length field promises, or more.
    #[error("the length field and the number of bytes disagree")]
    Length,
    /// The two most significant bits are not zero (RFC 8489 §5).
    #[error("not a STUN message")]
    NotStun,
    /// An attribute reaches beyond the end of the message.
    #[error("an attribute reaches beyond the message")]
    Truncated,
    /// An integrity or fingerprint attribute has an impossible length or place.
    #[error("an integrity attribute is malformed")]
    Integrity,
    /// FINGERPRINT is there and does not match (RFC 8489 §14.7).
    #[error("the fingerprint does not match")]
    Fingerprint,
    /// An attribute's value cannot be what its type says.
    #[error("an attribute's value is malformed")]
    Value,
    /// The message does not fit into the buffer.
    #[error("the buffer is too small")]
    Space,
}
