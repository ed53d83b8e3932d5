//! RFC 8489 §9.2.4, check by check, against the server as a state machine. Beside it, in `core/`:
//! the attributes of the mechanism, REST credentials and their expiry, what an allocation keeps of
//! its user's credential, and what strangers get.

#[path = "core/attributes.rs"]
mod attributes;
mod core;
#[path = "core/ephemeral.rs"]
mod ephemeral;
#[path = "core/kept.rs"]
mod kept;
#[path = "core/strangers.rs"]
mod strangers;

use std::time::Duration;

use crate::core::{Forged, REALM, Response, Setup, Style, TestClient, TestServer};
use turnwire::auth::Algorithm;
use turnwire::stun::{Digest, Method, attribute};

/// SHA-256 before MD5, both without parameters (RFC 8489 §14.11).
const OFFERED: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

fn alice() -> TestClient {
    TestClient::new("198.51.100.7:4000", "alice", "wonder")
}

/// A client that has been challenged.
fn challenged(server: &mut TestServer) -> TestClient {
    let mut client = alice();
    learn(server, &mut client);
    client
}

fn learn(server: &mut TestServer, client: &mut TestClient) {
    client.nonce = None;
    let packet = client.build(Method::ALLOCATE, |_| ());
    let response = server.ask(&client.client, &packet);
    assert_eq!(response.code(), 401);
    client.learn(&response);
}

fn ask(server: &mut TestServer, client: &mut TestClient, forged: &Forged) -> Response {
    let packet = forged.write(client);
    server.ask(&client.client, &packet)
}

/// What a response to one who is not believed must not hold (all of §9.2.4).
fn assert_reveals_nothing(response: &Response) {
    for kind in [
        attribute::USERNAME,
        attribute::USERHASH,
        attribute::MESSAGE_INTEGRITY,
        attribute::MESSAGE_INTEGRITY_SHA256,
        attribute::SOFTWARE,
    ] {
        assert!(!response.has(kind), "{kind:#06x}");
    }
    assert_eq!(response.message().integrity(), None);
}

/// 401 and 438 carry all that the next attempt needs.
fn assert_challenges(response: &Response) {
    assert_eq!(response.get(attribute::REALM), Some(REALM.as_bytes()));
    let nonce = response.get(attribute::NONCE).expect("a nonce");
    assert!(nonce.starts_with(b"obMatJos2gAAA"));
    assert_eq!(response.get(attribute::PASSWORD_ALGORITHMS), Some(&OFFERED[..]));
    assert_reveals_nothing(response);
}

#[test]
fn check_1_without_integrity_every_turn_request_is_challenged() {
    let mut server = Setup::default().server();
    for method in
        [Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND]
    {
        let mut client = alice();
        let packet = client.build(method, |_| ());
        let response = server.ask(&client.client, &packet);
        assert_eq!(response.code(), 401);
        assert_challenges(&response);
        assert_eq!(response.reason(), "");
    }
    let mut client = alice();
    let packet = client.build(Method::BINDING, |_| ());
    assert!(server.ask(&client.client, &packet).success());
}

#[test]
fn check_1_credentials_without_integrity_are_not_looked_at() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let unsigned = Forged { tags: Vec::new(), ..Forged::allocate(&mut client) };
    let response = ask(&mut server, &mut client, &unsigned);
    assert_eq!(response.code(), 401);
    assert_challenges(&response);
}

