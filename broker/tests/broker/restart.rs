//! A broker that comes back from what it had stored is the broker that ended.
//!
//! A random history runs through a broker whose changes go to a map, as they would to a store. Where
//! the history says so the broker is dropped, and another one is made from the map. The old one is not
//! gone yet, though: both are brought to rest with copies of the same clients, and every client must
//! have received the same messages of QoS 1 and 2.

mod clients;

use std::collections::BTreeMap;
use std::time::Instant;

use broker::{AllowAll, Broker, Config, Restore, RestoreError, SessionInfo, State, TopicInfo};
use mqttsn::Qos;
use proptest::prelude::*;

use crate::world::{cases, ms};
use clients::{CLIENTS, Clients};

/// What a store would hold.
pub type Stored = BTreeMap<Vec<u8>, Vec<u8>>;

pub fn config() -> Config {
    Config {
        // Patience counts anew after a start: let it play no part.
        n_retry: 1000,
        // So that catching up with retained messages takes several turns.
        max_queued_messages: 4,
        predefined_topics: [(7, "fixed/one".to_owned()), (8, "fixed/two".to_owned())].into(),
        ..Config::default()
    }
}

pub fn restore(stored: &Stored, now: Instant) -> Result<Broker, RestoreError> {
    let mut restore = Restore::new(config(), Box::new(AllowAll), now)?;
    for (key, value) in stored {
        restore.entry(key, value)?;
    }
    Ok(restore.finish())
}

/// Stores what changed; the number of entries.
pub fn store(broker: &mut Broker, stored: &mut Stored) -> usize {
    let Some(changes) = broker.take_changes() else {
        return 0;
    };
    let mut seen = std::collections::BTreeSet::new();
    for (key, value) in changes.iter() {
        assert!(seen.insert(key.to_vec()), "{key:?} comes twice");
        match value {
            Some(value) => stored.insert(key.to_vec(), value.to_vec()),
            None => stored.remove(key),
        };
    }
    changes.len()
}

#[derive(Clone, Debug)]
enum Op {
    Connect(usize, bool, bool),
    Disconnect(usize),
    Sleep(usize),
    Ping(usize),
    Move(usize),
    Register(usize, usize),
    Subscribe(usize, usize, u8),
    Unsubscribe(usize, usize),
    Publish(usize, usize, u8, bool),
    /// The last QoS 2 message again, as if its PUBREC had been lost.
    Repeat(usize),
    Forget(usize),
    UpdateWill(usize),
    /// Reads and answers what has arrived.
    Answer(usize),
    /// Loses what has arrived.
    Lose(usize),
    Wait(u64),
    /// The calls up to here are stored, and what they said is sent.
    Commit,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => (client.clone(), any::<bool>(), any::<bool>()).prop_map(|(c, k, w)| Op::Connect(c, k, w)),
        1 => client.clone().prop_map(Op::Disconnect),
        2 => client.clone().prop_map(Op::Sleep),
        2 => client.clone().prop_map(Op::Ping),
        1 => client.clone().prop_map(Op::Move),
        3 => (client.clone(), 0..7_usize).prop_map(|(c, t)| Op::Register(c, t)),
        6 => (client.clone(), 0..10_usize, 0..3_u8).prop_map(|(c, f, q)| Op::Subscribe(c, f, q)),
        2 => (client.clone(), 0..10_usize).prop_map(|(c, f)| Op::Unsubscribe(c, f)),
        16 => (client.clone(), 0..7_usize, 0..3_u8, prop::bool::weighted(0.2))
            .prop_map(|(c, t, q, r)| Op::Publish(c, t, q, r)),
        2 => client.clone().prop_map(Op::Repeat),
        1 => (0..6_usize).prop_map(Op::Forget),
        1 => client.clone().prop_map(Op::UpdateWill),
        10 => client.clone().prop_map(Op::Answer),
        3 => client.prop_map(Op::Lose),
        2 => (1..12_000_u64).prop_map(Op::Wait),
        12 => Just(Op::Commit),
        3 => Just(Op::Crash),
    ]
}

/// What must be the same in a broker that came back. QoS 0 messages and publications need not.
fn sessions(broker: &Broker) -> Vec<SessionInfo> {
    let mut sessions = broker.sessions();
    for session in &mut sessions {
        session.publications.clear();
        if session.queued > 0 {
            // Behind a QoS 0 message that is gone now, another topic may have got its id already.
            session.topic_ids = 0;
        }
        // An awake client for whom only QoS 0 messages were left sleeps now.
        if session.state == State::Awake {
            session.state = State::Asleep;
        }
    }
    sessions
}

fn topics(broker: &Broker) -> Vec<TopicInfo> {
    let mut topics = broker.topics();
    // Short names that somebody publishes to, and nothing else.
    topics.retain(|topic| {
        !topic.subscribers.is_empty() || topic.retained || !topic.home_alias.starts_with("short")
    });
    for topic in &mut topics {
        topic.publications = 0;
        for subscriber in &mut topic.subscribers {
            // A client that knows several aliases of a topic may be sent any.
            subscriber.alias = None;
            subscriber.unserved = None;
        }
    }
    topics
}

