//! The Length field and the longest messages (MQTT-SN 1.2 §5.2.1, §6.10).

use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

const AB: Alias = Alias::short(*b"ab");

/// The payload of a UDP datagram over IPv4.
const DATAGRAM: usize = 65_507;

/// A publisher at 1 and a subscriber at 2 of `ab`.
fn pair() -> World {
    let mut world = World::plain();
    world.connect(at(1), "publisher");
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Two);
    world
}

/// PUBLISH with so much data has this length on the wire, and starts with these octets.
#[track_caller]
fn passed_on(qos: Qos, data: usize, start: &[u8]) {
    let mut world = pair();
    let data = vec![7; data];
    world.send(at(1), &publish(AB, qos, 1, &data));
    let bytes = world.take(at(2));
    assert_eq!(&bytes[..start.len()], start);
    match Packet::decode(&bytes) {
        Ok(Packet::Publish(p)) => assert_eq!((p.alias, p.qos, p.data), (AB, qos, &data[..])),
        other => panic!("PUBLISH, not {other:?}"),
    }
}

#[test]
fn the_length_has_one_octet_up_to_255_and_three_from_256_on() {
    for qos in [Qos::Zero, Qos::One, Qos::Two] {
        passed_on(qos, 0, &[7, 0x0C]);
        passed_on(qos, 247, &[254, 0x0C]);
        passed_on(qos, 248, &[255, 0x0C]);
        // One octet more, and two for the longer Length.
        passed_on(qos, 249, &[1, 1, 2, 0x0C]);
        passed_on(qos, 250, &[1, 1, 3, 0x0C]);
    }
}

#[test]
fn what_fills_a_datagram_is_passed_on() {
    let data = DATAGRAM - 9;
    let [high, low] = (DATAGRAM as u16).to_be_bytes();
    for qos in [Qos::Zero, Qos::One, Qos::Two] {
        passed_on(qos, data, &[1, high, low, 0x0C]);
    }
}

#[test]
fn a_message_of_65535_octets_is_taken_and_acknowledged() {
    let mut world = World::plain();
    world.connect(at(1), "publisher");
    let data = vec![7; 65_535 - 9];
    let message = publish(AB, Qos::One, 5, &data);
    assert_eq!(encode(&message).len(), 65_535);
    world.send(at(1), &message);
    let answer = puback(AB.topic_id, 5, ReturnCode::Accepted);
    world.expect(at(1), &answer);
}

#[test]
fn a_short_message_with_the_long_length_means_the_same() {
    let mut world = World::plain();
    let mut bytes = vec![1, 0, 0];
    bytes.extend(&encode(&connect("me"))[1..]);
    bytes[2] = bytes.len() as u8;
    world.send_bytes(at(1), &bytes);
    world.expect(at(1), &ACCEPTED);
    world.send_bytes(at(1), &[1, 0, 4, 0x16]);
    world.expect(at(1), &Packet::Pingresp);
}

#[test]
fn long_names_pass_through_register_and_subscribe() {
    let mut world = World::plain();
    world.connect(at(1), "publisher");
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), name("#"), Qos::Zero);
    let topic = "t".repeat(300);
    let id = world.register(at(1), &topic);
    assert_eq!(world.subscribe(at(1), name(&topic), Qos::Zero), id);
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"x"));
    let (registered, theirs) = world.accept_register(at(2));
    assert_eq!(registered, topic);
    world.expect(at(2), &publish(Alias::normal(theirs), Qos::Zero, 0, b"x"));
}

/// A forwarder's encapsulation takes octets of the datagram. What does not fit any more is not sent
/// and nobody is told (MQTT-SN 1.2 §6.10): above all the subscriber is not lost over it.
#[test]
fn what_is_too_long_for_a_subscriber_is_silently_dropped() {
    let mut world = World::plain();
    let wrapped = |packet: &Packet<'_>| [&[4, 0xFE, 1, b'n'][..], &encode(packet)].concat();
    world.send_bytes(at(2), &wrapped(&connect("subscriber")));
    let request = subscribe(TopicRef::Short(*b"ab"), Qos::One, MsgId(1));
    world.send_bytes(at(2), &wrapped(&request));
    world.inboxes.clear();
    world.connect(at(1), "publisher");
    let fits = vec![7; DATAGRAM - 4 - 9];
    let too_long = vec![7; DATAGRAM - 4 - 8];
    for (data, msg_id) in [(&too_long, 1), (&fits, 2)] {
        world.send(at(1), &publish(AB, Qos::One, msg_id, data));
        let answer = puback(AB.topic_id, msg_id, ReturnCode::Accepted);
        world.expect(at(1), &answer);
    }
    assert_eq!(world.take(at(2)).len(), DATAGRAM);
    world.expect_nothing(at(2));
    assert_eq!(world.broker.stats().dropped_too_long, 1);
}

/// The name came in a SUBSCRIBE, whose header is a octet shorter than that of REGISTER.
#[test]
fn a_topic_name_too_long_for_a_register_costs_nobody_the_connection() {
    let mut world = World::plain();
    world.connect(at(1), "publisher");
    world.connect(at(2), "subscriber");
    world.subscribe(at(2), name("#"), Qos::Zero);
    let topic = "t".repeat(DATAGRAM - 7);
    let id = world.subscribe(at(1), name(&topic), Qos::Zero);
    let message = publish(Alias::normal(id), Qos::Zero, 0, b"x");
    world.send(at(1), &message);
    world.expect(at(1), &message);
    world.advance(seconds(600));
    world.expect_nothing(at(2));
    assert_eq!(world.broker.stats().sessions_lost, 0);
    assert_eq!(world.broker.stats().dropped_too_long, 1);
}
