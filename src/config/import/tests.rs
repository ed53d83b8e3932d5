mod stock;

use proptest::prelude::*;

use super::options::{Fate, Shape, all, known, meant};
use super::{Facts, Imported, Page, Weight, import, rooms};
use crate::config::{Config, parse};
use crate::store::Kind;
use crate::turn::{Decision, PeerPolicy, PortRange};

/// Imports lines and loads what comes out.
#[track_caller]
fn load(text: &str) -> (Imported, Config) {
    let imported = import(text.as_bytes(), "turnserver.conf", None, None);
    match parse(&imported.toml, "out.toml") {
        Ok(config) => (imported, config),
        Err(problems) => panic!("{problems}\n{}", imported.toml),
    }
}

#[track_caller]
fn config(text: &str) -> Config {
    load(text).1
}

fn texts(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// The weight and the text of each note with a line.
fn notes(text: &str) -> Vec<(usize, Weight, String)> {
    let notes = import(text.as_bytes(), "t", None, None).notes;
    notes.into_iter().filter_map(|note| Some((note.line?, note.weight, note.text))).collect()
}

/// A value that fits the option.
fn sample(name: &str) -> &'static str {
    match name {
        "listening-ip" | "relay-ip" | "prometheus-address" => "192.0.2.1",
        "external-ip" => "203.0.113.1/192.0.2.1",
        "allowed-peer-ip" | "denied-peer-ip" => "10.0.0.0-10.255.255.255",
        "user" => "alice:wonderland",
        "rest-api-separator" => "|",
        "log-min-level" => "warning",
        _ if name.ends_with("server") => "198.51.100.7:3479",
        _ => "3333",
    }
}

#[test]
fn every_option_is_accounted_for_alone_and_in_company() {
    let bare = |shape| matches!(shape, Shape::Flag | Shape::Presence | Shape::Optional);
    let line = |opt: &super::options::Opt| match bare(opt.shape) {
        true => opt.name.to_owned(),
        false => format!("{}={}", opt.name, sample(opt.name)),
    };
    let everything: Vec<String> = all().map(line).collect();
    let off = all().filter(|opt| bare(opt.shape)).map(|opt| format!("{}=0", opt.name));
    let nothing = all().filter(|opt| !bare(opt.shape)).map(|opt| format!("{}=", opt.name));
    let mut files: Vec<String> = everything.iter().cloned().chain(off).chain(nothing).collect();
    files.push(everything.join("\n"));
    files.push(format!("{}\ncert=/c\npkey=/k\nuser=a:b", everything.join("\n")));
    for text in files {
        let mut page = Page::default();
        rooms(
            &Facts::read(&text, &mut page),
            None,
            &mut super::auth::Keys { file: None, text: None },
            &mut page,
        );
        for (line, number) in text.lines().zip(1..) {
            assert!(page.has_seen(number), "nothing is said about {line:?} in\n{text}");
        }
        let (imported, _) = load(&text);
        assert!(!imported.toml.contains("no such option"), "{}", imported.toml);
    }
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<&str> = all().map(|opt| opt.name).collect();
    assert!(names.len() > 140, "{}", names.len());
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "an option is there twice");
    for opt in all() {
        assert!(meant(opt.name).unwrap().eq_ignore_ascii_case(opt.name));
        if let Fate::Alias(name) = opt.fate {
            assert!(matches!(known(name).unwrap().fate, Fate::Room(_)));
        }
    }
}

#[test]
fn an_unknown_option_is_told_with_the_one_that_was_meant_and_without_what_stands_there() {
    let text = "lisening-port=3479\n--realm=example.org\nnorth-sea-secret\n";
    let told = notes(text);
    assert!(told[0].2.contains("did you mean \"listening-port\"?"), "{told:?}");
    assert!(told[1].2.contains("options of the command line"), "{told:?}");
    assert!(!told[2].2.contains("did you mean"), "{told:?}");
    let imported = import(text.as_bytes(), "t", None, None);
    assert!(!imported.toml.contains("north-sea") && !imported.toml.contains("example.org"));
}

