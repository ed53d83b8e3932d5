//! A message that can be taken apart, changed, and signed again by somebody who knows the secret.

use turnwire::auth::{Algorithm, Key, RestDigest, Secret, mint_password};
use turnwire::stun::{
    Digest, HEADER, Kind, Mac, Message, Method, TransactionId, Writer, attribute,
};

/// What the users' passwords are minted from.
pub(crate) const SECRET: &str = "north";
pub(crate) const REALM: &str = "example.org";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    No,
    /// By somebody who knows the password.
    Right(Digest),
    Wrong(Digest),
}

#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) id: TransactionId,
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
    pub(crate) signed: Signed,
    /// The integrity as it was.
    pub(crate) tag: Vec<u8>,
    /// What stands behind it.
    pub(crate) behind: Vec<(u16, Vec<u8>)>,
    pub(crate) fingerprint: bool,
}

impl Draft {
    /// `None` when it is no message. The user's name signs it: a response has the one of its request.
    pub(crate) fn read(bytes: &[u8], user: Option<&str>) -> Option<Self> {
        let message = Message::parse(bytes).ok()?;
        let mut draft = Self {
            kind: message.kind(),
            id: message.transaction_id(),
            attributes: Vec::new(),
            signed: Signed::No,
            tag: Vec::new(),
            behind: Vec::new(),
            fingerprint: false,
        };
        let mut at = HEADER;
        while at < bytes.len() {
            let kind = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            let value = bytes[at + 4..at + 4 + length].to_vec();
            at += 4 + length.next_multiple_of(4);
            let hidden = draft.signed != Signed::No;
            match kind {
                attribute::FINGERPRINT => draft.fingerprint = true,
                attribute::MESSAGE_INTEGRITY | attribute::MESSAGE_INTEGRITY_SHA256 if !hidden => {
                    let digest = match kind {
                        attribute::MESSAGE_INTEGRITY => Digest::Sha1,
                        _ => Digest::Sha256,
                    };
                    let name = draft.text(attribute::USERNAME).or(user.map(str::to_owned));
                    let right = name.is_some_and(|name| message.verify(mac(&name, digest)));
                    draft.signed =
                        if right { Signed::Right(digest) } else { Signed::Wrong(digest) };
                    draft.tag = value;
                }
                _ if hidden => draft.behind.push((kind, value)),
                _ => draft.attributes.push((kind, value)),
            }
        }
        Some(draft)
    }

    /// A request of the proxy's own in a user's name.
    pub(crate) fn request(method: Method, user: &str, nonce: &[u8]) -> Self {
        let parts = [
            (attribute::USERNAME, user.as_bytes().to_vec()),
            (attribute::REALM, REALM.as_bytes().to_vec()),
            (attribute::NONCE, nonce.to_vec()),
        ];
        Self {
            kind: Kind::request(method),
            id: TransactionId::new(*b"the saboteur"),
            attributes: parts.to_vec(),
            signed: Signed::Right(Digest::Sha1),
            tag: Vec::new(),
            behind: Vec::new(),
            fingerprint: false,
        }
    }

    pub(crate) fn write(&self, user: Option<&str>) -> Vec<u8> {
        let mut room = vec![0; 65_536];
        let mut writer = Writer::new(&mut room, self.kind, &self.id);
        for (kind, value) in &self.attributes {
            writer.attribute(*kind, value);
        }
        let name = self.text(attribute::USERNAME).or(user.map(str::to_owned));
        match (self.signed, name) {
            (Signed::Right(digest), Some(name)) => writer.integrity(mac(&name, digest)),
            (Signed::No, _) => {}
            (Signed::Right(digest) | Signed::Wrong(digest), _) => {
                let kind = match digest {
                    Digest::Sha1 => attribute::MESSAGE_INTEGRITY,
                    Digest::Sha256 => attribute::MESSAGE_INTEGRITY_SHA256,
                };
                writer.attribute(kind, &self.tag);
            }
        }
        for (kind, value) in &self.behind {
            writer.attribute(*kind, value);
        }
        if self.fingerprint {
            writer.fingerprint();
        }
        let length = writer.finish().unwrap();
        room.truncate(length);
        room
    }

    pub(crate) fn get(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(it, _)| *it == kind).map(|(_, value)| &**value)
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.get(kind).is_some()
    }

    pub(crate) fn text(&self, kind: u16) -> Option<String> {
        self.get(kind).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    pub(crate) fn drop(&mut self, kind: u16) {
        self.attributes.retain(|(it, _)| *it != kind);
    }

    /// Puts a value in the place of the one that is there, or behind all others.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        match self.attributes.iter_mut().find(|(it, _)| *it == kind) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.attributes.push((kind, value.to_vec())),
        }
    }

    pub(crate) fn code(&self) -> Option<u16> {
        let value = self.get(attribute::ERROR_CODE)?;
        Some(u16::from(value[2]) * 100 + u16::from(value[3]))
    }

    pub(crate) fn put_code(&mut self, code: u16) {
        let value = [0, 0, (code / 100) as u8, (code % 100) as u8];
        self.put(attribute::ERROR_CODE, &value);
    }
}

fn mac(user: &str, digest: Digest) -> Mac {
    let algorithm = match digest {
        Digest::Sha1 => Algorithm::Md5,
        Digest::Sha256 => Algorithm::Sha256,
    };
    let password = match user {
        "alice" => "wonder".to_owned(),
        user => mint_password(RestDigest::Sha1, &Secret::new(SECRET), user),
    };
    Key::derive(algorithm, user, REALM, &password).mac(digest)
}
