//! PUBLISH from clients, and the ids in its acknowledgements (MQTT-SN 1.2 §5.4.12, §5.4.13, §6.6 to
//! §6.8).

use broker::Config;

use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

fn connected() -> World {
    let mut world = World::new(Config {
        predefined_topics: [(7, "predefined".to_owned())].into(),
        ..Config::default()
    });
    world.connect(at(1), "me");
    world
}

#[test]
fn a_puback_echoes_topic_id_and_msg_id_for_each_kind_of_topic() {
    let mut world = connected();
    let id = world.register(at(1), "some/topic");
    for alias in [
        Alias::normal(id),
        Alias::predefined(7),
        Alias::short(*b"ab"),
    ] {
        for msg_id in [1, 2, 0x1234, 0x3412, 0xFFFF, 0] {
            world.send(at(1), &publish(alias, Qos::One, msg_id, b"x"));
            let answer = puback(alias.topic_id, msg_id, ReturnCode::Accepted);
            world.expect(at(1), &answer);
        }
    }
}

#[test]
fn a_msg_id_of_qos_0_is_tolerated_and_not_passed_on() {
    let mut world = connected();
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Two);
    let alias = Alias::short(*b"ab");
    for qos in [Qos::Zero, Qos::MinusOne] {
        for msg_id in [1, 1, 0xFFFF] {
            world.send(at(1), &publish(alias, qos, msg_id, b"x"));
            world.expect(at(2), &publish(alias, Qos::Zero, 0, b"x"));
            world.expect_nothing(at(1));
        }
    }
}

#[test]
fn what_names_no_topic_is_answered_with_the_ids_it_came_with() {
    let mut world = connected();
    let id = world.register(at(1), "some/topic");
    let unknown = [
        Alias::normal(0),
        Alias::normal(id + 1),
        Alias::normal(0xFFFF),
        Alias::predefined(0),
        Alias::predefined(8),
        Alias::predefined(0xFFFF),
    ];
    let no_names = [*b"a#", *b"+/", [0, 1], [0xC3, 0x28]].map(Alias::short);
    let unknown = unknown.map(|alias| (alias, ReturnCode::InvalidTopicId));
    let no_names = no_names.map(|alias| (alias, ReturnCode::NotSupported));
    for (alias, code) in unknown.into_iter().chain(no_names) {
        for (qos, msg_id) in [(Qos::Zero, 0), (Qos::One, 5), (Qos::Two, 6)] {
            world.send(at(1), &publish(alias, qos, msg_id, b"x"));
            world.expect(at(1), &puback(alias.topic_id, msg_id, code));
        }
    }
}

#[test]
fn an_invalid_topic_id_at_qos_minus_1_is_not_answered() {
    let mut world = connected();
    for alias in [Alias::predefined(8), Alias::normal(1), Alias::short(*b"a#")] {
        for who in [at(1), at(2)] {
            world.send(who, &publish(alias, Qos::MinusOne, 0, b"x"));
            world.expect_nothing(who);
        }
    }
}

#[test]
fn after_an_invalid_topic_id_the_client_registers_and_goes_on() {
    let mut world = connected();
    world.send(at(1), &publish(Alias::normal(9), Qos::One, 1, b"x"));
    world.expect(at(1), &puback(9, 1, ReturnCode::InvalidTopicId));
    let id = world.register(at(1), "some/topic");
    world.send(at(1), &publish(Alias::normal(id), Qos::One, 2, b"x"));
    world.expect(at(1), &puback(id, 2, ReturnCode::Accepted));
}

#[test]
fn a_topic_id_of_another_session_is_not_this_ones() {
    let mut world = connected();
    let id = world.register(at(1), "some/topic");
    world.connect(at(2), "other");
    world.send(at(2), &publish(Alias::normal(id), Qos::One, 1, b"x"));
    world.expect(at(2), &puback(id, 1, ReturnCode::InvalidTopicId));
}

#[test]
fn qos_minus_1_is_taken_from_a_connected_client_too() {
    let mut world = connected();
    world.subscribe(at(1), TopicRef::Predefined(7), Qos::Two);
    let alias = Alias::predefined(7);
    world.send(at(1), &publish(alias, Qos::MinusOne, 0, b"x"));
    world.expect(at(1), &publish(alias, Qos::Zero, 0, b"x"));
}

#[test]
fn who_sleeps_or_has_gone_must_connect_before_it_publishes() {
    let mut world = connected();
    let message = publish(Alias::short(*b"ab"), Qos::One, 1, b"x");
    fall_asleep(&mut world, at(1), 100);
    world.send(at(1), &message);
    world.expect(at(1), &disconnect(None));
    close(&mut world, at(1));
    world.send(at(1), &message);
    world.expect(at(1), &disconnect(None));
    world.connect(at(1), "me");
    world.send(at(1), &message);
    let answer = puback(u16::from_be_bytes(*b"ab"), 1, ReturnCode::Accepted);
    world.expect(at(1), &answer);
}

#[test]
fn messages_of_one_publisher_arrive_in_their_order() {
    let mut world = connected();
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::One);
    let alias = Alias::short(*b"ab");
    for number in 1..=20_u8 {
        world.send(at(1), &publish(alias, Qos::One, number.into(), &[number]));
    }
    for number in 1..=20_u8 {
        let MsgId(msg_id) = world.expect_publish(at(2), alias, Qos::One, &[number]);
        let answer = puback(alias.topic_id, msg_id, ReturnCode::Accepted);
        world.send(at(2), &answer);
    }
    world.expect_nothing(at(2));
}

#[test]
fn an_answer_to_nothing_changes_nothing() {
    let mut world = connected();
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::One);
    world.send(at(1), &publish(Alias::short(*b"ab"), Qos::One, 1, b"x"));
    let accepted = puback(u16::from_be_bytes(*b"ab"), 1, ReturnCode::Accepted);
    world.expect(at(1), &accepted);
    let MsgId(msg_id) = world.expect_publish(at(1), Alias::short(*b"ab"), Qos::One, b"x");
    world.inboxes.clear();
    for answer in [
        puback(0, msg_id + 1, ReturnCode::Accepted),
        regack(0, MsgId(msg_id), ReturnCode::Accepted),
        Packet::Pubcomp(MsgId(msg_id)),
        Packet::Pubrec(MsgId(msg_id)),
    ] {
        world.send(at(1), &answer);
        world.expect_nothing(at(1));
    }
    world.advance(seconds(10));
    let (.., data) = take_publish(&mut world, at(1));
    assert_eq!(data, b"x");
}
