//! Policy `hot`: the room goes to the topics that save the broker most, with hysteresis, at a
//! bounded pace, whatever room the switch turns out to have.

mod bench;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bench::{Bench, config, topic};
use controller::tables::{Key, topic as topic_table};
use controller::target::Counter;
use controller::target::fake::State;
use controller::{Config, HotConfig, Policy};
use offload::{Change, FromController, Refusal, RefusedItem, TopicIndex};
use proptest::prelude::*;

const STEP: Duration = Duration::from_millis(250);

/// A switch with few rows, and topics that are published to at given rates.
struct World {
    bench: Bench,
    /// PUBLISH per second of each topic.
    rates: Vec<u64>,
    /// Subscribers of each topic.
    fans: Vec<u8>,
    counters: BTreeMap<u32, f64>,
    heard: BTreeMap<u32, f64>,
    /// Topics that left the switch, and when.
    left: Vec<(Instant, u32)>,
}

fn hot() -> Config {
    Config {
        policy: Policy::Hot,
        hot: HotConfig {
            swaps_per_s: 2,
            ..HotConfig::default()
        },
        ..config()
    }
}

impl World {
    fn new(config: Config, table: &'static str, rows: usize, rates: &[u64], fans: &[u8]) -> Self {
        let state = State {
            room: [(table, rows)].into(),
            ..State::default()
        };
        let mut bench = Bench::with(config, state);
        bench.learn(9);
        let changes = fans.iter().zip(0u32..).map(|(fans, index)| {
            let served: Vec<u8> = (1..=*fans).map(|n| (n + index as u8) % 9 + 1).collect();
            Change::Topic(TopicIndex(index), Some(topic(index, &served)))
        });
        bench.change(changes.collect());
        bench.run();
        Self {
            bench,
            rates: rates.to_vec(),
            fans: fans.to_vec(),
            counters: BTreeMap::new(),
            heard: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    fn inside(&self) -> BTreeSet<u32> {
        let rows = self.bench.state.rows.keys();
        rows.filter_map(|key| match key {
            Key::Topic(key) => Some(key.topic_index),
            _ => None,
        })
        .collect()
    }

    fn pass(&mut self, time: Duration) {
        let until = self.bench.now + time;
        while self.bench.now < until {
            let before = self.inside();
            for (rate, index) in self.rates.iter().zip(0u32..) {
                let packets = *rate as f64 * STEP.as_secs_f64();
                let counts = if before.contains(&index) {
                    &mut self.counters
                } else {
                    &mut self.heard
                };
                *counts.entry(index).or_default() += packets;
            }
            self.bench.pass(STEP);
            let now = self.bench.now;
            let after = self.inside();
            for gone in before.difference(&after) {
                self.counters.remove(gone);
                self.left.push((now, *gone));
            }
            if let Some(rows) = self.bench.device.take_survey() {
                let read = |key: Key| {
                    let Key::Topic(topic) = key else {
                        panic!("{key:?}")
                    };
                    let packets = self.counters.get(&topic.topic_index);
                    let packets = packets.copied().unwrap_or(0.0) as u64;
                    (key, Counter { packets, bytes: 0 })
                };
                let counters: Vec<_> = rows.into_iter().map(read).collect();
                self.bench.device.surveyed(now, &counters);
            }
            let asked =
                |message: &FromController| matches!(message, FromController::AskRates { .. });
            if self.bench.messages.iter().any(asked) {
                self.bench.messages.retain(|message| !asked(message));
                let heard = std::mem::take(&mut self.heard).into_iter();
                let heard: Vec<_> = heard.map(|(i, n)| (TopicIndex(i), n as u64)).collect();
                self.bench.device.rates(now, &heard);
            }
        }
    }

    fn score(&self, index: u32) -> u64 {
        self.rates[index as usize] * (u64::from(self.fans[index as usize]) + 1)
    }

    /// A topic outside that is far better than one inside.
    fn injustice(&self) -> Option<(u32, u32)> {
        let inside = self.inside();
        let all: BTreeSet<u32> = (0..self.rates.len() as u32).collect();
        let weakest = *inside.iter().min_by_key(|i| self.score(**i))?;
        let best = *all.difference(&inside).max_by_key(|i| self.score(**i))?;
        // Rates are measured to one packet in a step.
        (self.score(best) * 10 > self.score(weakest) * 16 + 100).then_some((best, weakest))
    }

    fn most_left_within(&self, time: Duration) -> usize {
        let within = |(from, _): &(Instant, u32)| {
            let in_time = |(at, _): &&(Instant, u32)| *at >= *from && *at < *from + time;
            self.left.iter().filter(in_time).count()
        };
        self.left.iter().map(within).max().unwrap_or(0)
    }
}

#[test]
fn the_room_goes_to_the_topics_with_the_highest_rate_times_subscribers() {
    let rates = [1, 1, 100, 1, 40, 200];
    let fans = [1, 1, 2, 1, 3, 1];
    let mut world = World::new(hot(), topic_table::NAME, 3, &rates, &fans);
    assert_eq!(
        world.inside(),
        [0, 1, 2].into(),
        "while nothing is measured"
    );
    world.pass(Duration::from_secs(20));
    assert_eq!(world.inside(), [2, 4, 5].into());
    let why = world
        .bench
        .device
        .refusal(&RefusedItem::Topic(TopicIndex(0)));
    assert_eq!(why, Some(&Refusal::Policy));
    // It becomes the hottest.
    world.rates[0] = 1000;
    world.pass(Duration::from_secs(20));
    assert_eq!(world.inside(), [0, 2, 5].into());
}

#[test]
fn a_topic_that_is_a_little_better_takes_nobodys_place() {
    let mut world = World::new(hot(), topic_table::NAME, 1, &[100, 130], &[2, 2]);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.inside(), [0].into());
    assert!(world.left.is_empty());
}

#[test]
fn a_short_burst_takes_nobodys_place() {
    let mut world = World::new(hot(), topic_table::NAME, 1, &[100, 0], &[2, 2]);
    world.pass(Duration::from_secs(10));
    world.rates[1] = 10_000;
    world.pass(Duration::from_secs(1));
    world.rates[1] = 0;
    world.pass(Duration::from_secs(30));
    assert!(world.left.is_empty(), "{:?}", world.left);
}

#[test]
fn a_topic_that_leaves_the_intent_makes_room_for_the_best_of_the_others() {
    let mut world = World::new(hot(), topic_table::NAME, 1, &[100, 10, 20], &[1, 1, 1]);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.inside(), [0].into());
    world.bench.change(vec![Change::Topic(TopicIndex(0), None)]);
    world.rates[0] = 0;
    world.pass(Duration::from_secs(3));
    assert_eq!(world.inside(), [2].into());
}

