//! CONNECT, DISCONNECT and the search for a gateway (MQTT-SN 1.2 §6.1, §6.2, §6.12).

use crate::world::*;
use mqttsn::Packet;
use mqttsn::packet::{GwInfo, SearchGw};

#[test]
fn who_searches_for_a_gateway_learns_its_id() {
    let mut world = World::plain();
    world.send(at(1), &Packet::SearchGw(SearchGw { radius: 0 }));
    let (gw_id, gw_add): (u8, &[u8]) = (1, &[]);
    world.expect(at(1), &Packet::GwInfo(GwInfo { gw_id, gw_add }));
}

#[test]
fn a_client_connects_and_its_disconnect_is_answered() {
    let mut world = World::plain();
    world.connect(at(1), "client_id_test1");
    world.send(at(1), &disconnect(None));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn a_disconnect_of_nobody_is_answered_too() {
    let mut world = World::plain();
    world.send(at(1), &disconnect(None));
    world.expect(at(1), &disconnect(None));
}

/// The suite wants DISCONNECT. A CONNECT whose CONNACK was lost is sent again (MQTT-SN 1.2 §6.13)
/// and must not end the connection that it asks for.
#[test]
fn a_second_connect_is_accepted_as_the_first_was() {
    let mut world = World::plain();
    world.connect(at(1), "client_id_dup_connect");
    world.connect(at(1), "client_id_dup_connect");
    assert_eq!(world.broker.status().sessions, 1);
}
