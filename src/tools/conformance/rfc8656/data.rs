//! RFC 8656 §11: Send and Data indications.

use std::net::SocketAddr;

use crate::stun::{Kind, Method, attribute};
use crate::tools::conformance::case::{Case, Outcome, Stop, claim};
use crate::tools::conformance::client::{Packet, UNKNOWN};
use crate::tools::conformance::reply::Reply;
use crate::tools::conformance::stand::Stand;

use super::permission::{nothing_at, nothing_for};

/// Of no length that needs no padding.
const WORDS: &[u8] = b"seventeen octets.";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "send.source",
        rfc: 8656,
        section: "11.2",
        must: "The source transport address is the relayed transport address of the allocation, where the allocation is determined by the 5-tuple on which the Send indication arrived.",
        run: |stand| {
            let (relay, from, _) = sent(stand, WORDS)?;
            claim(from == relay, || format!("it comes from {from} and not from {relay}"))
        },
    },
    Case {
        name: "send.data",
        rfc: 8656,
        section: "11.2",
        must: "The data following the UDP header is the contents of the value field of the DATA attribute.",
        run: |stand| {
            let data = sent(stand, WORDS)?.2;
            claim(data == WORDS, || format!("it is {}", data.escape_ascii()))
        },
    },
    Case {
        name: "send.data-empty",
        rfc: 8656,
        section: "11.2",
        must: "Note that the DATA attribute is allowed to contain zero bytes of data.",
        run: |stand| {
            let data = sent(stand, b"")?.2;
            claim(data.is_empty(), || format!("it is {}", data.escape_ascii()))
        },
    },
    Case {
        name: "send.data-missing",
        rfc: 8656,
        section: "11.2",
        must: "The Send indication MUST contain a DATA attribute. If it is missing, then the message is discarded.",
        run: |stand| {
            let (mut client, _, peer) = stand.permitted()?;
            let packet = Packet::new(Kind::indication(Method::SEND), |writer| {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer.address());
            })?;
            client.unanswered(&packet)?;
            nothing_at(stand, &peer)
        },
    },
    Case {
        name: "send.peer-missing",
        rfc: 8656,
        section: "11.2",
        must: "The Send indication MUST contain an XOR-PEER-ADDRESS attribute. If it is missing, then the message is discarded.",
        run: |stand| {
            let (mut client, _, _peer) = stand.permitted()?;
            let packet = Packet::new(Kind::indication(Method::SEND), |writer| {
                writer.attribute(attribute::DATA, WORDS);
            })?;
            client.unanswered(&packet)
        },
    },
    Case {
        name: "send.unknown-required",
        rfc: 8489,
        section: "6.3.2",
        must: "If the indication (Send) contains unknown comprehension-required attributes, the indication is discarded and processing ceases.",
        run: |stand| {
            let (mut client, _, peer) = stand.permitted()?;
            let packet = Packet::new(Kind::indication(Method::SEND), |writer| {
                writer.attribute(UNKNOWN, b"");
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer.address());
                writer.attribute(attribute::DATA, WORDS);
            })?;
            client.unanswered(&packet)?;
            nothing_at(stand, &peer)
        },
    },
    Case {
        name: "send.allocation-missing",
        rfc: 8656,
        section: "5",
        must: "If the 5-tuple does not identify an existing allocation, then the message MUST be silently ignored (if it is an indication).",
        run: |stand| {
            stand.needs_credentials()?;
            let mut client = stand.client()?;
            let packet = Packet::new(Kind::indication(Method::SEND), |writer| {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, super::permission::NOBODY);
                writer.attribute(attribute::DATA, WORDS);
            })?;
            client.unanswered(&packet)
        },
    },
    Case {
        name: "send.dont-fragment",
        rfc: 8656,
        section: "11.2",
        must: "If the server is unable to set the DF bit, the Send indication with DONT-FRAGMENT is discarded; else its data are relayed.",
        run: dont_fragment,
    },
    Case {
        name: "data.indication",
        rfc: 8656,
        section: "11.3",
        must: "The Data indication MUST contain both an XOR-PEER-ADDRESS and a DATA attribute.",
        run: |stand| received(stand, WORDS).map(drop),
    },
    Case {
        name: "data.peer",
        rfc: 8656,
        section: "11.3",
        must: "The XOR-PEER-ADDRESS attribute is set to the source transport address of the received UDP datagram.",
        run: |stand| {
            let (peer, told, _) = received(stand, WORDS)?;
            claim(told == peer, || format!("it is {told} and not {peer}"))
        },
    },
    Case {
        name: "data.data",
        rfc: 8656,
        section: "11.3",
        must: "The DATA attribute is set to the value of the \"data octets\" field from the datagram.",
        run: |stand| {
            let data = received(stand, WORDS)?.2;
            claim(data == WORDS, || format!("it is {}", data.escape_ascii()))
        },
    },
    Case {
        name: "data.empty",
        rfc: 8656,
        section: "11.3",
        must: "The DATA attribute is set to the value of the \"data octets\" field from the datagram: an empty datagram is one.",
        run: |stand| {
            let data = received(stand, b"")?.2;
            claim(data.is_empty(), || format!("it is {}", data.escape_ascii()))
        },
    },
    Case {
        name: "data.large",
        rfc: 8656,
        section: "11.3",
        must: "The DATA attribute is set to the value of the \"data octets\" field from the datagram: all of it, up to an Ethernet's MTU.",
        run: |stand| {
            let words: Vec<u8> = (0..1200_u32).map(|number| number as u8).collect();
            let data = received(stand, &words)?.2;
            claim(data == words, || format!("{} of {} bytes come", data.len(), words.len()))
        },
    },
    Case {
        name: "data.after-deletion",
        rfc: 8656,
        section: "8.2",
        must: "The allocation is deleted: nothing is relayed any more.",
        run: |stand| {
            let (mut client, relay, peer) = stand.permitted()?;
            client.refresh(0)?.success()?;
            peer.send(relay, WORDS)?;
            client.send_to(peer.address(), WORDS)?;
            client.is_served()?;
            nothing_at(stand, &peer)?;
            nothing_for(stand, &mut client)
        },
    },
];

