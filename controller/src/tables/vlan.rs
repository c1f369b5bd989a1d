//! `vlan`: which ports a VLAN has. One without rows has all of them.

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::value;

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.vlan";

/// A VLAN at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The VLAN, from 1 to 4094.
    pub vid: u16,
    /// The port that its frames come from.
    pub ingress_port: u16,
}

/// What becomes of such frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The port is in the VLAN.
    Member {
        /// The multicast group of the VLAN's ports.
        flood_group: u16,
    },
    /// It is not: they are dropped.
    Refuse,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(NAME)?
        .entry()
        .exact("vid", key.vid)?
        .exact("ingress_port", key.ingress_port)?;
    match action {
        Some(Action::Member { flood_group }) => entry
            .action("member")?
            .param("flood_group", *flood_group)?
            .build(),
        Some(Action::Refuse) => entry.action("refuse")?.build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        vid: value("vid", view.exact("vid")?.to_u16())?,
        ingress_port: value("ingress_port", view.exact("ingress_port")?.to_u16())?,
    };
    let action = match view.action_name() {
        Some("MqttsnIngress.refuse") => Action::Refuse,
        _ => Action::Member {
            flood_group: value("flood_group", view.param("flood_group")?.to_u16())?,
        },
    };
    Ok(Some((key, action)))
}
