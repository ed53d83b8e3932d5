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
