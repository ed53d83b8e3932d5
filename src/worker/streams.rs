//! The table of TCP connections with clients: what waits to be read and written, and whose time is over. Nothing here
//! looks into the bytes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;

use slab::Slab;

use super::Stats;
use super::engine::Token;
use super::stream::tools::Tools;
use super::stream::wire::{Kind, Wire};
use crate::time::Mono;
use crate::turn::{Client, FiveTuple};

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
    /// Connections that have not yet said what they want, longest first.
    opening: BTreeSet<(Mono, u32)>,
    /// Connections that may have more to read than has been read.
    unfinished: VecDeque<u32>,
    /// Connections whose TLS handshake can go on.
    shaking: VecDeque<u32>,
    /// Connections that a proxy has spoken for, by their ends.
    claims: HashMap<(SocketAddr, SocketAddr), u32>,
    /// How many connections there have been; it may go round.
    births: u16,
    pub(super) tools: Tools,
    /// Connections that cannot be written to any more.
    broken: Vec<u32>,
}

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A proxy has to say first whose it is.
    Proxy,
    /// It is not known yet what it is for; inside TLS once more.
    First,
    /// TLS is being agreed on.
    Handshake,
    /// STUN and TURN.
    Turn,
    /// All is said to the client; so many bytes of what it still sends are thrown away, until it has seen the end.
    Over(usize),
}

/// One connection.
pub(super) struct Stream {
    pub(super) wire: Wire,
    pub(super) tuple: FiveTuple,
    pub(super) phase: Phase,
    /// Its listener is for TLS alone.
    pub(super) tls_only: bool,
    /// A proxy has said whose it is.
    pub(super) proxied: bool,
    /// Which of the connections that its leg has carried it is.
    pub(super) birth: u16,
    /// Since when it has been in none of the phases that last.
    opening: Option<Mono>,
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
    /// It stands among those whose handshake can go on.
    shaking: bool,
    /// The kernel took less than was there; the poller tells when it takes more.
    blocked: bool,
    dirty: bool,
    /// It stands among those that are to be closed.
    broken: bool,
}

impl Stream {
    /// A connection that begins `now`.
    pub(super) const fn new(wire: Wire, tuple: FiveTuple, phase: Phase, now: Mono) -> Self {
        Self {
            wire,
            tuple,
            phase,
            tls_only: false,
            proxied: false,
            birth: 0,
            opening: Some(now),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            waiting: Some(now),
            ended: false,
            unfinished: false,
            shaking: false,
            blocked: false,
            dirty: false,
            broken: false,
        }
    }

    /// The connection, and what it has not taken yet.
    pub(super) fn into_parts(mut self) -> (Wire, Vec<u8>) {
        self.output.drain(..self.sent);
        (self.wire, self.output)
    }

    const fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.tuple.client, self.tuple.server)
    }

    /// Whether it is without an allocation.
    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether the kernel took less than was there.
    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked
    }

    fn has_output(&self) -> bool {
        self.sent < self.output.len() || self.wire.holds_back()
    }
}

impl Streams {
    /// Files a connection that the poller tells about as a leg that is free.
    pub(super) fn insert(&mut self, mut stream: Stream) -> u32 {
        let unsent = stream.has_output();
        (stream.blocked, stream.dirty, stream.broken) = (false, unsent, false);
        (stream.unfinished, stream.shaking) = (false, false);
        self.births = self.births.wrapping_add(1);
        stream.birth = self.births;
        let (waiting, opening) = (stream.waiting, stream.opening);
        let claim = stream.proxied.then(|| stream.ends());
        let leg = self.open.insert(stream) as u32;
        self.claims.extend(claim.map(|ends| (ends, leg)));
        self.waiting.extend(waiting.map(|since| (since, leg)));
        self.opening.extend(opening.map(|since| (since, leg)));
        self.dirty.extend(unsent.then_some(leg));
        leg
    }

    pub(super) fn get(&self, leg: u32) -> Option<&Stream> {
        self.open.get(leg as usize)
    }

    pub(super) fn get_mut(&mut self, leg: u32) -> Option<&mut Stream> {
        self.open.get_mut(leg as usize)
    }

    /// A connection, and what it works with.
    pub(super) fn parts(&mut self, leg: u32) -> Option<(&mut Stream, &mut Tools)> {
        Some((self.open.get_mut(leg as usize)?, &mut self.tools))
    }

