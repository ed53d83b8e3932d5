//! The table of TCP connections with peers; what is done with them stands in `peers`.

use std::collections::HashMap;
use std::net::TcpStream;

use slab::Slab;

use super::bridge::{Bridge, CHUNK};
use super::stream::tools::Tools;
use super::stream::wire::{READ_MIN, Wire};
use super::timers::Timers;
use crate::time::Mono;
use crate::turn::{ConnectionId, FiveTuple};

/// The TCP connections with peers of one worker.
pub(super) struct Links {
    open: Slab<Link>,
    places: HashMap<ConnectionId, u32>,
    /// Links that something has to be done about at that time.
    timers: Timers,
    pub(super) scratch: Box<[u8]>,
    pub(super) tools: Tools,
}

/// One of them.
pub(super) struct Link {
    pub(super) connection: ConnectionId,
    pub(super) stage: Stage,
    timer: Option<Mono>,
}

/// How far it has got.
pub(super) enum Stage {
    /// The handshake goes on, or it is `made` and waits for its client data connection. What the peer sends meanwhile
    /// stays in the kernel, whose window bounds it (RFC 6062 §5.2, §5.3).
    Waiting {
        /// Taken out when it is bound.
        socket: Option<TcpStream>,
        made: bool,
    },
    /// It has its client data connection, whose 5-tuple this is.
    Bound(Box<Bridge<Wire, TcpStream>>, FiveTuple),
}

impl Links {
    /// `rate` is the lowest limit of bytes per second; 0 when there is none.
    pub(super) fn new(rate: u64) -> Self {
        Self {
            open: Slab::new(),
            places: HashMap::new(),
            timers: Timers::default(),
            scratch: scratch(rate),
            tools: Tools::default(),
        }
    }

    /// Goes by another rate from the next read on.
    pub(super) fn set_rate(&mut self, rate: u64) {
        self.scratch = scratch(rate);
    }

    /// The place that the next link gets.
    pub(super) fn next_place(&self) -> u32 {
        self.open.vacant_key() as u32
    }

    pub(super) fn insert(&mut self, connection: ConnectionId, stage: Stage) -> u32 {
        let place = self.open.insert(Link { connection, stage, timer: None }) as u32;
        self.places.insert(connection, place);
        place
    }

    pub(super) fn place_of(&self, connection: ConnectionId) -> Option<u32> {
        self.places.get(&connection).copied()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Link> {
        self.open.get_mut(place as usize)
    }

    /// A link together with what its bridge works with.
    pub(super) fn parts(&mut self, place: u32) -> Option<(&mut Link, &mut [u8], &mut Tools)> {
        let link = self.open.get_mut(place as usize)?;
        Some((link, &mut self.scratch, &mut self.tools))
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Link> {
        let mut link = self.open.try_remove(place as usize)?;
        self.places.remove(&link.connection);
        self.timers.set(place, &mut link.timer, None);
        Some(link)
    }

    /// Sets, moves or clears the time at which something has to be done about a link.
    pub(super) fn set_timer(&mut self, place: u32, timer: Option<Mono>) {
        if let Some(link) = self.open.get_mut(place as usize) {
            self.timers.set(place, &mut link.timer, timer);
        }
    }

    /// Takes out one link whose time has come.
    pub(super) fn pop_timer(&mut self, now: Mono) -> Option<u32> {
        let place = self.timers.due(now)?;
        self.set_timer(place, None);
        Some(place)
    }

    pub(super) fn next_timer(&self) -> Option<Mono> {
        self.timers.next()
    }
}

/// Room for what is read at once.
fn scratch(rate: u64) -> Box<[u8]> {
    // No read is worth more than an eighth of a second then, unless a record of TLS is.
    let chunk = match usize::try_from(rate / 8) {
        Ok(0) if rate == 0 => CHUNK,
        Ok(eighth) => eighth.clamp(READ_MIN, CHUNK),
        Err(_) => CHUNK,
    };
    vec![0; chunk].into()
}
