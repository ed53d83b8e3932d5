use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::stun::{Digest, Mac};

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
}

/// A long-term key, made for one realm (RFC 8489 §14.5, §14.6). It is worth as much as the
/// password there, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    algorithm: Algorithm,
    bytes: [u8; 32],
}

impl Key {
    /// Derives the key. All three texts must have been through [`super::prepare`].
    pub fn derive(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> Self {
        let parts = [username.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()];
        let mut bytes = [0; 32];
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
        Self { algorithm, bytes }
    }

    /// The algorithm it was derived with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// An HMAC with this key.
    pub fn mac(&self, digest: Digest) -> Mac {
        let length = match self.algorithm {
            Algorithm::Md5 => 16,
            Algorithm::Sha256 => 32,
        };
        Mac::new(digest, &self.bytes[..length])
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?}, [redacted])", self.algorithm)
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
