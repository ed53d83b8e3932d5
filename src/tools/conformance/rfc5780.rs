//! RFC 5780: NAT behaviour discovery: what a server with two addresses and two ports answers, and from where.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use super::case::{Before as _, Case, Outcome, Stop, claim};
use super::client::Packet;
use super::reply::Reply;
use super::stand::Stand;
use crate::stun::{Kind, Method, Writer, attribute};

pub(super) const ALL: &[&[Case]] = &[CASES];

/// The flags of CHANGE-REQUEST (RFC 5780 §7.2).
const IP: u32 = 4;
const PORT: u32 = 2;
/// How often a request is sent.
const TRIES: u32 = 5;

const CASES: &[Case] = &[
    Case {
        name: "nat.mapped-both",
        rfc: 5780,
        section: "6.1",
        must: "The server MUST include both MAPPED-ADDRESS and XOR-MAPPED-ADDRESS in its Response.",
        run: |stand| {
            let reply = discovered(stand)?.reply;
            let plain = reply.address(attribute::MAPPED_ADDRESS, "MAPPED-ADDRESS")?;
            let xor = reply.mapped()?;
            claim(plain == xor, || format!("they are {plain} and {xor}"))
        },
    },
    Case {
        name: "nat.origin",
        rfc: 5780,
        section: "6.1",
        must: "The server MUST add a RESPONSE-ORIGIN attribute to the Binding Response, containing the source address and port used to send the Binding Response.",
        run: |stand| origin_is_source(&discovered(stand)?),
    },
    Case {
        name: "nat.other-address",
        rfc: 5780,
        section: "6.1",
        must: "If the server supports an alternate address and port, the server MUST add an OTHER-ADDRESS attribute: the source IP address and port that would be used with \"change IP\" and \"change port\".",
        run: |stand| {
            let (here, other) = places(stand)?;
            let apart = other.ip() != here.ip() && other.port() != here.port();
            claim(apart, || format!("it is {other}, beside {here}"))?;
            let from = changed(stand, IP | PORT)?.from;
            claim(from == other, || format!("it is {other}, and answers come from {from}"))
        },
    },
    Case {
        name: "nat.other-answers",
        rfc: 5780,
        section: "6",
        must: "The server listens on both addresses and both ports: OTHER-ADDRESS answers a Binding Request.",
        run: |stand| {
            let (_, other) = places(stand)?;
            let found = ask(stand, other, |_| ())?;
            claim(found.from == other, || {
                format!("it comes from {} and not from {other}", found.from)
            })
        },
    },
    Case {
        name: "nat.other-of-other",
        rfc: 5780,
        section: "6.1",
        must: "Let Ca represent the other address, and Cp the other port: asked at A2 and P2, OTHER-ADDRESS is A1 and P1.",
        run: |stand| {
            let (here, other) = places(stand)?;
            let told = told_other(&ask(stand, other, |_| ())?.reply)?;
            claim(told == here, || format!("it is {told} and not {here}"))
        },
    },
    Case {
        name: "nat.other-constant",
        rfc: 5780,
        section: "6.1",
        must: "These are Ca and Cp, respectively, regardless of the value of the CHANGE-REQUEST flags.",
        run: |stand| {
            let (_, other) = places(stand)?;
            for flags in [IP, PORT, IP | PORT] {
                let told = told_other(&changed(stand, flags)?.reply)?;
                claim(told == other, || {
                    format!("with flags {flags} it is {told} and not {other}")
                })?;
            }
            Ok(())
        },
    },
    Case {
        name: "nat.change-none",
        rfc: 5780,
        section: "6.1",
        must: "If neither flag is set, the source IP address of the Binding Response MUST be Da and the source port MUST be Dp.",
        run: |stand| comes_from(stand, 0, |here, _| here),
    },
    Case {
        name: "nat.change-port",
        rfc: 5780,
        section: "6.1",
        must: "If the \"change port\" flag was set and the \"change IP\" flag was not, the source IP address MUST be Da and the source port MUST be Cp.",
        run: |stand| {
            comes_from(stand, PORT, |here, other| SocketAddr::new(here.ip(), other.port()))
        },
    },
    Case {
        name: "nat.change-ip",
        rfc: 5780,
        section: "6.1",
        must: "If the \"change IP\" flag was set and the \"change port\" flag was not, the source IP address MUST be Ca and the source port MUST be Dp.",
        run: |stand| comes_from(stand, IP, |here, other| SocketAddr::new(other.ip(), here.port())),
    },
    Case {
        name: "nat.change-both",
        rfc: 5780,
        section: "6.1",
        must: "When both flags are set, the source IP address of the Binding Response MUST be Ca and the source port MUST be Cp.",
        run: |stand| comes_from(stand, IP | PORT, |_, other| other),
    },
    Case {
        name: "nat.change-origin",
        rfc: 5780,
        section: "6.1",
        must: "RESPONSE-ORIGIN contains the source address and port used to send the Binding Response: also where CHANGE-REQUEST has changed it.",
        run: |stand| {
            places(stand)?;
            [IP, PORT, IP | PORT]
                .into_iter()
                .try_for_each(|flags| origin_is_source(&changed(stand, flags)?))
        },
    },
    Case {
        name: "nat.change-unsupported",
        rfc: 5780,
        section: "6.1",
        must: "If the Request contains the CHANGE-REQUEST attribute and the server does not have an alternate address and port, the server MUST generate an error response of type 420.",
        run: |stand| {
            stand.needs_binding()?;
            let place = stand.udp_place()?;
            if other_of(&ask(stand, place, |_| ())?.reply)?.is_some() {
                return Stop::skipped("the server has an alternate address and port");
            }
            ask(stand, place, |it| it.number(attribute::CHANGE_REQUEST, PORT))?.reply.refused(420)
        },
    },
    Case {
        name: "nat.response-port",
        rfc: 5780,
        section: "7.5",
        must: "The Binding Response MUST be transmitted to the source IP address of the Binding Request and the port contained in RESPONSE-PORT.",
        run: response_port,
    },
    Case {
        name: "nat.padding",
        rfc: 5780,
        section: "6.1",
        must: "If the Request contained a PADDING attribute, PADDING MUST be included in the Binding Response.",
        run: |stand| {
            places(stand)?;
            let reply = padded(stand, |_| ())?;
            reply.success()?;
            reply.has(attribute::PADDING, "PADDING").map(drop)
        },
    },
    Case {
        name: "nat.padding-response-port",
        rfc: 5780,
        section: "6.1",
        must: "If the Request (with PADDING) also contains the RESPONSE-PORT attribute the server MUST return an error response of type 400.",
        run: |stand| {
            places(stand)?;
            // Any port but the one that asks: an answer that goes there is not seen.
            padded(stand, |writer| writer.number(attribute::RESPONSE_PORT, 9 << 16))?.refused(400)
        },
    },
];

