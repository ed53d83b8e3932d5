//! What can happen to a server, for the histories that the model is compared over.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::core::REALM;
use crate::reference::{Ask, Peer, Request};
use turnwire::turn::Transport;

/// Clients: two on one address, three transports on one address and port, IPv6, and one that is
/// told from the first by the server's address only.
pub(crate) const CLIENTS: [(&str, Transport, &str); 7] = [
    ("198.51.100.7:1000", Transport::Udp, "203.0.113.1:3478"),
    ("198.51.100.7:1001", Transport::Udp, "203.0.113.1:3478"),
    ("198.51.100.8:1000", Transport::Udp, "203.0.113.1:3478"),
    ("198.51.100.8:1000", Transport::Tcp, "203.0.113.1:3478"),
    ("198.51.100.8:1000", Transport::Dtls, "203.0.113.1:3478"),
    ("[2001:db8:7::1]:1000", Transport::Udp, "[2001:db8::1]:3478"),
    ("198.51.100.7:1000", Transport::Udp, "203.0.113.1:3479"),
];
/// Every second client is of the other one. All are called the same and have the same password.
pub(crate) const REALMS: [&str; 2] = [REALM, "other.example"];

/// What tells its user from the others.
pub(crate) fn realm_of(client: usize) -> String {
    REALMS[client % 2].to_owned()
}

/// Who a request says that it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Owner,
    /// The next client's user.
    Other,
    Unknown,
    WrongPassword,
    Unsigned,
    /// With a nonce that the server has not made.
    StrangeNonce,
}

/// Which RESERVATION-TOKEN an Allocate has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TokenChoice {
    None,
    Bogus,
    /// The last one that was given, or one before it.
    Given(usize),
}

/// One event. Clients and peers are places in their lists.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Request(usize, Who, Request, TokenChoice),
    /// The client's last request, byte for byte.
    Again(usize),
    /// The client gets a fresh nonce.
    Challenge(usize),
    /// Client, peer, length; whether XOR-PEER-ADDRESS is there.
    Send(usize, usize, usize, bool),
    /// Client, number, length, padding.
    ChannelData(usize, u16, usize, usize),
    /// Client, peer, length.
    FromPeer(usize, usize, usize),
    /// Client, peer, type, code.
    Icmp(usize, usize, u8, u8),
    Disconnect(usize),
    Wait(Duration),
}

/// Address, whether a permission may be had, whether the port may be sent to.
const PEERS: [(&str, bool, bool); 14] = [
    ("9.9.9.9:7000", true, true),
    ("9.9.9.9:7001", true, true),
    ("9.9.9.10:7000", true, true),
    ("8.8.4.4:53", true, true),
    ("9.9.9.11:1", true, true),
    ("9.9.9.12:1", true, true),
    ("[2a00::9]:7000", true, true),
    ("[2a00::9]:7001", true, true),
    // A relayed transport address of this server.
    ("203.0.113.1:50003", true, true),
    // This server itself.
    ("203.0.113.1:3478", true, false),
    ("203.0.113.1:80", true, false),
    ("10.1.2.3:7000", false, false),
    ("[fe80::1]:7000", false, false),
    ("[::ffff:9.9.9.9]:7000", false, false),
];

/// The peers of all histories.
pub(crate) fn peers() -> Vec<Peer> {
    let peer = |(text, ip_allowed, port_allowed): &(&str, bool, bool)| {
        let address = text.parse().expect("an address");
        let route = match *text {
            "203.0.113.1:50003" => "10.0.0.5:50003".parse().expect("an address"),
            _ => address,
        };
        Peer { address, ip_allowed: *ip_allowed, port_allowed: *port_allowed, route }
    };
    PEERS.iter().map(peer).collect()
}

/// Mostly the usual ones.
fn a_peer() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0_usize..2, 3 => 0..9_usize, 1 => 0..PEERS.len()]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        30 => Just(Who::Owner),
        2 => Just(Who::Other),
        1 => Just(Who::Unknown),
        1 => Just(Who::WrongPassword),
        1 => Just(Who::Unsigned),
        1 => Just(Who::StrangeNonce),
    ]
}

fn lifetime() -> impl Strategy<Value = Option<u32>> {
    const ODD: [u32; 8] = [1, 599, 600, 601, 1800, 3600, 3601, u32::MAX];
    option::of(prop_oneof![2 => Just(0), 3 => prop::sample::select(&ODD[..])])
}

fn family() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![6 => Just(None), 2 => Just(Some(1)), 3 => Just(Some(2)), 1 => Just(Some(3))]
}

