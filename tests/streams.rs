//! TCP between client and server: framing, limits, and what becomes of a connection.

mod common;

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown};

use common::{
    Client, Inbound, Leg, PATIENCE, Peer, Setup, channel_message, eventually, new_id, plain,
    small_window,
};
use turnwire::stun::{Kind, Method, attribute};

const BINDING: Kind = Kind::request(Method::BINDING);
const CHANNEL: u16 = 0x4000;

/// RFC 8489 §6.2.2
#[test]
fn messages_may_come_one_byte_at_a_time() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::tcp(&server);
    let dribble = |client: &mut Client, message: &[u8]| {
        message.iter().for_each(|byte| client.write(&[*byte]));
    };
    let id = new_id();
    let allocate = client.signed(Method::ALLOCATE, &id, |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    dribble(&mut client, &allocate);
    let Inbound::Answer(answer) = client.inbound() else {
        panic!("not a response");
    };
    assert_eq!((answer.code(), answer.message().transaction_id()), (0, id));
    let peer = Peer::new();
    client.bind(CHANNEL, peer.address);
    dribble(&mut client, &channel_message(CHANNEL, b"eight by"));
    assert_eq!(peer.payload(), b"eight by");
}

/// RFC 8489 §6.2.2, RFC 8656 §12.5
#[test]
fn messages_may_come_all_at_once() {
    let server = Setup::with_local_peers().start();
    let (mut client, peer) = (Client::tcp(&server), Peer::new());
    client.allocate();
    client.bind(CHANNEL, peer.address);
    let ids = [new_id(), new_id()];
    let train = [
        plain(BINDING, &ids[0], |_| ()),
        channel_message(CHANNEL, b"one!"),
        channel_message(CHANNEL, b"two\0"),
        plain(BINDING, &ids[1], |_| ()),
        channel_message(CHANNEL, b"tail"),
    ];
    // The last message is cut in the middle.
    let train = train.concat();
    client.write(&train[..train.len() - 3]);
    for id in ids {
        let Inbound::Answer(answer) = client.inbound() else {
            panic!("not a response");
        };
        assert_eq!(answer.message().transaction_id(), id);
    }
    assert_eq!([peer.payload(), peer.payload()], [*b"one!", *b"two\0"]);
    client.write(&train[train.len() - 3..]);
    assert_eq!(peer.payload(), b"tail");
}

/// RFC 8656 §12.5: padded to four bytes on a stream, and the length says nothing of it.
#[test]
fn channel_data_is_padded_in_both_directions() {
    let server = Setup::with_local_peers().start();
    let (mut client, peer) = (Client::tcp(&server), Peer::new());
    let relayed = client.allocate();
    client.bind(CHANNEL, peer.address);
    for length in 0..=9 {
        let payload = vec![0xA5; length];
        client.channel(CHANNEL, &payload);
        assert_eq!(peer.payload(), payload);
        peer.send(relayed, &payload);
        // The client's framing takes the padding off and checks that it is zero.
        assert_eq!(client.channel_data(), (CHANNEL, payload));
    }
    client.fence();
}

/// RFC 8489 §6.2.2: there is nothing to find the next message by.
#[test]
fn what_can_never_become_a_message_is_closed() {
    let server = Setup::new().start();
    let mut wrong_cookie = plain(BINDING, &new_id(), |_| ());
    wrong_cookie[4] ^= 1;
    let unknown: [&[u8]; 3] = [b"SSH-2.0-OpenSSH_9.2\r\n", b"\xFF", b"\x16\x04"];
    let hopeless: [&[u8]; 4] = [
        &wrong_cookie,
        // No STUN, in the middle of it.
        &[plain(BINDING, &new_id(), |_| ()), b"GET / HTTP/1.1".to_vec()].concat(),
        b"\x00\x01\x00\x03",
        // Longer than anything that a client without an allocation has to say.
        b"\x00\x01\x10\x00\x21\x12\xA4\x42",
    ];
    for bytes in unknown.iter().chain(&hopeless) {
        let mut client = Client::tcp(&server);
        client.write(bytes);
        client.is_closed_by_server();
    }
    let counts = [unknown.len() as u64, hopeless.len() as u64];
    assert_eq!([server.unfit("unknown"), server.unfit("turn")], counts);
    Client::tcp(&server).fence();
}

