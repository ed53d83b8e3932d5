//! Alive and ready, as Kubernetes, a load balancer and a service manager ask for it: the built server relays to itself.

mod common;
#[path = "process/server.rs"]
mod server;

use std::fs;
use std::net::UdpSocket;

use common::{Client, Credential};
use serde_json::Value;
use server::{Scratch, Server, get, get_as};

/// Nothing is allowed that is not by default: loopback peers are denied to everybody.
const ALICE: [&str; 4] = ["--user", "alice:wonder", "--admin", "127.0.0.1:0"];

fn alice(server: &Server) -> Client {
    Client::udp_to(server.udp()).with(Credential::user("alice", "wonder"))
}

fn json(server: &Server, path: &str) -> (u16, Value) {
    let (status, body) = get_as(server.admin(), path, "application/json");
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}")))
}

fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {page}")).parse().unwrap()
}

#[test]
fn ready_is_a_server_that_has_relayed_a_packet_to_itself_and_told_nobody() {
    let mut server = Server::start(&[&ALICE[..], &["--log-level", "debug"]].concat());
    let (status, text) = get(server.admin(), "/readyz");
    assert_eq!(status, 200, "{text}");
    assert!(
        text.starts_with("ready\nphase: ok\nself-check: a packet was relayed both ways in "),
        "{text}"
    );
    let (status, state) = json(&server, "/readyz");
    assert_eq!((status, &state["ready"], &state["phase"]), (200, &true.into(), &"ok".into()));
    assert_eq!(state["self_check"]["result"], "passed");
    let page = get(server.admin(), "/metrics").1;
    assert!(value(&page, "turnwire_self_checks_total{result=\"passed\"}") >= 1.0);
    for nothing in [
        "turnwire_allocations_total",
        "turnwire_allocations_live",
        "turnwire_allocations_ended_total{reason=\"deleted\"}",
        "turnwire_relayed_packets_total{direction=\"to_peer\"}",
        "turnwire_relayed_packets_total{direction=\"to_client\"}",
        "turnwire_refusals_total{cause=\"challenge\",code=\"401\"}",
    ] {
        assert_eq!(value(&page, nothing), 0.0, "{nothing}");
    }
    // What is open to the server itself is open to nobody else.
    let mut client = alice(&server);
    client.allocate();
    assert_eq!(client.try_permit(&["127.84.85.82:9".parse().unwrap()]).code(), 403);
    server.signal("TERM");
    assert_eq!(server.exit(), Some(0));
    let ended = server.of("session_ended");
    assert!(ended.len() == 1 && ended[0]["user"] == "alice", "{ended:?}");
    assert!(!format!("{:?}", server.lines).contains("self-check-"), "{:?}", server.lines);
}

#[test]
fn a_server_that_cannot_relay_says_at_which_step_and_is_still_alive() {
    // The only relay port is somebody else's.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ports = format!("{port}-{port}");
    let mut server = Server::start(&[&ALICE[..], &["--relay-ports", &ports]].concat());
    let (status, text) = get(server.admin(), "/readyz");
    assert_eq!(status, 503);
    assert!(text.starts_with("not ready\nphase: ok\nself-check: failed at allocate, "), "{text}");
    assert!(text.contains("508 no relay port is free"), "{text}");
    let (status, state) = json(&server, "/readyz");
    assert_eq!((status, &state["self_check"]["stage"]), (503, &"allocate".into()));
    assert_eq!(server.line("self_check_failed")["stage"], "allocate");
    assert_eq!(get(server.admin(), "/livez").0, 200);
    assert_eq!(get(server.admin(), "/healthz").0, 200);
}

#[test]
fn neither_quotas_nor_rules_nor_redirection_hide_that_it_relays() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    let text = "[limits]\nallocations = 1\nchannels = 1\npermissions = 1\n\
                [peers]\ndeny = [\"127.0.0.0/8\"]\n\
                [redirect]\nwhen = \"always\"\n\
                [redirect.servers]\nother = { addresses = [\"127.0.0.1:9\"] }\n";
    fs::write(&file, text).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let server = Server::start_in(scratch, &[&ALICE[..], &config].concat());
    alice(&server).allocate();
    assert_eq!(alice(&server).try_allocate(|_| ()).code(), 486);
    let (status, text) = get(server.admin(), "/readyz");
    assert_eq!(status, 200, "{text}");
}

#[test]
fn a_server_that_drains_is_alive_and_not_ready() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    fs::write(&file, "[process]\ndrain = \"1h\"\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let mut server = Server::start_in(scratch, &[&ALICE[..], &config].concat());
    alice(&server).allocate();
    assert_eq!(get(server.admin(), "/readyz").0, 200);
    server.signal("TERM");
    server.line("draining");
    let (status, text) = get(server.admin(), "/readyz");
    assert!(status == 503 && text.starts_with("not ready\nphase: draining\n"), "{status} {text}");
    let (status, state) = json(&server, "/livez");
    assert_eq!((status, &state["alive"]), (200, &true.into()));
}

#[test]
fn a_server_that_listens_on_several_addresses_is_asked_at_each() {
    let listen = ["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", "0.0.0.0:0"];
    let server = Server::start(&[&ALICE[..], &listen].concat());
    assert_eq!(get(server.admin(), "/readyz").0, 200);
}

#[test]
fn the_service_manager_s_watchdog_is_fed_while_all_is_alive() {
    let mut server = Server::spawn_with(Scratch::new(), &ALICE, &[("WATCHDOG_USEC", "3000000")]);
    server.told("READY=1");
    server.told("WATCHDOG=1");
    server.told("WATCHDOG=1");
}
