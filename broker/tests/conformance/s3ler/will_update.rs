//! WILLTOPICUPD and WILLMSGUPD (MQTT-SN 1.2 §5.4.22 to §5.4.25, §6.4). Both are empty in the suite.

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::packet::WillTopic;
use mqttsn::{Alias, Packet, Qos, ReturnCode, TopicRef};

/// With a will, and a watcher at 9 of its topic and of another one.
fn with_will() -> World {
    let mut world = super::world();
    world.connect(at(9), "watcher");
    for topic in [b"wl", b"w2"] {
        world.subscribe(at(9), TopicRef::Short(*topic), Qos::Zero);
    }
    let request = connect_with(ME, true, true, 60);
    open_with_will(&mut world, at(1), &request, "wl", b"gone");
    world
}

#[track_caller]
fn will_is(world: &mut World, topic: [u8; 2], message: &[u8]) {
    world.advance(seconds(90));
    let will = publish(Alias::short(topic), Qos::Zero, 0, message);
    world.expect(at(9), &will);
    world.expect_nothing(at(9));
}

#[test]
fn a_new_will_topic_is_acknowledged_and_takes_the_place_of_the_old_one() {
    let mut world = with_will();
    let topic = WillTopic {
        qos: Qos::Zero,
        retain: false,
        topic: "w2",
    };
    world.send(at(1), &Packet::WillTopicUpd(Some(topic)));
    world.expect(at(1), &Packet::WillTopicResp(ReturnCode::Accepted));
    will_is(&mut world, *b"w2", b"gone");
}

#[test]
fn a_new_will_message_is_acknowledged_and_takes_the_place_of_the_old_one() {
    let mut world = with_will();
    world.send(at(1), &Packet::WillMsgUpd(b"long gone"));
    world.expect(at(1), &Packet::WillMsgResp(ReturnCode::Accepted));
    will_is(&mut world, *b"wl", b"long gone");
}
