//! Clients that are sent to another server (RFC 8489 §10): who, when, and to which.

mod core;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::{Response, Setup, Style, TestClient, TestServer};
use turnwire::stun::{Method, Writer, attribute, decode_address};
use turnwire::turn::{Alternate, Alternates, Place, Redirect, Transport};

fn place(transport: Transport, address: &str) -> Place {
    let place = Place::new(transport, address.parse().unwrap());
    place.set_alive(true);
    place
}

fn member(name: &str, weight: u32, places: Vec<Place>) -> Alternate {
    Alternate::new(name.to_owned(), weight, Some(format!("{name}.example.org")), places)
}

/// Two servers: `east` for everybody, `west` for UDP over IPv4.
fn east_and_west(when: Redirect) -> Alternates {
    use Transport::{Dtls, Tcp, Tls, Udp};
    let east = [
        (Udp, "203.0.113.9:3478"),
        (Udp, "[2001:db8::9]:3478"),
        (Tcp, "203.0.113.9:3478"),
        (Tcp, "[2001:db8::9]:3478"),
        (Tls, "203.0.113.9:443"),
        (Dtls, "203.0.113.9:5349"),
    ];
    let east = east.map(|(transport, address)| place(transport, address)).into();
    let west = vec![place(Udp, "203.0.113.10:9")];
    Alternates { when, members: vec![member("east", 3, east), member("west", 1, west)] }
}

fn server(alternates: &Arc<Alternates>, edit: impl FnOnce(&mut Setup)) -> TestServer {
    let mut setup = Setup::default();
    setup.turn.alternates = Arc::clone(alternates);
    edit(&mut setup);
    setup.server()
}

fn always() -> (TestServer, Arc<Alternates>) {
    let alternates = Arc::new(east_and_west(Redirect::Always));
    (server(&alternates, |_| ()), alternates)
}

fn busy(edit: impl FnOnce(&mut Setup)) -> TestServer {
    server(&Arc::new(east_and_west(Redirect::Busy)), edit)
}

/// The addresses in a 300.
fn sent_to(response: &Response) -> Vec<String> {
    assert_eq!((response.code(), response.reason()), (300, "Try Alternate"));
    let all = response.message().attributes();
    let all = all.filter(|(kind, _)| *kind == attribute::ALTERNATE_SERVER);
    all.map(|(_, value)| decode_address(value).unwrap().to_string()).collect()
}

/// RFC 8489 §14.8: it "MUST only be sent if the request included ... a valid" integrity.
#[test]
fn strangers_and_impostors_are_sent_nowhere() {
    let (mut server, _) = always();
    let mut stranger = TestClient::new("198.51.100.7:1", "alice", "wonder");
    let packet = stranger.build(Method::ALLOCATE, |_| ());
    let response = server.ask(&stranger.client, &packet);
    assert_eq!(response.code(), 401);
    assert!(!response.has(attribute::ALTERNATE_SERVER));
    let mut impostor = TestClient::new("198.51.100.7:2", "alice", "wrong");
    assert_eq!(impostor.allocate(&mut server).code(), 401);
    // RFC 8489 §12: nor does a Binding lead elsewhere.
    let binding = stranger.build(Method::BINDING, |_| ());
    assert!(server.ask(&stranger.client, &binding).success());
}

/// RFC 8489 §14.8: it "MUST be protected".
#[test]
fn who_has_proved_himself_is_sent_on_with_a_signed_answer() {
    let (mut server, alternates) = always();
    for (port, style) in [(1, Style::MD5), (2, Style::SHA256), (3, Style::USERHASH)] {
        let client = TestClient::new(&format!("198.51.100.7:{port}"), "alice", "wonder");
        let mut client = client.with(style);
        let response = client.allocate(&mut server);
        let addresses = sent_to(&response);
        assert!(["203.0.113.9:3478", "203.0.113.10:9"].contains(&addresses[0].as_str()));
        let key = client.key();
        assert_eq!(response.signed(&key), Some(style.digest));
    }
    server.assert_empty();
    assert_eq!(alternates.members.iter().map(Alternate::sent).sum::<u64>(), 3);
}

