//! Figure 4, the states of a client, arrow by arrow (MQTT-SN 1.2 §6.14).

use broker::{Config, State};

use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

const ME: &str = "me";
const AB: Alias = Alias::short(*b"ab");

/// Subscribed to `ab` at QoS 2, with a will, asleep for 100 s; a publisher at 2.
fn asleep() -> World {
    asleep_with(Config::default())
}

fn asleep_with(config: Config) -> World {
    let mut world = World::new(config);
    let request = connect_with(ME, false, true, 10);
    open_with_will(&mut world, at(1), &request, "wl", b"gone");
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::Two);
    fall_asleep(&mut world, at(1), 100);
    world.connect(at(2), "publisher");
    world
}

fn publish_to_it(world: &mut World, qos: Qos, msg_id: u16) {
    let data = [msg_id as u8];
    world.send(at(2), &publish(AB, qos, msg_id, &data));
}

#[track_caller]
fn state(world: &World) -> State {
    let sessions = world.broker.sessions();
    sessions.iter().find(|s| s.client_id == ME).unwrap().state
}

#[test]
fn asleep_nothing_is_sent_and_each_qos_is_buffered() {
    let mut world = asleep();
    for (qos, msg_id) in [(Qos::Zero, 1), (Qos::One, 2), (Qos::Two, 3)] {
        publish_to_it(&mut world, qos, msg_id);
    }
    world.advance(seconds(100));
    world.expect_nothing(at(1));
    assert_eq!(state(&world), State::Asleep);
    assert_eq!(world.broker.sessions()[0].queued, 3);
}

#[test]
fn awake_the_pingresp_comes_after_the_last_handshake() {
    let mut world = asleep();
    for (qos, msg_id) in [(Qos::One, 1), (Qos::Zero, 2), (Qos::Two, 3)] {
        publish_to_it(&mut world, qos, msg_id);
    }
    world.send(at(1), &pingreq(ME));
    assert_eq!(state(&world), State::Awake);
    let MsgId(first) = world.expect_publish(at(1), AB, Qos::One, &[1]);
    world.expect_nothing(at(1));
    let answer = puback(AB.topic_id, first, ReturnCode::Accepted);
    world.send(at(1), &answer);
    world.expect_publish(at(1), AB, Qos::Zero, &[2]);
    let last = world.expect_publish(at(1), AB, Qos::Two, &[3]);
    world.expect_nothing(at(1));
    world.send(at(1), &Packet::Pubrec(last));
    world.expect(at(1), &Packet::Pubrel(last));
    world.expect_nothing(at(1));
    assert_eq!(state(&world), State::Awake);
    world.send(at(1), &Packet::Pubcomp(last));
    world.expect(at(1), &Packet::Pingresp);
    world.expect_nothing(at(1));
    assert_eq!(state(&world), State::Asleep);
}

#[test]
fn what_comes_while_it_is_awake_is_delivered_before_the_pingresp() {
    let mut world = asleep();
    publish_to_it(&mut world, Qos::One, 1);
    world.send(at(1), &pingreq(ME));
    let MsgId(first) = world.expect_publish(at(1), AB, Qos::One, &[1]);
    publish_to_it(&mut world, Qos::Zero, 2);
    world.expect_nothing(at(1));
    let answer = puback(AB.topic_id, first, ReturnCode::Accepted);
    world.send(at(1), &answer);
    world.expect_publish(at(1), AB, Qos::Zero, &[2]);
    world.expect(at(1), &Packet::Pingresp);
}

#[test]
fn with_nothing_buffered_the_pingresp_comes_at_once() {
    let mut world = asleep();
    world.send(at(1), &pingreq(ME));
    world.expect(at(1), &Packet::Pingresp);
    assert_eq!(state(&world), State::Asleep);
}

