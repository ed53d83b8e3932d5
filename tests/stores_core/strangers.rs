//! What strangers can make a server ask and keep.

use super::*;

#[test]
fn nobody_has_a_store_asked_from_an_address_that_is_not_proved() {
    let mut house = House::new(Retention::default());
    let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
    // The nonce of another address, one that is too old, one that was made up.
    let mut moved = alice.clone();
    moved.client.tuple.client = "192.0.2.66:4000".parse().unwrap();
    let mut forged = alice.clone();
    forged.nonce.as_mut().unwrap()[20] ^= 1;
    for client in [&mut moved, &mut forged] {
        let packet = client.build(Method::ALLOCATE, transport);
        assert_eq!(house.server.ask(&client.client, &packet).code(), STALE_NONCE);
    }
    house.server.advance(Duration::from_secs(3600));
    let packet = alice.build(Method::ALLOCATE, transport);
    let response = house.server.ask(&alice.client, &packet);
    assert_eq!(response.code(), STALE_NONCE);
    assert!(house.server.lookups().is_empty());
    // With the fresh nonce that has come with it, it is asked.
    alice.learn(&response);
    park(&mut house, &mut alice);
    assert_eq!(house.server.lookups().len(), 1);
}

#[test]
fn what_waits_is_bounded_for_one_address_and_for_all() {
    let mut house = House::new(Retention::default());
    let ask = |house: &mut House, address: String, name: String| {
        let mut client = challenged(house, &address, &name, "x");
        let packet = client.build(Method::ALLOCATE, transport);
        house.server.receive(&client.client, &packet)
    };
    let mut parked = 0;
    for n in 0..100 {
        let verdict = ask(&mut house, format!("192.0.2.1:{}", 4000 + n), format!("u{n}"));
        parked += usize::from(verdict == Verdict::Park);
    }
    assert_eq!((parked, house.dropped()), (64, 36));
    let mut last = Verdict::Park;
    for n in 0..600 {
        last = ask(&mut house, format!("198.51.{}.{}:7", n / 250, n % 250 + 1), format!("v{n}"));
    }
    assert_eq!(last, Verdict::Drop(Dropped::StoreWait));
    assert_eq!(house.waiting(), 512);
    // On a stream nobody asks again, so there it is said.
    let mut client = over(&mut house, Transport::Tcp, "203.0.113.9:1", "w", "x");
    let packet = client.build(Method::ALLOCATE, transport);
    assert_eq!(house.server.ask(&client.client, &packet).code(), SERVER_ERROR);
    // Known and configured users come in as ever.
    let mut bob = TestClient::new("203.0.113.10:1", "bob", "builder");
    assert!(bob.allocate(&mut house.server).success());
    // All that nobody answers is forgotten in time.
    house.server.advance(Duration::from_secs(30));
    assert_eq!(house.waiting(), 0);
    let stats = &house.server.stats;
    assert_eq!(stats.parked.get(), stats.unparked.get());
}

/// No store has failed then, and no log tells of one: it is said that too many wait.
#[test]
fn on_a_stream_it_is_said_that_there_is_no_room_to_wait() {
    let mut house = House::new(Retention::default());
    let come = |house: &mut House, n: u16| {
        let (address, name) = (format!("192.0.2.1:{}", 4000 + n), format!("u{n}"));
        over(house, Transport::Tcp, &address, &name, "x")
    };
    for n in 0..64 {
        let mut client = come(&mut house, n);
        park(&mut house, &mut client);
    }
    let mut late = come(&mut house, 64);
    let packet = late.build(Method::ALLOCATE, transport);
    let response = house.server.ask(&late.client, &packet);
    assert_eq!(response.code(), SERVER_ERROR);
    let reason = response.reason();
    assert!(reason.contains("u64") && reason.contains("too many"), "{reason}");
    assert_eq!(house.refused(Cause::Auth(auth::DenialKind::StoreDown)), 0);
    assert_eq!(house.refused(Cause::Auth(auth::DenialKind::NotAsked)), 1);
    assert_eq!(house.dropped(), 0, "it was answered");
    // As soon as there is room it waits like the others.
    let user = house.server.lookups().remove(0);
    house.answer(&user, Answer::NoUser);
    assert_eq!(house.responses()[0].1.code(), 401);
    park(&mut house, &mut late);
}

#[test]
fn strangers_who_guess_are_bounded_as_ever() {
    let mut house = House::new(Retention::default());
    house.turn.limits.unauthenticated_per_second = 10;
    house.reload();
    let (mut asked, mut limited) = (0, 0);
    for n in 0..200 {
        let mut client = TestClient::new(&format!("192.0.2.1:{}", 4000 + n), "u", "x");
        client.username = format!("u{n}");
        let packet = client.build(Method::ALLOCATE, transport);
        match house.server.receive(&client.client, &packet) {
            Verdict::Reply(reply) => client.learn(&house.server.reply(reply.length)),
            _ => {
                limited += 1;
                continue;
            }
        }
        let packet = client.build(Method::ALLOCATE, transport);
        asked += usize::from(house.server.receive(&client.client, &packet) == Verdict::Park);
    }
    assert!(asked <= 10 && limited > 150, "{asked} questions, {limited} dropped");
}

/// A peer knows its client's address, and may be able to forge it: a name that no store was asked about is no password, and
/// draws no more answers than another guess.
#[test]
fn who_forges_the_address_of_a_client_draws_no_flood_with_made_up_names() {
    let mut house = House::new(Retention::default());
    house.turn.limits.unauthenticated_per_second = 10;
    house.reload();
    let mut bob = TestClient::new("198.51.100.7:4000", "bob", "builder");
    assert!(bob.allocate(&mut house.server).success());
    let mut forger = bob.clone();
    (forger.nonce, forger.username) = (Some(b"forged".to_vec()), "mallory".to_owned());
    let mut answered = 0;
    for _ in 0..400 {
        let packet = forger.build(Method::REFRESH, |_| ());
        match house.server.receive(&bob.client, &packet) {
            Verdict::Reply(_) => answered += 1,
            Verdict::Drop(Dropped::RateLimited) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, 80);
    // Its own old nonce is answered all the same.
    house.server.advance(Duration::from_secs(3600));
    let packet = bob.build(Method::REFRESH, |_| ());
    assert_eq!(house.server.ask(&bob.client, &packet).code(), STALE_NONCE);
}

/// Nothing is known of who sends them, whether there is room for them to wait or not.
#[test]
fn questions_that_find_no_room_count_as_a_strangers_all_the_same() {
    let mut house = House::new(Retention::default());
    let mut clients: Vec<_> = (0..164)
        .map(|n| challenged(&mut house, &format!("192.0.2.1:{}", 4000 + n), &format!("u{n}"), "x"))
        .collect();
    let late = clients.split_off(64);
    clients.iter_mut().for_each(|client| drop(park(&mut house, client)));
    house.server.advance(Duration::from_secs(5));
    house.turn.limits.unauthenticated_per_second = 10;
    house.reload();
    for mut client in late {
        let packet = client.build(Method::ALLOCATE, transport);
        let verdict = house.server.receive(&client.client, &packet);
        let dropped = [Dropped::StoreWait, Dropped::RateLimited].map(Verdict::Drop);
        assert!(dropped.contains(&verdict), "{verdict:?}");
    }
    assert_eq!(house.dropped(), 20);
}
