//! RFC 8489 §6.3: what must not be answered, or only in one way.

use crate::stun::{Class, Kind, Method, attribute};
use crate::tools::conformance::case::{Case, Outcome, Stop};
use crate::tools::conformance::client::{Packet, UNKNOWN};
use crate::tools::conformance::stand::Stand;

/// No method has this number.
const NO_METHOD: Method = Method(0x0FE);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "stun.indication-silent",
        rfc: 8489,
        section: "6.3.2",
        must: "No response is generated for an indication.",
        run: |stand| silent(stand, Kind::indication(Method::BINDING), &[]),
    },
    Case {
        name: "stun.indication-unknown-silent",
        rfc: 8489,
        section: "6.3.2",
        must: "If the indication contains unknown comprehension-required attributes, the indication is discarded.",
        run: |stand| silent(stand, Kind::indication(Method::BINDING), &[UNKNOWN]),
    },
    Case {
        name: "stun.response-silent",
        rfc: 8489,
        section: "6.3",
        must: "If the message is a response, the agent checks that the transaction ID matches a transaction in progress; else it is silently discarded.",
        run: |stand| {
            silent(stand, Kind::success(Method::BINDING), &[])?;
            silent(stand, Kind::error(Method::BINDING), &[])
        },
    },
    Case {
        name: "stun.method-unknown-silent",
        rfc: 8489,
        section: "6.3",
        must: "It checks that the method value is a supported method. If any errors are detected, the message is silently discarded.",
        run: |stand| silent(stand, Kind::request(NO_METHOD), &[]),
    },
    Case {
        name: "stun.class-not-allowed-silent",
        rfc: 8489,
        section: "6.3",
        must: "It checks that the message class is allowed for the particular method. If any errors are detected, the message is silently discarded.",
        run: |stand| silent(stand, Kind { class: Class::Request, method: Method::DATA }, &[]),
    },
    Case {
        name: "stun.fingerprint-wrong-silent",
        rfc: 8489,
        section: "6.3",
        must: "The agent checks that the FINGERPRINT contains the correct value. If any errors are detected, the message is silently discarded.",
        run: |stand| {
            let mut packet =
                Packet::new(Kind::request(Method::BINDING), |writer| writer.fingerprint())?;
            if let Some(last) = packet.bytes.last_mut() {
                *last ^= 1;
            }
            stand.client()?.unanswered(&packet)
        },
    },
    Case {
        name: "stun.length-odd-silent",
        rfc: 8489,
        section: "6.3",
        must: "It checks that the message length is sensible. If any errors are detected, the message is silently discarded.",
        run: |stand| {
            damaged(stand, |bytes| {
                bytes.push(0);
                bytes[3] += 1;
            })
        },
    },
    Case {
        name: "stun.length-short-silent",
        rfc: 8489,
        section: "6.3",
        must: "A message whose length is less than what the datagram holds is silently discarded.",
        run: |stand| damaged(stand, |bytes| bytes[3] -= 4),
    },
    Case {
        name: "stun.length-long-silent",
        rfc: 8489,
        section: "6.3",
        must: "A message whose length is more than what the datagram holds is silently discarded.",
        run: |stand| damaged(stand, |bytes| bytes[3] += 4),
    },
    Case {
        name: "stun.first-bits-silent",
        rfc: 8489,
        section: "6.3",
        must: "The most significant 2 bits of every STUN message MUST be zeroes; else it is silently discarded.",
        run: |stand| damaged(stand, |bytes| bytes[0] |= 0x80),
    },
    Case {
        name: "stun.classic-secure-refused",
        rfc: 8489,
        section: "11",
        must: "Any STUN request without the magic cookie over DTLS MUST be considered invalid and MUST generate a 500 (Server Error) error response.",
        run: classic_secure,
    },
];

fn silent(stand: &Stand, kind: Kind, unknown: &[u16]) -> Outcome {
    let packet = Packet::new(kind, |writer| {
        unknown.iter().for_each(|kind| writer.attribute(*kind, b""));
    })?;
    stand.client()?.unanswered(&packet)
}

/// A request with a mistake that only a datagram can have: on a stream it would be the end of all framing.
fn damaged(stand: &Stand, damage: impl Fn(&mut Vec<u8>)) -> Outcome {
    stand.needs_binding()?;
    let mut packet = Packet::new(Kind::request(Method::BINDING), |writer| {
        writer.attribute(attribute::SOFTWARE, b"turnwire");
    })?;
    damage(&mut packet.bytes);
    stand.datagrams()?.unanswered(&packet)
}

fn classic_secure(stand: &Stand) -> Outcome {
    let mut client = stand.datagrams()?;
    if !stand.target.way.is_secure() {
        return Stop::skipped("it is about DTLS");
    }
    stand.needs_binding()?;
    let mut packet = Packet::binding()?;
    packet.bytes[4..8].copy_from_slice(b"1989");
    client.exchange(&packet)?.refused(500)
}
