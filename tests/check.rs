//! `turnwire check`: servers with one thing wrong each, and the name it is called by.

mod common;
#[path = "check/redirected.rs"]
mod redirected;
#[path = "check/scripted.rs"]
mod scripted;
#[path = "process/server.rs"]
mod server;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use common::certificate::{self, Authority, Issued};
use common::{Client, Credential};
use scripted::{CHALLENGE, Reply, Scripted, username};
use serde_json::Value;
use server::{Scratch, Server};
use turnwire::auth::{RestDigest, parse_username};
use turnwire::stun::Message;

const HERE: [&str; 6] =
    ["--relay-ip", "127.0.0.1", "--external-ip", "127.0.0.1", "--allow-peer", "127.0.0.0/8"];

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_turnwire")).arg("check").args(words).output().unwrap()
}

/// What is found, in JSON.
fn check(words: &[&str]) -> Value {
    let output = run(&[words, &["--json", "--packets", "3"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{:?}", output.stderr))
}

/// The stages of the first way, those that were fine without a name: `stage` or `stage:fault`.
fn faults(found: &Value) -> Vec<String> {
    let stages = found["ways"][0]["stages"].as_array().unwrap();
    let fault = |stage: &Value| {
        let words = stage["fault"].as_str()?;
        assert!(stage["cause"].as_str().unwrap().len() > 10, "{stage}");
        assert!(stage["remedy"].as_str().unwrap().len() > 10, "{stage}");
        Some(format!("{}:{words}", stage["stage"].as_str().unwrap()))
    };
    stages.iter().filter_map(fault).filter(|it| it != "ipv6:no-ipv6-relay").collect()
}

/// That nothing but this is wrong.
#[track_caller]
fn blames(words: &[&str], fault: &str) {
    let found = check(words);
    assert_eq!(faults(&found), [fault], "{found:#}");
}

/// A sound server on this host, with a user and a secret.
fn sound(more: &[&str]) -> Server {
    let who = ["--user", "alice:wonder", "--secret", "north"];
    Server::start(&[&HERE, &who[..], more].concat())
}

fn turn(place: SocketAddr) -> String {
    format!("turn:{place}")
}

#[test]
fn a_sound_server_works_by_every_way_and_the_table_says_so() {
    let (authority, scratch) = (Authority::new("authority"), Scratch::new());
    let issued =
        authority.issue_for(&["localhost", "127.0.0.1"], 80, &rcgen::PKCS_ECDSA_P256_SHA256);
    issued.put(&scratch.0);
    certificate::put(&scratch.0, "ca.pem", &authority.pem());
    let tls = ["--cert", "chain.pem", "--key", "key.pem", "--secret", "north"];
    let server = Server::start_in(scratch, &[&HERE, &tls[..]].concat());
    let (ca, place) = (server.scratch.path("ca.pem"), server.udp());
    let (plain, secure) = (turn(place), format!("turns:{place}"));
    let (tcp, dtls) = (format!("{plain}?transport=tcp"), format!("{secure}?transport=udp"));
    let mut words = vec![&*plain, &*tcp, &*secure, "--secret", "north"];
    if cfg!(feature = "dtls") {
        words.push(&dtls);
    }
    words.extend(["--ca", ca.to_str().unwrap()]);
    let found = check(&words);
    assert_eq!(found["works"], found["of"], "{found:#}");
    let stages = found["ways"][2]["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    let expected = "reach tls certificate binding challenge authenticate allocate address permission channel data outside ipv6";
    assert_eq!(names.join(" "), expected);
    let output = run(&words);
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("20 of 20 to and fro") && table.ends_with("ways work.\n"), "{table}");
    // It leaves nothing behind.
    let mut client = Client::udp_to(place).with(ephemeral("north"));
    client.allocate();
}

#[test]
fn all_ways_find_tls_on_the_port_of_plain_turn_or_say_that_there_is_none() {
    let (authority, scratch) = (Authority::new("authority"), Scratch::new());
    authority
        .issue_for(&["localhost", "127.0.0.1"], 80, &rcgen::PKCS_ECDSA_P256_SHA256)
        .put(&scratch.0);
    certificate::put(&scratch.0, "ca.pem", &authority.pem());
    let tls = ["--cert", "chain.pem", "--key", "key.pem", "--secret", "north"];
    let server = Server::start_in(scratch, &[&HERE, &tls[..]].concat());
    let (ca, plain) = (server.scratch.path("ca.pem"), turn(server.udp()));
    let (ca, secure) = (ca.to_str().unwrap(), format!("turns:{}", server.udp()));
    let ways = ["udp", "tcp", "tls", "dtls"].len() as u64;
    // What one URI has led to, another does not lead to again.
    let found = check(&[&plain, &plain, "--secret", "north", "--ca", ca, "--all"]);
    if cfg!(feature = "dtls") {
        assert_eq!((&found["works"], &found["of"]), (&ways.into(), &ways.into()), "{found:#}");
    }
    assert_eq!(found["ways"][2]["uri"], secure, "{found:#}");
    let found = check(&[&turn(sound(&[]).udp()), "--secret", "north", "--all"]);
    let last = |way: usize| found["ways"][way]["stages"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&found["works"], &last(2)["fault"]),
        (&2.into(), &"not-offered".into()),
        "{found:#}"
    );
}

#[test]
fn next_to_the_server_nothing_is_outside() {
    let flags =
        ["--relay-ip", "127.0.0.1", "--external-ip", "127.0.0.1", "--relay-ports", "61000-61099"];
    let server = Server::start(&[&flags[..], &["--secret", "north"]].concat());
    let found = check(&[&turn(server.udp()), "--secret", "north"]);
    assert_eq!(faults(&found), Vec::<String>::new(), "{found:#}");
    let stages = found["ways"][0]["stages"].as_array().unwrap();
    let outside = stages.iter().find(|it| it["stage"] == "outside").unwrap();
    assert_eq!(outside["status"], "skipped", "{found:#}");
}

fn ephemeral(secret: &str) -> Credential {
    Credential::ephemeral(RestDigest::Sha1, secret, &format!("{}:test", now() + 3600))
}

#[test]
fn credentials_that_do_not_fit_are_told_apart() {
    let server = sound(&[]);
    let uri = &*turn(server.udp());
    blames(&[uri, "--user", "bob", "--password", "x"], "authenticate:unknown-user");
    blames(&[uri, "--user", "alice", "--password", "x"], "authenticate:wrong-password");
    blames(&[uri, "--secret", "south"], "authenticate:wrong-secret");
    let old = ["--user", "1700000000:bob", "--password", "x"];
    blames(&[&[uri], &old[..]].concat(), "authenticate:expired-credential");
    // In a file no other program sees it.
    let file = server.scratch.path("password");
    std::fs::write(&file, "wonder\n").unwrap();
    let file = file.to_str().unwrap();
    let realm = ["--user", "alice", "--password-file", file, "--realm", "example.org"];
    blames(&[&[uri], &realm[..]].concat(), "challenge:wrong-realm");
    assert_eq!(run(&[uri, "--secret", "south"]).status.code(), Some(3));
    let both = format!("{uri}?transport=tcp");
    let mixed = run(&[uri, "turn:127.0.0.1:1", &both, "--secret", "north"]);
    assert_eq!(mixed.status.code(), Some(1));
    // What is told of a URI with credentials in it is told without them.
    for password in ["hunter2", "hun?ter2", "?hunter2", "hunter2@"] {
        let careless = run(&[&format!("turn:alice:{password}@127.0.0.1")]);
        let told = String::from_utf8(careless.stderr).unwrap();
        assert!(told.contains("...@127.0.0.1") && told.contains("there is no user"), "{told}");
        assert!(!told.contains("hun") && !told.contains("ter2"), "{told}");
    }
    let nobody = run(&[uri]);
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("who are you?"));
}

#[test]
fn places_where_no_server_is() {
    let who = ["--secret", "north"];
    let blames = |uri: &str, fault| blames(&[&[uri], &who[..]].concat(), fault);
    blames("turn:no-such-host.invalid", "resolve:name-unresolved");
    blames("turn:127.0.0.1:1", "binding:port-closed");
    // No socket gets there without being told to broadcast.
    blames("turn:255.255.255.255", "reach:unreachable");
    blames("turn:127.0.0.1:1?transport=tcp", "reach:port-closed");
    let found = check(&["turn:127.0.0.1", "--secret", "north", "-6"]);
    assert_eq!(faults(&found), ["resolve:no-address"]);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    blames(&turn(silent.local_addr().unwrap()), "binding:no-answer");
    let web = stream_server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    blames(&format!("turn:{web}?transport=tcp"), "binding:not-stun");
    blames(&format!("turns:{web}"), "tls:not-tls");
    let shy = stream_server(drop);
    blames(&format!("turn:{shy}?transport=tcp"), "binding:hung-up");
}

#[test]
fn a_connection_that_is_made_and_says_nothing_is_told_from_one_that_is_not_made() {
    let mute = stream_server(std::mem::forget);
    for (uri, fault) in [
        (format!("turn:{mute}?transport=tcp"), "binding:no-answer"),
        (format!("turns:{mute}"), "tls:no-answer"),
    ] {
        let found = check(&[&uri, "--secret", "north"]);
        assert_eq!(faults(&found), [fault], "{found:#}");
        let stages = found["ways"][0]["stages"].as_array().unwrap();
        let cause = stages.last().unwrap()["cause"].as_str().unwrap();
        assert!(cause.starts_with("the connection is made"), "{cause}");
    }
}

#[test]
fn why_there_is_no_second_connection_is_told() {
    let server = sound(&[]);
    // It takes one client, and is closed to all others.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (place, next) = (listener.local_addr().unwrap(), server.udp());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(listener);
        pass_on(stream, next);
    });
    let found = check(&[&format!("turn:{place}?transport=tcp"), "--secret", "north"]);
    let stages = found["ways"][0]["stages"].as_array().unwrap();
    let detail = |name| &stages.iter().find(|it| it["stage"] == name).unwrap()["detail"];
    let detail = detail("permission").as_str().unwrap();
    assert!(detail.contains("nothing listens there"), "{found:#}");
}

