//! `turnwire load` as people run it: against a server, and through a path that spoils packets in known numbers.

mod common;
#[path = "load/gone.rs"]
mod gone;
#[path = "load/path.rs"]
mod path;
#[path = "load/run.rs"]
mod run;

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use common::{Server, Setup, Trust, eventually, unique_loopback};
use path::{Fault, Path};
use run::Run;
use serde_json::Value;

fn server() -> Server {
    Setup::with_local_peers().start()
}

#[track_caller]
fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// What a run sends at the least, on a system however busy: a sender that is late skips what it has missed.
const SOME: u64 = 10;

/// Everything that was sent has come, once, in order and whole.
#[track_caller]
fn assert_perfect(report: &Value, at_least: u64) {
    let load = &report["load"];
    assert!(count(&load["sent"]) >= at_least, "{report:#}");
    assert_eq!(load["sent"], load["delivered"], "{report:#}");
    for fault in ["lost", "duplicated", "reordered", "corrupted", "misrouted", "stray", "unsent"] {
        assert_eq!(load[fault], 0, "{fault}: {report:#}");
    }
    let latency = &load["latency_us"];
    let [p50, max] =
        [&latency["p50"], &latency["max"]].map(|value| value.as_f64().expect("a time"));
    // It is of those sent after the first tenth of the time, of which a busy system may have none.
    assert!(latency["count"] == 0 || (p50 > 0.0 && p50 <= max), "{latency}");
}

#[test]
fn an_echo_over_both_transports_in_both_framings() {
    let server = server();
    for words in [
        "--transport udp --mode channel --rate 1000",
        "--transport tcp --mode channel --rate 1000 --train 5",
        "--transport udp --mode send --rate 1000 --train 10",
        "--transport udp --mode channel --rate 1000 --train 10 --offload",
        "--transport tcp --mode send --rate 1000 --size 33",
    ] {
        let report = Run::alice(server.address(), words).good();
        assert_perfect(&report, SOME);
        let load = &report["load"];
        assert_eq!(load["to_peer"]["received"], load["sent"]);
        assert_eq!(load["to_client"]["received"], load["sent"]);
        assert_eq!(report["set_up"]["succeeded"], 3);
    }
    assert_eq!(server.live(), 0, "everything was given back");
}

#[test]
fn as_fast_as_packets_come_back() {
    let server = server();
    for transport in ["udp", "tcp"] {
        let load = Run::begin(
            server.address(),
            &format!("--rate max --window 16 --transport {transport}"),
        );
        let series = "relayed_packets_total{direction=\"to_client\"}";
        let before = server.metric(series);
        // A window that leaks lets sixteen go in a tenth of a second, when the last ones are overdue: that takes too long.
        eventually("much has come back", || (server.metric(series) > before + 2000).then_some(()));
        let report = load.interrupt().good();
        assert_eq!(report["load"]["lost"], 0, "{report:#}");
        assert_eq!(report["rate"], "max");
        assert_eq!(report["load"]["corrupted"], 0);
    }
}

#[test]
fn one_way_up_and_down() {
    let server = server();
    for (direction, used, unused) in
        [("up", "to_peer", "to_client"), ("down", "to_client", "to_peer")]
    {
        let words = format!("--direction {direction} --size 100");
        let report = Run::alice(server.address(), &words).good();
        assert_perfect(&report, SOME);
        assert_eq!(report["load"][used]["received"], report["load"]["sent"]);
        assert_eq!(report["load"][unused]["received"], 0);
    }
}

