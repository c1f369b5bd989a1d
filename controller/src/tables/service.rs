//! `service`: the broker's addresses.

use std::net::Ipv4Addr;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::value;

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.service";

/// One address of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its IPv4 address.
    pub ip_dst: Ipv4Addr,
    /// Its UDP port.
    pub udp_dst: u16,
}

/// `serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The longest IPv4 packet (octets) that the port towards the broker carries.
    pub max_length: u16,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(NAME)?
        .entry()
        .exact("ip_dst", key.ip_dst)?
        .exact("udp_dst", key.udp_dst)?;
    match action {
        Some(action) => entry
            .action("serve")?
            .param("max_length", action.max_length)?
            .build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        ip_dst: value("ip_dst", view.exact("ip_dst")?.to_ipv4())?,
        udp_dst: value("udp_dst", view.exact("udp_dst")?.to_u16())?,
    };
    let action = Action {
        max_length: value("max_length", view.param("max_length")?.to_u16())?,
    };
    Ok(Some((key, action)))
}
