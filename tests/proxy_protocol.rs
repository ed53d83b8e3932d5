//! A proxy in front that says whose connection it is.

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use common::{Client, PATIENCE, Peer, Server, Setup, Trust, eventually, new_id, plain, seal};
use turnwire::stun::{Kind, Method, attribute};
use turnwire::worker::proxy::{Addresses, Version};

const PROXIES: &str = "[listen]\nproxies = [\"127.0.0.0/8\", \"::1\"]";
const HEALTH: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A connection that begins with these bytes.
fn connect(server: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(header).expect("a header");
    stream
}

fn binary(client: &str, server: &str) -> Vec<u8> {
    let addresses = Addresses { client: client.parse().unwrap(), server: server.parse().unwrap() };
    let mut out = Vec::new();
    Version::V2.append(&mut out, addresses);
    out
}

/// The address that the server sees.
fn reflexive(client: &mut Client) -> SocketAddr {
    let answer = client.exchange(&plain(Kind::request(Method::BINDING), &new_id(), |_| ()));
    let message = answer.message();
    let value = answer.attribute(attribute::XOR_MAPPED_ADDRESS).expect("an address");
    turnwire::stun::decode_xor_address(value, &message.transaction_id()).expect("an address")
}

fn listeners() -> Server {
    Setup::with_local_peers().listen("127.0.0.1:0").listen("[::1]:0").config(PROXIES).start()
}

#[test]
fn the_real_client_is_seen_in_both_versions_and_families() {
    let server = listeners();
    for listener in server.listeners() {
        for (client, header) in [
            ("192.0.2.1:4711", b"PROXY TCP4 192.0.2.1 198.51.100.9 4711 443\r\n".to_vec()),
            ("[2001:db8::1]:4711", b"PROXY TCP6 2001:db8::1 2001:db8::9 4711 443\r\n".to_vec()),
            ("192.0.2.2:4712", binary("192.0.2.2:4712", "198.51.100.9:443")),
            ("[2001:db8::2]:4712", binary("[2001:db8::2]:4712", "[2001:db8::9]:443")),
        ] {
            let mut stream = Client::on_stream(connect(*listener, &header));
            assert_eq!(reflexive(&mut stream), client.parse().unwrap());
        }
        for header in [HEALTH, b"PROXY UNKNOWN\r\n"] {
            let mut stream = Client::on_stream(connect(*listener, header));
            assert_eq!(reflexive(&mut stream), stream.local());
        }
    }
}

/// A session's line in the log has the client, and not the proxy.
#[test]
fn a_call_goes_through_and_the_log_has_the_client() {
    let server = listeners();
    let header = binary("192.0.2.77:4711", "198.51.100.9:443");
    let (mut client, peer) = (Client::on_stream(connect(server.address(), &header)), Peer::new());
    let relayed = client.allocate();
    client.bind(0x4000, peer.address);
    client.channel(0x4000, b"up there");
    assert_eq!(peer.payload(), b"up there");
    peer.send(relayed, b"down");
    assert_eq!(client.channel_data(), (0x4000, b"down".to_vec()));
    drop(client);
    eventually("the session has ended", || server.log().contains("192.0.2.77:4711").then_some(()));
}

#[test]
fn the_header_may_come_in_pieces_and_tls_behind_it() {
    let trust = Trust::new();
    let server = Setup::new().config(PROXIES).certificate(&trust).start();
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.9 4711 443\r\n";
    let mut stream = connect(server.address(), b"");
    stream.set_nodelay(true).unwrap();
    header.iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
    let mut client = Client::on_tls(seal(stream, trust.client()));
    assert_eq!(reflexive(&mut client), "192.0.2.1:4711".parse().unwrap());
}