/// The one that floods is one more, and in no figure of the others.
#[test]
fn a_flood_stands_apart_from_the_load() {
    // A tenth of a second of it may come at once to a relay's socket, when the system is busy.
    let server = Setup::with_local_peers().config("[relay]\nbuffer = \"4MiB\"").start();
    for words in ["--direction up", "--direction down", "--direction echo --mode send --offload"] {
        let words = format!("{words} --rate 1000 --flood 5000 --size 100");
        let report = Run::alice(server.address(), &words).good();
        assert_perfect(&report, SOME);
        let (load, flood) = (&report["load"], &report["load"]["flood"]);
        let [all, others] = [count(&flood["sent"]), count(&load["sent"])];
        assert!(all > 3 * others && others < 500, "{report:#}");
        assert_eq!(flood["sent"], flood["delivered"], "{report:#}");
        for leg in ["to_peer", "to_client"] {
            let (theirs, its) = (count(&load[leg]["received"]), count(&flood[leg]["received"]));
            let used = load[leg]["received"] != 0;
            assert_eq!((theirs, its), if used { (others, all) } else { (0, 0) }, "{report:#}");
        }
        assert_eq!(report["set_up"]["succeeded"], 4);
    }
    assert_eq!(server.live(), 0, "everything was given back");
}

/// Two lives of an allocation are over by the end of the load. Nobody's turn comes later than in half a life, so that
/// two seconds are left to a system that is busy.
#[test]
fn allocations_are_kept_up_however_short_their_life() {
    let short = "[turn]\ndefault_lifetime = \"4s\"\nmax_lifetime = \"4s\"";
    let server = Setup::with_local_peers().config(short).start();
    let words = "--clients 2 --rate 100 --size 100 --duration 8500ms";
    let words =
        format!("turn:{} --user alice --password wonderland --json {words}", server.address());
    assert_perfect(&Run::new(&words).good(), SOME);
    assert_eq!(server.metric("allocations_ended_total{reason=\"expired\"}"), 0);
}

/// `script` gives it a terminal, and a session of its own, which may come by little time beside others: it goes on until
/// the line tells all, and ends by Ctrl-C.
#[test]
fn a_terminal_shows_a_line_that_is_gone_at_the_end() {
    let server = server();
    let line = format!(
        "stty -echo; exec {} load turn:{} --user alice --password wonderland --duration 59s 2>&1 >/dev/null",
        env!("CARGO_BIN_EXE_turnwire"),
        server.address()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().expect("script runs");
    let mut screen = script.stdout.take().expect("it is piped");
    // Open to the end: script goes without its terminal's last words when nobody is there to type.
    let mut keys = script.stdin.take().expect("it is piped");
    let (mut shown, mut part, mut typed) = (Vec::new(), [0; 1024], false);
    loop {
        let length = screen.read(&mut part).expect("what script shows");
        if length == 0 {
            break;
        }
        shown.extend_from_slice(&part[..length]);
        if !typed && shown.windows(5).any(|it| it == b" p50 ") {
            keys.write_all(b"\x03").expect("script takes it");
            typed = true;
        }
    }
    script.wait().expect("a child of ours");
    let shown = String::from_utf8(shown).expect("UTF-8");
    let lines: Vec<&str> = shown.split("\r\x1b[K").collect();
    let [first, shown @ .., last] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!((*first, *last), ("", ""), "it begins and ends with an empty line: {lines:?}");
    let line = shown.iter().find(|line| line.contains(" p50 ")).expect("a line of the load");
    for word in [" s to go: ", "/s, ", " missing, 0 bad, p50 ", ", p99 "] {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
    assert!(line.len() < 80 + "\x1b[?7l\x1b[?7h".len(), "{line:?}");
}

#[test]
fn ctrl_c_ends_it_with_a_report() {
    let server = server();
    let load = Run::begin(server.address(), "");
    // 1000 are sent in a second, the first half of which is not measured.
    eventually("it measures", || {
        let series = "relayed_packets_total{direction=\"to_client\"}";
        (server.metric(series) > 800).then_some(())
    });
    assert_perfect(&load.interrupt().good(), 800);
    assert_eq!(server.live(), 0, "everything was given back");
}

#[test]
fn an_ipv6_server_relays_on_ipv6() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let server = Setup::with_local_peers().listen("[::1]:0").start();
    assert_perfect(&Run::alice(server.address(), "").good(), SOME);
}

#[test]
fn an_echo_service_elsewhere_is_a_peer_too() {
    let server = server();
    let echo = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = echo.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..length], from);
        }
    });
    let words = format!("--peer {address} --mode send --pid {}", std::process::id());
    let report = Run::alice(server.address(), &words).good();
    assert_perfect(&report, SOME);
    // It has passed the server twice, although only one end of it was seen.
    let load = &report["load"];
    let [relayed, delivered] = ["relayed_per_second", "delivered_per_second"]
        .map(|key| load[key].as_f64().expect("a rate"));
    assert!((relayed / delivered - 2.0).abs() < 1e-9, "{load:#}");
}

