//! Credentials over HTTP: who has a key gets them at every door, in the shapes that applications know, and they are good
//! at the relay.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::io::Write as _;
use std::net::TcpStream;

use common::{
    Client, Credential, Peer, Reply, Server, Setup, Trust, ask, eventually, post, request, seal,
};
use configured::Configured;
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

#[test]
fn the_turn_rest_api_is_answered_as_its_draft_has_it() {
    let server = setup().start();
    let query = "GET /turn?service=turn&username=mbzrxpgjys&key=0123456789abcdef-key&ttl=600";
    let by_get = ask(server.address(), query, &[]);
    let form = "service=turn&username=mbzrxpgjys&key=0123456789abcdef-key&ttl=600";
    let content = "Content-Type: application/x-www-form-urlencoded";
    let by_post = post(server.address(), "POST /turn", &[content], form);
    for reply in [by_get, by_post] {
        assert_eq!(reply.status, 200, "{reply:?}");
        let json = reply.json();
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["password", "ttl", "uris", "username"]);
        assert_eq!(json["ttl"], 600);
        let address = server.address();
        let uris = ["udp", "tcp"].map(|it| format!("turn:{address}?transport={it}"));
        assert_eq!(json["uris"], json!(uris));
        assert!(json["username"].as_str().unwrap().ends_with(":calls/mbzrxpgjys"));
        relays(&server, &json["username"], &json["password"]);
    }
    let other = ask(server.address(), "GET /turn?service=mail", &[KEY]);
    assert_eq!((other.status, server.metric("web_refusals_total{cause=\"malformed\"}")), (400, 1));
    assert_eq!(server.metric("web_credentials_total{shape=\"rest\"}"), 2);
}

#[test]
fn an_application_of_cloudflares_finds_what_it_expects() {
    let server = setup().start();
    let headers = [KEY, "Content-Type: application/json"];
    let path = "POST /v1/turn/keys/meet/credentials/generate";
    let body = r#"{"ttl": 600, "customIdentifier": "user4523958"}"#;
    let list = post(server.address(), format!("{path}-ice-servers"), &headers, body);
    assert_eq!(list.status, 201);
    let servers = list.json()["iceServers"].clone();
    assert!(servers[0]["urls"][0].as_str().unwrap().starts_with("stun:"));
    assert!(servers[1]["username"].as_str().unwrap().ends_with(":calls/user4523958"));
    relays(&server, &servers[1]["username"], &servers[1]["credential"]);
    let one = post(server.address(), path, &headers, "");
    assert_eq!((one.status, one.json()["iceServers"]["urls"].as_array().unwrap().len()), (201, 3));
    relays(&server, &one.json()["iceServers"]["username"], &one.json()["iceServers"]["credential"]);
    let path = "POST /v1/turn/keys/other/credentials/generate";
    assert_eq!(post(server.address(), path, &headers, body).status, 401, "of another key");
    for body in ["{", "[]\"", r#"{"ttl": "x"}"#, r#"{"ttl": -1}"#, r#"{"customIdentifier": 1}"#] {
        let path = "POST /v1/turn/keys/meet/credentials/generate";
        let reply = post(server.address(), path, &headers, body);
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
}

#[test]
fn an_application_of_twilios_finds_what_it_expects() {
    let server = setup().start();
    // printf 'meet:0123456789abcdef-key' | base64
    let headers = [
        "Authorization: Basic bWVldDowMTIzNDU2Nzg5YWJjZGVmLWtleQ==",
        "Content-Type: application/x-www-form-urlencoded",
    ];
    let path = "POST /2010-04-01/Accounts/meet/Tokens.json";
    let reply = post(server.address(), path, &headers, "Ttl=3600");
    assert_eq!(reply.status, 201, "{reply:?}");
    let json = reply.json();
    assert_eq!((&json["account_sid"], &json["ttl"]), (&json!("meet"), &json!("3600")));
    assert!(json["date_created"].as_str().unwrap().ends_with(" +0000"));
    let servers = json["ice_servers"].as_array().unwrap();
    assert!(
        servers.iter().all(|server| server["url"] == server["urls"] && server["url"].is_string())
    );
    assert_eq!(servers[0].as_object().unwrap().len(), 2, "no credential for STUN");
    assert_eq!(
        (&servers[1]["username"], &servers[1]["credential"]),
        (&json["username"], &json["password"])
    );
    relays(&server, &json["username"], &json["password"]);
    let reply = post(server.address(), path, &headers[1..], "");
    assert_eq!(
        (reply.status, reply.header("www-authenticate")),
        (401, Some("Basic realm=\"API keys\""))
    );
}

/// The seconds from now on that a username is good for.
#[track_caller]
fn seconds(username: &Value) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let expiry = username.as_str().unwrap().split(':').next().unwrap().parse::<u64>().unwrap();
    expiry.saturating_sub(now)
}

