//! A message from the server, and what can be claimed of it.

use std::net::SocketAddr;

use super::case::{Outcome, Stop, claim};
use crate::stun::{
    Class, HEADER, Kind, Mac, Message, Method, attribute, decode_address, decode_xor_address,
};

/// A message from the server.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
}

impl Reply {
    /// # Errors
    /// What comes is no well-formed message.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, Stop> {
        match Message::parse(&bytes) {
            Ok(_) => Ok(Self { bytes }),
            Err(error) => Stop::failed(format!("the answer is malformed: {error}")),
        }
    }

    pub(super) fn message(&self) -> Message<'_> {
        // unwrap: it was parsed when it came, and nobody can change it.
        Message::parse(&self.bytes).expect("parsed before")
    }

    pub(super) fn kind(&self) -> Kind {
        self.message().kind()
    }

    pub(super) fn is_success(&self) -> bool {
        self.kind().class == Class::Success
    }

    /// ERROR-CODE's number; `None` where there is none.
    pub(super) fn code(&self) -> Option<u16> {
        let &[_, _, class, number, ..] = self.get(attribute::ERROR_CODE)? else {
            return None;
        };
        Some(u16::from(class & 7) * 100 + u16::from(number))
    }

    /// In a few words.
    pub(super) fn words(&self) -> String {
        let method = self.kind().method.name();
        match (self.kind().class, self.code()) {
            (Class::Success, _) => format!("{method} succeeds"),
            (Class::Error, Some(code)) => format!("{method} is refused with {code}"),
            (Class::Error, None) => format!("{method} is refused without an ERROR-CODE"),
            (class, _) => format!("{class:?} of {method}"),
        }
    }

    pub(super) fn success(&self) -> Outcome {
        claim(self.is_success(), || self.words())
    }

    pub(super) fn refused(&self, code: u16) -> Outcome {
        self.refused_with(&[code])
    }

    pub(super) fn refused_with(&self, codes: &[u16]) -> Outcome {
        let fits = self.kind().class == Class::Error
            && self.code().is_some_and(|code| codes.contains(&code));
        claim(fits, || {
            let wanted: Vec<_> = codes.iter().map(u16::to_string).collect();
            format!("{}, and not with {}", self.words(), wanted.join(" or "))
        })
    }

    /// An attribute that the integrity covers.
    pub(super) fn get(&self, kind: u16) -> Option<&[u8]> {
        self.message().attribute(kind)
    }

    pub(super) fn has(&self, kind: u16, name: &str) -> Result<&[u8], Stop> {
        self.get(kind).map_or_else(|| Stop::failed(format!("there is no {name}")), Ok)
    }

    /// Every attribute as it lies there, padding included: those behind the integrity too.
    pub(super) fn raw(&self) -> Vec<(u16, &[u8], &[u8])> {
        let (mut found, mut rest) = (Vec::new(), &self.bytes[HEADER..]);
        while let [k1, k2, l1, l2, body @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*l1, *l2]));
            let whole = length.next_multiple_of(4).min(body.len());
            let (value, padding) = body[..whole].split_at(length.min(whole));
            found.push((u16::from_be_bytes([*k1, *k2]), value, padding));
            rest = &body[whole..];
        }
        found
    }

    /// An address as it is, without the cookie.
    pub(super) fn address(&self, kind: u16, name: &str) -> Result<SocketAddr, Stop> {
        let value = self.has(kind, name)?;
        decode_address(value).or_else(|_| Stop::failed(format!("{name} is no address")))
    }

    pub(super) fn xor_address(&self, kind: u16, name: &str) -> Result<SocketAddr, Stop> {
        let value = self.has(kind, name)?;
        let id = self.message().transaction_id();
        decode_xor_address(value, &id).or_else(|_| Stop::failed(format!("{name} is no address")))
    }

    pub(super) fn mapped(&self) -> Result<SocketAddr, Stop> {
        self.xor_address(attribute::XOR_MAPPED_ADDRESS, "XOR-MAPPED-ADDRESS")
    }

    pub(super) fn relayed(&self) -> Result<SocketAddr, Stop> {
        self.xor_address(attribute::XOR_RELAYED_ADDRESS, "XOR-RELAYED-ADDRESS")
    }

    pub(super) fn lifetime(&self) -> Result<u32, Stop> {
        let value = self.has(attribute::LIFETIME, "LIFETIME")?;
        let bytes = value.try_into().or_else(|_| Stop::failed("LIFETIME is not 4 bytes long"))?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// That it was signed by somebody with the key.
    pub(super) fn signed(&self, mac: Mac) -> Outcome {
        let message = self.message();
        claim(message.has_integrity(), || format!("{}, and is not signed", self.words()))?;
        claim(message.verify(mac), || format!("{}, and the signature is wrong", self.words()))
    }

    /// A Data indication: the peer and the data.
    pub(super) fn data(&self) -> Option<(SocketAddr, &[u8])> {
        let indication = Kind::indication(Method::DATA);
        let data = (self.kind() == indication).then(|| self.get(attribute::DATA)).flatten()?;
        let peer = self.get(attribute::XOR_PEER_ADDRESS)?;
        Some((decode_xor_address(peer, &self.message().transaction_id()).ok()?, data))
    }
}
