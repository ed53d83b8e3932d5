//! What of a datagram's IP header goes along with its payload: RFC 8656 §13 to §16.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use common::{Client, Leg, Peer, Server, Setup, channel_message, eventually, mark, see};

const CHANNEL: u16 = 0x4000;
/// Expedited forwarding (RFC 3246), ECN-capable: DSCP 46, ECT(1).
const EF: u8 = 46 << 2 | 1;
/// Congestion experienced (RFC 3168), in the default class.
const CE: u8 = 3;

/// A client and two peers: one with a channel, one without.
struct Call {
    client: Client,
    relayed: std::net::SocketAddr,
    bound: Peer,
    permitted: Peer,
}

impl Call {
    fn new(mut client: Client, family: u8) -> Self {
        let ip: IpAddr = match family {
            1 => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        let relayed = client.allocate_family(family);
        let (bound, permitted) = (Peer::at(ip), Peer::at(ip));
        client.bind(CHANNEL, bound.address);
        client.permit(permitted.address);
        Self { client, relayed, bound, permitted }
    }

    /// The class that the peers see of what the client marks so.
    fn seen_by_peers(&mut self, class: u8) -> u8 {
        match &self.client.leg {
            Leg::Tcp(stream, _) => mark(stream, self.client.local(), class),
            _ => mark(socket(&self.client), self.client.local(), class),
        }
        self.client.channel(CHANNEL, b"by channel");
        let by_channel = see(&self.bound.socket);
        self.client.send(self.permitted.address, b"by indication");
        let by_indication = see(&self.permitted.socket);
        assert_eq!(by_channel.payload, b"by channel");
        assert_eq!(by_indication.payload, b"by indication");
        assert_eq!(by_channel.class, by_indication.class);
        by_channel.class
    }

    /// The class that a client on UDP sees of what the peers mark so.
    fn seen_by_client(&self, class: u8) -> u8 {
        let seen = [&self.bound, &self.permitted].map(|peer| {
            mark(&peer.socket, peer.address, class);
            peer.send(self.relayed, b"back");
            see(socket(&self.client))
        });
        assert_eq!(seen[0].payload, channel_message(CHANNEL, b"back"));
        assert!(seen[1].payload.len() > 8, "a Data indication");
        assert_eq!(seen[0].class, seen[1].class);
        seen[0].class
    }
}

fn socket(client: &Client) -> &UdpSocket {
    match &client.leg {
        Leg::Udp(socket) => socket,
        #[cfg(feature = "dtls")]
        Leg::Dtls(dtls) => dtls.socket(),
        Leg::Tcp(..) | Leg::Tls(..) => panic!("not on datagrams"),
    }
}

fn dual(config: &str) -> Server {
    Setup::with_local_peers().listen("127.0.0.1:0").listen("[::1]:0").config(config).start()
}

/// RFC 8656 §14, and §13 between the families.
#[test]
fn dscp_and_ecn_go_along_in_both_directions_and_between_families() {
    let server = dual("");
    for listener in server.listeners() {
        for family in [1, 2] {
            let mut call = Call::new(Client::udp_to(*listener), family);
            // Beginning and ending unmarked: nothing of one packet is left over for the next.
            for class in [0, EF, CE, 0xFF, 0] {
                assert_eq!(call.seen_by_peers(class), class, "{listener} to family {family}");
                assert_eq!(call.seen_by_client(class), class, "family {family} to {listener}");
            }
        }
    }
}

/// A record of DTLS travels in a datagram as well.
#[cfg(feature = "dtls")]
#[test]
fn they_go_along_over_dtls_too() {
    let server = Setup::with_local_peers().certificate(&common::Trust::new()).start();
    let mut call = Call::new(Client::dtls_to(server.address()), 1);
    for class in [0, EF, CE, 0] {
        assert_eq!(call.seen_by_peers(class), class);
        mark(&call.bound.socket, call.bound.address, class);
        call.bound.send(call.relayed, b"back");
        assert_eq!(see(socket(&call.client)).class, class);
    }
}

#[test]
fn each_of_them_passes_as_it_is_set() {
    for (dscp, ecn, mask) in [(false, true, 3), (true, false, 0xFC), (false, false, 0)] {
        let server = dual(&format!("[relay]\npass_dscp = {dscp}\npass_ecn = {ecn}"));
        for (listener, family) in server.listeners().iter().zip([1, 2]) {
            let mut call = Call::new(Client::udp_to(*listener), family);
            for class in [EF, CE, 0xFF] {
                assert_eq!(call.seen_by_peers(class), class & mask);
                assert_eq!(call.seen_by_client(class), class & mask);
            }
        }
    }
}

/// RFC 8656 §15, §16: there are no packets to speak of on a stream.
#[test]
fn what_comes_over_tcp_leaves_as_best_effort_and_what_goes_over_tcp_loses_its_class() {
    let server = dual("");
    for (listener, family) in server.listeners().iter().zip([1, 2]) {
        let mut call = Call::new(Client::tcp_to(*listener), family);
        assert_eq!(call.seen_by_peers(EF), 0);
        mark(&call.bound.socket, call.bound.address, EF);
        call.bound.send(call.relayed, b"back");
        assert_eq!(call.client.channel_data(), (CHANNEL, b"back".to_vec()));
    }
}

/// RFC 8656 §13, alternate behaviour: the TTL and the hop limit are the relay's own, so that none leaves with what is
/// left of the client's.
#[test]
fn the_ttl_begins_anew() {
    let server = dual("");
    for (listener, family) in server.listeners().iter().zip([1, 2]) {
        let mut call = Call::new(Client::udp_to(*listener), family);
        let socket = socket2::SockRef::from(socket(&call.client));
        match family {
            1 => socket.set_ttl_v4(1),
            _ => socket.set_unicast_hops_v6(1),
        }
        .expect("an option");
        call.client.channel(CHANNEL, b"on its last legs");
        assert!(see(&call.bound.socket).ttl > 1);
    }
}

/// Answers are the server's own packets.
#[test]
fn responses_are_not_marked() {
    let server = dual("");
    for listener in server.listeners() {
        let client = &mut Client::udp_to(*listener);
        mark(socket(client), client.local(), EF);
        let request = common::plain(
            turnwire::stun::Kind::request(turnwire::stun::Method::BINDING),
            &common::new_id(),
            |_| (),
        );
        client.write(&request);
        assert_eq!(see(socket(client)).class, 0);
    }
}

/// A server that finds its sockets full moves trains; each datagram keeps its own class and its place in the line.
#[test]
fn in_a_burst_each_datagram_keeps_its_class_and_its_place() {
    let wildcards =
        Setup::with_local_peers().listen("0.0.0.0:0").listen("[::]:0").flag("--workers", 1);
    let server = wildcards.start();
    let ports = server.listeners().iter().map(|listener| listener.port());
    let loopbacks = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    let relayed = || server.metric("relayed_packets_total{direction=\"to_client\"}");
    // Runs of several lengths, so that trains end for this reason and for no other.
    let classes = [0, 0, 0, EF, EF, CE, 0, EF, EF, EF, EF, 0, 0, CE, CE, 8 << 2].repeat(3);
    for ((ip, port), family) in loopbacks.into_iter().zip(ports).zip([1, 2]) {
        let mut call = Call::new(Client::udp_to((ip, port).into()), family);
        // A relay socket is read with less until bursts have come.
        for round in 0..4 {
            let sent = || (0_u8..).zip(&classes).map(|(i, class)| (*class, vec![i ^ round; 100]));
            let before = relayed();
            server.pause();
            for (class, payload) in sent() {
                mark(socket(&call.client), call.client.local(), class);
                call.client.channel(CHANNEL, &payload);
                mark(&call.bound.socket, call.bound.address, class);
                call.bound.send(call.relayed, &payload);
            }
            server.resume();
            for (class, payload) in sent() {
                let seen = see(&call.bound.socket);
                assert_eq!((seen.class, seen.payload), (class, payload.clone()), "round {round}");
                let seen = see(socket(&call.client));
                let message = channel_message(CHANNEL, &payload);
                assert_eq!((seen.class, seen.payload), (class, message), "round {round}");
            }
            let all = before + classes.len() as u64;
            eventually("they are counted", || (relayed() == all).then_some(()));
        }
    }
}
