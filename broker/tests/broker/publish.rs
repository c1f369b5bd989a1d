//! PUBLISH at each QoS (MQTT-SN 1.2 §6.6 to §6.8).

use crate::world::*;
use broker::Config;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

/// A publisher at 1 and a subscriber at 2 of the topic `t/1`; its topic id.
fn pair(granted: Qos) -> (World, u16) {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    let id = world.register(at(1), "t/1");
    world.subscribe(at(2), name("t/1"), granted);
    (world, id)
}

#[test]
fn qos_0_is_passed_on_without_retain_and_without_an_answer() {
    let (mut world, id) = pair(Qos::Two);
    let retained = publish_with(Alias::normal(id), Qos::Zero, 0, true, b"x");
    world.send(at(1), &retained);
    world.expect(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect_nothing(at(1));
}

#[test]
fn a_publisher_that_subscribes_gets_its_own_messages() {
    let (mut world, id) = pair(Qos::Zero);
    world.subscribe(at(1), name("t/1"), Qos::Zero);
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect(at(1), &message);
    world.expect(at(2), &message);
}

#[test]
fn an_unknown_topic_id_is_answered_at_any_qos() {
    let (mut world, id) = pair(Qos::Zero);
    let unknown = id + 1;
    for (qos, msg_id) in [(Qos::Zero, 0), (Qos::One, 5), (Qos::Two, 6)] {
        world.send(at(1), &publish(Alias::normal(unknown), qos, msg_id, b"x"));
        world.expect(at(1), &puback(unknown, msg_id, ReturnCode::InvalidTopicId));
    }
    assert_eq!(world.broker.stats().invalid_topic, 3);
}

#[test]
fn qos_1_is_acknowledged_after_its_copies_and_delivered_one_at_a_time() {
    let (mut world, id) = pair(Qos::One);
    for msg_id in [1, 2] {
        let data = [msg_id as u8];
        world.send(at(1), &publish(Alias::normal(id), Qos::One, msg_id, &data));
        world.expect(at(1), &puback(id, msg_id, ReturnCode::Accepted));
    }
    let first = world.expect_publish(at(2), Alias::normal(id), Qos::One, &[1]);
    world.expect_nothing(at(2));
    world.send(at(2), &puback(id, first.0, ReturnCode::Accepted));
    let second = world.expect_publish(at(2), Alias::normal(id), Qos::One, &[2]);
    assert_ne!(first, second);
    world.send(at(2), &puback(id, second.0, ReturnCode::Accepted));
    world.expect_nothing(at(2));
}

#[test]
fn an_unacknowledged_message_is_repeated_with_dup_until_the_client_is_given_up() {
    let (mut world, id) = pair(Qos::One);
    world.send(at(1), &publish(Alias::normal(id), Qos::One, 1, b"x"));
    let msg_id = world.expect_publish(at(2), Alias::normal(id), Qos::One, b"x");
    for _ in 0..5 {
        world.advance(ms(9_999));
        world.expect_nothing(at(2));
        world.advance(ms(1));
        let bytes = world.take(at(2));
        let Ok(Packet::Publish(again)) = Packet::decode(&bytes) else {
            panic!("PUBLISH");
        };
        assert!(again.dup);
        assert_eq!(again.msg_id, msg_id);
    }
    world.advance(ms(10_000));
    world.expect(at(2), &disconnect(None));
    assert_eq!(world.broker.stats().retransmissions, 5);
}

#[test]
fn qos_2_is_passed_on_once() {
    let (mut world, id) = pair(Qos::Two);
    let message = publish(Alias::normal(id), Qos::Two, 9, b"x");
    for _ in 0..3 {
        world.send(at(1), &message);
        world.expect(at(1), &Packet::Pubrec(MsgId(9)));
    }
    for _ in 0..2 {
        world.send(at(1), &Packet::Pubrel(MsgId(9)));
        world.expect(at(1), &Packet::Pubcomp(MsgId(9)));
    }
    let msg_id = world.expect_publish(at(2), Alias::normal(id), Qos::Two, b"x");
    world.expect_nothing(at(2));
    world.send(at(2), &Packet::Pubrec(msg_id));
    world.expect(at(2), &Packet::Pubrel(msg_id));
    world.advance(ms(10_000));
    world.expect(at(2), &Packet::Pubrel(msg_id));
    world.send(at(2), &Packet::Pubcomp(msg_id));
    world.advance(ms(100_000));
    world.expect_nothing(at(2));
    // The MsgId is free for another message.
    world.send(at(1), &publish(Alias::normal(id), Qos::Two, 9, b"y"));
    world.expect(at(1), &Packet::Pubrec(MsgId(9)));
    world.expect_publish(at(2), Alias::normal(id), Qos::Two, b"y");
}

#[test]
fn a_message_is_delivered_at_the_lower_of_published_and_granted_qos() {
    for (granted, expected) in [
        (Qos::Zero, [Qos::Zero, Qos::Zero, Qos::Zero]),
        (Qos::One, [Qos::Zero, Qos::One, Qos::One]),
        (Qos::Two, [Qos::Zero, Qos::One, Qos::Two]),
    ] {
        for (published, expected) in [Qos::Zero, Qos::One, Qos::Two].into_iter().zip(expected) {
            let (mut world, id) = pair(granted);
            world.send(at(1), &publish(Alias::normal(id), published, 1, b"x"));
            world.expect_publish(at(2), Alias::normal(id), expected, b"x");
        }
    }
}

#[test]
fn qos_minus_1_needs_no_session() {
    let mut world = World::new(Config {
        predefined_topics: [(7, "pre".to_owned())].into(),
        ..Config::default()
    });
    world.connect(at(2), "s");
    world.subscribe(at(2), TopicRef::Predefined(7), Qos::One);
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::One);
    for alias in [Alias::predefined(7), Alias::short(*b"ab")] {
        world.send(at(9), &publish(alias, Qos::MinusOne, 0, b"x"));
        world.expect(at(2), &publish(alias, Qos::Zero, 0, b"x"));
    }
    // A topic id of a session means nothing to anybody else.
    world.send(at(9), &publish(Alias::normal(1), Qos::MinusOne, 0, b"x"));
    world.send(
        at(9),
        &publish(Alias::predefined(8), Qos::MinusOne, 0, b"x"),
    );
    world.expect_nothing(at(9));
    assert_eq!(world.broker.stats().invalid_topic, 2);
}

