use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::stun::{Digest, Keyed, Mac};

/// How a password becomes a key (RFC 8489 §18.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// 0x0001
    Md5,
    /// 0x0002
    Sha256,
}

impl Algorithm {
    /// The number in PASSWORD-ALGORITHM.
    pub const fn code(self) -> u16 {
        match self {
            Self::Md5 => 1,
            Self::Sha256 => 2,
        }
    }

    /// Bytes of a key.
    const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha256 => 32,
        }
    }
}

/// A key for integrity: a long-term one, made for one realm (RFC 8489 §14.5, §14.6), or the session
/// key of an access token. It is worth as much as the password there, so it is never shown, and
/// wiped when dropped.
#[derive(Clone)]
pub struct Key {
    origin: Origin,
    bytes: Zeroizing<[u8; 32]>,
    /// Ready for the digest that goes with it: each request is checked and each response
    /// signed with it.
    keyed: Keyed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Password(Algorithm),
    /// With its length.
    Session(u8),
}

impl Origin {
    /// Bytes of the key.
    const fn length(self) -> usize {
        match self {
            Self::Password(algorithm) => algorithm.length(),
            Self::Session(length) => length as usize,
        }
    }
}

impl Key {
    /// Derives the key. All three texts must have been through [`super::prepare`].
    pub fn derive(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> Self {
        let parts = [username.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()];
        let mut bytes = Zeroizing::new([0; 32]);
        match algorithm {
            Algorithm::Md5 => {
                let mut hash = Md5::new();
                parts.iter().for_each(|part| hash.update(part));
                bytes[..16].copy_from_slice(&hash.finalize());
            }
            Algorithm::Sha256 => {
                let mut hash = Sha256::new();
                parts.iter().for_each(|part| hash.update(part));
                bytes.copy_from_slice(&hash.finalize());
            }
        }
        Self::new(Origin::Password(algorithm), bytes)
    }

    /// One that was derived with MD5 elsewhere.
    pub(super) fn md5(key: &[u8; 16]) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes[..16].copy_from_slice(key);
        Self::new(Origin::Password(Algorithm::Md5), bytes)
    }

    /// The same with SHA-256.
    pub(super) fn sha256(key: &[u8; 32]) -> Self {
        Self::new(Origin::Password(Algorithm::Sha256), Zeroizing::new(*key))
    }

    fn new(origin: Origin, bytes: Zeroizing<[u8; 32]>) -> Self {
        let usual = if origin.length() == 32 { Digest::Sha256 } else { Digest::Sha1 };
        let keyed = Keyed::new(usual, &bytes[..origin.length()]);
        Self { origin, bytes, keyed }
    }

    /// The session key of an access token, of 160 to 256 bits (RFC 7635 §6.2).
    pub fn session(key: &[u8]) -> Option<Self> {
        if !(20..=32).contains(&key.len()) {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        bytes[..key.len()].copy_from_slice(key);
        Some(Self::new(Origin::Session(key.len() as u8), bytes))
    }

    /// The first 128 bits of a session key of 160: with these coturn signs, and so do the clients
    /// that were made for it.
    pub(super) fn cut_session(&self) -> Option<Self> {
        (self.origin == Origin::Session(20)).then(|| {
            let mut bytes = self.bytes.clone();
            bytes[16..].fill(0);
            Self::new(Origin::Session(16), bytes)
        })
    }

    /// The bytes, for a database that keeps keys and for nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.bytes[..self.origin.length()]
    }

    /// The algorithm it was derived with; `None` for a session key.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        match self.origin {
            Origin::Password(algorithm) => Some(algorithm),
            Origin::Session(_) => None,
        }
    }

    /// Whether it is the session key of an access token.
    pub const fn is_session(&self) -> bool {
        matches!(self.origin, Origin::Session(_))
    }

    /// A number that tells it from others and nothing else of it.
    pub(super) fn fingerprint(&self) -> u32 {
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(self.bytes.as_slice()));
        u32::from_be_bytes([a, b, c, d])
    }

    /// An HMAC with this key.
    pub fn mac(&self, digest: Digest) -> Mac {
        if digest == self.keyed.digest() {
            return self.keyed.mac();
        }
        let bytes = &self.bytes[..self.origin.length()];
        match self.origin {
            // RFC 7635, appendix B: of a 256-bit session key the older digest gets a hash.
            Origin::Session(32) => Mac::new(digest, &Sha1::digest(bytes)),
            _ => Mac::new(digest, bytes),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.origin == other.origin && bool::from(self.bytes.ct_eq(&*other.bytes))
    }
}

impl Eq for Key {}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?}, [redacted])", self.origin)
    }
}

/// USERHASH (RFC 8489 §14.4): SHA-256 over the prepared username and realm.
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(username.as_bytes());
    hash.update(b":");
    hash.update(realm.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::{Kind, Message, Method, TransactionId, Writer};

    #[test]
    fn what_is_kept_ready_is_the_key_itself_for_both_digests_each_time() {
        let mut buffer = [0; 256];
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let key = Key::derive(algorithm, "u", "r", "p");
            let bytes = match algorithm {
                Algorithm::Md5 => Md5::digest(b"u:r:p").to_vec(),
                Algorithm::Sha256 => Sha256::digest(b"u:r:p").to_vec(),
            };
            for digest in [Digest::Sha1, Digest::Sha256, Digest::Sha256, Digest::Sha1] {
                let id = TransactionId::new([7; 12]);
                let mut writer = Writer::new(&mut buffer, Kind::request(Method::REFRESH), &id);
                writer.integrity(Mac::new(digest, &bytes));
                let length = writer.finish().unwrap();
                let message = Message::parse(&buffer[..length]).unwrap();
                assert!(message.verify(key.mac(digest)), "{algorithm:?} {digest:?}");
                assert!(!message.verify(Key::derive(algorithm, "u", "r", "q").mac(digest)));
            }
        }
    }
}
