//! Away from coturn: `turnwire import --database` over a database that coturn's own tool has filled.

use std::process::{Command, Output};

use turnwire::config::{Config, parse};
use turnwire::store::Kind;
use turnwire::turn::{Decision, PeerPolicy, PortRange};

use super::common::{Client, Credential, Setup};
use super::{Place, Scratch};

/// 32 bytes in base64.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Two realms with all that coturn keeps of them, and a third that no origin leads to.
fn fill(place: &Place) {
    for (realm, name, password) in [
        ("example.org", "carol", "singer"),
        ("meet.example", "dora", "explorer"),
        ("elsewhere.example", "eve", "listener"),
    ] {
        place.turnadmin(&["-a", "-u", name, "-r", realm, "-p", password]);
    }
    place.turnadmin(&["-s", "south", "-r", "meet.example"]);
    place.turnadmin(&["-O", "-o", "https://Meet.example/room", "-r", "meet.example"]);
    place.turnadmin(&["-g", "-r", "example.org", "--total-quota=7"]);
    let limits = ["--max-bps=5000", "--total-quota=3", "--user-quota=1"];
    place.turnadmin(&[&["-g", "-r", "meet.example"], &limits[..]].concat());
    match place {
        Place::Server(database) if !place.is_sql() => {
            for command in [
                "SADD turn/realm//allowed-peer-ip 10.1.0.0-10.1.255.255".to_owned(),
                "SADD turn/realm/meet.example/allowed-peer-ip 10.2.0.1".to_owned(),
                "SADD turn/realm/example.org/denied-peer-ip 198.51.100.0-198.51.100.255".to_owned(),
                format!(
                    "HSET turn/oauth/kid/k1 ikm_key {KEY} as_rs_alg A256GCM timestamp 1700000000 \
                     lifetime 100 realm example.org"
                ),
                format!("HSET turn/oauth/kid/k2 ikm_key {KEY} realm meet.example"),
                "HSET turn/admin_user/root password x".to_owned(),
            ] {
                database.say(&command);
            }
        }
        _ => place.tell(&format!(
            "INSERT INTO allowed_peer_ip (realm, ip_range) VALUES ('', '10.1.0.0-10.1.255.255'); \
             INSERT INTO allowed_peer_ip (realm, ip_range) VALUES ('meet.example', '10.2.0.1'); \
             INSERT INTO denied_peer_ip (realm, ip_range) \
             VALUES ('example.org', '198.51.100.0-198.51.100.255'); \
             INSERT INTO oauth_key (kid, ikm_key, timestamp, lifetime, as_rs_alg, realm) \
             VALUES ('k1', '{KEY}', 1700000000, 100, 'A256GCM', 'example.org'); \
             INSERT INTO oauth_key (kid, ikm_key, as_rs_alg, realm) \
             VALUES ('k2', '{KEY}', '', 'meet.example'); \
             INSERT INTO admin_user (name, realm, password) VALUES ('root', '', 'x');"
        )),
    }
}

