//! Credentials (RFC 8489 §9.2), in all the forms that a server must take or refuse.

use std::sync::Arc;

use super::case::Stop;
use super::reply::Reply;
use crate::auth::{Algorithm, Key, prepare, userhash};
use crate::client::Credentials;
use crate::stun::{Digest, Mac, Writer, attribute};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// RFC 8489 §9.2: behind this prefix of a nonce stand the STUN Security Features.
pub(super) const COOKIE: &[u8] = b"obMatJos2";
/// PASSWORD-ALGORITHM for SHA-256, without parameters (RFC 8489 §18.5.1.2).
pub(super) const SHA256: [u8; 4] = [0, 2, 0, 0];

/// What a challenge asks for, with what is known.
#[derive(Clone)]
pub(super) struct Proof {
    credentials: Arc<Credentials>,
    pub(super) realm: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    /// PASSWORD-ALGORITHMS as it was offered.
    pub(super) algorithms: Option<Vec<u8>>,
    sha256: bool,
}

impl Proof {
    /// # Errors
    /// The challenge has no realm or no nonce.
    pub(super) fn new(challenge: &Reply, credentials: Arc<Credentials>) -> Result<Self, Stop> {
        challenge.refused(401)?;
        Ok(Self {
            credentials,
            realm: challenge.has(attribute::REALM, "REALM")?.to_vec(),
            nonce: challenge.has(attribute::NONCE, "NONCE")?.to_vec(),
            algorithms: challenge.get(attribute::PASSWORD_ALGORITHMS).map(<[u8]>::to_vec),
            sha256: false,
        })
    }

    /// With the nonce of a 438.
    pub(super) fn renewed(self, stale: &Reply) -> Self {
        let nonce = stale.get(attribute::NONCE).map_or(self.nonce, <[u8]>::to_vec);
        Self { nonce, ..self }
    }

    pub(super) fn known_as(self, credentials: Arc<Credentials>) -> Self {
        Self { credentials, ..self }
    }

    /// The same by SHA-256 (RFC 8489 §9.2.5).
    ///
    /// # Errors
    /// It is not offered.
    pub(super) fn by_sha256(self) -> Result<Self, Stop> {
        let list = self.algorithms.as_deref().unwrap_or_default();
        // The entries that are defined have no parameters: each is four bytes long.
        if self.features().is_some_and(|bits| bits[0] & 0x80 != 0)
            && list.chunks_exact(4).any(|entry| entry == SHA256)
        {
            return Ok(Self { sha256: true, ..self });
        }
        Stop::skipped("SHA-256 is not offered in PASSWORD-ALGORITHMS")
    }

    /// The STUN Security Features in the nonce, 24 bits.
    pub(super) fn features(&self) -> Option<[u8; 3]> {
        let text = self.nonce.strip_prefix(COOKIE)?.get(..4)?;
        STANDARD.decode(text).ok()?.try_into().ok()
    }

    pub(super) fn username(&self) -> &[u8] {
        self.credentials.username().as_bytes()
    }

    pub(super) fn userhash(&self) -> [u8; 32] {
        userhash(self.credentials.username(), &self.realm_text())
    }

    fn realm_text(&self) -> String {
        let realm = String::from_utf8_lossy(&self.realm).into_owned();
        prepare(&realm).map_or(realm.clone(), std::borrow::Cow::into_owned)
    }

    fn digest(&self) -> Digest {
        if self.sha256 { Digest::Sha256 } else { Digest::Sha1 }
    }

    /// What signs a request, and its response.
    pub(super) fn mac(&self) -> Mac {
        self.mac_for(self.credentials.password().expose())
    }

    /// The same for another password.
    pub(super) fn mac_for(&self, password: &str) -> Mac {
        let algorithm = if self.sha256 { Algorithm::Sha256 } else { Algorithm::Md5 };
        let username = self.credentials.username();
        Key::derive(algorithm, username, &self.realm_text(), password).mac(self.digest())
    }

    /// Appends who asks, and what was told.
    pub(super) fn introduce(&self, writer: &mut Writer<'_>) {
        writer.attribute(attribute::USERNAME, self.username());
        self.repeat(writer);
    }

    /// Appends what was told.
    pub(super) fn repeat(&self, writer: &mut Writer<'_>) {
        writer.attribute(attribute::REALM, &self.realm);
        writer.attribute(attribute::NONCE, &self.nonce);
        if let Some(list) = self.algorithms.as_ref().filter(|_| self.sha256) {
            writer.attribute(attribute::PASSWORD_ALGORITHMS, list);
            writer.attribute(attribute::PASSWORD_ALGORITHM, &SHA256);
        }
    }

    /// Appends all of it with the integrity.
    pub(super) fn sign(&self, writer: &mut Writer<'_>) {
        self.introduce(writer);
        writer.integrity(self.mac());
    }
}
