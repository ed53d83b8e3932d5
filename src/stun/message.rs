use super::integrity::fingerprint;
use super::{Digest, Error, Mac, attribute};

/// Length of the STUN header, in bytes.
pub const HEADER: usize = 20;
/// Tells RFC 5389 and later from RFC 3489 (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// The class of a message (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Wants a response.
    Request,
    /// Wants none.
    Indication,
    /// A success response.
    Success,
    /// An error response.
    Error,
}

/// The method of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub u16);

impl Method {
    /// RFC 8489 §3.
    pub const BINDING: Self = Self(0x001);
    /// RFC 8656 §17.
    pub const ALLOCATE: Self = Self(0x003);
    /// RFC 8656 §17.
    pub const REFRESH: Self = Self(0x004);
    /// RFC 8656 §17.
    pub const SEND: Self = Self(0x006);
    /// RFC 8656 §17.
    pub const DATA: Self = Self(0x007);
    /// RFC 8656 §17.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// RFC 8656 §17.
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// RFC 6062 §6.1.
    pub const CONNECT: Self = Self(0x00A);
    /// RFC 6062 §6.1.
    pub const CONNECTION_BIND: Self = Self(0x00B);
    /// RFC 6062 §6.1.
    pub const CONNECTION_ATTEMPT: Self = Self(0x00C);

    /// The RFC's name of the method, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BINDING => "Binding",
            Self::ALLOCATE => "Allocate",
            Self::REFRESH => "Refresh",
            Self::SEND => "Send",
            Self::DATA => "Data",
            Self::CREATE_PERMISSION => "CreatePermission",
            Self::CHANNEL_BIND => "ChannelBind",
            Self::CONNECT => "Connect",
            Self::CONNECTION_BIND => "ConnectionBind",
            Self::CONNECTION_ATTEMPT => "ConnectionAttempt",
            _ => "unknown",
        }
    }
}

/// Class and method together: the message type field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The class.
    pub class: Class,
    /// The method.
    pub method: Method,
}

impl Kind {
    /// A request.
    pub const fn request(method: Method) -> Self {
        Self { class: Class::Request, method }
    }

    /// An indication.
    pub const fn indication(method: Method) -> Self {
        Self { class: Class::Indication, method }
    }

    /// A success response.
    pub const fn success(method: Method) -> Self {
        Self { class: Class::Success, method }
    }

    /// An error response.
    pub const fn error(method: Method) -> Self {
        Self { class: Class::Error, method }
    }

    /// The message type field: the class bits lie between the method's (RFC 8489 §5, figure 3).
    pub const fn bits(self) -> u16 {
        let class = match self.class {
            Class::Request => 0x000,
            Class::Indication => 0x010,
            Class::Success => 0x100,
            Class::Error => 0x110,
        };
        let m = self.method.0;
        class | (m & 0x00F) | ((m & 0x070) << 1) | ((m & 0xF80) << 2)
    }

    const fn from_bits(bits: u16) -> Self {
        let class = match bits & 0x110 {
            0x000 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            _ => Class::Error,
        };
        let method = (bits & 0x00F) | ((bits & 0x0E0) >> 1) | ((bits & 0x3E00) >> 2);
        Self { class, method: Method(method) }
    }
}

/// A transaction ID with the 32 bits before it, which are the magic cookie since RFC 5389 and
/// part of a 128-bit ID in RFC 3489.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId {
    cookie: u32,
    id: [u8; 12],
}

impl TransactionId {
    /// An ID of RFC 5389 and later.
    pub const fn new(id: [u8; 12]) -> Self {
        Self { cookie: MAGIC_COOKIE, id }
    }

    /// A 128-bit ID of RFC 3489.
    pub const fn classic(cookie: u32, id: [u8; 12]) -> Self {
        Self { cookie, id }
    }

    /// The 96 bits of RFC 8489.
    pub const fn bytes(&self) -> &[u8; 12] {
        &self.id
    }

    /// The 32 bits before them.
    pub const fn cookie(&self) -> u32 {
        self.cookie
    }
}

/// A checked view of a STUN message.
///
/// Parsing walks all attributes once, so that reading them cannot fail afterwards. What stands
/// after an integrity attribute is never shown (RFC 8489 §14.5, §14.6).
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// End of the attributes that may be read.
    visible: usize,
    sha1_at: Option<usize>,
    sha256_at: Option<usize>,
    fingerprint: bool,
}

