//! `publication` and `publication_v6`: who may publish what, from where. The presence of a row is the permission.

use std::net::IpAddr;
use std::time::Duration;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::meters::Rate;
use super::{of_family, value};
use crate::constants::TOPIC_PARKED;

/// Full name of the table of IPv4 publishers.
pub const NAME: &str = "MqttsnIngress.publication";
/// Full name of the table of IPv6 publishers.
pub const NAME_V6: &str = "MqttsnIngress.publication_v6";

/// One (client, alias), bound to the port and VLAN behind which the client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The client's port of the switch.
    pub ingress_port: u16,
    /// The VLAN whose tag its frames carry; 0 for none.
    pub vid: u16,
    /// Its IP address.
    pub ip_src: IpAddr,
    /// Its UDP port.
    pub udp_src: u16,
    /// The TopicIdType bits.
    pub topic_id_type: u8,
    /// The TopicId.
    pub topic_id: u16,
}

impl Key {
    /// Full name of the table that the row is in.
    pub fn table(&self) -> &'static str {
        of_family(self.ip_src, NAME, NAME_V6)
    }
}

/// `admit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The topic that it publishes to.
    pub topic_index: u32,
    /// Not to age the row, but because BMv2 tells the time since the last hit only of rows with a
    /// timeout; so it is longer than anybody asks back.
    pub idle_timeout: Duration,
    /// What may be published so; more is dropped. `None`: anything.
    pub rate: Option<Rate>,
}

impl Action {
    /// Whether the row leads to no topic, so that what hits it takes the software path.
    pub fn is_parked(&self) -> bool {
        self.topic_index == TOPIC_PARKED
    }
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(key.table())?
        .entry()
        .exact("ingress_port", key.ingress_port)?
        .exact("vid", key.vid)?
        .exact("ip_src", key.ip_src)?
        .exact("udp_src", key.udp_src)?
        .exact("topic_id_type", key.topic_id_type)?
        .exact("topic_id", key.topic_id)?;
    match action {
        Some(action) => {
            let entry = entry
                .action(of_family(key.ip_src, "admit", "admit_v6"))?
                .param("topic_index", action.topic_index)?
                .idle_timeout(action.idle_timeout);
            match action.rate {
                Some(rate) => entry.meter_config(rate.config()).build(),
                None => entry.build(),
            }
        }
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let [topic_id_type] = value("topic_id_type", view.exact("topic_id_type")?.to_array())?;
    let key = Key {
        ingress_port: value("ingress_port", view.exact("ingress_port")?.to_u16())?,
        vid: value("vid", view.exact("vid")?.to_u16())?,
        ip_src: super::ip(view.exact("ip_src")?, view.table.name == NAME_V6)?,
        udp_src: value("udp_src", view.exact("udp_src")?.to_u16())?,
        topic_id_type,
        topic_id: value("topic_id", view.exact("topic_id")?.to_u16())?,
    };
    let action = Action {
        topic_index: value("topic_index", view.param("topic_index")?.to_u32())?,
        idle_timeout: view.idle_timeout,
        rate: view.meter_config.as_ref().and_then(Rate::of),
    };
    Ok(Some((key, action)))
}
