//! How much of everything: quotas, bandwidth, answers to strangers.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::{Client, Credential, Peer, Setup, eventually, new_id, plain};
use turnwire::auth::RestDigest;
use turnwire::stun::{Kind, Method, attribute};

const CHANNEL: u16 = 0x4000;

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// RFC 8656 §7.2, check 10: by the username, not by where it is used from.
#[test]
fn allocations_of_one_user_are_bounded() {
    let quota = "[limits]\nallocations_per_user = 2";
    let server = Setup::new().config(quota).start();
    let mut clients = [Client::udp(&server), Client::tcp(&server)];
    clients.iter_mut().for_each(|client| assert_eq!(client.try_allocate(|_| ()).code(), 0));
    let mut third = Client::udp_from(loopback(2), server.address());
    assert_eq!(third.try_allocate(|_| ()).code(), 486);
    Client::udp(&server).bob().allocate();
    assert_eq!(server.refusals("user_quota", 486), 1);
    assert_eq!(clients[0].refresh(0).code(), 0);
    third.allocate();
}

/// Whoever mints a new name for every call is still one user: the part behind the expiry.
#[test]
fn ephemeral_names_of_one_user_share_its_quota() {
    let quota = "[limits]\nallocations_per_user = 1";
    let server = Setup::new().flag("--secret", "s").config(quota).start();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("a clock").as_secs();
    let client = |seconds, user| {
        let name = format!("{}:{user}", now + seconds);
        let credential = Credential::ephemeral(RestDigest::Sha1, "s", &name);
        Client::udp(&server).with(credential)
    };
    client(600, "carol").allocate();
    assert_eq!(client(601, "carol").try_allocate(|_| ()).code(), 486);
    client(601, "dave").allocate();
}

/// A client address has a quota of its own, whoever it says it is.
#[test]
fn allocations_of_one_address_are_bounded() {
    let quota = "[limits]\nallocations_per_address = 2\nexempt = [\"127.0.0.3/32\"]";
    let server = Setup::new().config(quota).start();
    let mut first = Client::udp(&server);
    first.allocate();
    let mut second = Client::tcp(&server).bob();
    second.allocate();
    assert_eq!(Client::udp(&server).try_allocate(|_| ()).code(), 486);
    assert_eq!(server.refusals("address_quota", 486), 1);
    Client::udp_from(loopback(2), server.address()).allocate();
    for _ in 0..4 {
        Client::udp_from(loopback(3), server.address()).allocate();
    }
    assert_eq!(first.refresh(0).code(), 0);
    Client::udp(&server).allocate();
}

/// And so has the server.
#[test]
fn allocations_of_all_together_are_bounded() {
    let quota = "[limits]\nallocations = 2";
    let server = Setup::new().config(quota).start();
    let mut clients = [Client::udp(&server), Client::tcp(&server).bob()];
    clients.iter_mut().for_each(|client| assert_eq!(client.try_allocate(|_| ()).code(), 0));
    let mut third = Client::udp_from(loopback(2), server.address());
    assert_eq!(third.try_allocate(|_| ()).code(), 486);
    assert_eq!(server.refusals("total_quota", 486), 1);
    assert_eq!(clients[1].refresh(0).code(), 0);
    third.allocate();
}

/// Offers ten times what a limit lets through, both ways, and tells the bytes that arrived and
/// for how long.
fn overload(calls: &mut [(Client, Peer)], size: usize, seconds: f64) -> ([usize; 2], f64) {
    let payload = vec![7; size];
    let relayed: Vec<_> = calls
        .iter_mut()
        .map(|(client, peer)| {
            let relayed = client.allocate();
            client.bind(CHANNEL, peer.address);
            client.nonblocking();
            peer.socket.set_nonblocking(true).expect("an option");
            relayed
        })
        .collect();
    let (start, mut arrived) = (Instant::now(), [0; 2]);
    let mut buffer = [0; 2000];
    while start.elapsed().as_secs_f64() < seconds {
        for ((client, peer), relayed) in calls.iter_mut().zip(&relayed) {
            client.channel(CHANNEL, &payload);
            peer.send(*relayed, &payload);
            while let Ok(length) = peer.socket.recv(&mut buffer) {
                arrived[0] += length;
            }
            while let Ok(length) = client.try_read(&mut buffer) {
                arrived[1] += length - 4;
            }
        }
        // The pace of the offer; nothing waits for it.
        thread::sleep(Duration::from_micros(500));
    }
    (arrived, start.elapsed().as_secs_f64())
}

/// What passes is the rate and the one second's worth that may come at once. Less of it is offered
/// by a test that has to wait for its turn on a busy machine, and never more.
#[track_caller]
fn assert_rate(arrived: [usize; 2], elapsed: f64, rate: f64) {
    for bytes in arrived {
        let expected = rate * (elapsed + 1.0);
        let deviation = bytes as f64 / expected - 1.0;
        assert!((-0.3..0.1).contains(&deviation), "{bytes} bytes, expected {expected}");
    }
}