#[test]
fn a_pingreq_sent_again_brings_what_was_not_acknowledged_again() {
    let mut world = asleep();
    publish_to_it(&mut world, Qos::One, 1);
    world.send(at(1), &pingreq(ME));
    let msg_id = world.expect_publish(at(1), AB, Qos::One, &[1]);
    world.advance(seconds(5));
    world.send(at(1), &pingreq(ME));
    let bytes = world.take(at(1));
    let Ok(Packet::Publish(again)) = Packet::decode(&bytes) else {
        panic!("PUBLISH");
    };
    assert_eq!((again.dup, again.msg_id), (true, msg_id));
    world.expect_nothing(at(1));
    let answer = puback(AB.topic_id, msg_id.0, ReturnCode::Accepted);
    world.send(at(1), &answer);
    world.expect(at(1), &Packet::Pingresp);
}

/// Its PINGREQ carries no ClientId, so it does not end the transfer with a PINGRESP (§5.4.20).
#[test]
fn a_plain_pingreq_of_an_awake_client_does_not_cut_the_transfer_short() {
    let mut world = asleep();
    publish_to_it(&mut world, Qos::One, 1);
    world.send(at(1), &pingreq(ME));
    let MsgId(first) = world.expect_publish(at(1), AB, Qos::One, &[1]);
    world.send(at(1), &pingreq(""));
    world.expect_nothing(at(1));
    let answer = puback(AB.topic_id, first, ReturnCode::Accepted);
    world.send(at(1), &answer);
    world.expect(at(1), &Packet::Pingresp);
}

#[test]
fn one_that_falls_asleep_before_the_pingresp_is_not_lost_nor_is_its_message() {
    let mut world = asleep();
    publish_to_it(&mut world, Qos::One, 1);
    world.send(at(1), &pingreq(ME));
    world.advance(seconds(80));
    assert_eq!(state(&world), State::Asleep);
    world.inboxes.clear();
    publish_to_it(&mut world, Qos::One, 2);
    world.expect_nothing(at(1));
    world.send(at(1), &pingreq(ME));
    for data in [[1], [2]] {
        let (.., received) = take_publish(&mut world, at(1));
        assert_eq!(received, data);
        let msg_id = u16::from(data[0]);
        let answer = puback(AB.topic_id, msg_id, ReturnCode::Accepted);
        world.send(at(1), &answer);
    }
    world.expect(at(1), &Packet::Pingresp);
    assert_eq!(world.broker.stats().wills, 0);
    world.advance(seconds(150));
    assert_eq!(world.broker.stats().wills, 1);
}

#[test]
fn from_asleep_a_connect_makes_it_active_and_brings_what_was_buffered() {
    let mut world = asleep();
    publish_to_it(&mut world, Qos::Zero, 1);
    open(&mut world, at(1), ME, false, 10);
    world.expect_publish(at(1), AB, Qos::Zero, &[1]);
    world.expect_nothing(at(1));
    assert_eq!(state(&world), State::Active);
    // Its keep-alive counts again, not the sleep.
    world.advance(seconds(15));
    assert_eq!(state(&world), State::Disconnected);
}

#[test]
fn from_awake_a_connect_makes_it_active_and_no_pingresp_follows() {
    let mut world = asleep();
    publish_to_it(&mut world, Qos::One, 1);
    world.send(at(1), &pingreq(ME));
    let MsgId(first) = world.expect_publish(at(1), AB, Qos::One, &[1]);
    open(&mut world, at(1), ME, false, 0);
    let (.., data) = take_publish(&mut world, at(1));
    assert_eq!(data, [1]);
    let answer = puback(AB.topic_id, first, ReturnCode::Accepted);
    world.send(at(1), &answer);
    world.expect_nothing(at(1));
    assert_eq!(state(&world), State::Active);
}

#[test]
fn from_asleep_or_awake_a_disconnect_ends_the_connection_without_a_will() {
    for awake in [false, true] {
        let mut world = asleep();
        publish_to_it(&mut world, Qos::One, 1);
        if awake {
            world.send(at(1), &pingreq(ME));
            world.expect_publish(at(1), AB, Qos::One, &[1]);
        }
        close(&mut world, at(1));
        assert_eq!(state(&world), State::Disconnected);
        world.advance(seconds(1000));
        assert_eq!(world.broker.stats().wills, 0);
        world.expect_nothing(at(1));
    }
}

