//! The admin endpoint: what it counts is what clients did.

mod common;
#[path = "process/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};

use common::{Client, Credential, Peer, new_id, plain};
use server::{Server, get};
use turnwire::stun::{Kind, Method};

/// A scrape: each series, `name{labels}`, with its value.
type Page = BTreeMap<String, f64>;

/// Reads OpenMetrics text as strictly as this server writes it.
fn scrape(server: &Server) -> Page {
    let (status, text) = get(server.admin(), "/metrics");
    assert_eq!(status, 200);
    let body = text.strip_suffix("# EOF\n").expect("the end of the page");
    let mut types = BTreeMap::new();
    let mut page = Page::new();
    for line in body.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("#"), Some("HELP")) => {}
            (Some("#"), Some("TYPE")) => {
                let (name, kind) = (words.next().unwrap(), words.next().unwrap());
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            }
            _ => {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                assert!(name.starts_with("turnwire_"), "{line}");
                let family = name.trim_end_matches("_total").trim_end_matches("_info");
                let kind = types.get(family).unwrap_or_else(|| panic!("no type: {line}"));
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert!(page.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line}");
            }
        }
    }
    page
}

fn alice(server: &Server) -> Client {
    Client::udp_to(server.udp()).with(Credential::user("alice", "wonder"))
}

fn start(flags: &[&str]) -> Server {
    let usual = ["--user", "alice:wonder", "--admin", "127.0.0.1:0"];
    Server::start(&[&usual[..], flags].concat())
}

#[test]
fn the_counters_are_what_a_client_did_while_it_does_it() {
    // An address of its own: nobody else on this host has a port there.
    let relay = ["--relay-ip", "127.0.0.77", "--relay-ports", "50000-50999"];
    let flags = [&["--allow-peer", "127.0.0.0/8"][..], &relay].concat();
    let server = start(&flags);
    let mut client = alice(&server);
    for _ in 0..3 {
        client.fence();
    }
    let relayed = client.allocate();
    let peer = Peer::new();
    client.permit(peer.address);
    assert_eq!(client.try_permit(&["10.0.0.1:1".parse().unwrap()]).code(), 403);
    for length in [25, 25, 25, 25, 30] {
        client.send(peer.address, &vec![1; length]);
        assert_eq!(peer.receive(), (vec![1; length], relayed));
    }
    peer.send(relayed, &[2; 11]);
    assert_eq!(client.data(), (peer.address, vec![2; 11]));
    // Neither STUN nor ChannelData; the answer to what follows tells that it has been looked at.
    client.write(b"\xFFnoise");
    client.fence();
    let page = scrape(&server);
    let expected = [
        ("turnwire_bindings_total", 4.0),
        ("turnwire_allocations_total", 1.0),
        ("turnwire_allocations_live", 1.0),
        ("turnwire_relayed_packets_total{direction=\"to_peer\"}", 5.0),
        ("turnwire_relayed_bytes_total{direction=\"to_peer\"}", 130.0),
        ("turnwire_relayed_packets_total{direction=\"to_client\"}", 1.0),
        ("turnwire_relayed_bytes_total{direction=\"to_client\"}", 11.0),
        ("turnwire_refusals_total{cause=\"challenge\",code=\"401\"}", 1.0),
        ("turnwire_refusals_total{cause=\"peer_denied\",code=\"403\"}", 1.0),
        ("turnwire_refusals_total{cause=\"wrong_password\",code=\"401\"}", 0.0),
        ("turnwire_drops_total{reason=\"noise\"}", 1.0),
        ("turnwire_drops_total{reason=\"no_permission\"}", 0.0),
        ("turnwire_relay_ports{address=\"127.0.0.77\"}", 1000.0),
        ("turnwire_relay_ports_free{address=\"127.0.0.77\"}", 999.0),
        ("turnwire_log_events_lost_total", 0.0),
    ];
    for (series, value) in expected {
        assert_eq!(page.get(series), Some(&value), "{series}");
    }
    assert_eq!(client.refresh(0).code(), 0);
    let page = scrape(&server);
    assert_eq!(page["turnwire_allocations_live"], 0.0);
    assert_eq!(page["turnwire_allocations_ended_total{reason=\"deleted\"}"], 1.0);
    assert_eq!(page["turnwire_relay_ports_free{address=\"127.0.0.77\"}"], 1000.0);
    assert_eq!(page["turnwire_relayed_bytes_total{direction=\"to_peer\"}"], 130.0);
}

#[test]
fn nothing_that_strangers_do_makes_a_new_series() {
    let server = start(&[]);
    let series = |page: Page| page.into_keys().collect::<BTreeSet<_>>();
    let before = series(scrape(&server));
    for number in 1..50_u8 {
        let ip = std::net::Ipv4Addr::new(127, 0, 0, number);
        let stranger = Credential::user(&format!("user-{number}"), "guess");
        let mut client = Client::udp_from(ip.into(), server.udp()).with(stranger);
        assert_eq!(client.try_allocate(|_| ()).code(), 401);
        client.write(&[number; 40]);
        client.fence();
    }
    let page = scrape(&server);
    assert_eq!(page["turnwire_refusals_total{cause=\"unknown_user\",code=\"401\"}"], 49.0);
    assert_eq!(series(page), before);
}

#[test]
fn healthz_says_ok_in_json_and_other_paths_are_not_there() {
    let server = start(&[]);
    alice(&server).allocate();
    let (status, body) = get(server.admin(), "/healthz");
    let state: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &state["status"]), (200, &"ok".into()));
    assert_eq!(state["allocations"], 1);
    assert_eq!(get(server.admin(), "/").0, 404);
    assert_eq!(get(server.admin(), "/metrics/../healthz").0, 404);
}

#[test]
fn a_client_that_connects_and_goes_is_counted_and_closed() {
    let server = start(&[]);
    let listener = server.udp();
    for _ in 0..3 {
        drop(std::net::TcpStream::connect(listener).unwrap());
    }
    let deadline = std::time::Instant::now() + server::LIMIT;
    loop {
        let page = scrape(&server);
        let (accepted, live) =
            (page["turnwire_streams_accepted_total"], page["turnwire_streams_live"]);
        if (accepted, live) == (3.0, 0.0) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{accepted} accepted, {live} live");
    }
}

#[test]
fn a_log_that_is_read_slowly_costs_lines_which_are_counted_and_no_client() {
    let mut server = start(&["--log-level", "debug"]);
    let mut client = alice(&server);
    let request = plain(Kind::request(Method::ALLOCATE), &new_id(), |_| ());
    // More refusals than the pipe and the queue to the log hold.
    for _ in 0..18_000 {
        assert_eq!(client.exchange(&request).code(), 401);
    }
    let page = scrape(&server);
    let lost = page["turnwire_log_events_lost_total"];
    assert!(lost > 0.0);
    assert_eq!(page["turnwire_refusals_total{cause=\"challenge\",code=\"401\"}"], 18_000.0);
    server.signal("TERM");
    assert_eq!(server.exit(), Some(0));
    assert_eq!(server.of("log_lines_lost")[0]["lines"].as_f64(), Some(lost));
    assert_eq!(server.of("request_refused").len() as f64 + lost, 18_000.0);
}
