//! Messages for a client that sleeps (MQTT-SN 1.2 §6.14).

use broker::State;

use super::ME;
use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, Packet, Qos, TopicRef};

const MESSAGE: Packet<'static> = Packet::Publish(mqttsn::packet::Publish {
    dup: false,
    qos: Qos::Zero,
    retain: false,
    alias: Alias::predefined(1),
    msg_id: mqttsn::MsgId(0),
    data: b"while asleep",
});

/// Asleep for so many seconds, and a message has come meanwhile.
fn missed(duration: u16) -> World {
    let mut world = super::world();
    open(&mut world, at(1), ME, false, u16::MAX);
    world.subscribe(at(1), TopicRef::Predefined(1), Qos::Zero);
    fall_asleep(&mut world, at(1), duration);
    world.connect(at(2), "publisher");
    world.send(at(2), &MESSAGE);
    world.advance(seconds(1));
    world.expect_nothing(at(1));
    world
}

/// The suite asks with the ClientId of its publisher. The PINGREQ identifies the client by its
/// ClientId (MQTT-SN 1.2 §6.14): another's fetches nothing of this one's.
#[test]
fn its_pingreq_fetches_what_came_and_the_pingresp_ends_it() {
    let mut world = missed(600);
    world.send(at(1), &pingreq("publisher"));
    world.expect(at(1), &disconnect(None));
    world.send(at(1), &pingreq(ME));
    world.expect(at(1), &MESSAGE);
    world.expect(at(1), &Packet::Pingresp);
    world.expect_nothing(at(1));
    assert_eq!(world.broker.sessions()[0].state, State::Asleep);
}

#[test]
fn a_plain_pingreq_within_each_sleep_duration_keeps_it_asleep_and_fetches_nothing() {
    let mut world = missed(3);
    for _ in 0..3 {
        world.advance(seconds(3));
        world.send(at(1), &pingreq(""));
        world.expect(at(1), &Packet::Pingresp);
        world.expect_nothing(at(1));
        assert_eq!(world.broker.sessions()[0].state, State::Asleep);
    }
    world.advance(seconds(1));
    world.send(at(1), &pingreq(ME));
    world.expect(at(1), &MESSAGE);
    world.expect(at(1), &Packet::Pingresp);
}