/// Hands each of a few connections to somebody.
fn stream_server(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().take(16).flatten().for_each(serve));
    place
}

/// Connects a client with a server.
fn pass_on(client: TcpStream, server: SocketAddr) {
    let server = TcpStream::connect(server).unwrap();
    let ways = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
    for (mut from, mut to) in ways {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}

#[test]
fn udp_that_is_blocked_shows_beside_tcp_that_is_not() {
    let server = sound(&[]);
    // One port for both: silence over UDP, and the way to the server over TCP.
    let (silent, listener) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
            break (socket, listener);
        }
    };
    let (place, next) = (silent.local_addr().unwrap(), server.udp());
    std::thread::spawn(move || {
        listener.incoming().take(8).flatten().for_each(|stream| pass_on(stream, next));
    });
    let (udp, tcp) = (turn(place), format!("turn:{place}?transport=tcp"));
    let found = check(&[&udp, &tcp, "--secret", "north"]);
    assert_eq!(faults(&found), ["binding:udp-blocked"], "{found:#}");
    assert_eq!(found["ways"][1]["works"], true);
    drop(silent);
}

#[test]
fn certificates_that_clients_refuse() {
    let authority = Authority::new("authority");
    let names = ["localhost", "127.0.0.1"];
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let with = |issued: &Issued, ca: Option<&str>| {
        let scratch = Scratch::new();
        issued.put(&scratch.0);
        certificate::put(&scratch.0, "ca.pem", ca.unwrap_or(&authority.pem()));
        let tls = ["--cert", "chain.pem", "--key", "key.pem", "--secret", "north"];
        let server = Server::start_in(scratch, &[&HERE, &tls[..]].concat());
        let (uri, ca) = (format!("turns:{}", server.udp()), server.scratch.path("ca.pem"));
        let mut found = faults(&check(&[&uri, "--secret", "north", "--ca", ca.to_str().unwrap()]));
        if cfg!(feature = "dtls") {
            let dtls = format!("{uri}?transport=udp");
            let other = check(&[&dtls, "--secret", "north", "--ca", ca.to_str().unwrap()]);
            assert_eq!(faults(&other), found);
        }
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    };
    assert_eq!(
        with(&authority.issue_for(&names, -3, algorithm), None),
        "certificate:certificate-expired"
    );
    assert_eq!(with(&authority.issue("turn.test", 80), None), "certificate:certificate-wrong-name");
    let between = authority.intermediate("between");
    let half = between.issue_for(&names, 80, algorithm);
    assert_eq!(with(&half, None), "certificate:certificate-incomplete-chain");
    let whole = Issued { chain: format!("{}{}", half.chain, between.pem()), key: half.key };
    let others = Authority::new("others").pem();
    assert_eq!(with(&whole, Some(&others)), "certificate:certificate-unknown-root");
    let own = rcgen::generate_simple_self_signed(names.map(str::to_owned)).unwrap();
    let own = Issued { chain: own.cert.pem(), key: own.signing_key.serialize_pem() };
    assert_eq!(with(&own, None), "certificate:certificate-self-signed");
}

