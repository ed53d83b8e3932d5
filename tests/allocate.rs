//! Allocate requests, end to end: RFC 8656 §7.2.

mod common;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use common::{Client, Credential, Server, Setup, free_ports, new_id, unique_loopback};
use turnwire::auth::RestDigest;
use turnwire::stun::{Method, Writer, attribute};

const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn udp(writer: &mut Writer<'_>) {
    writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
}

fn even_port(reserve: bool) -> impl Fn(&mut Writer<'_>) {
    move |writer| writer.attribute(attribute::EVEN_PORT, &[u8::from(reserve) << 7])
}

fn token(token: &[u8]) -> impl Fn(&mut Writer<'_>) {
    move |writer| writer.attribute(attribute::RESERVATION_TOKEN, token)
}

fn family(code: u8) -> impl Fn(&mut Writer<'_>) {
    move |writer| writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[code, 0, 0, 0])
}

fn additional_family(code: u8) -> impl Fn(&mut Writer<'_>) {
    move |writer| writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[code, 0, 0, 0])
}

/// A server with a few relay ports that are nobody else's, and the first of them.
fn few_ports(count: u16) -> (Setup, IpAddr, u16) {
    let ip = unique_loopback();
    let first = free_ports(&[ip], count);
    (Setup::new().relay_on(&[ip], first, count), ip, first)
}

/// RFC 8656 §7.2, the success response.
#[test]
fn an_allocation_is_made_over_udp_and_tcp_and_both_families() {
    let server = Setup::new().listen("127.0.0.1:0").listen("[::1]:0").start();
    for listener in server.listeners() {
        for mut client in [Client::udp_to(*listener), Client::tcp_to(*listener)] {
            let answer = client.try_allocate(|_| ());
            assert_eq!(answer.code(), 0);
            let relayed = answer.relayed();
            assert_eq!(relayed.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
            assert!(relayed.port() >= 49152);
            assert_eq!(answer.lifetime(), 600);
            assert_eq!(answer.mapped(), client.local());
            assert_eq!(answer.attribute(attribute::SOFTWARE), Some(&b"Turnwire"[..]));
            // The port is really open.
            let taken = UdpSocket::bind(relayed).map_err(|error| error.kind());
            assert_eq!(taken.err(), Some(std::io::ErrorKind::AddrInUse));
        }
    }
    assert_eq!(server.metric("allocations_total"), 4);
}

/// RFC 8489 §9.2, draft-uberti-behave-turn-rest: each way to prove who is asking, once.
#[test]
fn every_kind_of_credential_is_let_in() {
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let soon = age.expect("a clock") + Duration::from_secs(600);
    let ephemeral = format!("{}:carol", soon.as_secs());
    let rest = |digest| Credential::ephemeral(digest, "shared", &ephemeral);
    let server = Setup::new().flag("--secret", "older").flag("--secret", "shared").start();
    for credential in [
        Credential::user("bob", "builder"),
        Credential::user("bob", "builder").sha256(),
        rest(RestDigest::Sha1),
        rest(RestDigest::Sha256),
        rest(RestDigest::Sha256).sha256(),
    ] {
        Client::udp(&server).with(credential).allocate();
    }
    let anonymous = "[auth]\nusername_anonymity = true";
    let server = Setup::new().config(anonymous).start();
    let hidden = Credential::user("bob", "builder").sha256().hidden();
    Client::udp(&server).with(hidden).allocate();
    let wrong = Credential::user("bob", "destroyer");
    assert_eq!(Client::udp(&server).with(wrong).try_allocate(|_| ()).code(), 401);
}

/// RFC 8656 §7.2, check 2
#[test]
fn a_second_allocate_on_the_same_5_tuple_is_a_mismatch() {
    let server = Setup::new().start();
    for mut client in Client::both(&server) {
        client.allocate();
        assert_eq!(client.try_allocate(|_| ()).code(), 437);
        // It costs the first one nothing.
        assert_eq!(client.refresh(600).code(), 0);
    }
    assert_eq!(server.refusals("allocation_exists", 437), 2);
}

/// RFC 8656 §7.2, note at the end: the stateless stack would not know, this one does.
#[test]
fn a_retransmission_gets_the_same_bytes_and_no_second_allocation() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let request = client.signed(Method::ALLOCATE, &new_id(), |writer| {
        udp(writer);
        even_port(true)(writer);
        writer.number(attribute::LIFETIME, 1200);
    });
    let first = client.exchange(&request);
    assert_eq!((first.code(), first.lifetime()), (0, 1200));
    client.fence();
    for _ in 0..3 {
        assert_eq!(client.exchange(&request), first);
    }
    assert_eq!(server.live(), 1);
}

/// RFC 8656 §7.2, check 3
#[test]
fn requested_transport_must_be_there_and_be_one_that_is_relayed() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    assert_eq!(client.request(Method::ALLOCATE, |_| ()).code(), 400);
    let mut ask = |value: &[u8]| {
        let answer = client.request(Method::ALLOCATE, |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, value);
        });
        answer.code()
    };
    assert_eq!(ask(&[17]), 400);
    assert_eq!(ask(&[132, 0, 0, 0]), 442);
    // RFC 6062 §5.1: TCP is relayed for clients on streams only.
    assert_eq!(ask(&[6, 0, 0, 0]), 400);
    assert_eq!(ask(&[17, 1, 2, 3]), 0);
}

