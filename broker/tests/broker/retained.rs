//! Retained messages.

use crate::world::*;
use broker::Config;
use mqttsn::{Alias, Qos, ReturnCode, TopicRef};

const AB: Alias = Alias::short(*b"ab");

#[test]
fn a_new_subscriber_gets_the_last_retained_message_after_its_suback() {
    let mut world = World::plain();
    for data in [b"old", b"new"] {
        world.send(at(9), &publish_with(AB, Qos::MinusOne, 0, true, data));
    }
    world.connect(at(1), "s");
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::One);
    world.expect(at(1), &publish_with(AB, Qos::Zero, 0, true, b"new"));
    world.expect_nothing(at(1));
    // Also by wildcard, and also again.
    world.subscribe(at(1), name("#"), Qos::One);
    world.expect(at(1), &publish_with(AB, Qos::Zero, 0, true, b"new"));
}

#[test]
fn an_empty_message_deletes() {
    let mut world = World::plain();
    world.send(at(9), &publish_with(AB, Qos::MinusOne, 0, true, b"x"));
    assert_eq!(world.broker.status().retained, 1);
    world.send(at(9), &publish_with(AB, Qos::MinusOne, 0, true, b""));
    world.connect(at(1), "s");
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::One);
    world.expect_nothing(at(1));
    assert_eq!(world.broker.status().retained, 0);
}

#[test]
fn a_retained_message_keeps_its_qos() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    let id = world.register(at(1), "t/1");
    let message = publish_with(Alias::normal(id), Qos::One, 1, true, b"x");
    world.send(at(1), &message);
    world.expect(at(1), &puback(id, 1, ReturnCode::Accepted));
    world.subscribe(at(2), name("t/+"), Qos::One);
    let (_, topic_id) = world.accept_register(at(2));
    world.expect_publish(at(2), Alias::normal(topic_id), Qos::One, b"x");
}

#[test]
fn beyond_the_limit_nothing_new_is_retained() {
    let mut world = World::new(Config {
        max_retained: 1,
        ..Config::default()
    });
    for octets in [*b"ab", *b"cd"] {
        let alias = Alias::short(octets);
        world.send(at(9), &publish_with(alias, Qos::MinusOne, 0, true, b"x"));
    }
    let status = world.broker.status();
    assert_eq!((status.retained, status.topics), (1, 1));
    assert_eq!(world.broker.stats().retained_full, 1);
}
