//! Times, and what to say of them.

use std::time::Duration;

/// Times that were measured.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all does not exceed, in microseconds.
    pub(crate) fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        let time = self.0.get(at).copied().unwrap_or_default();
        time.as_nanos() as f64 / 1000.0
    }

    /// One line of a table.
    pub(crate) fn say(&mut self, name: &str) {
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| self.quantile(share));
        let count = self.count();
        println!(
            "{name:<28}{count:>8}   p50 {p50:.1} us   p99 {p99:.1} us   p99.9 {p999:.1} us   max {max:.1} us"
        );
    }
}

/// What somebody counted meanwhile.
pub(crate) fn say_counted(who: &str, before: &[(String, u64)], after: &[(String, u64)]) {
    let mut line = format!("the {who} counted");
    for (path, count) in after {
        let known = before.iter().find(|(name, _)| name == path);
        let more = count - known.map_or(0, |(_, count)| *count);
        if more > 0 {
            line.push_str(&format!(" {path}: {more},"));
        }
    }
    println!("{}", line.trim_end_matches(','));
}
