//! How fast a device takes updates: a bucket of tokens, as the queue in front of a driver is.

use std::time::Duration;

use tonic::Code;

use super::errors::{Outcome, Refusal};

/// The share of a second's updates that may come at once.
const BURST: u64 = 10;
/// A token is divided into so many parts: a rate of one per second makes one part a nanosecond.
const PARTS: u128 = 1_000_000_000;

/// A bounded rate of updates.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: u64,
    /// Parts of tokens.
    level: u128,
    updated: Duration,
}

impl Pace {
    pub(super) fn new(per_second: u64) -> Self {
        let mut pace = Pace {
            per_second,
            level: 0,
            updated: Duration::ZERO,
        };
        pace.level = pace.full();
        pace
    }

    fn full(&self) -> u128 {
        u128::from((self.per_second / BURST).max(1)) * PARTS
    }

    /// Takes one update.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when it came too early.
    pub(super) fn admit(&mut self, now: Duration) -> Outcome {
        let elapsed = now.saturating_sub(self.updated).as_nanos();
        self.updated = self.updated.max(now);
        let fresh = elapsed.saturating_mul(u128::from(self.per_second));
        self.level = self.level.saturating_add(fresh).min(self.full());
        if self.level < PARTS {
            return Err(Refusal::new(
                Code::ResourceExhausted,
                format!(
                    "this target takes {} updates a second: try again later",
                    self.per_second
                ),
            ));
        }
        self.level -= PARTS;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_at_the_rate() {
        let mut pace = Pace::new(100);
        let mut passed = |ms| {
            let now = Duration::from_millis(ms);
            (0..50).filter(|_| pace.admit(now).is_ok()).count()
        };
        assert_eq!(passed(0), 10);
        assert_eq!(passed(0), 0);
        assert_eq!(passed(20), 2);
        assert_eq!(passed(10_000), 10, "the bucket holds no more");
    }
}
