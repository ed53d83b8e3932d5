//! Clients that are sent to another server, with several servers on this host: who answers gets
//! clients, who is stopped gets none.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::net::SocketAddr;

use common::{Answer, Client, Server, Setup, Trust, eventually};
use configured::Configured;
use turnwire::stun::{attribute, decode_address};

/// A server that sends clients on to the others, whom it asks as `credentials`.
fn door(when: &str, credentials: &str, others: &[(&str, &Server)]) -> Server {
    let lines = others.iter().map(|(name, other)| {
        let address = other.address();
        format!("{name} = {{ addresses = [\"{address}\"] }}\n")
    });
    let lines: String = lines.collect();
    Setup::new()
        .config(&format!(
            "[redirect]\nwhen = \"{when}\"\ninterval = \"1s\"\ncredentials = \"{credentials}\"\n\
             [redirect.servers]\n{lines}"
        ))
        .start()
}

const ALICE: &str = "alice:wonderland";

/// Whether a server is handed out for a transport.
fn alive(door: &Server, name: &str, other: SocketAddr, transport: &str) -> u64 {
    let labels = format!("server=\"{name}\",address=\"{other}\",transport=\"{transport}\"");
    door.metric(&format!("alternate_alive{{{labels}}}"))
}

fn until(door: &Server, name: &str, other: SocketAddr, expected: u64) {
    for transport in ["udp", "tcp"] {
        eventually(&format!("{name} over {transport} is {expected}"), || {
            (alive(door, name, other, transport) == expected).then_some(())
        });
    }
}

/// Where a 300 leads.
#[track_caller]
fn sent_to(answer: &Answer) -> SocketAddr {
    assert_eq!((answer.code(), answer.phrase().as_str()), (300, "Try Alternate"));
    decode_address(answer.attribute(attribute::ALTERNATE_SERVER).expect("where")).expect("where")
}

/// RFC 8489 §10
#[test]
fn a_client_follows_to_the_server_that_answers_and_a_dead_one_is_not_handed_out() {
    let (east, west) = (Setup::new().start(), Setup::new().start());
    let door = door("always", ALICE, &[("east", &east), ("west", &west)]);
    until(&door, "east", east.address(), 1);
    until(&door, "west", west.address(), 1);
    for mut client in Client::both(&door) {
        let to = sent_to(&client.try_allocate(|_| ()));
        assert!([east.address(), west.address()].contains(&to));
        let mut follower = match client.is_stream() {
            true => Client::tcp_to(to),
            false => Client::udp_to(to),
        };
        follower.allocate();
    }

    // It is stopped where it is: nothing refuses, nothing answers.
    east.pause();
    until(&door, "east", east.address(), 0);
    for _ in 0..20 {
        assert_eq!(sent_to(&Client::udp(&door).try_allocate(|_| ())), west.address());
    }
    let told = "no client is sent to the other server";
    eventually("it is told", || door.log().contains(told).then_some(()));

    // Alone again, it serves by itself; who comes back is handed out again.
    west.pause();
    until(&door, "west", west.address(), 0);
    let mut client = Client::udp(&door);
    client.allocate();
    east.resume();
    west.resume();
    until(&door, "east", east.address(), 1);
    assert_eq!(door.refusals("try_alternate", 300), 22);
    let sent = |name: &str| door.metric(&format!("redirects_total{{server=\"{name}\"}}"));
    assert_eq!(sent("east") + sent("west"), 22);
}

/// A server that would refuse the client is no help to it.
#[test]
fn a_server_that_does_not_take_the_credentials_is_not_handed_out() {
    let other = Setup::new().start();
    let door = door("always", "alice:wrong", &[("other", &other)]);
    let told = eventually("the refusal is logged", || {
        let log = door.log();
        log.lines().find(|line| line.contains("Allocate was refused: 401")).map(str::to_owned)
    });
    assert!(told.contains("other"), "{told}");
    assert_eq!(alive(&door, "other", other.address(), "udp"), 0);
    Client::udp(&door).allocate();
}

/// What it is asked with is minted as it is configured now, also where the secret is the one of before.
#[test]
fn the_other_server_is_asked_as_the_last_reload_says() {
    let auth =
        |separator: &str| format!("[auth]\nsecrets = [\"north\"]\nseparator = \"{separator}\"\n");
    let other = Configured::start(&auth("|"));
    let redirect = format!(
        "[redirect]\nwhen = \"always\"\ninterval = \"1s\"\n\
         [redirect.servers]\nother = {{ addresses = [\"{}\"] }}\n",
        other.server.udp()
    );
    let mut door = Configured::start(&format!("{}{redirect}", auth(":")));
    door.server.line("alternate_dead");
    door.accepts(&format!("{}{redirect}", auth("|")));
    door.server.line("alternate_alive");
}

