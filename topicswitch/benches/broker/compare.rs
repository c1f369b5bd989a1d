//! The scenarios that ours and the peer go through in turns.

use std::time::Duration;

use mqttsn::types::Qos;
use serde_json::json;
use topicswitch::load::{self, Outcome, Pace, Settings};

use crate::peer::{Broker, Kind, Placement};
use crate::scale;
use crate::table::{self, Better, Column, Series};

/// What the scenarios share.
pub(crate) struct Bench {
    pub(crate) placement: Placement,
    pub(crate) peer: Option<Kind>,
    pub(crate) seconds: Duration,
    pub(crate) rounds: usize,
    pub(crate) sessions: usize,
    pub(crate) report: serde_json::Map<String, serde_json::Value>,
}

type Scenario = fn(&mut Bench) -> anyhow::Result<()>;

/// All scenarios, in the order in which they run.
pub(crate) const SCENARIOS: &[(&str, Scenario)] = &[
    ("throughput", throughput),
    ("fanout", fanout),
    ("latency", latency),
    ("qos", qos),
    ("publishers", publishers),
    ("workers", workers),
    ("sessions", scale::sessions),
];

const WARMUP: Duration = Duration::from_millis(300);

impl Bench {
    /// Ours and the peer, where there is one.
    fn brokers(&self) -> Vec<Kind> {
        std::iter::once(Kind::OURS)
            .chain(self.peer.clone())
            .collect()
    }

    /// Measures each broker `rounds` times, in turns.
    fn measure(
        &self,
        brokers: &[Broker],
        settings: impl Fn(&Broker) -> Settings,
    ) -> anyhow::Result<Vec<Series>> {
        let mut series: Vec<Series> = brokers
            .iter()
            .map(|broker| Series {
                name: broker.kind.name().to_owned(),
                outcomes: Vec::new(),
            })
            .collect();
        for _ in 0..self.rounds {
            for (broker, series) in brokers.iter().zip(&mut series) {
                series.outcomes.push(load::run(&settings(broker))?);
            }
        }
        Ok(series)
    }

    /// The same with each of [`WINDOWS`].
    fn windows(
        &self,
        brokers: &[Broker],
        settings: impl Fn(&Broker) -> Settings,
    ) -> anyhow::Result<Vec<Series>> {
        let mut series = Vec::new();
        for window in WINDOWS {
            let measured = self.measure(brokers, |broker| Settings {
                pace: Pace::Window(window),
                ..settings(broker)
            })?;
            series.extend(measured.into_iter().map(|one| Series {
                name: format!("{}, {window} on their way", one.name),
                ..one
            }));
        }
        Ok(series)
    }

    fn start(&self, kinds: &[Kind]) -> anyhow::Result<Vec<Broker>> {
        kinds
            .iter()
            .map(|kind| Broker::start(kind, &self.placement))
            .collect()
    }

    fn settings(&self, broker: &Broker) -> Settings {
        Settings {
            duration: self.seconds,
            warmup: WARMUP,
            broker_pid: Some(broker.pid()),
            ..Settings::new(broker.address)
        }
    }

    /// Prints the table and keeps the figures for the JSON file.
    fn show(&mut self, name: &str, title: &str, series: &[Series], columns: &[Column]) {
        println!("\n{title}");
        table::print(series, columns);
        let brokers: serde_json::Map<_, _> = series
            .iter()
            .map(|one| (one.name.clone(), json!(one.outcomes)))
            .collect();
        self.report.insert(
            name.to_owned(),
            json!({ "title": title, "brokers": brokers }),
        );
    }
}

fn throughput(bench: &mut Bench) -> anyhow::Result<()> {
    let brokers = bench.start(&bench.brokers())?;
    for (name, offloads) in OFFLOADS {
        let series = bench.windows(&brokers, |broker| Settings {
            gso: offloads,
            gro: offloads,
            ..bench.settings(broker)
        })?;
        bench.show(
            &format!("throughput{}", suffix(offloads)),
            &format!("QoS 0, 1 publisher to 1 subscriber, 100 octets{name}"),
            &series,
            &[
                table::PUBLISHED,
                table::CPU_PUBLICATION,
                table::CORES,
                table::GENERATOR,
            ],
        );
        table::ratio(&series, table::PUBLISHED, Better::More, Series::is_exact);
        table::ratio(
            &series,
            table::CPU_PUBLICATION,
            Better::Less,
            Series::is_exact,
        );
    }
    Ok(())
}

/// Publications on their way at most: what fits the receive buffer that Linux gives without being
/// asked, and what fits one of 4 MiB. With more than fits, messages are lost, and what loses any does
/// not count.
const WINDOWS: [u32; 2] = [128, 1024];

/// Whether the generator's sockets use UDP segmentation and coalescing offload, as they would be used
/// between a network card and the broker. Both brokers get the same.
const OFFLOADS: [(&str, bool); 2] = [
    ("; every datagram by itself", false),
    ("; the generator uses UDP GSO and GRO", true),
];

fn suffix(offloads: bool) -> &'static str {
    if offloads { "_offloads" } else { "" }
}

