//! Publications as a cache where nothing is ours but the ends: processes around sim and BMv2, whose rows,
//! counters and clocks decide. Nothing is lost and nothing comes twice while rows come and go.

use std::time::Duration;

use controller::CacheStatus;
use system_tests::crowd::Crowd;
use system_tests::data_plane::Target;
use system_tests::network::{Network, targets};
use system_tests::room::with_room;
use system_tests::workload::Place;

const TABLE: &str = "MqttsnIngress.publication";
/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients around a network.
struct Plant<'n> {
    network: &'n mut Network,
    crowd: Crowd,
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
        let crowd = Crowd::start(network, 1, (0..publishers).map(|n| 2 * n)).await;
        network.until_installed().await;
        Plant { network, crowd }
    }

    async fn speak(&mut self, who: &[usize]) {
        self.crowd.speak(who.iter().copied()).await;
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
    let test = async |plant: &mut Plant| {
        plant.crowd.one_dies(&*plant.network).await;
        let status = plant.cache();
        assert!(status.evicted >= 2 && status.returned >= 1, "{status:?}");
    };
    for target in targets() {
        run(target, 1, "", 2, test);
    }
}
