//! `subscriber`: how a copy is addressed, by its replication id.

use std::net::IpAddr;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::{Mac, value};

/// Full name of the table.
pub const NAME: &str = "MqttsnEgress.subscriber";

/// A replication id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `egress_rid`, from `RID_FIRST` to `RID_LAST`.
    pub rid: u16,
}

/// `deliver`, `deliver_v6`, or one of the two with `_tagged`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The Ethernet address by which the client calls the broker.
    pub eth_src: Mac,
    /// The client's Ethernet address, or its router's.
    pub eth_dst: Mac,
    /// The VLAN whose tag the copy carries; 0 for none.
    pub vid: u16,
    /// The broker's address, of the client's family.
    pub ip_src: IpAddr,
    /// The client's address.
    pub ip_dst: IpAddr,
    /// The broker's UDP port.
    pub udp_src: u16,
    /// The client's UDP port.
    pub udp_dst: u16,
}

impl Action {
    fn name(&self) -> &'static str {
        match (self.ip_dst, self.vid) {
            (IpAddr::V4(_), 0) => "deliver",
            (IpAddr::V4(_), _) => "deliver_tagged",
            (IpAddr::V6(_), 0) => "deliver_v6",
            (IpAddr::V6(_), _) => "deliver_v6_tagged",
        }
    }
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info.table(NAME)?.entry().exact("rid", key.rid)?;
    let Some(action) = action else {
        return entry.build_key();
    };
    let entry = entry
        .action(action.name())?
        .param("eth_src", action.eth_src.0)?
        .param("eth_dst", action.eth_dst.0)?
        .param("ip_src", action.ip_src)?
        .param("ip_dst", action.ip_dst)?
        .param("udp_src", action.udp_src)?
        .param("udp_dst", action.udp_dst)?;
    match action.vid {
        0 => entry.build(),
        vid => entry.param("vid", vid)?.build(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        rid: value("rid", view.exact("rid")?.to_u16())?,
    };
    let (v6, tagged) = match view.action_name() {
        Some("MqttsnEgress.deliver_tagged") => (false, true),
        Some("MqttsnEgress.deliver_v6") => (true, false),
        Some("MqttsnEgress.deliver_v6_tagged") => (true, true),
        _ => (false, false),
    };
    let action = Action {
        eth_src: Mac(value("eth_src", view.param("eth_src")?.to_mac())?),
        eth_dst: Mac(value("eth_dst", view.param("eth_dst")?.to_mac())?),
        vid: match tagged {
            true => value("vid", view.param("vid")?.to_u16())?,
            false => 0,
        },
        ip_src: super::ip(view.param("ip_src")?, v6)?,
        ip_dst: super::ip(view.param("ip_dst")?, v6)?,
        udp_src: value("udp_src", view.param("udp_src")?.to_u16())?,
        udp_dst: value("udp_dst", view.param("udp_dst")?.to_u16())?,
    };
    Ok(Some((key, action)))
}
