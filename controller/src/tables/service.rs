//! `service` and `service_v6`: the broker's addresses.

use std::net::IpAddr;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::{of_family, value};

/// Full name of the table of IPv4 addresses.
pub const NAME: &str = "MqttsnIngress.service";
/// Full name of the table of IPv6 addresses.
pub const NAME_V6: &str = "MqttsnIngress.service_v6";

/// One address of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its IP address.
    pub ip_dst: IpAddr,
    /// Its UDP port.
    pub udp_dst: u16,
}

impl Key {
    /// Full name of the table that the row is in.
    pub fn table(&self) -> &'static str {
        of_family(self.ip_dst, NAME, NAME_V6)
    }
}

/// `serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The longest IP packet (octets) that the port towards the broker carries.
    pub max_length: u16,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(key.table())?
        .entry()
        .exact("ip_dst", key.ip_dst)?
        .exact("udp_dst", key.udp_dst)?;
    match action {
        Some(action) => entry
            .action(of_family(key.ip_dst, "serve", "serve_v6"))?
            .param("max_length", action.max_length)?
            .build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        ip_dst: super::ip(view.exact("ip_dst")?, view.table.name == NAME_V6)?,
        udp_dst: value("udp_dst", view.exact("udp_dst")?.to_u16())?,
    };
    let action = Action {
        max_length: value("max_length", view.param("max_length")?.to_u16())?,
    };
    Ok(Some((key, action)))
}
