//! What the broker wants of the network.

use broker::{Config, Unserved};
use mqttsn::{Alias, Qos, ReturnCode, TopicRef};
use offload::{
    AliasType, Change, FromBroker, FromController, Intent, Member, PublicationKey, Refusal,
    RefusedItem, Serve, SessionId, Topic,
};

use crate::world::*;

fn topic<'i>(world: &'i World, name: &str) -> &'i Topic {
    let topics = &world.broker.intent().topics;
    let mut found = topics.values().filter(|topic| topic.name == name);
    found.next().expect("the topic is in the intent")
}

fn sessions(ids: &[u32]) -> std::collections::BTreeSet<SessionId> {
    ids.iter().copied().map(SessionId).collect()
}

/// Sessions 1 (publisher), 2 and 3, with publication and subscriptions of `t/1`.
fn three(granted_2: Qos, granted_3: Qos) -> World {
    let mut world = World::offloading(offloading());
    world.reachable([2, 3]);
    for (number, client_id) in [(1, "p"), (2, "s"), (3, "u")] {
        world.connect(at(number), client_id);
    }
    world.register(at(1), "t/1");
    world.subscribe(at(2), name("t/1"), granted_2);
    world.subscribe(at(3), name("t/1"), granted_3);
    world
}

#[test]
fn reachable_subscribers_are_served_and_qos_1_is_acknowledged_where_nobody_is_owed_more() {
    let world = three(Qos::Zero, Qos::Zero);
    let topic = topic(&world, "t/1");
    assert_eq!(topic.served_q0, sessions(&[2, 3]));
    assert_eq!(topic.served_q1, sessions(&[2, 3]));
    assert_eq!(
        (topic.copy_q0, topic.copy_q1, topic.ack_q1),
        (false, false, true)
    );
    assert!(topic.aliases.is_empty());
    let intent = world.broker.intent();
    assert_eq!(intent.sessions[&SessionId(2)], at(2));
    let key = PublicationKey {
        address: at(1),
        alias: topic.home_alias,
    };
    assert_eq!(intent.publications[&key].session, SessionId(1));
}

#[test]
fn a_join_and_a_leave_tell_only_the_session_that_moves() {
    let mut world = three(Qos::Zero, Qos::Zero);
    world.reachable([4]);
    world.connect(at(4), "v");
    let index = *world.broker.intent().topics.keys().next().unwrap();
    let steps = |world: &mut World| -> Vec<Serve> {
        let deltas = world.said.drain(..).filter_map(|said| match said {
            FromBroker::Delta(delta) => Some(delta.changes),
            _ => None,
        });
        let steps = deltas.flatten().filter_map(|change| match change {
            Change::Serve(of, step) => {
                assert_eq!(of, index);
                Some(step)
            }
            Change::Topic(..) => panic!("the topic is told whole"),
            _ => None,
        });
        steps.collect()
    };
    world.said.clear();
    world.subscribe(at(4), name("t/1"), Qos::Zero);
    let joins = Member {
        q0: true,
        q1: true,
        alias: None,
    };
    let told = steps(&mut world);
    let [join] = &told[..] else {
        panic!("one step");
    };
    assert_eq!(join.members, [(SessionId(4), Some(joins))]);
    assert_eq!(join.generation, topic(&world, "t/1").generation);
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2, 3, 4]));

    world.send(at(2), &disconnect(None));
    let told_later = steps(&mut world);
    let [leave] = &told_later[..] else {
        panic!("one step");
    };
    assert_eq!(leave.members, [(SessionId(2), None)]);
    assert_eq!(leave.generation, topic(&world, "t/1").generation);
    assert_ne!(leave.generation, join.generation);
}

#[test]
fn a_subscriber_of_qos_1_gets_qos_1_from_the_broker() {
    let world = three(Qos::Zero, Qos::One);
    let topic = topic(&world, "t/1");
    assert_eq!(topic.served_q0, sessions(&[2, 3]));
    assert_eq!(topic.served_q1, sessions(&[2]));
    assert_eq!(
        (topic.copy_q0, topic.copy_q1, topic.ack_q1),
        (false, true, false)
    );
}

#[test]
fn an_unreachable_subscriber_is_served_by_the_broker() {
    let mut world = three(Qos::Zero, Qos::Zero);
    let before = topic(&world, "t/1").generation;
    world.tell(FromController::Reachable {
        address: at(3).ip(),
        reachable: false,
    });
    let after = topic(&world, "t/1");
    assert_eq!(after.served_q0, sessions(&[2]));
    assert!(after.copy_q0 && after.copy_q1 && !after.ack_q1);
    assert!(after.generation > before);
    assert!(!world.broker.intent().sessions.contains_key(&SessionId(3)));
    let info = world.broker.topic("t/1").unwrap();
    assert_eq!(info.subscribers[1].unserved, Some(Unserved::Unreachable));
}

