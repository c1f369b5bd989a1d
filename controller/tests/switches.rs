//! The whole way over P4Runtime, on sim and on BMv2: program, digests, rows, lease, packets,
//! activity, restart, arbitration.
#![allow(clippy::unwrap_used)] // Helpers outside of test functions.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use controller::{Config, Controller, Handle, LinkError, Mastership, Status, TopicState};
use offload::{
    Alias, AliasType, BrokerEnd, Change, Delta, FromBroker, FromController, Generation, Intent,
    Publication, PublicationKey, Revision, SessionId, Topic, TopicIndex,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::{PORTS, Wire, frame, pipeline};

const BROKER: ([u8; 6], (Ipv4Addr, u16)) =
    ([2, 0, 0, 0, 0, 0xb0], (Ipv4Addr::new(10, 0, 0, 1), 1883));
const PUBLISHER: ([u8; 6], (Ipv4Addr, u16)) =
    ([2, 0, 0, 0, 1, 1], (Ipv4Addr::new(10, 0, 1, 1), 5001));
const SUBSCRIBER: ([u8; 6], (Ipv4Addr, u16)) =
    ([2, 0, 0, 0, 1, 2], (Ipv4Addr::new(10, 0, 1, 2), 5002));
const BROKER_PORT: u16 = 1;
const PUBLISHER_PORT: u16 = 2;
const SUBSCRIBER_PORT: u16 = 3;
const ALIAS: Alias = Alias {
    id_type: AliasType::Normal,
    id: 0x0102,
};
const PATIENCE: Duration = Duration::from_secs(30);

/// A running controller and the broker's end of its link, which grants every lease.
struct Running {
    handle: Handle,
    to_controller: mpsc::UnboundedSender<FromBroker>,
    heard: mpsc::UnboundedReceiver<FromController>,
    revision: Revision,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), controller::ControllerError>>,
}

async fn start(wire: &Wire, election_id: u64, intent: Intent) -> Running {
    let config = Config {
        device_id: wire.device_id,
        election_id,
        ports: PORTS.collect(),
        overdue_ms: 1000, // The machine may be busy.
        lease_patience_ms: 500,
        ..Config::default()
    };
    let (controller, handle) = Controller::new(config, pipeline()).unwrap();
    let controller = controller.with_channel(wire.channel.clone());
    let (BrokerEnd { tx, mut rx }, end) = offload::link();
    let mut end = Some(end);
    let connector = move || {
        std::future::ready(
            end.take()
                .ok_or_else(|| LinkError::from("the broker is gone")),
        )
    };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(controller.run(connector, shutdown.clone()));
    let (hear, heard) = mpsc::unbounded_channel();
    let revision = intent.revision;
    let to_controller = tx.clone();
    tokio::spawn(async move {
        while let Some(message) = rx.recv().await {
            let answer = match &message {
                FromController::Hello { .. } => Some(FromBroker::Snapshot(intent.clone())),
                FromController::RequestLease { request } => Some(FromBroker::Grant {
                    request: *request,
                    lease: Duration::from_secs(3),
                }),
                _ => None,
            };
            if let Some(answer) = answer
                && tx.send(answer).is_err()
            {
                return;
            }
            if hear.send(message).is_err() {
                return;
            }
        }
    });
    Running {
        handle,
        to_controller,
        heard,
        revision,
        shutdown,
        task,
    }
}

