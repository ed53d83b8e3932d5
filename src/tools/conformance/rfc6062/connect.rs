//! RFC 6062 §5.2 to §5.4: connections to peers and from them.

use super::{allocated, beside, connect, ready, with_id};
use crate::stun::{Kind, Method, attribute};
use crate::tools::conformance::case::{Before as _, Case, Stop, claim};
use crate::tools::conformance::client::Client;
use crate::tools::conformance::peer::{Connection, Listener};
use crate::tools::conformance::reply::Reply;
use crate::tools::conformance::stand::Stand;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "tcp.connect",
        rfc: 6062,
        section: "5.2",
        must: "Otherwise, the server MUST initiate an outgoing TCP connection.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            connect(&mut control, listener.address())?;
            listener.accept(stand.limit()).map(drop)
        },
    },
    Case {
        name: "tcp.connect-source",
        rfc: 6062,
        section: "5.2",
        must: "The local endpoint is the relayed transport address associated with the allocation.",
        run: |stand| {
            let (mut control, relay, listener) = ready(stand)?;
            connect(&mut control, listener.address()).before("a connection")?;
            let from = listener.accept(stand.limit()).before("a connection")?.other;
            claim(from == relay, || format!("it comes from {from} and not from {relay}"))
        },
    },
    Case {
        name: "tcp.connection-id",
        rfc: 6062,
        section: "5.2",
        must: "The server MUST include the CONNECTION-ID attribute in the Connect success response.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            connect(&mut control, listener.address()).map(drop)
        },
    },
    Case {
        name: "tcp.connection-id-unique",
        rfc: 6062,
        section: "5.2",
        must: "The attribute's value MUST uniquely identify the peer data connection.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            let other = Listener::new(stand.host)?;
            let ids = [
                connect(&mut control, listener.address())?,
                connect(&mut control, other.address())?,
            ];
            claim(ids[0] != ids[1], || format!("both are {:02x?}", ids[0]))
        },
    },
    Case {
        name: "tcp.connect-peer-missing",
        rfc: 6062,
        section: "5.2",
        must: "If the request does not contain an XOR-PEER-ADDRESS attribute, the server MUST return a 400 (Bad Request) error.",
        run: |stand| allocated(stand)?.0.ask(Method::CONNECT, |_| ())?.refused(400),
    },
    Case {
        name: "tcp.connect-peer-malformed",
        rfc: 6062,
        section: "5.2",
        must: "If such attribute (XOR-PEER-ADDRESS) is invalid, the server MUST return a 400 (Bad Request) error.",
        run: |stand| {
            let mut control = allocated(stand)?.0;
            let reply = control.ask(Method::CONNECT, |it| {
                it.attribute(attribute::XOR_PEER_ADDRESS, &[0, 1, 2, 3]);
            })?;
            reply.refused(400)
        },
    },
    Case {
        name: "tcp.connect-twice",
        rfc: 6062,
        section: "5.2",
        must: "If the server has already successfully processed a Connect request with the same XOR-PEER-ADDRESS, and the resulting connections are either pending or active, it MUST return a 446 (Connection Already Exists) error.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            connect(&mut control, listener.address()).before("a connection")?;
            let peer = listener.address();
            let reply = control.ask(Method::CONNECT, |it| {
                it.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            })?;
            reply.refused(446)
        },
    },
    Case {
        name: "tcp.connect-refused",
        rfc: 6062,
        section: "5.2",
        must: "If the connection attempt fails or times out, the server MUST return a 447 (Connection Timeout or Failure) error.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            let peer = listener.address();
            drop(listener);
            let reply = control.ask(Method::CONNECT, |it| {
                it.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            })?;
            reply.refused(447)
        },
    },
    Case {
        name: "tcp.connect-allocation-missing",
        rfc: 6062,
        section: "5.2",
        must: "If the request is received on a TCP connection for which no allocation exists, the server MUST return a 437 (Allocation Mismatch) error.",
        run: |stand| {
            let (_control, _, listener) = ready(stand)?;
            let peer = listener.address();
            let reply = stand.stream()?.ask(Method::CONNECT, |it| {
                it.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            })?;
            reply.refused(437)
        },
    },
    Case {
        name: "tcp.attempt",
        rfc: 6062,
        section: "5.3",
        must: "The indication MUST include an XOR-PEER-ADDRESS attribute containing the peer's transport address.",
        run: |stand| {
            let (_control, mut peer, attempt) = attempted(stand)?;
            let told = attempt.xor_address(attribute::XOR_PEER_ADDRESS, "XOR-PEER-ADDRESS")?;
            let here = peer.local()?;
            claim(told == here, || format!("it is {told} and not {here}"))
        },
    },
    Case {
        name: "tcp.attempt-id",
        rfc: 6062,
        section: "5.3",
        must: "The indication MUST include a CONNECTION-ID attribute uniquely identifying the peer data connection.",
        run: |stand| {
            let attempt = attempted(stand)?.2;
            let id = attempt.has(attribute::CONNECTION_ID, "CONNECTION-ID")?;
            claim(id.len() == 4, || format!("it is {id:02x?}"))
        },
    },
    Case {
        name: "tcp.attempt-bound",
        rfc: 6062,
        section: "5.4",
        must: "Data received on the associated peer data connection MUST be sent as-is on this client data connection: of a peer that has connected itself as well.",
        run: |stand| {
            let (mut control, mut peer, attempt) = attempted(stand)?;
            let id = attempt.has(attribute::CONNECTION_ID, "CONNECTION-ID").before("an attempt")?;
            let id =
                id.try_into().map_err(|_| Stop::Unable("CONNECTION-ID is malformed".to_owned()))?;
            let mut data = beside(&mut control, stand.stream()?)?;
            data.ask(Method::CONNECTION_BIND, with_id(id))?.success()?;
            peer.write(b"from the peer")?;
            let found = data.read_bytes(13)?;
            claim(found == b"from the peer", || format!("{} comes", found.escape_ascii()))
        },
    },
    Case {
        name: "tcp.attempt-forbidden",
        rfc: 6062,
        section: "5.3",
        must: "If no permission for this peer has been installed for this allocation, the server MUST close the connection with the peer immediately after it has been accepted.",
        run: |stand| {
            let (_control, relay, _) = ready(stand)?;
            let mut peer = Connection::to(relay, stand.limit())?;
            claim(peer.is_closed(), || "it stays open".to_owned())
        },
    },
    Case {
        name: "tcp.attempt-forbidden-silent",
        rfc: 6062,
        section: "5.3",
        must: "If no permission for this peer has been installed, the connection is closed: otherwise only, the server sends a ConnectionAttempt indication.",
        run: |stand| {
            let (mut control, relay, _) = ready(stand)?;
            let mut peer = Connection::to(relay, stand.limit())?;
            peer.is_closed();
            control.is_served()?;
            let found = control.await_message(stand.quiet(), is_attempt)?;
            claim(found.is_none(), || "the client is told of it".to_owned())
        },
    },
];

fn is_attempt(bytes: &[u8]) -> Option<Vec<u8>> {
    let kind = Kind::indication(Method::CONNECTION_ATTEMPT).bits().to_be_bytes();
    bytes.starts_with(&kind).then(|| bytes.to_vec())
}

/// A peer that has a permission connects: its connection, and what the client is told.
fn attempted(stand: &Stand) -> Result<(Client<'_>, Connection, Reply), Stop> {
    let (mut control, relay, listener) = ready(stand)?;
    let permitted = control.permit(listener.address())?;
    permitted.success().before("a permission")?;
    let peer = Connection::to(relay, stand.limit()).before("a connection to the relay")?;
    match control.await_message(stand.limit(), is_attempt)? {
        Some(bytes) => Ok((control, peer, Reply::read(bytes)?)),
        None => Stop::failed("there is no ConnectionAttempt indication"),
    }
}
