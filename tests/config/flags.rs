//! The flags over the file, and the built binary.

use std::path::PathBuf;
use std::process::{Command, Output};

use turnwire::auth::Secret;
use turnwire::config::{Flags, Format, Level, Origin, load};
use turnwire::tls::Files;

use super::{TempFile, flag_problem, strings};

#[test]
fn flags_win_over_the_file_or_add_to_it() {
    let file = TempFile::new(
        "[listen]\naddresses = [\"[::]:1\", \"[::]:2\"]\nnat_alternates = [\"[::1]:3\"]\nworkers = 1\n\
         [relay]\naddresses = [\"10.0.0.1\"]\nexternal = [\"1.1.1.1\"]\nports = \"2000-3000\"\n\
         [auth]\nrealm = \"file\"\nsecrets = [\"file\"]\nusers = { alice = \"file\", bob = \"file\" }\n\
         [peers]\nallow = [\"10.0.0.0/8\"]\n\
         [tls]\ncertificates = [\"a.pem\", \"b.pem\"]\nkeys = [\"a.key\", \"b.key\"]\n\
         [admin]\nlisten = \"[::1]:3\"\n[log]\nlevel = \"warn\"\n\
         [process]\nready_file = \"file\"\nstate_directory = \"file\"",
    );
    let flags = Flags {
        listen: strings(["127.0.0.1:0"]),
        nat_alternate: strings(["127.0.0.2:0"]),
        relay_ip: strings(["10.0.0.2", "10.0.0.3"]),
        external_ip: strings(["2.2.2.2/10.0.0.2"]),
        realm: Some("flag".into()),
        user: vec![Secret::new("alice:flag:1"), Secret::new("carol:flag")],
        secret: vec![Secret::new("flag")],
        relay_ports: Some("4000-5000".into()),
        workers: Some("2".into()),
        allow_peer: strings(["192.168.0.0/16"]),
        deny_peer: strings(["10.0.0.9"]),
        cert: strings(["flag.pem"]),
        admin: Some("127.0.0.1:0".into()),
        ready_file: Some("flag".into()),
        state_directory: Some("flag".into()),
        log_level: Some("debug".into()),
        log_format: Some("json".into()),
        ..file.flags()
    };
    let config = load(&flags).unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(config.worker.listeners, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.nat_alternates, ["127.0.0.2:0".parse().unwrap()]);
    assert_eq!(config.worker.workers, 2);
    assert_eq!(config.relay.addresses.len(), 2);
    assert_eq!(config.relay.external.len(), 1);
    assert_eq!(config.relay.external[0].public.to_string(), "2.2.2.2");
    assert_eq!((config.relay.ports.first, config.relay.ports.last), (4000, 5000));
    assert_eq!(config.auth.realm, "flag");
    assert_eq!(config.auth.secrets, ["file", "flag"].map(Secret::new));
    let users: Vec<_> =
        config.auth.users.iter().map(|it| (&*it.name, it.password.expose())).collect();
    assert_eq!(users, [("alice", "flag:1"), ("bob", "file"), ("carol", "flag")]);
    let peers: Vec<_> = config.peers.iter().map(|it| (it.prefix.to_string(), it.allow)).collect();
    let expected = [("10.0.0.0/8", true), ("192.168.0.0/16", true), ("10.0.0.9/32", false)];
    assert_eq!(peers, expected.map(|(prefix, allow)| (prefix.to_owned(), allow)));
    assert_eq!(config.admin, Some("127.0.0.1:0".parse().unwrap()));
    // The file's keys belong to the file's certificates.
    let both = Files { chain: "flag.pem".into(), key: "flag.pem".into() };
    assert_eq!(config.tls.certificates, [both]);
    assert_eq!(config.ready_file, Some(PathBuf::from("flag")));
    assert_eq!(config.state_directory, Some(PathBuf::from("flag")));
    assert_eq!((config.log.level, config.log.format), (Level::Debug, Format::Json));
    // The file alone.
    let config = load(&file.flags()).unwrap();
    assert_eq!((config.worker.listeners.len(), config.worker.workers), (2, 1));
    assert_eq!((config.auth.realm.as_str(), config.log.level), ("file", Level::Warn));
}

