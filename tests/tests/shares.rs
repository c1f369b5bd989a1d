//! Share groups through the whole system: the switch chooses the member, and whoever leaves, however,
//! leaves nothing behind that is lost or comes twice. In memory, on loopback, and with processes on hosts
//! of their own around sim or BMv2.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::Config;
use mqttsn::types::{Alias, Qos, TopicRef};
use system_tests::crowd::{connect, register};
use system_tests::data_plane::Target;
use system_tests::network::{Network, targets};
use system_tests::system::{DEADLINE, Kind, System, TestClient};
use system_tests::workload::{Load, Place};

const TOPIC: &str = "plant/level";
const SHARE: &str = "$share/pumps/plant/level";
const MEMBERS: u8 = 3;
const PUBLISHERS: u8 = 4;

/// Where a test runs.
#[expect(clippy::large_enum_variant, reason = "one for a test")]
enum Lab {
    Here(System),
    Hosts(Box<Network>),
}

impl Place for Lab {
    async fn client(&mut self, n: u8) -> TestClient {
        match self {
            Lab::Here(system) => system.client(n).await,
            Lab::Hosts(network) => network.client(n).await,
        }
    }

    async fn until_in_force(&self) {
        match self {
            Lab::Here(system) => system.until_in_force().await,
            Lab::Hosts(network) => network.until_in_force().await,
        }
    }

    async fn until_installed(&self) {
        match self {
            Lab::Here(system) => system.until_installed().await,
            Lab::Hosts(network) => network.until_installed().await,
        }
    }

    async fn load(&self) -> Load {
        match self {
            Lab::Here(system) => system.load().await,
            Lab::Hosts(network) => network.load().await,
        }
    }
}

impl Lab {
    /// Waits until the switch serves the topic: places of clients on hosts are learned meanwhile.
    async fn until_offloaded(&self, qos: Qos) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut again = tokio::time::interval(Duration::from_millis(5));
        let offloaded = async || match self {
            Lab::Here(system) => system.is_wholly_offloaded(qos).await,
            Lab::Hosts(network) => {
                let copy = if qos == Qos::Zero {
                    "copy_q0"
                } else {
                    "copy_q1"
                };
                let topics = &network.status()["broker"]["topics"];
                topics.as_array().is_some_and(|topics| {
                    let mut topics = topics.iter().filter(|topic| topic["name"] == TOPIC);
                    topics.any(|topic| topic["offloaded"] == true && topic[copy] == false)
                })
            }
        };
        while !offloaded().await {
            again.tick().await;
            assert!(
                tokio::time::Instant::now() < deadline,
                "the broker serves it"
            );
        }
        self.until_in_force().await;
    }
}

/// What a place is started with, as the broker takes it and as its file says it.
#[derive(Clone, Copy, Default)]
struct Impatient(bool);

impl Impatient {
    fn config(self) -> Config {
        let mut config = Config::default();
        if self.0 {
            (config.t_retry_ms, config.n_retry) = (100, 2);
        }
        config
    }

    fn file(self) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let yaml = match self.0 {
            true => "broker: {t_retry_ms: 100, n_retry: 2}\n",
            false => "{}\n",
        };
        std::fs::write(file.path(), yaml).expect("it is written");
        file
    }
}

/// Runs a test in each place.
fn everywhere(impatient: Impatient, test: impl AsyncFn(&mut Lab)) {
    for kind in [Kind::Memory, Kind::Loopback] {
        eprintln!("{kind:?}");
        let runtime = runtime();
        let started = System::start(kind, impatient.config(), MEMBERS + PUBLISHERS);
        let mut lab = Lab::Here(runtime.block_on(started));
        runtime.block_on(test(&mut lab));
        if let Lab::Here(system) = lab {
            runtime.block_on(system.stop());
        }
    }
    for target in targets() {
        eprintln!("{target:?}");
        on_hosts(target, impatient, &test);
    }
}

