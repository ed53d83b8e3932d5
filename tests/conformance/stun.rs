//! RFC 8489 without credentials.

use turnwire::stun::{Class, Kind, Method, attribute};

use super::draft::Draft;
use super::saboteur::{Deed, Memory, Out};
use super::{Broken, broken, silent};

pub(crate) const BROKEN: &[Broken] = &[
    broken(
        "no datagram is answered",
        Deed::Back(
            |bytes, memory| {
                if memory.is_stream { vec![Out::Client(bytes)] } else { Vec::new() }
            },
        ),
        &["stun.binding-udp", "allocate.udp"],
    ),
    broken(
        "no stream is answered",
        Deed::Back(
            |bytes, memory| {
                if memory.is_stream { Vec::new() } else { vec![Out::Client(bytes)] }
            },
        ),
        &["stun.binding-tcp"],
    ),
    silent(
        "responses have numbers of their own",
        Deed::Bytes(|bytes, memory| {
            // The first one is well, or else nothing would be tried.
            if once(memory) {
                bytes[19] ^= 1
            }
        }),
        &["stun.transaction-id"],
    ),
    broken(
        "the cookie is gone",
        Deed::Bytes(|bytes, _| bytes[4..8].copy_from_slice(b"1989")),
        &["stun.magic-cookie"],
    ),
    broken(
        "every success is an Allocate's",
        Deed::Response(|_, it, _| {
            it.kind = Kind { method: Method::ALLOCATE, ..it.kind };
        }),
        &["stun.response-kind"],
    ),
    broken(
        "clients are told their neighbour's port",
        Deed::Response(|_, it, _| {
            if let Some(mut value) = it.get(attribute::XOR_MAPPED_ADDRESS).map(<[u8]>::to_vec) {
                value[3] ^= 1;
                it.put(attribute::XOR_MAPPED_ADDRESS, &value);
            }
        }),
        &["stun.mapped-address", "stun.mapped-address-tcp"],
    ),
    broken(
        "what is zero in an address is not",
        Deed::Response(|_, it, _| mapped(it, |value| value[0] = 7)),
        &["stun.mapped-address-padding"],
    ),
    broken(
        "addresses are longer than their family",
        Deed::Response(|_, it, _| mapped(it, |value| value.extend([0; 4]))),
        &["stun.mapped-address-length"],
    ),
    broken(
        "the second look finds another address",
        Deed::Response(|_, it, memory| {
            if once(memory) {
                mapped(it, |value| value[3] ^= 1)
            }
        }),
        &["stun.binding-repeated"],
    ),
    broken(
        "what is unknown is ignored",
        Deed::Request(|it, _| {
            it.attributes.retain(|(kind, _)| kind & 0x8000 != 0 || *kind < 0x100);
        }),
        &[
            "stun.unknown-required",
            "stun.unknown-listed",
            "stun.unknown-only-listed",
            "stun.error-code",
            "allocate.unknown-required",
        ],
    ),
    broken(
        "only one unknown attribute is listed",
        Deed::Response(|_, it, _| unknown(it, |list| list.truncate(2))),
        &["stun.unknown-listed"],
    ),
    broken(
        "known attributes are listed as well",
        Deed::Response(|_, it, _| unknown(it, |list| list.extend([0x80, 0x22]))),
        &["stun.unknown-only-listed", "allocate.unknown-required"],
    ),
    broken(
        "what may be ignored is refused",
        Deed::Response(|request, it, _| {
            if request.has(0xFFF1) {
                refuse(it, 420);
            }
        }),
        &["stun.unknown-optional"],
    ),
    broken(
        "errors have no code",
        Deed::Response(|_, it, _| it.drop(attribute::ERROR_CODE)),
        &["stun.error-code", "stun.error-code-range", "stun.error-reason"],
    ),
    broken(
        "a fingerprint is required",
        Deed::Request(|it, _| {
            if !it.fingerprint && it.kind.method == Method::BINDING {
                it.attributes.insert(0, (0x7FF0, Vec::new()));
            }
        }),
        &["stun.fingerprint-taken"],
    ),
    broken(
        "a fingerprint is not known",
        Deed::Response(|request, it, _| {
            if request.fingerprint {
                refuse(it, 420)
            }
        }),
        &["stun.fingerprint-taken"],
    ),
    broken(
        "lengths are too short",
        Deed::Bytes(|bytes, memory| {
            // The header says four bytes less than there are.
            if once(memory) {
                bytes[3] -= 4
            }
        }),
        &["stun.message-length"],
    ),
    broken(
        "padding is not zero",
        Deed::Bytes(|bytes, _| {
            // Behind a REALM of eleven bytes stands one of padding.
            if let Some(at) = bytes.windows(11).position(|it| it == b"example.org") {
                bytes[at + 11] = 0xFF;
            }
        }),
        &["stun.attribute-padding-zero"],
    ),
    silent(
        "padding is looked at",
        Deed::Packet(|bytes, _| {
            let padded = bytes.len() == 28 && bytes[25..] == [0xFF; 3];
            if padded { Vec::new() } else { vec![Out::Server(bytes)] }
        }),
        &["stun.padding-ignored"],
    ),
    broken(
        "codes are out of their range",
        Deed::Response(|_, it, _| error(it, |value| value[3] = 101)),
        &["stun.error-code-range", "auth.challenge"],
    ),
    broken(
        "reasons are no UTF-8",
        Deed::Response(|_, it, _| error(it, |value| value.extend([0xFF, 0xFE]))),
        &["stun.error-reason"],
    ),
    broken(
        "the software has a long name",
        Deed::Response(|_, it, _| it.put(attribute::SOFTWARE, &[b'x'; 128])),
        &["stun.software"],
    ),
    broken(
        "something follows the fingerprint",
        Deed::Bytes(|bytes, _| {
            let last = bytes.len() - 8;
            if bytes.len() > 28 && bytes[last..last + 2] == attribute::FINGERPRINT.to_be_bytes() {
                bytes.extend([0x80, 0x22, 0, 0]);
                bytes[3] += 4;
            }
        }),
        &["stun.fingerprint-last"],
    ),
    broken(
        "everything is answered",
        Deed::Packet(|bytes, _| {
            let mut echo = bytes.clone();
            echo.resize(echo.len().max(20), 0);
            // A refusal of Binding with nothing in it.
            echo.truncate(20);
            echo[..4].copy_from_slice(&[1, 0x11, 0, 0]);
            let sound = Draft::read(&bytes, None).is_some_and(|it| {
                it.kind.class == Class::Request
                    && matches!(it.kind.method, Method::BINDING | Method::ALLOCATE)
            });
            if sound { vec![Out::Server(bytes)] } else { vec![Out::Client(echo)] }
        }),
        &[
            "stun.indication-silent",
            "stun.indication-unknown-silent",
            "stun.response-silent",
            "stun.method-unknown-silent",
            "stun.class-not-allowed-silent",
            "stun.fingerprint-wrong-silent",
            "stun.length-odd-silent",
            "stun.length-short-silent",
            "stun.length-long-silent",
            "stun.first-bits-silent",
            "auth.indication-unauthenticated",
            "allocate.indication-silent",
        ],
    ),
    broken(
        "one message of each read is looked at",
        Deed::Read(|read| read.truncate(20)),
        &["stun.stream-pipelined"],
    ),
    silent(
        "messages must come in one piece",
        Deed::Read(|read| {
            if read.len() < 20 {
                read.clear()
            }
        }),
        &["stun.stream-split"],
    ),
];

