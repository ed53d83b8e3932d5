//! The mistakes that people make on their first day: what the server says is enough to mend each, and is said once.
//! What a configuration's values say of themselves is in `tests/config`, what a client is told in `tests/check.rs`.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Client, Credential, Trust};
use configured::Configured;
use process::{Scratch, Server};
use serde_json::Value;
use turnwire::auth::RestDigest;

const USER: [&str; 2] = ["--user", "alice:wonder"];

/// A command line that ends by itself: its exit code and what it has said on standard error.
fn run(scratch: &Scratch, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_turnwire"))
        .args(words)
        .current_dir(&scratch.0)
        .stdin(Stdio::null())
        .output();
    let Output { status, stderr, .. } = output.expect("the program");
    (status.code(), String::from_utf8(stderr).expect("UTF-8"))
}

/// What a server that comes up warns of, or worse.
fn warnings(mut server: Server) -> Vec<String> {
    server.signal("TERM");
    assert_eq!(server.exit(), Some(0));
    said(&server, &["WARN", "ERROR"])
}

/// The one line with which a start has failed.
#[track_caller]
fn failure(mut server: Server) -> String {
    assert_eq!(server.exit(), Some(1));
    let mut errors = said(&server, &["WARN", "ERROR"]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn said(server: &Server, levels: &[&str]) -> Vec<String> {
    let meant = |line: &&Value| levels.iter().any(|level| line["level"] == *level);
    let message = |line: &Value| line["message"].as_str().expect("a message").to_owned();
    server.lines.iter().filter(meant).map(message).collect()
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

/// Starts it with so few descriptors. Each worker needs its own, so how many cores there are must not matter.
fn with_descriptors(number: u64, flags: &[&str]) -> Server {
    under_limit(Scratch::new(), number, flags)
}

fn under_limit(scratch: Scratch, number: u64, flags: &[&str]) -> Server {
    let flags = [flags, &["--workers", "2"]].concat();
    let limit = format!("--nofile={number}:{number}");
    Server::spawn_under(scratch, &["prlimit", &limit], &flags).up()
}

#[test]
fn a_limit_of_open_files_that_is_too_low_is_told_with_where_to_raise_it() {
    let told = warnings(with_descriptors(200, &USER));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_says(&told[0], &["200 open files are allowed", "LimitNOFILE=", "ulimit -n"]);
    assert_eq!(warnings(with_descriptors(4096, &USER)), [""; 0]);
    // Who wants few allocations has enough for them.
    let scratch = Scratch::new();
    fs::write(scratch.path("t.toml"), "[limits]\nallocations = 2\n").unwrap();
    let flags = [&USER[..], &["--config", "t.toml"]].concat();
    assert_eq!(warnings(under_limit(scratch, 300, &flags)), [""; 0]);
}

#[test]
fn an_outside_address_that_is_private_is_told() {
    let outside = ["--listen", "0.0.0.0:0", "--relay-ip", "127.0.0.1", "--external-ip"];
    let with = |address: &str| [&USER[..], &outside, &[address]].concat().join(" ");
    let start = |flags: String| Server::start(&flags.split(' ').collect::<Vec<_>>());
    let told = warnings(start(with("192.168.1.5")));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_says(&told[0], &["192.168.1.5 is not a public one", "--external-ip", "relay.external"]);
    assert_eq!(warnings(start(with("198.41.0.4"))), [""; 0]);
}

#[test]
fn secrets_that_everybody_may_read_are_told_with_what_takes_that_away() {
    let start = |config: u32, secret: u32| {
        let scratch = Scratch::new();
        let write = |name: &str, text: &str, mode: u32| {
            fs::write(scratch.path(name), text).unwrap();
            fs::set_permissions(scratch.path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        write("secret", "north-sea\n", secret);
        write("t.toml", "[auth]\nsecrets = [\"south\"]\nsecrets_file = \"secret\"\n", config);
        let (code, told) = run(&scratch, &["check-config", "t.toml"]);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(
            told.contains("may read secret: take that right away with chmod o-r"),
            secret != 0o600,
            "{told}"
        );
        warnings(Server::start_in(scratch, &["--config", "t.toml"]))
    };
    for (config, secret, file) in [(0o644, 0o600, "t.toml"), (0o600, 0o644, "secret")] {
        let told = start(config, secret);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_says(&told[0], &[&format!("may read {file}, in which secrets are"), "chmod o-r"]);
    }
    assert_eq!(start(0o640, 0o600), [""; 0]);
}

#[test]
fn a_configuration_without_a_secret_of_its_own_may_be_read() {
    let start = |text: &str, way: u32| {
        let scratch = Scratch::new();
        let put = |name: &str, text: &str, mode: u32| {
            fs::write(scratch.path(name), text).unwrap();
            fs::set_permissions(scratch.path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        put("t.toml", text, 0o644);
        put("secret", "a-secret-of-32-bytes-0123456789\n", 0o600);
        put("both", "north-sea\n", 0o644);
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(way)).unwrap();
        warnings(Server::start_in(scratch, &[&USER[..], &["--config", "t.toml"]].concat()))
    };
    let bare = [
        "[auth]\nrealm = \"r\"\nsecrets = []\n",
        "[web.keys]\napp = { secret_file = \"secret\", label = \"app\" }\n[web]\npage = true\n",
        "[stores.ask]\nx = { kind = \"sqlite\", path = \"none/users.db\" }\n",
        "[events.webhook]\nurl = \"http://127.0.0.1:9/x\"\nsecret_file = \"secret\"\n",
    ];
    let exposed = |told: &[String]| told.iter().filter(|it| it.contains("chmod o-r")).count();
    for text in bare {
        let told = start(text, 0o755);
        assert_eq!(exposed(&told), 0, "{text}: {told:?}");
    }
    let secretive = [
        "[events.webhook]\nurl = \"http://127.0.0.1:9/x?token=y\"\nsecret_file = \"secret\"\n",
        "[[realm]]\nname = \"a\"\nusers = { a = \"b\" }\n",
        // A file that two name is told once.
        "[[realm]]\nname = \"a\"\nsecrets_file = \"both\"\n[[realm]]\nname = \"b\"\nsecrets_file = \"both\"\n",
    ];
    for text in secretive {
        let told = start(text, 0o755);
        assert_eq!(exposed(&told), 1, "{text}: {told:?}");
        // Behind a closed directory nobody finds it.
        assert_eq!(exposed(&start(text, 0o750)), 0, "{text}");
    }
}

/// As `echo secret > file` writes it, and as an editor of Windows does.
#[test]
fn what_stands_around_a_secret_in_its_file_is_no_part_of_it() {
    for text in ["north-sea\n", " north-sea \r\n", "\u{feff}north-sea\r\n"] {
        let scratch = Scratch::new();
        fs::write(scratch.path("secret"), text).unwrap();
        let server = Server::start_in(scratch, &["--secret-file", "secret"]);
        let key = Credential::ephemeral(RestDigest::Sha1, "north-sea", "4102444800:anna");
        Client::udp_to(server.udp()).with(key).allocate();
    }
}

#[test]
fn the_configuration_named_as_elsewhere_is_told_how_it_is_named_here() {
    let scratch = Scratch::new();
    fs::write(scratch.path("t.toml"), "").unwrap();
    let tip = "tip: the configuration is named with '--config FILE'";
    for words in [&["t.toml"][..], &["-c", "t.toml"], &["-c"], &["serve", "t.toml"]] {
        let (code, told) = run(&scratch, words);
        assert_eq!(code, Some(2), "{told}");
        assert_says(&told, &[tip]);
    }
    // Where there is no such flag it would be refused next.
    for words in [["import", "t.toml", "t.toml"], ["check-config", "t.toml", "t.toml"]] {
        let (code, told) = run(&scratch, &words);
        assert_eq!(code, Some(2), "{told}");
        assert!(!told.contains(tip), "{told}");
    }
    let (code, told) = run(&scratch, &["--lisen", "127.0.0.1:0"]);
    assert_eq!(code, Some(2));
    assert_says(&told, &["unexpected argument '--lisen'", "'--listen'"]);
    assert!(!told.contains("--config FILE'"), "{told}");
}

#[test]
fn a_file_of_coturn_s_is_sent_to_the_import() {
    let scratch = Scratch::new();
    fs::write(
        scratch.path("turnserver.conf"),
        "listening-port=3478\nuse-auth-secret\nstatic-auth-secret=Pw0001\n",
    )
    .unwrap();
    for words in [["--config", "turnserver.conf"], ["check-config", "turnserver.conf"]] {
        let (code, told) = run(&scratch, &words);
        assert_eq!((code, told.lines().count()), (Some(1), 1), "{told}");
        assert_says(
            &told,
            &["turnserver.conf: this is a configuration of coturn's", "turnwire import"],
        );
        assert!(!told.contains("Pw0001"), "{told}");
    }
}

/// A certificate whose key is not named, and one that belongs to another.
#[test]
fn a_certificate_without_its_key_is_told_which_setting_is_missing() {
    let (trust, other) = (Trust::new(), Trust::new());
    let chain = trust.directory.join("chain.pem").display().to_string();
    let text = format!("[tls]\ncertificates = [\"{chain}\"]\n");
    let scratch = Scratch::new();
    fs::write(scratch.path("t.toml"), &text).unwrap();
    let (code, told) = run(&scratch, &["check-config", "t.toml"]);
    assert_eq!(code, Some(1));
    assert_says(&told, &["t.toml:2:17: ", "has no private key in it", "tls.keys, --key"]);
    let key = other.directory.join("key.pem").display().to_string();
    let flags = [&USER[..], &["--cert", &chain, "--key", &key]].concat();
    let told = failure(Server::spawn(Scratch::new(), &flags));
    assert_says(&told, &[&key, "does not belong to the certificate"]);
}

#[test]
fn a_database_that_is_down_at_the_start_is_told_and_the_server_is_up() {
    let nobody = "[stores.ask]\nours = { kind = \"http\", url = \"http://127.0.0.1:1/\" }\n";
    let mut configured = Configured::start(nobody);
    let line = configured.server.line("store_failed");
    assert_says(
        line["message"].as_str().unwrap(),
        &["the store \"ours\" cannot be reached", "who is known goes on"],
    );
}

#[test]
fn a_directory_for_its_state_that_cannot_be_written_is_told_with_the_flag() {
    let scratch = Scratch::new();
    fs::write(scratch.path("state"), "no directory").unwrap();
    let told = failure(Server::spawn(scratch, &[]));
    assert_says(&told, &["the secret cannot be kept in", "state", "--state-directory"]);
}

/// A port below 1024 by somebody who is nobody.
#[test]
fn a_port_that_is_root_s_is_told_with_the_capability() {
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let root = ours.lines().any(|line| line.starts_with("Uid:\t0\t"));
    if !root || !Path::new("/usr/bin/setpriv").exists() {
        eprintln!("skipped: only root can become nobody, with setpriv");
        return;
    }
    let all = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if all.trim().parse::<u16>().unwrap() <= 443 {
        eprintln!("skipped: here everybody may have port 443");
        return;
    }
    let flags = [&USER[..], &["--listen", "127.0.0.1:443"]].concat();
    let nobody =
        ["setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"];
    let told = failure(Server::spawn_under(Scratch::new(), &nobody, &flags));
    assert_says(&told, &["127.0.0.1:443", "CAP_NET_BIND_SERVICE", "AmbientCapabilities="]);
}
