//! One file a command.

pub mod bench;
pub mod broker;
pub mod config;
pub mod controller;
pub mod demo;
mod dtls;
pub mod explain;
pub mod pub_;
pub mod sim;
pub mod status;
mod stf;
pub mod sub;
pub mod up;

use crate::cli::ClientArgs;
use crate::client::{Client, Retry};

/// A client of the broker that the arguments name, over UDP or DTLS; not yet connected.
async fn open(args: &ClientArgs) -> anyhow::Result<Client> {
    let retry = Retry::default();
    Ok(match dtls::credentials(args)? {
        Some(credentials) => Client::open_dtls(args.broker, credentials, retry).await?,
        None => Client::open(args.broker, retry).await?,
    })
}

/// The client id asked for, the one that the broker will know the client by, or one that another run
/// of the same program will not have.
fn client_id(args: &ClientArgs, role: &str) -> anyhow::Result<String> {
    Ok(match (&args.client_id, dtls::identity(args)?) {
        (Some(id), _) => id.clone(),
        (None, Some(identity)) => identity,
        (None, None) => format!("ts-{role}-{}", std::process::id()),
    })
}

/// A name of exactly two octets travels as it is (MQTT-SN 1.2 §3); a wildcard does not.
fn short_name(topic: &str) -> Option<[u8; 2]> {
    if mqttsn::topic::has_wildcards(topic) {
        return None;
    }
    <[u8; 2]>::try_from(topic.as_bytes()).ok()
}
