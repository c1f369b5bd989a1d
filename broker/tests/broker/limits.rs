//! Bounds on what clients may ask for, and on what a flood can cost.

use std::net::SocketAddr;

use broker::{Config, Source, Via};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

use crate::world::*;

const AB: Alias = Alias::short(*b"ab");
const CONGESTION: Packet<'_> = Packet::Connack(ReturnCode::Congestion);

fn limited(yaml: &str) -> World {
    let config: Config = serde_yaml::from_str(yaml).unwrap();
    config.check().unwrap();
    World::new(config)
}

fn at_port(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 9, 9, 9], port))
}

/// The client says more than its CONNECT.
#[track_caller]
fn speak(world: &mut World, client: SocketAddr) {
    world.send(client, &pingreq(""));
    world.expect(client, &Packet::Pingresp);
}

#[test]
fn a_client_over_its_rate_loses_qos_0_and_is_told_of_congestion_else() {
    let mut world = limited("rates: {per_client: 10, per_client_burst: 3}");
    world.connect(at(1), "p");
    world.connect(at(2), "q");
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Zero);
    for _ in 0..5 {
        world.send(at(1), &publish(AB, Qos::Zero, 0, b"x"));
    }
    assert_eq!(world.inboxes[&at(2)].len(), 3);
    assert_eq!(world.broker.stats().dropped_rate, 2);
    let (id, refused) = (MsgId(9), ReturnCode::Congestion);
    for qos in [Qos::One, Qos::Two] {
        world.send(at(1), &publish(AB, qos, 9, b"x"));
        world.expect(at(1), &puback(AB.topic_id, 9, refused));
    }
    world.send(at(1), &register("t", id));
    world.expect(at(1), &regack(0, id, refused));
    world.send(at(1), &subscribe(name("t"), Qos::One, id));
    world.expect(at(1), &suback(0, Qos::Zero, id, refused));
    assert_eq!(world.broker.stats().refused_rate, 4);
    // It is still there, its answers are heard, and others are not concerned.
    speak(&mut world, at(1));
    world.send(at(2), &publish(AB, Qos::One, 1, b"y"));
    let topic_id = AB.topic_id;
    world.inboxes.clear();
    world.send(at(2), &publish(AB, Qos::One, 2, b"y"));
    world.expect(at(2), &puback(topic_id, 2, ReturnCode::Accepted));
    world.expect(at(2), &publish(AB, Qos::Zero, 0, b"y"));
    world.advance(ms(100));
    world.send(at(1), &publish(AB, Qos::One, 3, b"z"));
    world.expect(at(1), &puback(topic_id, 3, ReturnCode::Accepted));
}

#[test]
fn all_clients_together_have_a_rate() {
    let mut world = limited("rates: {total: 10, total_burst: 4}");
    for client in 1..=3 {
        world.connect(at(client), &format!("c{client}"));
    }
    for client in 1..=3 {
        for _ in 0..2 {
            world.send(at(client), &publish(AB, Qos::Zero, 0, b"x"));
        }
    }
    assert_eq!(world.broker.stats().dropped_rate, 2);
}

#[test]
fn a_flood_of_qos_minus_1_does_not_use_up_what_clients_have() {
    let mut world = limited("rates: {anybody: 1, anybody_burst: 2, total: 1, total_burst: 10}");
    world.connect(at(1), "p");
    for port in 1..=100 {
        world.send(at_port(port), &publish(AB, Qos::MinusOne, 0, b"x"));
    }
    assert_eq!(world.broker.stats().dropped_rate, 98);
    world.send(at(1), &publish(AB, Qos::One, 1, b"x"));
    world.expect(at(1), &puback(AB.topic_id, 1, ReturnCode::Accepted));
}

#[test]
fn a_flood_of_connects_costs_its_pool_and_nobody_elses_session() {
    let mut world = limited("{max_sessions: 20, max_unconfirmed_sessions: 10}");
    world.connect(at(1), "worker");
    speak(&mut world, at(1));
    for port in 1..=1000 {
        world.send(at_port(port), &connect(&format!("flood{port}")));
    }
    let sizes = world.broker.sizes();
    assert_eq!((sizes.sessions, sizes.unconfirmed), (11, 10));
    assert_eq!(world.broker.stats().sessions_evicted, 990);
    // A client that comes in the middle of it is served.
    world.connect(at(2), "late");
    speak(&mut world, at(2));
    speak(&mut world, at(1));
    // And who had to go is told, should it be there.
    world.expect(at_port(1), &Packet::Connack(ReturnCode::Accepted));
    world.expect(at_port(1), &disconnect(None));
}