/// A connection that only waits costs a descriptor: it is closed, unless it has an allocation.
#[test]
fn without_an_allocation_a_connection_is_closed_after_a_while() {
    let idle = "[limits.streams]\nidle = \"1s\"";
    let server = Setup::with_local_peers().config(idle).start();
    let peer = Peer::new();
    let mut calling = Client::tcp(&server);
    calling.allocate();
    calling.bind(CHANNEL, peer.address);
    let mut hung_up = Client::tcp(&server);
    hung_up.allocate();
    assert_eq!(hung_up.refresh(0).code(), 0);
    let silent = Client::tcp(&server);
    let mut slow = Client::tcp(&server);
    slow.write(b"\x00\x01");
    let mut busy = Client::tcp(&server);
    busy.fence();
    for mut closed in [hung_up, silent, slow, busy] {
        closed.is_closed_by_server();
    }
    assert_eq!(server.metric("streams_idle_total"), 4);
    calling.channel(CHANNEL, b"still here");
    assert_eq!(peer.payload(), b"still here");
}

/// RFC 8656 §3.2: an allocation that is not refreshed ends, and then its connection only waits.
#[test]
fn a_connection_whose_allocation_has_expired_is_closed_after_a_while() {
    let short = "[turn]\ndefault_lifetime = \"1s\"\n[limits.streams]\nidle = \"1s\"";
    let server = Setup::new().config(short).start();
    let mut client = Client::tcp(&server);
    client.allocate();
    client.is_closed_by_server();
    assert_eq!(server.metric("allocations_ended_total{reason=\"expired\"}"), 1);
    assert_eq!(server.metric("streams_idle_total"), 1);
}

/// A flood of connections that never ask for anything takes the place of others like it, and of
/// nobody who has an allocation.
#[test]
fn the_oldest_half_open_connection_makes_room_for_the_newest() {
    let bound = "[limits.streams]\nwithout_allocation = 4";
    let server = Setup::new().flag("--workers", 1).config(bound).start();
    let mut calling = Client::tcp(&server);
    calling.allocate();
    let mut waiting: Vec<_> = (0..6)
        .map(|_| {
            let mut client = Client::tcp(&server);
            client.fence();
            client
        })
        .collect();
    for mut oldest in waiting.drain(..2) {
        oldest.is_closed_by_server();
    }
    waiting.iter_mut().for_each(Client::fence);
    assert_eq!(calling.refresh(600).code(), 0);
    assert_eq!(server.metric("streams_live"), 5);
}

/// One address cannot have all the connections.
#[test]
fn connections_of_one_address_are_bounded_and_those_of_others_are_not_concerned() {
    let bound = "[limits]\nexempt = []\n[limits.streams]\nper_address = 2";
    let server = Setup::new().config(bound).start();
    let mut first = Client::tcp(&server);
    let mut second = Client::tcp(&server);
    first.fence();
    second.fence();
    Client::tcp(&server).is_closed_by_server();
    assert_eq!(server.metric("streams_refused_total"), 1);
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2).into();
    Client::tcp_from(elsewhere, server.address()).fence();
    drop(first);
    eventually("one connection is gone", || (server.metric("streams_live") == 1).then_some(()));
    Client::tcp(&server).fence();
    second.fence();
}

/// RFC 8656 §3.2: the allocation of a connection ends with it, and its quota is free at once.
#[test]
fn a_closed_connection_ends_its_allocation_at_once() {
    let quota = "[limits]\nallocations_per_user = 1";
    let server = Setup::new().config(quota).start();
    let endings: [fn(Client); 2] = [Client::reset, drop];
    for end in endings {
        let mut client = Client::tcp(&server);
        client.allocate();
        let mut next = Client::udp(&server);
        assert_eq!(next.try_allocate(|_| ()).code(), 486);
        end(client);
        eventually("the allocation is gone", || (server.live() == 0).then_some(()));
        next.allocate();
        assert_eq!(next.refresh(0).code(), 0);
    }
    let ended = server.metric("allocations_ended_total{reason=\"disconnected\"}");
    assert_eq!(ended, 2);
}