#[test]
fn without_a_header_a_proxys_connection_is_closed_with_words() {
    let server = listeners();
    let mut bare = Client::tcp(&server);
    bare.write(&plain(Kind::request(Method::BINDING), &new_id(), |_| ()));
    bare.is_closed_by_server();
    let mut wrong = Client::on_stream(connect(server.address(), b"PROXY TCP4 nonsense\r\n"));
    wrong.is_closed_by_server();
    assert_eq!([server.unfit("no_proxy_header"), server.unfit("proxy_header")], [1, 1]);
    eventually("the log says it", || server.log().contains("send-proxy-v2").then_some(()));
    // UDP has no such headers.
    Client::udp(&server).fence();
}

/// Nobody can call himself somebody else.
#[test]
fn a_header_from_anywhere_else_is_not_believed() {
    let server = Setup::new().start();
    for header in [binary("192.0.2.1:1", "192.0.2.9:2"), b"PROXY UNKNOWN\r\n".to_vec()] {
        Client::on_stream(connect(server.address(), &header)).is_closed_by_server();
    }
    assert_eq!(server.unfit("untrusted_proxy"), 2);
    eventually("the log says it", || server.log().contains("listen.proxies").then_some(()));
}

/// Two of them would share an allocation: the proxy knows that the older one is gone.
#[test]
fn who_comes_again_from_the_same_address_and_port_takes_the_place_of_the_older_one() {
    let server = Setup::with_local_peers().flag("--workers", 1).config(PROXIES).start();
    let header = binary("192.0.2.77:4711", "198.51.100.9:443");
    let peer = Peer::new();
    let mut older = Client::on_stream(connect(server.address(), &header));
    older.allocate();
    older.bind(0x4000, peer.address);
    let mut newer = Client::on_stream(connect(server.address(), &header));
    newer.fence();
    older.is_closed_by_server();
    eventually("the allocation is gone", || (server.live() == 0).then_some(()));
    newer.channel(0x4000, b"through the allocation of another");
    newer.allocate();
    newer.bind(0x4000, peer.address);
    newer.channel(0x4000, b"through its own");
    assert_eq!(peer.payload(), b"through its own");
    // The older one's end is not the newer one's.
    drop(older);
    newer.channel(0x4000, b"still there");
    assert_eq!(peer.payload(), b"still there");
}

/// Whoever followed the advice for a stranger's header would trust the client.
#[test]
fn a_header_behind_another_is_told_apart() {
    let server = listeners();
    let header = binary("192.0.2.77:4711", "198.51.100.9:443");
    for second in [b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2\r\n".to_vec(), header.clone()] {
        let bytes = [header.clone(), second].concat();
        Client::on_stream(connect(server.address(), &bytes)).is_closed_by_server();
    }
    assert_eq!([server.unfit("proxy_header"), server.unfit("untrusted_proxy")], [2, 0]);
    eventually("the log says it", || server.log().contains("a second").then_some(()));
}

/// The clients behind a proxy are counted each by itself.
#[test]
fn limits_are_those_of_the_client_behind_it() {
    let bound = format!("{PROXIES}\n[limits]\nexempt = []\n[limits.streams]\nper_address = 2");
    let server = Setup::new().config(&bound).start();
    let from = |client: &str| {
        let header = binary(client, "198.51.100.9:443");
        Client::on_stream(connect(server.address(), &header))
    };
    let mut others: Vec<_> = (1..6).map(|last| from(&format!("192.0.2.{last}:1"))).collect();
    others.iter_mut().for_each(Client::fence);
    let mut first = from("192.0.2.99:1");
    first.fence();
    let mut second = from("192.0.2.99:2");
    second.fence();
    from("192.0.2.99:3").is_closed_by_server();
    assert_eq!(server.metric("streams_refused_total"), 1);
}

/// A proxy that says nothing holds a place, and not for long.
#[test]
fn a_header_that_does_not_come_in_time_is_not_waited_for() {
    let short = format!("{PROXIES}\n[limits.streams]\nhandshake = \"1s\"");
    let server = Setup::new().config(&short).start();
    Client::on_stream(connect(server.address(), b"PROXY TCP4 ")).is_closed_by_server();
    assert_eq!(server.unfit("too_slow"), 1);
}
