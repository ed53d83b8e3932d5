use std::ops::Range;

use super::Error;

/// Length of the ChannelData header (RFC 8656 §12.4), in bytes.
pub const CHANNEL_HEADER: usize = 4;

/// A channel number that may be on the wire: 0x4000-0x7FFF.
///
/// RFC 8656 §12 narrowed RFC 5766's range to 0x4000-0x4FFF; which of the two a server admits is
/// asked with [`ChannelNumber::in_rfc8656_range`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// Accepts 0x4000-0x7FFF.
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            0x4000..=0x7FFF => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// 0x4000-0x4FFF (RFC 8656 §12).
    pub const fn in_rfc8656_range(self) -> bool {
        self.0 <= 0x4FFF
    }
}

/// A ChannelData message: its number and where its application data lie in the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelData {
    /// The channel.
    pub number: ChannelNumber,
    /// The application data's place in the packet that was parsed.
    pub payload: Range<usize>,
}

impl ChannelData {
    /// Parses a datagram or a framed stream message.
    ///
    /// Bytes behind the stated length are padding and ignored: RFC 8656 §12.5 requires it on
    /// streams, and some clients pad on UDP as well.
    ///
    /// # Errors
    /// [`Error::Length`] when the packet is shorter than its length field says (RFC 8656 §12.6),
    /// [`Error::NotStun`] when the number is not a channel's.
    pub fn parse(packet: &[u8]) -> Result<Self, Error> {
        let [n1, n2, l1, l2, rest @ ..] = packet else {
            return Err(Error::Length);
        };
        let number = ChannelNumber::new(u16::from_be_bytes([*n1, *n2])).ok_or(Error::NotStun)?;
        let length = usize::from(u16::from_be_bytes([*l1, *l2]));
        if length > rest.len() {
            return Err(Error::Length);
        }
        Ok(Self { number, payload: CHANNEL_HEADER..CHANNEL_HEADER + length })
    }
}

/// Writes the header of a ChannelData message in front of `length` bytes of application data.
pub fn write_channel_header(out: &mut [u8; CHANNEL_HEADER], number: ChannelNumber, length: u16) {
    let [n1, n2] = number.get().to_be_bytes();
    let [l1, l2] = length.to_be_bytes();
    *out = [n1, n2, l1, l2];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_datagram_is_refused() {
        assert_eq!(ChannelData::parse(&[0x40, 0, 0, 3, 1, 2]), Err(Error::Length));
        assert_eq!(ChannelData::parse(&[0x40, 0, 0]), Err(Error::Length));
    }

    #[test]
    fn padding_and_emptiness_are_fine() {
        let padded = ChannelData::parse(&[0x40, 1, 0, 1, 9, 0, 0, 0]).unwrap();
        assert_eq!((padded.number.get(), padded.payload), (0x4001, 4..5));
        assert_eq!(ChannelData::parse(&[0x4F, 0xFF, 0, 0]).unwrap().payload, 4..4);
    }

    #[test]
    fn numbers_outside_every_range_are_refused() {
        assert_eq!(ChannelData::parse(&[0x80, 0, 0, 0]), Err(Error::NotStun));
        assert_eq!(ChannelData::parse(&[0x00, 1, 0, 0]), Err(Error::NotStun));
        assert!(!ChannelNumber::new(0x5000).unwrap().in_rfc8656_range());
    }
}
