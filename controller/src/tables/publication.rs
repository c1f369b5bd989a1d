//! `publication`: who may publish what, from where. The presence of a row is the permission.

use std::net::Ipv4Addr;
use std::time::Duration;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::value;

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.publication";

/// One (client, alias), bound to the port behind which the client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The client's port of the switch.
    pub ingress_port: u16,
    /// Its IPv4 address.
    pub ip_src: Ipv4Addr,
    /// Its UDP port.
    pub udp_src: u16,
    /// The TopicIdType bits.
    pub topic_id_type: u8,
    /// The TopicId.
    pub topic_id: u16,
}

/// `admit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The topic that it publishes to.
    pub topic_index: u32,
    /// Not to age the row, but because BMv2 tells the time since the last hit only of rows with a
    /// timeout; so it is longer than anybody asks back.
    pub idle_timeout: Duration,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(NAME)?
        .entry()
        .exact("ingress_port", key.ingress_port)?
        .exact("ip_src", key.ip_src)?
        .exact("udp_src", key.udp_src)?
        .exact("topic_id_type", key.topic_id_type)?
        .exact("topic_id", key.topic_id)?;
    match action {
        Some(action) => entry
            .action("admit")?
            .param("topic_index", action.topic_index)?
            .idle_timeout(action.idle_timeout)
            .build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let [topic_id_type] = value("topic_id_type", view.exact("topic_id_type")?.to_array())?;
    let key = Key {
        ingress_port: value("ingress_port", view.exact("ingress_port")?.to_u16())?,
        ip_src: value("ip_src", view.exact("ip_src")?.to_ipv4())?,
        udp_src: value("udp_src", view.exact("udp_src")?.to_u16())?,
        topic_id_type,
        topic_id: value("topic_id", view.exact("topic_id")?.to_u16())?,
    };
    let action = Action {
        topic_index: value("topic_index", view.param("topic_index")?.to_u32())?,
        idle_timeout: view.idle_timeout,
    };
    Ok(Some((key, action)))
}
