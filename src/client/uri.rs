use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of `stun:` and `turn:` (RFC 7064 §3.2, RFC 7065 §3.2).
const DEFAULT_PORT: u16 = 3478;
/// The port of `stuns:` and `turns:`.
const DEFAULT_SECURE_PORT: u16 = 5349;

/// Where a server is: a `stun:` or `stuns:` URI (RFC 7064), or a `turn:` or `turns:` URI (RFC 7065).
///
/// ```
/// use turnwire::client::{Transport, Uri};
///
/// let uri: Uri = "turn:[2001:db8::1]:5000?transport=tcp".parse().unwrap();
/// assert_eq!((uri.host.as_str(), uri.port), ("2001:db8::1", 5000));
/// assert_eq!((uri.transport, uri.secure), (Transport::Tcp, false));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// What is asked of the server.
    pub scheme: Scheme,
    /// `stuns:` and `turns:`: TLS over TCP, DTLS over UDP (RFC 7350 §4.6.1).
    pub secure: bool,
    /// A name or an address; an IPv6 address stands here without its brackets.
    pub host: String,
    /// The port; 3478 where the URI says none, 5349 where it is secure.
    pub port: u16,
    /// The URI says which: SRV records are not asked for, then (RFC 5928 §3).
    pub explicit_port: bool,
    /// What the URI says behind `?transport=`, else UDP, and TCP where it is secure (RFC 5928 §3).
    pub transport: Transport,
}

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Binding only.
    Stun,
    /// Relaying.
    Turn,
}

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A byte stream, with the framing of RFC 8489 §6.2.2.
    Tcp,
}

impl Transport {
    /// `udp` or `tcp`, as in a URI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }

    const fn usual(secure: bool) -> Self {
        if secure { Self::Tcp } else { Self::Udp }
    }
}

/// Why a text is not a URI that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// It begins with something else.
    #[error("it must begin with stun:, stuns:, turn: or turns:, as in turn:turn.example.org:3478")]
    Scheme,
    /// `turn://host`, as in the web's URLs.
    #[error("there is no // in a STUN or TURN URI: write {0}:HOST:PORT")]
    Slashes(&'static str),
    /// `turn:user@host`: RFC 7065 has no place for credentials. They are not shown.
    #[error("there is no user in a STUN or TURN URI: credentials are given besides")]
    User,
    /// Nothing where a host must be, or something that cannot be in its name.
    #[error("{0:?} is no host")]
    Host(String),
    /// Not 1 to 65535.
    #[error("{0:?} is no port: 1 to 65535")]
    Port(String),
    /// Something else than `?transport=udp` or `?transport=tcp`, or behind `stun:`.
    #[error("{0:?}: only ?transport=udp and ?transport=tcp can stand there, and only behind turn:")]
    Query(String),
}

impl FromStr for Uri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidUri::Scheme)?;
        // RFC 3986 §3.1: schemes are the same in either case.
        let (scheme, secure) = match scheme.to_ascii_lowercase().as_str() {
            "stun" => (Scheme::Stun, false),
            "stuns" => (Scheme::Stun, true),
            "turn" => (Scheme::Turn, false),
            "turns" => (Scheme::Turn, true),
            _ => return Err(InvalidUri::Scheme),
        };
        if rest.starts_with("//") {
            return Err(InvalidUri::Slashes(name(scheme, secure)));
        }
        // Wherever it stands, for a password may have any character.
        if rest.contains('@') {
            return Err(InvalidUri::User);
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let (host, port) = split_place(place)?;
        let explicit_port = port.is_some_and(|port| !port.is_empty());
        let port = match port {
            // RFC 3986 §3.2.3: an empty one is as good as none.
            None | Some("") if secure => DEFAULT_SECURE_PORT,
            None | Some("") => DEFAULT_PORT,
            Some(port) => read_port(port).ok_or_else(|| InvalidUri::Port(port.to_owned()))?,
        };
        let transport = match (scheme, query) {
            (_, None) => Transport::usual(secure),
            (Scheme::Turn, Some(query)) if query.eq_ignore_ascii_case("transport=udp") => {
                Transport::Udp
            }
            (Scheme::Turn, Some(query)) if query.eq_ignore_ascii_case("transport=tcp") => {
                Transport::Tcp
            }
            (_, Some(query)) => return Err(InvalidUri::Query(format!("?{query}"))),
        };
        Ok(Self { scheme, secure, host, port, explicit_port, transport })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = name(self.scheme, self.secure);
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}:{open}{}{close}:{}", self.host, self.port)?;
        if self.transport == Transport::usual(self.secure) || self.scheme == Scheme::Stun {
            return Ok(());
        }
        write!(f, "?transport={}", self.transport.label())
    }
}

const fn name(scheme: Scheme, secure: bool) -> &'static str {
    match (scheme, secure) {
        (Scheme::Stun, false) => "stun",
        (Scheme::Stun, true) => "stuns",
        (Scheme::Turn, false) => "turn",
        (Scheme::Turn, true) => "turns",
    }
}

/// Host and port of `host`, `host:port`, `[v6]` and `[v6]:port` (RFC 3986 §3.2.2).
fn split_place(place: &str) -> Result<(String, Option<&str>), InvalidUri> {
    let wrong = || InvalidUri::Host(place.to_owned());
    if let Some(rest) = place.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or_else(wrong)?;
        host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host.to_owned(), Some(port))),
            None if behind.is_empty() => Ok((host.to_owned(), None)),
            None => Err(wrong()),
        };
    }
    let (host, port) = match place.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    };
    let host = decode(host).ok_or_else(wrong)?;
    // An IPv6 address without brackets would be read as a host and a port.
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let sound =
        !host.is_empty() && host.chars().all(named) && !port.is_some_and(|p| p.contains(':'));
    if sound { Ok((host, port)) } else { Err(wrong()) }
}

