//! What the core opens for the process's own check that it relays, and for whom: one user, from one socket, to one peer.

mod core;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::core::{Setup, TestClient, TestServer};
use turnwire::auth::{DenialKind, Secret, User};
use turnwire::stun::ChannelNumber;
use turnwire::turn::{Cause, SelfCheck};

const PEER: &str = "127.84.85.82:7";
const OTHER: &str = "127.84.85.82:8";

fn peer(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server() -> (TestServer, Arc<SelfCheck>) {
    let check = Arc::new(SelfCheck::new("itself".to_owned(), vec![peer(PEER)]));
    let mut setup = Setup::default();
    setup.turn.self_check = Some(Arc::clone(&check));
    setup.turn.limits.allocations = 1;
    setup.auth.users.push(User { name: "itself".to_owned(), password: Secret::new("unknown") });
    let mut server = setup.server();
    server.itself = Some(peer("127.0.0.1:7"));
    (server, check)
}

fn bind(client: &mut TestClient, server: &mut TestServer, to: &str) -> u16 {
    let number = ChannelNumber::new(0x4000).unwrap();
    client.bind(server, number.get(), peer(to)).code()
}

#[test]
fn it_counts_nowhere_and_needs_no_room() {
    let (mut server, check) = server();
    check.set_port(7);
    let mut alice = TestClient::new("198.51.100.7:1", "alice", "wonder");
    assert!(alice.allocate(&mut server).success());
    assert_eq!(alice.sibling("198.51.100.7:2").allocate(&mut server).code(), 486);
    let challenges = |server: &TestServer| {
        server.stats.refused[Cause::Auth(DenialKind::Challenge).index()].get()
    };
    let before = (challenges(&server), server.stats.allocations.get());
    let mut itself = TestClient::new("127.0.0.1:7", "itself", "unknown");
    assert!(itself.allocate(&mut server).success());
    assert_eq!(bind(&mut itself, &mut server, PEER), 0);
    assert_eq!((challenges(&server), server.stats.allocations.get()), before);
    assert!(itself.refresh(&mut server, 0).success());
    assert_eq!(server.stats.live(), 1);
    assert_eq!(server.ledger.allocations(), 1);
}

#[test]
fn its_peer_is_open_to_it_alone_and_nothing_else_is_open_to_it() {
    let (mut server, check) = server();
    check.set_port(7);
    let mut itself = TestClient::new("127.0.0.1:7", "itself", "unknown");
    assert!(itself.allocate(&mut server).success());
    for other in [OTHER, "127.0.0.1:7", "10.0.0.1:7"] {
        assert_eq!(bind(&mut itself, &mut server, other), 403, "{other}");
    }
    assert_eq!(itself.permit(&mut server, &[peer(PEER)]).code(), 403);
    // Another user on this host, even from the port.
    let (mut server, check) = self::server();
    check.set_port(7);
    let mut alice = TestClient::new("127.0.0.1:7", "alice", "wonder");
    assert!(alice.allocate(&mut server).success());
    assert_eq!(bind(&mut alice, &mut server, PEER), 403);
    // Whoever has learned the password: from elsewhere, from another port, and when nothing is checked.
    for (from, port) in [("198.51.100.7:7", 7), ("127.0.0.1:8", 7), ("127.0.0.1:7", 0)] {
        let (mut server, check) = self::server();
        server.itself = None;
        check.set_port(port);
        let mut thief = TestClient::new(from, "itself", "unknown");
        assert!(thief.allocate(&mut server).success());
        assert_eq!(bind(&mut thief, &mut server, PEER), 403, "{from}");
        assert_eq!(server.stats.allocations.get(), 1, "it is a user like any other");
    }
}
