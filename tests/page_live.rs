//! What the page shows of a server that runs: a call whose seats are given credentials and the server's own count of what
//! they relay, and, for an operator with a token, sessions, rates and refusals.

mod common;

use std::net::TcpStream;

use common::{Client, Credential, Peer, Reply, Server, Setup, ask, eventually};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

const KEY: &str = "0123456789abcdef-key";
const TOKEN: &str = "Authorization: Bearer operators-token-0123";

fn setup() -> Setup {
    Setup::with_local_peers().config(&format!(
        "[auth]\nsecrets = [\"north\"]\n[web]\npage = true\nkeys.meet = {{ secret = \"{KEY}\" }}\n\
         [admin]\ntokens = [\"operators-token-0123\"]\n"
    ))
}

/// A seat of a call, on the listener of TURN, with what the server has said at first.
fn seat(server: &Server, first: &Value) -> (WebSocket<TcpStream>, Value) {
    let stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(common::PATIENCE)).expect("a time");
    let url = format!("ws://{}/page/call", server.address());
    let (mut socket, _) = tungstenite::client(url, stream).expect("a WebSocket");
    socket.send(Message::text(first.to_string())).expect("it is sent");
    let said = next(&mut socket);
    (socket, said)
}

fn next(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        if let Message::Text(text) = socket.read().expect("a message") {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

/// A client with what a seat is given.
fn client(server: &Server, welcome: &Value) -> Client {
    let servers = welcome["iceServers"].as_array().expect("a list");
    let relay = servers.iter().find(|entry| entry["credential"].is_string()).expect("a relay");
    let text = |name: &str| relay[name].as_str().expect("text").to_owned();
    Client::udp(server).with(Credential::user(&text("username"), &text("credential")))
}

#[test]
fn each_seat_of_a_call_relays_and_sees_what_the_server_has_counted() {
    let server = setup().start();
    let (_, refused) = seat(&server, &json!({ "type": "create" }));
    assert_eq!(refused["why"], "key_needed");
    let (mut host, welcome) = seat(&server, &json!({ "type": "create", "key": KEY }));
    let label = welcome["label"].as_str().expect("a label");
    assert!(label.starts_with("meet/call-") && label.ends_with("-1"), "{label}");
    let (_guest, second) = seat(&server, &json!({ "type": "join", "room": welcome["room"] }));
    let (mut first, peer) = (client(&server, &welcome), Peer::new());
    client(&server, &second).allocate();
    first.allocate();
    first.bind(0x4000, peer.address);
    first.channel(0x4000, b"hello");
    let (_, from) = peer.receive();
    peer.send(from, b"and back");
    assert_eq!(first.channel_data().1, b"and back");
    let both = eventually("both seats are counted", || {
        let carried = next(&mut host);
        let sessions = carried["sessions"].as_array()?;
        let moved = |it: &Value| it["seat"] == 1 && it["to_client_bytes"] == 8;
        (sessions.len() == 2 && sessions.iter().any(moved)).then(|| sessions.clone())
    });
    assert_eq!((&both[0]["to_peer_bytes"], &both[0]["transport"]), (&json!(5), &json!("udp")));
    assert_eq!((&both[1]["seat"], &both[1]["to_peer_bytes"]), (&json!(2), &json!(0)));
    // The other seat learns where it is relayed, and not where it is.
    assert!(both.iter().all(|it| it["client"].is_null() && it["relayed"].is_array()), "{both:?}");
    assert_eq!(server.metric("web_credentials_total{shape=\"call\"}"), 2);
}

#[track_caller]
fn detail(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{reply:?}");
    reply.json()["detail"].as_str().expect("words").to_owned()
}

#[test]
fn an_operator_sees_sessions_and_refusals_with_a_token_and_changes_nothing() {
    let server = setup().start();
    let mut alice = Client::udp(&server);
    alice.allocate();
    let mut wrong = Client::udp(&server).with(Credential::user("alice", "not hers"));
    assert_eq!(wrong.try_allocate(|_| ()).code(), 401);
    let see = |what: &str| ask(server.address(), format!("GET /page/admin/{what}"), &[TOKEN]);
    assert_eq!(see("status").json()["sessions"], 1);
    let sessions = see("sessions?user=alice").json();
    let id = sessions["sessions"][0]["id"].as_str().expect("a session").to_owned();
    assert_eq!(see(&format!("sessions/{id}")).json()["session"]["user"], "alice");
    let counters = see("counters").json();
    let name = "turnwire_refusals_total{cause=\"wrong_password\",code=\"401\"}";
    assert_eq!(counters["counters"][name], 1);
    let causes = see("causes").json();
    let found = causes["causes"].as_array().expect("a list");
    let found = found.iter().find(|it| it["cause"] == "wrong_password").expect("the cause");
    assert!(!found["phrase"].as_str().unwrap().is_empty() && found["code"] == 401);
    for path in ["status", "sessions", "counters", "causes", "sessions/0-1"] {
        let path = format!("GET /page/admin/{path}");
        detail(&ask(server.address(), &path, &[]), 401);
        detail(&ask(server.address(), &path, &[&format!("Authorization: Bearer {KEY}")]), 401);
    }
    for steering in ["POST /page/admin/drain", "POST /page/admin/reload", "GET /page/admin/config"]
    {
        detail(&ask(server.address(), steering, &[TOKEN]), 404);
    }
    let end = format!("DELETE /page/admin/sessions/{id}");
    detail(&ask(server.address(), &end, &[TOKEN]), 405);
    assert_eq!(see("status").json()["sessions"], 1);
}

#[test]
fn tokens_are_guessed_slowly_and_not_at_all_where_there_are_none() {
    let server = setup().start();
    let guess = || ask(server.address(), "GET /page/admin/status", &["Authorization: Bearer x"]);
    let begun = std::time::Instant::now();
    let tried = (0..200).find(|_| guess().status == 429).expect("an end");
    // Whoever is poor pays what there is: each request that has come back is one more try.
    let most = 62 + begun.elapsed().as_millis() / 100;
    assert!((50..=most).contains(&tried), "600 a minute, and a wrong one counts for ten: {tried}");
    let page = "[web]\npage = true\nkeys.meet = { secret = \"0123456789abcdef-key\" }\n";
    let server = Setup::new().config(page).start();
    let words = detail(&ask(server.address(), "GET /page/admin/status", &[TOKEN]), 403);
    assert!(words.contains("admin.tokens"), "{words}");
    let server = Setup::new().config("[admin]\ntokens = [\"operators-token-0123\"]\n[auth]\nsecrets = [\"north\"]\n[web.keys]\nmeet = { secret = \"0123456789abcdef-key\" }\n").start();
    detail(&ask(server.address(), "GET /page/admin/status", &[TOKEN]), 404);
}
