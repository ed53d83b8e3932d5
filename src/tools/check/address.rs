use std::net::IpAddr;

use super::Fault;

/// What is wrong with the address of a relay of the server that was reached here.
pub(super) fn misplaced(relay: IpAddr, server: IpAddr, expected: Option<IpAddr>) -> Option<Fault> {
    if let Some(expected) = expected {
        return (expected != relay).then_some(Fault::RelayUnexpected { relay, expected });
    }
    if relay.is_unspecified() || relay.is_loopback() && !server.is_loopback() {
        return Some(Fault::RelayLoopback(relay));
    }
    if is_private(relay) && !is_private(server) && !server.is_loopback() {
        return Some(Fault::RelayPrivate(relay));
    }
    let elsewhere = relay.is_ipv4() == server.is_ipv4() && relay != server;
    elsewhere.then_some(Fault::RelayElsewhere { relay, server })
}

/// Addresses that no peer on the Internet can reach.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        // RFC 6598: between a provider and its customers.
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_where_peers_can_reach_it() {
        let name = |relay: &str, server: &str, expected: Option<&str>| {
            let ip = |text: &str| text.parse::<IpAddr>().unwrap();
            let fault = misplaced(ip(relay), ip(server), expected.map(ip));
            fault.map_or("fine", |fault| fault.name())
        };
        for (relay, server, expected, found) in [
            ("198.51.100.7", "198.51.100.7", None, "fine"),
            ("198.51.100.7", "198.51.100.7", Some("198.51.100.7"), "fine"),
            ("198.51.100.7", "198.51.100.7", Some("198.51.100.8"), "relay-unexpected"),
            ("10.0.0.5", "198.51.100.7", None, "relay-private"),
            ("10.0.0.5", "198.51.100.7", Some("10.0.0.5"), "fine"),
            ("100.64.3.4", "198.51.100.7", None, "relay-private"),
            ("fd00::1", "2001:db8::7", None, "relay-private"),
            ("10.0.0.5", "10.0.0.5", None, "fine"),
            ("127.0.0.1", "198.51.100.7", None, "relay-loopback"),
            ("0.0.0.0", "127.0.0.1", None, "relay-loopback"),
            ("127.0.0.1", "127.0.0.1", None, "fine"),
            ("198.51.100.8", "198.51.100.7", None, "relay-elsewhere"),
            // By IPv6 to a server whose relays are IPv4, as usual.
            ("198.51.100.8", "2001:db8::7", None, "fine"),
        ] {
            assert_eq!(name(relay, server, expected), found, "{relay} at {server}");
        }
    }
}
