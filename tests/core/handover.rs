//! What happens between workers while a mobile client comes from one to another.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{RELAYS, TestClient, auth_settings, channel_data, send_indication};
use crate::mobile::{self, Call, mobile_setup, server_with};
use turnwire::auth::{Authority, OnRevocation, Realms};
use turnwire::stun::{Kind, Method, TransactionId, Writer, attribute};
use turnwire::turn::{Dropped, EndReason, PeerPolicy, PeerRule, Transport};

#[test]
fn a_worker_that_takes_no_letters_moves_nothing() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let old = call.client.client;
        let mut new = TestClient::over(transport, "198.51.100.2:2000", "alice", "wonder");
        mobile::challenge(&mut workers, 1, &mut new);
        workers.deaf = true;
        let packet = new.build(Method::REFRESH, mobile::with_ticket(&call.ticket));
        assert_eq!(workers.ask(1, &new, &packet).code(), 508);
        assert!(call.relays(&mut workers, 0, &old));
        workers.deaf = false;
        call.move_to(&mut workers, 1, &mut new);
        // A guest that nobody can be asked for has no allocation of its own either.
        if transport == Transport::Udp {
            workers.deaf = true;
            let allocate = new.build(Method::ALLOCATE, mobile::allocate(None));
            assert_eq!(workers.ask(1, &new, &allocate).code(), 508);
            assert!(!call.relays(&mut workers, 1, &new.client));
            workers.deaf = false;
            workers.advance(Duration::from_millis(150));
        }
        assert!(call.relays(&mut workers, 1, &new.client));
    }
}

#[test]
fn data_that_comes_while_the_allocation_is_under_way_waits_for_it() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    for number in 0..5_u8 {
        workers.arrive(1, &new.client, &channel_data(0x4000, &[number]));
    }
    assert!(workers.to_peers.is_empty());
    workers.settle();
    let order: Vec<_> = workers.to_peers.iter().map(|it| it.data[0]).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
    let dropped: u64 = workers.servers.iter().flat_map(|s| &s.stats.dropped).map(|c| c.get()).sum();
    assert_eq!(dropped, 0);
}

/// A client need not wait for its data to arrive before it asks for more.
#[test]
fn requests_right_behind_the_first_data_wait_as_well() {
    for data in [1, 3] {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let mut new = call.client.sibling("198.51.100.2:2000");
        call.move_to(&mut workers, 1, &mut new);
        (0..data).for_each(|_| workers.arrive(1, &new.client, &channel_data(0x4000, b"data")));
        let bind = new.build(Method::CHANNEL_BIND, mobile::bind(0x4001, 1));
        workers.arrive(1, &new.client, &bind);
        workers.arrive(1, &new.client, &channel_data(0x4001, b"to the other"));
        workers.settle();
        let answers: Vec<_> = workers.answers.drain(..).map(|(_, it)| it.code()).collect();
        assert_eq!(answers, [0]);
        assert_eq!(workers.to_peers.len(), data + 1, "the last needs the channel");
        assert_eq!(workers.moves.len(), 1);
    }
}

/// The holder is slow: what is sent there once more finds nothing, and the word of that comes after
/// the allocation.
#[test]
fn an_allocation_that_has_come_is_not_idle_because_it_is_gone_from_where_it_was() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = TestClient::over(Transport::Dtls, "198.51.100.2:2000", "alice", "wonder");
    call.move_to(&mut workers, 1, &mut new);
    workers.arrive(1, &new.client, &channel_data(0x4000, b"data"));
    for server in &mut workers.servers {
        server.advance(Duration::from_millis(150));
    }
    workers.arrive(1, &new.client, &channel_data(0x4000, b"data"));
    let bind = new.build(Method::CHANNEL_BIND, mobile::bind(0x4001, 1));
    workers.arrive(1, &new.client, &bind);
    workers.settle();
    assert!(workers.idle.iter().all(|(worker, it)| (*worker, it.tuple) != (1, new.client.tuple)));
    assert_eq!(workers.answers.drain(..).map(|(_, it)| it.code()).collect::<Vec<_>>(), [0]);
    assert!(call.relays(&mut workers, 1, &new.client));
}

