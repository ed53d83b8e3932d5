use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::fd::AsFd;

use slab::Slab;

use super::Stats;
use super::spares::Spares;
use crate::net;
use crate::time::Mono;
use crate::turn::FiveTuple;

/// Bytes that are written before the end of the wake-up, so that buffers stay within a spare's
/// size.
const WRITE_AT: usize = 32 << 10;

/// The TCP connections of one worker, by their leg.
#[derive(Default)]
pub(super) struct Streams {
    open: Slab<Stream>,
    /// Connections without an allocation, longest first.
    waiting: BTreeSet<(Mono, u32)>,
    /// Connections that got something to send in this wake-up.
    dirty: Vec<u32>,
    /// Connections that may have more to read than has been read.
    unfinished: VecDeque<u32>,
    spares: Spares,
    /// Connections that cannot be written to any more.
    broken: Vec<u32>,
}

/// One connection.
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    pub(super) tuple: FiveTuple,
    /// The beginning of a message whose end has not come yet.
    pub(super) input: Vec<u8>,
    /// What the kernel has not taken yet, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    /// Since when it is without an allocation.
    waiting: Option<Mono>,
    /// The client has ended its side; the end is read after all that came before.
    pub(super) ended: bool,
    /// It stands among those that may have more to read.
    unfinished: bool,
    /// The kernel took less than was there; the poller tells when it takes more.
    blocked: bool,
    dirty: bool,
    /// It stands among those that are to be closed.
    broken: bool,
}

impl Stream {
    /// A connection without an allocation since `now`.
    pub(super) const fn new(socket: TcpStream, tuple: FiveTuple, now: Mono) -> Self {
        Self {
            socket,
            tuple,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            waiting: Some(now),
            ended: false,
            unfinished: false,
            blocked: false,
            dirty: false,
            broken: false,
        }
    }

    /// The socket, and what it has not taken yet.
    pub(super) fn into_parts(mut self) -> (TcpStream, Vec<u8>) {
        self.output.drain(..self.sent);
        (self.socket, self.output)
    }

    /// Whether it is without an allocation.
    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether the kernel took less than was there.
    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked
    }
}

impl Streams {
    /// Files a connection that the poller tells about as a leg that is free.
    pub(super) fn insert(&mut self, mut stream: Stream) -> u32 {
        let unsent = stream.sent < stream.output.len();
        (stream.blocked, stream.dirty, stream.broken) = (false, unsent, false);
        stream.unfinished = false;
        let since = stream.waiting;
        let leg = self.open.insert(stream) as u32;
        self.waiting.extend(since.map(|since| (since, leg)));
        self.dirty.extend(unsent.then_some(leg));
        leg
    }

    pub(super) fn get_mut(&mut self, leg: u32) -> Option<&mut Stream> {
        self.open.get_mut(leg as usize)
    }

    /// The leg that the next connection gets.
    pub(super) fn next_leg(&self) -> u32 {
        self.open.vacant_key() as u32
    }

    pub(super) fn remove(&mut self, leg: u32) -> Option<Stream> {
        let stream = self.open.try_remove(leg as usize)?;
        if let Some(since) = stream.waiting {
            self.waiting.remove(&(since, leg));
        }
        Some(stream)
    }

