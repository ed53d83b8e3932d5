//! Whom the page is given credentials for: who sits at a server that was told nothing, who has the link that it prints, and
//! who has an API key; nobody else.

mod common;
#[path = "process/server.rs"]
mod server;

use std::fs;

use common::{Client, Credential, Reply, ask};
use server::{Scratch, Server, address};

/// The credential in an answer lets somebody in.
#[track_caller]
fn relays(server: &Server, reply: &Reply) {
    assert_eq!(reply.status, 200, "{reply:?}");
    let json = reply.json();
    let all = json["iceServers"].as_array().expect("a list");
    let relay = all.iter().find(|entry| entry["credential"].is_string()).expect("a relay");
    let text = |name: &str| relay[name].as_str().expect("text").to_owned();
    assert!(text("username").ends_with(":page"), "{relay}");
    let credential = Credential::user(&text("username"), &text("credential"));
    Client::udp_to(server.udp()).with(credential).allocate();
}

#[track_caller]
fn refused(reply: &Reply) {
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(!String::from_utf8_lossy(&reply.body).contains("iceServers"), "{reply:?}");
}

/// Where the page is, as the server has printed it behind its `iceServers`.
fn links(server: &Server) -> Vec<String> {
    let lines = server.stdout();
    let link = |line: &str| line.split(' ').next_back().expect("a word").to_owned();
    lines.lines().skip(1).map(link).collect()
}

#[test]
fn who_sits_at_a_server_that_was_told_nothing_needs_no_key() {
    let mut server = Server::start(&[]);
    let tcp = address(&server.ready()["tcp"][0]);
    assert_eq!(links(&server), [format!("http://{tcp}/")]);
    assert_eq!(ask(tcp, "GET /", &[]).header("content-type"), Some("text/html; charset=utf-8"));
    relays(&server, &ask(tcp, "GET /page/ice", &[]));
    relays(&server, &ask(tcp, "GET /page/ice", &[&format!("Host: {tcp}")]));
    // A site that has given its own name this machine's address, and somebody behind a proxy on this machine.
    refused(&ask(tcp, "GET /page/ice", &["Host: evil.example"]));
    refused(&ask(tcp, "GET /page/ice", &["X-Forwarded-For: 127.0.0.1"]));
    // A reload finds the door where it was.
    server.signal("HUP");
    server.line("reloaded");
    relays(&server, &ask(tcp, "GET /page/ice", &[]));
    // It is the page's own door, and no other's.
    refused(&ask(tcp, "GET /ice", &[]));
    refused(&ask(tcp, "GET /page/ice", &["Authorization: Bearer page"]));
}

#[test]
fn who_sits_elsewhere_needs_the_link_that_was_printed() {
    let server = Server::start(&[
        "--listen",
        "0.0.0.0:0",
        "--relay-ip",
        "127.0.0.1",
        "--external-ip",
        "192.0.2.7",
    ]);
    let tcp = address(&server.ready()["tcp"][0]);
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], tcp.port()));
    let [local, link] = links(&server).try_into().expect("two links");
    assert_eq!(local, format!("http://localhost:{}/", tcp.port()));
    let key = link.strip_prefix(&format!("http://192.0.2.7:{}/#key=", tcp.port())).expect(&link);
    assert!(key.len() >= 43 && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
    let header = format!("Authorization: Bearer {key}");
    let elsewhere = ["Host: 192.0.2.7", &header];
    assert_eq!(ask(here, "GET /page/ice", &elsewhere).status, 200);
    refused(&ask(here, "GET /page/ice", &elsewhere[..1]));
    // In the log it stands as little as the secret.
    let log = format!("{:?}", server.lines);
    assert!(!log.contains(key), "{log}");
    // A bookmark outlives the process.
    let again = Server::start_in(
        server.finish(),
        &["--listen", "0.0.0.0:0", "--relay-ip", "127.0.0.1", "--external-ip", "192.0.2.7"],
    );
    assert!(links(&again)[1].ends_with(key));
}

#[test]
fn a_server_that_was_told_something_asks_for_a_key_wherever_one_sits() {
    let scratch = Scratch::new();
    let file = scratch.path("turnwire.toml");
    let text = "[web]\npage = true\n[web.keys]\nhouse = { secret = \"0123456789abcdef-key\", label = \"page\" }\n";
    fs::write(&file, text).unwrap();
    let server = Server::start_in(scratch, &["--config", file.to_str().unwrap()]);
    let tcp = address(&server.ready()["tcp"][0]);
    refused(&ask(tcp, "GET /page/ice", &[]));
    relays(&server, &ask(tcp, "GET /page/ice", &["Authorization: Bearer 0123456789abcdef-key"]));
    // It was given no credentials, so it has made a secret: the page needs the key that was configured all the same.
    assert_eq!(links(&server), Vec::<String>::new());
    let users = Server::start(&["--user", "alice:wonder"]);
    let tcp = address(&users.ready()["tcp"][0]);
    assert_eq!(ask(tcp, "GET /page/ice", &[]).status, 404);
}
