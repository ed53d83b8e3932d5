//! Several realms at one server: each way leads to its realm over every transport, and tenants keep out of each other's
//! affairs.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

#[cfg(feature = "dtls")]
use std::net::UdpSocket;
use std::net::{SocketAddr, TcpStream};

use common::{Client, Credential, Peer, Setup, Trust, new_id, plain, seal};
#[cfg(feature = "dtls")]
use common::{Dtls, PATIENCE};
use configured::Configured;
use rustls::version::{TLS12, TLS13};
use turnwire::stun::{Kind, Method, attribute};

const CHANNEL: u16 = 0x4000;
const HERE: &str = "example.org";
const TENANT: &str = "tenant.example";

fn tenants(client: Client) -> Client {
    client.with(Credential::user("alice", "another"))
}

/// A client's first request gets this realm, and with it this password is alice's and no other.
#[track_caller]
fn assert_in(realm: &str, make: impl Fn() -> Client) {
    for (of, credential) in [
        (HERE, Credential::user("alice", "wonderland")),
        (TENANT, Credential::user("alice", "another")),
    ] {
        let mut client = make().with(credential);
        assert_eq!(client.challenge().realm, realm);
        let code = client.try_allocate(|_| ()).code();
        assert_eq!(code, if of == realm { 0 } else { 401 }, "{of} in {realm}");
    }
}

const SERVER: &str = r#"
[[realm]]
name = "tenant.example"
listeners = ["127.0.0.2:0"]
server_names = ["localhost"]
origins = ["https://tenant.example"]
[realm.users]
alice = "another"
"#;

#[test]
fn each_way_leads_to_its_realm() {
    let trust = Trust::new();
    let setup = Setup::with_local_peers().listen("127.0.0.1:0").listen("127.0.0.2:0");
    let server = setup.config(SERVER).certificate(&trust).start();
    let [here, there] = server.listeners()[..] else { panic!("not two listeners") };
    assert_in(HERE, || Client::udp_to(here));
    assert_in(HERE, || Client::tcp_to(here));
    assert_in(TENANT, || Client::udp_to(there));
    assert_in(TENANT, || Client::tcp_to(there));
    for version in [&TLS12, &TLS13] {
        // The second one comes with a ticket of the first.
        let config = trust.client_of(version);
        let tls = || {
            let stream = TcpStream::connect(here).expect("a connection");
            Client::on_tls(seal(stream, config.clone()))
        };
        assert_in(TENANT, tls);
    }
    assert!(server.metric("tls_handshakes_resumed_total") > 0);
    let asked = |origin: &str| {
        let request = plain(Kind::request(Method::ALLOCATE), &new_id(), |writer| {
            // As coturn's client sends it.
            writer.attribute(attribute::ORIGIN, b"https://carleon.gov:443");
            writer.attribute(attribute::ORIGIN, origin.as_bytes());
            writer.attribute(attribute::ORIGIN, b"ftp://uffrith.net");
        });
        let answer = Client::udp_to(here).exchange(&request);
        String::from_utf8(answer.attribute(attribute::REALM).expect("a realm").to_vec()).unwrap()
    };
    assert_eq!(asked("https://Tenant.example:443/page"), TENANT);
    assert_eq!(asked("https://elsewhere.example"), HERE);
}

#[cfg(feature = "dtls")]
#[test]
fn the_name_that_is_asked_for_leads_to_its_realm_over_dtls() {
    let trust = Trust::new();
    let server = Setup::with_local_peers()
        .config(&SERVER.replace("listeners", "#"))
        .certificate(&trust)
        .start();
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a client's socket");
        socket.connect(server.address()).expect("a route to the server");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    };
    assert_in(TENANT, || Client::on_association(Dtls::connect_to(socket(), "LOCALHOST")));
    assert_in(HERE, || Client::on_association(Dtls::connect_to(socket(), "other.example")));
    assert_in(HERE, || Client::on_association(Dtls::connect(socket())));
}

fn file(realms: &str) -> String {
    format!(
        "[listen]\naddresses = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n[auth]\nrealm = \"example.org\"\n\
         [auth.users]\nalice = \"wonderland\"\n[peers]\nallow = [\"127.0.0.0/8\"]\n{realms}"
    )
}

fn realm(more: &str) -> String {
    format!(
        "[[realm]]\nname = \"tenant.example\"\nlisteners = [\"127.0.0.2:0\"]\n{more}\n\
         [realm.users]\nalice = \"another\"\n"
    )
}

