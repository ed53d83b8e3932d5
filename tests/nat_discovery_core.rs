//! NAT behaviour discovery as a state machine: from which of four addresses a Binding request is
//! answered, to which port, with what, how often, and with how many bytes.

mod core;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::core::{Response, Setup, TestClient, TestServer, turn_settings};
use proptest::prelude::*;
use turnwire::stun::{Kind, Method, TransactionId, Writer, attribute, decode_address};
use turnwire::turn::{Client, Detour, Discovery, Dropped, FiveTuple, Transport, Verdict};

const STRANGER: &str = "198.51.100.7:4000";
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;
/// Two addresses behind a 1:1 NAT, inside and outside.
const INSIDE: [&str; 2] = ["10.0.0.5", "10.0.0.6"];
const OUTSIDE: [&str; 2] = ["203.0.113.1", "203.0.113.2"];
const PORTS: [u16; 2] = [3478, 3479];

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn setup() -> Setup {
    let ips = |texts: [&str; 2]| texts.map(|text| text.parse::<IpAddr>().unwrap());
    let mut turn = turn_settings(49152, 65535);
    turn.discovery = vec![Discovery { local: ips(INSIDE), advertised: ips(OUTSIDE), ports: PORTS }];
    Setup { turn, ..Setup::default() }
}

/// A client that sends to one of the four: which address, which port.
fn client(from: &str, transport: Transport, ip: usize, port: usize) -> Client {
    let server = address(INSIDE[ip], PORTS[port]);
    Client { tuple: FiveTuple { transport, client: from.parse().unwrap(), server }, leg: 0 }
}

fn request(id: &TransactionId, fill: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let mut writer = Writer::new(&mut buffer, Kind::request(Method::BINDING), id);
    fill(&mut writer);
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn binding(fill: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
    request(&TransactionId::new([7; 12]), fill)
}

fn ask(server: &mut TestServer, client: &Client, packet: &[u8]) -> (Response, Option<Detour>) {
    match server.receive(client, packet) {
        Verdict::Reply(reply) => (server.reply(reply.length), reply.detour),
        other => panic!("no answer but {other:?}"),
    }
}

fn found(response: &Response, kind: u16) -> Option<SocketAddr> {
    response.get(kind).map(|value| decode_address(value).unwrap())
}

fn kinds(response: &Response) -> Vec<u16> {
    response.message().attributes().map(|(kind, _)| kind).collect()
}

/// RFC 5780 §6.1, table 1
#[test]
fn each_flag_changes_what_it_says_on_each_of_the_four_addresses() {
    let mut server = setup().server();
    for (ip, port) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let client = client(STRANGER, Transport::Udp, ip, port);
        for flags in [0, CHANGE_IP, CHANGE_PORT, CHANGE_IP | CHANGE_PORT] {
            let packet = binding(|writer| writer.number(attribute::CHANGE_REQUEST, flags));
            let (response, detour) = ask(&mut server, &client, &packet);
            let from_ip = ip ^ usize::from(flags & CHANGE_IP != 0);
            let from_port = port ^ usize::from(flags & CHANGE_PORT != 0);
            let expected = (flags != 0).then(|| Detour {
                from: address(INSIDE[from_ip], PORTS[from_port]),
                to: client.tuple.client,
            });
            assert_eq!(detour, expected);
            // What is told is what is known outside.
            let origin = address(OUTSIDE[from_ip], PORTS[from_port]);
            assert_eq!(found(&response, attribute::RESPONSE_ORIGIN), Some(origin));
            let other = address(OUTSIDE[1 - ip], PORTS[1 - port]);
            assert_eq!(found(&response, attribute::OTHER_ADDRESS), Some(other));
            assert_eq!(response.mapped(), Some(client.tuple.client));
            assert_eq!(response.classic_mapped(), Some(client.tuple.client));
        }
    }
    assert_eq!(server.stats.change_requests.get(), 12);
}

