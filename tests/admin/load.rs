//! Whoever looks at the sessions does not hold up their packets.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::common::{eventually, unique_loopback};
use super::http::call;
use super::server::Server;
use super::{ALICE, socket};

/// Sessions: as many as this process and the server may have sockets for.
const SESSIONS: usize = 10_000;
/// Descriptors besides.
const SPARE: usize = 500;

fn sessions() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it");
    // The hard limit, which the server and the load tool raise theirs to.
    let hard = line.split_whitespace().nth(4).and_then(|word| word.parse::<usize>().ok());
    hard.map_or(SESSIONS, |hard| hard.saturating_sub(SPARE).min(SESSIONS))
}

/// A load that does not outlive a test that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn listing_ten_thousand_sessions_loses_no_packet() {
    let sessions = sessions();
    assert!(sessions >= 1000, "too few descriptors to tell");
    // With ports of its own, lest this take those of other tests.
    let relay = unique_loopback().to_string();
    let flags = ["--workers", "1", "--relay-ip", &relay, "--relay-ports", "20000-60999"];
    let server = Server::start(&[&ALICE[..], &flags].concat());
    let socket = socket(&server);
    let words = format!(
        "--user alice --password wonder --clients {sessions} --rate 1000 --duration 1h --json"
    );
    let load = Command::new(env!("CARGO_BIN_EXE_turnwire"))
        .args(["load", &format!("turn:{}", server.udp())])
        .args(words.split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut load = Killed(load.expect("it runs"));
    let live = || call(&socket, "GET", "/v1/status", "").1["sessions"].as_u64();
    eventually("all sessions are there", || {
        assert_eq!(load.0.try_wait().expect("a child"), None, "the load has ended early");
        (live()? >= sessions as u64).then_some(())
    });
    for _ in 0..3 {
        let (mut seen, mut path) = (0, "/v1/sessions?limit=1000".to_owned());
        loop {
            let (code, page) = call(&socket, "GET", &path, "");
            assert_eq!(code, 200, "{page}");
            seen += page["sessions"].as_array().expect("sessions").len();
            match page["next"].as_str() {
                Some(next) => path = format!("/v1/sessions?limit=1000&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen, sessions);
    }
    assert_eq!(live(), Some(sessions as u64), "it still goes on");
    // SAFETY: a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(load.0.id() as i32, libc::SIGINT) }, 0);
    let report: Value =
        serde_json::from_reader(load.0.stdout.take().expect("it is piped")).expect("JSON");
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(report["load"]["lost"], 0, "{report:#}");
}
