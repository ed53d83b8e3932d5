//! Servers that send their clients on to others.

use std::sync::{Arc, OnceLock};

use super::common::certificate::{self, Authority};
use super::scripted::{Reply, Scripted};
use super::server::{Scratch, Server};
use super::{HERE, check, faults, sound, turn};

#[test]
fn where_a_server_sends_its_clients_is_gone_to() {
    let server = sound(&[]);
    let place = server.udp();
    let sends = |to| Scripted::start(move |_| Reply::Elsewhere(to));
    let (good, bad) = (sends(place), sends("127.0.0.1:1".parse().unwrap()));
    let round = sends(good.place);
    let further = sends(round.place);
    // Two that send to each other.
    let back = Arc::new(OnceLock::new());
    let to = Arc::clone(&back);
    let first = Scripted::start(move |_| Reply::Elsewhere(*to.get().unwrap()));
    let circle = sends(first.place);
    back.set(circle.place).unwrap();
    for (start, ways, works, fault) in [
        (&good, 2, 2, "challenge:redirected"),
        (&round, 3, 3, "challenge:redirected"),
        (&further, 4, 4, "challenge:redirected"),
        (&bad, 2, 0, "challenge:redirected-nowhere"),
        (&circle, 2, 0, "challenge:redirected-nowhere"),
    ] {
        let found = check(&[&turn(start.place), "--secret", "north"]);
        assert_eq!(faults(&found), [fault], "{found:#}");
        assert_eq!((&found["of"], &found["works"]), (&ways.into(), &works.into()), "{found:#}");
    }
}

/// RFC 8489 §10: whoever is sent on over TLS looks for the name that came along in the certificate there.
#[test]
fn where_clients_of_tls_are_sent_the_certificate_is_looked_at_by_its_own_name() {
    let authority = Authority::new("authority");
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let start = |names: &[&str], more: &[&str], config: &str| {
        let scratch = Scratch::new();
        authority.issue_for(names, 80, algorithm).put(&scratch.0);
        certificate::put(&scratch.0, "ca.pem", &authority.pem());
        certificate::put(&scratch.0, "t.toml", config);
        let tls = ["--cert", "chain.pem", "--key", "key.pem", "--secret", "north"];
        Server::start_in(scratch, &[&HERE, &tls[..], more].concat())
    };
    let other = start(&["turn.test"], &[], "");
    let redirect = format!(
        "[redirect]\nwhen = \"always\"\ninterval = \"1s\"\n[redirect.servers]\n\
         other = {{ addresses = [\"{0}\"], tls_addresses = [\"{0}\"], domain = \"turn.test\" }}\n",
        other.udp()
    );
    let mut door = start(&["127.0.0.1"], &["--config", "t.toml"], &redirect);
    let ways = if cfg!(feature = "dtls") { &["tcp", "udp"][..] } else { &["tcp"] };
    // In clear by UDP and TCP as well; nobody here vouches for a root that the test has made.
    for _ in 0..2 + ways.len() {
        door.line_of(&["alternate_alive", "alternate_doubtful"]);
    }
    let ca = door.scratch.path("ca.pem");
    for way in ways {
        let uri = format!("turns:{}?transport={way}", door.udp());
        let found = check(&[&uri, "--secret", "north", "--ca", ca.to_str().unwrap()]);
        assert_eq!(faults(&found), ["allocate:redirected"], "{found:#}");
        assert_eq!((&found["of"], &found["works"]), (&2.into(), &2.into()), "{found:#}");
        let next = found["ways"][1]["uri"].as_str().unwrap();
        assert!(next.starts_with("turns:turn.test:"), "{found:#}");
    }
}
