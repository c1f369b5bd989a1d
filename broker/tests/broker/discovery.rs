//! Gateway advertisement and discovery (MQTT-SN 1.2 §6.1).

use std::net::SocketAddr;

use crate::world::*;
use broker::{AdvertiseConfig, Config, ConfigError};
use mqttsn::packet::{Advertise, GwInfo, SearchGw};
use mqttsn::{Packet, Seconds};

const GATEWAY: Packet<'_> = Packet::GwInfo(GwInfo {
    gw_id: 7,
    gw_add: &[],
});
const SEARCH: Packet<'_> = Packet::SearchGw(SearchGw { radius: 0 });

fn group() -> SocketAddr {
    SocketAddr::from(([225, 1, 1, 1], 1883))
}

fn advertising() -> Config {
    Config {
        gateway_id: 7,
        advertise: AdvertiseConfig {
            group: Some(group()),
            interval_s: 1000,
            ..AdvertiseConfig::default()
        },
        ..Config::default()
    }
}

#[test]
fn a_gateway_advertises_itself_to_the_group_at_each_interval() {
    let mut world = World::new(advertising());
    let advertise = Packet::Advertise(Advertise {
        gw_id: 7,
        duration: Seconds(1000),
    });
    world.advance(ms(0));
    world.expect(group(), &advertise);
    world.advance(ms(999_999));
    world.expect_nothing(group());
    world.advance(ms(1));
    world.expect(group(), &advertise);
    world.advance(ms(1_000_000));
    world.expect(group(), &advertise);
    world.expect_nothing(group());
}

#[test]
fn without_a_group_nothing_is_advertised() {
    let mut world = World::plain();
    world.advance(ms(10_000_000));
    assert!(world.inboxes.is_empty());
    assert_eq!(world.broker.next_deadline(), None);
}

#[test]
fn who_searches_is_answered_and_so_is_the_group() {
    let mut world = World::new(advertising());
    world.send(at(1), &SEARCH);
    world.expect(at(1), &GATEWAY);
    world.expect(group(), &GATEWAY);
}

#[test]
fn who_searches_behind_a_forwarder_is_answered_through_it_alone() {
    let mut world = World::new(advertising());
    let wrapped = |packet: &Packet<'_>| [&[4, 0xFE, 1, b'n'][..], &encode(packet)].concat();
    let (search, answer) = (wrapped(&SEARCH), wrapped(&GATEWAY));
    world.send_bytes(at(1), &search);
    assert_eq!(world.take(at(1)), answer);
    world.expect_nothing(group());
}

#[test]
fn a_flood_of_searches_is_answered_at_a_bounded_rate() {
    let mut world = World::new(advertising());
    for number in 0..100 {
        world.send(at(number), &SEARCH);
    }
    assert_eq!(world.inboxes[&group()].len(), 10);
    assert_eq!(world.broker.stats().searches_dropped, 90);
    world.advance(ms(1000));
    world.inboxes.clear();
    for number in 0..100 {
        world.send(at(number), &SEARCH);
    }
    let answered = (0..100).filter(|n| world.inboxes.contains_key(&at(*n)));
    assert_eq!(answered.count(), 10);
}

#[test]
fn a_group_that_is_no_group_is_refused() {
    let unicast = SocketAddr::from(([10, 0, 0, 1], 1883));
    let mut config = advertising();
    config.advertise.group = Some(unicast);
    assert_eq!(config.check(), Err(ConfigError::AdvertiseGroup(unicast)));
    config = advertising();
    config.advertise.interval_s = 0;
    assert_eq!(config.check(), Err(ConfigError::AdvertiseInterval));
}
