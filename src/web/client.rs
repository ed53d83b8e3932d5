//! Whose request it is.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address as this server sees it.
    pub address: SocketAddr,
    /// Where it has come in.
    pub door: Door,
}

/// Where a connection comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A listener of STUN and TURN.
    Shared,
    /// A listener for HTTP alone.
    Own,
    /// The same, and it is a proxy whose word about its client is taken (`X-Forwarded-For`).
    Proxy,
}

/// What proxies add to a request.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

impl Client {
    /// The address that counts: a trusted proxy's client has its own.
    pub fn ip(&self, headers: &HeaderMap) -> IpAddr {
        let named = || {
            // The last one is the proxy's own word; those before it are whatever the client has sent.
            let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
            last.rsplit(',').next()?.trim().parse().ok()
        };
        let forwarded = (self.door == Door::Proxy).then(named).flatten();
        forwarded.unwrap_or(self.address.ip()).to_canonical()
    }

    /// Whether somebody at this very machine asks, and asks this server: neither a proxy on it for somebody else, nor a
    /// script of a site that has given its own name the address of this machine.
    pub fn is_this_machine(&self, headers: &HeaderMap) -> bool {
        let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        let local = self.door == Door::Shared && self.address.ip().to_canonical().is_loopback();
        local
            && !forwarded
            && headers.get(header::HOST).is_some_and(|host| is_local(host.as_bytes()))
    }
}

/// Whether the value of a Host header names this machine to itself.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || literal.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn who_is_at_this_machine_asks_it_by_its_own_name() {
        let client = |address: &str, door| Client { address: address.parse().unwrap(), door };
        let here = client("127.0.0.1:5", Door::Shared);
        for host in
            ["localhost", "LOCALHOST:3478", "127.0.0.1:3478", "127.0.0.1", "[::1]:3478", "[::1]"]
        {
            assert!(here.is_this_machine(&headers(&[("host", host)])), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:3478", "192.0.2.1:3478", "", "[::2]:1"]
        {
            assert!(!here.is_this_machine(&headers(&[("host", host)])), "{host}");
        }
        assert!(!here.is_this_machine(&HeaderMap::new()));
        for name in FORWARDED {
            assert!(!here.is_this_machine(&headers(&[("host", "localhost"), (name, "127.0.0.1")])));
        }
        let local = headers(&[("host", "localhost")]);
        assert!(client("[::ffff:127.0.0.1]:5", Door::Shared).is_this_machine(&local));
        assert!(!client("192.0.2.7:5", Door::Shared).is_this_machine(&local));
        assert!(!client("127.0.0.1:5", Door::Own).is_this_machine(&local));
        assert!(!client("127.0.0.1:5", Door::Proxy).is_this_machine(&local));
    }

    #[test]
    fn only_a_trusted_proxy_says_whose_request_it_is() {
        let said =
            headers(&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "6.6.6.6, 192.0.2.9")]);
        let ip =
            |door| Client { address: "10.0.0.1:9".parse().unwrap(), door }.ip(&said).to_string();
        assert_eq!(ip(Door::Proxy), "192.0.2.9");
        assert_eq!(ip(Door::Own), "10.0.0.1");
        assert_eq!(ip(Door::Shared), "10.0.0.1");
        let broken = headers(&[("x-forwarded-for", "unknown")]);
        let proxy = Client { address: "10.0.0.1:9".parse().unwrap(), door: Door::Proxy };
        assert_eq!(proxy.ip(&broken).to_string(), "10.0.0.1");
    }
}
