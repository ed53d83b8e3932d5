//! Which peers may be relayed to: safe by default, and what an operator can change.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::{Client, Peer, Server, Setup, eventually, new_id, plain};
use turnwire::stun::{Kind, Method};

/// One address of each kind that is not for everybody (IANA's special-purpose registries).
const DENIED_V4: [&str; 21] = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.2",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.254",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
];

/// The same for IPv6, with IPv4 addresses in every disguise.
const DENIED_V6: [&str; 26] = [
    "::",
    "::2",
    "::7f00:1",
    "::808:808",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::192.168.1.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "4000::1",
];

/// Everybody's addresses; nothing is sent to them here.
const ALLOWED: [&str; 8] = [
    "8.8.8.8",
    "100.128.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.254",
    "2606:4700::1111",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
];

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), 9)
}

fn dual(setup: Setup) -> Server {
    setup.listen("127.0.0.1:0").listen("[::1]:0").start()
}

/// A client with an allocation of the family of the peer.
fn client_for(server: &Server, peer: SocketAddr) -> Client {
    let mut client = Client::udp(server);
    client.allocate_family(if peer.is_ipv4() { 1 } else { 2 });
    client
}

/// What CreatePermission and ChannelBind say, which must be the same.
#[track_caller]
fn verdict(server: &Server, peer: SocketAddr) -> u16 {
    let mut client = client_for(server, peer);
    let codes = [client.try_permit(&[peer]).code(), client.try_bind(0x4000, peer).code()];
    assert_eq!(codes[0], codes[1], "{peer}");
    codes[0]
}

/// RFC 8656 §10.2, §12.2, §21.3.4
#[test]
fn addresses_that_are_not_for_everybody_are_denied() {
    let server = dual(Setup::new());
    for family in [&DENIED_V4[..], &DENIED_V6[..]] {
        let mut client = client_for(&server, at(family[0]));
        for peer in family.iter().map(|ip| at(ip)) {
            let permission = client.try_permit(&[peer]);
            assert_eq!(permission.code(), 403, "{peer}");
            assert!(permission.phrase().starts_with(&format!("peer {} denied: ", peer.ip())));
            assert_eq!(client.try_bind(0x4000, peer).code(), 403, "{peer}");
            client.send(peer, b"anybody there?");
        }
        client.fence();
    }
    let all = (DENIED_V4.len() + DENIED_V6.len()) as u64;
    assert_eq!(server.refusals("peer_denied", 403), 2 * all);
    assert_eq!(server.drops("no_permission"), all);
    for ip in ALLOWED {
        assert_eq!(verdict(&server, at(ip)), 0, "{ip}");
    }
}

/// The most specific rule decides, deny wins a tie, and rules come before the defaults.
#[test]
fn rules_of_the_operator_override_the_defaults() {
    let rules = Setup::new()
        .flag("--allow-peer", "127.0.5.0/24")
        .flag("--deny-peer", "127.0.5.9/32")
        .flag("--deny-peer", "8.8.0.0/16")
        .flag("--allow-peer", "8.8.8.0/24")
        .flag("--allow-peer", "10.0.0.0/8")
        .flag("--deny-peer", "10.0.0.0/8")
        .flag("--deny-peer", "2606:4700::/32")
        .flag("--allow-peer", "fd00:1::/32")
        .config("[peers]\nallow = [\"192.168.7.0/24\"]\ndeny = [\"192.168.7.128/25\"]");
    let server = dual(rules);
    for (ip, code) in [
        ("127.0.5.1", 0),
        ("127.0.5.9", 403),
        ("127.0.6.1", 403),
        ("8.8.4.4", 403),
        ("8.8.8.8", 0),
        ("9.9.9.9", 0),
        ("10.1.2.3", 403),
        ("192.168.7.1", 0),
        ("192.168.7.200", 403),
        ("192.168.8.1", 403),
        ("2606:4700::1111", 403),
        ("fd00:1::1", 0),
        ("fd00:2::1", 403),
        // The rule about an IPv4 address reaches into its disguises.
        ("64:ff9b::8.8.4.4", 403),
        ("64:ff9b::8.8.8.8", 0),
    ] {
        assert_eq!(verdict(&server, at(ip)), code, "{ip}");
    }
}