#[test]
fn a_known_process_has_its_cost_told() {
    let server = server();
    let words = format!("--pid {}", std::process::id());
    let report = Run::alice(server.address(), &words).good();
    for key in ["server_cpu_seconds", "server_cores", "server_cpu_seconds_per_million"] {
        assert!(report["load"][key].is_f64(), "{key}: {report:#}");
    }
    assert!(count(&report["server_memory"]["before_bytes"]) > 100_000);
    assert!(report["server_memory"]["bytes_per_allocation"].is_u64());
    let nobody = Run::alice(server.address(), "--pid 4294967294");
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("--pid"), "{}", nobody.stderr);
}

#[test]
fn bindings_at_a_rate_and_at_most() {
    let server = server();
    for (words, least) in
        [("--rate 1000", SOME), ("--rate max", 100), ("--rate max --train 4", 100)]
    {
        let words =
            format!("stun:{} --mode binding --json --duration 300ms {words}", server.address());
        assert_perfect(&Run::new(&words).good(), least);
    }
}

#[test]
fn cycles_of_allocations_leave_nothing_behind() {
    let server = server();
    for words in ["--rate max", "--rate 100", "--rate max --reuse-sockets", "--transport tcp"] {
        let report =
            Run::alice(server.address(), &format!("--mode churn --duration 1s {words}")).good();
        assert!(count(&report["churn"]["cycles"]) >= 2, "{words}: {report:#}");
        assert_eq!(report["churn"]["failed"], 0);
        assert_eq!(server.live(), 0, "{words}");
    }
}

/// A minted credential, and RFC 8489's algorithms.
#[test]
fn a_shared_secret_and_sha256_let_in() {
    let server = Setup::with_local_peers().flag("--secret", "north").start();
    let words =
        format!("turn:{} --secret north --sha256 --json --duration 300ms", server.address());
    assert_perfect(&Run::new(&words).good(), SOME);
}

#[test]
fn everything_goes_over_tls_too() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    let secure = |words: &str| Run::alice_at(&format!("turns:{}", server.address()), words);
    let ca = format!("--ca {}", trust.root().display());
    let report = secure(&ca).good();
    assert_perfect(&report, SOME);
    assert_eq!(report["transport"], "tls");
    assert_eq!(report["tls"], "TLS 1.3, TLS13_AES_256_GCM_SHA384");
    assert_perfect(&secure(&format!("{ca} --rate max --window 4 --size 20000")).good(), SOME);
    assert_perfect(&secure("--insecure --mode binding").good(), SOME);
    let report = secure(&format!("{ca} --mode churn --rate max --duration 1s")).good();
    assert!(count(&report["churn"]["cycles"]) >= 2, "{report:#}");
    assert_eq!(report["churn"]["failed"], 0);
}

