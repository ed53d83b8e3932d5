//! Records: headers, the places of several in one datagram, and the window against replays.

use std::ops::Range;

/// Bytes of a record's header (RFC 6347 §4.1).
pub(super) const HEADER: usize = 13;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// DTLS 1.0, and what every version writes into a ClientHello and a HelloVerifyRequest.
pub(super) const DTLS_1_0: [u8; 2] = [0xFE, 0xFF];
pub(super) const DTLS_1_2: [u8; 2] = [0xFE, 0xFD];

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The content type.
    pub(super) kind: u8,
    /// 0 in the clear, 1 under the session's keys: nothing is ever negotiated anew.
    pub(super) epoch: u16,
    /// 48 bits.
    pub(super) sequence: u64,
    /// Bytes behind the header.
    pub(super) length: usize,
}

impl Header {
    /// Reads the header at the front of `bytes`; `None` when it is none, or the record is not
    /// whole.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_first_chunk::<HEADER>()?;
        let [kind, major, _, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1] = *header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let sequence = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
        (major == DTLS_1_2[0] && length <= body.len()).then_some(Self {
            kind,
            epoch: u16::from_be_bytes([e0, e1]),
            sequence,
            length,
        })
    }

    pub(super) fn bytes(self, version: [u8; 2]) -> [u8; HEADER] {
        let [e0, e1] = self.epoch.to_be_bytes();
        let [_, _, s0, s1, s2, s3, s4, s5] = self.sequence.to_be_bytes();
        // A record is never longer than its datagram.
        let [l0, l1] = (self.length as u16).to_be_bytes();
        [self.kind, version[0], version[1], e0, e1, s0, s1, s2, s3, s4, s5, l0, l1]
    }

    /// Whether it is in the clear.
    pub const fn is_plain(&self) -> bool {
        self.epoch == 0
    }
}

/// The records of a datagram with their places in it, headers included, up to the first that
/// makes no sense (RFC 6347 §4.1.2.7: silently discarded).
#[derive(Default)]
pub struct Records {
    at: usize,
}

impl Records {
    /// From the front of a datagram.
    pub const fn new() -> Self {
        Self { at: 0 }
    }

    /// The next record. The datagram is shown each time, so that it may be changed in between.
    pub fn next(&mut self, datagram: &[u8]) -> Option<(Header, Range<usize>)> {
        let header = Header::parse(datagram.get(self.at..)?)?;
        let place = self.at..self.at + HEADER + header.length;
        self.at = place.end;
        Some((header, place))
    }
}

/// Which of the last records have been seen (RFC 6347 §4.1.2.6).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// One more than the highest sequence number.
    next: u64,
    /// Bit `i`: the number `next - 1 - i` has been seen.
    seen: u128,
}

impl Window {
    /// Whether a record of this number may still come for the first time.
    pub(super) const fn admits(&self, sequence: u64) -> bool {
        match self.next.checked_sub(sequence + 1) {
            None => true,
            Some(age) => age < u128::BITS as u64 && self.seen & 1 << age == 0,
        }
    }

    /// Remembers a record. Only one that was authentic: others could push the window away.
    pub(super) fn note(&mut self, sequence: u64) {
        match self.next.checked_sub(sequence + 1) {
            Some(age) if age < u128::BITS.into() => self.seen |= 1 << age,
            Some(_) => {}
            None => {
                let step = u32::try_from(sequence + 1 - self.next).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
                self.next = sequence + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_cut_into_whole_records_and_the_rest_is_left() {
        let header = Header { kind: HANDSHAKE, epoch: 1, sequence: 0x0102_0304_0506, length: 2 };
        let mut datagram = header.bytes(DTLS_1_2).to_vec();
        datagram.extend([7, 8]);
        let other = Header { kind: ALERT, epoch: 0, sequence: 1, length: 0 };
        datagram.extend(other.bytes(DTLS_1_0));
        datagram.extend(header.bytes(DTLS_1_2));
        datagram.push(9);
        let mut records = Records::new();
        assert_eq!(records.next(&datagram), Some((header, 0..15)));
        assert_eq!(records.next(&datagram), Some((other, 15..28)));
        assert_eq!(records.next(&datagram), None);
        datagram[28 + 1] = 3;
        assert_eq!(records.next(&datagram), None);
    }

    #[test]
    fn each_number_passes_once_and_only_while_it_is_recent() {
        let mut window = Window::default();
        let mut pass = |sequence| {
            let admitted = window.admits(sequence);
            if admitted {
                window.note(sequence);
            }
            admitted
        };
        assert!(pass(0) && !pass(0));
        assert!(pass(5) && pass(3) && !pass(3) && !pass(5) && pass(4));
        assert!(pass(200) && !pass(1) && !pass(72) && pass(73) && !pass(73) && pass(199));
        assert!(pass(1 << 40) && !pass(200) && pass((1 << 40) - 127) && !pass((1 << 40) - 128));
        assert!(pass((1 << 48) - 1) && !pass((1 << 48) - 1));
    }
}
