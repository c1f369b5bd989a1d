//! The whole system on a switch with few rows: nothing is lost or comes twice, and the rows go to
//! whom they save most for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use controller::{CacheConfig, HotConfig, Policy, TopicState};
use mqttsn::types::Alias;
use sim::Limits;
use system_tests::crowd::{Crowd, TOPIC, connect, publish, register, subscribe};
use system_tests::system::{DEADLINE, Small, System, TestClient};

/// Rows of each table.
const ROWS: usize = 4;

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test());
}

fn limits() -> Limits {
    Limits {
        table_entries: Some(ROWS),
        ..Limits::default()
    }
}

/// PUBLISH that the broker saw.
async fn seen(system: &System) -> u64 {
    let stats = system.broker.stats().await.expect("the broker runs");
    stats.publish_tagged + stats.publish_untagged
}

// ---- Publications ------------------------------------------------------------------------------

fn cache(idle_s: u64) -> Small {
    let publications = CacheConfig {
        idle_s,
        interval_ms: 50,
        hold_ms: 300,
        ..CacheConfig::default()
    };
    Small {
        limits: limits(),
        controller: controller::Config {
            publications,
            ..controller::Config::default()
        },
    }
}

struct Plant {
    system: System,
    crowd: Crowd,
}

impl Plant {
    async fn start(publishers: u8, small: Small) -> Self {
        let mut system = System::start_small(broker::Config::default(), publishers + 1, small);
        system.until_in_force().await;
        let crowd = Crowd::start(&mut system, 0, 1..=publishers).await;
        Plant { system, crowd }
    }

    async fn speak(&mut self, who: &BTreeSet<usize>) {
        self.crowd.speak(who.iter().copied()).await;
    }

    /// Whose rows serve.
    async fn serving(&self) -> BTreeSet<usize> {
        let controller = self.system.controller.as_ref().expect("there is one");
        let report = controller.explain(TOPIC).await.expect("it runs");
        let publishers = report.map(|report| report.publishers).unwrap_or_default();
        let installed = publishers
            .into_iter()
            .filter(|publisher| publisher.installed);
        installed
            .filter_map(|publisher| match publisher.address?.ip() {
                // The subscriber is at 10.0.0.2.
                std::net::IpAddr::V4(ip) => Some(usize::from(ip.octets()[3]) - 3),
                std::net::IpAddr::V6(_) => None,
            })
            .collect()
    }

    /// They speak until the broker has seen nothing of it; a lease may run out on a busy machine.
    async fn speak_past_the_broker(&mut self, who: &BTreeSet<usize>) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let before = seen(&self.system).await;
            for _ in 0..5 {
                self.speak(who).await;
            }
            if seen(&self.system).await == before {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the broker sees what {who:?} say"
            );
        }
    }

    async fn speak_until_served(&mut self, who: BTreeSet<usize>) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while self.serving().await != who {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{who:?} speak, {:?} are served",
                self.serving().await
            );
            tick.tick().await;
            self.speak(&who).await;
        }
    }
}

#[test]
fn of_more_publishers_than_rows_those_that_speak_are_served_by_the_switch() {
    run(async || {
        let mut plant = Plant::start(7, cache(0)).await;
        for who in [[0, 1, 5, 6], [1, 2, 3, 4], [0, 3, 4, 6]] {
            let who: BTreeSet<usize> = who.into();
            plant.speak_until_served(who.clone()).await;
            plant.speak_past_the_broker(&who).await;
        }
        // Who is without a row is heard all the same.
        plant.speak(&(0..7).collect()).await;
        let controller = plant.system.controller.as_ref().expect("there is one");
        let status = controller.status().await.expect("it runs").publications;
        assert!(status.evicted >= 5 && status.returned >= 1, "{status:?}");
        assert!(status.rows <= ROWS, "{status:?}");
        plant.system.stop().await;
    });
}

#[test]
fn a_publisher_that_falls_silent_leaves_its_row_and_comes_back() {
    run(async || {
        let mut plant = Plant::start(2, cache(1)).await;
        let (one, both): (BTreeSet<usize>, _) = ([1].into(), BTreeSet::from([0, 1]));
        plant.speak_until_served(both.clone()).await;
        plant.speak_until_served(one).await;
        plant.speak_until_served(both).await;
        plant.system.stop().await;
    });
}

