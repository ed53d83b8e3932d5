//! RFC 6062 §5.1: allocations for TCP.

use super::{TCP, allocated};
use crate::stun::{Method, Writer, attribute};
use crate::tools::conformance::case::{Before as _, Case, Outcome, claim};
use crate::tools::conformance::peer::Connection;
use crate::tools::conformance::stand::Stand;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "tcp.allocate",
        rfc: 6062,
        section: "5.1",
        must: "If all checks pass, the server MUST start accepting incoming TCP connections on the relayed transport address.",
        run: |stand| {
            stand.peer()?;
            let (_control, relay) = allocated(stand)?;
            Connection::to(relay, stand.limit()).map(drop)
        },
    },
    Case {
        name: "tcp.allocate-over-udp",
        rfc: 6062,
        section: "5.1",
        must: "If the client connection transport is not TCP or TLS, the server MUST reject the request with a 400 (Bad Request) error.",
        run: |stand| {
            allocated(stand)?;
            let mut client = stand.datagrams()?;
            let tcp = |it: &mut Writer<'_>| it.number(attribute::REQUESTED_TRANSPORT, TCP);
            client.ask(Method::ALLOCATE, tcp)?.refused(400)
        },
    },
    Case {
        name: "tcp.allocate-dont-fragment",
        rfc: 6062,
        section: "5.1",
        must: "If the request contains the DONT-FRAGMENT attribute, the server MUST reject the request with a 400 (Bad Request) error.",
        run: |stand| beside(stand, attribute::DONT_FRAGMENT, b""),
    },
    Case {
        name: "tcp.allocate-even-port",
        rfc: 6062,
        section: "5.1",
        must: "If the request contains the EVEN-PORT attribute, the server MUST reject the request with a 400 (Bad Request) error.",
        run: |stand| beside(stand, attribute::EVEN_PORT, &[0]),
    },
    Case {
        name: "tcp.allocate-token",
        rfc: 6062,
        section: "5.1",
        must: "If the request contains the RESERVATION-TOKEN attribute, the server MUST reject the request with a 400 (Bad Request) error.",
        run: |stand| beside(stand, attribute::RESERVATION_TOKEN, b"reserved"),
    },
    Case {
        name: "tcp.allocate-no-token",
        rfc: 6062,
        section: "5.1",
        must: "The RESERVATION-TOKEN attribute MUST NOT be present in the success response.",
        run: |stand| {
            allocated(stand)?;
            let mut control = stand.stream()?;
            let tcp = |it: &mut Writer<'_>| it.number(attribute::REQUESTED_TRANSPORT, TCP);
            let reply = control.ask(Method::ALLOCATE, tcp)?;
            reply.success().before("a TCP allocation")?;
            claim(reply.get(attribute::RESERVATION_TOKEN).is_none(), || "it is".to_owned())
        },
    },
    Case {
        name: "tcp.allocate-udp-beside",
        rfc: 6062,
        section: "5.1",
        must: "If the value is UDP, and if UDP transport is allowed by local policy, the server MUST continue with the procedures of RFC 5766 instead of this document.",
        run: |stand| {
            allocated(stand)?;
            stand.stream()?.ask_relay(|_| ())?.success()
        },
    },
];

/// That a TCP allocation cannot be had together with what is UDP's.
fn beside(stand: &Stand, kind: u16, value: &[u8]) -> Outcome {
    allocated(stand)?;
    let reply = stand.stream()?.ask(Method::ALLOCATE, |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, TCP);
        writer.attribute(kind, value);
    })?;
    reply.refused(400)
}
