use std::net::IpAddr;

use super::ports::{PortPool, PortSet, forget};
use super::{PortRange, RelayAddress, Settings};
use crate::stun::Family;

/// Ways of before that are remembered; of an address that changes all the time, the oldest are forgotten.
const FORMER: usize = 16;

/// What the ports of a relay address were before, as long as some of those that were given out then are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerRelay {
    /// The address, as clients of that time know it.
    pub relay: RelayAddress,
    /// The ports of that time.
    pub ports: PortRange,
    /// How many of them are in use still.
    pub held: usize,
}

/// Which ports a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    Even,
    EvenAndNext,
}

/// The relay ports of all addresses, which may change while some are taken.
#[derive(Debug, Default)]
pub(super) struct Pools {
    all: Vec<Pool>,
    former: Vec<Former>,
    /// Which of several relay addresses of a family is next.
    turn: usize,
}

/// The ports of one local address; it stays until the last one is released.
#[derive(Debug)]
struct Pool {
    relay: RelayAddress,
    /// Whether ports are given out.
    open: bool,
    ports: PortPool,
}

#[derive(Debug)]
struct Former {
    relay: RelayAddress,
    range: PortRange,
    /// Those in the range that have not been released since.
    held: PortSet,
    left: usize,
}

impl Pools {
    /// Gives ports out on the addresses of the settings from now on. What is taken stays so.
    pub(super) fn reconfigure(&mut self, settings: &Settings) {
        let range = settings.ports;
        let wanted = |local: IpAddr| settings.relays.iter().find(|relay| relay.local == local);
        let stays = |relay: RelayAddress, before: PortRange| {
            wanted(relay.local) == Some(&relay) && range.covers(before)
        };
        for pool in self.all.iter_mut().filter(|pool| pool.open) {
            let before = pool.ports.range();
            if !stays(pool.relay, before) {
                let former = Former::of(pool, &self.former);
                self.former.extend(former);
            }
        }
        self.former.retain(|former| !stays(former.relay, former.range));
        let surplus = self.former.len().saturating_sub(FORMER);
        self.former.drain(..surplus);
        for pool in &mut self.all {
            let relay = wanted(pool.relay.local);
            pool.open = relay.is_some();
            pool.relay = relay.copied().unwrap_or(pool.relay);
            pool.ports.set_range(range);
        }
        self.all.retain(|pool| pool.open || !pool.ports.is_unused());
        for relay in &settings.relays {
            if self.all.iter().all(|pool| pool.relay.local != relay.local) {
                self.all.push(Pool { relay: *relay, open: true, ports: PortPool::new(range) });
            }
        }
        self.all.sort_by_key(|pool| pool.relay.local);
    }

    /// Takes a port on one of the family's relay addresses.
    pub(super) fn take(
        &mut self,
        family: Family,
        wanted: Wanted,
        random: u64,
    ) -> Option<(RelayAddress, u16)> {
        let fits = |pool: &Pool| pool.open && Family::of(&pool.relay.local) == family;
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let count = self.all.iter().filter(|pool| fits(pool)).count();
        (0..count).find_map(|step| {
            let nth = turn.wrapping_add(step) % count;
            let pool = self.all.iter_mut().filter(|pool| fits(pool)).nth(nth)?;
            let port = match wanted {
                Wanted::Any => pool.ports.take(random),
                Wanted::Even => pool.ports.take_even(random),
                Wanted::EvenAndNext => pool.ports.take_pair(random),
            };
            Some((pool.relay, port?))
        })
    }

    pub(super) fn release(&mut self, local: IpAddr, port: u16) {
        let Some(place) = self.all.iter().position(|pool| pool.relay.local == local) else {
            return;
        };
        let pool = &mut self.all[place];
        pool.ports.release(port);
        if !pool.open && pool.ports.is_unused() {
            self.all.remove(place);
        }
        for former in self.former.iter_mut().filter(|former| former.relay.local == local) {
            former.left -= usize::from(forget(&mut former.held, port));
        }
        self.former.retain(|former| former.left > 0);
    }

    /// Free and all ports of each address on which they are given out.
    pub(super) fn free(&self) -> Vec<(IpAddr, usize, usize)> {
        let open = self.all.iter().filter(|pool| pool.open);
        open.map(|pool| (pool.relay.local, pool.ports.free(), pool.ports.size())).collect()
    }

    pub(super) fn known_as(&self, local: IpAddr) -> Option<IpAddr> {
        let mut open = self.all.iter().filter(|pool| pool.open);
        open.find(|pool| pool.relay.local == local).map(|pool| pool.relay.advertised)
    }

    pub(super) fn former(&self) -> Vec<FormerRelay> {
        let one = |former: &Former| {
            let Former { relay, range, left, .. } = *former;
            FormerRelay { relay, ports: range, held: left }
        };
        self.former.iter().map(one).collect()
    }
}

impl Former {
    /// What is taken now, if anything is, and was not before `earlier` changes.
    fn of(pool: &Pool, earlier: &[Self]) -> Option<Self> {
        let mut held = pool.ports.taken_in_range();
        for other in earlier.iter().filter(|other| other.relay.local == pool.relay.local) {
            held.iter_mut().zip(other.held.iter()).for_each(|(word, before)| *word &= !before);
        }
        let left = held.iter().map(|word| word.count_ones() as usize).sum();
        (left > 0).then(|| Self { relay: pool.relay, range: pool.ports.range(), held, left })
    }
}

#[cfg(test)]
#[path = "pools/tests.rs"]
mod tests;
