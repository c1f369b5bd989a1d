//! REGISTER in both directions (MQTT-SN 1.2 §6.5, §6.9, §6.10).

use broker::Config;

use crate::clients::*;
use crate::world::*;
use mqttsn::packet::Register;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode};

/// A publisher at 1, and a persistent subscriber of everything at 2.
fn pair() -> World {
    let mut world = World::plain();
    world.connect(at(1), "publisher");
    open(&mut world, at(2), "subscriber", false, 0);
    assert_eq!(world.subscribe(at(2), name("#"), Qos::One), 0);
    world
}

#[track_caller]
fn take_register(world: &mut World) -> (u16, MsgId, String) {
    let bytes = world.take(at(2));
    match Packet::decode(&bytes) {
        Ok(Packet::Register(Register {
            topic_id,
            msg_id,
            topic_name,
        })) => (topic_id, msg_id, topic_name.to_owned()),
        other => panic!("REGISTER, not {other:?}"),
    }
}

#[test]
fn the_publish_waits_for_the_regack_and_one_register_is_outstanding() {
    let mut world = pair();
    let ids = [
        world.register(at(1), "topic/1"),
        world.register(at(1), "topic/2"),
    ];
    for id in ids {
        world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    }
    let (topic_id, msg_id, topic) = take_register(&mut world);
    assert_eq!(topic, "topic/1");
    assert!((1..0xFFFF).contains(&topic_id) && msg_id != MsgId(0));
    world.expect_nothing(at(2));
    world.send(at(2), &regack(topic_id, msg_id, ReturnCode::Accepted));
    world.expect(at(2), &publish(Alias::normal(topic_id), Qos::Zero, 0, b"x"));
    let (_, _, topic) = take_register(&mut world);
    assert_eq!(topic, "topic/2");
    world.expect_nothing(at(2));
}

#[test]
fn a_regack_with_another_msg_id_is_not_the_answer() {
    let mut world = pair();
    let id = world.register(at(1), "topic/1");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    let (topic_id, MsgId(msg_id), _) = take_register(&mut world);
    let stranger = regack(topic_id, MsgId(msg_id + 1), ReturnCode::Accepted);
    world.send(at(2), &stranger);
    world.expect_nothing(at(2));
}

#[test]
fn a_rejection_unsubscribes_that_topic_name_and_no_other() {
    let mut world = pair();
    let bad = world.register(at(1), "topic/bad");
    let good = world.register(at(1), "topic/good");
    for _ in 0..2 {
        for id in [bad, good] {
            world.send(at(1), &publish(Alias::normal(id), Qos::One, 1, b"x"));
        }
    }
    let (topic_id, msg_id, _) = take_register(&mut world);
    let rejection = regack(topic_id, msg_id, ReturnCode::NotSupported);
    world.send(at(2), &rejection);
    let (topic, id) = world.accept_register(at(2));
    assert_eq!(topic, "topic/good");
    for _ in 0..2 {
        let MsgId(msg_id) = world.expect_publish(at(2), Alias::normal(id), Qos::One, b"x");
        world.send(at(2), &puback(id, msg_id, ReturnCode::Accepted));
    }
    world.expect_nothing(at(2));
    world.send(at(1), &publish(Alias::normal(bad), Qos::One, 1, b"x"));
    world.expect_nothing(at(2));
}

#[test]
fn after_congestion_the_topic_is_registered_for_the_next_message() {
    let mut world = pair();
    let id = world.register(at(1), "topic/1");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"1"));
    let (topic_id, msg_id, _) = take_register(&mut world);
    let rejection = regack(topic_id, msg_id, ReturnCode::Congestion);
    world.send(at(2), &rejection);
    world.expect_nothing(at(2));
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"2"));
    let (_, id) = world.accept_register(at(2));
    world.expect(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"2"));
}

#[test]
fn a_client_that_reconnects_without_clean_session_is_told_its_topic_ids_anew() {
    let mut world = World::plain();
    world.connect(at(1), "publisher");
    open(&mut world, at(2), "subscriber", false, 0);
    let before = world.subscribe(at(2), name("topic/1"), Qos::Zero);
    close(&mut world, at(2));
    open(&mut world, at(2), "subscriber", false, 0);
    let id = world.register(at(1), "topic/1");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    let (topic, after) = world.accept_register(at(2));
    assert_eq!((topic.as_str(), after), ("topic/1", before));
    world.expect(at(2), &publish(Alias::normal(after), Qos::Zero, 0, b"x"));
}

