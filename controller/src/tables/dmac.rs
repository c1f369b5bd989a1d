//! `dmac`: to which port a frame goes.

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::{Mac, value};
use crate::learning::Station;

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.dmac";

/// A destination address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The address.
    pub eth_dst: Mac,
    /// The VLAN whose tag frames to it carry; 0 for none.
    pub vid: u16,
}

impl Key {
    /// The station.
    pub fn station(&self) -> Station {
        Station {
            mac: self.eth_dst,
            vid: self.vid,
        }
    }
}

/// `forward`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The port behind which the address lives.
    pub port: u16,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(NAME)?
        .entry()
        .exact("eth_dst", key.eth_dst.0)?
        .exact("vid", key.vid)?;
    match action {
        Some(action) => entry.action("forward")?.param("port", action.port)?.build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        eth_dst: Mac(value("eth_dst", view.exact("eth_dst")?.to_mac())?),
        vid: value("vid", view.exact("vid")?.to_u16())?,
    };
    let action = Action {
        port: value("port", view.param("port")?.to_u16())?,
    };
    Ok(Some((key, action)))
}
