//! Every refusal says why: to the operator, and to a client that has proved its address.

mod common;
#[path = "process/server.rs"]
mod server;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Client, Credential, Peer};
use serde_json::Value;
use server::{LIMIT, Server};
use turnwire::auth::RestDigest;
use turnwire::config::known_keys;
use turnwire::control::causes_page;
use turnwire::stun::attribute;
use turnwire::turn::Cause;

const USERS: [&str; 4] = ["--user", "alice:wonder", "--user", "bob:builder"];

fn as_user(server: &Server, name: &str, password: &str) -> Client {
    Client::udp_to(server.udp()).with(Credential::user(name, password))
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn socket(server: &Server) -> PathBuf {
    server.scratch.path("state").join("admin.sock")
}

/// `turnwire explain` at work.
struct Follower {
    child: Child,
    lines: Receiver<Value>,
}

impl Follower {
    /// Begins to follow; when this returns, it does.
    fn start(server: &Server, whom: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnwire"))
            .args(["explain", "--json", "--socket", socket(server).to_str().unwrap()])
            .args(whom)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            let values = lines.map(|line| serde_json::from_str(&line).unwrap());
            values.take_while(|value: &Value| sender.send(value.clone()).is_ok()).for_each(drop);
        });
        let follower = Self { child, lines };
        assert_eq!(follower.next()["event"], "following");
        follower
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(LIMIT).expect("a line")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_cause_says_what_it_is_and_what_to_do() {
    for (place, entry) in Cause::ENTRIES.iter().enumerate() {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(entry.label.chars().all(word), "{entry:?}");
        assert!((300..700).contains(&entry.code), "{entry:?}");
        assert!(!entry.phrase.is_empty() && !entry.phrase.ends_with('.'), "{entry:?}");
        assert!(entry.hint.len() > 20 && entry.hint.ends_with('.'), "{entry:?}");
        // RFC 8489 §14.8
        assert!(entry.phrase.chars().count() < 128, "{entry:?}");
        // They stand in a table.
        assert!(!entry.phrase.contains('|') && !entry.hint.contains('|'), "{entry:?}");
        let same = Cause::ENTRIES.iter().position(|other| other.label == entry.label);
        assert_eq!(same, Some(place), "two causes of one name");
    }
}

#[test]
fn the_keys_that_the_hints_name_are_keys() {
    let keys: Vec<_> = known_keys().collect();
    let mut named = 0;
    for entry in Cause::ENTRIES {
        let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        for word in entry.hint.split(|c| !part(c)).map(|word| word.trim_end_matches('.')) {
            if word.contains('.') && word.starts_with(|c: char| c.is_ascii_lowercase()) {
                let is_section = || keys.iter().any(|key| key.starts_with(&format!("{word}.")));
                assert!(keys.contains(&word) || is_section(), "{word} in {entry:?}");
                named += 1;
            }
        }
    }
    assert!(named > 10, "{named}");
}

#[test]
fn the_page_of_all_causes_is_in_the_documentation() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md");
    let hint = "write it anew: turnwire explain --causes > docs/troubleshooting.md";
    assert_eq!(fs::read_to_string(kept).unwrap_or_default(), causes_page(), "{hint}");
}

