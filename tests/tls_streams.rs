//! TURN over TLS: framing, bounds, failures in words, and a certificate that changes under a call.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{
    Authority, Client, Inbound, Leg, Peer, Setup, TcpPeer, Trust, channel_message, eventually,
    new_id, plain, seal, trusting,
};
use rustls::version::{TLS12, TLS13};
use turnwire::stun::{Kind, Method};

const CHANNEL: u16 = 0x4000;

fn tcp(server: &common::Server) -> TcpStream {
    TcpStream::connect(server.address()).expect("a connection")
}

#[test]
fn calls_go_through_in_both_versions_and_families() {
    let trust = Trust::new();
    let setup = Setup::with_local_peers().listen("127.0.0.1:0").listen("[::1]:0");
    let server = setup.certificate(&trust).start();
    for listener in server.listeners() {
        for version in [&TLS12, &TLS13] {
            let config = trust.client_of(version);
            let stream = TcpStream::connect(listener).expect("a connection");
            let (mut client, peer) = (Client::on_tls(seal(stream, config)), Peer::new());
            let relayed = client.allocate_family(1);
            client.bind(CHANNEL, peer.address);
            for length in [0, 1, 3, 1200, 16_384, 40_000, 60_000] {
                let payload = vec![0xA5; length];
                client.channel(CHANNEL, &payload);
                assert_eq!(peer.payload(), payload);
                peer.send(relayed, &payload);
                assert_eq!(client.channel_data(), (CHANNEL, payload));
            }
        }
    }
    let version =
        |name: &str| server.metric(&format!("tls_handshakes_total{{version=\"{name}\"}}"));
    assert_eq!([version("1.2"), version("1.3")], [2, 2]);
}

/// RFC 8489 §6.2.2: records and messages have nothing to do with each other.
#[test]
fn messages_may_be_cut_anywhere() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    let (mut client, peer) = (Client::tls(&server, &trust), Peer::new());
    client.allocate();
    client.bind(CHANNEL, peer.address);
    channel_message(CHANNEL, b"eight by").iter().for_each(|byte| client.write(&[*byte]));
    assert_eq!(peer.payload(), b"eight by");
    let many: Vec<u8> = (0..200).flat_map(|_| channel_message(CHANNEL, b"many of ")).collect();
    client.write(&many);
    (0..200).for_each(|_| assert_eq!(peer.payload(), b"many of "));
}

/// RFC 8489 §6.2.2 lets many messages share a record, but coturn's server never has them do so, and its client takes a
/// record for a message.
#[test]
fn each_message_to_a_client_has_a_record_of_its_own() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    let (mut client, peer) = (Client::tls(&server, &trust), Peer::new());
    let relayed = client.allocate();
    client.bind(CHANNEL, peer.address);
    // They are all there when the server comes to them.
    server.pause();
    let lengths = [&[8, 1200, 4, 100, 9, 700].repeat(5)[..], &[16_380, 20_000, 1]].concat();
    lengths.iter().for_each(|length| peer.send(relayed, &vec![0xA5; *length]));
    server.resume();
    let Leg::Tls(stream, early) = &mut client.leg else { unreachable!("it is on TLS") };
    assert!(early.is_empty());
    for length in lengths {
        let mut message = channel_message(CHANNEL, &vec![0xA5; length]);
        message.resize(message.len().next_multiple_of(4), 0);
        for part in message.chunks(16 << 10) {
            assert!(next_record(stream) == part, "{length}");
        }
    }
}

/// The plaintext of one record.
fn next_record(stream: &mut common::Sealed) -> Vec<u8> {
    let mut record = vec![0; 5];
    stream.sock.read_exact(&mut record).expect("a record's header");
    record.resize(5 + usize::from(u16::from_be_bytes([record[3], record[4]])), 0);
    stream.sock.read_exact(&mut record[5..]).expect("a record");
    let mut record = &record[..];
    while !record.is_empty() {
        stream.conn.read_tls(&mut record).expect("room");
    }
    let plain = stream.conn.process_new_packets().expect("TLS").plaintext_bytes_to_read();
    let mut bytes = vec![0; plain];
    stream.conn.reader().read_exact(&mut bytes).expect("plaintext");
    bytes
}

/// RFC 8446 §6.1, RFC 8656 §3.2
#[test]
fn both_ends_say_goodbye() {
    let trust = Trust::new();
    let idle = "[limits.streams]\nidle = \"1s\"";
    let server = Setup::new().certificate(&trust).config(idle).start();
    let mut leaving = Client::tls(&server, &trust);
    leaving.allocate();
    let Leg::Tls(stream, _) = &mut leaving.leg else { unreachable!("it is on TLS") };
    stream.conn.send_close_notify();
    stream.flush().expect("the client can send");
    eventually("the allocation is gone", || (server.live() == 0).then_some(()));
    // A connection cut without a word would be an error here, and no end.
    let mut idle = Client::tls(&server, &trust);
    idle.fence();
    let Leg::Tls(stream, _) = &mut idle.leg else { unreachable!("it is on TLS") };
    assert_eq!(stream.read(&mut [0; 16]).expect("an orderly end"), 0);
}

/// RFC 8446 §6.1: who has said goodbye still listens.
#[test]
fn what_was_asked_before_the_goodbye_is_answered() {
    let trust = Trust::new();
    let server = Setup::new().certificate(&trust).start();
    let mut client = Client::tls(&server, &trust);
    client.fence();
    // Both are there when the server comes to them.
    server.pause();
    client.write(&plain(Kind::request(Method::BINDING), &new_id(), |_| ()));
    let Leg::Tls(stream, _) = &mut client.leg else { unreachable!("it is on TLS") };
    stream.conn.send_close_notify();
    stream.flush().expect("the client can send");
    server.resume();
    assert!(matches!(client.inbound(), Inbound::Answer(answer) if answer.code() == 0));
}

