//! Names and keys that look like others: numbers that might be expiry times, keys that come and go in a store, and
//! answers by which somebody could find out who is there.

use super::*;
use turnwire::auth::{DenialKind, RestDigest, mint_password};

/// In the year 2100.
const LATER: &str = "4102444800:carol";
const PAST: &str = "1000:carol";

fn realm() -> Arc<str> {
    REALM.into()
}

/// A house whose own secret is `north`.
fn with_secret() -> House {
    let mut house = House::new(Retention::default());
    house.auth.secrets = vec![Secret::new("north")];
    house.reload();
    house
}

fn minted(house: &mut House, address: &str, secret: &str, name: &str) -> TestClient {
    let password = mint_password(RestDigest::Sha1, &Secret::new(secret), name);
    challenged(house, address, name, &password)
}

fn with_both(user: &UserName, password: &str) -> Answer {
    with_password(user, password)
}

#[test]
fn a_name_that_looks_like_an_expiry_may_be_somebodys_in_a_store() {
    for (policy, name) in [(OnRevocation::Keep, "12345"), (OnRevocation::End, "carol:2024")] {
        let mut house = with_secret();
        house.auth.on_revocation = policy;
        house.reload();
        let mut carol = challenged(&mut house, "192.0.2.1:4000", name, "singer");
        park(&mut house, &mut carol);
        let user = only(house.server.lookups());
        house.answer(&user, with_password(&user, "singer"));
        assert!(house.responses().remove(0).1.success());
        // A change that is not about her leaves her call alone.
        house.reload();
        house.look_again(&user);
        assert_eq!(house.server.server.allocations(), 1);
        assert!(carol.refresh(&mut house.server, 600).success());
        assert!(house.answer(&user, Answer::NoUser));
        house.look_again(&user);
        assert_eq!(house.server.server.allocations(), usize::from(policy == OnRevocation::Keep));
    }
}

#[test]
fn what_a_secret_has_made_has_no_store_asked() {
    let mut house = with_secret();
    let mut good = minted(&mut house, "192.0.2.1:4000", "north", LATER);
    assert!(good.allocate(&mut house.server).success());
    let mut late = minted(&mut house, "192.0.2.1:4001", "north", PAST);
    let packet = late.build(Method::ALLOCATE, transport);
    assert_eq!(house.server.ask(&late.client, &packet).code(), 401);
    assert!(house.server.lookups().is_empty());
    // By another secret it may be anybody, and is nobody once the stores have said so.
    for (address, name, expected) in
        [("192.0.2.1:4002", LATER, "not made with a secret"), ("192.0.2.1:4003", PAST, "expired")]
    {
        let mut stranger = minted(&mut house, address, "west", name);
        park(&mut house, &mut stranger);
        let user = only(house.server.lookups());
        house.answer(&user, Answer::NoUser);
        let response = house.responses().remove(0).1;
        assert_eq!(response.code(), 401);
        assert!(response.reason().contains(expected), "{}", response.reason());
    }
}

#[test]
fn nobody_is_called_wrong_as_long_as_a_store_has_not_said_its_secrets() {
    let mut house = with_secret();
    let directory = Arc::new(Directory::new(Retention::default()));
    house.directory = Arc::clone(&directory);
    house.auth.directory = Some(directory);
    house.reload();
    let mut south = minted(&mut house, "192.0.2.1:4000", "south", LATER);
    park(&mut house, &mut south);
    let user = only(house.server.lookups());
    house.answer(&user, Answer::NoUser);
    let response = house.responses().remove(0).1;
    assert_eq!(response.code(), SERVER_ERROR, "its secret may be in a store");
    assert!(
        minted(&mut house, "192.0.2.1:4001", "north", LATER).allocate(&mut house.server).success()
    );
    learn(&house, &[(1, Some(&["south"]))]);
    let packet = south.build(Method::ALLOCATE, transport);
    assert!(house.server.ask(&south.client, &packet).success());
}

