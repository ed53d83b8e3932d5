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
                assert!(name.starts_with("turnwire_") || name.starts_with("process_"), "{line}");
                let kind = family(name, &types).unwrap_or_else(|| panic!("no type: {line}"));
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert!(page.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line}");
            }
        }
    }
    let histograms = types.iter().filter(|(_, kind)| *kind == "histogram");
    for (name, _) in histograms {
        let of = |ending: &str| {
            let values =
                page.iter().filter(|(series, _)| series.starts_with(&format!("{name}_{ending}")));
            values.map(|(series, value)| (series.clone(), *value)).collect::<Vec<_>>()
        };
        // Without this step nobody can say which value half of them are below.
        let all = of("bucket").into_iter().filter(|(series, _)| series.contains("le=\"+Inf\""));
        let counts = of("count").into_iter().map(|(_, count)| count);
        assert_eq!(
            all.map(|(_, value)| value).collect::<Vec<_>>(),
            counts.collect::<Vec<_>>(),
            "{name}"
        );
    }
    page
}

/// The type of a series' family: OpenMetrics hangs endings on its name.
fn family<'a>(name: &str, types: &'a BTreeMap<String, String>) -> Option<&'a String> {
    let endings = ["", "_total", "_info", "_bucket", "_sum", "_count"];
    endings.iter().find_map(|ending| types.get(name.strip_suffix(ending)?))
}

