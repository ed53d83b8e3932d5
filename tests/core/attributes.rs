//! The attributes of the mechanism: which of them count, what they may hold, and what is whose.

use std::net::SocketAddr;

use crate::core::{
    Forged, Setup, Style, TestClient, TestServer, auth_settings, channel_data, turn_settings,
};
use crate::{alice, ask, challenged};
use turnwire::auth::{Algorithm, Authority, InvalidCredential, Secret, User};
use turnwire::stun::{Digest, TransactionId, attribute};
use turnwire::turn::{Dropped, ToPeer, Verdict};

#[test]
fn truncated_integrity_is_accepted_from_16_bytes_on() {
    // RFC 8489 §14.6
    for keep in [16, 20, 24, 28, 32] {
        let mut server = Setup::default().server();
        let mut client = alice().with(Style::truncated(keep));
        assert!(client.allocate(&mut server).success(), "{keep}");
    }
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let mut forged = Forged::choosing(&mut client, Algorithm::Sha256);
    for keep in [0, 4, 8, 12] {
        forged.tags[0].2 = keep;
        let packet = forged.write(&mut client);
        assert_eq!(server.receive(&client.client, &packet), Verdict::Drop(Dropped::Malformed));
    }
    assert_eq!(server.server.allocations(), 0);
}

#[test]
fn userhash_finds_its_user() {
    // RFC 8489 §14.4
    let mut setup = Setup::default();
    setup.auth.username_anonymity = true;
    let mut server = setup.server();
    let mut client = alice().with(Style::USERHASH);
    assert!(client.allocate(&mut server).success());
    assert!(client.refresh(&mut server, 0).success());
    assert_eq!(server.ended()[0].username, "alice");
    let mut imposter = TestClient::new("198.51.100.9:1", "alice", "builder").with(Style::USERHASH);
    assert_eq!(imposter.allocate(&mut server).code(), 401);
}

#[test]
fn the_owner_may_change_mechanism_within_an_allocation() {
    let mut server = Setup::default().server();
    let mut client = alice();
    assert!(client.allocate(&mut server).success());
    for style in [Style::SHA256, Style::USERHASH, Style::truncated(16), Style::MD5] {
        client = client.with(style);
        assert!(client.refresh(&mut server, 600).success(), "{style:?}");
    }
}

#[test]
fn passwords_and_names_are_prepared_as_opaque_strings() {
    // RFC 8265 §4.2: NFC, and every space is U+0020. Each writes it in its own way.
    let mut setup = Setup::default();
    setup.auth.users = vec![User {
        name: "Andr\u{E9}\u{1680}X".to_owned(),
        password: Secret::new("pa\u{A0}ss\u{308}w\u{F6}rt \u{1F511}"),
    }];
    let mut server = setup.server();
    for style in [Style::MD5, Style::SHA256, Style::USERHASH] {
        let mut client = TestClient::new(
            "198.51.100.7:4000",
            "Andre\u{301} X",
            "pa ss\u{308}wo\u{308}rt\u{2003}\u{1F511}",
        )
        .with(style);
        assert!(client.allocate(&mut server).success());
        assert!(client.refresh(&mut server, 0).success());
        client.password = "pa ss\u{308}wort \u{1F511}".to_owned();
        assert_eq!(client.allocate(&mut server).code(), 401);
    }
    // A name that its sender did not prepare names nobody.
    let mut client = challenged(&mut server);
    let forged =
        Forged { username: Some("Andre\u{301} X".into()), ..Forged::allocate(&mut client) };
    assert!(ask(&mut server, &mut client, &forged).reason().starts_with("unknown user"));
}

#[test]
fn credentials_that_cannot_be_used_are_refused_at_the_start() {
    let user = |name: &str, password: &str| User {
        name: name.to_owned(),
        password: Secret::new(password),
    };
    let check = |edit: &dyn Fn(&mut turnwire::auth::Settings)| {
        let mut settings = auth_settings();
        edit(&mut settings);
        Authority::new(settings, [0; 16]).err()
    };
    use InvalidCredential as Bad;
    assert_eq!(check(&|_| ()), None);
    assert_eq!(check(&|s| s.realm.clear()), Some(Bad::Realm));
    assert_eq!(check(&|s| s.realm = "x".repeat(128)), Some(Bad::Realm));
    assert_eq!(check(&|s| s.realm = "x".repeat(127)), None);
    assert_eq!(check(&|s| s.users.push(user("a\u{7}", "x"))), Some(Bad::Username("a\u{7}".into())));
    assert_eq!(check(&|s| s.users.push(user("dave", ""))), Some(Bad::Password("dave".into())));
    assert_eq!(check(&|s| s.users.push(user("bob", "other"))), Some(Bad::Duplicate("bob".into())));
    assert_eq!(check(&|s| s.secrets.push(Secret::new(""))), Some(Bad::EmptySecret));
    assert_eq!(
        check(&|s| {
            s.username_anonymity = true;
            s.secrets.push(Secret::new("north"));
        }),
        Some(Bad::Anonymity)
    );
}