/// They are counted apart, and disturb nothing.
#[test]
fn handshakes_beside_the_load() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    let load = Run::begin(server.address(), "--handshakes 100 --rate 200");
    // What comes in the first half of a second is not measured.
    eventually("it measures", || {
        let made = server.metric("tls_handshakes_total{version=\"1.3\"}");
        let relayed = server.metric("relayed_packets_total{direction=\"to_client\"}");
        (made > 100 && relayed > 2 * SOME).then_some(())
    });
    let report = load.interrupt().good();
    assert_perfect(&report, SOME);
    let handshakes = &report["load"]["handshakes"];
    assert!(count(&handshakes["done"]) > 0, "{report:#}");
    assert_eq!(handshakes["failed"], 0, "{report:#}");
    let made = server.metric("tls_handshakes_total{version=\"1.3\"}");
    assert!(made >= count(&handshakes["done"]), "{made} {report:#}");
    assert_eq!(server.metric("tls_handshakes_resumed_total"), 0);
    let plain = Setup::with_local_peers().start();
    let report = Run::alice(plain.address(), "--handshakes 100 --duration 2s").good();
    assert!(count(&report["load"]["handshakes"]["failed"]) > 0, "{report:#}");
}

#[test]
fn a_server_that_nobody_vouches_for_is_told() {
    let (trust, another) = (Trust::new(), Trust::new());
    let server = Setup::new().certificate(&trust).start();
    let words =
        format!("turns:{} --secret s --json --ca {}", server.address(), another.root().display());
    let run = Run::new(&words);
    assert_eq!(run.code, Some(1));
    let cause = run.json()["failures"][0]["cause"].to_string();
    assert!(cause.contains("nobody who is trusted here vouches"), "{cause}");
}

#[test]
fn people_get_a_table() {
    let server = server();
    let words =
        format!("turn:{} --user alice --password wonderland --duration 200ms", server.address());
    let run = Run::new(&words);
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    for word in ["10 clients", "set-up", "0 lost", "round trip", "p99.9"] {
        assert!(run.stdout.contains(word), "no {word:?} in {}", run.stdout);
    }
    assert!(run.stdout.ends_with("ok\n"), "{}", run.stdout);
    assert_eq!(run.stderr, "", "no progress but on a terminal");
}

#[test]
fn a_wrong_password_is_told_and_is_no_success() {
    let server = server();
    for mode in ["channel", "churn"] {
        let words = format!(
            "turn:{} --user alice --password x --json --duration 100ms --mode {mode} --rate 50",
            server.address()
        );
        let run = Run::new(&words);
        assert_eq!(run.code, Some(1));
        let report = run.json();
        assert_eq!(report["ok"], false);
        let failure = &report["failures"][0];
        assert_eq!((&failure["method"], &failure["code"]), (&"Allocate".into(), &401.into()));
        assert!(
            failure["cause"].as_str().is_some_and(|cause| cause.contains("wrong password")),
            "{failure}"
        );
    }
}

/// The report says which request failed and why.
#[test]
fn a_peer_that_is_denied_is_told() {
    let server = Setup::new().flag("--deny-peer", "127.0.0.0/8").start();
    let run = Run::alice(server.address(), "");
    assert_eq!(run.code, Some(1));
    let report = run.json();
    let failure = &report["failures"][0];
    assert_eq!((&failure["method"], &failure["code"]), (&"ChannelBind".into(), &403.into()));
    assert_eq!(failure["count"], 3);
    assert!(report["load"].is_null(), "nothing was sent");
    assert_eq!(server.live(), 0, "the allocations were given back");
}

#[test]
fn part_of_the_allocations_is_not_all() {
    let server = Setup::with_local_peers().config("[limits]\nallocations_per_user = 2").start();
    let run = Run::alice(server.address(), "");
    assert_eq!(run.code, Some(1));
    let report = run.json();
    assert_eq!(report["set_up"]["succeeded"], 2);
    assert_eq!(report["failures"][0]["code"], 486);
    assert_eq!(report["load"]["lost"], 0);
    assert!(count(&report["load"]["delivered"]) > SOME, "{report:#}");
}

