//! RFC 8656 §12: channels.

use std::net::SocketAddr;

use super::permission::{NOBODY, nothing_at, nothing_for, other_family};
use crate::stun::{Method, attribute};
use crate::tools::conformance::case::{Before as _, Case, Outcome, Stop, claim};
use crate::tools::conformance::client::Client;
use crate::tools::conformance::peer::Peer;
use crate::tools::conformance::reply::Reply;
use crate::tools::conformance::stand::Stand;

const CHANNEL: u16 = 0x4001;
/// Of no length that needs no padding.
const WORDS: &[u8] = b"seventeen octets.";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "channel.bound",
        rfc: 8656,
        section: "12.2",
        must: "Otherwise, the server replies with a ChannelBind success response.",
        run: |stand| {
            let (mut client, _, peer) = stand.relaying()?;
            client.bind(CHANNEL, peer.address())?.success()
        },
    },
    Case {
        name: "channel.number-missing",
        rfc: 8656,
        section: "12.2",
        must: "The request contains a CHANNEL-NUMBER attribute. If any of these tests fail, the server replies with a 400 (Bad Request) error.",
        run: |stand| {
            let mut client = stand.allocated()?;
            let reply = client.ask(Method::CHANNEL_BIND, |writer| {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, NOBODY);
            })?;
            reply.refused(400)
        },
    },
    Case {
        name: "channel.peer-missing",
        rfc: 8656,
        section: "12.2",
        must: "The request contains an XOR-PEER-ADDRESS attribute. If any of these tests fail, the server replies with a 400 (Bad Request) error.",
        run: |stand| {
            let mut client = stand.allocated()?;
            let reply = client.ask(Method::CHANNEL_BIND, |writer| {
                writer.number(attribute::CHANNEL_NUMBER, u32::from(CHANNEL) << 16);
            })?;
            reply.refused(400)
        },
    },
    Case {
        name: "channel.number-low",
        rfc: 8656,
        section: "12.2",
        must: "The channel number is in the range 0x4000 through 0x4FFF (inclusive). If any of these tests fail, the server replies with a 400 (Bad Request) error.",
        run: |stand| {
            let (mut client, _, peer) = stand.relaying()?;
            client.bind(0x3FFF, peer.address())?.refused(400)
        },
    },
    Case {
        name: "channel.number-high",
        rfc: 8656,
        section: "12.2",
        must: "The channel number is in the range 0x4000 through 0x4FFF (inclusive): 0x8000 is not, and the server replies with a 400 (Bad Request) error.",
        run: |stand| {
            let (mut client, _, peer) = stand.relaying()?;
            client.bind(0x8000, peer.address())?.refused(400)
        },
    },
    Case {
        name: "channel.number-old",
        rfc: 8656,
        section: "12.2",
        must: "The channel number is in the range 0x4000 through 0x4FFF (inclusive): 0x5000 (RFC 5766's) is not, and the server replies with a 400 (Bad Request) error.",
        run: |stand| {
            let (mut client, _, peer) = stand.relaying()?;
            client.bind(0x5000, peer.address())?.refused(400)
        },
    },
    Case {
        name: "channel.number-taken",
        rfc: 8656,
        section: "12.2",
        must: "The channel number is not currently bound to a different transport address. If any of these tests fail, the server replies with a 400 (Bad Request) error.",
        run: |stand| {
            let (mut client, peer) = bound(stand)?;
            client.bind(CHANNEL, elsewhere(peer.address()))?.refused(400)
        },
    },
    Case {
        name: "channel.peer-taken",
        rfc: 8656,
        section: "12.2",
        must: "The transport address is not currently bound to a different channel number. If any of these tests fail, the server replies with a 400 (Bad Request) error.",
        run: |stand| {
            let (mut client, peer) = bound(stand)?;
            client.bind(CHANNEL + 1, peer.address())?.refused(400)
        },
    },
    Case {
        name: "channel.refreshed",
        rfc: 8656,
        section: "12.2",
        must: "The channel number is not currently bound to a different transport address (same transport address is OK).",
        run: |stand| {
            let (mut client, peer) = bound(stand)?;
            client.bind(CHANNEL, peer.address())?.success()
        },
    },
    Case {
        name: "channel.rffu",
        rfc: 8656,
        section: "18.1",
        must: "RFFU (Reserved For Future Use) MUST be set to 0 on transmission and MUST be ignored on reception.",
        run: |stand| {
            let (mut client, _, peer) = stand.relaying()?;
            let reply = client.ask(Method::CHANNEL_BIND, |writer| {
                writer.number(attribute::CHANNEL_NUMBER, u32::from(CHANNEL) << 16 | 0xFFFF);
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer.address());
            })?;
            reply.success()
        },
    },
    Case {
        name: "channel.family",
        rfc: 8656,
        section: "12.2",
        must: "If the XOR-PEER-ADDRESS attribute contains an address of a family that is not the same as that of the relayed transport address, the server MUST generate an error response with the 443 (Peer Address Family Mismatch) response code.",
        run: |stand| {
            let mut client = stand.client()?;
            let relay = client.allocate()?.relayed()?;
            client.bind(CHANNEL, other_family(relay))?.refused(443)
        },
    },
    Case {
        name: "channel.allocation-missing",
        rfc: 8656,
        section: "5",
        must: "If the 5-tuple does not identify an existing allocation, then the message (a ChannelBind request) MUST be rejected with a 437 (Allocation Mismatch) error.",
        run: |stand| stand.client()?.bind(CHANNEL, NOBODY)?.refused(437),
    },
    Case {
        name: "channel.permission",
        rfc: 8656,
        section: "12.2",
        must: "The server also installs or refreshes a permission for the IP address in the XOR-PEER-ADDRESS attribute.",
        run: |stand| {
            let (mut client, relay, peer) = stand.relaying()?;
            client.bind(CHANNEL, elsewhere(peer.address()))?.success()?;
            super::permission::arrives(stand, &mut client, &peer)?;
            // From a port that no channel is bound to, data come by an indication.
            let found = from_peer(stand, &mut client, &peer, relay, WORDS)?;
            claim(Reply::read(found)?.data().is_some(), || "it is no Data indication".to_owned())
        },
    },
    Case {
        name: "channel.to-peer",
        rfc: 8656,
        section: "12.6",
        must: "The server relays the application data to the peer: the data following the UDP header is the contents of the data field of the ChannelData message.",
        run: |stand| {
            let data = to_peer(stand, WORDS)?.2;
            claim(data == WORDS, || format!("it is {}", data.escape_ascii()))
        },
    },
    Case {
        name: "channel.source",
        rfc: 8656,
        section: "12.6",
        must: "The source transport address is the relayed transport address of the allocation.",
        run: |stand| {
            let (relay, from, _) = to_peer(stand, WORDS)?;
            claim(from == relay, || format!("it comes from {from} and not from {relay}"))
        },
    },
    Case {
        name: "channel.empty",
        rfc: 8656,
        section: "12.6",
        must: "If the Length field in the ChannelData message is 0, then there will be no data in the UDP datagram, but the UDP datagram is still formed and sent.",
        run: |stand| {
            let data = to_peer(stand, b"")?.2;
            claim(data.is_empty(), || format!("it is {}", data.escape_ascii()))
        },
    },
    Case {
        name: "channel.from-peer",
        rfc: 8656,
        section: "12.5",
        must: "The server, on the other hand, MUST use the ChannelData message if a channel has been bound to the peer.",
        run: |stand| {
            let found = by_channel(stand.relaying()?, stand)?;
            let header = [CHANNEL.to_be_bytes(), (WORDS.len() as u16).to_be_bytes()].concat();
            claim(found.starts_with(&[&header[..], WORDS].concat()), || {
                format!("{} comes", found.escape_ascii())
            })
        },
    },
    Case {
        name: "channel.unbound-silent",
        rfc: 8656,
        section: "12.6",
        must: "If the ChannelData message is received on a channel that is not bound to any peer, then the message is silently discarded.",
        run: |stand| {
            let (mut client, peer) = bound(stand)?;
            client.send_on(CHANNEL + 1, WORDS)?;
            client.is_served()?;
            nothing_at(stand, &peer)?;
            nothing_for(stand, &mut client)
        },
    },
    Case {
        name: "channel.allocation-missing-silent",
        rfc: 8656,
        section: "5",
        must: "If the 5-tuple does not identify an existing allocation, then the message MUST be silently ignored (if it is a ChannelData message).",
        run: |stand| {
            stand.needs_credentials()?;
            let mut client = stand.client()?;
            client.send_on(CHANNEL, WORDS)?;
            client.is_served()?;
            let found = client.await_message(stand.quiet(), |_| Some(()))?;
            claim(found.is_none(), || "it is answered".to_owned())
        },
    },
    Case {
        name: "channel.length-long-silent",
        rfc: 8656,
        section: "12.6",
        must: "If the UDP datagram is too short to contain the claimed length of the ChannelData message, then the message is silently discarded.",
        run: too_short,
    },
    Case {
        name: "channel.stream-padded",
        rfc: 8656,
        section: "12.5",
        must: "Over TCP and TLS-over-TCP, the ChannelData message MUST be padded to a multiple of four bytes in order to ensure the alignment of subsequent messages.",
        run: |stand| {
            let peer = stand.peer()?;
            let mut client = stand.stream()?;
            let relay = client.allocate()?.relayed()?;
            client.bind(CHANNEL, peer.address())?.success().before("a channel")?;
            // Were it not padded, what comes behind could not be read.
            let data = from_peer(stand, &mut client, &peer, relay, WORDS)?;
            claim(data.get(4..) == Some(WORDS), || format!("{} comes", data.escape_ascii()))?;
            client.is_served()
        },
    },
    Case {
        name: "channel.stream-padding-read",
        rfc: 8656,
        section: "12.5",
        must: "The padding is not reflected in the length of the ChannelData message: the server skips it, and does not relay it.",
        run: |stand| {
            let peer = stand.peer()?;
            let mut client = stand.stream()?;
            client.allocate()?;
            client.bind(CHANNEL, peer.address())?.success().before("a channel")?;
            let send = || client.send_on(CHANNEL, WORDS);
            let Some((_, data)) = stand.insist(send, |wait| peer.receive(wait))? else {
                return Stop::failed("nothing arrives at the peer");
            };
            claim(data == WORDS, || format!("it is {}", data.escape_ascii()))?;
            client.is_served()
        },
    },
    Case {
        name: "channel.send-beside",
        rfc: 8656,
        section: "12",
        must: "A client may mix ChannelData messages and Send indications: a bound channel does not close the other way.",
        run: |stand| {
            let (mut client, peer) = bound(stand)?;
            super::permission::arrives(stand, &mut client, &peer)
        },
    },
];

