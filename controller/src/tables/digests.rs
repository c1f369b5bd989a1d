//! The two digests: how they are delivered, and what they say.

use std::net::IpAddr;
use std::time::Duration;

use p4runtime::p4info::{EntityError, P4Info};
use p4runtime::v1;

use super::{Key, Mac, Value, value};

/// Which digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `mac_learned_t`: a frame from a station unknown at its port.
    Mac,
    /// `endpoint_learned_t`: a packet of the broker to a client whose place is unknown.
    Endpoint,
    /// `endpoint_v6_learned_t`: the same over IPv6.
    EndpointV6,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Mac, Kind::Endpoint, Kind::EndpointV6];

    /// Name of the digest.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mac => "mac_learned_t",
            Kind::Endpoint => "endpoint_learned_t",
            Kind::EndpointV6 => "endpoint_v6_learned_t",
        }
    }
}

/// How the switch gathers digest messages into lists (P4Runtime specification, "DigestEntry").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// A message waits no longer than this for others.
    pub max_timeout: Duration,
    /// A list has no more messages than this.
    pub max_list_size: i32,
    /// Until a list is acknowledged, or this has passed, its messages are not repeated.
    pub ack_timeout: Duration,
}

/// What a digest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// A station at a port.
    Mac {
        /// The station.
        mac: Mac,
        /// The VLAN whose tag its frames carry; 0 for none.
        vid: u16,
        /// Its port.
        port: u16,
    },
    /// The broker speaks to a client.
    Endpoint {
        /// The broker's port.
        port: u16,
        /// The VLAN whose tag the frame carries; 0 for none.
        vid: u16,
        /// The broker's Ethernet address.
        eth_src: Mac,
        /// The client's Ethernet address, or its router's.
        eth_dst: Mac,
        /// The service's address.
        ip_src: IpAddr,
        /// The client's address.
        ip_dst: IpAddr,
    },
}

pub(crate) fn encode(
    p4info: &P4Info,
    kind: Kind,
    delivery: Option<&Delivery>,
) -> Result<v1::Entity, EntityError> {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Ok(v1::DigestEntry {
        digest_id: p4info.digest(kind.name())?.id,
        config: delivery.map(|delivery| v1::digest_entry::Config {
            max_timeout_ns: nanos(delivery.max_timeout),
            max_list_size: delivery.max_list_size,
            ack_timeout_ns: nanos(delivery.ack_timeout),
        }),
    }
    .into())
}

fn kind_of(p4info: &P4Info, id: u32) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| {
        p4info
            .digest(kind.name())
            .is_ok_and(|digest| digest.id == id)
    })
}

pub(crate) fn decode(p4info: &P4Info, entry: &v1::DigestEntry) -> Option<(Key, Value)> {
    let config = entry.config.as_ref()?;
    let nanos = |value: i64| Duration::from_nanos(u64::try_from(value).unwrap_or(0));
    let delivery = Delivery {
        max_timeout: nanos(config.max_timeout_ns),
        max_list_size: config.max_list_size,
        ack_timeout: nanos(config.ack_timeout_ns),
    };
    let kind = kind_of(p4info, entry.digest_id)?;
    Some((Key::Digest(kind), Value::Digest(delivery)))
}

/// What a digest list says; nothing, for a digest of others.
///
/// # Errors
/// When the list contradicts P4Info.
pub fn learned(p4info: &P4Info, list: &v1::DigestList) -> Result<Vec<Learned>, EntityError> {
    let Some(kind) = kind_of(p4info, list.digest_id) else {
        return Ok(Vec::new());
    };
    let messages = p4info.digest(kind.name())?.decode(list)?;
    messages
        .iter()
        .map(|message| {
            let mac =
                |name: &str| Ok::<_, EntityError>(Mac(value(name, message.get(name)?.to_mac())?));
            let port = value("port", message.get("port")?.to_u16())?;
            let vid = value("vid", message.get("vid")?.to_u16())?;
            let ip = |name: &str| super::ip(message.get(name)?, kind == Kind::EndpointV6);
            Ok(match kind {
                Kind::Mac => Learned::Mac {
                    mac: mac("mac")?,
                    vid,
                    port,
                },
                Kind::Endpoint | Kind::EndpointV6 => Learned::Endpoint {
                    port,
                    vid,
                    eth_src: mac("eth_src")?,
                    eth_dst: mac("eth_dst")?,
                    ip_src: ip("ip_src")?,
                    ip_dst: ip("ip_dst")?,
                },
            })
        })
        .collect()
}
