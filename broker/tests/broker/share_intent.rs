//! Share groups in the intent: whom the data plane may choose, under which generation, and what is left
//! to the broker when members come and go.

use std::collections::BTreeMap;

use mqttsn::{Alias, Packet, Qos, ReturnCode, Tag, TopicRef};
use offload::{Generation, SessionId, Topic};

use crate::world::*;

const SHARE: TopicRef<'static> = TopicRef::Name("$share/g/t/1");

fn topic(world: &World) -> &Topic {
    let mut topics = world.broker.intent().topics.values();
    topics
        .find(|topic| topic.name == "t/1")
        .expect("the topic is in the intent")
}

/// The generation of each member, by the session's number.
fn members(world: &World) -> BTreeMap<u32, Generation> {
    let shared = topic(world).shared.iter();
    shared
        .map(|(session, member)| (session.0, member.generation))
        .collect()
}

/// The tag of a copy for which the data plane chose that member.
fn chosen(world: &World, member: u32) -> Tag {
    let topics = &world.broker.intent().topics;
    let (index, topic) = topics
        .iter()
        .find(|(_, topic)| topic.name == "t/1")
        .expect("the topic is in the intent");
    Tag {
        topic_index: index.0,
        generation: topic.shared[&SessionId(member)].generation.0,
    }
}

/// Publisher 1, ordinary subscriber 2 and members 3 to `last`, each at the address of its number and
/// with the session of its number; the topic id.
fn group(last: u8, granted: Qos) -> (World, u16) {
    let mut world = World::offloading(offloading());
    world.reachable(1..=last);
    for number in 1..=last {
        world.connect(at(number), &format!("client-{number}"));
    }
    let id = world.register(at(1), "t/1");
    world.subscribe(at(2), name("t/1"), Qos::Zero);
    for number in 3..=last {
        world.subscribe(at(number), SHARE, granted);
    }
    (world, id)
}

fn q0(id: u16) -> Packet<'static> {
    publish(Alias::normal(id), Qos::Zero, 0, b"x")
}

fn nobody_gets_anything(world: &mut World, last: u8) {
    for number in 1..=last {
        world.expect_nothing(at(number));
    }
}

#[test]
fn each_member_has_a_generation_of_its_own_that_serves_it_and_the_ordinary_subscribers() {
    let (mut world, id) = group(4, Qos::Zero);
    let topic = topic(&world);
    assert_eq!(topic.served_q0, [SessionId(2)].into());
    assert_eq!(topic.served_q1, [SessionId(2)].into());
    assert_eq!(
        (topic.copy_q0, topic.copy_q1, topic.ack_q1),
        (false, false, true)
    );
    let members = members(&world);
    assert_eq!(members.keys().collect::<Vec<_>>(), [&3, &4]);
    assert_ne!(members[&3], members[&4]);
    // Whoever was chosen: there is nobody left to serve.
    for member in [3, 4] {
        world.send_tagged(at(1), chosen(&world, member), &q0(id));
        nobody_gets_anything(&mut world, 4);
    }
    assert_eq!(world.broker.stats().delivered_by_data_plane, 4);
}

#[test]
fn who_joins_gets_a_generation_and_the_others_keep_theirs() {
    let (mut world, id) = group(4, Qos::Zero);
    let before = members(&world);
    let old = chosen(&world, 3);
    world.reachable([5]);
    world.connect(at(5), "client-5");
    world.subscribe(at(5), SHARE, Qos::Zero);
    let after = members(&world);
    assert_eq!(after.keys().collect::<Vec<_>>(), [&3, &4, &5]);
    assert_eq!((after[&3], after[&4]), (before[&3], before[&4]));
    assert!(!before.values().any(|generation| *generation == after[&5]));
    world.send_tagged(at(1), old, &q0(id));
    nobody_gets_anything(&mut world, 5);
}

