//! The configuration read again under live calls (SIGHUP): all of it or nothing.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::fs;
#[cfg(feature = "dtls")]
use std::net::UdpSocket;
#[cfg(feature = "dtls")]
use std::time::Duration;

use common::{Client, Peer};
use configured::Configured;
#[cfg(feature = "dtls")]
use process::get;

const CHANNEL: u16 = 0x4000;
const FIRST: &str = "[auth]\nusers.alice = \"wonder\"\nusers.bob = \"builder\"\n[peers]\nallow = [\"127.0.0.0/8\"]\n";

/// A call that was there before and goes on.
fn calling(configured: &Configured) -> (Client, Peer) {
    let (mut client, peer) = (configured.client("alice", "wonder"), Peer::new());
    client.allocate();
    client.bind(CHANNEL, peer.address);
    (client, peer)
}

#[track_caller]
fn assert_relays(client: &mut Client, peer: &Peer) {
    client.channel(CHANNEL, b"still there");
    assert_eq!(peer.payload(), b"still there");
}

#[test]
fn users_come_and_go_and_calls_go_on() {
    let mut configured = Configured::start(FIRST);
    let (mut client, peer) = calling(&configured);
    assert_eq!(configured.client("carol", "new").try_allocate(|_| ()).code(), 401);
    let second = FIRST.replace("alice = \"wonder\"", "carol = \"new\"");
    configured.accepts(&second);
    assert_eq!(configured.client("carol", "new").try_allocate(|_| ()).code(), 0);
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 401);
    assert_eq!(configured.client("bob", "builder").try_allocate(|_| ()).code(), 0);
    assert_relays(&mut client, &peer);
    // auth.on_revocation = "keep"
    assert_eq!(client.refresh(600).code(), 0);
    configured.accepts(&second.replace("[auth]", "[auth]\non_revocation = \"refuse\""));
    assert_eq!(client.refresh(600).code(), 401);
    assert_relays(&mut client, &peer);
    configured.accepts(&second.replace("[auth]", "[auth]\non_revocation = \"end\""));
    // The log's own thread writes it, before or after the line of the reload.
    let earlier = configured.server.of("session_ended").first().copied().cloned();
    let ended = earlier.unwrap_or_else(|| configured.server.line("session_ended"));
    assert_eq!((&ended["reason"], &ended["user"]), (&"credential_revoked".into(), &"alice".into()));
}

#[test]
fn rules_about_peers_end_what_they_forbid() {
    let mut configured = Configured::start(FIRST);
    let (mut client, peer) = calling(&configured);
    let other = Peer::at("127.0.0.2".parse().unwrap());
    client.bind(CHANNEL + 1, other.address);
    let rules = "allow = [\"127.0.0.0/8\"]\ndeny = [\"127.0.0.2/32\"]";
    configured.accepts(&FIRST.replace("allow = [\"127.0.0.0/8\"]", rules));
    client.channel(CHANNEL + 1, b"forbidden");
    assert_relays(&mut client, &peer);
    assert_eq!(client.try_permit(&[other.address]).code(), 403);
    client.fence();
    assert!(other.has_nothing());
}

#[test]
fn a_configuration_with_a_mistake_changes_nothing_and_says_which_line() {
    let mut configured = Configured::start(FIRST);
    let (mut client, peer) = calling(&configured);
    let wrong =
        FIRST.replace("alice = \"wonder\"", "carol = \"new\"") + "[limits]\nallocation = 5\n";
    let message = configured.refuses(&wrong);
    assert!(message.contains("nothing was changed"), "{message}");
    assert!(
        message.contains("server.toml:7:1") && message.contains("did you mean \"allocations\""),
        "{message}"
    );
    assert_relays(&mut client, &peer);
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 0);
    assert_eq!(configured.client("carol", "new").try_allocate(|_| ()).code(), 401);
    fs::remove_file(&configured.file).unwrap();
    configured.server.signal("HUP");
    let line = configured.server.line("reload_failed");
    assert!(line["message"].as_str().unwrap().contains("server.toml"), "{line}");
    configured.accepts(FIRST);
}

/// What is read at the start only is not half of a change.
#[test]
fn what_takes_a_restart_is_refused_by_name_with_all_that_comes_with_it() {
    let mut configured = Configured::start(FIRST);
    let more =
        "users.carol = \"new\"\n[process]\nuser = \"root\"\n[listen]\ntrains = false\n[peers]";
    let message = configured.refuses(&FIRST.replace("[peers]", more));
    assert!(
        message.contains("listen.trains, process.user can be changed by a restart only"),
        "{message}"
    );
    assert_eq!(configured.client("carol", "new").try_allocate(|_| ()).code(), 401);
}