/// The relay, where a datagram to the peer came from, and what was in it.
fn sent(stand: &Stand, words: &[u8]) -> Result<(SocketAddr, SocketAddr, Vec<u8>), Stop> {
    let (mut client, relay, peer) = stand.permitted()?;
    let send = || client.send_to(peer.address(), words);
    match stand.insist(send, |wait| peer.receive(wait))? {
        Some((from, data)) => Ok((relay, from, data)),
        None => Stop::failed("nothing arrives at the peer"),
    }
}

/// The peer, whom a Data indication names, and what is in it.
fn received(stand: &Stand, words: &[u8]) -> Result<(SocketAddr, SocketAddr, Vec<u8>), Stop> {
    let (mut client, relay, peer) = stand.permitted()?;
    let any = |wait| client.await_message(wait, |bytes| Some(bytes.to_vec()));
    let Some(bytes) = stand.insist(|| peer.send(relay, words), any)? else {
        return Stop::failed("nothing arrives at the client");
    };
    let reply = Reply::read(bytes)?;
    match reply.data() {
        Some((told, data)) => Ok((peer.address(), told, data.to_vec())),
        None => Stop::failed(format!("what comes is no whole Data indication: {}", reply.words())),
    }
}

/// Either is allowed; that the server answers neither is not.
fn dont_fragment(stand: &Stand) -> Outcome {
    let (mut client, _, peer) = stand.permitted()?;
    let packet = Packet::new(Kind::indication(Method::SEND), |writer| {
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer.address());
        writer.attribute(attribute::DONT_FRAGMENT, b"");
        writer.attribute(attribute::DATA, WORDS);
    })?;
    client.unanswered(&packet)?;
    match stand.insist(|| client.send(&packet.bytes), |wait| peer.receive(wait))? {
        Some((_, data)) => claim(data == WORDS, || format!("it is {}", data.escape_ascii())),
        None => {
            let known =
                stand.client()?.ask_relay(|it| it.attribute(attribute::DONT_FRAGMENT, b""))?;
            claim(known.code() == Some(420), || {
                "the Allocate request with DONT-FRAGMENT succeeds, and the indication is lost"
                    .to_owned()
            })
        }
    }
}
