//! `endpoint`: clients whose place is known, so that their packets cause no digest.

use std::net::Ipv4Addr;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::{Mac, value};

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.endpoint";

/// A client's address and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The port behind which it lives.
    pub ingress_port: u16,
    /// Its Ethernet address, or that of its router.
    pub eth_src: Mac,
    /// The Ethernet address by which it calls the broker.
    pub eth_dst: Mac,
    /// Its IPv4 address.
    pub ip_src: Ipv4Addr,
}

/// `endpoint_known`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The address of the broker that the client calls. The program does not need it: it is kept
    /// in the entry's metadata, where a controller that starts anew finds it.
    pub ip_dst: Option<Ipv4Addr>,
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
        .exact("eth_src", key.eth_src.0)?
        .exact("eth_dst", key.eth_dst.0)?
        .exact("ip_src", key.ip_src)?;
    match action {
        Some(action) => {
            let entry = entry.action("endpoint_known")?;
            match action.ip_dst {
                Some(ip_dst) => entry.metadata(ip_dst.octets()).build(),
                None => entry.build(),
            }
        }
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        ingress_port: value("ingress_port", view.exact("ingress_port")?.to_u16())?,
        eth_src: Mac(value("eth_src", view.exact("eth_src")?.to_mac())?),
        eth_dst: Mac(value("eth_dst", view.exact("eth_dst")?.to_mac())?),
        ip_src: value("ip_src", view.exact("ip_src")?.to_ipv4())?,
    };
    let octets: Option<[u8; 4]> = view.metadata.as_slice().try_into().ok();
    let action = Action {
        ip_dst: octets.map(Ipv4Addr::from),
    };
    Ok(Some((key, action)))
}
