//! What the doors of the web are worth against those who would keep others out, and whom they trust.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use common::{PATIENCE, Server, Setup, ask, eventually, request};
use configured::Configured;
use process::address;
use socket2::{Domain, Socket, Type};

/// Connections of one address that are served at a time.
const SHARE: usize = 64;
const PAGE: &str =
    "[auth]\nsecrets = [\"north\"]\n[web]\npage = true\nlisten = [\"127.0.0.1:0\"]\n";
const ASKED: &[u8] = b"GET /page/app.js HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection from another address of this machine.
fn connect(server: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// Whether a request on it is answered; the connection stays open then.
fn is_answered(stream: &mut TcpStream) -> bool {
    let mut some = [0; 12];
    stream.write_all(ASKED).is_ok()
        && stream.read_exact(&mut some).is_ok_and(|()| &some == b"HTTP/1.1 200")
}

fn answered(server: SocketAddr, from: [u8; 4]) -> Option<TcpStream> {
    let mut stream = connect(server, from);
    is_answered(&mut stream).then_some(stream)
}

#[test]
fn one_address_keeps_no_other_out() {
    let server = Setup::new().config(PAGE).start();
    // Each door has addresses of its own: both count into one share, and who leaves is noticed a moment later.
    for (door, many, other) in [(server.address(), 2, 3), (server.web_listeners()[0], 4, 5)] {
        let (many, other) = ([127, 0, 0, many], [127, 0, 0, other]);
        let refused = || server.metric("web_refusals_total{cause=\"address_connections\"}");
        let before = refused();
        let mut held: Vec<_> = (0..SHARE).map(|_| answered(door, many)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(answered(door, many).is_none(), "more than its share");
        assert_eq!(refused(), before + 1);
        assert!(answered(door, other).is_some(), "another address has its own");
        held.pop();
        eventually("who has left makes room", || answered(door, many));
    }
}

#[test]
fn a_trusted_proxy_brings_as_many_as_it_likes() {
    let trusting = "[listen]\nproxies = [\"127.0.0.2\"]\n";
    let server = Setup::new().config(PAGE).config(trusting).start();
    let door = server.web_listeners()[0];
    let held: Vec<_> = (0..SHARE + 8).map(|_| answered(door, [127, 0, 0, 2])).collect();
    assert!(held.iter().all(Option::is_some));
}

#[test]
fn a_head_that_no_browser_sends_is_not_kept() {
    let server = Setup::new().config(PAGE).start();
    let with = |length: usize| {
        let header = format!("Cookie: {}", "x".repeat(length));
        ask(server.address(), "GET /page/app.js", &[&header]).status
    };
    assert_eq!(with(16 << 10), 200, "what another application of the same name has set");
    let mut stream = connect(server.address(), [127, 0, 0, 1]);
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {}", "x".repeat(100 << 10));
    // Its end never comes.
    let sent = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).map_err(|error| error.kind()) {
        Ok(_) | Err(ErrorKind::ConnectionReset) => {}
        Err(other) => panic!("it is waited for: {other} {sent:?}"),
    }
}

#[test]
fn a_reload_says_anew_whose_word_is_taken() {
    let text = |proxies: &str| {
        format!(
            "[auth]\nsecrets = [\"north\"]\n[listen]\nproxies = [{proxies}]\n[web]\n\
             listen = [\"127.0.0.1:0\"]\naddress_requests_per_minute = 1\n\
             [web.keys]\nmeet = {{ secret = \"0123456789abcdef-key\" }}\n"
        )
    };
    let mut server = Configured::start(&text(""));
    let door = address(&server.server.ready()["web"][0]);
    let asks = |from: [u8; 4], of: &str| {
        let client = format!("X-Forwarded-For: {of}");
        request(connect(door, from), "GET /ice", &[&client], "").status
    };
    let (first, second) = ([127, 0, 0, 4], [127, 0, 0, 5]);
    let replies = ["192.0.2.1", "192.0.2.2"].map(|of| asks(first, of));
    assert_eq!(replies, [401, 429], "anybody may claim an address");
    server.accepts(&text("\"127.0.0.4/31\""));
    let replies = ["192.0.2.1", "192.0.2.2"].map(|of| asks(first, of));
    assert_eq!(replies, [401, 401], "this proxy is trusted now");
    server.accepts(&text(""));
    let replies = ["192.0.2.8", "192.0.2.9"].map(|of| asks(second, of));
    assert_eq!(replies, [401, 429], "and no longer");
}

/// What an operator is shown is for nobody's cache, at the admin endpoint and beside the page.
#[test]
fn what_an_operator_sees_is_kept_by_nobody() {
    let server: Server =
        Setup::new().config(PAGE).config("[admin]\ntokens = [\"operators-token-0123\"]").start();
    let token = "Authorization: Bearer operators-token-0123";
    let replies = [
        (200, ask(server.address(), "GET /page/admin/sessions", &[token])),
        (401, ask(server.address(), "GET /page/admin/sessions", &[])),
        (200, ask(server.admin(), "GET /v1/sessions", &[token])),
        (404, ask(server.admin(), "GET /nothing", &[])),
    ];
    for (status, reply) in replies {
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
    }
}