/// RFC 8489 §10: the client's family first, then the other one.
#[test]
fn each_gets_an_address_of_its_family_and_transport_and_the_other_family_behind_it() {
    let both = ["203.0.113.9:3478", "[2001:db8::9]:3478"];
    let cases: [(Transport, &str, &[&str], bool); 5] = [
        (Transport::Tcp, "198.51.100.7:1", &both, false),
        (Transport::Udp, "[2600::7]:1", &[both[1], both[0]], false),
        (Transport::Tcp, "[2600::7]:1", &[both[1], both[0]], false),
        (Transport::Tls, "198.51.100.7:1", &["203.0.113.9:443"], true),
        (Transport::Dtls, "198.51.100.7:1", &["203.0.113.9:5349"], true),
    ];
    for (transport, from, expected, named) in cases {
        let (mut server, _) = always();
        let client = TestClient::over(transport, from, "alice", "wonder");
        let response = client.with(Style::SHA256).allocate(&mut server);
        assert_eq!(sent_to(&response), expected);
        let domain = response.get(attribute::ALTERNATE_DOMAIN);
        assert_eq!(domain, named.then_some(&b"east.example.org"[..]));
    }
    // Nobody listens for DTLS over IPv6 there: it is served here.
    let (mut server, _) = always();
    let mut client = TestClient::over(Transport::Dtls, "[2600::7]:1", "alice", "wonder");
    assert!(client.allocate(&mut server).success());
}

#[test]
fn servers_are_chosen_by_their_weight_and_dead_ones_not_at_all() {
    let alternates = Arc::new(east_and_west(Redirect::Always));
    let mut server = server(&alternates, |setup| setup.turn.limits.unauthenticated_per_second = 0);
    let chosen = |server: &mut TestServer| {
        let mut counts = BTreeMap::new();
        for port in 1..=600 {
            let mut client = TestClient::new(&format!("198.51.100.7:{port}"), "alice", "wonder");
            *counts.entry(sent_to(&client.allocate(server))[0].clone()).or_insert(0) += 1;
        }
        counts
    };
    let counts = chosen(&mut server);
    assert!((390..510).contains(&counts["203.0.113.9:3478"]), "{counts:?}");
    assert_eq!(counts.len(), 2);

    alternates.members[0].places[0].set_alive(false);
    let counts = chosen(&mut server);
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("203.0.113.10:9".to_owned(), 600)]);
    alternates.members[1].places[0].set_alive(false);
    let mut client = TestClient::new("198.51.100.8:1", "alice", "wonder");
    assert!(client.allocate(&mut server).success(), "nobody else is there");

    let nothing = vec![place(Transport::Udp, "203.0.113.9:3478")];
    let members = vec![member("off", 0, nothing)];
    let alternates = Arc::new(Alternates { when: Redirect::Always, members });
    let mut server = self::server(&alternates, |_| ());
    assert!(client.sibling("198.51.100.8:2").allocate(&mut server).success());
}

/// What nothing is known of is not handed out.
#[test]
fn a_server_is_dead_until_it_has_answered() {
    let unknown = Place::new(Transport::Udp, "203.0.113.9:3478".parse().unwrap());
    let members = vec![member("new", 1, vec![unknown])];
    let alternates = Arc::new(Alternates { when: Redirect::Always, members });
    let mut server = server(&alternates, |_| ());
    let mut client = TestClient::new("198.51.100.7:1", "alice", "wonder");
    assert!(client.allocate(&mut server).success());
}

#[test]
fn a_busy_server_sends_on_those_for_whom_it_has_no_room_while_it_drains_everybody() {
    let mut server = busy(|setup| setup.turn.limits.allocations = 1);
    let mut first = TestClient::new("198.51.100.7:1", "alice", "wonder");
    assert!(first.allocate(&mut server).success());
    let mut second = first.sibling("198.51.100.7:2");
    assert_eq!(second.allocate(&mut server).code(), 300);
    assert!(first.refresh(&mut server, 0).success());
    assert!(second.allocate(&mut server).success());
    assert!(second.refresh(&mut server, 0).success());

    server.ledger.set_draining(true);
    let mut third = first.sibling("198.51.100.7:3");
    assert_eq!(third.allocate(&mut server).code(), 300);
    server.ledger.set_draining(false);
    assert!(third.allocate(&mut server).success());
}

