use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn interface(name: &str, address: &str) -> InterfaceAddress {
    let addr = ip(address);
    InterfaceAddress { name: name.to_owned(), addr, loopback: addr.is_loopback(), up: true }
}

/// One host: `interfaces` as `name address`, `routes` as sources.
#[derive(Default)]
struct Case {
    name: &'static str,
    interfaces: &'static [(&'static str, &'static str)],
    routes: [Option<&'static str>; 2],
    listeners: &'static [&'static str],
    relays: &'static [&'static str],
    /// `PUBLIC` or `PUBLIC/PRIVATE`.
    external: &'static [&'static str],
    /// What the STUN server says.
    stun: Option<Result<&'static str, &'static str>>,
    /// `local advertised` of each relay.
    expected: &'static [(&'static str, &'static str, AdvertisedReason)],
}

const LO: (&str, &str) = ("lo", "127.0.0.1");
const LO6: (&str, &str) = ("lo", "::1");
const ANY: &[&str] = &["0.0.0.0:3478", "[::]:3478"];
const UNKNOWN: AdvertisedReason = AdvertisedReason::Unknown(None);

fn cases() -> Vec<Case> {
    use AdvertisedReason::{External, Public, Reflexive};
    vec![
        Case {
            name: "a host with public addresses of both families",
            interfaces: &[LO, LO6, ("eth0", "9.9.9.9"), ("eth0", "fe80::1"), ("eth0", "2600::5")],
            routes: [Some("9.9.9.9"), Some("2600::5")],
            listeners: ANY,
            expected: &[("9.9.9.9", "9.9.9.9", Public), ("2600::5", "2600::5", Public)],
            ..Case::default()
        },
        Case {
            name: "a cloud's 1:1 NAT, told",
            interfaces: &[LO, ("ens5", "172.31.4.2")],
            routes: [Some("172.31.4.2"), None],
            listeners: ANY,
            external: &["54.0.0.7"],
            expected: &[("172.31.4.2", "54.0.0.7", External)],
            ..Case::default()
        },
        Case {
            name: "a cloud's 1:1 NAT, asked",
            interfaces: &[LO, ("ens5", "172.31.4.2")],
            routes: [Some("172.31.4.2"), None],
            listeners: ANY,
            stun: Some(Ok("54.0.0.7")),
            expected: &[("172.31.4.2", "54.0.0.7", Reflexive)],
            ..Case::default()
        },
        Case {
            name: "a container on a bridge, not told anything",
            interfaces: &[LO, ("eth0", "172.17.0.2")],
            routes: [Some("172.17.0.2"), None],
            listeners: ANY,
            expected: &[("172.17.0.2", "172.17.0.2", UNKNOWN)],
            ..Case::default()
        },
        Case {
            name: "a container's host: the bridge comes first in the list but leads nowhere",
            interfaces: &[LO, ("docker0", "172.17.0.1"), ("eth0", "9.9.9.9")],
            routes: [Some("9.9.9.9"), None],
            listeners: ANY,
            expected: &[("9.9.9.9", "9.9.9.9", Public)],
            ..Case::default()
        },
        Case {
            name: "unique-local IPv6 beside public IPv4",
            interfaces: &[LO, ("eth0", "9.9.9.9"), ("eth0", "fd00::2")],
            routes: [Some("9.9.9.9"), Some("fd00::2")],
            listeners: ANY,
            external: &["9.9.9.9"],
            expected: &[("9.9.9.9", "9.9.9.9", External), ("fd00::2", "fd00::2", UNKNOWN)],
            ..Case::default()
        },
        Case {
            name: "only link-local IPv6: no IPv6 relays",
            interfaces: &[LO, LO6, ("eth0", "9.9.9.9"), ("eth0", "fe80::1")],
            routes: [Some("9.9.9.9"), Some("fe80::1")],
            listeners: ANY,
            expected: &[("9.9.9.9", "9.9.9.9", Public)],
            ..Case::default()
        },
        Case {
            name: "no network at all",
            interfaces: &[LO, LO6],
            listeners: ANY,
            expected: &[("127.0.0.1", "127.0.0.1", UNKNOWN)],
            ..Case::default()
        },
        Case {
            name: "a network without a route",
            interfaces: &[LO, ("eth0", "9.9.9.9"), ("eth1", "10.0.0.1")],
            listeners: &["0.0.0.0:3478"],
            expected: &[("9.9.9.9", "9.9.9.9", Public)],
            ..Case::default()
        },
        Case {
            name: "one concrete listener on a host with several addresses",
            interfaces: &[LO, ("eth0", "9.9.9.9"), ("eth1", "9.9.9.10")],
            routes: [Some("9.9.9.9"), None],
            listeners: &["9.9.9.10:3478", "9.9.9.10:443", "127.0.0.1:3478"],
            expected: &[("9.9.9.10", "9.9.9.10", Public)],
            ..Case::default()
        },
        Case {
            name: "a developer's loopback",
            interfaces: &[LO, LO6, ("eth0", "9.9.9.9")],
            routes: [Some("9.9.9.9"), None],
            listeners: &["127.0.0.1:0", "[::1]:0"],
            expected: &[("127.0.0.1", "127.0.0.1", UNKNOWN), ("::1", "::1", UNKNOWN)],
            ..Case::default()
        },
        Case {
            name: "configured addresses are all of them; pairs come before the general one",
            interfaces: &[LO, ("eth0", "10.0.0.5"), ("eth1", "10.0.0.6"), ("eth0", "2600::5")],
            routes: [Some("10.0.0.5"), Some("2600::5")],
            listeners: ANY,
            relays: &["10.0.0.5", "10.0.0.6", "10.0.0.5"],
            external: &["54.0.0.7", "54.0.0.8/10.0.0.6"],
            expected: &[("10.0.0.5", "54.0.0.7", External), ("10.0.0.6", "54.0.0.8", External)],
            ..Case::default()
        },
        Case {
            name: "an external address is for its family only",
            interfaces: &[LO, ("eth0", "10.0.0.5"), ("eth0", "2600::5")],
            routes: [Some("10.0.0.5"), Some("2600::5")],
            listeners: ANY,
            external: &["54.0.0.7"],
            stun: Some(Err("nobody asks")),
            expected: &[("10.0.0.5", "54.0.0.7", External), ("2600::5", "2600::5", Public)],
            ..Case::default()
        },
    ]
}

