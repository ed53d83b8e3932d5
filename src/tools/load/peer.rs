//! The other end of what is relayed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use super::io::Io;
use crate::net::{UdpOptions, relay_socket};

/// The poller's token of the peer's socket.
pub(super) const TOKEN: u64 = u64::MAX;
/// Everything comes to this one socket, so it holds much, in bytes.
const BUFFER: usize = 16 << 20;

/// The peer of all allocations.
pub(super) struct Peer {
    /// The built-in peer's.
    socket: Option<UdpSocket>,
    address: Option<SocketAddr>,
}

impl Peer {
    /// An echo service elsewhere, or one in this process.
    pub(super) const fn new(elsewhere: Option<SocketAddr>) -> Self {
        Self { socket: None, address: elsewhere }
    }

    /// Its socket, when it is built in and open.
    pub(super) const fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref()
    }

    /// Its address; the built-in one opens its socket now, where packets from `relayed` reach this host.
    ///
    /// # Errors
    /// There is no way to there.
    pub(super) fn address(&mut self, io: &Io, relayed: SocketAddr) -> io::Result<SocketAddr> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let options = UdpOptions { receive_buffer: BUFFER, send_buffer: 0 };
        let socket = relay_socket((route_to(relayed)?, 0).into(), &options)?;
        io.watch(socket.as_fd(), TOKEN)?;
        let address = socket.local_addr()?;
        self.address = Some(address);
        self.socket = Some(socket);
        Ok(address)
    }
}

/// The address from which this host would send to `there`. Nothing is sent.
pub(super) fn route_to(there: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match there {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(there)?;
    Ok(socket.local_addr()?.ip())
}