/// A name without its percent-encoding (RFC 3986 §2.1); what is not ASCII is no name of a host.
fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| hex && byte.is_ascii())?;
        decoded.push(byte.into());
        decoded.push_str(rest);
    }
    Some(decoded)
}

fn read_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Uri, InvalidUri> {
        text.parse().map(|uri| Uri { explicit_port: false, ..uri })
    }

    fn uri(scheme: Scheme, secure: bool, host: &str, port: u16, transport: Transport) -> Uri {
        Uri { scheme, secure, host: host.to_owned(), port, explicit_port: false, transport }
    }

    #[test]
    fn the_examples_of_the_rfcs_are_read() {
        use Scheme::{Stun, Turn};
        use Transport::{Tcp, Udp};
        for (text, expected) in [
            // RFC 7064, appendix A
            ("stun:example.org", uri(Stun, false, "example.org", 3478, Udp)),
            ("stuns:example.org", uri(Stun, true, "example.org", 5349, Tcp)),
            ("stun:example.org:8000", uri(Stun, false, "example.org", 8000, Udp)),
            // RFC 7065, appendix A
            ("turn:example.org", uri(Turn, false, "example.org", 3478, Udp)),
            ("turns:example.org", uri(Turn, true, "example.org", 5349, Tcp)),
            ("turn:example.org:8000", uri(Turn, false, "example.org", 8000, Udp)),
            ("turn:example.org?transport=udp", uri(Turn, false, "example.org", 3478, Udp)),
            ("turn:example.org?transport=tcp", uri(Turn, false, "example.org", 3478, Tcp)),
            ("turns:example.org?transport=tcp", uri(Turn, true, "example.org", 5349, Tcp)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn hosts_ports_and_transports_of_every_form_are_read() {
        use Scheme::{Stun, Turn};
        use Transport::{Tcp, Udp};
        for (text, expected) in [
            ("TURN:192.0.2.1:8000?transport=udp", uri(Turn, false, "192.0.2.1", 8000, Udp)),
            ("turn:example.org?TRANSPORT=TCP", uri(Turn, false, "example.org", 3478, Tcp)),
            // RFC 7350 §4.6.1
            ("turns:example.org?transport=udp", uri(Turn, true, "example.org", 5349, Udp)),
            ("turns:h:443?transport=tcp", uri(Turn, true, "h", 443, Tcp)),
            ("Stuns:[2001:db8::1]:443", uri(Stun, true, "2001:db8::1", 443, Tcp)),
            ("turn:[::1]", uri(Turn, false, "::1", 3478, Udp)),
            ("turns:[::1]", uri(Turn, true, "::1", 5349, Tcp)),
            ("turn:[2001:db8::1]:1?transport=tcp", uri(Turn, false, "2001:db8::1", 1, Tcp)),
            ("turn:[::ffff:192.0.2.1]:9", uri(Turn, false, "::ffff:192.0.2.1", 9, Udp)),
            // RFC 3986 §3.2.3, §2.1
            ("turns:h:", uri(Turn, true, "h", 5349, Tcp)),
            ("turn:[::1]:", uri(Turn, false, "::1", 3478, Udp)),
            ("stun:h:03478", uri(Stun, false, "h", 3478, Udp)),
            ("turn:ex%61mple%2Eorg", uri(Turn, false, "example.org", 3478, Udp)),
            ("turn:xn--bcher-kva.example", uri(Turn, false, "xn--bcher-kva.example", 3478, Udp)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_port_that_is_said_is_told_from_the_usual_one() {
        for (text, explicit) in [
            ("turn:h", false),
            ("turn:h:", false),
            ("turn:h:3478", true),
            ("turns:[::1]:443", true),
        ] {
            assert_eq!(text.parse::<Uri>().unwrap().explicit_port, explicit, "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in [
            "stun:example.org:3478",
            "stuns:example.org:5349",
            "turn:[::1]:9?transport=tcp",
            "turns:[::1]:9?transport=udp",
            "turns:h:443",
            "turn:h:1",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in [
            "",
            "example.org",
            "http:example.org",
            "turnss:example.org",
            "turn:",
            "turn::3478",
            "turn://example.org",
            "turns://example.org",
            "turn:alice@example.org",
            "turn:alice:secret@example.org",
            "turn:a:b",
            "turn:a:0",
            "turn:a:65536",
            "turn:a:+1",
            "turn:::1",
            "turn:2001:db8::1",
            "turn:[::1",
            "turn:[::1]x",
            "turn:[1.2.3.4]",
            "turn:[fe80::1%25eth0]",
            "turn:[v1.x]",
            "turn:a/b",
            "turn:a#b",
            "turn:a?transport=sctp",
            "turn:a?transport=",
            "turn:a?transport=udp&x=y",
            "turn:a?x",
            "turn:a?",
            "stun:a?transport=tcp",
            "stuns:a?transport=tcp",
            "turn:a b",
            "turn:a%",
            "turn:a%4",
            "turn:a%+4",
            "turn:b\u{fc}cher.example",
            "turn:b%C3%BCcher.example",
            "turn:a%20b",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_told_in_words() {
        for (text, words) in [
            ("turn://h", "write turn:HOST:PORT"),
            ("turns://h", "write turns:HOST:PORT"),
            ("turn:alice@h", "there is no user in a STUN or TURN URI"),
            ("example.org", "it must begin with stun:, stuns:, turn: or turns:"),
            ("turn:h?transport=tls", "only ?transport=udp and ?transport=tcp"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
