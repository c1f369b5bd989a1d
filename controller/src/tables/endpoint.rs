//! `endpoint` and `endpoint_v6`: clients whose place is known, so that their packets cause no digest.

use std::net::IpAddr;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::{Mac, of_family, value};

/// Full name of the table of IPv4 clients.
pub const NAME: &str = "MqttsnIngress.endpoint";
/// Full name of the table of IPv6 clients.
pub const NAME_V6: &str = "MqttsnIngress.endpoint_v6";

/// A client's address and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The port behind which it lives.
    pub ingress_port: u16,
    /// The VLAN whose tag its frames carry; 0 for none.
    pub vid: u16,
    /// Its Ethernet address, or that of its router.
    pub eth_src: Mac,
    /// The Ethernet address by which it calls the broker.
    pub eth_dst: Mac,
    /// Its IP address.
    pub ip_src: IpAddr,
}

impl Key {
    /// Full name of the table that the row is in.
    pub fn table(&self) -> &'static str {
        of_family(self.ip_src, NAME, NAME_V6)
    }
}

/// `endpoint_known`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The address of the broker that the client calls. The program does not need it: it is kept
    /// in the entry's metadata, where a controller that starts anew finds it.
    pub ip_dst: Option<IpAddr>,
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
        .exact("eth_src", key.eth_src.0)?
        .exact("eth_dst", key.eth_dst.0)?
        .exact("ip_src", key.ip_src)?;
    match action {
        Some(action) => {
            let known = of_family(key.ip_src, "endpoint_known", "endpoint_v6_known");
            let entry = entry.action(known)?;
            match action.ip_dst {
                Some(IpAddr::V4(ip_dst)) => entry.metadata(ip_dst.octets()).build(),
                Some(IpAddr::V6(ip_dst)) => entry.metadata(ip_dst.octets()).build(),
                None => entry.build(),
            }
        }
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        ingress_port: value("ingress_port", view.exact("ingress_port")?.to_u16())?,
        vid: value("vid", view.exact("vid")?.to_u16())?,
        eth_src: Mac(value("eth_src", view.exact("eth_src")?.to_mac())?),
        eth_dst: Mac(value("eth_dst", view.exact("eth_dst")?.to_mac())?),
        ip_src: super::ip(view.exact("ip_src")?, view.table.name == NAME_V6)?,
    };
    let metadata = view.metadata.as_slice();
    let ip_dst = match view.table.name == NAME_V6 {
        true => <[u8; 16]>::try_from(metadata).ok().map(IpAddr::from),
        false => <[u8; 4]>::try_from(metadata).ok().map(IpAddr::from),
    };
    let action = Action { ip_dst };
    Ok(Some((key, action)))
}
