//! RFC 8656 §7.2: Allocate requests.

use std::net::SocketAddr;

use crate::stun::{Kind, Method, attribute};
use crate::tools::conformance::case::{Before as _, Case, Outcome, Stop, claim};
use crate::tools::conformance::client::{Packet, UDP, UNKNOWN};
use crate::tools::conformance::reply::Reply;
use crate::tools::conformance::rfc8489::needed;
use crate::tools::conformance::stand::Stand;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "allocate.udp",
        rfc: 8656,
        section: "5",
        must: "To ensure interoperability, a TURN server MUST support the use of UDP transport between the client and the server.",
        run: |stand| {
            stand.needs_credentials()?;
            needed(stand.datagrams())?.ask_relay(|_| ())?.success()
        },
    },
    Case {
        name: "allocate.unauthenticated",
        rfc: 8656,
        section: "7.2",
        must: "The server MUST require that the request be authenticated.",
        run: |stand| {
            let reply = stand.client()?.challenge()?;
            claim(!reply.is_success(), || "strangers get a relay".to_owned())
        },
    },
    Case {
        name: "allocate.relayed-address",
        rfc: 8656,
        section: "7.2",
        must: "The success response contains an XOR-RELAYED-ADDRESS attribute containing the relayed transport address.",
        run: |stand| {
            let relay = stand.client()?.allocate()?.relayed()?;
            claim(relay.port() != 0 && !relay.ip().is_unspecified(), || format!("it is {relay}"))
        },
    },
    Case {
        name: "allocate.lifetime",
        rfc: 8656,
        section: "7.2",
        must: "The success response contains a LIFETIME attribute containing the current value of the time-to-expiry timer.",
        run: |stand| {
            let lifetime = stand.client()?.allocate()?.lifetime()?;
            claim(lifetime > 0, || "it is 0".to_owned())
        },
    },
    Case {
        name: "allocate.mapped-address",
        rfc: 8656,
        section: "7.2",
        must: "The success response contains an XOR-MAPPED-ADDRESS attribute containing the client's IP address and port.",
        run: |stand| {
            let mut client = stand.client()?;
            let mapped = client.allocate()?.mapped()?;
            let wanted = match stand.answers_binding {
                true => client.binding()?.mapped().before("a Binding response")?,
                false if stand.direct => client.local()?,
                false => return Ok(()),
            };
            claim(mapped == wanted, || format!("it is {mapped} and not {wanted}"))
        },
    },
    Case {
        name: "allocate.twice",
        rfc: 8656,
        section: "7.2",
        must: "If the 5-tuple is currently in use by an existing allocation, the server rejects the request with a 437 (Allocation Mismatch) error.",
        run: |stand| {
            let mut client = stand.allocated()?;
            client.ask_relay(|_| ())?.refused(437)
        },
    },
    Case {
        name: "allocate.repeated",
        rfc: 8656,
        section: "7.2",
        must: "The server handles the possible retransmissions of the request so that retransmissions do not cause multiple allocations to be created.",
        run: repeated,
    },
    Case {
        name: "allocate.transport-missing",
        rfc: 8656,
        section: "7.2",
        must: "If the REQUESTED-TRANSPORT attribute is not included, the server rejects the request with a 400 (Bad Request) error.",
        run: |stand| stand.client()?.ask(Method::ALLOCATE, |_| ())?.refused(400),
    },
    Case {
        name: "allocate.transport-malformed",
        rfc: 8656,
        section: "7.2",
        must: "If the REQUESTED-TRANSPORT attribute is malformed, the server rejects the request with a 400 (Bad Request) error.",
        run: |stand| {
            let mut client = stand.client()?;
            let malformed = |it: &mut crate::stun::Writer<'_>| {
                it.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0]);
            };
            client.ask(Method::ALLOCATE, malformed)?.refused(400)
        },
    },
    Case {
        name: "allocate.transport-unsupported",
        rfc: 8656,
        section: "7.2",
        must: "If the attribute specifies a protocol that is not supported by the server, the server rejects the request with a 442 (Unsupported Transport Protocol) error.",
        run: |stand| {
            let mut client = stand.client()?;
            let strange = |it: &mut crate::stun::Writer<'_>| {
                it.number(attribute::REQUESTED_TRANSPORT, 254 << 24);
            };
            client.ask(Method::ALLOCATE, strange)?.refused(442)
        },
    },
    Case {
        name: "allocate.transport-rffu",
        rfc: 8656,
        section: "18.8",
        must: "The RFFU field MUST be set to zero on transmission and MUST be ignored on reception.",
        run: |stand| {
            let mut client = stand.client()?;
            let set = |it: &mut crate::stun::Writer<'_>| {
                it.number(attribute::REQUESTED_TRANSPORT, UDP | 0x00FF_FFFF);
            };
            client.ask(Method::ALLOCATE, set)?.success()
        },
    },
    Case {
        name: "allocate.dont-fragment",
        rfc: 8656,
        section: "7.2",
        must: "If the server does not support the DF bit, it treats the DONT-FRAGMENT attribute as an unknown comprehension-required attribute; else the request succeeds.",
        run: |stand| {
            let reply =
                stand.client()?.ask_relay(|it| it.attribute(attribute::DONT_FRAGMENT, b""))?;
            if reply.code() != Some(420) {
                return reply.success();
            }
            let list = reply.has(attribute::UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES")?;
            let listed =
                list.chunks_exact(2).any(|it| it == attribute::DONT_FRAGMENT.to_be_bytes());
            claim(listed, || format!("DONT-FRAGMENT is not in {list:02x?}"))
        },
    },
    Case {
        name: "allocate.unknown-required",
        rfc: 8489,
        section: "6.3.1",
        must: "If an authenticated request contains unknown comprehension-required attributes, the server replies with 420 (Unknown Attribute) and lists them.",
        run: |stand| {
            let reply = stand.client()?.ask_relay(|it| it.attribute(UNKNOWN, b""))?;
            reply.refused(420)?;
            let list = reply.has(attribute::UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES")?;
            claim(list == UNKNOWN.to_be_bytes(), || format!("the list is {list:02x?}"))
        },
    },
    Case {
        name: "allocate.unique",
        rfc: 8656,
        section: "6",
        must: "The relayed transport address MUST be unique across all allocations.",
        run: unique,
    },
    Case {
        name: "allocate.lifetime-short",
        rfc: 8656,
        section: "7.2",
        must: "If the computed value is greater than the default lifetime, then the server uses it; otherwise, the server uses the default lifetime.",
        run: |stand| {
            let usual = stand.client()?.allocate()?.lifetime().before("an allocation")?;
            let short = asking(stand, 1)?.lifetime()?;
            claim(short >= usual, || {
                format!("1 s was asked and {short} s given; {usual} s is usual")
            })
        },
    },
    Case {
        name: "allocate.lifetime-long",
        rfc: 8656,
        section: "7.2",
        must: "The server computes the minimum of the client's proposed lifetime and the server's maximum allowed lifetime.",
        run: |stand| {
            let usual = stand.client()?.allocate()?.lifetime().before("an allocation")?;
            let asked = usual.saturating_add(100);
            let given = asking(stand, asked)?.lifetime()?;
            claim((usual..=asked).contains(&given), || {
                format!("{asked} s was asked and {given} s given")
            })
        },
    },
    Case {
        name: "allocate.indication-silent",
        rfc: 8656,
        section: "4",
        must: "Allocate is defined as a request: an indication of that method is silently discarded.",
        run: |stand| {
            let mut client = stand.client()?;
            let proof = client.proof()?;
            let packet = Packet::new(Kind::indication(Method::ALLOCATE), |writer| {
                writer.number(attribute::REQUESTED_TRANSPORT, UDP);
                proof.sign(writer);
            })?;
            client.unanswered(&packet)
        },
    },
];

fn asking(stand: &Stand, lifetime: u32) -> Result<Reply, Stop> {
    let reply = stand.client()?.ask_relay(|it| it.number(attribute::LIFETIME, lifetime))?;
    reply.success().before("an allocation")?;
    Ok(reply)
}

fn repeated(stand: &Stand) -> Outcome {
    stand.needs_credentials()?;
    let mut client = stand.datagrams()?;
    let packet =
        client.signed(Method::ALLOCATE, |it| it.number(attribute::REQUESTED_TRANSPORT, UDP))?;
    client.holds_relay();
    let first = client.exchange(&packet)?;
    first.success().before("an allocation")?;
    let second = client.exchange(&packet)?;
    second.success()?;
    let (first, second) = (first.relayed()?, second.relayed()?);
    claim(first == second, || format!("first {first}, then {second}"))
}

fn unique(stand: &Stand) -> Outcome {
    let mut clients = Vec::new();
    let mut relays: Vec<SocketAddr> = Vec::new();
    for _ in 0..4 {
        let mut client = stand.client()?;
        let relay = client.allocate()?.relayed().before("an allocation")?;
        claim(!relays.contains(&relay), || format!("{relay} is given twice"))?;
        relays.push(relay);
        clients.push(client);
    }
    Ok(())
}
