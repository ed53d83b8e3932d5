//! Times at which something is due, for the tables whose entries have at most one each.

use std::collections::BTreeSet;

use crate::time::Mono;

/// When something has to be done about which of several places, the soonest first. Each place keeps its own time
/// beside what it is about.
#[derive(Default)]
pub(super) struct Timers(BTreeSet<(Mono, u32)>);

impl Timers {
    /// Sets, moves or clears the time of a place, which has `own` so far.
    pub(super) fn set(&mut self, place: u32, own: &mut Option<Mono>, timer: Option<Mono>) {
        if *own == timer {
            return;
        }
        if let Some(before) = std::mem::replace(own, timer) {
            self.0.remove(&(before, place));
        }
        self.0.extend(timer.map(|timer| (timer, place)));
    }

    /// A place whose time has come.
    pub(super) fn due(&self, now: Mono) -> Option<u32> {
        self.0.first().filter(|(timer, _)| *timer <= now).map(|(_, place)| *place)
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(timer, _)| *timer)
    }
}