/// Each of the kinds that an operator meets: the client reads the reason, the log has the cause.
#[test]
fn a_refusal_is_told_to_the_client_and_in_the_log() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let relay = common::unique_loopback();
    let first = common::free_ports(&[relay], 3);
    let ports = format!("{first}-{}", first + 2);
    let relay = relay.to_string();
    let relays = ["--relay-ip", &relay, "--relay-ports", &ports];
    let more = ["--secret", "north", "--deny-peer", "8.8.8.0/24"];
    let file = "[limits]\nallocations_per_user = 1\n";
    let mut server = {
        let scratch = server::Scratch::new();
        let path = scratch.path("server.toml");
        fs::write(&path, file).unwrap();
        let config = ["--config", path.to_str().unwrap()];
        Server::start_in(scratch, &[&config[..], &USERS, &more, &relays].concat())
    };
    let minted = |secret, name: &str| {
        let credential = Credential::ephemeral(RestDigest::Sha1, secret, name);
        Client::udp_to(server.udp()).with(credential)
    };
    let carol = format!("{}:carol", now + 60);
    let late = format!("{}:carol", now - 7200);
    let mut told = Vec::new();
    let mut refused = |cause: &'static str, answer: &common::Answer| {
        told.push((cause, answer.code(), answer.phrase()));
    };
    refused("unknown_user", &as_user(&server, "mallory", "x").try_allocate(|_| ()));
    refused("wrong_password", &as_user(&server, "alice", "x").try_allocate(|_| ()));
    refused("wrong_secret", &minted("south", &carol).try_allocate(|_| ()));
    refused("expired_credential", &minted("north", &late).try_allocate(|_| ()));
    let mut alice = as_user(&server, "alice", "wonder");
    refused("no_allocation", &alice.try_permit(&[at("8.8.4.4:1")]));
    alice.allocate();
    refused("allocation_exists", &alice.try_allocate(|_| ()));
    refused("peer_denied", &alice.try_permit(&[at("172.21.0.3:1")]));
    refused("peer_denied", &alice.try_permit(&[at("8.8.8.8:1")]));
    refused("peer_family", &alice.try_permit(&[at("[2a00:1450::1]:1")]));
    refused("user_quota", &as_user(&server, "alice", "wonder").try_allocate(|_| ()));
    let mut bob = alice.with(Credential::user("bob", "builder"));
    refused("wrong_user", &bob.try_permit(&[at("8.8.4.4:1")]));
    refused(
        "family_not_supported",
        &as_user(&server, "bob", "builder").try_allocate(|writer| {
            writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        }),
    );
    let others: Vec<_> = (0..3)
        .map(|n| {
            let mut client = minted("north", &format!("{}:user{n}", now + 60));
            (client.try_allocate(|_| ()), client)
        })
        .collect();
    refused("no_port", &others[2].0);

    server.signal("TERM");
    assert_eq!(server.exit(), Some(0));
    let lines = server.of("request_refused");
    assert_eq!(lines.len(), told.len(), "{lines:?}");
    for ((cause, code, phrase), line) in told.iter().zip(lines) {
        assert_eq!((&line["cause"], &line["code"]), (&(*cause).into(), &(*code).into()), "{line}");
        assert_eq!(line["level"], "INFO");
        assert!(!phrase.is_empty() && line["hint"].as_str().unwrap().len() > 20, "{line}");
        let said = line["message"].as_str().unwrap();
        assert!(said.starts_with(&format!("request refused: {phrase}")), "{said} or {phrase}");
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(!line["user"].is_null(), "{line}");
    }
    let phrase = |cause| &told.iter().find(|(of, ..)| *of == cause).unwrap().2;
    assert_eq!(phrase("expired_credential"), "the credential expired 2 h 0 min ago");
    assert_eq!(phrase("no_port"), &format!("no relay port is free of {ports}"));
    assert_eq!(phrase("user_quota"), "user \"alice\" has 1 allocations, the limit");
    let session = server.of("session_ended").into_iter().find(|it| it["user"] == "alice").unwrap();
    assert_eq!(session["last_refusal"], "wrong_user");
    assert_eq!(session["refusals"], 5);
}

