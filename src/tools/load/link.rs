//! One client's way to the server.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use super::io::Io;
use super::stream::Stream;
use crate::net::{UdpOptions, relay_socket};
use crate::tls;

/// The receive buffer of a client's socket, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// How clients reach the server.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Udp,
    Tcp,
    /// TLS over TCP.
    Tls(tls::Client),
}

impl Way {
    pub(super) const fn is_stream(&self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// As in reports.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls(_) => "tls",
        }
    }
}

/// A socket towards the server.
pub(super) enum Link {
    Udp { socket: UdpSocket, server: SocketAddr },
    Stream(Stream),
}

impl Link {
    /// Opens a socket and watches it under `token`. A connection may still be on its way.
    ///
    /// # Errors
    /// `AddrInUse`: another port of `source` may do. Else the system lacks something.
    pub(super) fn open(
        io: &Io,
        way: &Way,
        source: SocketAddr,
        server: SocketAddr,
        token: u64,
    ) -> io::Result<Self> {
        match way {
            Way::Udp => {
                let options = UdpOptions { receive_buffer: RECEIVE_BUFFER, send_buffer: 0 };
                let socket = relay_socket(source, &options)?;
                io.watch(socket.as_fd(), token)?;
                Ok(Self::Udp { socket, server })
            }
            Way::Tcp => Stream::open(io, source, server, token, None).map(Self::Stream),
            Way::Tls(client) => {
                let session = client.connect().map_err(io::Error::other)?;
                Stream::open(io, source, server, token, Some(session)).map(Self::Stream)
            }
        }
    }

    pub(super) const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Sends the first `len` bytes of a slot: at the next flush, of `io` or of this stream. Whether there is
    /// room for it.
    pub(super) fn send(&mut self, io: &mut Io, slot: usize, len: usize) -> bool {
        match self {
            Self::Udp { socket, server } => io.send(socket, *server, slot, 0..len),
            Self::Stream(stream) => return stream.send(io.bytes(slot, 0..len)),
        }
        true
    }

    /// The same of a request, which takes precedence over what waits on a stream.
    pub(super) fn ask(&mut self, io: &mut Io, slot: usize, len: usize) -> bool {
        match self {
            Self::Udp { .. } => self.send(io, slot, len),
            Self::Stream(stream) => stream.ask(io.bytes(slot, 0..len)),
        }
    }

    /// Writes what waits, as far as the connection takes it.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) fn flush(&mut self, io: &Io, token: u64) -> io::Result<()> {
        match self {
            Self::Udp { .. } => Ok(()),
            Self::Stream(stream) => stream.flush(io, token),
        }
    }

    /// Hands over what has come, message by message.
    ///
    /// # Errors
    /// The connection is lost, or what comes on it is no STUN.
    pub(super) fn receive(&mut self, io: &mut Io, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Udp { socket, server } => {
                let places = io.receive(socket.as_fd())?;
                for datagram in places.filter_map(|place| io.datagram(place)) {
                    if datagram.from == *server {
                        datagram.segments().for_each(|range| each(io.bytes(datagram.slot, range)));
                    }
                }
                Ok(())
            }
            Self::Stream(stream) => stream.receive(io, each),
        }
    }

    /// Whether something waits to be flushed.
    pub(super) fn has_output(&self) -> bool {
        matches!(self, Self::Stream(stream) if stream.has_output())
    }

    /// The TLS that is spoken, once it is agreed on.
    pub(super) fn cipher(&self) -> Option<String> {
        match self {
            Self::Udp { .. } => None,
            Self::Stream(stream) => stream.cipher(),
        }
    }

    /// The pending error of the socket, if it has one that ends everything.
    pub(super) fn failure(&self, io: &Io) -> Option<io::Error> {
        match self {
            Self::Udp { socket, .. } => {
                let refused = io.icmp(socket.as_fd());
                refused.then(|| io::Error::from(ErrorKind::ConnectionRefused))
            }
            Self::Stream(stream) => stream.failure(),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp { socket, .. } => socket.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
        }
    }
}
