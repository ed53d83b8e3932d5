//! A web server and TURN share a port: HTTPS is passed on to the backend, and its answers come back.

#[path = "https_backend/bounds.rs"]
mod bounds;
mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use common::{
    Backend, Client, PATIENCE, Passed, Peer, Sealed, Server, Setup, Trust, cut_off, eventually,
    more_than_buffers, seal, unique_loopback, web_client,
};
use socket2::{Domain, Socket, Type};
use turnwire::worker::proxy::{Addresses, Version, parse};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const CHANNEL: u16 = 0x4000;

fn https(server: SocketAddr, trust: &Trust) -> Sealed {
    let mut config = trust.client();
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    seal(web_client(server), config)
}

#[track_caller]
fn expect(client: &mut impl Read, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    client.read_exact(&mut got).expect("all that was sent");
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
}

/// All that comes until the end, which must come in order.
#[track_caller]
fn rest(client: &mut impl Read) -> String {
    let mut text = Vec::new();
    client.read_to_end(&mut text).expect("an orderly end");
    String::from_utf8(text).expect("text")
}

/// A client with its connection at the backend, which has got a request.
#[track_caller]
fn passed(server: &Server, trust: &Trust, backend: &Backend) -> (Sealed, Passed) {
    let mut client = https(server.address(), trust);
    client.write_all(GET).expect("the client can send");
    let mut behind = backend.accept();
    behind.expect(GET);
    (client, behind)
}

/// HTTP connections for the backend that came to this.
fn count(server: &Server, result: &str) -> u64 {
    server.metric(&format!("backend_connections_total{{result=\"{result}\"}}"))
}

#[track_caller]
fn all_are_gone(server: &Server) {
    let open = ["backend_connections_live", "streams_live"];
    eventually("all are gone", || open.iter().all(|it| server.metric(it) == 0).then_some(()));
}

#[test]
fn requests_go_through_with_their_answers() {
    let trust = Trust::new();
    for backend in [Backend::new(), Backend::at("[::1]:0"), Backend::unix()] {
        let setup = Setup::new().listen("127.0.0.1:0").listen("[::1]:0").certificate(&trust);
        let server = setup.flag("--tls-listen", "127.0.0.1:0").backend(&backend, "").start();
        for listener in server.listeners().iter().chain(server.tls_listeners()) {
            let mut client = https(*listener, &trust);
            client.write_all(GET).unwrap();
            let mut behind = backend.accept();
            behind.expect(GET);
            behind.say(OK);
            expect(&mut client, OK);
            assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            // The connection stays what it is, whatever is said on it.
            for bytes in [&GET.repeat(1000)[..], b"\0\x01\0\0 STUN", b"PROXY TCP4 1.1.1.1 "] {
                client.write_all(bytes).unwrap();
                behind.expect(bytes);
                behind.say(bytes);
                expect(&mut client, bytes);
            }
        }
        let more = (1000 * GET.len() + 9 + 19) as u64;
        let bytes = |to: &str| server.metric(&format!("backend_bytes_total{{direction=\"{to}\"}}"));
        assert_eq!(bytes("to_backend"), 3 * (GET.len() as u64 + more));
        assert_eq!(bytes("to_client"), 3 * (OK.len() as u64 + more));
        assert_eq!(count(&server, "passed"), 3);
        all_are_gone(&server);
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let server = Setup::new().certificate(&trust).backend(&backend, "").start();
    let mut client = https(server.address(), &trust);
    GET.iter().for_each(|byte| client.write_all(&[*byte]).unwrap());
    let mut behind = backend.accept();
    behind.expect(GET);
    behind.say(OK);
    expect(&mut client, OK);
}

/// RFC 6455: after the handshake, bytes are bytes in either direction.
#[test]
fn a_connection_may_become_a_websocket() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let server = Setup::new().certificate(&trust).backend(&backend, "").start();
    let mut client = https(server.address(), &trust);
    let upgrade: &[u8] = b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let switching: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\
        \x81\x05first";
    // The first frame may come right behind the handshake.
    client.write_all(&[upgrade, b"\x81\x82\0\0\0\0up"].concat()).unwrap();
    let mut behind = backend.accept();
    behind.expect(upgrade);
    behind.expect(b"\x81\x82\0\0\0\0up");
    behind.say(switching);
    expect(&mut client, switching);
    for number in 0..=255 {
        let frame = [0x82, 0x04, number, 0, 0xFF, number];
        client.write_all(&frame).unwrap();
        behind.expect(&frame);
        behind.say(&frame);
        expect(&mut client, &frame);
    }
}

