//! Install, then acknowledge.

use mqttsn::packet::Unsubscribe;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode};

use crate::world::*;

const ACCEPTED: ReturnCode = ReturnCode::Accepted;
const ID: MsgId = MsgId(77);

/// A connected client at 1 that publishes and at 2 that subscribes to `t/1`, all installed.
fn settled() -> (World, u16) {
    let mut world = World::offloading(offloading());
    world.reachable([1, 2]);
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    let id = world.register(at(1), "t/1");
    world.subscribe(at(2), name("t/1"), Qos::Zero);
    (world, id)
}

#[test]
fn each_answer_waits_for_its_revision() {
    let (mut world, id) = settled();
    let other = 1 + id;
    for (packet, answer) in [
        (
            subscribe(name("t/2"), Qos::Zero, ID),
            suback(other, Qos::Zero, ID, ACCEPTED),
        ),
        (
            Packet::Unsubscribe(Unsubscribe {
                msg_id: ID,
                topic: name("t/1"),
            }),
            Packet::Unsuback(ID),
        ),
        (register("t/2", ID), regack(other, ID, ACCEPTED)),
        (disconnect(Some(100)), disconnect(None)),
        (connect("s"), Packet::Connack(ACCEPTED)),
    ] {
        world.send(at(2), &packet);
        world.expect_nothing(at(2));
        let before = offload::Revision(world.broker.intent().revision.0 - 1);
        world.installed(before);
        world.expect_nothing(at(2));
        world.install();
        world.expect(at(2), &answer);
        world.expect_nothing(at(2));
    }
}

#[test]
fn what_changes_nothing_for_the_data_plane_is_answered_at_once() {
    let (mut world, _) = settled();
    world.send(at(3), &connect("x"));
    world.expect(at(3), &Packet::Connack(ACCEPTED));
    world.send(at(3), &disconnect(None));
    world.expect(at(3), &disconnect(None));
}

#[test]
fn an_answer_waits_no_longer_than_the_lease() {
    let (mut world, _) = settled();
    world.send(at(2), &disconnect(None));
    world.advance(ms(299));
    world.expect_nothing(at(2));
    world.advance(ms(1));
    world.expect(at(2), &disconnect(None));
    assert_eq!(world.broker.stats().answers_released_by_lapse, 1);
}

#[test]
fn the_lease_of_a_controller_that_died_still_counts() {
    let (mut world, _) = settled();
    world.broker.link_down(world.now);
    world.send(at(2), &disconnect(None));
    world.expect_nothing(at(2));
    world.advance(ms(300));
    world.expect(at(2), &disconnect(None));
    world.send(at(1), &disconnect(None));
    world.expect(at(1), &disconnect(None));
}

#[test]
fn a_broker_that_starts_waits_for_the_lease_of_its_predecessor() {
    let mut world = World::new(offloading());
    world.send(at(1), &connect("a"));
    world.expect_nothing(at(1));
    // Asked again meanwhile, it answers once.
    world.send(at(1), &connect("a"));
    world.advance(ms(300));
    world.expect(at(1), &Packet::Connack(ACCEPTED));
    world.expect_nothing(at(1));
}

#[test]
fn without_offload_nothing_waits() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.subscribe(at(1), name("t"), Qos::Zero);
    world.send(at(1), &disconnect(None));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.next_deadline(), None);
}

#[test]
fn a_new_subscription_gets_nothing_in_software_before_its_suback() {
    let (mut world, id) = settled();
    world.send(at(1), &subscribe(name("t/1"), Qos::Zero, ID));
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect_nothing(at(1));
    world.expect(at(2), &message);
    world.install();
    world.expect(at(1), &suback(id, Qos::Zero, ID, ACCEPTED));
    world.send(at(1), &message);
    world.expect(at(1), &message);
    world.expect(at(2), &message);
}

#[test]
fn a_repeated_subscription_is_served_while_its_suback_waits() {
    let (mut world, id) = settled();
    world.send(at(2), &subscribe(name("t/1"), Qos::One, ID));
    world.expect_nothing(at(2));
    world.send(at(1), &publish(Alias::normal(id), Qos::One, 5, b"x"));
    world.expect_publish(at(2), Alias::normal(id), Qos::One, b"x");
}

#[test]
fn a_client_that_connects_again_gets_no_late_disconnect() {
    let (mut world, _) = settled();
    world.send(at(2), &disconnect(None));
    world.send(at(2), &connect("s"));
    world.install();
    world.expect(at(2), &Packet::Connack(ACCEPTED));
    world.expect_nothing(at(2));
}

#[test]
fn retained_messages_follow_the_suback() {
    let (mut world, _) = settled();
    let alias = Alias::short(*b"ab");
    let retained = publish_with(alias, Qos::MinusOne, 0, true, b"x");
    world.send(at(9), &retained);
    world.send(at(2), &subscribe(name("+"), Qos::Zero, ID));
    world.expect_nothing(at(2));
    world.install();
    world.expect(at(2), &suback(0, Qos::Zero, ID, ACCEPTED));
    world.expect(at(2), &publish_with(alias, Qos::Zero, 0, true, b"x"));
}
