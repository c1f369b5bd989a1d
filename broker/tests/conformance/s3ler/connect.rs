//! CONNECT and the will dialogue (MQTT-SN 1.2 §5.4.4 to §5.4.9, §6.2).

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, Packet, Qos, ReturnCode};

#[track_caller]
fn accepted(request: &Packet<'_>) {
    let mut world = World::plain();
    world.send(at(1), request);
    world.expect(at(1), &ACCEPTED);
    world.expect_nothing(at(1));
}

/// The suite wants DISCONNECT. What cannot be accepted is answered with a CONNACK that says why
/// (MQTT-SN 1.2 §6.2).
#[track_caller]
fn refused(request: &Packet<'_>) {
    let mut world = World::plain();
    world.send(at(1), request);
    world.expect(at(1), &Packet::Connack(ReturnCode::NotSupported));
    world.expect_nothing(at(1));
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn a_persistent_session_without_will_is_accepted() {
    accepted(&connect_with(ME, false, false, 60));
}

#[test]
fn a_clean_session_without_will_is_accepted() {
    accepted(&connect_with(ME, true, false, 60));
}

#[test]
fn a_client_id_of_one_character_is_accepted() {
    accepted(&connect_with("t", false, false, 60));
}

#[test]
fn a_client_id_of_23_characters_is_accepted() {
    accepted(&connect_with("thermometer-1234567-abc", false, false, 60));
}

#[test]
fn a_client_id_without_a_character_is_refused() {
    refused(&connect_with("", false, false, 60));
}

#[test]
fn a_client_id_of_24_characters_is_refused() {
    refused(&connect_with("thermometer-1234567-abcd", false, false, 60));
}

#[test]
fn the_shortest_keep_alive_is_accepted() {
    accepted(&connect_with(ME, false, false, 0));
}

#[test]
fn the_longest_keep_alive_is_accepted() {
    accepted(&connect_with(ME, false, false, u16::MAX));
}

/// Topic and message are asked for, and both are published when the client is lost.
#[track_caller]
fn is_the_will(topic: &str, message: &[u8]) {
    let mut world = World::plain();
    world.connect(at(9), "watcher");
    let id = world.subscribe(at(9), name(topic), Qos::Zero);
    let request = connect_with(ME, true, true, 60);
    open_with_will(&mut world, at(1), &request, topic, message);
    world.expect_nothing(at(1));
    world.advance(seconds(90));
    world.expect(at(9), &publish(Alias::normal(id), Qos::Zero, 0, message));
}

#[test]
fn with_will_the_connack_comes_after_topic_and_message() {
    is_the_will("some/will", b"gone");
}

#[test]
fn a_will_topic_of_one_character_is_taken() {
    is_the_will("w", b"gone");
}

#[test]
fn a_will_topic_that_fills_the_short_length_is_taken() {
    let topic = "w".repeat(252);
    assert_eq!(encode(&will_topic(&topic, Qos::Zero, false)).len(), 255);
    is_the_will(&topic, b"gone");
}

/// The suite wants DISCONNECT. A message of more than 255 octets has the longer Length field
/// (MQTT-SN 1.2 §5.2.1).
#[test]
fn a_will_topic_beyond_the_short_length_is_taken() {
    is_the_will(&"w".repeat(253), b"gone");
}

/// The suite wants DISCONNECT. Only a WILLTOPIC of two octets is an empty one (MQTT-SN 1.2 §5.4.7);
/// one of flags alone names no topic, so the request is refused.
#[test]
fn a_will_topic_of_flags_alone_is_refused() {
    let mut world = World::plain();
    world.send(at(1), &connect_with(ME, true, true, 60));
    world.expect(at(1), &Packet::WillTopicReq);
    world.send_bytes(at(1), &[3, 0x07, 0]);
    world.expect(at(1), &Packet::Connack(ReturnCode::NotSupported));
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn a_will_message_may_be_empty() {
    is_the_will("some/will", b"");
}

#[test]
fn a_will_message_of_one_octet_is_taken() {
    is_the_will("some/will", b"g");
}

#[test]
fn a_will_message_that_fills_the_short_length_is_taken() {
    let message = [b'g'; 253];
    assert_eq!(encode(&Packet::WillMsg(&message)).len(), 255);
    is_the_will("some/will", &message);
}

/// Disabled in the suite, which wants DISCONNECT (MQTT-SN 1.2 §5.2.1).
#[test]
fn a_will_message_beyond_the_short_length_is_taken() {
    is_the_will("some/will", &[b'g'; 254]);
}
