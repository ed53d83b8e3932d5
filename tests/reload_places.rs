//! Relay addresses and ports that change with SIGHUP, under live calls.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use common::{Client, Peer, free_ports, unique_loopback};
use configured::Configured;
use process::Server;
use turnwire::stun::{Kind, Message, Method, Writer, attribute};

const CHANNEL: u16 = 0x4000;

fn config(relay: &str) -> String {
    format!(
        "[auth]\nusers.alice = \"wonder\"\n[peers]\nallow = [\"127.0.0.0/8\"]\n[relay]\n{relay}\n"
    )
}

#[track_caller]
fn assert_relays(client: &mut Client, relayed: SocketAddr, peer: &Peer) {
    client.channel(CHANNEL, b"there");
    assert_eq!(peer.receive(), (b"there".to_vec(), relayed));
    peer.send(relayed, b"and back");
    assert_eq!(client.channel_data(), (CHANNEL, b"and back".to_vec()));
}

#[test]
fn new_allocations_are_made_where_the_file_says_now() {
    let [first, second]: [IpAddr; 2] = [unique_loopback(), unique_loopback()];
    let mut configured = Configured::start(&config(&format!("addresses = [\"{first}\"]")));
    let (mut old, peer) = (configured.client("alice", "wonder"), Peer::new());
    let before = old.allocate();
    assert_eq!(before.ip(), first);
    old.bind(CHANNEL, peer.address);
    configured.accepts(&config(&format!("addresses = [\"{second}\"]")));
    let mut new = configured.client("alice", "wonder");
    let after = new.allocate();
    assert_eq!(after.ip(), second);
    new.bind(CHANNEL, peer.address);
    assert_relays(&mut old, before, &peer);
    assert_relays(&mut new, after, &peer);
    assert_eq!(old.refresh(600).code(), 0);
}

#[test]
fn ports_come_from_the_range_of_now_and_none_is_given_twice() {
    let ip = unique_loopback();
    let first = free_ports(&[ip], 4);
    let ports =
        |from: u16, to: u16| config(&format!("addresses = [\"{ip}\"]\nports = \"{from}-{to}\""));
    let mut configured = Configured::start(&ports(first, first + 1));
    let allocate = |configured: &Configured| {
        let mut client = configured.client("alice", "wonder");
        let answer = client.try_allocate(|_| ());
        (client, if answer.code() == 0 { answer.relayed().port() } else { 0 })
    };
    let one = allocate(&configured);
    let two = allocate(&configured);
    assert_eq!(allocate(&configured).1, 0);
    configured.accepts(&ports(first + 1, first + 2));
    let three = allocate(&configured);
    assert_eq!((three.1, allocate(&configured).1), (first + 2, 0));
    configured.accepts(&ports(first, first + 3));
    assert_eq!((allocate(&configured).1), first + 3);
    let mut given = [one.1, two.1];
    given.sort_unstable();
    assert_eq!(given, [first, first + 1]);
}

#[test]
fn an_address_that_is_not_this_hosts_changes_nothing() {
    let first = config("addresses = [\"127.0.0.1\"]");
    let mut configured = Configured::start(&first);
    let wrong = config("addresses = [\"192.0.2.1\"]").replace("alice", "carol");
    let message = configured.refuses(&wrong);
    assert!(message.contains("cannot relay from 192.0.2.1"), "{message}");
    assert_eq!(configured.client("carol", "wonder").try_allocate(|_| ()).code(), 401);
    assert_eq!(configured.client("alice", "wonder").allocate().ip().to_string(), "127.0.0.1");
    configured.accepts(&first);
}

#[test]
fn the_address_outside_is_another_one_for_those_who_come() {
    let outside = |ip: &str| config(&format!("addresses = [\"127.0.0.1\"]\nexternal = [\"{ip}\"]"));
    let mut configured = Configured::start(&outside("203.0.113.1"));
    let mut old = configured.client("alice", "wonder");
    let before = old.allocate();
    configured.accepts(&outside("203.0.113.2"));
    let mut new = configured.client("alice", "wonder");
    let after = new.allocate();
    assert_eq!(
        (before.ip().to_string(), after.ip().to_string()),
        ("203.0.113.1".into(), "203.0.113.2".into())
    );
    // They reach each other, each by the name that it has.
    old.bind(CHANNEL, after);
    new.bind(CHANNEL, before);
    old.channel(CHANNEL, b"to the new one");
    assert_eq!(new.channel_data(), (CHANNEL, b"to the new one".to_vec()));
    new.channel(CHANNEL, b"to the old one");
    assert_eq!(old.channel_data(), (CHANNEL, b"to the old one".to_vec()));
}

