//! What clients are told to use: STUN and TURN URIs (RFC 7064, RFC 7065) of a server that knows its own listeners.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::places::{Listened, Places};
use super::realms;
use crate::config::{Config, Realm};
use crate::tls::Identities;
use crate::turn::RelayAddress;

/// What was found out, for all realms.
pub(super) struct Found<'a> {
    config: &'a Config,
    listened: &'a Listened,
    relays: Vec<RelayAddress>,
    /// Names that certificates are for and that lead to no other realm.
    names: Vec<String>,
    has_certificate: bool,
}

impl<'a> Found<'a> {
    pub(super) fn new(
        config: &'a Config,
        places: &Places,
        listened: &'a Listened,
        identities: Option<&Arc<Identities>>,
    ) -> Self {
        let mut names = Vec::new();
        for identity in identities.iter().flat_map(|all| all.current()) {
            // One name is enough of each; nobody is called by a wildcard, or by an address.
            let usable = |name: &&String| !name.contains('*') && name.parse::<IpAddr>().is_err();
            let name = identity.names().iter().find(usable).cloned();
            names.extend(name.filter(|name| !names.contains(name) && !is_claimed(config, name)));
        }
        let has_certificate = identities.is_some();
        Self { config, listened, relays: places.relays(), names, has_certificate }
    }

    /// Those of a realm; of the default one when there is none.
    pub(super) fn of(&self, realm: Option<&Realm>) -> Vec<String> {
        let bound = self.listened.bound();
        let plain = self.listened.listening.configured(&self.config.worker.listeners);
        let (names, plain, tls) = match realm {
            None => (&self.names, plain, bound.tls.clone()),
            Some(realm) => {
                let own = realms::listeners(realm, self.config, &bound);
                let names = &realm.reach.server_names;
                let sealed = [&plain[..], &bound.tls].concat();
                match (own.is_empty(), names.is_empty()) {
                    // Whoever wants to be let in there cannot do more than ask.
                    (true, true) => (&self.names, plain, bound.tls.clone()),
                    // By name alone.
                    (true, false) => return self.over_tls(names, &sealed),
                    (false, _) => {
                        let own = |all: &[SocketAddr]| -> Vec<_> {
                            all.iter().copied().filter(|it| own.contains(it)).collect()
                        };
                        (
                            names,
                            own(&plain),
                            if names.is_empty() { own(&bound.tls) } else { bound.tls.clone() },
                        )
                    }
                }
            }
        };
        let mut uris = over(&plain, &self.relays);
        uris.extend(self.over_tls(names, &[&plain[..], &tls].concat()));
        uris
    }

    /// `turns:` at each port, by each name.
    fn over_tls(&self, names: &[String], listeners: &[SocketAddr]) -> Vec<String> {
        let mut ports = Vec::new();
        for port in listeners.iter().map(SocketAddr::port).filter(|_| self.has_certificate) {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        let uri = |name, port| format!("turns:{name}:{port}?transport=tcp");
        names.iter().flat_map(|name| ports.iter().map(move |port| uri(name, port))).collect()
    }
}

fn is_claimed(config: &Config, name: &str) -> bool {
    let names = config.realms.iter().flat_map(|realm| &realm.reach.server_names);
    names.into_iter().any(|claimed| claimed.eq_ignore_ascii_case(name))
}

/// The URIs of listeners for UDP and TCP.
pub(super) fn over(listeners: &[SocketAddr], relays: &[RelayAddress]) -> Vec<String> {
    let all = reachable(listeners, relays);
    let stun = all.iter().map(|address| format!("stun:{address}"));
    let over = |transport| all.iter().map(move |it| format!("turn:{it}?transport={transport}"));
    stun.chain(over("udp")).chain(over("tcp")).collect()
}

/// Listeners as clients know them: a wildcard stands for the advertised addresses of its family.
fn reachable(listeners: &[SocketAddr], relays: &[RelayAddress]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for listener in listeners {
        let known: Vec<IpAddr> = relays
            .iter()
            .filter(|relay| match listener.ip() {
                any if any.is_unspecified() => relay.local.is_ipv4() == any.is_ipv4(),
                concrete => relay.local == concrete,
            })
            .map(|relay| relay.advertised)
            .collect();
        let own = (known.is_empty() && !listener.ip().is_unspecified()).then_some(listener.ip());
        for ip in known.into_iter().chain(own) {
            let address = SocketAddr::new(ip, listener.port());
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_the_addresses_that_are_known_outside() {
        let relay = |local: &str, advertised: &str| RelayAddress {
            local: local.parse().unwrap(),
            advertised: advertised.parse().unwrap(),
        };
        let relays = [relay("10.0.0.5", "54.0.0.7"), relay("2600::5", "2600::5")];
        let listeners: Vec<SocketAddr> =
            ["0.0.0.0:3478", "[::]:3478", "10.0.0.9:443"].map(|text| text.parse().unwrap()).into();
        let expected = [
            "stun:54.0.0.7:3478",
            "stun:[2600::5]:3478",
            "stun:10.0.0.9:443",
            "turn:54.0.0.7:3478?transport=udp",
            "turn:[2600::5]:3478?transport=udp",
            "turn:10.0.0.9:443?transport=udp",
            "turn:54.0.0.7:3478?transport=tcp",
            "turn:[2600::5]:3478?transport=tcp",
            "turn:10.0.0.9:443?transport=tcp",
        ];
        assert_eq!(over(&listeners, &relays), expected);
    }
}