#[test]
fn a_refused_session_is_served_by_the_broker_and_refusals_are_remembered() {
    let mut world = three(Qos::Zero, Qos::Zero);
    let index = *world.broker.intent().topics.keys().next().unwrap();
    let why = Some(Refusal::Capacity("subscriber".into()));
    let session = RefusedItem::Session(SessionId(3));
    let item = session;
    world.tell(FromController::Refused {
        item,
        why: why.clone(),
    });
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2]));
    let item = RefusedItem::Topic(index);
    world.tell(FromController::Refused { item, why });
    let info = world.broker.topic("t/1").unwrap();
    assert_eq!(info.refusal.as_deref(), Some("no room: subscriber"));
    assert!(!info.is_wholly_offloaded(Qos::Zero));
    for item in [session, item] {
        world.tell(FromController::Refused { item, why: None });
    }
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2, 3]));
    assert_eq!(world.broker.topic("t/1").unwrap().refusal, None);
}

#[test]
fn a_session_without_room_stays_refused_for_the_next_controller_and_is_tried_again_later() {
    let mut world = three(Qos::Zero, Qos::Zero);
    let item = RefusedItem::Session(SessionId(3));
    let refuse = |why| FromController::Refused { item, why };
    world.tell(refuse(Some(Refusal::Capacity("subscriber".into()))));
    let before = topic(&world, "t/1").clone();
    assert_eq!(before.served_q0, sessions(&[2]));
    // Another controller, and one more: nothing has changed for the switch.
    for _ in 0..2 {
        world.broker.link_down(world.now);
        world.greet_reaching([1, 2, 3]);
        world.install();
        assert_eq!(topic(&world, "t/1"), &before);
        world.advance(ms(10_000));
    }
    assert!(world.grant(2));
    assert_eq!(topic(&world, "t/1"), &before);
    world.advance(ms(11_000));
    assert!(world.grant(3));
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2, 3]));

    // One that was spoken of is its own.
    world.tell(refuse(Some(Refusal::Capacity("subscriber".into()))));
    world.install();
    world.greet_reaching([1, 2, 3]);
    world.install();
    world.tell(refuse(None));
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2, 3]));
    world.tell(refuse(Some(Refusal::Capacity("subscriber".into()))));
    world.install();
    world.advance(ms(31_000));
    world.grant(4);
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2]));
}

#[test]
fn what_a_controller_refused_for_other_reasons_is_forgotten_with_it() {
    let mut world = three(Qos::Zero, Qos::Zero);
    let item = RefusedItem::Session(SessionId(3));
    let why = Some(Refusal::Failing("subscriber".into()));
    world.tell(FromController::Refused { item, why });
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2]));
    world.greet_reaching([1, 2, 3]);
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2, 3]));
}

#[test]
fn a_wildcard_subscriber_is_served_once_it_knows_the_topic_id() {
    let mut world = World::offloading(offloading());
    world.reachable([2]);
    world.connect(at(1), "p");
    world.connect(at(2), "s");
    world.subscribe(at(2), name("t/#"), Qos::Zero);
    let id = world.register(at(1), "t/1");
    assert!(topic(&world, "t/1").served_q0.is_empty());
    assert!(topic(&world, "t/1").copy_q0);
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.accept_register(at(2));
    world.expect(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2]));
    assert!(!topic(&world, "t/1").copy_q0);
}

#[test]
fn a_session_with_messages_waiting_is_served_when_they_are_through() {
    let mut world = three(Qos::One, Qos::Zero);
    let id = world.register(at(1), "t/2");
    let alias = Alias::normal(id);
    world.send(at(1), &publish(alias, Qos::One, 1, b"x"));
    world.expect(at(1), &puback(id, 1, ReturnCode::Accepted));
    world.subscribe(at(2), name("t/2"), Qos::One);
    world.send(at(1), &publish(alias, Qos::One, 2, b"y"));
    let msg_id = world.expect_publish(at(2), alias, Qos::One, b"y");
    world.subscribe(at(2), name("t/3"), Qos::Zero);
    assert!(topic(&world, "t/3").served_q0.is_empty());
    let info = world.broker.topic("t/3").unwrap();
    assert_eq!(info.subscribers[0].unserved, Some(Unserved::Queued));
    world.send(at(2), &puback(id, msg_id.0, ReturnCode::Accepted));
    assert_eq!(topic(&world, "t/3").served_q0, sessions(&[2]));
}

#[test]
fn sessions_that_use_another_alias_are_listed() {
    let mut world = World::offloading(Config {
        predefined_topics: [(7, "pre".to_owned())].into(),
        ..offloading()
    });
    world.reachable([1, 2]);
    world.connect(at(1), "a");
    world.connect(at(2), "b");
    world.subscribe(at(1), TopicRef::Predefined(7), Qos::Zero);
    let id = world.subscribe(at(2), name("pre"), Qos::Zero);
    let topic = topic(&world, "pre");
    assert_eq!(topic.home_alias.id_type, AliasType::Predefined);
    let other = topic.aliases[&SessionId(2)];
    assert_eq!((other.id_type, other.id), (AliasType::Normal, id));
    assert_eq!(topic.aliases.len(), 1);
    let open = &world.broker.intent().open_publications;
    assert!(open.contains_key(&topic.home_alias));
}

