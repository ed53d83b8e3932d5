//! Whom the page is given credentials for: who has a link that a server prints which was told nothing, and who has an API
//! key; nobody else, wherever he sits.

mod common;
#[path = "process/server.rs"]
mod server;

use std::fs;
use std::net::{SocketAddr, TcpStream};

use common::{Client, Credential, Reply, ask};
use serde_json::{Value, json};
use server::{Scratch, Server, address};
use tungstenite::Message;

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

/// What a seat in a call is told first, when it asks for a room of its own.
fn room(server: SocketAddr, key: Option<&str>) -> Value {
    let stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(server::LIMIT)).expect("a time");
    let url = format!("ws://{server}/page/call");
    let (mut socket, _) = tungstenite::client(url, stream).expect("a WebSocket");
    let first = json!({ "type": "create", "key": key });
    socket.send(Message::text(first.to_string())).expect("it is sent");
    let said = socket.read().expect("a message").into_text().expect("text");
    serde_json::from_str(&said).expect("JSON")
}

/// What a forwarder on the same machine passes on looks just like what its own user asks.
#[test]
fn a_server_that_was_told_nothing_knows_its_owner_by_the_link_and_not_by_the_address() {
    let mut server = Server::start(&[]);
    let tcp = address(&server.ready()["tcp"][0]);
    let [link] = links(&server).try_into().expect("one link");
    let key = link.strip_prefix(&format!("http://{tcp}/#key=")).expect(&link);
    assert_eq!(ask(tcp, "GET /", &[]).header("content-type"), Some("text/html; charset=utf-8"));
    refused(&ask(tcp, "GET /page/ice", &[]));
    refused(&ask(tcp, "GET /page/ice", &[&format!("Host: {tcp}")]));
    refused(&ask(tcp, "GET /page/ice", &["Authorization: Bearer page"]));
    assert_eq!(room(tcp, None)["why"], "key_needed");
    assert_eq!(room(tcp, Some("page"))["why"], "key_needed");
    let header = format!("Authorization: Bearer {key}");
    relays(&server, &ask(tcp, "GET /page/ice", &[&header]));
    assert_eq!(room(tcp, Some(key))["type"], "welcome");
    // A reload finds the door where it was.
    server.signal("HUP");
    server.line("reloaded");
    relays(&server, &ask(tcp, "GET /page/ice", &[&header]));
    refused(&ask(tcp, "GET /page/ice", &[]));
}

#[test]
fn every_link_has_the_key_and_the_log_has_it_not() {
    let flags = ["--listen", "0.0.0.0:0", "--relay-ip", "127.0.0.1", "--external-ip", "192.0.2.7"];
    let server = Server::start(&flags);
    let tcp = address(&server.ready()["tcp"][0]);
    let here = SocketAddr::from(([127, 0, 0, 1], tcp.port()));
    let [local, link] = links(&server).try_into().expect("two links");
    let key = link.strip_prefix(&format!("http://192.0.2.7:{}/#key=", tcp.port())).expect(&link);
    assert!(key.len() >= 43 && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
    assert_eq!(local, format!("http://localhost:{}/#key={key}", tcp.port()));
    let header = format!("Authorization: Bearer {key}");
    let elsewhere = ["Host: 192.0.2.7", &header];
    assert_eq!(ask(here, "GET /page/ice", &elsewhere).status, 200);
    refused(&ask(here, "GET /page/ice", &elsewhere[..1]));
    let log = format!("{:?}", server.lines);
    assert!(!log.contains(key), "{log}");
    // A bookmark outlives the process.
    let again = Server::start_in(server.finish(), &flags);
    assert!(links(&again).iter().all(|link| link.ends_with(key)));
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