#[test]
fn few_groups_are_shared_out_like_few_rows() {
    let config = Config {
        max_group: 5,
        ..hot()
    };
    // Four groups, one of which is kept for changes.
    let rates = [1, 1, 1, 50, 60, 70];
    let mut world = World::new(config, topic_table::NAME, 100, &rates, &[2; 6]);
    assert_eq!(world.inside().len(), 3);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.inside(), [3, 4, 5].into());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_hot_set_converges_at_a_bounded_pace_and_then_rests(
        rows in 1..6usize,
        in_groups in any::<bool>(),
        fans in prop::collection::vec(2..4u8, 8),
        rounds in prop::collection::vec(prop::collection::vec(0..500u64, 8), 1..4),
    ) {
        let table = if in_groups { "multicast group" } else { topic_table::NAME };
        // The switch's own group of all ports needs room too.
        let rows = rows + usize::from(in_groups);
        let mut world = World::new(hot(), table, rows, &rounds[0], &fans);
        for rates in rounds {
            world.rates = rates;
            world.pass(Duration::from_secs(90));
            prop_assert!(world.bench.count(table) <= rows);
            prop_assert_eq!(world.injustice(), None, "{:?} {:?}", world.inside(), world.rates);
            // Whatever the switch has room for is used, but for the group that changes need.
            let used = if in_groups { (rows - 2).max(1) } else { rows };
            prop_assert!(world.inside().len() >= used.min(8), "{:?}", world.inside());
            let left = world.left.len();
            world.pass(Duration::from_secs(30));
            prop_assert_eq!(world.left.len(), left, "nothing moves without a reason");
        }
        // Two a second, and as many saved up.
        prop_assert!(world.most_left_within(Duration::from_secs(10)) <= 22);
    }
}