#[test]
fn ipv6_is_served_beside_ipv4_on_addresses_of_its_own() {
    let mut setup = setup();
    let ips = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse::<IpAddr>().unwrap());
    setup.turn.discovery.push(Discovery { local: ips, advertised: ips, ports: [3478, 5000] });
    let mut server = setup.server();
    let mut client = client("[2600::7]:4000", Transport::Udp, 0, 0);
    client.tuple.server = SocketAddr::new(ips[0], 3478);
    let change = CHANGE_IP | CHANGE_PORT;
    let packet = binding(|writer| writer.number(attribute::CHANGE_REQUEST, change));
    let (response, detour) = ask(&mut server, &client, &packet);
    let other = SocketAddr::new(ips[1], 5000);
    assert_eq!(detour, Some(Detour { from: other, to: client.tuple.client }));
    assert_eq!(found(&response, attribute::OTHER_ADDRESS), Some(other));
}

/// RFC 3489 §8.1
#[test]
fn a_client_of_rfc_3489_gets_the_names_of_its_time() {
    let mut server = setup().server();
    let client = client(STRANGER, Transport::Udp, 0, 0);
    let id = TransactionId::classic(0x0102_0304, [9; 12]);
    let packet = request(&id, |writer| writer.number(attribute::CHANGE_REQUEST, CHANGE_PORT));
    let (response, detour) = ask(&mut server, &client, &packet);
    assert_eq!(detour.unwrap().from, address(INSIDE[0], PORTS[1]));
    let expected =
        [attribute::MAPPED_ADDRESS, attribute::SOURCE_ADDRESS, attribute::CHANGED_ADDRESS];
    assert_eq!(kinds(&response), expected);
    let source = found(&response, attribute::SOURCE_ADDRESS);
    assert_eq!(source, Some(address(OUTSIDE[0], PORTS[1])));
    let changed = found(&response, attribute::CHANGED_ADDRESS);
    assert_eq!(changed, Some(address(OUTSIDE[1], PORTS[1])));
}

/// RFC 3489 §12.1: whoever may name the address of the answer has a reflector.
#[test]
fn response_address_is_refused_with_and_without_a_cookie() {
    let mut server = setup().server();
    let client = client(STRANGER, Transport::Udp, 0, 0);
    for id in [TransactionId::classic(1, [9; 12]), TransactionId::new([9; 12])] {
        let packet = request(&id, |writer| {
            writer.address(attribute::RESPONSE_ADDRESS, "192.0.2.66:53".parse().unwrap());
            writer.number(attribute::CHANGE_REQUEST, CHANGE_IP);
        });
        let (response, detour) = ask(&mut server, &client, &packet);
        assert_eq!((response.code(), detour), (420, None));
        let unknown = attribute::RESPONSE_ADDRESS.to_be_bytes();
        assert_eq!(response.get(attribute::UNKNOWN_ATTRIBUTES), Some(&unknown[..]));
    }
    assert_eq!(server.stats.change_requests.get(), 0);
}

/// RFC 5780 §7.5
#[test]
fn response_port_changes_the_port_and_nothing_else_of_the_destination() {
    let mut server = setup().server();
    let client = client(STRANGER, Transport::Udp, 1, 0);
    for value in [&[0x30, 0x39, 0, 0][..], &[0x30, 0x39]] {
        let packet = binding(|writer| writer.attribute(attribute::RESPONSE_PORT, value));
        let (response, detour) = ask(&mut server, &client, &packet);
        let expected = Detour {
            from: address(INSIDE[1], PORTS[0]),
            to: SocketAddr::new(client.tuple.client.ip(), 12345),
        };
        assert_eq!(detour, Some(expected));
        assert_eq!(response.mapped(), Some(client.tuple.client));
    }
    let packet = binding(|writer| {
        writer.number(attribute::RESPONSE_PORT, 12345 << 16);
        writer.number(attribute::CHANGE_REQUEST, CHANGE_IP | CHANGE_PORT);
    });
    let from = ask(&mut server, &client, &packet).1.unwrap().from;
    assert_eq!(from, address(INSIDE[0], PORTS[1]));
    for value in [&[0; 4][..], &[], &[1], &[1; 8]] {
        let packet = binding(|writer| writer.attribute(attribute::RESPONSE_PORT, value));
        let (response, detour) = ask(&mut server, &client, &packet);
        assert_eq!((response.code(), detour), (400, None), "{value:?}");
    }
    assert_eq!(server.stats.response_ports.get(), 3);
}

