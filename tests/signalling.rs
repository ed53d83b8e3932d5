//! Two browsers find each other in a room, over a WebSocket that bears what strangers may send.

use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::MockConnectInfo;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};
use turnwire::auth::{RestDigest, Secret};
use turnwire::time::{Mono, Now};
use turnwire::web::{
    Carried, Client, Door, Key, Keys, Mint, Settings, Signalling, Web, calls, router,
};

const KEY: &str = "the-key";
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that has relayed something for everybody.
struct Relayed;

impl Carried for Relayed {
    fn sessions(&self, owner: String) -> Pin<Box<dyn Future<Output = Vec<Value>> + Send + '_>> {
        let session = json!({ "id": owner, "to_peer_bytes": 7, "client": "192.0.2.1:5" });
        Box::pin(async move { vec![session] })
    }
}

/// One that says when it is asked, and never answers.
struct Silent(std::sync::mpsc::Sender<()>);

impl Carried for Silent {
    fn sessions(&self, _: String) -> Pin<Box<dyn Future<Output = Vec<Value>> + Send + '_>> {
        let _ = self.0.send(());
        Box::pin(std::future::pending())
    }
}

/// Settings with one key, which names its holders `app`.
fn settings(key: Option<&str>) -> Settings {
    let hour = Duration::from_secs(3600);
    let keys = key.map(|key| Key::new("one", &Secret::new(key), "app", 0, hour));
    let mint = Mint {
        realm: "example.org".into(),
        secret: Secret::new("north"),
        digest: RestDigest::Sha1,
        separator: ':',
        uris: vec!["turn:192.0.2.1".into()],
    };
    Settings {
        page: true,
        keys: Keys::new(keys.into_iter().collect()),
        mints: vec![mint],
        ..Settings::default()
    }
}

/// A server of its own, which ends with the test. Whoever comes, comes from elsewhere.
fn start() -> (SocketAddr, Arc<Web>) {
    serve(Arc::new(Relayed))
}

fn serve(carried: Arc<dyn Carried>) -> (SocketAddr, Arc<Web>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let now = Now { mono: Mono::from_secs(1), unix: 1_700_000_000 };
    let web = Web::new(move || now);
    web.replace(settings(Some(KEY)));
    let calls = calls(Signalling::new(Arc::clone(&web), carried));
    let client = Client { address: "192.0.2.9:4000".parse().unwrap(), door: Door::Shared };
    let router = router(Arc::clone(&web), calls).layer(MockConnectInfo(client));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        })
    });
    (address, web)
}

struct Tab(WebSocket<TcpStream>);

impl Tab {
    fn at(server: SocketAddr) -> Self {
        Self::of_page(server, None).expect("a WebSocket")
    }

    /// A tab with a page of this origin; else the status with which it is refused.
    fn of_page(server: SocketAddr, origin: Option<&str>) -> Result<Self, u16> {
        let mut request = format!("ws://{server}/page/call").into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).expect("it can be sent");
    }

    /// The next message of this type; others are passed over.
    #[track_caller]
    fn hear(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().expect("a message") {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                if message["type"] == kind {
                    return message;
                }
                let last =
                    ["welcome", "refused", "end"].iter().any(|last| message["type"] == *last);
                assert!(!last, "{message} and no {kind}");
            }
        }
    }

    /// Nothing but a closed connection comes any more.
    #[track_caller]
    fn is_over(&mut self) {
        let over = loop {
            match self.0.read() {
                Ok(Message::Close(_)) => {}
                Ok(other) => panic!("{other}"),
                Err(over) => break over,
            }
        };
        assert!(
            !matches!(&over, tungstenite::Error::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "it is open still"
        );
    }

    #[track_caller]
    fn refused_with(mut self, why: &str) {
        assert_eq!(self.hear("refused")["why"], why);
        self.is_over();
    }
}

/// Somebody with a room of their own.
fn host(server: SocketAddr) -> (Tab, Value) {
    let mut tab = Tab::at(server);
    tab.say(json!({ "type": "create", "key": KEY }));
    let welcome = tab.hear("welcome");
    assert_eq!(tab.hear("peer")["here"], false);
    (tab, welcome)
}

fn guest(server: SocketAddr, room: &Value) -> (Tab, Value) {
    let mut tab = Tab::at(server);
    tab.say(json!({ "type": "join", "room": room }));
    let welcome = tab.hear("welcome");
    assert_eq!(tab.hear("peer")["here"], true);
    (tab, welcome)
}

