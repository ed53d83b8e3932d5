//! What an operator sees of live allocations, and ends, without sockets: filters, pages, depth.

mod core;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::{RELAYS, Setup, TestClient, TestServer, channel_data};
use turnwire::auth::{DenialKind, RestDigest, Secret, mint_password};
use turnwire::stun::attribute;
use turnwire::turn::{Cause, EndReason, Filter, Revocation, SessionId, Transport, View, Where};

fn client(server: &mut TestServer, transport: Transport, address: &str, user: &str) -> TestClient {
    let password = if user == "alice" { "wonder" } else { "builder" };
    let mut client = TestClient::over(transport, address, user, password);
    assert_eq!(client.allocate(server).code(), 0);
    client
}

/// Everything that fits, in pages of `most`, each looked for in steps of `steps`.
fn list(server: &TestServer, filter: &Filter, steps: usize, most: usize) -> Vec<View> {
    let (mut views, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let found = server.server.scan(place, steps, most, filter);
        assert!(found.slots.len() <= most);
        assert!(found.next.is_none_or(|next| place < next && next <= place + steps as u32));
        let view = |slot: &u32| server.server.view(server.now, *slot).expect("it is there");
        views.extend(found.slots.iter().map(view));
        from = found.next;
    }
    views
}

fn clients(server: &TestServer, filter: &Filter) -> Vec<String> {
    let views = list(server, filter, 256, 64);
    let mut clients: Vec<_> = views.iter().map(|view| view.client.client.to_string()).collect();
    clients.sort();
    clients
}

#[test]
fn a_filter_means_all_that_it_says() {
    let mut server = Setup::default().server();
    client(&mut server, Transport::Udp, "198.51.100.1:1000", "alice");
    client(&mut server, Transport::Tcp, "198.51.100.2:1000", "alice");
    client(&mut server, Transport::Udp, "198.51.100.2:2000", "bob");
    let none = Filter::default();
    let all = ["198.51.100.1:1000", "198.51.100.2:1000", "198.51.100.2:2000"];
    assert_eq!(clients(&server, &none), all);
    let user = |user: &str| Filter { user: Some(user.to_owned()), ..none.clone() };
    assert_eq!(clients(&server, &user("alice")), all[..2]);
    assert!(clients(&server, &user("ali")).is_empty());
    let realm = |realm: &str| Filter { realm: Some(realm.to_owned()), ..none.clone() };
    assert_eq!(clients(&server, &realm("example.org")), all);
    assert!(clients(&server, &realm("example.com")).is_empty());
    let within = |text: &str| {
        let address = Some(Where::Within(text.parse().expect("a prefix")));
        Filter { address, ..none.clone() }
    };
    assert_eq!(clients(&server, &within("198.51.100.2")), all[1..]);
    assert_eq!(clients(&server, &within("198.51.100.0/24")), all);
    let over = Filter { transport: Some(Transport::Udp), ..within("198.51.100.2") };
    assert_eq!(clients(&server, &over), all[2..]);
    let at = |address| Filter { address: Some(Where::At(address)), ..none.clone() };
    assert_eq!(clients(&server, &at("198.51.100.2:1000".parse().expect("it"))), all[1..2]);
    // By what the rest of the world calls it, and by what this host does.
    for view in list(&server, &none, 256, 64) {
        let relayed = view.relayed[0].expect("IPv4");
        let local = (RELAYS[0].local, relayed.port()).into();
        for address in [relayed, local] {
            assert_eq!(clients(&server, &at(address)), [view.client.client.to_string()]);
        }
        let named = Filter { id: Some(view.id), ..none.clone() };
        assert_eq!(clients(&server, &named), [view.client.client.to_string()]);
        assert_eq!(SessionId::new(0, view.id.number()), view.id);
    }
}

/// Whatever begins and ends meanwhile: who is there all the time is seen once.
#[test]
fn pages_show_each_that_stays_once() {
    let mut server = Setup::default().server();
    let at = |port: u16| format!("198.51.100.1:{port}");
    let mut all: Vec<_> =
        (0..100).map(|n| client(&mut server, Transport::Udp, &at(1000 + n), "alice")).collect();
    let mut stay: BTreeSet<_> =
        list(&server, &Filter::default(), 7, 3).into_iter().map(|view| view.id).collect();
    assert_eq!(stay.len(), 100);
    let (mut seen, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let found = server.server.scan(place, 7, 3, &Filter::default());
        seen.extend(found.slots.iter().filter_map(|slot| server.server.view(server.now, *slot)));
        from = found.next;
        // One goes, anywhere, and another one comes in its place.
        if let Some(mut gone) = (!all.is_empty()).then(|| all.remove(all.len() * 3 / 7)) {
            let address = gone.client.tuple.client;
            let of = list(
                &server,
                &Filter { address: Some(Where::At(address)), ..Filter::default() },
                256,
                1,
            );
            assert!(stay.remove(&of[0].id));
            gone.refresh(&mut server, 0);
            client(&mut server, Transport::Udp, &at(5000 + seen.len() as u16), "bob");
        }
    }
    let ids: BTreeSet<_> = seen.iter().map(|view| view.id).collect();
    assert_eq!(ids.len(), seen.len(), "nobody twice");
    assert!(stay.is_subset(&ids) && stay.len() > 50);
}

