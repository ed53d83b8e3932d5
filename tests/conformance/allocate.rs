//! RFC 8656 §7: allocations.

use turnwire::stun::{Kind, Method, attribute};

use super::draft::{Draft, Signed};
use super::saboteur::{Deed, Out};
use super::stun::{edit, refuse, succeed};
use super::{Broken, broken};

const UDP: [u8; 4] = [17, 0, 0, 0];

pub(crate) const BROKEN: &[Broken] = &[
    broken(
        "relays are nowhere",
        Deed::Response(|_, it, _| it.drop(attribute::XOR_RELAYED_ADDRESS)),
        &["allocate.relayed-address"],
    ),
    broken(
        "allocations have no lifetime",
        Deed::Response(|_, it, _| it.drop(attribute::LIFETIME)),
        &["allocate.lifetime"],
    ),
    broken(
        "allocations are told another port",
        Deed::Response(|request, it, _| {
            if request.kind.method == Method::ALLOCATE {
                edit(it, attribute::XOR_MAPPED_ADDRESS, |value| value[3] ^= 1)
            }
        }),
        &["allocate.mapped-address"],
    ),
    broken(
        "a second allocation is the first",
        Deed::Response(|_, it, _| {
            if it.code() == Some(437) {
                succeed(it)
            }
        }),
        &["allocate.twice"],
    ),
    broken(
        "a retransmission is a second allocation",
        Deed::Response(|_, it, memory| {
            if it.has(attribute::XOR_RELAYED_ADDRESS)
                && memory.notes.insert("seen", Vec::new()).is_some()
            {
                refuse(it, 437)
            }
        }),
        &["allocate.repeated"],
    ),
    broken(
        "each answer names another relay",
        Deed::Response(|_, it, memory| {
            if it.has(attribute::XOR_RELAYED_ADDRESS)
                && memory.notes.insert("seen", Vec::new()).is_some()
            {
                edit(it, attribute::XOR_RELAYED_ADDRESS, |value| value[3] ^= 1);
            }
        }),
        &["allocate.repeated"],
    ),
    broken(
        "UDP goes without saying",
        Deed::Request(|it, _| {
            if it.kind == Kind::request(Method::ALLOCATE) {
                it.put(attribute::REQUESTED_TRANSPORT, &UDP)
            }
        }),
        &[
            "allocate.transport-missing",
            "allocate.transport-malformed",
            "allocate.transport-unsupported",
        ],
    ),
    broken(
        "a strange protocol is a bad request",
        Deed::Response(|_, it, _| {
            if it.code() == Some(442) {
                it.put_code(400)
            }
        }),
        &["allocate.transport-unsupported"],
    ),
    broken(
        "reserved bits mean something",
        Deed::Response(|request, it, _| {
            if request
                .get(attribute::REQUESTED_TRANSPORT)
                .is_some_and(|it| it.len() == 4 && it[1] != 0)
            {
                refuse(it, 400)
            }
        }),
        &["allocate.transport-rffu"],
    ),
    broken(
        "DONT-FRAGMENT is forbidden",
        Deed::Response(|request, it, _| {
            if request.has(attribute::DONT_FRAGMENT) && signed(request) {
                refuse(it, 403)
            }
        }),
        &["allocate.dont-fragment"],
    ),
    broken(
        "a relay is given twice",
        Deed::Response(|_, it, _| {
            if it.has(attribute::XOR_RELAYED_ADDRESS) {
                let value = super::saboteur::xor("127.0.0.1:50000".parse().unwrap(), &it.id);
                it.put(attribute::XOR_RELAYED_ADDRESS, &value);
            }
        }),
        &["allocate.unique"],
    ),
    broken(
        "a short lifetime is granted",
        Deed::Response(|request, it, _| {
            if let Some(asked) = request.get(attribute::LIFETIME) {
                it.put(attribute::LIFETIME, asked)
            }
        }),
        &["allocate.lifetime-short"],
    ),
    broken(
        "every lifetime is the longest",
        Deed::Response(|request, it, _| {
            if request.has(attribute::LIFETIME) {
                it.put(attribute::LIFETIME, &3600_u32.to_be_bytes())
            }
        }),
        &["allocate.lifetime-long"],
    ),
    broken(
        "an indication is a request",
        Deed::Packet(|mut bytes, _| {
            if bytes.starts_with(&Kind::indication(Method::ALLOCATE).bits().to_be_bytes()) {
                bytes[1] &= !0x10
            }
            vec![Out::Server(bytes)]
        }),
        &["allocate.indication-silent"],
    ),
];

/// Whether it came with credentials.
pub(crate) fn signed(request: &Draft) -> bool {
    request.signed != Signed::No
}
