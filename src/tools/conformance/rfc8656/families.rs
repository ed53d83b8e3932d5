//! RFC 8656 §7.2: families of addresses, and ports that are reserved.

use std::net::SocketAddr;

use crate::stun::{Writer, attribute, decode_xor_address};
use crate::tools::conformance::case::{Before as _, Case, Outcome, Stop, claim};
use crate::tools::conformance::reply::Reply;
use crate::tools::conformance::stand::Stand;

const IPV4: [u8; 4] = [1, 0, 0, 0];
const IPV6: [u8; 4] = [2, 0, 0, 0];
/// No reservation has this token.
const TOKEN: &[u8] = b"nobody's";
const CHANNEL: u16 = 0x4001;
/// How many reserved ports are asked for when 508 comes of them.
const RESERVATIONS: u32 = 3;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "allocate.family-usual",
        rfc: 8656,
        section: "7.2",
        must: "If the REQUESTED-ADDRESS-FAMILY attribute is absent and the server supports the IPv4 address family, the server MUST allocate an IPv4 relayed transport address.",
        run: |stand| {
            if family(stand, IPV4)?.code() == Some(440) {
                return Stop::skipped("there are no IPv4 relays");
            }
            let relay = stand.client()?.allocate()?.relayed()?;
            claim(relay.is_ipv4(), || format!("it is {relay}"))
        },
    },
    Case {
        name: "allocate.family-ipv4",
        rfc: 8656,
        section: "7.2",
        must: "If the server does not support the address family requested by the client, it MUST generate an Allocate error response with 440; else the relayed address is of that family: IPv4.",
        run: |stand| of_family(&family(stand, IPV4)?, SocketAddr::is_ipv4),
    },
    Case {
        name: "allocate.family-ipv6",
        rfc: 8656,
        section: "7.2",
        must: "If the server does not support the address family requested by the client, it MUST generate an Allocate error response with 440; else the relayed address is of that family: IPv6.",
        run: |stand| of_family(&family(stand, IPV6)?, SocketAddr::is_ipv6),
    },
    Case {
        name: "allocate.family-unknown",
        rfc: 8656,
        section: "7.2",
        must: "If the server does not support the address family requested by the client, it MUST include an ERROR-CODE attribute with the 440 (Address Family not Supported) response code.",
        run: |stand| family(stand, [3, 0, 0, 0])?.refused(440),
    },
    Case {
        name: "allocate.family-reserved",
        rfc: 8656,
        section: "18.6",
        must: "The 24 bits in the Reserved field MUST be set to zero by the client and MUST be ignored by the server.",
        run: |stand| of_family(&family(stand, [1, 0xFF, 0xFF, 0xFF])?, SocketAddr::is_ipv4),
    },
    Case {
        name: "allocate.families-both",
        rfc: 8656,
        section: "7.2",
        must: "If the request contains both REQUESTED-ADDRESS-FAMILY and ADDITIONAL-ADDRESS-FAMILY attributes, then the server rejects the request with a 400 (Bad Request) error.",
        run: |stand| {
            asking(
                stand,
                &[
                    (attribute::REQUESTED_ADDRESS_FAMILY, &IPV4),
                    (attribute::ADDITIONAL_ADDRESS_FAMILY, &IPV6),
                ],
            )?
            .refused(400)
        },
    },
    Case {
        name: "allocate.additional-ipv4",
        rfc: 8656,
        section: "7.2",
        must: "If the request contains an ADDITIONAL-ADDRESS-FAMILY attribute and the attribute value is 0x01 (IPv4 address family), then the server rejects the request with a 400 (Bad Request) error.",
        run: |stand| asking(stand, &[(attribute::ADDITIONAL_ADDRESS_FAMILY, &IPV4)])?.refused(400),
    },
    Case {
        name: "allocate.additional-ipv6",
        rfc: 8656,
        section: "7.2",
        must: "If the server can fully meet the request, the success response contains two XOR-RELAYED-ADDRESS attributes; if partially, it includes ADDRESS-ERROR-CODE with 440 or 508.",
        run: additional,
    },
    Case {
        name: "allocate.even-port",
        rfc: 8656,
        section: "7.2",
        must: "If the request contains an EVEN-PORT attribute with the R bit set to 0, then the server allocates a relayed transport address with an even port number.",
        run: |stand| {
            let relay = offered(asking(stand, &[(attribute::EVEN_PORT, &[0])])?)?.relayed()?;
            claim(relay.port() % 2 == 0, || format!("it is {relay}"))
        },
    },
    Case {
        name: "allocate.reserve",
        rfc: 8656,
        section: "7.2",
        must: "If the request contains an EVEN-PORT attribute with the R bit set to 1, the server then includes the token in a RESERVATION-TOKEN attribute in the success response.",
        run: |stand| {
            let reply = offered(asking(stand, &[(attribute::EVEN_PORT, &[0x80])])?)?;
            let relay = reply.relayed()?;
            claim(relay.port() % 2 == 0, || format!("it is {relay}"))?;
            let token = reply.has(attribute::RESERVATION_TOKEN, "RESERVATION-TOKEN")?;
            claim(token.len() == 8, || format!("it is {token:02x?}"))
        },
    },
    Case {
        name: "allocate.reserved-taken",
        rfc: 8656,
        section: "7.2",
        must: "Port N is used in the current allocation, while the relayed transport address with port N+1 is assigned a token and reserved for a future allocation.",
        run: taken,
    },
    Case {
        name: "allocate.token-unknown",
        rfc: 8656,
        section: "7.2",
        must: "If the token is not valid for some reason, the server rejects the request with a 508 (Insufficient Capacity) error.",
        run: |stand| asking(stand, &[(attribute::RESERVATION_TOKEN, TOKEN)])?.refused(508),
    },
    Case {
        name: "allocate.token-even-port",
        rfc: 8656,
        section: "7.2",
        must: "If the request contains a RESERVATION-TOKEN and also an EVEN-PORT attribute, the server rejects the request with a 400 (Bad Request) error.",
        run: |stand| {
            asking(stand, &[(attribute::RESERVATION_TOKEN, TOKEN), (attribute::EVEN_PORT, &[0])])?
                .refused(400)
        },
    },
    Case {
        name: "allocate.token-family",
        rfc: 8656,
        section: "7.2",
        must: "If the request contains a RESERVATION-TOKEN and also a REQUESTED-ADDRESS-FAMILY attribute, the server rejects the request with a 400 (Bad Request) error.",
        run: |stand| {
            asking(
                stand,
                &[
                    (attribute::RESERVATION_TOKEN, TOKEN),
                    (attribute::REQUESTED_ADDRESS_FAMILY, &IPV4),
                ],
            )?
            .refused(400)
        },
    },
    Case {
        name: "allocate.token-additional",
        rfc: 8656,
        section: "7.2",
        must: "If the request contains a RESERVATION-TOKEN and also an ADDITIONAL-ADDRESS-FAMILY attribute, the server rejects the request with a 400 (Bad Request) error.",
        run: |stand| {
            asking(
                stand,
                &[
                    (attribute::RESERVATION_TOKEN, TOKEN),
                    (attribute::ADDITIONAL_ADDRESS_FAMILY, &IPV6),
                ],
            )?
            .refused(400)
        },
    },
    Case {
        name: "allocate.reserve-additional",
        rfc: 8656,
        section: "7.2",
        must: "If the request contains an EVEN-PORT attribute with the R bit set to 1 and also an ADDITIONAL-ADDRESS-FAMILY attribute, the server rejects the request with a 400 (Bad Request) error.",
        run: |stand| {
            asking(
                stand,
                &[(attribute::EVEN_PORT, &[0x80]), (attribute::ADDITIONAL_ADDRESS_FAMILY, &IPV6)],
            )?
            .refused(400)
        },
    },
    Case {
        name: "channel.teredo",
        rfc: 8656,
        section: "21.4",
        must: "A TURN server MUST NOT accept Teredo addresses in these requests.",
        run: |stand| tunnelled(stand, "[2001::5]:9"),
    },
    Case {
        name: "channel.6to4",
        rfc: 8656,
        section: "21.4",
        must: "A TURN server MUST NOT accept 6to4 addresses in these requests.",
        run: |stand| tunnelled(stand, "[2002:c000:201::1]:9"),
    },
];

