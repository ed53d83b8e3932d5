//! The server as its operator and its init system meet it: the built binary, its files, signals,
//! output and exit codes.

mod common;
#[path = "process/server.rs"]
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
#[cfg(feature = "sqlite")]
use std::{
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::Command,
};

#[cfg(feature = "sqlite")]
use common::ask;
use common::{Client, Credential, Peer, new_id, plain};
use serde_json::Value;
use server::{LIMIT, Scratch, Server, address, get, mode};
use turnwire::auth::{RestDigest, Secret, mint_password};
use turnwire::stun::{Kind, Method};
use turnwire::turn::SessionId;

/// The number of the user that Debian has for nobody.
#[cfg(feature = "sqlite")]
const NOBODY: u32 = 65534;

const ALICE: [&str; 4] = ["--user", "alice:wonder", "--allow-peer", "127.0.0.0/8"];

fn alice(server: &Server) -> Client {
    client(server, "alice", "wonder")
}

fn client(server: &Server, username: &str, password: &str) -> Client {
    Client::udp_to(server.udp()).with(Credential::user(username, password))
}

/// A request without credentials.
fn unsigned(method: Method) -> Vec<u8> {
    plain(Kind::request(method), &new_id(), |_| ())
}

#[test]
fn ready_means_that_every_socket_named_in_the_ready_file_answers() {
    let listen = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0", "--admin", "127.0.0.1:0"];
    let mut server = Server::start(&[&ALICE[..], &listen].concat());
    let ready = server.ready();
    let object = ready.as_object().unwrap();
    let keys: Vec<_> = object.keys().map(String::as_str).collect();
    assert_eq!(keys, ["admin", "dtls", "pid", "tcp", "tls", "udp", "web"]);
    assert_eq!(ready["pid"], server.pid());
    for transport in ["udp", "tcp"] {
        let addresses: Vec<_> = ready[transport].as_array().unwrap().iter().map(address).collect();
        let ips: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        assert_eq!(ips, ["127.0.0.1", "127.0.0.2"]);
        for listener in addresses {
            let mut client = match transport {
                "udp" => Client::udp_to(listener),
                _ => Client::tcp_to(listener),
            };
            let answer = client.exchange(&unsigned(Method::BINDING));
            assert_eq!(answer.mapped(), client.local());
        }
    }
    assert_eq!(get(server.admin(), "/healthz").0, 200);
    let line = server.line("ready");
    assert_eq!(line["message"], "ready");
    assert_eq!(line["admin"], ready["admin"]);
    assert_eq!(line["udp"], format!("{},{}", address(&ready["udp"][0]), address(&ready["udp"][1])));
}

#[test]
fn sigterm_ends_every_session_and_then_the_process_cleanly() {
    let mut server = Server::start(&ALICE);
    let mut clients = [alice(&server), alice(&server)];
    for client in &mut clients {
        client.allocate();
    }
    server.signal("TERM");
    server.told("STOPPING=1");
    assert_eq!(server.exit(), Some(0));
    assert!(!server.scratch.path("ready.json").exists());
    let ended = server.of("session_ended");
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|line| line["reason"] == "shutdown" && line["user"] == "alice"));
    let last = server.lines.last().unwrap();
    assert_eq!((&last["event"], &last["allocations_cut"]), (&"stopped".into(), &2.into()));
}

#[test]
fn sigint_ends_it_and_sighup_does_not() {
    let mut server = Server::start(&ALICE);
    server.signal("HUP");
    server.line("reloaded");
    alice(&server).fence();
    server.signal("INT");
    assert_eq!(server.exit(), Some(0));
}

