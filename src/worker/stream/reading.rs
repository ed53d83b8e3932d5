//! Reading a connection once for each wake-up, in the clear or through TLS. Who has more to read comes behind the
//! others.

use std::io;
use std::sync::Arc;

use super::super::engine::{Engine, HANDSHAKES};
use super::super::streams::Phase;
use super::unfit::Unfit;
use super::wire::Taken;
use crate::net::{self, SLOT_SIZE};
use crate::tls;

/// The most that is read at once from a client without an allocation, in bytes: others wait behind it.
pub(in crate::worker) const STRANGER_LIMIT: usize = 4096;
/// What a read is charged at least, in bytes, when bytes are thrown away.
const READ_PRICE: usize = 64;
/// Bytes of plaintext that one read may bring.
const PLAIN: usize = 64 << 10;

impl Engine {
    pub(in crate::worker) fn on_stream(&mut self, leg: u32, birth: u16, event: net::Event) {
        // An event may be about a connection that this wake-up has closed, and its leg another's by now.
        let Some(stream) = self.streams.get_mut(leg).filter(|stream| stream.birth == birth) else {
            return;
        };
        stream.ended |= event.hangup();
        let phase = stream.phase;
        if event.writable() && stream.is_blocked() && !self.streams.write(leg) {
            self.close_stream(leg);
            return;
        }
        if event.readable() || event.error() {
            match phase {
                // It costs a thousand packets: these come first.
                Phase::Handshake => self.streams.shake(leg),
                _ => self.read_stream(leg),
            }
        }
    }

    /// Goes on with `count` connections that had more to read than is read in one wake-up.
    pub(in crate::worker) fn read_unfinished(&mut self, count: usize) {
        for _ in 0..count {
            let Some(leg) = self.streams.pop_unfinished() else {
                continue;
            };
            match self.streams.get_mut(leg).map(|stream| stream.phase) {
                // Behind the packets, as all of them.
                Some(Phase::Handshake) => self.streams.shake(leg),
                _ => self.read_stream(leg),
            }
        }
    }

    /// Goes on with handshakes for a while, and leaves the others for the next wake-up.
    pub(in crate::worker) fn shake_hands(&mut self) {
        let mut until = None;
        while let Some(leg) = self.streams.pop_shaking() {
            self.read_stream(leg);
            let now = self.clock.now().mono;
            if *until.get_or_insert(self.now.mono.max(now) + HANDSHAKES) <= now {
                return;
            }
        }
    }

    /// Reads once and handles what has come.
    fn read_stream(&mut self, leg: u32) {
        let Some(stream) = self.streams.get_mut(leg) else {
            return;
        };
        match stream.phase {
            Phase::Over(_) => self.read_the_end(leg),
            _ if stream.wire.session().is_some() => self.read_sealed(leg),
            _ => self.read_plain(leg),
        }
    }

    /// Reads into a slot of the arena, behind what is kept of a message.
    fn read_plain(&mut self, leg: u32) {
        let stats = Arc::clone(&self.stats);
        let slot = self.outbox.reserve(1, &stats);
        let Some((stream, tools)) = self.streams.parts(leg) else {
            return;
        };
        let buffer = self.outbox.buffers.slot_mut(slot);
        let before = stream.input.len();
        buffer[..before].copy_from_slice(&stream.input);
        let most = if stream.is_waiting() { STRANGER_LIMIT } else { SLOT_SIZE };
        let taken = match stream.wire.read(&mut buffer[before..], most, tools) {
            Ok(Taken { length: 0, ended: false, .. }) => return,
            Ok(taken) if !taken.ended => taken,
            Ok(_) | Err(_) => return self.close_stream(leg),
        };
        // The poller has told it once and will not again.
        if taken.more || stream.ended {
            self.streams.read_again(leg);
        }
        self.handle_slot(leg, slot, before + taken.length);
    }

