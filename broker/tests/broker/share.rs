//! Share groups: `$share/{group}/{filter}`, as MQTT 5 §4.8.2 has them.

use std::net::SocketAddr;

use broker::auth::Keys;
use broker::{Broker, Config, Policy};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

use crate::world::*;

const SHARE: TopicRef<'static> = TopicRef::Name("$share/g/t/1");

/// A publisher at 1 and members at 2 up to `last`, of QoS `qos`; the topic id of `t/1`, which all know.
fn group(last: u8, qos: Qos) -> (World, u16) {
    let mut world = World::plain();
    world.connect(at(1), "p");
    let id = world.register(at(1), "t/1");
    for number in 2..=last {
        world.connect(at(number), &format!("m{number}"));
        assert_eq!(world.subscribe(at(number), SHARE, qos), id);
    }
    (world, id)
}

/// Who got something among the clients at 2 to `last`; all inboxes are emptied.
fn receivers(world: &mut World, last: u8) -> Vec<u8> {
    let mut found = Vec::new();
    for number in 2..=last {
        let inbox = world.inboxes.entry(at(number)).or_default();
        found.extend(inbox.drain(..).map(|_| number));
    }
    found
}

fn publish_q1(world: &mut World, id: u16, msg_id: u16, data: &[u8]) {
    world.send(at(1), &publish(Alias::normal(id), Qos::One, msg_id, data));
    world.expect(at(1), &puback(id, msg_id, ReturnCode::Accepted));
}

/// The member that the publisher at 1 goes to, and the others.
fn chosen(world: &mut World, id: u16, last: u8) -> (u8, Vec<u8>) {
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"?"));
    let found = receivers(world, last);
    let [one] = found[..] else {
        panic!("one member, not {found:?}");
    };
    (one, (2..=last).filter(|&other| other != one).collect())
}

fn acknowledge(world: &mut World, from: SocketAddr, id: u16, msg_id: MsgId) {
    world.send(from, &puback(id, msg_id.0, ReturnCode::Accepted));
}

#[test]
fn one_member_gets_each_message_and_all_of_a_publisher_s_as_long_as_it_stays() {
    let (mut world, id) = group(5, Qos::One);
    let mut members = std::collections::BTreeSet::new();
    for publisher in 10..40 {
        world.connect(at(publisher), &format!("publisher-{publisher}"));
        world.register(at(publisher), "t/1");
        let mut all = Vec::new();
        for _ in 0..3 {
            let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
            world.send(at(publisher), &message);
            all.extend(receivers(&mut world, 5));
        }
        assert_eq!(all, [all[0]; 3]);
        members.insert(all[0]);
    }
    assert_eq!(members.len(), 4, "every member has work");
}

#[test]
fn a_message_is_delivered_at_the_qos_that_its_member_was_granted() {
    for (granted, published, delivered) in [
        (Qos::Zero, Qos::One, Qos::Zero),
        (Qos::One, Qos::One, Qos::One),
        (Qos::Two, Qos::One, Qos::One),
        (Qos::One, Qos::Zero, Qos::Zero),
    ] {
        let (mut world, id) = group(2, granted);
        let msg_id = if published == Qos::Zero { 0 } else { 1 };
        let message = publish(Alias::normal(id), published, msg_id, b"x");
        world.send(at(1), &message);
        world.expect_publish(at(2), Alias::normal(id), delivered, b"x");
    }
}

#[test]
fn each_group_and_each_ordinary_subscription_gets_its_own_copy() {
    let (mut world, id) = group(3, Qos::Zero);
    world.subscribe(at(2), name("$share/h/t/1"), Qos::Zero);
    world.subscribe(at(2), name("$share/g/t/+"), Qos::Zero);
    world.subscribe(at(3), name("t/1"), Qos::Zero);
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    let got = receivers(&mut world, 3);
    assert_eq!(got.len(), 4, "three groups, one ordinary: {got:?}");
    assert!(got.iter().filter(|&&member| member == 2).count() >= 2);
}

#[test]
fn retained_messages_are_not_for_groups_but_what_is_published_is() {
    let (mut world, id) = group(2, Qos::One);
    let message = publish_with(Alias::normal(id), Qos::Zero, 0, true, b"kept");
    world.send(at(1), &message);
    world.expect(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"kept"));
    world.connect(at(3), "late");
    world.subscribe(at(3), SHARE, Qos::One);
    world.expect_nothing(at(3));
    // Again, and as an ordinary subscriber: that is the difference.
    world.subscribe(at(3), SHARE, Qos::One);
    world.expect_nothing(at(3));
    world.subscribe(at(3), name("t/1"), Qos::One);
    let message = publish_with(Alias::normal(id), Qos::Zero, 0, true, b"kept");
    world.expect(at(3), &message);
}