/// The steps of a histogram, from the lowest to +Inf, with its count and its sum.
fn histogram(page: &Page, name: &str) -> (Vec<(f64, f64)>, f64, f64) {
    let prefix = format!("{name}_bucket{{le=\"");
    let steps = page.iter().filter_map(|(series, value)| {
        let end = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
        Some((if end == "+Inf" { f64::INFINITY } else { end.parse().unwrap() }, *value))
    });
    let mut steps: Vec<_> = steps.collect();
    steps.sort_by(|one, other| one.0.total_cmp(&other.0));
    (steps, page[&format!("{name}_count")], page[&format!("{name}_sum")])
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
fn a_session_shows_in_the_histograms_when_it_has_begun_to_relay_and_when_it_has_ended() {
    let server = start(&["--allow-peer", "127.0.0.0/8"]);
    let mut client = alice(&server);
    let peer = Peer::new();
    client.allocate();
    client.permit(peer.address);
    let page = scrape(&server);
    assert_eq!(histogram(&page, "turnwire_session_setup_seconds").1, 0.0);
    let kind = |transport: &str| {
        format!(
            "turnwire_allocations_by_kind_total{{transport=\"{transport}\",relayed=\"udp\",family=\"ipv4\"}}"
        )
    };
    assert_eq!((page[&kind("udp")], page[&kind("tls")]), (1.0, 0.0));
    for length in [1200, 800] {
        client.send(peer.address, &vec![1; length]);
        peer.receive();
    }
    let page = scrape(&server);
    let (steps, count, sum) = histogram(&page, "turnwire_session_setup_seconds");
    assert_eq!((count, steps.len()), (1.0, 13));
    assert!(sum < 30.0 && steps.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{steps:?}");
    assert_eq!(histogram(&page, "turnwire_session_bytes").1, 0.0);
    assert_eq!(client.refresh(0).code(), 0);
    let page = scrape(&server);
    let (steps, count, sum) = histogram(&page, "turnwire_session_bytes");
    assert_eq!((count, sum), (1.0, 2000.0));
    assert_eq!(&steps[..2], [(1e3, 0.0), (1e4, 1.0)]);
    let (steps, count, sum) = histogram(&page, "turnwire_session_duration_seconds");
    assert!(count == 1.0 && sum < 60.0 && steps[0].0 == 1.0, "{steps:?} {sum}");
}

#[test]
fn what_the_process_and_its_workers_take_is_told_under_the_usual_names() {
    let server = start(&["--workers", "2"]);
    let (mut client, before) = (alice(&server), scrape(&server));
    for _ in 0..200 {
        client.fence();
    }
    let page = scrape(&server);
    let workers = |page: &Page, name: &str| -> f64 {
        let of = |worker: u32| page[&format!("turnwire_worker_{name}{{worker=\"{worker}\"}}")];
        of(0) + of(1)
    };
    for counter in ["cpu_seconds_total", "wake_ups_total"] {
        assert!(workers(&page, counter) > workers(&before, counter), "{counter}");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = now.as_secs_f64() - page["process_start_time_seconds"];
    assert!((-1.0..60.0).contains(&age), "{age}");
    assert!(page["process_resident_memory_bytes"] > 1e6);
    assert!((10.0..1000.0).contains(&page["process_open_fds"]));
    assert!(page["process_max_fds"] > page["process_open_fds"]);
    assert!(page["process_threads"] >= 3.0);
    // It is counted in hundredths.
    common::eventually("the process has taken time", || {
        client.fence();
        (scrape(&server)["process_cpu_seconds_total"] > 0.0).then_some(())
    });
    assert_eq!(page.keys().filter(|name| name.starts_with("turnwire_build_info")).count(), 1);
}

/// Names in expressions: words with the prefix of ours, or of the process.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| word.starts_with("turnwire_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

/// All pages of the documentation.
fn pages(docs: &std::path::Path) -> String {
    let entries = std::fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path());
    let pages = entries.filter(|path| path.extension().is_some_and(|it| it == "md"));
    pages.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn the_dashboard_the_alerts_and_the_pages_name_metrics_that_there_are() {
    let scratch = server::Scratch::new();
    let config = scratch.path("server.toml");
    common::Authority::new("authority").issue("turn.example.org", 30).put(&scratch.0);
    let (cert, key) = (scratch.path("chain.pem"), scratch.path("key.pem"));
    let text = "[redirect.servers]\neast = { addresses = [\"127.0.0.1:9\"] }\n\
                [stores.ask]\nteam = { kind = \"file\", path = \"users\" }\n\
                [events.file]\npath = \"events.jsonl\"\n";
    std::fs::write(scratch.path("users"), "bob:builder\n").unwrap();
    std::fs::write(&config, text).unwrap();
    let files = [&config, &cert, &key].map(|path| path.to_str().unwrap());
    let usual = ["--user", "alice:wonder", "--admin", "127.0.0.1:0"];
    let flags = ["--config", files[0], "--cert", files[1], "--key", files[2]];
    let server = Server::start_in(scratch, &[&usual[..], &flags].concat());
    let page = scrape(&server);
    let there: BTreeSet<_> =
        page.keys().map(|series| series.split('{').next().unwrap().to_owned()).collect();
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&read("turnwire.json")).unwrap();
    let mut asked = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(panel["type"] == "row" || !targets.is_empty(), "{panel}");
        for target in targets {
            let found = names(target["expr"].as_str().unwrap());
            assert!(!found.is_empty(), "{target}");
            asked.extend(found);
        }
    }
    let in_alerts = names(&read("alerts.yml"));
    assert!(asked.len() > 25 && in_alerts.len() > 8);
    let unknown: Vec<_> = asked.union(&in_alerts).filter(|name| !there.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not on the page");
    // Pages name whole families too, as they stand behind `# HELP`.
    let told = names(&pages(docs.parent().unwrap()));
    assert!(told.len() > 15, "{told:?}");
    let family = |name: &str| there.iter().any(|full| full.strip_prefix(name).is_some());
    // A table that `turnwire users` makes in a database.
    let unknown: Vec<_> = told.iter().filter(|it| !family(it) && *it != "turnwire_key").collect();
    assert!(unknown.is_empty(), "{unknown:?} are not on the page");
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

/// Whoever has stopped reading the log holds up lines, and neither the rest of the server nor its end.
#[test]
fn a_log_that_nobody_reads_holds_up_neither_the_admin_endpoint_nor_the_end() {
    let mut server = start(&["--log-level", "debug"]);
    let mut client = alice(&server);
    let request = plain(Kind::request(Method::ALLOCATE), &new_id(), |_| ());
    for _ in 0..18_000 {
        assert_eq!(client.exchange(&request).code(), 401);
    }
    assert!(scrape(&server)["turnwire_log_events_lost_total"] > 0.0, "it is read");
    // The main loop has something to say of each.
    for _ in 0..3 {
        server.signal("HUP");
        assert_eq!(get(server.admin(), "/livez").0, 200);
    }
    server.signal("TERM");
    server.is_gone();
}
