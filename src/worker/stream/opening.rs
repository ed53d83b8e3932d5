//! What a connection goes through before it speaks TURN:
//!
//! ```text
//! Proxy --header--> First --STUN, ChannelData--> Turn
//!                     |  \--HTTP--> its own way (http)
//!                     \--TLS--> Handshake --ALPN stun.turn--> Turn
//!                                   \--any other ALPN, none--> First, once more
//! ```
//!
//! Until it speaks TURN it is a stranger: it has little time and little memory, and is the first to go when there
//! are too many.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::super::Event;
use super::super::engine::Engine;
use super::super::streams::Phase;
use super::first::{Speaks, Unknown, speaks};
use super::proxy::{self, Addresses, Header, Malformed};
use super::unfit::Unfit;
use crate::tls::{Protocol, Session, Version};
use crate::turn::Transport;

/// What the bytes in front of a connection lead to.
enum Step {
    /// They are not enough.
    More,
    /// So many of them are dealt with.
    Next(usize),
    Turn,
    Tls,
    Http,
    Unfit(Unfit),
}

impl Engine {
    /// Handles what stands in a slot, of a connection that does not speak TURN yet.
    pub(super) fn open(&mut self, leg: u32, slot: usize, filled: usize) {
        let mut at = 0;
        loop {
            match self.step(leg, slot, at..filled) {
                Step::Next(length) => at += length,
                Step::More => {
                    let begun = &self.outbox.buffers.slot(slot)[at..filled];
                    return self.streams.keep_input(leg, begun);
                }
                Step::Unfit(why) => return self.unfit(leg, why),
                Step::Turn => {
                    self.streams.set_phase(leg, Phase::Turn, self.now.mono);
                    return self.handle_input(leg, slot, at..filled);
                }
                Step::Tls => return self.begin_tls(leg, slot, at..filled),
                Step::Http => return self.on_http(leg, slot, at..filled),
            }
        }
    }

    fn step(&mut self, leg: u32, slot: usize, part: Range<usize>) -> Step {
        let bytes = &self.outbox.buffers.slot(slot)[part];
        let Some(stream) = self.streams.get_mut(leg) else {
            return Step::More;
        };
        if stream.phase == Phase::Proxy {
            return match proxy::parse(bytes) {
                Ok(None) => Step::More,
                Ok(Some(header)) => self.on_header(leg, header),
                Err(malformed) => Step::Unfit(malformed.into()),
            };
        }
        match (speaks(bytes), stream.wire.session()) {
            (Ok(None), _) => Step::More,
            (Ok(Some(Speaks::Turn)), None) if stream.tls_only => Step::Unfit(Unfit::PlainOnTls),
            (Ok(Some(Speaks::Turn)), _) => Step::Turn,
            (Ok(Some(Speaks::Http)), _) => Step::Http,
            (Ok(Some(Speaks::Tls)), None) => Step::Tls,
            (Ok(Some(Speaks::Proxy)), None) if stream.proxied => {
                Step::Unfit(Malformed::Repeated.into())
            }
            (Ok(Some(Speaks::Proxy)), None) => Step::Unfit(Unfit::UntrustedProxy),
            (Ok(Some(Speaks::Tls | Speaks::Proxy)), Some(_)) => {
                Step::Unfit(Unfit::Unknown(bytes[0]))
            }
            (Err(Unknown(first)), _) => Step::Unfit(Unfit::Unknown(first)),
        }
    }

    /// A proxy has said whose connection it is.
    fn on_header(&mut self, leg: u32, header: Header) -> Step {
        let now = self.now.mono;
        if let Some(Addresses { client, server }) = header.addresses {
            if !self.shared.connect(client.ip(), self.connection_limit(client)) {
                self.stats.streams_refused.add(1);
                self.close_stream(leg);
                return Step::More;
            }
            if let Some(stream) = self.streams.get_mut(leg) {
                self.shared.disconnect(stream.tuple.client.ip());
                (stream.tuple.client, stream.tuple.server) = (client, server);
            }
        }
        // The proxy knows better than we do which of them is still there.
        if let Some(older) = self.streams.claim(leg) {
            self.close_stream(older);
        }
        self.streams.set_phase(leg, Phase::First, now);
        Step::Next(header.length)
    }

    fn begin_tls(&mut self, leg: u32, slot: usize, part: Range<usize>) {
        let Some(server) = &self.tls else {
            return self.unfit(leg, Unfit::TlsWithoutCertificate);
        };
        let hello = &self.outbox.buffers.slot(slot)[part];
        let Some(stream) = self.streams.get_mut(leg) else {
            return;
        };
        if stream.wire.begin_tls(server, hello).is_err() {
            return self.close_stream(leg);
        }
        stream.tuple.transport = Transport::Tls;
        self.streams.keep_input(leg, &[]);
        self.streams.set_phase(leg, Phase::Handshake, self.now.mono);
        self.streams.shake(leg);
    }

    /// A connection can send and receive through TLS.
    pub(super) fn on_tls_open(&mut self, leg: u32) {
        let Some(stream) = self.streams.get_mut(leg) else {
            return;
        };
        let Some(session) = stream.wire.session().filter(|_| stream.phase == Phase::Handshake)
        else {
            return;
        };
        let version = usize::from(session.version() == Some(Version::Tls13));
        self.stats.tls_handshakes[version].add(1);
        self.stats.tls_resumed.add(session.is_resumed().into());
        let phase = match session.protocol() {
            Some(Protocol::Turn | Protocol::NatDiscovery) => Phase::Turn,
            // What was agreed on does not tell: Firefox names these for TURN too.
            Some(Protocol::Http | Protocol::WebRtc | Protocol::ConfidentialWebRtc) | None => {
                Phase::First
            }
        };
        self.streams.set_phase(leg, phase, self.now.mono);
    }

    /// A connection has not said in time what it wants, or has had its time after the last words.
    pub(in crate::worker) fn on_slow_opening(&mut self, leg: u32) {
        let phase = self.streams.get_mut(leg).map(|stream| stream.phase);
        match phase {
            Some(Phase::Proxy | Phase::First | Phase::Handshake) => self.unfit(leg, Unfit::TooSlow),
            _ => self.close_stream(leg),
        }
    }

    /// Closes a connection for what it says, and tells why.
    pub(in crate::worker) fn unfit(&mut self, leg: u32, why: Unfit) {
        self.stats.unfit[why.index()].add(1);
        if let Unfit::Tls(failure) = &why {
            self.stats.tls_failures[failure.cause.index()].add(1);
        }
        let verbose = self.shared.verbose.load(Ordering::Relaxed);
        if (self.told.is_due(&why, self.now.mono) || verbose)
            && let Some(stream) = self.streams.get_mut(leg)
        {
            let name = stream.wire.session().and_then(Session::asked_name).map(Box::from);
            self.events.tell(Event::Unfit { client: stream.tuple, name, why });
        }
        // What was asked before is answered before the end.
        self.streams.write(leg);
        self.close_stream(leg);
    }
}