#[test]
fn a_server_without_room_sends_on() {
    let other = Setup::new().start();
    let address = other.address();
    let door = Setup::new()
        .config(&format!(
            "[redirect]\ninterval = \"1s\"\ncredentials = \"{ALICE}\"\n[redirect.servers]\n\
             other = {{ addresses = [\"{address}\"] }}\n[limits]\nallocations = 1"
        ))
        .start();
    until(&door, "other", address, 1);
    let mut first = Client::udp(&door);
    first.allocate();
    let mut second = Client::udp(&door);
    assert_eq!(sent_to(&second.try_allocate(|_| ())), address);
    assert_eq!(first.refresh(0).code(), 0);
    Client::udp(&door).allocate();
}

/// A server with a certificate that clients over TLS are sent on from, to `other` in clear and in TLS.
fn secure_door(trust: &Trust, other: &Server, secure: SocketAddr, domain: &str) -> Server {
    let address = other.address();
    Setup::new()
        .certificate(trust)
        .config(&format!(
            "[redirect]\nwhen = \"always\"\ninterval = \"1s\"\ncredentials = \"{ALICE}\"\n\
             [redirect.servers]\n\
             other = {{ addresses = [\"{address}\"], tls_addresses = [\"{secure}\"], domain = \"{domain}\" }}"
        ))
        .start()
}

/// RFC 8489 §10, §14.16
#[test]
fn clients_over_tls_are_sent_to_where_it_speaks_tls() {
    let trust = Trust::new();
    let other = Setup::new().certificate(&trust).start();
    let address = other.address();
    let door = secure_door(&trust, &other, address, "localhost");
    let secure = if cfg!(feature = "dtls") { &["tls", "dtls"][..] } else { &["tls"] };
    for transport in secure {
        eventually(transport, || (alive(&door, "other", address, transport) == 1).then_some(()));
    }
    let sent_on = |mut client: Client| {
        let answer = client.try_allocate(|_| ());
        assert_eq!(sent_to(&answer), address);
        answer.attribute(attribute::ALTERNATE_DOMAIN).map(<[u8]>::to_vec)
    };
    assert_eq!(sent_on(Client::tls(&door, &trust)), Some(b"localhost".to_vec()));
    #[cfg(feature = "dtls")]
    assert_eq!(sent_on(Client::dtls_to(door.address())), Some(b"localhost".to_vec()));
    assert_eq!(sent_on(Client::tcp(&door)), None);
    Client::tls(&other, &trust).allocate();
    // Nobody here vouches for a root that the test has made.
    let doubt = "some will refuse it";
    eventually("it is told", || door.log().contains(doubt).then_some(()));
    let log = door.log();
    assert_eq!(log.matches(doubt).count(), 1, "{log}");
}

/// Every client would refuse it, whatever answers behind it.
#[test]
fn a_server_whose_certificate_is_for_others_is_not_handed_out_over_tls() {
    let trust = Trust::new();
    let other = Setup::new().certificate(&trust).start();
    let address = other.address();
    let door = secure_door(&trust, &other, address, "turn.example.org");
    eventually("it is told", || {
        door.log().contains("the server's certificate is for other names").then_some(())
    });
    until(&door, "other", address, 1);
    assert_eq!(alive(&door, "other", address, "tls"), 0);
    Client::tls(&door, &trust).allocate();
    assert_eq!(sent_to(&Client::tcp(&door).try_allocate(|_| ())), address);
}

/// It is alive, and has neither TLS nor DTLS where it should have both.
#[test]
fn a_server_without_tls_is_not_handed_out_over_tls() {
    let other = Setup::new().start();
    let (trust, address) = (Trust::new(), other.address());
    let door = secure_door(&trust, &other, address, "localhost");
    until(&door, "other", address, 1);
    for (transport, why) in [("tls", "it cannot be reached"), ("dtls", "it answers no DTLS")] {
        eventually(transport, || {
            let log = door.log();
            let label = format!("transport=\"{transport}\"");
            log.lines().any(|line| line.contains(why) && line.contains(&label)).then_some(())
        });
        assert_eq!(alive(&door, "other", address, transport), 0);
    }
    Client::tls(&door, &trust).allocate();
}