#[test]
fn a_mistake_in_a_flag_names_the_flag() {
    let cases: [(Flags, &str); 10] = [
        (
            Flags { listen: strings(["127.0.0.1"]), ..Flags::default() },
            "--listen: \"127.0.0.1\" is not an address with a port: did you mean \"127.0.0.1:3478\"?",
        ),
        (
            Flags { workers: Some("x".into()), ..Flags::default() },
            "--workers: expected a whole number from 0 to 1024, found x",
        ),
        (
            Flags { relay_ports: Some("1-2".into()), ..Flags::default() },
            "--relay-ports: the range \"1-2\" begins below 1024: the ports 0-1023 belong to well-known services, RFC 8656 §7.2 advises against them",
        ),
        (
            Flags { user: vec![Secret::new("alice")], ..Flags::default() },
            "--user: expected NAME:PASSWORD, found no colon",
        ),
        (
            Flags { user: vec![Secret::new("a:1"), Secret::new("a:2")], ..Flags::default() },
            "--user: the user \"a\" is there twice",
        ),
        (
            Flags { secret: vec![Secret::new("")], ..Flags::default() },
            "--secret: a shared secret must not be empty",
        ),
        (
            Flags { realm: Some(String::new()), ..Flags::default() },
            "--realm: the realm must have 1 to 127 characters and no control characters",
        ),
        (
            Flags { deny_peer: strings(["10.0.0.0/33"]), ..Flags::default() },
            "--deny-peer: \"10.0.0.0/33\" is not a prefix: the length behind the slash must be 0 to 32 for IPv4 and 0 to 128 for IPv6",
        ),
        (
            Flags { log_level: Some("inf".into()), ..Flags::default() },
            "--log-level: \"inf\" is unknown here: did you mean \"info\"?",
        ),
        (
            Flags {
                relay_ip: strings(["10.0.0.1"]),
                external_ip: strings(["1.1.1.1/10.0.0.2"]),
                ..Flags::default()
            },
            "--external-ip: 10.0.0.2 is not one of the relay addresses: add it to relay.addresses (--relay-ip)",
        ),
    ];
    for (flags, message) in cases {
        assert_eq!(flag_problem(&flags), message);
    }
    // Where both say something, the flag is to blame; what it says unreadably leads nowhere.
    let file = TempFile::new("[auth]\nrealm = \"good\"\n[relay]\naddresses = [\"10.0.0.6\"]");
    let flags = Flags { realm: Some("\n".into()), ..file.flags() };
    assert!(flag_problem(&flags).starts_with("--realm: "));
    let external_ip = strings(["1.1.1.1/10.0.0.5"]);
    let flags = Flags { relay_ip: strings(["10.0.0.x"]), external_ip, ..file.flags() };
    assert_eq!(load(&flags).unwrap_err().as_slice().len(), 1);
    // The file's mistakes and the flags' are told together, the file's first.
    let file = TempFile::new("[log]\nlevel = \"x\"");
    let flags = Flags { admin: Some("x".into()), ..file.flags() };
    let problems = load(&flags).unwrap_err();
    let origins: Vec<_> = problems.as_slice().iter().map(|it| it.origin.clone()).collect();
    let in_file = Origin::File { name: file.name(), line: 2, column: 9 };
    assert_eq!(origins, [in_file, Origin::Flag("--admin")]);
}

fn turnwire(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_turnwire")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_config_says_ok_or_what_is_wrong() {
    let good = TempFile::new("[auth.users]\nalice = \"hunter2\"");
    let output = turnwire(&["check-config", &good.name()]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(shown.starts_with(&format!("{}: ok: 2 listeners, 1 user, ", good.name())), "{shown}");
    assert!(output.stderr.is_empty());

    let bad = TempFile::new("[auth]\nrelm = \"x\"\n[log]\nlevel = \"loud\"\n");
    let output = turnwire(&["check-config", &bad.name()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let expected = load(&bad.flags()).unwrap_err().to_string();
    assert_eq!(text(&output.stderr), format!("{expected}\n"));
    assert!(expected.contains(&format!("{}:4:9: ", bad.name())));

    let bytes = TempFile::new(b"[log]\n# \xFF\n");
    let output = turnwire(&["check-config", &bytes.name()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with(&format!("{}:2:3: is not UTF-8", bytes.name())));

    let output = turnwire(&["check-config", "/does/not/exist.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("/does/not/exist.toml: cannot be read: "));
}

#[test]
fn serve_is_the_default_and_refuses_a_bad_configuration() {
    for arguments in [&["serve", "--listen", "nowhere"][..], &["--listen", "nowhere"]] {
        let output = turnwire(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).starts_with("--listen: \"nowhere\" is not an address"));
    }
}

#[test]
fn the_command_line_has_the_usual_manners() {
    assert_eq!(turnwire(&["--no-such-flag"]).status.code(), Some(2));
    let version = turnwire(&["--version"]);
    assert_eq!(text(&version.stdout), concat!("turnwire ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = text(&turnwire(&["--help"]).stdout);
    let flags = "--config --listen --nat-alternate --relay-ip --external-ip --realm --user --secret --relay-ports \
                 --workers --allow-peer --deny-peer --admin --ready-file --state-directory \
                 --log-level --log-format";
    for flag in flags.split_whitespace() {
        assert!(help.contains(flag), "{flag} is not in\n{help}");
    }
}