/// What each store says about the secrets.
fn learn(house: &House, said: &[(u64, Option<&[&str]>)]) -> bool {
    let list = |all: &[&str]| all.iter().map(|secret| Secret::new(*secret)).collect();
    let said = said.iter().map(|(store, secrets)| (*store, secrets.map(list))).collect();
    house.directory.learn_secrets(&realm(), said)
}

#[test]
fn a_secret_that_one_store_has_taken_out_is_gone_while_another_is_down() {
    let mut house = House::new(Retention::default());
    assert!(!learn(&house, &[(1, Some(&["north"])), (2, Some(&["south"]))]));
    let mut clients = ["north", "south"].map(|secret| {
        let address = format!("192.0.2.1:{}", 4000 + secret.len() + usize::from(secret < "o"));
        minted(&mut house, &address, secret, LATER)
    });
    for client in &mut clients {
        assert!(client.allocate(&mut house.server).success());
        assert!(client.refresh(&mut house.server, 0).success());
    }
    assert!(learn(&house, &[(1, Some(&["west"])), (2, None)]), "north is gone");
    let [north, south] = &mut clients;
    assert!(south.allocate(&mut house.server).success(), "the other's stays");
    park(&mut house, north);
    let user = only(house.server.lookups());
    house.answer(&user, Answer::NoUser);
    assert_eq!(house.responses().remove(0).1.code(), 401);
    // A store in another one's place knows nothing of what that one had.
    assert!(learn(&house, &[(1, None), (3, None)]), "south is gone");
    let packet = south.build(Method::REFRESH, |writer| writer.number(attribute::LIFETIME, 0));
    house.server.ask(&south.client, &packet);
    let packet = south.build(Method::ALLOCATE, transport);
    assert_eq!(house.server.ask(&south.client, &packet).code(), SERVER_ERROR, "it may be there");
}

#[test]
fn nobody_is_bid_down_by_what_a_store_knew_of_her_before() {
    let mut house = House::new(Retention::default());
    let client = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
    let mut alice = client.with(Style::SHA256);
    park(&mut house, &mut alice);
    let user = only(house.server.lookups());
    house.answer(&user, with_md5(&user, "wonder"));
    let lesser = house.responses().remove(0).1;
    alice.learn(&lesser);
    let mut alice = alice.with(Style::MD5);
    assert!(alice.allocate(&mut house.server).success());
    // Her key for SHA-256 has come: a nonce that offers less serves her no more, in her call neither.
    house.answer(&user, with_both(&user, "wonder"));
    let packet = alice.build(Method::REFRESH, |_| ());
    assert_eq!(house.server.ask(&alice.client, &packet).code(), STALE_NONCE);
    let mut second = TestClient::new("192.0.2.1:4000", "alice", "wonder");
    second.learn(&lesser);
    let packet = second.build(Method::ALLOCATE, transport);
    assert_eq!(house.server.ask(&second.client, &packet).code(), STALE_NONCE);
}

#[test]
fn nobody_is_locked_out_whose_better_key_is_gone() {
    let mut house = House::new(Retention::default());
    let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
    park(&mut house, &mut alice);
    let user = only(house.server.lookups());
    house.answer(&user, with_both(&user, "wonder"));
    assert!(house.responses().remove(0).1.success());
    // coturn's tool has written her anew.
    house.answer(&user, with_md5(&user, "wonder"));
    let mut second =
        challenged(&mut house, "192.0.2.1:4001", "alice", "wonder").with(Style::SHA256);
    let packet = second.build(Method::ALLOCATE, transport);
    let lesser = house.server.ask(&second.client, &packet);
    assert_eq!(lesser.code(), STALE_NONCE);
    second.learn(&lesser);
    let mut second = second.with(Style::MD5);
    let packet = second.build(Method::ALLOCATE, transport);
    assert!(house.server.ask(&second.client, &packet).success(), "at once, by that nonce");
}

