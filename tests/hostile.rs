//! A hostile client's day: whatever strangers send, memory stays flat, calls go on, and every
//! packet is accounted for.

mod common;

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Leg, Peer, Server, Setup, eventually, new_id, plain};
use turnwire::stun::{Kind, Method, attribute};

/// Few answers for strangers, few connections that only wait. Exempt are only those who are to
/// get as far as they can.
const LIMITS: &str = "
[limits]
exempt = ['127.200.0.0/16']
unauthenticated_per_second = 5
[limits.streams]
without_allocation = 64
per_address = 100000
";
/// Packets between two looks at the counters: as many as a default socket buffer holds.
const BURST: usize = 200;
/// What the server may grow by on its first bad day: packets have to be put somewhere.
const FIRST_GROWTH: u64 = 4 << 20;
/// And on one of the next ones: what there is has to do. What leaks does so each time.
const GROWTH: u64 = 1 << 20;

/// Sockets on addresses of their own in 127.0.0.0/8, not those of the call.
fn attackers(count: u16) -> Vec<UdpSocket> {
    (0..count).map(|number| attacker(number.into())).collect()
}

fn attacker(number: u32) -> UdpSocket {
    let [_, b, c, d] = (0x0064_0000 + number).to_be_bytes();
    let ip = Ipv4Addr::new(127, b, c, d);
    UdpSocket::bind((ip, 0)).expect("a socket")
}

/// UDP packets from strangers that the server has dropped, refused or answered.
fn accounted(server: &Server) -> u64 {
    let core = |series: &str| {
        let own = ["send_", "queue_full"];
        let drop = series.starts_with("turnwire_drops_total{");
        let sent_by_us = own.iter().any(|reason| series.contains(&format!("\"{reason}")));
        (drop && !sent_by_us)
            || series.starts_with("turnwire_refusals_total{")
            || series == "turnwire_bindings_total"
    };
    let metrics = server.metrics();
    metrics.iter().filter(|(series, _)| core(series)).map(|(_, value)| value).sum()
}

/// Sends packets in bursts, each accounted for before the next: so nothing is lost on the way.
fn flood<'a>(
    server: &Server,
    attackers: &[UdpSocket],
    count: usize,
    packet: impl Fn(usize) -> std::borrow::Cow<'a, [u8]>,
) {
    for burst in (0..count).step_by(BURST) {
        let before = accounted(server);
        let end = count.min(burst + BURST);
        for number in burst..end {
            let socket = &attackers[number % attackers.len()];
            socket.send_to(&packet(number), server.address()).expect("it can be sent");
        }
        let all = before + (end - burst) as u64;
        eventually("a burst is accounted for", || (accounted(server) >= all).then_some(()));
        assert_eq!(accounted(server), all);
    }
}

/// Packets that nobody ought to send: each kind in turn.
fn garbage(number: usize) -> std::borrow::Cow<'static, [u8]> {
    let mut packet = match number % 6 {
        0 => vec![0xFF; 1 + number % 400],
        1 => plain(Kind::success(Method::BINDING), &new_id(), |_| ()),
        2 => {
            let mut wrong = plain(Kind::request(Method::BINDING), &new_id(), |w| w.fingerprint());
            wrong[27] ^= 1;
            wrong
        }
        3 => vec![0x40; 4 + number % 100],
        4 => vec![0; number % 60],
        _ => plain(Kind::indication(Method::SEND), &new_id(), |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, SocketAddr::from(([8; 4], 8)));
            writer.attribute(attribute::DATA, b"relay this");
        }),
    };
    if let Some(last) = packet.last_mut() {
        *last ^= u8::from(number.is_multiple_of(7));
    }
    packet.into()
}