fn on_hosts(target: Target, impatient: Impatient, test: impl AsyncFn(&mut Lab)) {
    let file = impatient.file();
    let network = Network::configured(target, Some(file.path()), "");
    let mut lab = Lab::Hosts(Box::new(network));
    runtime().block_on(test(&mut lab));
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// A share group and those who publish to it.
struct Plant<'l> {
    lab: &'l mut Lab,
    members: Vec<TestClient>,
    publishers: Vec<(TestClient, Alias)>,
    sent: u32,
}

/// What came, by member; a message is its publisher and its number.
type Came = BTreeMap<usize, Vec<(u8, u32)>>;

impl<'l> Plant<'l> {
    async fn start(lab: &'l mut Lab, granted: Qos) -> Self {
        // Before it has its program the switch drops everything.
        lab.until_in_force().await;
        let mut members = Vec::new();
        for n in 0..MEMBERS {
            let mut member = lab.client(n).await;
            connect(&mut member, &format!("member-{n}"), 600, None).await;
            let share = TopicRef::Name(SHARE);
            let subscribed = member.request(|core, now| core.subscribe(now, share, granted));
            subscribed.await.expect("SUBACK");
            members.push(member);
        }
        let mut publishers = Vec::new();
        for n in 0..PUBLISHERS {
            let mut publisher = lab.client(MEMBERS + n).await;
            connect(&mut publisher, &format!("publisher-{n}"), 600, None).await;
            let alias = register(&mut publisher, TOPIC).await;
            publishers.push((publisher, alias));
        }
        lab.until_offloaded(Qos::Zero).await;
        if granted == Qos::Zero {
            lab.until_offloaded(Qos::One).await;
        }
        let mut plant = Plant {
            lab,
            members,
            publishers,
            sent: 0,
        };
        plant.warm_up().await;
        plant
    }

    /// Publishes until the switch admits every publisher: their places are learned too. The broker may
    /// have chosen other members until then.
    async fn warm_up(&mut self) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut seen = self.seen().await;
        loop {
            self.publish(1, Qos::Zero).await;
            self.collect(&mut Came::new()).await;
            // What comes later is counted from here.
            self.sent = 0;
            let now = self.seen().await;
            if now == seen {
                break;
            }
            seen = now;
            assert!(tokio::time::Instant::now() < deadline, "the broker sees it");
        }
    }

    /// Everybody publishes `count` messages, in turn.
    async fn publish(&mut self, count: u32, qos: Qos) {
        // BMv2 drops what its queues, of 64 packets each, do not hold.
        let paced = matches!(self.lab, Lab::Hosts(_));
        for _ in 0..count {
            for (n, (publisher, alias)) in (0..).zip(&mut self.publishers) {
                let data = message(n, self.sent);
                let alias = *alias;
                match qos {
                    Qos::Zero => {
                        let sent = publisher
                            .send(|core, now| core.publish(now, alias, qos, false, &data))
                            .await;
                        sent.expect("sent");
                        if paced {
                            publisher.ping().await.expect("PINGRESP");
                        }
                    }
                    _ => {
                        let sent = publisher
                            .request(|core, now| core.publish(now, alias, qos, false, &data))
                            .await;
                        sent.expect("PUBACK");
                    }
                }
            }
            self.sent += 1;
        }
    }

    /// Adds what came meanwhile, until as much came as was sent, and nothing more.
    async fn collect(&mut self, came: &mut Came) {
        let expected = self.sent as usize * usize::from(PUBLISHERS);
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let before: usize = came.values().map(Vec::len).sum();
            for (n, member) in self.members.iter_mut().enumerate() {
                // Who left has said its last word already.
                let _ = member.ping().await;
                take(n, member, came);
            }
            let after: usize = came.values().map(Vec::len).sum();
            if before >= expected && after == before {
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{after} of {expected} came"
            );
        }
        let mut all = BTreeSet::new();
        for message in came.values().flatten() {
            assert!(all.insert(*message), "{message:?} came twice: {came:?}");
        }
        assert_eq!(all.len(), expected);
    }

    /// PUBLISH that the broker saw.
    async fn seen(&self) -> u64 {
        let load = self.lab.load().await;
        load.tagged + load.untagged
    }
}

