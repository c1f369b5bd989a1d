//! Which steps a workload takes.

use std::collections::BTreeMap;

use mqttsn::types::Qos;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::topics::{FILTERS, NAMES, PREDEFINED, SHORT, Topic};

/// The predefined topics, as the broker is configured.
pub(super) fn predefined() -> BTreeMap<u16, String> {
    PREDEFINED.map(|(id, name)| (id, name.to_owned())).into()
}

/// One step of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the messages")]
pub enum Op {
    /// CONNECT.
    Connect {
        client: u8,
        clean_session: bool,
        will: Option<(String, Qos, bool)>,
    },
    /// CONNECT from the same address with another ClientId: the former client is lost.
    Lose {
        client: u8,
        clean_session: bool,
        will: Option<(String, Qos, bool)>,
    },
    /// SUBSCRIBE.
    Subscribe { client: u8, filter: Topic, qos: Qos },
    /// UNSUBSCRIBE.
    Unsubscribe { client: u8, filter: Topic },
    /// REGISTER where needed, then several PUBLISH, one behind the other.
    Publish {
        client: u8,
        topic: Topic,
        qos: Qos,
        retain: bool,
        count: u8,
    },
    /// DISCONNECT.
    Disconnect { client: u8 },
    /// DISCONNECT with a duration.
    Sleep { client: u8 },
    /// PINGREQ of a sleeping client.
    Wake { client: u8 },
}

impl Op {
    /// Who takes the step.
    pub fn client(&self) -> u8 {
        match self {
            Op::Connect { client, .. }
            | Op::Lose { client, .. }
            | Op::Subscribe { client, .. }
            | Op::Unsubscribe { client, .. }
            | Op::Publish { client, .. }
            | Op::Disconnect { client }
            | Op::Sleep { client }
            | Op::Wake { client } => *client,
        }
    }
}

/// The steps of several clients, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How many clients.
    pub clients: u8,
    /// The steps.
    pub ops: Vec<Op>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    Active,
    Asleep,
}

impl Workload {
    /// A workload of `steps` steps after everybody has connected.
    pub fn random(seed: u64, clients: u8, steps: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut states = vec![State::Active; usize::from(clients)];
        let mut ops: Vec<Op> = (0..clients)
            .map(|client| connect(&mut random, client))
            .collect();
        while ops.len() < steps + usize::from(clients) {
            let client = random.random_range(0..clients);
            let state = &mut states[usize::from(client)];
            let op = match *state {
                State::Off if random.random_ratio(1, 3) => minus_one(&mut random, client),
                State::Off => connect(&mut random, client),
                State::Asleep if random.random() => Op::Wake { client },
                State::Asleep => connect(&mut random, client),
                State::Active => active(&mut random, client),
            };
            *state = match &op {
                Op::Connect { .. } | Op::Lose { .. } => State::Active,
                Op::Disconnect { .. } => State::Off,
                Op::Sleep { .. } => State::Asleep,
                _ => *state,
            };
            ops.extend(first_alone(op));
        }
        Workload { clients, ops }
    }
}

/// A burst, its first message as a step of its own.
///
/// A first message may move a subscriber from the software path to the data plane (a wildcard's
/// subscriber learns the topic id with it). What is published while that happens may overtake what
/// is still on the software path: the bounded hand-over, whose order is not kept yet.
fn first_alone(op: Op) -> Vec<Op> {
    match op {
        Op::Publish {
            client,
            topic,
            qos,
            retain,
            count,
        } if count > 1 => {
            let burst = |count| Op::Publish {
                client,
                topic: topic.clone(),
                qos,
                retain,
                count,
            };
            vec![burst(1), burst(count - 1)]
        }
        op => vec![op],
    }
}

fn connect(random: &mut StdRng, client: u8) -> Op {
    Op::Connect {
        client,
        clean_session: random.random_ratio(2, 3),
        will: will(random),
    }
}

fn will(random: &mut StdRng) -> Option<(String, Qos, bool)> {
    let topic = NAMES.choose(random).expect("some").to_string();
    let (qos, retain) = (qos(random), random.random_ratio(1, 4));
    random.random_ratio(1, 3).then_some((topic, qos, retain))
}

fn qos(random: &mut StdRng) -> Qos {
    *[Qos::Zero, Qos::Zero, Qos::One, Qos::One, Qos::Two]
        .choose(random)
        .expect("some")
}

fn filter(random: &mut StdRng) -> Topic {
    match random.random_range(0..10) {
        0 => Topic::Predefined(PREDEFINED.choose(random).expect("some").0),
        1 => Topic::Short(*SHORT.choose(random).expect("some")),
        _ => Topic::Name((*FILTERS.choose(random).expect("some")).to_owned()),
    }
}

fn topic(random: &mut StdRng) -> Topic {
    match random.random_range(0..10) {
        0 => Topic::Predefined(PREDEFINED.choose(random).expect("some").0),
        1 => Topic::Short(*SHORT.choose(random).expect("some")),
        _ => Topic::Name((*NAMES.choose(random).expect("some")).to_owned()),
    }
}

/// A PUBLISH that needs no session.
fn minus_one(random: &mut StdRng, client: u8) -> Op {
    let topic = if random.random() {
        Topic::Predefined(PREDEFINED.choose(random).expect("some").0)
    } else {
        Topic::Short(*SHORT.choose(random).expect("some"))
    };
    Op::Publish {
        client,
        topic,
        qos: Qos::MinusOne,
        retain: false,
        count: 1,
    }
}

fn active(random: &mut StdRng, client: u8) -> Op {
    match random.random_range(0..100) {
        0..50 => {
            let (topic, qos) = (topic(random), qos(random));
            let retain = random.random_ratio(1, 8);
            let count = random.random_range(1..5);
            Op::Publish {
                client,
                topic,
                qos,
                retain,
                count,
            }
        }
        50..74 => Op::Subscribe {
            client,
            filter: filter(random),
            qos: qos(random),
        },
        74..84 => Op::Unsubscribe {
            client,
            filter: filter(random),
        },
        84..88 => Op::Sleep { client },
        88..92 => Op::Disconnect { client },
        92..95 => {
            let Op::Connect {
                clean_session,
                will,
                ..
            } = connect(random, client)
            else {
                unreachable!("connect gives CONNECT")
            };
            Op::Lose {
                client,
                clean_session,
                will,
            }
        }
        95..98 => minus_one(random, client),
        _ => connect(random, client),
    }
}