#[test]
fn a_wildcard_member_is_told_the_topic_id_first() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    world.connect(at(2), "m");
    world.subscribe(at(2), name("$share/g/t/#"), Qos::Zero);
    let id = world.register(at(1), "t/1");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    assert_eq!(world.accept_register(at(2)), ("t/1".to_owned(), id));
    world.expect(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
}

#[test]
fn a_topic_whose_name_looks_like_a_share_group_has_no_subscribers() {
    let (mut world, _) = group(2, Qos::Zero);
    let id = world.register(at(1), "$share/g/t/1");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect_nothing(at(2));
}

#[test]
fn after_the_last_member_has_left_nobody_gets_anything_and_nothing_is_kept() {
    let (mut world, id) = group(2, Qos::One);
    world.unsubscribe(at(2), SHARE);
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect_nothing(at(2));
    assert_eq!(world.broker.sizes().subscriptions, 0);
    world.send(at(1), &disconnect(None));
    world.send(at(2), &disconnect(None));
    assert_eq!(world.broker.sizes().topics, 0);
    assert_eq!(world.broker.sizes().name_octets, 0);
}

/// Three messages for one member: the first is on its way to it, two wait behind it.
fn three_for_one_of_three(qos: Qos) -> (World, u16, u8, Vec<u8>) {
    let (mut world, id) = group(4, qos);
    let (member, others) = chosen(&mut world, id, 4);
    for (msg_id, data) in [(1, b"a"), (2, b"b"), (3, b"c")] {
        match qos {
            Qos::Two => {
                let message = publish(Alias::normal(id), Qos::Two, msg_id, data);
                world.send(at(1), &message);
                world.expect(at(1), &Packet::Pubrec(MsgId(msg_id)));
            }
            _ => publish_q1(&mut world, id, msg_id, data),
        }
    }
    (world, id, member, others)
}

/// What the other members receive and acknowledge at QoS 1, or take at QoS 2, in their order.
fn heard_by(world: &mut World, id: u16, members: &[u8]) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    for &member in members {
        while let Some(bytes) = world.inboxes.entry(at(member)).or_default().pop_front() {
            match Packet::decode(&bytes).unwrap() {
                Packet::Publish(publish) => {
                    heard.push(publish.data.to_vec());
                    assert!(!publish.dup, "it is the first that this client hears of it");
                    match publish.qos {
                        Qos::One => acknowledge(world, at(member), id, publish.msg_id),
                        Qos::Two => world.send(at(member), &Packet::Pubrec(publish.msg_id)),
                        _ => {}
                    }
                }
                Packet::Pubrel(msg_id) => world.send(at(member), &Packet::Pubcomp(msg_id)),
                other => panic!("{other:?}"),
            }
        }
    }
    heard
}

#[test]
fn who_unsubscribes_finishes_what_it_was_sent_and_the_rest_goes_to_another() {
    let (mut world, id, member, others) = three_for_one_of_three(Qos::One);
    let first = world.expect_publish(at(member), Alias::normal(id), Qos::One, b"a");
    world.unsubscribe(at(member), SHARE);
    assert_eq!(heard_by(&mut world, id, &others), [b"b", b"c"]);
    assert_eq!(world.broker.stats().handed_over, 2);
    acknowledge(&mut world, at(member), id, first);
    world.advance(ms(60_000));
    world.expect_nothing(at(member));
}

#[test]
fn who_disconnects_leaves_also_what_it_did_not_acknowledge_at_qos_1() {
    let (mut world, id, member, others) = three_for_one_of_three(Qos::One);
    world.expect_publish(at(member), Alias::normal(id), Qos::One, b"a");
    world.send(at(member), &disconnect(None));
    assert_eq!(heard_by(&mut world, id, &others), [b"a", b"b", b"c"]);
}

#[test]
fn who_crashes_is_given_up_and_another_gets_all_that_it_did_not_acknowledge() {
    let (mut world, id, member, others) = three_for_one_of_three(Qos::One);
    world.advance(ms(65_000));
    assert_eq!(heard_by(&mut world, id, &others), [b"a", b"b", b"c"]);
    assert_eq!(world.broker.stats().sessions_lost, 1);
    world.inboxes.remove(&at(member));
}

