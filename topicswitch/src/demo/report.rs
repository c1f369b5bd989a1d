//! What the demo found: a table for people, a JSON object for programs.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Phase;

/// The outcome of a demo.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// PUBLISH sent, all phases together.
    pub published: u64,
    /// Deliveries that the switch made by itself.
    pub delivered_by_switch: u64,
    /// Deliveries that the broker made.
    pub delivered_by_broker: u64,
    /// Deliveries that were owed and did not come, all phases together.
    pub lost: u64,
    /// Deliveries that came more than once.
    pub duplicated: u64,
    /// Those of `lost` that fell into the phase in which the controller was killed.
    pub lost_in_failover: u64,
    /// From publisher to subscriber, in microseconds.
    pub latency_us: BothPaths<Latency>,
    /// PUBLISH that reached the broker, copies included.
    pub broker_packets: BothPaths<u64>,
    /// Per phase, for the table.
    #[serde(skip)]
    phases: [Column; 3],
}

/// A figure with offload off and on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BothPaths<T> {
    /// Offload off.
    pub software: T,
    /// Offload on.
    pub offload: T,
}

/// Quantiles of a latency, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    published: u64,
    by_switch: u64,
    by_broker: u64,
    broker_received: u64,
    lost: u64,
    duplicated: u64,
    latency: Latency,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| (histogram.value_at_quantile(quantile) as f64 / 100.0).round() / 10.0;
        Latency {
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

impl Column {
    fn of(phase: &Phase) -> Self {
        Column {
            published: phase.published,
            by_switch: phase.tally.delivered.saturating_sub(phase.broker_delivered),
            by_broker: phase.broker_delivered,
            broker_received: phase.broker_received,
            lost: phase.tally.lost,
            duplicated: phase.tally.duplicated,
            latency: Latency::of(&phase.tally.latency),
        }
    }
}

impl Report {
    pub(super) fn new(software: &Phase, offload: &Phase, failover: &Phase) -> Self {
        let phases = [software, offload, failover].map(Column::of);
        let sum = |of: fn(&Column) -> u64| phases.iter().map(of).sum();
        Report {
            published: sum(|c| c.published),
            delivered_by_switch: sum(|c| c.by_switch),
            delivered_by_broker: sum(|c| c.by_broker),
            lost: sum(|c| c.lost),
            duplicated: sum(|c| c.duplicated),
            lost_in_failover: phases[2].lost,
            latency_us: BothPaths {
                software: phases[0].latency,
                offload: phases[1].latency,
            },
            broker_packets: BothPaths {
                software: phases[0].broker_received,
                offload: phases[1].broker_received,
            },
            phases,
        }
    }

    /// Whether every message arrived where it was owed, once.
    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.duplicated == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28}{:>14}{:>14}{:>20}",
            "", "offload off", "offload on", "controller killed"
        )?;
        let mut row = |name: &str, of: &dyn Fn(&Column) -> String| {
            let [a, b, c] = [0, 1, 2].map(|phase| of(&self.phases[phase]));
            writeln!(f, "{name:<28}{a:>14}{b:>14}{c:>20}")
        };
        row("published", &|c| c.published.to_string())?;
        row("delivered by the switch", &|c| c.by_switch.to_string())?;
        row("delivered by the broker", &|c| c.by_broker.to_string())?;
        row("PUBLISH seen by the broker", &|c| {
            c.broker_received.to_string()
        })?;
        row("lost", &|c| c.lost.to_string())?;
        row("duplicated", &|c| c.duplicated.to_string())?;
        row("latency p50 (us)", &|c| format!("{:.1}", c.latency.p50))?;
        row("latency p99 (us)", &|c| format!("{:.1}", c.latency.p99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(delivered: u64, broker_delivered: u64, lost: u64) -> Phase {
        let mut tally = super::super::workload::Tally::new();
        tally.delivered = delivered;
        tally.lost = lost;
        tally.latency.record(1_250_000).unwrap();
        Phase {
            published: 10,
            tally,
            broker_received: broker_delivered,
            broker_delivered,
        }
    }

    #[test]
    fn what_the_broker_did_not_deliver_the_switch_did() {
        let report = Report::new(&phase(40, 40, 0), &phase(40, 5, 0), &phase(40, 20, 0));
        assert_eq!(
            (report.delivered_by_switch, report.delivered_by_broker),
            (55, 65)
        );
        assert_eq!(
            report.broker_packets,
            BothPaths {
                software: 40,
                offload: 5
            }
        );
        // Three significant digits are kept.
        assert!((report.latency_us.software.p50 - 1250.0).abs() < 1.25);
        assert!(report.is_exact());
    }

    #[test]
    fn a_loss_in_the_failover_is_told_apart_and_makes_the_report_inexact() {
        let report = Report::new(&phase(40, 40, 1), &phase(40, 5, 0), &phase(39, 20, 1));
        assert_eq!((report.lost, report.lost_in_failover), (2, 1));
        assert!(!report.is_exact());
    }

    #[test]
    fn the_json_object_has_the_documented_keys() {
        let report = Report::new(&phase(1, 1, 0), &phase(1, 0, 0), &phase(1, 1, 0));
        let json = serde_json::to_value(report).unwrap();
        let keys: Vec<&str> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "broker_packets",
                "delivered_by_broker",
                "delivered_by_switch",
                "duplicated",
                "latency_us",
                "lost",
                "lost_in_failover",
                "published"
            ]
        );
        assert!(json["latency_us"]["offload"]["p99"].is_number());
    }
}
