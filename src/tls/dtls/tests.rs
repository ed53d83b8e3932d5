//! Associations with OpenSSL's client in one process: over a network that loses, doubles and
//! reorders, by a clock that is stepped.

mod client;
mod host;
mod network;

use std::time::Duration;

use client::{Client, Offer};
use host::{Authority, Host};
use network::{Network, Weather};

use super::*;
use crate::time::Mono;
use crate::tls::Cause;

/// A client and a server that have just agreed.
fn association(host: &mut Host, offer: &Offer) -> Client {
    let mut network = Network::new(1, Weather::FINE);
    let mut client = Client::new(offer);
    let complete = network.run(&mut client, host, Duration::from_secs(10));
    assert!(complete, "{:?} {:?}", host.failure, client.error);
    client
}

#[test]
fn each_suite_carries_data_both_ways_and_both_sides_can_close() {
    for (suite, authority) in [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", Authority::ecdsa()),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", Authority::ecdsa()),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", Authority::ecdsa()),
        ("ECDHE-RSA-AES128-GCM-SHA256", Authority::rsa()),
        ("ECDHE-RSA-AES256-GCM-SHA384", Authority::rsa()),
        ("ECDHE-RSA-CHACHA20-POLY1305", Authority::rsa()),
        // RFC 8489 §6.2.3: MUST be supported.
        ("DHE-RSA-AES128-GCM-SHA256", Authority::rsa()),
    ] {
        let mut host = Host::new(&authority);
        let mut client = association(&mut host, &authority.offer().suites(suite));
        assert_eq!(client.suite(), suite);
        for length in [0, 1, 15, 16, 17, 1000, 16_384] {
            let words: Vec<u8> = (0..length).map(|i| i as u8).collect();
            if length > 0 {
                client.write(&words);
                assert_eq!(host.take(&mut client).concat(), words);
            }
            host.say(&mut client, &words);
            assert_eq!(client.read(), Some(words), "{suite} {length}");
        }
        assert_eq!(host.session().record_len(16_385), None);
        client.close();
        host.take(&mut client);
        assert_eq!(host.closed, Some(Alert::CLOSE_NOTIFY));
        host.alert(&mut client, Alert::CLOSE_NOTIFY);
        assert!(client.is_closed());
    }
}

#[test]
fn the_chain_is_sent_whole_and_the_name_chooses_among_certificates() {
    let (one, two) = (Authority::ecdsa(), Authority::rsa().named("two.example"));
    let mut host = Host::with(vec![one.identity(), two.identity()]);
    for (authority, name) in [(&one, "one.example"), (&two, "two.example")] {
        // It knows the root alone: without the intermediate it would refuse.
        let client = association(&mut host, &authority.offer().name(name));
        assert_eq!(client.depth(), 3);
        host.forget();
    }
    let nameless = association(&mut host, &one.offer().nameless());
    assert_eq!(nameless.suite(), "ECDHE-ECDSA-AES128-GCM-SHA256");
}

#[test]
fn a_client_gets_the_kind_of_key_that_it_can_use() {
    let (ecdsa, rsa) = (Authority::ecdsa(), Authority::rsa());
    let all = vec![ecdsa.identity(), rsa.identity(), Authority::rsa().identity()];
    let mut host = Host::with(all);
    for (authority, suite) in
        [(&ecdsa, "ECDHE-ECDSA-AES128-GCM-SHA256"), (&rsa, "ECDHE-RSA-AES128-GCM-SHA256")]
    {
        assert_eq!(association(&mut host, &authority.offer().suites(suite)).depth(), 3);
        host.forget();
    }
}

#[test]
fn another_certificate_is_for_the_next_and_the_association_that_is_there_goes_on() {
    let (old, new) = (Authority::ecdsa(), Authority::rsa());
    let mut host = Host::new(&old);
    let mut client = association(&mut host, &old.offer());
    host.identities.replace(vec![new.identity()]).unwrap();
    client.write(b"still here");
    assert_eq!(host.take(&mut client), [b"still here"]);
    host.forget();
    association(&mut host, &new.offer());
}

#[test]
fn a_hello_in_fragments_is_as_good_as_a_whole_one() {
    let authority = Authority::ecdsa();
    // OpenSSL's client has datagrams of 256 bytes.
    let offer = authority.offer().protocols(b"\x09stun.turn\x09also.this\x09and.this.");
    for (seed, loss) in [(1, 0.0), (2, 0.25), (3, 0.25), (4, 0.25)] {
        let mut network = Network::new(seed, Weather { loss, ..Weather::FINE });
        let (mut host, mut client) = (Host::new(&authority), Client::new(&offer));
        assert!(network.run(&mut client, &mut host, Duration::from_secs(300)));
        assert!(network.from_client.iter().filter(|sent| sent.len() > 200).count() >= 2);
        assert_eq!((host.begun, client.protocol()), (1, Some("stun.turn")));
    }
}

