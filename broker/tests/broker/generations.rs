//! Tagged copies: exactly the rest is served.

use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, Tag};
use offload::FromController;

use crate::world::*;

fn tag(world: &World, name: &str) -> Tag {
    let topics = &world.broker.intent().topics;
    let (index, topic) = topics.iter().find(|(_, topic)| topic.name == name).unwrap();
    Tag {
        topic_index: index.0,
        generation: topic.generation.0,
    }
}

/// A publisher at 1; at 2 a reachable and at 3 an unreachable subscriber of `t/1`.
fn three() -> (World, u16) {
    let mut world = World::offloading(offloading());
    world.reachable([2, 4]);
    for (number, client_id) in [(1, "p"), (2, "s"), (3, "u")] {
        world.connect(at(number), client_id);
    }
    let id = world.register(at(1), "t/1");
    world.subscribe(at(2), name("t/1"), Qos::Zero);
    world.subscribe(at(3), name("t/1"), Qos::Zero);
    (world, id)
}

#[test]
fn a_tagged_copy_is_for_those_whom_the_data_plane_left_out() {
    let (mut world, id) = three();
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send_tagged(at(1), tag(&world, "t/1"), &message);
    world.expect_nothing(at(2));
    world.expect(at(3), &message);
    world.send(at(1), &message);
    world.expect(at(2), &message);
    world.expect(at(3), &message);
    let stats = world.broker.stats();
    assert_eq!((stats.publish_tagged, stats.publish_untagged), (1, 1));
    assert_eq!(stats.delivered_by_data_plane, 1);
}

