//! Predefined topic ids: for all, for single clients, and changed while in use (MQTT-SN 1.2 §6.7).

use std::collections::BTreeMap;

use broker::{Config, ConfigError, Predefined};
use mqttsn::packet::Puback;
use mqttsn::{Alias, Packet, Qos, ReturnCode, TopicRef};
use offload::{AliasType, FromBroker};

use crate::world::*;

fn predefined(yaml: &str) -> Predefined {
    let config: Config = serde_yaml::from_str(yaml).unwrap();
    config.predefined()
}

/// Id 1 is `all/one` for everybody but `own`, for whom it is `own/one`.
fn world() -> World {
    let yaml =
        "{predefined_topics: {1: all/one}, predefined_topics_of: {own: {1: own/one, 2: own/two}}}";
    World::new(serde_yaml::from_str(yaml).unwrap())
}

fn one() -> Alias {
    Alias::predefined(1)
}

#[track_caller]
fn received(world: &mut World, client: u8, topic_id: u16, data: &[u8]) {
    world.expect(
        at(client),
        &publish(Alias::normal(topic_id), Qos::Zero, 0, data),
    );
}

#[test]
fn a_clients_own_id_comes_before_that_of_all() {
    let mut world = world();
    world.connect(at(1), "own");
    world.connect(at(2), "other");
    world.connect(at(9), "watcher");
    let own = world.subscribe(at(9), name("own/one"), Qos::Zero);
    let all = world.subscribe(at(9), name("all/one"), Qos::Zero);
    world.send(at(1), &publish(one(), Qos::Zero, 0, b"x"));
    received(&mut world, 9, own, b"x");
    world.send(at(2), &publish(one(), Qos::Zero, 0, b"y"));
    received(&mut world, 9, all, b"y");
    // Nobody has a ClientId at QoS -1.
    world.send(at(1), &publish(one(), Qos::MinusOne, 0, b"z"));
    received(&mut world, 9, all, b"z");
}

#[test]
fn an_id_of_one_client_is_unknown_to_the_others() {
    let mut world = world();
    world.connect(at(2), "other");
    let two = Alias::predefined(2);
    world.send(at(2), &publish(two, Qos::One, 7, b"x"));
    world.expect(at(2), &puback(2, 7, ReturnCode::InvalidTopicId));
    let msg_id = world.msg_id();
    world.send(
        at(2),
        &subscribe(TopicRef::Predefined(2), Qos::Zero, msg_id),
    );
    world.expect(
        at(2),
        &suback(0, Qos::Zero, msg_id, ReturnCode::InvalidTopicId),
    );
}

