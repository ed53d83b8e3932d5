use std::net::SocketAddr;

use super::address::{encode, xor};
use super::integrity::fingerprint;
use super::{Digest, Error, HEADER, Kind, MAGIC_COOKIE, Mac, Method, TransactionId, attribute};

/// Builds one message in a buffer of the caller's.
///
/// A message that does not fit is noticed once, by [`Writer::finish`].
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
    id: TransactionId,
    overflow: bool,
}

impl<'b> Writer<'b> {
    /// Starts a message.
    pub fn new(buffer: &'b mut [u8], kind: Kind, id: &TransactionId) -> Self {
        let mut writer = Self { buffer, length: 0, id: *id, overflow: false };
        writer.put(&kind.bits().to_be_bytes());
        writer.put(&[0; 2]);
        writer.put(&id.cookie().to_be_bytes());
        writer.put(id.bytes());
        writer
    }

    fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.overflow = true,
        }
    }

    /// Appends an attribute with its padding.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let Ok(length) = u16::try_from(value.len()) else {
            self.overflow = true;
            return;
        };
        self.put(&kind.to_be_bytes());
        self.put(&length.to_be_bytes());
        self.put(value);
        self.put(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
    }

    /// Appends an attribute that is a 32-bit number.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends an address in clear (RFC 8489 §14.1).
    pub fn address(&mut self, kind: u16, address: SocketAddr) {
        let mut value = [0; 20];
        let length = encode(address, &mut value);
        self.attribute(kind, &value[..length]);
    }

    /// Appends an address XORed with the cookie and the transaction ID (RFC 8489 §14.2).
    pub fn xor_address(&mut self, kind: u16, address: SocketAddr) {
        self.address(kind, xor(address, &self.id));
    }

    /// Appends ERROR-CODE (RFC 8489 §14.8).
    pub fn error_code(&mut self, code: u16, reason: &str) {
        self.coded(attribute::ERROR_CODE, 0, code, reason);
    }

    /// Appends ADDRESS-ERROR-CODE without a phrase (RFC 8656 §18.12).
    pub fn address_error_code(&mut self, family: super::Family, code: u16) {
        self.coded(attribute::ADDRESS_ERROR_CODE, family.code(), code, "");
    }

    fn coded(&mut self, kind: u16, family: u8, code: u16, reason: &str) {
        // RFC 8489 §14.8: fewer than 128 characters.
        let end = reason.char_indices().nth(127).map_or(reason.len(), |(at, _)| at);
        let mut value = [0; 4 + 509];
        value[..4].copy_from_slice(&[family, 0, (code / 100) as u8, (code % 100) as u8]);
        value[4..4 + end].copy_from_slice(&reason.as_bytes()[..end]);
        self.attribute(kind, &value[..4 + end]);
    }

    /// Appends UNKNOWN-ATTRIBUTES (RFC 8489 §14.13), at most 16 of them.
    pub fn unknown_attributes(&mut self, kinds: &[u16]) {
        let mut value = [0; 32];
        let kinds = &kinds[..kinds.len().min(16)];
        for (slot, kind) in value.chunks_exact_mut(2).zip(kinds) {
            slot.copy_from_slice(&kind.to_be_bytes());
        }
        self.attribute(attribute::UNKNOWN_ATTRIBUTES, &value[..2 * kinds.len()]);
    }

    /// Appends PADDING (RFC 5780 §7.6) so that the message is at most `total` bytes long, with
    /// `behind` more that follow. There is nothing in it when there is no room.
    pub fn padding(&mut self, total: usize, behind: usize) {
        let length = total.saturating_sub(self.length + 4 + behind) & !3;
        self.put(&attribute::PADDING.to_be_bytes());
        // RFC 8489 §5: a length is below 64 KiB; so is the buffer's rest in what follows.
        let length = length.min(usize::from(u16::MAX) & !3);
        self.put(&(length as u16).to_be_bytes());
        match self.buffer.get_mut(self.length..self.length + length) {
            Some(room) => {
                room.fill(0);
                self.length += length;
            }
            None => self.overflow = true,
        }
    }

    /// Appends MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 over what stands so far.
    pub fn integrity(&mut self, mac: Mac) {
        self.integrity_truncated(mac, 32);
    }

    /// The same, cut to `keep` bytes (RFC 8489 §14.6; only SHA-256 may be cut).
    pub fn integrity_truncated(&mut self, mut mac: Mac, keep: usize) {
        let (kind, full) = match mac.digest() {
            Digest::Sha1 => (attribute::MESSAGE_INTEGRITY, 20),
            Digest::Sha256 => (attribute::MESSAGE_INTEGRITY_SHA256, 32),
        };
        if self.overflow {
            return;
        }
        let keep = keep.min(full);
        mac.feed_message(self.buffer, self.length, (self.length + 4 + keep - HEADER) as u16);
        let mut tag = [0; 32];
        mac.finish(&mut tag);
        self.attribute(kind, &tag[..keep]);
    }

    /// Appends FINGERPRINT (RFC 8489 §14.7). Nothing may follow it.
    pub fn fingerprint(&mut self) {
        if self.overflow {
            return;
        }
        self.set_length(self.length + 8);
        let value = fingerprint(&self.buffer[..self.length]);
        self.number(attribute::FINGERPRINT, value);
    }

    fn set_length(&mut self, total: usize) {
        self.buffer[2..4].copy_from_slice(&((total - HEADER) as u16).to_be_bytes());
    }

    /// Completes the message and tells its length.
    ///
    /// # Errors
    /// [`Error::Space`] when the buffer was too small or the message would pass 65,555 bytes.
    pub fn finish(mut self) -> Result<usize, Error> {
        if self.overflow || self.length < HEADER || self.length - HEADER > usize::from(u16::MAX) {
            return Err(Error::Space);
        }
        self.set_length(self.length);
        Ok(self.length)
    }
}