/// A STUN server that sees everybody under one address, which can change; without one it is silent.
struct Mirror(std::sync::Arc<std::sync::Mutex<&'static str>>, SocketAddr);

impl Mirror {
    fn new(seen: &'static str) -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let (seen, address) =
            (std::sync::Arc::new(std::sync::Mutex::new(seen)), socket.local_addr());
        let shown = seen.clone();
        std::thread::spawn(move || {
            let mut packet = [0; 100];
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                let seen = *shown.lock().expect("nobody panics");
                let Ok(request) = Message::parse(&packet[..length]) else { continue };
                let mut buffer = [0; 100];
                let (kind, id) = (Kind::success(Method::BINDING), request.transaction_id());
                let mut writer = Writer::new(&mut buffer, kind, &id);
                let Ok(seen) = seen.parse() else { continue };
                let mapped = SocketAddr::new(seen, client.port());
                writer.xor_address(attribute::XOR_MAPPED_ADDRESS, mapped);
                let length = writer.finish().expect("it fits");
                let _ = socket.send_to(&buffer[..length], client);
            }
        });
        Self(seen, address.expect("an address"))
    }

    fn show(&self, seen: &'static str) {
        *self.0.lock().expect("nobody panics") = seen;
    }
}

/// What a host behind a 1:1 NAT gets from its provider one night.
#[test]
fn an_address_outside_that_changes_is_found_and_holds_for_new_allocations() {
    let mirror = Mirror::new("203.0.113.7");
    let text = config(&format!(
        "addresses = [\"127.0.0.1\"]\nstun_server = \"{}\"\ncheck_interval = \"1s\"",
        mirror.1
    ));
    let mut configured = Configured::start(&text);
    // Not at the relay address, whose ports are known by the address outside.
    let (mut old, peer) = (configured.client("alice", "wonder"), Peer::at(unique_loopback()));
    let before = old.allocate();
    assert_eq!(before.ip().to_string(), "203.0.113.7");
    old.bind(CHANNEL, peer.address);
    mirror.show("203.0.113.8");
    let line = configured.server.line("external_address_changed");
    assert_eq!((&line["before"], &line["now"]), (&"203.0.113.7".into(), &"203.0.113.8".into()));
    let after = configured.client("alice", "wonder").allocate();
    assert_eq!(after.ip().to_string(), "203.0.113.8");
    let local = SocketAddr::new("127.0.0.1".parse().unwrap(), before.port());
    assert_relays(&mut old, local, &peer);
    // A reload that has nothing to do with it does not bring the old one back.
    configured.accepts(&text.replace("wonder", "again"));
    let again = configured.client("alice", "again").allocate();
    assert_eq!(again.ip().to_string(), "203.0.113.8");
}

#[test]
fn a_reload_while_the_stun_server_is_silent_keeps_what_it_has_said() {
    let mirror = Mirror::new("203.0.113.7");
    let text = format!("addresses = [\"127.0.0.1\"]\nstun_server = \"{}\"", mirror.1);
    let mut configured = Configured::start(&config(&text));
    let outside =
        |configured: &Configured| configured.client("alice", "wonder").allocate().ip().to_string();
    assert_eq!(outside(&configured), "203.0.113.7");
    mirror.show("");
    let other = text.replace("\"127.0.0.1\"", "\"127.0.0.1\", \"::1\"");
    configured.accepts(&config(&other));
    assert_eq!(outside(&configured), "203.0.113.7");
}

/// A service manager ends who does not feed its watchdog, and nobody waits for a STUN server for ever.
#[test]
fn a_stun_server_that_is_silent_holds_up_a_reload_for_a_while_and_no_pulse() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let scratch = process::Scratch::new();
    let file = scratch.path("server.toml");
    let before = config("addresses = [\"127.0.0.1\"]");
    std::fs::write(&file, &before).expect("a file");
    let flags = ["--config", file.to_str().expect("UTF-8"), "--workers", "2"];
    let server = Server::spawn_with(scratch, &flags, &[("WATCHDOG_USEC", "3000000")]);
    let mut configured = Configured { server, file };
    configured.server.told("READY=1");
    let many: Vec<_> = (0..8).map(|_| format!("\"{}\"", unique_loopback())).collect();
    let stun = silent.local_addr().expect("an address");
    let after = format!("addresses = [{}]\nstun_server = \"{stun}\"", many.join(", "));
    std::fs::write(&configured.file, config(&after)).expect("a file");
    let begun = Instant::now();
    configured.server.signal("HUP");
    silent.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    silent.recv(&mut [0; 100]).expect("a question");
    configured.server.hear_nothing_of_before();
    configured.server.told("WATCHDOG=1");
    configured.server.told("WATCHDOG=1");
    // Not only when it is over.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    let line = configured.server.line_of(&["reloaded", "reload_failed"]);
    let message = line["message"].as_str().expect("a message");
    assert!(
        message.contains("nothing was changed: to find the addresses took longer than 15 s"),
        "{message}"
    );
    assert_eq!(configured.client("alice", "wonder").allocate().ip().to_string(), "127.0.0.1");
    configured.accepts(&before);
    // It is asked still, for the rest of the addresses, and that holds up nobody.
    let asked = Instant::now();
    configured.server.signal("TERM");
    assert_eq!(configured.server.exit(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}
