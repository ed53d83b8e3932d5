use super::*;

fn rule(prefix: &str, allow: bool) -> PeerRule {
    PeerRule { prefix: prefix.parse().unwrap(), allow }
}

fn policy(rules: &[PeerRule]) -> PeerPolicy {
    let relay = RelayAddress {
        local: "10.0.0.5".parse().unwrap(),
        advertised: "198.41.0.4".parse().unwrap(),
    };
    let listeners = vec!["198.41.0.4:3478".parse().unwrap(), "9.9.9.9:3478".parse().unwrap()];
    PeerPolicy::new(rules.to_vec(), vec![relay], PortRange::default(), listeners)
}

fn allowed(policy: &PeerPolicy, peer: &str) -> bool {
    !matches!(policy.decide(peer.parse().unwrap()), Decision::Deny(_))
}

#[test]
fn every_special_address_in_every_disguise_is_denied_by_default() {
    let inner = [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
    ];
    let policy = policy(&[]);
    for text in inner {
        let v4: Ipv4Addr = text.parse().unwrap();
        let b = u128::from(v4.to_bits());
        let disguises = [
            Ipv6Addr::from_bits(b),
            Ipv6Addr::from_bits(0xFFFF << 32 | b),
            Ipv6Addr::from_bits(0xFFFF << 48 | b),
            Ipv6Addr::from_bits(0x0064_FF9B << 96 | b),
            Ipv6Addr::from_bits(0x2002 << 112 | b << 80 | 1),
        ];
        assert!(!allowed(&policy, text), "{text}");
        for disguise in disguises {
            assert!(!allowed(&policy, &disguise.to_string()), "{disguise} for {text}");
        }
    }
    for text in [
        "::",
        "::1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
        "::ffff:8.8.8.8",
    ] {
        assert!(!allowed(&policy, text), "{text}");
    }
}

#[test]
fn global_addresses_are_allowed() {
    let policy = policy(&[]);
    for text in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "128.0.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.1.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "64:ff9b::1.1.1.1",
        "2002:0101:0101::1",
    ] {
        assert!(allowed(&policy, text), "{text}");
    }
}

#[test]
fn the_most_specific_rule_decides_and_deny_wins_a_tie() {
    let policy = policy(&[
        rule("10.1.2.0/24", true),
        rule("10.1.2.9/32", false),
        rule("1.0.0.0/8", false),
        rule("1.1.1.0/24", true),
        rule("1.1.1.0/24", false),
    ]);
    assert!(allowed(&policy, "10.1.2.8"));
    assert!(!allowed(&policy, "10.1.2.9"));
    assert!(!allowed(&policy, "10.1.3.1"));
    assert!(!allowed(&policy, "1.2.3.4"));
    assert!(!allowed(&policy, "1.1.1.1"));
    // Also inside of IPv6.
    assert!(!allowed(&policy, "64:ff9b::1.2.3.4"));
    assert!(allowed(&policy, "64:ff9b::10.1.2.8"));
    // The mapped form is not an address on any wire, whatever is inside.
    assert!(!allowed(&policy, "::ffff:10.1.2.8"));
}

#[test]
fn any_default_can_be_overridden_by_naming_the_address() {
    let policy = policy(&[
        rule("::1/128", true),
        rule("64:ff9b::a00:1/128", true),
        rule("64:ff9b::/96", true),
        rule("127.0.0.1", true),
    ]);
    for text in ["::1", "127.0.0.1", "64:ff9b::10.0.0.1"] {
        assert!(allowed(&policy, text), "{text}");
    }
    // A prefix that says nothing about the IPv4 address inside leaves it denied.
    for text in ["64:ff9b::10.0.0.2", "::2", "::"] {
        assert!(!allowed(&policy, text), "{text}");
    }
}

#[test]
fn own_relayed_addresses_are_reachable_and_no_other_port_of_the_server() {
    let policy = policy(&[]);
    for own in ["10.0.0.5", "198.41.0.4"] {
        assert_eq!(policy.decide(own.parse().unwrap()), Decision::Guarded, "{own}");
        let at = |port| SocketAddr::new(own.parse().unwrap(), port);
        assert!(policy.admits_port(at(50_000)));
        assert!(!policy.admits_port(at(22)));
        assert!(!policy.admits_port(at(3478)));
    }
    let elsewhere = "9.9.9.9".parse().unwrap();
    assert_eq!(policy.decide(elsewhere), Decision::Guarded);
    assert!(policy.admits_port(SocketAddr::new(elsewhere, 53)));
    assert!(!policy.admits_port(SocketAddr::new(elsewhere, 3478)));
}

