//! `turnwire import`: the settings that the guides of well-known applications give for coturn become
//! a server that their clients get in at, and nobody else.

mod common;
#[path = "process/server.rs"]
mod server;

use std::fs;
use std::process::{Command, Output};

use common::{Client, Credential, Trust};
use server::{Scratch, Server, address, mode};
use turnwire::auth::RestDigest;
use turnwire::stun::attribute;

/// In the year 2100.
const EXPIRY: &str = "4102444800";

/// What the guides agree on: no peers in networks of one's own.
const PRIVATE: &str = "\
no-multicast-peers
denied-peer-ip=0.0.0.0-0.255.255.255
denied-peer-ip=10.0.0.0-10.255.255.255
denied-peer-ip=100.64.0.0-100.127.255.255
denied-peer-ip=127.0.0.0-127.255.255.255
denied-peer-ip=169.254.0.0-169.254.255.255
denied-peer-ip=172.16.0.0-172.31.255.255
denied-peer-ip=192.168.0.0-192.168.255.255
denied-peer-ip=::1
denied-peer-ip=fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
";

/// Runs `turnwire import` over a text.
fn import(scratch: &Scratch, text: &str, flags: &[&str]) -> Output {
    fs::write(scratch.path("turnserver.conf"), text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_turnwire"))
        .args(["import", "turnserver.conf"])
        .args(flags)
        .current_dir(&scratch.0)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Imports a text that leaves nobody behind, and starts a server with what comes out, on free ports
/// of this host alone.
#[track_caller]
fn start(lines: &str) -> Server {
    let scratch = Scratch::new();
    let output = import(&scratch, lines, &["--output", "out.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut flags = vec!["--config", "out.toml", "--listen", "127.0.0.1:0"];
    flags.extend(["--relay-ip", "127.0.0.1", "--external-ip", "127.0.0.1"]);
    if lines.contains("cert=") {
        flags.extend(["--tls-listen", "127.0.0.1:0"]);
        if cfg!(feature = "dtls") {
            flags.extend(["--dtls-listen", "127.0.0.1:0"]);
        }
    }
    Server::start_in(scratch, &flags)
}

fn ephemeral(secret: &str) -> Credential {
    Credential::ephemeral(RestDigest::Sha1, secret, &format!("{EXPIRY}:@anna:example.org"))
}

/// What a client is told that asks for a permission.
#[track_caller]
fn permission(client: &mut Client, peer: &str) -> u16 {
    client.try_permit(&[peer.parse().unwrap()]).code()
}

#[test]
fn the_settings_of_synapse() {
    let server = start(&format!(
        "use-auth-secret\nstatic-auth-secret=n0rth sea\nrealm=turn.example.org\nno-tcp-relay\n\
         {PRIVATE}allowed-peer-ip=10.0.0.1\nuser-quota=2\ntotal-quota=1200\n",
    ));
    let new = || Client::udp_to(server.udp()).with(ephemeral("n0rth sea"));
    let mut clients = [new(), new()];
    for client in &mut clients {
        client.allocate();
        assert_eq!(client.challenge().realm, "turn.example.org");
    }
    assert_eq!(new().try_allocate(|_| ()).code(), 486, "of one user there may be two");
    let [client, _] = &mut clients;
    for (peer, code) in [
        ("198.41.0.4:3478", 0),
        ("10.0.0.1:3478", 0),
        ("10.0.0.2:3478", 403),
        ("192.168.255.255:1", 403),
        ("127.0.0.1:3478", 403),
    ] {
        assert_eq!(permission(client, peer), code, "{peer}");
    }
    let tcp = new().request(turnwire::stun::Method::ALLOCATE, |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    });
    assert_ne!(tcp.code(), 0, "no TCP relays");
    let mut stranger = Client::udp_to(server.udp()).with(ephemeral("another secret"));
    assert_eq!(stranger.try_allocate(|_| ()).code(), 401);
}

#[test]
fn the_settings_of_nextcloud_talk() {
    let server = start(
        "listening-port=3478\nfingerprint\nuse-auth-secret\nstatic-auth-secret=0a1b2c3d\n\
         realm=cloud.example.org\ntotal-quota=0\nbps-capacity=0\nstale-nonce\nno-multicast-peers\n",
    );
    Client::tcp_to(server.udp()).with(ephemeral("0a1b2c3d")).allocate();
}

#[test]
fn the_settings_of_jitsi() {
    let trust = Trust::new();
    let server = start(&format!(
        "use-auth-secret\nkeep-address-family\nstatic-auth-secret=jitsi-secret\n\
         realm=meet.example.org\ncert={0}/chain.pem\npkey={0}/key.pem\nno-multicast-peers\nno-cli\n\
         no-loopback-peers\nno-tcp-relay\nno-tcp\nlistening-port=3478\ntls-listening-port=5349\n\
         no-tlsv1\nno-tlsv1_1\n\
         cipher-list=ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256\n{PRIVATE}syslog\n",
        trust.directory.display(),
    ));
    Client::udp_to(server.udp()).with(ephemeral("jitsi-secret")).allocate();
    let tls = address(&server.ready()["tls"][0]);
    let mut sealed = Client::tls_to(tls, &trust).with(ephemeral("jitsi-secret"));
    sealed.allocate();
    assert_eq!(permission(&mut sealed, "172.31.0.1:1"), 403);
}

#[test]
fn the_settings_of_bigbluebutton() {
    let trust = Trust::new();
    let server = start(&format!(
        "listening-port=3478\ntls-listening-port=443\nlistening-ip=192.0.2.9\nrelay-ip=192.0.2.9\n\
         external-ip=198.51.100.9/192.0.2.9\nmin-port=32769\nmax-port=65535\nverbose\nfingerprint\n\
         lt-cred-mech\nuse-auth-secret\nstatic-auth-secret=bbb\nrealm=bbb.example.org\n\
         keep-address-family\ncert={0}/chain.pem\npkey={0}/key.pem\n\
         cipher-list=\"ECDHE-RSA-AES256-GCM-SHA384\"\ndh-file=/etc/turnserver/dhp.pem\n\
         no-tlsv1\nno-tlsv1_1\nno-rfc5780\nno-stun-backward-compatibility\n\
         response-origin-only-with-rfc5780\nno-cli\nlog-file=/var/log/turnserver/coturn.log\n\
         {PRIVATE}allowed-peer-ip=192.0.2.9\n",
        trust.directory.display(),
    ));
    let out = fs::read_to_string(server.scratch.path("out.toml")).unwrap();
    for line in [
        "addresses = [\"192.0.2.9:3478\"]",
        "tls = [\"192.0.2.9:443\"]",
        "external = [\"198.51.100.9/192.0.2.9\"]",
        "ports = \"32769-65535\"",
    ] {
        assert!(out.contains(line), "{line} is not in\n{out}");
    }
    let tls = address(&server.ready()["tls"][0]);
    Client::tls_to(tls, &trust).with(ephemeral("bbb")).allocate();
}

#[test]
fn users_of_the_file_come_in_and_others_do_not() {
    let server =
        start("lt-cred-mech\nrealm=example.org\nuser=alice:won:der\nuser=bob:\"quoted\"\n");
    let client = |name: &str, password: &str| {
        Client::udp_to(server.udp()).with(Credential::user(name, password))
    };
    client("alice", "won:der").allocate();
    // coturn takes quotes from around the whole value only.
    client("bob", "\"quoted\"").allocate();
    assert_eq!(client("alice", "wonder").try_allocate(|_| ()).code(), 401);
    assert_eq!(client("carol", "won:der").try_allocate(|_| ()).code(), 401);
}

/// MD5 of `carol:example.org:Pw0003`.
const CAROL: &str = "user=carol:0xae156e7795c90d29bab24003795f5450";

#[test]
fn users_known_by_their_md5_keys_come_along_in_a_file_of_their_own() {
    let lines = format!("lt-cred-mech\nrealm=example.org\nuser=alice:wonder\n{CAROL}\n");
    let server = start(&lines);
    let beside = server.scratch.path("out.toml.users");
    assert_eq!(mode(&beside), 0o600);
    assert!(fs::read_to_string(&beside).unwrap().ends_with(&format!("\n{CAROL}\n")));
    for (name, password, code) in
        [("carol", "Pw0003", 0), ("alice", "wonder", 0), ("carol", "x", 401)]
    {
        let mut client = Client::udp_to(server.udp()).with(Credential::user(name, password));
        assert_eq!(client.try_allocate(|_| ()).code(), code, "{name}:{password}");
    }
    // Nothing is replaced, and where one of the two cannot be written neither is.
    let scratch = server.finish();
    fs::remove_file(scratch.path("out.toml")).unwrap();
    let again = import(&scratch, &lines, &["--output", "out.toml"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("out.toml.users cannot be written: File exists"));
    assert!(!scratch.path("out.toml").exists());
    let named = import(&scratch, &lines, &["--output", "x.users"]);
    assert_eq!(named.status.code(), Some(0), "{}", text(&named.stderr));
    assert!(scratch.path("x.users").exists() && scratch.path("x.users.users").exists());
    // Without a place for them they are left behind, and it is said what to do.
    let nowhere = import(&scratch, &lines, &[]);
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(text(&nowhere.stderr).contains("turnserver.conf:4: look here: user: only an MD5 key"));
    assert!(text(&nowhere.stderr).contains("import again with --output"));
}

#[test]
fn what_the_server_may_carry_in_all_is_taken_along() {
    for (lines, key) in [("bps-capacity=0", 0), ("max-bps=64000\nbps-capacity=1000000", 1_000_000)]
    {
        let output = import(&Scratch::new(), lines, &[]);
        let toml = text(&output.stdout);
        assert!(toml.contains(&format!("\nall_bytes_per_second = {key}\n")), "{toml}");
        assert!(!text(&output.stderr).contains("bps"), "{}", text(&output.stderr));
    }
    // coturn asks nothing of it for allocations that have no bound of their own.
    for lines in ["bps-capacity=1000000", "max-bps=0\nbps-capacity=1000000"] {
        let output = import(&Scratch::new(), lines, &[]);
        let toml = text(&output.stdout);
        assert!(!toml.contains("\nall_bytes_per_second"), "{toml}");
        assert!(toml.contains("limits nobody in coturn without max-bps"), "{toml}");
    }
}

/// As they stand in a compose file or behind `docker run`.
#[test]
fn options_of_a_command_line_are_told_once_with_the_form_of_the_file() {
    for lines in [
        "-n\n--lt-cred-mech\n--user=alice:Pw0001\n-u bob:Pw0002",
        "turnserver -a --user=alice:Pw0001",
    ] {
        let output = import(&Scratch::new(), lines, &[]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert_eq!(told.matches("look here").count(), 1, "{told}");
        assert!(
            told.contains("options of the command line") && told.contains("user=NAME:PASSWORD"),
            "{told}"
        );
        assert!(!told.contains("Pw00"), "{told}");
    }
}

/// Nobody is left behind by them.
#[test]
fn options_of_a_command_line_that_let_nobody_in_are_told_and_no_more() {
    for (option, code) in
        [("-v", 0), ("--verbose", 0), ("turnserver -n --no-cli", 0), ("-va", 3), ("--realm=r", 3)]
    {
        let output = import(&Scratch::new(), &format!("user=a:b\n{option}\n"), &[]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{option}: {told}");
        assert!(told.contains("options of the command line"), "{told}");
        assert_eq!(told.contains("not everybody"), code == 3, "{told}");
    }
}

#[test]
fn an_open_relay_becomes_one_that_asks() {
    let server = start("no-auth\nrealm=example.org\nallow-loopback-peers=no\n");
    assert_eq!(Client::udp_to(server.udp()).try_allocate(|_| ()).code(), 401);
}

#[test]
fn what_is_left_behind_is_said_with_its_line_and_by_the_exit_code() {
    let scratch = Scratch::new();
    let lines = "# users are elsewhere\nlt-cred-mech\nuser=alice:Pw0001\n\
                 user=carol:0xbc807ee29df3c9ffa736523fb2c4e8ee\n\
                 mongo-userdb=\"mongodb://turn:Pw0002@db/turn\"\nlisening-port=3479\n";
    let output = import(&scratch, lines, &[]);
    assert_eq!(output.status.code(), Some(3));
    let (toml, told) = (text(&output.stdout), text(&output.stderr));
    for place in [
        "turnserver.conf:4: look here: user: only an MD5 key is there (0x...), made for a realm",
        "turnserver.conf:5: look here: mongo-userdb: MongoDB is not asked",
        "turnserver.conf:6: look here: coturn has no such option",
        "did you mean \"listening-port\"?",
        "not everybody whom coturn lets in is taken along",
        "standard output: ok: ",
    ] {
        assert!(told.contains(place), "{place:?} is not in\n{told}");
    }
    assert!(toml.contains("\nalice = \"Pw0001\"\n"), "{toml}");
    assert!(!told.contains("Pw00") && !told.contains("bc807ee2"), "{told}");
    assert!(!toml.contains("Pw0002") && !toml.contains("bc807ee2"), "{toml}");
}

#[test]
fn the_result_is_private_and_replaces_nothing() {
    let scratch = Scratch::new();
    let first = import(&scratch, "user=alice:wonder\n", &["--output", "out.toml"]);
    assert_eq!((first.status.code(), text(&first.stdout)), (Some(0), ""));
    let out = scratch.path("out.toml");
    assert_eq!(mode(&out), 0o600);
    let before = fs::read_to_string(&out).unwrap();
    let second = import(&scratch, "user=bob:builder\n", &["--output", "out.toml"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("out.toml cannot be written: File exists"));
    assert_eq!(fs::read_to_string(&out).unwrap(), before);
    let checked = Command::new(env!("CARGO_BIN_EXE_turnwire"))
        .args(["check-config".as_ref(), out.as_os_str()])
        .status()
        .unwrap();
    assert!(checked.success());
    fs::remove_file(scratch.path("turnserver.conf")).unwrap();
    let missing = Command::new(env!("CARGO_BIN_EXE_turnwire"))
        .args(["import".as_ref(), scratch.path("turnserver.conf").as_os_str()])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("turnserver.conf cannot be read: No such file"));
}

#[test]
fn a_disk_that_is_full_leaves_no_half_of_a_result_behind() {
    let scratch = Scratch::new();
    fs::write(scratch.path("turnserver.conf"), "user=alice:wonder\n").unwrap();
    // A limit of the size of files, and no signal that says so (setrlimit(2)): as with a full disk, the file can be made.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" import turnserver.conf --output out.toml";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_turnwire")]).current_dir(&scratch.0);
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).starts_with("out.toml cannot be written: "), "{output:?}");
    assert!(!scratch.path("out.toml").exists());
}

/// The file of Debian's package, as it is and with each option in its comments taken seriously.
#[test]
fn the_example_that_comes_with_coturn() {
    let Ok(example) = fs::read_to_string("/usr/share/doc/coturn/examples/etc/turnserver.conf")
    else {
        eprintln!("skipped: the package coturn is not installed");
        return;
    };
    let scratch = Scratch::new();
    let output = import(&scratch, &example, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let option = |line: &&str| {
        let name = line.trim_start_matches('#').split(['=', ' ', '"']).next().unwrap();
        let lower = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        // With `stun-only` nobody is left behind, because nobody is taken along.
        line.starts_with('#') && lower && name.len() > 2 && name != "stun-only"
    };
    // Prose begins with a blank behind the mark.
    let all: Vec<_> = example.lines().filter(option).map(|line| &line[1..]).collect();
    assert!(all.len() > 90, "the example is another one: {}", all.len());
    let output = import(&scratch, &all.join("\n"), &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(!told.contains("no such option"), "{told}");
    assert!(told.contains("standard output: ok: "), "{told}");
}

#[test]
fn the_page_of_all_options_is_in_the_documentation_as_it_is_printed() {
    let printed = Command::new(env!("CARGO_BIN_EXE_turnwire"))
        .args(["import", "--options"])
        .output()
        .unwrap();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/from-coturn.md");
    let hint = "write it anew: turnwire import --options > docs/from-coturn.md";
    assert_eq!(fs::read_to_string(kept).unwrap(), text(&printed.stdout), "{hint}");
    for option in ["static-auth-secret=...", "no-auth", "external-ip=...", "cli"] {
        assert!(text(&printed.stdout).contains(&format!("| `{option}` |")), "{option}");
    }
}