#[test]
fn a_closed_port_is_told_at_once() {
    // Held, and deaf for everybody but another: nobody else gets the port meanwhile.
    let held = UdpSocket::bind((unique_loopback(), 0)).expect("a free port");
    let address = held.local_addr().expect("bound");
    held.connect((address.ip(), 9)).expect("loopback");
    for transport in ["udp", "tcp"] {
        let run = Run::alice(address, &format!("--transport {transport}"));
        assert_eq!(run.code, Some(1));
        let cause = run.json()["failures"][0]["cause"].to_string();
        assert!(cause.contains("nothing listens on"), "{cause}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_exit_code_2() {
    for (words, sentence) in [
        ("turn:127.0.0.1", "who are you"),
        ("turns:127.0.0.1?transport=udp --secret s", "no load over DTLS"),
        ("stun:127.0.0.1 --secret s", "STUN server"),
        ("turn:127.0.0.1 --secret s --size 31", "31"),
    ] {
        let run = Run::new(words);
        assert_eq!(run.code, Some(2), "{words}: {}", run.stderr);
        assert!(run.stderr.contains(sentence), "{words}: {}", run.stderr);
    }
}

/// A tenth of the packets meets a fault on its way; what the report says is what was done.
#[track_caller]
fn spoilt(fault: Fault, direction: &str) -> (Value, u64, Option<i32>) {
    let server = server();
    let path = Path::to(server.address(), fault);
    // Small ones: a system under stress sends a tenth of a second's at once, and the path's sockets hold them.
    let words = format!("--direction {direction} --rate 1000 --size 100");
    let load = Run::begin(path.address(), &words);
    eventually("enough packets are spoilt", || (path.done() >= 20).then_some(()));
    let run = load.interrupt();
    (run.json()["load"].clone(), path.done(), run.code)
}

#[test]
fn packets_that_are_dropped_are_lost() {
    for direction in ["up", "down", "echo"] {
        let (load, done, code) = spoilt(Fault::Drop, direction);
        assert_eq!(count(&load["lost"]), done, "{load:#}");
        assert_eq!(count(&load["sent"]) - count(&load["delivered"]), done);
        assert_eq!(code, Some(0), "a path may lose packets");
    }
}

#[test]
fn packets_that_come_twice_are_duplicates() {
    for (direction, leg) in [("up", "to_peer"), ("down", "to_client")] {
        let (load, done, code) = spoilt(Fault::Duplicate, direction);
        // The twin of a client's last packet may come when all others are there, and nobody waits any more.
        let seen = count(&load[leg]["duplicated"]);
        assert!((done - 3..=done).contains(&seen), "{done} {load:#}");
        assert_eq!((&load["lost"], load["sent"] == load["delivered"]), (&0.into(), true));
        assert_eq!(code, Some(0));
    }
}

#[test]
fn packets_that_are_overtaken_are_reordered() {
    for (direction, leg) in [("up", "to_peer"), ("down", "to_client")] {
        let (load, done, code) = spoilt(Fault::Delay, direction);
        assert_eq!(count(&load[leg]["reordered"]), done, "{load:#}");
        assert_eq!((&load["lost"], &load["duplicated"]), (&0.into(), &0.into()));
        assert_eq!(code, Some(0));
    }
}

#[test]
fn packets_that_are_damaged_are_corrupted_and_no_success() {
    for (direction, leg) in [("up", "to_peer"), ("down", "to_client")] {
        let (load, done, code) = spoilt(Fault::Damage, direction);
        assert_eq!(count(&load[leg]["corrupted"]), done, "{load:#}");
        assert_eq!(count(&load["lost"]), done);
        assert_eq!(code, Some(1));
    }
}

#[test]
fn packets_for_somebody_else_are_misrouted_and_no_success() {
    for (direction, leg) in [("up", "to_peer"), ("down", "to_client")] {
        let (load, done, code) = spoilt(Fault::Cross, direction);
        assert_eq!(count(&load[leg]["misrouted"]), done, "{load:#}");
        assert_eq!(count(&load["lost"]), done);
        assert_eq!(code, Some(1));
    }
}