#[test]
fn relay_addresses_of_all_kinds_of_hosts() {
    for case in cases() {
        let facts = Facts {
            interfaces: case.interfaces.iter().map(|(n, a)| interface(n, a)).collect(),
            route4: case.routes[0].map(ip),
            route6: case.routes[1].map(ip),
            ..Facts::default()
        };
        let listeners: Vec<_> = case.listeners.iter().map(|text| text.parse().unwrap()).collect();
        let relays: Vec<_> = case.relays.iter().map(|text| ip(text)).collect();
        let external = |text: &&str| match text.split_once('/') {
            Some((public, private)) => External { public: ip(public), private: Some(ip(private)) },
            None => External { public: ip(text), private: None },
        };
        let external: Vec<_> = case.external.iter().map(external).collect();
        let stun = |_| case.stun.map(|answer| answer.map(ip).map_err(str::to_owned));
        let chosen = choose(&listeners, &relays, &external, &facts, stun);
        let chosen: Vec<_> = chosen
            .iter()
            .map(|c| (c.relay.local.to_string(), c.relay.advertised.to_string(), &c.advertised))
            .collect();
        let expected: Vec<_> =
            case.expected.iter().map(|(l, a, why)| (l.to_string(), a.to_string(), why)).collect();
        assert_eq!(chosen, expected, "{}", case.name);
    }
}

#[test]
fn a_stun_server_that_does_not_answer_is_named_in_the_reason() {
    let listeners = ["10.0.0.5:3478".parse().unwrap()];
    let silent = |_| Some(Err("no answer".to_owned()));
    let chosen = choose(&listeners, &[], &[], &Facts::default(), silent);
    assert_eq!(chosen[0].advertised, AdvertisedReason::Unknown(Some("no answer".to_owned())));
    assert!(chosen[0].advertised.to_string().ends_with("no answer"));
}

#[test]
fn own_sockets_are_known_under_every_address_that_reaches_them() {
    let facts = Facts {
        interfaces: vec![interface("lo", "127.0.0.1"), interface("eth0", "10.0.0.5")],
        ..Facts::default()
    };
    let relays = [RelayAddress { local: ip("10.0.0.5"), advertised: ip("54.0.0.7") }];
    let own = |bound: &str| own_sockets(&[bound.parse().unwrap()], &relays, &facts);
    let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let wildcard = ["0.0.0.0:3478", "10.0.0.5:3478", "54.0.0.7:3478", "127.0.0.1:3478"];
    assert_eq!(own("0.0.0.0:3478"), addresses(&wildcard));
    assert_eq!(own("10.0.0.5:443"), addresses(&["10.0.0.5:443", "54.0.0.7:443"]));
    assert_eq!(own("127.0.0.1:443"), addresses(&["127.0.0.1:443"]));
    assert_eq!(own("[::]:443"), addresses(&["[::]:443"]));
}

#[test]
fn a_host_without_ipv6_listens_on_ipv4_alone() {
    let listeners = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let left = |texts: &[&str], ipv6| {
        let mut left = listeners(texts);
        drop_unsupported(&mut left, &Facts { ipv6, ..Facts::default() });
        left
    };
    assert_eq!(left(ANY, true), listeners(ANY));
    assert_eq!(left(ANY, false), listeners(&["0.0.0.0:3478"]));
    // What was asked for by its address fails in words instead, and so does what leaves nothing.
    assert_eq!(left(&["0.0.0.0:1", "[::1]:1"], false), listeners(&["0.0.0.0:1", "[::1]:1"]));
    assert_eq!(left(&["[::]:1"], false), listeners(&["[::]:1"]));
}
