//! Who a session belongs to, and how it may come to another address.

use std::path::Path;

use broker::auth::Keys;
use broker::{Broker, Config, ConfigError, Policy, Source, State, Takeover, Via};
use mqttsn::{Alias, Packet, Qos, ReturnCode};

use crate::world::*;

const ACCEPTED: Packet<'_> = Packet::Connack(ReturnCode::Accepted);
const CONGESTION: Packet<'_> = Packet::Connack(ReturnCode::Congestion);
const NOT_SUPPORTED: Packet<'_> = Packet::Connack(ReturnCode::NotSupported);

fn refusing() -> World {
    let mut config = Config::default();
    config.auth.takeover = Takeover::Refuse;
    World::new(config)
}

/// A world in which `pump` and `valve` have keys.
fn with_keys(yaml: &str) -> World {
    let config: Config = serde_yaml::from_str(yaml).unwrap();
    let mut world = World::plain();
    let text = format!("pump:{0}\nvalve:{0}", "5a".repeat(16));
    let keys = Keys::parse(&text, Path::new("keys")).unwrap();
    let policy = Policy::new(&config, keys);
    world.broker = Broker::with_access(config, Box::new(policy), world.now).unwrap();
    world
}

fn send_dtls(world: &mut World, number: u8, identity: &str, packet: &Packet<'_>) {
    let source = Source {
        via: Via::Dtls,
        address: at(number),
        identity: Some(identity),
    };
    world
        .broker
        .handle_datagram(world.now, source, &encode(packet));
    world.collect();
}

fn persistent(client_id: &str) -> Packet<'_> {
    connect_with(client_id, false, false, 100)
}

#[track_caller]
fn connect_with_will(world: &mut World, number: u8, client_id: &str) {
    world.send(at(number), &connect_with(client_id, true, true, 100));
    world.expect(at(number), &Packet::WillTopicReq);
    world.send(at(number), &will_topic("ab", Qos::Zero, false));
    world.expect(at(number), &Packet::WillMsgReq);
    world.send(at(number), &Packet::WillMsg(b"gone"));
    world.expect(at(number), &ACCEPTED);
}

#[test]
fn who_is_taken_over_is_told_and_its_will_is_published() {
    let mut world = World::plain();
    world.connect(at(9), "watcher");
    world.subscribe(at(9), mqttsn::TopicRef::Short(*b"ab"), Qos::Zero);
    connect_with_will(&mut world, 1, "a");
    world.connect(at(2), "a");
    world.expect(at(1), &disconnect(None));
    world.expect(at(9), &publish(Alias::short(*b"ab"), Qos::Zero, 0, b"gone"));
    world.expect_nothing(at(9));
    assert_eq!(world.broker.stats().takeovers, 1);
    assert_eq!(world.broker.status().sessions, 2);
    // What still comes from there is nobody's.
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &disconnect(None));
}

#[test]
fn a_repeated_connect_from_the_same_address_is_no_takeover() {
    let mut world = World::plain();
    world.connect(at(9), "watcher");
    world.subscribe(at(9), mqttsn::TopicRef::Short(*b"ab"), Qos::Zero);
    connect_with_will(&mut world, 1, "a");
    connect_with_will(&mut world, 1, "a");
    world.expect_nothing(at(9));
    world.expect_nothing(at(1));
    assert_eq!(world.broker.stats().takeovers, 0);
}

#[test]
fn a_persistent_session_goes_to_the_new_address_with_what_it_holds() {
    let mut world = World::plain();
    world.send(at(1), &persistent("a"));
    world.expect(at(1), &ACCEPTED);
    world.subscribe(at(1), name("t/1"), Qos::One);
    world.send(at(2), &persistent("a"));
    world.expect(at(1), &disconnect(None));
    world.expect(at(2), &ACCEPTED);
    let session = &world.broker.sessions()[0];
    assert_eq!(session.address, at(2));
    assert_eq!(session.subscriptions, ["t/1"]);
}