#[test]
fn a_new_sleep_duration_takes_the_place_of_the_old_one() {
    let mut world = asleep();
    world.advance(seconds(100));
    fall_asleep(&mut world, at(1), 1000);
    world.advance(ms(1_499_999));
    assert_eq!(state(&world), State::Asleep);
    world.advance(ms(1));
    assert_eq!(state(&world), State::Disconnected);
    assert_eq!(world.broker.stats().wills, 1);
}

#[test]
fn each_pingreq_starts_the_sleep_timer_anew() {
    let mut world = asleep();
    for _ in 0..5 {
        world.advance(seconds(149));
        world.send(at(1), &pingreq(ME));
        world.expect(at(1), &Packet::Pingresp);
    }
    world.advance(seconds(150));
    assert_eq!(world.broker.stats().wills, 1);
}

#[test]
fn the_disconnected_state_is_not_supervised() {
    let mut world = asleep();
    close(&mut world, at(1));
    world.advance(seconds(1_000_000));
    assert_eq!(state(&world), State::Disconnected);
    assert_eq!(world.broker.stats().sessions_lost, 0);
}

#[test]
fn who_is_disconnected_fetches_nothing_by_pingreq() {
    let mut world = asleep();
    close(&mut world, at(1));
    publish_to_it(&mut world, Qos::One, 1);
    world.send(at(1), &pingreq(ME));
    world.expect(at(1), &disconnect(None));
    world.expect_nothing(at(1));
}

#[test]
fn it_is_known_by_its_client_id_wherever_it_wakes_up() {
    let mut world = asleep();
    publish_to_it(&mut world, Qos::Zero, 1);
    world.send(at(3), &pingreq(ME));
    world.expect_publish(at(3), AB, Qos::Zero, &[1]);
    world.expect(at(3), &Packet::Pingresp);
    // Where it was before, whoever is there learns that the session has gone.
    world.expect(at(1), &disconnect(None));
    world.expect_nothing(at(1));
}

#[test]
fn the_buffer_is_bounded_in_messages_and_the_oldest_stay() {
    let mut world = asleep_with(Config {
        max_queued_messages: 3,
        ..Config::default()
    });
    for msg_id in 1..=5 {
        publish_to_it(&mut world, Qos::Zero, msg_id);
    }
    assert_eq!(world.broker.stats().dropped_queue_full, 2);
    world.send(at(1), &pingreq(ME));
    for data in [[1], [2], [3]] {
        world.expect_publish(at(1), AB, Qos::Zero, &data);
    }
    world.expect(at(1), &Packet::Pingresp);
}

#[test]
fn the_buffer_is_bounded_in_octets() {
    let mut world = asleep_with(Config {
        max_queued_octets: 250,
        ..Config::default()
    });
    for _ in 0..5 {
        world.send(at(2), &publish(AB, Qos::Zero, 0, &[0; 100]));
    }
    assert_eq!(world.broker.sessions()[0].queued, 2);
    assert_eq!(world.broker.stats().dropped_queue_full, 3);
}

#[test]
fn a_topic_that_is_new_to_a_sleeping_client_is_registered_when_it_wakes_up() {
    let mut world = asleep();
    open(&mut world, at(1), ME, false, 10);
    world.subscribe(at(1), name("new/#"), Qos::Zero);
    fall_asleep(&mut world, at(1), 100);
    let id = world.register(at(2), "new/topic");
    world.send(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect_nothing(at(1));
    world.send(at(1), &pingreq(ME));
    let (topic, id) = world.accept_register(at(1));
    assert_eq!(topic, "new/topic");
    world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect(at(1), &Packet::Pingresp);
}
