//! Retained messages, for which MQTT-SN refers to MQTT (MQTT-SN 1.2 §5.3.4, MQTT 3.1.1 §3.3.1.3).

use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, Packet, Qos, ReturnCode, TopicRef};

/// Three retained messages, published at QoS 0 by nobody in particular, and a subscriber at 1.
fn kept() -> World {
    let mut world = World::plain();
    for topic in [*b"aa", *b"ab", *b"bb"] {
        let alias = Alias::short(topic);
        world.send(at(9), &publish_with(alias, Qos::MinusOne, 0, true, &topic));
    }
    world.connect(at(2), "publisher");
    for topic in ["deep/1", "deep/er/2", "$SYS/3"] {
        let id = world.register(at(2), topic);
        let message = publish_with(Alias::normal(id), Qos::One, 1, true, topic.as_bytes());
        world.send(at(2), &message);
        world.expect(at(2), &puback(id, 1, ReturnCode::Accepted));
    }
    world.connect(at(1), "subscriber");
    world
}

/// All that a subscription brings, sorted; each with Retain 1.
#[track_caller]
fn brought(world: &mut World, filter: &str) -> Vec<String> {
    world.subscribe(at(1), name(filter), Qos::Zero);
    let mut brought = Vec::new();
    while let Some(bytes) = world.inboxes.get_mut(&at(1)).and_then(|i| i.pop_front()) {
        match Packet::decode(&bytes).unwrap() {
            Packet::Publish(p) => {
                assert_eq!((p.retain, p.dup, p.qos), (true, false, Qos::Zero));
                brought.push(String::from_utf8(p.data.to_vec()).unwrap());
            }
            Packet::Register(r) => {
                let answer = regack(r.topic_id, r.msg_id, ReturnCode::Accepted);
                world.send(at(1), &answer);
            }
            other => panic!("{other:?}"),
        }
    }
    brought.sort();
    brought
}

#[test]
fn a_wildcard_brings_all_that_it_matches_and_the_names_are_registered_first() {
    for (filter, expected) in [
        ("#", &["aa", "ab", "bb", "deep/1", "deep/er/2"][..]),
        ("+", &["aa", "ab", "bb"]),
        ("deep/+", &["deep/1"]),
        ("deep/#", &["deep/1", "deep/er/2"]),
        ("+/+/2", &["deep/er/2"]),
        ("$SYS/#", &["$SYS/3"]),
        ("none/#", &[]),
    ] {
        assert_eq!(brought(&mut kept(), filter), expected, "{filter}");
    }
}

#[test]
fn each_subscribe_brings_it_again() {
    let mut world = kept();
    for _ in 0..2 {
        assert_eq!(brought(&mut world, "deep/1"), ["deep/1"]);
    }
}

#[test]
fn who_is_subscribed_already_receives_it_live_with_retain_0() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::Zero);
    let alias = Alias::short(*b"ab");
    world.send(at(1), &publish_with(alias, Qos::Zero, 0, true, b"x"));
    world.expect(at(1), &publish(alias, Qos::Zero, 0, b"x"));
}

#[test]
fn an_empty_message_deletes_it_and_is_delivered_as_any_other() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::Zero);
    let alias = Alias::short(*b"ab");
    for data in [&b"x"[..], b""] {
        world.send(at(1), &publish_with(alias, Qos::Zero, 0, true, data));
        world.expect(at(1), &publish(alias, Qos::Zero, 0, data));
    }
    assert_eq!(world.broker.status().retained, 0);
}

#[test]
fn a_message_without_retain_leaves_the_retained_one() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    let alias = Alias::short(*b"ab");
    world.send(at(1), &publish_with(alias, Qos::Zero, 0, true, b"kept"));
    world.send(at(1), &publish(alias, Qos::Zero, 0, b"passing"));
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::Zero);
    world.expect(at(1), &publish_with(alias, Qos::Zero, 0, true, b"kept"));
    world.expect_nothing(at(1));
}

#[test]
fn it_outlives_its_publisher() {
    let mut world = kept();
    close(&mut world, at(2));
    assert_eq!(brought(&mut world, "deep/1"), ["deep/1"]);
}
