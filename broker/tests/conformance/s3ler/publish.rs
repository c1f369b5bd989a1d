//! PUBLISH to a predefined topic at each QoS (MQTT-SN 1.2 §6.6 to §6.8).

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

const ALIAS: Alias = Alias::predefined(50);
const HEARD: Packet<'static> = Packet::Publish(mqttsn::packet::Publish {
    dup: false,
    qos: Qos::Zero,
    retain: false,
    alias: ALIAS,
    msg_id: MsgId(0),
    data: b"x",
});

/// A watcher of the topic at 9.
fn watched() -> World {
    let mut world = super::world();
    world.connect(at(9), "watcher");
    world.subscribe(at(9), TopicRef::Predefined(50), Qos::Zero);
    world
}

#[test]
fn qos_minus_1_needs_no_connection() {
    let mut world = watched();
    world.send(at(1), &publish(ALIAS, Qos::MinusOne, 0, b"x"));
    world.expect(at(9), &HEARD);
    world.expect_nothing(at(1));
}

#[test]
fn qos_0_is_passed_on_and_not_answered() {
    let mut world = watched();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.send(at(1), &publish(ALIAS, Qos::Zero, 0, b"x"));
    world.expect(at(9), &HEARD);
    world.expect_nothing(at(1));
}

#[test]
fn qos_1_is_passed_on_and_acknowledged_with_topic_id_and_msg_id() {
    let mut world = watched();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.send(at(1), &publish(ALIAS, Qos::One, 10, b"x"));
    world.expect(at(9), &HEARD);
    world.expect(at(1), &puback(50, 10, ReturnCode::Accepted));
}

/// Disabled and empty in the suite.
#[test]
fn qos_2_is_passed_on_once_and_acknowledged_in_four_steps() {
    let mut world = watched();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.send(at(1), &publish(ALIAS, Qos::Two, 10, b"x"));
    world.expect(at(1), &Packet::Pubrec(MsgId(10)));
    world.send(at(1), &Packet::Pubrel(MsgId(10)));
    world.expect(at(1), &Packet::Pubcomp(MsgId(10)));
    world.expect(at(9), &HEARD);
    world.expect_nothing(at(9));
}
