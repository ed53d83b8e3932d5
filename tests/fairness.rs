//! One allocation or one client that floods does not starve its neighbours: told by the number and the order of
//! packets, not by the time they take. Each flood is a burst that waits for a server that was held up.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use common::{Client, PATIENCE, Peer, Server, Setup, channel_message, eventually};

const CHANNEL: u16 = 0x4000;
/// Packets of a flood: what a default socket buffer holds, and more than a worker may take from one relay at a time.
const FLOOD: usize = 120;
const NEIGHBOURS: usize = 16;
/// How much of a flood may come before every neighbour has had its turn: 64 in one round, and some room.
const AHEAD: usize = 100;

/// One worker, so that all share it, on all addresses of this host.
fn server() -> Server {
    let setup = Setup::with_local_peers().flag("--workers", 1).flag("--relay-ip", "127.0.0.1");
    setup.listen("0.0.0.0:0").start()
}

/// Each address that the server is asked at makes another allocation (RFC 8656 §2.2), for one and the same socket.
fn door(server: &Server, number: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 1, number as u8 + 1], server.address().port()))
}

/// One socket with many allocations: what the server sends to them stands in one queue, in the order of sending.
struct Street {
    server: Server,
    socket: UdpSocket,
    relayed: Vec<SocketAddr>,
}

impl Street {
    /// The first allocation has a channel to `first`, or to the socket itself, and the others to `others`.
    fn new(first: Option<SocketAddr>, others: &Peer) -> Self {
        let server = server();
        let mut client = Client::udp_to(door(&server, 0));
        let relayed = (0..=NEIGHBOURS).map(|number| {
            client.move_to(door(&server, number));
            let relayed = client.allocate();
            let first = first.unwrap_or(client.local());
            client.bind(CHANNEL, if number == 0 { first } else { others.address });
            relayed
        });
        let relayed = relayed.collect();
        Self { socket: client.hear_all(), server, relayed }
    }

    /// Takes `flood` packets and one for each neighbour, and tells how many of the flood came before the last of the
    /// neighbours'.
    #[track_caller]
    fn ahead(&self, flood: usize) -> usize {
        let doors = (0..=NEIGHBOURS).map(|number| door(&self.server, number));
        let doors: Vec<SocketAddr> = doors.collect();
        let (mut came, mut ahead, mut neighbours) = (0, 0, Vec::new());
        for _ in 0..flood + NEIGHBOURS {
            let (_, from) = self.socket.recv_from(&mut [0; 64]).expect("a packet");
            match doors.iter().position(|door| *door == from) {
                Some(number @ 1..) => {
                    neighbours.push(number);
                    ahead = came;
                }
                Some(0) | None => came += 1,
            }
        }
        neighbours.sort_unstable();
        assert!(neighbours.into_iter().eq(1..=NEIGHBOURS), "each once");
        ahead
    }
}

/// Peers' packets wait in each relay's own buffer, and every relay has its turn in each round of the worker.
#[test]
fn a_flood_at_one_relay_lets_every_neighbour_through() {
    let peer = Peer::new();
    let street = Street::new(Some(peer.address), &peer);
    for burst in 0..8 {
        street.server.pause();
        (0..FLOOD).for_each(|_| peer.send(street.relayed[0], b"flood"));
        street.relayed[1..].iter().for_each(|relayed| peer.send(*relayed, b"hello"));
        street.server.resume();
        let ahead = street.ahead(FLOOD);
        assert!(ahead <= AHEAD, "burst {burst}: {ahead} of {FLOOD} before the last neighbour");
    }
}

/// A listener carries all clients and so may take more at a time, but not all that there is.
#[test]
fn a_flood_at_the_listener_lets_every_peer_through() {
    let peer = Peer::new();
    let street = Street::new(None, &peer);
    let bound = channel_message(CHANNEL, b"flood");
    // Most of the flood ends at the server, so that the rest fits into one socket.
    let unbound = channel_message(CHANNEL + 1, b"flood");
    for burst in 0..8 {
        street.server.pause();
        for number in 0..4 * FLOOD {
            let packet = if number % 4 == 0 { &bound } else { &unbound };
            street.socket.send_to(packet, door(&street.server, 0)).expect("a way to the server");
        }
        street.relayed[1..].iter().for_each(|relayed| peer.send(*relayed, b"hello"));
        street.server.resume();
        let ahead = street.ahead(FLOOD);
        assert!(ahead <= AHEAD, "burst {burst}: {ahead} of {FLOOD} before the last neighbour");
    }
}

/// Clients on UDP share the listener's buffer. As long as that holds what comes, everybody gets through.
#[test]
fn a_client_that_floods_costs_nobody_a_packet_while_the_listener_holds_it() {
    let (server, peer) = (server(), Peer::new());
    let mut clients: Vec<Client> =
        (0..=NEIGHBOURS).map(|_| Client::udp_to(door(&server, 0))).collect();
    for client in &mut clients {
        client.allocate();
        client.bind(CHANNEL, peer.address);
    }
    for _ in 0..8 {
        server.pause();
        (0..FLOOD).for_each(|_| clients[0].channel(CHANNEL, &[0]));
        for (number, client) in clients.iter_mut().enumerate().skip(1) {
            client.channel(CHANNEL, &[number as u8]);
        }
        server.resume();
        let mut came: Vec<u8> = (0..FLOOD + NEIGHBOURS).map(|_| peer.payload()[0]).collect();
        came.sort_unstable();
        assert!(came[FLOOD..].iter().copied().eq(1..=NEIGHBOURS as u8), "{came:?}");
        assert_eq!(came[FLOOD - 1], 0);
    }
}

/// When the listener's buffer is full, the kernel drops what comes next, whoever has sent it: it knows no clients.
/// That is counted, and over as soon as the worker reads again.
#[test]
fn what_a_full_listener_drops_is_the_kernels_choice_and_is_counted() {
    let small = Setup::with_local_peers().config("[listen]\nbuffer = \"16KiB\"");
    let (server, peer) = (small.flag("--workers", 1).start(), Peer::new());
    let [mut flooding, mut neighbour] = [(); 2].map(|()| {
        let mut client = Client::udp(&server);
        client.allocate();
        client.bind(CHANNEL, peer.address);
        client
    });
    server.pause();
    (0..FLOOD).for_each(|_| flooding.channel(CHANNEL, b"flood"));
    neighbour.channel(CHANNEL, b"early");
    server.resume();
    peer.socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
    let mut flood = 0;
    eventually("the neighbour gets through", || {
        neighbour.channel(CHANNEL, b"later");
        let mut buffer = [0; 16];
        while let Ok(length) = peer.socket.recv(&mut buffer) {
            match &buffer[..length] {
                b"flood" => flood += 1,
                b"later" => return Some(()),
                other => panic!("{other:?} has found room where nothing had any"),
            }
        }
        None
    });
    peer.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert!((1..FLOOD).contains(&flood), "{flood} of {FLOOD}");
    let lost = (FLOOD - flood + 1) as u64;
    eventually("the losses are counted", || (server.drops("receive_full") >= lost).then_some(()));
}