/// What a guest may do where its allocation is not.
#[test]
fn a_guest_is_no_stranger_and_no_client_of_its_own() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    let answer = workers.request(1, &mut new, Method::ALLOCATE, mobile::allocate(None));
    assert_eq!(answer.code(), 437);
    let binding = new.build(Method::BINDING, |_| ());
    assert_eq!(workers.ask(1, &new, &binding).mapped(), Some(new.client.tuple.client));
    // The allocation ends, and the guest is one no more.
    let answer = workers.request(0, &mut call.client, Method::REFRESH, mobile::lifetime(0));
    assert_eq!(answer.code(), 0);
    workers.settle();
    let answer = workers.request(1, &mut new, Method::ALLOCATE, mobile::allocate(None));
    assert_eq!(answer.code(), 0);
}

/// The client goes on as before where it was, and comes to the new place when it likes.
#[test]
fn a_guest_stays_as_long_as_its_allocation_is_refreshed() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    for _ in 0..5 {
        workers.advance(Duration::from_secs(290));
        let refresh = mobile::lifetime(600);
        assert!(workers.request(0, &mut call.client, Method::REFRESH, refresh).success());
        let bind = mobile::bind(0x4000, 0);
        assert!(workers.request(0, &mut call.client, Method::CHANNEL_BIND, bind).success());
    }
    assert!(workers.idle.is_empty());
    assert!(call.relays(&mut workers, 1, &new.client));
    assert_eq!(call.delivered(&mut workers), Ok((1, new.client.tuple)));
    // A shorter life is one as well.
    let mut newer = call.client.sibling("198.51.100.3:3000");
    call.move_to(&mut workers, 0, &mut newer);
    assert!(workers.request(1, &mut new, Method::REFRESH, mobile::lifetime(0)).success());
    assert_eq!(workers.request(0, &mut newer, Method::REFRESH, |_| ()).code(), 437);
}

/// The word that the allocation is gone found no room in a mailbox.
#[test]
fn a_guest_whose_allocation_would_have_ended_is_none_any_more() {
    for asks in [true, false] {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let mut new = TestClient::over(Transport::Dtls, "198.51.100.2:2000", "alice", "wonder");
        call.move_to(&mut workers, 1, &mut new);
        workers.deaf = true;
        let answer = workers.request(0, &mut call.client, Method::REFRESH, mobile::lifetime(0));
        assert_eq!(answer.code(), 0);
        workers.deaf = false;
        let guest = &mut workers.servers[1];
        assert!(guest.server.has_allocation(guest.now, &new.client.tuple), "as far as it knows");
        if asks {
            // Its deadline has not been worked off yet.
            guest.now.mono = guest.now.mono + Duration::from_secs(601);
            assert!(!guest.server.has_allocation(guest.now, &new.client.tuple));
            let answer = workers.request(1, &mut new, Method::ALLOCATE, mobile::allocate(None));
            assert_eq!(answer.code(), 0);
            assert_eq!(workers.idle, [(1, new.client)]);
            workers.servers[1].expire();
        } else {
            workers.advance(Duration::from_secs(601));
        }
        assert_eq!(workers.idle, [(1, new.client)], "once");
    }
}

/// A request that was sent on and finds its allocation gone begins nothing there.
#[test]
fn an_allocation_that_ends_while_a_letter_is_under_way_is_gone() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    let allocate = new.build(Method::ALLOCATE, mobile::allocate(None));
    workers.arrive(1, &new.client, &allocate);
    let delete = call.client.build(Method::REFRESH, mobile::lifetime(0));
    workers.arrive(0, &call.client.client, &delete);
    workers.settle();
    assert_eq!(workers.answers.pop().map(|(_, answer)| answer.code()), Some(0));
    assert!(workers.answers.is_empty());
    assert_eq!(workers.allocations(), 0);
    // Asked again, it is answered where the client is.
    assert_eq!(workers.ask(1, &new, &allocate).code(), 0);
}

