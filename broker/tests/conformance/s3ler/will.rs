//! Wills when the keep-alive runs out (MQTT-SN 1.2 §6.3, §6.11, §6.14).
//!
//! The suite waits half as long again for short keep-alives and a tenth for those over a minute, as
//! §7.2 recommends for an example. The broker's tolerance is one number, 1.5 unless the operator sets
//! another (MQTT 3.1.1 §3.1.2.10); what the suite measures with a tenth is measured here with 1.1.

use broker::Config;

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, Packet, Qos, TopicRef};

const WILL: Packet<'static> = Packet::Publish(mqttsn::packet::Publish {
    dup: false,
    qos: Qos::Zero,
    retain: false,
    alias: Alias::short(*b"wl"),
    msg_id: mqttsn::MsgId(0),
    data: b"gone",
});

/// A watcher of wills at 9.
fn watched(keep_alive_tolerance: f64) -> World {
    let mut world = World::new(Config {
        keep_alive_tolerance,
        ..Config::default()
    });
    world.connect(at(9), "watcher");
    world.subscribe(at(9), TopicRef::Short(*b"wl"), Qos::Zero);
    world
}

/// The will comes at this time after the last word, and not a millisecond earlier.
#[track_caller]
fn comes(keep_alive: u16, tolerance: f64, after_ms: u64) {
    let mut world = watched(tolerance);
    let request = connect_with(ME, true, true, keep_alive);
    open_with_will(&mut world, at(1), &request, "wl", b"gone");
    world.advance(ms(after_ms - 1));
    world.expect_nothing(at(9));
    world.advance(ms(1));
    world.expect(at(9), &WILL);
    world.advance(seconds(300));
    world.expect_nothing(at(9));
}

#[test]
fn after_a_keep_alive_of_60_s_the_will_comes_at_90_s() {
    comes(60, 1.5, 90_000);
}

#[test]
fn after_a_keep_alive_of_1_s_the_will_comes_within_2_s() {
    comes(1, 1.5, 1_500);
}

#[test]
fn after_a_keep_alive_of_10_s_the_will_comes_at_15_s() {
    comes(10, 1.5, 15_000);
}

#[test]
fn after_a_keep_alive_of_30_s_the_will_comes_at_45_s() {
    comes(30, 1.5, 45_000);
}

#[test]
fn after_a_keep_alive_of_59_s_the_will_comes_within_89_s() {
    comes(59, 1.5, 88_500);
}

/// With the default it comes at 91.5 s.
#[test]
fn after_a_keep_alive_of_61_s_and_a_tenth_the_will_comes_at_67_s() {
    comes(61, 1.1, 67_100);
    comes(61, 1.5, 91_500);
}

/// With the default it comes at 135 s.
#[test]
fn after_a_keep_alive_of_90_s_and_a_tenth_the_will_comes_at_99_s() {
    comes(90, 1.1, 99_000);
    comes(90, 1.5, 135_000);
}

#[track_caller]
fn never_comes(world: &mut World) {
    world.advance(seconds(120));
    world.expect_nothing(at(9));
    assert_eq!(world.broker.stats().wills, 0);
}

#[test]
fn without_a_will_none_comes() {
    let mut world = watched(1.5);
    open(&mut world, at(1), ME, false, 60);
    never_comes(&mut world);
    assert_eq!(world.broker.stats().sessions_lost, 1);
}

/// The suite leaves out what its name tells of, the connection with a will before.
#[test]
fn a_clean_session_without_will_deletes_the_will_of_before() {
    let mut world = watched(1.5);
    let request = connect_with(ME, false, true, 60);
    open_with_will(&mut world, at(1), &request, "wl", b"gone");
    close(&mut world, at(1));
    open(&mut world, at(1), ME, true, 60);
    never_comes(&mut world);
    assert_eq!(world.broker.stats().sessions_lost, 1);
}

#[test]
fn a_keep_alive_of_zero_never_runs_out() {
    let mut world = watched(1.5);
    let request = connect_with(ME, true, true, 0);
    open_with_will(&mut world, at(1), &request, "wl", b"gone");
    never_comes(&mut world);
    assert_eq!(world.broker.stats().sessions_lost, 0);
}
