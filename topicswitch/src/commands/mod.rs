//! One file a command.

pub mod bench;
pub mod broker;
pub mod config;
pub mod controller;
pub mod demo;
pub mod pub_;
pub mod sim;
pub mod status;
pub mod sub;
pub mod up;

use crate::cli::ClientArgs;

/// The client id asked for, or one that another run of the same program will not have.
fn client_id(args: &ClientArgs, role: &str) -> String {
    args.client_id
        .clone()
        .unwrap_or_else(|| format!("ts-{role}-{}", std::process::id()))
}

/// A name of exactly two octets travels as it is (MQTT-SN 1.2 §3); a wildcard does not.
fn short_name(topic: &str) -> Option<[u8; 2]> {
    if mqttsn::topic::has_wildcards(topic) {
        return None;
    }
    <[u8; 2]>::try_from(topic.as_bytes()).ok()
}