#[test]
fn a_dead_publisher_s_will_counts_from_its_last_message_though_its_row_has_gone() {
    run(async || {
        let mut plant = Plant::start(2, cache(1)).await;
        plant.crowd.one_dies(&plant.system).await;
        let controller = plant.system.controller.as_ref().expect("there is one");
        let status = controller.status().await.expect("it runs").publications;
        assert!(status.evicted >= 2 && status.returned >= 1, "{status:?}");
        plant.system.stop().await;
    });
}

// ---- Topics ------------------------------------------------------------------------------------

const TOPICS: usize = 8;

struct Hot {
    system: System,
    subscribers: Vec<TestClient>,
    publisher: TestClient,
    aliases: Vec<Alias>,
    sent: BTreeMap<usize, u32>,
}

impl Hot {
    async fn start() -> Self {
        let hot = HotConfig {
            interval_ms: 100,
            margin_percent: 200,
            hold_ms: 500,
            swaps_per_s: 8,
        };
        let small = Small {
            limits: limits(),
            controller: controller::Config {
                policy: Policy::Hot,
                hot,
                publications: cache(0).controller.publications,
                ..controller::Config::default()
            },
        };
        let mut system = System::start_small(broker::Config::default(), 3, small);
        system.until_in_force().await;
        let mut subscribers = Vec::new();
        for n in 0..2 {
            let mut subscriber = system.client(n).await;
            connect(&mut subscriber, &format!("subscriber-{n}"), 600, None).await;
            subscribe(&mut subscriber, "hot/+").await;
            subscribers.push(subscriber);
        }
        let mut publisher = system.client(2).await;
        connect(&mut publisher, "publisher", 600, None).await;
        let mut aliases = Vec::new();
        for n in 0..TOPICS {
            aliases.push(register(&mut publisher, &format!("hot/{n}")).await);
        }
        Hot {
            system,
            subscribers,
            publisher,
            aliases,
            sent: BTreeMap::new(),
        }
    }

    /// One message on each of these topics; all of them come, to everybody, once.
    async fn publish(&mut self, topics: &[usize]) {
        let mut expected = BTreeSet::new();
        for &topic in topics {
            let number = self.sent.entry(topic).or_default();
            *number += 1;
            let mut data = vec![topic as u8];
            data.extend(number.to_be_bytes());
            publish(&mut self.publisher, self.aliases[topic], &data).await;
            expected.insert(data);
        }
        for subscriber in &mut self.subscribers {
            let came = subscriber.wait_for(expected.len()).await;
            assert_eq!(came.len(), expected.len());
            let came: BTreeSet<Vec<u8>> = came.into_iter().map(|c| c.message.data).collect();
            assert_eq!(came, expected, "each once");
        }
    }

    async fn offloaded(&self) -> BTreeSet<usize> {
        let controller = self.system.controller.as_ref().expect("there is one");
        let mut offloaded = BTreeSet::new();
        for n in 0..TOPICS {
            let report = controller.explain(&format!("hot/{n}")).await;
            let report = report.expect("it runs").expect("the topic");
            if report.state == TopicState::Offloaded {
                offloaded.insert(n);
            }
        }
        offloaded
    }

    /// These are published to often, the others seldom, until the switch has them.
    async fn heat(&mut self, hot: [usize; ROWS]) {
        let wanted = BTreeSet::from(hot);
        let cold: Vec<usize> = (0..TOPICS).filter(|n| !wanted.contains(n)).collect();
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for n in 0usize.. {
            tick.tick().await;
            self.publish(&hot).await;
            if n % 20 == 0 {
                let offloaded = self.offloaded().await;
                if offloaded == wanted {
                    return;
                }
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "{wanted:?} are hot, {offloaded:?} are offloaded"
                );
                self.publish(&cold).await;
            }
        }
    }
}

#[test]
fn the_switch_serves_the_topics_that_are_published_to_most_and_moves_nothing_among_equals() {
    run(async || {
        let mut world = Hot::start().await;
        let all: Vec<usize> = (0..TOPICS).collect();
        for hot in [[4, 5, 6, 7], [0, 2, 4, 6], [1, 2, 3, 7]] {
            world.heat(hot).await;
        }
        let controller = world.system.controller.clone().expect("there is one");
        let status = controller.status().await.expect("it runs");
        assert_eq!(status.topics_offloaded, ROWS);
        let refused: usize = status.refused_by_reason.values().sum();
        assert!(refused >= TOPICS - ROWS, "{status:?}");
        // From now on all are alike.
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..200 {
            tick.tick().await;
            world.publish(&all).await;
            assert_eq!(world.offloaded().await, [1, 2, 3, 7].into());
        }
        world.system.stop().await;
    });
}