#[test]
fn sessions_that_only_said_connect_make_room_before_anybody_is_refused() {
    let mut world = limited("{max_sessions: 3}");
    world.connect(at(1), "silent");
    for client in [2, 3] {
        world.connect(at(client), &format!("c{client}"));
        speak(&mut world, at(client));
    }
    world.connect(at(4), "c4");
    speak(&mut world, at(4));
    world.send(at(5), &connect("c5"));
    world.expect(at(5), &CONGESTION);
    let stats = world.broker.stats();
    assert_eq!((stats.sessions_evicted, stats.sessions_refused), (1, 1));
}

#[test]
fn a_session_that_ends_or_sleeps_at_once_is_as_unconfirmed_as_before() {
    let mut world = limited("{max_unconfirmed_sessions: 4}");
    for port in 1..=50 {
        world.send(
            at_port(port),
            &connect_with(&format!("c{port}"), false, false, 0),
        );
        let duration = (port % 2 == 0).then_some(60_000);
        world.send(at_port(port), &disconnect(duration));
    }
    assert_eq!(world.broker.sizes().sessions, 4);
}

#[test]
fn over_dtls_the_address_is_known_to_be_real() {
    let mut world = limited("{max_unconfirmed_sessions: 1}");
    for port in 1..=5 {
        let source = Source {
            via: Via::Dtls,
            address: at_port(port),
            identity: None,
        };
        let bytes = encode(&connect(["a", "b", "c", "d", "e"][usize::from(port) - 1])).clone();
        world.broker.handle_datagram(world.now, source, &bytes);
    }
    let sizes = world.broker.sizes();
    assert_eq!((sizes.sessions, sizes.unconfirmed), (5, 0));
}

#[test]
fn one_address_has_a_bounded_number_of_sessions() {
    let mut world = limited("{max_sessions_per_address: 2}");
    for port in [1, 2] {
        world.connect(at_port(port), &format!("c{port}"));
    }
    speak(&mut world, at_port(2));
    // The one that only said CONNECT makes room.
    world.connect(at_port(3), "c3");
    speak(&mut world, at_port(3));
    world.expect(at_port(1), &disconnect(None));
    world.send(at_port(4), &connect("c4"));
    world.expect(at_port(4), &CONGESTION);
    world.connect(at(1), "elsewhere");
    // A session that ends leaves its place.
    world.send(at_port(3), &disconnect(None));
    world.expect(at_port(3), &disconnect(None));
    world.connect(at_port(4), "c4");
}

#[test]
fn a_flood_of_will_dialogues_is_bounded() {
    let mut world = limited("{max_unconfirmed_sessions: 10}");
    for port in 1..=500 {
        world.send(
            at_port(port),
            &connect_with(&format!("c{port}"), true, true, 0),
        );
    }
    assert_eq!(world.broker.sizes().dialogues, 10);
    world.advance(ms(600_000));
    assert_eq!(world.broker.sizes().dialogues, 0);
}

#[test]
fn messages_that_wait_for_all_clients_are_bounded_together() {
    let mut world = limited("{max_total_queued_octets: 1000}");
    for client in 1..=3 {
        let id = format!("s{client}");
        world.send(at(client), &connect_with(&id, false, false, 0));
        world.expect(at(client), &Packet::Connack(ReturnCode::Accepted));
        world.subscribe(at(client), TopicRef::Short(*b"ab"), Qos::One);
        world.send(at(client), &disconnect(None));
        world.expect(at(client), &disconnect(None));
    }
    world.connect(at(9), "p");
    for number in 1..=20 {
        world.send(at(9), &publish(AB, Qos::One, number, &[0; 100]));
    }
    let sizes = world.broker.sizes();
    assert!((800..=1000).contains(&sizes.queued_octets), "{sizes:?}");
    assert!(world.broker.stats().dropped_total_full > 40);
    // What a session leaves behind is free again.
    for client in 1..=3 {
        world.connect(at(client), &format!("s{client}"));
    }
    assert_eq!(world.broker.sizes().queued_octets, 0);
}