#[test]
fn a_link_lets_another_in_and_what_a_call_needs_goes_across() {
    let (server, _) = start();
    let (mut host, welcome) = host(server);
    let (mut guest, second) = guest(server, &welcome["room"]);
    assert_eq!(host.hear("peer")["here"], true);
    assert_eq!((&welcome["seat"], &second["seat"]), (&json!(1), &json!(2)));
    for welcome in [&welcome, &second] {
        let label = &welcome["label"];
        assert!(!label.as_str().unwrap().contains(welcome["room"].as_str().unwrap()));
        let until = 1_700_000_000 + welcome["seconds"].as_u64().unwrap();
        let username = format!("{until}:{}", label.as_str().unwrap());
        assert_eq!(welcome["iceServers"][0]["username"], username);
        assert_eq!(welcome["seconds"], 3600, "no longer than the key may");
    }
    let offer = json!({ "type": "offer", "sdp": "v=0\r\n" });
    host.say(offer.clone());
    assert_eq!(guest.hear("offer"), offer);
    let answer = json!({ "type": "answer", "sdp": "v=0\r\n" });
    guest.say(answer.clone());
    assert_eq!(host.hear("answer"), answer);
    let candidate = json!({ "type": "new-ice-candidate", "candidate": { "candidate": "x" } });
    guest.say(candidate.clone());
    assert_eq!(host.hear("new-ice-candidate"), candidate);
    host.say(json!({ "type": "new-ice-candidate", "candidate": null, "more": "is left out" }));
    let last = json!({ "type": "new-ice-candidate", "candidate": null });
    assert_eq!(guest.hear("new-ice-candidate"), last);
    let carried = guest.hear("carried");
    for (index, welcome) in [&welcome, &second].into_iter().enumerate() {
        let session = &carried["sessions"][index];
        assert_eq!((&session["seat"], &session["id"]), (&welcome["seat"], &welcome["label"]));
        assert_eq!(session["to_peer_bytes"], 7);
        assert_eq!(session["client"], json!(null), "where the other is stays unknown");
    }
    drop(guest);
    assert_eq!(host.hear("peer")["here"], false);
}

#[test]
fn a_room_needs_a_key_and_a_seat_needs_the_link() {
    let (server, _) = start();
    for key in [json!(null), json!(""), json!("the-ke"), json!({ "a": 1 })] {
        let mut tab = Tab::at(server);
        tab.say(json!({ "type": "create", "key": key }));
        tab.refused_with("key_needed");
    }
    for room in [json!(null), json!(""), json!("AAAAAAAAAAAAAAAAAAAAAA"), json!(7)] {
        let mut tab = Tab::at(server);
        tab.say(json!({ "type": "join", "room": room }));
        tab.refused_with("no_room");
    }
    let (_host, welcome) = host(server);
    let _guest = guest(server, &welcome["room"]);
    let mut third = Tab::at(server);
    third.say(json!({ "type": "join", "room": welcome["room"] }));
    third.refused_with("room_full");
}

#[test]
fn a_room_is_worth_no_more_than_the_key_that_it_was_opened_with() {
    let (server, web) = start();
    let (_host, welcome) = host(server);
    web.replace(settings(None));
    let mut late = Tab::at(server);
    late.say(json!({ "type": "join", "room": welcome["room"] }));
    late.refused_with("no_room");
    web.replace(settings(Some("another")));
    let mut late = Tab::at(server);
    late.say(json!({ "type": "create", "key": KEY }));
    late.refused_with("key_needed");
    web.replace(Settings::default());
    assert_eq!(Tab::of_page(server, None).err(), Some(404), "no calls without the page");
}

/// A secret that got about was replaced under the name that it had: the room that it opened is worth nothing more.
#[test]
fn a_key_with_another_secret_is_another_key() {
    let (server, web) = start();
    let (mut host, welcome) = host(server);
    web.replace(settings(Some("another")));
    let mut late = Tab::at(server);
    late.say(json!({ "type": "join", "room": welcome["room"] }));
    late.refused_with("no_room");
    assert_eq!(end(&mut host), "withdrawn");
}

