//! RFC 8656 §8-§12: what becomes of an allocation, and what goes through it.

use std::net::SocketAddr;

use turnwire::stun::{
    Class, Digest, Kind, Method, TransactionId, Writer, attribute, decode_xor_address,
};

use super::allocate::signed;
use super::draft::{Draft, Signed};
use super::saboteur::{Deed, Memory, Out, xor};
use super::stun::{edit, refuse, succeed};
use super::{Broken, broken, silent};

const SEND: Kind = Kind::indication(Method::SEND);
const DATA: Kind = Kind::indication(Method::DATA);

pub(crate) const BROKEN: &[Broken] = &[
    broken(
        "nobody is told a lifetime",
        Deed::Response(|_, it, _| it.drop(attribute::LIFETIME)),
        &["refresh.lifetime", "refresh.zero"],
    ),
    broken(
        "a Refresh gets what it asks",
        Deed::Response(|request, it, _| {
            if request.kind.method == Method::REFRESH {
                let asked = request.get(attribute::LIFETIME).unwrap_or(&[0, 0, 0, 9]);
                it.put(attribute::LIFETIME, asked);
            }
        }),
        &["refresh.lifetime-missing", "refresh.lifetime-short"],
    ),
    broken(
        "a Refresh gets an hour",
        Deed::Response(|request, it, _| {
            if request.kind.method == Method::REFRESH {
                it.put(attribute::LIFETIME, &3600_u32.to_be_bytes())
            }
        }),
        &["refresh.lifetime-long", "refresh.zero"],
    ),
    broken(
        "what was deleted lives on",
        Deed::Request(|it, _| {
            if it.kind.method == Method::REFRESH {
                edit(it, attribute::LIFETIME, |value| value[3] |= 1)
            }
        }),
        &["refresh.zero", "refresh.zero-frees", "data.after-deletion"],
    ),
    broken(
        "an allocation that is not there is no matter",
        Deed::Response(|_, it, _| {
            if it.code() == Some(437) {
                succeed(it)
            }
        }),
        &[
            "refresh.allocation-missing",
            "permission.allocation-missing",
            "channel.allocation-missing",
        ],
    ),
    broken(
        "families do not matter",
        Deed::Response(|_, it, _| {
            if it.code() == Some(443) {
                it.put_code(400)
            }
        }),
        &["refresh.family", "permission.family", "channel.family"],
    ),
    broken(
        "who has come in need not say who he is",
        Deed::Response(|request, it, _| {
            if !signed(request) && request.kind.method != Method::ALLOCATE {
                succeed(it)
            }
        }),
        &["refresh.unauthenticated", "permission.unauthenticated", "channel.unauthenticated"],
    ),
    broken(
        "one user's allocation is every user's",
        Deed::Request(|it, memory| {
            // The first one's name stands on what all ask.
            if let Some(name) = it.get(attribute::USERNAME).map(<[u8]>::to_vec) {
                let first = memory.notes.entry("first").or_insert(name).clone();
                it.put(attribute::USERNAME, &first);
                it.signed = Signed::Right(Digest::Sha1);
            }
        }),
        &["refresh.other-user", "permission.other-user", "channel.other-user"],
    ),
    broken(
        "nobody may talk to anybody",
        Deed::Response(|request, it, _| {
            if request.kind.method == Method::CREATE_PERMISSION {
                refuse(it, 508)
            }
        }),
        &["permission.created"],
    ),
    broken(
        "a permission needs no peer",
        Deed::Response(|request, it, _| {
            if request.kind.method == Method::CREATE_PERMISSION && it.code() == Some(400) {
                succeed(it)
            }
        }),
        &["permission.peer-missing", "permission.peer-malformed"],
    ),
    silent(
        "permissions are for one port",
        Deed::Packet(|bytes, memory| {
            if let Some(draft) = Draft::read(&bytes, None) {
                if draft.kind.method == Method::CREATE_PERMISSION
                    && let Some(peer) = peer(&draft)
                {
                    memory.notes.insert("port", peer.port().to_be_bytes().to_vec());
                }
                let only = memory.notes.get("port").cloned();
                if draft.kind == SEND
                    && peer(&draft).is_some_and(|it| only != Some(it.port().to_be_bytes().to_vec()))
                {
                    return Vec::new();
                }
            }
            vec![Out::Server(bytes)]
        }),
        &["permission.port-ignored", "permission.several", "channel.permission"],
    ),
    broken(
        "permissions cannot be refreshed",
        Deed::Response(|request, it, memory| {
            if request.kind.method == Method::CREATE_PERMISSION
                && memory.notes.insert("had", Vec::new()).is_some()
            {
                refuse(it, 400)
            }
        }),
        &["permission.refreshed"],
    ),
    broken(
        "everybody may be talked to",
        Deed::Packet(relay_all),
        &[
            "permission.needed-to-send",
            "permission.other-address",
            "send.source",
            "send.unknown-required",
            "data.after-deletion",
        ],
    ),
    broken(
        "what is sent is one byte shorter",
        Deed::Request(|it, _| {
            if it.kind == SEND {
                edit(it, attribute::DATA, |value| value.truncate(value.len().saturating_sub(1)))
            }
        }),
        &["send.data"],
    ),
    silent(
        "nothing empty is sent",
        Deed::Packet(|bytes, _| {
            let empty = Draft::read(&bytes, None)
                .is_some_and(|it| it.kind == SEND && it.get(attribute::DATA) == Some(&[]));
            let nothing = bytes.len() == 4 && bytes[0] == 0x40;
            if empty || nothing { Vec::new() } else { vec![Out::Server(bytes)] }
        }),
        &["send.data-empty", "channel.empty"],
    ),
    broken(
        "indications are answered",
        Deed::Packet(|bytes, _| {
            let mut outs = Vec::new();
            if let Some(draft) =
                Draft::read(&bytes, None).filter(|it| it.kind.class == Class::Indication)
            {
                let mut answer = Draft { kind: Kind::error(draft.kind.method), ..draft };
                answer.attributes.clear();
                answer.put_code(400);
                outs.push(Out::Client(answer.write(None)));
            } else if bytes[0] & 0xC0 == 0x40 {
                outs.push(Out::Client(vec![0x40, 0, 0, 0]));
            }
            outs.push(Out::Server(bytes));
            outs
        }),
        &[
            "send.data-missing",
            "send.peer-missing",
            "send.unknown-required",
            "send.allocation-missing",
            "send.dont-fragment",
            "channel.allocation-missing-silent",
            "channel.unbound-silent",
        ],
    ),
    broken(
        "a Send indication without DATA is an empty datagram",
        Deed::Request(|it, _| {
            if it.kind == SEND && !it.has(attribute::DATA) {
                it.put(attribute::DATA, b"")
            }
        }),
        &["send.data-missing"],
    ),
    broken(
        "unknown attributes of indications do not matter",
        Deed::Request(|it, _| it.drop(0x7FF1)),
        &["send.unknown-required"],
    ),
    broken(
        "DONT-FRAGMENT loses what it is for",
        Deed::Packet(|bytes, _| {
            let lost = Draft::read(&bytes, None)
                .is_some_and(|it| it.kind == SEND && it.has(attribute::DONT_FRAGMENT));
            if lost { Vec::new() } else { vec![Out::Server(bytes)] }
        }),
        &["send.dont-fragment"],
    ),
    broken(
        "Data indications have no peer",
        Deed::Back(|bytes, _| data(bytes, |it| it.drop(attribute::XOR_PEER_ADDRESS))),
        &["data.indication", "channel.permission"],
    ),
    broken(
        "Data indications name somebody else",
        Deed::Back(|bytes, _| {
            data(bytes, |it| edit(it, attribute::XOR_PEER_ADDRESS, |value| value[3] ^= 1))
        }),
        &["data.peer"],
    ),
    broken(
        "Data indications are cut",
        Deed::Back(|bytes, _| {
            data(bytes, |it| {
                edit(it, attribute::DATA, |value| {
                    value.truncate(value.len().saturating_sub(1).min(1000))
                })
            })
        }),
        &["data.data", "data.large"],
    ),
    silent(
        "what is empty is lost",
        Deed::Back(|bytes, _| {
            let empty = Draft::read(&bytes, None)
                .is_some_and(|it| it.kind == DATA && it.get(attribute::DATA) == Some(&[]));
            if empty { Vec::new() } else { vec![Out::Client(bytes)] }
        }),
        &["data.empty"],
    ),
    broken(
        "no channels",
        Deed::Response(|request, it, _| {
            if request.kind.method == Method::CHANNEL_BIND {
                refuse(it, 508)
            }
        }),
        &[
            "channel.bound",
            "channel.rffu",
            "channel.number-missing",
            "channel.peer-missing",
            "channel.number-low",
            "channel.number-high",
            "channel.number-old",
        ],
    ),
    broken(
        "every channel is granted",
        Deed::Response(|request, it, _| {
            if request.kind.method == Method::CHANNEL_BIND {
                succeed(it)
            }
        }),
        &[
            "channel.number-missing",
            "channel.peer-missing",
            "channel.number-low",
            "channel.number-high",
            "channel.number-old",
            "channel.number-taken",
            "channel.peer-taken",
            "channel.family",
            "channel.allocation-missing",
        ],
    ),
    broken(
        "channels cannot be refreshed",
        Deed::Response(|request, it, memory| {
            if request.kind.method == Method::CHANNEL_BIND
                && memory.notes.insert("had", Vec::new()).is_some()
            {
                refuse(it, 400)
            }
        }),
        &["channel.refreshed"],
    ),
    broken(
        "what is sent by a channel is changed",
        Deed::Packet(|mut bytes, _| {
            if bytes[0] & 0xC0 == 0x40 && bytes.len() > 4 {
                bytes[4] ^= 1
            }
            vec![Out::Server(bytes)]
        }),
        &["channel.to-peer", "channel.stream-padding-read"],
    ),
    broken(
        "what is sent by a channel comes from elsewhere",
        Deed::Packet(from_elsewhere),
        &["channel.source", "channel.unbound-silent", "channel.length-long-silent"],
    ),
    broken(
        "channels carry nothing back",
        Deed::Back(|bytes, _| by_indication(bytes)),
        &["channel.from-peer", "channel.stream-padded"],
    ),
    broken(
        "streams are not padded",
        Deed::Back(|bytes, memory| {
            let mut bytes = bytes;
            if memory.is_stream && bytes[0] & 0xC0 == 0x40 {
                let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
                bytes.truncate(4 + length);
            }
            vec![Out::Client(bytes)]
        }),
        &["channel.stream-padded"],
    ),
    silent(
        "a channel closes the other way",
        Deed::Packet(|bytes, memory| {
            let draft = Draft::read(&bytes, None);
            if draft.as_ref().is_some_and(|it| it.kind.method == Method::CHANNEL_BIND) {
                memory.notes.insert("bound", Vec::new());
            }
            let lost =
                memory.notes.contains_key("bound") && draft.is_some_and(|it| it.kind == SEND);
            if lost { Vec::new() } else { vec![Out::Server(bytes)] }
        }),
        &["channel.send-beside", "channel.permission"],
    ),
];