#[test]
fn an_ordinary_subscriber_that_joins_gives_every_member_another_generation() {
    let (mut world, id) = group(4, Qos::Zero);
    let (before, old) = (members(&world), chosen(&world, 4));
    world.reachable([5]);
    world.connect(at(5), "client-5");
    world.subscribe(at(5), name("t/1"), Qos::Zero);
    let after = members(&world);
    for member in [3, 4] {
        assert_ne!(after[&member], before[&member]);
    }
    assert_eq!(topic(&world).served_q0, [SessionId(2), SessionId(5)].into());
    // What the data plane saw before is not owed to it, and 4 has it.
    world.send_tagged(at(1), old, &q0(id));
    nobody_gets_anything(&mut world, 5);
}

#[test]
fn a_member_that_leaves_is_out_of_the_intent_before_it_is_answered_and_the_others_stay_as_they_are()
{
    for leaving in ["sleep", "disconnect", "unsubscribe"] {
        let (mut world, id) = group(5, Qos::Zero);
        let (before, old) = (members(&world), chosen(&world, 3));
        let answer = match leaving {
            "unsubscribe" => {
                let msg_id = world.msg_id();
                let unsubscribe = mqttsn::packet::Unsubscribe {
                    msg_id,
                    topic: SHARE,
                };
                world.send(at(3), &Packet::Unsubscribe(unsubscribe));
                Packet::Unsuback(msg_id)
            }
            how => {
                world.send(at(3), &disconnect((how == "sleep").then_some(100)));
                disconnect(None)
            }
        };
        let after = members(&world);
        assert_eq!(after.keys().collect::<Vec<_>>(), [&4, &5], "{leaving}");
        assert_eq!((after[&4], after[&5]), (before[&4], before[&5]));
        assert!(
            !topic(&world).copy_q0 && !topic(&world).copy_q1,
            "{leaving}"
        );
        // The switch may still choose it: that copy was its last, and nobody else's.
        world.expect_nothing(at(3));
        world.send_tagged(at(1), old, &q0(id));
        nobody_gets_anything(&mut world, 5);
        world.install();
        world.expect(at(3), &answer);
        // One of a packet that was under way even then is nobody's any more either.
        world.send_tagged(at(1), old, &q0(id));
        nobody_gets_anything(&mut world, 5);
        // Untagged, it was served to nobody: one of those who are there gets it.
        world.send(at(1), &q0(id));
        world.expect(at(2), &q0(id));
        world.expect_nothing(at(3));
        let inboxes = [4, 5].map(|number| world.inboxes.get(&at(number)).map_or(0, |i| i.len()));
        assert_eq!(inboxes.iter().sum::<usize>(), 1, "{leaving}");
    }
}

#[test]
fn a_member_that_comes_back_has_a_generation_that_was_never_in_force() {
    let (mut world, id) = group(4, Qos::Zero);
    let (first, old) = (members(&world)[&3], chosen(&world, 3));
    world.unsubscribe(at(3), SHARE);
    assert!(!members(&world).contains_key(&3));
    world.subscribe(at(3), SHARE, Qos::Zero);
    assert_ne!(members(&world)[&3], first);
    for tag in [old, chosen(&world, 3)] {
        world.send_tagged(at(1), tag, &q0(id));
        nobody_gets_anything(&mut world, 4);
    }
}

#[test]
fn when_the_last_member_sleeps_the_broker_keeps_messages_for_it_and_serves_the_rest_itself() {
    let (mut world, id) = group(3, Qos::Zero);
    let old = chosen(&world, 3);
    world.send(at(3), &disconnect(Some(100)));
    assert!(members(&world).is_empty());
    assert!(topic(&world).copy_q0 && topic(&world).copy_q1 && !topic(&world).ack_q1);
    assert_eq!(topic(&world).served_q0, [SessionId(2)].into());
    world.install();
    world.expect(at(3), &disconnect(None));
    // Served before it slept.
    world.send_tagged(at(1), old, &q0(id));
    nobody_gets_anything(&mut world, 3);
    // Served to 2 alone, under the topic's own generation.
    let topics = &world.broker.intent().topics;
    let (index, topic) = topics.iter().next().expect("one topic");
    let tag = Tag {
        topic_index: index.0,
        generation: topic.generation.0,
    };
    world.send_tagged(at(1), tag, &q0(id));
    nobody_gets_anything(&mut world, 3);
    world.send(at(3), &pingreq("client-3"));
    world.expect(at(3), &q0(id));
    world.expect(at(3), &Packet::Pingresp);
}

