//! Ephemeral ("REST") credentials: `expiry:user` with base64(HMAC(secret, username)), and what
//! their expiry does to allocations.

use std::time::Duration;

use crate::core::{Forged, START, Setup, Style, TestClient, TestServer};
use turnwire::auth::{Algorithm, Key, OnExpiry, RestDigest, Secret, mint_password};
use turnwire::stun::{Digest, Method};
use turnwire::time::Now;
use turnwire::turn::EndReason;

fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.auth.secrets = vec![Secret::new("north"), Secret::new("south")];
    setup
}

fn minted(address: &str, secret: &str, digest: RestDigest, username: &str) -> TestClient {
    let password = mint_password(digest, &Secret::new(secret), username);
    TestClient::new(address, username, &password)
}

fn expiring(seconds: u64, user: &str) -> TestClient {
    let username = format!("{}:{user}", START.unix + seconds);
    minted("198.51.100.7:4000", "north", RestDigest::Sha1, &username)
}

#[test]
fn each_secret_opens_with_each_digest_and_mechanism() {
    let mut server = setup().server();
    let username = format!("{}:carol", START.unix + 60);
    for secret in ["north", "south"] {
        for digest in [RestDigest::Sha1, RestDigest::Sha256] {
            for style in [Style::MD5, Style::SHA256] {
                let client = minted("198.51.100.7:4000", secret, digest, &username);
                let mut client = client.with(style);
                assert!(client.allocate(&mut server).success());
                assert!(client.refresh(&mut server, 0).success());
            }
        }
    }
    let mut stranger = minted("198.51.100.7:1", "west", RestDigest::Sha1, &username);
    let response = stranger.allocate(&mut server);
    let told = format!("the password of \"{username}\" was not made with a secret of this server");
    assert_eq!((response.code(), response.reason()), (401, &*told));
}

#[test]
fn only_the_digests_of_the_settings_are_tried() {
    let mut setup = setup();
    setup.auth.rest_digests = vec![RestDigest::Sha1];
    let mut server = setup.server();
    let username = format!("{}:carol", START.unix + 60);
    let mut client = minted("198.51.100.7:1", "north", RestDigest::Sha256, &username);
    assert_eq!(client.allocate(&mut server).code(), 401);
    let mut client = minted("198.51.100.7:1", "north", RestDigest::Sha1, &username);
    assert!(client.allocate(&mut server).success());
}

#[test]
fn the_separator_is_a_setting() {
    let mut setup = setup();
    setup.auth.separator = '|';
    let mut server = setup.server();
    let username = format!("{}|carol", START.unix + 60);
    let mut client = minted("198.51.100.7:1", "north", RestDigest::Sha1, &username);
    assert!(client.allocate(&mut server).success());
    let mut client = expiring(60, "carol");
    assert_eq!(client.allocate(&mut server).code(), 401);
}

#[test]
fn all_shapes_of_ephemeral_usernames_are_read() {
    let mut server = setup().server();
    let expiry = START.unix + 60;
    for username in [
        format!("{expiry}"),
        format!("{expiry}:carol"),
        format!("carol:{expiry}"),
        format!("{expiry}:a:b"),
    ] {
        let mut client = minted("198.51.100.7:1", "south", RestDigest::Sha1, &username);
        assert!(client.allocate(&mut server).success(), "{username}");
        assert!(client.refresh(&mut server, 0).success());
    }
}

#[test]
fn an_expired_username_is_refused_from_its_second_on() {
    let mut server = setup().server();
    server.advance(Duration::from_secs(9));
    let mut client = expiring(10, "carol");
    assert!(client.allocate(&mut server).success());
    assert!(client.refresh(&mut server, 0).success());
    server.advance(Duration::from_secs(1));
    let response = client.allocate(&mut server);
    assert_eq!(response.code(), 401);
    assert!(response.reason().contains("expired"));
    assert!(response.has(turnwire::stun::attribute::NONCE));
}

#[test]
fn static_and_ephemeral_users_work_together() {
    let mut setup = setup();
    // A user whose name looks like an expired ephemeral one.
    setup.auth.users.push(turnwire::auth::User {
        name: "1000:dora".to_owned(),
        password: Secret::new("explorer"),
    });
    let mut server = setup.server();
    for mut client in [
        TestClient::new("198.51.100.7:1", "alice", "wonder").with(Style::USERHASH),
        TestClient::new("198.51.100.7:2", "1000:dora", "explorer"),
        expiring(60, "carol"),
    ] {
        assert!(client.allocate(&mut server).success(), "{}", client.username);
    }
    let mut client = TestClient::new("198.51.100.7:3", "1001:dora", "explorer");
    assert_eq!(client.allocate(&mut server).code(), 401);
}

#[test]
fn without_secrets_no_number_is_a_user() {
    let mut server = Setup::default().server();
    let mut client = expiring(60, "carol");
    assert_eq!(client.allocate(&mut server).code(), 401);
}

