//! The steps of Paho's gateway tester and of its sample clients, as they look on the wire.
//!
//! The tester publishes to topics that it has subscribed to, under the ids of their SUBACKs, and so
//! receives what it publishes. It asks for a clean session, and subscribes anew after each CONNACK.

use broker::{Config, State};

use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

const ME: &str = "GatewayTestClient";
const KEEP_ALIVE: u16 = 60;
const SLEEP: u16 = 300;
const FIRST: &str = "tester/topic1";
const SECOND: &str = "tester/topic2";

/// The tester, and the ids that its two topics have in this connection.
struct Tester {
    world: World,
    first: u16,
    second: u16,
}

impl Tester {
    fn new() -> Self {
        let world = World::new(Config {
            predefined_topics: [(1, "tester/predefined".to_owned())].into(),
            ..Config::default()
        });
        Tester {
            world,
            first: 0,
            second: 0,
        }
    }

    /// Steps 0 to 2: connects and subscribes.
    #[track_caller]
    fn connect(&mut self) {
        open(&mut self.world, at(1), ME, true, KEEP_ALIVE);
        self.first = self.world.subscribe(at(1), name(FIRST), Qos::One);
        self.second = self.world.subscribe(at(1), name(SECOND), Qos::One);
        assert_ne!(self.first, self.second);
        let predefined = TopicRef::Predefined(1);
        assert_eq!(self.world.subscribe(at(1), predefined, Qos::One), 1);
    }

    /// Publishes to the first topic at QoS 0, and receives it.
    #[track_caller]
    fn publish_first(&mut self) {
        let message = publish(Alias::normal(self.first), Qos::Zero, 0, b"first");
        self.world.send(at(1), &message);
        self.world.expect(at(1), &message);
        self.world.expect_nothing(at(1));
    }

    /// Publishes to the second topic at QoS 1; receives it if it is subscribed.
    #[track_caller]
    fn publish_second(&mut self, subscribed: bool) {
        let alias = Alias::normal(self.second);
        let MsgId(msg_id) = self.world.msg_id();
        self.world
            .send(at(1), &publish(alias, Qos::One, msg_id, b"second"));
        let answer = puback(self.second, msg_id, ReturnCode::Accepted);
        self.world.expect(at(1), &answer);
        if subscribed {
            let MsgId(theirs) = self.world.expect_publish(at(1), alias, Qos::One, b"second");
            let answer = puback(self.second, theirs, ReturnCode::Accepted);
            self.world.send(at(1), &answer);
        }
        self.world.expect_nothing(at(1));
    }
}

#[test]
fn steps_0_to_4_subscribe_and_receive_what_is_published_at_qos_0_and_1() {
    let mut tester = Tester::new();
    tester.connect();
    tester.publish_first();
    tester.publish_second(true);
}

#[test]
fn steps_5_and_6_a_predefined_topic_that_is_not_defined_is_refused_and_nothing_else_changes() {
    let mut tester = Tester::new();
    tester.connect();
    let request = subscribe(TopicRef::Predefined(10), Qos::One, MsgId(99));
    tester.world.send(at(1), &request);
    let refused = suback(0, Qos::Zero, MsgId(99), ReturnCode::InvalidTopicId);
    tester.world.expect(at(1), &refused);
    tester.publish_second(true);
}

#[test]
fn steps_7_to_10_a_topic_keeps_its_id_when_it_is_unsubscribed_and_subscribed_again() {
    let mut tester = Tester::new();
    tester.connect();
    tester.world.unsubscribe(at(1), name(SECOND));
    tester.publish_second(false);
    let again = tester.world.subscribe(at(1), name(SECOND), Qos::One);
    assert_eq!(again, tester.second);
    tester.publish_second(true);
}

#[test]
fn steps_11_and_12_who_sleeps_and_wants_to_publish_connects_first() {
    let mut tester = Tester::new();
    tester.connect();
    fall_asleep(&mut tester.world, at(1), SLEEP);
    for _ in 0..3 {
        tester.world.advance(seconds(SLEEP.into()));
        tester.world.send(at(1), &pingreq(ME));
        tester.world.expect(at(1), &Packet::Pingresp);
    }
    assert_eq!(tester.world.broker.sessions()[0].state, State::Asleep);
    tester.connect();
    tester.publish_first();
}

#[test]
fn steps_13_to_16_after_the_end_of_the_connection_the_next_one_starts_anew() {
    let mut tester = Tester::new();
    tester.connect();
    close(&mut tester.world, at(1));
    let message = publish(Alias::normal(tester.first), Qos::Zero, 0, b"first");
    tester.world.send(at(1), &message);
    tester.world.expect(at(1), &disconnect(None));
    tester.connect();
    tester.publish_second(true);
}

#[test]
fn steps_17_to_19_without_its_pingreqs_the_tester_is_lost() {
    let mut tester = Tester::new();
    tester.connect();
    for _ in 0..3 {
        tester.world.advance(seconds(KEEP_ALIVE.into()));
        tester.world.send(at(1), &pingreq(""));
        tester.world.expect(at(1), &Packet::Pingresp);
    }
    tester.publish_first();
    tester.world.advance(seconds(89));
    tester.publish_first();
    close(&mut tester.world, at(1));
    tester.connect();
    tester.world.advance(seconds(90));
    tester.world.expect(at(1), &disconnect(None));
    assert_eq!(tester.world.broker.status().sessions, 0);
}

#[test]
fn the_sample_subscriber_receives_by_wildcard_what_the_sample_publishers_sent_while_it_slept() {
    let mut world = World::new(Config {
        predefined_topics: [(5, "tester/topic5/7".to_owned())].into(),
        ..Config::default()
    });
    open(&mut world, at(1), "ClientSUB", false, KEEP_ALIVE);
    assert_eq!(world.subscribe(at(1), name("tester/#"), Qos::One), 0);
    fall_asleep(&mut world, at(1), SLEEP);
    open(&mut world, at(2), "ClientPUB", true, SLEEP);
    for topic in [FIRST, SECOND] {
        let id = world.register(at(2), topic);
        let message = publish(Alias::normal(id), Qos::Zero, 0, topic.as_bytes());
        world.send(at(2), &message);
    }
    close(&mut world, at(2));
    // The sample of QoS −1.
    let open_topic = publish(Alias::predefined(5), Qos::MinusOne, 0, b"-1");
    world.send(at(3), &open_topic);
    world.expect_nothing(at(1));

    open(&mut world, at(1), "ClientSUB", false, KEEP_ALIVE);
    for topic in [FIRST, SECOND] {
        let (registered, id) = world.accept_register(at(1));
        assert_eq!(registered, topic);
        let message = publish(Alias::normal(id), Qos::Zero, 0, topic.as_bytes());
        world.expect(at(1), &message);
    }
    let (registered, id) = world.accept_register(at(1));
    assert_eq!(registered, "tester/topic5/7");
    world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"-1"));
    fall_asleep(&mut world, at(1), SLEEP);
    world.expect_nothing(at(1));
}
