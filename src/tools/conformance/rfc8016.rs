//! RFC 8016: mobility: an allocation that goes along with its client.

use std::net::SocketAddr;

use super::case::{Before as _, Case, Outcome, Stop, claim};
use super::client::Client;
use super::peer::Peer;
use super::reply::Reply;
use super::stand::Stand;
use crate::stun::{Kind, Method, attribute};

pub(super) const ALL: &[&[Case]] = &[CASES];

const CASES: &[Case] = &[
    Case {
        name: "mobility.ticket",
        rfc: 8016,
        section: "3.1.2",
        must: "If the server can successfully process the request and create an allocation, the server replies with a success response that includes a STUN MOBILITY-TICKET attribute.",
        run: |stand| {
            let (_client, ticket) = mobile(stand)?;
            claim(!ticket.is_empty(), || "the ticket is empty".to_owned())
        },
    },
    Case {
        name: "mobility.allocate-ticket",
        rfc: 8016,
        section: "3.1.2",
        must: "If the MOBILITY-TICKET attribute is included and has a non-zero length, then the server will generate an error response with an error code of 400 (Bad Request).",
        run: |stand| {
            let (_client, ticket) = mobile(stand)?;
            let reply = stand
                .client()?
                .ask_relay(|it| it.attribute(attribute::MOBILITY_TICKET, &ticket))?;
            reply.refused(400)
        },
    },
    Case {
        name: "mobility.ticket-entropy",
        rfc: 8016,
        section: "5",
        must: "The ticket MUST be constructed such that it has strong entropy to ensure that nothing can be gleaned by looking at the ticket alone.",
        run: |stand| {
            let (_one, first) = mobile(stand)?;
            let (_other, second) = mobile(stand)?;
            // Of random bytes one in 256 is the same at the same place.
            let same = first.iter().zip(&second).filter(|(a, b)| a == b).count();
            claim(same * 2 < first.len().min(second.len()), || {
                format!("{same} of the {} bytes of two tickets are the same", first.len())
            })
        },
    },
    Case {
        name: "mobility.moved",
        rfc: 8016,
        section: "3.2.2",
        must: "The server updates its state data with the new client IP address and port, and sends the new ticket as part of the Refresh success response.",
        run: |stand| {
            let (_old, ticket) = mobile(stand)?;
            let mut new = stand.client()?;
            let reply = come(&mut new, &ticket)?;
            reply.success()?;
            reply.has(attribute::MOBILITY_TICKET, "MOBILITY-TICKET").map(drop)
        },
    },
    Case {
        name: "mobility.ticket-new",
        rfc: 8016,
        section: "3.2.2",
        must: "The new ticket sent in the refresh response MUST be different from the old ticket.",
        run: |stand| {
            let (_old, ticket) = mobile(stand)?;
            let mut new = stand.client()?;
            let reply = come(&mut new, &ticket)?;
            reply.success().before("a move")?;
            let next = reply.has(attribute::MOBILITY_TICKET, "MOBILITY-TICKET").before("a move")?;
            claim(next != ticket, || "it is the same".to_owned())
        },
    },
    Case {
        name: "mobility.ticket-new-good",
        rfc: 8016,
        section: "3.2.2",
        must: "If the client wants to refresh its allocation with a new server-reflexive transport address, it MUST use the new ticket: it is good.",
        run: |stand| {
            let (_old, ticket) = mobile(stand)?;
            let (mut new, mut newer) = (stand.client()?, stand.client()?);
            let reply = come(&mut new, &ticket)?;
            reply.success().before("a move")?;
            let next = reply.has(attribute::MOBILITY_TICKET, "MOBILITY-TICKET").before("a move")?;
            come(&mut newer, next)?.success()
        },
    },
    Case {
        name: "mobility.ticket-invalid",
        rfc: 8016,
        section: "3.2.2",
        must: "If the ticket is invalid, then the server MUST reject the request with a 400 (Bad Request) error.",
        run: |stand| {
            mobile(stand)?;
            come(&mut stand.client()?, b"not a ticket of this server's")?.refused(400)
        },
    },
    Case {
        name: "mobility.ticket-changed",
        rfc: 8016,
        section: "5",
        must: "The TURN server MUST always ensure that the ticket is authenticated to prevent modification by an attacker.",
        run: |stand| {
            let (_old, mut ticket) = mobile(stand)?;
            let middle = ticket.len() / 2;
            match ticket.get_mut(middle) {
                Some(byte) => *byte ^= 1,
                None => return Stop::failed("the ticket is empty"),
            }
            come(&mut stand.client()?, &ticket)?.refused(400)
        },
    },
    Case {
        name: "mobility.same-place",
        rfc: 8016,
        section: "3.2.2",
        must: "If the source IP address and port of the Refresh request with the MOBILITY-TICKET attribute is the same as the stored 5-tuple, then the TURN server rejects the request with a 400 (Bad Request) error.",
        run: |stand| {
            let (mut client, ticket) = mobile(stand)?;
            come(&mut client, &ticket)?.refused(400)
        },
    },
    Case {
        name: "mobility.other-user",
        rfc: 8016,
        section: "3.2.2",
        must: "If the above check (that it is the same user) is not successful, then the server MUST reject the request with a 441 (Wrong Credentials) error.",
        run: |stand| {
            let second = stand.second_user()?;
            let (_old, ticket) = mobile(stand)?;
            let mut thief = stand.client()?;
            let proof = thief.proof()?.known_as(second);
            thief.prove_by(proof);
            come(&mut thief, &ticket)?.refused(441)
        },
    },
    Case {
        name: "mobility.deleted",
        rfc: 8016,
        section: "3.2.2",
        must: "If this 5-tuple obtained does not identify an existing allocation, then the server MUST reject the request with a 437 (Allocation Mismatch) error.",
        run: |stand| {
            let (mut old, ticket) = mobile(stand)?;
            old.refresh(0)?.success().before("a Refresh")?;
            come(&mut stand.client()?, &ticket)?.refused(437)
        },
    },
    Case {
        name: "mobility.old-ticket-repeated",
        rfc: 8016,
        section: "3.2.2",
        must: "A server must retain the old MOBILITY-TICKET for at least 30 seconds to be able to recognize a retransmission of the Refresh request with the old ticket.",
        run: repeated,
    },
    Case {
        name: "mobility.old-receives",
        rfc: 8016,
        section: "3.2.2",
        must: "The TURN server MUST continue transmitting data on the old 5-tuple until it receives a Send Indication or ChannelData message from the client on the new 5-tuple.",
        run: |stand| {
            let mut it = moved(stand)?;
            data_come(stand, &mut it.old, &it.peer, it.relay)
        },
    },
    Case {
        name: "mobility.old-sends",
        rfc: 8016,
        section: "3.2.2",
        must: "The TURN server MUST continue receiving and processing data on the old 5-tuple until it receives a Send Indication or ChannelData message from the client on the new 5-tuple.",
        run: |stand| {
            let mut it = moved(stand)?;
            sends(stand, &mut it.old, &it.peer)
        },
    },
    Case {
        name: "mobility.new-sends",
        rfc: 8016,
        section: "3.2.2",
        must: "Data sent by the client to the peer is accepted on the new 5-tuple.",
        run: |stand| {
            let mut it = moved(stand)?;
            sends(stand, &mut it.new, &it.peer)
        },
    },
    Case {
        name: "mobility.new-receives",
        rfc: 8016,
        section: "3.2.2",
        must: "After receiving any of those messages, data received from the peer is forwarded to the new 5-tuple.",
        run: |stand| {
            let mut it = moved(stand)?;
            sends(stand, &mut it.new, &it.peer).before("data on the new 5-tuple")?;
            data_come(stand, &mut it.new, &it.peer, it.relay)
        },
    },
];

