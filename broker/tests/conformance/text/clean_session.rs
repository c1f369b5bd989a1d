//! The two flags CleanSession and Will of CONNECT, and what was stored before (MQTT-SN 1.2 §6.3).

use broker::State;

use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, Packet, Qos, TopicRef};

const ME: &str = "me";

/// A session with a subscription to `ab` and a will on `wl`, disconnected; watchers of both wills.
fn stored() -> World {
    let mut world = World::plain();
    world.connect(at(9), "watcher");
    for topic in [b"wl", b"w2"] {
        world.subscribe(at(9), TopicRef::Short(*topic), Qos::Zero);
    }
    let request = connect_with(ME, false, true, 60);
    open_with_will(&mut world, at(1), &request, "wl", b"old");
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::Zero);
    close(&mut world, at(1));
    world
}

/// Whether it is still subscribed, and the will that it leaves.
#[track_caller]
fn left(mut world: World) -> (bool, Option<(Alias, Vec<u8>)>) {
    world.connect(at(2), "publisher");
    world.send(at(2), &publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x"));
    let subscribed = world
        .inboxes
        .get(&at(1))
        .is_some_and(|inbox| !inbox.is_empty());
    world.advance(seconds(90));
    let will = world
        .inboxes
        .get(&at(9))
        .is_some_and(|inbox| !inbox.is_empty());
    let will = will.then(|| {
        let (alias, _, _, data) = take_publish(&mut world, at(9));
        (alias, data)
    });
    world.expect_nothing(at(9));
    (subscribed, will)
}

fn old() -> Option<(Alias, Vec<u8>)> {
    Some((Alias::short(*b"wl"), b"old".to_vec()))
}

fn new() -> Option<(Alias, Vec<u8>)> {
    Some((Alias::short(*b"w2"), b"new".to_vec()))
}

#[test]
fn clean_with_will_deletes_all_and_asks_for_a_new_will() {
    let mut world = stored();
    let request = connect_with(ME, true, true, 60);
    open_with_will(&mut world, at(1), &request, "w2", b"new");
    assert_eq!(left(world), (false, new()));
}

#[test]
fn clean_without_will_deletes_all_and_asks_for_nothing() {
    let mut world = stored();
    open(&mut world, at(1), ME, true, 60);
    assert_eq!(left(world), (false, None));
}

#[test]
fn not_clean_with_will_keeps_the_subscriptions_and_asks_for_a_new_will() {
    let mut world = stored();
    let request = connect_with(ME, false, true, 60);
    open_with_will(&mut world, at(1), &request, "w2", b"new");
    assert_eq!(left(world), (true, new()));
}

#[test]
fn not_clean_without_will_keeps_all_and_asks_for_nothing() {
    let mut world = stored();
    open(&mut world, at(1), ME, false, 60);
    assert_eq!(left(world), (true, old()));
}

#[test]
fn an_empty_will_topic_deletes_the_stored_will_and_only_that() {
    let mut world = stored();
    world.send(at(1), &connect_with(ME, false, true, 60));
    world.expect(at(1), &Packet::WillTopicReq);
    world.send(at(1), &Packet::WillTopic(None));
    world.expect(at(1), &ACCEPTED);
    assert_eq!(left(world), (true, None));
}

/// The other way of the section's note: connect with neither flag, then delete by an update.
#[test]
fn the_stored_will_can_be_deleted_once_connected() {
    let mut world = stored();
    open(&mut world, at(1), ME, false, 60);
    world.send(at(1), &Packet::WillTopicUpd(None));
    world.expect(at(1), &Packet::WillTopicResp(mqttsn::ReturnCode::Accepted));
    assert_eq!(left(world), (true, None));
}

#[test]
fn a_dialogue_that_is_not_finished_changes_nothing_of_what_is_stored() {
    let mut world = stored();
    world.send(at(1), &connect_with(ME, true, true, 60));
    world.expect(at(1), &Packet::WillTopicReq);
    world.send(at(1), &will_topic("w2", Qos::Zero, false));
    world.expect(at(1), &Packet::WillMsgReq);
    world.advance(seconds(600));
    world.send(at(1), &Packet::WillMsg(b"new"));
    world.expect(at(1), &disconnect(None));
    open(&mut world, at(1), ME, false, 60);
    assert_eq!(left(world), (true, old()));
}

#[test]
fn what_a_clean_session_had_ends_with_its_connection() {
    let mut world = World::plain();
    open(&mut world, at(1), ME, true, 60);
    world.subscribe(at(1), TopicRef::Short(*b"ab"), Qos::Zero);
    close(&mut world, at(1));
    open(&mut world, at(1), ME, false, 60);
    assert_eq!(left(world), (false, None));
}

#[test]
fn a_persistent_session_that_was_lost_keeps_its_subscriptions() {
    let mut world = stored();
    open(&mut world, at(1), ME, false, 60);
    world.advance(seconds(90));
    world.expect(at(1), &disconnect(None));
    assert_eq!(take_publish(&mut world, at(9)).3, b"old");
    assert_eq!(world.broker.sessions()[1].state, State::Disconnected);
    open(&mut world, at(1), ME, false, 60);
    assert_eq!(left(world), (true, old()));
}

/// The sleep does not end the session, and CleanSession 0 keeps what there is.
#[test]
fn what_a_clean_session_has_outlives_its_sleep_if_the_client_returns_without_clean_session() {
    for (clean, from) in [(false, 1), (true, 1), (false, 3), (true, 3)] {
        let mut world = World::plain();
        open(&mut world, at(3), ME, true, 60);
        world.subscribe(at(3), TopicRef::Short(*b"ab"), Qos::Zero);
        fall_asleep(&mut world, at(3), 100);
        world.connect(at(2), "publisher");
        let message = publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x");
        world.send(at(2), &message);
        open(&mut world, at(from), ME, clean, 60);
        if !clean {
            world.expect(at(from), &message);
        }
        world.expect_nothing(at(from));
        world.send(at(2), &message);
        if !clean {
            world.expect(at(from), &message);
        }
        world.expect_nothing(at(from));
    }
}
