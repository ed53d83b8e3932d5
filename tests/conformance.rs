//! `turnwire check --conformance`: this server passes, and no case passes at a server that breaks its sentence.

mod common;
#[path = "process/server.rs"]
mod server;

#[path = "conformance/allocate.rs"]
mod allocate;
#[path = "conformance/allowed.rs"]
mod allowed;
#[path = "conformance/auth.rs"]
mod auth;
#[path = "conformance/corners.rs"]
mod corners;
#[path = "conformance/draft.rs"]
mod draft;
#[path = "conformance/families.rs"]
mod families;
#[path = "conformance/lateness.rs"]
mod lateness;
#[path = "conformance/mobility.rs"]
mod mobility;
#[path = "conformance/relay.rs"]
mod relay;
#[path = "conformance/saboteur.rs"]
mod saboteur;
#[path = "conformance/stun.rs"]
mod stun;
#[path = "conformance/tcp.rs"]
mod tcp;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use corners::{Corners, Flaw};
use draft::{REALM, SECRET};
use saboteur::{Deed, Out, Saboteur};
use serde_json::Value;
use server::{Scratch, Server};

/// One thing that is wrong, and the cases that must see it.
pub(crate) struct Broken {
    what: &'static str,
    deed: Deed,
    cases: &'static [&'static str],
    /// Whether all that can be seen is that something does not come.
    silent: bool,
}

pub(crate) const fn broken(
    what: &'static str,
    deed: Deed,
    cases: &'static [&'static str],
) -> Broken {
    Broken { what, deed, cases, silent: false }
}

/// What is seen by nothing coming.
pub(crate) const fn silent(
    what: &'static str,
    deed: Deed,
    cases: &'static [&'static str],
) -> Broken {
    Broken { what, deed, cases, silent: true }
}

const MINTED: &[&str] = &["--secret", SECRET];
const ALICE: &[&str] = &["--user", "alice", "--password", "wonder"];
/// What is proved elsewhere or cannot be broken by a proxy.
const ELSEWHERE: &[&str] = &[
    // The proxy does not speak DTLS. It was seen to fail at this very server, which said 400.
    "stun.classic-secure-refused",
];

/// With the secret that users are minted from.
fn start() -> Server {
    start_with("[turn]\nmobility = true\n", &["--secret", SECRET])
}

/// With a user whose name may be hidden, which ephemeral names cannot be.
fn start_hidden() -> Server {
    start_with("[auth]\nusername_anonymity = true\n", &["--user", "alice:wonder"])
}

/// With relays of both families.
fn start_six() -> Server {
    start_with("", &["--secret", SECRET, "--relay-ip", "::1", "--allow-peer", "::1/128"])
}

fn start_with(config: &str, who: &[&str]) -> Server {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("t.toml"), config).unwrap();
    let flags = ["--config", "t.toml", "--relay-ip", "127.0.0.1", "--allow-peer", "127.0.0.0/8"];
    let more = ["--realm", REALM, "--nat-alternate", "127.0.0.2:0"];
    Server::start_in(scratch, &[&flags[..], who, &more].concat())
}

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnwire"));
    command.args(["check", "--conformance"]).args(words).output().unwrap()
}

