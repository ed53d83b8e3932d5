//! Other settings and other credentials under live allocations: what goes on, and what ends.

mod core;

use core::connections::{at, begin, owner, reach};
use core::{
    Deed, Setup, TestClient, TestServer, auth_settings, channel_data, send_indication,
    turn_settings,
};
use std::net::SocketAddr;
use std::sync::Arc;

use turnwire::auth::{
    self, Authority, OnRevocation, Realms, RestDigest, Secret, User, mint_password,
};
use turnwire::turn::{Dropped, EndReason, PeerPolicy, PeerRule, Settings, Verdict};

const PEER: &str = "198.51.100.7:9";
const OTHER: &str = "192.0.2.77:9";

fn peer() -> SocketAddr {
    at(PEER)
}

/// The settings of every test with these rules about peers.
fn ruled(rules: &[(&str, bool)]) -> Settings {
    let settings = turn_settings(49152, 65535);
    let rule = |(prefix, allow): &(&str, bool)| PeerRule {
        prefix: prefix.parse().expect("a prefix"),
        allow: *allow,
    };
    let listeners = vec![core::LISTENER, core::LISTENER_V6];
    let rules = rules.iter().map(rule).collect();
    let peers = PeerPolicy::new(rules, core::RELAYS.to_vec(), settings.ports, listeners);
    Settings { peers, ..settings }
}

fn authority(settings: auth::Settings) -> Arc<Realms> {
    // The same root as the first one has: nonces stay good.
    Arc::new(Realms::single(Authority::new(settings, [7; 16]).expect("valid credentials")))
}

fn with_users(users: &[(&str, &str)], on_revocation: OnRevocation) -> auth::Settings {
    let user = |(name, password): &(&str, &str)| User {
        name: (*name).to_owned(),
        password: Secret::new(*password),
    };
    auth::Settings { users: users.iter().map(user).collect(), on_revocation, ..auth_settings() }
}

fn reload(server: &mut TestServer, settings: Settings, authority: &Arc<Realms>) {
    let (settings, now) = (Arc::new(settings), server.now);
    server.server.reconfigure(now, &settings, authority, &mut server.sockets, &server.stats);
}

fn alice() -> TestClient {
    TestClient::new("192.0.2.1:1000", "alice", "wonder")
}

fn open() -> Settings {
    ruled(&[("192.0.2.0/24", true), ("198.51.100.0/24", true)])
}

#[test]
fn a_peer_that_is_denied_now_is_relayed_to_no_more_and_the_others_are() {
    let mut server = Setup { turn: open(), ..Setup::default() }.server();
    let (mut client, authority) = (alice(), authority(auth_settings()));
    assert!(client.allocate(&mut server).success());
    assert!(client.bind(&mut server, 0x4000, peer()).success());
    assert!(client.bind(&mut server, 0x4001, at(OTHER)).success());
    reload(&mut server, ruled(&[("192.0.2.0/24", true), ("198.51.100.7/32", false)]), &authority);
    let from = client.client;
    let denied = server.receive(&from, &channel_data(0x4000, b"x"));
    assert!(matches!(denied, Verdict::Drop(Dropped::NoChannel)), "{denied:?}");
    let denied = server.receive(&from, &send_indication(peer(), b"x"));
    assert!(matches!(denied, Verdict::Drop(Dropped::NoPermission)), "{denied:?}");
    let other = server.receive(&from, &channel_data(0x4001, b"x"));
    assert!(matches!(other, Verdict::ToPeer(_)), "{other:?}");
    assert_eq!(client.permit(&mut server, &[peer()]).code(), 403);
    // And back again: what has ended stays so until it is asked for.
    reload(&mut server, open(), &authority);
    assert!(client.permit(&mut server, &[peer()]).success());
    assert!(client.bind(&mut server, 0x4000, peer()).success());
}

/// RFC 6062: connections end as their permission does.
#[test]
fn connections_with_a_peer_that_is_denied_now_are_closed() {
    let mut server = Setup { turn: open(), ..Setup::default() }.server();
    let mut client = owner(&mut server);
    let made = reach(&mut server, &mut client, PEER);
    let under_way = begin(&mut server, &mut client, "198.51.100.7:10");
    let other = reach(&mut server, &mut client, OTHER);
    server.deeds();
    reload(
        &mut server,
        ruled(&[("192.0.2.0/24", true), ("198.51.100.7/32", false)]),
        &authority(auth_settings()),
    );
    let mut closed = server.deeds();
    closed.sort_by_key(|deed| format!("{deed:?}"));
    let mut expected = [Deed::Close(made), Deed::Close(under_way)];
    expected.sort_by_key(|deed| format!("{deed:?}"));
    assert_eq!(closed, expected);
    assert_eq!(server.server.connections(), 1);
    assert!(server.connected(under_way, Ok(())).is_none());
    let _ = other;
}

