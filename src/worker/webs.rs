//! The table of HTTP connections that are passed on; what is done with them stands in `web`.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use slab::Slab;

use super::bridge::{Bridge, CHUNK};
use super::stream::tools::Tools;
use super::stream::wire::Wire;
use super::streams::Stream;
use super::timers::Timers;
use crate::net::Event;
use crate::time::Mono;
use crate::turn::{Direction, FiveTuple};

/// The HTTP connections of one worker that are passed on.
#[derive(Default)]
pub(super) struct Webs {
    open: Slab<Web>,
    /// Connections that something has to be done about at that time.
    timers: Timers,
    /// Connections that the poller has told about, longest first.
    told: VecDeque<u32>,
    /// Empty until somebody speaks HTTP.
    scratch: Vec<u8>,
    tools: Tools,
}

/// One of them.
pub(super) struct Web {
    pub(super) stage: Stage,
    pub(super) tuple: FiveTuple,
    /// When something was read last, of either end.
    pub(super) heard: Mono,
    /// Which ends the poller has called lost, by the direction that they are the source of.
    pub(super) hung_up: [bool; 2],
    /// Which of them with an error.
    pub(super) broken: [bool; 2],
    /// When something has to be done about it, at the latest.
    pub(super) timer: Option<Mono>,
    /// It stands among those that the poller has told about.
    is_told: bool,
}

/// How far it has got.
pub(super) enum Stage {
    /// The connection with the backend is being made; taken out when it is known how that went.
    Connecting(Option<Box<Attempt>>),
    /// Bytes are bytes.
    Passing(Box<Bridge<Wire, OwnedFd>>),
}

/// A connection that is being made.
pub(super) struct Attempt {
    pub(super) client: Stream,
    pub(super) backend: OwnedFd,
    /// What the backend gets first.
    pub(super) first: Vec<u8>,
}

impl Web {
    pub(super) fn new(attempt: Attempt, now: Mono) -> Self {
        Self {
            tuple: attempt.client.tuple,
            stage: Stage::Connecting(Some(Box::new(attempt))),
            heard: now,
            hung_up: [false; 2],
            broken: [false; 2],
            timer: None,
            is_told: false,
        }
    }
}

impl Webs {
    /// The place that the next connection gets.
    pub(super) fn next_place(&self) -> u32 {
        self.open.vacant_key() as u32
    }

    pub(super) fn insert(&mut self, web: Web) -> u32 {
        self.open.insert(web) as u32
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Web> {
        self.open.get_mut(place as usize)
    }

    /// A connection together with what its bridge works with.
    pub(super) fn parts(&mut self, place: u32) -> Option<(&mut Web, &mut [u8], &mut Tools)> {
        self.scratch.resize(CHUNK, 0);
        let web = self.open.get_mut(place as usize)?;
        Some((web, &mut self.scratch, &mut self.tools))
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Web> {
        let mut web = self.open.try_remove(place as usize)?;
        self.timers.set(place, &mut web.timer, None);
        Some(web)
    }

    pub(super) fn places(&self) -> Vec<u32> {
        self.open.iter().map(|(place, _)| place as u32).collect()
    }

    /// Notes what the poller has told about the end that is the source of a direction.
    pub(super) fn tell(&mut self, place: u32, from: Direction, event: Event) {
        let Some(web) = self.open.get_mut(place as usize) else {
            return;
        };
        web.hung_up[from as usize] |= event.hangup();
        web.broken[from as usize] |= event.error();
        if !std::mem::replace(&mut web.is_told, true) {
            self.told.push_back(place);
        }
    }

    /// Whether the poller has told about any.
    pub(super) fn is_told(&self) -> bool {
        !self.told.is_empty()
    }

    /// Takes out the one that has waited longest since the poller has told about it.
    pub(super) fn pop_told(&mut self) -> Option<u32> {
        while let Some(place) = self.told.pop_front() {
            // Another connection may have got the place meanwhile.
            let web = self.open.get_mut(place as usize);
            if web.is_some_and(|web| std::mem::take(&mut web.is_told)) {
                return Some(place);
            }
        }
        None
    }

    /// Sets, moves or clears the time at which something has to be done about a connection.
    pub(super) fn set_timer(&mut self, place: u32, timer: Option<Mono>) {
        if let Some(web) = self.open.get_mut(place as usize) {
            self.timers.set(place, &mut web.timer, timer);
        }
    }

    /// Takes out one connection whose time has come.
    pub(super) fn pop_timer(&mut self, now: Mono) -> Option<u32> {
        let place = self.timers.due(now)?;
        self.set_timer(place, None);
        Some(place)
    }

    pub(super) fn next_timer(&self) -> Option<Mono> {
        self.timers.next()
    }
}
