//! An allocation keeps the credential that it was made with, for the requests that follow. What
//! is kept must be worth nothing to anybody else, in no other form, and no longer than it lives.

use std::net::SocketAddr;

use crate::core::{Forged, Setup, Style, TestClient, TestServer};
use crate::{alice, challenged};
use turnwire::auth::Algorithm;
use turnwire::stun::{Digest, Method, attribute};

fn bob() -> TestClient {
    // On alice's 5-tuple.
    TestClient::new("198.51.100.7:4000", "bob", "builder")
}

fn peer() -> SocketAddr {
    "9.9.9.9:9".parse().unwrap()
}

/// A Refresh that says what `client` would say, tagged by these keys.
fn tagged(client: &mut TestClient, tags: Vec<(turnwire::auth::Key, Digest, usize)>) -> Forged {
    Forged { method: Method::REFRESH, tags, ..Forged::allocate(client) }
}

fn ask(server: &mut TestServer, client: &mut TestClient, forged: &Forged) -> (u16, Vec<Digest>) {
    let packet = forged.write(client);
    let response = server.ask(&client.client, &packet);
    (response.code(), response.signed(&client.key()).into_iter().collect())
}

#[test]
fn both_digests_with_both_keys_work_on_one_allocation_and_each_is_answered_in_its_own() {
    for first in [Style::MD5, Style::SHA256] {
        let mut server = Setup::default().server();
        let mut client = alice().with(first);
        assert!(client.allocate(&mut server).success());
        // Over and over: what one request leaves behind must not serve the next.
        for _ in 0..3 {
            for chosen in [None, Some(Algorithm::Md5), Some(Algorithm::Sha256)] {
                for digest in [Digest::Sha1, Digest::Sha256] {
                    client.style.algorithm = chosen;
                    let plain = match chosen {
                        Some(algorithm) => Forged::choosing(&mut client, algorithm),
                        None => Forged::allocate(&mut client),
                    };
                    let tags = vec![(client.key(), digest, 32)];
                    let refresh = Forged { method: Method::REFRESH, tags, ..plain };
                    // RFC 8489 §9.2.4: by the algorithm attributes, not by the request's tag.
                    let answer = if chosen.is_some() { Digest::Sha256 } else { Digest::Sha1 };
                    let got = ask(&mut server, &mut client, &refresh);
                    assert_eq!(got, (0, vec![answer]), "{chosen:?} {digest:?}");
                }
            }
        }
    }
}

#[test]
fn the_key_of_the_other_algorithm_than_the_request_names_is_a_wrong_one() {
    for (made_with, named) in [(Style::SHA256, Algorithm::Md5), (Style::MD5, Algorithm::Sha256)] {
        let mut server = Setup::default().server();
        let mut client = alice().with(made_with);
        assert!(client.allocate(&mut server).success());
        let kept = client.key();
        client.style.algorithm = Some(named);
        let plain = Forged::choosing(&mut client, named);
        let tags = vec![(kept, made_with.digest, 32)];
        let refresh = Forged { method: Method::REFRESH, tags, ..plain };
        assert_eq!(ask(&mut server, &mut client, &refresh), (401, vec![]));
    }
}

#[test]
fn no_key_but_the_users_own_opens_its_allocation() {
    for style in [Style::MD5, Style::SHA256] {
        let mut server = Setup::default().server();
        let (mut alice, mut bob) = (alice().with(style), bob().with(style));
        assert!(alice.allocate(&mut server).success());
        assert_eq!(bob.refresh(&mut server, 600).code(), 441);
        alice.nonce.clone_from(&bob.nonce);
        let (hers, his) = (alice.key(), bob.key());
        let digest = style.digest;
        let plain = |client: &mut TestClient| match style.algorithm {
            Some(algorithm) => Forged::choosing(client, algorithm),
            None => Forged::allocate(client),
        };
        let mut refresh = |client: &mut TestClient, key: &turnwire::auth::Key| {
            let tags = vec![(key.clone(), digest, 32)];
            let forged = Forged { method: Method::REFRESH, tags, ..plain(client) };
            ask(&mut server, client, &forged)
        };
        // Her name with his key, and his name with hers, before and after each has been let in.
        for _ in 0..2 {
            assert_eq!(refresh(&mut alice, &his), (401, vec![]));
            assert_eq!(refresh(&mut bob, &hers), (401, vec![]));
            // A refusal is signed by the key of the one who is refused.
            assert_eq!(refresh(&mut bob, &his), (441, vec![digest]));
            assert_eq!(refresh(&mut alice, &hers), (0, vec![digest]));
        }
    }
}

#[test]
fn the_next_allocation_of_a_5_tuple_knows_nothing_of_the_last_ones_user() {
    let mut server = Setup::default().server();
    let (mut alice, mut bob) = (alice(), bob());
    assert!(alice.allocate(&mut server).success());
    assert!(alice.refresh(&mut server, 0).success());
    assert!(bob.allocate(&mut server).success());
    assert_eq!(alice.refresh(&mut server, 0).code(), 441);
    assert_eq!(alice.permit(&mut server, &[peer()]).code(), 441);
    let hers = alice.key();
    let stolen = tagged(&mut bob, vec![(hers, Digest::Sha1, 20)]);
    assert_eq!(ask(&mut server, &mut bob, &stolen), (401, vec![]));
    assert!(bob.bind(&mut server, 0x4000, peer()).success());
    assert_eq!(server.ended()[0].username, "alice");
}

#[test]
fn a_password_that_is_not_the_servers_is_refused_on_a_live_allocation_too() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    assert!(client.allocate(&mut server).success());
    for style in [Style::MD5, Style::SHA256, Style::USERHASH] {
        let mut stranger = client.sibling("198.51.100.7:4000").with(style);
        stranger.password = "changed".to_owned();
        assert_eq!(stranger.refresh(&mut server, 0).code(), 401, "{style:?}");
        assert!(client.refresh(&mut server, 600).success());
    }
}

#[test]
fn what_failed_says_which_server_it_was_in_allocate_and_refresh() {
    // RFC 8656 §5: SOFTWARE in their responses, "either success or failure".
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let software = |response: &crate::core::Response| {
        assert!(response.code() != 0);
        response.get(attribute::SOFTWARE).map(<[u8]>::to_vec)
    };
    let named = Some(b"Turnwire".to_vec());
    assert_eq!(software(&client.refresh(&mut server, 600)), named);
    assert_eq!(software(&client.request(&mut server, Method::ALLOCATE, |_| ())), named);
    assert_eq!(software(&client.permit(&mut server, &[peer()])), None);
}