/// One round trip after the other, of which not one may be lost.
fn call(mut client: Client, trips: &AtomicU32, over: &AtomicBool) {
    let peer = Peer::new();
    let relayed = client.allocate();
    client.bind(0x4000, peer.address);
    while !over.load(Ordering::Relaxed) {
        let payload = trips.load(Ordering::Relaxed).to_be_bytes().repeat(40);
        client.channel(0x4000, &payload);
        assert_eq!(peer.payload(), payload);
        peer.send(relayed, &payload);
        assert_eq!(client.channel_data(), (0x4000, payload));
        trips.fetch_add(1, Ordering::Relaxed);
        // The pace of a call.
        thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the calls even when the test fails, so that it fails at once.
struct HangUp<'a>(&'a AtomicBool);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The most refusals that the log tells in a minute, of which nothing here touches more than two.
const REFUSALS: usize = 2 * 64;

/// Runs an attack twice as two calls go on, over UDP and TCP, with an eye on the memory. What the
/// attacker holds is given back after the look.
fn under_attack<T>(attack: impl Fn(&Server) -> T) {
    let server = Setup::with_local_peers().flag("--workers", 2).config(LIMITS).start();
    let (over, trips) = (AtomicBool::new(false), [const { AtomicU32::new(0) }; 2]);
    let calls_go_on = || {
        let before = trips.each_ref().map(|trips| trips.load(Ordering::Relaxed));
        eventually("both calls go on", || {
            let gone_on =
                |(trips, before): (&AtomicU32, _)| trips.load(Ordering::Relaxed) > before + 5;
            trips.iter().zip(before).all(gone_on).then_some(())
        });
    };
    thread::scope(|scope| {
        let hang_up = HangUp(&over);
        let calls = Client::both(&server).into_iter().zip(&trips);
        let calls: Vec<_> =
            calls.map(|(client, trips)| scope.spawn(|| call(client, trips, &over))).collect();
        calls_go_on();
        let mut grown = (0..4).map(|_| {
            let before = server.resident();
            let held = attack(&server);
            let grown = server.resident().saturating_sub(before);
            drop(held);
            calls_go_on();
            grown
        });
        let first = grown.next().expect("the first");
        assert!(first < FIRST_GROWTH, "{first} bytes more than before");
        assert!(grown.any(|grown| grown < GROWTH), "each time some more");
        drop(hang_up);
        calls.into_iter().for_each(|call| call.join().expect("a call without loss"));
    });
    let log = server.log();
    let (told, rest): (Vec<_>, Vec<_>) =
        log.lines().partition(|line| line.contains("request refused"));
    assert!(told.len() <= REFUSALS, "{} refusals in the log", told.len());
    assert!(rest.concat().len() < 10_000, "a flood writes no log");
}

#[test]
fn a_flood_of_garbage() {
    let attackers = attackers(100);
    under_attack(|server| flood(server, &attackers, 40_000, garbage));
}

/// Answered within the limit of each address, counted beyond it; no counter lies.
#[test]
fn a_flood_of_bindings() {
    let attackers = attackers(50);
    let binding = plain(Kind::request(Method::BINDING), &new_id(), |_| ());
    under_attack(|server| {
        let answers = || -> u64 {
            let socket = |socket: &UdpSocket| {
                socket.set_nonblocking(true).expect("an option");
                (0..).take_while(|_| socket.recv(&mut [0; 64]).is_ok()).count() as u64
            };
            attackers.iter().map(socket).sum()
        };
        let (start, before) = (Instant::now(), server.metric("bindings_total"));
        flood(server, &attackers, 30_000, |_| binding.as_slice().into());
        let answered = server.metric("bindings_total") - before;
        // Ten at once and five a second for each of fifty.
        let most = 50 * (10 + (start.elapsed().as_secs_f64() * 5.0) as u64 + 1);
        assert!((50..=most).contains(&answered), "{answered} of 30,000");
        let mut arrived = 0;
        eventually("every answer arrives", || {
            arrived += answers();
            (arrived == answered).then_some(())
        });
    });
}

/// Each from another address: none of them is remembered.
#[test]
fn a_flood_of_unauthenticated_allocates_from_many_addresses() {
    let allocate = plain(Kind::request(Method::ALLOCATE), &new_id(), |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    under_attack(|server| {
        let before = server.refusals("challenge", 401);
        for number in (0..20_000).step_by(BURST) {
            let all: Vec<_> = (number..number + BURST as u32).map(attacker).collect();
            flood(server, &all, BURST, |_| allocate.as_slice().into());
        }
        let challenged = server.refusals("challenge", 401) - before;
        assert!(challenged > 10_000, "{challenged} of 20,000 are challenged");
        assert_eq!(server.live(), 2);
    });
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Connections that say half a message and wait, as long as they are let.
#[test]
fn a_flood_of_half_open_connections() {
    // The header of a message that would be as long as a stranger's may be.
    let mut begun = vec![0, 3, 0x0F, 0xC0, 0x21, 0x12, 0xA4, 0x42];
    begun.resize(4000, 0);
    under_attack(|server| {
        let mut open = Vec::new();
        for number in 0..600 {
            let mut stream = TcpStream::connect(server.address()).expect("a connection");
            // Another one's connection may have taken its place before it was heard.
            match stream.write_all(&begun[..1 + number * 7 % 3999]) {
                Err(error) if !is_closed(&error) => panic!("{error}"),
                _ => open.push(stream),
            }
            if open.len() > 200 {
                open.remove(0);
            }
        }
        eventually("the oldest of them are closed", || {
            // 32 on each of two workers, and the call over TCP.
            (server.metric("streams_live") <= 65).then_some(())
        });
        open
    });
}

/// Connections that ask and ask and do not read the answers.
#[test]
fn a_flood_of_questions_whose_answers_nobody_reads() {
    let binding = plain(Kind::request(Method::BINDING), &new_id(), |_| ());
    let questions = binding.repeat(500);
    under_attack(|server| {
        let exempt = |last| IpAddr::V4(Ipv4Addr::new(127, 200, 0, last));
        let mut open: Vec<_> =
            (1..=6).map(|last| Client::tcp_from(exempt(last), server.address())).collect();
        for client in &mut open {
            let Leg::Tcp(stream, _) = &mut client.leg else {
                unreachable!("it is on TCP");
            };
            // Until it is closed: far more than the sockets between the two hold.
            let ended = (0..2000).find_map(|_| stream.write_all(&questions).err());
            assert!(ended.as_ref().is_some_and(is_closed), "{ended:?}");
        }
        open
    });
}

/// Wrong passwords cost a look at the user and nothing that stays.
#[test]
fn a_flood_of_wrong_passwords() {
    under_attack(|server| {
        let refused = server.refusals("wrong_password", 401);
        for number in 0..500 {
            let ip =
                IpAddr::V4(Ipv4Addr::new(127, 101, (number / 250) as u8, (number % 250 + 1) as u8));
            let guess = common::Credential::user("alice", &format!("guess {number}"));
            let mut client = Client::udp_from(ip, server.address()).with(guess);
            for _ in 0..4 {
                assert_eq!(client.try_allocate(|_| ()).code(), 401);
            }
        }
        assert_eq!(server.refusals("wrong_password", 401), refused + 2000);
        assert_eq!(server.live(), 2);
    });
}