#[test]
fn a_sleeping_client_that_wakes_elsewhere_moves_without_its_will() {
    let mut world = World::plain();
    connect_with_will(&mut world, 1, "a");
    world.send(at(1), &disconnect(Some(60)));
    world.expect(at(1), &disconnect(None));
    world.send(at(2), &pingreq("a"));
    world.expect(at(2), &Packet::Pingresp);
    world.expect(at(1), &disconnect(None));
    let stats = world.broker.stats();
    assert_eq!((stats.takeovers, stats.wills), (1, 0));
    // And by CONNECT.
    world.connect(at(3), "a");
    world.expect(at(2), &disconnect(None));
    let stats = world.broker.stats();
    assert_eq!((stats.takeovers, stats.wills), (2, 0));
}

#[test]
fn an_awake_request_of_a_connected_client_moves_nothing() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.send(at(2), &pingreq("a"));
    world.expect(at(2), &disconnect(None));
    assert_eq!(world.broker.sessions()[0].address, at(1));
    world.expect_nothing(at(1));
}

#[test]
fn where_takeover_is_refused_the_holder_keeps_its_session_within_its_keep_alive() {
    let mut world = refusing();
    world.send(at(1), &persistent("a"));
    world.expect(at(1), &ACCEPTED);
    world.advance(ms(60_000));
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
    world.advance(ms(99_999));
    world.send(at(2), &persistent("a"));
    world.expect(at(2), &CONGESTION);
    // With a will the answer is the same, before any dialogue.
    world.send(at(2), &connect_with("a", false, true, 100));
    world.expect(at(2), &CONGESTION);
    assert_eq!(world.broker.stats().takeovers_refused, 2);
    world.expect_nothing(at(1));
    world.advance(ms(1));
    world.send(at(2), &persistent("a"));
    world.expect(at(2), &ACCEPTED);
    world.expect(at(1), &disconnect(None));
}

#[test]
fn where_takeover_is_refused_an_address_in_use_is_not_given_to_another_client() {
    let mut world = refusing();
    world.connect(at(1), "a");
    world.send(at(1), &connect("b"));
    world.expect(at(1), &CONGESTION);
    world.connect(at(1), "a");
}

#[test]
fn where_takeover_is_refused_a_client_that_sleeps_or_left_may_come_from_elsewhere() {
    let mut world = refusing();
    world.send(at(1), &persistent("a"));
    world.expect(at(1), &ACCEPTED);
    world.send(at(1), &disconnect(Some(60)));
    world.expect(at(1), &disconnect(None));
    world.send(at(2), &persistent("a"));
    world.expect(at(2), &ACCEPTED);
    world.send(at(2), &disconnect(None));
    world.expect(at(2), &disconnect(None));
    world.send(at(3), &persistent("a"));
    world.expect(at(3), &ACCEPTED);
}

#[test]
fn over_plain_udp_nobody_uses_a_client_id_that_has_a_key() {
    let mut world = with_keys("{}");
    world.send(at(1), &connect("pump"));
    world.expect(at(1), &NOT_SUPPORTED);
    world.send(at(1), &connect("other"));
    world.expect(at(1), &ACCEPTED);
    send_dtls(&mut world, 2, "pump", &persistent("pump"));
    world.expect(at(2), &ACCEPTED);
    send_dtls(&mut world, 2, "pump", &disconnect(Some(60)));
    world.expect(at(2), &disconnect(None));
    // Nor does anybody fetch what waits for it.
    world.send(at(1), &pingreq("pump"));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.stats().access_denied, 2);
}

#[test]
fn a_secret_in_the_client_id_is_the_way_over_plain_udp_and_not_part_of_the_name() {
    let mut world = with_keys("auth: {keys: k, secret_in_client_id: true}");
    let id = format!("pump:{}", "5a".repeat(16));
    world.send(at(1), &connect(&id));
    world.expect(at(1), &ACCEPTED);
    assert_eq!(world.broker.sessions()[0].client_id, "pump");
    world.send(at(1), &disconnect(Some(60)));
    world.expect(at(1), &disconnect(None));
    world.send(at(2), &pingreq(&id));
    world.expect(at(2), &Packet::Pingresp);
    world.send(at(3), &connect("pump:wrong"));
    world.expect(at(3), &NOT_SUPPORTED);
}

