use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::PATIENCE;

/// A peer: a UDP socket that knows nothing of TURN.
pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// On 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into())
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

    /// The TTL and the traffic class (DSCP and ECN) of the next datagram.
    #[track_caller]
    pub(crate) fn ttl_and_class(&self) -> (u8, u8) {
        let mut control = [0_u64; 16];
        for option in [libc::IP_RECVTTL, libc::IP_RECVTOS] {
            let (on, size) = (1_i32, size_of::<i32>() as libc::socklen_t);
            let (socket, on) = (self.socket.as_raw_fd(), (&raw const on).cast());
            // SAFETY: the kernel reads one `int`.
            let set = unsafe { libc::setsockopt(socket, libc::IPPROTO_IP, option, on, size) };
            assert_eq!(set, 0);
        }
        // SAFETY: all zeros is a header that points nowhere.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the header points at `control` with its size.
        let received = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &mut header, 0) };
        assert!(received >= 0, "a datagram for the peer");
        let (mut ttl, mut class) = (0, 0);
        // SAFETY: the kernel has filled `control` and told its length in the header.
        let mut message = unsafe { libc::CMSG_FIRSTHDR(&header) };
        while !message.is_null() {
            // SAFETY: it lies within `control`, with at least one byte of data.
            let (kind, value) = unsafe { ((*message).cmsg_type, *libc::CMSG_DATA(message)) };
            match kind {
                libc::IP_TTL => ttl = value,
                libc::IP_TOS => class = value,
                _ => {}
            }
            // SAFETY: as above.
            message = unsafe { libc::CMSG_NXTHDR(&header, message) };
        }
        (ttl, class)
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
/// outside of the range from which the system gives ports to others.
pub(crate) fn free_ports(ips: &[IpAddr], count: u16) -> u16 {
    for _ in 0..1000 {
        let random = getrandom::u32().expect("random numbers");
        let first = (61_000 + random % (4000 - u32::from(count))) as u16 & !1;
        let all = || ips.iter().flat_map(|ip| (first..first + count).map(move |port| (*ip, port)));
        if all().all(|address| UdpSocket::bind(address).is_ok()) {
            return first;
        }
    }
    panic!("no {count} free ports in a row on {ips:?}");
}