fn ask() -> impl Strategy<Value = (Ask, TokenChoice)> {
    let transport = prop_oneof![
        30 => Just(Ok(Some(17))),
        1 => Just(Ok(Some(6))),
        1 => Just(Ok(None)),
        1 => Just(Err(())),
    ];
    let even_port = prop_oneof![5 => Just(None), 1 => Just(Some(false)), 3 => Just(Some(true))];
    let additional = prop_oneof![
        8 => Just(None),
        4 => Just(Some(2)),
        1 => Just(Some(1)),
        1 => Just(Some(3)),
    ];
    let token = prop_oneof![
        8 => Just(TokenChoice::None),
        1 => Just(TokenChoice::Bogus),
        4 => (0..3_usize).prop_map(TokenChoice::Given),
    ];
    let all = (transport, lifetime(), even_port, family(), additional, token);
    // Most that have a token have nothing that excludes it.
    (all, prop::bool::weighted(0.8)).prop_map(|(all, sensible)| {
        let (transport, lifetime, mut even_port, mut family, mut additional, token) = all;
        if sensible && !matches!(token, TokenChoice::None) {
            (even_port, family, additional) = (None, None, None);
        }
        if sensible && additional.is_some() {
            family = None;
        }
        let ask = Ask { transport, lifetime, even_port, token: None, family, additional };
        (ask, token)
    })
}

fn request() -> impl Strategy<Value = (Request, TokenChoice)> {
    let number = prop_oneof![
        12 => (0x4000_u16..0x4004).prop_map(Some),
        1 => Just(Some(0x4FFF)),
        1 => prop::sample::select(&[0_u16, 0x3FFF, 0x5000, 0x7FFF, 0x8000, 0xFFFF][..]).prop_map(Some),
        1 => Just(None),
    ];
    let peers = prop_oneof![
        12 => vec(a_peer(), 0..5).prop_map(Ok),
        1 => Just(Err(())),
    ];
    let other = |request| (request, TokenChoice::None);
    prop_oneof![
        4 => ask().prop_map(|(ask, token)| (Request::Allocate(ask), token)),
        2 => (lifetime(), family()).prop_map(move |(lifetime, family)| {
            other(Request::Refresh { lifetime, family })
        }),
        3 => peers.prop_map(move |peers| other(Request::CreatePermission(peers))),
        4 => (number, option::weighted(0.95, a_peer())).prop_map(move |(number, peer)| {
            other(Request::ChannelBind { number, peer })
        }),
    ]
}

fn wait() -> impl Strategy<Value = Duration> {
    const NEAR: [u64; 10] = [0, 1, 29, 30, 299, 300, 599, 600, 1799, 3599];
    prop_oneof![
        3 => (0_u64..5_000).prop_map(Duration::from_millis),
        3 => (prop::sample::select(&NEAR[..]), 0_u64..2_000_000)
            .prop_map(|(seconds, micros)| {
                Duration::from_secs(seconds) + Duration::from_micros(micros)
            }),
        1 => (0_u64..20_000).prop_map(Duration::from_secs),
    ]
}

/// Any event among so many clients; most of them happen to the first.
pub(crate) fn steps(clients: usize) -> impl Strategy<Value = Step> {
    let client = move || prop_oneof![1 => Just(0), 2 => 0..clients];
    let length = || prop_oneof![1 => Just(0_usize), 5 => 0_usize..200];
    prop_oneof![
        12 => (client(), who(), request()).prop_map(|(client, who, (request, token))| {
            Step::Request(client, who, request, token)
        }),
        2 => client().prop_map(Step::Again),
        1 => client().prop_map(Step::Challenge),
        3 => (client(), a_peer(), length(), prop::bool::weighted(0.95))
            .prop_map(|(client, peer, length, whole)| Step::Send(client, peer, length, whole)),
        3 => (client(), 0x4000_u16..0x4004, length(), 0_usize..5)
            .prop_map(|(client, number, length, padding)| {
                Step::ChannelData(client, number, length, padding)
            }),
        3 => (client(), a_peer(), length())
            .prop_map(|(client, peer, length)| Step::FromPeer(client, peer, length)),
        1 => (client(), a_peer(), 0_u8..13, 0_u8..6)
            .prop_map(|(client, peer, kind, code)| Step::Icmp(client, peer, kind, code)),
        1 => client().prop_map(Step::Disconnect),
        3 => wait().prop_map(Step::Wait),
    ]
}