/// Strangers that have seen a ticket trouble no worker.
#[test]
fn a_flood_with_a_ticket_stays_where_it_is() {
    let mut setup = mobile_setup();
    setup.turn.limits.unauthenticated_per_second = 20;
    let mut workers = server_with(setup);
    let call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut stranger = TestClient::new("198.51.100.66:6", "alice", "wrong");
    let packet = stranger.build(Method::REFRESH, mobile::with_ticket(&call.ticket));
    for _ in 0..100 {
        workers.arrive(1, &stranger.client, &packet);
    }
    assert_eq!((workers.letters(), workers.answers.len()), (0, 40));
    workers.advance(Duration::from_secs(5));
    stranger.learn(&workers.answers[0].1);
    let packet = stranger.build(Method::REFRESH, mobile::with_ticket(&call.ticket));
    for _ in 0..100 {
        workers.arrive(1, &stranger.client, &packet);
    }
    assert_eq!(workers.letters(), 40);
}

/// The ticket's allocation is on its way to the very worker at which the Refresh has arrived.
#[test]
fn a_refresh_that_crosses_its_allocation_is_answered_where_it_began() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    let mut newer = call.client.sibling("198.51.100.3:3000");
    mobile::challenge(&mut workers, 1, &mut newer);
    let refresh = newer.build(Method::REFRESH, mobile::with_ticket(&call.ticket));
    // Both letters are for worker 0: the data, which sends the allocation away, and the Refresh.
    workers.arrive(1, &new.client, &channel_data(0x4000, b"data"));
    workers.arrive(1, &newer.client, &refresh);
    assert_eq!(workers.letters(), 2);
    workers.settle();
    let (to, answer) = workers.answers.pop().expect("an answer");
    assert_eq!((to.tuple, answer.code()), (newer.client.tuple, 0));
    call.take_ticket(&answer);
    assert!(call.relays(&mut workers, 1, &new.client));
    assert!(call.relays(&mut workers, 1, &newer.client));
    assert!(!call.relays(&mut workers, 1, &new.client));
}

/// While the answer for one is under way, its 5-tuple becomes another one's.
#[test]
fn a_guest_that_finds_its_place_taken_goes() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    mobile::challenge(&mut workers, 1, &mut new);
    let refresh = new.build(Method::REFRESH, mobile::with_ticket(&call.ticket));
    let allocate = new.build(Method::ALLOCATE, mobile::allocate(None));
    workers.arrive(1, &new.client, &refresh);
    workers.arrive(1, &new.client, &allocate);
    workers.settle();
    let codes: Vec<_> = workers.answers.drain(..).map(|(_, answer)| answer.code()).collect();
    assert_eq!(codes, [0], "the allocation's, and no other");
    assert_eq!(workers.allocations(), 2);
    let old = call.client.client;
    assert!(call.relays(&mut workers, 0, &old));
    assert!(!call.relays(&mut workers, 1, &new.client));
    // What was lost is told again, and the call can move on.
    let answer = workers.request(0, &mut call.client, Method::REFRESH, |_| ());
    call.take_ticket(&answer);
    let mut newer = call.client.sibling("198.51.100.3:3000");
    call.move_to(&mut workers, 1, &mut newer);
    assert!(call.relays(&mut workers, 1, &newer.client));
}

/// A mailbox without room when the allocation should go: its client waits, and nothing is lost
/// but what peers send meanwhile.
#[test]
fn an_allocation_that_cannot_go_yet_goes_later() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    workers.arrive(1, &new.client, &channel_data(0x4000, b"first"));
    workers.deaf = true;
    workers.settle();
    assert_eq!(workers.to_peers.pop().map(|relayed| relayed.data), Some(b"first".to_vec()));
    assert_eq!(workers.servers[0].server.allocations(), 1);
    assert_eq!(call.delivered(&mut workers), Err(Dropped::Away));
    workers.deaf = false;
    workers.follow_again();
    assert_eq!(call.delivered(&mut workers), Ok((1, new.client.tuple)));
    assert!(call.relays(&mut workers, 1, &new.client));
}