#[test]
fn who_subscribes_by_its_own_id_is_told_by_it() {
    let mut world = world();
    world.connect(at(1), "own");
    assert_eq!(
        world.subscribe(at(1), TopicRef::Predefined(1), Qos::Zero),
        1
    );
    world.connect(at(2), "p");
    let id = world.register(at(2), "own/one");
    world.send(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    world.expect(at(1), &publish(one(), Qos::Zero, 0, b"x"));
}

#[test]
fn a_publication_under_an_id_that_changes_goes_where_the_id_goes() {
    let mut world = world();
    world.connect(at(2), "p");
    world.connect(at(9), "watcher");
    let first = world.subscribe(at(9), name("all/one"), Qos::Zero);
    let second = world.subscribe(at(9), name("all/two"), Qos::Zero);
    world.send(at(2), &publish(one(), Qos::Zero, 0, b"x"));
    received(&mut world, 9, first, b"x");
    let next = predefined("{predefined_topics: {1: all/two}}");
    world.broker.set_predefined(world.now, next).unwrap();
    for qos in [Qos::Zero, Qos::MinusOne] {
        world.send(at(2), &publish(one(), qos, 0, b"y"));
        received(&mut world, 9, second, b"y");
    }
    world
        .broker
        .set_predefined(world.now, Predefined::default())
        .unwrap();
    world.send(at(2), &publish(one(), Qos::One, 7, b"z"));
    world.expect(at(2), &puback(1, 7, ReturnCode::InvalidTopicId));
    world.send(at(2), &publish(one(), Qos::MinusOne, 0, b"z"));
    world.expect_nothing(at(9));
}

#[test]
fn a_subscription_by_an_id_that_vanishes_goes_on_under_an_ordinary_id() {
    let mut world = world();
    world.connect(at(1), "s");
    world.subscribe(at(1), TopicRef::Predefined(1), Qos::One);
    world.connect(at(2), "p");
    let id = world.register(at(2), "all/one");
    // This one is under way when the id goes.
    world.send(at(2), &publish(Alias::normal(id), Qos::One, 1, b"x"));
    let msg_id = world.expect_publish(at(1), one(), Qos::One, b"x");
    let next = predefined("{predefined_topics: {1: all/two}}");
    world.broker.set_predefined(world.now, next).unwrap();
    world.collect();
    let (topic, own) = world.accept_register(at(1));
    assert_eq!(topic, "all/one");
    assert_eq!(
        world.expect_publish(at(1), Alias::normal(own), Qos::One, b"x"),
        msg_id
    );
    world.send(
        at(1),
        &Packet::Puback(Puback {
            topic_id: own,
            msg_id,
            return_code: ReturnCode::Accepted,
        }),
    );
    world.send(at(2), &publish(Alias::normal(id), Qos::One, 2, b"y"));
    world.expect_publish(at(1), Alias::normal(own), Qos::One, b"y");
    assert_eq!(world.broker.sessions()[0].subscriptions, ["all/one"]);
}

#[test]
fn a_retained_message_outlives_the_id_of_its_topic() {
    let mut world = world();
    world.connect(at(2), "p");
    world.send(at(2), &publish_with(one(), Qos::Zero, 0, true, b"kept"));
    world
        .broker
        .set_predefined(world.now, Predefined::default())
        .unwrap();
    world.connect(at(1), "s");
    let id = world.subscribe(at(1), name("all/one"), Qos::Zero);
    world.expect(
        at(1),
        &publish_with(Alias::normal(id), Qos::Zero, 0, true, b"kept"),
    );
}

#[test]
fn topics_of_ids_that_vanish_are_forgotten() {
    let mut world = world();
    assert_eq!(world.broker.status().topics, 3);
    world
        .broker
        .set_predefined(world.now, Predefined::default())
        .unwrap();
    assert_eq!(world.broker.status().topics, 0);
}

#[test]
fn ids_that_cannot_be_change_nothing() {
    let mut world = world();
    let mut next = Predefined::default();
    next.of
        .insert("x".into(), BTreeMap::from([(0xFFFF, "a".into())]));
    assert_eq!(
        world.broker.set_predefined(world.now, next),
        Err(ConfigError::PredefinedId(0xFFFF))
    );
    world.connect(at(1), "own");
    assert_eq!(
        world.subscribe(at(1), TopicRef::Predefined(1), Qos::Zero),
        1
    );
}

#[test]
fn the_intent_has_the_ids_of_all_for_anybody_and_those_of_one_as_its_publications() {
    let yaml = "{predefined_topics: {1: all/one}, predefined_topics_of: {own: {2: own/two}}}";
    let mut config: Config = serde_yaml::from_str(yaml).unwrap();
    config.offload.enabled = true;
    let mut world = World::offloading(config);
    let open = |world: &World| -> Vec<u16> {
        let intent = world.broker.intent();
        intent.open_publications.keys().map(|a| a.id).collect()
    };
    assert_eq!(open(&world), [1]);
    world.connect(at(1), "own");
    world.send(at(1), &publish(Alias::predefined(2), Qos::One, 1, b"x"));
    world.expect(at(1), &puback(2, 1, ReturnCode::Accepted));
    let publications = &world.broker.intent().publications;
    let alias = publications.keys().next().unwrap().alias;
    assert_eq!((alias.id_type, alias.id), (AliasType::Predefined, 2));

    world.said.clear();
    let next = predefined("{predefined_topics: {3: all/one}}");
    world.broker.set_predefined(world.now, next).unwrap();
    world.collect();
    assert!(matches!(world.said.front(), Some(FromBroker::Delta(_))));
    assert_eq!(open(&world), [3]);
    assert!(world.broker.intent().publications.is_empty());
}