fn import(scratch: &Scratch, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_turnwire"))
        .arg("import")
        .args(arguments)
        .current_dir(scratch.path(""))
        .output();
    output.expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[track_caller]
fn config(output: &Output) -> Config {
    match parse(text(&output.stdout), "out.toml") {
        Ok(config) => config,
        Err(problems) => panic!("{problems}\n{}", text(&output.stdout)),
    }
}

/// Everybody whom coturn serves with this file comes in by what is made of it, under the same rules.
pub(super) fn move_house(kind: Kind) {
    let (place, scratch) = (Place::of_coturn(kind), Scratch::new());
    fill(&place);
    let lines = format!(
        "listening-ip=127.0.0.1\nrealm=example.org\nlt-cred-mech\noauth\nserver-name=turn.example\n\
         total-quota=100\nuser-quota=5\ndenied-peer-ip=192.0.2.0-192.0.2.255\n{}\n",
        place.line()
    );
    std::fs::write(scratch.path("turnserver.conf"), lines).expect("a file");
    let output = import(&scratch, &["turnserver.conf", "--database"]);
    let (toml, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let config = config(&output);
    let limits = |limits: &turnwire::turn::Limits| {
        (limits.allocations, limits.allocations_per_user, limits.bytes_per_second)
    };
    assert_eq!(config.auth.realm, "example.org");
    assert_eq!((limits(&config.limits).0, limits(&config.limits).1), (7, 5), "{toml}");
    let [meet] = &config.realms[..] else { panic!("not one further realm: {toml}") };
    assert_eq!(meet.auth.realm, "meet.example");
    assert_eq!(meet.reach.origins, ["https://meet.example:443"]);
    assert_eq!(limits(&meet.limits), (3, 1, 5000));
    assert!(told.contains("\"elsewhere.example\", so nobody comes in by it"), "{told}");
    let here = PeerPolicy::new(config.peers.clone(), Vec::new(), PortRange::default(), Vec::new());
    let there = here.of_realm(meet.peers.clone());
    for (peer, allowed) in [
        ("10.1.2.3", (true, true)),
        ("10.2.0.1", (false, true)),
        ("10.3.0.1", (false, false)),
        ("198.51.100.1", (false, false)),
        ("192.0.2.1", (false, false)),
        ("198.41.0.4", (true, true)),
    ] {
        let peer = peer.parse().expect("an address");
        let decided = [&here, &there].map(|policy| policy.decide(peer) == Decision::Allow);
        assert_eq!((decided[0], decided[1]), allowed, "{peer}");
    }
    let [k1] = &config.auth.tokens.keys[..] else { panic!("not one key: {toml}") };
    assert_eq!((&*k1.kid, k1.valid_until), ("k1", Some(1_700_000_100)));
    let [k2] = &meet.auth.tokens.keys[..] else { panic!("not one key: {toml}") };
    assert_eq!((&*k2.kid, k2.valid_until), ("k2", None));
    assert!(told.contains("coturn's database: no equal: admin_user"), "{told}");
    for secret in [super::servers::PASSWORD, KEY, super::ALICE, "south"] {
        assert!(!told.contains(secret), "{told}");
    }
    come_in(toml);
    alone(&place, &scratch);
}

/// The database's users come in by what was made, each in their realm.
fn come_in(toml: &str) {
    let server = Setup::with_local_peers().config(toml).start();
    let client =
        |name: &str, password: &str| Client::udp(&server).with(Credential::user(name, password));
    client("carol", "singer").allocate();
    let mut dora = client("dora", "explorer");
    dora.in_realm("meet.example");
    dora.allocate();
    for (name, password, realm) in [
        ("dora", "explorer", "example.org"),
        ("carol", "singer", "meet.example"),
        ("eve", "listener", "meet.example"),
    ] {
        let mut stranger = client(name, password);
        stranger.in_realm(realm);
        assert_eq!(stranger.try_allocate(|_| ()).code(), 401, "{name} in {realm}");
    }
}

/// Without coturn's file, nobody says which realm is everybody's and whether there are access tokens.
fn alone(place: &Place, scratch: &Scratch) {
    let output = import(scratch, &["--database", &place.url()]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    let config = config(&output);
    let names: Vec<_> = config.realms.iter().map(|realm| &*realm.auth.realm).collect();
    assert_eq!(names, ["elsewhere.example", "example.org", "meet.example"]);
    assert!(told.contains("write it into auth.realm"), "{told}");
    assert!(
        told.contains("write them into [auth.tokens.keys]") || told.contains("Write them"),
        "{told}"
    );
    assert!(config.auth.tokens.keys.is_empty());
    let nowhere = import(scratch, &["--database", "sqlite:nowhere.db"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(!scratch.path("nowhere.db").exists(), "nothing is made");
}