impl Running {
    async fn hear_until(&mut self, is: impl Fn(&FromController) -> bool) -> FromController {
        let hearing = async {
            loop {
                let message = self.heard.recv().await.expect("the controller hung up");
                if is(&message) {
                    return message;
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, hearing).await;
        heard.expect("the controller does not say it")
    }

    async fn installed(&mut self) {
        let revision = self.revision;
        let installed = FromController::Installed { revision };
        self.hear_until(|message| *message == installed).await;
    }

    async fn change(&mut self, changes: Vec<Change>) {
        let base = self.revision;
        self.revision = Revision(base.0 + 1);
        let delta = Delta {
            base,
            revision: self.revision,
            changes,
        };
        self.to_controller.send(FromBroker::Delta(delta)).unwrap();
        self.installed().await;
    }

    /// Waits until the status is so.
    async fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        eventually(what, async || {
            let status = self.handle.status().await.unwrap();
            if is(&status) { Ok(status) } else { Err(status) }
        })
        .await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn intent() -> Intent {
    let address = |(ip, port): (Ipv4Addr, u16)| SocketAddr::from((ip, port));
    Intent {
        revision: Revision(1),
        services: BTreeSet::from([address(BROKER.1)]),
        sessions: BTreeMap::from([
            (SessionId(1), address(PUBLISHER.1)),
            (SessionId(2), address(SUBSCRIBER.1)),
        ]),
        ..Intent::default()
    }
}

fn topic(generation: u32) -> Change {
    let served = BTreeSet::from([SessionId(2)]);
    let topic = Topic {
        name: "a/b".into(),
        generation: Generation(generation),
        home_alias: ALIAS,
        served_q0: served.clone(),
        served_q1: served,
        copy_q0: true,
        copy_q1: false,
        ack_q1: true,
        shared: BTreeMap::new(),
        aliases: BTreeMap::from([(
            SessionId(2),
            Alias {
                id_type: AliasType::Predefined,
                id: 0x0304,
            },
        )]),
    };
    Change::Topic(TopicIndex(77), Some(topic))
}

fn publication() -> Change {
    let key = PublicationKey {
        address: SocketAddr::from(PUBLISHER.1),
        alias: ALIAS,
    };
    let publication = Publication {
        session: SessionId(1),
        topic: TopicIndex(77),
    };
    Change::Publication(key, Some(publication))
}

/// MQTT-SN PINGREQ: two octets, and no PUBLISH.
const PINGREQ: [u8; 2] = [2, 0x16];
/// A PUBLISH of QoS 0 of the octets "hi".
const PUBLISH: [u8; 9] = [9, 0x0c, 0, 1, 2, 0, 0, b'h', b'i'];
const MESSAGE: usize = 14 + 20 + 8;

async fn the_whole_way(wire: Wire) {
    let started = tokio::time::Instant::now();
    let mut running = start(&wire, 10, intent()).await;
    running.installed().await;
    wire.plug();

    // Stations are learned from what they send, clients' places from what the broker sends them.
    for (client, port) in [(PUBLISHER, PUBLISHER_PORT), (SUBSCRIBER, SUBSCRIBER_PORT)] {
        let call = frame((client.0, BROKER.0), client.1, BROKER.1, &PINGREQ);
        wire.send(port, &call).await;
        let answer = frame((BROKER.0, client.0), BROKER.1, client.1, &[2, 0x17]);
        wire.send(BROKER_PORT, &answer).await;
        let address = client.1.0.into();
        let reachable = FromController::Reachable {
            address,
            reachable: true,
        };
        running.hear_until(|message| *message == reachable).await;
    }
    let status = running
        .until("the broker's place known", |status| {
            status.broker_port == Some(BROKER_PORT) && status.lease_remaining_ms > 0
        })
        .await;
    assert_eq!(status.endpoints.len(), 2);

    running.change(vec![topic(5), publication()]).await;
    let report = running.handle.explain("a/b").await.unwrap().unwrap();
    assert_eq!(report.state, TopicState::Offloaded);
    assert_eq!(report.publications, 1);

    // Nobody published through the switch yet.
    let ask = |running: &Running| {
        running
            .to_controller
            .send(FromBroker::AskActivity {
                query: 1,
                sessions: vec![SessionId(1)],
            })
            .unwrap();
    };
    let is_activity = |message: &FromController| matches!(message, FromController::Activity { .. });
    ask(&running);
    let FromController::Activity { sessions, .. } = running.hear_until(is_activity).await else {
        unreachable!("it was looked for");
    };
    // Silent for as long as its row exists: what was before is not known here.
    assert!(
        sessions[0]
            .idle
            .is_some_and(|idle| idle <= started.elapsed())
    );

    // A PUBLISH goes to the subscriber under its own alias, and tagged to the broker.
    let publish = frame((PUBLISHER.0, BROKER.0), PUBLISHER.1, BROKER.1, &PUBLISH);
    let before = tokio::time::Instant::now();
    wire.send(PUBLISHER_PORT, &publish).await;
    let is_publish = |frame: &[u8]| frame.len() > MESSAGE + 2 && frame[MESSAGE + 1] == 0x0c;
    let is_tagged = |frame: &[u8]| frame.get(MESSAGE + 1) == Some(&0xfe);
    let (copy, tagged) = wire
        .expect_both((SUBSCRIBER_PORT, &is_publish), (BROKER_PORT, &is_tagged))
        .await;
    assert_eq!(copy[..6], SUBSCRIBER.0);
    assert_eq!(copy[6..12], BROKER.0);
    assert_eq!(copy[MESSAGE..], [9, 0x0c, 1, 3, 4, 0, 0, b'h', b'i']);
    assert_eq!(tagged[MESSAGE + 6..MESSAGE + 14], [0, 0, 0, 77, 0, 0, 0, 5]);
    let status = running
        .until("counted", |status| {
            status.paths.get("offloaded") == Some(&1)
        })
        .await;
    assert_eq!(status.mastership, Mastership::Primary);
    let report = running.handle.explain("a/b").await.unwrap().unwrap();
    assert_eq!(report.packets, 1);

    ask(&running);
    let FromController::Activity { sessions, .. } = running.hear_until(is_activity).await else {
        unreachable!("it was looked for");
    };
    let idle = sessions[0].idle.expect("it was hit");
    // BMv2 tells milliseconds.
    assert!(
        idle <= before.elapsed() + Duration::from_millis(2),
        "{idle:?}"
    );

    // One of a lower election id waits, and one that starts anew finds all in place.
    let backup = start(&wire, 3, intent()).await;
    let status = backup
        .until(
            "a backup",
            |status| matches!(&status.mastership, Mastership::Backup(why) if why.contains("has 3")),
        )
        .await;
    assert!(!status.broker_linked);
    backup.stop().await;
    running.stop().await;
    let mut running = start(&wire, 11, whole()).await;
    running.installed().await;
    let report = running.handle.explain("a/b").await.unwrap().unwrap();
    assert_eq!(report.state, TopicState::Offloaded);
    assert_eq!(report.packets, 1, "the row was not written again");

    // The next generation, and the end.
    running.change(vec![topic(6)]).await;
    let report = running.handle.explain("a/b").await.unwrap().unwrap();
    assert_eq!(report.generation_installed, Some(6));
    running
        .change(vec![Change::Topic(TopicIndex(77), None)])
        .await;
    let status = running
        .until("drained", |status| {
            let rows = |table: &str| status.tables.get(table).copied().unwrap_or(0);
            rows("MqttsnEgress.subscriber") == 0 && rows("multicast group") == 1
        })
        .await;
    assert_eq!(status.topics_offloaded, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_on_sim() {
    the_whole_way(Wire::sim()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_on_bmv2() {
    if let Some(wire) = Wire::bmv2().await {
        the_whole_way(wire).await;
    }
}

/// Asks again and again until the answer is good.
async fn eventually<T, E: std::fmt::Debug>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut again = tokio::time::interval(Duration::from_millis(20));
    loop {
        again.tick().await;
        match ask().await {
            Ok(answer) => return answer,
            Err(other) => assert!(
                tokio::time::Instant::now() < until,
                "not {what}: {other:#?}"
            ),
        }
    }
}

/// A topic with its publication.
fn whole() -> Intent {
    let mut whole = intent();
    let all = Delta {
        base: Revision(1),
        revision: Revision(2),
        changes: vec![topic(5), publication()],
    };
    whole.apply(&all).unwrap();
    whole
}

/// Entries of the table `topic` on the switch.
fn topics_on(wire: &Wire) -> usize {
    let info = &pipeline().p4info;
    let request = p4runtime::v1::ReadRequest {
        device_id: wire.device_id,
        entities: vec![
            p4runtime::v1::TableEntry {
                table_id: info.table("topic").unwrap().id,
                ..Default::default()
            }
            .into(),
        ],
        ..Default::default()
    };
    // Between a restart and the controller there may be no program.
    let read = wire.device().read(Duration::ZERO, &request);
    read.map_or(0, |(found, _)| found.len())
}

/// A controller whose broker is there whenever it connects, and grants every lease.
struct Persistent {
    handle: Handle,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), controller::ControllerError>>,
}

impl Persistent {
    fn start(wire: &Wire) -> Self {
        let config = Config {
            device_id: wire.device_id,
            ports: PORTS.collect(),
            overdue_ms: 1000, // The machine may be busy.
            lease_patience_ms: 500,
            ..Config::default()
        };
        let (controller, handle) = Controller::new(config, pipeline()).unwrap();
        let controller = controller.with_channel(wire.channel.clone());
        let connector = || {
            let (BrokerEnd { tx, mut rx }, end) = offload::link();
            tokio::spawn(async move {
                while let Some(message) = rx.recv().await {
                    let answer = match &message {
                        FromController::Hello { .. } => FromBroker::Snapshot(whole()),
                        FromController::RequestLease { request } => FromBroker::Grant {
                            request: *request,
                            lease: Duration::from_secs(3),
                        },
                        _ => continue,
                    };
                    if tx.send(answer).is_err() {
                        return;
                    }
                }
            });
            std::future::ready(Ok::<_, LinkError>(end))
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(controller.run(connector, shutdown.clone()));
        Persistent {
            handle,
            shutdown,
            task,
        }
    }

    /// Waits until the topic is on the switch. Everybody says something now and then meanwhile, as
    /// clients and brokers do: what a switch has lost is learned again.
    async fn offloaded(&self, wire: &Wire) {
        eventually("offloaded", async || {
            let status = self.handle.status().await.unwrap();
            if status.topics_offloaded == 1 && topics_on(wire) == 1 {
                return Ok(());
            }
            for (client, port) in [(PUBLISHER, PUBLISHER_PORT), (SUBSCRIBER, SUBSCRIBER_PORT)] {
                let call = frame((client.0, BROKER.0), client.1, BROKER.1, &PINGREQ);
                wire.send(port, &call).await;
                let answer = frame((BROKER.0, client.0), BROKER.1, client.1, &[2, 0x17]);
                wire.send(BROKER_PORT, &answer).await;
            }
            Err(status)
        })
        .await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_drops_its_streams_is_found_again_each_time() {
    let wire = Wire::sim_that_fails(&["stream:every=2s"]);
    let controller = Persistent::start(&wire);
    controller.offloaded(&wire).await;
    let streams = wire.device().stats().streams;
    eventually("found again twice", async || {
        let now = wire.device().stats().streams;
        if now >= streams + 2 { Ok(()) } else { Err(now) }
    })
    .await;
    controller.offloaded(&wire).await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_refused_as_unavailable_are_written_again() {
    let wire = Wire::sim_that_fails(&["write:every=4,code=UNAVAILABLE"]);
    let controller = Persistent::start(&wire);
    controller.offloaded(&wire).await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_the_entries_are_written_again_with_or_without_the_program() {
    use sim::server::Left;
    let wire = Wire::sim();
    let controller = Persistent::start(&wire);
    controller.offloaded(&wire).await;
    for left in [Left::Pipeline, Left::Nothing] {
        wire.device().restart(left);
        controller.offloaded(&wire).await;
    }
    controller.stop().await;
}

#[tokio::test]
async fn a_p4info_of_another_program_is_refused_by_what_it_lacks() {
    let mut other = pipeline();
    let text = include_str!("../../p4src/compiled/mqttsn.p4info.txtpb");
    let text = text.replace("copy_topic_id", "copy_id");
    other.p4info = std::sync::Arc::new(p4runtime::p4info::P4Info::from_text(&text).unwrap());
    let Err(error) = Controller::new(Config::default(), other) else {
        panic!("it is taken");
    };
    let message = error.to_string();
    assert!(
        message.contains("copy_topic_id") && message.contains("offload"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_the_switch_refuses_ends_the_run_with_a_clear_error() {
    let wire = Wire::sim();
    let mut broken = pipeline();
    broken.device_config = b"{}".to_vec();
    let config = Config {
        device_id: wire.device_id,
        ports: PORTS.collect(),
        ..Config::default()
    };
    let (controller, _handle) = Controller::new(config, broken).unwrap();
    let connector = || std::future::ready(Err(LinkError::from("no broker")));
    let controller = controller.with_channel(wire.channel.clone());
    let ended = controller.run(connector, CancellationToken::new()).await;
    let message = ended.unwrap_err().to_string();
    assert!(message.contains("refuses the program"), "{message}");
}
