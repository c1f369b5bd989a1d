//! When a will is published, and how it is changed (MQTT-SN 1.2 §5.4.7, §6.2 to §6.4, §6.12).

use broker::Config;

use crate::clients::*;
use crate::world::*;
use mqttsn::packet::WillTopic;
use mqttsn::{Alias, Packet, Qos, ReturnCode, TopicRef};

const ME: &str = "me";

fn watched() -> World {
    let mut world = World::plain();
    world.connect(at(9), "watcher");
    world.subscribe(at(9), TopicRef::Short(*b"wl"), Qos::Two);
    world
}

fn connected(keep_alive: u16) -> World {
    let mut world = watched();
    let request = connect_with(ME, true, true, keep_alive);
    open_with_will(&mut world, at(1), &request, "wl", b"gone");
    world
}

#[track_caller]
fn will_came(world: &mut World) {
    let will = publish(Alias::short(*b"wl"), Qos::Zero, 0, b"gone");
    world.expect(at(9), &will);
    world.expect_nothing(at(9));
}

#[test]
fn a_normal_disconnect_never_fires_the_will() {
    let mut world = connected(10);
    close(&mut world, at(1));
    world.advance(seconds(1000));
    world.expect_nothing(at(9));
    assert_eq!(world.broker.stats().wills, 0);
}

#[test]
fn a_disconnect_from_sleep_never_fires_the_will() {
    let mut world = connected(10);
    fall_asleep(&mut world, at(1), 10);
    close(&mut world, at(1));
    world.advance(seconds(1000));
    world.expect_nothing(at(9));
}

#[test]
fn a_clean_connect_in_place_of_the_old_connection_deletes_its_will() {
    let mut world = connected(10);
    open(&mut world, at(1), ME, true, 10);
    world.advance(seconds(15));
    world.expect_nothing(at(9));
}

#[test]
fn a_client_that_oversleeps_leaves_its_will() {
    let mut world = connected(10);
    fall_asleep(&mut world, at(1), 100);
    world.advance(ms(149_999));
    world.expect_nothing(at(9));
    world.advance(ms(1));
    will_came(&mut world);
}

#[test]
fn a_client_lost_over_an_unanswered_message_leaves_its_will() {
    let mut world = connected(0);
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::One);
    world.connect(at(2), "publisher");
    world.send(at(2), &publish(Alias::short(*b"ab"), Qos::One, 1, b"x"));
    world.advance(seconds(60));
    will_came(&mut world);
}

#[test]
fn the_will_has_its_own_qos_and_is_retained_if_it_says_so() {
    for qos in [Qos::Zero, Qos::One, Qos::Two] {
        let mut world = watched();
        world.send(at(1), &connect_with(ME, true, true, 10));
        world.expect(at(1), &Packet::WillTopicReq);
        world.send(at(1), &will_topic("wl", qos, true));
        world.expect(at(1), &Packet::WillMsgReq);
        world.send(at(1), &Packet::WillMsg(b"gone"));
        world.expect(at(1), &ACCEPTED);
        world.advance(seconds(15));
        world.expect_publish(at(9), Alias::short(*b"wl"), qos, b"gone");
        world.connect(at(2), "later");
        world.subscribe(at(2), TopicRef::Short(*b"wl"), Qos::Zero);
        let kept = publish_with(Alias::short(*b"wl"), Qos::Zero, 0, true, b"gone");
        world.expect(at(2), &kept);
    }
}

#[test]
fn a_will_topic_that_is_none_is_refused() {
    let deep = "a/".repeat(100);
    for (topic, qos) in [
        ("wl/#", Qos::Zero),
        ("+", Qos::Zero),
        ("wl", Qos::MinusOne),
        (&deep, Qos::Zero),
    ] {
        let mut world = World::plain();
        world.send(at(1), &connect_with(ME, true, true, 10));
        world.expect(at(1), &Packet::WillTopicReq);
        world.send(at(1), &will_topic(topic, qos, false));
        world.expect(at(1), &Packet::Connack(ReturnCode::NotSupported));
        assert_eq!(world.broker.status().sessions, 0);
    }
}

#[test]
fn an_update_that_is_refused_leaves_the_will_as_it_was() {
    let mut world = connected(10);
    let wildcard = WillTopic {
        qos: Qos::Zero,
        retain: false,
        topic: "wl/#",
    };
    world.send(at(1), &Packet::WillTopicUpd(Some(wildcard)));
    let refused = Packet::WillTopicResp(ReturnCode::NotSupported);
    world.expect(at(1), &refused);
    world.advance(seconds(15));
    will_came(&mut world);
}

#[test]
fn who_connected_without_a_will_gets_one_by_updates() {
    let mut world = watched();
    open(&mut world, at(1), ME, true, 10);
    let topic = WillTopic {
        qos: Qos::Zero,
        retain: false,
        topic: "wl",
    };
    world.send(at(1), &Packet::WillTopicUpd(Some(topic)));
    world.expect(at(1), &Packet::WillTopicResp(ReturnCode::Accepted));
    world.send(at(1), &Packet::WillMsgUpd(b"gone"));
    world.expect(at(1), &Packet::WillMsgResp(ReturnCode::Accepted));
    world.advance(seconds(15));
    will_came(&mut world);
}

#[test]
fn an_empty_update_deletes_topic_and_message() {
    let mut world = connected(10);
    world.send(at(1), &Packet::WillTopicUpd(None));
    world.expect(at(1), &Packet::WillTopicResp(ReturnCode::Accepted));
    let topic = WillTopic {
        qos: Qos::Zero,
        retain: false,
        topic: "wl",
    };
    world.send(at(1), &Packet::WillTopicUpd(Some(topic)));
    world.expect(at(1), &Packet::WillTopicResp(ReturnCode::Accepted));
    world.advance(seconds(15));
    let (_, _, _, data) = take_publish(&mut world, at(9));
    assert_eq!(data, b"");
}

#[test]
fn an_updated_will_is_stored_beyond_the_connection() {
    let mut world = watched();
    let request = connect_with(ME, false, true, 10);
    open_with_will(&mut world, at(1), &request, "wl", b"old");
    world.send(at(1), &Packet::WillMsgUpd(b"gone"));
    world.expect(at(1), &Packet::WillMsgResp(ReturnCode::Accepted));
    close(&mut world, at(1));
    open(&mut world, at(1), ME, false, 10);
    world.advance(seconds(15));
    will_came(&mut world);
}

#[test]
fn who_is_not_connected_cannot_update_a_will() {
    let mut world = connected(10);
    fall_asleep(&mut world, at(1), 100);
    for update in [Packet::WillTopicUpd(None), Packet::WillMsgUpd(b"new")] {
        for who in [at(1), at(2)] {
            world.send(who, &update);
            world.expect(who, &disconnect(None));
        }
    }
    world.advance(seconds(150));
    will_came(&mut world);
}

#[test]
fn of_too_many_dialogues_the_oldest_makes_room() {
    let mut world = World::new(Config {
        max_unconfirmed_sessions: 1,
        ..Config::default()
    });
    world.send(at(1), &connect_with("a", true, true, 10));
    world.expect(at(1), &Packet::WillTopicReq);
    world.send(at(2), &connect_with("b", true, true, 10));
    world.expect(at(2), &Packet::WillTopicReq);
    world.send(at(2), &Packet::WillTopic(None));
    world.expect(at(2), &Packet::Connack(ReturnCode::Accepted));
    // The other one is asked to start over.
    world.send(at(1), &Packet::WillTopic(None));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.stats().dialogues_evicted, 1);
}
