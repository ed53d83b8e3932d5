//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): who is really there behind a proxy.
//!
//! Pure and without allocation; whoever calls it decides whom to believe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, the command, the family and the length of the rest.
const FIXED: usize = 16;
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY";
/// The longest line of version 1, with its end.
const LINE_MAX: usize = 107;
/// The longest header that is read, in bytes: in version 2 the addresses take 232 at most, and what a proxy tells
/// besides (TLVs) a few hundred.
pub const HEADER_MAX: usize = 4096;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes: what the client itself has sent begins behind it.
    pub length: usize,
    /// Whose connection it is; `None` when the proxy speaks for itself (LOCAL: a health check) or does not know
    /// (UNKNOWN, or not TCP over IP): then the connection's own addresses count.
    pub addresses: Option<Addresses>,
}

/// The ends of the connection that the proxy has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub client: SocketAddr,
    /// Where the client has connected to.
    pub server: SocketAddr,
}

/// Why it is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It begins like none.
    #[error("no PROXY protocol header")]
    Missing,
    /// A line of version 1 that says nothing that can be understood.
    #[error("a PROXY protocol line (version 1) that cannot be understood")]
    Line,
    /// A version, command, family or length of version 2 that does not exist.
    #[error("a PROXY protocol header (version 2) that cannot be understood")]
    Binary,
    /// It is longer than [`HEADER_MAX`].
    #[error("a PROXY protocol header longer than {HEADER_MAX} bytes")]
    TooLong,
    /// The client has no port, without which connections of one address cannot be told apart.
    #[error(
        "a PROXY protocol header with port 0 for the client: a proxy that sets the client's address has to set its \
         port as well (haproxy: set-src-port)"
    )]
    NoPort,
    /// One stands behind another.
    #[error(
        "a second PROXY protocol header behind the first: only the proxy next to this server may send one, and no \
         client"
    )]
    Repeated,
}

/// Reads the header at the front of a connection; `None` as long as it is not whole.
///
/// # Errors
/// [`Malformed`] as soon as the bytes can no longer become a header.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let header = match bytes {
        _ if begins_alike(bytes, &SIGNATURE) => parse_binary(bytes)?,
        _ if begins_alike(bytes, WORD) => parse_line(bytes)?,
        _ => return Err(Malformed::Missing),
    };
    match header {
        Some(Header { addresses: Some(it), .. }) if it.client.port() == 0 => Err(Malformed::NoPort),
        header => Ok(header),
    }
}

/// Whether one is the beginning of the other.
fn begins_alike(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.iter().zip(expected).all(|(byte, expected)| byte == expected)
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let &[.., command, family, high, low] = fixed;
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    let (local, known) = (command == 0x20, family >> 4 <= 3 && family & 0xF <= 2);
    // A LOCAL header is one whatever family it names.
    if !(local || known && command == 0x21) {
        return Err(Malformed::Binary);
    }
    if length > HEADER_MAX {
        return Err(Malformed::TooLong);
    }
    let Some(block) = rest.get(..length - FIXED) else {
        return Ok(None);
    };
    let addresses = match family {
        _ if local => None,
        // TCP over IPv4, TCP over IPv6; what stands behind the addresses is not for us.
        0x11 => Some(block_of::<4>(block).ok_or(Malformed::Binary)?),
        0x21 => Some(block_of::<16>(block).ok_or(Malformed::Binary)?),
        _ => None,
    };
    Ok(Some(Header { length, addresses }))
}

/// Two addresses and two ports.
fn block_of<const N: usize>(block: &[u8]) -> Option<Addresses>
where
    IpAddr: From<[u8; N]>,
{
    let (client, rest) = block.split_first_chunk::<N>()?;
    let (server, rest) = rest.split_first_chunk::<N>()?;
    let &[c1, c2, s1, s2, ..] = rest else {
        return None;
    };
    Some(Addresses {
        client: endpoint((*client).into(), u16::from_be_bytes([c1, c2])),
        server: endpoint((*server).into(), u16::from_be_bytes([s1, s2])),
    })
}

/// An IPv4 client may come out of a proxy's IPv6 socket, and is still an IPv4 client.
fn endpoint(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

fn parse_line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let looked_at = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = looked_at.iter().position(|byte| *byte == b'\n') else {
        return if looked_at.len() < LINE_MAX { Ok(None) } else { Err(Malformed::Line) };
    };
    let length = end + 1;
    let line = looked_at[..end].strip_suffix(b"\r").ok_or(Malformed::Line)?;
    let line = str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let mut words = line.split(' ').skip(1);
    let addresses = match words.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(endpoints::<Ipv4Addr>(words).ok_or(Malformed::Line)?),
        Some("TCP6") => Some(endpoints::<Ipv6Addr>(words).ok_or(Malformed::Line)?),
        _ => return Err(Malformed::Line),
    };
    Ok(Some(Header { length, addresses }))
}

/// The client's address, the server's, and their ports.
fn endpoints<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Option<Addresses>
where
    A: FromStr + Into<IpAddr>,
{
    let mut ip = || words.next()?.parse::<A>().ok().map(Into::into);
    let (client, server) = (ip()?, ip()?);
    let mut port = || words.next().and_then(port_of);
    let (client_port, server_port) = (port()?, port()?);
    let addresses =
        Addresses { client: endpoint(client, client_port), server: endpoint(server, server_port) };
    words.next().is_none().then_some(addresses)
}

/// Digits alone, none of them a zero in front.
fn port_of(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (word == "0" || !word.starts_with('0'))).then(|| word.parse().ok())?
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl Version {
    /// Appends a header, so that a backend sees the client.
    pub fn append(self, out: &mut Vec<u8>, addresses: Addresses) {
        match self {
            Self::V1 => out.extend_from_slice(line(addresses).as_bytes()),
            Self::V2 => append_binary(out, addresses),
        }
    }
}

fn line(Addresses { client, server }: Addresses) -> String {
    let ports = (client.port(), server.port());
    let (family, client, server) = match (client.ip(), server.ip()) {
        (client @ IpAddr::V4(_), server @ IpAddr::V4(_)) => ("TCP4", client, server),
        (client, server) => ("TCP6", in_six(client).into(), in_six(server).into()),
    };
    format!("PROXY {family} {client} {server} {} {}\r\n", ports.0, ports.1)
}

fn append_binary(out: &mut Vec<u8>, Addresses { client, server }: Addresses) {
    out.extend_from_slice(&SIGNATURE);
    match (client.ip(), server.ip()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice([client.octets(), server.octets()].as_flattened());
        }
        (client, server) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            let both = [client, server].map(|ip| in_six(ip).octets());
            out.extend_from_slice(both.as_flattened());
        }
    }
    let ports = [client.port().to_be_bytes(), server.port().to_be_bytes()];
    out.extend_from_slice(ports.as_flattened());
}

/// One family for both, where they are of two.
fn in_six(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests;