/// Brings the broker to rest: everybody hears and answers all, and who was away comes back. None
/// if a message found a queue full meanwhile, a will say: whether the first of a queue is still in it
/// or under way may differ in a broker that came back, and with it who is the one too many.
fn come_to_rest(mut broker: Broker, mut clients: Clients, mut now: Instant) -> Option<Clients> {
    let dropped = broker.stats().dropped_queue_full;
    let nowhere = &mut Stored::new();
    for _ in 0..3 {
        clients.talk(&mut broker, now, nowhere);
        now += ms(10_001);
        broker.handle_timeout(now);
    }
    for client in 0..CLIENTS {
        clients.connect(&mut broker, now, client, false, false);
        clients.talk(&mut broker, now, nowhere);
    }
    now += ms(10_001);
    broker.handle_timeout(now);
    clients.talk(&mut broker, now, nowhere);
    (broker.stats().dropped_queue_full == dropped).then_some(clients)
}

fn run(history: &[Op]) {
    let mut now = Instant::now();
    let mut stored = Stored::new();
    let mut broker = restore(&stored, now).unwrap();
    let mut clients = Clients::new();
    for op in history {
        now += ms(1);
        match *op {
            Op::Connect(c, clean, will) => clients.connect(&mut broker, now, c, clean, will),
            Op::Disconnect(c) => clients.disconnect(&mut broker, now, c, None),
            Op::Sleep(c) => clients.disconnect(&mut broker, now, c, Some(6000)),
            Op::Ping(c) => clients.ping(&mut broker, now, c),
            Op::Move(c) => clients.move_away(c),
            Op::Register(c, topic) => clients.register(&mut broker, now, c, topic),
            Op::Subscribe(c, filter, qos) => {
                clients.subscribe(&mut broker, now, c, filter, Qos::from_bits(qos));
            }
            Op::Unsubscribe(c, filter) => clients.unsubscribe(&mut broker, now, c, filter),
            Op::Publish(c, topic, qos, retain) => {
                clients.publish(&mut broker, now, c, topic, Qos::from_bits(qos), retain);
            }
            Op::Repeat(c) => clients.repeat(&mut broker, now, c),
            Op::Forget(topic) => clients.forget_retained(&mut broker, now, topic),
            Op::UpdateWill(c) => clients.update_will(&mut broker, now, c),
            Op::Answer(c) => clients.answer(&mut broker, now, c),
            Op::Lose(c) => clients.lose(c),
            Op::Wait(time) => {
                now += ms(time);
                broker.handle_timeout(now);
            }
            Op::Commit => {
                store(&mut broker, &mut stored);
                clients.collect(&mut broker);
            }
            Op::Crash => {
                store(&mut broker, &mut stored);
                clients.collect(&mut broker);
                let twin = restore(&stored, now).unwrap();
                let (mut before, mut after) = (sessions(&broker), sessions(&twin));
                for (before, after) in before.iter_mut().zip(&mut after) {
                    if before.topic_ids == 0 {
                        after.topic_ids = 0;
                    }
                    (before.queued, after.queued) = (0, 0);
                }
                assert_eq!(before, after);
                assert_eq!(topics(&broker), topics(&twin));
                // Who takes over from a client that is awake sets off its will.
                let states = |broker: &Broker| {
                    let states = broker.sessions().into_iter().map(|session| session.state);
                    states.collect::<Vec<_>>()
                };
                let as_awake = states(&broker) == states(&twin);
                let went_on = come_to_rest(broker, clients.clone(), now);
                let came_back = come_to_rest(twin, clients.clone(), now);
                if let (Some(went_on), Some(came_back)) = (went_on, came_back)
                    && as_awake
                {
                    assert_eq!(went_on.heard(), came_back.heard());
                }
                broker = restore(&stored, now).unwrap();
            }
        }
    }
    // Nothing is left of clients that leave nothing.
    clients.leave(&mut broker, now);
    store(&mut broker, &mut stored);
    let left: Vec<_> = stored.keys().filter(|key| key[0] != 0).collect();
    assert_eq!(left.len(), 2, "the predefined topics: {left:?}");
    let again = restore(&stored, now).unwrap();
    assert_eq!(again.sessions(), []);
}

/// After a restart with nothing queued, a message must not get the number of one that is gone but whose
/// exchange is still stored: after the next restart it would be taken for sent.
#[test]
fn what_is_queued_between_two_restarts_is_not_taken_for_what_was_sent_before() {
    run(&[
        Op::Connect(3, false, false),
        Op::Subscribe(3, 3, 1),
        Op::Publish(3, 3, 1, false),
        Op::Crash,
        Op::Answer(3),
        Op::Sleep(3),
        Op::Connect(1, false, false),
        Op::Crash,
        Op::Publish(1, 3, 1, false),
        Op::Crash,
    ]);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_broker_that_comes_back_is_the_one_that_ended(
        history in prop::collection::vec(op(), 1..150),
    ) {
        run(&history);
    }
}
