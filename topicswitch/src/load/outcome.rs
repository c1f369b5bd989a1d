//! What a measurement found: a table for people, a JSON object for programs.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The outcome of one measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Seconds that counted.
    pub seconds: f64,
    /// Publications that counted.
    pub published: u64,
    /// Deliveries that counted.
    pub delivered: u64,
    /// Publications a second.
    pub published_per_second: f64,
    /// Deliveries a second.
    pub delivered_per_second: f64,
    /// Deliveries that were owed and did not come, warm-up included.
    pub lost: u64,
    /// Deliveries behind a later message of the same publisher: out of order, or twice.
    pub behind: u64,
    /// The greatest sequence number of those; 0 without them.
    pub last_behind: u64,
    /// Publications that the broker refused with a return code.
    pub refused: u64,
    /// Messages that the generator had to send again.
    pub retransmitted: u64,
    /// From the time at which a message was due to its delivery, in microseconds.
    pub latency_us: Option<Quantiles>,
    /// The same to the end of its acknowledgement, at QoS 1 and 2.
    pub acknowledged_us: Option<Quantiles>,
    /// How late the generator sent what was due, in microseconds: its own part of the latency.
    pub late_us: Option<Quantiles>,
    /// Share of its one core that the generator needed.
    pub generator_busy: f64,
    /// What it cost the broker, where its process is known.
    pub broker: Option<BrokerCost>,
}

/// What the broker's process used while it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BrokerCost {
    /// CPUs in use, in the mean.
    pub cores: f64,
    /// CPU time for each publication, in microseconds.
    pub cpu_us_per_publication: f64,
    /// CPU time for each delivery, in microseconds.
    pub cpu_us_per_delivery: f64,
    /// Resident memory at the end, in octets.
    pub resident: u64,
}

/// Quantiles of a time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Quantiles {
    /// Of a histogram of nanoseconds; `None` where nothing was recorded.
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let us = |ns: u64| (ns as f64 / 100.0).round() / 10.0;
        Some(Quantiles {
            p50: us(histogram.value_at_quantile(0.5)),
            p99: us(histogram.value_at_quantile(0.99)),
            p999: us(histogram.value_at_quantile(0.999)),
            max: us(histogram.max()),
        })
    }
}

impl Outcome {
    /// Whether every message arrived where it was owed, once and in order.
    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.behind == 0 && self.refused == 0
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
            self.p50, self.p99, self.p999, self.max
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<26}{value}");
        row(
            "published",
            format!(
                "{} in {:.2} s: {:.0}/s",
                self.published, self.seconds, self.published_per_second
            ),
        )?;
        row(
            "delivered",
            format!("{}: {:.0}/s", self.delivered, self.delivered_per_second),
        )?;
        row(
            "lost, behind, refused",
            format!("{}, {}, {}", self.lost, self.behind, self.refused),
        )?;
        if self.retransmitted > 0 {
            row("sent again", self.retransmitted.to_string())?;
        }
        let times = [
            ("latency (us)", self.latency_us),
            ("acknowledged (us)", self.acknowledged_us),
            ("sent late (us)", self.late_us),
        ];
        for (name, quantiles) in times {
            if let Some(quantiles) = quantiles {
                row(name, quantiles.to_string())?;
            }
        }
        row(
            "generator",
            format!("{:.0} % of a core", self.generator_busy * 100.0),
        )?;
        if let Some(broker) = &self.broker {
            row(
                "broker",
                format!(
                    "{:.2} cores; {:.2} us CPU a publication, {:.2} us a delivery; {:.1} MiB",
                    broker.cores,
                    broker.cpu_us_per_publication,
                    broker.cpu_us_per_delivery,
                    broker.resident as f64 / f64::from(1 << 20)
                ),
            )?;
        }
        Ok(())
    }
}
