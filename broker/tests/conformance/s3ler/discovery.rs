//! ADVERTISE and SEARCHGW (MQTT-SN 1.2 §5.4.1 to §5.4.3, §6.1).

use std::net::SocketAddr;

use broker::{AdvertiseConfig, Config};

use crate::clients::*;
use crate::world::*;
use mqttsn::packet::{Advertise, GwInfo, SearchGw};
use mqttsn::{Packet, Seconds};

/// The suite wants the gateway's address in GwAdd. A gateway leaves it out, only a client that
/// answers for a gateway says it (MQTT-SN 1.2 §5.4.3).
#[track_caller]
fn answered(radius: u8) {
    let mut world = World::new(Config {
        gateway_id: 5,
        ..Config::default()
    });
    world.send(at(1), &Packet::SearchGw(SearchGw { radius }));
    let gw_add = &[];
    world.expect(at(1), &Packet::GwInfo(GwInfo { gw_id: 5, gw_add }));
    world.expect_nothing(at(1));
}

#[test]
fn a_search_within_some_hops_is_answered() {
    answered(5);
}

#[test]
fn a_search_in_the_whole_network_is_answered() {
    answered(0);
}

#[test]
fn a_search_of_the_largest_radius_is_answered() {
    answered(255);
}

#[test]
fn the_gateway_advertises_itself_with_its_id_and_the_time_to_the_next() {
    let group = SocketAddr::from(([225, 1, 1, 1], 1883));
    let mut world = World::new(Config {
        gateway_id: 5,
        advertise: AdvertiseConfig {
            group: Some(group),
            interval_s: 2,
            ..AdvertiseConfig::default()
        },
        ..Config::default()
    });
    world.advance(seconds(5));
    let advertise = Packet::Advertise(Advertise {
        gw_id: 5,
        duration: Seconds(2),
    });
    for _ in [0, 2, 4] {
        world.expect(group, &advertise);
    }
    world.expect_nothing(group);
}