/// The second listener of a server.
fn there(configured: &Configured) -> SocketAddr {
    let ready = configured.server.ready();
    let text = ready["udp"][1].as_str().expect("an address");
    text.parse().expect("an address")
}

#[test]
fn realms_come_and_go_under_live_calls() {
    let mut configured = Configured::listening(&file(""));
    let (here, there) = (configured.server.udp(), there(&configured));
    let peer = Peer::new();
    let call = |mut client: Client| {
        assert_eq!(client.try_allocate(|_| ()).code(), 0);
        client.bind(CHANNEL, peer.address);
        client
    };
    let relays = |client: &mut Client| {
        client.channel(CHANNEL, b"still there");
        assert_eq!(peer.payload(), b"still there");
    };
    let mut first = call(Client::udp_to(there));
    configured.accepts(&file(&realm("")));
    let mut second = call(tenants(Client::udp_to(there)));
    assert_eq!(Client::udp_to(there).try_allocate(|_| ()).code(), 401);
    // What was there before stays what it was.
    assert_eq!(first.refresh(600).code(), 0);
    [&mut first, &mut second].into_iter().for_each(relays);
    // A rule of the tenant's ends what it forbids there, and nobody else's.
    let other = Peer::at("127.0.0.9".parse().unwrap());
    second.bind(CHANNEL + 1, other.address);
    first.permit(other.address);
    let rules = realm("") + "[realm.peers]\ndeny = [\"127.0.0.9\"]\n";
    configured.accepts(&file(&rules));
    second.channel(CHANNEL + 1, b"forbidden");
    relays(&mut second);
    assert_eq!(second.try_permit(&[other.address]).code(), 403);
    first.send(other.address, b"allowed");
    assert_eq!(other.payload(), b"allowed");
    // One of its own is gone with the realm.
    let message = configured.refuses(&file(&realm("server_names = [\"a\", \"A\"]")));
    assert!(message.contains("leads to the realm"), "{message}");
    configured.accepts(&file(&realm("on_revocation = \"end\"")));
    configured.accepts(&file(""));
    // The log's own thread writes it, before or after the line of the reload.
    let earlier = configured.server.of("session_ended").first().copied().cloned();
    let ended = earlier.unwrap_or_else(|| configured.server.line("session_ended"));
    let expected = ["credential_revoked", "alice", TENANT];
    assert_eq!(["reason", "user", "realm"].map(|key| ended[key].as_str().unwrap()), expected);
    assert_eq!(tenants(Client::udp_to(there)).try_allocate(|_| ()).code(), 401);
    relays(&mut first);
    assert_eq!(Client::udp_to(here).try_allocate(|_| ()).code(), 0);
}

#[test]
fn quotas_and_exclusive_ways_are_kept_apart() {
    let limits = "[realm.limits]\nallocations_per_user = 1\n";
    let configured = Configured::listening(&file(&(realm("exclusive = true") + limits)));
    let (here, there) = (configured.server.udp(), there(&configured));
    let mut only = tenants(Client::udp_to(there));
    assert_eq!(only.try_allocate(|_| ()).code(), 0);
    let answer = tenants(Client::udp_to(there)).try_allocate(|_| ());
    assert_eq!(
        (answer.code(), &*answer.phrase()),
        (486, "user \"alice\" has 1 allocations, the limit")
    );
    for _ in 0..2 {
        assert_eq!(Client::udp_to(here).try_allocate(|_| ()).code(), 0);
    }
    // The tenant's own password is worth nothing on the other way in.
    assert_eq!(tenants(Client::udp_to(here)).try_allocate(|_| ()).code(), 401);
    assert_eq!(only.refresh(0).code(), 0);
    assert_eq!(tenants(Client::udp_to(there)).try_allocate(|_| ()).code(), 0);
}

#[test]
fn metrics_tell_tenants_apart() {
    let setup = Setup::with_local_peers().listen("127.0.0.1:0").listen("127.0.0.2:0");
    let server = setup.config(SERVER).start();
    let [here, there] = server.listeners()[..] else { panic!("not two listeners") };
    let mut calls: Vec<_> = (0..2).map(|_| tenants(Client::udp_to(there))).collect();
    calls.push(Client::udp_to(here).with(Credential::user("alice", "wonderland")));
    for client in &mut calls {
        client.allocate();
    }
    let live = |realm: &str| server.metric(&format!("realm_allocations{{realm=\"{realm}\"}}"));
    assert_eq!((live(TENANT), live(HERE)), (2, 1));
    assert_eq!(calls[0].refresh(0).code(), 0);
    assert_eq!((live(TENANT), live(HERE)), (1, 1));
}
