//! `smac`: source addresses that need no learning any more.

use std::time::Duration;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::{Mac, value};
use crate::learning::Station;

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.smac";

/// A station and the port behind which it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its address.
    pub eth_src: Mac,
    /// The VLAN whose tag its frames carry; 0 for none.
    pub vid: u16,
    /// Its port.
    pub ingress_port: u16,
}

impl Key {
    /// The station.
    pub fn station(&self) -> Station {
        Station {
            mac: self.eth_src,
            vid: self.vid,
        }
    }
}

/// `mac_known`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// After this long without a frame the switch says so; zero is never.
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
        .exact("eth_src", key.eth_src.0)?
        .exact("vid", key.vid)?
        .exact("ingress_port", key.ingress_port)?;
    match action {
        Some(action) => entry
            .action("mac_known")?
            .idle_timeout(action.idle_timeout)
            .build(),
        None => entry.build_key(),
    }
}

pub(crate) fn key_of(view: &EntryView<'_>) -> Result<Key, EntityError> {
    Ok(Key {
        eth_src: Mac(value("eth_src", view.exact("eth_src")?.to_mac())?),
        vid: value("vid", view.exact("vid")?.to_u16())?,
        ingress_port: value("ingress_port", view.exact("ingress_port")?.to_u16())?,
    })
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let action = Action {
        idle_timeout: view.idle_timeout,
    };
    Ok(Some((key_of(view)?, action)))
}
