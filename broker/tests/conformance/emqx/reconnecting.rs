//! Sessions that are taken up again (MQTT-SN 1.2 §6.3, §6.5, §6.10).
//!
//! The suite's gateway can be told to register every subscription right after CONNACK. Here, as §6.10
//! has it, REGISTER precedes the first PUBLISH of a topic. QoS 0 messages of the time in between are
//! not kept (MQTT 3.1.1 §4.1 leaves that open).

use super::*;

/// A persistent session with two subscriptions; their topic ids.
fn two_topics(world: &mut World) -> [u16; 2] {
    connect_persistent(world, at(1), "test");
    ["topic-a", "topic-b"].map(|topic| world.subscribe(at(1), name(topic), Qos::Two))
}

#[test]
fn what_came_meanwhile_is_delivered_in_order_after_its_register() {
    let mut world = World::plain();
    let ids = two_topics(&mut world);
    for (topic, id) in ["topic-a", "topic-b"].into_iter().zip(ids) {
        publish_elsewhere(&mut world, topic, Qos::One, b"before");
        receive(&mut world, at(1), Alias::normal(id), Qos::One, b"before");
    }
    leave(&mut world, at(1), None);
    for topic in ["topic-a", "topic-b"] {
        publish_elsewhere(&mut world, topic, Qos::One, b"m2");
        publish_elsewhere(&mut world, topic, Qos::Two, b"m3");
    }
    connect_persistent(&mut world, at(2), "test");
    for (topic, id) in ["topic-a", "topic-b"].into_iter().zip(ids) {
        assert_eq!(world.accept_register(at(2)), (topic.to_owned(), id));
        receive(&mut world, at(2), Alias::normal(id), Qos::One, b"m2");
        receive(&mut world, at(2), Alias::normal(id), Qos::Two, b"m3");
    }
    world.advance(ms(60_000));
    world.expect_nothing(at(2));
    world.expect_nothing(at(1));
}

/// The suite's gateway registers it nevertheless. MQTT-SN 1.2 §6.7: both sides know the id in advance.
#[test]
fn a_predefined_topic_needs_no_register_after_a_reconnection() {
    let mut world = predefined();
    connect_persistent(&mut world, at(1), "test");
    world.subscribe(at(1), TopicRef::Predefined(1), Qos::One);
    leave(&mut world, at(1), None);
    publish_elsewhere(&mut world, HELLO, Qos::One, b"same-source");
    connect_persistent(&mut world, at(1), "test");
    receive(
        &mut world,
        at(1),
        Alias::predefined(1),
        Qos::One,
        b"same-source",
    );
    world.expect_nothing(at(1));
}

#[test]
fn an_exchange_that_was_not_over_is_taken_up_first_and_the_rest_one_by_one() {
    let mut world = World::plain();
    let ids = two_topics(&mut world);
    publish_elsewhere(&mut world, "topic-b", Qos::Two, b"test-b");
    let alias = Alias::normal(ids[1]);
    let unfinished = world.expect_publish(at(1), alias, Qos::Two, b"test-b");
    world.send(at(1), &Packet::Pubrec(unfinished));
    world.expect(at(1), &Packet::Pubrel(unfinished));
    leave(&mut world, at(1), None);
    for topic in ["topic-a", "topic-b"] {
        for data in [b"m1", b"m2", b"m3"] {
            publish_elsewhere(&mut world, topic, Qos::Two, data);
        }
    }

    connect_persistent(&mut world, at(2), "test");
    world.expect(at(2), &Packet::Pubrel(unfinished));
    world.expect_nothing(at(2));
    world.send(at(2), &Packet::Pubcomp(unfinished));
    for (topic, id) in ["topic-a", "topic-b"].into_iter().zip(ids) {
        assert_eq!(world.accept_register(at(2)), (topic.to_owned(), id));
        let alias = Alias::normal(id);
        // It has forgotten the id as soon as it was told.
        let msg_id = world.expect_publish(at(2), alias, Qos::Two, b"m1");
        world.expect_nothing(at(2));
        world.send(at(2), &puback(id, msg_id.0, ReturnCode::InvalidTopicId));
        assert_eq!(world.accept_register(at(2)), (topic.to_owned(), id));
        for data in [b"m1", b"m2", b"m3"] {
            receive(&mut world, at(2), alias, Qos::Two, data);
        }
    }
    world.expect_nothing(at(2));
}

#[test]
fn a_refused_register_drops_its_topic_and_an_unanswered_one_the_client() {
    let mut world = World::plain();
    let ids = two_topics(&mut world);
    leave(&mut world, at(1), None);
    for topic in ["topic-a", "topic-b"] {
        publish_elsewhere(&mut world, topic, Qos::One, b"m");
    }
    connect_persistent(&mut world, at(2), "test");
    let bytes = world.take(at(2));
    let Ok(Packet::Register(first)) = Packet::decode(&bytes) else {
        panic!("REGISTER");
    };
    assert_eq!((first.topic_name, first.topic_id), ("topic-a", ids[0]));
    let refused = regack(ids[0], first.msg_id, ReturnCode::InvalidTopicId);
    world.send(at(2), &refused);

    let second = world.take(at(2));
    let Ok(Packet::Register(register)) = Packet::decode(&second) else {
        panic!("REGISTER");
    };
    assert_eq!(
        (register.topic_name, register.topic_id),
        ("topic-b", ids[1])
    );
    let Config {
        t_retry_ms,
        n_retry,
        ..
    } = Config::default();
    for _ in 0..n_retry {
        world.advance(ms(t_retry_ms));
        assert_eq!(world.take(at(2)), second);
        // That it is alive does not answer for it.
        world.send(at(2), &pingreq("test"));
        world.expect(at(2), &Packet::Pingresp);
    }
    world.advance(ms(t_retry_ms));
    world.expect(at(2), &disconnect(None));
    world.expect_nothing(at(2));
}

#[test]
fn what_comes_while_a_register_is_out_waits_behind_it() {
    let mut world = World::plain();
    let [id, _] = two_topics(&mut world);
    leave(&mut world, at(1), None);
    publish_elsewhere(&mut world, "topic-a", Qos::One, b"m0");
    connect_persistent(&mut world, at(2), "test");
    let bytes = world.take(at(2));
    let Ok(Packet::Register(register)) = Packet::decode(&bytes) else {
        panic!("REGISTER");
    };
    publish_elsewhere(&mut world, "topic-a", Qos::Zero, b"m1");
    publish_elsewhere(&mut world, "topic-a", Qos::One, b"m2");
    world.expect_nothing(at(2));
    world.send(at(2), &regack(id, register.msg_id, ReturnCode::Accepted));
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"m0");
    receive(&mut world, at(2), Alias::normal(id), Qos::Zero, b"m1");
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"m2");
    world.expect_nothing(at(2));
}
