//! PINGREQ in each state of a client (MQTT-SN 1.2 §5.4.19, §5.4.20, §6.11, §6.14).
//!
//! The suite ends each ClientId with a zero octet, and so asks for clients that there are not where it
//! means the empty one. Here ClientIds are what they say; the zero octet is a ClientId of its own.

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::Packet;

/// PINGREQ with a ClientId of 27 characters, more than there may be.
const TOO_LONG: &str = "thermometer-1234567-abcdefg";
/// What remains of the ClientId when the Length says two octets less.
const CUT: &str = "thermomet";
/// What the suite sends for an empty ClientId.
const ZERO_OCTET: &str = "\0";

fn nobody() -> World {
    super::world()
}

fn connected() -> World {
    let mut world = super::world();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.register(at(1), "some/topic");
    world
}

fn asleep() -> World {
    let mut world = connected();
    fall_asleep(&mut world, at(1), 600);
    world
}

#[track_caller]
fn is_alive(world: &mut World, client_id: &str) {
    world.send(at(1), &pingreq(client_id));
    world.expect(at(1), &Packet::Pingresp);
    world.expect_nothing(at(1));
}

#[track_caller]
fn is_unknown(world: &mut World, client_id: &str) {
    world.send(at(1), &pingreq(client_id));
    world.expect(at(1), &disconnect(None));
    world.expect_nothing(at(1));
}

/// The suite wants PINGRESP. A PINGREQ comes from a connected client (MQTT-SN 1.2 §5.4.19); who is
/// none must learn that it has to connect (§5.4.21).
#[test]
fn who_is_not_connected_is_told_so() {
    is_unknown(&mut nobody(), "");
}

/// The suite wants PINGRESP (MQTT-SN 1.2 §5.4.19, §5.4.21, as above).
#[test]
fn who_is_not_connected_is_told_so_each_time() {
    let mut world = nobody();
    for _ in 0..3 {
        is_unknown(&mut world, "");
        world.advance(seconds(1));
    }
}

#[test]
fn a_connected_client_gets_its_pingresp() {
    is_alive(&mut connected(), "");
}

#[test]
fn a_client_id_that_never_connected_is_told_so() {
    is_unknown(&mut nobody(), ME);
}

#[test]
fn a_client_id_of_one_character_that_never_connected_is_told_so() {
    is_unknown(&mut nobody(), "t");
}

#[test]
fn a_client_id_of_23_characters_that_never_connected_is_told_so() {
    is_unknown(&mut nobody(), "thermometer-1234567-abc");
}

#[test]
fn a_zero_octet_for_a_client_id_is_nobody() {
    is_unknown(&mut nobody(), ZERO_OCTET);
}

#[test]
fn a_client_id_that_is_too_long_is_nobody() {
    is_unknown(&mut nobody(), TOO_LONG);
}

#[test]
fn a_client_id_that_is_cut_is_nobody() {
    is_unknown(&mut nobody(), CUT);
}

#[test]
fn a_connected_client_may_say_its_client_id() {
    is_alive(&mut connected(), ME);
}

#[test]
fn a_connected_client_is_not_a_zero_octet() {
    is_unknown(&mut connected(), ZERO_OCTET);
}

#[test]
fn a_connected_client_is_not_a_client_id_that_is_too_long() {
    is_unknown(&mut connected(), TOO_LONG);
}

#[test]
fn a_connected_client_is_not_its_client_id_cut_short() {
    is_unknown(&mut connected(), CUT);
}

#[test]
fn a_sleeping_client_is_not_a_zero_octet() {
    is_unknown(&mut asleep(), ZERO_OCTET);
}

#[test]
fn a_sleeping_client_is_not_a_client_id_that_is_too_long() {
    is_unknown(&mut asleep(), TOO_LONG);
}

#[test]
fn a_sleeping_client_is_not_its_client_id_cut_short() {
    is_unknown(&mut asleep(), CUT);
}

#[test]
fn a_sleeping_client_for_whom_nothing_came_gets_its_pingresp_at_once() {
    is_alive(&mut asleep(), ME);
}
