//! A response taken apart.

use std::net::SocketAddr;

use turnwire::auth::Key;
use turnwire::stun::{
    Class, Digest, Kind, Message, TransactionId, attribute, decode_address, decode_xor_address,
};

/// A response of the server's, with the values a test asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) bytes: Vec<u8>,
}

impl Response {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Message::parse(bytes).expect("a response is a STUN message");
        Self { bytes: bytes.to_vec() }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).expect("checked when it was made")
    }

    pub(crate) fn kind(&self) -> Kind {
        self.message().kind()
    }

    pub(crate) fn id(&self) -> TransactionId {
        self.message().transaction_id()
    }

    pub(crate) fn success(&self) -> bool {
        self.kind().class == Class::Success
    }

    pub(crate) fn get(&self, kind: u16) -> Option<&[u8]> {
        self.message().attribute(kind)
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.get(kind).is_some()
    }

    /// The code in ERROR-CODE; 0 in a success response.
    pub(crate) fn code(&self) -> u16 {
        let coded = |value: &[u8]| u16::from(value[2] & 7) * 100 + u16::from(value[3]);
        match self.get(attribute::ERROR_CODE) {
            Some(value) => coded(value),
            None => {
                assert!(self.success(), "an error response without ERROR-CODE");
                0
            }
        }
    }

    /// The phrase in ERROR-CODE.
    pub(crate) fn reason(&self) -> &str {
        let value = self.get(attribute::ERROR_CODE).unwrap_or(&[0; 4]);
        std::str::from_utf8(&value[4..]).expect("RFC 8489 §14.8: UTF-8")
    }

    pub(crate) fn lifetime(&self) -> Option<u32> {
        let value = self.get(attribute::LIFETIME)?;
        Some(u32::from_be_bytes(value.try_into().expect("RFC 8656 §18.2")))
    }

    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        let value = self.get(attribute::XOR_MAPPED_ADDRESS)?;
        Some(decode_xor_address(value, &self.id()).expect("an address"))
    }

    pub(crate) fn classic_mapped(&self) -> Option<SocketAddr> {
        let value = self.get(attribute::MAPPED_ADDRESS)?;
        Some(decode_address(value).expect("an address"))
    }

    /// The relayed transport addresses in the order in which they stand.
    pub(crate) fn relayed(&self) -> Vec<SocketAddr> {
        let id = self.id();
        self.message()
            .attributes()
            .filter(|(kind, _)| *kind == attribute::XOR_RELAYED_ADDRESS)
            .map(|(_, value)| decode_xor_address(value, &id).expect("an address"))
            .collect()
    }

    pub(crate) fn token(&self) -> Option<[u8; 8]> {
        let value = self.get(attribute::RESERVATION_TOKEN)?;
        Some(value.try_into().expect("RFC 8656 §18.10"))
    }

    /// CONNECTION-ID.
    pub(crate) fn connection(&self) -> Option<u32> {
        let value = self.get(attribute::CONNECTION_ID)?;
        Some(u32::from_be_bytes(value.try_into().expect("RFC 6062 §6.2.1")))
    }

    /// XOR-PEER-ADDRESS.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        let value = self.get(attribute::XOR_PEER_ADDRESS)?;
        Some(decode_xor_address(value, &self.id()).expect("an address"))
    }

    /// Family and code in ADDRESS-ERROR-CODE.
    pub(crate) fn address_error(&self) -> Option<(u8, u16)> {
        let value = self.get(attribute::ADDRESS_ERROR_CODE)?;
        Some((value[0], u16::from(value[2] & 7) * 100 + u16::from(value[3])))
    }

    /// The digest of its integrity; it must match the key.
    pub(crate) fn signed(&self, key: &Key) -> Option<Digest> {
        let digest = self.message().integrity()?;
        let good = self.message().verify(key.mac(digest));
        assert!(good, "the response's integrity does not match");
        Some(digest)
    }
}
