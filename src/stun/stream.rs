use super::{CHANNEL_HEADER, HEADER, MAGIC_COOKIE};

/// What a byte stream holds at its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message of `length` bytes, followed by the padding in `consumed`.
    Message {
        /// The bytes of the message itself.
        length: usize,
        /// The bytes to take off the stream: the message and its padding.
        consumed: usize,
    },
    /// Not a whole message yet: it will take this many bytes in all, as far as is known.
    Partial {
        /// Bytes needed before it is worth asking again.
        need: usize,
    },
}

/// Why a stream can not be understood any more: there is nothing to resynchronise on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hopeless {
    /// The first byte of a TLS record.
    #[error("a TLS record: this port is for plain TCP")]
    Tls,
    /// The first byte belongs to neither STUN nor ChannelData.
    #[error("neither STUN nor ChannelData: first byte {0:#04x}")]
    FirstByte(u8),
    /// A STUN header without the magic cookie or with an odd length.
    #[error("a STUN header without the magic cookie or with an odd length")]
    Header,
    /// A message longer than the limit.
    #[error("a message longer than the limit")]
    TooLong,
}

/// Splits a stream into STUN and ChannelData messages (RFC 8489 §6.2.2, RFC 8656 §12.5).
///
/// It keeps no bytes: the owner of the buffer asks [`Framer::next`] what stands at its front.
///
/// ```
/// use turnwire::stun::{Frame, Framer};
///
/// let framer = Framer { limit: 4096 };
/// // A ChannelData message of one byte is padded to eight on a stream.
/// let stream = [0x40, 0, 0, 1, 0xFF, 0, 0, 0, 0x40];
/// assert_eq!(framer.next(&stream), Ok(Frame::Message { length: 5, consumed: 8 }));
/// assert_eq!(framer.next(&stream[8..]), Ok(Frame::Partial { need: 4 }));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Framer {
    /// The longest message accepted, in bytes with its header and padding.
    pub limit: usize,
}

impl Framer {
    /// Looks at the front of the stream.
    ///
    /// # Errors
    /// [`Hopeless`]: the connection is to be closed.
    pub fn next(&self, stream: &[u8]) -> Result<Frame, Hopeless> {
        let Some(&first) = stream.first() else {
            return Ok(Frame::Partial { need: CHANNEL_HEADER });
        };
        let (header, stun) = match first {
            // RFC 7983 §7; HTTP begins with a letter that looks like a channel, which its
            // impossible length then gives away.
            0x00..=0x03 => (HEADER, true),
            0x40..=0x7F => (CHANNEL_HEADER, false),
            0x16 => return Err(Hopeless::Tls),
            _ => return Err(Hopeless::FirstByte(first)),
        };
        let &[_, _, l1, l2, ref rest @ ..] = stream else {
            return Ok(Frame::Partial { need: CHANNEL_HEADER });
        };
        let length = header + usize::from(u16::from_be_bytes([l1, l2]));
        if stun {
            if length % 4 != 0 {
                return Err(Hopeless::Header);
            }
            if let Some(cookie) = rest.get(..4)
                && cookie != MAGIC_COOKIE.to_be_bytes()
            {
                return Err(Hopeless::Header);
            }
        }
        let consumed = length.next_multiple_of(4);
        if consumed > self.limit {
            return Err(Hopeless::TooLong);
        }
        if stream.len() < consumed {
            return Ok(Frame::Partial { need: consumed });
        }
        Ok(Frame::Message { length, consumed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMER: Framer = Framer { limit: 2048 };

    #[test]
    fn a_message_is_recognised_only_when_whole() {
        let mut binding = vec![0, 1, 0, 0];
        binding.extend(MAGIC_COOKIE.to_be_bytes());
        binding.extend([7; 12]);
        for end in 1..binding.len() {
            assert!(matches!(FRAMER.next(&binding[..end]), Ok(Frame::Partial { .. })), "{end}");
        }
        let whole = Frame::Message { length: 20, consumed: 20 };
        assert_eq!(FRAMER.next(&binding), Ok(whole));
        binding.extend([0x40, 0]);
        assert_eq!(FRAMER.next(&binding), Ok(whole));
    }

    #[test]
    fn what_can_never_become_a_message_is_hopeless() {
        assert_eq!(FRAMER.next(&[0x16, 3, 1]), Err(Hopeless::Tls));
        assert_eq!(FRAMER.next(b"\xFF"), Err(Hopeless::FirstByte(0xFF)));
        assert_eq!(FRAMER.next(b"GET / HTTP/1.1"), Err(Hopeless::TooLong));
        assert_eq!(FRAMER.next(&[0, 1, 0, 3]), Err(Hopeless::Header));
        assert_eq!(FRAMER.next(&[0, 1, 0, 0, 1, 2, 3, 4]), Err(Hopeless::Header));
        assert_eq!(FRAMER.next(&[0, 1, 0x10, 0]), Err(Hopeless::TooLong));
    }
}