/// The header at the front of a connection at the backend.
#[track_caller]
fn header(behind: &mut Passed) -> Addresses {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        behind.read_exact(&mut byte).expect("a header");
        bytes.extend(byte);
        if let Some(header) = parse(&bytes).expect("a header") {
            return header.addresses.expect("addresses");
        }
    }
}

#[test]
fn the_backend_is_told_who_the_client_is() {
    let trust = Trust::new();
    for version in ["v1", "v2"] {
        let backend = Backend::new();
        let setup = Setup::new().listen("127.0.0.1:0").listen("[::1]:0").certificate(&trust);
        let option = format!("proxy_protocol = \"{version}\"");
        let server = setup.backend(&backend, &option).start();
        for listener in server.listeners() {
            let mut client = https(*listener, &trust);
            client.write_all(GET).unwrap();
            let mut behind = backend.accept();
            let client = client.sock.local_addr().unwrap();
            assert_eq!(header(&mut behind), Addresses { client, server: *listener });
            behind.expect(GET);
        }
    }
}

/// A proxy in front has named it, and who the proxy is does not matter.
#[test]
fn the_backend_is_told_of_the_client_behind_a_trusted_proxy() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let proxies = "[listen]\nproxies = [\"127.0.0.0/8\"]";
    let setup = Setup::new().certificate(&trust).config(proxies);
    let server = setup.backend(&backend, "proxy_protocol = \"v2\"").start();
    for (client, server_side) in
        [("192.0.2.7:4711", "198.51.100.9:443"), ("[2001:db8::7]:4711", "[2001:db8::9]:443")]
    {
        let addresses =
            Addresses { client: client.parse().unwrap(), server: server_side.parse().unwrap() };
        for version in [Version::V1, Version::V2] {
            let (mut front, mut bytes) = (web_client(server.address()), Vec::new());
            version.append(&mut bytes, addresses);
            front.write_all(&bytes).unwrap();
            let mut client = seal(front, trust.client());
            client.write_all(GET).unwrap();
            let mut behind = backend.accept();
            assert_eq!(header(&mut behind), addresses);
            behind.expect(GET);
            behind.say(OK);
            expect(&mut client, OK);
        }
    }
}

/// Only what was opened can be reached, and with TLS agreed on for TURN there is no web.
#[test]
fn without_tls_nobody_gets_there_unless_it_is_wanted() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let server = Setup::new().certificate(&trust).backend(&backend, "").start();
    let mut plain = web_client(server.address());
    plain.write_all(GET).unwrap();
    let answer = rest(&mut plain);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    let mut config = trust.client();
    config.alpn_protocols = vec!["stun.turn".into()];
    let mut crossed = seal(web_client(server.address()), config);
    crossed.write_all(GET).unwrap();
    assert_eq!(rest(&mut crossed), "");
    assert_eq!(count(&server, "passed"), 0);

    let setup = Setup::new().certificate(&trust).flag("--tls-listen", "127.0.0.1:0");
    let server = setup.backend(&backend, "plain_http = true").start();
    let mut plain = web_client(server.address());
    plain.write_all(GET).unwrap();
    let mut behind = backend.accept();
    behind.expect(GET);
    behind.say(OK);
    expect(&mut plain, OK);
    // A listener for TLS alone has nothing else.
    let mut forgotten = web_client(server.tls_listeners()[0]);
    forgotten.write_all(GET).unwrap();
    assert!(rest(&mut forgotten).starts_with("HTTP/1.1 400 "));
    assert_eq!(count(&server, "passed"), 1);
}

