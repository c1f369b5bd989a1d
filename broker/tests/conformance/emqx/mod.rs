//! What EMQX's suite of its MQTT-SN gateway expects on the wire.
//!
//! Its cases that need a management interface, a mountpoint or the insides of its processes have no
//! counterpart here; `docs/conformance-emqx.md` names them.

mod addresses;
mod connecting;
mod publishing;
mod reconnecting;
mod sleeping;
mod topics;
mod wills;

use std::net::SocketAddr;

use crate::world::*;
use broker::Config;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

const HELLO: &str = "/predefined/topic/name/hello";
const NICE: &str = "/predefined/topic/name/nice";

/// Topic ids 1 and 2 are pre-defined.
fn predefined() -> World {
    World::new(Config {
        predefined_topics: [(1, HELLO.to_owned()), (2, NICE.to_owned())].into(),
        ..Config::default()
    })
}

/// A client that keeps its session.
fn connect_persistent(world: &mut World, client: SocketAddr, client_id: &str) {
    world.send(client, &connect_with(client_id, false, false, 0));
    world.expect(client, &Packet::Connack(ReturnCode::Accepted));
}

/// The client says goodbye, or good night.
fn leave(world: &mut World, client: SocketAddr, sleep: Option<u16>) {
    world.send(client, &disconnect(sleep));
    world.expect(client, &disconnect(None));
}

/// A publisher nobody else is; it publishes to `topic`, whose PUBACK or PUBREC is taken.
fn publish_elsewhere(world: &mut World, topic: &str, qos: Qos, data: &[u8]) {
    let publisher = at(200);
    world.connect(publisher, "elsewhere");
    let id = world.register(publisher, topic);
    world.send(publisher, &publish(Alias::normal(id), qos, 1, data));
    match qos {
        Qos::One => world.expect(publisher, &puback(id, 1, ReturnCode::Accepted)),
        Qos::Two => {
            world.expect(publisher, &Packet::Pubrec(MsgId(1)));
            world.send(publisher, &Packet::Pubrel(MsgId(1)));
            world.expect(publisher, &Packet::Pubcomp(MsgId(1)));
        }
        Qos::Zero | Qos::MinusOne => world.expect_nothing(publisher),
    }
}

/// The client gets this PUBLISH and acknowledges it.
#[track_caller]
fn receive(world: &mut World, client: SocketAddr, alias: Alias, qos: Qos, data: &[u8]) -> MsgId {
    let msg_id = world.expect_publish(client, alias, qos, data);
    match qos {
        Qos::One => {
            let accepted = puback(alias.topic_id, msg_id.0, ReturnCode::Accepted);
            world.send(client, &accepted);
        }
        Qos::Two => {
            world.send(client, &Packet::Pubrec(msg_id));
            world.expect(client, &Packet::Pubrel(msg_id));
            world.send(client, &Packet::Pubcomp(msg_id));
        }
        Qos::Zero | Qos::MinusOne => {}
    }
    msg_id
}

/// A client that subscribes to what it publishes gets the answer to its PUBLISH, then its copy; the
/// copy's MsgId.
#[track_caller]
fn answer_and_copy(
    world: &mut World,
    client: SocketAddr,
    answer: &Packet<'_>,
    alias: Alias,
    qos: Qos,
    data: &[u8],
) -> MsgId {
    world.expect(client, answer);
    world.expect_publish(client, alias, qos, data)
}

fn short(name: &str) -> TopicRef<'_> {
    TopicRef::Short(name.as_bytes().try_into().unwrap())
}

/// A client that sleeps for five seconds and is subscribed at `qos`; its topic id.
fn sleeper(world: &mut World, topic: &str, qos: Qos) -> u16 {
    world.connect(at(1), "sleeper");
    let id = world.subscribe(at(1), name(topic), qos);
    leave(world, at(1), Some(5));
    id
}