#[test]
fn when_the_last_member_leaves_for_good_the_topic_is_one_without_a_group() {
    for unsubscribes in [true, false] {
        let (mut world, id) = group(3, Qos::Zero);
        let old = chosen(&world, 3);
        if unsubscribes {
            world.unsubscribe(at(3), SHARE);
        } else {
            world.send(at(3), &disconnect(None));
            world.install();
            world.expect(at(3), &disconnect(None));
        }
        let topic = topic(&world);
        assert!(topic.shared.is_empty());
        assert_eq!(topic.served_q0, [SessionId(2)].into());
        assert_eq!(
            (topic.copy_q0, topic.copy_q1, topic.ack_q1),
            (false, false, true)
        );
        assert_ne!(topic.generation.0, old.generation);
        world.send_tagged(at(1), old, &q0(id));
        world.send(at(1), &q0(id));
        world.expect(at(2), &q0(id));
        nobody_gets_anything(&mut world, 3);
    }
}

#[test]
fn a_member_of_qos_1_gets_qos_1_from_the_broker_if_it_is_the_one_chosen() {
    let (mut world, id) = group(4, Qos::One);
    assert_eq!(
        (topic(&world).copy_q0, topic(&world).copy_q1),
        (false, true)
    );
    for member in topic(&world).shared.values() {
        assert!(!member.serve_q1);
    }
    for (msg_id, member) in [(1, 4), (2, 3)] {
        let message = publish(Alias::normal(id), Qos::One, msg_id, b"x");
        world.send_tagged(at(1), chosen(&world, member.into()), &message);
        world.expect(at(1), &puback(id, msg_id, ReturnCode::Accepted));
        world.expect_publish(at(member), Alias::normal(id), Qos::One, b"x");
        nobody_gets_anything(&mut world, 4);
    }
}

#[test]
fn a_member_that_was_chosen_at_qos_1_and_is_gone_leaves_the_message_to_another() {
    let (mut world, id) = group(4, Qos::One);
    let tag = chosen(&world, 3);
    world.unsubscribe(at(3), SHARE);
    // The switch chose 3 before it knew, and left QoS 1 to the broker.
    let message = publish(Alias::normal(id), Qos::One, 1, b"x");
    world.send_tagged(at(1), tag, &message);
    world.expect(at(1), &puback(id, 1, ReturnCode::Accepted));
    world.expect_nothing(at(3));
    world.expect_publish(at(4), Alias::normal(id), Qos::One, b"x");
    world.expect_nothing(at(2));
}

#[test]
fn a_member_whose_place_is_unknown_keeps_the_whole_group_with_the_broker() {
    let (mut world, id) = group(4, Qos::Zero);
    world.connect(at(9), "client-9");
    world.subscribe(at(9), SHARE, Qos::Zero);
    assert!(members(&world).is_empty());
    assert!(topic(&world).copy_q0 && topic(&world).copy_q1);
    world.send(at(1), &q0(id));
    world.expect(at(2), &q0(id));
    let got = [3, 4, 9].map(|number| world.inboxes.get(&at(number)).map_or(0, |i| i.len()));
    assert_eq!(got.iter().sum::<usize>(), 1);
    // Known, all may be chosen, each under a generation of its own.
    world.reachable([9]);
    assert_eq!(members(&world).len(), 3);
}
