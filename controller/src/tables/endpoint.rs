//! `endpoint` and `endpoint_v6`: clients whose place is known, so that what the broker sends them
//! causes no digest.

use std::net::IpAddr;

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::{Mac, of_family, value};
use crate::constants::ANY_PORT;

/// Full name of the table of IPv4 clients.
pub const NAME: &str = "MqttsnIngress.endpoint";
/// Full name of the table of IPv6 clients.
pub const NAME_V6: &str = "MqttsnIngress.endpoint_v6";

/// A client's address, and how the broker's host addresses frames for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The VLAN whose tag the frames carry; 0 for none.
    pub vid: u16,
    /// The broker's Ethernet address there.
    pub eth_src: Mac,
    /// The client's Ethernet address, or that of its router.
    pub eth_dst: Mac,
    /// Its IP address.
    pub ip_dst: IpAddr,
}

impl Key {
    /// Full name of the table that the row is in.
    pub fn table(&self) -> &'static str {
        of_family(self.ip_dst, NAME, NAME_V6)
    }
}

/// `endpoint_known`. The program needs none of it: it is kept in the entry's metadata, where a
/// controller that starts anew finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The address from which the broker speaks to the client.
    pub ip_src: Option<IpAddr>,
    /// The port behind which the client was seen last; `ANY_PORT` where a row does not say.
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
        .exact("vid", key.vid)?
        .exact("eth_src", key.eth_src.0)?
        .exact("eth_dst", key.eth_dst.0)?
        .exact("ip_dst", key.ip_dst)?;
    match action {
        Some(action) => {
            let known = of_family(key.ip_dst, "endpoint_known", "endpoint_v6_known");
            let mut metadata = action.port.to_be_bytes().to_vec();
            match action.ip_src {
                Some(IpAddr::V4(ip_src)) => metadata.extend(ip_src.octets()),
                Some(IpAddr::V6(ip_src)) => metadata.extend(ip_src.octets()),
                None => {}
            }
            entry.action(known)?.metadata(metadata).build()
        }
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let v6 = view.table.name == NAME_V6;
    let key = Key {
        vid: value("vid", view.exact("vid")?.to_u16())?,
        eth_src: Mac(value("eth_src", view.exact("eth_src")?.to_mac())?),
        eth_dst: Mac(value("eth_dst", view.exact("eth_dst")?.to_mac())?),
        ip_dst: super::ip(view.exact("ip_dst")?, v6)?,
    };
    let (port, ip_src) = match view.metadata.as_slice() {
        [high, low, ip_src @ ..] => (Some(u16::from_be_bytes([*high, *low])), ip_src),
        _ => (None, &[][..]),
    };
    let ip_src = match v6 {
        true => <[u8; 16]>::try_from(ip_src).ok().map(IpAddr::from),
        false => <[u8; 4]>::try_from(ip_src).ok().map(IpAddr::from),
    };
    let action = Action {
        ip_src,
        port: port.unwrap_or(ANY_PORT),
    };
    Ok(Some((key, action)))
}