#[test]
fn a_backend_that_is_down_is_told_to_the_client_and_the_log() {
    // At an address of its own, where nobody takes its place meanwhile.
    let (trust, backend) = (Trust::new(), Backend::at(&format!("{}:0", unique_loopback())));
    let setup = Setup::new().flag("--workers", 1).certificate(&trust);
    let server = setup.backend(&backend, "").start();
    let endpoint = backend.endpoint();
    drop(backend);
    for _ in 0..3 {
        let mut client = https(server.address(), &trust);
        client.write_all(GET).unwrap();
        let answer = rest(&mut client);
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    }
    assert_eq!(count(&server, "unreachable"), 3);
    // It comes back, and nobody has to be told.
    let backend = Backend::at(&endpoint);
    let (mut client, mut behind) = passed(&server, &trust, &backend);
    behind.say(OK);
    expect(&mut client, OK);
    let lines = server.stop().matches("cannot be reached: Connection refused").count();
    assert_eq!(lines, 1, "once a minute is enough");
}

/// It listens, and takes nobody: the client is answered all the same.
#[test]
fn a_backend_that_says_nothing_is_given_up() {
    let (trust, backend) = (
        Trust::new(),
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap(),
    );
    backend.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    backend.listen(0).unwrap();
    let address = backend.local_addr().unwrap().as_socket().unwrap();
    let _filling = web_client(address);
    let text = format!("[https]\nbackend = \"{address}\"");
    let server = Setup::new().certificate(&trust).config(&text).start();
    let mut client = https(server.address(), &trust);
    client.write_all(GET).unwrap();
    assert!(rest(&mut client).starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    drop(client);
    eventually("the log says it", || server.log().contains("no answer in 5 s").then_some(()));
    // Who does not wait for it leaves nothing behind.
    let mut impatient = https(server.address(), &trust);
    impatient.write_all(GET).unwrap();
    eventually("it is tried", || (server.metric("streams_http_total") == 2).then_some(()));
    cut_off(&impatient.sock);
    drop(impatient);
    eventually("it is given up", || (count(&server, "abandoned") == 1).then_some(()));
    all_are_gone(&server);
}

#[test]
fn the_end_of_either_side_is_passed_on() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let server = Setup::new().certificate(&trust).backend(&backend, "").start();
    // The backend closes behind its answer. The TLS client would not take a cut for an end.
    let (mut client, mut behind) = passed(&server, &trust, &backend);
    behind.say(OK);
    drop(behind);
    assert_eq!(rest(&mut client).as_bytes(), OK);
    drop(client);
    // A client that has nothing more to say still gets its answer, after a whole body.
    for with_tls_alone in [true, false] {
        let mut client = https(server.address(), &trust);
        client.write_all(GET).unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        if !with_tls_alone {
            client.sock.shutdown(Shutdown::Write).unwrap();
        }
        let mut behind = backend.accept();
        assert_eq!(rest(&mut behind).as_bytes(), GET);
        behind.say(OK);
        drop(behind);
        assert_eq!(rest(&mut client).as_bytes(), OK);
    }
    // One that goes on talking behind the end is not cut off for it.
    let (mut client, mut behind) = passed(&server, &trust, &backend);
    behind.say(OK);
    let Passed::Tcp(stream) = &behind else { unreachable!("it is on TCP") };
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client).as_bytes(), OK);
    client.write_all(b"more").unwrap();
    behind.expect(b"more");
    drop((client, behind));
    all_are_gone(&server);
}