#[test]
fn the_last_scalar_counts_and_lists_add_up() {
    let all = config("min-port=50000\nmax-port 60000\nmin-port\t= 50001\nuser=a:b\nuser=c:d:e\n");
    assert_eq!(all.relay.ports, PortRange { first: 50001, last: 60000 });
    let users = all.auth.users.iter().map(|user| (&*user.name, user.password.expose()));
    assert_eq!(users.collect::<Vec<_>>(), [("a", "b"), ("c", "d:e")]);
    let quoted = config("realm=\"example.org\"\nstatic-auth-secret=\"with \\ and ' in it\"");
    assert_eq!(quoted.auth.realm, "example.org");
    assert_eq!(quoted.auth.secrets[0].expose(), "with \\ and ' in it");
}

#[test]
fn listeners_are_each_address_with_each_port() {
    let default = config("realm=x\nuser=a:b");
    assert_eq!(texts(&default.worker.listeners), ["0.0.0.0:3478", "[::]:3478"]);
    let text = "listening-ip=192.0.2.1\nlistening-ip=2001:db8::1\nlistening-port=3479\n\
                aux-server=[2001:db8::1]:443\naux-server=192.0.2.1:3479\n\
                tls-listening-port=5350\ncert=/c.pem\npkey=/k.pem";
    let all = config(text);
    let listeners = ["192.0.2.1:3479", "[2001:db8::1]:3479", "[2001:db8::1]:443"];
    assert_eq!(texts(&all.worker.listeners), listeners);
    assert_eq!(texts(&all.worker.tls_listeners), ["192.0.2.1:5350", "[2001:db8::1]:5350"]);
    if cfg!(feature = "dtls") {
        assert_eq!(all.worker.dtls_listeners, all.worker.tls_listeners);
    }
    assert_eq!(all.tls.certificates[0].key.to_str(), Some("/k.pem"));
    // One port for all: TLS is found there without a word.
    let one = config("listening-port=443\ntls-listening-port=443\ncert=/c\npkey=/k\nno-dtls");
    assert!(one.worker.tls_listeners.is_empty() && !one.worker.dtls_on_udp);
    // Nothing is served with this certificate.
    assert!(config("cert=/c\npkey=/k\nno-tls\nno-dtls").tls.certificates.is_empty());
}

#[test]
fn addresses_outside_are_paired() {
    let one = config("external-ip=203.0.113.5");
    assert_eq!(one.relay.external[0].private, None);
    let text = "external-ip=203.0.113.5/10.0.0.5\nexternal-ip=203.0.113.6/10.0.0.6";
    let two = config(text);
    assert_eq!(texts(&two.relay.addresses), ["10.0.0.5", "10.0.0.6"]);
    assert_eq!(two.relay.external.len(), 2);
    // One address outside for several relays is one that nobody could be reached at.
    let text = "relay-ip=10.0.0.5\nrelay-ip=10.0.0.6\nexternal-ip=203.0.113.5";
    assert_eq!(texts(&config(text).relay.addresses), ["10.0.0.5"]);
    assert!(notes(text).iter().any(|(_, weight, _)| *weight == Weight::Act));
    assert!(notes("external-ip=turn.example.org")[0].2.contains("no name is looked up"));
}

#[test]
fn a_second_address_serves_nat_discovery() {
    let text = "listening-ip=192.0.2.1\nlistening-ip=192.0.2.2\nrfc5780\n";
    assert_eq!(texts(&config(text).nat_alternates), ["192.0.2.2:3479"]);
    assert!(config(&text.replace("rfc5780", "")).nat_alternates.is_empty());
    let behind = format!("{text}external-ip=203.0.113.1\n");
    assert!(config(&behind).nat_alternates.is_empty());
    let pairs = "external-ip=203.0.113.1/192.0.2.1\nexternal-ip=203.0.113.2/192.0.2.2\n";
    let paired = config(&format!("{text}relay-ip=192.0.2.1\nalt-listening-port=4000\n{pairs}"));
    assert_eq!(texts(&paired.nat_alternates), ["192.0.2.2:4000"]);
    assert_eq!(paired.relay.external.len(), 2);
}