    /// Notes that a connection has an allocation, or has none since `now`.
    pub(super) fn set_waiting(&mut self, leg: u32, since: Option<Mono>) {
        let Some(stream) = self.open.get_mut(leg as usize) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut stream.waiting, since) {
            self.waiting.remove(&(before, leg));
        }
        if let Some(since) = since {
            self.waiting.insert((since, leg));
        }
    }

    /// The connection that is without an allocation for longest.
    pub(super) fn longest_waiting(&self) -> Option<(Mono, u32)> {
        self.waiting.first().copied()
    }

    /// Notes that a connection may have more to read.
    pub(super) fn read_again(&mut self, leg: u32) {
        if let Some(stream) = self.open.get_mut(leg as usize)
            && !std::mem::replace(&mut stream.unfinished, true)
        {
            self.unfinished.push_back(leg);
        }
    }

    /// How many connections may have more to read.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    /// Takes out the one that has waited longest, unless it is closed.
    pub(super) fn pop_unfinished(&mut self) -> Option<u32> {
        let leg = self.unfinished.pop_front()?;
        let stream = self.open.get_mut(leg as usize)?;
        std::mem::take(&mut stream.unfinished).then_some(leg)
    }

    /// How many connections are without an allocation.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn legs(&self) -> Vec<u32> {
        self.open.iter().map(|(leg, _)| leg as u32).collect()
    }

    /// Queues a message with its padding; drops it when more than `limit` bytes would wait.
    pub(super) fn queue(
        &mut self,
        leg: u32,
        [header, payload]: [&[u8]; 2],
        padding: usize,
        limit: usize,
        stats: &Stats,
    ) {
        let Some(stream) = self.open.get_mut(leg as usize) else {
            return;
        };
        let length = header.len() + payload.len() + padding;
        let waits = stream.output.len() - stream.sent;
        if waits + length > limit.max(length) {
            stats.queue_full.add(1);
            return;
        }
        // A spare is large: strangers, who may be many, get what they need and no more.
        if stream.waiting.is_none() && stream.output.capacity() == 0 {
            stream.output = self.spares.take();
        }
        stream.output.extend_from_slice(header);
        stream.output.extend_from_slice(payload);
        stream.output.extend_from_slice(&[0; 3][..padding]);
        if !stream.dirty {
            stream.dirty = true;
            self.dirty.push(leg);
        }
        if waits + length >= WRITE_AT && !stream.blocked {
            self.write_or_break(leg);
        }
    }

    /// Keeps the beginning of a message until its end comes. An idle connection holds no memory.
    pub(super) fn keep_input(&mut self, leg: u32, begun: &[u8]) {
        let Some(stream) = self.open.get_mut(leg as usize) else {
            return;
        };
        stream.input.clear();
        if begun.is_empty() {
            self.spares.give_back(std::mem::take(&mut stream.input));
            return;
        }
        if stream.waiting.is_none() && stream.input.capacity() == 0 {
            stream.input = self.spares.take();
        }
        stream.input.extend_from_slice(begun);
    }

    /// Writes what this wake-up has queued.
    pub(super) fn flush(&mut self) {
        while let Some(leg) = self.dirty.pop() {
            if let Some(stream) = self.open.get_mut(leg as usize) {
                stream.dirty = false;
                // A blocked connection is written to when the poller says so.
                if !stream.blocked {
                    self.write_or_break(leg);
                }
            }
        }
    }

    fn write_or_break(&mut self, leg: u32) {
        if !self.write(leg)
            && let Some(stream) = self.open.get_mut(leg as usize)
        {
            stream.broken = true;
            self.broken.push(leg);
        }
    }

    /// Takes out one connection that is to be closed, if it has not been closed already.
    pub(super) fn pop_broken(&mut self) -> Option<u32> {
        while let Some(leg) = self.broken.pop() {
            // Another connection may have got the leg meanwhile.
            if self.open.get(leg as usize).is_some_and(|stream| stream.broken) {
                return Some(leg);
            }
        }
        None
    }

    /// Writes as much as the kernel takes. False when the connection is to be closed.
    pub(super) fn write(&mut self, leg: u32) -> bool {
        let Some(stream) = self.open.get_mut(leg as usize) else {
            return true;
        };
        while stream.sent < stream.output.len() {
            match net::write(stream.socket.as_fd(), &stream.output[stream.sent..]) {
                Ok(0) => return false,
                Ok(taken) => stream.sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let blocked = stream.sent < stream.output.len();
        if blocked && stream.waiting.is_some() {
            // It does not even read the answers it asked for: nobody to keep bytes for.
            return false;
        }
        if blocked {
            // What the kernel has taken need not be kept.
            stream.output.drain(..stream.sent);
        } else {
            stream.output.clear();
            self.spares.give_back(std::mem::take(&mut stream.output));
        }
        stream.sent = 0;
        stream.blocked = blocked;
        true
    }
}
