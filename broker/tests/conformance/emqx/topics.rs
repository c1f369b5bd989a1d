//! REGISTER, SUBSCRIBE, UNSUBSCRIBE (MQTT-SN 1.2 §6.5, §6.7, §6.9).
//!
//! The suite's gateway hands out topic ids above the highest pre-defined one. The text keeps the two
//! apart by TopicIdType (§5.3.4), so nothing here depends on their values.

use super::*;
use mqttsn::packet::Unsubscribe;

#[test]
fn a_name_that_is_registered_keeps_its_topic_id_when_it_is_subscribed_to() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let id = world.register(at(1), "abcD");
    assert_eq!(world.subscribe(at(1), name("abcD"), Qos::Zero), id);
    assert_eq!(world.broker.sessions()[0].subscriptions.len(), 1);
    world.unsubscribe(at(1), name("abcD"));
    assert!(world.broker.sessions()[0].subscriptions.is_empty());
    leave(&mut world, at(1), None);
}

/// The suite's gateway answers REGISTER of a pre-defined name with the pre-defined id. REGACK and
/// SUBACK carry no TopicIdType, so that would read as a normal topic id with the same number, which
/// MQTT-SN 1.2 §6.7 tells apart: here the client gets a normal one, and both work.
#[test]
fn a_predefined_topic_can_be_had_by_its_name_and_by_its_id() {
    let mut world = predefined();
    world.connect(at(1), "a");
    let id = world.register(at(1), HELLO);
    assert_eq!(world.subscribe(at(1), name(HELLO), Qos::Zero), id);
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"by name");
    world.send(at(1), &message);
    world.expect(at(1), &message);
    world.unsubscribe(at(1), name(HELLO));

    let by_id = TopicRef::Predefined(1);
    assert_eq!(world.subscribe(at(1), by_id, Qos::Zero), 1);
    let message = publish(Alias::predefined(1), Qos::Zero, 0, b"by id");
    world.send(at(1), &message);
    let bytes = world.take(at(1));
    let Ok(Packet::Publish(copy)) = Packet::decode(&bytes) else {
        panic!("PUBLISH");
    };
    assert_eq!(copy.data, b"by id");
    world.unsubscribe(at(1), by_id);
    leave(&mut world, at(1), None);
}

#[test]
fn a_short_topic_name_is_subscribed_to_without_a_topic_id() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    assert_eq!(world.subscribe(at(1), short("te"), Qos::Two), 0);
    world.unsubscribe(at(1), short("te"));
    leave(&mut world, at(1), None);
}

#[test]
fn each_name_has_its_own_topic_id_and_a_wildcard_has_none() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let first = world.register(at(1), "abcD");
    assert_eq!(world.subscribe(at(1), name("abcD"), Qos::One), first);
    assert_eq!(world.subscribe(at(1), name("/sport/#"), Qos::One), 0);
    assert_eq!(world.subscribe(at(1), name("/a/+/water"), Qos::One), 0);
    let second = world.subscribe(at(1), name("/Tom/Home"), Qos::One);
    assert!(second != 0 && second != first);
    world.unsubscribe(at(1), name("abcD"));
    assert_eq!(world.broker.sessions()[0].subscriptions.len(), 3);
}

#[test]
fn a_name_with_a_wildcard_is_not_registered() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let first = world.register(at(1), "abc");
    for filter in ["/blue/#", "/blue/+/white"] {
        world.send(at(1), &register(filter, MsgId(1)));
        world.expect(at(1), &regack(0, MsgId(1), ReturnCode::NotSupported));
    }
    // A dollar sign is only special where it comes first.
    assert_ne!(world.register(at(1), "/$sys/rain"), first);
}

#[test]
fn what_was_subscribed_to_as_a_short_name_ends_by_its_name_too() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.subscribe(at(1), short("Q2"), Qos::Zero);
    world.unsubscribe(at(1), name("Q2"));
    let message = publish(Alias::short(*b"Q2"), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect_nothing(at(1));
}

#[test]
fn an_unknown_predefined_id_is_refused_by_suback_and_its_unsubscribe_is_answered() {
    let mut world = predefined();
    world.connect(at(1), "a");
    let unknown = TopicRef::Predefined(3);
    world.send(at(1), &subscribe(unknown, Qos::Zero, MsgId(1)));
    let refused = suback(0, Qos::Zero, MsgId(1), ReturnCode::InvalidTopicId);
    world.expect(at(1), &refused);
    let unsubscribe = Unsubscribe {
        msg_id: MsgId(2),
        topic: TopicRef::Predefined(4),
    };
    world.send(at(1), &Packet::Unsubscribe(unsubscribe));
    world.expect(at(1), &Packet::Unsuback(MsgId(2)));
}

#[test]
fn a_predefined_id_means_nothing_where_none_is_configured() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let request = subscribe(TopicRef::Predefined(1), Qos::Zero, MsgId(1));
    world.send(at(1), &request);
    let refused = suback(0, Qos::Zero, MsgId(1), ReturnCode::InvalidTopicId);
    world.expect(at(1), &refused);
}

/// MQTT-SN 1.2 §6.9: a subscription that cannot be accepted is answered with the reason.
#[test]
fn a_subscribe_of_the_reserved_topic_id_type_is_refused_by_suback() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let mut request = encode(&subscribe(TopicRef::Predefined(2), Qos::Zero, MsgId(1)));
    request[2] |= 0b11;
    world.send_bytes(at(1), &request);
    let refused = suback(0, Qos::Zero, MsgId(1), ReturnCode::NotSupported);
    world.expect(at(1), &refused);
    // Of nobody it is a message that belongs to no client (§5.4.21).
    world.send_bytes(at(2), &request);
    world.expect(at(2), &disconnect(None));
}

/// MQTT-SN 1.2 §6.7 finds wildcards in two octets of little use, and forbids them no more than the
/// suite does.
#[test]
fn a_short_filter_with_a_wildcard_is_a_filter() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    assert_eq!(world.subscribe(at(1), short("/#"), Qos::Zero), 0);
    publish_elsewhere(&mut world, "/a/b", Qos::Zero, b"x");
    let (topic, id) = world.accept_register(at(1));
    assert_eq!(topic, "/a/b");
    world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.unsubscribe(at(1), short("/#"));
    publish_elsewhere(&mut world, "/a/b", Qos::Zero, b"y");
    world.expect_nothing(at(1));
}