    /// What the poller is to tell about the connection that is filed next. Legs are given out again at once, and an
    /// event about the one before may still be under way: it must not be taken for this one's.
    pub(super) fn next_token(&self) -> u64 {
        Token::Stream(self.open.vacant_key() as u32, self.births.wrapping_add(1)).pack()
    }

    /// Notes that a proxy has said whose connection it is, and tells which older one has the same ends. Only the
    /// kernel makes 5-tuples unique, and a proxy's word does not.
    pub(super) fn claim(&mut self, leg: u32) -> Option<u32> {
        let stream = self.open.get_mut(leg as usize)?;
        stream.proxied = true;
        self.claims.insert(stream.ends(), leg).filter(|older| *older != leg)
    }

    pub(super) fn remove(&mut self, leg: u32) -> Option<Stream> {
        let stream = self.open.try_remove(leg as usize)?;
        if let Some(since) = stream.waiting {
            self.waiting.remove(&(since, leg));
        }
        if let Some(since) = stream.opening {
            self.opening.remove(&(since, leg));
        }
        if stream.proxied && self.claims.get(&stream.ends()) == Some(&leg) {
            self.claims.remove(&stream.ends());
        }
        Some(stream)
    }

    /// Moves a connection to another phase; the time for saying what it wants starts anew with [`Phase::Over`].
    pub(super) fn set_phase(&mut self, leg: u32, phase: Phase, now: Mono) {
        let Some(stream) = self.open.get_mut(leg as usize) else {
            return;
        };
        stream.phase = phase;
        let opening = match phase {
            Phase::Turn => None,
            Phase::Over(_) => Some(now),
            Phase::Proxy | Phase::First | Phase::Handshake => stream.opening,
        };
        if let Some(before) = std::mem::replace(&mut stream.opening, opening) {
            self.opening.remove(&(before, leg));
        }
        self.opening.extend(opening.map(|since| (since, leg)));
    }

    /// The connection that has taken longest to say what it wants.
    pub(super) fn longest_opening(&self) -> Option<(Mono, u32)> {
        self.opening.first().copied()
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

    /// Notes that a handshake can go on.
    pub(super) fn shake(&mut self, leg: u32) {
        if let Some(stream) = self.open.get_mut(leg as usize)
            && !std::mem::replace(&mut stream.shaking, true)
        {
            self.shaking.push_back(leg);
        }
    }

    /// Whether a handshake can go on.
    pub(super) fn is_shaking(&self) -> bool {
        !self.shaking.is_empty()
    }

    /// Takes out the one that has waited longest.
    pub(super) fn pop_shaking(&mut self) -> Option<u32> {
        while let Some(leg) = self.shaking.pop_front() {
            // Another connection may have got the leg meanwhile.
            let stream = self.open.get_mut(leg as usize);
            if stream.is_some_and(|stream| std::mem::take(&mut stream.shaking)) {
                return Some(leg);
            }
        }
        None
    }

    /// How many connections are without an allocation.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn legs(&self) -> Vec<u32> {
        self.open.iter().map(|(leg, _)| leg as u32).collect()
    }

    /// The same for a client that is at the leg it says: that may be another one's by now.
    pub(super) fn queue_for(
        &mut self,
        client: &Client,
        parts: [&[u8]; 2],
        padding: usize,
        limit: usize,
        stats: &Stats,
    ) {
        if self.open.get(client.leg as usize).is_some_and(|it| it.tuple == client.tuple) {
            self.queue(client.leg, parts, padding, limit, stats);
        }
    }

    /// Queues a message with its padding for whoever is at the leg; drops it when more than `limit` bytes would wait.
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
            stream.output = self.tools.spares.take();
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
            self.tools.spares.give_back(std::mem::take(&mut stream.input));
            return;
        }
        if stream.waiting.is_none() && stream.input.capacity() == 0 {
            stream.input = self.tools.spares.take();
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
        // An empty piece lets TLS go on with what it holds back.
        while stream.has_output() {
            let unsent = &stream.output[stream.sent..];
            match stream.wire.write(unsent, Kind::Messages, &mut self.tools) {
                Ok(0) if stream.sent < stream.output.len() => return false,
                Ok(taken) => stream.sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let blocked = stream.has_output();
        if blocked && stream.waiting.is_some() {
            // It does not even read the answers it asked for: nobody to keep bytes for.
            return false;
        }
        if stream.sent < stream.output.len() {
            // What the kernel has taken need not be kept.
            stream.output.drain(..stream.sent);
        } else {
            stream.output.clear();
            self.tools.spares.give_back(std::mem::take(&mut stream.output));
        }
        stream.sent = 0;
        stream.blocked = blocked;
        true
    }
}