/// RFC 8656 §7.2, check 4, and RFC 8489 §6.3.1
#[test]
fn dont_fragment_is_known_and_other_attributes_are_not() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let answer = client.try_allocate(|writer| {
        writer.attribute(attribute::DONT_FRAGMENT, &[]);
        writer.attribute(0x7F01, &[1, 2, 3]);
        writer.attribute(0xFF01, &[1, 2, 3]);
    });
    assert_eq!((answer.code(), answer.unknown()), (420, vec![0x7F01]));
    let fine = client.try_allocate(|writer| writer.attribute(attribute::DONT_FRAGMENT, &[]));
    assert_eq!(fine.code(), 0);
}

/// RFC 8656 §7.2, checks 5, 6, 8 and 9
#[test]
fn attributes_that_exclude_each_other_are_a_bad_request() {
    let server = Setup::new().listen("127.0.0.1:0").listen("[::1]:0").start();
    let mut client = Client::udp(&server);
    let some_token = [7; 8];
    type Ask<'a> = &'a dyn Fn(&mut Writer<'_>);
    let pairs: [(Ask<'_>, Ask<'_>); 6] = [
        (&token(&some_token), &even_port(false)),
        (&token(&some_token), &family(1)),
        (&token(&some_token), &additional_family(2)),
        (&family(1), &additional_family(2)),
        (&even_port(true), &additional_family(2)),
        (&additional_family(1), &|_| ()),
    ];
    for (number, (one, other)) in pairs.into_iter().enumerate() {
        let answer = client.try_allocate(|writer| {
            one(writer);
            other(writer);
        });
        assert_eq!(answer.code(), 400, "pair {number}");
    }
    assert_eq!(server.refusals("contradiction", 400), 6);
    assert_eq!(server.live(), 0);
}

/// RFC 8656 §7.2, check 7
#[test]
fn the_family_is_ipv4_unless_asked_and_440_when_there_is_none() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    for code in [2, 3] {
        assert_eq!(client.try_allocate(family(code)).code(), 440, "{code}");
    }
    assert!(client.allocate_family(1).is_ipv4());
    let only_v6 = Setup::new().relay_on(&[V6], 49152, 1000).start();
    let mut client = Client::udp(&only_v6);
    assert_eq!(client.try_allocate(|_| ()).code(), 440);
    assert_eq!(client.try_allocate(family(1)).code(), 440);
    assert_eq!(client.allocate_family(2).ip(), V6);
}

/// RFC 8656 §7.2, check 9, §18.12
#[test]
fn an_additional_family_is_given_or_its_absence_explained() {
    let ask = |server: &Server| {
        let answer = Client::udp(server).try_allocate(additional_family(2));
        assert_eq!(answer.code(), 0);
        let relayed = answer.addresses(attribute::XOR_RELAYED_ADDRESS);
        let error = answer.attribute(attribute::ADDRESS_ERROR_CODE).map(<[u8]>::to_vec);
        (relayed.iter().map(SocketAddr::ip).collect::<Vec<_>>(), error)
    };
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let both = Setup::new().listen("127.0.0.1:0").listen("[::1]:0").start();
    assert_eq!(ask(&both), (vec![v4, V6], None));
    let without = Setup::new().start();
    assert_eq!(ask(&without), (vec![v4], Some(vec![2, 0, 4, 40])));
    // The one port of a family is taken: the other one is still given.
    for (taken, left, error) in [(2, 0, [2, 0, 5, 8]), (1, 1, [1, 0, 5, 8])] {
        let ips = [unique_loopback(), V6];
        let full = Setup::new().relay_on(&ips, free_ports(&ips, 1), 1).start();
        Client::udp(&full).allocate_family(taken);
        assert_eq!(ask(&full), (vec![ips[left]], Some(error.to_vec())));
    }
    // RFC 8656 §7.2: 508 when neither can be had.
    let ips = [unique_loopback(), V6];
    let full = Setup::new().relay_on(&ips, free_ports(&ips, 1), 1).start();
    assert_eq!(ask(&full), (ips.to_vec(), None));
    let neither = Client::udp(&full).try_allocate(additional_family(2));
    assert_eq!(neither.code(), 508);
}

/// RFC 8656 §7.2, the initial time-to-expiry
#[test]
fn a_lifetime_is_bounded_by_the_default_below_and_the_maximum_above() {
    let server = Setup::new().start();
    for (asked, granted) in [
        (None, 600),
        (Some(0), 600),
        (Some(1), 600),
        (Some(1800), 1800),
        (Some(3601), 3600),
        (Some(u32::MAX), 3600),
    ] {
        let answer = Client::udp(&server).try_allocate(|writer| {
            asked.into_iter().for_each(|asked| writer.number(attribute::LIFETIME, asked));
        });
        assert_eq!(answer.lifetime(), granted, "{asked:?}");
    }
}