/// A client with a channel to a peer.
fn bound(stand: &Stand) -> Result<(Client<'_>, Peer), Stop> {
    let (mut client, _, peer) = stand.relaying()?;
    client.bind(CHANNEL, peer.address())?.success().before("a channel")?;
    Ok((client, peer))
}

/// Another port of the same address.
fn elsewhere(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip(), if peer.port() == 9 { 10 } else { 9 })
}

/// The relay, where a datagram to the peer came from, and what was in it.
fn to_peer(stand: &Stand, words: &[u8]) -> Result<(SocketAddr, SocketAddr, Vec<u8>), Stop> {
    let (mut client, relay, peer) = stand.relaying()?;
    client.bind(CHANNEL, peer.address())?.success().before("a channel")?;
    match stand.insist(|| client.send_on(CHANNEL, words), |wait| peer.receive(wait))? {
        Some((from, data)) => Ok((relay, from, data)),
        None => Stop::failed("nothing arrives at the peer"),
    }
}

/// What comes to the client when the peer sends to the relay.
fn from_peer(
    stand: &Stand,
    client: &mut Client<'_>,
    peer: &Peer,
    relay: SocketAddr,
    words: &[u8],
) -> Result<Vec<u8>, Stop> {
    let any = |wait| client.await_message(wait, |bytes| Some(bytes.to_vec()));
    let found = stand.insist(|| peer.send(relay, words), any)?;
    found.map_or_else(|| Stop::failed("nothing arrives at the client"), Ok)
}

fn by_channel(
    (mut client, relay, peer): (Client<'_>, SocketAddr, Peer),
    stand: &Stand,
) -> Result<Vec<u8>, Stop> {
    client.bind(CHANNEL, peer.address())?.success().before("a channel")?;
    from_peer(stand, &mut client, &peer, relay, WORDS)
}

fn too_short(stand: &Stand) -> Outcome {
    let peer = stand.peer()?;
    let mut client = stand.datagrams()?;
    client.allocate()?;
    client.bind(CHANNEL, peer.address())?.success().before("a channel")?;
    let mut message = [CHANNEL.to_be_bytes(), 100_u16.to_be_bytes()].concat();
    message.extend_from_slice(WORDS);
    client.send(&message)?;
    client.is_served()?;
    nothing_at(stand, &peer)
}
