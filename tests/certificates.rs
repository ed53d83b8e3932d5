//! Certificates of a running server: read, watched, swapped, and complained of in words.

#[path = "common/certificate.rs"]
mod certificate;
#[path = "process/server.rs"]
mod server;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Output};

use certificate::{Authority, Issued, paths, put};
use server::{Scratch, Server};

/// A server with one certificate, in the directory of its own.
fn start(issued: &Issued, flags: &[&str]) -> Server {
    let scratch = Scratch::new();
    issued.put(&scratch.0);
    let flags = [&["--cert", "chain.pem", "--key", "key.pem"], flags].concat();
    Server::start_in(scratch, &flags)
}

/// The lines of a scrape that begin like this.
fn metrics(server: &Server, name: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(server.admin()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[test]
fn a_renewed_certificate_is_taken_without_a_signal_and_counted() {
    let authority = Authority::new("authority");
    let mut server = start(&authority.issue("turn.test", 80), &["--admin", "127.0.0.1:0"]);
    let first = server.line("certificate");
    assert_eq!((&first["name"], &first["days"]), (&"turn.test".into(), &80.into()));
    let [days] = &metrics(&server, "turnwire_certificate_days_left")[..] else { panic!() };
    let labels = "turnwire_certificate_days_left{file=\"chain.pem\",name=\"turn.test\"} 80.0";
    assert!(days.starts_with(labels), "{days}");
    authority.issue("turn.test", 90).put(&server.scratch.0);
    let second = server.line("certificate");
    assert_eq!(second["days"], 90);
    assert_ne!(second["serial"], first["serial"]);
    let [failed, ok] = ["failed", "ok"]
        .map(|result| format!("turnwire_certificate_reloads_total{{result=\"{result}\"}} "));
    let mut counts = metrics(&server, "turnwire_certificate_reloads_total");
    counts.sort();
    assert_eq!(counts, [failed + "0", ok + "1"]);
    assert!(metrics(&server, "turnwire_certificate_days_left")[0].contains("90.0"));
}

#[test]
fn what_cannot_be_used_is_said_when_somebody_asks_and_changes_nothing() {
    let authority = Authority::new("authority");
    let mut server = start(&authority.issue("turn.test", 80), &["--admin", "127.0.0.1:0"]);
    put(&server.scratch.0, "key.pem", &authority.issue("turn.test", 90).key);
    server.signal("HUP");
    let failed = server.line("certificate_reload_failed");
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("key.pem does not belong to the certificate"), "{message}");
    assert!(message.contains("the one before it stays (80 days left)"), "{message}");
    assert!(metrics(&server, "turnwire_certificate_days_left")[0].contains("80.0"));
}

#[test]
fn a_start_without_a_certificate_that_can_be_used_fails_and_names_the_file() {
    let issued = Authority::new("authority").issue("turn.test", 80);
    let swapped = Issued { chain: issued.key.clone(), key: issued.chain.clone() };
    let cut = Issued { chain: issued.chain.clone(), key: "nothing".to_owned() };
    let cases = [
        (&swapped, "chain.pem has no certificate in it, but a private key"),
        (&cut, "key.pem has no private key in it"),
    ];
    for (issued, expected) in cases {
        let scratch = Scratch::new();
        issued.put(&scratch.0);
        let mut server = Server::spawn(scratch, &["--cert", "chain.pem", "--key", "key.pem"]);
        assert_eq!(server.exit(), Some(1));
        let message = server.of("start_failed")[0]["message"].to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!server.scratch.path("ready.json").exists());
    }
}

#[test]
fn an_expired_certificate_is_an_error_and_no_reason_to_stay_down() {
    let authority = Authority::new("authority");
    for (days, expires, expired) in [(-2, 0, 1), (1, 1, 0), (13, 1, 0), (15, 0, 0)] {
        let mut server = start(&authority.issue("turn.test", days), &[]);
        server.signal("TERM");
        server.rest();
        let lines = ["certificate_expires", "certificate_expired"].map(|it| server.of(it));
        assert_eq!(lines.each_ref().map(Vec::len), [expires, expired], "{lines:?}");
        assert!(lines[1].iter().all(|line| line["level"] == "ERROR" && line["days"] == -2));
    }
}

