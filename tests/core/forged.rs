//! Requests in which each part of the credentials can be left out or replaced.

use super::TestClient;
use turnwire::auth::{Algorithm, Key};
use turnwire::stun::{Digest, Kind, Method, TransactionId, Writer, attribute};

/// A signed request, taken apart.
#[derive(Clone)]
pub(crate) struct Forged {
    pub(crate) method: Method,
    pub(crate) username: Option<Vec<u8>>,
    pub(crate) userhash: Option<Vec<u8>>,
    pub(crate) realm: Option<Vec<u8>>,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) algorithm: Option<Vec<u8>>,
    pub(crate) algorithms: Option<Vec<u8>>,
    /// The integrity attributes in their order, each with the length that it is cut to.
    pub(crate) tags: Vec<(Key, Digest, usize)>,
    /// Attributes before the credentials.
    pub(crate) before: Vec<(u16, Vec<u8>)>,
    /// Attributes behind the integrity.
    pub(crate) behind: Vec<(u16, Vec<u8>)>,
}

impl Forged {
    /// The client's Allocate by RFC 5389: MD5 and HMAC-SHA1. It must have been challenged.
    pub(crate) fn allocate(client: &mut TestClient) -> Self {
        let key = client.key();
        Self {
            method: Method::ALLOCATE,
            username: Some(client.username.clone().into_bytes()),
            userhash: None,
            realm: client.realm.clone().map(String::into_bytes),
            nonce: client.nonce.clone(),
            algorithm: None,
            algorithms: None,
            tags: vec![(key, Digest::Sha1, 20)],
            before: vec![(attribute::REQUESTED_TRANSPORT, vec![17, 0, 0, 0])],
            behind: Vec::new(),
        }
    }

    /// The same with the algorithm chosen from the server's list.
    pub(crate) fn choosing(client: &mut TestClient, algorithm: Algorithm) -> Self {
        client.style.algorithm = Some(algorithm);
        let plain = Self::allocate(client);
        let [(key, ..)] = &plain.tags[..] else {
            unreachable!("one tag");
        };
        Self {
            algorithm: Some([algorithm.code().to_be_bytes(), [0; 2]].concat()),
            algorithms: client.algorithms.clone(),
            tags: vec![(key.clone(), Digest::Sha256, 32)],
            ..plain
        }
    }

    pub(crate) fn write(&self, client: &mut TestClient) -> Vec<u8> {
        self.write_with(&client.new_id())
    }

    pub(crate) fn write_with(&self, id: &TransactionId) -> Vec<u8> {
        let mut buffer = vec![0; 4096];
        let mut writer = Writer::new(&mut buffer, Kind::request(self.method), id);
        for (kind, value) in &self.before {
            writer.attribute(*kind, value);
        }
        for (kind, value) in [
            (attribute::USERNAME, &self.username),
            (attribute::USERHASH, &self.userhash),
            (attribute::REALM, &self.realm),
            (attribute::NONCE, &self.nonce),
            (attribute::PASSWORD_ALGORITHM, &self.algorithm),
            (attribute::PASSWORD_ALGORITHMS, &self.algorithms),
        ] {
            if let Some(value) = value {
                writer.attribute(kind, value);
            }
        }
        for (key, digest, keep) in &self.tags {
            writer.integrity_truncated(key.mac(*digest), *keep);
        }
        for (kind, value) in &self.behind {
            writer.attribute(*kind, value);
        }
        let length = writer.finish().expect("it fits");
        buffer.truncate(length);
        buffer
    }
}
