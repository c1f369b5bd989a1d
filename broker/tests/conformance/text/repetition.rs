//! Requests that are sent again because the answer was lost (MQTT-SN 1.2 §6.13), and what the
//! gateway sends again (§6.10, §6.14, §7.2).

use broker::{Config, State};

use crate::clients::*;
use crate::world::*;
use mqttsn::packet::{Unsubscribe, WillTopic};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

const AB: Alias = Alias::short(*b"ab");
const ID: MsgId = MsgId(7);

/// Sent three times, answered three times with the same.
#[track_caller]
fn same_answer(world: &mut World, request: &Packet<'_>, answer: &Packet<'_>) {
    for _ in 0..3 {
        world.send(at(1), request);
        world.expect(at(1), answer);
        world.expect_nothing(at(1));
        world.advance(seconds(10));
    }
}

fn connected() -> World {
    let mut world = World::plain();
    world.connect(at(1), "me");
    world
}

#[test]
fn connect_is_accepted_again() {
    let mut world = World::plain();
    for clean in [true, false] {
        same_answer(&mut world, &connect_with("me", clean, false, 60), &ACCEPTED);
        assert_eq!(world.broker.status().sessions, 1);
    }
    assert_eq!(world.broker.stats().sessions_lost, 0);
}

#[test]
fn a_persistent_session_loses_nothing_by_a_second_connect() {
    let mut world = World::plain();
    open(&mut world, at(1), "me", false, 60);
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::One);
    let id = world.register(at(1), "some/topic");
    open(&mut world, at(1), "me", false, 60);
    assert_eq!(world.broker.sessions()[0].subscriptions.len(), 1);
    world.send(at(1), &publish(Alias::normal(id), Qos::One, 3, b"x"));
    world.expect(at(1), &puback(id, 3, ReturnCode::Accepted));
}

#[test]
fn each_step_of_the_will_dialogue_is_asked_for_again() {
    let mut world = World::plain();
    let request = connect_with("me", true, true, 60);
    same_answer(&mut world, &request, &Packet::WillTopicReq);
    let topic = will_topic("wl", Qos::Zero, false);
    same_answer(&mut world, &topic, &Packet::WillMsgReq);
    same_answer(&mut world, &Packet::WillMsg(b"gone"), &ACCEPTED);
    assert_eq!(world.broker.status().sessions, 1);
    // Another message is no repetition of this one.
    world.send(at(1), &Packet::WillMsg(b"other"));
    world.expect_nothing(at(1));
}

#[test]
fn an_empty_will_topic_is_accepted_again() {
    let mut world = World::plain();
    world.send(at(1), &connect_with("me", true, true, 60));
    world.expect(at(1), &Packet::WillTopicReq);
    same_answer(&mut world, &Packet::WillTopic(None), &ACCEPTED);
}

#[test]
fn register_gets_the_same_topic_id_again() {
    let mut world = connected();
    let id = world.register(at(1), "some/topic");
    let answer = regack(id, ID, ReturnCode::Accepted);
    same_answer(&mut world, &register("some/topic", ID), &answer);
}

#[test]
fn subscribe_gets_the_same_topic_id_again_and_one_copy_is_delivered() {
    let mut world = connected();
    let id = world.subscribe(at(1), name("some/topic"), Qos::Zero);
    let answer = suback(id, Qos::Zero, ID, ReturnCode::Accepted);
    let request = subscribe(name("some/topic"), Qos::Zero, ID);
    same_answer(&mut world, &request, &answer);
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect(at(1), &message);
    world.expect_nothing(at(1));
}

#[test]
fn unsubscribe_is_acknowledged_again() {
    let mut world = connected();
    let topic = TopicRef::Short(*b"ab");
    let request = Packet::Unsubscribe(Unsubscribe { msg_id: ID, topic });
    world.subscribe(at(1), topic, Qos::Zero);
    same_answer(&mut world, &request, &Packet::Unsuback(ID));
}

#[test]
fn pingreq_and_disconnect_are_answered_again() {
    let mut world = connected();
    same_answer(&mut world, &pingreq(""), &Packet::Pingresp);
    same_answer(&mut world, &disconnect(Some(60)), &disconnect(None));
    assert_eq!(world.broker.sessions()[0].state, State::Asleep);
    same_answer(&mut world, &disconnect(None), &disconnect(None));
}

#[test]
fn will_updates_are_answered_again() {
    let mut world = connected();
    let topic = WillTopic {
        qos: Qos::One,
        retain: false,
        topic: "wl",
    };
    let topic = Packet::WillTopicUpd(Some(topic));
    let answer = Packet::WillTopicResp(ReturnCode::Accepted);
    same_answer(&mut world, &topic, &answer);
    let answer = Packet::WillMsgResp(ReturnCode::Accepted);
    same_answer(&mut world, &Packet::WillMsgUpd(b"gone"), &answer);
}

