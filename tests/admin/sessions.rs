//! Live sessions: listed, seen in depth, ended, and kept out.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};
use turnwire::stun::{Method, Writer, attribute};

use super::cli::ok;
use super::common::{Client, Credential, Peer};
use super::http::call;
use super::server::Server;
use super::{ALICE, alice, socket};

fn listed(socket: &Path, query: &str) -> Vec<String> {
    let (code, answer) = call(socket, "GET", &format!("/v1/sessions{query}"), "");
    assert_eq!(code, 200, "{answer}");
    let sessions = answer["sessions"].as_array().unwrap();
    let mut clients: Vec<_> =
        sessions.iter().map(|it| it["client"].as_str().unwrap().to_owned()).collect();
    clients.sort();
    clients
}

#[test]
fn sessions_are_listed_filtered_and_paged() {
    let server = Server::start(&[&ALICE[..], &["--user", "bob:builder"]].concat());
    let socket = socket(&server);
    assert!(listed(&socket, "").is_empty());
    let mut clients: Vec<_> = (0..6).map(|_| alice(&server)).collect();
    clients.push(Client::tcp_to(server.udp()).with(Credential::user("bob", "builder")));
    let relayed: Vec<_> = clients.iter_mut().map(|client| client.allocate()).collect();
    let mut all: Vec<_> = clients.iter().map(|client| client.local().to_string()).collect();
    let bob = all[6].clone();
    all.sort();
    assert_eq!(listed(&socket, ""), all);
    assert_eq!(listed(&socket, "?user=bob"), [bob.as_str()]);
    assert_eq!(
        listed(&socket, "?transport=tcp&realm=turnwire"),
        listed(&socket, "?user=bob&realm=turnwire")
    );
    assert_eq!(listed(&socket, "?address=127.0.0.0%2F8"), all);
    assert_eq!(listed(&socket, &format!("?address={}", relayed[6])), [bob.as_str()]);
    assert!(listed(&socket, "?address=192.0.2.1").is_empty());
    // Pages of any size show all of them once.
    for limit in [1, 2, 3, 7, 8] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/sessions?limit={limit}{after}");
            let (_, page) = call(&socket, "GET", &path, "");
            let sessions = page["sessions"].as_array().unwrap();
            assert!(sessions.len() <= limit);
            seen.extend(sessions.iter().map(|it| it["client"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        seen.sort();
        assert_eq!(seen, all, "in pages of {limit}");
    }
    let cases = [
        ("limit=0", "limit is \"0\", and must be a number from 1 to 1000"),
        ("limit=1001", "limit is"),
        ("address=nowhere", "address is \"nowhere\", and must be like 192.0.2.1"),
        ("transport=sctp", "udp, tcp, tls or dtls"),
        ("after=5", "after is"),
        ("name=x", "unknown \"name\" in the query: there are user, realm"),
    ];
    for (query, words) in cases {
        let (code, answer) = call(&socket, "GET", &format!("/v1/sessions?{query}"), "");
        let detail = answer["detail"].as_str().unwrap();
        assert!(code == 400 && detail.contains(words), "{query}: {code} {detail}");
    }
}

#[test]
fn one_session_is_seen_in_depth() {
    let server = Server::start(&ALICE);
    let (socket, mut client) = (socket(&server), alice(&server));
    let peer = Peer::at(Ipv4Addr::LOCALHOST.into());
    let relayed = client.allocate();
    client.permit("127.0.0.9:9".parse().unwrap());
    client.bind(0x4001, peer.address);
    client.channel(0x4001, b"hello");
    assert_eq!(peer.receive(), (b"hello".to_vec(), relayed));
    let (_, list) = call(&socket, "GET", "/v1/sessions", "");
    let row = &list["sessions"][0];
    let (code, one) =
        call(&socket, "GET", &format!("/v1/sessions/{}", row["id"].as_str().unwrap()), "");
    assert_eq!(code, 200);
    assert_eq!(one["session"]["id"], row["id"]);
    let expected = [
        ("user", "alice"),
        ("owner", "alice"),
        ("transport", "udp"),
        ("relay_transport", "udp"),
        ("client", &client.local().to_string()),
        ("server", &server.udp().to_string()),
    ];
    for (field, value) in expected {
        assert_eq!(row[field], value, "{field}");
    }
    assert_eq!(row["relayed"][0], relayed.to_string());
    let counts = [
        "to_peer_packets",
        "to_peer_bytes",
        "to_client_packets",
        "permissions",
        "channels",
        "connections",
    ];
    assert_eq!(counts.map(|it| row[it].as_u64().unwrap()), [1, 5, 0, 2, 1, 0]);
    assert!((590..=600).contains(&row["remaining_seconds"].as_u64().unwrap()));
    let permitted: Vec<_> =
        one["permissions"].as_array().unwrap().iter().map(|it| &it["peer"]).collect();
    assert_eq!(permitted, ["127.0.0.1", "127.0.0.9"]);
    assert_eq!(
        (&one["channels"][0]["number"], &one["channels"][0]["peer"]),
        (&0x4001.into(), &peer.address.to_string().into())
    );
    let flags = ["revoked", "mobile", "away"].map(|it| one[it].as_bool().unwrap());
    assert_eq!((flags, &one["rates"]), ([false; 3], &Value::Null));
    let (code, answer) = call(&socket, "GET", "/v1/sessions/0-4711", "");
    assert_eq!(
        (code, answer["detail"].as_str().unwrap()),
        (404, "there is no session 0-4711: it has ended, or never was")
    );
    assert_eq!(call(&socket, "GET", "/v1/sessions/alice", "").0, 400);
}

#[test]
fn who_is_killed_is_relayed_no_more_and_told_so() {
    let mut server = Server::start(&[&ALICE[..], &["--user", "bob:builder"]].concat());
    let socket = socket(&server);
    let (mut first, mut second) = (alice(&server), alice(&server));
    let mut bob = Client::udp_to(server.udp()).with(Credential::user("bob", "builder"));
    let relayed = [&mut first, &mut second, &mut bob].map(|client| client.allocate());
    let (_, list) = call(&socket, "GET", &format!("/v1/sessions?address={}", relayed[0]), "");
    let id = list["sessions"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/sessions/{id}");
    assert_eq!(call(&socket, "DELETE", &path, "").1, json!({ "ended": 1 }));
    assert_eq!(call(&socket, "DELETE", &path, "").0, 404);
    assert_eq!(first.refresh(600).code(), 437);
    assert_eq!((second.refresh(600).code(), bob.refresh(600).code()), (0, 0));
    let line = server.line("session_ended");
    assert_eq!((line["session"].as_str(), line["reason"].as_str()), (Some(&*id), Some("killed")));
    // Everybody would be too many to be meant.
    assert_eq!(call(&socket, "DELETE", "/v1/sessions", "").0, 400);
    assert_eq!(call(&socket, "DELETE", "/v1/sessions?user=alice", "").1, json!({ "ended": 1 }));
    assert_eq!((second.refresh(600).code(), bob.refresh(600).code()), (437, 0));
    assert_eq!(
        call(&socket, "DELETE", "/v1/sessions?address=127.0.0.1", "").1,
        json!({ "ended": 1 })
    );
    // The credential is as good as before.
    first.allocate();
}

#[test]
fn who_is_revoked_is_out_and_stays_out_over_a_reload() {
    let mut server = Server::start(&[&ALICE[..], &["--user", "bob:builder"]].concat());
    let socket = socket(&server);
    let (mut one, mut bob) =
        (alice(&server), Client::udp_to(server.udp()).with(Credential::user("bob", "builder")));
    one.allocate();
    bob.allocate();
    let revoke = |body: &str| call(&socket, "POST", "/v1/credentials/revoke", body);
    let (code, answer) = revoke(r#"{"user":"alice","for_seconds":600}"#);
    assert_eq!((code, &answer["ended"]), (200, &json!(1)));
    assert_eq!(server.line("session_ended")["reason"], "credential_revoked");
    let plain = |writer: &mut Writer<'_>| writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
    assert_eq!(one.request(Method::ALLOCATE, plain).code(), 401);
    assert_eq!(call(&socket, "POST", "/v1/reload", "").0, 200);
    assert_eq!(one.request(Method::ALLOCATE, plain).code(), 401);
    assert_eq!(bob.refresh(600).code(), 0);
    let (_, list) = call(&socket, "GET", "/v1/credentials/revoked", "");
    assert_eq!(
        list["revoked"],
        json!([{ "user": "alice", "realm": null, "until": answer["until"] }])
    );
    assert!(ok(&socket, &["revoke", "--list"]).contains("alice"));
    assert_eq!(ok(&socket, &["revoke", "alice", "--undo"]), "\"alice\" is let in again\n");
    one.allocate();
    assert!(ok(&socket, &["revoke", "alice", "--for", "2h"]).ends_with("; 1 session ended\n"));
    assert_eq!(call(&socket, "DELETE", "/v1/credentials/revoked?user=carol", "").0, 404);
    for body in [
        "",
        r#"{"user":""}"#,
        r#"{"user":5}"#,
        r#"{"user":"a","for_seconds":0}"#,
        r#"{"user":"a","for":1}"#,
    ] {
        assert_eq!(revoke(body).0, 400, "{body}");
    }
}

#[test]
fn a_session_tells_what_was_refused_to_it_last() {
    let server = Server::start(&ALICE);
    let (socket, mut client) = (socket(&server), alice(&server));
    client.allocate();
    let first =
        |field: &str| call(&socket, "GET", "/v1/sessions", "").1["sessions"][0][field].take();
    assert_eq!((first("refusals"), first("last_refusal")), (json!(0), Value::Null));
    let denied = client.request(Method::CREATE_PERMISSION, |writer| {
        writer.xor_address(attribute::XOR_PEER_ADDRESS, "10.0.0.1:9".parse().unwrap());
    });
    assert_eq!(denied.code(), 403);
    assert_eq!(first("refusals"), json!(1));
    let last = first("last_refusal");
    assert_eq!((&last["cause"], &last["code"]), (&json!("peer_denied"), &json!(403)));
    let id = first("id");
    assert!(ok(&socket, &["sessions", "show", id.as_str().unwrap()]).contains(" ago: 403 "));
}
