//! What clients do in many of these tests.

use std::net::SocketAddr;
use std::time::Duration;

use crate::world::*;
use mqttsn::{Alias, Packet, Qos, ReturnCode};

pub const ACCEPTED: Packet<'static> = Packet::Connack(ReturnCode::Accepted);

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Connects without a will dialogue.
#[track_caller]
pub fn open(world: &mut World, who: SocketAddr, client_id: &str, clean: bool, keep_alive: u16) {
    world.send(who, &connect_with(client_id, clean, false, keep_alive));
    world.expect(who, &ACCEPTED);
}

/// Connects with a will of QoS 0 that is not retained.
#[track_caller]
pub fn open_with_will(
    world: &mut World,
    who: SocketAddr,
    request: &Packet<'_>,
    topic: &str,
    message: &[u8],
) {
    world.send(who, request);
    world.expect(who, &Packet::WillTopicReq);
    world.send(who, &will_topic(topic, Qos::Zero, false));
    world.expect(who, &Packet::WillMsgReq);
    world.send(who, &Packet::WillMsg(message));
    world.expect(who, &ACCEPTED);
}

/// Goes to sleep.
#[track_caller]
pub fn fall_asleep(world: &mut World, who: SocketAddr, duration: u16) {
    world.send(who, &disconnect(Some(duration)));
    world.expect(who, &disconnect(None));
}

/// Ends the connection.
#[track_caller]
pub fn close(world: &mut World, who: SocketAddr) {
    world.send(who, &disconnect(None));
    world.expect(who, &disconnect(None));
}

/// The next message must be a PUBLISH: its alias, QoS, Retain and data.
#[track_caller]
pub fn take_publish(world: &mut World, who: SocketAddr) -> (Alias, Qos, bool, Vec<u8>) {
    let bytes = world.take(who);
    match Packet::decode(&bytes) {
        Ok(Packet::Publish(p)) => (p.alias, p.qos, p.retain, p.data.to_vec()),
        other => panic!("PUBLISH, not {other:?}"),
    }
}