#[test]
fn a_credential_lasts_as_long_as_was_asked_for_and_the_key_allows() {
    let server = setup().config("[web]\nttl = \"1h\"").start();
    let ask = |query| relay_of(&ask(server.address(), format!("GET /ice{query}"), &[KEY]));
    assert!((3590..=3600).contains(&seconds(&ask("")["username"])));
    assert!((50..=60).contains(&seconds(&ask("?ttl=60")["username"])));
    assert!((7190..=7200).contains(&seconds(&ask("?ttl=86400")["username"])), "cut to max_ttl");
    for query in ["?ttl=0", "?ttl=x", "?username=a%0ab", &format!("?username={}", "x".repeat(129))]
    {
        let reply = common::ask(server.address(), format!("GET /ice{query}"), &[KEY]);
        assert_eq!(reply.status, 400, "{query}");
    }
}

#[test]
fn one_that_has_expired_lets_nobody_in() {
    let server = setup().start();
    let relay = relay_of(&ask(server.address(), "GET /ice?ttl=1", &[KEY]));
    let text = |name: &str| relay[name].as_str().unwrap().to_owned();
    let code = eventually("it has expired", || {
        let credential = Credential::user(&text("username"), &text("credential"));
        let code = Client::udp(&server).with(credential).try_allocate(|_| ()).code();
        (code != 0).then_some(code)
    });
    assert_eq!(code, 401);
    assert!(server.refusals("expired_credential", 401) > 0);
}

#[test]
fn sessions_say_whom_they_were_given_to() {
    let token = "Authorization: Bearer 0123456789abcdef";
    let server = setup().config("[admin]\ntokens = [\"0123456789abcdef\"]").start();
    let relay = relay_of(&ask(server.address(), "GET /ice?username=alice", &[KEY]));
    let text = |name: &str| relay[name].as_str().unwrap().to_owned();
    let credential = Credential::user(&text("username"), &text("credential"));
    let mut client = Client::udp(&server).with(credential);
    client.allocate();
    let sessions = ask(server.admin(), "GET /v1/sessions", &[token]).json();
    let user = sessions["sessions"][0]["user"].as_str().unwrap_or_default();
    assert!(user.ends_with("calls/alice"), "{sessions}");
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let server = setup().config("[web]\naddress_requests_per_minute = 5").start();
    // An application's server asks for all its users: with its key, the key's bound is the one that counts.
    (0..10).for_each(|_| drop(relay_of(&ask(server.address(), "GET /ice", &[KEY]))));
    (0..5).for_each(|_| assert_eq!(ask(server.address(), "GET /ice", &[]).status, 401));
    let reply = ask(server.address(), "GET /ice", &[KEY]);
    assert_eq!(reply.status, 429, "nobody goes on guessing by the answers");
    assert!((1..=13).contains(&reply.header("retry-after").unwrap().parse::<u32>().unwrap()));
    assert!(reply.detail().contains("web.address_requests_per_minute"), "{}", reply.detail());
    let server = setup().config("[web]\nkey_requests_per_minute = 2").start();
    let replies: Vec<_> =
        (0..3).map(|_| ask(server.address(), "GET /ice", &[KEY]).status).collect();
    assert_eq!(replies, [200, 200, 429]);
    assert_eq!(server.metric("web_refusals_total{cause=\"key_rate\"}"), 1);
    // Guessing is slower still.
    let server = setup().config("[web]\naddress_requests_per_minute = 30").start();
    let wrong = "Authorization: Bearer 0123456789abcdef-kez";
    let replies: Vec<_> =
        (0..5).map(|_| ask(server.address(), "GET /ice", &[wrong]).status).collect();
    assert_eq!(replies[..3], [401; 3]);
    assert_eq!(replies[4], 429);
    // A bucket that is almost empty makes it no cheaper.
    let server = setup().config("[web]\naddress_requests_per_minute = 15").start();
    let replies: Vec<_> =
        (0..3).map(|_| ask(server.address(), "GET /ice", &[wrong]).status).collect();
    assert_eq!(replies, [401, 401, 429]);
}

