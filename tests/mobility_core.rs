//! Mobility (RFC 8016) without sockets: clients that take their allocations along to another
//! address, within one worker and between several.

mod core;
#[path = "core/handover.rs"]
mod handover;
#[path = "core/mobile.rs"]
mod mobile;

use std::net::SocketAddr;
use std::time::Duration;

use crate::core::{Relayed, Setup, TestClient, Workers, channel_data, send_indication};
use crate::mobile::{Call, PEER, mobile_setup, server_with};
use turnwire::auth::{OnExpiry, RestDigest, Secret, mint_password};
use turnwire::stun::{Method, attribute};
use turnwire::turn::{Dropped, EndReason, FiveTuple, SessionId, Transport};

/// Where the Refresh arrives, when the allocation is at worker 0.
const BOTH: [usize; 2] = [0, 1];

/// RFC 8016 §3.1.2
#[test]
fn an_allocate_that_asks_for_a_ticket_gets_one() {
    let mut workers = server_with(mobile_setup());
    let mut alice = TestClient::new("198.51.100.1:1000", "alice", "wonder");
    let fill = |ticket: Option<&'static [u8]>| mobile::allocate(ticket);
    let answer = workers.request(0, &mut alice, Method::ALLOCATE, fill(Some(b"x")));
    assert_eq!(answer.code(), 400);
    let id = alice.new_id();
    let packet = alice.build_with(&id, Method::ALLOCATE, fill(Some(b"")));
    let answer = workers.ask(0, &alice, &packet);
    assert_eq!(answer.code(), 0);
    let ticket = answer.get(attribute::MOBILITY_TICKET).expect("a ticket").to_vec();
    // coturn's client takes no longer one, and only text.
    assert!(ticket.len() <= 32 && ticket.iter().all(u8::is_ascii_graphic));
    // RFC 8656 §7.2: a retransmission is answered the same.
    assert_eq!(workers.ask(0, &alice, &packet), answer);
    // Who does not ask gets none, and cannot move.
    let mut plain = alice.sibling("198.51.100.1:1001");
    let answer = workers.request(0, &mut plain, Method::ALLOCATE, fill(None));
    assert!(answer.success() && !answer.has(attribute::MOBILITY_TICKET));
    let refreshed = workers.request(0, &mut plain, Method::REFRESH, |_| ());
    assert!(refreshed.success() && !refreshed.has(attribute::MOBILITY_TICKET));
}

/// RFC 8016 §3.1.2, §3.2.2
#[test]
fn where_mobility_is_off_it_is_forbidden() {
    let mut workers = server_with(Setup::default());
    let mut alice = TestClient::new("198.51.100.1:1000", "alice", "wonder");
    let answer = workers.request(0, &mut alice, Method::ALLOCATE, mobile::allocate(Some(b"")));
    assert_eq!(answer.code(), 405);
    let answer = workers.request(0, &mut alice, Method::ALLOCATE, mobile::allocate(None));
    assert!(answer.success());
    let mut moved = alice.sibling("198.51.100.2:1000");
    let answer = workers.request(0, &mut moved, Method::REFRESH, mobile::with_ticket(&[b'A'; 32]));
    assert_eq!(answer.code(), 405);
}