    /// Reads through TLS.
    fn read_sealed(&mut self, leg: u32) {
        let mut plain = std::mem::take(&mut self.plain);
        plain.resize(PLAIN, 0);
        if let Some(ended) = self.open_records(leg, &mut plain)
            && ended
        {
            // Who has said goodbye still listens (RFC 8446 §6.1): what was asked before is answered.
            self.streams.write(leg);
            self.close_stream(leg);
        }
        self.plain = plain;
    }

    /// Handles what comes out of the records that have come, and says whether the client has ended; `None` when the
    /// connection is closed already.
    fn open_records(&mut self, leg: u32, plain: &mut [u8]) -> Option<bool> {
        let (stream, tools) = self.streams.parts(leg)?;
        let most = if stream.is_waiting() { STRANGER_LIMIT } else { PLAIN };
        let taken = match stream.wire.read(plain, most, tools) {
            Ok(taken) => taken,
            Err(error) => {
                self.lost(leg, error);
                return None;
            }
        };
        if (taken.more || stream.ended) && !taken.ended {
            self.streams.read_again(leg);
        }
        let (stream, _) = self.streams.parts(leg)?;
        let open = stream.wire.session().is_some_and(tls::Session::is_open);
        if stream.wire.holds_back() && !self.streams.write(leg) {
            self.close_stream(leg);
            return None;
        }
        if open {
            self.on_tls_open(leg);
        }
        self.feed(leg, &plain[..taken.length]);
        Some(taken.ended)
    }

    /// Lays plaintext into slots of the arena, behind what is kept of a message, and handles it.
    fn feed(&mut self, leg: u32, mut plain: &[u8]) {
        let stats = Arc::clone(&self.stats);
        while !plain.is_empty() {
            let slot = self.outbox.reserve(1, &stats);
            let Some(stream) = self.streams.get_mut(leg) else {
                return;
            };
            let buffer = self.outbox.buffers.slot_mut(slot);
            let before = stream.input.len();
            // What is kept is no whole message, and every message fits a slot.
            let (now, later) = plain.split_at(plain.len().min(SLOT_SIZE - before));
            buffer[..before].copy_from_slice(&stream.input);
            buffer[before..before + now.len()].copy_from_slice(now);
            self.handle_slot(leg, slot, before + now.len());
            plain = later;
        }
    }

    /// Handles what a connection has sent, which fills the next slot.
    fn handle_slot(&mut self, leg: u32, slot: usize, filled: usize) {
        self.outbox.keep(1);
        self.taken += 1;
        match self.streams.get_mut(leg).map(|stream| stream.phase) {
            Some(Phase::Turn) => self.handle_input(leg, slot, 0..filled),
            Some(Phase::Proxy | Phase::First | Phase::Handshake) => self.open(leg, slot, filled),
            Some(Phase::Over(_)) | None => {}
        }
    }

    /// Throws away what a client sends that has been told the end, so that it can read what it was told.
    fn read_the_end(&mut self, leg: u32) {
        let stats = Arc::clone(&self.stats);
        let slot = self.outbox.reserve(1, &stats);
        let Some((stream, tools)) = self.streams.parts(leg) else {
            return;
        };
        let buffer = self.outbox.buffers.slot_mut(slot);
        match (stream.phase, stream.wire.read(buffer, PLAIN, tools)) {
            (Phase::Over(left @ 1..), Ok(taken)) if !taken.ended => {
                stream.phase = Phase::Over(left.saturating_sub(taken.length.max(READ_PRICE)));
                if taken.more || stream.ended {
                    self.streams.read_again(leg);
                }
            }
            _ => self.close_stream(leg),
        }
    }

    /// A connection with TLS cannot go on.
    fn lost(&mut self, leg: u32, error: io::Error) {
        match error.downcast::<tls::Failure>() {
            Ok(failure) => self.unfit(leg, Unfit::Tls(failure)),
            Err(_) => self.close_stream(leg),
        }
    }
}
