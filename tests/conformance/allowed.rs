//! What a server may do, or what is not the sentence's fault: no case calls it a failure.

use std::sync::atomic::{AtomicBool, Ordering};

use turnwire::stun::{Class, Kind, Method, attribute};

use super::draft::Draft;
use super::saboteur::{Deed, Out, xor};
use super::stun::{edit, refuse};

/// One thing that is not wrong, and what becomes of a case.
pub(crate) struct Allowed {
    pub(crate) what: &'static str,
    pub(crate) deed: Deed,
    pub(crate) case: &'static str,
    pub(crate) status: &'static str,
}

pub(crate) const ALLOWED: &[Allowed] = &[
    Allowed {
        what: "somebody has taken the reserved port meanwhile",
        deed: Deed::Response(|request, it, _| {
            static TAKEN: AtomicBool = AtomicBool::new(false);
            if request.has(attribute::RESERVATION_TOKEN) && !TAKEN.swap(true, Ordering::Relaxed) {
                refuse(it, 508)
            }
        }),
        case: "allocate.reserved-taken",
        status: "passed",
    },
    Allowed {
        what: "of two families it is IPv4 that is missing",
        deed: Deed::Response(|_, it, _| {
            if it.has(attribute::ADDRESS_ERROR_CODE) {
                let six = xor("[::1]:50000".parse().unwrap(), &it.id);
                it.put(attribute::XOR_RELAYED_ADDRESS, &six);
                edit(it, attribute::ADDRESS_ERROR_CODE, |value| value[0] = 1);
            }
        }),
        case: "allocate.additional-ipv6",
        status: "passed",
    },
    Allowed {
        what: "there is no room for two addresses",
        deed: Deed::Response(|request, it, _| {
            if request.has(attribute::ADDITIONAL_ADDRESS_FAMILY) {
                refuse(it, 508)
            }
        }),
        case: "allocate.additional-ipv6",
        status: "skipped",
    },
    Allowed {
        what: "there are no IPv4 relays",
        deed: Deed::Response(|_, it, _| {
            if it.has(attribute::XOR_RELAYED_ADDRESS) {
                refuse(it, 440)
            }
        }),
        case: "allocate.additional-ipv6",
        status: "skipped",
    },
    Allowed {
        what: "peers are who asks, and nobody else",
        deed: Deed::Response(|request, it, _| {
            if request.kind.method == Method::CREATE_PERMISSION && is_for_another(request) {
                refuse(it, 403)
            }
        }),
        case: "permission.several",
        status: "skipped",
    },
    Allowed {
        what: "Binding requests are not answered",
        deed: Deed::Back(|bytes, _| match Draft::read(&bytes, None) {
            Some(it) if it.kind.method == Method::BINDING => Vec::new(),
            _ => vec![Out::Client(bytes)],
        }),
        case: "nat.change-unsupported",
        status: "skipped",
    },
    Allowed {
        what: "no nonce is called stale, which is another case's",
        deed: Deed::Response(|_, it, _| {
            if it.code() == Some(438) {
                it.put_code(401)
            }
        }),
        case: "auth.nonce-stale-challenge",
        status: "unable",
    },
    Allowed {
        what: "no permission is answered, which is another case's",
        deed: Deed::Back(|bytes, _| match Draft::read(&bytes, None) {
            Some(it) if it.kind == ANSWERED => Vec::new(),
            _ => vec![Out::Client(bytes)],
        }),
        case: "channel.bound",
        status: "unable",
    },
];

const ANSWERED: Kind = Kind { class: Class::Success, method: Method::CREATE_PERMISSION };

/// Whether a peer is at another address than 127.0.0.1.
fn is_for_another(request: &Draft) -> bool {
    let here = xor("127.0.0.1:9".parse().unwrap(), &request.id);
    let peers = request.attributes.iter().filter(|(kind, _)| *kind == attribute::XOR_PEER_ADDRESS);
    peers.into_iter().any(|(_, value)| value[4..] != here[4..])
}
