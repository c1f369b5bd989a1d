//! DISCONNECT with and without Duration (MQTT-SN 1.2 §5.4.21, §6.12, §6.14).

use broker::State;

use super::ME;
use crate::clients::*;
use crate::world::*;

fn connected() -> World {
    let mut world = super::world();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.register(at(1), "some/topic");
    world
}

/// The DISCONNECT is answered with one without Duration, and leads here.
#[track_caller]
fn leads_to(state: State, duration: Option<u16>) {
    let mut world = connected();
    world.send(at(1), &disconnect(duration));
    world.expect(at(1), &disconnect(None));
    world.expect_nothing(at(1));
    assert_eq!(world.broker.sessions()[0].state, state);
}

#[test]
fn without_duration_the_connection_ends() {
    leads_to(State::Disconnected, None);
}

#[test]
fn with_duration_the_client_sleeps() {
    leads_to(State::Asleep, Some(600));
}

#[test]
fn with_the_longest_duration_the_client_sleeps() {
    leads_to(State::Asleep, Some(u16::MAX));
}

/// The text does not say what a sleep of no time is: nobody could be lost after it, so it is the end
/// of the connection.
#[test]
fn with_a_duration_of_zero_the_connection_ends() {
    leads_to(State::Disconnected, Some(0));
}

/// The suite wants DISCONNECT in answer to a message of the wrong length. A DISCONNECT has two or
/// four octets (MQTT-SN 1.2 §5.4.21); what is neither is no message, so it is dropped and counted and
/// the client is as it was.
#[track_caller]
fn dropped(bytes: &[u8]) {
    let mut world = connected();
    world.send_bytes(at(1), bytes);
    world.expect_nothing(at(1));
    assert_eq!(world.broker.stats().malformed.values().sum::<u64>(), 1);
    assert_eq!(world.broker.sessions()[0].state, State::Active);
}

#[test]
fn an_octet_instead_of_nothing_is_no_duration() {
    dropped(&[3, 0x18, 0]);
}

#[test]
fn half_a_duration_is_no_duration() {
    dropped(&[3, 0x18, 2]);
}

#[test]
fn an_octet_after_the_duration_is_not_ignored() {
    dropped(&[5, 0x18, 2, 88, 0]);
}
