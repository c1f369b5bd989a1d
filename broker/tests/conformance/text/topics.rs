//! The three ways to name a topic, and wildcards (MQTT-SN 1.2 §3, §5.3.4, §5.3.11, §6.7, §6.9,
//! MQTT 3.1.1 §4.7).

use broker::Config;

use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

#[test]
fn the_same_number_is_three_topics_by_its_three_types() {
    let number = u16::from_be_bytes(*b"ab");
    let mut world = World::new(Config {
        predefined_topics: [(number, "predefined".to_owned())].into(),
        ..Config::default()
    });
    world.connect(at(1), "publisher");
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Zero);
    world.send(
        at(1),
        &publish(Alias::predefined(number), Qos::Zero, 0, b"x"),
    );
    world.expect_nothing(at(2));
    world.send(at(1), &publish(Alias::normal(number), Qos::Zero, 0, b"x"));
    world.expect(at(1), &puback(number, 0, ReturnCode::InvalidTopicId));
    world.expect_nothing(at(2));
    let message = publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect(at(2), &message);
}

#[test]
fn a_short_topic_name_has_exactly_two_octets() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    for octets in [&b""[..], b"a", b"abc"] {
        for msg_type in [0x12, 0x14] {
            let mut bytes = vec![5 + octets.len() as u8, msg_type, 0b10, 0, 5];
            bytes.extend(octets);
            world.send_bytes(at(1), &bytes);
            world.expect_nothing(at(1));
        }
    }
    assert_eq!(world.broker.stats().malformed.values().sum::<u64>(), 6);
    // Two octets, not two characters.
    let short = TopicRef::Short(*"é".as_bytes().first_chunk().unwrap());
    assert_eq!(world.subscribe(at(1), short, Qos::Zero), 0);
    let message = publish(Alias::short([0xC3, 0xA9]), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect(at(1), &message);
}

#[test]
fn a_name_of_two_octets_is_the_same_topic_by_name_and_by_short_name() {
    let mut world = World::plain();
    world.connect(at(1), "by name");
    world.connect(at(2), "by short name");
    let id = world.subscribe(at(1), name("ab"), Qos::Zero);
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Zero);
    for alias in [Alias::normal(id), Alias::short(*b"ab")] {
        world.send(at(1), &publish(alias, Qos::Zero, 0, b"x"));
        world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
        world.expect(at(2), &publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x"));
    }
}

#[test]
fn a_predefined_topic_must_be_subscribed_to_before_it_is_received() {
    let mut world = World::new(Config {
        predefined_topics: [(7, "predefined".to_owned())].into(),
        ..Config::default()
    });
    world.connect(at(1), "me");
    let message = publish(Alias::predefined(7), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect_nothing(at(1));
    assert_eq!(
        world.subscribe(at(1), TopicRef::Predefined(7), Qos::Zero),
        7
    );
    world.send(at(1), &message);
    world.expect(at(1), &message);
}

#[test]
fn a_suback_echoes_the_msg_id_and_says_the_granted_qos_and_the_topic_id() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    for (filter, wildcard) in [("some/topic", false), ("some/+", true), ("#", true)] {
        for qos in [Qos::Zero, Qos::One, Qos::Two] {
            for msg_id in [0, 1, 0x1234, 0xFFFF] {
                world.send(at(1), &subscribe(name(filter), qos, MsgId(msg_id)));
                let bytes = world.take(at(1));
                let Ok(Packet::Suback(suback)) = Packet::decode(&bytes) else {
                    panic!("SUBACK");
                };
                assert_eq!((suback.msg_id, suback.qos), (MsgId(msg_id), qos));
                assert_eq!(suback.return_code, ReturnCode::Accepted);
                assert_eq!(suback.topic_id == 0, wildcard, "{filter}");
            }
        }
    }
}

#[test]
fn wildcards_match_as_in_mqtt() {
    for (filter, matched, unmatched) in [
        (
            "sport/tennis/player1/#",
            &["sport/tennis/player1", "sport/tennis/player1/ranking"][..],
            &["sport/tennis/player2"][..],
        ),
        ("sport/#", &["sport", "sport/", "sport/a/b"], &["sports"]),
        ("#", &["a", "/", "a/b/c"], &["$SYS/a"]),
        ("sport/+", &["sport/", "sport/a"], &["sport", "sport/a/b"]),
        ("+", &["a"], &["/a", "$SYS"]),
        ("+/+", &["/a", "a/b"], &["a", "$SYS/a"]),
        ("/+", &["/a"], &["a", "a/b"]),
        ("+/tennis/#", &["sport/tennis", "/tennis/a"], &["tennis"]),
        ("$SYS/+", &["$SYS/a"], &["SYS/a"]),
    ] {
        for (names, expected) in [(matched, true), (unmatched, false)] {
            for topic in names {
                let mut world = World::plain();
                world.connect(at(1), "publisher");
                world.connect(at(2), "subscriber");
                world.subscribe(at(2), name(filter), Qos::Zero);
                let id = world.register(at(1), topic);
                world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
                let got = world.inboxes.get(&at(2)).is_some_and(|i| !i.is_empty());
                assert_eq!(got, expected, "{filter} {topic}");
            }
        }
    }
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    for filter in ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a\0b"] {
        world.send(at(1), &subscribe(name(filter), Qos::Zero, MsgId(5)));
        let refused = suback(0, Qos::Zero, MsgId(5), ReturnCode::NotSupported);
        world.expect(at(1), &refused);
    }
    assert!(world.broker.sessions()[0].subscriptions.is_empty());
}
