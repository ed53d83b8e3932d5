//! The admin API of a running server, as whoever runs it uses it.

#[path = "admin/cli.rs"]
mod cli;
mod common;
#[path = "admin/document.rs"]
mod document;
#[path = "admin/http.rs"]
mod http;
#[path = "admin/load.rs"]
mod load;
#[path = "process/server.rs"]
mod server;
#[path = "admin/sessions.rs"]
mod sessions;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::{JoinHandle, spawn};

use cli::{fails, ok, turnwire};
use common::{Client, Credential};
use http::{call, patient, raw};
use serde_json::{Value, json};
use server::{LIMIT, Scratch, Server, get, mode};

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

/// A token that is taken out has no end of its own: what was begun with it ends with it.
#[test]
fn who_follows_a_client_with_a_token_is_told_no_more_when_that_is_taken_out() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    fs::write(&file, "[admin]\ntokens = [\"0123456789abcdef-one\"]\n").unwrap();
    let flags = ["--admin", "127.0.0.1:0", "--config", file.to_str().unwrap()];
    let server = Server::start_in(scratch, &[&ALICE[..], &flags].concat());
    let mut stream = TcpStream::connect(server.admin()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = "GET /v1/explain?user=alice&for_seconds=20 HTTP/1.1\r\nHost: x\r\n\
                   Authorization: Bearer 0123456789abcdef-one\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"following\"")));
    alice(&server).allocate();
    assert!(lines.any(|line| line.contains("alice")));
    fs::write(&file, "[admin]\ntokens = [\"0123456789abcdef-two\"]\n").unwrap();
    assert_eq!(call(&socket(&server), "POST", "/v1/reload", "").0, 200);
    let mut later = alice(&server);
    later.allocate();
    let rest: Vec<_> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("no longer")), "{rest:?}");
    let told = later.local().to_string();
    assert!(!rest.iter().any(|line| line.contains(&told)), "{rest:?}");
}

/// What a request over TCP is answered with, with a token or without.
fn over_tcp(server: &Server, method: &str, path: &str, token: &str) -> (u16, String) {
    let header = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    raw(TcpStream::connect(server.admin()).unwrap(), method, path, "", &header)
}

#[test]
fn over_tcp_a_token_is_needed_for_all_but_metrics_and_health() {
    let scratch = Scratch::new();
    let (file, tokens) = (scratch.path("server.toml"), scratch.path("tokens"));
    fs::write(&file, "").unwrap();
    let flags = ["--admin", "127.0.0.1:0", "--config", file.to_str().unwrap()];
    let server = Server::start_in(scratch, &[&ALICE[..], &flags].concat());
    let (one, two) = ("0123456789abcdef-one", "0123456789abcdef-two");
    let requests = [
        ("GET", "/v1/sessions"),
        ("GET", "/v1/sessions/0-1"),
        ("DELETE", "/v1/sessions?user=alice"),
        ("GET", "/v1/status"),
        ("GET", "/v1/counters"),
        ("GET", "/v1/config"),
        ("POST", "/v1/credentials/revoke"),
        ("GET", "/v1/credentials/revoked"),
        ("DELETE", "/v1/credentials/revoked?user=alice"),
        ("POST", "/v1/reload"),
        ("POST", "/v1/drain"),
        ("PUT", "/v1/log-level"),
    ];
    let codes = |token: &str| {
        let code = |(method, path): &(&str, &str)| over_tcp(&server, method, path, token).0;
        requests.iter().map(code).collect::<Vec<_>>()
    };
    assert_eq!(codes(one), [403; 12]);
    assert!(over_tcp(&server, "GET", "/v1/status", one).1.contains("none is configured"));
    fs::write(&tokens, format!("{two}\n")).unwrap();
    fs::write(&file, format!("[admin]\ntokens = [{one:?}]\ntokens_file = \"tokens\"\n")).unwrap();
    assert_eq!(call(&socket(&server), "POST", "/v1/reload", "").0, 200);
    for token in ["", "0123456789abcdef", "0123456789abcdef-One", "0123456789abcdef-one2"] {
        assert_eq!(codes(token), [401; 12], "{token}");
    }
    let of_status = |token| over_tcp(&server, "GET", "/v1/status", token).0;
    assert_eq!([one, two].map(of_status), [200; 2]);
    fs::write(&file, "[admin]\ntokens_file = \"tokens\"\n").unwrap();
    assert_eq!(over_tcp(&server, "POST", "/v1/reload", two).0, 200);
    assert_eq!([one, two].map(of_status), [401, 200]);
    // As ever, for whoever scrapes.
    assert_eq!(get(server.admin(), "/healthz").0, 200);
    assert_eq!(get(server.admin(), "/metrics").0, 200);
    fs::write(&file, "[admin]\ntokens = [\"hunter2\"]\n").unwrap();
    let (code, answer) = call(&socket(&server), "POST", "/v1/reload", "");
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        code == 409 && detail.contains("at least 16 characters") && !detail.contains("hunter2"),
        "{detail}"
    );
}

