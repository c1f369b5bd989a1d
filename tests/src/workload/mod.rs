//! A random workload of several clients, and what each of them observes of it.
//!
//! Each step ends in quiescence, so that what a step causes is known to be complete: every client
//! asks PINGREQ until a whole round brings nothing but answers. A PINGREQ and its answer take the
//! path of the messages before them. Then the switch is given the time to hold what the broker wants.

use std::collections::BTreeMap;

use topicswitch::client::{ConnectOptions, RequestError, Will};

use crate::system::{Kind, System, TestClient};

mod generate;

pub use generate::{Op, Workload};

/// Rounds of PINGREQ in which something new comes each time, before something must be wrong.
const MAX_ROUNDS: usize = 200;

/// Whose messages of which topic a client received.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// The receiver.
    pub client: u8,
    /// The topic as the receiver knows it.
    pub topic: String,
    /// Who published it, as the payload says.
    pub publisher: String,
}

/// What was observed of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The step.
    pub op: Op,
    /// The answer to each request.
    pub answers: Vec<String>,
    /// Payload, QoS and Retain of what each client received, in order by publisher and topic.
    pub deliveries: BTreeMap<Stream, Vec<(String, String, bool)>>,
    /// Who was told DISCONNECT.
    pub disconnected: Vec<u8>,
}

/// What the broker saw of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// PUBLISH messages that came without a tag.
    pub untagged: u64,
    /// Copies of what the data plane had served.
    pub tagged: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    Active,
    Asleep,
}

struct Slot {
    client: TestClient,
    state: State,
    /// Which ClientId of the slot's is in use.
    incarnation: u32,
    published: u32,
    /// The last DISCONNECT was that of the slot's former client.
    took_over: bool,
}

/// Where a workload can run.
#[allow(async_fn_in_trait)] // Whoever runs it does not move it to another thread.
pub trait Place {
    /// The socket of client `n`; each is taken once.
    async fn client(&mut self, n: u8) -> TestClient;
    /// Waits until the switch, if there is one, holds what the broker wants and may offload.
    async fn until_in_force(&self);
    /// Waits until the switch, if there is one, holds what the broker wants.
    async fn until_installed(&self);
    /// What the broker has seen.
    async fn load(&self) -> Load;
}

/// Runs a workload on a system of this kind.
///
/// # Panics
/// When a step does not come to rest.
pub async fn run(workload: &Workload, kind: Kind) -> (Vec<Observation>, Load) {
    let config = broker::Config {
        predefined_topics: generate::predefined(),
        ..broker::Config::default()
    };
    let mut system = System::start(kind, config, workload.clients).await;
    let outcome = run_on(workload, &mut system).await;
    system.stop().await;
    outcome
}

/// The configuration that [`run_on`] asks of a broker that is there already.
pub fn configuration() -> String {
    let mut yaml = String::from("broker:\n  predefined_topics:\n");
    for (id, name) in generate::predefined() {
        yaml.push_str(&format!("    {id}: {name:?}\n"));
    }
    yaml
}

/// Runs a workload on what is there.
///
/// # Panics
/// When a step does not come to rest.
pub async fn run_on(workload: &Workload, place: &mut impl Place) -> (Vec<Observation>, Load) {
    place.until_in_force().await;
    let mut slots = Vec::new();
    for n in 0..workload.clients {
        let client = place.client(n).await;
        slots.push(Slot {
            client,
            state: State::Off,
            incarnation: 0,
            published: 0,
            took_over: false,
        });
    }
    let mut observations = Vec::new();
    for op in &workload.ops {
        let answers = step(&mut slots, op).await;
        come_to_rest(&mut slots, op.client()).await;
        place.until_installed().await;
        observations.push(observe(&mut slots, op, answers));
    }
    (observations, place.load().await)
}

impl Place for System {
    async fn client(&mut self, n: u8) -> TestClient {
        System::client(self, n).await
    }

    async fn until_in_force(&self) {
        System::until_in_force(self).await;
    }

    async fn until_installed(&self) {
        System::until_installed(self).await;
    }

    async fn load(&self) -> Load {
        let stats = self.broker.stats().await.expect("the broker runs");
        Load {
            untagged: stats.publish_untagged,
            tagged: stats.publish_tagged,
        }
    }
}

fn client_id(client: u8, incarnation: u32) -> String {
    format!("client-{client}-{incarnation}")
}

