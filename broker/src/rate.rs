//! So many a second, and a burst: a token bucket that is one moment.
//!
//! The bucket is kept as the moment at which it will be full again (the "theoretical arrival time"
//! of the generic cell rate algorithm): nothing has to be filled while time passes.

use std::time::{Duration, Instant};

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The time that one event costs.
    every: Duration,
    /// The time that may be spent in advance: a burst.
    depth: Duration,
}

impl Rate {
    /// `per_second` events, of which `burst` may come at once; `None` when there is no limit
    /// (`per_second` is 0).
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        let every = Duration::from_secs(1).checked_div(per_second)?;
        Some(Rate {
            every,
            depth: every.saturating_mul(burst.max(1)),
        })
    }
}

/// What was spent of a [`Rate`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one token. False if there is none.
    pub(crate) fn take(&mut self, now: Instant, rate: Option<Rate>) -> bool {
        let Some(rate) = rate else {
            return true;
        };
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + rate.every;
        if full_at > now + rate.depth {
            return false;
        }
        self.full_at = Some(full_at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_as_many_as_the_rate() {
        let start = Instant::now();
        let rate = Rate::new(10, 3);
        let mut bucket = Bucket::default();
        let at = |ms| start + Duration::from_millis(ms);
        let passed = (0..9).filter(|_| bucket.take(at(0), rate)).count();
        assert_eq!(passed, 3);
        assert!(!bucket.take(at(99), rate));
        assert!(bucket.take(at(100), rate));
        assert!(!bucket.take(at(100), rate));
        // Full again, and no fuller.
        let passed = (0..9).filter(|_| bucket.take(at(60_000), rate)).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = Bucket::default();
        let now = Instant::now();
        assert!((0..1000).all(|_| bucket.take(now, Rate::new(0, 1))));
    }
}