#[test]
fn a_drain_waits_for_live_allocations_and_says_so() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    fs::write(&file, "[process]\ndrain = \"1h\"\n").unwrap();
    let config = ["--config", file.to_str().unwrap(), "--admin", "127.0.0.1:0"];
    let mut server = Server::start_in(scratch, &[&ALICE[..], &config].concat());
    let mut client = alice(&server);
    client.allocate();
    server.signal("TERM");
    let began = server.line("draining");
    assert_eq!((&began["allocations"], &began["seconds_left"]), (&1.into(), &3600.into()));
    let (code, body) = get(server.admin(), "/healthz");
    let state: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &state["status"]), (503, &"draining".into()));
    assert!((3500..=3600).contains(&state["drain_seconds_left"].as_u64().unwrap()), "{body}");
    assert!(get(server.admin(), "/metrics").1.contains("\nturnwire_draining 1\n"));
    // Who comes now is turned away.
    let mut late = alice(&server);
    assert_eq!(late.try_allocate(|_| ()).code(), 508);
    let progress = server.line("drain_progress");
    assert_eq!(progress["allocations"], 1);
    // Nothing but the allocation keeps it alive now.
    client.permit("127.0.0.1:9".parse().unwrap());
    assert_eq!(client.refresh(0).code(), 0);
    assert_eq!(server.exit(), Some(0));
    assert_eq!(server.of("session_ended")[0]["reason"], "deleted");
    assert_eq!(server.of("drained")[0]["allocations"], 0);
}

