//! What a subscriber of a predefined topic receives (MQTT-SN 1.2 §6.7, §6.9, §6.10).
//!
//! The suite's publisher is a client of an MQTT server; here it is another client of this one. The
//! suite's lowest predefined topic is 0x0000, which is reserved (§5.3.11): here it is 0x0001. It
//! wants another topic id, of type 0b10, in SUBACK and PUBLISH; a predefined topic is called by its
//! predefined id (§6.7).

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

const TOPIC: TopicRef<'static> = TopicRef::Predefined(1);
const ALIAS: Alias = Alias::predefined(1);
const DATA: &[u8] = b"some data";

/// The client under test at 1, and a publisher at 2.
fn connected() -> World {
    let mut world = super::world();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.connect(at(2), "publisher");
    world
}

/// Publishes at this QoS, to the end of the exchange.
#[track_caller]
fn published(world: &mut World, who: u8, qos: Qos, retain: bool) {
    let who = at(who);
    world.send(who, &publish_with(ALIAS, qos, 7, retain, DATA));
    match qos {
        Qos::MinusOne | Qos::Zero => {}
        Qos::One => world.expect(who, &puback(1, 7, ReturnCode::Accepted)),
        Qos::Two => {
            world.expect(who, &Packet::Pubrec(MsgId(7)));
            world.send(who, &Packet::Pubrel(MsgId(7)));
            world.expect(who, &Packet::Pubcomp(MsgId(7)));
        }
    }
}

/// The client under test receives it at this QoS, once, to the end of the exchange.
#[track_caller]
fn received(world: &mut World, qos: Qos, retain: bool) {
    let bytes = world.take(at(1));
    let Ok(Packet::Publish(p)) = Packet::decode(&bytes) else {
        panic!("PUBLISH, not {:?}", Packet::decode(&bytes));
    };
    assert_eq!((p.alias, p.qos, p.data), (ALIAS, qos, DATA));
    assert_eq!((p.dup, p.retain), (false, retain));
    match qos {
        Qos::MinusOne | Qos::Zero => assert_eq!(p.msg_id, MsgId(0)),
        Qos::One => world.send(at(1), &puback(1, p.msg_id.0, ReturnCode::Accepted)),
        Qos::Two => {
            // The suite wants a MsgId of its own for each step. All four messages carry the one of
            // the PUBLISH (MQTT-SN 1.2 §5.4.14).
            world.send(at(1), &Packet::Pubrec(p.msg_id));
            world.expect(at(1), &Packet::Pubrel(p.msg_id));
            world.send(at(1), &Packet::Pubcomp(p.msg_id));
        }
    }
    world.advance(seconds(60));
    world.expect_nothing(at(1));
}

#[track_caller]
fn live(qos: Qos) {
    let mut world = connected();
    world.subscribe(at(1), TOPIC, qos);
    published(&mut world, 2, qos, false);
    received(&mut world, qos, false);
}

#[test]
fn qos_0_is_received_at_qos_0() {
    live(Qos::Zero);
}

#[test]
fn qos_1_is_received_at_qos_1() {
    live(Qos::One);
}

#[test]
fn qos_2_is_received_at_qos_2() {
    live(Qos::Two);
}

/// The suite wants Retain 0. A retained message that a new subscription brings has Retain 1, as with
/// MQTT (MQTT-SN 1.2 §5.3.4, MQTT 3.1.1 §3.3.1.3).
#[track_caller]
fn kept(qos: Qos) {
    let mut world = connected();
    published(&mut world, 2, qos, true);
    world.subscribe(at(1), TOPIC, qos);
    received(&mut world, qos, true);
}

#[test]
fn a_retained_message_of_qos_0_is_received_after_the_suback() {
    kept(Qos::Zero);
}

#[test]
fn a_retained_message_of_qos_1_is_received_after_the_suback() {
    kept(Qos::One);
}

#[test]
fn a_retained_message_of_qos_2_is_received_after_the_suback() {
    kept(Qos::Two);
}

/// The client's own retained message of QoS 0, under a subscription of this QoS. The suite wants the
/// subscription's QoS and Retain 0; the lower of both is right (MQTT 3.1.1 §3.8.4), and Retain 1.
#[track_caller]
fn own(granted: Qos) {
    let mut world = connected();
    published(&mut world, 1, Qos::Zero, true);
    world.subscribe(at(1), TOPIC, granted);
    received(&mut world, Qos::Zero, true);
}

#[test]
fn its_own_retained_message_is_received_under_qos_0() {
    own(Qos::Zero);
}

#[test]
fn its_own_retained_message_is_received_under_qos_1_as_published() {
    own(Qos::One);
}

#[test]
fn its_own_retained_message_is_received_under_qos_2_as_published() {
    own(Qos::Two);
}

/// The suite subscribes by the registered id with TopicIdType 0b10, a short topic name by the text
/// (MQTT-SN 1.2 §5.4.15). By its name the topic keeps the id that it was registered with.
#[test]
fn a_registered_topic_is_received_under_its_registered_id() {
    let mut world = connected();
    let id = world.register(at(1), "registered");
    assert_eq!(world.subscribe(at(1), name("registered"), Qos::Zero), id);
    let theirs = world.register(at(2), "registered");
    world.send(at(2), &publish(Alias::normal(theirs), Qos::Zero, 0, DATA));
    world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, DATA));
}
