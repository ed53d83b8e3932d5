use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Limits;
use crate::time::Mono;

/// A token bucket kept as one number: the time at which it will be full again (the generic cell
/// rate algorithm). One second's worth of tokens fits in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// In nanoseconds on the monotonic clock.
    full_at: u64,
}

impl Bucket {
    /// Whether [`Self::take`] would succeed.
    pub(super) fn has(&self, now: Mono, cost: u64, per_second: u64) -> bool {
        next(self.full_at, now, cost, per_second).is_some()
    }

    /// Takes `cost` tokens of a bucket that gains `per_second`; 0 per second means no bound.
    pub(super) fn take(&mut self, now: Mono, cost: u64, per_second: u64) -> bool {
        match next(self.full_at, now, cost, per_second) {
            Some(full_at) => {
                self.full_at = full_at;
                true
            }
            None => false,
        }
    }
}

/// What is read from a stream cannot be dropped: it is charged for when it has come, and the next has to wait.
impl Bucket {
    /// Takes `cost` tokens, there or not. `Some`: nothing more is to be taken before that time.
    pub(super) fn charge(&mut self, now: Mono, cost: u64, per_second: u64) -> Option<Mono> {
        self.full_at = charged(self.full_at, now, cost, per_second);
        rest(self.full_at, now, per_second)
    }
}

/// The same, shared between workers.
#[derive(Debug, Default)]
pub(super) struct SharedBucket(AtomicU64);

impl SharedBucket {
    pub(super) fn take(&self, now: Mono, cost: u64, per_second: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        let step = |full_at| next(full_at, now, cost, per_second);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }

    /// Puts back what was taken for nothing.
    fn give_back(&self, cost: u64, per_second: u64) {
        if per_second != 0 {
            let price = price(cost, per_second);
            let step = |full_at: u64| Some(full_at.saturating_sub(price));
            // The step always has an answer.
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        }
    }

    /// As [`Bucket::charge`].
    pub(super) fn charge(&self, now: Mono, cost: u64, per_second: u64) -> Option<Mono> {
        if per_second == 0 {
            return None;
        }
        let step = |full_at| Some(charged(full_at, now, cost, per_second));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        // The step always has an answer; either way it is the number before it.
        let before = before.unwrap_or_else(|before| before);
        rest(charged(before, now, cost, per_second), now, per_second)
    }

    /// Whether nothing that was taken is still missing.
    pub(super) fn is_full(&self, now: Mono) -> bool {
        self.0.load(Ordering::Relaxed) <= now.as_micros().saturating_mul(1000)
    }
}

/// What a user may relay in one direction, and all users of its realm together.
#[derive(Debug)]
pub(super) struct Shares {
    user: SharedBucket,
    realm: Arc<SharedBucket>,
}

impl Shares {
    pub(super) fn of_realm(realm: &Arc<SharedBucket>) -> Self {
        Self { user: SharedBucket::default(), realm: Arc::clone(realm) }
    }

    /// Takes the tokens from both, or from neither.
    pub(super) fn take(&self, now: Mono, cost: u64, limits: &Limits) -> bool {
        let (user, all) = (limits.user_bytes_per_second, limits.all_bytes_per_second);
        if !self.user.take(now, cost, user) {
            return false;
        }
        let taken = self.realm.take(now, cost, all);
        if !taken {
            self.user.give_back(cost, user);
        }
        taken
    }

    /// As [`Bucket::charge`], of both.
    pub(super) fn charge(&self, now: Mono, cost: u64, limits: &Limits) -> Option<Mono> {
        let user = self.user.charge(now, cost, limits.user_bytes_per_second);
        user.max(self.realm.charge(now, cost, limits.all_bytes_per_second))
    }

    /// Whether nothing that the user has taken is still missing.
    pub(super) fn is_full(&self, now: Mono) -> bool {
        self.user.is_full(now)
    }
}

const SECOND: u64 = 1_000_000_000;

