//! CONNECT, DISCONNECT and gateway discovery (MQTT-SN 1.2 §6.1, §6.2, §6.12).

use crate::world::*;
use broker::{Access, Admitted, Broker, Client, Config, Denied};
use mqttsn::packet::{Connect, GwInfo, SearchGw};
use mqttsn::{Alias, Packet, Qos, ReturnCode, Seconds};

#[test]
fn a_gateway_answers_who_searches_for_one() {
    let mut world = World::plain();
    world.send(at(1), &Packet::SearchGw(SearchGw { radius: 0 }));
    let gw_add = &[];
    world.expect(at(1), &Packet::GwInfo(GwInfo { gw_id: 1, gw_add }));
}

#[test]
fn a_connect_is_accepted_and_repeated_ones_too() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.connect(at(1), "a");
    assert_eq!(world.broker.status().sessions, 1);
}

#[test]
fn another_protocol_id_and_bad_client_ids_are_refused() {
    let mut world = World::plain();
    let other = Packet::Connect(Connect {
        will: false,
        clean_session: true,
        protocol_id: 2,
        duration: Seconds(10),
        client_id: "a",
    });
    let refused = Packet::Connack(ReturnCode::NotSupported);
    for packet in [other, connect(""), connect("123456789012345678901234")] {
        world.send(at(1), &packet);
        world.expect(at(1), &refused);
    }
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn sessions_beyond_the_limit_are_refused_for_congestion() {
    let mut world = World::new(Config {
        max_sessions: 1,
        ..Config::default()
    });
    world.connect(at(1), "a");
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
    world.send(at(2), &connect("b"));
    world.expect(at(2), &Packet::Connack(ReturnCode::Congestion));
    world.connect(at(1), "a");
    assert_eq!(world.broker.stats().sessions_refused, 1);
}

#[test]
fn a_clean_session_leaves_nothing() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.subscribe(at(1), name("t/1"), Qos::Zero);
    world.send(at(1), &disconnect(None));
    world.expect(at(1), &disconnect(None));
    let status = world.broker.status();
    assert_eq!((status.sessions, status.topics), (0, 0));
}

#[test]
fn a_persistent_session_keeps_subscriptions_and_queues_qos_1() {
    let mut world = World::plain();
    world.send(at(1), &connect_with("a", false, false, 0));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    world.subscribe(at(1), name("t/1"), Qos::One);
    world.send(at(1), &disconnect(None));
    world.expect(at(1), &disconnect(None));
    world.connect(at(2), "b");
    let id = world.register(at(2), "t/1");
    world.send(at(2), &publish(Alias::normal(id), Qos::One, 7, b"kept"));
    world.expect(at(2), &puback(id, 7, ReturnCode::Accepted));
    world.send(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"lost"));
    world.expect_nothing(at(1));
    // From another address: the session is the client's, not the address's.
    world.send(at(3), &connect_with("a", false, false, 0));
    world.expect(at(3), &Packet::Connack(ReturnCode::Accepted));
    let (topic, topic_id) = world.accept_register(at(3));
    assert_eq!(topic, "t/1");
    let msg_id = world.expect_publish(at(3), Alias::normal(topic_id), Qos::One, b"kept");
    world.send(at(3), &puback(topic_id, msg_id.0, ReturnCode::Accepted));
    world.expect_nothing(at(3));
}

#[test]
fn a_clean_connect_drops_what_was_kept() {
    let mut world = World::plain();
    world.send(at(1), &connect_with("a", false, false, 0));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    world.subscribe(at(1), name("t/1"), Qos::One);
    world.connect(at(1), "a");
    assert!(world.broker.sessions()[0].subscriptions.is_empty());
}

#[test]
fn a_session_that_moves_gets_nothing_at_its_old_address() {
    let mut world = World::plain();
    world.send(at(1), &connect_with("a", false, false, 0));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    world.subscribe(at(1), mqttsn::TopicRef::Short(*b"ab"), Qos::Zero);
    world.send(at(2), &connect_with("a", false, false, 0));
    world.expect(at(2), &Packet::Connack(ReturnCode::Accepted));
    world.connect(at(3), "p");
    world.send(at(3), &publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x"));
    world.expect(at(2), &publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x"));
    world.expect(at(1), &disconnect(None));
    world.expect_nothing(at(1));
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &disconnect(None));
}

#[test]
fn requests_without_a_session_are_answered_with_disconnect() {
    let mut world = World::plain();
    let id = mqttsn::MsgId(1);
    for packet in [
        pingreq(""),
        register("t", id),
        subscribe(name("t"), Qos::Zero, id),
        publish(Alias::normal(1), Qos::Zero, 0, b"x"),
        publish(Alias::normal(1), Qos::One, 1, b"x"),
    ] {
        world.send(at(1), &packet);
        world.expect(at(1), &disconnect(None));
    }
    world.send(at(1), &puback(1, 1, ReturnCode::Accepted));
    world.expect_nothing(at(1));
}

#[test]
fn permissions_are_asked_for() {
    struct Locked;
    impl Access for Locked {
        fn may_connect<'a>(&self, client: &Client<'a>) -> Result<Admitted<'a>, Denied> {
            let (name, proved) = (client.id, false);
            match name {
                "stranger" => Err(Denied::Anonymous),
                _ => Ok(Admitted { name, proved }),
            }
        }
        fn may_publish(&self, client: Option<&Client<'_>>, _topic: &str) -> bool {
            client.is_some_and(|client| client.id == "writer")
        }
        fn may_subscribe(&self, _client: &Client<'_>, filter: &str) -> bool {
            filter != "secret"
        }
    }
    let mut world = World::plain();
    world.broker = Broker::with_access(Config::default(), Box::new(Locked), world.now).unwrap();
    world.send(at(1), &connect("stranger"));
    world.expect(at(1), &Packet::Connack(ReturnCode::NotSupported));
    world.connect(at(2), "writer");
    world.connect(at(3), "reader");
    let msg_id = mqttsn::MsgId(1);
    world.send(at(3), &register("t", msg_id));
    world.expect(at(3), &regack(0, msg_id, ReturnCode::NotSupported));
    world.send(at(3), &subscribe(name("secret"), Qos::Zero, msg_id));
    world.expect(
        at(3),
        &suback(0, Qos::Zero, msg_id, ReturnCode::NotSupported),
    );
    // A topic id from a subscription is no permission to publish.
    let id = world.subscribe(at(3), name("t"), Qos::Zero);
    world.send(at(3), &publish(Alias::normal(id), Qos::One, 9, b"x"));
    world.expect(at(3), &puback(id, 9, ReturnCode::NotSupported));
    let id = world.register(at(2), "t");
    world.send(at(2), &publish(Alias::normal(id), Qos::Zero, 0, b"y"));
    world.expect(at(3), &publish(Alias::normal(id), Qos::Zero, 0, b"y"));
    world.send(
        at(4),
        &publish(Alias::short(*b"ab"), Qos::MinusOne, 0, b"z"),
    );
    assert_eq!(world.broker.stats().access_denied, 5);
}

#[test]
fn a_clean_shut_down_tells_connected_clients() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.broker.shut_down();
    world.collect();
    world.expect(at(1), &disconnect(None));
}