/// An allowed address is really reached, and its denied neighbour is not, whatever is tried.
#[test]
fn what_is_allowed_is_relayed_and_what_is_denied_is_not() {
    let server = Setup::new()
        .flag("--allow-peer", "127.0.5.0/24")
        .flag("--deny-peer", "127.0.5.9/32")
        .start();
    let open = Peer::at(Ipv4Addr::new(127, 0, 5, 1).into());
    let closed = Peer::at(Ipv4Addr::new(127, 0, 5, 9).into());
    for mut client in Client::both(&server) {
        let relayed = client.allocate();
        client.permit(open.address);
        assert_eq!(client.try_permit(&[closed.address]).code(), 403);
        client.send(closed.address, b"in vain");
        closed.send(relayed, b"in vain");
        client.send(open.address, b"hello");
        assert_eq!(open.payload(), b"hello");
        open.send(relayed, b"hello back");
        assert_eq!(client.data(), (open.address, b"hello back".to_vec()));
        assert!(closed.has_nothing());
    }
}

/// The relay must not be a way to the server itself: of its own addresses only the ports of
/// allocations are open to clients, even where the listener lies among them.
#[test]
fn the_servers_own_listeners_are_denied() {
    let all_ports = Setup::new().flag("--relay-ports", "1024-65535");
    for server in [Setup::new().start(), all_ports.start()] {
        let mut client = Client::udp(&server);
        client.allocate();
        for own in [server.address(), server.admin()] {
            assert_eq!(client.try_bind(0x4000, own).code(), 403, "{own}");
        }
        // A permission is for the address, whose other ports may be allocations: the port is
        // judged for each packet.
        client.permit(server.address());
        let binding = plain(Kind::request(Method::BINDING), &new_id(), |_| ());
        client.send(server.address(), &binding);
        client.fence();
        assert_eq!(server.drops("peer_denied"), 1);
        assert_eq!(server.metric("bindings_total"), 1);
    }
}

/// Who opens the network in which the server itself stands opens its neighbours, and no way to its own sockets: the admin
/// API trusts its address.
#[test]
fn no_rule_opens_the_servers_own_sockets() {
    for rule in ["127.0.0.0/8", "127.0.0.1/32"] {
        let server = Setup::new().flag("--allow-peer", rule).start();
        let neighbour = Peer::at(Ipv4Addr::LOCALHOST.into());
        let mut client = Client::udp(&server);
        client.allocate();
        for own in [server.address(), server.admin()] {
            assert_eq!(client.try_bind(0x4000, own).code(), 403, "{own} with {rule}");
        }
        client.permit(neighbour.address);
        let binding = plain(Kind::request(Method::BINDING), &new_id(), |_| ());
        client.send(server.address(), &binding);
        client.send(neighbour.address, b"hello");
        assert_eq!(neighbour.payload(), b"hello");
        assert_eq!(server.drops("peer_denied"), 1);
        assert_eq!(client.try_bind(0x4001, neighbour.address).code(), 0);
        let mut control = Client::tcp(&server);
        control.allocate_tcp();
        assert_eq!(control.try_connect(server.admin()).code(), 403);
    }
}