/// What is no data for a peer proves nothing: a forged packet of four bytes does not cut the old way.
#[test]
fn what_is_not_relayed_moves_nobody() {
    for to in [0, 1] {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let old = call.client.client;
        let mut new = call.client.sibling("198.51.100.2:2000");
        call.move_to(&mut workers, to, &mut new);
        let nobody = "9.9.9.66:1".parse().expect("an address");
        for packet in [channel_data(0x4FFF, b""), send_indication(nobody, b"data")] {
            workers.send(to, &new.client, &packet);
            assert_eq!((workers.moves.len(), workers.to_peers.len()), (0, 0));
            assert_eq!(call.delivered(&mut workers), Ok((0, old.tuple)));
        }
        // Good data behind bad ones.
        let other = [channel_data(0x4FFF, b""), send_indication(nobody, b"")];
        for packet in other.iter().chain([&channel_data(0x4000, b"data")]) {
            workers.arrive(to, &new.client, packet);
        }
        workers.settle();
        assert_eq!((workers.moves.len(), workers.to_peers.len()), (1, 1));
        assert_eq!(call.delivered(&mut workers), Ok((to, new.client.tuple)));
    }
}

/// Nobody is sent what cannot be read, and nothing waits for what came of it.
#[test]
fn malformed_data_of_a_guest_stay_where_they_are() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    let mut without_peer = [0; 32];
    let kind = Kind::indication(Method::SEND);
    let mut writer = Writer::new(&mut without_peer, kind, &TransactionId::new([7; 12]));
    writer.attribute(attribute::DATA, b"data");
    let length = writer.finish().expect("it fits");
    for _ in 0..100 {
        workers.arrive(1, &new.client, &without_peer[..length]);
    }
    assert_eq!(workers.letters(), 0);
    assert_eq!(workers.servers[1].stats.dropped[Dropped::Malformed as usize].get(), 100);
    assert!(call.relays(&mut workers, 1, &new.client));
}

/// Its new worker goes by the new settings already, and its old one has let it go before they came.
#[test]
fn settings_that_change_on_the_way_are_those_that_it_arrives_under() {
    for denied in [false, true] {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let mut new = call.client.sibling("198.51.100.2:2000");
        call.move_to(&mut workers, 1, &mut new);
        workers.arrive(1, &new.client, &channel_data(0x4000, b"follow me"));
        while workers.arrivals() == 0 {
            assert!(workers.read_one(0));
        }
        let mut settings = mobile_setup().turn;
        let rule = PeerRule { prefix: "9.9.9.9/32".parse().unwrap(), allow: !denied };
        settings.peers = PeerPolicy::new(vec![rule], RELAYS.to_vec(), settings.ports, Vec::new());
        let (settings, root) = (Arc::new(settings), [7; 16]);
        let authority =
            Arc::new(Realms::single(Authority::new(auth_settings(), root).expect("credentials")));
        for server in &mut workers.servers {
            let (now, sockets) = (server.now, &mut server.sockets);
            server.server.reconfigure(now, &settings, &authority, sockets, &server.stats);
        }
        workers.settle();
        assert_eq!(workers.servers[1].server.allocations(), 1);
        assert_eq!(call.relays(&mut workers, 1, &new.client), !denied);
    }
}

/// Nobody else would end it: its new worker has looked at all that it had before it came.
#[test]
fn a_credential_that_is_revoked_on_the_way_ends_it_where_it_arrives() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    workers.arrive(1, &new.client, &channel_data(0x4000, b"follow me"));
    while workers.arrivals() == 0 {
        assert!(workers.read_one(0));
    }
    let settings = Arc::new(mobile_setup().turn);
    let mut auth = auth_settings();
    auth.on_revocation = OnRevocation::End;
    auth.users.retain(|user| user.name != "alice");
    let authority = Arc::new(Realms::single(Authority::new(auth, [7; 16]).expect("credentials")));
    for server in &mut workers.servers {
        let (now, sockets) = (server.now, &mut server.sockets);
        server.server.reconfigure(now, &settings, &authority, sockets, &server.stats);
    }
    workers.settle();
    assert_eq!(workers.ended.len(), 1);
    assert_eq!(workers.ended[0].reason, EndReason::CredentialRevoked);
    assert_eq!(workers.allocations(), 0);
    assert_eq!(workers.servers[1].sockets.host.open(), 0);
}
