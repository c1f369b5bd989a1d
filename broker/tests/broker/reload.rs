//! Permissions and limits that change while the broker runs.

use broker::auth::Keys;
use broker::{Config, Policy, State};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode};

use crate::world::*;

fn reload_with_keys(world: &mut World, yaml: &str, keys: Keys) -> Vec<&'static str> {
    let config: Config = serde_yaml::from_str(yaml).unwrap();
    let policy = Box::new(Policy::new(&config, keys));
    let stay = world.broker.reload(world.now, config, policy).unwrap();
    world.collect();
    stay
}

fn reload(world: &mut World, yaml: &str) -> Vec<&'static str> {
    reload_with_keys(world, yaml, Keys::default())
}

#[test]
fn rights_that_are_no_longer_permitted_end() {
    let mut world = World::plain();
    world.connect(at(1), "s");
    world.subscribe(at(1), name("#"), Qos::Zero);
    world.subscribe(at(1), name("open/#"), Qos::Zero);
    world.connect(at(2), "p");
    let open = world.register(at(2), "open/a");
    let secret = world.register(at(2), "secret/a");
    reload(
        &mut world,
        "acl: {rules: [{permit: deny, topic: secret/#}]}",
    );
    assert_eq!(world.broker.sessions()[0].subscriptions, ["open/#"]);
    world.send(at(2), &publish(Alias::normal(secret), Qos::One, 1, b"x"));
    world.expect(at(2), &puback(secret, 1, ReturnCode::NotSupported));
    world.send(at(2), &publish(Alias::normal(open), Qos::One, 2, b"y"));
    world.expect(at(2), &puback(open, 2, ReturnCode::Accepted));
    let (topic, _) = world.accept_register(at(1));
    assert_eq!(topic, "open/a");
    assert_eq!(world.broker.stats().rights_withdrawn, 2);
}

#[test]
fn a_will_that_is_no_longer_permitted_is_deleted() {
    let mut world = World::plain();
    world.send(at(1), &connect_with("a", true, true, 10));
    world.send(at(1), &will_topic("secret", Qos::Zero, false));
    world.send(at(1), &Packet::WillMsg(b"x"));
    assert!(world.broker.sessions()[0].will);
    reload(&mut world, "acl: {default: deny}");
    assert!(!world.broker.sessions()[0].will);
}

#[test]
fn who_may_not_be_connected_any_more_is_disconnected() {
    let mut world = World::plain();
    world.connect(at(1), "pump");
    world.send(at(2), &connect_with("kept", false, false, 0));
    world.connect(at(3), "lab-1");
    let keys = format!("pump:{}", "00".repeat(16));
    let keys = Keys::parse(&keys, std::path::Path::new("keys")).unwrap();
    world.inboxes.clear();
    reload_with_keys(&mut world, "auth: {udp: ['lab-*', pump]}", keys);
    world.expect(at(1), &disconnect(None));
    world.expect(at(2), &disconnect(None));
    world.expect_nothing(at(3));
    let states: Vec<_> = world
        .broker
        .sessions()
        .into_iter()
        .map(|session| (session.client_id, session.state))
        .collect();
    assert_eq!(
        states,
        [
            ("kept".into(), State::Disconnected),
            ("lab-1".into(), State::Active)
        ]
    );
}

#[test]
fn a_session_of_a_client_that_is_away_ends_too() {
    let mut world = World::plain();
    world.send(at(1), &connect_with("kept", false, false, 0));
    world.send(at(1), &disconnect(None));
    reload(&mut world, "auth: {udp: []}");
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn limits_and_ids_change_and_what_cannot_is_said() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let stay = reload(
        &mut world,
        "{max_subscriptions: 1, predefined_topics: {1: t}, offload: {enabled: true}, \
         advertise: {group: '225.1.1.1:1883'}}",
    );
    assert_eq!(stay, ["offload", "advertise.group and advertise.hops"]);
    world.subscribe(at(1), mqttsn::TopicRef::Predefined(1), Qos::Zero);
    let id = MsgId(77);
    world.send(at(1), &subscribe(name("u"), Qos::Zero, id));
    world.expect(at(1), &suback(0, Qos::Zero, id, ReturnCode::Congestion));
    // The data plane stays out of it.
    assert!(!world.broker.status().offload);
    // And back again.
    assert!(reload(&mut world, "{}").is_empty());
    world.subscribe(at(1), name("u"), Qos::Zero);
}

#[test]
fn anybody_publishes_where_anybody_may() {
    let mut config: Config = serde_yaml::from_str("predefined_topics: {1: a, 2: b}").unwrap();
    config.offload.enabled = true;
    let mut world = World::offloading(config);
    assert_eq!(world.broker.intent().open_publications.len(), 2);
    reload(
        &mut world,
        "{predefined_topics: {1: a, 2: b}, offload: {enabled: true}, \
         acl: {rules: [{permit: allow, client: '*', topic: '#'}, {permit: deny, topic: b}]}}",
    );
    let open = &world.broker.intent().open_publications;
    assert_eq!(open.keys().map(|a| a.id).collect::<Vec<_>>(), [1]);
}
