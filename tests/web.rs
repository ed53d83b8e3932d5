//! Credentials over HTTP: who has a key gets them at every door, in the shapes that applications know, and they are good
//! at the relay.

mod common;

use std::io::Write as _;
use std::net::TcpStream;

use common::{Client, Credential, Peer, Reply, Server, Setup, Trust, ask, request, seal};
use serde_json::{Value, json};

const KEY: &str = "Authorization: Bearer 0123456789abcdef-key";

fn setup() -> Setup {
    Setup::with_local_peers().config(
        "[auth]\nsecrets = [\"north\"]\n[web.keys]\n\
         meet = { secret = \"0123456789abcdef-key\", label = \"calls\", max_ttl = \"2h\" }\n",
    )
}

/// The entry with the credential.
#[track_caller]
fn relay_of(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    let json = reply.json();
    let servers = json["iceServers"].as_array().expect("a list");
    assert_eq!(json, json!({ "iceServers": servers }), "and nothing else");
    servers.iter().find(|entry| entry["credential"].is_string()).expect("a relay").clone()
}

/// A packet goes to a peer and its answer comes back, with this credential.
#[track_caller]
fn relays(server: &Server, username: &Value, password: &Value) {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut client = Client::udp(server).with(Credential::user(&text(username), &text(password)));
    let peer = Peer::new();
    client.allocate();
    client.bind(0x4000, peer.address);
    client.channel(0x4000, b"hello");
    let (payload, from) = peer.receive();
    assert_eq!(payload, b"hello");
    peer.send(from, b"back");
    assert_eq!(client.channel_data(), (0x4000, b"back".to_vec()));
}

#[test]
fn who_has_a_key_gets_a_credential_that_relays() {
    let server = setup().start();
    let reply = ask(server.address(), "GET /ice", &[KEY]);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let relay = relay_of(&reply);
    let address = server.address();
    let urls = [format!("turn:{address}?transport=udp"), format!("turn:{address}?transport=tcp")];
    assert_eq!(relay["urls"], json!(urls));
    assert_eq!(reply.json()["iceServers"][0], json!({ "urls": [format!("stun:{address}")] }));
    relays(&server, &relay["username"], &relay["credential"]);
    assert_eq!(server.metric("web_credentials_total{shape=\"ice\"}"), 1);
}

#[test]
fn every_door_leads_there() {
    let trust = Trust::new();
    let server = setup()
        .config("[web]\nlisten = [\"127.0.0.1:0\"]")
        .certificate(&trust)
        .flag("--tls-listen", "127.0.0.1:0")
        .start();
    relay_of(&ask(server.address(), "GET /ice", &[KEY]));
    relay_of(&ask(server.web_listeners()[0], "GET /ice", &[KEY]));
    for listener in [server.address(), server.tls_listeners()[0]] {
        let stream = TcpStream::connect(listener).unwrap();
        let relay = relay_of(&request(seal(stream, trust.client()), "GET /ice", &[KEY], ""));
        let tls = [server.address(), server.tls_listeners()[0]];
        let tls = tls.map(|it| format!("turns:localhost:{}?transport=tcp", it.port()));
        assert_eq!(relay["urls"].as_array().unwrap()[2..], tls.map(Value::from));
    }
    let wrong = ask(server.tls_listeners()[0], "GET /ice", &[KEY]);
    assert_eq!(wrong.status, 400, "a key is not to be sent to a port for TLS without it");
}

#[test]
fn who_says_nothing_keeps_nobody_out() {
    let server = setup().start();
    let silent = || {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"GET /ice HTTP/1.1\r\n").unwrap();
        stream
    };
    let _open: Vec<_> = (0..50).map(|_| silent()).collect();
    relay_of(&ask(server.address(), "GET /ice", &[KEY]));
}

#[test]
fn nobody_gets_one_without_a_key() {
    let server = setup().start();
    for headers in [&[][..], &["Authorization: Bearer "], &["Authorization: Basic eDp5"]] {
        let reply = ask(server.address(), "GET /ice", headers);
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")));
        assert!(reply.detail().contains("web.keys"), "{}", reply.detail());
    }
    for wrong in ["meet", "0123456789abcdef-ke", "0123456789abcdef-keyy"] {
        let header = format!("Authorization: Bearer {wrong}");
        let reply = ask(server.address(), "GET /ice", &[&header]);
        assert_eq!(reply.status, 401);
        assert!(!String::from_utf8_lossy(&reply.body).contains("credential"), "{reply:?}");
    }
    let refused = |cause| server.metric(&format!("web_refusals_total{{cause=\"{cause}\"}}"));
    assert_eq!((refused("no_key"), refused("wrong_key")), (3, 3));
    let nothing = ask(server.address(), "GET /nothing", &[KEY]);
    assert_eq!((nothing.status, nothing.detail().as_str()), (404, "there is nothing at /nothing"));
    assert_eq!(ask(server.address(), "DELETE /ice", &[KEY]).status, 405);
}

#[test]
fn a_server_that_serves_no_web_says_so() {
    let server = Setup::new().start();
    let reply = ask(server.address(), "GET /ice", &[KEY]);
    assert_eq!(reply.status, 404);
    assert!(String::from_utf8_lossy(&reply.body).contains("There is no web here"));
}

#[test]
fn the_page_is_there_for_who_has_asked_for_it() {
    let server = setup().start();
    for path in ["/", "/page/app.js"] {
        assert_eq!(ask(server.address(), format!("GET {path}"), &[]).status, 404, "{path}");
    }
    let server = setup().config("[web]\npage = true").start();
    let page = ask(server.address(), "GET /", &[]);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(ask(server.address(), "GET /page/app.js", &[]).status, 200);
}
