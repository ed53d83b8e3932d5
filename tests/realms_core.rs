//! Realms: users of one name in two of them are two users, who share nothing.

mod core;

use core::{REALM, Setup, TestClient, TestServer, auth_settings, turn_settings};
use std::sync::Arc;

use turnwire::auth::{self, Authority};
use turnwire::stun::{Method, attribute};

const OTHER: &str = "other.example";

/// From now on there is the other realm alone, with the same users and passwords.
fn rename(server: &mut TestServer, limit: u32) {
    let settings = auth::Settings { realm: OTHER.to_owned(), ..auth_settings() };
    // The same root as the first one has: nonces stay good.
    let authority = Arc::new(Authority::new(settings, [7; 16]).expect("valid credentials"));
    let mut turn = turn_settings(49152, 65535);
    turn.limits.allocations_per_user = limit;
    let now = server.now;
    let (sockets, stats) = (&mut server.sockets, &server.stats);
    server.server.reconfigure(now, &Arc::new(turn), &authority, sockets, stats);
}

fn alice(address: &str) -> TestClient {
    TestClient::new(address, "alice", "wonder")
}

/// RFC 8656 §5: 441 for another user than the allocation's, whatever it is called.
#[test]
fn an_allocation_is_of_its_realm_for_ever() {
    let mut server = Setup::default().server();
    let mut before = alice("192.0.2.1:1000");
    assert!(before.allocate(&mut server).success());
    rename(&mut server, 0);
    let mut namesake = alice("192.0.2.1:1000");
    for method in [Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND] {
        assert_eq!(namesake.request(&mut server, method, |_| ()).code(), 441, "{method:?}");
    }
    assert_eq!(server.server.allocations(), 1);
    let (now, tuple) = (server.now, before.client);
    server.server.disconnected(now, &tuple, &mut server.sockets, &server.stats);
    assert_eq!(&*server.ended()[0].realm, REALM);
    assert!(alice("192.0.2.1:1001").allocate(&mut server).success());
}

#[test]
fn quotas_of_namesakes_are_apart() {
    let mut setup = Setup::default();
    setup.turn.limits.allocations_per_user = 1;
    let mut server = setup.server();
    assert!(alice("192.0.2.1:1").allocate(&mut server).success());
    assert_eq!(alice("192.0.2.1:2").allocate(&mut server).code(), 486);
    rename(&mut server, 1);
    assert!(alice("192.0.2.1:3").allocate(&mut server).success());
    assert_eq!(alice("192.0.2.1:4").allocate(&mut server).code(), 486);
}

/// RFC 8656 §7.2
#[test]
fn a_reservation_token_is_worth_nothing_to_a_namesake() {
    let mut server = Setup::default().server();
    let made = alice("192.0.2.1:1").request(&mut server, Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        writer.attribute(attribute::EVEN_PORT, &[0x80]);
    });
    let token = made.get(attribute::RESERVATION_TOKEN).expect("a token").to_vec();
    rename(&mut server, 0);
    let code = |server: &mut TestServer| {
        let redeemed = alice("192.0.2.1:2").request(server, Method::ALLOCATE, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
            writer.attribute(attribute::RESERVATION_TOKEN, &token);
        });
        redeemed.code()
    };
    assert_eq!(code(&mut server), 508);
}