#[test]
fn a_drain_ends_with_its_time_whoever_is_left() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    fs::write(&file, "[process]\ndrain = \"1s\"\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let mut server = Server::start_in(scratch, &[&ALICE[..], &config].concat());
    alice(&server).allocate();
    server.signal("TERM");
    assert_eq!(server.exit(), Some(0));
    assert_eq!(server.of("drained")[0]["allocations"], 1);
    assert_eq!(server.of("session_ended")[0]["reason"], "shutdown");
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    fs::write(&file, "[process]\ndrain = \"1h\"\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let mut server = Server::start_in(scratch, &[&ALICE[..], &config].concat());
    alice(&server).allocate();
    server.signal("TERM");
    server.line("draining");
    server.signal("TERM");
    assert_eq!(server.exit(), Some(0));
    assert_eq!(server.of("session_ended")[0]["reason"], "shutdown");
}

/// The one entry of the `iceServers` JSON that it has printed, on its first line.
fn invitation(server: &Server) -> Value {
    let printed = server.stdout();
    let first = printed.lines().next().expect("a line");
    let printed: Value = serde_json::from_str(first).expect("JSON and nothing else");
    printed["iceServers"][0].clone()
}

#[test]
fn without_any_configuration_it_prints_a_credential_that_works_and_admits_nobody_else() {
    let server = Server::start(&[]);
    let entry = invitation(&server);
    let (name, password) = (&entry["username"], &entry["credential"]);
    let listener = server.udp();
    let urls = [
        format!("stun:{listener}"),
        format!("turn:{listener}?transport=udp"),
        format!("turn:{listener}?transport=tcp"),
    ];
    assert_eq!(entry["urls"], Value::from(urls.map(Value::from).to_vec()));
    let (name, password) = (name.as_str().unwrap(), password.as_str().unwrap());
    client(&server, name, password).allocate();
    // No integrity, a guessed name, a name with another secret's password: 401 for all of them.
    let stranger = alice(&server).exchange(&unsigned(Method::ALLOCATE));
    assert_eq!(stranger.code(), 401);
    let refused = |name: &str, password: &str| {
        assert_eq!(client(&server, name, password).try_allocate(|_| ()).code(), 401);
    };
    refused("admin", "admin");
    refused(name, &mint_password(RestDigest::Sha1, &Secret::new("x"), name));
}

#[test]
fn the_secret_it_makes_is_its_owner_s_alone_and_outlives_it() {
    let server = Server::start(&[]);
    let entry = invitation(&server);
    let file = server.scratch.path("state/secret");
    assert_eq!(mode(&file), 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    let text = format!("{:?}", server.lines);
    assert!(!text.contains(secret.trim()) && !text.contains(entry["credential"].as_str().unwrap()));
    let server = Server::start_in(server.finish(), &[]);
    assert_eq!(fs::read_to_string(&file).unwrap(), secret);
    let (name, password) = (&entry["username"], &entry["credential"]);
    // A credential of the first run works in the second.
    client(&server, name.as_str().unwrap(), password.as_str().unwrap()).allocate();
    let scratch = server.finish();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut refused = Server::spawn(scratch, &[]);
    assert_eq!(refused.exit(), Some(1));
    let message = refused.lines.last().unwrap()["message"].to_string();
    assert!(message.contains("chmod 600") && message.contains("state/secret"), "{message}");
}

/// Has `turnwire users` make a user where this server keeps its state, and says the password.
#[cfg(feature = "sqlite")]
fn add_user(server: &Server, name: &str) -> String {
    let mut turnwire = Command::new(env!("CARGO_BIN_EXE_turnwire"));
    turnwire.args(["users", "add", name, "--generate", "--state-directory"]);
    turnwire.arg(server.scratch.path("state"));
    password_of(turnwire)
}

/// What it has generated.
#[cfg(feature = "sqlite")]
fn password_of(mut turnwire: Command) -> String {
    let told = turnwire.output().expect("it runs");
    let told = String::from_utf8(told.stdout).expect("text");
    let password = told.lines().find_map(|line| line.strip_prefix("password: "));
    password.expect("a password").to_owned()
}

#[cfg(feature = "sqlite")]
#[test]
fn users_of_its_own_database_join_those_it_has_invited() {
    let mut server = Server::start(&[]);
    let key = |server: &Server| {
        let printed = server.stdout();
        printed.split_once("/#key=").and_then(|(_, rest)| rest.lines().next()).map(str::to_owned)
    };
    let (entry, link) = (invitation(&server), key(&server).expect("a link"));
    let (name, password) = (&entry["username"], &entry["credential"]);
    let (name, password) = (name.as_str().unwrap(), password.as_str().unwrap());
    let bobs = add_user(&server, "bob");
    server.signal("HUP");
    server.line("reloaded");
    let all_come_in = |server: &Server| {
        client(server, name, password).allocate();
        client(server, "bob", &bobs).allocate();
        assert_eq!(ask(server.udp(), "GET /", &[]).status, 200, "the page");
    };
    all_come_in(&server);
    let server = Server::start_in(server.finish(), &[]);
    assert_eq!(key(&server), Some(link));
    all_come_in(&server);
}

#[cfg(feature = "sqlite")]
#[test]
fn what_root_makes_for_a_server_that_gives_up_root_is_that_servers() {
    // Nobody else may become another user.
    if !fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0) {
        return;
    }
    let owner = |path: &Path| fs::metadata(path).map(|about| (about.uid(), mode(path))).unwrap();
    let scratch = Scratch::new();
    // The ready file is written by the user that it becomes.
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(scratch.path("turnwire.toml"), "[process]\nuser = \"nobody\"\n").unwrap();
    let mut server = Server::start_in(scratch, &["--config", "turnwire.toml"]);
    let entry = invitation(&server);
    let bobs = add_user(&server, "bob");
    let state = server.scratch.path("state");
    assert_eq!(owner(&state), (NOBODY, 0o700));
    for file in ["secret", "turnwire.db", "admin.sock.lock"] {
        assert_eq!(owner(&state.join(file)), (NOBODY, 0o600), "{file}");
    }
    server.signal("HUP");
    server.line("reloaded");
    client(&server, "bob", &bobs).allocate();
    let (name, password) = (&entry["username"], &entry["credential"]);
    client(&server, name.as_str().unwrap(), password.as_str().unwrap()).allocate();

    // Users may be there before the server is.
    let scratch = server.finish();
    fs::remove_dir_all(&state).unwrap();
    let mut turnwire = Command::new(env!("CARGO_BIN_EXE_turnwire"));
    turnwire.args(["users", "add", "carol", "--generate", "--config"]);
    turnwire.arg(scratch.path("turnwire.toml")).arg("--state-directory").arg(&state);
    let carols = password_of(turnwire);
    assert_eq!(owner(&state), (NOBODY, 0o700));
    let mut server = Server::start_in(scratch, &["--config", "turnwire.toml"]);
    server.line("ready");
    assert_eq!(server.of("state_directory").len(), 0);
    client(&server, "carol", &carols).allocate();

    // One that is root's stays root's, and what to do is said.
    let scratch = server.finish();
    let everything = fs::read_dir(&state).unwrap().map(|it| it.unwrap().path());
    everything.chain([state.clone()]).for_each(|path| chown(&path, Some(0), Some(0)).unwrap());
    let mut server = Server::start_in(scratch, &["--config", "turnwire.toml"]);
    let message = server.line("state_directory")["message"].to_string();
    let remedy = format!("chown -R nobody {}", state.display());
    assert!(message.contains(&remedy), "{message}");
    assert_eq!(owner(&state), (0, 0o700));
}

#[test]
fn configured_users_are_not_joined_by_a_secret() {
    let server = Server::start(&ALICE);
    assert_eq!(server.stdout(), "");
    assert!(!server.scratch.path("state").join("secret").exists());
}

/// The one line with which a start has failed.
fn failure(mut server: Server) -> String {
    assert_eq!(server.exit(), Some(1));
    assert!(!server.scratch.path("ready.json").exists());
    let failed = server.of("start_failed");
    assert_eq!((failed.len(), &failed[0]["level"]), (1, &"ERROR".into()));
    let message = failed[0]["message"].as_str().unwrap().to_owned();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn a_second_server_on_the_same_port_fails_and_names_it() {
    let first = Server::start(&ALICE);
    let port = first.udp().port().to_string();
    for listen in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")] {
        let flags = [&ALICE[..], &["--listen", &listen]].concat();
        let message = failure(Server::spawn(Scratch::new(), &flags));
        assert!(message.contains(&port) && message.contains("--listen"), "{message}");
    }
    // The first goes on.
    alice(&first).fence();
}

#[test]
fn what_cannot_be_bound_or_written_is_named_with_what_to_do() {
    let first = Server::start(&[&ALICE[..], &["--admin", "127.0.0.1:0"]].concat());
    let admin = first.admin().to_string();
    let with = |flags: &[&str]| failure(Server::spawn(Scratch::new(), &[&ALICE, flags].concat()));
    let message = with(&["--admin", &admin]);
    assert!(message.contains(&admin) && message.contains("choose another"), "{message}");
    // RFC 5737: addresses that no host has.
    let message = with(&["--relay-ip", "192.0.2.77"]);
    assert!(message.contains("192.0.2.77") && message.contains("--external-ip"), "{message}");
    let message = with(&["--listen", "192.0.2.77:0"]);
    assert!(message.contains("192.0.2.77") && message.contains("no such address"), "{message}");
    assert!(message.contains("`ip address`") && message.contains("--external-ip"), "{message}");
}

#[test]
fn a_stale_ready_file_is_gone_when_the_start_fails() {
    let first = Server::start(&ALICE);
    let scratch = Scratch::new();
    fs::write(scratch.path("ready.json"), "{}").unwrap();
    let listen = first.udp().to_string();
    failure(Server::spawn(scratch, &[&ALICE[..], &["--listen", &listen]].concat()));
}

#[test]
fn each_ended_session_has_one_line_with_its_exact_counts() {
    // The name is one that would break a log that does not quote.
    let name = "al\"ice event=ready";
    let user = format!("{name}:wonder");
    let mut server = Server::start(&["--user", &user, "--allow-peer", "127.0.0.0/8"]);
    let mut client = client(&server, name, "wonder");
    let relayed = client.allocate();
    let peer = Peer::new();
    client.permit(peer.address);
    for length in [0, 1, 1200] {
        client.send(peer.address, &vec![7; length]);
        assert_eq!(peer.receive(), (vec![7; length], relayed));
    }
    for length in [3, 500] {
        peer.send(relayed, &vec![8; length]);
        assert_eq!(client.data(), (peer.address, vec![8; length]));
    }
    assert_eq!(client.refresh(0).code(), 0);
    let line = server.line("session_ended");
    let expected = [
        ("level", Value::from("INFO")),
        ("message", "session ended".into()),
        ("user", name.into()),
        ("realm", "turnwire".into()),
        ("client", client.local().to_string().into()),
        ("transport", "udp".into()),
        ("server", server.udp().to_string().into()),
        ("relayed", relayed.to_string().into()),
        ("to_peer_packets", 3.into()),
        ("to_peer_bytes", 1201.into()),
        ("to_client_packets", 2.into()),
        ("to_client_bytes", 503.into()),
        ("reason", "deleted".into()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    // The first one of whichever worker it came to.
    let name: SessionId = line["session"].as_str().and_then(|it| it.parse().ok()).expect("a name");
    assert_eq!(name.number(), 1);
    assert!(line["duration_ms"].as_u64().is_some_and(|ms| ms < LIMIT.as_millis() as u64));
    server.signal("TERM");
    server.rest();
    assert_eq!(server.of("session_ended").len(), 1);
}

#[test]
fn of_refusals_the_log_has_the_first_of_a_kind_and_more_when_it_is_asked_for() {
    let flags = ["--user", "alice:wonder"];
    for (level, expected) in [("info", 1), ("debug", 3)] {
        let mut server = Server::start(&[&flags[..], &["--log-level", level]].concat());
        let mut client = alice(&server);
        client.allocate();
        // A browser offers its private addresses in every call.
        assert_eq!(client.try_permit(&["10.1.2.3:5".parse().unwrap()]).code(), 403);
        assert_eq!(client.try_permit(&["10.1.2.4:5".parse().unwrap()]).code(), 403);
        server.signal("TERM");
        server.rest();
        let refused = server.of("request_refused");
        let ended = server.of("session_ended")[0];
        assert_eq!(
            (&ended["refusals"], &ended["last_refusal"]),
            (&2.into(), &"peer_denied".into())
        );
        if let [denied] = refused[..] {
            // What the first one says is enough for a person to act on.
            assert_eq!((&denied["level"], &denied["user"]), (&"INFO".into(), &"alice".into()));
            assert_eq!(denied["rule"], "built-in 10.0.0.0/8 (private address of RFC 1918)");
            assert_eq!(denied["session"], ended["session"]);
            assert!(denied["hint"].as_str().unwrap().contains("--allow-peer 10.1.2.3/32"));
        }
        assert_eq!(refused.len(), expected, "{refused:?}");
        if let [challenge, denied, _] = refused[..] {
            assert_eq!(
                (&challenge["cause"], &challenge["code"]),
                (&"challenge".into(), &401.into())
            );
            assert_eq!((&denied["cause"], &denied["code"]), (&"peer_denied".into(), &403.into()));
            assert_eq!(denied["method"], "CreatePermission");
            assert_eq!(denied["client"], client.local().to_string());
        }
    }
}

#[test]
fn a_rule_of_the_operator_s_is_named_in_the_refusal() {
    let rules = ["--deny-peer", "8.8.0.0/16", "--log-level", "debug"];
    let mut server = Server::start(&[&ALICE[..], &rules].concat());
    let mut client = alice(&server);
    client.allocate();
    assert_eq!(client.try_permit(&["8.8.8.8:5".parse().unwrap()]).code(), 403);
    server.line("request_refused");
    assert_eq!(server.line("request_refused")["rule"], "deny 8.8.0.0/16");
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut server = Server::start(&[&ALICE[..], &["--log-level", "debug"]].concat());
    server.stop_reading();
    for _ in 0..200 {
        let mut client = alice(&server);
        client.allocate();
        assert_eq!(client.refresh(0).code(), 0);
    }
    server.signal("TERM");
    server.told("STOPPING=1");
    assert_eq!(server.wait(), Some(0));
}
