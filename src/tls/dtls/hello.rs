//! Handshake messages as far as they are read before OpenSSL sees them: a ClientHello, and the answer that asks for a
//! cookie.

use super::record::{DTLS_1_0, HANDSHAKE, HEADER, Header, Records};

/// Bytes of a handshake message's header (RFC 6347 §4.2.2).
pub(super) const MESSAGE_HEADER: usize = 12;
pub(super) const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// `client_version` and `random`.
const FIXED: usize = 2 + 32;

/// What a ClientHello says that matters before its sender is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The client's random: the same in each repetition of one handshake's hellos, and in no
    /// other handshake.
    pub random: &'a [u8; 32],
    /// Empty in the first hello.
    pub cookie: &'a [u8],
    /// The record's sequence number.
    pub(super) sequence: u64,
}

/// A handshake message, or a fragment of one (RFC 6347 §4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment<'a> {
    pub(super) kind: u8,
    /// Bytes of the whole message.
    pub(super) size: usize,
    /// The message's place in the handshake.
    pub(super) number: u16,
    /// Where in the message the fragment stands.
    pub(super) offset: usize,
    pub(super) body: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Reads the first one in a handshake record.
    pub(super) fn parse(record: &'a [u8]) -> Option<Self> {
        Self::read(record.get(HEADER..)?)
    }

    /// Whether a handshake record is made of messages, or fragments of messages, of at most so many
    /// bytes each.
    pub(super) fn are_short(record: &'a [u8], longest: usize) -> bool {
        let mut rest = record.get(HEADER..).unwrap_or_default();
        while let Some(fragment) = Self::read(rest)
            && fragment.size <= longest
        {
            rest = &rest[MESSAGE_HEADER + fragment.body.len()..];
        }
        rest.is_empty()
    }

    /// Reads the first one of what a record holds.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<MESSAGE_HEADER>()?;
        let [kind, l0, l1, l2, m0, m1, o0, o1, o2, f0, f1, f2] = *header;
        let number = |bytes| u32::from_be_bytes(bytes) as usize;
        let (size, offset) = (number([0, l0, l1, l2]), number([0, o0, o1, o2]));
        let body = rest.get(..number([0, f0, f1, f2]))?;
        let inside = offset + body.len() <= size;
        let number = u16::from_be_bytes([m0, m1]);
        inside.then_some(Self { kind, size, number, offset, body })
    }
}

impl<'a> ClientHello<'a> {
    /// Reads the ClientHello that a datagram begins with. Of one in fragments the first is enough.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, place) = Records::new().next(datagram)?;
        if header.kind != HANDSHAKE || !header.is_plain() {
            return None;
        }
        let Fragment { kind, offset, body, .. } = Fragment::parse(&datagram[place])?;
        if kind != CLIENT_HELLO || offset != 0 {
            return None;
        }
        let random = body.get(2..FIXED)?.try_into().ok()?;
        let session = usize::from(*body.get(FIXED)?);
        let at = FIXED + 1 + session;
        let length = usize::from(*body.get(at)?);
        let cookie = body.get(at + 1..at + 1 + length)?;
        // Something must follow: no hello ends with its cookie.
        body.get(at + 1 + length)?;
        Some(Self { random, cookie, sequence: header.sequence })
    }

    /// Writes the HelloVerifyRequest that asks for `cookie`, and returns its length. It is
    /// shorter than any ClientHello.
    pub fn verify_request(&self, cookie: &[u8], out: &mut [u8; VERIFY_REQUEST_MAX]) -> usize {
        let message = 3 + cookie.len();
        let length = MESSAGE_HEADER + message;
        // RFC 6347 §4.2.1: with the record's number of the ClientHello, message number 0, and
        // server version DTLS 1.0, whatever will be agreed on.
        let header = Header { kind: HANDSHAKE, epoch: 0, sequence: self.sequence, length };
        out[..HEADER].copy_from_slice(&header.bytes(DTLS_1_0));
        let size = message as u8;
        out[HEADER..HEADER + MESSAGE_HEADER].copy_from_slice(&[
            HELLO_VERIFY_REQUEST,
            0,
            0,
            size,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            size,
        ]);
        let body = &mut out[HEADER + MESSAGE_HEADER..HEADER + length];
        body[..2].copy_from_slice(&DTLS_1_0);
        body[2] = cookie.len() as u8;
        body[3..].copy_from_slice(cookie);
        HEADER + length
    }
}

/// Room for a HelloVerifyRequest.
pub const VERIFY_REQUEST_MAX: usize = HEADER + MESSAGE_HEADER + 3 + super::cookie::LENGTH;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::time::Mono;
    use crate::tls::dtls::Cookies;

    /// A ClientHello with nothing in it that need not be.
    pub(in crate::tls::dtls) fn hello(sequence: u64, message: u16, cookie: &[u8]) -> Vec<u8> {
        let mut body = vec![0xFE, 0xFD];
        body.extend([7; 32]);
        body.push(0);
        body.push(cookie.len() as u8);
        body.extend(cookie);
        body.extend([0, 2, 0xC0, 0x2B, 1, 0]);
        let length = MESSAGE_HEADER + body.len();
        let mut datagram =
            Header { kind: HANDSHAKE, epoch: 0, sequence, length }.bytes(DTLS_1_0).to_vec();
        let size = (body.len() as u32).to_be_bytes();
        datagram.push(CLIENT_HELLO);
        datagram.extend(&size[1..]);
        datagram.extend(message.to_be_bytes());
        datagram.extend([0; 3]);
        datagram.extend(&size[1..]);
        datagram.extend(body);
        datagram
    }

    #[test]
    fn what_matters_is_read_and_no_damage_is_taken_for_more() {
        let whole = hello(9, 1, b"cookie");
        let read = ClientHello::parse(&whole).unwrap();
        assert_eq!((read.cookie, read.random, read.sequence), (&b"cookie"[..], &[7; 32], 9));
        for end in 0..whole.len() {
            assert_eq!(ClientHello::parse(&whole[..end]), None, "{end}");
        }
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            for value in [0, 1, 0x7F, 0xFF] {
                damaged[place] = value;
                // Whatever it is taken for, it is taken from within.
                let _ = ClientHello::parse(&damaged);
            }
        }
    }

    #[test]
    fn the_first_fragment_is_enough_and_another_is_nothing_to_begin_with() {
        let mut datagram = hello(0, 1, b"cookie");
        // The message is 100 bytes longer than this fragment.
        datagram[HEADER + 3] += 100;
        assert_eq!(ClientHello::parse(&datagram).unwrap().cookie, b"cookie");
        datagram[HEADER + 8] = 1;
        assert_eq!(ClientHello::parse(&datagram), None);
    }

    #[test]
    fn no_answer_is_longer_than_the_shortest_question() {
        let datagram = hello(3, 0, &[]);
        let cookies = Cookies::new([1; 32]);
        let address = "192.0.2.1:1".parse().unwrap();
        let read = ClientHello::parse(&datagram).unwrap();
        let cookie = cookies.mint(Mono::from_secs(1), address, address, &read);
        let mut out = [0; VERIFY_REQUEST_MAX];
        let length = read.verify_request(&cookie, &mut out);
        assert!(length == VERIFY_REQUEST_MAX && length < datagram.len());
        assert_eq!(out[..HEADER], [22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 3, 0, 32]);
        assert_eq!(out[HEADER..][..16], [3, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 20, 254, 255, 17, 0]);
    }
}