/// An Allocate request for UDP with these besides, on a 5-tuple of its own.
fn asking(stand: &Stand, parts: &[(u16, &[u8])]) -> Result<Reply, Stop> {
    stand.client()?.ask_relay(|writer| {
        for (kind, value) in parts {
            writer.attribute(*kind, value);
        }
    })
}

fn family(stand: &Stand, value: [u8; 4]) -> Result<Reply, Stop> {
    asking(stand, &[(attribute::REQUESTED_ADDRESS_FAMILY, &value)])
}

fn of_family(reply: &Reply, is: impl Fn(&SocketAddr) -> bool) -> Outcome {
    if !reply.is_success() {
        return reply.refused(440);
    }
    let relay = reply.relayed()?;
    claim(is(&relay), || format!("it is {relay}"))
}

/// A server may be unable to give a pair of ports.
fn offered(reply: Reply) -> Result<Reply, Stop> {
    match reply.code() {
        Some(code @ (420 | 508)) => Stop::skipped(format!("the server refuses it with {code}")),
        _ => reply.success().map(|()| reply),
    }
}

fn additional(stand: &Stand) -> Outcome {
    let reply = asking(stand, &[(attribute::ADDITIONAL_ADDRESS_FAMILY, &IPV6)])?;
    match reply.code() {
        // RFC 8656 §7.2, item 9: neither of the two.
        Some(508) => return Stop::skipped("the server refuses it with 508"),
        // Item 7 comes before: without REQUESTED-ADDRESS-FAMILY it takes IPv4 relays.
        Some(440) if family(stand, IPV4)?.code() == Some(440) => {
            return Stop::skipped("there are no IPv4 relays");
        }
        _ => reply.success()?,
    }
    let message = reply.message();
    let id = message.transaction_id();
    let relays = message.attributes().filter(|(kind, _)| *kind == attribute::XOR_RELAYED_ADDRESS);
    let relays: Vec<_> = relays.filter_map(|(_, it)| decode_xor_address(it, &id).ok()).collect();
    let missing = match *relays {
        [one, other] => {
            let both = one.is_ipv4() != other.is_ipv4();
            return claim(both, || format!("they are {one} and {other}"));
        }
        [one] if one.is_ipv4() => IPV6[0],
        [_] => IPV4[0],
        _ => return Stop::failed(format!("there are {} relayed addresses", relays.len())),
    };
    let why =
        reply.has(attribute::ADDRESS_ERROR_CODE, "second address and no ADDRESS-ERROR-CODE")?;
    let fits = matches!(*why, [of, _, 4, 40, ..] | [of, _, 5, 8, ..] if of == missing);
    claim(fits, || format!("ADDRESS-ERROR-CODE is {why:02x?}"))
}