/// The limit is in application bytes per second, in each direction by itself.
#[test]
fn bytes_per_second_of_an_allocation_are_what_the_limit_says() {
    let limit = "[limits]\nbytes_per_second = \"100kB\"";
    let server = Setup::with_local_peers().config(limit).start();
    let mut calls = [(Client::udp(&server), Peer::new())];
    let (arrived, elapsed) = overload(&mut calls, 1000, 2.0);
    assert_rate(arrived, elapsed, 100_000.0);
    assert!(server.drops("bandwidth") > 100);
}

/// All allocations of a user share its limit; those of another have their own.
#[test]
fn bytes_per_second_of_a_user_are_what_the_limit_says() {
    let limit = "[limits]\nuser_bytes_per_second = \"100kB\"";
    let server = Setup::with_local_peers().config(limit).start();
    let mut calls = [Client::udp(&server), Client::udp(&server)].map(|it| (it, Peer::new()));
    let (arrived, elapsed) = overload(&mut calls, 1000, 2.0);
    assert_rate(arrived, elapsed, 100_000.0);
    let mut other = [(Client::udp(&server).bob(), Peer::new())];
    let (arrived, elapsed) = overload(&mut other, 1000, 2.0);
    assert_rate(arrived, elapsed, 100_000.0);
}

/// All users of a realm share its limit; those of another realm have their own.
#[test]
fn bytes_per_second_of_a_realm_are_what_the_limit_says() {
    let limit = "[limits]\nall_bytes_per_second = \"100kB\"";
    let server = Setup::with_local_peers().config(limit).start();
    let mut calls = [Client::udp(&server), Client::udp(&server).bob()].map(|it| (it, Peer::new()));
    let (arrived, elapsed) = overload(&mut calls, 1000, 2.0);
    assert_rate(arrived, elapsed, 100_000.0);
    assert!(server.drops("bandwidth") > 100);
}

/// A forged source address gets no flood of answers, and nobody else suffers for it.
#[test]
fn answers_to_strangers_are_bounded_by_address() {
    let limit = "[limits]\nexempt = []\nunauthenticated_per_second = 10";
    let server = Setup::with_local_peers().config(limit).start();
    let mut known = Client::udp(&server);
    let peer = Peer::new();
    known.allocate();
    known.bind(CHANNEL, peer.address);
    // The challenge that `known` asked for was one answer as well.
    let answered = || server.metric("bindings_total") + 1;
    let (start, mut flood) = (Instant::now(), Client::udp(&server));
    for _ in 0..300 {
        flood.write(&plain(Kind::request(Method::BINDING), &new_id(), |_| ()));
    }
    eventually("all of the flood is counted", || {
        (answered() + server.drops("rate_limited") == 301).then_some(())
    });
    let most = 20 + (start.elapsed().as_secs_f64() * 10.0) as u64 + 1;
    assert!((20..=most).contains(&answered()), "{} answers", answered());
    // A client with an allocation goes on, even at the same address; so does everybody elsewhere.
    for _ in 0..50 {
        assert_eq!(known.refresh(600).code(), 0);
    }
    known.channel(CHANNEL, b"unharmed");
    assert_eq!(peer.payload(), b"unharmed");
    Client::udp_from(loopback(2), server.address()).allocate();
    Client::tcp_from(loopback(3), server.address()).allocate();
}

/// On a stream nobody asks again, so one that asks too much is not left waiting.
#[test]
fn a_stranger_that_asks_too_much_on_a_stream_is_closed() {
    let limit = "[limits]\nexempt = []\nunauthenticated_per_second = 10";
    let server = Setup::new().config(limit).start();
    let mut flood = Client::tcp(&server);
    flood.write(&plain(Kind::request(Method::BINDING), &new_id(), |_| ()).repeat(100));
    flood.is_closed_by_server();
    Client::tcp_from(loopback(2), server.address()).allocate();
}

/// Those who prove who they are do not use up what strangers have.
#[test]
fn authenticated_requests_do_not_count_as_strangers() {
    let limit = "[limits]\nexempt = []\nunauthenticated_per_second = 2";
    let server = Setup::new().config(limit).start();
    let mut client = Client::udp(&server);
    for _ in 0..50 {
        client.allocate();
        assert_eq!(client.refresh(0).code(), 0);
    }
    assert_eq!(server.drops("rate_limited"), 0);
}

/// RFC 8489 §9.2.4: what a stranger gets is what it needs; the reason in words is for those who
/// have proved their address with a nonce.
#[test]
fn strangers_get_short_answers_and_clients_get_reasons() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let request = plain(Kind::request(Method::ALLOCATE), &new_id(), |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    let stranger = client.exchange(&request);
    let needed =
        [attribute::ERROR_CODE, attribute::REALM, attribute::NONCE, attribute::PASSWORD_ALGORITHMS];
    assert_eq!(stranger.kinds(), needed);
    assert_eq!((stranger.code(), stranger.phrase()), (401, String::new()));
    assert!(stranger.0.len() <= 4 * request.len(), "{}", stranger.0.len());
    let wrong = Credential::user("alice", "blunderland");
    let refused = client.with(wrong).try_allocate(|_| ());
    assert_eq!((refused.code(), &*refused.phrase()), (401, "wrong password for user \"alice\""));
}
