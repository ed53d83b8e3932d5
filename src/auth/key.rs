use md5::Md5;
use sha2::{Digest as _, Sha256};
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

/// A long-term key, made for one realm (RFC 8489 §14.5, §14.6). It is worth as much as the
/// password there, so it is never shown, and wiped when dropped.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    bytes: Zeroizing<[u8; 32]>,
    /// Ready for the digest that goes with the algorithm: each request is checked and each response
    /// signed with it.
    keyed: Keyed,
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
        let usual = match algorithm {
            Algorithm::Md5 => Digest::Sha1,
            Algorithm::Sha256 => Digest::Sha256,
        };
        let keyed = Keyed::new(usual, &bytes[..algorithm.length()]);
        Self { algorithm, bytes, keyed }
    }

    /// The algorithm it was derived with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// An HMAC with this key.
    pub fn mac(&self, digest: Digest) -> Mac {
        if digest == self.keyed.digest() {
            return self.keyed.mac();
        }
        Mac::new(digest, &self.bytes[..self.algorithm.length()])
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