#[test]
fn check_1_the_nonce_says_which_features_are_offered() {
    // §9.2 and §18.1: bit 0 is "Password algorithms", bit 1 "Username anonymity".
    for (sha256, anonymity, cookie) in [
        (true, false, b"obMatJos2gAAA"),
        (false, false, b"obMatJos2AAAA"),
        (true, true, b"obMatJos2wAAA"),
        (false, true, b"obMatJos2QAAA"),
    ] {
        let mut setup = Setup::default();
        setup.auth.sha256 = sha256;
        setup.auth.username_anonymity = anonymity;
        let mut client = alice();
        let packet = client.build(Method::ALLOCATE, |_| ());
        let response = setup.server().ask(&client.client, &packet);
        assert_eq!(&response.get(attribute::NONCE).unwrap()[..13], cookie);
        assert_eq!(response.has(attribute::PASSWORD_ALGORITHMS), sha256);
        assert!(response.get(attribute::NONCE).unwrap().len() < 128 * 4);
    }
}

#[test]
fn check_1_no_two_addresses_or_ports_get_the_same_nonce() {
    let mut server = Setup::default().server();
    let addresses = [
        "198.51.100.7:4000",
        "198.51.100.7:4001",
        "198.51.100.8:4000",
        "[2001:db8:7::7]:4000",
        "[2001:db8:7::8]:4000",
    ];
    let mut seen = std::collections::HashSet::new();
    for address in addresses {
        let mut client = TestClient::new(address, "alice", "wonder");
        learn(&mut server, &mut client);
        assert!(seen.insert(client.nonce), "{address}");
    }
}

#[test]
fn check_2_integrity_without_username_realm_or_nonce_is_a_bad_request() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let whole = Forged::allocate(&mut client);
    for missing in 0..4 {
        let mut forged = whole.clone();
        match missing {
            0 => forged.username = None,
            1 => forged.realm = None,
            2 => forged.nonce = None,
            _ => (forged.username, forged.realm) = (None, None),
        }
        let response = ask(&mut server, &mut client, &forged);
        assert_eq!(response.code(), 400, "{missing}");
        assert_reveals_nothing(&response);
        assert!(!response.has(attribute::REALM) && !response.has(attribute::NONCE));
        // §9.2.4 has the nonce prove the address: only then there is a phrase.
        assert_eq!(response.reason().is_empty(), missing == 2);
    }
    assert!(ask(&mut server, &mut client, &whole).success());
}

#[test]
fn check_3_neither_algorithm_attribute_means_md5() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let forged = Forged::allocate(&mut client);
    let response = ask(&mut server, &mut client, &forged);
    assert!(response.success());
    assert_eq!(response.signed(&client.key()), Some(Digest::Sha1));
    assert!(!response.has(attribute::MESSAGE_INTEGRITY_SHA256));
}

#[test]
fn check_3_a_choice_must_be_one_of_the_list_that_was_offered() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let good = Forged::choosing(&mut client, Algorithm::Sha256);
    let (none, some) = (None, |bytes: &[u8]| Some(bytes.to_vec()));
    for (what, algorithm, algorithms) in [
        ("PASSWORD-ALGORITHM alone", good.algorithm.clone(), none.clone()),
        ("PASSWORD-ALGORITHMS alone", none.clone(), good.algorithms.clone()),
        ("SHA-256 taken off the list", some(&[0, 1, 0, 0]), some(&[0, 1, 0, 0])),
        ("another order", some(&[0, 2, 0, 0]), some(&[0, 1, 0, 0, 0, 2, 0, 0])),
        ("one more", some(&[0, 2, 0, 0]), some(&[0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0])),
        ("an empty list", some(&[0, 2, 0, 0]), some(&[])),
        ("an unknown algorithm", some(&[0, 3, 0, 0]), good.algorithms.clone()),
        (
            "parameters that were not offered",
            some(&[0, 2, 0, 4, 1, 2, 3, 4]),
            good.algorithms.clone(),
        ),
        ("an empty choice", some(&[]), good.algorithms.clone()),
    ] {
        let forged = Forged { algorithm, algorithms, ..good.clone() };
        let response = ask(&mut server, &mut client, &forged);
        assert_eq!(response.code(), 400, "{what}");
        assert_reveals_nothing(&response);
    }
    assert!(ask(&mut server, &mut client, &good).success());
}