#[test]
fn a_name_with_control_characters_is_nobody_whoever_minted_it() {
    // OpaqueString forbids them (RFC 8265 §4.2.2), and the log would show them.
    let mut server = setup().server();
    let username = format!("{}:\u{1B}[31mcarol", START.unix + 60);
    let password = mint_password(RestDigest::Sha1, &Secret::new("north"), &username);
    let mut client = expiring(60, "carol");
    let packet = client.build(Method::ALLOCATE, |_| ());
    client.learn(&server.ask(&client.client, &packet));
    let realm = client.realm.clone().unwrap();
    let key = Key::derive(Algorithm::Md5, &username, &realm, &password);
    let forged = Forged {
        username: Some(username.into_bytes()),
        tags: vec![(key, Digest::Sha1, 20)],
        ..Forged::allocate(&mut client)
    };
    let packet = forged.write(&mut client);
    assert_eq!(server.ask(&client.client, &packet).code(), 401);
}

#[test]
fn the_quota_counts_the_user_part_and_441_the_whole_name() {
    let mut setup = setup();
    setup.turn.limits.allocations_per_user = 2;
    let mut server = setup.server();
    for (seconds, port) in [(60, 1), (61, 2)] {
        let username = format!("{}:carol", START.unix + seconds);
        let address = format!("198.51.100.7:{port}");
        let mut client = minted(&address, "north", RestDigest::Sha1, &username);
        assert!(client.allocate(&mut server).success());
    }
    let mut third = expiring(62, "carol");
    assert_eq!(third.allocate(&mut server).code(), 486);
    let mut other = expiring(62, "dave");
    assert!(other.allocate(&mut server).success());
    // RFC 8656 §5: the same username, not merely the same person.
    let mut renewed = expiring(63, "dave");
    assert_eq!(renewed.refresh(&mut server, 600).code(), 441);
}

/// A client whose credential expires in 100 s, with an allocation of 3000 s, after 101 s.
fn past_expiry(on_expiry: OnExpiry) -> (TestServer, TestClient) {
    let mut setup = setup();
    setup.auth.on_expiry = on_expiry;
    let mut server = setup.server();
    let mut client = expiring(100, "carol");
    assert!(client.allocate(&mut server).success());
    assert!(client.refresh(&mut server, 3000).success());
    server.advance(Duration::from_millis(99_900));
    assert!(client.refresh(&mut server, 3000).success());
    assert_eq!(server.server.allocations(), 1);
    server.advance(Duration::from_millis(1_100));
    (server, client)
}

#[test]
fn on_expiry_keep_a_call_goes_on() {
    let (mut server, mut client) = past_expiry(OnExpiry::Keep);
    for _ in 0..2 {
        server.advance(Duration::from_secs(2000));
        assert!(client.refresh(&mut server, 3000).success());
        assert!(client.permit(&mut server, &["9.9.9.9:9".parse().unwrap()]).success());
    }
    // A second call it does not begin.
    let mut sibling = client.sibling("198.51.100.7:4001");
    assert!(sibling.allocate(&mut server).reason().contains("expired"));
    // And the wrong password stays wrong.
    client.password.push('x');
    assert_eq!(client.refresh(&mut server, 0).code(), 401);
}

#[test]
fn on_expiry_refuse_it_ends_with_its_lifetime() {
    let (mut server, mut client) = past_expiry(OnExpiry::Refuse);
    let response = client.refresh(&mut server, 3000);
    assert_eq!(response.code(), 401);
    assert!(response.reason().contains("expired"));
    assert_eq!(server.server.allocations(), 1);
    // The last refresh was at 99.9 s.
    server.advance(Duration::from_secs(2998));
    assert_eq!(server.server.allocations(), 1);
    server.advance(Duration::from_secs(2));
    assert_eq!(server.ended()[0].reason, EndReason::Expired);
    server.assert_empty();
}

#[test]
fn on_expiry_end_it_ends_at_once() {
    let (mut server, mut client) = past_expiry(OnExpiry::End);
    let ended = server.ended();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].reason, EndReason::CredentialExpired);
    assert_eq!(client.refresh(&mut server, 600).code(), 401);
    server.assert_empty();
}

#[test]
fn a_step_of_the_wall_clock_ends_nothing() {
    for on_expiry in [OnExpiry::Keep, OnExpiry::Refuse, OnExpiry::End] {
        let mut setup = setup();
        setup.auth.on_expiry = on_expiry;
        let mut server = setup.server();
        let mut client = expiring(100, "carol");
        assert!(client.allocate(&mut server).success());
        for unix in [START.unix + 1_000_000, 0] {
            server.advance_to(Now { mono: server.now.mono + Duration::from_secs(5), unix });
            assert_eq!(server.server.allocations(), 1, "{on_expiry:?}");
        }
        assert!(client.refresh(&mut server, 0).success());
    }
}

#[test]
fn an_expired_credential_still_answers_the_retransmission_of_its_allocate() {
    let mut setup = setup();
    setup.auth.on_expiry = OnExpiry::Keep;
    let mut server = setup.server();
    let mut client = expiring(1, "carol");
    let challenge = client.build(Method::ALLOCATE, |_| ());
    let response = server.ask(&client.client, &challenge);
    client.learn(&response);
    let packet = client.build(Method::ALLOCATE, |writer| {
        writer.number(turnwire::stun::attribute::REQUESTED_TRANSPORT, 17 << 24);
    });
    let first = server.ask(&client.client, &packet);
    assert!(first.success());
    server.advance(Duration::from_secs(2));
    assert_eq!(server.ask(&client.client, &packet), first);
}