#[test]
fn short_topics_that_nobody_receives_leave_no_trace() {
    let mut world = World::plain();
    for octet in b'a'..=b'z' {
        let alias = Alias::short([octet, octet]);
        world.send(at(9), &publish(alias, Qos::MinusOne, 0, b"x"));
    }
    assert_eq!(world.broker.status().topics, 0);
}

#[test]
fn a_full_queue_drops_the_newest_and_says_so() {
    let mut world = World::new(Config {
        max_queued_messages: 2,
        ..Config::default()
    });
    world.connect(at(1), "p");
    let id = world.subscribe(at(1), name("t/1"), Qos::One);
    for msg_id in 1..=5 {
        world.send(at(1), &publish(Alias::normal(id), Qos::One, msg_id, b"x"));
    }
    // One is under way, two wait.
    assert_eq!(world.broker.stats().dropped_queue_full, 2);
    assert_eq!(world.broker.sessions()[0].queued, 2);
}

#[test]
fn in_a_full_queue_the_oldest_of_qos_0_give_way_to_qos_1() {
    let mut world = World::new(Config {
        max_queued_messages: 3,
        ..Config::default()
    });
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    let id = world.subscribe(at(2), name("t/1"), Qos::One);
    assert_eq!(world.register(at(1), "t/1"), id);
    let alias = Alias::normal(id);
    use Qos::{One, Zero};
    for (number, qos) in [(1, One), (2, Zero), (3, Zero), (4, One), (5, One)] {
        world.send(at(1), &publish(alias, qos, number, &[number as u8]));
    }
    // The first is under way, the second made room for the fifth.
    assert_eq!(world.broker.stats().dropped_queue_full, 1);
    for (number, qos) in [(6, Zero), (7, One), (8, One)] {
        world.send(at(1), &publish(alias, qos, number, &[number as u8]));
    }
    // The third made room for the seventh; the sixth and the eighth found none.
    assert_eq!(world.broker.stats().dropped_queue_full, 4);
    for data in [[1], [4], [5], [7]] {
        let msg_id = world.expect_publish(at(2), alias, Qos::One, &data);
        world.send(at(2), &puback(id, msg_id.0, ReturnCode::Accepted));
    }
    world.expect_nothing(at(2));
}

#[test]
fn a_large_message_takes_the_long_length_and_arrives_whole() {
    let (mut world, id) = pair(Qos::Zero);
    let data = vec![7; 40_000];
    let message = publish(Alias::normal(id), Qos::Zero, 0, &data);
    world.send(at(1), &message);
    world.expect(at(2), &message);
}
