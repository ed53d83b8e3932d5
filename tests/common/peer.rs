use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;

use super::PATIENCE;

/// A peer: a UDP socket that knows nothing of TURN.
pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// On an address that all peers of this process share, and no other test has: servers of other tests have last words
    /// for clients that have gone, whose ports at 127.0.0.1 are anybody's by then.
    pub(crate) fn new() -> Self {
        static HOME: OnceLock<IpAddr> = OnceLock::new();
        Self::at(*HOME.get_or_init(unique_loopback))
    }

    pub(crate) fn at(ip: IpAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("a peer's socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let address = socket.local_addr().expect("a bound socket");
        Self { socket, address }
    }

    /// The next datagram and its sender.
    #[track_caller]
    pub(crate) fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (length, sender) = self.socket.recv_from(&mut buffer).expect("a datagram for the peer");
        buffer.truncate(length);
        (buffer, sender)
    }

    /// The payload of the next datagram.
    #[track_caller]
    pub(crate) fn payload(&self) -> Vec<u8> {
        self.receive().0
    }

    pub(crate) fn send(&self, to: SocketAddr, payload: &[u8]) {
        self.socket.send_to(payload, to).expect("the peer can send");
    }

    /// Whether nothing is in the socket now. Tell only after something that came later by the
    /// same way has arrived.
    pub(crate) fn has_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).expect("an option");
        let nothing = self.socket.recv_from(&mut [0; 16]).is_err();
        self.socket.set_nonblocking(false).expect("an option");
        nothing
    }
}

/// A loopback address that no other test uses, so that all of its ports are this test's.
pub(crate) fn unique_loopback() -> IpAddr {
    let [_, b, c, d] = getrandom::u32().expect("random numbers").to_be_bytes();
    Ipv4Addr::new(127, b.clamp(1, 254), c, d.clamp(1, 254)).into()
}

/// The first of `count` ports in a row that are free for UDP on all of the addresses. They lie
/// outside of the ranges from which the system and servers with the default relay ports give ports to others.
pub(crate) fn free_ports(ips: &[IpAddr], count: u16) -> u16 {
    for _ in 0..1000 {
        let random = getrandom::u32().expect("random numbers");
        let first = (10_000 + random % (9000 - u32::from(count))) as u16 & !1;
        let all = || ips.iter().flat_map(|ip| (first..first + count).map(move |port| (*ip, port)));
        if all().all(|address| UdpSocket::bind(address).is_ok()) {
            return first;
        }
    }
    panic!("no {count} free ports in a row on {ips:?}");
}