/// What came before the end of a connection is relayed before the allocation ends.
#[test]
fn the_last_words_before_a_fin_are_relayed() {
    let server = Setup::with_local_peers().start();
    for _ in 0..10 {
        let (mut client, peer) = (Client::tcp(&server), Peer::new());
        client.allocate();
        client.bind(CHANNEL, peer.address);
        client.channel(CHANNEL, b"good");
        client.channel(CHANNEL, b"bye!");
        let Leg::Tcp(stream, _) = &client.leg else {
            unreachable!("it is on TCP");
        };
        stream.shutdown(Shutdown::Write).expect("the client can stop");
        assert_eq!([peer.payload(), peer.payload()], [*b"good", *b"bye!"]);
        client.is_closed_by_server();
    }
}

/// Nobody waits for a client that does not read: what does not fit is dropped, as UDP would, and
/// in whole messages, so that what it reads one day still makes sense.
#[test]
fn a_client_that_does_not_read_harms_only_itself() {
    let queue = "[limits.streams]\nqueue = \"16KiB\"";
    let server = Setup::with_local_peers().flag("--workers", 1).config(queue).start();
    let (mut deaf, loud) = (Client::on_stream(small_window(server.address())), Peer::new());
    let deaf_relay = deaf.allocate();
    deaf.bind(CHANNEL, loud.address);
    let (mut other, friend) = (Client::tcp(&server), Peer::new());
    let other_relay = other.allocate();
    other.bind(CHANNEL, friend.address);

    let mut sent = 0_u32;
    while server.drops("queue_full") < 1000 {
        for _ in 0..500 {
            // Each says which it is, in a length that makes the padding vary.
            let payload = sent.to_be_bytes().repeat(200 + sent as usize % 50);
            loud.send(deaf_relay, &payload[..payload.len() - sent as usize % 4]);
            sent += 1;
        }
        friend.send(other_relay, b"ping");
        assert_eq!(other.channel_data(), (CHANNEL, b"ping".to_vec()));
        other.channel(CHANNEL, b"pong");
        assert_eq!(friend.payload(), b"pong");
        assert!(sent < 1_000_000, "the queue never fills");
    }
    // Only what the queue and the socket held has come, whole, and in order.
    let end = plain(BINDING, &new_id(), |_| ());
    deaf.write(&end);
    let (mut last, mut heard) = (None, 0);
    while let Inbound::Channel(number, payload) = deaf.inbound() {
        let which = u32::from_be_bytes(payload[..4].try_into().expect("four bytes"));
        let expected = which.to_be_bytes().repeat(200 + which as usize % 50);
        assert_eq!(
            (number, &payload[..]),
            (CHANNEL, &expected[..expected.len() - which as usize % 4])
        );
        assert!(last < Some(which), "{which} after {last:?}");
        (last, heard) = (Some(which), heard + 1);
    }
    assert!(heard > 0 && heard < sent, "{heard} of {sent}");
    deaf.fence();
}

/// Who has no allocation and does not even read the answers it asked for, is closed: nothing is
/// kept for it.
#[test]
fn a_stranger_that_does_not_read_its_answers_is_closed() {
    let patient = "[limits.streams]\nidle = \"10m\"";
    let server = Setup::new().config(patient).start();
    let mut stream = small_window(server.address());
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let questions = plain(BINDING, &new_id(), |_| ()).repeat(500);
    // Far more than the sockets between the two hold.
    let closed = (0..2000).find_map(|_| stream.write_all(&questions).err());
    let closed = closed.map(|error| error.kind());
    let expected = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].map(Some);
    assert!(expected.contains(&closed), "{closed:?}");
    // One that reads may ask as much at once.
    let mut client = Client::tcp(&server);
    client.write(&questions);
    for _ in 0..500 {
        client.read();
    }
}