/// RFC 8656 §7.2, check 8: with R, the next port is kept for 30 seconds.
#[test]
fn even_port_gives_an_even_port_and_with_r_keeps_the_next() {
    let (setup, _, first) = few_ports(4);
    let server = setup.start();
    let mut clients: Vec<_> = (0..4).map(|_| Client::udp(&server)).collect();
    let reserving = clients[0].try_allocate(even_port(true));
    let even = reserving.relayed().port();
    assert_eq!(even % 2, 0);
    let other = clients[1].try_allocate(even_port(false)).relayed().port();
    assert_eq!(BTreeSet::from([even, other]), BTreeSet::from([first, first + 2]));
    assert_eq!(clients[2].try_allocate(even_port(false)).code(), 508);
    // One odd port is free; the other waits for its token.
    let odd = clients[2].allocate().port();
    assert_eq!(clients[3].try_allocate(|_| ()).code(), 508);
    let kept = clients[3].try_allocate(token(&reserving.token())).relayed().port();
    assert_eq!(kept, even + 1);
    assert_ne!(kept, odd);
}

/// RFC 8656 §7.2, check 5: any 5-tuple may redeem a token; here, of the same user only.
#[test]
fn a_reservation_token_is_good_once_on_any_transport_for_its_user() {
    // Where nobody else on this host takes the port that waits.
    let server = few_ports(64).0.start();
    let reserving = Client::udp(&server).try_allocate(even_port(true));
    let reserved = reserving.token();
    let next = SocketAddr::new(reserving.relayed().ip(), reserving.relayed().port() + 1);
    let mut bob = Client::tcp(&server).bob();
    assert_eq!(bob.try_allocate(token(&reserved)).code(), 508);
    assert_eq!(bob.try_allocate(token(b"made up!")).code(), 508);
    assert_eq!(bob.try_allocate(token(b"short")).code(), 400);
    let redeemed = Client::tcp(&server).try_allocate(token(&reserved));
    assert_eq!(redeemed.relayed(), next);
    assert_eq!(Client::udp(&server).try_allocate(token(&reserved)).code(), 508);
    assert_eq!(server.refusals("bad_reservation", 508), 3);
}

/// RFC 8656 §7.2: all of the range can be used, by all workers together, and again.
#[test]
fn the_port_range_is_used_to_the_last_port_and_again_after_release() {
    let (setup, ip, first) = few_ports(8);
    let server = setup.flag("--workers", 4).start();
    for _ in 0..3 {
        let mut clients: Vec<_> = (0..8).map(|_| Client::udp(&server)).collect();
        let given: BTreeSet<_> = clients.iter_mut().map(Client::allocate).collect();
        let all = (first..first + 8).map(|port| SocketAddr::new(ip, port));
        assert_eq!(given, all.collect());
        let mut late = Client::udp(&server);
        assert_eq!(late.try_allocate(|_| ()).code(), 508);
        assert_eq!(clients.remove(3).refresh(0).code(), 0);
        late.allocate();
        assert_eq!(late.refresh(0).code(), 0);
        for client in &mut clients {
            assert_eq!(client.refresh(0).code(), 0);
        }
    }
    assert_eq!(server.refusals("no_port", 508), 3);
    let free = format!("relay_ports_free{{address=\"{ip}\"}}");
    assert_eq!(server.metric(&free), 8);
}

/// RFC 6056: ports are not given out in a row that anybody could guess.
#[test]
fn ports_are_chosen_at_random() {
    let server = Setup::new().start();
    let ports: Vec<_> = (0..8).map(|_| Client::udp(&server).allocate().port()).collect();
    let in_a_row = ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 2).count();
    assert!(in_a_row < 4, "{ports:?}");
}

/// A port that another program on the host has is passed over.
#[test]
fn a_port_of_another_program_is_passed_over() {
    let (setup, ip, first) = few_ports(2);
    let others = UdpSocket::bind((ip, first)).expect("it was free");
    let server = setup.start();
    let mut clients = [Client::udp(&server), Client::udp(&server)];
    assert_eq!(clients[0].allocate().port(), first + 1);
    assert_eq!(clients[1].try_allocate(|_| ()).code(), 508);
    drop(others);
}

/// Several relay addresses share the load.
#[test]
fn relay_addresses_are_used_in_turn() {
    let ips = [unique_loopback(), unique_loopback()];
    let first = free_ports(&ips, 2);
    let server = Setup::new().relay_on(&ips, first, 2).start();
    let mut clients: Vec<_> = (0..5).map(|_| Client::udp(&server)).collect();
    let given: Vec<_> = clients[..4].iter_mut().map(|client| client.allocate().ip()).collect();
    assert_ne!(given[0], given[1]);
    assert!(ips.iter().all(|ip| given.iter().filter(|other| *other == ip).count() == 2));
    assert_eq!(clients[4].try_allocate(|_| ()).code(), 508);
}
