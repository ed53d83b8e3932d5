//! What the kernel can do about trains, and the switches for it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::Family;
use super::socket::set_option;

/// Whether the kernel moves trains: several datagrams of one size and one way in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offload {
    /// It joins arriving datagrams (UDP_GRO, Linux 5.0), see [`enable_gro`].
    pub receive: bool,
    /// It cuts a long message into datagrams (UDP_SEGMENT, Linux 4.18), see
    /// [`SendBatch::set_segmentation`](super::SendBatch::set_segmentation).
    pub send: bool,
}

impl Offload {
    /// Neither: each datagram is a message of its own.
    pub const NONE: Self = Self { receive: false, send: false };

    /// Asks the kernel, on a socket that is thrown away. What cannot be asked is taken as missing.
    pub fn probe() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .or_else(|_| UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)));
        let Ok(socket) = socket else {
            return Self::NONE;
        };
        let has = |name, value| set_option(socket.as_raw_fd(), libc::SOL_UDP, name, value).is_ok();
        Self { receive: has(libc::UDP_GRO, 1), send: has(libc::UDP_SEGMENT, 1200) }
    }
}

/// Lets `socket` receive trains: what has arrived in one piece, from one source, comes as one
/// [`Datagram`](super::Datagram) with several segments. Whoever reads the socket has to cut it up.
///
/// # Errors
/// The kernel has no such thing; then nothing has changed.
pub fn enable_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Makes `socket` tell how many datagrams it lost to a full receive buffer, see
/// [`RecvBatch::drop_count`](super::RecvBatch::drop_count). Costs nothing before the first loss.
///
/// # Errors
/// What the system call says.
pub fn enable_drop_count(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
}

/// Makes `socket` tell the traffic class of what it receives, also of what has arrived already, see
/// [`Datagram::traffic_class`](super::Datagram::traffic_class). Trains are of one class.
///
/// # Errors
/// None, for a UDP socket of the family.
pub fn enable_traffic_class(socket: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVTOS),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    };
    set_option(socket.as_raw_fd(), level, name, 1)
}
