//! Who gives way when there are too many handshakes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use foldhash::quality::RandomState;

use crate::time::Mono;
use crate::worker::group::subnet;

/// Handshakes by the addresses of their clients (IPv6: by the /64), to choose the one that ends for a
/// newcomer. Whoever fills the table so crowds out himself, and not those who have few.
#[derive(Default)]
pub(super) struct Crowd {
    /// Of each address, oldest first.
    of: HashMap<IpAddr, Ages, RandomState>,
    /// The addresses, the one with most last; of those with as many, the one with the oldest.
    ranks: BTreeSet<Rank>,
}

/// Places by when they were taken.
type Ages = BTreeSet<(Mono, u32)>;
/// How many, and the oldest of them.
type Rank = (usize, Reverse<(Mono, u32)>);

impl Crowd {
    pub(super) fn insert(&mut self, address: IpAddr, begun: Mono, place: u32) {
        self.change(address, |ages| ages.insert((begun, place)));
    }

    pub(super) fn remove(&mut self, address: IpAddr, begun: Mono, place: u32) {
        self.change(address, |ages| ages.remove(&(begun, place)));
    }

    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Ages) -> bool) {
        let address = subnet(address);
        let ages = self.of.entry(address).or_default();
        if let Some(before) = rank(ages) {
            self.ranks.remove(&before);
        }
        change(ages);
        match rank(ages) {
            Some(after) => drop(self.ranks.insert(after)),
            None => drop(self.of.remove(&address)),
        }
    }

    /// Who makes room for one more of the address, when it may have `limit` (0: any number), and the
    /// table is full or not.
    pub(super) fn makes_room(&self, address: IpAddr, limit: u32, full: bool) -> Option<u32> {
        let own = self.of.get(&subnet(address)).and_then(rank);
        let most = self.ranks.last().copied().filter(|_| full);
        let crowded = own.filter(|(count, _)| {
            (limit != 0 && *count >= limit as usize) || most.is_some_and(|(most, _)| *count == most)
        });
        crowded.or(most).map(|(_, Reverse((_, place)))| place)
    }
}

fn rank(ages: &Ages) -> Option<Rank> {
    ages.first().map(|oldest| (ages.len(), Reverse(*oldest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(of: &[&str]) -> Crowd {
        let mut crowd = Crowd::default();
        for (place, address) in of.iter().enumerate() {
            crowd.insert(address.parse().unwrap(), Mono::from_secs(place as u64), place as u32);
        }
        crowd
    }

    #[test]
    fn whoever_has_most_makes_room() {
        let [one, two, new] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
        let mut crowd = crowd(&[one, two, two, one, two]);
        let room = |crowd: &Crowd, address: &str, full| {
            crowd.makes_room(address.parse().unwrap(), 0, full)
        };
        assert_eq!(room(&crowd, two, false), None);
        for newcomer in [one, two, new] {
            assert_eq!(room(&crowd, newcomer, true), Some(1), "{newcomer}");
        }
        crowd.remove(two.parse().unwrap(), Mono::from_secs(1), 1);
        // As many each: a newcomer's own, or else the oldest of all.
        assert_eq!([one, two, new].map(|it| room(&crowd, it, true)), [Some(0), Some(2), Some(0)]);
        for (place, address) in [(0, one), (3, one), (2, two), (4, two)] {
            crowd.remove(address.parse().unwrap(), Mono::from_secs(place), place as u32);
        }
        assert_eq!(room(&crowd, new, true), None);
        assert!(crowd.of.is_empty() && crowd.ranks.is_empty());
    }

    #[test]
    fn an_address_at_its_limit_makes_room_for_itself_and_a_subnet_is_one() {
        let crowd = crowd(&["192.0.2.1", "192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"]);
        let room = |address: &str, limit| crowd.makes_room(address.parse().unwrap(), limit, false);
        assert_eq!(
            (room("192.0.2.1", 4), room("192.0.2.1", 3), room("192.0.2.1", 0)),
            (None, Some(0), None)
        );
        assert_eq!((room("2001:db8::3", 2), room("2001:db8:0:1::", 2)), (Some(3), None));
    }
}