/// A Binding response and where it comes from.
struct Found {
    reply: Reply,
    from: SocketAddr,
}

/// Asks from a socket that takes answers from anywhere.
fn ask(
    stand: &Stand,
    server: SocketAddr,
    fill: impl FnOnce(&mut Writer<'_>),
) -> Result<Found, Stop> {
    let socket = UdpSocket::bind((stand.host, 0))?;
    exchange(stand, &socket, &socket, server, fill)
}

/// Sends from one socket and hears with the other.
fn exchange(
    stand: &Stand,
    from: &UdpSocket,
    to: &UdpSocket,
    server: SocketAddr,
    fill: impl FnOnce(&mut Writer<'_>),
) -> Result<Found, Stop> {
    let packet = Packet::new(Kind::request(Method::BINDING), fill)?;
    let mut buffer = vec![0; 65_536];
    for number in 0..TRIES {
        from.send_to(&packet.bytes, server)?;
        let end = Instant::now() + stand.rto * (1 << number);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || to.set_read_timeout(Some(left)).is_err() {
                break;
            }
            let Ok((length, from)) = to.recv_from(&mut buffer) else { continue };
            if buffer.get(8..20) == Some(packet.id.bytes()) && length >= 20 {
                return Ok(Found { reply: Reply::read(buffer[..length].to_vec())?, from });
            }
        }
    }
    Stop::failed("there is no answer")
}

fn other_of(reply: &Reply) -> Result<Option<SocketAddr>, Stop> {
    reply.get(attribute::OTHER_ADDRESS).map(|_| told_other(reply)).transpose()
}

/// The same where there must be one.
fn told_other(reply: &Reply) -> Result<SocketAddr, Stop> {
    reply.address(attribute::OTHER_ADDRESS, "OTHER-ADDRESS")
}

/// The answer of a server that does discovery.
fn discovered(stand: &Stand) -> Result<Found, Stop> {
    stand.needs_binding()?;
    let found = ask(stand, stand.udp_place()?, |_| ())?;
    if other_of(&found.reply)?.is_none() && found.reply.get(attribute::RESPONSE_ORIGIN).is_none() {
        return Stop::skipped("the server does no NAT behaviour discovery");
    }
    Ok(found)
}

/// Da:Dp and Ca:Cp.
fn places(stand: &Stand) -> Result<(SocketAddr, SocketAddr), Stop> {
    let found = discovered(stand)?;
    if !stand.direct {
        return Stop::skipped(
            "there is a NAT between, which may keep out what comes from elsewhere",
        );
    }
    match other_of(&found.reply)? {
        Some(other) => Ok((stand.udp_place()?, other)),
        None => Stop::skipped("the server has no alternate address and port"),
    }
}

fn changed(stand: &Stand, flags: u32) -> Result<Found, Stop> {
    let found = ask(stand, stand.udp_place()?, |it| it.number(attribute::CHANGE_REQUEST, flags))?;
    found.reply.success()?;
    Ok(found)
}

fn comes_from(
    stand: &Stand,
    flags: u32,
    wanted: impl Fn(SocketAddr, SocketAddr) -> SocketAddr,
) -> Outcome {
    let (here, other) = places(stand)?;
    let (wanted, from) = (wanted(here, other), changed(stand, flags)?.from);
    claim(from == wanted, || format!("it comes from {from} and not from {wanted}"))
}

fn origin_is_source(found: &Found) -> Outcome {
    let origin = found.reply.address(attribute::RESPONSE_ORIGIN, "RESPONSE-ORIGIN")?;
    let from = found.from;
    claim(origin == from, || format!("it is {origin}, and the answer comes from {from}"))
}

/// A request that asks for padding.
fn padded(stand: &Stand, fill: impl FnOnce(&mut Writer<'_>)) -> Result<Reply, Stop> {
    let found = ask(stand, stand.udp_place()?, |writer| {
        writer.attribute(attribute::PADDING, &[0; 64]);
        fill(writer);
    })?;
    if found.reply.code() == Some(420) {
        return Stop::skipped("the server does not know it");
    }
    Ok(found.reply)
}

fn response_port(stand: &Stand) -> Outcome {
    let (server, _) = places(stand)?;
    let (asks, hears) = (UdpSocket::bind((stand.host, 0))?, UdpSocket::bind((stand.host, 0))?);
    let port = u32::from(hears.local_addr()?.port());
    // Who does not know it says so, to the one who has asked.
    let known = exchange(stand, &asks, &asks, server, |it| {
        it.number(
            attribute::RESPONSE_PORT,
            u32::from(asks.local_addr().map_or(0, |it| it.port())) << 16,
        );
    });
    if known.before("a request that is to be answered where it comes from")?.reply.code()
        == Some(420)
    {
        return Stop::skipped("the server does not know RESPONSE-PORT");
    }
    let found = exchange(stand, &asks, &hears, server, |it| {
        it.number(attribute::RESPONSE_PORT, port << 16)
    });
    found?.reply.success()
}
