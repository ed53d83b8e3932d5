//! HTTP connections that are passed on to a web server behind this one, byte by byte.
//!
//! What comes out of TLS goes to the backend as it is, behind a PROXY protocol header if it wants one, and its answers
//! go back through TLS: requests are not looked at, so whatever an HTTP/1.1 connection becomes (a WebSocket) goes
//! through. A connection that has begun with HTTP stays HTTP to its end.
//!
//! The relay comes first: the poller's events about these connections are noted only, and dealt with when the packets
//! of the wake-up have left, for a limited time.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::Event;
use super::bridge::{Bridge, Fate, HALF_CLOSED};
use super::engine::{Engine, Token};
use super::stream::proxy::Addresses;
use super::webs::{Attempt, Stage, Web};
use crate::net::{self, Endpoint, Interest};
use crate::time::{Mono, Now};
use crate::turn::Direction;

/// How long a connection with the backend may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one wake-up goes on with passed connections. One more may be under way then.
const TURN: Duration = Duration::from_millis(1);
/// How often the log is told that the backend cannot be reached.
const INTERVAL: Duration = Duration::from_secs(60);

/// Why a web client is answered by us and not by the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many connections are passed on as may be.
    Full,
    /// The backend cannot be reached.
    Unreachable,
}

impl Engine {
    /// Begins to pass a connection on, whose first bytes stand in a slot.
    ///
    /// # Errors
    /// The client is to be answered, on the leg that it has.
    pub(super) fn pass_on(
        &mut self,
        leg: u32,
        backend: &Endpoint,
        slot: usize,
        part: Range<usize>,
    ) -> Result<(), Refused> {
        let Some(address) = self.streams.get(leg).map(|stream| stream.tuple.client.ip()) else {
            return Ok(());
        };
        if !self.shared.enter_web(address, self.limits.web, self.exempt.exempts(address)) {
            self.stats.web_refused.add(1);
            return Err(Refused::Full);
        }
        let place = self.webs.next_place();
        let socket = net::connect(backend).and_then(|socket| {
            let token = Token::Backend(place).pack();
            self.poller.add(socket.as_fd(), token, Interest::Write).map(|()| socket)
        });
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                self.shared.leave_web(address);
                self.tell_unreachable(&error);
                return Err(Refused::Unreachable);
            }
        };
        self.streams.keep_input(leg, &[]);
        let Some(client) = self.streams.remove(leg) else {
            self.shared.leave_web(address);
            return Ok(());
        };
        // From now on it is only of interest whether it is lost; it was watched before, so it can be changed.
        let token = Token::WebClient(place).pack();
        let _ = self.poller.modify(client.wire.as_fd(), token, Interest::Errors);
        let mut first = Vec::new();
        if let Some(version) = self.web.header {
            let addresses = Addresses { client: client.tuple.client, server: client.tuple.server };
            version.append(&mut first, addresses);
        }
        first.extend_from_slice(&self.outbox.buffers.slot(slot)[part]);
        self.webs.insert(Web::new(Attempt { client, backend: socket, first }, self.now.mono));
        self.webs.set_timer(place, Some(self.now.mono + CONNECT));
        Ok(())
    }

    /// Goes on with the connections that the poller has told about, for a while, and leaves the others for the next
    /// wake-up.
    pub(super) fn serve_webs(&mut self) {
        let mut until = None;
        while let Some(place) = self.webs.pop_told() {
            self.serve_web(place);
            let now = self.clock.now().mono;
            if *until.get_or_insert(self.now.mono.max(now) + TURN) <= now {
                return;
            }
        }
    }

    fn serve_web(&mut self, place: u32) {
        let Some(web) = self.webs.get_mut(place) else {
            return;
        };
        let client_lost = web.hung_up[Direction::ToPeer as usize];
        match &mut web.stage {
            Stage::Passing(_) => self.pump_web(place),
            Stage::Connecting(_) if client_lost => self.close_web(place, true),
            Stage::Connecting(attempt) => {
                let outcome =
                    attempt.as_ref().map(|attempt| net::outcome_of_connect(&attempt.backend));
                match outcome {
                    Some(Ok(true)) => self.on_backend(place),
                    Some(Err(error)) => self.on_no_backend(place, &error),
                    Some(Ok(false)) | None => {}
                }
            }
        }
    }

    /// The backend is there.
    fn on_backend(&mut self, place: u32) {
        let Some(web) = self.webs.get_mut(place) else {
            return;
        };
        let Stage::Connecting(attempt) = &mut web.stage else {
            return;
        };
        let Some(Attempt { client, backend, first }) = attempt.take().map(|attempt| *attempt)
        else {
            return;
        };
        let (near, far) = (Token::WebClient(place).pack(), Token::Backend(place).pack());
        // It is watched already, so it can be changed.
        let _ = self.poller.modify(backend.as_fd(), far, Interest::Errors);
        let (wire, unsent) = client.into_parts();
        let bridge = Bridge::new((wire, near), (backend, far), unsent, &first);
        web.stage = Stage::Passing(Box::new(bridge));
        web.heard = self.now.mono;
        self.webs.set_timer(place, None);
        self.stats.web_passed.add(1);
        self.stats.web_bytes[Direction::ToPeer as usize].add(first.len() as u64);
        self.pump_web(place);
    }

    /// Moves what can be moved, either way.
    fn pump_web(&mut self, place: u32) {
        let (now, stats) = (self.now.mono, Arc::clone(&self.stats));
        let Some((web, scratch, tools)) = self.webs.parts(place) else {
            return;
        };
        let Stage::Passing(bridge) = &mut web.stage else {
            return;
        };
        let mut fate = Fate::Open;
        // An answer first: its end may be the reason that nothing more is taken.
        for direction in [Direction::ToClient, Direction::ToPeer] {
            if fate == Fate::Open {
                fate = bridge.pump(direction, scratch, tools, |bytes| {
                    stats.web_bytes[direction as usize].add(bytes as u64);
                    web.heard = now;
                    None
                });
            }
        }
        if fate == Fate::Open && web.broken.contains(&true) {
            fate = Fate::Broken;
        }
        let [near, far] = std::mem::take(&mut web.hung_up);
        let lost = [near.then_some(Direction::ToPeer), far.then_some(Direction::ToClient)];
        let mut watched = bridge.watch(&self.poller, lost[0]);
        if watched.is_ok() && far {
            watched = bridge.watch(&self.poller, lost[1]);
        }
        if fate != Fate::Open || watched.is_err() {
            return self.close_web(place, fate != Fate::Done);
        }
        let (due, timer) = (now + self.patience(place), self.webs.get_mut(place));
        if timer.is_some_and(|web| web.timer.is_none_or(|timer| timer > due)) {
            self.webs.set_timer(place, Some(due));
        }
    }

    /// How long a connection may be silent.
    fn patience(&mut self, place: u32) -> Duration {
        match self.webs.get_mut(place).map(|web| &web.stage) {
            Some(Stage::Passing(bridge)) if bridge.is_half_closed() => {
                HALF_CLOSED.min(self.limits.web_idle)
            }
            _ => self.limits.web_idle,
        }
    }

    /// Gives up what takes too long to begin, and closes what is silent for too long.
    pub(super) fn finish_webs(&mut self, now: Now) {
        while let Some(place) = self.webs.pop_timer(now.mono) {
            let Some(web) = self.webs.get_mut(place) else {
                continue;
            };
            let heard = web.heard;
            if matches!(web.stage, Stage::Connecting(_)) {
                let late = format!("no answer in {} s", CONNECT.as_secs());
                self.on_no_backend(place, &io::Error::other(late));
                continue;
            }
            let due = heard + self.patience(place);
            if due > now.mono {
                self.webs.set_timer(place, Some(due));
            } else {
                self.stats.web_idle.add(1);
                self.close_web(place, false);
            }
        }
    }

    /// The backend cannot be reached: the client gets its leg back, and an answer.
    fn on_no_backend(&mut self, place: u32, error: &io::Error) {
        self.tell_unreachable(error);
        let Some(Web { stage: Stage::Connecting(Some(attempt)), tuple, .. }) =
            self.webs.remove(place)
        else {
            return;
        };
        self.shared.leave_web(tuple.client.ip());
        self.make_room_for_stranger();
        let token = self.streams.next_token();
        let client = attempt.client;
        if self.poller.modify(client.wire.as_fd(), token, Interest::Edges).is_err() {
            return self.count_closed(tuple);
        }
        let leg = self.streams.insert(client);
        self.streams.set_waiting(leg, Some(self.now.mono));
        self.refuse_web(leg, Refused::Unreachable);
    }

    fn tell_unreachable(&mut self, error: &io::Error) {
        self.stats.web_failed.add(1);
        let now = self.now.mono;
        if self.web_told.is_none_or(|last: Mono| last + INTERVAL <= now)
            && let Some(backend) = &self.web.backend
        {
            self.web_told = Some(now);
            let (backend, why) = (backend.to_string().into(), error.to_string().into());
            self.events.tell(Event::BackendUnreachable { backend, why });
        }
    }

    /// Closes both ends; they see that they were cut off when something was still under way.
    fn close_web(&mut self, place: u32, cut_off: bool) {
        let Some(web) = self.webs.remove(place) else {
            return;
        };
        match web.stage {
            Stage::Passing(mut bridge) => {
                if cut_off || bridge.keeps_anything() {
                    bridge.abort();
                }
                self.stats.web_ended.add(1);
            }
            Stage::Connecting(_) => self.stats.web_abandoned.add(1),
        }
        self.shared.leave_web(web.tuple.client.ip());
        self.count_closed(web.tuple);
        self.resume_accepting();
    }

    pub(super) fn close_all_webs(&mut self) {
        for place in self.webs.places() {
            self.close_web(place, false);
        }
    }
}
