//! The one message that OpenSSL does not put together by itself: the hello with the cookie.

use super::hello::{CLIENT_HELLO, Fragment, MESSAGE_HEADER};
use super::record::{DTLS_1_0, HANDSHAKE, Header, Records};

/// The longest hello, in bytes: one with a key share against quantum computers has 1.5 KB.
const HELLO: usize = 8 << 10;
/// The hello that brings a cookie is the second message of its handshake.
const SECOND: u16 = 1;

/// A ClientHello with a good cookie that comes in fragments. OpenSSL's `DTLSv1_listen` takes none.
pub(super) struct Assembly {
    /// The number of the first fragment's record.
    sequence: u64,
    size: usize,
    /// The message from its start, as far as it has come.
    body: Vec<u8>,
}

impl Assembly {
    /// Begins with the first fragment; `None` when it is no such hello, or too long.
    pub(super) fn begin(datagram: &[u8]) -> Option<Self> {
        let (header, place) = Records::new().next(datagram)?;
        let first = Fragment::parse(&datagram[place])?;
        let hello = (first.kind, first.number, first.offset) == (CLIENT_HELLO, SECOND, 0);
        (hello && first.size <= HELLO).then(|| Self {
            sequence: header.sequence,
            size: first.size,
            body: first.body.to_vec(),
        })
    }

    /// Adds the fragments of a datagram. One that comes too early is dropped: the client repeats
    /// all of them.
    pub(super) fn add(&mut self, datagram: &[u8]) {
        let mut records = Records::new();
        while let Some((header, place)) = records.next(datagram) {
            if header.kind == HANDSHAKE
                && header.is_plain()
                && let Some(fragment) = Fragment::parse(&datagram[place])
                && (fragment.kind, fragment.number) == (CLIENT_HELLO, SECOND)
                && fragment.size == self.size
                && let Some(known) = self.body.len().checked_sub(fragment.offset)
                && let Some(more) = fragment.body.get(known..)
            {
                self.body.extend_from_slice(more);
            }
        }
    }

    /// The hello in one record, when it is whole: what is signed in the end is the message, not
    /// its fragments.
    pub(super) fn datagram(&self) -> Option<Vec<u8>> {
        if self.body.len() < self.size {
            return None;
        }
        let length = MESSAGE_HEADER + self.size;
        let header = Header { kind: HANDSHAKE, epoch: 0, sequence: self.sequence, length };
        let [_, s0, s1, s2] = (self.size as u32).to_be_bytes();
        let [n0, n1] = SECOND.to_be_bytes();
        let message = [CLIENT_HELLO, s0, s1, s2, n0, n1, 0, 0, 0, s0, s1, s2];
        Some([&header.bytes(DTLS_1_0)[..], &message, &self.body].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::super::hello::tests::hello;
    use super::super::record::HEADER;
    use super::*;

    /// The hello in fragments of so many bytes.
    fn fragments(whole: &[u8], bytes: usize) -> Vec<Vec<u8>> {
        let body = &whole[HEADER + MESSAGE_HEADER..];
        let fragment = |(i, part): (usize, &[u8])| {
            let mut datagram = whole[..HEADER + MESSAGE_HEADER].to_vec();
            datagram[11..13].copy_from_slice(&((MESSAGE_HEADER + part.len()) as u16).to_be_bytes());
            datagram[HEADER + 8] = (i * bytes) as u8;
            datagram[HEADER + 11] = part.len() as u8;
            datagram.extend(part);
            datagram
        };
        body.chunks(bytes).enumerate().map(fragment).collect()
    }

    #[test]
    fn a_hello_in_fragments_becomes_what_it_was() {
        let whole = hello(9, 1, b"cookie");
        assert_eq!(Assembly::begin(&whole).unwrap().datagram().as_ref(), Some(&whole));
        let parts = fragments(&whole, 20);
        let mut assembly = Assembly::begin(&parts[0]).unwrap();
        // The third is too early, the second comes twice.
        for (part, complete) in [(2, false), (1, false), (1, false), (2, true), (0, true)] {
            assembly.add(&parts[part]);
            assert_eq!(assembly.datagram().is_some(), complete, "{part}");
        }
        assert_eq!(assembly.datagram(), Some(whole));
    }

    #[test]
    fn another_message_adds_nothing() {
        let parts = fragments(&hello(9, 1, b"cookie"), 20);
        let mut assembly = Assembly::begin(&parts[0]).unwrap();
        let mut longer = parts[1].clone();
        longer[HEADER + 3] += 1;
        let mut third = parts[1].clone();
        third[HEADER + 5] = 2;
        for other in [longer, third] {
            assembly.add(&other);
            assert_eq!(assembly.datagram(), None);
        }
        assert!(Assembly::begin(&hello(9, 0, b"cookie")).is_none());
        let mut huge = parts[0].clone();
        huge[HEADER + 2] = 0xFF;
        assert!(Assembly::begin(&huge).is_none());
    }
}