/// The same socket goes by other names: an unspecified address leads to this host, and what listens on all addresses
/// listens on each of 127.0.0.0/8.
#[test]
fn no_rule_opens_them_by_another_name() {
    let server = Setup::new()
        .flag("--allow-peer", "0.0.0.0/0")
        .flag("--allow-peer", "::/0")
        .listen("0.0.0.0:0")
        .listen("[::]:0")
        .flag("--relay-ip", "127.0.0.1")
        .flag("--relay-ip", "::1")
        .start();
    let (v4, v6) = (server.listeners()[0].port(), server.listeners()[1].port());
    let admin = server.admin().port();
    let at = |ip: &str, port| SocketAddr::new(ip.parse().expect("an address"), port);
    let clients = || [Client::udp_to(at("127.0.0.1", v4)), Client::tcp_to(at("127.0.0.1", v4))];
    let [mut client, mut control] = clients();
    client.allocate();
    control.allocate_tcp();
    for name in ["0.0.0.0", "127.0.0.2", "127.255.255.254"] {
        for port in [v4, admin] {
            let own = at(name, port);
            assert_eq!(client.try_bind(0x4000, own).code(), 403, "{own}");
            assert_eq!(control.try_connect(own).code(), 403, "{own}");
        }
    }
    let neighbour = Peer::at(Ipv4Addr::new(127, 0, 0, 2).into());
    client.bind(0x4001, neighbour.address);
    client.channel(0x4001, b"hello");
    assert_eq!(neighbour.payload(), b"hello");
    let [mut client, _] = clients();
    client.allocate_family(2);
    for own in [at("::", v6), at("::1", v6), at("::ffff:0.0.0.0", v4), at("64:ff9b::", v4)] {
        assert_eq!(client.try_bind(0x4000, own).code(), 403, "{own}");
    }
}

/// Another program's port on the relay address is none of an allocation's.
#[test]
fn other_ports_of_the_relay_address_are_denied() {
    let server = Setup::new().flag("--relay-ports", "62000-62999").start();
    let bystander = Peer::at(Ipv4Addr::LOCALHOST.into());
    let mut client = Client::udp(&server);
    let relayed = client.allocate();
    client.permit(bystander.address);
    client.send(bystander.address, b"not for you");
    bystander.send(relayed, b"nor for you");
    eventually("both are dropped", || (server.drops("peer_denied") == 2).then_some(()));
    assert!(bystander.has_nothing() && client.has_nothing());
    assert_eq!(client.try_bind(0x4000, bystander.address).code(), 403);
}

/// Who denies the server's own address as well, keeps its clients apart.
#[test]
fn even_the_relay_address_can_be_denied() {
    let server = Setup::new().flag("--deny-peer", "127.0.0.0/8").start();
    let other = Client::udp(&server).allocate();
    assert_eq!(verdict(&server, other), 403);
}

/// A packet that cannot be sent costs that packet and nothing else. Browsers offer unreachable
/// peers in every call.
#[test]
fn an_unreachable_peer_costs_only_its_own_packets() {
    let server = dual(
        Setup::with_local_peers()
            .flag("--allow-peer", "240.0.0.0/4")
            // No way leads there from a socket for IPv6 only.
            .flag("--allow-peer", "::ffff:8.8.8.0/120"),
    );
    for (family, unreachable, ip) in [
        (1, ["240.0.0.1", "255.255.255.254"], "127.0.0.1"),
        (2, ["::ffff:8.8.8.8", "::ffff:8.8.8.9"], "::1"),
    ] {
        let peer = Peer::at(ip.parse::<IpAddr>().expect("an address"));
        for mut client in Client::both(&server) {
            let relayed = client.allocate_family(family);
            client.bind(0x4000, peer.address);
            client.bind(0x4001, at(unreachable[0]));
            client.permit(at(unreachable[1]));
            for number in 0..20_u8 {
                client.channel(0x4001, b"lost");
                client.channel(0x4000, &[number]);
                client.send(at(unreachable[1]), b"lost");
            }
            for number in 0..20_u8 {
                assert_eq!(peer.payload(), [number]);
            }
            peer.send(relayed, b"and back");
            assert_eq!(client.channel_data(), (0x4000, b"and back".to_vec()));
            assert_eq!(client.refresh(600).code(), 0);
        }
    }
    let lost = server.drops("send_unreachable") + server.drops("send_other");
    assert_eq!(lost, 2 * 2 * 40);
}