#[test]
fn requests_of_another_user_are_441_and_its_allocate_437() {
    // RFC 8656 §5, §7.2
    let mut server = Setup::default().server();
    assert!(alice().allocate(&mut server).success());
    let mut bob = TestClient::new("198.51.100.7:4000", "bob", "builder");
    let peer: SocketAddr = "9.9.9.9:9".parse().unwrap();
    assert_eq!(bob.refresh(&mut server, 0).code(), 441);
    assert_eq!(bob.permit(&mut server, &[peer]).code(), 441);
    assert_eq!(bob.bind(&mut server, 0x4000, peer).code(), 441);
    assert_eq!(bob.allocate(&mut server).code(), 437);
    assert!(alice().refresh(&mut server, 600).success());

    // Not even with the transaction ID of the first: the answer is its owner's.
    assert!(alice().refresh(&mut server, 0).success());
    let (mut alice, id) = (challenged(&mut server), TransactionId::new([1; 12]));
    let packet = Forged::allocate(&mut alice).write_with(&id);
    assert!(server.ask(&alice.client, &packet).success());
    let packet = Forged::allocate(&mut bob).write_with(&id);
    assert_eq!(server.ask(&bob.client, &packet).code(), 437);
}

/// Neither on the same 5-tuple nor at the same relayed address: what peers of before send late goes nowhere.
#[test]
fn what_an_allocation_had_is_not_its_successors() {
    let mut server = Setup { turn: turn_settings(50_000, 50_000), ..Setup::default() }.server();
    let peer: SocketAddr = "9.9.9.9:9".parse().unwrap();
    let data = channel_data(0x4000, b"x");
    let mut first = alice();
    assert!(first.allocate(&mut server).success());
    assert!(first.bind(&mut server, 0x4000, peer).success());
    let Verdict::ToPeer(ToPeer { relay, .. }) = server.receive(&first.client, &data) else {
        panic!("it has the channel");
    };
    let late = |server: &mut TestServer| {
        let delivery = server.server.from_peer(server.now, relay, peer, 1, &server.stats);
        delivery.map(|delivery| delivery.client)
    };
    assert_eq!(late(&mut server), Ok(first.client));
    assert!(first.refresh(&mut server, 0).success());
    assert_eq!(late(&mut server), Err(Dropped::NoAllocation));
    for address in ["198.51.100.7:4000", "198.51.100.8:4000"] {
        let mut bob = TestClient::new(address, "bob", "builder");
        assert!(bob.allocate(&mut server).success(), "the only port is free again");
        assert_eq!(late(&mut server), Err(Dropped::NoPermission));
        assert_eq!(server.receive(&bob.client, &data), Verdict::Drop(Dropped::NoChannel));
        assert!(bob.refresh(&mut server, 0).success());
    }
}

#[test]
fn the_first_of_several_attributes_counts() {
    // RFC 8489 §14
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let good = Forged::allocate(&mut client);
    let name = |text: &[u8]| (attribute::USERNAME, text.to_vec());
    let mut forged = good.clone();
    forged.before.push(name(b"carol"));
    assert!(ask(&mut server, &mut client, &forged).reason().starts_with("unknown user"));
    let mut forged = good.clone();
    forged.before.extend([name(b"alice"), name(b"bob")]);
    forged.username = Some(b"carol".to_vec());
    let lifetime = |seconds: u32| (attribute::LIFETIME, seconds.to_be_bytes().to_vec());
    forged.before.extend([lifetime(1200), lifetime(1800)]);
    let response = ask(&mut server, &mut client, &forged);
    assert_eq!(response.lifetime(), Some(1200));
}

#[test]
fn what_stands_behind_the_integrity_is_ignored() {
    // RFC 8489 §14.5
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let mut forged = Forged::allocate(&mut client);
    forged.behind = vec![
        (attribute::LIFETIME, 3000_u32.to_be_bytes().to_vec()),
        (attribute::EVEN_PORT, vec![0x80]),
        // Comprehension-required and unknown: it would be 420.
        (0x7F00, vec![1, 2, 3, 4]),
    ];
    let response = ask(&mut server, &mut client, &forged);
    assert!(response.success());
    assert_eq!(response.lifetime(), Some(600));
    assert_eq!(response.token(), None);
    // Credentials there are none.
    let mut bare = Forged::allocate(&mut client);
    let name = bare.username.take().unwrap();
    bare.behind = vec![(attribute::USERNAME, name)];
    assert_eq!(ask(&mut server, &mut client, &bare).code(), 400);
}

#[test]
fn unknown_attributes_are_reported_after_authentication_only() {
    // RFC 8489 §6.3
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let mut forged = Forged::allocate(&mut client);
    forged.before.extend([(0x7F00, vec![]), (0xFF00, vec![1]), (0x7F01, vec![1, 2, 3])]);
    let unsigned = Forged { tags: Vec::new(), ..forged.clone() };
    assert_eq!(ask(&mut server, &mut client, &unsigned).code(), 401);
    let response = ask(&mut server, &mut client, &forged);
    assert_eq!(response.code(), 420);
    assert_eq!(response.get(attribute::UNKNOWN_ATTRIBUTES), Some(&[0x7F, 0x00, 0x7F, 0x01][..]));
    assert_eq!(response.signed(&client.key()), Some(Digest::Sha1));
}
