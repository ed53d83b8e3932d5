//! RFC 6062: TCP allocations.

use turnwire::stun::{Digest, Kind, Method, attribute};

use super::draft::{Draft, Signed};
use super::saboteur::{Deed, Out, xor};
use super::stun::{edit, refuse, succeed};
use super::{Broken, broken};

const ATTEMPT: Kind = Kind::indication(Method::CONNECTION_ATTEMPT);

pub(crate) const BROKEN: &[Broken] = &[
    broken(
        "nobody listens at the relay",
        Deed::Response(|_, it, _| {
            if it.has(attribute::XOR_RELAYED_ADDRESS) {
                // Discard, where nobody is.
                let value = xor("127.0.0.1:9".parse().unwrap(), &it.id);
                it.put(attribute::XOR_RELAYED_ADDRESS, &value);
            }
        }),
        &["tcp.allocate", "tcp.connect-source"],
    ),
    broken(
        "all that is asked is granted",
        Deed::Response(|request, it, _| {
            if it.code() == Some(400) && request.kind.method != Method::BINDING {
                succeed(it)
            }
        }),
        &[
            "tcp.allocate-over-udp",
            "tcp.allocate-dont-fragment",
            "tcp.allocate-even-port",
            "tcp.allocate-token",
            "tcp.connect-peer-missing",
            "tcp.connect-peer-malformed",
            "tcp.bind-id-missing",
            "tcp.bind-id-unknown",
            "tcp.bind-id-used",
            "tcp.bind-over-udp",
        ],
    ),
    broken(
        "a token comes with every relay",
        Deed::Response(|_, it, _| {
            if it.has(attribute::XOR_RELAYED_ADDRESS) {
                it.put(attribute::RESERVATION_TOKEN, b"whatever")
            }
        }),
        &["tcp.allocate-no-token"],
    ),
    broken(
        "over a stream there is only TCP",
        Deed::Request(|it, memory| {
            // What the transport is called stays as it was for UDP.
            if memory.is_stream {
                edit(it, attribute::REQUESTED_TRANSPORT, |value| {
                    if value[0] == 17 {
                        value[0] = 99
                    }
                })
            }
        }),
        &["tcp.allocate-udp-beside"],
    ),
    broken(
        "nobody is connected to",
        Deed::Response(|request, it, _| {
            if request.kind.method == Method::CONNECT {
                refuse(it, 508)
            }
        }),
        &[
            "tcp.connect",
            "tcp.connect-refused",
            "tcp.connection-id",
            "tcp.connection-id-unique",
            "tcp.connect-allocation-missing",
        ],
    ),
    broken(
        "connections have no number",
        Deed::Response(|_, it, _| it.drop(attribute::CONNECTION_ID)),
        &["tcp.connection-id"],
    ),
    broken(
        "connections have all the same number",
        Deed::Response(|_, it, _| edit(it, attribute::CONNECTION_ID, |id| id.fill(1))),
        &["tcp.connection-id-unique", "tcp.bind"],
    ),
    broken(
        "one may connect twice",
        Deed::Response(|_, it, _| {
            if it.code() == Some(446) {
                succeed(it)
            }
        }),
        &["tcp.connect-twice"],
    ),
    broken(
        "every failure is a 500",
        Deed::Response(|_, it, _| {
            if it.code().is_some_and(|code| code != 401) {
                it.put_code(500)
            }
        }),
        &["tcp.connect-refused", "tcp.connect-allocation-missing", "tcp.connect-twice"],
    ),
    broken(
        "attempts name no peer",
        Deed::Back(|bytes, _| attempt(bytes, |it| it.drop(attribute::XOR_PEER_ADDRESS))),
        &["tcp.attempt"],
    ),
    broken(
        "attempts have no number",
        Deed::Back(|bytes, _| attempt(bytes, |it| it.drop(attribute::CONNECTION_ID))),
        &["tcp.attempt-id"],
    ),
    broken(
        "attempts have another's number",
        Deed::Back(|bytes, _| {
            attempt(bytes, |it| edit(it, attribute::CONNECTION_ID, |id| id[3] ^= 0x55))
        }),
        &["tcp.attempt-bound"],
    ),
    broken(
        "one user's connection is every user's",
        Deed::Request(|it, _| {
            // A note beside all clients: who was here first.
            if it.has(attribute::USERNAME) && it.kind.method == Method::CONNECTION_BIND {
                let name = it
                    .text(attribute::USERNAME)
                    .unwrap()
                    .replace("turnwire-check-2", "turnwire-check");
                it.put(attribute::USERNAME, name.as_bytes());
                it.signed = Signed::Right(Digest::Sha1);
            }
        }),
        &["tcp.bind-other-user"],
    ),
    broken(
        "what goes through is changed",
        Deed::Through(|bytes, _| bytes.reverse()),
        &["tcp.data-to-peer", "tcp.data-to-client", "tcp.data-early", "tcp.attempt-bound"],
    ),
    broken("nobody's end is the other's", Deed::Keep, &["tcp.client-closes", "tcp.peer-closes"]),
    broken(
        "what was deleted lives on",
        Deed::Request(|it, _| {
            if it.kind.method == Method::REFRESH {
                edit(it, attribute::LIFETIME, |value| value[2] |= 2)
            }
        }),
        &["tcp.allocation-ends"],
    ),
];

/// What a server would be that opens every permission itself.
pub(crate) const OPEN: &[Broken] = &[broken(
    "everybody may connect",
    Deed::Back(super::relay::open_all),
    &["tcp.attempt-forbidden", "tcp.attempt-forbidden-silent"],
)];

fn attempt(bytes: Vec<u8>, change: impl FnOnce(&mut Draft)) -> Vec<Out> {
    let Some(mut draft) = Draft::read(&bytes, None).filter(|it| it.kind == ATTEMPT) else {
        return vec![Out::Client(bytes)];
    };
    change(&mut draft);
    vec![Out::Client(draft.write(None))]
}