#[test]
fn a_proxy_that_knows_only_the_protocols_of_the_web() {
    let authority = Authority::new("authority");
    let issued = authority.issue("localhost", 80);
    let key = rcgen::KeyPair::from_pem(&issued.key).unwrap().serialize_der();
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(key).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let web = stream_server(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        while tls.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
    });
    blames(&[&format!("turns:{web}"), "--secret", "north"], "tls:alpn-refused");
}

#[test]
fn relays_that_data_do_not_get_through() {
    // Nobody is at the address that is told.
    let server = Server::start(&[
        "--relay-ip",
        "127.0.0.1",
        "--external-ip",
        "127.0.0.9",
        "--allow-peer",
        "127.0.0.0/8",
        "--secret",
        "north",
    ]);
    let uri = &*turn(server.udp());
    let found = check(&[uri, "--secret", "north"]);
    let expected = ["address:relay-elsewhere", "outside:relay-ports-firewalled"];
    assert_eq!(faults(&found), expected, "{found:#}");
    let expected = check(&[uri, "--secret", "north", "--relay", "127.0.0.1"]);
    assert_eq!(faults(&expected)[0], "address:relay-unexpected");
    let server = Server::start(&[
        "--relay-ip",
        "127.0.0.1",
        "--external-ip",
        "127.0.0.1",
        "--deny-peer",
        "127.0.0.1/32",
        "--secret",
        "north",
    ]);
    let found = check(&[&turn(server.udp()), "--secret", "north"]);
    assert_eq!(faults(&found), ["permission:peer-denied"], "{found:#}");
}