fn message(publisher: u8, number: u32) -> Vec<u8> {
    let mut data = vec![publisher];
    data.extend(number.to_be_bytes());
    data
}

fn take(n: usize, member: &mut TestClient, came: &mut Came) {
    for received in member.take_received() {
        let (publisher, number) = received.message.data.split_first().expect("a message");
        let number = number.try_into().expect("four octets");
        let message = (*publisher, u32::from_be_bytes(number));
        came.entry(n).or_default().push(message);
    }
}

/// Each publisher's messages came to one member, in their order.
fn sticks(came: &Came) {
    for publisher in 0..PUBLISHERS {
        let mut of_publisher = came.values().map(|messages| {
            let own = messages.iter().filter(|(by, _)| *by == publisher);
            own.map(|(_, number)| *number).collect::<Vec<_>>()
        });
        let holders: Vec<Vec<u32>> = of_publisher
            .by_ref()
            .filter(|own| !own.is_empty())
            .collect();
        assert_eq!(holders.len(), 1, "publisher {publisher}: {came:?}");
        assert!(holders[0].is_sorted(), "publisher {publisher}: {came:?}");
    }
}

#[test]
fn the_switch_chooses_one_member_for_all_of_a_publisher_s_messages() {
    everywhere(Impatient(false), async |lab| {
        let mut plant = Plant::start(lab, Qos::Zero).await;
        let before = plant.seen().await;
        for qos in [Qos::Zero, Qos::One] {
            plant.publish(25, qos).await;
        }
        let mut came = Came::new();
        plant.collect(&mut came).await;
        sticks(&came);
        assert_eq!(plant.seen().await, before, "the broker had nothing to do");
    });
}

#[test]
fn members_of_qos_1_are_served_by_the_broker_at_qos_1_and_by_the_switch_at_qos_0() {
    everywhere(Impatient(false), async |lab| {
        let mut plant = Plant::start(lab, Qos::One).await;
        let before = plant.seen().await;
        plant.publish(10, Qos::Zero).await;
        assert_eq!(plant.seen().await, before, "the broker had nothing to do");
        plant.publish(10, Qos::One).await;
        let mut came = Came::new();
        plant.collect(&mut came).await;
        let seen = plant.seen().await - before;
        assert_eq!(seen, 10 * u64::from(PUBLISHERS), "those of QoS 1");
    });
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    Disconnect,
    Sleep,
    Unsubscribe,
}

#[test]
fn a_member_that_leaves_under_traffic_loses_and_doubles_nothing() {
    for leaving in [Leaving::Disconnect, Leaving::Sleep, Leaving::Unsubscribe] {
        for qos in [Qos::Zero, Qos::One] {
            eprintln!("{leaving:?}, {qos:?}");
            everywhere(Impatient(false), async |lab| {
                let mut plant = Plant::start(lab, Qos::Zero).await;
                plant.publish(5, qos).await;
                let mut leaver = plant.members.remove(0);
                let leave = leaver.request(|core, now| match leaving {
                    Leaving::Disconnect => core.disconnect(now, None),
                    Leaving::Sleep => core.disconnect(now, Some(Duration::from_secs(600))),
                    Leaving::Unsubscribe => core.unsubscribe(now, TopicRef::Name(SHARE)),
                });
                // Few enough to wait in one socket's buffer, which nobody empties meanwhile.
                let (left, ()) = tokio::join!(leave, plant.publish(50, qos));
                left.expect("answered");
                plant.publish(5, qos).await;
                let mut came = Came::new();
                take(usize::from(MEMBERS), &mut leaver, &mut came);
                plant.collect(&mut came).await;
            });
        }
    }
}

#[test]
fn who_crashes_leaves_what_it_did_not_acknowledge_to_another() {
    everywhere(Impatient(true), async |lab| {
        let mut plant = Plant::start(lab, Qos::One).await;
        plant.publish(5, Qos::One).await;
        let mut came = Came::new();
        plant.collect(&mut came).await;
        // From now on it hears nothing.
        drop(plant.members.remove(0));
        plant.publish(20, Qos::One).await;
        plant.collect(&mut came).await;
    });
}
