//! Keep-alive, wills and sleep (MQTT-SN 1.2 §6.3, §6.4, §6.11, §6.14).

use crate::world::*;
use mqttsn::packet::WillTopic;
use mqttsn::{Alias, Packet, Qos, ReturnCode, TopicRef};

const ACCEPTED: Packet<'static> = Packet::Connack(ReturnCode::Accepted);

fn watch_wills(world: &mut World) {
    world.connect(at(9), "watcher");
    world.subscribe(at(9), TopicRef::Short(*b"wl"), Qos::One);
}

fn connect_with_will(world: &mut World, keep_alive: u16) {
    world.send(at(1), &connect_with("a", true, true, keep_alive));
    world.expect(at(1), &Packet::WillTopicReq);
    world.send(at(1), &will_topic("wl", Qos::Zero, false));
    world.expect(at(1), &Packet::WillMsgReq);
    world.send(at(1), &Packet::WillMsg(b"gone"));
    world.expect(at(1), &ACCEPTED);
}

const WILL: Packet<'static> = Packet::Publish(mqttsn::packet::Publish {
    dup: false,
    qos: Qos::Zero,
    retain: false,
    alias: Alias::short(*b"wl"),
    msg_id: mqttsn::MsgId(0),
    data: b"gone",
});

#[test]
fn a_silent_client_is_lost_after_one_and_a_half_keep_alives() {
    let mut world = World::plain();
    watch_wills(&mut world);
    connect_with_will(&mut world, 10);
    world.advance(ms(14_000));
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
    world.advance(ms(14_999));
    world.expect_nothing(at(9));
    world.advance(ms(1));
    world.expect(at(9), &WILL);
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.status().sessions, 1);
}

#[test]
fn any_message_keeps_a_client_alive() {
    let mut world = World::plain();
    world.send(at(1), &connect_with("a", true, false, 10));
    for _ in 0..10 {
        world.advance(ms(14_000));
        world.send(at(1), &publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x"));
    }
    assert_eq!(world.broker.stats().sessions_lost, 0);
}

#[test]
fn keep_alive_zero_lasts() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.advance(ms(1_000_000_000));
    assert_eq!(world.broker.status().active, 1);
}

#[test]
fn a_client_that_disconnects_has_no_will() {
    let mut world = World::plain();
    watch_wills(&mut world);
    connect_with_will(&mut world, 10);
    world.send(at(1), &disconnect(None));
    world.expect(at(1), &disconnect(None));
    world.advance(ms(60_000));
    world.expect_nothing(at(9));
}

#[test]
fn a_will_can_be_updated_and_deleted() {
    let mut world = World::plain();
    watch_wills(&mut world);
    connect_with_will(&mut world, 10);
    world.send(at(1), &Packet::WillMsgUpd(b"new"));
    world.expect(at(1), &Packet::WillMsgResp(ReturnCode::Accepted));
    let topic = WillTopic {
        qos: Qos::One,
        retain: true,
        topic: "wl",
    };
    world.send(at(1), &Packet::WillTopicUpd(Some(topic)));
    world.expect(at(1), &Packet::WillTopicResp(ReturnCode::Accepted));
    world.advance(ms(15_000));
    world.expect_publish(at(9), Alias::short(*b"wl"), Qos::One, b"new");
    assert_eq!(world.broker.status().retained, 1);

    let mut world = World::plain();
    watch_wills(&mut world);
    connect_with_will(&mut world, 10);
    world.send(at(1), &Packet::WillTopicUpd(None));
    world.expect(at(1), &Packet::WillTopicResp(ReturnCode::Accepted));
    world.send(at(1), &Packet::WillMsgUpd(b"new"));
    world.expect(at(1), &Packet::WillMsgResp(ReturnCode::NotSupported));
    world.advance(ms(15_000));
    world.expect_nothing(at(9));
}

#[test]
fn an_empty_will_topic_is_no_will_and_an_unfinished_dialogue_no_session() {
    let mut world = World::plain();
    world.send(at(1), &connect_with("a", true, true, 10));
    world.expect(at(1), &Packet::WillTopicReq);
    world.send(at(1), &Packet::WillTopic(None));
    world.expect(at(1), &ACCEPTED);
    assert!(!world.broker.sessions()[0].will);

    world.send(at(2), &connect_with("b", true, true, 10));
    world.expect(at(2), &Packet::WillTopicReq);
    world.send(at(2), &Packet::WillMsg(b"too soon"));
    world.expect(at(2), &disconnect(None));
    world.advance(ms(60_000));
    world.send(at(2), &will_topic("wl", Qos::Zero, false));
    world.expect(at(2), &disconnect(None));
    assert!(world.broker.sessions().iter().all(|s| s.client_id != "b"));
}

#[test]
fn a_client_replaced_at_its_address_is_lost() {
    let mut world = World::plain();
    watch_wills(&mut world);
    connect_with_will(&mut world, 10);
    world.send(at(1), &connect("b"));
    world.expect(at(9), &WILL);
    world.expect(at(1), &ACCEPTED);
}

fn sleeper(world: &mut World) -> u16 {
    world.send(at(1), &connect_with("a", true, false, 10));
    world.expect(at(1), &ACCEPTED);
    let id = world.subscribe(at(1), name("t/1"), Qos::One);
    world.send(at(1), &disconnect(Some(100)));
    world.expect(at(1), &disconnect(None));
    world.connect(at(2), "p");
    world.register(at(2), "t/1");
    id
}

#[test]
fn a_sleeping_client_fetches_what_came_and_sleeps_on() {
    let mut world = World::plain();
    let id = sleeper(&mut world);
    world.send(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"1"));
    world.send(at(2), &publish(Alias::normal(id), Qos::One, 5, b"2"));
    world.advance(ms(99_000));
    world.expect_nothing(at(1));
    world.send(at(1), &pingreq("a"));
    world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"1"));
    let msg_id = world.expect_publish(at(1), Alias::normal(id), Qos::One, b"2");
    world.expect_nothing(at(1));
    world.send(at(1), &puback(id, msg_id.0, ReturnCode::Accepted));
    world.expect(at(1), &Packet::Pingresp);
    world.send(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"3"));
    world.expect_nothing(at(1));
    world.advance(ms(149_000));
    assert_eq!(world.broker.stats().sessions_lost, 0);
    world.advance(ms(2_000));
    assert_eq!(world.broker.stats().sessions_lost, 1);
}

#[test]
fn a_message_not_acknowledged_before_sleep_comes_again_as_dup() {
    let mut world = World::plain();
    let id = sleeper(&mut world);
    world.send(at(2), &publish(Alias::normal(id), Qos::One, 5, b"2"));
    world.send(at(1), &pingreq("a"));
    let msg_id = world.expect_publish(at(1), Alias::normal(id), Qos::One, b"2");
    world.send(at(1), &disconnect(Some(100)));
    world.expect(at(1), &disconnect(None));
    world.advance(ms(60_000));
    world.expect_nothing(at(1));
    world.send(at(1), &pingreq("a"));
    let bytes = world.take(at(1));
    let Ok(Packet::Publish(again)) = Packet::decode(&bytes) else {
        panic!("PUBLISH");
    };
    assert_eq!((again.dup, again.msg_id), (true, msg_id));
}

#[test]
fn a_sleeping_client_must_connect_before_it_publishes() {
    let mut world = World::plain();
    let id = sleeper(&mut world);
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect(at(1), &disconnect(None));
}