/// RFC 8016 §3.2.2: both 5-tuples until the client sends data on the new one.
#[test]
fn a_move_is_made_before_the_old_way_breaks() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let (old, relay) = (call.client.client, call.relay);
        let ports = workers.servers[0].ports();
        let mut new = call.client.sibling("198.51.100.2:2000");
        call.move_to(&mut workers, to, &mut new);
        // The old way works, both directions, and what peers send goes there.
        assert!(call.relays(&mut workers, 0, &old));
        assert_eq!(call.delivered(&mut workers), Ok((0, old.tuple)));
        // Requests on the new one are served already.
        let bound = workers.request(to, &mut new, Method::CHANNEL_BIND, mobile::bind(0x4001, 1));
        assert_eq!(bound.code(), 0);
        let permitted = workers.request(to, &mut new, Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, "9.9.9.77:1".parse().expect("it"));
        });
        assert_eq!(permitted.code(), 0);
        assert_eq!(call.delivered(&mut workers), Ok((0, old.tuple)));
        assert!(workers.moves.is_empty());
        // Data on the new one: it is the only one from now on, with all that there was.
        assert!(call.relays(&mut workers, to, &new.client));
        assert_eq!(workers.moves.len(), 1);
        assert_eq!(call.delivered(&mut workers), Ok((to, new.client.tuple)));
        assert!(!call.relays(&mut workers, 0, &old));
        let other: SocketAddr = "9.9.9.77:1".parse().expect("it");
        for (packet, peer) in [
            (channel_data(0x4001, b"more"), mobile::peer(1)),
            (send_indication(other, b"more"), other),
        ] {
            workers.send(to, &new.client, &packet);
            let relayed = Relayed { from: relay, to: peer, data: b"more".to_vec() };
            assert_eq!(workers.to_peers.pop(), Some(relayed));
        }
        // Ports and quotas are what they were; the allocation is at its client's worker.
        assert_eq!(workers.servers[0].ports(), ports);
        assert_eq!(workers.servers[0].ledger.allocations(), 1);
        assert_eq!(workers.servers[to].server.allocations(), 1);
        assert_eq!(workers.allocations(), 1);
        let deleted = workers.request(to, &mut new, Method::REFRESH, mobile::lifetime(0));
        assert_eq!(deleted.code(), 0);
        let session = workers.ended.pop().expect("it has ended");
        assert_eq!((session.client, session.earlier), (new.client.tuple, vec![old.tuple]));
        assert_eq!((session.traffic.to_peer_packets, session.traffic.to_client_packets), (4, 3));
        workers.servers.iter().for_each(|server| server.assert_empty());
    }
}

/// RFC 8016 §3.2.2: "To accommodate the potential loss of Refresh responses".
#[test]
fn a_retransmitted_refresh_gets_the_same_answer() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let mut new = call.client.sibling("198.51.100.2:2000");
        mobile::challenge(&mut workers, to, &mut new);
        let packet = new.build(Method::REFRESH, mobile::with_ticket(&call.ticket));
        let answer = workers.ask(to, &new, &packet);
        assert_eq!(answer.code(), 0);
        assert_eq!(workers.ask(to, &new, &packet), answer);
        call.ticket = answer.get(attribute::MOBILITY_TICKET).expect("a new one").to_vec();
        workers.advance(Duration::from_secs(25));
        assert!(call.relays(&mut workers, to, &new.client));
        assert_eq!(workers.ask(to, &new, &packet), answer);
        assert_eq!(workers.moves.len(), 1);
        // The ticket in it is the one that is good.
        let mut newer = new.sibling("198.51.100.3:3000");
        call.move_to(&mut workers, 0, &mut newer);
        assert_eq!(workers.ask(to, &new, &packet).code(), 400);
    }
}

/// RFC 8016 §3.2.2, each of the refusals.
#[test]
fn tickets_that_are_not_good_are_refused() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let first = call.ticket.clone();
        let mut thief = call.client.sibling("198.51.100.66:6");
        let mut forged = first.clone();
        forged[7] ^= 1;
        let garbage = [0xFF; 32];
        for ticket in [&first[..31], &forged, &garbage, b"", &[first.clone(), vec![b'A']].concat()]
        {
            let answer =
                workers.request(to, &mut thief, Method::REFRESH, mobile::with_ticket(ticket));
            assert_eq!(answer.code(), 400, "{ticket:?}");
        }
        // From the 5-tuple that the allocation has.
        let answer =
            workers.request(0, &mut call.client, Method::REFRESH, mobile::with_ticket(&first));
        assert_eq!(answer.code(), 400);
        // Another user's.
        let mut bob = TestClient::new("198.51.100.67:6", "bob", "builder");
        let answer = workers.request(to, &mut bob, Method::REFRESH, mobile::with_ticket(&first));
        assert_eq!(answer.code(), 441);
        // Without credentials, or with wrong ones.
        let mut stranger = TestClient::new("198.51.100.68:6", "alice", "wrong");
        let answer =
            workers.request(to, &mut stranger, Method::REFRESH, mobile::with_ticket(&first));
        assert_eq!(answer.code(), 401);
        // From a 5-tuple with an allocation of its own.
        let mut second = Call::begin_at(&mut workers, to, "198.51.100.69:6");
        let answer =
            workers.request(to, &mut second.client, Method::REFRESH, mobile::with_ticket(&first));
        assert_eq!(answer.code(), 437);
        // None of them has moved it.
        assert!(workers.moves.is_empty());
        assert!(call.relays(&mut workers, 0, &call.client.client.clone()));
        // Used, with a new transaction: from where it was used, and from elsewhere.
        let mut new = call.client.sibling("198.51.100.2:2000");
        call.move_to(&mut workers, to, &mut new);
        for from in [&mut new, &mut thief] {
            let answer = workers.request(to, from, Method::REFRESH, mobile::with_ticket(&first));
            assert_eq!(answer.code(), 400);
        }
        // Of an allocation that has ended.
        let answer = workers.request(to, &mut new, Method::REFRESH, mobile::lifetime(0));
        assert_eq!(answer.code(), 0);
        let answer =
            workers.request(to, &mut thief, Method::REFRESH, mobile::with_ticket(&call.ticket));
        assert_eq!(answer.code(), 437);
        // Of another process.
        let mut setup = mobile_setup();
        setup.seed = 99;
        let mut others = server_with(setup);
        Call::begin(&mut others, "198.51.100.1:1000");
        let mut new = call.client.sibling("198.51.100.2:2000");
        let answer = others.request(to, &mut new, Method::REFRESH, mobile::with_ticket(&first));
        assert_eq!(answer.code(), 400);
    }
}