#[test]
fn scripts_of_other_sites_ask_only_where_they_may() {
    let server = setup().config("[web]\norigins = [\"https://meet.example.org\"]").start();
    let from =
        |origin: &str| ask(server.address(), "GET /ice", &[KEY, &format!("Origin: {origin}")]);
    let reply = from("https://meet.example.org");
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://meet.example.org"));
    assert_eq!(reply.header("vary"), Some("Origin"));
    relay_of(&reply);
    relay_of(&from("http://localhost"));
    let reply = from("https://evil.example");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None));
    let preflight = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let headers = [
            &*origin,
            "Access-Control-Request-Method: GET",
            "Access-Control-Request-Headers: authorization",
        ];
        ask(server.address(), "OPTIONS /ice", &headers)
    };
    let reply = preflight("https://meet.example.org");
    assert_eq!(
        (reply.status, reply.header("access-control-allow-headers")),
        (204, Some("authorization, content-type"))
    );
    assert_eq!(preflight("https://evil.example").status, 403);
}

#[test]
fn a_proxy_in_front_says_whose_request_it_is_where_it_is_trusted() {
    let limited = "[web]\nlisten = [\"127.0.0.1:0\"]\naddress_requests_per_minute = 1";
    let asks = |server: &Server, of: &str| {
        let client = format!("X-Forwarded-For: 127.0.0.1, {of}");
        ask(server.web_listeners()[0], "GET /ice", &[&client]).status
    };
    let trusting = setup().config(limited).config("[listen]\nproxies = [\"127.0.0.1\"]").start();
    let replies = ["192.0.2.1", "192.0.2.2", "192.0.2.1"].map(|of| asks(&trusting, of));
    assert_eq!(replies, [401, 401, 429]);
    let other = setup().config(limited).start();
    let replies = ["192.0.2.1", "192.0.2.2"].map(|of| asks(&other, of));
    assert_eq!(replies, [401, 429], "anybody may claim an address");
}

#[test]
fn keys_come_and_go_with_a_reload() {
    let common = "[auth]\nsecrets = [\"north\"]\n[peers]\nallow = [\"127.0.0.0/8\"]\n";
    let key = |name: &str| {
        format!("{common}[web.keys]\n{name} = {{ secret = \"0123456789abcdef-{name}\" }}\n")
    };
    let mut server = Configured::start(&key("one"));
    let address = server.server.udp();
    let asks = |name: &str| {
        let header = format!("Authorization: Bearer 0123456789abcdef-{name}");
        ask(address, "GET /ice", &[&header])
    };
    let before = relay_of(&asks("one"));
    server.accepts(&key("two"));
    assert_eq!((asks("one").status, asks("two").status), (401, 200));
    server.accepts(common);
    let nothing = asks("two");
    assert!(String::from_utf8_lossy(&nothing.body).contains("There is no web here"), "{nothing:?}");
    // What was given before is good until it ends.
    let text = |name: &str| before[name].as_str().unwrap().to_owned();
    server.client(&text("username"), &text("credential")).allocate();
    let realm = "[[realm]]\nname = \"shop\"\nsecrets = [\"south\"]\norigins = [\"https://shop.example\"]\n\
                 [web.keys]\nshop = { secret = \"0123456789abcdef-shop\", realm = \"shop\" }";
    server.accepts(&format!("{common}{realm}"));
    let relay = relay_of(&asks("shop"));
    let mut client =
        server.client(relay["username"].as_str().unwrap(), relay["credential"].as_str().unwrap());
    client.in_realm("shop");
    client.allocate();
    let fixed = server.refuses(&format!("{common}{realm}\n[web]\nlisten = [\"127.0.0.1:0\"]"));
    assert!(fixed.contains("web.listen can be changed by a restart only"), "{fixed}");
}
