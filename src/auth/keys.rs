use std::sync::Arc;

use super::{Algorithm, Credential, Key, prepare};

/// One user's credential, by the algorithm of the key. Of a user whose password is not known, as in a store that
/// keeps derived keys, one may be missing.
#[derive(Debug)]
pub struct Keys {
    md5: Option<Arc<Credential>>,
    sha256: Option<Arc<Credential>>,
}

impl Keys {
    /// Of a password. `None` when OpaqueString forbids it (RFC 8265). The name and the realm are prepared already.
    pub fn of_password(realm: &Arc<str>, username: &str, password: &str) -> Option<Self> {
        let password = prepare(password)?;
        let key = |algorithm| Key::derive(algorithm, username, realm, &password);
        let credential = |algorithm| Arc::new(Credential::lasting(realm, username, key(algorithm)));
        let (md5, sha256) = (credential(Algorithm::Md5), credential(Algorithm::Sha256));
        Some(Self { md5: Some(md5), sha256: Some(sha256) })
    }

    /// Of a password that a store knows.
    pub fn stored_password(realm: &Arc<str>, username: &str, password: &str) -> Option<Self> {
        let password = prepare(password)?;
        let key = |algorithm| Key::derive(algorithm, username, realm, &password);
        let credential =
            |algorithm| Arc::new(Credential::stored(realm, username, key(algorithm), false));
        let (md5, sha256) = (credential(Algorithm::Md5), credential(Algorithm::Sha256));
        Some(Self { md5: Some(md5), sha256: Some(sha256) })
    }

    /// Of the keys that a store keeps in the password's place.
    pub fn stored(
        realm: &Arc<str>,
        username: &str,
        md5: Option<&[u8; 16]>,
        sha256: Option<&[u8; 32]>,
    ) -> Self {
        let only_md5 = sha256.is_none();
        let credential = |key| Arc::new(Credential::stored(realm, username, key, only_md5));
        Self {
            md5: md5.map(|bytes| credential(Key::md5(bytes))),
            sha256: sha256.map(|bytes| credential(Key::sha256(bytes))),
        }
    }

    /// That of one algorithm.
    pub(super) const fn of(&self, algorithm: Algorithm) -> Option<&Arc<Credential>> {
        match algorithm {
            Algorithm::Md5 => self.md5.as_ref(),
            Algorithm::Sha256 => self.sha256.as_ref(),
        }
    }

    /// Whether nobody can come with SHA-256 by these.
    pub(super) const fn are_only_md5(&self) -> bool {
        self.sha256.is_none()
    }

    /// Whether the key is one of these.
    pub(super) fn have(&self, key: &Key) -> bool {
        let own = key.algorithm().and_then(|algorithm| self.of(algorithm));
        own.is_some_and(|own| own.key() == key)
    }

    /// Whether somebody holds one of these, as an allocation does.
    pub(super) fn are_held(&self) -> bool {
        let mut all = [&self.md5, &self.sha256].into_iter().flatten();
        all.any(|credential| Arc::strong_count(credential) > 1)
    }

    /// Takes over what an earlier answer about the same user has in common with this one. True when that has a key
    /// that this one has not.
    pub(super) fn take_over(&mut self, earlier: &Self) -> bool {
        let mut lost = false;
        let both = [(&mut self.md5, &earlier.md5), (&mut self.sha256, &earlier.sha256)];
        for (own, earlier) in both {
            match (own, earlier) {
                (Some(own), Some(earlier)) if own.key() == earlier.key() => {
                    // Whoever holds it, as a call does, is not to be bid down by what was known before.
                    earlier.heed(own);
                    *own = Arc::clone(earlier);
                }
                (_, earlier) => lost |= earlier.is_some(),
            }
        }
        lost
    }
}