#[test]
fn a_quarter_lost_each_way_delays_and_prevents_nothing() {
    let authority = Authority::rsa();
    let mut took = Vec::new();
    for seed in 0..100 {
        let mut network = Network::new(seed, Weather { loss: 0.25, ..Weather::FINE });
        let (mut host, mut client) = (Host::new(&authority), Client::new(&authority.offer()));
        let complete = network.run(&mut client, &mut host, Duration::from_secs(300));
        assert!(complete, "seed {seed}: {:?} {:?}", host.failure, client.error);
        took.push(network.elapsed());
        // RFC 6347 §4.2.4: a repetition comes in a new record.
        let records = network.from_server.iter().filter(|sent| sent.len() != 45);
        let mut numbers: Vec<_> = records.map(|sent| sent[3..11].to_vec()).collect();
        let count = numbers.len();
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "seed {seed}");
        client.write(b"after all that");
        assert_eq!(host.take(&mut client), [b"after all that"]);
        host.say(&mut client, b"well done");
        assert_eq!(client.read().as_deref(), Some(&b"well done"[..]));
    }
    // Timers double: one in a hundred has bad luck several times in a row.
    took.sort();
    println!("of 100, the middle took {:?}, the slowest {:?}", took[50], took[99]);
    assert!(took[90] < Duration::from_secs(16), "{took:?}");
}

#[test]
fn doubles_and_disorder_change_nothing() {
    let authority = Authority::rsa();
    for seed in 0..100 {
        let weather = Weather { double: 0.3, delay: Duration::from_millis(400), ..Weather::FINE };
        let mut network = Network::new(seed, weather);
        let (mut host, mut client) = (Host::new(&authority), Client::new(&authority.offer()));
        let complete = network.run(&mut client, &mut host, Duration::from_secs(30));
        assert!(complete, "seed {seed}: {:?}", host.failure);
        assert_eq!((host.begun, host.failure.is_none()), (1, true), "seed {seed}");
    }
}

#[test]
fn no_datagram_of_a_handshake_is_longer_than_1200_bytes() {
    let authority = Authority::rsa();
    let mut network = Network::new(1, Weather::FINE);
    let (mut host, mut client) = (Host::new(&authority), Client::new(&authority.offer()));
    assert!(network.run(&mut client, &mut host, Duration::from_secs(1)));
    let sent: Vec<_> = network.from_server.iter().map(Vec::len).collect();
    assert!(sent.iter().sum::<usize>() > 1400, "the chain alone is longer: {sent:?}");
    assert!(sent.iter().all(|length| *length <= 1200), "{sent:?}");
}

#[test]
fn a_client_without_the_last_flight_gets_it_again_and_nobody_else_does() {
    let authority = Authority::ecdsa();
    let (mut host, mut client) = (Host::new(&authority), Client::new(&authority.offer()));
    let now = Mono::default();
    // ClientHello, the same with the cookie, and the client's last flight.
    let last = loop {
        let output = client.advance();
        assert!(!output.is_empty(), "{:?}", client.error);
        let mut answers = Vec::new();
        for datagram in &output {
            host.receive(now, datagram, &mut answers);
        }
        if host.session.is_some() {
            break output;
        }
        answers.iter().for_each(|datagram| client.receive(datagram));
    };
    // The same again is taken for a repetition once: the answer was lost.
    let mut answers = Vec::new();
    last.iter().for_each(|datagram| host.receive(now, datagram, &mut answers));
    assert_eq!(answers.len(), 1);
    last.iter().for_each(|datagram| host.receive(now, datagram, &mut answers));
    assert_eq!(answers.len(), 1, "the third time it is a replay");
    let mut more = Vec::new();
    client.repeat().iter().for_each(|datagram| host.receive(now, datagram, &mut more));
    assert_eq!(more.len(), 1);
    let mut forged = last.concat();
    *forged.last_mut().unwrap() ^= 1;
    let mut none = Vec::new();
    host.receive(now, &forged, &mut none);
    assert!(none.is_empty());
    // And it is a good one.
    client.receive(&more[0]);
    client.advance();
    assert!(client.complete);
    client.write(b"here I am");
    let said = client.take_output();
    said.iter().chain(&said).for_each(|datagram| host.receive(now, datagram, &mut answers));
    assert_eq!(host.take(&mut client), [b"here I am"]);
}