#[test]
fn check_3_a_nonce_whose_features_were_stripped_is_not_accepted() {
    // §9.2.1: the bid-down attack. The request itself is well signed.
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let mut forged = Forged::allocate(&mut client);
    let nonce = forged.nonce.as_mut().unwrap();
    nonce[9..13].copy_from_slice(b"AAAA");
    let response = ask(&mut server, &mut client, &forged);
    assert_eq!(response.code(), 438);
    assert_challenges(&response);

    // Nor one from which the cookie was cut.
    let mut forged = Forged::allocate(&mut client);
    forged.nonce.as_mut().unwrap().drain(..13);
    assert_eq!(ask(&mut server, &mut client, &forged).code(), 438);
}

#[test]
fn check_4_an_unknown_username_or_userhash_is_challenged() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let long = [b'a'; 600];
    let names: [&[u8]; 6] = [b"carol", b"ALICE", b"", b"\xFF\xFE", b"alice\0", &long];
    for name in names {
        let forged = Forged { username: Some(name.to_vec()), ..Forged::allocate(&mut client) };
        let response = ask(&mut server, &mut client, &forged);
        assert_eq!(response.code(), 401);
        assert_challenges(&response);
        assert!(response.reason().starts_with("unknown user \""), "{}", response.reason());
    }
    let hashes: [&[u8]; 3] = [&[7; 32], &[7; 31], b""];
    for hash in hashes {
        let forged = Forged {
            username: None,
            userhash: Some(hash.to_vec()),
            ..Forged::choosing(&mut client, Algorithm::Sha256)
        };
        let response = ask(&mut server, &mut client, &forged);
        assert_eq!(response.code(), 401);
        assert_challenges(&response);
    }
}

#[test]
fn check_4_the_realm_must_be_ours() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let forged = Forged { realm: Some(b"example.com".to_vec()), ..Forged::allocate(&mut client) };
    let response = ask(&mut server, &mut client, &forged);
    assert_eq!(response.code(), 401);
    assert_challenges(&response);
    let told = "wrong realm: \"example.com\" is asked for, this is \"example.org\"";
    assert_eq!(response.reason(), told);
}

#[test]
fn check_5_an_integrity_that_does_not_match_is_challenged() {
    let mut server = Setup::default().server();
    for style in [Style::MD5, Style::SHA256] {
        let mut client = alice().with(style);
        client.password = "wunder".to_owned();
        learn(&mut server, &mut client);
        let packet = client.build(Method::ALLOCATE, |_| ());
        let response = server.ask(&client.client, &packet);
        assert_eq!(response.code(), 401);
        assert_challenges(&response);
        assert_eq!(response.reason(), "wrong password for user \"alice\"");
    }
    // Bob's key does not open Alice's door.
    let mut client = challenged(&mut server);
    client.password = "builder".to_owned();
    let forged = Forged::allocate(&mut client);
    assert_eq!(ask(&mut server, &mut client, &forged).code(), 401);
}

#[test]
fn check_5_of_two_integrities_the_stronger_is_computed() {
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let good = client.key();
    client.password = "wrong".to_owned();
    let bad = client.key();
    let tags = |sha1: &_, sha256: &_| {
        let (sha1, sha256): (&turnwire::auth::Key, &turnwire::auth::Key) = (sha1, sha256);
        vec![(sha1.clone(), Digest::Sha1, 20), (sha256.clone(), Digest::Sha256, 32)]
    };
    let forged = Forged { tags: tags(&good, &bad), ..Forged::allocate(&mut client) };
    assert_eq!(ask(&mut server, &mut client, &forged).code(), 401);
    let forged = Forged { tags: tags(&bad, &good), ..Forged::allocate(&mut client) };
    assert!(ask(&mut server, &mut client, &forged).success());
}

