//! What the 104 cases of S3ler's compliance suite for MQTT-SN gateways expect on the wire.
//!
//! The suite is written for one gateway: it takes topic ids 0x0000 and 0xFFFF for predefined topics,
//! TopicIdType 0b10 for "any topic id", messages of at most 255 octets, and DISCONNECT for the answer
//! to whatever that gateway does not like. There the text of MQTT-SN 1.2 wins.

mod connect;
mod deliver;
mod disconnect;
mod discovery;
mod journey;
mod ping;
mod publish;
mod register;
mod sleep;
mod subscribe;
mod unsubscribe;
mod will;
mod will_update;

use broker::Config;

use crate::world::*;

/// The client under test.
const ME: &str = "thermometer";

/// Predefined topics as the suite has them, with the lowest and highest id that there may be.
fn world() -> World {
    World::new(Config {
        predefined_topics: [
            (1, "lowest/id".to_owned()),
            (20, "predefined".to_owned()),
            (50, "watched".to_owned()),
            (0xFFFE, "highest/id".to_owned()),
        ]
        .into(),
        ..Config::default()
    })
}