#[test]
fn nobody_comes_in_whom_coturn_keeps_out() {
    // Shared secrets shut users with passwords out.
    let (imported, both) = load("use-auth-secret\nstatic-auth-secret=north\nuser=alice:pw1");
    assert_eq!((both.auth.users.len(), both.auth.secrets.len()), (0, 1));
    assert!(!imported.toml.contains("pw1") && !imported.left_behind);
    let (imported, open) = load("no-auth\nrealm=example.org");
    assert!(open.auth.users.is_empty() && open.auth.secrets.is_empty());
    assert!(imported.toml.contains("open relay") && !imported.left_behind);
    assert!(load("realm=example.org").0.toml.contains("open relay"));
    let (_, stun) = load("stun-only\nuser=a:b\nstatic-auth-secret=north");
    assert!(stun.auth.users.is_empty() && stun.auth.secrets.is_empty());
}

#[test]
fn whoever_is_left_behind_is_told_of() {
    let left = [
        "user=a:0xbc807ee29df3c9ffa736523fb2c4e8ee",
        "lt-cred-mech\nuser=a:b\nmongo-userdb=\"mongodb://u:Pw0001@h/d\"",
        "redis-userdb=\"Pw0001\"\nuse-auth-secret\nstatic-auth-secret=n",
        "oauth\nuser=a:b",
    ];
    for text in left {
        let (imported, _) = load(text);
        assert!(imported.left_behind, "{text}");
        let looked = |note: &super::Note| note.weight == Weight::Act && note.line.is_some();
        assert!(imported.notes.iter().any(looked), "{text}");
        assert!(!imported.toml.contains("Pw0001") && !imported.toml.contains("bc807ee2"), "{text}");
    }
    for text in ["user=a:b\nlt-cred-mech", "static-auth-secret=n\nuse-auth-secret"] {
        assert!(!load(text).0.left_behind, "{text}");
    }
}

#[test]
fn a_database_is_asked_where_the_driver_is_built_in() {
    for (text, kind, place) in [
        ("lt-cred-mech\nrealm=x", Kind::Sqlite, "/var/lib/turn/turndb"),
        ("use-auth-secret\nrealm=x", Kind::Sqlite, "/var/lib/turn/turndb"),
        ("lt-cred-mech\nuser=a:b\nuserdb=/x/turndb", Kind::Sqlite, "/x/turndb"),
        (
            "userdb=/x\nsql-userdb=\"host=db user=t password=Pw0001\"\nlt-cred-mech",
            Kind::Postgresql,
            "postgresql://t:Pw0001@db/?sslmode=prefer",
        ),
        (
            "mysql-userdb=\"host=127.0.0.1 dbname=d user=t\"\nuse-auth-secret\nstatic-auth-secret=n",
            Kind::Mysql,
            "mysql://t@127.0.0.1/d",
        ),
    ] {
        let (imported, config) = load(text);
        for note in &imported.notes {
            assert!(!note.to_string().contains("Pw0001"), "{note}");
        }
        let built_in = kind.missing().is_none();
        assert_eq!(imported.left_behind, !built_in, "{text}");
        let stores: Vec<_> = config.stores.iter().map(|store| (&*store.name, store.kind)).collect();
        assert_eq!(stores, if built_in { vec![("coturn", kind)] } else { Vec::new() }, "{text}");
        let written = built_in.then(|| format!("\"{place}\""));
        assert!(
            written.is_none_or(|written| imported.toml.contains(&written)),
            "{}",
            imported.toml
        );
    }
}

