//! Whose request it is.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

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