/// Whether this is not the first call for this client.
fn once(memory: &mut Memory) -> bool {
    memory.notes.insert("once", Vec::new()).is_some()
}

fn mapped(it: &mut Draft, change: impl FnOnce(&mut Vec<u8>)) {
    edit(it, attribute::XOR_MAPPED_ADDRESS, change);
}

fn unknown(it: &mut Draft, change: impl FnOnce(&mut Vec<u8>)) {
    edit(it, attribute::UNKNOWN_ATTRIBUTES, change);
}

fn error(it: &mut Draft, change: impl FnOnce(&mut Vec<u8>)) {
    edit(it, attribute::ERROR_CODE, change);
}

/// Changes an attribute, where it is there.
pub(crate) fn edit(it: &mut Draft, kind: u16, change: impl FnOnce(&mut Vec<u8>)) {
    if let Some((_, value)) = it.attributes.iter_mut().find(|(found, _)| *found == kind) {
        change(value);
    }
}

/// Makes a refusal of it.
pub(crate) fn refuse(it: &mut Draft, code: u16) {
    it.kind = Kind::error(it.kind.method);
    it.attributes.clear();
    it.put_code(code);
}

/// Makes a success of it.
pub(crate) fn succeed(it: &mut Draft) {
    it.kind = Kind::success(it.kind.method);
    it.drop(attribute::ERROR_CODE);
}