/// The same with this on its standard input.
fn run_with(input: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnwire"));
    command.args(["check", "--conformance"]).args(words).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn examine(place: SocketAddr, who: &[&str], only: &[&str]) -> Vec<Value> {
    // Where no datagram is answered, the rest goes by TCP.
    let tcp = if only.contains(&"stun.binding-udp") { "?transport=tcp" } else { "" };
    let uri = format!("turn:{place}{tcp}");
    let only: Vec<_> = only.iter().flat_map(|name| ["--only", name]).collect();
    examine_uri(&uri, &[who, &only].concat())
}

fn examine_uri(uri: &str, words: &[&str]) -> Vec<Value> {
    let output = run(&[&[uri, "--json"], words].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    // People read why, and no Rust.
    assert!(["Some(", "Ok(", "Err("].iter().all(|it| !text.contains(it)), "{found:#}");
    found["servers"][0]["cases"].as_array().unwrap().clone()
}

/// Those that did not pass, and why.
fn unsound(cases: &[Value]) -> Vec<String> {
    let unsound = cases.iter().filter(|case| case["status"] != "passed");
    unsound.map(|case| format!("{} {}: {}", case["name"], case["status"], case["why"])).collect()
}

#[test]
fn this_server_passes_every_case_that_can_be_tried_here() {
    let server = start();
    let cases = examine(server.udp(), MINTED, &[]);
    // What takes another configuration, or DTLS.
    let elsewhere = ["auth.userhash", "channel.teredo", "channel.6to4"];
    let skipped = ["stun.classic-secure-refused", "stun.software", "nat.change-unsupported"];
    let expected = [&elsewhere[..], &skipped].concat();
    let fits =
        |it: &&String| expected.iter().any(|name| it.contains(name) && it.contains("skipped"));
    let other: Vec<_> = unsound(&cases).into_iter().filter(|it| !fits(&it)).collect();
    assert!(other.is_empty(), "{other:#?}");
    let hidden = examine(start_hidden().udp(), ALICE, &["auth.userhash"]);
    assert!(unsound(&hidden).is_empty(), "{:?}", unsound(&hidden));
    let six = examine(start_six().udp(), MINTED, &["channel.", "allocate"]);
    assert!(unsound(&six).is_empty(), "{:?}", unsound(&six));
}

#[cfg(feature = "dtls")]
#[test]
fn this_server_passes_over_dtls_as_well() {
    let (authority, scratch) = (common::Authority::new("authority"), Scratch::new());
    let names = ["localhost", "127.0.0.1"];
    authority.issue_for(&names, 80, &rcgen::PKCS_ECDSA_P256_SHA256).put(&scratch.0);
    common::certificate::put(&scratch.0, "ca.pem", &authority.pem());
    let tls = ["--cert", "chain.pem", "--key", "key.pem", "--secret", SECRET];
    let relay = ["--relay-ip", "127.0.0.1", "--allow-peer", "127.0.0.0/8"];
    let server = Server::start_in(scratch, &[&tls[..], &relay].concat());
    let (uri, ca) =
        (format!("turns:{}?transport=udp", server.udp()), server.scratch.path("ca.pem"));
    // Those that say something else by DTLS, and some that go through it.
    let only = ["--only", "stun,channel,send,data", "--ca", ca.to_str().unwrap()];
    let found = unsound(&examine_uri(&uri, &[MINTED, &only].concat()));
    // There are no IPv6 relays.
    let skipped = ["stun.software", "channel.teredo", "channel.6to4"];
    let fits = |it: &String| skipped.iter().any(|name| it.contains(name));
    assert!(found.len() == 3 && found.iter().all(fits), "{found:#?}");
}

#[test]
fn the_proxy_alone_is_not_noticed() {
    let server = start();
    let proxy = Saboteur::start(server.udp(), Deed::Nothing);
    // Discovery is about addresses, and the proxy has one of its own.
    let rooms = "stun auth allocate refresh permission send data channel tcp mobility";
    let rooms: Vec<_> = rooms.split(' ').collect();
    let direct = unsound(&examine(server.udp(), MINTED, &rooms));
    assert_eq!(unsound(&examine(proxy.place, MINTED, &rooms)), direct);
}

#[test]
fn a_server_that_relays_nothing_is_not_sound() {
    let server = start();
    let proxy = Saboteur::start(server.udp(), lateness::NOTHING_SENT);
    let uri = format!("turn:{}", proxy.place);
    let output = run(&[&[&*uri, "--json"], MINTED, &["--only", "send.data"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    for case in found["servers"][0]["cases"].as_array().unwrap() {
        assert!(case["status"] == "unable" && case["why"].to_string().contains("does not arrive"));
    }
}

/// Copies of a request are all answered, and a while passes before any data do: neither is a fault.
#[test]
fn what_is_late_is_not_taken_for_what_is_wrong() {
    let server = start();
    let twice = Saboteur::start(server.udp(), lateness::TWICE);
    let silent = "channel.allocation-missing-silent";
    let received = ["data", "channel.from-peer", "channel.permission", silent, "mobility.new"];
    assert_eq!(unsound(&examine(twice.place, MINTED, &received)), [""; 0]);
    let slow = Saboteur::start(server.udp(), lateness::RECEIVED_LATE);
    let received = ["data.data", "channel.from-peer", "mobility.new-receives"];
    assert_eq!(unsound(&examine(slow.place, MINTED, &received)), [""; 0]);
    let slow = Saboteur::start(server.udp(), lateness::SENT_LATE);
    let mixed = ["channel.to-peer", "channel.send-beside", "mobility.new-sends"];
    let sent = [&mixed[..], &["send.data", "send.dont-fragment"]].concat();
    assert_eq!(unsound(&examine(slow.place, MINTED, &sent)), [""; 0]);
}

#[test]
fn what_a_server_may_do_is_not_called_broken() {
    let server = start();
    let place = server.udp();
    let called: Vec<String> = std::thread::scope(|scope| {
        let look = |it: &'static allowed::Allowed| {
            let proxy = Saboteur::start(place, it.deed);
            let cases = examine(proxy.place, MINTED, &[it.case]);
            let wrong = cases.iter().filter(|case| case["name"] == it.case);
            let wrong = wrong.filter(|case| case["status"] != it.status);
            wrong.map(|case| format!("{}: {case:#}", it.what)).collect::<Vec<_>>()
        };
        let threads: Vec<_> =
            allowed::ALLOWED.iter().map(|it| scope.spawn(move || look(it))).collect();
        threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    assert!(called.is_empty(), "{}", called.join("\n"));
}

/// Breaks one thing after another and looks whether the cases see it.
fn each_is_seen(server: Server, who: &[&str], all: &[Broken]) {
    let next = AtomicUsize::new(0);
    let place = server.udp();
    let unseen: Vec<String> = std::thread::scope(|scope| {
        let look = || {
            let mut unseen = Vec::new();
            while let Some(broken) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                let proxy = Saboteur::start(place, broken.deed);
                for case in examine(proxy.place, who, broken.cases) {
                    let named = broken.cases.iter().any(|name| case["name"] == *name);
                    let why = case["why"].as_str().unwrap_or_default();
                    // Whatever breaks the way to the server is seen so, by every case.
                    let silence = ["there is no answer", "nothing arrives"];
                    let nothing = silence.iter().any(|it| why.contains(it));
                    if named && (case["status"] != "failed" || nothing && !broken.silent) {
                        unseen.push(format!("{}: {case:#}", broken.what));
                    }
                }
            }
            unseen
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(look)).collect();
        threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}

#[test]
fn what_is_wrong_with_stun_is_seen() {
    each_is_seen(start(), MINTED, stun::BROKEN);
}

#[test]
fn what_is_wrong_with_credentials_is_seen() {
    each_is_seen(start(), MINTED, auth::BROKEN);
    each_is_seen(start_hidden(), ALICE, auth::HIDDEN);
}

#[test]
fn what_is_wrong_with_allocations_is_seen() {
    each_is_seen(start(), MINTED, allocate::BROKEN);
}

#[test]
fn what_is_wrong_with_relaying_is_seen() {
    each_is_seen(start(), MINTED, relay::BROKEN);
    each_is_seen(start(), MINTED, relay::OPEN);
}

#[test]
fn what_is_wrong_with_families_and_reservations_is_seen() {
    each_is_seen(start(), MINTED, families::BROKEN);
    each_is_seen(start_six(), MINTED, families::TUNNELS);
}

#[test]
fn what_is_wrong_with_tcp_allocations_is_seen() {
    each_is_seen(start(), MINTED, tcp::BROKEN);
    each_is_seen(start(), MINTED, tcp::OPEN);
}

#[test]
fn what_is_wrong_with_mobility_is_seen() {
    each_is_seen(start(), MINTED, mobility::BROKEN);
}

#[test]
fn what_is_wrong_with_nat_discovery_is_seen() {
    let nat = |flaw: Flaw, only: &[&str]| {
        let corners = Corners::start(flaw);
        let only: Vec<_> = only.iter().flat_map(|name| ["--only", name]).collect();
        examine_uri(&format!("stun:{}", corners.place), &only)
    };
    let sound = unsound(&nat(Flaw::Nothing, &["nat."]));
    assert!(sound.len() == 1 && sound[0].contains("nat.change-unsupported"), "{sound:?}");
    assert!(unsound(&nat(Flaw::Alone, &["nat.change-unsupported"])).is_empty());
    for (flaw, cases) in corners::FLAWS {
        for case in nat(*flaw, cases) {
            let named = cases.iter().any(|name| case["name"] == *name);
            assert!(!named || case["status"] == "failed", "{flaw:?}: {case:#}");
        }
    }
}

#[test]
fn every_case_is_proved_able_to_fail() {
    let all = [
        stun::BROKEN,
        auth::BROKEN,
        auth::HIDDEN,
        allocate::BROKEN,
        relay::BROKEN,
        relay::OPEN,
        families::BROKEN,
        families::TUNNELS,
        tcp::BROKEN,
        tcp::OPEN,
        mobility::BROKEN,
    ];
    let all = all.iter().copied().flatten().map(|it| it.cases);
    let all = all.chain(corners::FLAWS.iter().map(|(_, cases)| *cases));
    let proved: BTreeSet<&str> = all.flatten().copied().collect();
    let output = run(&["--list", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: BTreeSet<&str> =
        list.as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap()).collect();
    let unproved: Vec<_> =
        names.difference(&proved).filter(|name| !ELSEWHERE.contains(name)).collect();
    assert!(unproved.is_empty(), "{unproved:?}");
    let unknown: Vec<_> = proved.difference(&names).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// A request whose integrity was cut short, with the rest of it.
fn completed(bytes: Vec<u8>) -> Vec<Out> {
    use turnwire::stun::attribute::MESSAGE_INTEGRITY_SHA256;
    let end = bytes.len().saturating_sub(16);
    if bytes.len() < 40
        || bytes[end..end + 4] != [&MESSAGE_INTEGRITY_SHA256.to_be_bytes()[..], &[0, 12]].concat()
    {
        return vec![Out::Server(bytes)];
    }
    let mut whole = bytes[..end].to_vec();
    whole[2..4].copy_from_slice(&((end - 20) as u16).to_be_bytes());
    let mut draft = draft::Draft::read(&whole, None).unwrap();
    draft.signed = draft::Signed::Right(turnwire::stun::Digest::Sha256);
    vec![Out::Server(draft.write(None))]
}

/// Ends with the test.
struct Coturn(std::process::Child);

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_server_is_judged_as_well() {
    let scratch = Scratch::new();
    // Nobody else's, so that the port stays free for it.
    let ip = common::unique_loopback();
    let port = std::net::UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
    let flags = format!(
        "-n -L {ip} -E 127.0.0.1 -p {port} --no-tls --no-dtls --use-auth-secret \
         --static-auth-secret={SECRET} --realm={REALM} --allow-loopback-peers --no-cli --log-file=stdout"
    );
    let mut command = Command::new("turnserver");
    command.args(flags.split_whitespace()).current_dir(&scratch.0);
    command.arg(format!("--userdb={}", scratch.path("users").display()));
    command.arg(format!("--pidfile={}", scratch.path("pid").display()));
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _coturn = Coturn(command.spawn().expect("coturn, which tests/interop/install installs"));
    let uri = format!("turn:{ip}:{port}");
    let binding = ["--only", "stun.binding-udp"];
    common::eventually("coturn answers", || {
        run(&[&[&*uri], MINTED, &binding].concat()).status.success().then_some(())
    });
    let cases = examine(uri[5..].parse().unwrap(), MINTED, &[]);
    let of = |status: &str| -> Vec<&str> {
        let found = cases.iter().filter(|case| case["status"] == status);
        found.map(|case| case["name"].as_str().unwrap()).collect()
    };
    assert!(of("passed").len() > 120, "{:#?}", unsound(&cases));
    // RFC 8489's nonce and what depends on it is not coturn's, nor are two addresses here.
    assert!(of("failed").contains(&"auth.nonce-cookie"), "{:?}", of("failed"));
    for name in ["auth.sha256", "nat.change-port"] {
        assert!(of("skipped").contains(&name), "{:?}", of("skipped"));
    }
}

#[test]
fn reports_are_read_by_people_scripts_and_ci() {
    let server = start();
    let uri = &*format!("turn:{}", server.udp());
    let one = ["--only", "stun.binding-udp"];
    let page = run(&[&[uri], MINTED, &one].concat());
    assert_eq!(page.status.code(), Some(0));
    let text = String::from_utf8(page.stdout).unwrap();
    assert!(
        text.contains("ok   stun.binding-udp") && text.contains("1 passed, 0 failed"),
        "{text}"
    );
    let junit = run(&[&[uri, "--junit"], MINTED, &one].concat());
    let text = String::from_utf8(junit.stdout).unwrap();
    assert!(
        text.contains("<testcase name=\"stun.binding-udp\" classname=\"RFC 8489 §12\""),
        "{text}"
    );
    // A failure has its own exit code, and so has a server that is not there.
    let proxy = Saboteur::start(server.udp(), stun::BROKEN[3].deed);
    let place = format!("turn:{}", proxy.place);
    let failed = run(&[&[&*place, "--junit"], MINTED, &["--only", "stun.magic"]].concat());
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8(failed.stdout).unwrap().contains("<failure message="));
    assert_eq!(run(&["turn:127.0.0.1:1", "--secret", "x"]).status.code(), Some(3));
    assert_eq!(run(&[&[uri], MINTED, &["--only", "no.such"]].concat()).status.code(), Some(3));
    // One that is not there costs the other its report no more than it has to say.
    let both = run(&[&["turn:127.0.0.1:1", uri, "--json"], MINTED, &one].concat());
    assert_eq!(both.status.code(), Some(3));
    let found: Value = serde_json::from_slice(&both.stdout).unwrap();
    assert!(found["servers"].as_array().unwrap().len() == 1, "{found:#}");
    assert_eq!(found["servers"][0]["passed"], 1);
    assert!(String::from_utf8(both.stderr).unwrap().contains("turn:127.0.0.1:1"));
    // What comes by standard input comes once, for all servers.
    let piped = [uri, uri, "--secret-file", "-"];
    assert_eq!(run_with(SECRET, &[&piped, &one[..]].concat()).status.code(), Some(0));
    // Without credentials what takes none is tried.
    let stun = format!("stun:{}", server.udp());
    let cases = examine_uri(&stun, &[]);
    let count = |status: &str| cases.iter().filter(|case| case["status"] == status).count();
    assert_eq!(count("failed") + count("unable"), 0, "{:?}", unsound(&cases));
    assert!(count("passed") > 20 && count("skipped") > 20);
}