#[test]
fn what_was_sent_at_qos_2_goes_to_nobody_else() {
    let (mut world, id, member, others) = three_for_one_of_three(Qos::Two);
    world.expect_publish(at(member), Alias::normal(id), Qos::Two, b"a");
    world.send(at(member), &disconnect(None));
    assert_eq!(heard_by(&mut world, id, &others), [b"b", b"c"]);
}

#[test]
fn a_persistent_session_keeps_what_was_sent_at_qos_2_until_it_comes_back() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    let id = world.register(at(1), "t/1");
    world.send(at(2), &connect_with("m2", false, false, 0));
    world.expect(at(2), &Packet::Connack(ReturnCode::Accepted));
    world.subscribe(at(2), SHARE, Qos::Two);
    let message = publish(Alias::normal(id), Qos::Two, 1, b"a");
    world.send(at(1), &message);
    world.expect_publish(at(2), Alias::normal(id), Qos::Two, b"a");
    world.connect(at(3), "m3");
    world.subscribe(at(3), SHARE, Qos::Two);
    world.send(at(2), &disconnect(None));
    world.expect(at(2), &disconnect(None));
    world.expect_nothing(at(3));
    world.send(at(2), &connect_with("m2", false, false, 0));
    world.expect(at(2), &Packet::Connack(ReturnCode::Accepted));
    world.accept_register(at(2));
    let bytes = world.take(at(2));
    match Packet::decode(&bytes) {
        Ok(Packet::Publish(publish)) => assert!(publish.dup && publish.qos == Qos::Two),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_that_falls_asleep_is_passed_over_and_leaves_what_was_not_sent() {
    let (mut world, id, member, others) = three_for_one_of_three(Qos::One);
    let first = world.expect_publish(at(member), Alias::normal(id), Qos::One, b"a");
    world.send(at(member), &disconnect(Some(600)));
    world.expect(at(member), &disconnect(None));
    assert_eq!(heard_by(&mut world, id, &others), [b"b", b"c"]);
    publish_q1(&mut world, id, 4, b"d");
    assert_eq!(heard_by(&mut world, id, &others), [b"d"]);
    // What it was sent, it may have: it is asked when it wakes up.
    world.send(at(member), &pingreq(&format!("m{member}")));
    let bytes = world.take(at(member));
    match Packet::decode(&bytes) {
        Ok(Packet::Publish(publish)) => {
            assert_eq!((publish.data, publish.dup), (&b"a"[..], true));
            assert_eq!(publish.msg_id, first);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn if_all_sleep_one_of_them_finds_the_messages_when_it_wakes_up() {
    let (mut world, id) = group(3, Qos::One);
    for number in [2, 3] {
        world.send(at(number), &disconnect(Some(600)));
        world.expect(at(number), &disconnect(None));
    }
    publish_q1(&mut world, id, 1, b"a");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"b"));
    let mut heard = Vec::new();
    for number in [2, 3] {
        world.expect_nothing(at(number));
        world.send(at(number), &pingreq(&format!("m{number}")));
        while let Some(bytes) = world.inboxes.entry(at(number)).or_default().pop_front() {
            if let Ok(Packet::Publish(publish)) = Packet::decode(&bytes) {
                heard.push(publish.data.to_vec());
                if publish.qos == Qos::One {
                    acknowledge(&mut world, at(number), id, publish.msg_id);
                }
            }
        }
    }
    assert_eq!(heard, [b"a", b"b"]);
}

#[test]
fn what_waits_for_members_that_are_away_goes_to_the_first_that_comes() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    let id = world.register(at(1), "t/1");
    world.send(at(2), &connect_with("away", false, false, 0));
    world.expect(at(2), &Packet::Connack(ReturnCode::Accepted));
    world.subscribe(at(2), SHARE, Qos::One);
    world.send(at(2), &disconnect(None));
    world.expect(at(2), &disconnect(None));
    for (msg_id, data) in [(1, b"a"), (2, b"b")] {
        publish_q1(&mut world, id, msg_id, data);
    }
    world.connect(at(3), "comes");
    world.subscribe(at(3), SHARE, Qos::One);
    assert_eq!(heard_by(&mut world, id, &[3]), [b"a", b"b"]);
    world.send(at(2), &connect_with("away", false, false, 0));
    world.expect(at(2), &Packet::Connack(ReturnCode::Accepted));
    world.expect_nothing(at(2));
}

#[test]
fn a_member_that_refuses_the_topic_id_is_passed_over() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    let id = world.register(at(1), "t/1");
    for number in [2, 3] {
        world.connect(at(number), &format!("m{number}"));
        world.subscribe(at(number), name("$share/g/t/#"), Qos::One);
    }
    publish_q1(&mut world, id, 1, b"x");
    let mut asked = [2, 3].into_iter();
    let refuses = asked.find(|&n| world.inboxes.get(&at(n)).is_some_and(|i| !i.is_empty()));
    let refuses = refuses.expect("somebody is told the topic id");
    let takes = if refuses == 2 { 3 } else { 2 };
    let bytes = world.take(at(refuses));
    let Ok(Packet::Register(register)) = Packet::decode(&bytes) else {
        panic!("REGISTER");
    };
    let refusal = regack(id, register.msg_id, ReturnCode::NotSupported);
    world.send(at(refuses), &refusal);
    world.accept_register(at(takes));
    world.expect_publish(at(takes), Alias::normal(id), Qos::One, b"x");
    world.expect_nothing(at(refuses));
}

