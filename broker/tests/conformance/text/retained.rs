//! Retained messages, for which MQTT-SN refers to MQTT (MQTT-SN 1.2 §5.3.4, MQTT 3.1.1 §3.3.1.3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker::Config;

use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

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

/// 200 retained messages of one octet on short topics, and a short queue for each client.
fn many(max_queued_messages: usize) -> World {
    let mut world = World::new(Config {
        max_queued_messages,
        ..Config::default()
    });
    for number in 0..200 {
        let message = publish_with(number_topic(number), Qos::MinusOne, 0, true, b"x");
        world.send(at(9), &message);
    }
    world.connect(at(1), "subscriber");
    world.connect(at(2), "publisher");
    world
}

fn number_topic(number: u8) -> Alias {
    Alias::short([b'a' + number / 20, b'a' + number % 20])
}

#[test]
fn a_wildcard_brings_more_than_may_wait_for_a_client() {
    for granted in [Qos::Zero, Qos::One] {
        let mut world = many(4);
        for number in 100..200 {
            let message = publish_with(number_topic(number), Qos::One, 1, true, b"x");
            world.send(at(2), &message);
        }
        world.subscribe(at(1), name("#"), granted);
        let mut brought = BTreeSet::new();
        while let Some(bytes) = world.inboxes.get_mut(&at(1)).and_then(VecDeque::pop_front) {
            let Ok(Packet::Publish(p)) = Packet::decode(&bytes) else {
                panic!("PUBLISH, not {:?}", Packet::decode(&bytes));
            };
            assert!(p.retain && brought.insert(p.alias), "{p:?}");
            if p.qos == Qos::One {
                let answer = puback(p.alias.topic_id, p.msg_id.0, ReturnCode::Accepted);
                world.send(at(1), &answer);
            }
        }
        assert_eq!(brought.len(), 200);
        assert_eq!(world.broker.stats().dropped_queue_full, 0);
    }
}

/// All that comes to one that is kept waiting with the very first message, while others publish
/// without Retain to the first of these topics, and with Retain to the others.
#[track_caller]
fn meanwhile(queue: usize, topics: [Alias; 3]) -> BTreeMap<Alias, Vec<(bool, Vec<u8>)>> {
    let mut world = many(queue);
    let first = publish_with(number_topic(0), Qos::One, 1, true, b"first");
    world.send(at(2), &first);
    world.subscribe(at(1), name("#"), Qos::One);
    let MsgId(msg_id) = world.expect_publish(at(1), number_topic(0), Qos::One, b"first");
    world.expect_nothing(at(1));
    for (alias, retain) in topics.into_iter().zip([false, true, true]) {
        let message = publish_with(alias, Qos::Zero, 0, retain, b"later");
        world.send(at(2), &message);
    }
    let answer = puback(number_topic(0).topic_id, msg_id, ReturnCode::Accepted);
    world.send(at(1), &answer);
    let mut came = BTreeMap::<Alias, Vec<(bool, Vec<u8>)>>::new();
    while !world.inboxes[&at(1)].is_empty() {
        let (alias, _, retain, data) = take_publish(&mut world, at(1));
        came.entry(alias).or_default().push((retain, data));
    }
    came
}

#[test]
fn what_is_published_while_it_catches_up_comes_after_what_was_retained_or_in_its_place() {
    let (passing, replaced, new) = (number_topic(150), number_topic(160), Alias::short(*b"zz"));
    let message = |retain, data: &[u8]| (retain, data.to_vec());
    for (alias, messages) in meanwhile(8, [passing, replaced, new]) {
        let expected = match alias {
            _ if alias == passing => vec![message(true, b"x"), message(false, b"later")],
            _ if alias == replaced || alias == new => vec![message(false, b"later")],
            _ => vec![message(true, b"x")],
        };
        assert_eq!(messages, expected, "{alias:?}");
    }
}

#[test]
fn a_retained_message_for_which_there_is_no_room_when_it_comes_comes_in_its_turn() {
    let (passing, replaced, new) = (number_topic(150), number_topic(160), Alias::short(*b"zz"));
    let came = meanwhile(4, [passing, new, replaced]);
    assert_eq!(came.len(), 199 + 1);
    assert_eq!(came[&new], [(false, b"later".to_vec())]);
    assert_eq!(came[&replaced], [(true, b"later".to_vec())]);
}

#[test]
fn who_unsubscribes_or_sleeps_while_it_catches_up_gets_no_more_or_the_rest_later() {
    let mut world = many(4);
    let first = publish_with(number_topic(0), Qos::One, 1, true, b"first");
    world.send(at(2), &first);
    for sleeps in [false, true] {
        world.subscribe(at(1), name("#"), Qos::One);
        let MsgId(msg_id) = world.expect_publish(at(1), number_topic(0), Qos::One, b"first");
        let answer = puback(number_topic(0).topic_id, msg_id, ReturnCode::Accepted);
        if sleeps {
            world.send(at(1), &disconnect(Some(100)));
            world.expect(at(1), &disconnect(None));
            world.send(at(1), &pingreq("subscriber"));
            world.take(at(1));
            world.send(at(1), &answer);
            assert_eq!(world.inboxes[&at(1)].len(), 199 + 1);
            let last = world.inboxes[&at(1)].back().unwrap();
            assert_eq!(Packet::decode(last), Ok(Packet::Pingresp));
        } else {
            world.unsubscribe(at(1), name("#"));
            world.send(at(1), &answer);
            world.expect_nothing(at(1));
        }
    }
}
