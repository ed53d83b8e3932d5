//! Two connections piped into each other, each with its own pace.
//!
//! What one end has sent is written to the other at once. What that does not take is kept, and nothing more is read
//! before it is gone: the slow end slows the fast one down, and no more than one read is ever kept for a direction.
//! The end of one direction is passed on; the bridge is done when both have ended, and broken when an end dies.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::stream::tools::Tools;
use super::stream::wire::{Kind, Taken, Wire};
use crate::net::{self, Interest, Poller, reset_on_close};
use crate::time::Mono;
use crate::turn::Direction;

/// Bytes read at once from an end: what a spare buffer keeps when the other end takes nothing.
pub(super) const CHUNK: usize = 64 << 10;
/// How long a bridge may be silent when one end has ended.
pub(super) const HALF_CLOSED: Duration = Duration::from_secs(120);
/// Reads in one direction at a time, so that others get their turn.
const READS: usize = 4;

/// An end of a bridge: a connection that is read and written without waiting.
pub(super) trait End {
    /// Reads what has come; 0 is the end of what its other side sends.
    fn read(&mut self, buffer: &mut [u8], tools: &mut Tools) -> io::Result<usize>;

    /// Writes as much as it takes; an empty piece only lets go of what it holds.
    fn write(&mut self, bytes: &[u8], tools: &mut Tools) -> io::Result<usize>;

    /// Whether nothing comes behind what was read, and the poller will not tell: TLS says so in a record.
    fn has_ended(&self) -> bool {
        false
    }

    /// Tells the other side that nothing more will be written.
    fn finish(&mut self, tools: &mut Tools) -> io::Result<()>;

    /// Whether it holds bytes back that were written to it.
    fn holds_back(&self) -> bool {
        false
    }

    /// Lets the other side see that it was cut off, when it is dropped.
    fn abort(&mut self);

    /// What the poller watches.
    fn socket(&self) -> BorrowedFd<'_>;
}

impl End for TcpStream {
    fn read(&mut self, buffer: &mut [u8], _: &mut Tools) -> io::Result<usize> {
        net::read(self.as_fd(), buffer)
    }

    fn write(&mut self, bytes: &[u8], _: &mut Tools) -> io::Result<usize> {
        net::write(self.as_fd(), bytes)
    }

