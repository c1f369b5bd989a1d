//! SUBSCRIBE and UNSUBSCRIBE (MQTT-SN 1.2 §6.9).

use crate::world::*;
use broker::Config;
use mqttsn::{Alias, MsgId, Qos, ReturnCode, TopicRef};

fn predefined() -> World {
    World::new(Config {
        predefined_topics: [(7, "pre/defined".to_owned())].into(),
        ..Config::default()
    })
}

#[test]
fn each_form_of_a_topic_is_delivered_under_its_own_alias() {
    let mut world = predefined();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    let normal = world.subscribe(at(2), name("t/1"), Qos::Zero);
    assert_eq!(
        world.subscribe(at(2), TopicRef::Predefined(7), Qos::Zero),
        7
    );
    assert_eq!(
        world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Zero),
        0
    );
    let id = world.register(at(1), "t/1");
    for alias in [
        Alias::normal(id),
        Alias::predefined(7),
        Alias::short(*b"ab"),
    ] {
        let message = publish(alias, Qos::Zero, 0, b"x");
        world.send(at(1), &message);
        world.expect(at(2), &message);
    }
    assert_eq!(normal, id);
}

#[test]
fn a_predefined_topic_may_be_subscribed_to_by_its_name() {
    let mut world = predefined();
    world.connect(at(1), "s");
    let id = world.subscribe(at(1), name("pre/defined"), Qos::Zero);
    world.send(
        at(2),
        &publish(Alias::predefined(7), Qos::MinusOne, 0, b"x"),
    );
    world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
}

#[test]
fn what_cannot_be_subscribed_to_is_refused() {
    let mut world = predefined();
    world.connect(at(1), "s");
    for (topic, code) in [
        (TopicRef::Predefined(8), ReturnCode::InvalidTopicId),
        (TopicRef::Short(*b"a+"), ReturnCode::NotSupported),
        (TopicRef::Short([0xFF, 0xFE]), ReturnCode::NotSupported),
        (name("a/#/b"), ReturnCode::NotSupported),
        (name(""), ReturnCode::NotSupported),
        (name("$share/g"), ReturnCode::NotSupported),
        (name("$share//t"), ReturnCode::NotSupported),
        (name("$share/g/"), ReturnCode::NotSupported),
        (name("$share/+/t"), ReturnCode::NotSupported),
    ] {
        world.send(at(1), &subscribe(topic, Qos::Zero, MsgId(3)));
        world.expect(at(1), &suback(0, Qos::Zero, MsgId(3), code));
    }
    world.send(at(1), &subscribe(name("t"), Qos::MinusOne, MsgId(3)));
    world.expect(
        at(1),
        &suback(0, Qos::Zero, MsgId(3), ReturnCode::NotSupported),
    );
}

#[test]
fn overlapping_subscriptions_give_one_copy_at_the_highest_qos() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    let id = world.register(at(1), "t/1");
    world.subscribe(at(1), name("t/1"), Qos::Zero);
    world.subscribe(at(1), name("t/+"), Qos::One);
    world.subscribe(at(1), name("#"), Qos::Zero);
    world.send(at(1), &publish(Alias::normal(id), Qos::One, 1, b"x"));
    world.expect(at(1), &puback(id, 1, ReturnCode::Accepted));
    let msg_id = world.expect_publish(at(1), Alias::normal(id), Qos::One, b"x");
    world.send(at(1), &puback(id, msg_id.0, ReturnCode::Accepted));
    world.unsubscribe(at(1), name("t/+"));
    world.send(at(1), &publish(Alias::normal(id), Qos::One, 2, b"y"));
    world.expect(at(1), &puback(id, 2, ReturnCode::Accepted));
    world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"y"));
    world.expect_nothing(at(1));
}

#[test]
fn unsubscribing_ends_delivery_and_is_always_acknowledged() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    let id = world.subscribe(at(2), name("t/1"), Qos::Zero);
    world.register(at(1), "t/1");
    world.unsubscribe(at(2), name("t/1"));
    world.unsubscribe(at(2), name("never/was"));
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect_nothing(at(2));
}

#[test]
fn wildcards_do_not_match_topics_of_the_system() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    world.subscribe(at(2), name("#"), Qos::Zero);
    let id = world.register(at(1), "$SYS/x");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect_nothing(at(2));
}

#[test]
fn subscriptions_beyond_the_limit_are_refused_for_congestion() {
    let mut world = World::new(Config {
        max_subscriptions: 1,
        ..Config::default()
    });
    world.connect(at(1), "s");
    world.subscribe(at(1), name("a"), Qos::Zero);
    world.subscribe(at(1), name("a"), Qos::One);
    world.send(at(1), &subscribe(name("b"), Qos::Zero, MsgId(3)));
    world.expect(
        at(1),
        &suback(0, Qos::Zero, MsgId(3), ReturnCode::Congestion),
    );
}
