use std::hash::BuildHasher;

use slab::Slab;

use super::allocation::Allocation;
use super::{FiveTuple, Server};

/// What a 5-tuple leads to: an allocation, by the 5-tuple that it has or by the one that its client
/// is moving to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    pub(super) const fn of(slot: u32) -> Self {
        Self(slot << 1)
    }

    pub(super) const fn next(slot: u32) -> Self {
        Self(slot << 1 | 1)
    }

    pub(super) const fn slot(self) -> u32 {
        self.0 >> 1
    }

    pub(super) const fn is_next(self) -> bool {
        self.0 & 1 != 0
    }
}

impl Server {
    /// The slot of a 5-tuple's allocation.
    pub(super) fn find(&self, tuple: &FiveTuple) -> Option<u32> {
        self.find_place(tuple).map(Place::slot)
    }

    /// What a 5-tuple leads to.
    pub(super) fn find_place(&self, tuple: &FiveTuple) -> Option<Place> {
        let hash = self.hasher.hash_one(tuple);
        self.index.find(hash, |place| tuple_of(&self.allocations, *place) == tuple).copied()
    }

    /// Keeps an allocation, filed under its 5-tuple.
    pub(super) fn insert(&mut self, allocation: Allocation) -> u32 {
        let slot = self.allocations.insert(allocation) as u32;
        self.link(Place::of(slot));
        slot
    }

    /// Files a place under its 5-tuple.
    pub(super) fn link(&mut self, place: Place) {
        let (allocations, hasher) = (&self.allocations, &self.hasher);
        let hash = |place: &Place| hasher.hash_one(tuple_of(allocations, *place));
        self.index.insert_unique(hash(&place), place, hash);
    }

    /// Takes a place out, before its 5-tuple is forgotten; one that is not filed may be.
    pub(super) fn unlink(&mut self, place: Place) {
        let hash = self.hasher.hash_one(tuple_of(&self.allocations, place));
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
    }

    /// Takes an allocation out, with its places.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Allocation> {
        if self.allocations.get(slot as usize)?.mobility.is_some() {
            self.unlink(Place::next(slot));
        }
        self.unlink(Place::of(slot));
        self.allocations.try_remove(slot as usize)
    }
}

fn tuple_of(allocations: &Slab<Allocation>, place: Place) -> &FiveTuple {
    allocations[place.slot() as usize].tuple(place.is_next())
}