    fn finish(&mut self, _: &mut Tools) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn abort(&mut self) {
        reset_on_close(self);
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl End for OwnedFd {
    fn read(&mut self, buffer: &mut [u8], _: &mut Tools) -> io::Result<usize> {
        net::read(self.as_fd(), buffer)
    }

    fn write(&mut self, bytes: &[u8], _: &mut Tools) -> io::Result<usize> {
        net::write(self.as_fd(), bytes)
    }

    fn finish(&mut self, _: &mut Tools) -> io::Result<()> {
        net::finish_writing(self)
    }

    fn abort(&mut self) {
        reset_on_close(self);
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl End for Wire {
    fn read(&mut self, buffer: &mut [u8], tools: &mut Tools) -> io::Result<usize> {
        loop {
            match Self::read(self, buffer, buffer.len(), tools)? {
                Taken { length: 0, ended: true, .. } => return Ok(0),
                // Half of a record: the other half may be there.
                Taken { length: 0, more: true, .. } => {}
                Taken { length: 0, .. } => return Err(ErrorKind::WouldBlock.into()),
                Taken { length, .. } => return Ok(length),
            }
        }
    }

    fn has_ended(&self) -> bool {
        Self::has_ended(self)
    }

    fn write(&mut self, bytes: &[u8], tools: &mut Tools) -> io::Result<usize> {
        Self::write(self, bytes, Kind::Bytes, tools)
    }

    fn finish(&mut self, tools: &mut Tools) -> io::Result<()> {
        Self::finish(self, tools)
    }

    fn holds_back(&self) -> bool {
        Self::holds_back(self)
    }

    fn abort(&mut self) {
        Self::abort(self);
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// What is to be done about a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Open,
    /// Both directions have come to their end.
    Done,
    /// An end has died.
    Broken,
}

/// A client's connection (`A`) and the one it is piped into (`B`).
pub(super) struct Bridge<A, B> {
    client: A,
    peer: B,
    to_peer: Pipe,
    to_client: Pipe,
    client_watch: Watch,
    peer_watch: Watch,
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// What the sink has not taken yet, from `sent` on.
    kept: Vec<u8>,
    sent: usize,
    flow: Flow,
    /// Nothing is read before that time.
    paused: Option<Mono>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Open,
    /// The source has ended; what is kept is still to be written.
    Ending,
    /// The sink knows.
    Ended,
}

/// What the poller watches an end for; `None` when it watches it not at all.
struct Watch {
    token: u64,
    interest: Option<Interest>,
}

impl<A: End, B: End> Bridge<A, B> {
    /// Both ends are watched already, for anything; their events carry these tokens. `unsent` goes to the client
    /// before anything else, `surplus` to the peer.
    pub(super) fn new(
        (client, client_token): (A, u64),
        (peer, peer_token): (B, u64),
        unsent: Vec<u8>,
        surplus: &[u8],
    ) -> Self {
        let watch = |token| Watch { token, interest: Some(Interest::Errors) };
        Self {
            client,
            peer,
            to_peer: Pipe { kept: surplus.to_vec(), ..Pipe::default() },
            to_client: Pipe { kept: unsent, ..Pipe::default() },
            client_watch: watch(client_token),
            peer_watch: watch(peer_token),
        }
    }

    /// Moves what can be moved in a direction. `meter` is told how much has been read, and may say until when no
    /// more is to be.
    pub(super) fn pump(
        &mut self,
        direction: Direction,
        scratch: &mut [u8],
        tools: &mut Tools,
        meter: impl FnMut(usize) -> Option<Mono>,
    ) -> Fate {
        let moved = match direction {
            Direction::ToPeer => {
                self.to_peer.pump(&mut self.client, &mut self.peer, scratch, tools, meter)
            }
            Direction::ToClient => {
                self.to_client.pump(&mut self.peer, &mut self.client, scratch, tools, meter)
            }
        };
        let ended = |pipe: &Pipe| pipe.flow == Flow::Ended;
        match moved {
            Err(_) => Fate::Broken,
            Ok(()) if !ended(&self.to_peer) || !ended(&self.to_client) => Fate::Open,
            Ok(()) if self.client.holds_back() || self.peer.holds_back() => Fate::Open,
            Ok(()) => Fate::Done,
        }
    }

    /// Whether one direction has ended and the other has not.
    pub(super) fn is_half_closed(&self) -> bool {
        (self.to_peer.flow == Flow::Open) != (self.to_client.flow == Flow::Open)
    }

    /// When the first of its directions that rest may go on.
    pub(super) fn resumes_at(&self) -> Option<Mono> {
        [self.to_peer.paused, self.to_client.paused].into_iter().flatten().min()
    }

    /// Lets the directions go on whose rest is over, and tells which.
    pub(super) fn resume(&mut self, now: Mono) -> [Option<Direction>; 2] {
        let over = |pipe: &mut Pipe| pipe.paused.take_if(|until| *until <= now).is_some();
        [
            over(&mut self.to_peer).then_some(Direction::ToPeer),
            over(&mut self.to_client).then_some(Direction::ToClient),
        ]
    }

    /// Watches both ends for what is wanted of them now. `hung_up` says which ends the poller has called lost: the
    /// one that is wanted for nothing would go on being told.
    pub(super) fn watch(&mut self, poller: &Poller, hung_up: Option<Direction>) -> io::Result<()> {
        let client = interest(&self.to_peer, &self.to_client, self.client.holds_back());
        let peer = interest(&self.to_client, &self.to_peer, self.peer.holds_back());
        let lost = hung_up == Some(Direction::ToPeer);
        self.client_watch.set(poller, self.client.socket(), client, lost)?;
        let lost = hung_up == Some(Direction::ToClient);
        self.peer_watch.set(poller, self.peer.socket(), peer, lost)
    }

    /// Whether something of a direction has been read and not yet been written.
    pub(super) fn keeps_anything(&self) -> bool {
        !self.to_peer.is_empty() || !self.to_client.is_empty()
    }

    /// Lets both sides see, when it is dropped, that they were cut off.
    pub(super) fn abort(&mut self) {
        self.client.abort();
        self.peer.abort();
    }
}

impl Pipe {
    fn is_empty(&self) -> bool {
        self.sent == self.kept.len()
    }

    fn pump(
        &mut self,
        source: &mut impl End,
        sink: &mut impl End,
        scratch: &mut [u8],
        tools: &mut Tools,
        mut meter: impl FnMut(usize) -> Option<Mono>,
    ) -> io::Result<()> {
        if sink.holds_back() {
            write_to(sink, &[], tools)?;
        }
        for _ in 0..READS {
            self.write_kept(sink, tools)?;
            if !self.is_empty() || self.flow != Flow::Open || self.paused.is_some() {
                break;
            }
            let read = match source.read(scratch, tools) {
                Ok(0) => {
                    self.flow = Flow::Ending;
                    break;
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            self.paused = meter(read);
            let taken = write_to(sink, &scratch[..read], tools)?;
            if taken < read {
                self.kept = tools.spares.take();
                self.kept.extend_from_slice(&scratch[taken..read]);
            }
        }
        if self.flow == Flow::Open && source.has_ended() {
            self.flow = Flow::Ending;
        }
        if self.flow == Flow::Ending && self.is_empty() {
            sink.finish(tools)?;
            self.flow = Flow::Ended;
        }
        Ok(())
    }

    fn write_kept(&mut self, sink: &mut impl End, tools: &mut Tools) -> io::Result<()> {
        if !self.is_empty() {
            self.sent += write_to(sink, &self.kept[self.sent..], tools)?;
        }
        if self.is_empty() && self.kept.capacity() > 0 {
            self.sent = 0;
            tools.spares.give_back(std::mem::take(&mut self.kept));
        }
        Ok(())
    }
}

/// Writes until nothing more is taken.
fn write_to(sink: &mut impl End, bytes: &[u8], tools: &mut Tools) -> io::Result<usize> {
    let mut taken = 0;
    loop {
        match sink.write(&bytes[taken..], tools) {
            Ok(0) if taken < bytes.len() => return Err(ErrorKind::WriteZero.into()),
            Ok(more) => taken += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(taken),
            Err(error) => return Err(error),
        }
        if taken == bytes.len() {
            return Ok(taken);
        }
    }
}

/// What an end is wanted for that is the source of `out` and the sink of `into`.
fn interest(out: &Pipe, into: &Pipe, holds_back: bool) -> Interest {
    let read = out.flow == Flow::Open && out.paused.is_none() && out.is_empty();
    match (read, !into.is_empty() || holds_back) {
        (true, true) => Interest::ReadWrite,
        (true, false) => Interest::Read,
        (false, true) => Interest::Write,
        (false, false) => Interest::Errors,
    }
}

impl Watch {
    fn set(
        &mut self,
        poller: &Poller,
        socket: BorrowedFd<'_>,
        wanted: Interest,
        hung_up: bool,
    ) -> io::Result<()> {
        match self.interest {
            // Level-triggered: a lost connection is told again and again, and nothing is to be done about it yet.
            Some(_) if wanted == Interest::Errors && hung_up => {
                self.interest = None;
                poller.delete(socket)
            }
            Some(before) if before != wanted => {
                self.interest = Some(wanted);
                poller.modify(socket, self.token, wanted)
            }
            None if wanted != Interest::Errors => {
                self.interest = Some(wanted);
                poller.add(socket, self.token, wanted)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
