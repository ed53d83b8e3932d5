//! A client's connection: its bytes as they are, or sealed by TLS.
//!
//! Neither the socket nor TLS is ever waited for. What TLS has sealed and the kernel does not take is kept here, one
//! piece of at most [`SEAL`] bytes at a time: whoever writes keeps the rest, and drops of it what he likes.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use super::reading::STRANGER_LIMIT;
use super::tools::{SPARE_SIZE, Tools};
use crate::net;
use crate::stun::{Frame, Framer};
use crate::tls::{Failure, INPUT_MAX, Server, Session};

/// The most plaintext that is sealed at once of what has no messages: four whole records, which fit a spare buffer.
const SEAL: usize = 64 << 10;
/// The least room that a read through TLS needs: all that may have been kept of a record, and as much again.
pub(in crate::worker) const READ_MIN: usize = 2 * INPUT_MAX;

/// A connection with a client.
pub(in crate::worker) struct Wire {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
}

struct Tls {
    session: Session,
    /// A record, or a part of the handshake, whose end has not come yet.
    begun: Vec<u8>,
    /// What is in `begun` has not been looked at yet.
    unseen: bool,
    /// Records that the kernel has not taken yet, from `sent` on.
    sealed: Vec<u8>,
    sent: usize,
    /// The end follows behind what is sealed.
    finished: bool,
    /// The client has said that nothing more comes.
    ended: bool,
}

/// What is written: TLS may cut it into records anywhere, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Kind {
    /// Bytes of which nothing is known: as few records as possible.
    Bytes,
    /// Whole messages of STUN and TURN: a record for each, although RFC 8489 §6.2.2 lets them be packed. Clients,
    /// coturn's own among them, take what one read of TLS gives for one message, since coturn writes each by itself.
    Messages,
}

/// What a read has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::worker) struct Taken {
    /// Bytes in front of the buffer.
    pub(in crate::worker) length: usize,
    /// Nothing comes behind them.
    pub(in crate::worker) ended: bool,
    /// There may be more to read at once.
    pub(in crate::worker) more: bool,
}

impl Wire {
    pub(in crate::worker) const fn new(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// Speaks TLS from now on; `begun` has been read already. The next read begins the handshake.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(in crate::worker) fn begin_tls(&mut self, server: &Server, begun: &[u8]) -> io::Result<()> {
        self.tls = Some(Box::new(Tls {
            session: Session::new(server).map_err(io::Error::other)?,
            begun: begun.to_vec(),
            unseen: true,
            sealed: Vec::new(),
            sent: 0,
            finished: false,
            ended: false,
        }));
        Ok(())
    }

    /// The TLS that is spoken on it.
    pub(in crate::worker) fn session(&self) -> Option<&Session> {
        self.tls.as_deref().map(|tls| &tls.session)
    }

