//! What the tests of TCP connections with peers (RFC 6062) share.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Deed, RELAYS, Response, TestClient, TestServer};
use turnwire::stun::{Method, Writer, attribute};
use turnwire::turn::{Cause, ConnectionId, RelayId, Transport, Verdict};

pub(crate) const PEER: &str = "1.1.1.1:80";
pub(crate) const OTHER: &str = "1.1.1.2:80";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

pub(crate) fn alice(address: &str) -> TestClient {
    TestClient::over(Transport::Tcp, address, "alice", "wonder")
}

pub(crate) fn bob(address: &str) -> TestClient {
    TestClient::over(Transport::Tcp, address, "bob", "builder")
}

/// A client on TCP with an allocation that relays TCP.
pub(crate) fn owner(server: &mut TestServer) -> TestClient {
    let mut client = alice("198.51.100.7:1000");
    assert_eq!(client.allocate_tcp(server).code(), 0);
    client
}

pub(crate) fn relay_of(server: &TestServer, response: &Response) -> RelayId {
    let relayed = response.relayed()[0];
    let local = RELAYS.iter().find(|relay| relay.advertised == relayed.ip()).unwrap().local;
    server.sockets.relay_at(SocketAddr::new(local, relayed.port())).expect("an open relay")
}

pub(crate) fn with_peer(peer: SocketAddr) -> impl Fn(&mut Writer<'_>) {
    move |writer| writer.xor_address(attribute::XOR_PEER_ADDRESS, peer)
}

pub(crate) fn connect(server: &mut TestServer, client: &mut TestClient, peer: &str) -> Verdict {
    let request = client.build(Method::CONNECT, with_peer(at(peer)));
    server.receive(&client.client, &request)
}

/// A Connect that the server goes about.
pub(crate) fn begin(server: &mut TestServer, client: &mut TestClient, peer: &str) -> ConnectionId {
    assert_eq!(connect(server, client, peer), Verdict::Later);
    let [Deed::Connect(connection, _, to)] = server.deeds()[..] else {
        panic!("nothing is done about it");
    };
    assert_eq!(to, at(peer));
    connection
}

/// A Connect that succeeds.
pub(crate) fn reach(server: &mut TestServer, client: &mut TestClient, peer: &str) -> ConnectionId {
    let connection = begin(server, client, peer);
    let (told, response) = server.connected(connection, Ok(())).expect("somebody waits");
    assert_eq!(told, client.client);
    assert_eq!(response.connection(), Some(connection.get()));
    connection
}

/// The code of a refusal.
pub(crate) fn refused(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Reply(reply) => reply.refusal.map_or(0, Cause::code),
        other => panic!("not refused: {other:?}"),
    }
}

/// A ConnectionBind on a connection of its own.
pub(crate) fn bind(server: &mut TestServer, client: &mut TestClient, connection: u32) -> Verdict {
    let fill = |writer: &mut Writer<'_>| writer.number(attribute::CONNECTION_ID, connection);
    let request = client.build(Method::CONNECTION_BIND, fill);
    let verdict = server.receive(&client.client, &request);
    if client.nonce.is_none() {
        let Verdict::Reply(reply) = verdict else { panic!("no challenge but {verdict:?}") };
        client.learn(&server.reply(reply.length));
        let request = client.build(Method::CONNECTION_BIND, fill);
        return server.receive(&client.client, &request);
    }
    verdict
}

pub(crate) fn bound(verdict: &Verdict) -> Option<ConnectionId> {
    match verdict {
        Verdict::Bound(_, connection) => Some(*connection),
        _ => None,
    }
}
