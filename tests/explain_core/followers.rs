//! What somebody hears who follows a client.

use super::*;
use crate::core::{Style, channel_data, send_indication};
use turnwire::turn::{Dropped, FOLLOWERS};

#[test]
fn a_follower_hears_each_request_of_its_client_and_of_nobody_else() {
    let mut server = Setup::default().server();
    let place = server.audience.follow(whom("alice")).unwrap();
    let mut client = alice();
    client.allocate(&mut server);
    let mut bob = TestClient::new("198.51.100.8:1", "bob", "builder");
    bob.allocate(&mut server);
    client.permit(&mut server, &[at(PUBLIC), at("8.8.4.5:7")]);
    client.bind(&mut server, 0x4000, at(PUBLIC));
    let told = server.told();
    // The first request without a name is nobody's.
    let methods: Vec<_> = told.iter().map(|told| told.case.method.name()).collect();
    assert_eq!(methods, ["Allocate", "CreatePermission", "ChannelBind"]);
    let facet = |facets: &[(&'static str, String)], name: &str| -> Vec<String> {
        facets.iter().filter(|(of, _)| *of == name).map(|(_, value)| value.clone()).collect()
    };
    for told in &told {
        assert_eq!(told.followers, 1 << place);
        assert_eq!(told.case.user.as_deref(), Some("alice"));
        assert_eq!(told.case.session.unwrap().number(), 1);
        assert!(told.case.proven);
        let Outcome::Granted(given) = &told.case.outcome else { panic!("{told:?}") };
        if told.case.method == Method::ALLOCATE {
            assert_eq!(facet(given, "lifetime"), ["600"]);
            assert_eq!(facet(given, "relayed").len(), 1);
            assert_eq!(facet(given, "mapped"), ["198.51.100.7:4000"]);
        }
    }
    assert_eq!(facet(&told[0].case.asked, "transport"), ["udp"]);
    assert_eq!(facet(&told[1].case.asked, "peer"), [PUBLIC, "8.8.4.5:7"]);
    assert_eq!(facet(&told[2].case.asked, "channel"), ["0x4000"]);
    server.audience.unfollow(place);
    client.permit(&mut server, &[at(PUBLIC)]);
    assert!(server.told().is_empty());
}

#[test]
fn a_name_that_is_hidden_is_followed_too() {
    let mut server = Setup::default().server();
    server.audience.follow(whom("alice")).unwrap();
    let mut hidden = alice().with(Style::USERHASH);
    hidden.allocate(&mut server);
    assert_eq!(server.told().len(), 1);
    hidden.password = "rabbit".to_owned();
    hidden.sibling("198.51.100.7:4001").allocate(&mut server);
    let (refusal, _) = refusal(&mut server);
    assert_eq!(refusal.words, "wrong password for user \"alice\"");
}

#[test]
fn each_follower_hears_what_it_asked_for() {
    let mut server = Setup::default().server();
    let places: Vec<_> =
        ["alice", "bob", "alice"].map(|user| server.audience.follow(whom(user))).into();
    assert_eq!(places, [Some(0), Some(1), Some(2)]);
    let realm = Whom { realm: Some("elsewhere".to_owned()), ..Whom::default() };
    server.audience.follow(realm).unwrap();
    alice().allocate(&mut server);
    let told = server.told();
    assert_eq!(told.last().unwrap().followers, 0b101);
    for _ in places.len() + 1..FOLLOWERS {
        server.audience.follow(Whom::default()).unwrap();
    }
    assert_eq!(server.audience.follow(whom("carol")), None);
}

#[test]
fn nothing_secret_is_told() {
    let mut server = Setup::default().server();
    server.audience.follow(Whom::default()).unwrap();
    let mut client = alice();
    client.allocate(&mut server);
    client.refresh(&mut server, 600);
    let told = format!("{:?}", server.told());
    let nonce = String::from_utf8(client.nonce.clone().unwrap()).unwrap();
    assert!(!told.contains("wonder") && !told.contains(&nonce), "{told}");
}

#[test]
fn dropped_data_is_summed_up_by_the_second() {
    let mut server = Setup::default().server();
    let mut client = alice();
    client.allocate(&mut server);
    // Nobody follows yet.
    server.receive(&client.client, &send_indication(at(PUBLIC), b"hello"));
    server.audience.follow(whom("alice")).unwrap();
    for _ in 0..1000 {
        server.receive(&client.client, &send_indication(at(PUBLIC), b"hello"));
    }
    server.receive(&client.client, &channel_data(0x4001, b"hello"));
    assert!(server.dropped().is_empty());
    server.advance(Duration::from_secs(1));
    let dropped = server.dropped();
    assert_eq!(dropped.len(), 1);
    let packets = [(Dropped::NoPermission, 1000), (Dropped::NoChannel, 1)];
    assert_eq!(dropped[0].packets, packets);
    assert_eq!((dropped[0].from_peers, dropped[0].user.as_deref()), (false, Some("alice")));
    server.advance(Duration::from_secs(5));
    assert!(server.dropped().is_empty());
}