/// A client with an allocation that can move, and its ticket.
fn mobile(stand: &Stand) -> Result<(Client<'_>, Vec<u8>), Stop> {
    let (client, reply) = mobile_relay(stand)?;
    let ticket = reply.has(attribute::MOBILITY_TICKET, "MOBILITY-TICKET")?.to_vec();
    Ok((client, ticket))
}

fn mobile_relay(stand: &Stand) -> Result<(Client<'_>, Reply), Stop> {
    let mut client = stand.client()?;
    let reply = client.ask_relay(|it| it.attribute(attribute::MOBILITY_TICKET, b""))?;
    if reply.code() == Some(405) {
        return Stop::skipped("the server forbids mobility");
    }
    reply.success().before("a mobile allocation")?;
    // RFC 8489 §6.3: who does not know the attribute ignores it.
    match reply.get(attribute::MOBILITY_TICKET) {
        Some(_) => Ok((client, reply)),
        None => Stop::skipped("the server gives no ticket"),
    }
}

/// Comes with a ticket to where an allocation is.
fn come(client: &mut Client<'_>, ticket: &[u8]) -> Result<Reply, Stop> {
    let reply = client.ask(Method::REFRESH, |writer| {
        writer.number(attribute::LIFETIME, 600);
        writer.attribute(attribute::MOBILITY_TICKET, ticket);
    })?;
    if reply.is_success() {
        client.holds_relay();
    }
    Ok(reply)
}

