//! `subscriber`: how a copy is addressed, by its replication id.

use std::net::Ipv4Addr;

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

/// `deliver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The Ethernet address by which the client calls the broker.
    pub eth_src: Mac,
    /// The client's Ethernet address, or its router's.
    pub eth_dst: Mac,
    /// The broker's address.
    pub ip_src: Ipv4Addr,
    /// The client's address.
    pub ip_dst: Ipv4Addr,
    /// The broker's UDP port.
    pub udp_src: u16,
    /// The client's UDP port.
    pub udp_dst: u16,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info.table(NAME)?.entry().exact("rid", key.rid)?;
    match action {
        Some(action) => entry
            .action("deliver")?
            .param("eth_src", action.eth_src.0)?
            .param("eth_dst", action.eth_dst.0)?
            .param("ip_src", action.ip_src)?
            .param("ip_dst", action.ip_dst)?
            .param("udp_src", action.udp_src)?
            .param("udp_dst", action.udp_dst)?
            .build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        rid: value("rid", view.exact("rid")?.to_u16())?,
    };
    let action = Action {
        eth_src: Mac(value("eth_src", view.param("eth_src")?.to_mac())?),
        eth_dst: Mac(value("eth_dst", view.param("eth_dst")?.to_mac())?),
        ip_src: value("ip_src", view.param("ip_src")?.to_ipv4())?,
        ip_dst: value("ip_dst", view.param("ip_dst")?.to_ipv4())?,
        udp_src: value("udp_src", view.param("udp_src")?.to_u16())?,
        udp_dst: value("udp_dst", view.param("udp_dst")?.to_u16())?,
    };
    Ok(Some((key, action)))
}