#[test]
fn one_client_is_followed_live() {
    let server = Server::start(&[&USERS[..], &["--allow-peer", "127.0.0.0/8"]].concat());
    let follower = Follower::start(&server, &["--user", "alice"]);
    let (mut alice, mut bob) =
        (as_user(&server, "alice", "wonder"), as_user(&server, "bob", "builder"));
    bob.allocate();
    let relayed = alice.allocate();
    let line = follower.next();
    assert_eq!((&line["method"], &line["decision"]), (&"Allocate".into(), &"granted".into()));
    assert_eq!(line["given"]["relayed"], relayed.to_string());
    assert_eq!(line["client"], alice.local().to_string());
    assert_eq!(line["asked"]["transport"], "udp");
    assert_eq!(alice.try_permit(&[at("10.0.0.1:5"), at("10.0.0.2:5")]).code(), 403);
    let line = follower.next();
    assert_eq!((&line["cause"], &line["code"]), (&"peer_denied".into(), &403.into()));
    assert_eq!(line["asked"]["peer"][1], "10.0.0.2:5");
    assert!(line["hint"].as_str().unwrap().ends_with("--allow-peer 10.0.0.1/32"));
    let peer = Peer::new();
    for _ in 0..50 {
        alice.send(peer.address, b"nobody has permitted this");
    }
    alice.fence();
    let line = loop {
        let line = follower.next();
        if line["event"] == "dropped" {
            break line;
        }
    };
    assert_eq!(line["packets"]["no_permission"], 50);
    let session = line["session"].clone();
    assert_eq!(alice.refresh(0).code(), 0);
    let ended = loop {
        let line = follower.next();
        assert_eq!(line["user"], "alice", "{line}");
        if line["event"] == "session_ended" {
            break line;
        }
    };
    assert_eq!((&ended["session"], &ended["reason"]), (&session, &"deleted".into()));
    assert_eq!((&ended["refusals"], &ended["last_refusal"]), (&1.into(), &"peer_denied".into()));
}

#[test]
fn an_address_is_followed_whoever_comes_from_there() {
    let server = Server::start(&USERS);
    let follower = Follower::start(&server, &["--address", "127.0.0.0/8"]);
    assert_eq!(as_user(&server, "mallory", "x").try_allocate(|_| ()).code(), 401);
    let line = follower.next();
    // The first request of every client, which has no name.
    assert_eq!((&line["cause"], &line["address_proven"]), (&"challenge".into(), &false.into()));
    let line = follower.next();
    assert_eq!((&line["cause"], &line["user"]), (&"unknown_user".into(), &"mallory".into()));
    assert_eq!(line["address_proven"], true);
    let text = line.to_string();
    assert!(!text.contains("password\":") && !text.contains("nonce"), "{text}");
}

/// What is not read is left out and counted; every request is answered and every packet relayed.
#[test]
fn a_follower_that_does_not_read_loses_lines_and_nobody_a_packet() {
    let server = Server::start(&[&USERS[..], &["--allow-peer", "127.0.0.0/8"]].concat());
    let mut slow = UnixStream::connect(socket(&server)).unwrap();
    slow.set_read_timeout(Some(LIMIT)).unwrap();
    slow.write_all(b"GET /v1/explain?user=alice&for_seconds=60 HTTP/1.0\r\n\r\n").unwrap();
    let mut byte = [0; 1];
    slow.read_exact(&mut byte).unwrap();
    let mut alice = as_user(&server, "alice", "wonder");
    alice.allocate();
    let peer = Peer::new();
    alice.bind(0x4000, peer.address);
    for round in 0..4000_u32 {
        assert_eq!(alice.refresh(600).code(), 0);
        if round % 8 == 0 {
            alice.channel(0x4000, &round.to_be_bytes());
            assert_eq!(peer.receive().0, round.to_be_bytes());
        }
    }
    let mut lines = BufReader::new(slow).lines().map(Result::unwrap);
    let lost = lines.find_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        (line["event"] == "lost").then(|| line["lines"].as_u64().unwrap())
    });
    assert!(lost.unwrap() > 0);
}

#[test]
fn there_is_room_for_eight_and_who_goes_makes_some() {
    let server = Server::start(&USERS);
    let mut followers: Vec<_> =
        (0..8).map(|_| Follower::start(&server, &["--user", "alice"])).collect();
    let more = || {
        let socket = socket(&server);
        let args =
            ["explain", "--user", "bob", "--for", "1s", "--socket", socket.to_str().unwrap()];
        Command::new(env!("CARGO_BIN_EXE_turnwire")).args(args).output().unwrap()
    };
    let refused = more();
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("8 follow somebody already"), "{why}");
    drop(followers.pop());
    // It is noticed that it has gone, and then there is its place.
    common::eventually("there is room", || more().status.success().then_some(()));
}