#[test]
fn limits_and_the_log_change_too() {
    let mut configured = Configured::start(FIRST);
    let (_client, _peer) = calling(&configured);
    configured
        .accepts(&format!("{FIRST}[limits]\nallocations_per_user = 1\n[log]\nlevel = \"debug\"\n"));
    let mut second = configured.client("alice", "wonder");
    assert_eq!(second.try_allocate(|_| ()).code(), 486);
    assert_eq!(configured.server.line("request_refused")["level"], "DEBUG");
    assert_eq!(configured.client("bob", "builder").try_allocate(|_| ()).code(), 0);
    configured.accepts(FIRST);
    assert_eq!(second.try_allocate(|_| ()).code(), 0);
}

#[test]
fn the_end_is_the_one_that_was_configured_last() {
    let mut configured = Configured::start(FIRST);
    let (mut client, _peer) = calling(&configured);
    configured.accepts(&format!("{FIRST}[process]\ndrain = \"1h\"\n"));
    configured.server.signal("TERM");
    assert_eq!(configured.server.line("draining")["allocations"], 1);
    // Also while it waits.
    configured.accepts(&FIRST.replace("allow", "deny"));
    assert_eq!(client.refresh(0).code(), 0);
    assert_eq!(configured.server.exit(), Some(0));
}

/// Of those who come from now on.
#[cfg(feature = "dtls")]
#[test]
fn the_limits_of_dtls_change_too() {
    let trust = common::Trust::new();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| trust.directory.join(name));
    let tls = format!("[tls]\ncertificates = [{chain:?}]\nkeys = [{key:?}]\n");
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    let first = format!("{FIRST}{tls}{admin}[limits]\nexempt = []\n");
    let mut configured = Configured::start(&first);
    let server = configured.server.udp();
    let (mut one, mut two) = (Client::dtls_to(server), Client::dtls_to(server));
    configured.accepts(&format!("{first}[limits.dtls]\nper_address = 2\n"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("a route");
    let mut third = common::Dtls::new(socket);
    third.socket().set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    common::eventually("the third is refused", || {
        assert!(!third.step(), "a third association");
        let metrics = get(configured.server.admin(), "/metrics").1;
        let refused = "turnwire_dtls_refused_total{limit=\"per_address\"} ";
        let line = metrics.lines().find(|line| line.starts_with(refused)).expect("the counter");
        (line != format!("{refused}0")).then_some(())
    });
    one.fence();
    two.fence();
}

/// With no credentials at all the secret made at the start stays the one.
#[test]
fn a_server_with_a_secret_of_its_own_keeps_it() {
    let mut configured = Configured::start("");
    configured.accepts("[limits]\nallocations = 7\n");
    let stranger = configured.client("alice", "wonder").try_allocate(|_| ());
    assert_eq!(stranger.code(), 401);
    configured.accepts(FIRST);
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 0);
    configured.accepts("");
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 401);
}

/// Where clients are sent to, and that nobody is asked any more who is taken out.
#[test]
fn other_servers_come_and_go() {
    let other = Configured::start(FIRST);
    let to = other.server.udp();
    let mut configured = Configured::start(FIRST);
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 0);
    let sending = format!(
        "{FIRST}[redirect]\nwhen = \"always\"\ninterval = \"1s\"\ncredentials = \"bob:builder\"\n\
         servers.east = {{ addresses = [\"{to}\"] }}\n"
    );
    configured.accepts(&sending);
    for _ in 0..2 {
        let line = configured.server.line("alternate_alive");
        assert_eq!((&line["server"], &line["address"]), (&"east".into(), &to.to_string().into()));
    }
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 300);
    // It is known already, and nothing is asked anew before clients are sent there.
    configured.accepts(&sending.replace("\"1s\"", "\"2s\""));
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 300);
    configured.accepts(FIRST);
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 0);
}

/// What `systemctl status` shows.
#[test]
fn the_service_manager_is_told_how_it_goes() {
    let mut configured = Configured::start(FIRST);
    configured.server.told("STATUS=serving 0 allocations");
    let _call = calling(&configured);
    configured.refuses("[auth]\nrealm = 5\n");
    configured.server.told("STATUS=serving 1 allocations; the last reload has failed, see the log");
    configured.accepts(FIRST);
    configured.server.told("STATUS=serving 1 allocations");
}