#[test]
fn new_limits_are_for_what_comes_new() {
    let mut server = Setup { turn: open(), ..Setup::default() }.server();
    let mut client = alice();
    assert!(client.allocate(&mut server).success());
    assert!(client.permit(&mut server, &[peer(), at(OTHER)]).success());
    let mut tighter = open();
    tighter.limits.permissions = 1;
    tighter.limits.allocations_per_user = 1;
    reload(&mut server, tighter, &authority(auth_settings()));
    let kept = server.receive(&client.client, &send_indication(peer(), b"x"));
    assert!(matches!(kept, Verdict::ToPeer(_)), "{kept:?}");
    assert!(client.refresh(&mut server, 600).success());
    assert_eq!(client.sibling("192.0.2.1:1001").allocate(&mut server).code(), 486);
}

/// A user that is gone, one with another password, and one that is as it was.
#[test]
fn what_a_revoked_credential_does_is_stated() {
    for policy in [OnRevocation::Keep, OnRevocation::Refuse, OnRevocation::End] {
        for users in [&[("bob", "builder")][..], &[("alice", "another"), ("bob", "builder")]] {
            let mut server = Setup { turn: open(), ..Setup::default() }.server();
            let (mut gone, mut stays) = (alice(), TestClient::new("192.0.2.2:1", "bob", "builder"));
            for client in [&mut gone, &mut stays] {
                assert!(client.allocate(&mut server).success());
                assert!(client.bind(&mut server, 0x4000, peer()).success());
            }
            reload(&mut server, open(), &authority(with_users(users, policy)));
            assert!(stays.refresh(&mut server, 600).success());
            let relayed = server.receive(&gone.client, &channel_data(0x4000, b"x"));
            let goes_on = policy != OnRevocation::End;
            assert_eq!(matches!(relayed, Verdict::ToPeer(_)), goes_on, "{relayed:?}");
            let ended: Vec<_> = server.ended().iter().map(|session| session.reason).collect();
            assert_eq!(ended.is_empty(), goes_on);
            assert!(goes_on || ended == [EndReason::CredentialRevoked]);
            let code = gone.refresh(&mut server, 600).code();
            assert_eq!(code, if policy == OnRevocation::Keep { 0 } else { 401 }, "{policy:?}");
            // Nobody new comes in with it.
            assert_eq!(gone.sibling("192.0.2.1:1001").allocate(&mut server).code(), 401);
        }
    }
}

/// The user comes to know the new password in the middle of a call.
#[test]
fn a_new_password_is_as_good_as_the_old_one_was() {
    let mut server = Setup { turn: open(), ..Setup::default() }.server();
    let mut client = alice();
    assert!(client.allocate(&mut server).success());
    let users = [("alice", "another")];
    reload(&mut server, open(), &authority(with_users(&users, OnRevocation::Refuse)));
    assert_eq!(client.refresh(&mut server, 600).code(), 401);
    let mut knowing = TestClient::new("192.0.2.1:1000", "alice", "another");
    assert!(knowing.refresh(&mut server, 600).success());
}

/// Two secrets at once are how one is replaced: nobody is cut off.
#[test]
fn a_secret_that_is_taken_out_revokes_what_it_has_minted() {
    let settings = |secrets: &[&str]| auth::Settings {
        secrets: secrets.iter().map(|text| Secret::new(*text)).collect(),
        on_revocation: OnRevocation::End,
        ..auth_settings()
    };
    let setup = Setup { turn: open(), auth: settings(&["old"]), ..Setup::default() };
    let mut server = setup.server();
    let minted = |secret: &str, address: &str| {
        let name = format!("{}:alice", core::START.unix + 3600);
        let password = mint_password(RestDigest::Sha1, &Secret::new(secret), &name);
        TestClient::new(address, &name, &password)
    };
    let mut before = minted("old", "192.0.2.1:1");
    assert!(before.allocate(&mut server).success());
    reload(&mut server, open(), &authority(settings(&["old", "new"])));
    let mut after = minted("new", "192.0.2.1:2");
    assert!(after.allocate(&mut server).success());
    assert!(before.refresh(&mut server, 600).success());
    reload(&mut server, open(), &authority(settings(&["new"])));
    let ended: Vec<_> = server.ended().iter().map(|session| session.client.client).collect();
    assert_eq!(ended, [at("192.0.2.1:1")]);
    assert!(after.refresh(&mut server, 600).success());
}