#[test]
fn a_plain_refresh_tells_the_ticket_again() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let mut new = call.client.sibling("198.51.100.2:2000");
        let before = call.ticket.clone();
        call.move_to(&mut workers, to, &mut new);
        assert_ne!(call.ticket, before);
        // A client that has lost the response is told 400, and refreshes without a ticket.
        let answer = workers.request(to, &mut new, Method::REFRESH, |_| ());
        assert_eq!(answer.get(attribute::MOBILITY_TICKET), Some(&call.ticket[..]));
        let mut newer = new.sibling("198.51.100.3:3000");
        call.move_to(&mut workers, to, &mut newer);
    }
}

/// A client that moves on before it has sent anything.
#[test]
fn of_several_moves_the_last_one_counts() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let old = call.client.client;
        let mut passed = call.client.sibling("198.51.100.2:2000");
        let mut new = call.client.sibling("198.51.100.3:3000");
        call.move_to(&mut workers, to, &mut passed);
        call.move_to(&mut workers, 1 - to, &mut new);
        assert!(!call.relays(&mut workers, to, &passed.client));
        assert!(call.relays(&mut workers, 0, &old));
        assert!(call.relays(&mut workers, 1 - to, &new.client));
        assert_eq!(call.delivered(&mut workers), Ok((1 - to, new.client.tuple)));
        // The one that was passed may have an allocation of its own now.
        let answer = workers.request(to, &mut passed, Method::ALLOCATE, mobile::allocate(None));
        assert_eq!(answer.code(), 0);
        assert_eq!(workers.allocations(), 2);
    }
}

/// RFC 8016 §2, "break before make", and §3.2.2: a connection's end closes the old way.
#[test]
fn a_connection_that_closes_waits_for_its_client() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let old = TestClient::over(Transport::Tcp, "198.51.100.1:1000", "alice", "wonder");
        let mut call = Call::begin_as(&mut workers, 0, old);
        let old = call.client.client;
        workers.disconnected(0, &old);
        assert_eq!((workers.allocations(), workers.ended.len()), (1, 0));
        assert_eq!(call.delivered(&mut workers), Err(Dropped::Away));
        let mut new = TestClient::new("198.51.100.2:2000", "alice", "wonder");
        call.move_to(&mut workers, to, &mut new);
        // Nothing is waited for: there is no other way.
        assert_eq!(call.delivered(&mut workers), Ok((to, new.client.tuple)));
        assert!(call.relays(&mut workers, to, &new.client));
        // And back to a stream, whose connection is handed over.
        let mut stream = TestClient::over(Transport::Tcp, "198.51.100.3:3000", "alice", "wonder");
        call.move_to(&mut workers, 0, &mut stream);
        assert!(call.relays(&mut workers, to, &new.client));
        assert!(call.relays(&mut workers, 0, &stream.client));
        assert_eq!(call.delivered(&mut workers), Ok((to, stream.client.tuple)));
        workers.disconnected(0, &stream.client);
        // Nobody comes back: it ends with its lifetime.
        workers.advance(Duration::from_secs(601));
        assert_eq!(workers.ended.pop().map(|it| it.reason), Some(EndReason::Expired));
        workers.servers.iter().for_each(|server| server.assert_empty());
    }
}

