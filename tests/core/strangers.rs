//! What those get who have not proved who they are: small answers, few, and without words.

use std::time::Duration;

use crate::core::{Forged, Setup, TestClient, TestServer};
use crate::{alice, ask, challenged, learn};
use turnwire::stun::{Kind, Method, TransactionId, Writer, attribute};
use turnwire::turn::{Dropped, Transport, Verdict};

#[test]
fn a_reason_in_words_is_for_those_whose_nonce_proved_their_address() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    client.password = "wrong".to_owned();
    let proven = Forged::allocate(&mut client);
    assert_eq!(
        ask(&mut server, &mut client, &proven).reason(),
        "wrong password for user \"alice\""
    );
    let mut forged = proven.clone();
    forged.nonce.as_mut().unwrap()[20] ^= 1;
    let response = ask(&mut server, &mut client, &forged);
    assert_eq!((response.code(), response.reason()), (401, ""));
    // An old nonce has proved it as well.
    server.advance(Duration::from_secs(4000));
    assert_eq!(
        ask(&mut server, &mut client, &proven).reason(),
        "wrong password for user \"alice\""
    );
}

#[test]
fn a_stranger_gets_a_small_answer() {
    let mut server = Setup::default().server();
    let mut client = alice();
    for (name, method, transport) in [
        ("Allocate", Method::ALLOCATE, true),
        ("bare Refresh", Method::REFRESH, false),
        ("Binding", Method::BINDING, false),
    ] {
        let packet = client.build(method, |writer| {
            if transport {
                writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
            }
        });
        let answer = server.ask(&client.client, &packet).bytes.len();
        let (udp, ip) = (8, 20);
        let ratio = (answer + udp + ip) as f64 / (packet.len() + udp + ip) as f64;
        println!(
            "{name}: {} bytes asked, {answer} answered, {ratio:.2} with headers",
            packet.len()
        );
        // ERROR-CODE 8, REALM 16, NONCE 36, PASSWORD-ALGORITHMS 12 behind a header of 20.
        assert!(answer <= 92 && ratio <= 2.5);
    }
}

#[test]
fn strangers_are_answered_at_a_bounded_rate() {
    let mut setup = Setup::default();
    setup.turn.limits.unauthenticated_per_second = 10;
    let mut server = setup.server();
    let flood = |server: &mut TestServer, address: &str, transport, count| {
        let mut client = TestClient::over(transport, address, "x", "x");
        let answered = (0..count).filter(|_| {
            let packet = client.build(Method::ALLOCATE, |_| ());
            match server.receive(&client.client, &packet) {
                Verdict::Reply(_) => true,
                Verdict::Drop(Dropped::RateLimited) => false,
                other => panic!("{other:?}"),
            }
        });
        answered.count()
    };
    let udp = Transport::Udp;
    assert_eq!(flood(&mut server, "198.51.100.1:1", udp, 100), 20);
    assert_eq!(flood(&mut server, "198.51.100.1:2", udp, 100), 0);
    assert_eq!(flood(&mut server, "198.51.100.2:1", udp, 100), 20);
    assert_eq!(flood(&mut server, "[2001:db8:1::1]:1", udp, 100), 20);
    assert_eq!(flood(&mut server, "[2001:db8:1::ffff]:1", udp, 100), 0);
    assert_eq!(flood(&mut server, "[2001:db8:2::1]:1", udp, 100), 20);
    assert_eq!(flood(&mut server, "127.0.0.9:1", udp, 100), 100);
    // A handshake proves the address, but guessing passwords costs the server all the same.
    assert_eq!(flood(&mut server, "198.51.100.3:3", Transport::Tcp, 100), 20);
    assert_eq!(flood(&mut server, "198.51.100.4:4", Transport::Dtls, 100), 20);
    // What is forged with its address on UDP costs it nothing.
    assert_eq!(flood(&mut server, "198.51.100.4:4", udp, 100), 20);
    server.advance(Duration::from_millis(500));
    assert_eq!(flood(&mut server, "198.51.100.1:1", udp, 100), 5);
}