#[test]
fn an_end_that_is_cut_off_cuts_the_other_off() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let server = Setup::new().certificate(&trust).backend(&backend, "").start();
    let (client, mut behind) = passed(&server, &trust, &backend);
    cut_off(&client.sock);
    drop(client);
    let error = behind.read(&mut [0]).expect_err("no end in order");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let (mut client, mut behind) = passed(&server, &trust, &backend);
    behind.say(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf of it");
    let mut begun = [0; 20];
    client.read_exact(&mut begun).unwrap();
    cut_off(&behind);
    drop(behind);
    assert!(client.read_to_end(&mut Vec::new()).is_err(), "a cut is no end");
    all_are_gone(&server);
}

/// Bytes that tell their place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32 / 4).flat_map(|number| number.to_le_bytes()).collect()
}

/// RFC 8656's relay has to live beside it: what is on its way fills buffers of a bounded size, and no more.
#[test]
fn a_slow_side_slows_the_other() {
    let most = more_than_buffers();
    let length = most + (16 << 20);
    let (trust, backend) = (Trust::new(), Backend::new());
    let setup = Setup::with_local_peers().flag("--workers", 1).certificate(&trust);
    let server = setup.backend(&backend, "").start();
    let (mut client, mut behind) = passed(&server, &trust, &backend);
    let (big, before) = (pattern(length), server.resident());
    let bytes = |to: &str| server.metric(&format!("backend_bytes_total{{direction=\"{to}\"}}"));
    thread::scope(|scope| {
        // Down, to a client that does not read for as long as anything moves.
        scope.spawn(|| behind.say(&big));
        let stands = standstill(|| bytes("to_client"));
        assert!(stands < most as u64, "{stands} bytes were taken for a client that reads none");
        assert!(server.resident() < before + (4 << 20), "it is kept here");
        let mut got = vec![0; length];
        client.read_exact(&mut got).expect("all that was sent");
        assert!(got == big);
    });
    thread::scope(|scope| {
        // Up, to a backend that does not.
        let client = &mut client;
        scope.spawn(|| client.write_all(&big).and_then(|()| client.flush()).expect("it can send"));
        let stands = standstill(|| bytes("to_backend"));
        assert!(stands < most as u64, "{stands} bytes were taken for a backend that reads none");
        assert!(server.resident() < before + (4 << 20), "it is kept here");
        let mut got = vec![0; length];
        behind.read_exact(&mut got).expect("all that was sent");
        assert!(got == big);
    });
}

/// Waits until something has grown and then stayed the same for a while, and tells what it is then.
fn standstill(mut look: impl FnMut() -> u64) -> u64 {
    let (mut last, mut same) = (look(), 0);
    eventually("nothing moves any more", || {
        let now = look();
        same = if now == last && now > 1 << 20 { same + 1 } else { 0 };
        last = now;
        (same == 60).then_some(now)
    })
}

/// A call goes on while others load a file through the same worker and port.
#[test]
fn turn_beside_it_is_not_disturbed() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let setup = Setup::with_local_peers().flag("--workers", 1).certificate(&trust);
    let server = setup.backend(&backend, "").start();
    let mut loading: Vec<_> = (0..4).map(|_| passed(&server, &trust, &backend)).collect();
    let big = pattern(16 << 20);
    thread::scope(|scope| {
        for (client, behind) in &mut loading {
            scope.spawn(|| behind.say(&big));
            scope.spawn(|| {
                let mut got = vec![0; big.len()];
                client.read_exact(&mut got).expect("all that was sent");
                assert!(got == big);
            });
        }
        for mut client in [Client::udp(&server), Client::tls(&server, &trust)] {
            let peer = Peer::new();
            let relayed = client.allocate();
            client.bind(CHANNEL, peer.address);
            for number in 0..200_u32 {
                let payload = number.to_be_bytes().repeat(100);
                client.channel(CHANNEL, &payload);
                assert_eq!(peer.payload(), payload);
                peer.send(relayed, &payload);
                assert_eq!(client.channel_data(), (CHANNEL, payload));
            }
        }
    });
}
