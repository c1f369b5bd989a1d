//! Share groups through the whole system: the switch chooses the member, and whoever leaves, however,
//! leaves nothing behind that is lost or comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::Config;
use mqttsn::types::{Alias, Qos, TopicRef};
use system_tests::system::{DEADLINE, Kind, System, TestClient};
use topicswitch::client::{Answer, ConnectOptions};

const TOPIC: &str = "plant/level";
const SHARE: &str = "$share/pumps/plant/level";
const MEMBERS: u8 = 3;
const PUBLISHERS: u8 = 4;

async fn connect(client: &mut TestClient, client_id: String) {
    let options = ConnectOptions {
        client_id,
        clean_session: true,
        keep_alive: Duration::from_secs(600),
        will: None,
    };
    let connected = client.request(|core, now| core.connect(now, &options));
    connected.await.expect("CONNACK");
}

/// A system with a share group and those who publish to it.
struct Plant {
    system: System,
    members: Vec<TestClient>,
    publishers: Vec<(TestClient, Alias)>,
    sent: u32,
}

/// What came, by member; a message is its publisher and its number.
type Came = BTreeMap<usize, Vec<(u8, u32)>>;

impl Plant {
    async fn start(kind: Kind, config: Config, granted: Qos) -> Self {
        let mut system = System::start(kind, config, MEMBERS + PUBLISHERS).await;
        // Before it has its program the switch drops everything.
        system.until_in_force().await;
        let mut members = Vec::new();
        for n in 0..MEMBERS {
            let mut member = system.client(n).await;
            connect(&mut member, format!("member-{n}")).await;
            let share = TopicRef::Name(SHARE);
            let subscribed = member.request(|core, now| core.subscribe(now, share, granted));
            subscribed.await.expect("SUBACK");
            members.push(member);
        }
        let mut publishers = Vec::new();
        for n in 0..PUBLISHERS {
            let mut publisher = system.client(MEMBERS + n).await;
            connect(&mut publisher, format!("publisher-{n}")).await;
            let registered = publisher.request(|core, now| core.register(now, TOPIC));
            let Ok(Answer::Registered(topic_id)) = registered.await else {
                panic!("no REGACK");
            };
            publishers.push((publisher, Alias::normal(topic_id)));
        }
        system.until_in_force().await;
        Plant {
            system,
            members,
            publishers,
            sent: 0,
        }
    }

    /// Everybody publishes `count` messages, in turn.
    async fn publish(&mut self, count: u32, qos: Qos) {
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
        let stats = self.system.broker.stats().await.expect("the broker runs");
        stats.publish_tagged + stats.publish_untagged
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

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test());
}

#[test]
fn the_switch_chooses_one_member_for_all_of_a_publisher_s_messages() {
    for kind in [Kind::Memory, Kind::Loopback] {
        run(async || {
            let mut plant = Plant::start(kind, Config::default(), Qos::Zero).await;
            let before = plant.seen().await;
            for qos in [Qos::Zero, Qos::One] {
                assert!(plant.system.is_wholly_offloaded(qos).await);
                plant.publish(25, qos).await;
            }
            let mut came = Came::new();
            plant.collect(&mut came).await;
            sticks(&came);
            assert_eq!(plant.seen().await, before, "the broker had nothing to do");
            plant.system.stop().await;
        });
    }
}

#[test]
fn members_of_qos_1_are_served_by_the_broker_at_qos_1_and_by_the_switch_at_qos_0() {
    run(async || {
        let mut plant = Plant::start(Kind::Memory, Config::default(), Qos::One).await;
        plant.publish(10, Qos::Zero).await;
        plant.publish(10, Qos::One).await;
        let mut came = Came::new();
        plant.collect(&mut came).await;
        plant.system.stop().await;
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
        for (kind, qos) in [(Kind::Memory, Qos::Zero), (Kind::Loopback, Qos::One)] {
            eprintln!("{leaving:?}, {kind:?}, {qos:?}");
            run(async || {
                let mut plant = Plant::start(kind, Config::default(), Qos::Zero).await;
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
                plant.system.stop().await;
            });
        }
    }
}

#[test]
fn who_crashes_leaves_what_it_did_not_acknowledge_to_another() {
    run(async || {
        let config = Config {
            t_retry_ms: 100,
            n_retry: 2,
            ..Config::default()
        };
        let mut plant = Plant::start(Kind::Memory, config, Qos::One).await;
        plant.publish(5, Qos::One).await;
        let mut came = Came::new();
        plant.collect(&mut came).await;
        // From now on it hears nothing.
        drop(plant.members.remove(0));
        plant.publish(20, Qos::One).await;
        plant.collect(&mut came).await;
        plant.system.stop().await;
    });
}