impl<'a> Message<'a> {
    /// Checks the header, the attributes' lengths and, where present, FINGERPRINT.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::Space`]; such a packet is to be dropped without an answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let &[b0, _, l1, l2, ..] = bytes else {
            return Err(Error::Length);
        };
        if b0 & 0xC0 != 0 {
            return Err(Error::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([l1, l2]));
        // RFC 8489 §5: attributes are padded, so the last two bits of the length are zero.
        if bytes.len() < HEADER || length % 4 != 0 || bytes.len() != HEADER + length {
            return Err(Error::Length);
        }
        let mut message =
            Self { bytes, visible: HEADER, sha1_at: None, sha256_at: None, fingerprint: false };
        message.walk()?;
        Ok(message)
    }

    fn walk(&mut self) -> Result<(), Error> {
        let mut at = HEADER;
        let mut hidden = false;
        while at < self.bytes.len() {
            let (kind, value) = attribute_at(self.bytes, at).ok_or(Error::Truncated)?;
            let next = at + 4 + value.len().next_multiple_of(4);
            match kind {
                attribute::FINGERPRINT => {
                    // RFC 8489 §14.7: it MUST be the last attribute.
                    if value.len() != 4 || next != self.bytes.len() {
                        return Err(Error::Integrity);
                    }
                    if value != fingerprint(&self.bytes[..at]).to_be_bytes() {
                        return Err(Error::Fingerprint);
                    }
                    self.fingerprint = true;
                    hidden = true;
                }
                attribute::MESSAGE_INTEGRITY if !hidden => {
                    if value.len() != 20 {
                        return Err(Error::Integrity);
                    }
                    self.sha1_at = Some(at);
                    hidden = true;
                }
                // It may follow MESSAGE-INTEGRITY, and nothing else (RFC 8489 §14.5).
                attribute::MESSAGE_INTEGRITY_SHA256 if self.sha256_at.is_none() => {
                    // RFC 8489 §14.6: at least 16 bytes, a multiple of 4.
                    if !matches!(value.len(), 16 | 20 | 24 | 28 | 32) {
                        return Err(Error::Integrity);
                    }
                    self.sha256_at = Some(at);
                    hidden = true;
                }
                _ => {}
            }
            at = next;
            if !hidden {
                self.visible = at;
            }
        }
        Ok(())
    }

    /// Class and method.
    pub fn kind(&self) -> Kind {
        Kind::from_bits(u16::from_be_bytes([self.bytes[0], self.bytes[1]]))
    }

    /// The transaction ID, with RFC 3489's first 32 bits.
    pub fn transaction_id(&self) -> TransactionId {
        let b = self.bytes;
        let mut id = [0; 12];
        id.copy_from_slice(&b[8..HEADER]);
        TransactionId { cookie: u32::from_be_bytes([b[4], b[5], b[6], b[7]]), id }
    }

    /// Whether the magic cookie is missing: a client of RFC 3489.
    pub fn is_classic(&self) -> bool {
        self.transaction_id().cookie != MAGIC_COOKIE
    }

    /// Whether a (matching) FINGERPRINT is present.
    pub const fn has_fingerprint(&self) -> bool {
        self.fingerprint
    }

    /// Whether MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 is present.
    pub const fn has_integrity(&self) -> bool {
        self.sha1_at.is_some() || self.sha256_at.is_some()
    }

    /// The integrity attribute that a receiver has to check: the stronger one that is there
    /// (RFC 8489 §9.2.4).
    pub const fn integrity(&self) -> Option<Digest> {
        match (self.sha256_at, self.sha1_at) {
            (Some(_), _) => Some(Digest::Sha256),
            (None, Some(_)) => Some(Digest::Sha1),
            (None, None) => None,
        }
    }

    /// Checks the integrity attribute of the key's digest. False when it is not there.
    pub fn verify(&self, mut mac: Mac) -> bool {
        let at = match mac.digest() {
            Digest::Sha1 => self.sha1_at,
            Digest::Sha256 => self.sha256_at,
        };
        let Some((at, (_, tag))) = at.and_then(|at| Some((at, attribute_at(self.bytes, at)?)))
        else {
            return false;
        };
        // RFC 8489 §14.5: the length covers the integrity attribute and nothing behind it.
        mac.feed_message(self.bytes, at, (at + 4 + tag.len() - HEADER) as u16);
        mac.verify(tag)
    }

    /// The attributes before any integrity attribute and FINGERPRINT, in order.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let bytes = &self.bytes[..self.visible];
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let (kind, value) = attribute_at(bytes, at)?;
            at += 4 + value.len().next_multiple_of(4);
            Some((kind, value))
        })
    }

    /// The first attribute of a type: the one that counts (RFC 8489 §14).
    pub fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }
}

fn attribute_at(bytes: &[u8], at: usize) -> Option<(u16, &[u8])> {
    let head = bytes.get(at..at + 4)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    // The padding has to be there as well.
    let padded = bytes.get(at + 4..at + 4 + length.next_multiple_of(4))?;
    Some((u16::from_be_bytes([head[0], head[1]]), &padded[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::Writer;

    #[test]
    fn every_method_and_class_survives_the_type_field() {
        for method in 0..0x1000 {
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                let kind = Kind { class, method: Method(method) };
                assert_eq!(Kind::from_bits(kind.bits()), kind);
                assert!(kind.bits() < 0x4000);
            }
        }
    }

    #[test]
    fn lengths_must_agree() {
        let mut packet = [0; 24];
        packet[1] = 1;
        assert_eq!(Message::parse(&packet[..20]).map(|_| ()), Ok(()));
        assert_eq!(Message::parse(&packet).map(|_| ()), Err(Error::Length));
        packet[3] = 3;
        assert_eq!(Message::parse(&packet[..23]).map(|_| ()), Err(Error::Length));
        packet[3] = 4;
        // An attribute of 8 bytes in a message that has room for none.
        packet[23] = 8;
        assert_eq!(Message::parse(&packet).map(|_| ()), Err(Error::Truncated));
    }

    #[test]
    fn what_follows_an_integrity_attribute_is_hidden() {
        // RFC 8489 §14.5
        let id = TransactionId::new([1; 12]);
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, Kind::request(Method::ALLOCATE), &id);
        writer.attribute(attribute::REALM, b"r");
        writer.integrity(Mac::new(Digest::Sha1, b"key"));
        writer.attribute(attribute::USERNAME, b"mallory");
        let length = writer.finish().unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        assert_eq!(message.attribute(attribute::REALM), Some(&b"r"[..]));
        assert_eq!(message.attribute(attribute::USERNAME), None);
        assert!(message.verify(Mac::new(Digest::Sha1, b"key")));
        assert!(!message.verify(Mac::new(Digest::Sha1, b"other")));
    }
}