#[test]
fn no_note_and_no_comment_shows_a_secret() {
    let text = "user=alice:Pw0001 # x\nuser=Pw0002\nstatic-auth-secret=Pw0003;\n\
                cli-password=Pw0004\npkey-pwd=Pw0005\nredis-statsdb=\"password=Pw0006\"\n\
                psql-userdb=Pw0007\nsecret-key-file=Pw0008\nPw0009=Pw0010\nstatic-auth-secret\n\
                stateless-nonce-secret=Pw0011\nlt-cred-mech=Pw0012\nmysql-userdb=Pw0013";
    let imported = import(text.as_bytes(), "t", None, None);
    for note in &imported.notes {
        assert!(!note.to_string().contains("Pw00"), "{note}");
    }
    for line in imported.toml.lines().filter(|line| line.starts_with('#')) {
        assert!(!line.contains("Pw00"), "{line}");
    }
}

#[test]
fn numbers_and_switches_reach_their_settings() {
    let text = "user-quota=12\ntotal-quota=1200\nmax-bps=3000000\nstale-nonce\nno-tcp-relay\n\
                mobility\nno-software-attribute\nmax-allocate-lifetime=300\nrelay-threads=0\n\
                rfc5766-channel-numbers\nproc-user=turnserver\nproc-group=ssl-cert\nVerbose\n\
                unauthorized-ratelimit\nunauthorized-ratelimit-rps=7\nmax-allocate-timeout=20\n\
                rest-api-separator=|\nprometheus\nprometheus-port=9999\nsock-buf-size=65536";
    let all = config(text);
    let limits = &all.limits;
    assert_eq!((limits.allocations, limits.allocations_per_user), (1200, 12));
    assert_eq!((limits.bytes_per_second, limits.unauthenticated_per_second), (3_000_000, 7));
    assert_eq!((all.auth.nonce_lifetime.as_secs(), all.auth.separator), (600, '|'));
    let turn = &all.turn;
    assert!(!turn.tcp_allocations && turn.mobility && turn.rfc5766_channels);
    assert_eq!((&turn.software, turn.max_lifetime.as_secs()), (&None, 300));
    assert_eq!((all.worker.workers, all.worker.listener_buffer), (1, 65536));
    assert_eq!(all.worker.streams.idle.as_secs(), 20);
    assert_eq!((all.user.as_deref(), all.group.as_deref()), (Some("turnserver"), Some("ssl-cert")));
    assert_eq!(all.admin, Some("127.0.0.1:9999".parse().unwrap()));
    assert_eq!(all.log.level, crate::config::Level::Debug);
}

#[test]
fn other_servers_are_joined_by_address() {
    let text = "alternate-server=198.51.100.1\nalternate-server=198.51.100.2:3479\n\
                alternate-server=198.51.100.1\ntls-alternate-server=198.51.100.2\n\
                tls-alternate-server=198.51.100.9";
    let servers = config(text).redirect.servers;
    let shown: Vec<_> = servers.iter().map(|it| (texts(&it.addresses), it.weight)).collect();
    let first = (vec!["198.51.100.1:3478".to_owned()], 2);
    assert_eq!(shown, [first, (vec!["198.51.100.2:3479".to_owned()], 1)]);
    assert_eq!(texts(&servers[1].tls_addresses), ["198.51.100.2:5349"]);
    // Its own address among them: coturn sends nobody on.
    let own = "listening-ip=198.51.100.1\nalternate-server=198.51.100.1";
    assert!(config(own).redirect.servers.is_empty());
}

#[test]
fn an_allowed_range_opens_nothing_that_coturn_never_relays_to() {
    let all = "allowed-peer-ip=0.0.0.0-255.255.255.255\n\
               allowed-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n";
    let decide = |text: &str, peer: &str| {
        let rules = config(text).peers;
        let policy = PeerPolicy::new(rules, Vec::new(), PortRange::default(), Vec::new());
        policy.decide(peer.parse().unwrap()) == Decision::Allow
    };
    for closed in [
        "0.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
    ] {
        assert!(!decide(all, closed), "{closed}");
    }
    for open in ["10.0.0.1", "192.168.1.1", "198.41.0.4", "2a00::1"] {
        assert!(decide(all, open), "{open}");
    }
    // This option takes a built-in rule away, and no rule of the operator's.
    let text = "allow-loopback-peers\ndenied-peer-ip=127.0.0.2-127.0.0.9";
    assert!(decide(text, "127.0.0.1") && decide(text, "::1") && !decide(text, "127.0.0.5"));
}

