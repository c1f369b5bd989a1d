//! Clients behind forwarders that are not ours (MQTT-SN 1.2 §5.5).

use broker::State;

use crate::clients::*;
use crate::world::*;
use mqttsn::packet::{GwInfo, SearchGw};
use mqttsn::{Alias, MsgId, Packet, Qos, TopicRef};

/// A message as a forwarder brings it: its Ctrl octet and Wireless Node Id before it.
fn from_node(ctrl: u8, node: &[u8], packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![3 + node.len() as u8, 0xFE, ctrl];
    bytes.extend(node);
    bytes.extend(encode(packet));
    bytes
}

#[track_caller]
fn answered(world: &mut World, node: &[u8], request: &Packet<'_>, answer: &Packet<'_>) {
    world.send_bytes(at(1), &from_node(1, node, request));
    assert_eq!(world.take(at(1)), from_node(1, node, answer));
}

#[test]
fn the_answer_goes_back_through_the_forwarder_with_the_same_node_id() {
    let longest = [7; 252];
    for node in [&b""[..], b"n", b"node with a long name", &longest] {
        let mut world = World::plain();
        answered(&mut world, node, &connect("me"), &ACCEPTED);
        answered(&mut world, node, &pingreq(""), &Packet::Pingresp);
        answered(&mut world, node, &disconnect(None), &disconnect(None));
    }
}

#[test]
fn a_search_is_answered_through_the_forwarder_within_its_radius() {
    let mut world = World::plain();
    for radius in 0..4 {
        let search = Packet::SearchGw(SearchGw { radius });
        world.send_bytes(at(1), &from_node(radius, b"n", &search));
        let gw_add = &[];
        let answer = Packet::GwInfo(GwInfo { gw_id: 1, gw_add });
        assert_eq!(world.take(at(1)), from_node(radius, b"n", &answer));
    }
}

#[test]
fn the_forwarder_itself_and_each_node_behind_it_are_different_clients() {
    let mut world = World::plain();
    world.connect(at(1), "the forwarder");
    answered(&mut world, b"1", &connect("node 1"), &ACCEPTED);
    answered(&mut world, b"2", &connect("node 2"), &ACCEPTED);
    assert_eq!(world.broker.status().active, 3);
    answered(&mut world, b"1", &disconnect(None), &disconnect(None));
    assert_eq!(world.broker.status().active, 2);
    answered(&mut world, b"1", &pingreq(""), &disconnect(None));
    answered(&mut world, b"2", &pingreq(""), &Packet::Pingresp);
}

#[test]
fn a_forwarder_behind_a_forwarder_gets_its_layer_back() {
    let mut world = World::plain();
    let layers = [&[4, 0xFE, 1, b'o'][..], &[5, 0xFE, 1, b'i', b'n']].concat();
    let wrapped = |packet: &Packet<'_>| [&layers[..], &encode(packet)].concat();
    world.send_bytes(at(1), &wrapped(&connect("me")));
    assert_eq!(world.take(at(1)), wrapped(&ACCEPTED));
}

#[test]
fn a_node_subscribes_sleeps_and_is_served_through_its_forwarder() {
    let mut world = World::plain();
    let node = b"n";
    answered(&mut world, node, &connect("node"), &ACCEPTED);
    let request = subscribe(TopicRef::Short(*b"ab"), Qos::One, MsgId(5));
    world.send_bytes(at(1), &from_node(1, node, &request));
    world.take(at(1));
    answered(&mut world, node, &disconnect(Some(100)), &disconnect(None));
    world.connect(at(2), "publisher");
    let message = publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x");
    world.send(at(2), &message);
    world.expect_nothing(at(1));
    answered(&mut world, node, &pingreq("node"), &message);
    assert_eq!(world.take(at(1)), from_node(1, node, &Packet::Pingresp));
}

#[test]
fn a_node_that_moves_to_another_forwarder_takes_its_session_along() {
    let mut world = World::plain();
    let request = connect_with("node", false, false, 60);
    answered(&mut world, b"n", &request, &ACCEPTED);
    let filter = subscribe(TopicRef::Short(*b"ab"), Qos::Zero, MsgId(5));
    world.send_bytes(at(1), &from_node(1, b"n", &filter));
    world.inboxes.clear();
    world.send_bytes(at(2), &from_node(1, b"n", &request));
    assert_eq!(world.take(at(2)), from_node(1, b"n", &ACCEPTED));
    world.inboxes.clear();
    world.connect(at(3), "publisher");
    let message = publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x");
    world.send(at(3), &message);
    assert_eq!(world.take(at(2)), from_node(1, b"n", &message));
    world.expect_nothing(at(1));
}

#[test]
fn qos_minus_1_is_taken_through_a_forwarder() {
    let mut world = World::plain();
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Zero);
    let open = publish(Alias::short(*b"ab"), Qos::MinusOne, 0, b"x");
    world.send_bytes(at(1), &from_node(1, b"n", &open));
    let message = publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x");
    world.expect(at(2), &message);
}

#[test]
fn an_encapsulation_around_nothing_or_around_no_message_is_dropped() {
    let mut world = World::plain();
    for bytes in [
        &[4, 0xFE, 1, b'n'][..],
        &[4, 0xFE, 1, b'n', 0],
        &[4, 0xFE, 1, b'n', 3, 0x03, 0],
        &[2, 0xFE, 2, 0x16],
        &[9, 0xFE, 1, b'n', 2, 0x16],
    ] {
        world.send_bytes(at(1), bytes);
        world.expect_nothing(at(1));
    }
    assert_eq!(world.broker.stats().malformed.values().sum::<u64>(), 5);
    assert!(
        world
            .broker
            .sessions()
            .iter()
            .all(|s| s.state != State::Active)
    );
}
