//! Meters: the two rate three colour marker of RFC 2698, colour-blind.

use parking_lot::Mutex;

use crate::control::{ColorCounts, MeterConfig};

/// Colours, as v1model numbers them.
pub(crate) const GREEN: u64 = 0;
/// Over the committed rate.
pub(crate) const YELLOW: u64 = 1;
/// Over the peak rate.
pub(crate) const RED: u64 = 2;

/// A token is divided into so many parts, so that a rate of one per second makes one part each
/// nanosecond and nothing is rounded.
const PARTS: u128 = 1_000_000_000;

#[derive(Debug, Clone, Copy)]
struct Buckets {
    config: MeterConfig,
    /// Nanoseconds; `None` until the first packet.
    updated: Option<u64>,
    committed: u128,
    peak: u128,
}

/// One meter. Without a configuration everything is green.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    configured: std::sync::atomic::AtomicBool,
    buckets: Mutex<Option<Buckets>>,
    /// What was marked since it was last cleared. A meter without a configuration counts nothing, and
    /// costs nothing.
    counts: Mutex<ColorCounts>,
}

impl Meter {
    pub(crate) fn config(&self) -> Option<MeterConfig> {
        self.buckets.lock().map(|buckets| buckets.config)
    }

    /// Configures the meter: both buckets are full.
    pub(crate) fn configure(&self, config: Option<MeterConfig>) {
        let mut buckets = self.buckets.lock();
        *buckets = config.map(|config| Buckets {
            config,
            updated: None,
            committed: u128::from(config.cburst) * PARTS,
            peak: u128::from(config.pburst) * PARTS,
        });
        self.configured
            .store(buckets.is_some(), std::sync::atomic::Ordering::Relaxed);
    }

    /// What a configuration marked since the counts were last cleared.
    pub(crate) fn colors(&self) -> ColorCounts {
        *self.counts.lock()
    }

    /// Sets the counts per colour to 0.
    pub(crate) fn clear_colors(&self) {
        *self.counts.lock() = ColorCounts::default();
    }

    /// The colour of a packet of so many units (its bytes, or 1) and bytes.
    #[inline]
    pub(crate) fn execute(&self, now: u64, units: u64, bytes: u64) -> u64 {
        if !self.configured.load(std::sync::atomic::Ordering::Relaxed) {
            return GREEN;
        }
        let mut buckets = self.buckets.lock();
        let Some(buckets) = buckets.as_mut() else {
            return GREEN;
        };
        let color = buckets.execute(now, units);
        let mut counts = self.counts.lock();
        let count = match color {
            GREEN => &mut counts.green,
            YELLOW => &mut counts.yellow,
            _ => &mut counts.red,
        };
        count.packets = count.packets.wrapping_add(1);
        count.bytes = count.bytes.wrapping_add(bytes);
        color
    }
}

impl Buckets {
    fn execute(&mut self, now: u64, units: u64) -> u64 {
        let elapsed = u128::from(now.saturating_sub(self.updated.unwrap_or(now)));
        self.updated = Some(self.updated.map_or(now, |updated| updated.max(now)));
        let fill = |level: u128, rate: u64, burst: u64| {
            (level + elapsed * u128::from(rate)).min(u128::from(burst) * PARTS)
        };
        let config = self.config;
        self.peak = fill(self.peak, config.pir, config.pburst);
        self.committed = fill(self.committed, config.cir, config.cburst);
        let cost = u128::from(units) * PARTS;
        if self.peak < cost {
            return RED;
        }
        self.peak -= cost;
        if self.committed < cost {
            return YELLOW;
        }
        self.committed -= cost;
        GREEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn meter(cir: u64, cburst: u64, pir: u64, pburst: u64) -> Meter {
        let meter = Meter::default();
        meter.configure(Some(MeterConfig {
            cir,
            cburst,
            pir,
            pburst,
        }));
        meter
    }

    #[test]
    fn without_a_configuration_everything_is_green() {
        let meter = Meter::default();
        assert_eq!(meter.execute(0, u64::MAX, 100), GREEN);
        assert_eq!(meter.config(), None);
    }

    #[test]
    fn a_burst_is_green_then_yellow_then_red() {
        let meter = meter(1, 2, 1, 5);
        let colors: Vec<u64> = (0..7).map(|_| meter.execute(0, 1, 100)).collect();
        assert_eq!(colors, [GREEN, GREEN, YELLOW, YELLOW, YELLOW, RED, RED]);
    }

    #[test]
    fn tokens_come_back_at_the_configured_rates_and_never_exceed_the_burst() {
        let meter = meter(10, 10, 20, 20);
        assert_eq!(meter.execute(0, 10, 100), GREEN);
        assert_eq!(meter.execute(0, 10, 100), YELLOW);
        assert_eq!(meter.execute(0, 1, 100), RED);
        // A tenth of a second: one committed token, two of the peak.
        assert_eq!(meter.execute(SECOND / 10, 1, 100), GREEN);
        assert_eq!(meter.execute(SECOND / 10, 1, 100), YELLOW);
        assert_eq!(meter.execute(SECOND / 10, 1, 100), RED);
        // An hour fills the buckets and no more.
        assert_eq!(meter.execute(3600 * SECOND, 11, 100), YELLOW);
        assert_eq!(meter.execute(3600 * SECOND, 10, 100), RED);
        assert_eq!(meter.execute(3600 * SECOND, 9, 100), GREEN);
    }

    #[test]
    fn a_rate_below_one_token_a_packet_is_not_rounded_away() {
        let meter = meter(1, 1, 1, 1);
        assert_eq!(meter.execute(0, 1, 100), GREEN);
        for i in 1..10 {
            assert_eq!(meter.execute(i * SECOND / 10, 1, 100), RED);
        }
        assert_eq!(meter.execute(SECOND, 1, 100), GREEN);
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let meter = meter(1, 1, 1, 1);
        assert_eq!(meter.execute(SECOND, 1, 100), GREEN);
        assert_eq!(meter.execute(0, 1, 100), RED);
        assert_eq!(meter.execute(2 * SECOND, 1, 100), GREEN);
    }

    #[test]
    fn what_is_marked_is_counted_by_colour() {
        let meter = meter(1, 1, 1, 2);
        for bytes in [60, 70, 80, 90] {
            meter.execute(0, 1, bytes);
        }
        let counted = |packets, bytes| crate::control::CounterData { packets, bytes };
        let colors = ColorCounts {
            green: counted(1, 60),
            yellow: counted(1, 70),
            red: counted(2, 170),
        };
        assert_eq!(meter.colors(), colors);
        meter.configure(meter.config());
        assert_eq!(
            meter.colors(),
            colors,
            "a new configuration keeps the counts"
        );
        for bytes in [60, 70] {
            meter.execute(0, 1, bytes);
        }
        meter.clear_colors();
        assert_eq!(meter.colors(), ColorCounts::default());
        assert_eq!(meter.execute(0, 1, 50), RED, "the buckets stay as they are");
    }
}
