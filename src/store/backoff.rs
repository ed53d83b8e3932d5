//! Pauses between attempts to connect.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;

/// The first pause after a connection that could not be made. Each further one is twice as long.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest pause: so long a store that has come back may be taken for absent.
const LONGEST: Duration = Duration::from_secs(3);

/// Pauses between attempts to connect, so that a store that is down is not knocked at by every question.
#[derive(Debug, Default)]
pub(super) struct Backoff(Mutex<Option<Down>>);

#[derive(Debug)]
struct Down {
    until: Instant,
    pause: Duration,
    why: StoreError,
}

impl Backoff {
    /// # Errors
    /// It is too early: with why the last attempt failed.
    pub(super) fn may_try(&self, now: Instant) -> Result<(), StoreError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(down) if now < down.until => Err(down.why.clone()),
            _ => Ok(()),
        }
    }

    /// An attempt has failed. Of several that were made at a time, one counts.
    pub(super) fn failed(&self, now: Instant, why: StoreError) {
        let mut down = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if down.as_ref().is_some_and(|down| now < down.until) {
            return;
        }
        let pause = down.as_ref().map_or(SHORTEST, |down| (down.pause * 2).min(LONGEST));
        *down = Some(Down { until: now + pause, pause, why });
    }

    /// An attempt has succeeded.
    pub(super) fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_end_with_a_success() {
        let (backoff, mut now) = (Backoff::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(backoff.may_try(now), Ok(()));
            for _ in 0..3 {
                backoff.failed(now, StoreError::TimedOut);
            }
            let before = now;
            while backoff.may_try(now) == Err(StoreError::TimedOut) {
                now += Duration::from_millis(50);
            }
            pauses.push((now - before).as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000, 3000]);
        backoff.failed(now, StoreError::TimedOut);
        backoff.succeeded();
        assert_eq!(backoff.may_try(now), Ok(()));
    }
}
