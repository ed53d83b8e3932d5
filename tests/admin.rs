//! The admin API of a running server, as whoever runs it uses it.

mod common;
#[path = "admin/http.rs"]
mod http;
#[path = "process/server.rs"]
mod server;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use common::{Client, Credential};
use http::{call, patient, raw};
use server::{Scratch, Server, get, mode};

const ALICE: [&str; 4] = ["--user", "alice:wonder", "--allow-peer", "127.0.0.0/8"];

fn socket(server: &Server) -> PathBuf {
    server.scratch.path("state").join("admin.sock")
}

fn alice(server: &Server) -> Client {
    Client::udp_to(server.udp()).with(Credential::user("alice", "wonder"))
}

#[test]
fn the_socket_is_its_owners_alone_and_gone_with_the_server() {
    let mut server = Server::start(&ALICE);
    let socket = socket(&server);
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(raw(patient(&socket), "GET", "/healthz", "", "").0, 200);
    assert!(raw(patient(&socket), "GET", "/metrics", "", "").1.ends_with("# EOF\n"));
    server.signal("TERM");
    assert_eq!(server.exit(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_second_server_leaves_the_first_ones_socket_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("a.sock");
    let flags = [&ALICE[..], &["--admin-socket", path.to_str().unwrap()]].concat();
    let first = Server::start(&flags);
    let mut second = Server::spawn(Scratch::new(), &flags);
    assert_eq!(second.exit(), Some(1));
    let why = second.of("start_failed")[0]["message"].as_str().unwrap().to_owned();
    assert!(why.contains("another server of this kind is alive"), "{why}");
    assert_eq!(raw(patient(&path), "GET", "/healthz", "", "").0, 200);
    // One that was killed leaves its file, and is followed by the next.
    first.signal("KILL");
    drop(first);
    assert!(path.exists());
    let _next = Server::start(&flags);
    assert_eq!(raw(patient(&path), "GET", "/healthz", "", "").0, 200);
}

#[test]
fn where_nobody_said_where_the_socket_is_to_be_a_server_starts_without() {
    let first = Server::start(&ALICE);
    let scratch = Scratch::new();
    symlink(first.scratch.path("state"), scratch.path("state")).unwrap();
    let mut second = Server::start_in(scratch, &ALICE);
    second.line("no_admin_socket");
    assert_eq!(raw(patient(&socket(&first)), "GET", "/healthz", "", "").0, 200);
    let off = Server::start(&[&ALICE[..], &["--admin-socket", "off"]].concat());
    assert!(!socket(&off).exists());
}

#[test]
fn over_tcp_there_is_nothing_to_steer() {
    let server = Server::start(&[&ALICE[..], &["--admin", "127.0.0.1:0"]].concat());
    assert_eq!(get(server.admin(), "/healthz").0, 200);
    let stream = || TcpStream::connect(server.admin()).unwrap();
    for (method, path) in [("POST", "/v1/reload"), ("POST", "/v1/drain"), ("PUT", "/v1/log-level")]
    {
        let (code, _) = raw(stream(), method, path, "", "");
        assert_ne!(code, 200, "{path}");
    }
    assert!(server.of("reloaded").is_empty());
}

#[test]
fn a_reload_says_what_became_of_it() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    fs::write(&file, "[auth.users]\nbob = \"builder\"\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let mut server = Server::start(&[&ALICE[..], &config].concat());
    let (code, answer) = call(&socket(&server), "POST", "/v1/reload", "");
    assert_eq!(
        (code, answer["message"].as_str()),
        (200, Some("the configuration was read again and is in force"))
    );
    server.line("reloaded");
    fs::write(&file, "[auth.users]\nbob = 5\n").unwrap();
    let (code, answer) = call(&socket(&server), "POST", "/v1/reload", "");
    assert_eq!((code, answer["status"].as_u64()), (409, Some(409)));
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.contains("nothing was changed") && detail.contains("server.toml:2:"),
        "{detail}"
    );
    server.line("reload_failed");
}

#[test]
fn the_log_level_changes_at_once() {
    let mut server = Server::start(&ALICE);
    let level = |level: &str| {
        call(&socket(&server), "PUT", "/v1/log-level", &format!("{{\"level\":\"{level}\"}}"))
    };
    assert_eq!(level("debug").0, 200);
    let (code, answer) = level("loud");
    assert_eq!(
        (code, answer["detail"].as_str()),
        (400, Some("level must be one of error, warn, info, debug"))
    );
    alice(&server).allocate();
    // The challenge to its first request.
    server.line("request_refused");
}

#[test]
fn a_drain_takes_its_deadline_and_may_get_another() {
    let mut server = Server::start(&[&ALICE[..], &["--admin", "127.0.0.1:0"]].concat());
    let mut client = alice(&server);
    client.allocate();
    let socket = socket(&server);
    let (code, answer) = call(&socket, "POST", "/v1/drain", "");
    assert_eq!(
        (code, answer["message"].as_str()),
        (202, Some("draining: 1 allocations have up to 3600 s to end"))
    );
    assert_eq!(get(server.admin(), "/healthz").0, 503);
    client.permit("127.0.0.1:9".parse().unwrap());
    let (code, _) = call(&socket, "POST", "/v1/drain", r#"{"deadline_seconds":3600}"#);
    assert_eq!(code, 202);
    client.permit("127.0.0.1:9".parse().unwrap());
    let (code, _) = call(&socket, "POST", "/v1/drain", r#"{"deadline_seconds":0}"#);
    assert_eq!(code, 202);
    assert_eq!(server.exit(), Some(0));
    assert_eq!(server.of("session_ended")[0]["reason"], "shutdown");
}

#[test]
fn what_cannot_be_understood_is_told_in_a_sentence() {
    let server = Server::start(&ALICE);
    let socket = socket(&server);
    let long = format!("{{\"level\":\"{}\"}}", "x".repeat(20_000));
    let cases = [
        ("GET", "/v1/nothing", "", 404, "there is nothing at /v1/nothing"),
        ("GET", "/v1/reload", "", 405, "/v1/reload is not to be asked for with GET"),
        ("PUT", "/v1/log-level", "{", 400, "the body is not JSON: "),
        ("PUT", "/v1/log-level", "[]", 400, "the body must be a JSON object"),
        (
            "PUT",
            "/v1/log-level",
            r#"{"lvl":1}"#,
            400,
            "unknown field \"lvl\" in the body: there are level",
        ),
        ("PUT", "/v1/log-level", &long, 413, "length limit"),
        ("POST", "/v1/drain", r#"{"deadline_seconds":-1}"#, 400, "deadline_seconds is -1"),
        ("POST", "/v1/drain", r#"{"deadline_seconds":"1h"}"#, 400, "must be a whole number"),
    ];
    for (method, path, body, code, words) in cases {
        let (found, answer) = call(&socket, method, path, body);
        let detail = answer["detail"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(found == code && detail.contains(words), "{path}: {found} {detail}");
    }
}