#[test]
fn an_id_that_was_known_before_a_reconnection_is_told_anew_to_a_later_wildcard_too() {
    let mut world = World::plain();
    world.connect(at(1), "publisher");
    open(&mut world, at(2), "subscriber", false, 0);
    let before = world.register(at(2), "topic/1");
    close(&mut world, at(2));
    open(&mut world, at(2), "subscriber", false, 0);
    world.subscribe(at(2), name("topic/+"), Qos::Zero);
    let id = world.register(at(1), "topic/1");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    assert_eq!(world.accept_register(at(2)), ("topic/1".to_owned(), before));
    world.expect(at(2), &publish(Alias::normal(before), Qos::Zero, 0, b"x"));
}

#[test]
fn a_client_that_reconnects_may_go_on_with_the_ids_it_registered() {
    let mut world = World::plain();
    open(&mut world, at(1), "publisher", false, 0);
    let id = world.register(at(1), "topic/1");
    close(&mut world, at(1));
    open(&mut world, at(1), "publisher", false, 0);
    world.send(at(1), &publish(Alias::normal(id), Qos::One, 1, b"x"));
    world.expect(at(1), &puback(id, 1, ReturnCode::Accepted));
    assert_eq!(world.register(at(1), "topic/1"), id);
}

#[test]
fn a_client_that_does_not_know_an_id_any_more_is_told_anew() {
    let mut world = World::plain();
    world.connect(at(1), "publisher");
    world.connect(at(2), "subscriber");
    for (topic, qos) in [
        ("topic/0", Qos::Zero),
        ("topic/1", Qos::One),
        ("topic/2", Qos::Two),
    ] {
        let theirs = world.subscribe(at(2), name(topic), qos);
        let id = world.register(at(1), topic);
        let message = publish(Alias::normal(id), qos, 1, b"x");
        world.send(at(1), &message);
        let bytes = world.take(at(2));
        let Ok(Packet::Publish(first)) = Packet::decode(&bytes) else {
            panic!("PUBLISH");
        };
        let unknown = puback(theirs, first.msg_id.0, ReturnCode::InvalidTopicId);
        world.send(at(2), &unknown);
        if qos == Qos::Zero {
            // That one is gone; the next one comes under a known id.
            world.send(at(1), &message);
        }
        assert_eq!(world.accept_register(at(2)).0, topic);
        let MsgId(msg_id) = world.expect_publish(at(2), Alias::normal(theirs), qos, b"x");
        match qos {
            Qos::One => {
                let answer = puback(theirs, msg_id, ReturnCode::Accepted);
                world.send(at(2), &answer);
            }
            Qos::Two => world.send(at(2), &Packet::Pubrec(MsgId(msg_id))),
            Qos::MinusOne | Qos::Zero => {}
        }
        world.inboxes.clear();
        if qos == Qos::Two {
            world.send(at(2), &Packet::Pubcomp(MsgId(msg_id)));
        }
    }
    assert_eq!(world.broker.status().active, 2);
}

#[test]
fn congestion_is_said_in_regack_and_suback() {
    let mut world = World::new(Config {
        max_topics: 1,
        ..Config::default()
    });
    world.connect(at(1), "me");
    world.register(at(1), "topic/1");
    world.send(at(1), &register("topic/2", MsgId(5)));
    world.expect(at(1), &regack(0, MsgId(5), ReturnCode::Congestion));
    world.send(at(1), &subscribe(name("topic/2"), Qos::Zero, MsgId(6)));
    let refused = suback(0, Qos::Zero, MsgId(6), ReturnCode::Congestion);
    world.expect(at(1), &refused);
}

#[test]
fn a_wildcard_is_left_by_unsubscribe_and_not_by_rejections() {
    let mut world = pair();
    let id = world.register(at(1), "topic/1");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    let (topic_id, msg_id, _) = take_register(&mut world);
    let rejection = regack(topic_id, msg_id, ReturnCode::NotSupported);
    world.send(at(2), &rejection);
    assert_eq!(world.broker.sessions()[1].subscriptions.len(), 1);
    world.unsubscribe(at(2), name("#"));
    let id = world.register(at(1), "topic/2");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect_nothing(at(2));
}
