//! Finding by 5-tuple what stands in a slab, without keeping the 5-tuple twice.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::turn::FiveTuple;

/// Places of a table by the 5-tuples of what stands there.
#[derive(Default)]
pub(super) struct Index {
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    /// The place of a 5-tuple; `tuple_of` tells whose a place is.
    pub(super) fn find<'a>(
        &self,
        tuple: &FiveTuple,
        tuple_of: impl Fn(u32) -> &'a FiveTuple,
    ) -> Option<u32> {
        // As that of handshakes is most of the time, when a packet of an association asks.
        if self.places.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(tuple);
        self.places.find(hash, |place| tuple_of(*place) == tuple).copied()
    }

    /// Notes a place whose 5-tuple has none yet.
    pub(super) fn insert<'a>(&mut self, place: u32, tuple_of: impl Fn(u32) -> &'a FiveTuple) {
        let hasher = &self.hasher;
        let hash = |place: u32| hasher.hash_one(tuple_of(place));
        self.places.insert_unique(hash(place), place, |place| hash(*place));
    }

    /// Forgets the place of a 5-tuple.
    pub(super) fn remove(&mut self, tuple: &FiveTuple, place: u32) {
        let hash = self.hasher.hash_one(tuple);
        if let Ok(entry) = self.places.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
    }
}
