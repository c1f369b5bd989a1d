//! Publications as a cache where nothing is ours but the ends: processes around sim and BMv2, whose rows,
//! counters and clocks decide. Nothing is lost and nothing comes twice while rows come and go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use controller::CacheStatus;
use mqttsn::types::{Alias, Qos, TopicRef};
use system_tests::data_plane::Target;
use system_tests::network::{Network, targets};
use system_tests::room::with_room;
use system_tests::system::TestClient;
use system_tests::workload::Place;
use topicswitch::client::{Answer, ConnectOptions, Will};

const TOPIC: &str = "t";
const TABLE: &str = "MqttsnIngress.publication";
/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(client: &mut TestClient, client_id: &str, keep_alive: u64, will: Option<Will>) {
    let options = ConnectOptions {
        client_id: client_id.to_owned(),
        clean_session: true,
        keep_alive: Duration::from_secs(keep_alive),
        will,
    };
    let connected = client.request(|core, now| core.connect(now, &options));
    connected.await.expect("CONNACK");
}

async fn subscribe(client: &mut TestClient, filter: &str) {
    let filter = TopicRef::Name(filter);
    let subscribed = client.request(|core, now| core.subscribe(now, filter, Qos::Zero));
    subscribed.await.expect("SUBACK");
}

async fn register(client: &mut TestClient, topic: &str) -> Alias {
    let registered = client.request(|core, now| core.register(now, topic));
    match registered.await {
        Ok(Answer::Registered(topic_id)) => Alias::normal(topic_id),
        other => panic!("no REGACK: {other:?}"),
    }
}

async fn publish(client: &mut TestClient, alias: Alias, data: &[u8]) {
    let sent = client.send(|core, now| core.publish(now, alias, Qos::Zero, false, data));
    sent.await.expect("sent");
}

/// Clients around a network: one subscribes, the others publish.
struct Plant<'n> {
    network: &'n mut Network,
    subscriber: TestClient,
    publishers: Vec<(TestClient, Alias)>,
    /// What each has sent.
    sent: Vec<u8>,
}

/// A test with so many publishers, where those that are silent for `idle_s` give their rows up.
fn run(
    target: Target,
    idle_s: u64,
    flags: &str,
    publishers: u8,
    test: impl AsyncFnOnce(&mut Plant),
) {
    eprintln!("target: {target:?}");
    let config = tempfile::NamedTempFile::new().expect("a temporary file");
    let publications = format!("{{idle_s: {idle_s}, interval_ms: 50, hold_ms: 300}}");
    let text = format!("controller: {{publications: {publications}}}\n");
    std::fs::write(config.path(), text).expect("it is written");
    let mut network = Network::configured(target, Some(config.path()), flags);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let mut plant = Plant::start(&mut network, publishers).await;
        test(&mut plant).await;
    });
}

impl<'n> Plant<'n> {
    async fn start(network: &'n mut Network, publishers: u8) -> Self {
        let mut subscriber = network.client(1).await;
        connect(&mut subscriber, "subscriber", 600, None).await;
        subscribe(&mut subscriber, TOPIC).await;
        let mut connected = Vec::new();
        for n in 0..publishers {
            let mut publisher = network.client(2 * n).await;
            connect(&mut publisher, &format!("publisher-{n}"), 600, None).await;
            let alias = register(&mut publisher, TOPIC).await;
            connected.push((publisher, alias));
        }
        network.until_installed().await;
        Plant {
            network,
            subscriber,
            sent: vec![0; connected.len()],
            publishers: connected,
        }
    }

    /// These publish one message each, which comes once.
    async fn speak(&mut self, who: &[usize]) {
        let mut expected = BTreeSet::new();
        for &n in who {
            let number = self.sent[n].wrapping_add(1);
            self.sent[n] = number;
            let data = [n as u8, number];
            expected.insert(data.to_vec());
            let (publisher, alias) = &mut self.publishers[n];
            publish(publisher, *alias, &data).await;
        }
        let came = self.subscriber.wait_for(expected.len()).await;
        assert_eq!(came.len(), expected.len());
        let came: BTreeSet<Vec<u8>> = came.into_iter().map(|c| c.message.data).collect();
        assert_eq!(came, expected, "each once");
    }

    /// They speak, and nobody else does, until the switch is as it should be.
    async fn speak_until(&mut self, who: &[usize], what: &str, is_so: impl Fn(&Self, u64) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            let before = self.network.seen_by_broker();
            for _ in 0..5 {
                tick.tick().await;
                self.speak(who).await;
            }
            let seen = self.network.seen_by_broker() - before;
            if is_so(self, seen) {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{who:?} speak, and it is not so: {what}: the broker saw {seen}: {:#}",
                self.network.controller_status()
            );
        }
    }