fn even_pair(client: &mut TestClient, server: &mut TestServer) -> Response {
    client.request(server, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::EVEN_PORT, &[0x80]);
    })
}

fn redeem(client: &mut TestClient, server: &mut TestServer, token: &[u8]) -> Response {
    client.request(server, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::RESERVATION_TOKEN, token);
    })
}

/// A drain is for those who are in a call; nobody else may hold up the end of it.
#[test]
fn with_nobody_to_send_to_a_drain_refuses_what_is_new_and_serves_what_lives() {
    for when in [Redirect::Busy, Redirect::Always, Redirect::Never] {
        let alternates = Alternates { when, ..Alternates::default() };
        let mut server = server(&Arc::new(alternates), |_| ());
        let mut caller = TestClient::new("198.51.100.7:1", "alice", "wonder");
        let token = even_pair(&mut caller, &mut server).token().unwrap();
        let udp = |writer: &mut Writer<'_>| {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        };
        let mut sender = caller.sibling("198.51.100.7:2");
        let challenge = sender.build(Method::ALLOCATE, udp);
        sender.learn(&server.ask(&sender.client, &challenge));
        let sent = sender.build(Method::ALLOCATE, udp);
        assert!(server.ask(&sender.client, &sent).success());

        server.ledger.set_draining(true);
        // Of one user and with one nonce: it is the server's state that refuses, and not a credential.
        let refused = caller.sibling("198.51.100.7:3").allocate(&mut server);
        let reason = "the server is about to end: no new allocations";
        assert_eq!((refused.code(), refused.reason()), (508, reason), "{when:?}");
        assert!(server.ask(&sender.client, &sent).success(), "the answer was lost");
        assert_eq!(caller.allocate(&mut server).code(), 437);
        assert!(caller.refresh(&mut server, 600).success());
        assert!(caller.permit(&mut server, &["8.8.4.4:9".parse().unwrap()]).success());
        // The other half of a call's pair of ports.
        assert!(redeem(&mut caller.sibling("198.51.100.7:4"), &mut server, &token).success());
        assert_eq!(server.server.allocations(), 3);

        server.ledger.set_draining(false);
        assert!(caller.sibling("198.51.100.7:3").allocate(&mut server).success());
    }
}

/// Every cause of its own stays what it is.
#[test]
fn only_what_another_server_can_help_with_is_sent_on() {
    let mut server = busy(|setup| setup.turn.limits.allocations_per_user = 1);
    let mut client = TestClient::new("198.51.100.7:1", "alice", "wonder");
    assert!(client.allocate(&mut server).success());
    assert_eq!(client.sibling("198.51.100.7:2").allocate(&mut server).code(), 486);
    // No port of the family, no socket.
    let mut bob = TestClient::new("198.51.100.9:1", "bob", "builder");
    server.sockets.exhausted = true;
    assert_eq!(bob.allocate(&mut server).code(), 300);
    server.sockets.exhausted = false;
    assert!(bob.allocate(&mut server).success());
}

#[test]
fn never_is_never() {
    let alternates = Arc::new(east_and_west(Redirect::Never));
    let mut server = server(&alternates, |setup| setup.turn.limits.allocations = 1);
    let mut client = TestClient::new("198.51.100.7:1", "alice", "wonder");
    assert!(client.allocate(&mut server).success());
    assert_eq!(client.sibling("198.51.100.7:2").allocate(&mut server).code(), 486);
    server.ledger.set_draining(true);
    assert_eq!(client.sibling("198.51.100.7:2").allocate(&mut server).code(), 508);
}

/// RFC 8656 §7.2: the port that a token stands for is here.
#[test]
fn a_reservation_is_redeemed_where_it_was_made() {
    let mut server = busy(|_| ());
    let mut client = TestClient::new("198.51.100.7:1", "alice", "wonder");
    let token = even_pair(&mut client, &mut server).token().unwrap();
    server.ledger.set_draining(true);
    assert!(redeem(&mut client.sibling("198.51.100.7:2"), &mut server, &token).success());
}