async fn step(slots: &mut [Slot], op: &Op) -> Vec<String> {
    let n = op.client();
    let slot = &mut slots[usize::from(n)];
    let client = &mut slot.client;
    let mut answers = Vec::new();
    let mut note = |answer: Result<String, RequestError>| answers.push(format!("{answer:?}"));
    match op {
        Op::Connect {
            clean_session,
            will,
            ..
        }
        | Op::Lose {
            clean_session,
            will,
            ..
        } => {
            if matches!(op, Op::Lose { .. }) {
                // Another ClientId from the same address: the former client is lost.
                slot.incarnation += 1;
            }
            let options = ConnectOptions {
                client_id: client_id(n, slot.incarnation),
                clean_session: *clean_session,
                keep_alive: std::time::Duration::from_secs(600),
                will: will.as_ref().map(|(topic, qos, retain)| Will {
                    topic: topic.clone(),
                    data: format!("will-{n}:{}", slot.incarnation).into_bytes(),
                    qos: *qos,
                    retain: *retain,
                }),
            };
            let answer = client
                .request(|core, now| core.connect(now, &options))
                .await;
            // The DISCONNECT of the client that is lost comes first, to the same address; the
            // CONNACK of the next one follows.
            slot.took_over = matches!(answer, Err(RequestError::Disconnected(_)));
            slot.state = State::Active;
            note(answer.map(|answer| format!("{answer:?}")));
        }
        Op::Subscribe { filter, qos, .. } => {
            let answer = client
                .request(|core, now| core.subscribe(now, filter.as_ref(), *qos))
                .await;
            note(answer.map(|answer| format!("{answer:?}")));
        }
        Op::Unsubscribe { filter, .. } => {
            let answer = client
                .request(|core, now| core.unsubscribe(now, filter.as_ref()))
                .await;
            note(answer.map(|answer| format!("{answer:?}")));
        }
        Op::Publish {
            topic,
            qos,
            retain,
            count,
            ..
        } => {
            let alias = match topic.alias() {
                Some(alias) => alias,
                None => {
                    let name = topic.name();
                    let answer = client.request(|core, now| core.register(now, &name)).await;
                    note(answer.clone().map(|answer| format!("{answer:?}")));
                    match answer {
                        Ok(topicswitch::client::Answer::Registered(id)) => {
                            mqttsn::Alias::normal(id)
                        }
                        _ => return answers,
                    }
                }
            };
            for _ in 0..*count {
                slot.published += 1;
                // Of all lengths, so that both forms of the Length and odd sums occur.
                let mut data = format!("client-{n}:{}:", slot.published).into_bytes();
                data.resize(data.len() + (slot.published as usize * 37) % 300, b'.');
                let publish = |core: &mut topicswitch::client::ClientCore, now| {
                    core.publish(now, alias, *qos, *retain, &data)
                };
                if qos.level() > 0 {
                    let answer = client.request(publish).await;
                    note(answer.map(|answer| format!("{answer:?}")));
                } else {
                    note(client.send(publish).await.map(|()| "sent".to_owned()));
                }
            }
        }
        Op::Disconnect { .. } => {
            let answer = client.request(|core, now| core.disconnect(now, None)).await;
            slot.state = State::Off;
            note(answer.map(|answer| format!("{answer:?}")));
        }
        Op::Sleep { .. } => {
            let duration = Some(std::time::Duration::from_secs(900));
            let answer = client
                .request(|core, now| core.disconnect(now, duration))
                .await;
            slot.state = State::Asleep;
            note(answer.map(|answer| format!("{answer:?}")));
        }
        Op::Wake { .. } => {
            let id = client_id(n, slot.incarnation);
            let answer = client.request(|core, now| core.ping(now, &id)).await;
            note(answer.map(|answer| format!("{answer:?}")));
        }
    }
    answers
}

/// Asks everybody until nothing new comes: first the one who did something, as only its own
/// PINGREQ is sure to follow what it sent.
async fn come_to_rest(slots: &mut [Slot], first: u8) {
    for _ in 0..MAX_ROUNDS {
        let mut anything = false;
        let (before, from) = slots.split_at_mut(usize::from(first));
        if let Some(slot) = from.first_mut()
            && slot.state == State::Off
        {
            // Without a session the answer is DISCONNECT; it proves as much.
            let answer = slot.client.ping().await;
            assert!(
                matches!(answer, Err(RequestError::Disconnected(_))),
                "{answer:?}"
            );
        }
        for slot in from.iter_mut().chain(before) {
            if slot.state == State::Active {
                anything |= slot.client.ping().await.expect("PINGRESP");
            }
        }
        if !anything {
            return;
        }
    }
    panic!("messages keep coming after {MAX_ROUNDS} rounds");
}

fn observe(slots: &mut [Slot], op: &Op, answers: Vec<String>) -> Observation {
    let mut deliveries: BTreeMap<Stream, Vec<_>> = BTreeMap::new();
    let mut disconnected = Vec::new();
    for (client, slot) in (0..).zip(slots) {
        for received in slot.client.take_received() {
            let payload = String::from_utf8_lossy(&received.message.data).into_owned();
            let publisher = payload.split(':').next().unwrap_or_default().to_owned();
            let stream = Stream {
                client,
                topic: received.topic,
                publisher,
            };
            let qos = format!("{:?}", received.message.qos);
            deliveries
                .entry(stream)
                .or_default()
                .push((payload, qos, received.message.retain));
        }
        if slot.client.is_disconnected() && !slot.took_over && slot.state != State::Off {
            disconnected.push(client);
            slot.state = State::Off;
        }
    }
    Observation {
        op: op.clone(),
        answers,
        deliveries,
        disconnected,
    }
}