#[test]
fn a_tagged_qos_1_is_acknowledged_and_retain_is_stored() {
    let (mut world, id) = three();
    let message = publish_with(Alias::normal(id), Qos::One, 6, true, b"x");
    world.send_tagged(at(1), tag(&world, "t/1"), &message);
    world.expect(at(1), &puback(id, 6, ReturnCode::Accepted));
    world.expect_nothing(at(2));
    world.expect(at(3), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    assert_eq!(world.broker.status().retained, 1);
}

#[test]
fn a_copy_under_an_older_generation_is_served_by_that_generation() {
    let (mut world, id) = three();
    let old = tag(&world, "t/1");
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    // 3 becomes reachable: served from the next generation on, but not under the old one.
    world.reachable([3]);
    let new = tag(&world, "t/1");
    assert_ne!(old.generation, new.generation);
    world.send_tagged(at(1), old, &message);
    world.expect_nothing(at(2));
    world.expect(at(3), &message);
    world.send_tagged(at(1), new, &message);
    world.expect_nothing(at(3));
    // 2 is no longer reachable: under the old generation it was served.
    world.tell(FromController::Reachable {
        address: at(2).ip(),
        reachable: false,
    });
    let newest = tag(&world, "t/1");
    world.send_tagged(at(1), old, &message);
    world.expect_nothing(at(2));
    world.expect(at(3), &message);
    world.send_tagged(at(1), newest, &message);
    world.expect(at(2), &message);
    world.expect_nothing(at(3));
}

#[test]
fn who_joins_later_is_not_owed_an_older_message() {
    let (mut world, id) = three();
    let old = tag(&world, "t/1");
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    // Unreachable, so no served set changes; yet the generation tells before from after.
    world.connect(at(5), "late");
    world.subscribe(at(5), name("t/1"), Qos::Zero);
    world.send_tagged(at(1), old, &message);
    world.expect(at(3), &message);
    world.expect_nothing(at(5));
    world.send_tagged(at(1), tag(&world, "t/1"), &message);
    world.expect(at(5), &message);
}

#[test]
fn who_left_gets_nothing_and_who_came_back_only_what_is_new() {
    let (mut world, id) = three();
    let old = tag(&world, "t/1");
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.unsubscribe(at(3), name("t/1"));
    world.send_tagged(at(1), old, &message);
    world.expect_nothing(at(3));
    world.subscribe(at(3), name("t/1"), Qos::Zero);
    world.send_tagged(at(1), old, &message);
    world.expect_nothing(at(3));
}

#[test]
fn what_the_data_plane_saw_after_a_join_is_owed_even_before_the_suback() {
    let (mut world, id) = three();
    world.connect(at(5), "late");
    let request = subscribe(name("t/1"), Qos::Zero, MsgId(8));
    world.send(at(5), &request);
    world.expect_nothing(at(5));
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send_tagged(at(1), tag(&world, "t/1"), &message);
    world.expect(at(5), &message);
}

#[test]
fn a_copy_of_a_forgotten_generation_is_dropped_and_qos_1_is_asked_for_again() {
    let (mut world, id) = three();
    let old = tag(&world, "t/1");
    world.reachable([3]);
    world.advance(ms(4_900));
    let qos_0 = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send_tagged(at(1), old, &qos_0);
    world.expect(at(3), &qos_0);
    world.advance(ms(200));
    world.send_tagged(at(1), old, &qos_0);
    let never = Tag {
        generation: old.generation + 1000,
        ..old
    };
    world.send_tagged(at(1), never, &qos_0);
    world.expect_nothing(at(2));
    world.expect_nothing(at(3));
    let qos_1 = publish(Alias::normal(id), Qos::One, 6, b"y");
    world.send_tagged(at(1), old, &qos_1);
    world.expect_nothing(at(1));
    world.expect_nothing(at(2));
    // No PUBACK: it comes again with DUP, which the data plane leaves alone.
    let Packet::Publish(again) = qos_1 else {
        unreachable!("it is a PUBLISH")
    };
    let again = Packet::Publish(mqttsn::packet::Publish { dup: true, ..again });
    world.send(at(1), &again);
    world.expect(at(1), &puback(id, 6, ReturnCode::Accepted));
    for number in [2, 3] {
        world.expect(at(number), &publish(Alias::normal(id), Qos::Zero, 0, b"y"));
    }
    assert_eq!(world.broker.stats().tag_unknown_generation, 3);
}

#[test]
fn generations_come_round() {
    let mut config = offloading();
    config.offload.first_generation = u32::MAX - 2;
    let mut world = World::offloading(config);
    world.reachable([2]);
    world.connect(at(1), "p");
    let id = world.register(at(1), "t/1");
    world.connect(at(3), "u");
    world.subscribe(at(3), name("t/1"), Qos::Zero);
    let old = tag(&world, "t/1");
    for number in 4..9 {
        world.connect(at(number), &format!("c{number}"));
        world.subscribe(at(number), name("t/1"), Qos::Zero);
    }
    assert!(tag(&world, "t/1").generation < old.generation);
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send_tagged(at(1), old, &message);
    world.expect(at(3), &message);
    for number in 4..9 {
        world.expect_nothing(at(number));
    }
}

#[test]
fn tagged_qos_minus_1_needs_no_session_and_others_without_one_are_told_so() {
    let (mut world, id) = three();
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send_tagged(at(9), tag(&world, "t/1"), &message);
    world.expect(at(3), &message);
    world.expect(at(9), &disconnect(None));
    let open = publish(Alias::normal(id), Qos::MinusOne, 0, b"x");
    world.send_tagged(at(9), tag(&world, "t/1"), &open);
    world.expect(at(3), &message);
    world.expect_nothing(at(9));
}

#[test]
fn a_tag_around_anything_else_is_ignored() {
    let (mut world, _) = three();
    world.send_tagged(at(8), tag(&world, "t/1"), &connect("x"));
    world.expect_nothing(at(8));
    let nowhere = Tag {
        topic_index: 999,
        generation: 1,
    };
    let message = publish(Alias::normal(1), Qos::One, 4, b"x");
    world.send_tagged(at(1), nowhere, &message);
    world.expect_nothing(at(1));
    let stats = world.broker.stats();
    assert_eq!((stats.unexpected, stats.tag_unknown_topic), (1, 1));
    assert!(!matches!(Packet::decode(&[]), Ok(Packet::Pingresp)));
}

#[test]
fn a_controller_that_reaches_whom_the_one_before_reached_finds_every_generation_as_it_was() {
    let (mut world, id) = three();
    world.connect(at(4), "share");
    world.subscribe(at(4), name("$share/g/t/1"), Qos::Zero);
    world.install();
    let before = world.broker.intent().topics.clone();
    let tagged = tag(&world, "t/1");
    world.broker.link_down(world.now);
    let snapshot = world.greet_reaching([4, 2]);
    assert_eq!(snapshot.topics, before);
    assert_eq!(world.said, [], "nothing is left to be told");
    // What the switches still hold is understood.
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send_tagged(at(1), tagged, &message);
    world.expect_nothing(at(2));
    world.expect(at(3), &message);
    assert_eq!(world.broker.stats().publish_tagged, 1);
}

#[test]
fn a_controller_that_does_not_reach_somebody_any_more_gets_a_generation_without() {
    let (mut world, id) = three();
    let old = tag(&world, "t/1");
    world.broker.link_down(world.now);
    let snapshot = world.greet_reaching([4]);
    let new = tag(&world, "t/1");
    assert_ne!(old.generation, new.generation);
    let topic = &snapshot.topics[&offload::TopicIndex(new.topic_index)];
    assert_eq!(topic.generation.0, new.generation);
    assert!(topic.served_q0.is_empty());
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send_tagged(at(1), old, &message);
    world.expect_nothing(at(2));
    world.expect(at(3), &message);
    world.send_tagged(at(1), new, &message);
    world.expect(at(2), &message);
}
