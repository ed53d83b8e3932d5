use hmac::block_api::HmacCore;
use hmac::digest::block_api::CoreProxy;
use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::Sha256;

/// The digest of a message-integrity attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// MESSAGE-INTEGRITY: HMAC-SHA1, 20 bytes (RFC 8489 §14.5).
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256: HMAC-SHA256, 32 bytes or cut to 16, 20, 24 or 28 (§14.6).
    Sha256,
}

/// A key that has been worked into the digest's two states (RFC 2104 §4): half of the price of a
/// short message's HMAC, paid once. Worth as much as the key; wiped when dropped.
#[derive(Clone)]
pub enum Keyed {
    /// For HMAC-SHA1.
    Sha1(HmacCore<Sha1>),
    /// For HMAC-SHA256.
    Sha256(HmacCore<Sha256>),
}

impl Keyed {
    /// Works a key of any length in.
    pub fn new(digest: Digest, key: &[u8]) -> Self {
        // unwrap: HMAC takes a key of any length.
        match digest {
            Digest::Sha1 => Self::Sha1(HmacCore::new_from_slice(key).expect("any length")),
            Digest::Sha256 => Self::Sha256(HmacCore::new_from_slice(key).expect("any length")),
        }
    }

    /// Starts an HMAC.
    pub fn mac(&self) -> Mac {
        match self {
            Self::Sha1(core) => Mac::Sha1(Hmac::compose(core.clone(), Default::default())),
            Self::Sha256(core) => Mac::Sha256(Hmac::compose(core.clone(), Default::default())),
        }
    }

    /// The digest that it is for.
    pub const fn digest(&self) -> Digest {
        match self {
            Self::Sha1(_) => Digest::Sha1,
            Self::Sha256(_) => Digest::Sha256,
        }
    }
}

/// A running HMAC over the parts of a message.
#[derive(Clone)]
pub enum Mac {
    /// HMAC-SHA1.
    Sha1(Hmac<Sha1>),
    /// HMAC-SHA256.
    Sha256(Hmac<Sha256>),
}

impl Mac {
    /// Starts an HMAC with a key that is used once.
    pub fn new(digest: Digest, key: &[u8]) -> Self {
        Keyed::new(digest, key).mac()
    }

    /// The digest in use.
    pub const fn digest(&self) -> Digest {
        match self {
            Self::Sha1(_) => Digest::Sha1,
            Self::Sha256(_) => Digest::Sha256,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(mac) => mac.update(bytes),
            Self::Sha256(mac) => mac.update(bytes),
        }
    }

    /// Compares in constant time with a tag that may be cut (the caller has checked its length).
    pub(super) fn verify(self, tag: &[u8]) -> bool {
        match self {
            Self::Sha1(mac) => mac.verify_slice(tag).is_ok(),
            Self::Sha256(mac) => mac.verify_truncated_left(tag).is_ok(),
        }
    }

    /// Writes the tag into the start of `out` and returns its length.
    pub(super) fn finish(self, out: &mut [u8; 32]) -> usize {
        match self {
            Self::Sha1(mac) => {
                out[..20].copy_from_slice(&mac.finalize().into_bytes());
                20
            }
            Self::Sha256(mac) => {
                out.copy_from_slice(&mac.finalize().into_bytes());
                32
            }
        }
    }

    /// Feeds a message up to `end`, with the header's length field saying `length`.
    pub(super) fn feed_message(&mut self, message: &[u8], end: usize, length: u16) {
        self.update(&message[..2]);
        self.update(&length.to_be_bytes());
        self.update(&message[4..end]);
    }
}

/// The value of FINGERPRINT over the bytes before it (RFC 8489 §14.7).
pub(super) fn fingerprint(before: &[u8]) -> u32 {
    crc32fast::hash(before) ^ 0x5354_554E
}