#[test]
fn a_rule_opens_other_ports_of_the_servers_addresses_and_none_that_it_listens_on() {
    let rules = [rule("198.41.0.0/16", true), rule("9.9.9.9/32", true), rule("64:ff9b::/96", true)];
    let policy = policy(&rules);
    for own in ["198.41.0.4", "9.9.9.9"] {
        let ip: IpAddr = own.parse().unwrap();
        assert_eq!(policy.decide(ip), Decision::Guarded, "{own}");
        let admits = |port| policy.admits_port(SocketAddr::new(ip, port));
        assert!(admits(22) && admits(50_000) && !admits(3478), "{own}");
        // A translator would bring it back.
        assert!(!allowed(&policy, &format!("64:ff9b::{own}")));
    }
}

#[test]
fn no_rule_of_anybodys_opens_an_unspecified_address() {
    let all = [rule("0.0.0.0/0", true), rule("::/0", true)];
    let named = [
        rule("0.0.0.0/32", true),
        rule("::/128", true),
        rule("::ffff:0.0.0.0/128", true),
        rule("64:ff9b::/128", true),
        rule("2002::/48", true),
    ];
    let none = policy(&[]);
    for policy in
        [policy(&all), policy(&named), none.of_realm(all.into()), none.of_realm(named.into())]
    {
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0", "::ffff:0:0.0.0.0", "64:ff9b::", "2002::1"]
        {
            assert!(!allowed(&policy, text), "{text}");
        }
    }
    assert!(allowed(&policy(&all), "0.0.0.1"));
}

#[test]
fn a_listener_on_this_host_alone_or_on_all_addresses_stands_for_all_of_loopback() {
    let all = || vec![rule("0.0.0.0/0", true), rule("::/0", true)];
    for (listener, names, apart) in [
        ("0.0.0.0:9090", ["127.0.0.1", "127.0.0.2"], "::1"),
        ("127.0.0.1:9090", ["127.0.0.2", "127.255.255.255"], "::1"),
        ("[::]:9090", ["::1", "::1"], "127.0.0.1"),
        ("[::1]:9090", ["::1", "::1"], "127.0.0.1"),
    ] {
        let listeners = vec![listener.parse().unwrap()];
        let server =
            |rules| PeerPolicy::new(rules, vec![], PortRange::default(), listeners.clone());
        for policy in [server(all()), server(vec![]).of_realm(all())] {
            for name in names {
                let ip = name.parse().unwrap();
                assert_eq!(policy.decide(ip), Decision::Guarded, "{name} for {listener}");
                assert!(!policy.admits_port(SocketAddr::new(ip, 9090)), "{name} for {listener}");
                assert!(policy.admits_port(SocketAddr::new(ip, 9091)), "{name} for {listener}");
            }
            assert_eq!(policy.decide(apart.parse().unwrap()), Decision::Allow);
        }
    }
}

#[test]
fn a_rule_that_names_a_listener_inside_of_ipv6_does_not_open_it() {
    let policy = policy(&[rule("64:ff9b::9.9.9.9/128", true), rule("9.9.9.9", true)]);
    let denied = Decision::Deny(DeniedBy::OwnPort);
    assert_eq!(policy.decide("64:ff9b::9.9.9.9".parse().unwrap()), denied);
}

#[test]
fn own_advertised_addresses_are_reached_inside_of_the_nat() {
    let policy = policy(&[]);
    let (outside, inside) =
        ("198.41.0.4:50000".parse().unwrap(), "10.0.0.5:50000".parse().unwrap());
    assert_eq!(policy.route(outside), inside);
    assert_eq!(policy.known_as(inside), outside);
    let other = "198.41.0.4:22".parse().unwrap();
    assert_eq!(policy.route(other), other);
}

#[test]
fn the_table_holds_prefixes_only() {
    for special in SPECIAL {
        assert!(Prefix::new(special.network, special.length).is_ok(), "{}", special.network);
    }
}
