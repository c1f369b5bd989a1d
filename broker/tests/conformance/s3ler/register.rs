//! REGISTER from a client (MQTT-SN 1.2 §5.4.10, §5.4.11, §6.5).

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::packet::{Regack, Register};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode};

/// Registers with these values, and publishes to a subscriber under the id that comes back.
#[track_caller]
fn registered(topic_id: u16, msg_id: u16, topic: &str) {
    let mut world = World::plain();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.connect(at(9), "watcher");
    let watched = world.subscribe(at(9), name(topic), Qos::Zero);
    let request = Packet::Register(Register {
        topic_id,
        msg_id: MsgId(msg_id),
        topic_name: topic,
    });
    world.send(at(1), &request);
    let answer = world.take(at(1));
    let Ok(Packet::Regack(regack)) = Packet::decode(&answer) else {
        panic!("REGACK, not {:?}", Packet::decode(&answer));
    };
    let given = regack.topic_id;
    assert!((1..0xFFFF).contains(&given), "{given:#06x} is reserved");
    let accepted = Regack {
        topic_id: given,
        msg_id: MsgId(msg_id),
        return_code: ReturnCode::Accepted,
    };
    assert_eq!(regack, accepted);
    world.send(at(1), &publish(Alias::normal(given), Qos::Zero, 0, b"x"));
    world.expect(at(9), &publish(Alias::normal(watched), Qos::Zero, 0, b"x"));
}

#[test]
fn a_topic_name_gets_a_topic_id() {
    registered(0, 5, "some/topic");
}

/// The suite wants DISCONNECT. The TopicId of a client's REGISTER is not relevant (MQTT-SN 1.2
/// §5.4.10).
#[test]
fn the_topic_id_one_of_the_request_is_not_relevant() {
    registered(1, 5, "some/topic");
}

/// The suite wants DISCONNECT (MQTT-SN 1.2 §5.4.10, as above).
#[test]
fn the_largest_topic_id_of_the_request_is_not_relevant() {
    registered(u16::MAX, 5, "some/topic");
}

#[test]
fn the_lowest_msg_id_is_echoed() {
    registered(0, 0, "some/topic");
}

#[test]
fn the_msg_id_one_is_echoed() {
    registered(0, 1, "some/topic");
}

#[test]
fn the_highest_msg_id_is_echoed() {
    registered(0, u16::MAX, "some/topic");
}

#[test]
fn a_topic_name_of_one_character_is_registered() {
    registered(0, 5, "t");
}

#[test]
fn a_topic_name_that_fills_the_short_length_is_registered() {
    let topic = "t".repeat(249);
    assert_eq!(encode(&register(&topic, MsgId(5))).len(), 255);
    registered(0, 5, &topic);
}

/// The suite wants DISCONNECT. A longer message has the longer Length field (MQTT-SN 1.2 §5.2.1).
#[test]
fn a_topic_name_beyond_the_short_length_is_registered() {
    registered(0, 5, &"t".repeat(250));
}

/// The suite wants DISCONNECT. What cannot be accepted is answered with a REGACK that says why
/// (MQTT-SN 1.2 §6.5).
#[test]
fn a_topic_name_without_a_character_is_refused() {
    let mut world = World::plain();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.send(at(1), &register("", MsgId(5)));
    world.expect(at(1), &regack(0, MsgId(5), ReturnCode::NotSupported));
    world.expect_nothing(at(1));
}
