//! TURN, TLS and HTTP on one port, told apart by their first bytes.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::{Client, PATIENCE, Peer, Setup, Trust, seal};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const CHANNEL: u16 = 0x4000;

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// All that comes until the end, which must come in order.
fn rest(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an orderly end");
    text
}

#[test]
fn turn_tls_and_http_come_in_on_one_port() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    for mut client in [Client::udp(&server), Client::tcp(&server), Client::tls(&server, &trust)] {
        let peer = Peer::new();
        client.allocate();
        client.bind(CHANNEL, peer.address);
        client.channel(CHANNEL, b"hello");
        assert_eq!(peer.payload(), b"hello");
    }
    let mut plain = connect(server.address());
    plain.write_all(GET).unwrap();
    assert!(rest(plain).starts_with("HTTP/1.1 404 Not Found\r\n"));
    let mut sealed = seal(connect(server.address()), trust.client());
    sealed.write_all(GET).unwrap();
    assert!(rest(sealed).starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert_eq!(server.metric("streams_http_total"), 2);
}

/// RFC 7301, RFC 7443
#[test]
fn who_has_agreed_on_turn_gets_no_web() {
    let trust = Trust::new();
    let server = Setup::new().certificate(&trust).start();
    let agreeing = |protocol: &str| {
        let mut config = trust.client();
        config.alpn_protocols = vec![protocol.into()];
        seal(connect(server.address()), config)
    };
    // Firefox behind an HTTP proxy names http/1.1 for TURN.
    for protocol in ["stun.turn", "stun.nat-discovery", "http/1.1", "webrtc", "c-webrtc"] {
        let mut client = Client::on_tls(agreeing(protocol));
        client.fence();
    }
    let mut web = agreeing("http/1.1");
    web.write_all(GET).unwrap();
    assert!(rest(web).starts_with("HTTP/1.1 404"));
    let mut crossed = agreeing("stun.turn");
    crossed.write_all(GET).unwrap();
    assert_eq!(rest(crossed), "");
    assert_eq!(server.unfit("turn"), 1);
}

#[test]
fn who_sends_byte_by_byte_is_told_apart_all_the_same() {
    let trust = Trust::new();
    let server = Setup::new().certificate(&trust).start();
    let mut plain = connect(server.address());
    GET.iter().for_each(|byte| plain.write_all(&[*byte]).unwrap());
    assert!(rest(plain).starts_with("HTTP/1.1 404"));
    let mut sealed = seal(connect(server.address()), trust.client());
    GET.iter().for_each(|byte| sealed.write_all(&[*byte]).unwrap());
    assert!(rest(sealed).starts_with("HTTP/1.1 404"));
}

/// What is mixed up is closed, and the log says what to do.
#[test]
fn a_listener_for_tls_alone_has_nothing_else() {
    let trust = Trust::new();
    let setup = Setup::new().certificate(&trust).flag("--tls-listen", "127.0.0.1:0");
    let server = setup.flag("--tls-listen", "[::1]:0").start();
    for listener in server.tls_listeners() {
        Client::tls_to(*listener, &trust).fence();
    }
    let mut plain = Client::tcp_to(server.tls_listeners()[0]);
    plain.write(&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42]);
    plain.is_closed_by_server();
    assert_eq!(server.unfit("plain_on_tls"), 1);
    let mut web = connect(server.tls_listeners()[0]);
    web.write_all(GET).unwrap();
    assert!(rest(web).starts_with("HTTP/1.1 400 Bad Request\r\n"));
    common::eventually("the log says it", || server.log().contains("listen.tls").then_some(()));
}

#[test]
fn tls_without_a_certificate_is_closed_with_words() {
    let (server, trust) = (Setup::new().start(), Trust::new());
    let mut client = seal(connect(server.address()), trust.client());
    assert!(client.write_all(GET).and_then(|()| client.flush()).is_err());
    assert_eq!(server.unfit("tls_without_certificate"), 1);
    common::eventually("the log says it", || {
        server.log().contains("tls.certificates").then_some(())
    });
}
