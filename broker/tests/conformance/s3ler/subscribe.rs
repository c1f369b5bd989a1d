//! SUBSCRIBE (MQTT-SN 1.2 §5.4.15, §5.4.16, §6.9).

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::{MsgId, Qos, ReturnCode, TopicRef};

fn connected() -> World {
    let mut world = super::world();
    open(&mut world, at(1), ME, false, u16::MAX);
    world
}

/// The SUBACK to a predefined topic carries the id that PUBLISH will carry (MQTT-SN 1.2 §5.4.16);
/// the suite wants another one there, which its gateway has made up.
#[track_caller]
fn predefined(id: u16) {
    let mut world = connected();
    let request = subscribe(TopicRef::Predefined(id), Qos::Zero, MsgId(5));
    world.send(at(1), &request);
    world.expect(
        at(1),
        &suback(id, Qos::Zero, MsgId(5), ReturnCode::Accepted),
    );
    world.expect_nothing(at(1));
}

/// The suite subscribes to predefined topic 0x0000, which is reserved (MQTT-SN 1.2 §5.3.11): the
/// lowest is 0x0001.
#[test]
fn the_lowest_predefined_topic_is_subscribed_to() {
    predefined(1);
    let mut world = connected();
    world.send(
        at(1),
        &subscribe(TopicRef::Predefined(0), Qos::Zero, MsgId(5)),
    );
    let refused = suback(0, Qos::Zero, MsgId(5), ReturnCode::InvalidTopicId);
    world.expect(at(1), &refused);
}

/// The suite subscribes to predefined topic 0xFFFF, which is reserved (MQTT-SN 1.2 §5.3.11): the
/// highest is 0xFFFE.
#[test]
fn the_highest_predefined_topic_is_subscribed_to() {
    predefined(0xFFFE);
    let mut world = connected();
    world.send(
        at(1),
        &subscribe(TopicRef::Predefined(0xFFFF), Qos::Zero, MsgId(5)),
    );
    let refused = suback(0, Qos::Zero, MsgId(5), ReturnCode::InvalidTopicId);
    world.expect(at(1), &refused);
}

#[test]
fn a_predefined_topic_is_subscribed_to_by_its_id() {
    predefined(20);
}

#[test]
fn a_topic_that_is_not_registered_is_subscribed_to_by_its_name() {
    let mut world = connected();
    let other = world.register(at(1), "registered");
    let id = world.subscribe(at(1), name("not/registered"), Qos::Zero);
    assert!((1..0xFFFF).contains(&id) && id != other);
}

/// The suite subscribes to a registered topic by its id with TopicIdType 0b10. That is a short topic
/// name, and the two octets of the id are not one; a registered topic is subscribed to by its name
/// and keeps its id (MQTT-SN 1.2 §5.4.15).
#[test]
fn a_registered_topic_is_subscribed_to_by_its_name_and_keeps_its_id() {
    let mut world = connected();
    let id = world.register(at(1), "registered");
    assert_eq!(world.subscribe(at(1), name("registered"), Qos::Zero), id);
    let octets = TopicRef::Short(id.to_be_bytes());
    world.send(at(1), &subscribe(octets, Qos::Zero, MsgId(5)));
    let refused = suback(0, Qos::Zero, MsgId(5), ReturnCode::NotSupported);
    world.expect(at(1), &refused);
}

const RETAIN: u8 = 0x10;
const WILL: u8 = 0x08;
const CLEAN_SESSION: u8 = 0x04;
const PREDEFINED: u8 = 0b01;
const RESERVED: u8 = 0b11;

/// SUBSCRIBE to topic 20 with these flags.
fn send_flags(world: &mut World, flags: u8) {
    world.send_bytes(at(1), &[7, 0x12, flags, 0, 5, 0, 20]);
}

/// The suite wants DISCONNECT where a flag is set that SUBSCRIBE does not use. "Not used" is not
/// "zero": the flag is ignored (MQTT-SN 1.2 §5.4.15).
#[track_caller]
fn ignored(flags: u8) {
    let mut world = connected();
    send_flags(&mut world, flags | PREDEFINED);
    world.expect(
        at(1),
        &suback(20, Qos::Zero, MsgId(5), ReturnCode::Accepted),
    );
}

#[test]
fn the_retain_flag_is_ignored() {
    ignored(RETAIN);
}

#[test]
fn the_will_flag_is_ignored() {
    ignored(WILL);
}

#[test]
fn the_clean_session_flag_is_ignored() {
    ignored(CLEAN_SESSION);
}

#[test]
fn the_retain_and_will_flags_are_ignored() {
    ignored(RETAIN | WILL);
}

#[test]
fn the_retain_and_clean_session_flags_are_ignored() {
    ignored(RETAIN | CLEAN_SESSION);
}

#[test]
fn the_will_and_clean_session_flags_are_ignored() {
    ignored(WILL | CLEAN_SESSION);
}

#[test]
fn all_flags_that_are_not_used_are_ignored_together() {
    ignored(RETAIN | WILL | CLEAN_SESSION);
}

/// The suite wants DISCONNECT. What cannot be accepted is answered with a SUBACK that says why
/// (MQTT-SN 1.2 §6.9).
#[track_caller]
fn refused(flags: u8) {
    let mut world = connected();
    send_flags(&mut world, flags | RESERVED);
    let refused = suback(0, Qos::Zero, MsgId(5), ReturnCode::NotSupported);
    world.expect(at(1), &refused);
    world.expect_nothing(at(1));
    assert!(world.broker.sessions()[0].subscriptions.is_empty());
}

#[test]
fn the_reserved_topic_id_type_is_refused() {
    refused(CLEAN_SESSION);
}

#[test]
fn the_reserved_topic_id_type_with_retain_and_clean_session_is_refused() {
    refused(RETAIN | CLEAN_SESSION);
}

#[test]
fn the_reserved_topic_id_type_with_all_flags_is_refused() {
    refused(RETAIN | WILL | CLEAN_SESSION);
}
