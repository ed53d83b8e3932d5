//! RFC 8489 §6.3: Binding requests and their answers.

use crate::stun::{Class, Kind, MAGIC_COOKIE, Method, attribute};
use crate::tools::conformance::case::{Case, Outcome, Stop, claim};
use crate::tools::conformance::client::{Packet, UNKNOWN};
use crate::tools::conformance::reply::Reply;
use crate::tools::conformance::stand::Stand;

/// Another one like it.
const UNKNOWN_TOO: u16 = 0x7FF2;
/// Comprehension-optional, and nobody's.
const OPTIONAL: u16 = 0xFFF1;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "stun.binding-udp",
        rfc: 8489,
        section: "12",
        must: "The STUN server MUST support the Binding method; it MUST support UDP.",
        run: |stand| {
            stand.needs_binding()?;
            needed(stand.datagrams())?.binding()?.success()
        },
    },
    Case {
        name: "stun.binding-tcp",
        rfc: 8489,
        section: "12",
        must: "The STUN server MUST support the Binding method; it MUST support TCP.",
        run: |stand| {
            stand.needs_binding()?;
            needed(stand.stream())?.binding()?.success()
        },
    },
    Case {
        name: "stun.transaction-id",
        rfc: 8489,
        section: "5",
        must: "Success and error responses MUST carry the same transaction ID as their corresponding request.",
        run: transaction_id,
    },
    Case {
        name: "stun.magic-cookie",
        rfc: 8489,
        section: "5",
        must: "The Magic Cookie field MUST contain the fixed value 0x2112A442 in network byte order.",
        run: |stand| {
            let reply = stand.client()?.binding()?;
            let cookie = reply.message().transaction_id().cookie();
            claim(cookie == MAGIC_COOKIE, || format!("the cookie is {cookie:#010x}"))
        },
    },
    Case {
        name: "stun.response-kind",
        rfc: 8489,
        section: "6.3.1.1",
        must: "The method of the response is the same as that of the request, and the class is Success Response.",
        run: |stand| {
            let reply = stand.client()?.binding()?;
            claim(reply.kind() == Kind::success(Method::BINDING), || reply.words())
        },
    },
    Case {
        name: "stun.mapped-address",
        rfc: 8489,
        section: "6.3.1.1",
        must: "The XOR-MAPPED-ADDRESS attribute contains the source transport address of the request message.",
        run: mapped_address,
    },
    Case {
        name: "stun.mapped-address-tcp",
        rfc: 8489,
        section: "6.3.1.1",
        must: "For TCP, this is the source IP address and source TCP port of the connection as seen by the server.",
        run: |stand| {
            stand.needs_binding()?;
            let mut client = stand.stream()?;
            let (mapped, local) = (client.binding()?.mapped()?, client.local()?);
            if !stand.direct {
                return Stop::skipped("there is a NAT between");
            }
            claim(mapped == local, || format!("it says {mapped} and not {local}"))
        },
    },
    Case {
        name: "stun.mapped-address-padding",
        rfc: 8489,
        section: "14.1",
        must: "The first 8 bits of the MAPPED-ADDRESS MUST be set to 0; the rules are the same for XOR-MAPPED-ADDRESS.",
        run: |stand| {
            let reply = stand.client()?.binding()?;
            let value = reply.has(attribute::XOR_MAPPED_ADDRESS, "XOR-MAPPED-ADDRESS")?;
            claim(value.first() == Some(&0), || format!("the attribute is {value:02x?}"))
        },
    },
    Case {
        name: "stun.mapped-address-length",
        rfc: 8489,
        section: "14.1",
        must: "If the address family is IPv4, the address MUST be 32 bits. If the address family is IPv6, the address MUST be 128 bits.",
        run: |stand| {
            let reply = stand.client()?.binding()?;
            let value = reply.has(attribute::XOR_MAPPED_ADDRESS, "XOR-MAPPED-ADDRESS")?;
            let fits = matches!((value.get(1), value.len()), (Some(1), 8) | (Some(2), 20));
            claim(fits, || format!("the attribute is {value:02x?}"))
        },
    },
    Case {
        name: "stun.binding-repeated",
        rfc: 8489,
        section: "6.3.1",
        must: "The server MUST respond to retransmissions such that the overall state is identical to the case where only one response is received.",
        run: |stand| {
            stand.needs_binding()?;
            let (mut client, packet) = (stand.datagrams()?, Packet::binding()?);
            let first = client.exchange(&packet)?.mapped()?;
            let second = client.exchange(&packet)?.mapped()?;
            claim(first == second, || format!("first {first}, then {second}"))
        },
    },
    Case {
        name: "stun.unknown-required",
        rfc: 8489,
        section: "6.3.1",
        must: "If the request contains unknown comprehension-required attributes, the server replies with an error code of 420 (Unknown Attribute).",
        run: |stand| unknown(stand)?.refused(420),
    },
    Case {
        name: "stun.unknown-listed",
        rfc: 8489,
        section: "14.8",
        must: "The server MUST put this unknown attribute in the UNKNOWN-ATTRIBUTE attribute of its error response.",
        run: |stand| {
            let reply = unknown(stand)?;
            reply.refused(420)?;
            let list = reply.has(attribute::UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES")?;
            let listed = |kind: u16| list.chunks_exact(2).any(|it| it == kind.to_be_bytes());
            let both = listed(UNKNOWN) && listed(UNKNOWN_TOO);
            claim(both, || format!("{UNKNOWN:#06x} and {UNKNOWN_TOO:#06x} are not in {list:02x?}"))
        },
    },
    Case {
        name: "stun.unknown-only-listed",
        rfc: 8489,
        section: "6.3.1",
        must: "UNKNOWN-ATTRIBUTES lists the unknown comprehension-required attributes, and no others.",
        run: |stand| {
            let reply = unknown(stand)?;
            reply.refused(420)?;
            let list = reply.has(attribute::UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES")?;
            let theirs = [UNKNOWN.to_be_bytes(), UNKNOWN_TOO.to_be_bytes()];
            let fits = list.chunks_exact(2).all(|it| theirs.iter().any(|kind| kind == it));
            claim(fits, || format!("the list is {list:02x?}"))
        },
    },
    Case {
        name: "stun.unknown-optional",
        rfc: 8489,
        section: "6.3",
        must: "Unknown comprehension-optional attributes MUST be ignored by the agent.",
        run: |stand| {
            stand.needs_binding()?;
            let packet = Packet::new(Kind::request(Method::BINDING), |writer| {
                writer.attribute(OPTIONAL, b"whatever");
            })?;
            stand.client()?.exchange(&packet)?.success()
        },
    },
    Case {
        name: "stun.error-code",
        rfc: 8489,
        section: "6.3.1.1",
        must: "For an error response, the server MUST add an ERROR-CODE attribute.",
        run: |stand| {
            let reply = unknown(stand)?;
            claim(reply.kind().class == Class::Error, || reply.words())?;
            reply.has(attribute::ERROR_CODE, "ERROR-CODE").map(drop)
        },
    },
    Case {
        name: "stun.fingerprint-taken",
        rfc: 8489,
        section: "12",
        must: "It MAY utilize the FINGERPRINT mechanism but MUST NOT require it.",
        run: |stand| {
            let mut client = stand.client()?;
            client.binding()?.success()?;
            let packet = Packet::new(Kind::request(Method::BINDING), |it| it.fingerprint())?;
            client.exchange(&packet)?.success()
        },
    },
];

/// A transport that must be there.
pub(in crate::tools::conformance) fn needed<T>(transport: Result<T, Stop>) -> Result<T, Stop> {
    transport.map_err(|stop| match stop {
        Stop::Skipped(why) => Stop::Failed(why),
        other => other,
    })
}

/// A request with two attributes that nobody knows, and the answer.
fn unknown(stand: &Stand) -> Result<Reply, Stop> {
    stand.needs_binding()?;
    let packet = Packet::new(Kind::request(Method::BINDING), |writer| {
        writer.attribute(UNKNOWN, b"");
        writer.attribute(attribute::SOFTWARE, b"turnwire check");
        writer.attribute(UNKNOWN_TOO, b"1234");
    })?;
    stand.client()?.exchange(&packet)
}

/// Two requests of one client: the answer to each has its number.
fn transaction_id(stand: &Stand) -> Outcome {
    stand.needs_binding()?;
    let mut client = stand.client()?;
    let packets = [Packet::binding()?, Packet::binding()?];
    for packet in &packets {
        client.exchange(packet)?;
    }
    Ok(())
}

fn mapped_address(stand: &Stand) -> Outcome {
    let mut client = stand.client()?;
    let (mapped, local) = (client.binding()?.mapped()?, client.local()?);
    if stand.direct {
        return claim(mapped == local, || format!("it says {mapped} and not {local}"));
    }
    // Behind a NAT only a second client can tell: it has another port there.
    let other = stand.client()?.binding()?.mapped()?;
    claim(mapped != other, || format!("two clients at once have both {mapped}"))
}
