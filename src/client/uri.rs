use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of `stun:` and `turn:` (RFC 7064 §3.2, RFC 7065 §3.2).
const DEFAULT_PORT: u16 = 3478;

/// Where a server is: a `stun:` URI (RFC 7064) or a `turn:` URI (RFC 7065).
///
/// ```
/// use turnwire::client::{Transport, Uri};
///
/// let uri: Uri = "turn:[2001:db8::1]:5000?transport=tcp".parse().unwrap();
/// assert_eq!((uri.host.as_str(), uri.port), ("2001:db8::1", 5000));
/// assert_eq!(uri.transport, Transport::Tcp);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// What is asked of the server.
    pub scheme: Scheme,
    /// A name or an address; an IPv6 address stands here without its brackets.
    pub host: String,
    /// The port, 3478 where the URI says none.
    pub port: u16,
    /// What the URI says behind `?transport=`, else UDP.
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
}

/// Why a text is not a URI that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// It begins with something else.
    #[error("it must begin with stun: or turn:, as in turn:turn.example.org:3478")]
    Scheme,
    /// `stuns:` and `turns:`.
    #[error("{0}: is not there yet: TLS and DTLS to the server come later; use {1}:")]
    Secure(&'static str, &'static str),
    /// `turn://host`, as in the web's URLs.
    #[error("there is no // in a STUN or TURN URI: write {0}:HOST:PORT")]
    Slashes(&'static str),
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
        let (scheme, name) = match scheme.to_ascii_lowercase().as_str() {
            "stun" => (Scheme::Stun, "stun"),
            "turn" => (Scheme::Turn, "turn"),
            "stuns" => return Err(InvalidUri::Secure("stuns", "stun")),
            "turns" => return Err(InvalidUri::Secure("turns", "turn")),
            _ => return Err(InvalidUri::Scheme),
        };
        if rest.starts_with("//") {
            return Err(InvalidUri::Slashes(name));
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let (host, port) = split_place(place)?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => read_port(port).ok_or_else(|| InvalidUri::Port(port.to_owned()))?,
        };
        let transport = match (scheme, query) {
            (_, None) => Transport::Udp,
            (Scheme::Turn, Some(query)) if query.eq_ignore_ascii_case("transport=udp") => {
                Transport::Udp
            }
            (Scheme::Turn, Some(query)) if query.eq_ignore_ascii_case("transport=tcp") => {
                Transport::Tcp
            }
            (_, Some(query)) => return Err(InvalidUri::Query(format!("?{query}"))),
        };
        Ok(Self { scheme, host: host.to_owned(), port, transport })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Stun => "stun",
            Scheme::Turn => "turn",
        };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}:{open}{}{close}:{}", self.host, self.port)?;
        match self.transport {
            Transport::Udp => Ok(()),
            Transport::Tcp => write!(f, "?transport=tcp"),
        }
    }
}

/// Host and port of `host`, `host:port`, `[v6]` and `[v6]:port` (RFC 3986 §3.2.2).
fn split_place(place: &str) -> Result<(&str, Option<&str>), InvalidUri> {
    let wrong = || InvalidUri::Host(place.to_owned());
    if let Some(rest) = place.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or_else(wrong)?;
        host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if behind.is_empty() => Ok((host, None)),
            None => Err(wrong()),
        };
    }
    let (host, port) = match place.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    };
    // An IPv6 address without brackets would be read as a host and a port.
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let sound =
        !host.is_empty() && host.chars().all(named) && !port.is_some_and(|p| p.contains(':'));
    if sound { Ok((host, port)) } else { Err(wrong()) }
}

fn read_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Uri, InvalidUri> {
        text.parse()
    }

    fn uri(scheme: Scheme, host: &str, port: u16, transport: Transport) -> Uri {
        Uri { scheme, host: host.to_owned(), port, transport }
    }

    #[test]
    fn the_examples_of_the_rfcs_are_read() {
        use Scheme::{Stun, Turn};
        use Transport::{Tcp, Udp};
        for (text, expected) in [
            ("stun:example.org", uri(Stun, "example.org", 3478, Udp)),
            ("stun:example.org:8000", uri(Stun, "example.org", 8000, Udp)),
            ("turn:example.org", uri(Turn, "example.org", 3478, Udp)),
            ("TURN:192.0.2.1:8000?transport=udp", uri(Turn, "192.0.2.1", 8000, Udp)),
            ("turn:example.org?transport=TCP", uri(Turn, "example.org", 3478, Tcp)),
            ("turn:[::1]", uri(Turn, "::1", 3478, Udp)),
            ("turn:[2001:db8::1]:1?transport=tcp", uri(Turn, "2001:db8::1", 1, Tcp)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["stun:example.org:3478", "turn:[::1]:9?transport=tcp", "turn:h:1"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn secure_schemes_are_refused_in_words() {
        let error = parse("turns:example.org").unwrap_err().to_string();
        assert!(error.contains("turns: is not there yet"), "{error}");
        assert!(parse("stuns:example.org").is_err());
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in [
            "",
            "example.org",
            "http:example.org",
            "turn:",
            "turn::3478",
            "turn://example.org",
            "turn:a:b",
            "turn:a:0",
            "turn:a:65536",
            "turn:a:+1",
            "turn:a:",
            "turn:::1",
            "turn:[::1",
            "turn:[::1]x",
            "turn:[1.2.3.4]",
            "turn:a?transport=sctp",
            "turn:a?x",
            "stun:a?transport=tcp",
            "turn:a b",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
