use std::sync::atomic::{AtomicU64, Ordering};

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

    /// Whether nothing that was taken is still missing.
    pub(super) fn is_full(&self, now: Mono) -> bool {
        self.0.load(Ordering::Relaxed) <= now.as_micros().saturating_mul(1000)
    }
}

fn next(full_at: u64, now: Mono, cost: u64, per_second: u64) -> Option<u64> {
    const SECOND: u64 = 1_000_000_000;
    if per_second == 0 {
        return Some(full_at);
    }
    let now = now.as_micros().saturating_mul(1000);
    let price = (u128::from(cost) * u128::from(SECOND) / u128::from(per_second)) as u64;
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
    fn no_rate_is_no_bound() {
        let shared = SharedBucket::default();
        assert!((0..1000).all(|_| shared.take(Mono::default(), u64::MAX, 0)));
        assert!(shared.take(Mono::default(), 10, 10));
        assert!(!shared.take(Mono::default(), 1, 10));
    }
}