#[test]
fn no_answer_tells_a_stranger_who_has_an_md5_key_only() {
    let mut house = House::new(Retention::default());
    house.turn.explain = false;
    house.reload();
    let mut seen = Vec::new();
    for (n, name) in ["alice", "carol", "dora", "bob"].into_iter().enumerate() {
        let address = format!("192.0.2.{}:4000", n + 1);
        let client = challenged(&mut house, &address, name, "guess");
        let mut client = client.with(Style::SHA256);
        let packet = client.build(Method::ALLOCATE, transport);
        let mut codes = Vec::new();
        let first = match house.server.receive(&client.client, &packet) {
            Verdict::Park => {
                let user = only(house.server.lookups());
                let answer = match name {
                    "alice" => with_md5(&user, "wonder"),
                    "carol" => with_both(&user, "singer"),
                    _ => Answer::NoUser,
                };
                house.answer(&user, answer);
                house.responses().remove(0).1
            }
            Verdict::Reply(reply) => house.server.reply(reply.length),
            other => panic!("{other:?}"),
        };
        codes.push((first.code(), first.has(attribute::PASSWORD_ALGORITHMS)));
        client.learn(&first);
        let mut client = client.with(Style::MD5);
        let packet = client.build(Method::ALLOCATE, transport);
        let second = house.server.ask(&client.client, &packet);
        codes.push((second.code(), second.has(attribute::PASSWORD_ALGORITHMS)));
        seen.push(codes);
    }
    assert!(seen.iter().all(|codes| *codes == seen[0]), "{seen:?}");
    assert_eq!(seen[0], [(STALE_NONCE, false), (401, true)]);
    assert_eq!(house.refused(Cause::Auth(DenialKind::WrongPassword)), 3);
    assert_eq!(house.refused(Cause::Auth(DenialKind::UnknownUser)), 1);
}

/// What somebody with SHA-256 is told who gives a wrong password, and whether SHA-256 is offered on.
fn told(house: &mut House, address: &str, name: &str) -> (u16, bool) {
    let mut client = challenged(house, address, name, "guess").with(Style::SHA256);
    let packet = client.build(Method::ALLOCATE, transport);
    let response = match house.server.receive(&client.client, &packet) {
        Verdict::Park => {
            let user = only(house.server.lookups());
            let is_there = name == "carol";
            let answer = if is_there { with_both(&user, "singer") } else { Answer::NoUser };
            house.answer(&user, answer);
            house.responses().remove(0).1
        }
        Verdict::Reply(reply) => house.server.reply(reply.length),
        other => panic!("{other:?}"),
    };
    (response.code(), response.has(attribute::PASSWORD_ALGORITHMS))
}

#[test]
fn whoever_is_wrong_is_told_so_at_once_where_everybody_can_use_sha256() {
    // RFC 8489 §9.2.4: 401, for a name that nobody has and for a wrong password.
    let mut house = with_secret();
    for (n, name) in ["carol", "dora", "bob", PAST, LATER].into_iter().enumerate() {
        let address = format!("192.0.2.{}:4000", n + 1);
        assert_eq!(told(&mut house, &address, name), (401, true), "{name}");
    }
    // A store that may have an MD5 key only of somebody has nobody told before MD5.
    house.directory.expect_only_md5(true);
    for (n, name) in ["carol", "dora", "bob", PAST, LATER].into_iter().enumerate() {
        let address = format!("192.0.2.{}:4001", n + 1);
        assert_eq!(told(&mut house, &address, name), (STALE_NONCE, false), "{name}");
    }
}

#[test]
fn who_has_an_md5_key_only_is_sent_on_even_where_nobody_was_expected_to() {
    let mut house = House::new(Retention::default());
    let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder").with(Style::SHA256);
    park(&mut house, &mut alice);
    let user = only(house.server.lookups());
    house.answer(&user, with_md5(&user, "wonder"));
    assert_eq!(house.responses().remove(0).1.code(), STALE_NONCE);
    // From then on nobody else is told apart from her.
    assert_eq!(told(&mut house, "192.0.2.2:4000", "dora"), (STALE_NONCE, false));
    house.directory.expect_only_md5(false);
    assert_eq!(told(&mut house, "192.0.2.3:4000", "alice"), (STALE_NONCE, false));
    assert_eq!(told(&mut house, "192.0.2.4:4000", "dora"), (401, true));
}