#[test]
fn classic_stun_over_dtls_is_an_error() {
    // RFC 7350 §3: a request without the magic cookie MUST always result in an error; RFC 8489 §11: in a 500.
    let mut server = Setup::default().server();
    let id = TransactionId::classic(1, [1; 12]);
    for (transport, code) in [(Transport::Udp, 0), (Transport::Dtls, 500)] {
        let client = TestClient::over(transport, "198.51.100.7:1", "x", "x");
        let mut packet = [0; 20];
        let request = Kind::request(Method::BINDING);
        let length = Writer::new(&mut packet, request, &id).finish().expect("it fits");
        let response = server.ask(&client.client, &packet[..length]);
        assert_eq!(response.code(), code);
        assert_eq!(response.classic_mapped().is_some(), code == 0);
    }
}

#[test]
fn a_flood_does_not_stop_those_who_have_an_allocation_or_a_password() {
    let mut setup = Setup::default();
    setup.turn.limits.unauthenticated_per_second = 10;
    let mut server = setup.server();
    let mut client = alice();
    assert!(client.allocate(&mut server).success());
    // Successes are given back: one address may make many allocations.
    for port in 5000..5100 {
        let mut sibling = client.sibling(&format!("198.51.100.7:{port}"));
        learn_at_leisure(&mut server, &mut sibling);
        assert!(sibling.allocate(&mut server).success(), "{port}");
    }
    // Its own flood is over its rate, but its allocation is served.
    let mut flood = client.sibling("198.51.100.7:6000");
    for _ in 0..100 {
        let packet = flood.build(Method::ALLOCATE, |_| ());
        server.receive(&flood.client, &packet);
    }
    assert!(client.refresh(&mut server, 600).success());
}

/// Waits until one more stranger's request is admitted, then asks.
fn learn_at_leisure(server: &mut TestServer, client: &mut TestClient) {
    server.advance(Duration::from_millis(100));
    learn(server, client);
}

/// A peer knows its client's address, and may be able to forge it: then it draws no flood of
/// answers either, and the client is served meanwhile.
#[test]
fn who_forges_the_address_of_a_client_gets_it_a_bounded_number_of_answers() {
    let mut setup = Setup::default();
    setup.turn.limits.unauthenticated_per_second = 10;
    let mut server = setup.server();
    for (transport, address, bounded) in [
        (Transport::Udp, "198.51.100.7:1", true),
        (Transport::Udp, "127.0.0.9:1", false),
        (Transport::Tcp, "198.51.100.8:1", false),
        (Transport::Dtls, "198.51.100.9:1", false),
    ] {
        let mut client = TestClient::over(transport, address, "alice", "wonder");
        assert!(client.allocate(&mut server).success());
        let mut forger = client.clone();
        (forger.nonce, forger.password) = (None, "guess".to_owned());
        let (refresh, binding) =
            (forger.build(Method::REFRESH, |_| ()), forger.build(Method::BINDING, |_| ()));
        let mut answered = 0;
        for packet in [refresh, binding].iter().cycle().take(400) {
            match server.receive(&client.client, packet) {
                Verdict::Reply(_) => answered += 1,
                Verdict::Drop(Dropped::RateLimited) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(answered, if bounded { 80 } else { 400 }, "{address}");
        assert!(client.refresh(&mut server, 600).success());
        // Newcomers at the address are not concerned, nor is a client with an old nonce.
        let mut sibling = client.sibling(&address.replace(":1", ":2"));
        assert!(sibling.allocate(&mut server).success());
        let stale = sibling.nonce.clone();
        client.nonce = stale;
        let packet = client.build(Method::REFRESH, |_| ());
        assert_eq!(server.ask(&client.client, &packet).code(), 438);
    }
}