#[test]
fn aliases_that_need_no_registration_are_publications_from_the_next_answer_on() {
    let mut world = World::offloading(offloading());
    world.connect(at(1), "p");
    assert!(world.broker.intent().publications.is_empty());
    let alias = Alias::short(*b"ab");
    // What follows at once could overtake this one in the data plane.
    world.send(at(1), &publish(alias, Qos::Zero, 0, b"x"));
    assert!(world.broker.intent().publications.is_empty());
    world.send(
        at(1),
        &mqttsn::Packet::Pingreq(mqttsn::packet::Pingreq { client_id: "" }),
    );
    assert_eq!(world.broker.intent().publications.len(), 1);
    // A PUBACK is an answer, too.
    let other = Alias::short(*b"cd");
    world.send(at(1), &publish(other, Qos::One, 1, b"x"));
    assert_eq!(world.broker.intent().publications.len(), 2);
    world.send(at(1), &disconnect(None));
    assert!(world.broker.intent().publications.is_empty());
    assert!(world.broker.intent().topics.is_empty());
}

#[test]
fn a_sleeping_or_moving_session_leaves_the_intent() {
    let mut world = three(Qos::Zero, Qos::Zero);
    world.send(at(2), &disconnect(Some(100)));
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[3]));
    assert!(topic(&world, "t/1").copy_q0);
    world.send(at(1), &disconnect(Some(100)));
    assert!(world.broker.intent().publications.is_empty());
}

#[test]
fn nothing_of_a_forwarded_client_is_in_the_intent() {
    let mut world = World::offloading(offloading());
    world.reachable([1]);
    let wrap = |packet: &mqttsn::Packet<'_>| {
        let mut bytes = vec![5, 0xFE, 0, b'n', b'1'];
        bytes.extend(encode(packet));
        bytes
    };
    world.send_bytes(at(1), &wrap(&connect("a")));
    world.install();
    let msg_id = mqttsn::MsgId(1);
    world.send_bytes(at(1), &wrap(&register("t/1", msg_id)));
    world.send_bytes(at(1), &wrap(&subscribe(name("t/1"), Qos::Zero, msg_id)));
    assert!(world.broker.intent().publications.is_empty());
    assert!(topic(&world, "t/1").served_q0.is_empty());
    assert!(topic(&world, "t/1").copy_q0);
}

#[test]
fn deltas_lead_from_the_snapshot_to_the_intent() {
    let mut world = World::new(offloading());
    world.advance(ms(1000));
    world.connect(at(1), "a");
    world.register(at(1), "t/1");
    let mut copy: Intent = world.greet();
    world.said.clear();
    world.tell(FromController::Reachable {
        address: at(1).ip(),
        reachable: true,
    });
    world.send(at(1), &subscribe(name("t/1"), Qos::One, mqttsn::MsgId(9)));
    world.send(at(1), &disconnect(None));
    let mut steps = 0;
    for said in world.said.drain(..) {
        if let FromBroker::Delta(delta) = said {
            assert!(
                delta
                    .changes
                    .iter()
                    .all(|c| !matches!(c, Change::Services(_)))
            );
            copy.apply(&delta).unwrap();
            steps += 1;
        }
    }
    assert!(steps >= 2);
    assert_eq!(&copy, world.broker.intent());
    assert!(copy.topics.is_empty() && copy.sessions.is_empty());
}

#[test]
fn a_new_controller_starts_from_nobody_reachable() {
    let mut world = three(Qos::Zero, Qos::Zero);
    world.broker.link_down(world.now);
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2, 3]));
    let snapshot = world.greet();
    assert!(snapshot.sessions.is_empty());
    assert!(topic(&world, "t/1").served_q0.is_empty());
}

#[test]
fn who_asks_for_less_is_served_qos_1_when_what_waits_at_qos_1_is_through() {
    let mut world = three(Qos::One, Qos::Zero);
    let id = world.register(at(1), "t/1");
    let alias = Alias::normal(id);
    world.send(at(1), &publish(alias, Qos::One, 1, b"x"));
    let msg_id = world.expect_publish(at(2), alias, Qos::One, b"x");
    world.subscribe(at(2), name("t/1"), Qos::Zero);
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[2, 3]));
    assert_eq!(topic(&world, "t/1").served_q1, sessions(&[3]));
    world.send(at(2), &puback(id, msg_id.0, ReturnCode::Accepted));
    assert_eq!(topic(&world, "t/1").served_q1, sessions(&[2, 3]));
    assert!(topic(&world, "t/1").ack_q1);
}

#[test]
fn a_wildcard_subscriber_that_registers_the_topic_itself_is_served_from_the_next_answer_on() {
    let mut world = World::offloading(offloading());
    world.reachable([1]);
    world.connect(at(1), "p");
    world.subscribe(at(1), name("t/+"), Qos::Zero);
    world.register(at(1), "t/1");
    // It may be publishing by now, and its own messages must come back in their order.
    assert!(topic(&world, "t/1").served_q0.is_empty());
    assert!(topic(&world, "t/1").copy_q0);
    world.send(at(1), &pingreq(""));
    assert_eq!(topic(&world, "t/1").served_q0, sessions(&[1]));
}
