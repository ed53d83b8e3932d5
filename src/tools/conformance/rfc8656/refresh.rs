//! RFC 8656 §8.2: Refresh requests; §5: who may ask for what is another's.

use crate::stun::{Kind, Method, Writer, attribute};
use crate::tools::conformance::case::{Before as _, Case, Outcome, claim};
use crate::tools::conformance::client::{Client, Packet};
use crate::tools::conformance::stand::Stand;

use super::permission::NOBODY;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "refresh.lifetime",
        rfc: 8656,
        section: "8.2",
        must: "If the request succeeds, then the server sends a success response containing a LIFETIME attribute.",
        run: |stand| {
            let mut client = stand.allocated()?;
            let reply = client.refresh(700)?;
            reply.success()?;
            claim(reply.lifetime()? > 0, || "it is 0".to_owned())
        },
    },
    Case {
        name: "refresh.lifetime-missing",
        rfc: 8656,
        section: "8.2",
        must: "The \"desired lifetime\" (without a LIFETIME attribute) is the default lifetime.",
        run: |stand| {
            let mut client = stand.client()?;
            let usual = client.allocate()?.lifetime()?;
            let given = client.ask(Method::REFRESH, |_| ())?.lifetime()?;
            claim(given == usual, || format!("{given} s is given; {usual} s is usual"))
        },
    },
    Case {
        name: "refresh.lifetime-short",
        rfc: 8656,
        section: "8.2",
        must: "If this computed value is greater than the default lifetime, then the \"desired lifetime\" is the computed value. Otherwise, it is the default lifetime.",
        run: |stand| {
            let mut client = stand.client()?;
            let usual = client.allocate()?.lifetime()?;
            let given = client.refresh(1)?.lifetime()?;
            claim(given >= usual, || {
                format!("1 s was asked and {given} s given; {usual} s is usual")
            })
        },
    },
    Case {
        name: "refresh.lifetime-long",
        rfc: 8656,
        section: "8.2",
        must: "The server computes the minimum of the client's requested lifetime and the server's maximum allowed lifetime.",
        run: |stand| {
            let mut client = stand.client()?;
            let usual = client.allocate()?.lifetime()?;
            let (asked, given) =
                (usual.saturating_add(100), client.refresh(usual.saturating_add(100))?.lifetime()?);
            claim((usual..=asked).contains(&given), || {
                format!("{asked} s was asked and {given} s given")
            })
        },
    },
    Case {
        name: "refresh.zero",
        rfc: 8656,
        section: "8.2",
        must: "If the \"desired lifetime\" is zero, then the request succeeds and the allocation is deleted.",
        run: |stand| {
            let mut client = stand.allocated()?;
            let reply = client.refresh(0)?;
            reply.success()?;
            let left = reply.lifetime()?;
            claim(left == 0, || format!("LIFETIME is {left}"))?;
            client.permit(NOBODY)?.refused(437)
        },
    },
    Case {
        name: "refresh.zero-frees",
        rfc: 8656,
        section: "8.2",
        must: "The allocation is deleted: the 5-tuple can have another one.",
        run: |stand| {
            let mut client = stand.allocated()?;
            client.refresh(0)?.success()?;
            client.ask_relay(|_| ())?.success()
        },
    },
    Case {
        name: "refresh.allocation-missing",
        rfc: 8656,
        section: "5",
        must: "If the 5-tuple does not identify an existing allocation, then the message (a Refresh request) MUST be rejected with a 437 (Allocation Mismatch) error.",
        run: |stand| stand.client()?.refresh(600)?.refused(437),
    },
    Case {
        name: "refresh.family",
        rfc: 8656,
        section: "8.2",
        must: "If the REQUESTED-ADDRESS-FAMILY value does not match the address family of the allocation, the server MUST reply with a 443 (Peer Address Family Mismatch) Refresh error response.",
        run: |stand| {
            let mut client = stand.client()?;
            let relay = client.allocate()?.relayed()?;
            let other: u8 = if relay.is_ipv4() { 2 } else { 1 };
            let reply = client.ask(Method::REFRESH, |writer| {
                writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[other, 0, 0, 0]);
            })?;
            reply.refused(443)
        },
    },
    Case {
        name: "refresh.unauthenticated",
        rfc: 8489,
        section: "9.2.4",
        must: "If the message (a Refresh request) does not contain a MESSAGE-INTEGRITY attribute, the server MUST generate an error response with an error code of 401 (Unauthenticated).",
        run: |stand| {
            let mut client = stand.allocated()?;
            unsigned(&mut client, Method::REFRESH, |it| it.number(attribute::LIFETIME, 0))?;
            client.refresh(600)?.success()
        },
    },
    Case {
        name: "permission.unauthenticated",
        rfc: 8489,
        section: "9.2.4",
        must: "If the message (a CreatePermission request) does not contain a MESSAGE-INTEGRITY attribute, the server MUST generate an error response with an error code of 401 (Unauthenticated).",
        run: |stand| {
            let mut client = stand.allocated()?;
            let peer = |it: &mut Writer<'_>| it.xor_address(attribute::XOR_PEER_ADDRESS, NOBODY);
            unsigned(&mut client, Method::CREATE_PERMISSION, peer)
        },
    },
    Case {
        name: "channel.unauthenticated",
        rfc: 8489,
        section: "9.2.4",
        must: "If the message (a ChannelBind request) does not contain a MESSAGE-INTEGRITY attribute, the server MUST generate an error response with an error code of 401 (Unauthenticated).",
        run: |stand| {
            let mut client = stand.allocated()?;
            let peer = |it: &mut Writer<'_>| {
                it.number(attribute::CHANNEL_NUMBER, 0x4000 << 16);
                it.xor_address(attribute::XOR_PEER_ADDRESS, NOBODY);
            };
            unsigned(&mut client, Method::CHANNEL_BIND, peer)
        },
    },
    Case {
        name: "refresh.other-user",
        rfc: 8656,
        section: "5",
        must: "If the request (Refresh) does not use the same username as used to create the allocation, then the request MUST be rejected with a 441 (Wrong Credentials) error.",
        run: |stand| other_user(stand, Method::REFRESH, |it| it.number(attribute::LIFETIME, 600)),
    },
    Case {
        name: "permission.other-user",
        rfc: 8656,
        section: "5",
        must: "If the request (CreatePermission) does not use the same username as used to create the allocation, then the request MUST be rejected with a 441 (Wrong Credentials) error.",
        run: |stand| {
            let peer = |it: &mut Writer<'_>| it.xor_address(attribute::XOR_PEER_ADDRESS, NOBODY);
            other_user(stand, Method::CREATE_PERMISSION, peer)
        },
    },
    Case {
        name: "channel.other-user",
        rfc: 8656,
        section: "5",
        must: "If the request (ChannelBind) does not use the same username as used to create the allocation, then the request MUST be rejected with a 441 (Wrong Credentials) error.",
        run: |stand| {
            other_user(stand, Method::CHANNEL_BIND, |it| {
                it.number(attribute::CHANNEL_NUMBER, 0x4000 << 16);
                it.xor_address(attribute::XOR_PEER_ADDRESS, NOBODY);
            })
        },
    },
];

/// That a request without credentials is challenged.
fn unsigned(
    client: &mut Client<'_>,
    method: Method,
    fill: impl FnOnce(&mut Writer<'_>),
) -> Outcome {
    let packet = Packet::new(Kind::request(method), fill)?;
    client.exchange(&packet)?.refused(401)
}

/// That somebody else's request on an allocation's 5-tuple is refused, and that the owner's is not.
fn other_user(stand: &Stand, method: Method, fill: impl Fn(&mut Writer<'_>)) -> Outcome {
    let second = stand.second_user()?;
    let mut client = stand.allocated()?;
    let proof = client.proof()?;
    client.prove_by(proof.clone().known_as(second));
    let reply = client.ask(method, fill)?;
    client.prove_by(proof);
    reply.refused(441)?;
    client.refresh(600)?.success().before("the owner's own Refresh")
}