#[test]
fn the_configuration_in_force_is_shown_without_its_secrets() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    let text = "[auth]\nsecrets = [\"hunter2\"]\n[auth.users]\nbob = \"hunter2\"\n[limits]\nallocations_per_user = 7\n";
    fs::write(&file, text).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let server = Server::start_in(scratch, &[&ALICE[..], &config].concat());
    let shown = || call(&socket(&server), "GET", "/v1/config", "").1["config"].take();
    let config = shown();
    let all = config.to_string();
    assert!(!all.contains("hunter2") && !all.contains("wonder"), "{all}");
    assert_eq!(config["auth"]["users"], json!({ "alice": "[redacted]", "bob": "[redacted]" }));
    assert_eq!(config["limits"]["allocations_per_user"], 7);
    assert_eq!(config["peers"]["allow"], json!(["127.0.0.0/8"]));
    assert_eq!(config["log"], json!({ "level": "info", "format": "json" }));
    // What the file says counts from the reload on.
    fs::write(&file, text.replace('7', "8")).unwrap();
    assert_eq!(shown()["limits"]["allocations_per_user"], 7);
    assert_eq!(call(&socket(&server), "POST", "/v1/reload", "").0, 200);
    assert_eq!(shown()["limits"]["allocations_per_user"], 8);
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

/// The rows of a list, by their clients.
#[test]
fn the_status_and_the_counters_are_what_has_happened() {
    let server = Server::start(&ALICE);
    let (socket, mut client) = (socket(&server), alice(&server));
    client.allocate();
    let (_, status) = call(&socket, "GET", "/v1/status", "");
    let numbers = ["sessions", "sessions_begun", "requests_refused", "pid"];
    let expected = [1, 1, 1, u64::from(server.pid())];
    assert_eq!(numbers.map(|it| status[it].as_u64().unwrap()), expected);
    assert_eq!(status["status"], "ok");
    let (_, counters) = call(&socket, "GET", "/v1/counters", "");
    assert_eq!(counters["counters"]["turnwire_allocations_live"], 1);
}

