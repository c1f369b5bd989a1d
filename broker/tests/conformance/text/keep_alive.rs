//! Who is alive and who is lost (MQTT-SN 1.2 §6.11, §7.2).

use broker::Config;

use crate::clients::*;
use crate::world::*;
use mqttsn::packet::Unsubscribe;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

const AB: TopicRef<'static> = TopicRef::Short(*b"ab");

/// Connected with a keep-alive of 10 s.
fn connected() -> World {
    let mut world = World::plain();
    open(&mut world, at(1), "me", true, 10);
    world
}

#[test]
fn half_as_long_again_is_tolerated_and_no_more() {
    let mut world = connected();
    for _ in 0..3 {
        world.advance(ms(14_999));
        world.send(at(1), &pingreq(""));
        world.expect(at(1), &Packet::Pingresp);
    }
    world.advance(ms(14_999));
    world.expect_nothing(at(1));
    world.advance(ms(1));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn the_tolerance_is_the_operators_and_holds_for_sleep_too() {
    let config = Config {
        keep_alive_tolerance: 1.1,
        ..Config::default()
    };
    let mut world = World::new(config);
    open(&mut world, at(1), "me", true, 100);
    world.advance(ms(109_999));
    world.send(at(1), &disconnect(Some(1000)));
    world.expect(at(1), &disconnect(None));
    world.advance(ms(1_099_999));
    assert_eq!(world.broker.stats().sessions_lost, 0);
    world.advance(ms(1));
    assert_eq!(world.broker.stats().sessions_lost, 1);
}

/// "Any message" is the text's word, so each kind of message counts.
#[test]
fn each_kind_of_message_is_a_sign_of_life() {
    let topic = AB;
    let messages = [
        pingreq(""),
        register("some/topic", MsgId(1)),
        subscribe(topic, Qos::Zero, MsgId(1)),
        Packet::Unsubscribe(Unsubscribe {
            msg_id: MsgId(1),
            topic,
        }),
        publish(Alias::short(*b"cd"), Qos::Zero, 0, b"x"),
        publish(Alias::short(*b"cd"), Qos::One, 1, b"x"),
        publish(Alias::normal(99), Qos::Zero, 0, b"unknown"),
        Packet::Pubrel(MsgId(9)),
        puback(1, 9, ReturnCode::Accepted),
        regack(1, MsgId(9), ReturnCode::Accepted),
        Packet::Pubrec(MsgId(9)),
        Packet::Pubcomp(MsgId(9)),
        Packet::WillTopicUpd(None),
        Packet::WillMsgUpd(b"gone"),
    ];
    for message in messages {
        let mut world = connected();
        for _ in 0..3 {
            world.advance(ms(14_999));
            world.send(at(1), &message);
        }
        assert_eq!(world.broker.stats().sessions_lost, 0, "{message:?}");
    }
}

#[test]
fn what_is_sent_to_a_client_is_no_sign_of_its_life() {
    let mut world = connected();
    world.subscribe(at(1), AB, Qos::Zero);
    world.connect(at(2), "publisher");
    let message = publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x");
    for _ in 0..15 {
        world.send(at(2), &message);
        world.expect(at(1), &message);
        world.advance(seconds(1));
    }
    world.expect(at(1), &disconnect(None));
}

#[test]
fn a_lost_client_is_told_and_must_connect_anew() {
    let mut world = connected();
    world.advance(seconds(15));
    world.expect(at(1), &disconnect(None));
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &disconnect(None));
    open(&mut world, at(1), "me", true, 10);
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
}

#[test]
fn each_connect_sets_the_keep_alive_anew() {
    let mut world = connected();
    open(&mut world, at(1), "me", true, 100);
    world.advance(seconds(149));
    assert_eq!(world.broker.stats().sessions_lost, 0);
    open(&mut world, at(1), "me", true, 1);
    world.advance(ms(1_500));
    assert_eq!(world.broker.stats().sessions_lost, 1);
}