#[test]
fn what_a_handshake_fails_of_is_told() {
    let authority = Authority::ecdsa();
    let stranger = Authority::ecdsa();
    let offers = [
        (authority.offer().suites("ECDHE-ECDSA-AES128-SHA"), Cause::NoSharedCipher),
        (authority.offer().suites("ECDHE-RSA-AES128-GCM-SHA256"), Cause::NoSharedCipher),
        (authority.offer().version_1_0(), Cause::NoSharedVersion),
        (authority.offer().groups("P-521"), Cause::NoSharedCipher),
        (authority.offer().protocols(b"\x04imap"), Cause::NoSharedProtocol),
        (stranger.offer(), Cause::UnknownCa),
        (authority.offer().name("other.example"), Cause::BadCertificate),
    ];
    for (offer, cause) in offers {
        let mut network = Network::new(1, Weather::FINE);
        let (mut host, mut client) = (Host::new(&authority), Client::new(&offer));
        assert!(!network.run(&mut client, &mut host, Duration::from_secs(1)));
        let failure = host.failure.take().expect("it has failed");
        assert_eq!(failure.cause, cause, "{failure}");
        // The client is told as well, if it was not the one that gave up.
        assert!(client.error.is_some());
    }
    let offer = authority.offer().protocols(b"\x04imap\x08http/1.1\x09stun.turn");
    assert_eq!(association(&mut Host::new(&authority), &offer).protocol(), Some("stun.turn"));
}

#[test]
fn a_cookie_is_of_no_use_from_another_address_and_costs_nothing() {
    let authority = Authority::ecdsa();
    let (mut host, mut client) = (Host::new(&authority), Client::new(&authority.offer()));
    let mut answers = Vec::new();
    for datagram in client.advance() {
        host.receive(Mono::default(), &datagram, &mut answers);
        assert!(answers[0].len() < datagram.len());
    }
    client.receive(&answers[0]);
    let hello = client.advance();
    host.client = "198.51.100.66:1000".parse().unwrap();
    let mut again = Vec::new();
    host.receive(Mono::default(), &hello[0], &mut again);
    // All it gets is another cookie, for its own address.
    assert_eq!((again.len(), host.begun), (1, 0));
    assert_ne!(again[0], answers[0]);
}

#[test]
fn no_damage_to_any_datagram_does_more_than_delay() {
    let authority = Authority::ecdsa();
    for seed in 0..100 {
        let weather = Weather { damage: 0.3, double: 0.2, ..Weather::FINE };
        let mut network = Network::new(seed, weather);
        let (mut host, mut client) = (Host::new(&authority), Client::new(&authority.offer()));
        // A flipped bit in the clear may end a handshake (that is RFC 6347), but nothing else.
        network.run(&mut client, &mut host, Duration::from_secs(30));
        assert!(host.session.is_none() || host.data.is_empty());
    }
}

#[test]
fn what_comes_in_a_handshake_is_bounded() {
    let authority = Authority::ecdsa();
    let (mut host, mut client) = (Host::new(&authority), Client::new(&authority.offer()));
    let mut answers = Vec::new();
    host.receive(Mono::default(), &client.advance()[0], &mut answers);
    client.receive(&answers[0]);
    host.receive(Mono::default(), &client.advance()[0], &mut answers);
    let handshake = host.handshake.as_mut().expect("the address is proved");
    let repetitions = answers.len();
    // Fragments of messages to come, each said to be long, and records of the next epoch.
    for number in 0..100_000_u64 {
        let (epoch, length) = ((number & 1) as u16, 100);
        let header = record::Header { kind: 22, epoch, sequence: 10 + number, length };
        let mut datagram = header.bytes(record::DTLS_1_2).to_vec();
        datagram.extend([11, 0, 64, 0, 0, 3 + number as u8 % 8, 0, number as u8 % 60, 0, 0, 0, 88]);
        datagram.resize(record::HEADER + length, 0);
        handshake.push(Mono::default(), &datagram);
        let progress = handshake.advance(Mono::default());
        assert!(progress.is_ok_and(|it| matches!(it, Progress::Waiting)), "{number}");
    }
    assert_eq!((handshake.transmit().count(), repetitions), (0, answers.len()));
    // Nor is a client that repeats its hello without end answered without end.
    let hello = client.repeat();
    let mut longest = 0;
    for millis in 0..10_000 {
        let mut more = Vec::new();
        host.receive(Mono::from_micros(1000 * millis), &hello[0], &mut more);
        longest += more.len();
    }
    assert!((1..=16).contains(&longest), "{longest}");
}