#[test]
fn what_a_client_dislikes_is_said_in_words() {
    let trust = Trust::new();
    let server = Setup::new().certificate(&trust).start();
    let mut stranger = seal(tcp(&server), trusting(&Authority::new("another")));
    assert!(stranger.write_all(b"x").is_err());
    drop(stranger);
    let series = "tls_failures_total{cause=\"unknown_ca\"}";
    eventually("it is counted", || (server.metric(series) == 1).then_some(()));
    assert_eq!(server.unfit("tls"), 1);
    eventually("the log says it", || server.log().contains("does not trust").then_some(()));
}

#[test]
fn a_handshake_that_stops_is_given_up() {
    let trust = Trust::new();
    let short = "[limits.streams]\nhandshake = \"1s\"";
    let server = Setup::new().certificate(&trust).config(short).start();
    let mut client = Client::on_stream(tcp(&server));
    client.write(b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03");
    client.is_closed_by_server();
    assert_eq!(server.unfit("too_slow"), 1);
    // Who has said what it wants has its time as before.
    let mut patient = Client::tls(&server, &trust);
    patient.fence();
    let mut slow = Client::on_stream(tcp(&server));
    slow.write(b"\x16");
    slow.is_closed_by_server();
    patient.fence();
}

/// Half-open handshakes take the place of each other, and of nobody who has an allocation.
#[test]
fn half_open_handshakes_are_bounded() {
    let trust = Trust::new();
    let bound = "[limits.streams]\nwithout_allocation = 4";
    let setup = Setup::new().flag("--workers", 1).certificate(&trust);
    let server = setup.config(bound).start();
    let mut calling = Client::tls(&server, &trust);
    calling.allocate();
    let mut half_open: Vec<_> = (0..6)
        .map(|_| {
            let mut client = Client::on_stream(tcp(&server));
            client.write(b"\x16\x03\x01\x02\0\x01");
            client
        })
        .collect();
    half_open.drain(..2).for_each(|mut oldest| oldest.is_closed_by_server());
    assert_eq!(calling.refresh(600).code(), 0);
    eventually("no more are open", || (server.metric("streams_live") == 5).then_some(()));
}

/// In one wake-up the server is told that the oldest has left and that somebody new is there, who gets its place.
#[test]
fn the_end_of_one_connection_is_not_taken_for_the_next_ones() {
    let trust = Trust::new();
    let bound = "[limits.streams]\nwithout_allocation = 2";
    let setup = Setup::new().flag("--workers", 1).certificate(&trust);
    let server = setup.config(bound).start();
    let mut leaving = Client::tcp(&server);
    leaving.fence();
    let mut staying = Client::tcp(&server);
    staying.fence();
    server.pause();
    // The listener first, then the one who leaves: so they are told.
    let next = tcp(&server);
    drop(leaving);
    server.resume();
    let mut next = Client::on_tls(seal(next, trust.client()));
    next.allocate();
    let before = server.cpu();
    (0..50).for_each(|_| {
        next.fence();
        std::thread::sleep(Duration::from_millis(5));
    });
    let used = server.cpu().saturating_sub(before);
    assert!(used < Duration::from_millis(100), "it turns round and round: {used:?}");
}

/// RFC 6062 over TLS: the client's bytes are unsealed for the peer, and sealed on the way back.
#[test]
fn a_connection_with_a_peer_goes_through() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    let peer = TcpPeer::at([127, 0, 0, 1].into());
    let mut control = Client::tls(&server, &trust);
    control.allocate_tcp();
    let connection = control.connect(peer.address);
    let (mut far, _) = peer.accept();
    let mut near = Client::tls(&server, &trust).into_sealed_data(connection);
    let up: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
    let down: Vec<u8> = up.iter().rev().copied().collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut got = vec![0; up.len()];
            far.read_exact(&mut got).expect("all that was sent");
            assert!(got == up);
            far.write_all(&down).expect("the peer can send");
            far.shutdown(std::net::Shutdown::Write).expect("the peer can stop");
        });
        near.write_all(&up).and_then(|()| near.flush()).expect("the client can send");
        let mut got = Vec::new();
        near.read_to_end(&mut got).expect("an orderly end");
        assert!(got == down);
    });
}

/// A new certificate is for new connections: a call under way loses nothing.
#[test]
fn a_certificate_swapped_in_the_middle_of_a_relay_loses_nothing() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    let (mut client, peer) = (Client::tls(&server, &trust), Peer::new());
    let relayed = client.allocate();
    client.bind(CHANNEL, peer.address);
    let shown = |server: &common::Server| {
        let mut stream = seal(tcp(server), trust.client());
        stream.flush().expect("a handshake");
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
    };
    let before = shown(&server);
    let renewed = trust.renew();
    let mut number = 0_u32;
    let mut talk = || {
        let payload = number.to_be_bytes().repeat(300);
        client.channel(CHANNEL, &payload);
        assert_eq!(peer.payload(), payload);
        peer.send(relayed, &payload);
        assert_eq!(client.channel_data(), (CHANNEL, payload));
        number += 1;
    };
    eventually("the new one is shown", || {
        (0..50).for_each(|_| talk());
        (shown(&server) == renewed).then_some(())
    });
    (0..50).for_each(|_| talk());
    assert_ne!(before, renewed);
}