/// RFC 5780 §6.1, §10
#[test]
fn padding_with_response_port_is_refused() {
    let mut server = setup().server();
    let client = client(STRANGER, Transport::Udp, 0, 0);
    let packet = binding(|writer| {
        writer.attribute(attribute::PADDING, &[0; 1500]);
        writer.number(attribute::RESPONSE_PORT, 12345 << 16);
    });
    let (response, detour) = ask(&mut server, &client, &packet);
    assert_eq!((response.code(), detour), (400, None));
    // Strangers get no more than they must.
    assert!(response.bytes.len() < 40);
}

/// RFC 5780 §6.1, §7.6
#[test]
fn padding_comes_back_and_never_more_than_was_sent() {
    let mut server = setup().server();
    let client = client(STRANGER, Transport::Udp, 0, 0);
    for sent in [0, 1, 3, 40, 60, 500, 1472, 1500, 2000, 9000, 60_000] {
        for fingerprint in [false, true] {
            let packet = binding(|writer| {
                writer.attribute(attribute::PADDING, &vec![b'x'; sent]);
                if fingerprint {
                    writer.fingerprint();
                }
            });
            let (response, _) = ask(&mut server, &client, &packet);
            let padding = response.get(attribute::PADDING).expect("PADDING").len();
            assert_eq!(response.message().has_fingerprint(), fingerprint);
            let least = 20 + 4 * 12 + 4 + if fingerprint { 8 } else { 0 };
            assert_eq!(response.bytes.len(), packet.len().clamp(least, 2048), "{sent}");
            assert_eq!(padding, response.bytes.len() - least);
        }
    }
    assert_eq!(server.stats.paddings.get(), 22);
}

/// RFC 5780 §3, §3.1: mapping is found out on streams as well, filtering cannot be.
#[test]
fn a_connection_learns_the_other_address_and_nothing_takes_another_way() {
    let mut server = setup().server();
    for transport in [Transport::Tcp, Transport::Dtls] {
        let client = client(STRANGER, transport, 0, 0);
        let (response, detour) = ask(&mut server, &client, &binding(|_| ()));
        assert_eq!(detour, None);
        let other = address(OUTSIDE[1], PORTS[1]);
        assert_eq!(found(&response, attribute::OTHER_ADDRESS), Some(other));
        let wishes: [(u16, &[u8]); 3] = [
            (attribute::CHANGE_REQUEST, &[0, 0, 0, 6]),
            (attribute::RESPONSE_PORT, &[1, 1, 0, 0]),
            (attribute::PADDING, &[0; 100]),
        ];
        for (kind, value) in wishes {
            let packet = binding(|writer| writer.attribute(kind, value));
            let (response, detour) = ask(&mut server, &client, &packet);
            assert_eq!((response.code(), detour), (420, None));
            let unknown = response.get(attribute::UNKNOWN_ATTRIBUTES);
            assert_eq!(unknown, Some(&kind.to_be_bytes()[..]));
        }
    }
}

/// RFC 5780 §6: what has no second address and port beside it serves none of it.
#[test]
fn other_listeners_and_other_methods_know_nothing_of_it() {
    let mut server = setup().server();
    let wishes: [(u16, &[u8]); 3] = [
        (attribute::CHANGE_REQUEST, &[0, 0, 0, 6]),
        (attribute::RESPONSE_PORT, &[1, 1, 0, 0]),
        (attribute::PADDING, &[]),
    ];
    let mut elsewhere = client(STRANGER, Transport::Udp, 0, 0);
    for place in [address("10.0.0.7", 3478), address("10.0.0.5", 5349)] {
        elsewhere.tuple.server = place;
        let (response, _) = ask(&mut server, &elsewhere, &binding(|_| ()));
        assert_eq!(kinds(&response), [attribute::XOR_MAPPED_ADDRESS]);
        for (kind, value) in wishes {
            let packet = binding(|writer| writer.attribute(kind, value));
            let (response, _) = ask(&mut server, &elsewhere, &packet);
            assert_eq!(response.code(), 420);
        }
    }
    // With others that nobody knows, those only are named.
    let here = client(STRANGER, Transport::Udp, 0, 0);
    let packet = binding(|writer| {
        writer.attribute(0x7F01, b"what");
        wishes.iter().for_each(|(kind, value)| writer.attribute(*kind, value));
        writer.attribute(0x0033, b"");
    });
    let (response, _) = ask(&mut server, &here, &packet);
    assert_eq!(response.get(attribute::UNKNOWN_ATTRIBUTES), Some(&[0x7F, 1, 0, 0x33][..]));
}