/// Reserves a port, and takes it from another 5-tuple.
fn taken(stand: &Stand) -> Outcome {
    let mut last = redeemed(stand)?;
    for _ in 1..RESERVATIONS {
        // Nothing need hold the port meanwhile: that somebody else on the server's host gets it is no fault.
        if last.1.code() == Some(508) {
            last = redeemed(stand)?;
        }
    }
    let (relay, reply) = last;
    reply.success()?;
    let wanted = SocketAddr::new(relay.ip(), relay.port().wrapping_add(1));
    let found = reply.relayed()?;
    claim(found == wanted, || format!("it is {found} and not {wanted}"))
}

/// The relay with the even port, and what the other one's token brings.
fn redeemed(stand: &Stand) -> Result<(SocketAddr, Reply), Stop> {
    let mut first = stand.client()?;
    let reply = offered(first.ask_relay(|it| it.attribute(attribute::EVEN_PORT, &[0x80]))?);
    let reply = reply.before("a reservation")?;
    let token = reply.has(attribute::RESERVATION_TOKEN, "RESERVATION-TOKEN")?.to_vec();
    let next = asking(stand, &[(attribute::RESERVATION_TOKEN, &token)])?;
    Ok((reply.relayed()?, next))
}

/// That an address of a tunnel is refused where there are IPv6 relays.
fn tunnelled(stand: &Stand, peer: &str) -> Outcome {
    let mut client = stand.client()?;
    let six = |it: &mut Writer<'_>| it.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &IPV6);
    if !client.ask_relay(six)?.is_success() {
        return Stop::skipped("there are no IPv6 relays");
    }
    let peer = peer.parse().map_err(|_| Stop::Unable("no address".to_owned()))?;
    // RFC 8656 §21.4: "these requests" are those for allocations and for channels.
    client.bind(CHANNEL, peer)?.refused_with(&[400, 403])
}