#[test]
fn what_is_asked_for_is_understood_or_refused_in_words() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_turnwire")).args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, told) = run(&["explain", "peer_denied"]);
    assert_eq!(code, Some(0));
    assert!(told.starts_with("403 peer_denied: peer denied\n") && told.contains("--allow-peer"));
    let (code, told) = run(&["explain", "denied"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("there is no cause \"denied\"; see peer_denied"), "{told}");
    assert_eq!(run(&["explain", "--causes"]), (Some(0), causes_page()));
    assert_eq!(run(&["explain", "peer_denied", "--user", "alice"]).0, Some(2));
    let server = Server::start(&USERS);
    let socket = socket(&server);
    let socket = socket.to_str().unwrap();
    let (code, told) = run(&["explain", "--socket", socket]);
    assert_eq!((code, &*told), (Some(1), "say whom to follow: by user, address or realm\n"));
    let (code, told) = run(&["explain", "--address", "10.0.0.0/40", "--socket", socket]);
    assert_eq!(code, Some(1));
    assert!(told.contains("must be an IP address or a CIDR"), "{told}");
    let (code, told) = run(&["explain", "--user", "alice", "--for", "1s", "--socket", socket]);
    let expected = "following user alice for 1 s\nthe time is over\n";
    assert_eq!((code, &*told), (Some(0), expected));
}

#[test]
fn a_session_shows_what_was_refused_to_it_last() {
    let server = Server::start(&USERS);
    let mut alice = as_user(&server, "alice", "wonder");
    alice.allocate();
    let run = |args: &[&str]| {
        let socket = socket(&server);
        let args = [args, &["--socket", socket.to_str().unwrap()]].concat();
        let output = Command::new(env!("CARGO_BIN_EXE_turnwire")).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let list = || -> Value { serde_json::from_str(&run(&["sessions", "list", "--json"])).unwrap() };
    assert_eq!(list()["sessions"][0]["last_refusal"], Value::Null);
    assert_eq!(alice.try_permit(&[at("10.0.0.1:5")]).code(), 403);
    let list = list();
    let session = &list["sessions"][0];
    assert_eq!(session["refusals"], 1);
    let last = &session["last_refusal"];
    assert_eq!((&last["cause"], &last["peer"]), (&"peer_denied".into(), &"10.0.0.1".into()));
    let text = run(&["sessions", "show", session["id"].as_str().unwrap()]);
    let told = "403 peer denied, 10.0.0.1 by built-in 10.0.0.0/8 (private address of RFC 1918)";
    assert!(text.contains(told), "{text}");
}

/// Programs that ban addresses look for `client=ADDRESS:PORT cause="..."`: nobody gets another one's address in there.
#[test]
fn a_name_cannot_forge_a_line_of_the_log() {
    let server = common::Setup::new().start();
    let name = "x\" client=9.9.9.9:1 cause=\"wrong_password\" code=401\nINFO request refused";
    let credential = Credential::user(name, "x");
    let mut client = Client::udp(&server).with(credential);
    assert_eq!(client.try_allocate(|_| ()).code(), 401);
    let line = common::eventually("the line", || {
        server.log().lines().find(|line| line.contains("9.9.9.9")).map(str::to_owned)
    });
    let mark = format!(" client={} cause=\"unknown_user\" code=401 ", client.local());
    assert_eq!(line.matches(&mark).count(), 1, "{line}");
    // What a filter would take for an address and its cause.
    let found = line.match_indices(" client=").filter(|(at, _)| {
        let rest = &line[at + " client=".len()..];
        rest.split_once(' ').is_some_and(|(_, rest)| rest.starts_with("cause=\""))
    });
    assert_eq!(found.count(), 1, "{line}");
    assert!(line.contains(" INFO request refused: unknown user "), "{line}");
}