#[test]
fn one_is_seen_in_depth_and_ends_when_an_operator_wants_it() {
    let mut server = Setup::default().server();
    let mut alice = client(&mut server, Transport::Udp, "198.51.100.1:1000", "alice");
    let peers = ["9.9.9.7:7000", "9.9.9.9:9000"].map(|it| it.parse().expect("an address"));
    assert_eq!(alice.permit(&mut server, &peers[1..]).code(), 0);
    server.advance(Duration::from_secs(100));
    assert_eq!(alice.bind(&mut server, 0x4000, peers[0]).code(), 0);
    server.receive(&alice.client, &channel_data(0x4000, b"four"));
    let slot = server.server.scan(0, 256, 1, &Filter::default()).slots[0];
    let depth = server.server.depth(server.now, slot).expect("it is there");
    let view = depth.view;
    assert_eq!((&*view.realm, &*view.username, &*view.owner), ("example.org", "alice", "alice"));
    assert_eq!((view.age.as_secs(), view.remaining.as_secs()), (100, 500));
    assert_eq!((view.traffic.to_peer_packets, view.traffic.to_peer_bytes), (1, 4));
    assert_eq!((view.permissions, view.channels, view.connections), (2, 1, 0));
    let left: Vec<_> = depth.permissions.iter().map(|(ip, left)| (*ip, left.as_secs())).collect();
    assert_eq!(left, [(peers[0].ip(), 300), (peers[1].ip(), 200)]);
    let channel = depth.channels[0];
    assert_eq!(
        (channel.number, channel.peer, channel.remaining.as_secs()),
        (0x4000, peers[0], 600)
    );
    assert_eq!(depth.local[0].map(|it| it.ip()), Some(RELAYS[0].local));
    assert!(!depth.mobile && !depth.away && !depth.revoked && depth.earlier.is_empty());
    // What is over is not shown, even before it is forgotten.
    server.now.mono = server.now.mono + Duration::from_secs(250);
    let depth = server.server.depth(server.now, slot).expect("it is there");
    assert_eq!((depth.permissions.len(), depth.view.permissions), (1, 1));

    let (sockets, stats) = (&mut server.sockets, &server.stats);
    server.server.kill(server.now, slot, EndReason::Killed, sockets, stats);
    let ended = server.ended();
    assert_eq!((ended[0].id, ended[0].reason), (view.id, EndReason::Killed));
    assert_eq!(alice.refresh(&mut server, 600).code(), 437);
    server.assert_empty();
}

#[test]
fn who_is_revoked_is_refused_until_the_time_is_over() {
    let mut setup = Setup::default();
    setup.auth.secrets = vec![Secret::new("north")];
    let mut server = setup.server();
    let now = server.now.unix;
    let revoke = |server: &TestServer, user: &str, realm: Option<&str>| {
        let (user, realm) = (user.to_owned(), realm.map(str::to_owned));
        let revocation = Revocation { user, realm, until: now + 60 };
        server.ledger.revocations.add(revocation, now).expect("there is room");
    };
    let name = format!("{}:carol", now + 3600);
    let password = mint_password(RestDigest::Sha1, &Secret::new("north"), &name);
    let mut carol = TestClient::new("198.51.100.1:1000", &name, &password);
    let mut alice = client(&mut server, Transport::Udp, "198.51.100.2:1000", "alice");
    revoke(&server, "carol", None);
    revoke(&server, "alice", Some("example.com"));
    let refused = carol.allocate(&mut server);
    assert_eq!(refused.code(), 401);
    let reason = refused.get(attribute::ERROR_CODE).expect("it")[4..].to_vec();
    assert!(String::from_utf8(reason).is_ok_and(|it| it.contains("taken back")));
    assert_eq!(alice.refresh(&mut server, 600).code(), 0, "another realm's alice");
    revoke(&server, "alice", Some("example.org"));
    assert_eq!(alice.refresh(&mut server, 600).code(), 401);
    let revoked = Cause::Auth(DenialKind::Revoked).index();
    assert_eq!(server.stats.refused[revoked].get(), 2);
    assert!(server.ledger.revocations.remove("alice", Some("example.org")));
    assert_eq!(alice.refresh(&mut server, 600).code(), 0);
    server.advance(Duration::from_secs(60));
    assert_eq!(carol.allocate(&mut server).code(), 0);
}
