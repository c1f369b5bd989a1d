//! UNSUBSCRIBE (MQTT-SN 1.2 §5.4.17, §5.4.18, §6.9).

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::packet::Unsubscribe;
use mqttsn::{Alias, MsgId, Packet, Qos, TopicRef};

/// Subscribed to `topic`; one UNSUBSCRIBE later nothing is delivered any more.
#[track_caller]
fn unsubscribed(topic: TopicRef<'_>, alias: impl FnOnce(&mut World) -> Alias) {
    let mut world = super::world();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.subscribe(at(1), topic, Qos::Zero);
    world.connect(at(2), "publisher");
    let alias = alias(&mut world);
    let message = publish(alias, Qos::Zero, 0, b"x");
    world.send(at(2), &message);
    world.expect(at(1), &message);
    let msg_id = MsgId(8);
    world.send(at(1), &Packet::Unsubscribe(Unsubscribe { msg_id, topic }));
    world.expect(at(1), &Packet::Unsuback(msg_id));
    world.send(at(2), &message);
    world.expect_nothing(at(1));
}

#[test]
fn a_registered_topic_is_unsubscribed_by_its_name() {
    unsubscribed(name("some/topic"), |world| {
        Alias::normal(world.register(at(2), "some/topic"))
    });
}

/// The suite means a registered topic id by TopicIdType 0b10. That is a short topic name, and no
/// UNSUBSCRIBE carries a normal topic id (MQTT-SN 1.2 §5.4.17).
#[test]
fn a_short_topic_name_is_unsubscribed() {
    unsubscribed(TopicRef::Short(*b"ab"), |_| Alias::short(*b"ab"));
}

#[test]
fn a_predefined_topic_is_unsubscribed_by_its_id() {
    unsubscribed(TopicRef::Predefined(20), |_| Alias::predefined(20));
}