#[test]
fn who_has_proved_itself_is_not_taken_over_by_who_has_not() {
    // No key for it here: it has proved itself by a certificate.
    let mut world = World::plain();
    send_dtls(&mut world, 1, "c", &persistent("c"));
    world.expect(at(1), &ACCEPTED);
    world.send(at(2), &persistent("c"));
    world.expect(at(2), &NOT_SUPPORTED);
    send_dtls(&mut world, 1, "c", &disconnect(None));
    world.expect(at(1), &disconnect(None));
    world.send(at(2), &persistent("c"));
    world.expect(at(2), &NOT_SUPPORTED);
    send_dtls(&mut world, 3, "c", &persistent("c"));
    world.expect(at(3), &ACCEPTED);
}

#[test]
fn another_identity_at_an_address_does_not_act_for_who_was_there() {
    let mut world = World::plain();
    send_dtls(&mut world, 1, "a", &persistent("a"));
    world.expect(at(1), &ACCEPTED);
    send_dtls(&mut world, 1, "b", &disconnect(Some(60)));
    world.expect(at(1), &disconnect(None));
    let sessions = world.broker.sessions();
    assert_eq!(sessions[0].state, State::Disconnected);
    // Nor is it the other.
    send_dtls(&mut world, 1, "b", &persistent("a"));
    world.expect(at(1), &NOT_SUPPORTED);
    send_dtls(&mut world, 1, "a", &persistent("a"));
    world.expect(at(1), &ACCEPTED);
}

#[test]
fn a_will_dialogue_is_not_continued_by_another_identity() {
    let mut world = World::plain();
    send_dtls(&mut world, 1, "a", &connect_with("a", true, true, 100));
    world.expect(at(1), &Packet::WillTopicReq);
    send_dtls(&mut world, 1, "b", &will_topic("t", Qos::Zero, false));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn plain_udp_and_dtls_from_one_address_are_two_clients() {
    let mut world = World::plain();
    send_dtls(&mut world, 1, "a", &connect("a"));
    world.connect(at(1), "b");
    assert_eq!(world.broker.status().active, 2);
}

#[test]
fn the_end_of_a_transport_loses_who_is_connected_and_leaves_who_sleeps() {
    let mut world = World::plain();
    send_dtls(&mut world, 1, "a", &persistent("a"));
    send_dtls(&mut world, 2, "b", &persistent("b"));
    send_dtls(&mut world, 2, "b", &disconnect(Some(60)));
    world.inboxes.clear();
    for number in [1, 2] {
        world
            .broker
            .transport_ended(world.now, Via::Dtls, at(number));
    }
    world.collect();
    assert!(world.inboxes.is_empty(), "nobody is there to be told");
    let states: Vec<_> = world.broker.sessions().iter().map(|s| s.state).collect();
    assert_eq!(states, [State::Disconnected, State::Asleep]);
    send_dtls(&mut world, 2, "b", &pingreq("b"));
    world.expect(at(2), &Packet::Pingresp);
}

#[test]
fn the_end_of_a_transport_ends_a_will_dialogue() {
    let mut world = World::plain();
    send_dtls(&mut world, 1, "a", &connect_with("a", true, true, 100));
    world.expect(at(1), &Packet::WillTopicReq);
    world.broker.transport_ended(world.now, Via::Dtls, at(1));
    world.advance(ms(60_000));
    world.expect_nothing(at(1));
    send_dtls(&mut world, 1, "a", &will_topic("t", Qos::Zero, false));
    world.expect(at(1), &disconnect(None));
}

#[test]
fn a_key_file_in_the_configuration_is_not_passed_over() {
    let config: Config = serde_yaml::from_str("auth: {keys: somewhere}").unwrap();
    let error = Broker::new(config, std::time::Instant::now()).err();
    assert_eq!(error, Some(ConfigError::KeysNotRead));
}