#[test]
fn the_command_line_shows_and_steers_the_same() {
    let mut server = Server::start(&ALICE);
    let (path, mut client) = (socket(&server), alice(&server));
    assert_eq!(ok(&path, &["sessions", "list"]), "no sessions\n");
    let relayed = client.allocate();
    let table = ok(&path, &["sessions", "list", "--user", "alice"]);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("SESSION") && lines[1].contains(&relayed.to_string()), "{table}");
    let list: Value = serde_json::from_str(&ok(&path, &["sessions", "list", "--json"])).unwrap();
    let id = list["sessions"][0]["id"].as_str().unwrap();
    assert!(
        ok(&path, &["sessions", "show", id, "--measure", "5ms"]).contains("0 packets/s to peers")
    );
    assert!(ok(&path, &["status"]).contains("sessions     1 (by worker: "));
    assert_eq!(ok(&path, &["reload"]), "the configuration was read again and is in force\n");
    assert_eq!(
        ok(&path, &["log-level", "debug"]),
        "the log level is debug until the next reload\n"
    );
    assert_eq!(ok(&path, &["sessions", "kill", id]), "1 session ended\n");
    let socket = ["--socket", path.to_str().unwrap()];
    let said = fails(&[&["sessions", "kill", "--user", "alice"][..], &socket].concat());
    assert_eq!(said, "no session is like that: none was ended\n");
    let said = fails(&[&["sessions", "show", id][..], &socket].concat());
    assert_eq!(said, format!("there is no session {id}: it has ended, or never was\n"));
    client.allocate();
    assert_eq!(ok(&path, &["drain", "--deadline", "0s", "--wait"]), "the server has ended\n");
    assert_eq!(server.exit(), Some(0));
    let said = fails(&[&["status"][..], &socket].concat());
    assert!(
        said.starts_with(&format!("no server runs here: none listens at {}", path.display())),
        "{said}"
    );
}

/// A socket at which each connection is answered with the next of these bodies, and then no more.
fn answering(path: &Path, bodies: &'static [&'static str]) -> JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    spawn(move || {
        let mut bodies = bodies.iter();
        while !bodies.as_slice().is_empty() {
            let mut stream = listener.accept().unwrap().0;
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            // Who only looks whether somebody listens asks nothing.
            if request.read_line(&mut line).unwrap() > 0 {
                let body = bodies.next().unwrap();
                write!(stream, "HTTP/1.1 200 OK\r\n\r\n{body}").unwrap();
                // Nothing unread, or the answer is lost with it.
                stream.shutdown(Shutdown::Write).unwrap();
                let _ = request.read_to_end(&mut Vec::new());
            }
        }
    })
}

#[test]
fn a_drain_is_waited_for_until_that_server_has_ended_and_no_other_end_is_taken_for_one() {
    let scratch = Scratch::new();
    let path = scratch.path("restarted.sock");
    let restarted = answering(&path, &[r#"{"pid":1}"#, "{}", r#"{"pid":1}"#, r#"{"pid":2}"#]);
    assert_eq!(ok(&path, &["drain", "--wait"]), "the server has ended\n");
    restarted.join().unwrap();
    // In a container each is the first process.
    let path = scratch.path("container.sock");
    let [old, new] = [r#"{"pid":1,"uptime_seconds":9}"#, r#"{"pid":1,"uptime_seconds":0}"#];
    let restarted = answering(&path, Vec::leak(vec![old, "{}", new]));
    assert_eq!(ok(&path, &["drain", "--wait"]), "the server has ended\n");
    restarted.join().unwrap();
    let path = scratch.path("foreign.sock");
    let foreign = answering(&path, &[r#"{"pid":1}"#, "{}", "no answer of ours"]);
    let socket = ["--socket", path.to_str().unwrap()];
    let said = fails(&[&["drain", "--wait"][..], &socket].concat());
    assert!(said.contains("is no admin API"), "{said}");
    foreign.join().unwrap();
}

#[test]
fn the_command_line_finds_the_socket_by_the_configuration() {
    let scratch = Scratch::new();
    let (file, path) = (scratch.path("server.toml"), scratch.path("here.sock"));
    fs::write(&file, format!("[admin]\nsocket = {path:?}\n")).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let server = Server::start_in(scratch, &[&ALICE[..], &config].concat());
    let status = turnwire(&[&["status", "--json"][..], &config].concat());
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["pid"], server.pid());
    let state = server.scratch.path("state");
    let by_state = server.scratch.path("state.toml");
    fs::write(&by_state, format!("[process]\nstate_directory = {state:?}\n")).unwrap();
    let said = fails(&["status", "--config", by_state.to_str().unwrap()]);
    assert!(said.contains(&format!("{}", state.join("admin.sock").display())), "{said}");
}