/// What coturn decides (its `good_peer_addr`, with only the options that stand in the text).
fn coturn_admits(text: &str, peer: u8) -> bool {
    let within = |name: &str| {
        text.lines().filter_map(|line| line.strip_prefix(name)).any(|range| {
            let last = |ip: &str| ip.rsplit_once('.').unwrap().1.parse::<u8>().unwrap();
            let (first, end) = range.split_once('-').unwrap_or((range, range));
            (last(first)..=last(end)).contains(&peer)
        })
    };
    within("allowed-peer-ip=") || !within("denied-peer-ip=")
}

proptest! {
    #[test]
    fn peers_are_admitted_as_by_coturn(
        rules in prop::collection::vec((any::<bool>(), any::<u8>(), any::<u8>()), 0..8),
        peer in any::<u8>(),
    ) {
        let line = |(allow, a, b): &(bool, u8, u8)| {
            let name = if *allow { "allowed-peer-ip" } else { "denied-peer-ip" };
            format!("{name}=198.41.0.{}-198.41.0.{}\n", a.min(b), a.max(b))
        };
        let text: String = rules.iter().map(line).collect();
        let rules = config(&text).peers;
        let policy = PeerPolicy::new(rules, Vec::new(), PortRange::default(), Vec::new());
        let ip = std::net::IpAddr::from([198, 41, 0, peer]);
        prop_assert_eq!(policy.decide(ip) == Decision::Allow, coturn_admits(&text, peer));
    }

    #[test]
    fn whatever_stands_there_the_result_loads(
        lines in prop::collection::vec((any::<prop::sample::Index>(), value()), 0..25),
    ) {
        let names: Vec<&str> = all().map(|opt| opt.name).collect();
        let line = |(at, value): &(prop::sample::Index, String)| {
            format!("{}={value}\n", names[at.index(names.len())])
        };
        let text: String = lines.iter().map(line).collect();
        let imported = import(text.as_bytes(), "t", None, None);
        if let Err(problems) = parse(&imported.toml, "out.toml") {
            prop_assert!(false, "{problems}\n{text}\n{}", imported.toml);
        }
    }

    #[test]
    fn any_bytes_at_all_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let imported = import(&bytes, "t", None, None);
        prop_assert!(parse(&imported.toml, "out.toml").is_ok(), "{}", imported.toml);
    }
}

fn value() -> impl Strategy<Value = String> {
    let ip = prop::sample::select(vec![
        "10.0.0.1",
        "10.0.0.2",
        "203.0.113.5",
        "0.0.0.0",
        "::",
        "2001:db8::1",
        "2001:db8::2",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
        "127.0.0.1",
        "::1",
        "::ffff:1.2.3.4",
    ]);
    let pair = (ip.clone(), ip.clone());
    prop_oneof![
        ip.clone().prop_map(str::to_owned),
        pair.clone().prop_map(|(a, b)| format!("{a}/{b}")),
        pair.prop_map(|(a, b)| format!("{a}-{b}")),
        (ip, 0..70000_u32).prop_map(|(ip, port)| match ip.contains(':') {
            true => format!("[{ip}]:{port}"),
            false => format!("{ip}:{port}"),
        }),
        (0..100_000_u64).prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        "[a-c]:(0x)?[a-z\"'\\\\]{0,3}",
        "\\PC{0,12}",
        "[/a-z]{0,9}",
        Just(String::new()),
        prop::sample::select(vec!["yes", "no", "0", "443", "3478", "5349", "debug"])
            .prop_map(str::to_owned),
    ]
}
