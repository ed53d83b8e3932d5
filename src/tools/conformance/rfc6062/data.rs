//! RFC 6062 §5.4 and §5.5: data connections.

use super::{beside, connect, ready, through, with_id};
use crate::stun::Method;
use crate::tools::conformance::case::{Before as _, Case, claim};

/// Nothing that could be taken for a message.
const WORDS: &[u8] = b"\x00\x01 as it is, whatever it looks like \xFF";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "tcp.bind",
        rfc: 6062,
        section: "5.4",
        must: "Otherwise, the client connection is now called a client data connection: the ConnectionBind request succeeds.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            let id = connect(&mut control, listener.address()).before("a connection")?;
            beside(&mut control, stand.stream()?)?
                .ask(Method::CONNECTION_BIND, with_id(id))?
                .success()
        },
    },
    Case {
        name: "tcp.bind-id-missing",
        rfc: 6062,
        section: "5.4",
        must: "If the request does not contain the CONNECTION-ID attribute, the server MUST return a 400 (Bad Request) error.",
        run: |stand| {
            let mut control = ready(stand)?.0;
            beside(&mut control, stand.stream()?)?
                .ask(Method::CONNECTION_BIND, |_| ())?
                .refused(400)
        },
    },
    Case {
        name: "tcp.bind-id-unknown",
        rfc: 6062,
        section: "5.4",
        must: "If this attribute (CONNECTION-ID) does not refer to an existing pending connection, the server MUST return a 400 (Bad Request) error.",
        run: |stand| {
            let mut control = ready(stand)?.0;
            beside(&mut control, stand.stream()?)?
                .ask(Method::CONNECTION_BIND, with_id([0xFF; 4]))?
                .refused(400)
        },
    },
    Case {
        name: "tcp.bind-id-used",
        rfc: 6062,
        section: "5.4",
        must: "A connection that is bound is not pending any more: the server MUST return a 400 (Bad Request) error.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            let id = connect(&mut control, listener.address()).before("a connection")?;
            let mut data = beside(&mut control, stand.stream()?)?;
            data.ask(Method::CONNECTION_BIND, with_id(id))?.success().before("a ConnectionBind")?;
            beside(&mut control, stand.stream()?)?
                .ask(Method::CONNECTION_BIND, with_id(id))?
                .refused(400)
        },
    },
    Case {
        name: "tcp.bind-over-udp",
        rfc: 6062,
        section: "5.4",
        must: "If the client connection transport is not TCP or TLS, the server MUST return a 400 (Bad Request) error.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            let id = connect(&mut control, listener.address()).before("a connection")?;
            beside(&mut control, stand.datagrams()?)?
                .ask(Method::CONNECTION_BIND, with_id(id))?
                .refused(400)
        },
    },
    Case {
        name: "tcp.bind-other-user",
        rfc: 6062,
        section: "4.3",
        must: "Authentication of the client by the server MUST use the same method and credentials as for the control connection.",
        run: |stand| {
            let second = stand.second_user()?;
            let (mut control, _, listener) = ready(stand)?;
            let id = connect(&mut control, listener.address()).before("a connection")?;
            let mut data = beside(&mut control, stand.stream()?)?;
            let proof = data.proof()?.known_as(second);
            data.prove_by(proof);
            // How it is refused is not said: the connection may be closed as well.
            let taken = data
                .ask(Method::CONNECTION_BIND, with_id(id))
                .is_ok_and(|reply| reply.is_success());
            claim(!taken, || "somebody else takes the connection".to_owned())
        },
    },
    Case {
        name: "tcp.data-to-peer",
        rfc: 6062,
        section: "5.4",
        must: "Data received on it (the client data connection) MUST be sent as-is to the associated peer data connection.",
        run: |stand| {
            let mut it = through(stand)?;
            it.data.send(WORDS)?;
            let found = it.peer.read(WORDS.len());
            claim(found == WORDS, || format!("{} comes", found.escape_ascii()))
        },
    },
    Case {
        name: "tcp.data-to-client",
        rfc: 6062,
        section: "5.4",
        must: "Data received on the associated peer data connection MUST be sent as-is on this client data connection.",
        run: |stand| {
            let mut it = through(stand)?;
            it.peer.write(WORDS)?;
            let found = it.data.read_bytes(WORDS.len())?;
            claim(found == WORDS, || format!("{} comes", found.escape_ascii()))
        },
    },
    Case {
        name: "tcp.data-early",
        rfc: 6062,
        section: "5.4",
        must: "This includes data that was received after the associated Connect was successfully processed and before this ConnectionBind request was received.",
        run: |stand| {
            let (mut control, _, listener) = ready(stand)?;
            let id = connect(&mut control, listener.address()).before("a connection")?;
            let mut peer = listener.accept(stand.limit()).before("a connection")?;
            peer.write(WORDS)?;
            // Two round trips, so that they are there before the request is.
            control.is_served()?;
            let mut data = beside(&mut control, stand.stream()?)?;
            let reply = data.ask(Method::CONNECTION_BIND, with_id(id))?;
            reply.success().before("a ConnectionBind")?;
            let found = data.read_bytes(WORDS.len())?;
            claim(found == WORDS, || format!("{} comes", found.escape_ascii()))
        },
    },
    Case {
        name: "tcp.client-closes",
        rfc: 6062,
        section: "5.5",
        must: "When a client data connection is closed, the server MUST close the corresponding peer data connection.",
        run: |stand| {
            let mut it = through(stand)?;
            drop(it.data);
            claim(it.peer.is_closed(), || "the peer's connection stays open".to_owned())
        },
    },
    Case {
        name: "tcp.peer-closes",
        rfc: 6062,
        section: "5.5",
        must: "When a peer data connection is closed, the server MUST close the corresponding client data connection.",
        run: |stand| {
            let mut it = through(stand)?;
            drop(it.peer);
            claim(it.data.is_closed()?, || "the client's connection stays open".to_owned())
        },
    },
    Case {
        name: "tcp.allocation-ends",
        rfc: 6062,
        section: "5.5",
        must: "If the allocation associated with a data connection expires, the data connection MUST be closed.",
        run: |stand| {
            let mut it = through(stand)?;
            it.control.refresh(0)?.success().before("a Refresh")?;
            claim(it.peer.is_closed(), || "the peer's connection stays open".to_owned())?;
            claim(it.data.is_closed()?, || "the client's connection stays open".to_owned())
        },
    },
];
