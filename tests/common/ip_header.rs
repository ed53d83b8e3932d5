use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// A datagram with what its IP header says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) payload: Vec<u8>,
    /// The TTL, or the hop limit.
    pub(crate) ttl: u8,
    /// DSCP and ECN.
    pub(crate) class: u8,
}

/// Gives everything that leaves a socket this DSCP and ECN.
pub(crate) fn mark(socket: &impl AsRawFd, local: SocketAddr, class: u8) {
    let (level, name) = match local {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    };
    set(socket, level, name, class.into());
}

/// The next datagram of a socket; what it has in its header is told also of one that has come before.
#[track_caller]
pub(crate) fn see(socket: &UdpSocket) -> Seen {
    match socket.local_addr().expect("a bound socket") {
        SocketAddr::V4(_) => {
            set(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1);
            set(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1);
        }
        SocketAddr::V6(_) => {
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1);
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1);
        }
    }
    let (mut payload, mut control) = (vec![0_u8; 2048], [0_u64; 16]);
    let mut piece = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    // SAFETY: all zeros is a header that points nowhere.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header points at `payload` and `control` with their sizes.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    payload.truncate(usize::try_from(received).expect("a datagram"));
    let mut seen = Seen { payload, ttl: 0, class: 0 };
    // SAFETY: the kernel has filled `control` and told its length in the header.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !message.is_null() {
        // SAFETY: it lies within `control`, and all of these have at least one byte of data.
        let (level, kind, first) =
            unsafe { ((*message).cmsg_level, (*message).cmsg_type, *libc::CMSG_DATA(message)) };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) => seen.class = first,
            // An `int` of the machine.
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => seen.class = number(message),
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                seen.ttl = number(message);
            }
            _ => {}
        }
        // SAFETY: as above.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    seen
}

/// The `int` in a control message, which is one byte's worth.
fn number(message: *const libc::cmsghdr) -> u8 {
    // SAFETY: the caller has seen by its type that it holds an `int`.
    let value = unsafe { libc::CMSG_DATA(message).cast::<i32>().read_unaligned() };
    u8::try_from(value).expect("one byte")
}

fn set(socket: &impl AsRawFd, level: i32, name: i32, value: i32) {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads one `int`.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}