#[test]
fn quotas_and_ports_that_are_used_up() {
    let scratch = Scratch::new();
    certificate::put(&scratch.0, "t.toml", "[limits]\nallocations_per_user = 1\n");
    let flags = ["--config", "t.toml", "--user", "alice:wonder"];
    let server = Server::start_in(scratch, &[&HERE, &flags[..]].concat());
    let mut holder = Client::udp_to(server.udp()).with(Credential::user("alice", "wonder"));
    holder.allocate();
    let who = ["--user", "alice", "--password", "wonder"];
    blames(&[&[&*turn(server.udp())], &who[..]].concat(), "allocate:quota");
    // The only relay port is somebody else's.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let server = sound(&["--relay-ports", &format!("{port}-{port}")]);
    blames(&[&[&*turn(server.udp())], &who[..]].concat(), "allocate:no-capacity");
}

#[test]
fn servers_that_ask_wrongly() {
    Scripted::start(|_| Reply::Allocated(None)).is_blamed("challenge:open-relay");
    Scripted::start(|_| Reply::Error(401, None, true)).is_blamed("challenge:no-realm");
    Scripted::start(|_| Reply::Error(403, None, false)).is_blamed("challenge:no-turn");
    Scripted::start(|_| Reply::Nothing).is_blamed("challenge:no-turn");
    // As pion does.
    let blunt = |request: &Message<'_>| match username(request) {
        None => CHALLENGE,
        Some(_) => Reply::Error(400, None, false),
    };
    Scripted::start(blunt).is_blamed("authenticate:wrong-credentials");
    // As coturn with no-stun: the rest is looked at all the same.
    let shy = Scripted::with(false, |_| Reply::Error(401, None, true));
    let found = check(&[&turn(shy.place), "--secret", "north"]);
    assert_eq!(faults(&found), ["binding:no-binding", "challenge:no-realm"], "{found:#}");
    let changing = |request: &Message<'_>| match username(request) {
        None => CHALLENGE,
        Some(_) => Reply::Error(401, Some("another"), true),
    };
    Scripted::start(changing).is_blamed("authenticate:realm-changes");
    let stale = |request: &Message<'_>| match username(request) {
        None => CHALLENGE,
        Some(_) => Reply::Error(438, Some("test"), true),
    };
    Scripted::start(stale).is_blamed("authenticate:stale-nonce");
}

#[test]
fn answers_that_are_not_the_servers() {
    let forger = |request: &Message<'_>| match username(request) {
        None => CHALLENGE,
        Some(_) => Reply::Allocated(None),
    };
    Scripted::start(forger).is_blamed("authenticate:forged-answer");
    let mistaken = |request: &Message<'_>| match username(request) {
        None => CHALLENGE,
        Some(_) => Reply::Allocated(Some("another".to_owned())),
    };
    Scripted::start(mistaken).is_blamed("authenticate:forged-answer");
}

/// A server's own file while its secret is changed: it mints with the first, and takes both.
#[test]
fn the_file_that_the_server_has_its_secrets_in_does_for_the_check_too() {
    let scratch = Scratch::new();
    certificate::put(&scratch.0, "secrets", "\u{feff}new\r\n old \n");
    let server = Server::start_in(scratch, &[&HERE[..], &["--secret-file", "secrets"]].concat());
    let file = server.scratch.path("secrets");
    let found = check(&[&turn(server.udp()), "--secret-file", file.to_str().unwrap()]);
    assert_eq!((&found["works"], faults(&found)), (&1.into(), Vec::new()), "{found:#}");
}

/// A server whose clock is two hours ahead: what is good for an hour is too old, what is good for years is not.
#[test]
fn a_clock_that_is_wrong_is_told_from_a_secret_that_is() {
    let ahead = |request: &Message<'_>| {
        let Some(name) = username(request) else { return CHALLENGE };
        let (expires, _) = parse_username(&name, ':').unwrap();
        if expires < now() + 7200 {
            return CHALLENGE;
        }
        let secret = turnwire::auth::Secret::new("north");
        Reply::Allocated(Some(turnwire::auth::mint_password(RestDigest::Sha1, &secret, &name)))
    };
    Scripted::start(ahead).is_blamed("authenticate:clock-skew");
}
