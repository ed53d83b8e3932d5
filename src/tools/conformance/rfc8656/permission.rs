//! RFC 8656 §9 and §10: permissions.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::stun::{Method, attribute};
use crate::tools::conformance::case::{Case, Outcome, Stop, claim};
use crate::tools::conformance::client::Client;
use crate::tools::conformance::peer::Peer;
use crate::tools::conformance::stand::Stand;

/// TEST-NET-1: nobody is there, and nothing is sent to it.
pub(super) const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
/// An address of the other family.
pub(super) const OTHER_FAMILY: &str = "[2001:db8::1]:9";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "permission.created",
        rfc: 8656,
        section: "10.2",
        must: "If the message is valid, the server responds with a CreatePermission success response.",
        run: |stand| {
            let mut client = stand.allocated()?;
            let reply = client.permit(SocketAddr::new(stand.host, 9))?;
            if reply.code() == Some(403) {
                return Stop::skipped("the server relays nothing to this host");
            }
            reply.success()
        },
    },
    Case {
        name: "permission.peer-missing",
        rfc: 8656,
        section: "10.2",
        must: "The CreatePermission request MUST contain at least one XOR-PEER-ADDRESS attribute; if no such attribute exists, then a 400 (Bad Request) error is returned.",
        run: |stand| {
            let mut client = stand.allocated()?;
            client.ask(Method::CREATE_PERMISSION, |_| ())?.refused(400)
        },
    },
    Case {
        name: "permission.peer-malformed",
        rfc: 8656,
        section: "10.2",
        must: "If any of these attributes are invalid, then a 400 (Bad Request) error is returned.",
        run: |stand| {
            let mut client = stand.allocated()?;
            let reply = client.ask(Method::CREATE_PERMISSION, |writer| {
                writer.attribute(attribute::XOR_PEER_ADDRESS, &[0, 9, 1, 2, 3, 4, 5, 6]);
            })?;
            // An unknown family may be called what it is.
            reply.refused_with(&[400, 443])
        },
    },
    Case {
        name: "permission.allocation-missing",
        rfc: 8656,
        section: "5",
        must: "If the 5-tuple does not identify an existing allocation, then the message (a CreatePermission request) MUST be rejected with a 437 (Allocation Mismatch) error.",
        run: |stand| stand.client()?.permit(NOBODY)?.refused(437),
    },
    Case {
        name: "permission.family",
        rfc: 8656,
        section: "10.2",
        must: "If an XOR-PEER-ADDRESS attribute contains an address of a family that is not the same as that of the relayed transport address, the server MUST generate an error response with the 443 (Peer Address Family Mismatch) response code.",
        run: |stand| {
            let mut client = stand.client()?;
            let relay = client.allocate()?.relayed()?;
            client.permit(other_family(relay))?.refused(443)
        },
    },
    Case {
        name: "permission.needed-to-send",
        rfc: 8656,
        section: "11.2",
        must: "The server checks that there is a permission installed for the IP address contained in the XOR-PEER-ADDRESS attribute. If no such permission exists, the message is discarded.",
        run: |stand| {
            let (mut client, _, peer) = stand.relaying()?;
            client.send_to(peer.address(), b"without a permission")?;
            client.is_served()?;
            nothing_at(stand, &peer)
        },
    },
    Case {
        name: "permission.needed-to-receive",
        rfc: 8656,
        section: "9",
        must: "When a UDP datagram arrives at the relayed transport address, the server checks the list of permissions; if there is no match, the datagram is silently discarded.",
        run: |stand| {
            let (mut client, relay, peer) = stand.relaying()?;
            peer.send(relay, b"without a permission")?;
            client.is_served()?;
            nothing_for(stand, &mut client)
        },
    },
    Case {
        name: "permission.other-address",
        rfc: 8656,
        section: "9",
        must: "Each permission has an associated IP address: the permission for one address opens nothing for another.",
        run: |stand| {
            let other = Peer::new(stand.second_host()?)?;
            let (mut client, relay, _peer) = stand.permitted()?;
            client.send_to(other.address(), b"without a permission")?;
            client.is_served()?;
            nothing_at(stand, &other)?;
            other.send(relay, b"without a permission")?;
            client.is_served()?;
            nothing_for(stand, &mut client)
        },
    },
    Case {
        name: "permission.port-ignored",
        rfc: 8656,
        section: "10.2",
        must: "The port portion of each attribute is ignored and may be any arbitrary value.",
        run: |stand| {
            let (mut client, _, peer) = stand.relaying()?;
            client.permit(SocketAddr::new(peer.address().ip(), 1))?.success()?;
            arrives(stand, &mut client, &peer)
        },
    },
    Case {
        name: "permission.several",
        rfc: 8656,
        section: "10.2",
        must: "The CreatePermission request MAY contain multiple XOR-PEER-ADDRESS attributes; the server installs a permission for the IP address contained in each.",
        run: several,
    },
    Case {
        name: "permission.refreshed",
        rfc: 8656,
        section: "9",
        must: "A permission is refreshed by a CreatePermission request for the same address: it succeeds again.",
        run: |stand| {
            let (mut client, _, peer) = stand.permitted()?;
            client.permit(peer.address())?.success()
        },
    },
];

pub(super) fn other_family(relay: SocketAddr) -> SocketAddr {
    let six = OTHER_FAMILY.parse().unwrap_or(NOBODY);
    if relay.is_ipv4() { six } else { NOBODY }
}

pub(super) fn nothing_at(stand: &Stand, peer: &Peer) -> Outcome {
    let found = peer.receive(stand.quiet())?;
    claim(found.is_none(), || "the peer gets it".to_owned())
}

/// That no data come to the client, by an indication or by a channel.
pub(super) fn nothing_for(stand: &Stand, client: &mut Client<'_>) -> Outcome {
    let found = client.await_message(stand.quiet(), |bytes| is_data(bytes).then_some(()))?;
    claim(found.is_none(), || "the client gets it".to_owned())
}

fn is_data(bytes: &[u8]) -> bool {
    // ChannelData, or an indication of method Data.
    bytes.first().is_some_and(|first| first & 0xC0 == 0x40) || bytes.starts_with(&[0, 0x17])
}

/// That what the client sends by an indication comes to the peer.
pub(super) fn arrives(stand: &Stand, client: &mut Client<'_>, peer: &Peer) -> Outcome {
    let send = || client.send_to(peer.address(), b"to the peer");
    let found = stand.insist(send, |wait| peer.receive(wait))?;
    claim(found.is_some(), || "nothing arrives at the peer".to_owned())
}

fn several(stand: &Stand) -> Outcome {
    let other = Peer::new(stand.second_host()?)?;
    let (mut client, _, peer) = stand.relaying()?;
    let (one, two) = (peer.address(), other.address());
    let reply = client.ask(Method::CREATE_PERMISSION, |writer| {
        writer.xor_address(attribute::XOR_PEER_ADDRESS, one);
        writer.xor_address(attribute::XOR_PEER_ADDRESS, two);
    })?;
    if reply.code() == Some(403) && client.permit(two)?.code() == Some(403) {
        return Stop::skipped("the server relays nothing to a second address");
    }
    reply.success()?;
    arrives(stand, &mut client, &peer)?;
    arrives(stand, &mut client, &other)
}