/// One allocation, two 5-tuples, and a peer.
struct Moved<'s> {
    old: Client<'s>,
    new: Client<'s>,
    relay: SocketAddr,
    peer: Peer,
}

fn moved(stand: &Stand) -> Result<Moved<'_>, Stop> {
    let peer = stand.peer()?;
    let (mut old, reply) = mobile_relay(stand)?;
    let relay = reply.relayed().before("an allocation")?;
    let permitted = old.permit(peer.address())?;
    permitted.success().before("a permission")?;
    let mut new = stand.client()?;
    let ticket = reply.has(attribute::MOBILITY_TICKET, "MOBILITY-TICKET")?;
    come(&mut new, ticket)?.success().before("a move")?;
    Ok(Moved { old, new, relay, peer })
}

fn sends(stand: &Stand, client: &mut Client<'_>, peer: &Peer) -> Outcome {
    let send = || client.send_to(peer.address(), b"wherever I am");
    let found = stand.insist(send, |wait| peer.receive(wait))?;
    claim(found.is_some(), || "nothing arrives at the peer".to_owned())
}

fn data_come(stand: &Stand, client: &mut Client<'_>, peer: &Peer, relay: SocketAddr) -> Outcome {
    let data = Kind::indication(Method::DATA).bits().to_be_bytes();
    let look = |wait| client.await_message(wait, |bytes| bytes.starts_with(&data).then_some(()));
    let found = stand.insist(|| peer.send(relay, b"wherever you are"), look)?;
    claim(found.is_some(), || "nothing arrives at the client".to_owned())
}

/// The very same request twice from the new 5-tuple, as if the first answer had been lost.
fn repeated(stand: &Stand) -> Outcome {
    let (_old, ticket) = mobile(stand)?;
    let mut new = stand.client()?;
    let request = |new: &mut Client<'_>| {
        new.signed(Method::REFRESH, |writer| {
            writer.number(attribute::LIFETIME, 600);
            writer.attribute(attribute::MOBILITY_TICKET, &ticket);
        })
    };
    let mut packet = request(&mut new)?;
    new.holds_relay();
    let mut first = new.exchange(&packet)?;
    if first.code() == Some(438) {
        let proof = new.proof()?.renewed(&first);
        new.prove_by(proof);
        packet = request(&mut new)?;
        first = new.exchange(&packet)?;
    }
    first.success().before("a move")?;
    new.exchange(&packet)?.success()
}