#[test]
fn retained_octets_are_bounded() {
    let mut world = limited("{max_retained_octets: 250}");
    world.connect(at(1), "p");
    for topic in [*b"aa", *b"bb", *b"cc"] {
        let alias = Alias::short(topic);
        world.send(at(1), &publish_with(alias, Qos::Zero, 0, true, &[1; 100]));
    }
    let sizes = world.broker.sizes();
    assert_eq!((sizes.retained, sizes.retained_octets), (2, 200));
    assert_eq!(world.broker.stats().retained_full, 1);
    // One that takes another's place counts once, and one that is deleted no more.
    let aa = Alias::short(*b"aa");
    world.send(at(1), &publish_with(aa, Qos::Zero, 0, true, &[1; 150]));
    assert_eq!(world.broker.sizes().retained_octets, 250);
    world.send(at(1), &publish_with(aa, Qos::Zero, 0, true, b""));
    assert_eq!(world.broker.sizes().retained_octets, 100);
}

#[test]
fn subscriptions_and_names_are_bounded_together() {
    let mut world = limited("{max_total_subscriptions: 2, max_name_octets: 40}");
    let refused = |id| suback(0, Qos::Zero, id, ReturnCode::Congestion);
    world.connect(at(1), "a");
    world.connect(at(2), "b");
    world.subscribe(at(1), name("x/+"), Qos::Zero);
    world.subscribe(at(2), name("x/+"), Qos::Zero);
    let id = world.msg_id();
    world.send(at(2), &subscribe(name("#"), Qos::Zero, id));
    world.expect(at(2), &refused(id));
    world.unsubscribe(at(1), name("x/+"));
    world.subscribe(at(2), name("#"), Qos::Zero);
    let id = world.msg_id();
    world.send(at(1), &register(&"n".repeat(37), id));
    world.expect(at(1), &regack(0, id, ReturnCode::Congestion));
    world.register(at(1), &"n".repeat(36));
    assert_eq!(world.broker.sizes().name_octets, 40);
    world.unsubscribe(at(2), name("#"));
    world.send(at(1), &disconnect(None));
    assert_eq!(world.broker.sizes().name_octets, 3);
}

#[test]
fn a_will_has_a_greatest_length() {
    let mut world = limited("{max_will_octets: 4}");
    world.send(at(1), &connect_with("a", true, true, 10));
    world.send(at(1), &will_topic("t", Qos::Zero, false));
    world.inboxes.clear();
    world.send(at(1), &Packet::WillMsg(b"12345"));
    world.expect(at(1), &Packet::Connack(ReturnCode::NotSupported));
    world.send(at(1), &connect_with("a", true, true, 10));
    world.send(at(1), &will_topic("t", Qos::Zero, false));
    world.inboxes.clear();
    world.send(at(1), &Packet::WillMsg(b"1234"));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    world.send(at(1), &Packet::WillMsgUpd(b"12345"));
    world.expect(at(1), &Packet::WillMsgResp(ReturnCode::NotSupported));
}

#[test]
fn answers_that_wait_for_the_data_plane_are_bounded() {
    let mut world = World::offloading(offloading());
    world.connect(at(1), "a");
    // Something the switch does not have yet.
    world.send(at(1), &register("t", MsgId(1)));
    for number in 0..70_000_u32 {
        let ip = (0x0B00_0000 + number).to_be_bytes();
        world.broker.handle_datagram(
            world.now,
            SocketAddr::from((ip, 1)),
            &encode(&disconnect(None)),
        );
    }
    assert!(world.broker.sizes().answers <= 1 << 16);
    world.advance(ms(1000));
    assert_eq!(world.broker.sizes().answers, 0);
}

#[test]
fn a_repeated_qos_2_message_that_was_taken_is_not_refused_for_its_rate() {
    let mut world = limited("rates: {per_client: 1, per_client_burst: 1}");
    world.connect(at(1), "p");
    world.advance(ms(1_000));
    let message = publish(Alias::short(*b"ab"), Qos::Two, 7, b"x");
    for _ in 0..3 {
        world.send(at(1), &message);
        world.expect(at(1), &Packet::Pubrec(MsgId(7)));
    }
    let other = publish(Alias::short(*b"ab"), Qos::Two, 8, b"x");
    world.send(at(1), &other);
    let refused = puback(u16::from_be_bytes(*b"ab"), 8, ReturnCode::Congestion);
    world.expect(at(1), &refused);
}
