//! What a connection is for, by its first bytes: STUN and TURN, TLS and HTTP come in on one port.

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// STUN or TURN.
    Turn,
    /// TLS, by its ClientHello.
    Tls,
    /// HTTP, by its method.
    Http,
    /// The header of a proxy (`proxy::parse`).
    Proxy,
}

/// It begins like none of them, with this byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown(pub u8);

/// The longest name that IANA has registered for an HTTP method, in bytes.
const METHOD_MAX: usize = 17;
/// What version 2 of the PROXY protocol begins with.
const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Tells by the bytes so far; `None` when more are needed, at most `METHOD_MAX` and one.
///
/// # Errors
/// [`Unknown`] as soon as it can be none of them.
pub fn speaks(bytes: &[u8]) -> Result<Option<Speaks>, Unknown> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    match first {
        // RFC 7983 §7
        0x00..=0x03 => Ok(Some(Speaks::Turn)),
        // RFC 8446 §5.1: a record with a handshake message, of version 3.x.
        0x16 => match bytes.get(1) {
            None => Ok(None),
            Some(3) => Ok(Some(Speaks::Tls)),
            Some(_) => Err(Unknown(first)),
        },
        b'\r' if bytes.starts_with(PROXY) => Ok(Some(Speaks::Proxy)),
        b'\r' if PROXY.starts_with(bytes) => Ok(None),
        b'A'..=b'Z' => letters(bytes),
        // RFC 8656 §12: a channel's number, of which the others look like letters.
        b'@' => Ok(Some(Speaks::Turn)),
        _ => Err(Unknown(first)),
    }
}

/// A method and a space (RFC 9112 §3), or ChannelData that happens to look like letters.
fn letters(bytes: &[u8]) -> Result<Option<Speaks>, Unknown> {
    let name = bytes.iter().take_while(|byte| matches!(byte, b'A'..=b'Z' | b'-')).count();
    match bytes.get(name) {
        Some(b' ') if bytes.starts_with(b"PROXY ") => Ok(Some(Speaks::Proxy)),
        Some(b' ') if name <= METHOD_MAX => Ok(Some(Speaks::Http)),
        None if name <= METHOD_MAX => Ok(None),
        _ if matches!(bytes[0], 0x40..=0x4F) => Ok(Some(Speaks::Turn)),
        _ => Err(Unknown(bytes[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_is_told_by_its_first_bytes() {
        for (bytes, expected) in [
            (&b"\0\x01\0\0"[..], Ok(Some(Speaks::Turn))),
            (b"\x03", Ok(Some(Speaks::Turn))),
            (b"\x40\0\0\x04data", Ok(Some(Speaks::Turn))),
            (b"\x4F\xFF\0\x04data", Ok(Some(Speaks::Turn))),
            (b"\x16\x03\x01\x02\0\x01", Ok(Some(Speaks::Tls))),
            (b"\x16\x04", Err(Unknown(0x16))),
            (b"GET / HTTP/1.1\r\n", Ok(Some(Speaks::Http))),
            (b"PRI * HTTP/2.0\r\n", Ok(Some(Speaks::Http))),
            (b"VERSION-CONTROL /", Ok(Some(Speaks::Http))),
            (b"PROXY TCP4 ", Ok(Some(Speaks::Proxy))),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", Ok(Some(Speaks::Proxy))),
            (b"\r\n\r\nGET /", Err(Unknown(b'\r'))),
            (b"SSH-2.0-OpenSSH_9.2", Err(Unknown(b'S'))),
            (b"\xFF", Err(Unknown(0xFF))),
            (b"\x80\x2E\x01", Err(Unknown(0x80))),
            (b"", Ok(None)),
            (b"OPTION", Ok(None)),
            (b"\x16", Ok(None)),
            (b"\r\n\r\n", Ok(None)),
        ] {
            assert_eq!(speaks(bytes), expected, "{bytes:?}");
        }
        // Letters without an end are a channel's number, or nothing.
        assert_eq!(speaks(&[b'A'; METHOD_MAX + 1]), Ok(Some(Speaks::Turn)));
        assert_eq!(speaks(&[b'Z'; METHOD_MAX + 1]), Err(Unknown(b'Z')));
    }

    proptest! {
        /// Who sends byte by byte is told apart all the same, and soon.
        #[test]
        fn the_pieces_make_no_difference(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "[A-Z-]{0,20} ?.{0,9}".prop_map(String::into_bytes),
                (0..=PROXY.len(), any::<[u8; 4]>())
                    .prop_map(|(length, more)| [&PROXY[..length], &more].concat()),
            ],
        ) {
            let outcome = speaks(&bytes);
            let first = (0..=bytes.len()).map(|end| speaks(&bytes[..end])).find(|it| *it != Ok(None));
            prop_assert_eq!(first.unwrap_or(Ok(None)), outcome);
            prop_assert!(outcome != Ok(None) || bytes.len() <= METHOD_MAX);
        }
    }
}
