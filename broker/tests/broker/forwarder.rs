//! Forwarder encapsulation (MQTT-SN 1.2 §5.5) and malformed datagrams.

use crate::world::*;
use mqttsn::{Alias, Packet, Qos, ReturnCode, Tag};

fn wrap(node: &[u8], packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![3 + node.len() as u8, 0xFE, 1];
    bytes.extend(node);
    bytes.extend(encode(packet));
    bytes
}

#[test]
fn clients_behind_a_forwarder_are_told_apart_and_answered_through_it() {
    let mut world = World::plain();
    for node in [b"n1", b"n2"] {
        let client_id = std::str::from_utf8(node).unwrap();
        world.send_bytes(at(1), &wrap(node, &connect(client_id)));
        assert_eq!(
            world.take(at(1)),
            wrap(node, &Packet::Connack(ReturnCode::Accepted))
        );
    }
    assert_eq!(world.broker.status().active, 2);
    let request = subscribe(name("#"), Qos::Zero, mqttsn::MsgId(1));
    world.send_bytes(at(1), &wrap(b"n1", &request));
    world.take(at(1));
    let message = publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x");
    world.send_bytes(at(1), &wrap(b"n2", &message));
    assert_eq!(world.take(at(1)), wrap(b"n1", &message));
}

#[test]
fn without_offload_a_tag_is_a_forwarder_as_any_other() {
    let mut world = World::plain();
    let tag = Tag {
        topic_index: 1,
        generation: 1,
    };
    let mut bytes = tag.to_encapsulation().to_vec();
    bytes.extend(encode(&connect("a")));
    world.send_bytes(at(1), &bytes);
    let mut answer = tag.to_encapsulation().to_vec();
    answer.extend(encode(&Packet::Connack(ReturnCode::Accepted)));
    assert_eq!(world.take(at(1)), answer);
    assert!(world.broker.sessions()[0].forwarded);
}

#[test]
fn malformed_datagrams_are_counted_by_reason_and_not_answered() {
    let mut world = World::plain();
    for (bytes, reason) in [
        (&[][..], "too short"),
        (&[5], "too short"),
        (&[9, 0x0C, 0], "length mismatch"),
        (&[3, 0x03, 0], "unknown type"),
        (&[3, 0x0C, 0], "truncated"),
        (&[9, 0x0C, 0b11, 0, 1, 0, 0, 1, 1], "reserved TopicIdType"),
        (&[7, 0x04, 0, 1, 0, 1, 0xFF], "not UTF-8"),
        (&[2, 0xFE], "truncated"),
    ] {
        let before = world.broker.stats().malformed.get(reason).copied();
        world.send_bytes(at(1), bytes);
        let after = world.broker.stats().malformed.get(reason).copied();
        assert_eq!(after, Some(before.unwrap_or(0) + 1), "{bytes:?}: {reason}");
    }
    world.expect_nothing(at(1));
}

#[test]
fn messages_that_only_a_gateway_sends_are_ignored() {
    let mut world = World::plain();
    for packet in [
        Packet::Connack(ReturnCode::Accepted),
        Packet::WillTopicReq,
        Packet::Pingresp,
    ] {
        world.send(at(1), &packet);
    }
    world.expect_nothing(at(1));
    assert_eq!(world.broker.stats().unexpected, 3);
}