#[test]
fn a_reload_without_the_page_or_the_key_ends_the_rooms_that_stand() {
    for after in [settings(None), Settings { page: false, ..settings(Some(KEY)) }] {
        let (server, web) = start();
        let (mut host, welcome) = host(server);
        let (mut guest, _) = guest(server, &welcome["room"]);
        web.replace(settings(Some(KEY)));
        host.say(json!({ "type": "offer", "sdp": "v=0" }));
        assert_eq!(guest.hear("offer")["sdp"], "v=0", "a reload that leaves both changes nothing");
        web.replace(after);
        assert_eq!([end(&mut host), end(&mut guest)], ["withdrawn"; 2]);
        host.is_over();
    }
}

#[test]
fn a_server_that_does_not_say_what_it_relays_holds_up_no_call() {
    let (asked, question) = std::sync::mpsc::channel();
    let (server, _) = serve(Arc::new(Silent(asked)));
    let (mut host, welcome) = host(server);
    let (mut guest, _) = guest(server, &welcome["room"]);
    question.recv_timeout(PATIENCE).unwrap();
    host.say(json!({ "type": "offer", "sdp": "v=0" }));
    assert_eq!(guest.hear("offer")["sdp"], "v=0");
    guest.say(json!({ "type": "answer", "sdp": "v=0" }));
    assert_eq!(host.hear("answer")["sdp"], "v=0");
}

/// RFC 6455 §10.2: any page may ask for a WebSocket, and the browser says which one asks.
#[test]
fn a_page_of_another_origin_gets_no_websocket() {
    let (server, _) = start();
    let port = server.port();
    for other in ["https://evil.example", "null", "http://127.0.0.1", "http://localhost:1"] {
        assert_eq!(Tab::of_page(server, Some(other)).err(), Some(403), "{other}");
    }
    for own in [format!("http://127.0.0.1:{port}"), format!("https://127.0.0.1:{port}")] {
        assert!(Tab::of_page(server, Some(&own)).is_ok(), "{own}");
    }
}

#[test]
fn what_is_no_message_of_a_call_ends_the_connection_and_reaches_nobody() {
    let (server, _) = start();
    let wrong = [
        Message::text("not JSON"),
        Message::text("[]"),
        Message::text(json!({ "type": "offer" }).to_string()),
        Message::text(json!({ "type": "offer", "sdp": 1 }).to_string()),
        Message::text(json!({ "type": "new-ice-candidate", "candidate": "x" }).to_string()),
        Message::text(json!({ "type": "welcome", "room": "x" }).to_string()),
        Message::binary(vec![1, 2, 3]),
    ];
    for message in wrong {
        let mut early = Tab::at(server);
        early.0.send(message.clone()).unwrap();
        let last = early.0.read().unwrap();
        assert!(last.to_string().contains("not_understood"), "{message}: {last}");
        let (mut host, welcome) = host(server);
        let (mut guest, _) = guest(server, &welcome["room"]);
        host.0.send(message.clone()).unwrap();
        assert_eq!(end(&mut host), "not_understood", "{message}");
        host.is_over();
        assert_eq!(guest.hear("peer")["here"], false);
        guest.say(json!({ "type": "offer", "sdp": "" }));
    }
}

/// Why it ends.
#[track_caller]
fn end(tab: &mut Tab) -> String {
    loop {
        let message: Value = match tab.0.read().expect("a last message") {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other}"),
        };
        if message["type"] == "end" {
            return message["why"].as_str().unwrap().to_owned();
        }
    }
}

#[test]
fn a_flood_and_a_giant_end_their_own_connection_only() {
    let (server, _) = start();
    let (mut host, welcome) = host(server);
    let (mut guest, _) = guest(server, &welcome["room"]);
    let flood = json!({ "type": "new-ice-candidate", "candidate": {} }).to_string();
    for _ in 0..1000 {
        // It may be closed before all is sent.
        if guest.0.send(Message::text(flood.as_str())).is_err() {
            break;
        }
    }
    assert_eq!(host.hear("peer")["here"], true);
    assert_eq!(host.hear("peer")["here"], false);
    let (mut giant, _) = self::guest(server, &welcome["room"]);
    let sdp = "x".repeat(70_000);
    let _ = giant.0.send(Message::text(json!({ "type": "offer", "sdp": sdp }).to_string()));
    assert_eq!(host.hear("peer")["here"], true);
    assert_eq!(host.hear("peer")["here"], false);
    host.say(json!({ "type": "offer", "sdp": "" }));
    let (mut next, _) = self::guest(server, &welcome["room"]);
    assert_eq!(host.hear("peer")["here"], true);
    host.say(json!({ "type": "offer", "sdp": "v=0" }));
    assert_eq!(next.hear("offer")["sdp"], "v=0");
}
