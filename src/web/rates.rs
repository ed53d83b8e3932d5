//! How often somebody may ask, in a table that strangers cannot make grow.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::Mono;

/// Addresses that are told apart.
const ADDRESSES: usize = 4096;
/// Keys that are told apart: more than anybody configures.
const KEYS: usize = 1024;
/// Slots in which one of them may be.
const WAYS: usize = 4;
const MINUTE: u64 = 60_000_000;

/// Buckets of a minute's worth of requests each.
#[derive(Debug)]
pub(super) struct Rates {
    addresses: Table,
    keys: Table,
}

impl Default for Rates {
    fn default() -> Self {
        Self { addresses: Table::new(ADDRESSES), keys: Table::new(KEYS) }
    }
}

impl Rates {
    /// Takes `cost` requests of those that an address has; 0 a minute is no bound.
    ///
    /// # Errors
    /// How long until there are as many.
    pub(super) fn address(
        &self,
        ip: IpAddr,
        now: Mono,
        cost: u32,
        per_minute: u32,
    ) -> Result<(), Duration> {
        self.addresses.take(network(ip), now, cost, per_minute)
    }

    /// Takes `cost` requests more of those that an address has, or all that are left.
    pub(super) fn penalty(&self, ip: IpAddr, now: Mono, cost: u32, per_minute: u32) {
        self.addresses.change(network(ip), now, per_minute, |slot, now, one| {
            slot.full_at = (slot.full_at.max(now) + one * u64::from(cost)).min(now + MINUTE);
        });
    }

    /// Gives an address one request back.
    pub(super) fn give_back(&self, ip: IpAddr, now: Mono, per_minute: u32) {
        self.addresses.change(network(ip), now, per_minute, |slot, now, one| {
            slot.full_at = slot.full_at.saturating_sub(one).max(now);
        });
    }

    /// The same of those that a key has.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn key(&self, name: &str, now: Mono, per_minute: u32) -> Result<(), Duration> {
        self.keys.take(name, now, 1, per_minute)
    }
}

/// Whoever has an address of IPv6 has 2^64 of them.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip => ip,
    }
}

/// Slots, each of which is found by a hash that nobody outside can foresee.
#[derive(Debug)]
struct Table {
    hash: RandomState,
    slots: Mutex<Vec<Slot>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    whose: u64,
    /// When its bucket is full again, in microseconds: a bucket that is full is nobody's.
    full_at: u64,
}

impl Table {
    fn new(slots: usize) -> Self {
        Self { hash: RandomState::new(), slots: Mutex::new(vec![Slot::default(); slots]) }
    }

    fn take(
        &self,
        whose: impl std::hash::Hash,
        now: Mono,
        cost: u32,
        per_minute: u32,
    ) -> Result<(), Duration> {
        if per_minute == 0 {
            return Ok(());
        }
        let cost = u64::from(cost.min(per_minute));
        self.change(whose, now, per_minute, |slot, now, _| {
            let price = MINUTE * cost / u64::from(per_minute);
            let full_at = slot.full_at.max(now) + price;
            if full_at - now > MINUTE {
                return Err(Duration::from_micros(full_at - now - MINUTE));
            }
            slot.full_at = full_at;
            Ok(())
        })
        .unwrap_or(Ok(()))
    }

    /// Changes somebody's bucket: with the time, and what one request takes of it, in microseconds. There is none
    /// where there is no bound.
    fn change<T>(
        &self,
        whose: impl std::hash::Hash,
        now: Mono,
        per_minute: u32,
        change: impl FnOnce(&mut Slot, u64, u64) -> T,
    ) -> Option<T> {
        let one = MINUTE.checked_div(u64::from(per_minute))?;
        let (whose, now) = (self.hash.hash_one(whose), now.as_micros());
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let count = slots.len() as u64;
        let places: [usize; WAYS] =
            std::array::from_fn(|way| (whose.rotate_left(16 * way as u32) % count) as usize);
        let own = places.into_iter().find(|place| slots[*place].whose == whose);
        // In a crowd it shares the bucket that has most left in it.
        let place = own.or_else(|| places.into_iter().min_by_key(|place| slots[*place].full_at));
        let slot = &mut slots[place?];
        if own.is_none() && slot.full_at <= now {
            *slot = Slot { whose, full_at: now };
        }
        Some(change(slot, now, one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_penalty_is_paid_from_what_is_left_and_counts_until_the_bucket_is_empty() {
        let rates = Rates::default();
        let (ip, now) = ("192.0.2.1".parse().unwrap(), Mono::from_secs(10));
        let take = |now| rates.address(ip, now, 1, 60).is_ok();
        assert!((0..55).all(|_| take(now)));
        rates.penalty(ip, now, 9, 60);
        assert!(!take(now), "five were left, and nine were to be paid");
        assert!(take(Mono::from_secs(11)), "no debt is carried on");
        assert!(!take(Mono::from_secs(11)));
    }

    #[test]
    fn what_is_given_back_is_there_again_and_no_more_than_that() {
        let rates = Rates::default();
        let (ip, now) = ("192.0.2.1".parse().unwrap(), Mono::from_secs(10));
        let take = || rates.address(ip, now, 1, 60).is_ok();
        rates.give_back(ip, now, 60);
        assert_eq!((0..100).filter(|_| take()).count(), 60);
        rates.give_back(ip, now, 60);
        assert!(take() && !take());
    }

    #[test]
    fn a_minute_has_so_many_requests_and_no_more() {
        let rates = Rates::default();
        let ask = |ip: &str, seconds| {
            rates.address(ip.parse().unwrap(), Mono::from_secs(seconds), 1, 60).is_ok()
        };
        assert_eq!((0..100).filter(|_| ask("192.0.2.1", 10)).count(), 60);
        assert!(ask("192.0.2.2", 10), "another one's are another's");
        assert_eq!((0..100).filter(|_| ask("192.0.2.1", 15)).count(), 5);
        assert_eq!((0..100).filter(|_| ask("192.0.2.1", 1000)).count(), 60);
        let wait = rates.address("192.0.2.1".parse().unwrap(), Mono::from_secs(1000), 1, 60);
        assert_eq!(wait, Err(Duration::from_secs(1)));
        assert_eq!((0..100).filter(|_| ask("2001:db8::1", 10)).count(), 60);
        assert!(!ask("2001:db8::2:3:4:5", 10), "of the same /64");
        assert!(ask("2001:db8:0:1::1", 10));
        assert!((0..100).all(|_| rates.key("a", Mono::from_secs(1), 0).is_ok()));
    }

    #[test]
    fn what_costs_more_than_all_costs_all() {
        let rates = Rates::default();
        let take = |cost| rates.address("192.0.2.1".parse().unwrap(), Mono::from_secs(1), cost, 6);
        assert!(take(100).is_ok() && take(1).is_err());
    }

    #[test]
    fn a_crowd_is_bounded_together() {
        let table = Table::new(8);
        let now = Mono::from_secs(100);
        let passed = (0..10_000).filter(|who| table.take(who, now, 1, 10).is_ok()).count();
        assert!((60..=80).contains(&passed), "{passed}");
        assert_eq!(table.slots.lock().unwrap().len(), 8);
    }
}