#[test]
fn check_6_an_old_nonce_is_stale_and_its_successor_works() {
    let mut setup = Setup::default();
    setup.auth.nonce_lifetime = Duration::from_secs(300);
    let mut server = setup.server();
    let mut client = challenged(&mut server);
    let forged = Forged::allocate(&mut client);
    server.advance(Duration::from_secs(299));
    let mut sibling = alice();
    sibling.learn(&ask(&mut server, &mut client, &Forged { tags: Vec::new(), ..forged.clone() }));
    server.advance(Duration::from_secs(1));
    let response = ask(&mut server, &mut client, &forged);
    assert_eq!(response.code(), 438);
    assert_challenges(&response);
    assert_eq!(response.reason(), "Stale Nonce");
    // The one that was made a second before is still good.
    let fresh = Forged { nonce: sibling.nonce, ..forged.clone() };
    assert!(ask(&mut server, &mut client, &fresh).success());
    client.learn(&response);
    assert!(client.refresh(&mut server, 0).success());
}

#[test]
fn check_6_a_nonce_is_good_for_its_address_only() {
    let mut server = Setup::default().server();
    let owner = challenged(&mut server);
    for address in ["198.51.100.7:4001", "198.51.100.8:4000"] {
        let mut thief = owner.sibling(address);
        (thief.realm, thief.nonce) = (owner.realm.clone(), owner.nonce.clone());
        let packet = thief.build(Method::ALLOCATE, |_| ());
        let response = server.ask(&thief.client, &packet);
        assert_eq!(response.code(), 438);
        assert_challenges(&response);
        assert_eq!(response.reason(), "", "the address is not proved");
    }
}

#[test]
fn check_6_comes_after_the_password() {
    // So that 438 cannot be had by guessing.
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    server.advance(Duration::from_secs(3600));
    client.password = "wrong".to_owned();
    let forged = Forged::allocate(&mut client);
    let response = ask(&mut server, &mut client, &forged);
    assert_eq!(response.code(), 401);
    assert_eq!(response.reason(), "wrong password for user \"alice\"");
}

#[test]
fn the_response_is_signed_as_the_request_chose() {
    // The end of §9.2.4: SHA-256, unless neither algorithm attribute was there.
    let mut server = Setup::default().server();
    for (chosen, digest) in [
        (Some(Algorithm::Md5), Digest::Sha256),
        (Some(Algorithm::Sha256), Digest::Sha256),
        (None, Digest::Sha1),
    ] {
        let mut client = challenged(&mut server);
        client.style.algorithm = chosen;
        let forged = match chosen {
            Some(algorithm) => Forged::choosing(&mut client, algorithm),
            None => Forged::allocate(&mut client),
        };
        let refresh = Forged { method: Method::REFRESH, ..forged.clone() };
        // A refusal is signed as well: 437 without an allocation.
        let response = ask(&mut server, &mut client, &refresh);
        assert_eq!(response.code(), 437);
        assert_eq!(response.signed(&client.key()), Some(digest));
        let response = ask(&mut server, &mut client, &forged);
        assert!(response.success());
        assert_eq!(response.signed(&client.key()), Some(digest));
        for kind in [attribute::REALM, attribute::NONCE, attribute::USERNAME, attribute::USERHASH] {
            assert!(!response.has(kind));
        }
        assert!(client.with(Style::MD5).refresh(&mut server, 0).success());
    }
}

#[test]
fn hmac_sha256_with_the_md5_key_is_answered_with_sha1() {
    // MESSAGE-INTEGRITY-SHA256 without the algorithm attributes: "processed as though MD5".
    let mut server = Setup::default().server();
    let mut client = challenged(&mut server);
    let key = client.key();
    let forged =
        Forged { tags: vec![(key.clone(), Digest::Sha256, 32)], ..Forged::allocate(&mut client) };
    let response = ask(&mut server, &mut client, &forged);
    assert!(response.success());
    assert_eq!(response.signed(&key), Some(Digest::Sha1));
}
