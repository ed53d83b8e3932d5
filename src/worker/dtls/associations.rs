//! The table of associations: by leg, by 5-tuple, and by how long they have been without an allocation.

use std::collections::BTreeSet;
use std::os::fd::RawFd;

use slab::Slab;

use super::handshakes::Entry;
use super::index::Index;
use crate::time::Mono;
use crate::tls::dtls::Session;
use crate::turn::{Client, FiveTuple};
use crate::worker::outbox::Way;

/// The associations of one worker, by their leg.
#[derive(Default)]
pub(super) struct Associations {
    open: Slab<Association>,
    index: Index,
    /// Those without an allocation, longest first.
    waiting: BTreeSet<(Mono, u32)>,
}

/// One association.
pub(super) struct Association {
    pub(super) session: Box<Session>,
    pub(super) tuple: FiveTuple,
    pub(super) way: Way,
    /// The name that the client has asked for (SNI).
    name: Option<Box<str>>,
    /// Since when it is without an allocation.
    waiting: Option<Mono>,
}

impl Associations {
    /// Adds one, whose 5-tuple has none yet.
    pub(super) fn insert(&mut self, session: Box<Session>, entry: &Entry, now: Mono) {
        let Entry { tuple, way, .. } = *entry;
        let name = entry.handshake.asked_name().map(Box::from);
        let association = Association { session, tuple, way, name, waiting: Some(now) };
        let leg = self.open.insert(association) as u32;
        let open = &self.open;
        self.index.insert(leg, |leg| &open[leg as usize].tuple);
        self.waiting.insert((now, leg));
    }

    pub(super) fn find(&self, tuple: &FiveTuple) -> Option<u32> {
        self.index.find(tuple, |leg| &self.open[leg as usize].tuple)
    }

    pub(super) fn get_mut(&mut self, leg: u32) -> Option<&mut Association> {
        self.open.get_mut(leg as usize)
    }

    /// The association of a client that the core knows, unless it is gone and another one has its
    /// leg.
    pub(super) fn of(&mut self, client: &Client) -> Option<&mut Association> {
        self.get_mut(client.leg).filter(|association| association.tuple == client.tuple)
    }

    pub(super) fn asked_name(&self, client: &Client) -> Option<&str> {
        let found = self.open.get(client.leg as usize).filter(|it| it.tuple == client.tuple);
        found?.name.as_deref()
    }

    pub(super) fn remove(&mut self, leg: u32) -> Option<Association> {
        let association = self.open.try_remove(leg as usize)?;
        self.index.remove(&association.tuple, leg);
        if let Some(since) = association.waiting {
            self.waiting.remove(&(since, leg));
        }
        Some(association)
    }

    /// Notes whether a client has no allocation now; false when it has no association any more.
    pub(super) fn set_waiting(&mut self, client: &Client, waiting: bool, now: Mono) -> bool {
        let Some(association) = self.of(client) else {
            return false;
        };
        if association.waiting.is_some() == waiting {
            return true;
        }
        let since = waiting.then_some(now);
        let before = std::mem::replace(&mut association.waiting, since);
        if let Some(before) = before {
            self.waiting.remove(&(before, client.leg));
        }
        if let Some(since) = since {
            self.waiting.insert((since, client.leg));
        }
        true
    }

    /// How many are without an allocation.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The one that is without an allocation for longest.
    pub(super) fn longest_waiting(&self) -> Option<(Mono, u32)> {
        self.waiting.first().copied()
    }

    /// Whether a client on a socket has an allocation.
    pub(super) fn has_calls_on(&self, socket: RawFd) -> bool {
        let mut all = self.open.iter();
        all.any(|(_, it)| it.way.socket() == socket && it.waiting.is_none())
    }

    /// Those on a socket.
    pub(super) fn on(&self, socket: RawFd) -> Vec<u32> {
        let of = self.open.iter().filter(|(_, it)| it.way.socket() == socket);
        of.map(|(leg, _)| leg as u32).collect()
    }

    pub(super) fn legs(&self) -> Vec<u32> {
        self.open.iter().map(|(leg, _)| leg as u32).collect()
    }
}