#[test]
fn when_the_old_connection_closes_the_new_way_takes_over() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let old = TestClient::over(Transport::Tcp, "198.51.100.1:1000", "alice", "wonder");
        let mut call = Call::begin_as(&mut workers, 0, old);
        let old = call.client.client;
        let mut new = TestClient::new("198.51.100.2:2000", "alice", "wonder");
        call.move_to(&mut workers, to, &mut new);
        assert_eq!(call.delivered(&mut workers), Ok((0, old.tuple)));
        workers.disconnected(0, &old);
        workers.settle();
        assert_eq!(call.delivered(&mut workers), Ok((to, new.client.tuple)));
        assert_eq!(workers.moves.len(), 1);
    }
}

#[test]
fn a_new_connection_that_closes_changes_nothing() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
        let mut new = TestClient::over(Transport::Tcp, "198.51.100.2:2000", "alice", "wonder");
        call.move_to(&mut workers, to, &mut new);
        workers.disconnected(to, &new.client);
        let old = call.client.client;
        assert!(call.relays(&mut workers, 0, &old));
        assert_eq!(call.delivered(&mut workers), Ok((0, old.tuple)));
        let mut newer = new.sibling("198.51.100.3:3000");
        call.move_to(&mut workers, to, &mut newer);
        assert!(call.relays(&mut workers, to, &newer.client));
    }
}

/// Both families, an even port with a reservation, a family refreshed by itself, a deletion.
#[test]
fn the_whole_allocation_moves() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let alice = TestClient::new("198.51.100.1:1000", "alice", "wonder");
        let mut call = Call::begin_with(&mut workers, 0, alice, |writer| {
            writer.number(attribute::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
        });
        let mut even =
            Call::begin_with(&mut workers, 0, call.client.sibling("198.51.100.1:1001"), |writer| {
                writer.attribute(attribute::EVEN_PORT, &[0x80])
            });
        let sockets = workers.servers[0].sockets.host.open();
        let mut new = call.client.sibling("198.51.100.2:2000");
        call.move_to(&mut workers, to, &mut new);
        assert!(call.relays(&mut workers, to, &new.client));
        assert_eq!(workers.servers[0].sockets.host.open(), sockets);
        // RFC 8656 §8.2: one family of two.
        let mut newer = call.client.sibling("198.51.100.3:2000");
        let family = |ticket: &[u8], lifetime: u32| {
            let ticket = ticket.to_vec();
            move |writer: &mut turnwire::stun::Writer<'_>| {
                writer.number(attribute::LIFETIME, lifetime);
                writer.number(attribute::REQUESTED_ADDRESS_FAMILY, 2 << 24);
                writer.attribute(attribute::MOBILITY_TICKET, &ticket);
            }
        };
        let answer = workers.request(0, &mut newer, Method::REFRESH, family(&call.ticket, 0));
        assert_eq!((answer.code(), answer.lifetime()), (0, Some(0)));
        call.take_ticket(&answer);
        assert_eq!(workers.servers[0].sockets.host.open(), sockets - 1);
        assert!(call.relays(&mut workers, 0, &newer.client));
        // A family that it has not: nothing happens, and the ticket stays good.
        let mut newest = call.client.sibling("198.51.100.4:2000");
        let answer = workers.request(to, &mut newest, Method::REFRESH, family(&call.ticket, 600));
        assert_eq!(answer.code(), 443);
        let answer = workers.request(to, &mut newest, Method::REFRESH, |writer| {
            writer.number(attribute::LIFETIME, 0);
            writer.attribute(attribute::MOBILITY_TICKET, &call.ticket);
        });
        assert_eq!((answer.code(), answer.has(attribute::MOBILITY_TICKET)), (0, false));
        assert_eq!(workers.ended.len(), 1);
        // The reservation is the user's wherever it is.
        let mut moved = even.client.sibling("198.51.100.5:2000");
        even.move_to(&mut workers, to, &mut moved);
        assert!(even.relays(&mut workers, to, &moved.client));
        let token = even.answer.token().expect("a reservation");
        let mut next = even.client.sibling("198.51.100.5:2001");
        let answer = workers.request(to, &mut next, Method::ALLOCATE, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
            writer.attribute(attribute::RESERVATION_TOKEN, &token);
        });
        assert_eq!(answer.relayed()[0].port(), even.answer.relayed()[0].port() + 1);
    }
}

