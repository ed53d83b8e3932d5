use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Credentials;
use crate::auth::{Algorithm, Key, prepare, userhash};
use crate::stun::{Digest, Message, Writer, attribute};

/// RFC 8489 §9.2: behind this prefix of a nonce stand the STUN Security Features.
const COOKIE: &[u8] = b"obMatJos2";
/// The feature "Password algorithms": bit 0, the leftmost of 24 (RFC 8489 §18.1).
const PASSWORD_ALGORITHMS: u8 = 0x80;
/// The feature "Username anonymity": bit 1.
const USERNAME_ANONYMITY: u8 = 0x40;

/// What a 401 or 438 has told, with the key that follows from it (RFC 8489 §9.2.5).
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: Key,
    /// What is sent in the place of USERNAME, where the server asks for it.
    userhash: Option<[u8; 32]>,
    /// PASSWORD-ALGORITHMS as it was offered, when SHA-256 was chosen from it: it must be sent back.
    algorithms: Option<Vec<u8>>,
}

impl Challenge {
    /// Reads REALM and NONCE; `None` when one of them is missing or cannot be used. A 438 may leave the realm
    /// as it was before.
    pub(super) fn read(
        message: &Message<'_>,
        credentials: &Credentials,
        sha256: bool,
        before: Option<&Self>,
    ) -> Option<Self> {
        let nonce = message.attribute(attribute::NONCE)?;
        let realm =
            message.attribute(attribute::REALM).or(before.map(|before| before.realm.as_slice()))?;
        let algorithms = message
            .attribute(attribute::PASSWORD_ALGORITHMS)
            .filter(|list| sha256 && says(nonce, PASSWORD_ALGORITHMS) && offers_sha256(list));
        let algorithm = match algorithms {
            Some(_) => Algorithm::Sha256,
            None => Algorithm::Md5,
        };
        let prepared = prepare(std::str::from_utf8(realm).ok()?)?;
        let userhash =
            says(nonce, USERNAME_ANONYMITY).then(|| userhash(credentials.username(), &prepared));
        let known = before
            .filter(|before| before.realm == realm && before.key.algorithm() == Some(algorithm));
        let key = match known {
            Some(before) => before.key.clone(),
            None => {
                let password = credentials.password().expose();
                Key::derive(algorithm, credentials.username(), &prepared, password)
            }
        };
        Some(Self {
            realm: realm.to_vec(),
            nonce: nonce.to_vec(),
            key,
            userhash,
            algorithms: algorithms.map(<[u8]>::to_vec),
        })
    }

    /// Appends what proves the request: credentials, then the integrity over all of it.
    pub(super) fn sign(&self, credentials: &Credentials, writer: &mut Writer<'_>) {
        // RFC 8489 §9.2.5: the one or the other.
        match &self.userhash {
            Some(hash) => writer.attribute(attribute::USERHASH, hash),
            None => writer.attribute(attribute::USERNAME, credentials.username().as_bytes()),
        }
        writer.attribute(attribute::REALM, &self.realm);
        writer.attribute(attribute::NONCE, &self.nonce);
        if let Some(algorithms) = &self.algorithms {
            writer.attribute(attribute::PASSWORD_ALGORITHMS, algorithms);
            let chosen = u32::from(Algorithm::Sha256.code()) << 16;
            writer.number(attribute::PASSWORD_ALGORITHM, chosen);
        }
        writer.integrity(self.key.mac(self.digest()));
    }

    /// Whether the response was made by somebody who knows the password.
    pub(super) fn verifies(&self, response: &Message<'_>) -> bool {
        response.verify(self.key.mac(self.digest()))
    }

    const fn digest(&self) -> Digest {
        match self.algorithms {
            Some(_) => Digest::Sha256,
            None => Digest::Sha1,
        }
    }
}

/// Whether a 401 or 438 has lost the PASSWORD-ALGORITHMS that its nonce speaks of: somebody on the way wants a weaker
/// hash used (RFC 8489 §9.2.5).
pub(super) fn is_bid_down(message: &Message<'_>) -> bool {
    let said = message.attribute(attribute::NONCE).is_some_and(|it| says(it, PASSWORD_ALGORITHMS));
    said && message.attribute(attribute::PASSWORD_ALGORITHMS).is_none()
}

/// Whether the nonce says that the server has a feature: one who alters the answer on its way cannot change that
/// (RFC 8489 §9.2.1).
fn says(nonce: &[u8], feature: u8) -> bool {
    let Some(features) = nonce.strip_prefix(COOKIE).and_then(|rest| rest.get(..4)) else {
        return false;
    };
    let mut bits = [0; 3];
    STANDARD.decode_slice(features, &mut bits).is_ok() && bits[0] & feature != 0
}

/// Whether SHA-256 is in the list: each entry is a number, a length and parameters (RFC 8489 §14.11).
fn offers_sha256(mut list: &[u8]) -> bool {
    while let [n1, n2, l1, l2, rest @ ..] = list {
        if u16::from_be_bytes([*n1, *n2]) == Algorithm::Sha256.code() {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*l1, *l2])).next_multiple_of(4);
        list = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_found_in_any_place_of_the_list() {
        assert!(offers_sha256(&[0, 2, 0, 0]));
        assert!(offers_sha256(&[0, 1, 0, 1, 9, 0, 0, 0, 0, 2, 0, 0]));
        assert!(!offers_sha256(&[0, 1, 0, 0]));
        assert!(!offers_sha256(&[0, 1, 0xFF, 0xFF, 0, 2, 0, 0]));
        assert!(!offers_sha256(&[0, 2]));
    }

    #[test]
    fn the_nonce_says_what_the_server_has() {
        let says_algorithms = |nonce: &[u8]| says(nonce, PASSWORD_ALGORITHMS);
        assert!(says_algorithms(b"obMatJos2gAAA0123"));
        assert!(!says_algorithms(b"obMatJos2AAAA0123"));
        assert!(!says_algorithms(b"obMatJos2!AAA0123"));
        assert!(!says_algorithms(b"obMatJos2gA"));
        assert!(!says_algorithms(b"0123456789"));
        assert!(says(b"obMatJos2wAAA", USERNAME_ANONYMITY) && says_algorithms(b"obMatJos2wAAA"));
        assert!(!says(b"obMatJos2gAAA", USERNAME_ANONYMITY));
    }
}