/// The longest header of a Data indication: 20 for STUN, 24 for an IPv6 peer, 4 for DATA.
pub const DATA_INDICATION_MAX: usize = 48;

/// Writes the part of a Data indication that stands before its payload (RFC 8656 §11.3) so that
/// it ends where `headroom` ends, and returns its length. The payload follows in place; the
/// caller adds the padding that the length field already counts.
///
/// `None` when the indication would pass the 65,535 bytes of the length field.
pub fn write_data_indication_header(
    headroom: &mut [u8; DATA_INDICATION_MAX],
    id: [u8; 12],
    peer: SocketAddr,
    payload: usize,
) -> Option<usize> {
    let mut value = [0; 20];
    let address = encode(xor(peer, &TransactionId::new(id)), &mut value);
    let header = HEADER + 4 + address + 4;
    let length = u16::try_from(header - HEADER + payload.next_multiple_of(4)).ok()?;
    let out = &mut headroom[DATA_INDICATION_MAX - header..];
    out[..2].copy_from_slice(&Kind::indication(Method::DATA).bits().to_be_bytes());
    out[2..4].copy_from_slice(&length.to_be_bytes());
    out[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    out[8..20].copy_from_slice(&id);
    out[20..22].copy_from_slice(&attribute::XOR_PEER_ADDRESS.to_be_bytes());
    out[22..24].copy_from_slice(&(address as u16).to_be_bytes());
    out[24..24 + address].copy_from_slice(&value[..address]);
    let data = 24 + address;
    out[data..data + 2].copy_from_slice(&attribute::DATA.to_be_bytes());
    out[data + 2..data + 4].copy_from_slice(&(payload as u16).to_be_bytes());
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::Message;

    #[test]
    fn a_message_that_does_not_fit_is_an_error() {
        let id = TransactionId::new([0; 12]);
        let mut buffer = [0; 27];
        let mut writer = Writer::new(&mut buffer, Kind::request(Method::BINDING), &id);
        writer.number(attribute::LIFETIME, 1);
        writer.fingerprint();
        assert_eq!(writer.finish(), Err(Error::Space));
    }

    #[test]
    fn the_in_place_data_indication_is_a_message() {
        for (peer, header) in [("192.0.2.1:5", 36), ("[2001:db8::1]:5", 48)] {
            let peer: SocketAddr = peer.parse().unwrap();
            for payload in [0, 1, 4, 1200] {
                let mut room = [0; DATA_INDICATION_MAX];
                let length =
                    write_data_indication_header(&mut room, [3; 12], peer, payload).unwrap();
                assert_eq!(length, header);
                let mut packet = room[DATA_INDICATION_MAX - length..].to_vec();
                packet.resize(length + payload.next_multiple_of(4), 0xAB);
                let message = Message::parse(&packet).unwrap();
                assert_eq!(message.kind(), Kind::indication(Method::DATA));
                assert_eq!(message.attribute(attribute::DATA).unwrap().len(), payload);
                let address = message.attribute(attribute::XOR_PEER_ADDRESS).unwrap();
                let id = message.transaction_id();
                assert_eq!(crate::stun::decode_xor_address(address, &id), Ok(peer));
            }
        }
    }
}
