//! How long it takes from a change of the intent until the switch holds it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use offload::Revision;
use serde::{Deserialize, Serialize};

/// Latencies that are remembered.
const KEPT: usize = 4096;

/// The latest of them, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallLatency {
    /// Changes measured.
    pub changes: u64,
    /// Half of the last 4096 took no longer.
    pub p50_us: u64,
    /// 99 of 100 of them took no longer.
    pub p99_us: u64,
    /// The longest of them.
    pub max_us: u64,
}

/// Measures from the receipt of a revision to its Installed.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    waiting: VecDeque<(Revision, Instant)>,
    last: VecDeque<u64>,
    changes: u64,
}

impl Latencies {
    /// The broker wants this revision.
    pub(crate) fn wanted(&mut self, now: Instant, revision: Revision) {
        self.waiting.push_back((revision, now));
    }

    /// The switch holds it, and all before it.
    pub(crate) fn installed(&mut self, now: Instant, revision: Revision) {
        while let Some(&(_, since)) = self.waiting.front().filter(|(next, _)| *next <= revision) {
            self.waiting.pop_front();
            if self.last.len() == KEPT {
                self.last.pop_front();
            }
            let took = now.saturating_duration_since(since).as_micros();
            self.last.push_back(u64::try_from(took).unwrap_or(u64::MAX));
            self.changes += 1;
        }
    }

    /// The link is gone: what waits is not measured.
    pub(crate) fn unlinked(&mut self) {
        self.waiting.clear();
    }

    /// For how long the oldest change has been waiting.
    pub(crate) fn oldest(&self, now: Instant) -> Option<Duration> {
        let (_, since) = self.waiting.front()?;
        Some(now.saturating_duration_since(*since))
    }

    pub(crate) fn summary(&self) -> InstallLatency {
        let mut sorted: Vec<u64> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(place).copied().unwrap_or(0)
        };
        InstallLatency {
            changes: self.changes,
            p50_us: at(50),
            p99_us: at(99),
            max_us: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_measures_every_revision_up_to_it() {
        let mut latencies = Latencies::default();
        let start = Instant::now();
        for n in 1..=100 {
            latencies.wanted(start, Revision(n));
            latencies.installed(start + Duration::from_micros(n), Revision(n));
        }
        let summary = latencies.summary();
        assert_eq!(
            (summary.p50_us, summary.p99_us, summary.max_us),
            (50, 99, 100)
        );
        latencies.wanted(start, Revision(101));
        latencies.wanted(start, Revision(102));
        latencies.wanted(start, Revision(103));
        latencies.installed(start, Revision(102));
        assert_eq!(latencies.summary().changes, 102);
        assert!(latencies.oldest(start).is_some());
        latencies.unlinked();
        assert_eq!(latencies.oldest(start), None);
    }

    #[test]
    fn nothing_measured_is_nothing() {
        assert_eq!(Latencies::default().summary(), InstallLatency::default());
    }
}