#[test]
fn another_way_is_rated_for_each_address_and_in_all_and_a_plain_binding_goes_on() {
    let mut setup = setup();
    setup.turn.limits.discovery_per_second = 5;
    setup.turn.limits.all_discovery_per_second = 100;
    // The table is there for discovery even when nothing else is bounded.
    setup.turn.limits.unauthenticated_per_second = 0;
    let mut server = setup.server();
    let change = binding(|writer| writer.number(attribute::CHANGE_REQUEST, CHANGE_IP));
    let flood = |server: &mut TestServer, from: &str| {
        let client = client(from, Transport::Udp, 0, 0);
        let verdicts = (0..50).map(|_| server.receive(&client, &change));
        let answered = verdicts.filter(|verdict| matches!(verdict, Verdict::Reply(_))).count();
        ask(server, &client, &binding(|_| ()));
        answered
    };
    assert_eq!(flood(&mut server, STRANGER), 10);
    assert_eq!(server.stats.dropped[Dropped::DiscoveryLimited as usize].get(), 40);
    server.advance(Duration::from_secs(1));
    assert_eq!(flood(&mut server, STRANGER), 5);
    // Many addresses together get what one second has.
    server.advance(Duration::from_secs(10));
    let all: usize = (0..100).map(|i| flood(&mut server, &format!("198.51.{i}.1:1"))).sum();
    assert!((95..=101).contains(&all), "{all}");
}

/// Everybody may know the address of a client that is in a call, and write it into a packet.
#[test]
fn who_has_an_allocation_is_rated_as_well() {
    let mut setup = setup();
    setup.turn.limits.discovery_per_second = 5;
    let mut server = setup.server();
    let mut known = TestClient::new(STRANGER, "alice", "wonder");
    known.client = client(STRANGER, Transport::Udp, 0, 0);
    assert!(known.allocate(&mut server).success());
    let change = binding(|writer| writer.number(attribute::CHANGE_REQUEST, CHANGE_IP));
    let verdicts = (0..50).map(|_| server.receive(&known.client, &change));
    let answered = verdicts.filter(|verdict| matches!(verdict, Verdict::Reply(_))).count();
    assert_eq!(answered, 10);
    assert!(known.refresh(&mut server, 600).success());
}

/// Both limits are off on purpose only.
#[test]
fn an_exempt_address_has_the_common_limit_only() {
    let mut setup = setup();
    setup.turn.limits.discovery_per_second = 1;
    let mut server = setup.server();
    let client = client("127.0.0.1:7", Transport::Udp, 0, 0);
    let change = binding(|writer| writer.number(attribute::CHANGE_REQUEST, CHANGE_IP));
    for _ in 0..500 {
        assert!(ask(&mut server, &client, &change).1.is_some());
    }
}

fn wish() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let kind = prop_oneof![
        Just(attribute::CHANGE_REQUEST),
        Just(attribute::RESPONSE_PORT),
        Just(attribute::PADDING),
        Just(attribute::RESPONSE_ADDRESS),
        any::<u16>(),
    ];
    (kind, proptest::collection::vec(any::<u8>(), 0..1600))
}

proptest! {
    /// Whatever is asked for, an answer comes from one of the four, goes to the asking host, and
    /// is longer than the request by no more than the addresses that RFC 5780 wants in it.
    #[test]
    fn nobody_draws_more_than_he_sends_nor_elsewhere(
        wishes in proptest::collection::vec(wish(), 0..4),
        stream in any::<bool>(),
        (ip, port) in (0..2_usize, 0..2_usize),
    ) {
        let mut server = setup().server();
        let transport = if stream { Transport::Tcp } else { Transport::Udp };
        let client = client(STRANGER, transport, ip, port);
        let packet = binding(|writer| {
            wishes.iter().for_each(|(kind, value)| writer.attribute(*kind, value));
        });
        let Verdict::Reply(reply) = server.receive(&client, &packet) else { return Ok(()) };
        prop_assert!(reply.length <= packet.len().max(20 + 4 * 12 + 4));
        if let Some(Detour { from, to }) = reply.detour {
            prop_assert!(!stream);
            prop_assert!(INSIDE.contains(&&*from.ip().to_string()) && PORTS.contains(&from.port()));
            prop_assert_eq!(to.ip(), client.tuple.client.ip());
            prop_assert!(to.port() != 0 && reply.refusal.is_none());
        }
    }
}