fn check_config(scratch: &Scratch, text: &str) -> (Option<i32>, String, String) {
    let file = scratch.path("turnwire.toml");
    fs::write(&file, text).unwrap();
    let turnwire = env!("CARGO_BIN_EXE_turnwire");
    let Output { status, stdout, stderr } =
        Command::new(turnwire).arg("check-config").arg(file).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn check_config_reads_certificates_as_the_server_would() {
    let root = Authority::new("root");
    let middle = root.intermediate("middle");
    let (scratch, good) = (Scratch::new(), middle.issue("turn.test", 80));
    good.put(&scratch.0);
    let toml = "[tls]\ncertificates = [\"chain.pem\"]\nkeys = [\"key.pem\"]\n";
    let set = |name: &str, mode| {
        fs::set_permissions(scratch.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set("key.pem", 0o600);
    let (code, out, err) = check_config(&scratch, toml);
    assert_eq!(code, Some(0));
    assert!(out.contains("certificate of turn.test (ECDSA), 80 days left"), "{out}");
    // Nobody here knows the root, so only the operator can.
    assert!(err.starts_with("warning: ") && err.contains(":2:17: tls.certificates: "), "{err}");
    assert!(err.contains("\"CN=middle\" issued its last certificate"), "{err}");

    put(&scratch.0, "chain.pem", &format!("{}{}{}", good.chain, middle.pem(), root.pem()));
    set("key.pem", 0o644);
    let (code, _, err) = check_config(&scratch, toml);
    assert_eq!(code, Some(0));
    assert!(err.starts_with("warning: ") && err.contains("tls.keys: everybody on this"), "{err}");
    set("key.pem", 0o600);
    let wrong = |chain: &str, key: &str, expected: &str| {
        put(&scratch.0, "chain.pem", chain);
        put(&scratch.0, "key.pem", key);
        set("key.pem", 0o600);
        let (code, _, err) = check_config(&scratch, toml);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(expected), "{err}, and not {expected}");
    };
    let disorder = format!("{}{}{}", good.chain, root.pem(), middle.pem());
    wrong(&disorder, &good.key, "2:17: tls.certificates: ");
    wrong(&disorder, &good.key, "\"CN=middle\", who issued certificate 1, has to stand right");
    let other = middle.issue("turn.test", 80);
    wrong(&good.chain, &other.key, "3:9: tls.keys: ");
    wrong(&good.chain, &other.key, "does not belong to the certificate");
    let (code, _, err) = check_config(&scratch, "[process]\nuser = \"nobody at all\"");
    assert_eq!(code, Some(1));
    assert!(err.contains("2:8: process.user: this host knows no user \"nobody at all\""), "{err}");
}

/// Numbers of the user and the group that Debian has for nobody.
const NOBODY: u32 = 65534;

#[test]
fn root_s_key_is_read_before_root_is_given_up() {
    if fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0) {
        let authority = Authority::new("authority");
        let scratch = Scratch::new();
        authority.issue("turn.test", 80).put(&scratch.0);
        let [_, key] = paths(&scratch.0);
        let private = || fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        private();
        // The ready file is written and removed by the user that it becomes.
        chown(&scratch.0, Some(NOBODY), None).unwrap();
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).unwrap();
        let text = "[process]\nuser = \"nobody\"\ngroup = \"nogroup\"\n[tls]\ncertificates = [\"chain.pem\"]\nkeys = [\"key.pem\"]\n";
        fs::write(scratch.path("turnwire.toml"), text).unwrap();
        let mut server = Server::start_in(scratch, &["--config", "turnwire.toml"]);
        assert_eq!(server.line("user")["user"], "nobody");
        for task in fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(line("Uid:"), vec![NOBODY.to_string(); 4]);
            assert_eq!(line("Gid:"), vec![NOBODY.to_string(); 4]);
            assert_eq!(line("Groups:"), [NOBODY.to_string()]);
        }
        // The next one it may not read, and says so before there is one.
        let expected = "is root:root with mode 0600, and this process is nobody";
        let message = server.line("certificate_reload_failed")["message"].to_string();
        assert!(message.contains(expected), "{message}");
        let renewed = authority.issue("turn.test", 90);
        put(&server.scratch.0, "chain.pem", &renewed.chain);
        fs::write(server.scratch.path("new"), &renewed.key).unwrap();
        fs::set_permissions(server.scratch.path("new"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(server.scratch.path("new"), &key).unwrap();
        server.signal("HUP");
        let message = server.line("certificate_reload_failed")["message"].to_string();
        assert!(message.contains(expected), "{message}");
        // As soon as it may, it does.
        chown(&key, None, Some(NOBODY)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(server.line("certificate")["days"], 90);
        server.signal("TERM");
        assert_eq!(server.exit(), Some(0));
        assert!(!server.scratch.path("ready.json").exists());
    } else {
        println!("note: this is not root, who alone can give root up: not tested");
    }
}

#[test]
fn a_user_that_is_not_there_keeps_the_server_down() {
    let scratch = Scratch::new();
    fs::write(scratch.path("turnwire.toml"), "[process]\nuser = \"nobody at all\"").unwrap();
    let mut server = Server::spawn(scratch, &["--config", "turnwire.toml"]);
    assert_eq!(server.exit(), Some(1));
    let message = server.of("start_failed")[0]["message"].to_string();
    assert!(message.contains("this host knows no user"), "{message}");
}