#[test]
fn publish_at_qos_1_is_acknowledged_again_and_may_be_delivered_again_without_dup() {
    let mut world = connected();
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::One);
    for dup in [false, true] {
        let message = Packet::Publish(mqttsn::packet::Publish {
            dup,
            qos: Qos::One,
            retain: false,
            alias: AB,
            msg_id: ID,
            data: b"x",
        });
        world.send(at(1), &message);
        let answer = puback(AB.topic_id, ID.0, ReturnCode::Accepted);
        world.expect(at(1), &answer);
        // DUP tells of one hop (MQTT 3.1.1 §3.3.1.1): to this subscriber it is the first time.
        let bytes = world.take(at(2));
        let Ok(Packet::Publish(copy)) = Packet::decode(&bytes) else {
            panic!("PUBLISH");
        };
        assert!(!copy.dup);
        let answer = puback(AB.topic_id, copy.msg_id.0, ReturnCode::Accepted);
        world.send(at(2), &answer);
    }
}

/// `n_retry` and `t_retry` as set; what is sent each time, until the client is given up.
#[track_caller]
fn sent_again(world: &mut World, first: &[u8], again: &[u8]) {
    assert_eq!(world.take(at(2)), first);
    for _ in 0..3 {
        world.advance(ms(11_999));
        world.expect_nothing(at(2));
        world.advance(ms(1));
        assert_eq!(world.take(at(2)), again);
    }
    world.advance(seconds(12));
    world.expect(at(2), &disconnect(None));
    world.expect_nothing(at(2));
    assert_eq!(world.broker.stats().retransmissions, 3);
}

/// A publisher at 1 and a subscriber at 2, that is to be sent something three times again.
fn impatient(filter: TopicRef<'_>) -> World {
    let mut world = World::new(Config {
        t_retry_ms: 12_000,
        n_retry: 3,
        ..Config::default()
    });
    world.connect(at(1), "me");
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), filter, Qos::Two);
    world
}

#[test]
fn an_unanswered_publish_of_qos_1_or_2_comes_again_with_dup() {
    for qos in [Qos::One, Qos::Two] {
        let mut world = impatient(TopicRef::Short(*b"ab"));
        world.send(at(1), &publish(AB, qos, 1, b"x"));
        let copy = |dup| {
            encode(&Packet::Publish(mqttsn::packet::Publish {
                dup,
                qos,
                retain: false,
                alias: AB,
                msg_id: MsgId(1),
                data: b"x",
            }))
        };
        sent_again(&mut world, &copy(false), &copy(true));
    }
}

#[test]
fn an_unanswered_register_comes_again_as_it_was() {
    let mut world = impatient(name("some/+"));
    let id = world.register(at(1), "some/topic");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    let request = world.inboxes[&at(2)][0].clone();
    assert!(matches!(Packet::decode(&request), Ok(Packet::Register(_))));
    sent_again(&mut world, &request, &request);
}

#[test]
fn an_unanswered_pubrel_comes_again() {
    let mut world = impatient(TopicRef::Short(*b"ab"));
    world.send(at(1), &publish(AB, Qos::Two, 1, b"x"));
    let msg_id = world.expect_publish(at(2), AB, Qos::Two, b"x");
    world.send(at(2), &Packet::Pubrec(msg_id));
    let pubrel = encode(&Packet::Pubrel(msg_id));
    sent_again(&mut world, &pubrel, &pubrel);
}

#[test]
fn who_comes_back_gets_all_retransmissions_of_a_pubrel_anew() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    open(&mut world, at(2), "subscriber", false, 0);
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Two);
    world.send(at(1), &publish(AB, Qos::Two, 1, b"x"));
    let msg_id = world.expect_publish(at(2), AB, Qos::Two, b"x");
    world.send(at(2), &Packet::Pubrec(msg_id));
    for _ in 0..2 {
        for _ in 0..6 {
            world.expect(at(2), &Packet::Pubrel(msg_id));
            world.advance(seconds(10));
        }
        world.expect(at(2), &disconnect(None));
        open(&mut world, at(2), "subscriber", false, 0);
    }
    world.expect(at(2), &Packet::Pubrel(msg_id));
}

/// PUBACK may say so at any QoS (§5.4.13). The message is not acknowledged by it, and the client is
/// there: it is neither lost nor loses the message.
#[test]
fn a_subscriber_that_is_congested_gets_the_message_again_later() {
    for qos in [Qos::One, Qos::Two] {
        let mut world = impatient(TopicRef::Short(*b"ab"));
        world.send(at(1), &publish(AB, qos, 1, b"x"));
        let MsgId(msg_id) = world.expect_publish(at(2), AB, qos, b"x");
        for _ in 0..10 {
            world.advance(seconds(3));
            let congested = puback(AB.topic_id, msg_id, ReturnCode::Congestion);
            world.send(at(2), &congested);
            world.advance(ms(11_999));
            world.expect_nothing(at(2));
            world.advance(ms(1));
            assert_eq!(world.expect_publish(at(2), AB, qos, b"x"), MsgId(msg_id));
        }
        assert_eq!(world.broker.stats().sessions_lost, 0);
    }
}