    /// Reads once, about `most` bytes into the front of `buffer`, which must have [`READ_MIN`] of them for TLS.
    ///
    /// # Errors
    /// The connection is lost; a failure of TLS stands in the error, and the client has been told.
    pub(in crate::worker) fn read(
        &mut self,
        buffer: &mut [u8],
        most: usize,
        tools: &mut Tools,
    ) -> io::Result<Taken> {
        if let Some(tls) = &mut self.tls {
            return tls.read(&self.socket, buffer, most, tools);
        }
        let most = most.min(buffer.len());
        let length = match net::read(self.socket.as_fd(), &mut buffer[..most]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Taken::default()),
            read => read?,
        };
        Ok(Taken { length, ended: length == 0, more: length == most })
    }

    /// Takes as much of `bytes` as it can, which may be none; an empty piece only lets go of what is held back.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing now; else the connection is lost.
    pub(in crate::worker) fn write(
        &mut self,
        bytes: &[u8],
        kind: Kind,
        tools: &mut Tools,
    ) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(&self.socket, bytes, kind, tools),
            None => net::write(self.socket.as_fd(), bytes),
        }
    }

    /// Whether the client has said in TLS that nothing follows.
    pub(in crate::worker) fn has_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.ended)
    }

    /// Whether it has taken bytes that the kernel has not.
    pub(in crate::worker) fn holds_back(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.sealed.is_empty())
    }

    /// Tells the client that nothing follows, behind what is held back.
    ///
    /// # Errors
    /// The connection is lost.
    pub(in crate::worker) fn finish(&mut self, tools: &mut Tools) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.socket.shutdown(Shutdown::Write);
        };
        tls.session.close(&mut tls.sealed);
        tls.finished = true;
        tls.push(&self.socket, tools).map(drop)
    }

    /// Says goodbye before it is dropped, if that can be done at once.
    pub(in crate::worker) fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls
            && tls.sealed.is_empty()
        {
            tls.session.close(&mut tls.sealed);
            // Nobody waits for it: what is not taken is lost with the connection.
            let _ = net::write(self.socket.as_fd(), &tls.sealed);
        }
    }

    /// Lets the client see that it was cut off, when this is dropped.
    pub(in crate::worker) fn abort(&mut self) {
        net::reset_on_close(&self.socket);
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Tls {
    fn read(
        &mut self,
        socket: &TcpStream,
        buffer: &mut [u8],
        most: usize,
        tools: &mut Tools,
    ) -> io::Result<Taken> {
        if self.ended {
            return Ok(Taken { ended: true, ..Taken::default() });
        }
        let (cipher, begun) = (tools.cipher(), self.begun.len());
        cipher[..begun].copy_from_slice(&self.begun);
        // As much plaintext as ciphertext may come out of it.
        let end = (begun + most).min(buffer.len()).min(cipher.len());
        let read = match net::read(socket.as_fd(), &mut cipher[begun..end]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && self.unseen => 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Taken::default()),
            Ok(0) => return self.end(),
            read => read?,
        };
        self.unseen = false;
        let filled = begun + read;
        let outcome = self.session.receive(&mut cipher[..filled], buffer, &mut self.sealed);
        let rest = outcome.as_ref().map_or(filled, |received| received.consumed);
        self.keep_begun(rest..filled, most > STRANGER_LIMIT, tools);
        // The client is told why before the error is.
        self.push(socket, tools)?;
        let received = outcome.map_err(io::Error::other)?;
        self.ended = received.closed;
        Ok(Taken { length: received.plain, ended: received.closed, more: filled == end })
    }

    /// The client has ended the connection without a word of TLS.
    fn end(&self) -> io::Result<Taken> {
        match self.session.abandoned() {
            Some(failure) => Err(io::Error::other(failure)),
            // RFC 8446 §6.1 wants a goodbye, which many clients never say: it is an end like that of TCP.
            None => Ok(Taken { ended: true, ..Taken::default() }),
        }
    }

    /// Keeps a part of what was read until the rest of it comes. Who is idle holds no memory.
    fn keep_begun(&mut self, part: std::ops::Range<usize>, known: bool, tools: &mut Tools) {
        self.begun.clear();
        if part.is_empty() {
            tools.spares.give_back(std::mem::take(&mut self.begun));
            return;
        }
        // A spare is large: a stranger gets what it needs and no more.
        if known && self.begun.capacity() == 0 {
            self.begun = tools.spares.take();
        }
        self.begun.extend_from_slice(&tools.cipher()[part]);
    }

    fn write(
        &mut self,
        socket: &TcpStream,
        bytes: &[u8],
        kind: Kind,
        tools: &mut Tools,
    ) -> io::Result<usize> {
        if !self.push(socket, tools)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        self.sealed = tools.spares.take();
        let taken = match kind {
            Kind::Bytes => self.seal(&bytes[..bytes.len().min(SEAL)]),
            Kind::Messages => self.seal_messages(bytes),
        };
        let taken = taken.map_err(io::Error::other)?;
        self.push(socket, tools)?;
        Ok(taken)
    }

    fn seal(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        self.session.send(bytes, &mut self.sealed).map(|()| bytes.len())
    }

    /// Seals each message by itself, as many as fit a spare buffer, and one in any case.
    fn seal_messages(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let mut taken = 0;
        while taken < bytes.len() {
            let message = first_message(&bytes[taken..]);
            let room = SPARE_SIZE.saturating_sub(self.sealed.len());
            if taken > 0 && Session::sealed_length(message.len()) > room {
                break;
            }
            taken += self.seal(message)?;
        }
        Ok(taken)
    }

    /// Lets the kernel take what is sealed; whether it has taken all.
    fn push(&mut self, socket: &TcpStream, tools: &mut Tools) -> io::Result<bool> {
        while self.sent < self.sealed.len() {
            match net::write(socket.as_fd(), &self.sealed[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => self.sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        tools.spares.give_back(std::mem::take(&mut self.sealed));
        if std::mem::take(&mut self.finished) {
            socket.shutdown(Shutdown::Write)?;
        }
        Ok(true)
    }
}

/// The first of several messages with its padding; all there is where there are none, as in HTTP.
fn first_message(bytes: &[u8]) -> &[u8] {
    match (Framer { limit: usize::MAX }).next(bytes) {
        Ok(Frame::Message { consumed, .. }) => &bytes[..consumed],
        Ok(Frame::Partial { .. }) | Err(_) => bytes,
    }
}
