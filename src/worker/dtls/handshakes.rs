//! The table of handshakes: by 5-tuple, by when something is due, and those with work to do.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use slab::Slab;

use super::crowd::Crowd;
use super::index::Index;
use crate::time::Mono;
use crate::tls::dtls::Handshake;
use crate::turn::FiveTuple;
use crate::worker::outbox::Way;

/// The handshakes of one worker: clients that have proved their addresses and nothing else.
#[derive(Default)]
pub(super) struct Handshakes {
    open: Slab<Entry>,
    index: Index,
    crowd: Crowd,
    /// When each is due, next first.
    due: BTreeSet<(Mono, u32)>,
    /// Those with something to work on; what is not there any more is passed over.
    work: VecDeque<u32>,
}

/// One handshake.
pub(super) struct Entry {
    pub(super) handshake: Handshake,
    pub(super) tuple: FiveTuple,
    pub(super) way: Way,
    begun: Mono,
    due: Mono,
    /// It stands among those with something to work on.
    queued: bool,
}

impl Handshakes {
    /// Adds one, whose 5-tuple has none yet, to be worked on.
    pub(super) fn insert(&mut self, handshake: Handshake, tuple: FiveTuple, way: Way, now: Mono) {
        let due = handshake.deadline();
        let entry = Entry { handshake, tuple, way, begun: now, due, queued: false };
        let place = self.open.insert(entry) as u32;
        let open = &self.open;
        self.index.insert(place, |place| &open[place as usize].tuple);
        self.crowd.insert(tuple.client.ip(), now, place);
        self.due.insert((due, place));
        self.queue(place);
    }

    pub(super) fn find(&self, tuple: &FiveTuple) -> Option<u32> {
        self.index.find(tuple, |place| &self.open[place as usize].tuple)
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Entry> {
        self.open.get_mut(place as usize)
    }

    /// Which one ends for another one of this address, if any has to, among `most` in all and so many
    /// of one address (0: any number).
    pub(super) fn makes_room(&self, address: IpAddr, most: u32, of_address: u32) -> Option<u32> {
        self.crowd.makes_room(address, of_address, self.open.len() >= most as usize)
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Entry> {
        let entry = self.open.try_remove(place as usize)?;
        self.index.remove(&entry.tuple, place);
        self.crowd.remove(entry.tuple.client.ip(), entry.begun, place);
        self.due.remove(&(entry.due, place));
        Some(entry)
    }

    /// Those on a socket.
    pub(super) fn on(&self, socket: RawFd) -> Vec<u32> {
        let of = self.open.iter().filter(|(_, it)| it.way.socket() == socket);
        of.map(|(place, _)| place as u32).collect()
    }

    /// Has it worked on, behind the others.
    pub(super) fn queue(&mut self, place: u32) {
        if let Some(entry) = self.open.get_mut(place as usize)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.work.push_back(place);
        }
    }

    /// The next with something to work on.
    pub(super) fn next_work(&mut self) -> Option<u32> {
        while let Some(place) = self.work.pop_front() {
            if let Some(entry) = self.open.get_mut(place as usize)
                && std::mem::take(&mut entry.queued)
            {
                return Some(place);
            }
        }
        None
    }

    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Notes when it is due next: to repeat its flight, or to be given up after `limit`.
    pub(super) fn arm(&mut self, place: u32, limit: Duration) {
        if let Some(entry) = self.open.get_mut(place as usize) {
            self.due.remove(&(entry.due, place));
            entry.due = entry.handshake.deadline().min(entry.begun + limit);
            self.due.insert((entry.due, place));
        }
    }

    /// When the next is due.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.due.first().map(|(due, _)| *due)
    }

    /// One that is due, and whether its time is up altogether.
    pub(super) fn next_due(&self, now: Mono, limit: Duration) -> Option<(u32, bool)> {
        let (_, place) = *self.due.first().filter(|(due, _)| *due <= now)?;
        let entry = self.open.get(place as usize)?;
        Some((place, entry.begun + limit <= now))
    }
}
