//! `answer` and `answer_v6`: whence the broker's own packets come. Clients' places are learned from them.

use std::net::IpAddr;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::{of_family, value};

/// Full name of the table of IPv4 addresses.
pub const NAME: &str = "MqttsnIngress.answer";
/// Full name of the table of IPv6 addresses.
pub const NAME_V6: &str = "MqttsnIngress.answer_v6";

/// One address of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its IP address.
    pub ip_src: IpAddr,
    /// Its UDP port.
    pub udp_src: u16,
}

impl Key {
    /// Full name of the table that the row is in.
    pub fn table(&self) -> &'static str {
        of_family(self.ip_src, NAME, NAME_V6)
    }
}

/// `answers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The port that is believed, or `ANY_PORT`.
    pub port: u16,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(key.table())?
        .entry()
        .exact("ip_src", key.ip_src)?
        .exact("udp_src", key.udp_src)?;
    match action {
        Some(action) => entry.action("answers")?.param("port", action.port)?.build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        ip_src: super::ip(view.exact("ip_src")?, view.table.name == NAME_V6)?,
        udp_src: value("udp_src", view.exact("udp_src")?.to_u16())?,
    };
    let action = Action {
        port: value("port", view.param("port")?.to_u16())?,
    };
    Ok(Some((key, action)))
}