/// Whatever address an allocation goes to, it counts where it was made: neither is a quota got
/// around by moving away, nor does somebody else's move use one up.
#[test]
fn quotas_stay_what_they_are() {
    let mut setup = mobile_setup();
    setup.turn.limits.allocations_per_address = 1;
    setup.turn.limits.allocations_per_user = 2;
    let mut workers = server_with(setup);
    let allocate = |workers: &mut Workers, from: &str| {
        let mut client = TestClient::new(from, "alice", "wonder");
        workers.request(0, &mut client, Method::ALLOCATE, mobile::allocate(None)).code()
    };
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut new = call.client.sibling("198.51.100.2:2000");
    call.move_to(&mut workers, 1, &mut new);
    assert!(call.relays(&mut workers, 1, &new.client));
    assert_eq!(allocate(&mut workers, "198.51.100.1:1001"), 486);
    assert_eq!(allocate(&mut workers, "198.51.100.2:2001"), 0);
    assert_eq!(allocate(&mut workers, "198.51.100.3:2001"), 486);
    let answer = workers.request(1, &mut new, Method::REFRESH, mobile::lifetime(0));
    assert_eq!(answer.code(), 0);
    assert_eq!(allocate(&mut workers, "198.51.100.1:1001"), 0);
}

/// No call is cut because it is long (`on_expiry = "keep"`), and none because it moves: the
/// allocation's worker knows its key, whatever has become of the credential.
#[test]
fn an_expired_credential_moves_as_it_stays() {
    for (to, policy) in
        BOTH.into_iter().flat_map(|to| [(to, OnExpiry::Keep), (to, OnExpiry::Refuse)])
    {
        let mut setup = mobile_setup();
        setup.auth.secrets = vec![Secret::new("north")];
        setup.auth.on_expiry = policy;
        let mut workers = server_with(setup);
        let user = format!("{}:carol", crate::core::START.unix + 60);
        let password = mint_password(RestDigest::Sha1, &Secret::new("north"), &user);
        let carol = TestClient::new("198.51.100.1:1000", &user, &password);
        let mut call = Call::begin_as(&mut workers, 0, carol);
        workers.advance(Duration::from_secs(120));
        let mut new = call.client.sibling("198.51.100.2:2000");
        let answer =
            workers.request(to, &mut new, Method::REFRESH, mobile::with_ticket(&call.ticket));
        let expected = if policy == OnExpiry::Keep { 0 } else { 401 };
        assert_eq!(answer.code(), expected);
        call.take_ticket(&answer);
        let client = if expected == 0 { (to, new.client) } else { (0, call.client.client) };
        assert!(call.relays(&mut workers, client.0, &client.1));
    }
}

/// A client may come with the nonce of its old address.
#[test]
fn the_old_addresss_nonce_is_stale_at_the_new_one() {
    for to in BOTH {
        let mut workers = server_with(mobile_setup());
        let call = Call::begin(&mut workers, "198.51.100.1:1000");
        let mut new = call.client.sibling("198.51.100.2:2000");
        (new.realm, new.nonce) = (call.client.realm.clone(), call.client.nonce.clone());
        let packet = new.build(Method::REFRESH, mobile::with_ticket(&call.ticket));
        let answer = workers.ask(to, &new, &packet);
        assert_eq!(answer.code(), 438);
        new.learn(&answer);
        let packet = new.build(Method::REFRESH, mobile::with_ticket(&call.ticket));
        assert_eq!(workers.ask(to, &new, &packet).code(), 0);
    }
}

/// The record of a session remembers where it began and where it was last.
#[test]
fn a_session_remembers_some_of_its_addresses() {
    let mut workers = server_with(mobile_setup());
    let mut call = Call::begin(&mut workers, "198.51.100.1:1000");
    let mut tuples: Vec<FiveTuple> = vec![call.client.client.tuple];
    let mut last = call.client.clone();
    for step in 0..20 {
        let mut new = call.client.sibling(&format!("198.51.100.2:{}", 2000 + step));
        call.move_to(&mut workers, step % 3, &mut new);
        assert!(call.relays(&mut workers, step % 3, &new.client));
        tuples.push(new.client.tuple);
        last = new;
    }
    let answer = workers.request(1, &mut last, Method::REFRESH, mobile::lifetime(0));
    assert_eq!(answer.code(), 0);
    let session = workers.ended.pop().expect("it has ended");
    assert_eq!(session.client, tuples[20]);
    assert_eq!(session.earlier[0], tuples[0]);
    assert_eq!(session.earlier[1..], tuples[13..20]);
    assert_eq!(workers.moves.len(), 20);
    assert!(workers.moves.iter().all(|it| it.id == session.id), "one name all the way");
    assert_eq!(session.id, SessionId::new(0, 1));
    let peer: SocketAddr = PEER.parse().expect("it");
    assert!(workers.to_peers.iter().all(|relayed| relayed.to == peer));
}