/// What a server would be that opens every permission itself.
/// What a server would be that opens every permission itself.
pub(crate) const OPEN: &[Broken] = &[broken(
    "everybody may talk to the client",
    Deed::Back(open_all),
    &["permission.needed-to-receive", "permission.needed-to-send", "permission.other-address"],
)];

/// Asks for permissions in the client's name as soon as it has an allocation.
pub(crate) fn open_all(bytes: Vec<u8>, memory: &mut Memory) -> Vec<Out> {
    let mut outs = Vec::new();
    let asked = Draft::read(&bytes, None).filter(|it| it.kind == Kind::success(Method::ALLOCATE));
    if let (Some(_), Some(user)) = (asked, memory.user.clone()) {
        let mut draft = Draft::request(Method::CREATE_PERMISSION, &user, &memory.nonce);
        for host in ["127.0.0.1:1", "127.0.0.3:1"] {
            let value = xor(host.parse().unwrap(), &draft.id);
            draft.attributes.insert(0, (attribute::XOR_PEER_ADDRESS, value));
        }
        outs.push(Out::Server(draft.write(None)));
    }
    outs.push(Out::Client(bytes));
    outs
}

fn peer(draft: &Draft) -> Option<SocketAddr> {
    decode_xor_address(draft.get(attribute::XOR_PEER_ADDRESS)?, &draft.id).ok()
}