fn price(cost: u64, per_second: u64) -> u64 {
    (u128::from(cost) * u128::from(SECOND) / u128::from(per_second)) as u64
}

fn charged(full_at: u64, now: Mono, cost: u64, per_second: u64) -> u64 {
    if per_second == 0 {
        return full_at;
    }
    let now = now.as_micros().saturating_mul(1000);
    full_at.max(now).saturating_add(price(cost, per_second))
}

/// When a bucket that is overdrawn is not any more.
fn rest(full_at: u64, now: Mono, per_second: u64) -> Option<Mono> {
    let until = Mono::from_micros(full_at.saturating_sub(SECOND).div_ceil(1000));
    (per_second != 0 && until > now).then_some(until)
}

fn next(full_at: u64, now: Mono, cost: u64, per_second: u64) -> Option<u64> {
    if per_second == 0 {
        return Some(full_at);
    }
    let now = now.as_micros().saturating_mul(1000);
    let price = price(cost, per_second);
    let from = full_at.max(now);
    // A packet dearer than a whole second's worth passes when the bucket is full.
    if from == now || from.saturating_add(price) - now <= SECOND {
        Some(from.saturating_add(price))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Both or neither: what the realm has no room for is not taken from its user.
    #[test]
    fn users_share_what_their_realm_may_relay() {
        let realm = Arc::default();
        let (one, other) = (Shares::of_realm(&realm), Shares::of_realm(&realm));
        let limits =
            Limits { user_bytes_per_second: 1000, all_bytes_per_second: 1500, ..Limits::default() };
        let at = |millis: u64| Mono::from_micros(1_000_000 + millis * 1000);
        assert!(one.take(at(0), 900, &limits));
        assert!(!other.take(at(0), 700, &limits), "1600 of 1500");
        assert!(other.take(at(0), 600, &limits));
        assert!(!one.take(at(0), 100, &limits), "its realm has none left");
        // In 200 ms the realm has got 300 more.
        assert!(one.take(at(200), 300, &limits));
        assert!(!other.take(at(200), 1, &limits));
        let until = other.charge(at(200), 150, &limits);
        assert_eq!(until, Some(at(300)));
    }

    #[test]
    fn what_passes_in_ten_seconds_is_the_rate() {
        let mut bucket = Bucket::default();
        let mut passed = 0;
        for step in 0..100_000 {
            let now = Mono::from_secs(5) + Duration::from_micros(step * 100);
            if bucket.take(now, 100, 50_000) {
                passed += 100;
            }
        }
        // Ten seconds' worth and the one that was saved up.
        assert!((545_000..=555_000).contains(&passed), "{passed}");
    }

    #[test]
    fn a_stream_that_rests_when_it_is_told_keeps_to_the_rate() {
        let (mut bucket, shared) = (Bucket::default(), SharedBucket::default());
        let start = Mono::from_secs(5);
        for rate in [1000, 1_000_000, 3_333_333] {
            let (mut now, mut passed) = (start, 0);
            while now < start + Duration::from_secs(10) {
                let until = bucket.charge(now, 700, rate);
                assert_eq!(until, shared.charge(now, 700, rate));
                passed += 700;
                now = until.unwrap_or(now).max(now);
            }
            let expected = 11 * rate;
            assert!((expected..=expected + 1400).contains(&passed), "{passed} at {rate}");
            bucket = Bucket::default();
            shared.0.store(0, Ordering::Relaxed);
        }
    }

    #[test]
    fn no_rate_is_no_bound() {
        let shared = SharedBucket::default();
        assert!((0..1000).all(|_| shared.take(Mono::default(), u64::MAX, 0)));
        assert_eq!(shared.charge(Mono::default(), u64::MAX, 0), None);
        assert_eq!(Bucket::default().charge(Mono::default(), u64::MAX, 0), None);
        assert!(shared.take(Mono::default(), 10, 10));
        assert!(!shared.take(Mono::default(), 1, 10));
    }
}
