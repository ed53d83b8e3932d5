//! One client's way to the server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Socket, Type};

use super::io::{BATCH, Io};
use crate::client::Transport;
use crate::net::{Interest, UdpOptions, relay_socket};
use crate::stun::{Frame, Framer};

/// The receive buffer of a client's socket, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The most that waits to be written to a stream; what comes on top is not sent.
const BACKLOG: usize = 1 << 20;
/// The most that is read from a stream at once.
const CHUNK: usize = 65_536;
/// The longest message: header, a whole datagram, padding.
const FRAMER: Framer = Framer { limit: 65_536 + 64 };

/// A socket towards the server.
pub(super) enum Link {
    Udp { socket: UdpSocket, server: SocketAddr },
    Tcp(Stream),
}

/// A connection with what waits on both sides of it.
pub(super) struct Stream {
    socket: TcpStream,
    out: Vec<u8>,
    /// Of `out`, what is written already.
    written: usize,
    /// The beginning of a message whose end has not come yet.
    partial: Vec<u8>,
    watches_writing: bool,
}

impl Link {
    /// Opens a socket and watches it under `token`. A connection may still be on its way.
    ///
    /// # Errors
    /// `AddrInUse`: another port of `source` may do. Else the system lacks something.
    pub(super) fn open(
        io: &Io,
        transport: Transport,
        source: SocketAddr,
        server: SocketAddr,
        token: u64,
    ) -> io::Result<Self> {
        match transport {
            Transport::Udp => {
                let options = UdpOptions { receive_buffer: RECEIVE_BUFFER, send_buffer: 0 };
                let socket = relay_socket(source, &options)?;
                io.watch(socket.as_fd(), token)?;
                Ok(Self::Udp { socket, server })
            }
            Transport::Tcp => {
                let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
                socket.set_nonblocking(true)?;
                // The port's last connection lingers, and hinders nobody.
                socket.set_reuse_address(true)?;
                socket.set_tcp_nodelay(true)?;
                socket.bind(&source.into())?;
                match socket.connect(&server.into()) {
                    Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                        return Err(error);
                    }
                    _ => {}
                }
                let socket = TcpStream::from(socket);
                io.poller.add(socket.as_fd(), token, Interest::ReadWrite)?;
                let (out, partial) = (Vec::new(), Vec::new());
                Ok(Self::Tcp(Stream { socket, out, written: 0, partial, watches_writing: true }))
            }
        }
    }

    pub(super) const fn is_stream(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Sends the first `len` bytes of a slot: at the next flush, of `io` or of this stream. Whether there is
    /// room for it.
    pub(super) fn send(&mut self, io: &mut Io, slot: usize, len: usize) -> bool {
        match self {
            Self::Udp { socket, server } => io.send(socket, *server, slot, 0..len),
            Self::Tcp(stream) => {
                if stream.out.len() - stream.written > BACKLOG {
                    return false;
                }
                stream.out.extend_from_slice(io.bytes(slot, 0..len));
            }
        }
        true
    }

    /// Writes what waits, as far as the connection takes it.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) fn flush(&mut self, io: &Io, token: u64) -> io::Result<()> {
        match self {
            Self::Udp { .. } => Ok(()),
            Self::Tcp(stream) => stream.flush(io, token),
        }
    }

    /// Hands over what has come, message by message; whether there may be more.
    ///
    /// # Errors
    /// The connection is lost, or what comes on it is no STUN.
    pub(super) fn receive(&mut self, io: &mut Io, each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        match self {
            Self::Udp { socket, server } => {
                let places = io.receive(socket.as_fd())?;
                let more = places.len() == BATCH;
                for datagram in places.filter_map(|place| io.datagram(place)) {
                    if datagram.from == *server {
                        datagram.segments().for_each(|range| each(io.bytes(datagram.slot, range)));
                    }
                }
                Ok(more)
            }
            Self::Tcp(stream) => stream.receive(io, each),
        }
    }

    /// The pending error of the socket, if it has one that ends everything.
    pub(super) fn failure(&self, io: &Io) -> Option<io::Error> {
        match self {
            Self::Udp { socket, .. } => {
                let refused = io.icmp(socket.as_fd());
                refused.then(|| io::Error::from(ErrorKind::ConnectionRefused))
            }
            Self::Tcp(stream) => stream.socket.take_error().ok().flatten(),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp { socket, .. } => socket.as_fd(),
            Self::Tcp(stream) => stream.socket.as_fd(),
        }
    }
}

impl Stream {
    fn flush(&mut self, io: &Io, token: u64) -> io::Result<()> {
        while self.written < self.out.len() {
            match (&self.socket).write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Not yet connected, or full.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
                {
                    if self.written > BACKLOG / 4 {
                        self.out.drain(..self.written);
                        self.written = 0;
                    }
                    return self.watch(io, token, true);
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        self.watch(io, token, false)
    }

    fn watch(&mut self, io: &Io, token: u64, writing: bool) -> io::Result<()> {
        if self.watches_writing == writing {
            return Ok(());
        }
        self.watches_writing = writing;
        let interest = if writing { Interest::ReadWrite } else { Interest::Read };
        io.poller.modify(self.socket.as_fd(), token, interest)
    }

    fn receive(&mut self, io: &mut Io, each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let slot = io.slot();
        let room = &mut io.out(slot)[..CHUNK];
        let count = match (&self.socket).read(room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted => {
                        Ok(false)
                    }
                    _ => Err(error),
                };
            }
        };
        let more = count == room.len();
        let read = io.bytes(slot, 0..count);
        if self.partial.is_empty() {
            let taken = cut(read, each)?;
            self.partial.extend_from_slice(&read[taken..]);
        } else {
            self.partial.extend_from_slice(read);
            let taken = cut(&self.partial, each)?;
            self.partial.drain(..taken);
        }
        Ok(more)
    }
}

/// Hands over the whole messages at the front of `stream`; how many bytes they take.
fn cut(stream: &[u8], each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
    let mut at = 0;
    loop {
        match FRAMER.next(&stream[at..]) {
            Ok(Frame::Message { length, consumed }) => {
                each(&stream[at..at + length]);
                at += consumed;
            }
            Ok(Frame::Partial { .. }) => return Ok(at),
            Err(hopeless) => return Err(io::Error::new(ErrorKind::InvalidData, hopeless)),
        }
    }
}
