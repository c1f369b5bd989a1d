//! Topic ids (MQTT-SN 1.2 §6.5).

use crate::world::*;
use broker::Config;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode};

#[test]
fn sessions_call_a_topic_by_the_same_id() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.connect(at(2), "b");
    let first = world.register(at(1), "t/1");
    assert_ne!(first, world.register(at(1), "t/2"));
    assert_eq!(first, world.register(at(1), "t/1"));
    assert_eq!(first, world.register(at(2), "t/1"));
    assert_eq!(first, world.subscribe(at(2), name("t/1"), Qos::Zero));
}

#[test]
fn a_name_with_wildcards_is_no_topic() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    for bad in ["t/+", "#", ""] {
        world.send(at(1), &register(bad, MsgId(5)));
        world.expect(at(1), &regack(0, MsgId(5), ReturnCode::NotSupported));
    }
}

#[test]
fn topics_and_ids_beyond_the_limits_are_refused_for_congestion() {
    let mut world = World::new(Config {
        max_topics: 2,
        max_topic_ids: 2,
        ..Config::default()
    });
    world.connect(at(1), "a");
    world.connect(at(2), "b");
    world.register(at(1), "t/1");
    world.register(at(2), "t/2");
    world.send(at(1), &register("t/3", MsgId(5)));
    world.expect(at(1), &regack(0, MsgId(5), ReturnCode::Congestion));
    // What nobody uses any more makes room.
    world.send(at(2), &disconnect(None));
    world.register(at(1), "t/3");
}

#[test]
fn a_wildcard_subscriber_is_told_the_topic_id_before_the_first_message() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    assert_eq!(world.subscribe(at(2), name("t/#"), Qos::Zero), 0);
    let one = world.register(at(1), "t/1");
    let two = world.register(at(1), "t/2");
    world.expect_nothing(at(2));
    for (id, data) in [(one, b"1"), (two, b"2"), (one, b"3")] {
        world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, data));
    }
    // One REGISTER at a time, and the order stays.
    let (topic, id) = world.accept_register(at(2));
    assert_eq!(topic, "t/1");
    world.expect(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"1"));
    let (topic, other) = world.accept_register(at(2));
    assert_eq!(topic, "t/2");
    world.expect(at(2), &publish(Alias::normal(other), Qos::Zero, 0, b"2"));
    world.expect(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"3"));
    world.expect_nothing(at(2));
}

#[test]
fn short_names_need_no_registration() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    world.subscribe(at(2), name("#"), Qos::Zero);
    let message = publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect(at(2), &message);
}

#[test]
fn a_rejected_topic_id_ends_the_topic_for_that_client_only() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    world.subscribe(at(2), name("t/#"), Qos::Zero);
    let bad = world.register(at(1), "t/bad");
    let good = world.register(at(1), "t/good");
    world.send(at(1), &publish(Alias::normal(bad), Qos::Zero, 0, b"1"));
    world.send(at(1), &publish(Alias::normal(good), Qos::Zero, 0, b"2"));
    let bytes = world.take(at(2));
    let Ok(Packet::Register(offered)) = Packet::decode(&bytes) else {
        panic!("REGISTER");
    };
    let refusal = regack(offered.topic_id, offered.msg_id, ReturnCode::NotSupported);
    world.send(at(2), &refusal);
    let (topic, id) = world.accept_register(at(2));
    assert_eq!(topic, "t/good");
    world.expect(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"2"));
    world.send(at(1), &publish(Alias::normal(bad), Qos::Zero, 0, b"3"));
    world.expect_nothing(at(2));
    assert_eq!(world.broker.stats().dropped_no_topic_id, 2);
}

#[test]
fn a_client_that_forgot_a_topic_id_is_told_again() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    let id = world.register(at(1), "t/1");
    world.subscribe(at(2), name("t/1"), Qos::One);
    world.send(at(1), &publish(Alias::normal(id), Qos::One, 1, b"x"));
    let msg_id = world.expect_publish(at(2), Alias::normal(id), Qos::One, b"x");
    world.send(at(2), &puback(id, msg_id.0, ReturnCode::InvalidTopicId));
    world.accept_register(at(2));
    let again = world.expect_publish(at(2), Alias::normal(id), Qos::One, b"x");
    assert_eq!(again, msg_id);
    world.send(at(2), &puback(id, again.0, ReturnCode::InvalidTopicId));
    world.expect_nothing(at(2));
}

#[test]
fn an_unanswered_register_is_sent_again_and_ends_the_session_at_last() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    world.subscribe(at(2), name("t/#"), Qos::Zero);
    let id = world.register(at(1), "t/1");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"1"));
    let first = world.take(at(2));
    for _ in 0..5 {
        world.advance(ms(10_000));
        assert_eq!(world.take(at(2)), first);
    }
    world.advance(ms(10_000));
    world.expect(at(2), &disconnect(None));
    assert_eq!(world.broker.stats().sessions_lost, 1);
}