#[test]
fn a_member_whose_queue_is_full_is_passed_over() {
    let config = Config {
        max_queued_messages: 2,
        ..Config::default()
    };
    let mut world = World::new(config);
    world.connect(at(1), "p");
    let id = world.register(at(1), "t/1");
    for number in [2, 3] {
        world.connect(at(number), &format!("m{number}"));
        world.subscribe(at(number), SHARE, Qos::One);
    }
    for msg_id in 1..=6 {
        publish_q1(&mut world, id, msg_id, &[msg_id as u8]);
    }
    let queued: Vec<usize> = world.broker.sessions().iter().map(|s| s.queued).collect();
    assert_eq!(queued, [0, 2, 2], "and one on its way to each");
    assert_eq!(world.broker.stats().dropped_queue_full, 0);
    publish_q1(&mut world, id, 7, &[7]);
    assert_eq!(world.broker.stats().dropped_queue_full, 1);
}

#[test]
fn a_publisher_that_is_chosen_itself_gets_its_copy_behind_the_answer() {
    let mut world = World::plain();
    world.connect(at(1), "p");
    let id = world.subscribe(at(1), SHARE, Qos::Zero);
    for qos in [Qos::One, Qos::Two] {
        world.send(at(1), &publish(Alias::normal(id), qos, 1, b"x"));
        match qos {
            Qos::One => world.expect(at(1), &puback(id, 1, ReturnCode::Accepted)),
            _ => world.expect(at(1), &Packet::Pubrec(MsgId(1))),
        }
        world.expect(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
        world.expect_nothing(at(1));
    }
}

#[test]
fn wills_and_messages_without_a_session_reach_one_member() {
    let config = Config {
        predefined_topics: [(7, "t/1".to_owned())].into(),
        ..Config::default()
    };
    let mut world = World::new(config);
    for number in [2, 3] {
        world.connect(at(number), &format!("m{number}"));
        world.subscribe(at(number), name("$share/g/t/+"), Qos::Zero);
    }
    for _ in 0..3 {
        let message = publish(Alias::predefined(7), Qos::MinusOne, 0, b"x");
        world.send(at(9), &message);
    }
    let mut all = Vec::new();
    for number in [2, 3] {
        while let Some(bytes) = world.inboxes.entry(at(number)).or_default().pop_front() {
            match Packet::decode(&bytes).unwrap() {
                Packet::Register(register) => {
                    let (id, msg_id) = (register.topic_id, register.msg_id);
                    world.send(at(number), &regack(id, msg_id, ReturnCode::Accepted));
                }
                Packet::Publish(_) => all.push(number),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(all, [all[0]; 3], "QoS −1 sticks by its address");
}

#[test]
fn permissions_are_those_of_the_filter_that_the_members_share() {
    let rules = "{default: deny, rules: [{permit: allow, topic: a/#}]}";
    let config = Config {
        acl: serde_yaml::from_str(rules).unwrap(),
        ..Config::default()
    };
    let access = Policy::new(&config, Keys::default());
    let mut world = World::plain();
    world.broker = Broker::with_access(config, Box::new(access), world.now).unwrap();
    world.connect(at(1), "m");
    for (filter, code) in [
        ("$share/g/a/b", ReturnCode::Accepted),
        ("$share/a/b", ReturnCode::NotSupported),
        ("$share/g/#", ReturnCode::NotSupported),
    ] {
        world.send(at(1), &subscribe(name(filter), Qos::Zero, MsgId(1)));
        let bytes = world.take(at(1));
        match Packet::decode(&bytes) {
            Ok(Packet::Suback(suback)) => assert_eq!(suback.return_code, code, "{filter}"),
            other => panic!("{other:?}"),
        }
    }
}