fn fanout(bench: &mut Bench) -> anyhow::Result<()> {
    let brokers = bench.start(&bench.brokers())?;
    for (name, offloads) in OFFLOADS {
        let series = bench.windows(&brokers, |broker| Settings {
            subscribers: 100,
            gso: offloads,
            gro: offloads,
            ..bench.settings(broker)
        })?;
        bench.show(
            &format!("fanout{}", suffix(offloads)),
            &format!("QoS 0, 1 publisher to 100 subscribers, 100 octets{name}"),
            &series,
            &[
                table::DELIVERED,
                table::CPU_DELIVERY,
                table::CORES,
                table::GENERATOR,
            ],
        );
        table::ratio(&series, table::DELIVERED, Better::More, Series::is_exact);
        table::ratio(&series, table::CPU_DELIVERY, Better::Less, Series::is_exact);
    }
    Ok(())
}

/// At 1000 a second, and at half of what the slower of the two can do without loss.
fn latency(bench: &mut Bench) -> anyhow::Result<()> {
    let brokers = bench.start(&bench.brokers())?;
    let highest = bench.measure(&brokers, |broker| bench.settings(broker))?;
    let comfortable = highest
        .iter()
        .filter_map(|series| series.median(table::PUBLISHED.2))
        .fold(f64::INFINITY, f64::min)
        / 2.0;
    for rate in [1000.0, comfortable.floor()] {
        let series = bench.measure(&brokers, |broker| Settings {
            pace: Pace::Rate(rate),
            duration: bench.seconds * 2,
            ..bench.settings(broker)
        })?;
        bench.show(
            &format!("latency_{}", if rate == 1000.0 { "1000" } else { "half" }),
            &format!("QoS 0, 1 to 1, 100 octets, {rate:.0} a second: from due to delivered"),
            &series,
            &[table::P50, table::P99, table::P999, table::CPU_PUBLICATION],
        );
        table::ratio(&series, table::P99, Better::Less, Series::is_nearly_exact);
    }
    Ok(())
}

fn qos(bench: &mut Bench) -> anyhow::Result<()> {
    let mut kinds = vec![Kind::OURS, Kind::STORED];
    kinds.extend(bench.peer.clone());
    let brokers = bench.start(&kinds)?;
    for (qos, pairs, subscribed) in [
        (1, 1, false),
        (1, 32, false),
        (1, 32, true),
        (2, 1, false),
        (2, 32, false),
        (2, 32, true),
    ] {
        let series = bench.measure(&brokers, |broker| Settings {
            publishers: pairs,
            subscribers: if subscribed { pairs } else { 0 },
            topics: pairs,
            qos: Qos::from_level(qos).unwrap_or_default(),
            persistent: true,
            ..bench.settings(broker)
        })?;
        let to = match subscribed {
            true => "with a subscriber each, in persistent sessions",
            false => "without subscribers",
        };
        bench.show(
            &format!(
                "qos{qos}_{pairs}{}",
                if subscribed { "_subscribed" } else { "" }
            ),
            &format!("QoS {qos}, {pairs} publisher(s) {to}, one exchange at a time, 100 octets"),
            &series,
            &[
                table::PUBLISHED,
                table::ROUND_P50,
                table::ROUND_P99,
                table::CPU_PUBLICATION,
            ],
        );
        table::ratio(&series, table::PUBLISHED, Better::More, Series::is_exact);
    }
    Ok(())
}

fn publishers(bench: &mut Bench) -> anyhow::Result<()> {
    const PUBLISHERS: usize = 10_000;
    let brokers = bench.start(&bench.brokers())?;
    let series = bench.measure(&brokers, |broker| Settings {
        publishers: PUBLISHERS,
        ..bench.settings(broker)
    })?;
    bench.show(
        "publishers",
        "QoS 0, 10000 connected publishers in turns to 1 subscriber, 100 octets",
        &series,
        &[
            table::PUBLISHED,
            table::CPU_PUBLICATION,
            table::GENERATOR,
            table::RESIDENT,
        ],
    );
    table::ratio(&series, table::PUBLISHED, Better::More, Series::is_exact);
    table::ratio(
        &series,
        table::CPU_PUBLICATION,
        Better::Less,
        Series::is_exact,
    );
    Ok(())
}

/// One worker on one CPU, and two on two; on a machine of two the generator takes part of the second.
fn workers(bench: &mut Bench) -> anyhow::Result<()> {
    const ONE: Kind = Kind::Ours {
        name: "--workers 1, one CPU",
        arguments: &["--workers", "1"],
        store: false,
    };
    const TWO: Kind = Kind::Ours {
        name: "--workers 2, two CPUs",
        arguments: &["--workers", "2"],
        store: false,
    };
    const PAIRS: usize = 16;
    let brokers = [
        Broker::start(&ONE, &bench.placement)?,
        Broker::start(&TWO, &bench.placement.two_cpus())?,
    ];
    let series = bench.measure(&brokers, |broker| Settings {
        publishers: PAIRS,
        subscribers: PAIRS,
        topics: PAIRS,
        ..bench.settings(broker)
    })?;
    bench.show(
        "workers",
        "QoS 0, 16 publishers with a subscriber each, 100 octets",
        &series,
        &[
            table::PUBLISHED,
            table::CORES,
            table::CPU_PUBLICATION,
            ("published/s and core", 0, per_core),
            table::GENERATOR,
        ],
    );
    Ok(())
}

/// What one core of the broker's own would do: 1 / CPU time of a publication.
fn per_core(outcome: &Outcome) -> Option<f64> {
    let broker = outcome.broker?;
    (broker.cores > 0.0).then(|| outcome.published_per_second / broker.cores)
}
