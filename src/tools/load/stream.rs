//! A connection with the server, in clear or in TLS.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use rustls::ClientConnection;
use socket2::{Domain, Socket, Type};

use super::io::Io;
use crate::net::Interest;
use crate::stun::{Frame, Framer};
use crate::tls::Dislike;

/// The most that waits to be written to a stream, in bytes; what comes on top is not sent.
const BACKLOG: usize = 1 << 20;
/// The most that is said before TLS is agreed on, in bytes: until then it is not sealed but kept.
const EARLY: usize = 64 << 10;
/// The most that is read from a stream at once, in bytes.
const CHUNK: usize = 65_536;
/// The longest message: header, a whole datagram, padding.
const FRAMER: Framer = Framer { limit: 65_536 + 64 };

/// A connection with what waits on both sides of it.
pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What was said before TLS is agreed on, in bytes.
    early: usize,
    /// What the kernel has not taken yet, as it goes out.
    out: Vec<u8>,
    /// Of `out`, what is written already.
    written: usize,
    /// The beginning of a message whose end has not come yet.
    partial: Vec<u8>,
    watches_writing: bool,
}

impl Stream {
    /// Begins to connect from `source`, and watches the connection under `token`.
    ///
    /// # Errors
    /// `AddrInUse`: another port of `source` may do. Else the system lacks something.
    pub(super) fn open(
        io: &Io,
        source: SocketAddr,
        server: SocketAddr,
        token: u64,
        tls: Option<ClientConnection>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // The port's last connection lingers, and hinders nobody.
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&source.into())?;
        match socket.connect(&server.into()) {
            // The port is somebody else's who is connected there: only now the system sees that.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                return Err(ErrorKind::AddrInUse.into());
            }
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let socket = TcpStream::from(socket);
        io.poller.add(socket.as_fd(), token, Interest::ReadWrite)?;
        let (out, partial) = (Vec::new(), Vec::new());
        let mut tls = tls.map(Box::new);
        if let Some(tls) = &mut tls {
            tls.set_buffer_limit(Some(EARLY));
        }
        let mut stream =
            Self { socket, tls, early: 0, out, written: 0, partial, watches_writing: true };
        stream.take_sealed()?;
        Ok(stream)
    }

    /// Sends a message at the next flush, in a record of its own; whether there is room for it.
    pub(super) fn send(&mut self, message: &[u8]) -> bool {
        self.out.len() - self.written <= BACKLOG && self.ask(message)
    }

    /// The same of a message that does not wait for the backlog to shrink: a request, of which there are few.
    pub(super) fn ask(&mut self, message: &[u8]) -> bool {
        let Some(tls) = &mut self.tls else {
            self.out.extend_from_slice(message);
            return true;
        };
        if tls.is_handshaking() {
            // Half a message would make nonsense of all that follows it.
            if self.early + message.len() > EARLY {
                return false;
            }
            self.early += message.len();
        }
        tls.writer().write_all(message).and_then(|()| self.take_sealed()).is_ok()
    }

    /// Takes what TLS wants to be sent.
    fn take_sealed(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.out)?;
            }
        }
        Ok(())
    }

    pub(super) fn has_output(&self) -> bool {
        self.written < self.out.len()
    }

    /// Whether TLS is agreed on.
    pub(super) fn is_agreed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking())
    }

    /// Version and cipher, once they are agreed on.
    pub(super) fn cipher(&self) -> Option<String> {
        let tls = self.tls.as_ref()?;
        let version = tls.protocol_version()?.as_str()?.replace("v1_", " 1.");
        let suite = tls.negotiated_cipher_suite()?.suite().as_str()?.to_owned();
        Some(format!("{version}, {suite}"))
    }

    /// The pending error of the socket.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.socket.take_error().ok().flatten()
    }

    /// Writes what waits, as far as the connection takes it.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) fn flush(&mut self, io: &Io, token: u64) -> io::Result<()> {
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

    /// Hands over what has come, message by message.
    ///
    /// # Errors
    /// The connection is lost, TLS has failed, or what comes is no STUN.
    pub(super) fn receive(&mut self, io: &mut Io, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let slot = io.slot();
        let room = &mut io.out(slot)[..CHUNK];
        let count = match (&self.socket).read(room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted => {
                        Ok(())
                    }
                    _ => Err(error),
                };
            }
        };
        let read = io.bytes(slot, 0..count);
        let mut open = true;
        if self.tls.is_some() {
            open = self.open_records(read)?;
        } else if self.partial.is_empty() {
            let taken = cut(read, each)?;
            self.partial.extend_from_slice(&read[taken..]);
            return Ok(());
        } else {
            self.partial.extend_from_slice(read);
        }
        let taken = cut(&self.partial, each)?;
        self.partial.drain(..taken);
        if open { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// Lays what is in these records behind what is kept; whether more may follow.
    fn open_records(&mut self, mut records: &[u8]) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(true);
        };
        while !records.is_empty() {
            tls.read_tls(&mut records)?;
            let state = tls
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, Dislike::from(error)))?;
            let start = self.partial.len();
            self.partial.resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut self.partial[start..])?;
            if state.peer_has_closed() {
                // RFC 8446 §6.1: nothing counts that comes after its leave.
                return Ok(false);
            }
        }
        self.take_sealed()?;
        Ok(true)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::super::interrupt::Interrupt;
    use super::*;
    use crate::tls::{self, talks_after_its_leave};

    #[test]
    fn a_port_from_which_somebody_else_is_connected_to_the_server_is_in_use() {
        let io = Io::new(false, Interrupt::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let first = Stream::open(&io, "127.0.0.1:0".parse().unwrap(), server, 1, None).unwrap();
        let source = first.socket.local_addr().unwrap();
        let (_accepted, _) = listener.accept().unwrap();
        let second = Stream::open(&io, source, server, 2, None).map(drop);
        assert_eq!(second.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_server_that_talks_on_after_its_leave_has_closed_the_connection() {
        let (told, tell) = mpsc::channel();
        // Who turns in a circle never comes back.
        thread::spawn(move || {
            let mut io = Io::new(false, Interrupt::default()).unwrap();
            let server = talks_after_its_leave();
            let tls = tls::Client::new(&tls::Trust::Anyone, "127.0.0.1").unwrap();
            let (source, tls) = ("127.0.0.1:0".parse().unwrap(), tls.connect().unwrap());
            let mut stream = Stream::open(&io, source, server, 1, Some(tls)).unwrap();
            let (mut events, mut messages, mut ended) = (Io::events(), 0, None);
            while ended.is_none() {
                io.wait(&mut events, Duration::from_secs(1)).unwrap();
                ended = stream.receive(&mut io, &mut |_| messages += 1).err();
                // What it thinks of the end of the connection is nothing new.
                let _ = stream.flush(&io, 1);
                io.flush();
            }
            told.send((messages, ended.map(|error| error.kind())))
        });
        let ended = tell.recv_timeout(Duration::from_secs(10));
        assert_eq!(ended, Ok((4096, Some(ErrorKind::UnexpectedEof))));
    }

    #[test]
    fn a_message_goes_out_whole_or_not_at_all() {
        let io = Io::new(false, Interrupt::default()).unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (source, server) = ("127.0.0.1:0".parse().unwrap(), silent.local_addr().unwrap());
        let tls = tls::Client::new(&tls::Trust::Anyone, "127.0.0.1").unwrap().connect().unwrap();
        let mut stream = Stream::open(&io, source, server, 1, Some(tls)).unwrap();
        let whole = (0..10_000).take_while(|_| stream.send(&[0; 20])).count();
        assert!((1000..10_000).contains(&whole), "{whole}");
        let left = EARLY - 20 * whole;
        assert!(stream.send(&vec![0; left]), "something of what was refused has gone out");
    }

    #[test]
    fn a_request_does_not_wait_for_room() {
        let io = Io::new(false, Interrupt::default()).unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (source, server) = ("127.0.0.1:0".parse().unwrap(), silent.local_addr().unwrap());
        let mut stream = Stream::open(&io, source, server, 1, None).unwrap();
        while stream.send(&[0; 65_536]) {}
        assert!(stream.ask(&[0; 20]));
    }
}