    /// They speak until the broker sees nothing of it.
    async fn speak_past_the_broker(&mut self, who: &[usize]) {
        self.speak_until(who, "past the broker", |_, seen| seen == 0)
            .await;
    }

    fn cache(&self) -> CacheStatus {
        let status = &self.network.controller_status()["controller"]["publications"];
        serde_json::from_value(status.clone()).expect("the controller runs")
    }

    /// Rows of the table, as the switch has answered.
    fn rows(&self) -> u64 {
        let status = self.network.controller_status();
        status["controller"]["tables"][TABLE].as_u64().unwrap_or(0)
    }
}

#[test]
fn a_publisher_that_falls_silent_leaves_its_row_and_comes_back() {
    for target in targets() {
        run(target, 1, "", 3, async |plant| {
            let all = [0, 1, 2];
            plant.speak_past_the_broker(&all).await;
            assert_eq!(plant.rows(), 3);
            for silent in [2, 0] {
                let others: Vec<usize> = all.into_iter().filter(|n| *n != silent).collect();
                let gone = |plant: &Plant, _| plant.rows() == 2 && plant.cache().silent == 1;
                plant.speak_until(&others, "its row goes", gone).await;
                plant.speak_past_the_broker(&others).await;
                let back = |plant: &Plant, seen| seen == 0 && plant.rows() == 3;
                plant.speak_until(&all, "it comes back", back).await;
            }
            let status = plant.cache();
            assert!(status.evicted >= 2 && status.returned >= 2, "{status:?}");
        });
    }
}

#[test]
fn of_more_publishers_than_rows_those_that_speak_are_served_by_the_switch() {
    const ROWS: usize = 4;
    let directory = tempfile::tempdir().expect("a directory");
    let [p4info, json] = with_room(directory.path(), TABLE, ROWS);
    let flags = format!("--p4info {} --json {}", p4info.display(), json.display());
    for target in targets() {
        run(target, 0, &flags, 7, async |plant| {
            for who in [[0, 1, 5, 6], [1, 2, 3, 4], [0, 3, 4, 6]] {
                plant.speak_past_the_broker(&who).await;
            }
            // Who is without a row is heard all the same.
            plant.speak(&[0, 1, 2, 3, 4, 5, 6]).await;
            let status = plant.cache();
            assert!(status.evicted >= 5 && status.returned >= 1, "{status:?}");
            assert!(status.rows <= ROWS, "{status:?}");
        });
    }
}

#[test]
fn a_dead_publisher_s_will_counts_from_its_last_message_though_its_row_has_gone() {
    const KEEP_ALIVE: u64 = 2;
    let test = async |plant: &mut Plant| {
        subscribe(&mut plant.subscriber, "will").await;
        let (mut dead, _) = plant.publishers.remove(0);
        let will = Will {
            topic: "will".into(),
            data: b"gone".to_vec(),
            qos: Qos::Zero,
            retain: false,
        };
        connect(&mut dead, "publisher-0", KEEP_ALIVE, Some(will)).await;
        let alias = register(&mut dead, TOPIC).await;
        let (mut live, _) = plant.publishers.remove(0);
        connect(&mut live, "publisher-1", KEEP_ALIVE, None).await;
        let live_alias = register(&mut live, TOPIC).await;
        plant.network.until_installed().await;
        // The broker heard both for the last time. They speak to the switch for a while, one with
        // pauses in which its row goes.
        let mut received = Vec::new();
        let mut last = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(300));
        for n in 0..6u8 {
            tick.tick().await;
            last = Instant::now();
            publish(&mut dead, alias, &[0, n]).await;
            received.extend(plant.subscriber.wait_for(1).await);
        }
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let mut gone = None;
        for n in 0..200u8 {
            tick.tick().await;
            if n % 30 == 0 {
                publish(&mut live, live_alias, &[1, n]).await;
            }
            plant.subscriber.ping().await.expect("PINGRESP");
            let came = plant.subscriber.take_received();
            if came.iter().any(|received| received.message.data == b"gone") {
                gone = Some(Instant::now());
            }
            received.extend(came);
            if gone.is_some() && n >= 150 {
                break;
            }
        }
        let gone = gone.expect("the will");
        // Its patience is one and a half times the keep-alive. Clocks of a millisecond are at work.
        let patience = Duration::from_millis(1500 * KEEP_ALIVE - 5);
        assert!(gone >= last + patience, "{:?}", gone - last);
        live.ping().await.expect("it is still connected");
        assert!(!live.is_disconnected());
        let status = plant.cache();
        assert!(status.evicted >= 2 && status.returned >= 1, "{status:?}");
        let of_dead = received
            .iter()
            .filter(|r| r.message.data.first() == Some(&0));
        assert_eq!(of_dead.count(), 6);
    };
    for target in targets() {
        run(target, 1, "", 2, test);
    }
}