/// Sends what is in a Send indication itself, from a socket of its own.
fn relay_all(bytes: Vec<u8>, _: &mut Memory) -> Vec<Out> {
    let draft = Draft::read(&bytes, None).filter(|it| it.kind == SEND);
    match draft.and_then(|it| Some((peer(&it)?, it.get(attribute::DATA)?.to_vec()))) {
        Some((peer, data)) => vec![Out::Peer(peer, data)],
        None => vec![Out::Server(bytes)],
    }
}

/// Changes a Data indication.
fn data(bytes: Vec<u8>, change: impl FnOnce(&mut Draft)) -> Vec<Out> {
    let Some(mut draft) = Draft::read(&bytes, None).filter(|it| it.kind == DATA) else {
        return vec![Out::Client(bytes)];
    };
    change(&mut draft);
    vec![Out::Client(draft.write(None))]
}

/// Sends what comes on any channel to the peer that was bound last.
fn from_elsewhere(bytes: Vec<u8>, memory: &mut Memory) -> Vec<Out> {
    if let Some(draft) = Draft::read(&bytes, None) {
        if let Some(peer) = peer(&draft).filter(|_| draft.kind.method == Method::CHANNEL_BIND) {
            memory.notes.insert("peer", peer.to_string().into_bytes());
        }
    } else if bytes[0] & 0xC0 == 0x40
        && let Some(peer) = memory.notes.get("peer")
    {
        let peer = std::str::from_utf8(peer).unwrap().parse().unwrap();
        return vec![Out::Peer(peer, bytes[4..].to_vec())];
    }
    vec![Out::Server(bytes)]
}

/// Makes a Data indication of a ChannelData message.
fn by_indication(bytes: Vec<u8>) -> Vec<Out> {
    if bytes[0] & 0xC0 != 0x40 {
        return vec![Out::Client(bytes)];
    }
    let mut room = vec![0; 65_536];
    let id = TransactionId::new([7; 12]);
    let mut writer = Writer::new(&mut room, DATA, &id);
    writer.xor_address(attribute::XOR_PEER_ADDRESS, "127.0.0.1:9".parse().unwrap());
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    writer.attribute(attribute::DATA, &bytes[4..4 + length]);
    let length = writer.finish().unwrap();
    room.truncate(length);
    vec![Out::Client(room)]
}
