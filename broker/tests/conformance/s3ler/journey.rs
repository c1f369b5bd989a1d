//! Some of everything, one after the other, as the suite's integration cases do it. Steps that the
//! suite names and leaves out are done here.

use std::net::SocketAddr;

use broker::{AdvertiseConfig, Config};

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::packet::{Advertise, GwInfo, SearchGw};
use mqttsn::{Alias, Packet, Qos, ReturnCode, Seconds, TopicRef};

const WATCHED: Alias = Alias::predefined(50);

fn group() -> SocketAddr {
    SocketAddr::from(([225, 1, 1, 1], 1883))
}

/// A gateway that advertises itself, and a watcher at 9 of topic 50 and of the wills.
fn watched() -> World {
    let mut world = World::new(Config {
        predefined_topics: [(50, "watched".to_owned())].into(),
        advertise: AdvertiseConfig {
            group: Some(group()),
            interval_s: 120,
            ..AdvertiseConfig::default()
        },
        ..Config::default()
    });
    world.connect(at(9), "watcher");
    world.subscribe(at(9), TopicRef::Predefined(50), Qos::Zero);
    world.subscribe(at(9), TopicRef::Short(*b"wl"), Qos::Zero);
    world
}

fn heard(world: &mut World, data: &[u8]) {
    world.expect(at(9), &publish(WATCHED, Qos::Zero, 0, data));
}

#[track_caller]
fn advertised(world: &mut World) {
    let advertise = Packet::Advertise(Advertise {
        gw_id: 1,
        duration: Seconds(120),
    });
    world.expect(group(), &advertise);
}

#[test]
fn from_the_search_for_a_gateway_to_the_will() {
    let mut world = watched();
    world.send(at(1), &Packet::SearchGw(SearchGw { radius: 255 }));
    let gw_add = &[];
    world.expect(at(1), &Packet::GwInfo(GwInfo { gw_id: 1, gw_add }));
    world.inboxes.remove(&group());

    let request = connect_with(ME, true, true, 60);
    open_with_will(&mut world, at(1), &request, "wl", b"gone");
    world.send(at(1), &publish(WATCHED, Qos::Zero, 0, b"1"));
    heard(&mut world, b"1");
    world.send(at(1), &publish(WATCHED, Qos::One, 10, b"2"));
    heard(&mut world, b"2");
    world.expect(at(1), &puback(50, 10, ReturnCode::Accepted));
    let id = world.register(at(1), "watched");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"3"));
    heard(&mut world, b"3");

    world.advance(seconds(90));
    let will = publish(Alias::short(*b"wl"), Qos::Zero, 0, b"gone");
    world.expect(at(9), &will);
    advertised(&mut world);
    world.advance(seconds(120));
    advertised(&mut world);
    world.expect_nothing(at(9));
}

#[test]
fn from_the_advertisement_through_sleep_to_the_end_of_the_connection() {
    let mut world = watched();
    world.advance(ms(0));
    advertised(&mut world);
    world.send(at(1), &publish(WATCHED, Qos::MinusOne, 0, b"1"));
    heard(&mut world, b"1");
    open(&mut world, at(1), ME, true, 60);
    world.subscribe(at(1), TopicRef::Short(*b"wl"), Qos::Zero);
    let request = connect_with("other", true, true, 10);
    open_with_will(&mut world, at(2), &request, "wl", b"gone");
    world.advance(seconds(15));
    let will = publish(Alias::short(*b"wl"), Qos::Zero, 0, b"gone");
    world.expect(at(1), &will);
    world.expect(at(9), &will);

    world.subscribe(at(1), name("some/+"), Qos::Zero);
    fall_asleep(&mut world, at(1), 100);
    world.connect(at(3), "publisher");
    let id = world.register(at(3), "some/topic");
    world.send(at(3), &publish(Alias::normal(id), Qos::Zero, 0, b"2"));
    world.expect_nothing(at(1));
    world.send(at(1), &pingreq(ME));
    let (topic, mine) = world.accept_register(at(1));
    assert_eq!(topic, "some/topic");
    world.expect(at(1), &publish(Alias::normal(mine), Qos::Zero, 0, b"2"));
    world.expect(at(1), &Packet::Pingresp);

    open(&mut world, at(1), ME, true, 60);
    world.send(at(1), &publish(WATCHED, Qos::Zero, 0, b"3"));
    heard(&mut world, b"3");
    let id = world.register(at(1), "watched");
    world.send(at(1), &publish(Alias::normal(id), Qos::Zero, 0, b"4"));
    heard(&mut world, b"4");
    close(&mut world, at(1));
    world.send(at(1), &publish(WATCHED, Qos::Zero, 0, b"5"));
    world.expect(at(1), &disconnect(None));
    world.expect_nothing(at(9));
}

/// Empty in the suite but for its name.
#[test]
fn who_registers_and_subscribes_receives_what_others_publish() {
    let mut world = watched();
    open(&mut world, at(1), ME, true, 60);
    let mine = world.register(at(1), "some/topic");
    assert_eq!(world.subscribe(at(1), name("some/topic"), Qos::One), mine);
    world.connect(at(2), "publisher");
    let theirs = world.register(at(2), "some/topic");
    world.send(at(2), &publish(Alias::normal(theirs), Qos::One, 4, b"x"));
    let msg_id = world.expect_publish(at(1), Alias::normal(mine), Qos::One, b"x");
    world.send(at(1), &puback(mine, msg_id.0, ReturnCode::Accepted));
    world.expect(at(2), &puback(theirs, 4, ReturnCode::Accepted));
}
