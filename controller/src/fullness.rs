//! Tables that have less room than the program says.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A table that was full counts as full at so many rows for so long; then one more is tried, after as
/// long again two, then four.
const FULL_FOR: Duration = Duration::from_secs(30);

/// How many rows a table turned out to have room for, and when.
#[derive(Debug, Default)]
pub(crate) struct Fullness(HashMap<&'static str, (usize, Instant)>);

impl Fullness {
    /// The table was full with so many rows. Whether that is news.
    pub(crate) fn note(&mut self, now: Instant, table: &'static str, rows: usize) -> bool {
        let before = self.0.insert(table, (rows, now));
        before.is_none_or(|(before, _)| before != rows)
    }

    /// Whether the table was found full at this very moment.
    pub(crate) fn is_noted(&self, now: Instant, table: &str) -> bool {
        self.0.get(table).is_some_and(|(_, at)| *at == now)
    }

    /// How many rows the table may have, of `size` by what the program says.
    pub(crate) fn limit(&self, now: Instant, table: &str, size: usize) -> usize {
        let Some((rows, at)) = self.0.get(table) else {
            return size;
        };
        let passed = now.saturating_duration_since(*at).as_secs() / FULL_FOR.as_secs();
        let more = 1usize
            .checked_shl(passed.min(32) as u32)
            .unwrap_or(usize::MAX)
            / 2;
        size.min(rows.saturating_add(more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_full_is_tried_again_by_and_by() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut fullness = Fullness::default();
        assert_eq!(fullness.limit(start, "t", 100), 100);
        assert!(fullness.note(start, "t", 10));
        for (seconds, limit) in [(0, 10), (29, 10), (30, 11), (60, 12), (90, 14), (600, 100)] {
            assert_eq!(fullness.limit(at(seconds), "t", 100), limit, "{seconds} s");
        }
        assert!(!fullness.note(at(30), "t", 10), "as before");
        assert_eq!(fullness.limit(at(59), "t", 100), 10);
    }
}
