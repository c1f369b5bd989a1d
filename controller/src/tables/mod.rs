//! Everything that the controller writes to a switch, typed: one file per P4 table (tables of the two
//! families of IP are one here), and one each for the replication engine, the meters and the digests.
//!
//! A [`Key`] names one row, a [`Value`] is what it holds; each file converts its own to and from
//! P4Runtime entities, by the names in the P4 program.

pub mod answer;
pub mod digests;
pub mod dmac;
pub mod endpoint;
pub mod meters;
pub mod open_publication;
pub mod publication;
pub mod replication;
pub mod service;
pub mod share;
pub mod smac;
pub mod subscriber;
pub mod subscriber_alias;
pub mod topic;
pub mod vlan;

use std::fmt;
use std::net::IpAddr;

use p4runtime::bytes::Bitstring;
use p4runtime::p4info::{EntityError, P4Info};
use p4runtime::v1;

pub use meters::Rate;
pub use replication::{Replica, Replicas};

use crate::constants::{GROUP_FIRST, GROUP_LAST};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one row on the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// How a digest is delivered.
    Digest(digests::Kind),
    /// A clone session.
    CloneSession(u32),
    /// A multicast group.
    Group(u16),
    /// The cell of a port's meter.
    Meter(meters::Kind, u16),
    /// A row of `vlan`.
    Vlan(vlan::Key),
    /// A row of `smac`.
    Smac(smac::Key),
    /// A row of `dmac`.
    Dmac(dmac::Key),
    /// A row of `service` or `service_v6`.
    Service(service::Key),
    /// A row of `answer` or `answer_v6`.
    Answer(answer::Key),
    /// A row of `endpoint` or `endpoint_v6`.
    Endpoint(endpoint::Key),
    /// A row of `subscriber`.
    Subscriber(subscriber::Key),
    /// A row of `subscriber_alias`.
    SubscriberAlias(subscriber_alias::Key),
    /// A row of `topic`.
    Topic(topic::Key),
    /// A row of `publication` or `publication_v6`.
    Publication(publication::Key),
    /// A member of the selector of share groups.
    ShareMember(u32),
    /// A group of that selector; its number is the topic's index.
    ShareGroup(u32),
    /// A row of `shared_topic`.
    SharedTopic(topic::Key),
    /// A row of `open_publication`.
    OpenPublication(open_publication::Key),
}

/// What a row holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a digest.
    Digest(digests::Delivery),
    /// Of a multicast group or a clone session.
    Replicas(Replicas),
    /// Of a meter.
    Rate(meters::Rate),
    /// Of `vlan`.
    Vlan(vlan::Action),
    /// Of `smac`.
    Smac(smac::Action),
    /// Of `dmac`.
    Dmac(dmac::Action),
    /// Of `service`.
    Service(service::Action),
    /// Of `answer`.
    Answer(answer::Action),
    /// Of `endpoint`.
    Endpoint(endpoint::Action),
    /// Of `subscriber`.
    Subscriber(subscriber::Action),
    /// Of `subscriber_alias`.
    SubscriberAlias(subscriber_alias::Action),
    /// Of `topic`.
    Topic(topic::Action),
    /// Of `publication`.
    Publication(publication::Action),
    /// Of a member of the selector of share groups.
    ShareMember(topic::Offload),
    /// Of a group of that selector.
    ShareGroup(share::Members),
    /// Of `shared_topic`: the group.
    SharedTopic(u32),
    /// Of `open_publication`.
    OpenPublication(open_publication::Action),
}

impl Value {
    /// How many replicas it holds: what makes some rows so much longer than others.
    pub(crate) fn replicas(&self) -> usize {
        match self {
            Value::Replicas(replicas) => replicas.len(),
            _ => 0,
        }
    }
}

/// What messages call the multicast groups.
pub const GROUPS: &str = "multicast group";

/// The tables whose rows are the controller's own: unknown rows in them are removed.
pub const TABLES: [&str; 16] = [
    vlan::NAME,
    smac::NAME,
    dmac::NAME,
    service::NAME,
    service::NAME_V6,
    answer::NAME,
    answer::NAME_V6,
    endpoint::NAME,
    endpoint::NAME_V6,
    subscriber::NAME,
    subscriber_alias::NAME,
    topic::NAME,
    share::NAME,
    publication::NAME,
    publication::NAME_V6,
    open_publication::NAME,
];

impl Key {
    /// The name of the P4 table, or of what else the row is part of.
    pub fn table(&self) -> &'static str {
        match self {
            Key::Digest(_) => "digest",
            Key::CloneSession(_) => "clone session",
            Key::Group(_) => GROUPS,
            Key::Meter(kind, _) => kind.name(),
            Key::Vlan(_) => vlan::NAME,
            Key::Smac(_) => smac::NAME,
            Key::Dmac(_) => dmac::NAME,
            Key::Service(key) => key.table(),
            Key::Answer(key) => key.table(),
            Key::Endpoint(key) => key.table(),
            Key::Subscriber(_) => subscriber::NAME,
            Key::SubscriberAlias(_) => subscriber_alias::NAME,
            Key::Topic(_) => topic::NAME,
            Key::ShareMember(_) => share::MEMBERS,
            Key::ShareGroup(_) => share::GROUPS,
            Key::SharedTopic(_) => share::NAME,
            Key::Publication(key) => key.table(),
            Key::OpenPublication(_) => open_publication::NAME,
        }
    }

    /// Whether the row follows from the broker's intent, and not from what was learned.
    pub fn of_intent(&self) -> bool {
        match self {
            Key::Group(group) => (GROUP_FIRST..=GROUP_LAST).contains(group),
            Key::Service(_)
            | Key::Answer(_)
            | Key::Subscriber(_)
            | Key::SubscriberAlias(_)
            | Key::Topic(_)
            | Key::ShareMember(_)
            | Key::ShareGroup(_)
            | Key::SharedTopic(_)
            | Key::Publication(_)
            | Key::OpenPublication(_) => true,
            Key::Digest(_)
            | Key::CloneSession(_)
            | Key::Meter(..)
            | Key::Vlan(_)
            | Key::Smac(_)
            | Key::Dmac(_)
            | Key::Endpoint(_) => false,
        }
    }
}

/// The entity of a row, for INSERT and MODIFY; without a value, its key alone, for DELETE.
///
/// # Errors
/// When P4Info lacks something, or a value does not fit it.
pub fn encode(
    p4info: &P4Info,
    key: &Key,
    value: Option<&Value>,
) -> Result<v1::Entity, EntityError> {
    macro_rules! row {
        ($($kind:ident: $table:ident),*) => {
            match (key, value) {
                $(
                    (Key::$kind(key), Some(Value::$kind(value))) => {
                        table_entry($table::encode(p4info, key, Some(value))?)
                    }
                    (Key::$kind(key), None) => table_entry($table::encode(p4info, key, None)?),
                )*
                (Key::Digest(kind), Some(Value::Digest(delivery))) => {
                    digests::encode(p4info, *kind, Some(delivery))?
                }
                (Key::Digest(kind), _) => digests::encode(p4info, *kind, None)?,
                (Key::CloneSession(id), Some(Value::Replicas(replicas))) => {
                    replication::encode_session(*id, replicas)
                }
                (Key::CloneSession(id), _) => replication::encode_session(*id, &[]),
                (Key::Meter(kind, port), Some(Value::Rate(rate))) => {
                    meters::encode(p4info, *kind, *port, Some(*rate))?
                }
                (Key::Meter(kind, port), _) => meters::encode(p4info, *kind, *port, None)?,
                (Key::Group(id), Some(Value::Replicas(replicas))) => {
                    replication::encode_group(*id, replicas)
                }
                (Key::Group(id), _) => replication::encode_group(*id, &[]),
                (Key::ShareMember(id), Some(Value::ShareMember(offload))) => {
                    share::encode_member(p4info, *id, Some(offload))?
                }
                (Key::ShareMember(id), None) => share::encode_member(p4info, *id, None)?,
                (Key::ShareGroup(id), Some(Value::ShareGroup(members))) => {
                    share::encode_group(p4info, *id, members)?
                }
                (Key::ShareGroup(id), None) => share::encode_group(p4info, *id, &[])?,
                (Key::SharedTopic(key), Some(Value::SharedTopic(group))) => {
                    table_entry(share::encode_topic(p4info, key, Some(*group))?)
                }
                (Key::SharedTopic(key), None) => {
                    table_entry(share::encode_topic(p4info, key, None)?)
                }
                (key, Some(value)) => {
                    return Err(EntityError::Unset {
                        owner: format!("a row of {} with the value {value:?}", key.table()),
                        what: "its own kind of value",
                    });
                }
            }
        };
    }
    Ok(row!(
        Vlan: vlan,
        Smac: smac,
        Dmac: dmac,
        Service: service,
        Answer: answer,
        Endpoint: endpoint,
        Subscriber: subscriber,
        SubscriberAlias: subscriber_alias,
        Topic: topic,
        Publication: publication,
        OpenPublication: open_publication
    ))
}

fn table_entry(entry: v1::TableEntry) -> v1::Entity {
    entry.into()
}

/// The row that an entity read from the switch is; `None` for one that is not the controller's.
///
/// # Errors
/// When the entity contradicts P4Info.
pub fn decode(p4info: &P4Info, entity: v1::Entity) -> Result<Option<(Key, Value)>, EntityError> {
    use v1::entity::Entity;
    let entry = match entity.entity {
        Some(Entity::TableEntry(entry)) if !entry.is_default_action => entry,
        Some(Entity::PacketReplicationEngineEntry(entry)) => return Ok(replication::decode(entry)),
        Some(Entity::MeterEntry(entry)) => return Ok(meters::decode(p4info, &entry)),
        Some(Entity::DigestEntry(entry)) => return Ok(digests::decode(p4info, &entry)),
        Some(Entity::ActionProfileMember(member)) => {
            return share::decode_member(p4info, &member);
        }
        Some(Entity::ActionProfileGroup(group)) => return share::decode_group(p4info, &group),
        _ => return Ok(None),
    };
    let view = p4info.decode_entry(&entry)?;
    if view.table.name == share::NAME {
        let row = share::decode_topic(&view)?;
        return Ok(row.map(|(key, group)| (Key::SharedTopic(key), Value::SharedTopic(group))));
    }
    macro_rules! row {
        ($($name:pat => $kind:ident of $table:ident),*) => {
            match view.table.name.as_str() {
                $($name => $table::decode(&view)?
                    .map(|(key, value)| (Key::$kind(key), Value::$kind(value))),)*
                _ => None,
            }
        };
    }
    Ok(row!(
        vlan::NAME => Vlan of vlan,
        smac::NAME => Smac of smac,
        dmac::NAME => Dmac of dmac,
        service::NAME | service::NAME_V6 => Service of service,
        answer::NAME | answer::NAME_V6 => Answer of answer,
        endpoint::NAME | endpoint::NAME_V6 => Endpoint of endpoint,
        subscriber::NAME => Subscriber of subscriber,
        subscriber_alias::NAME => SubscriberAlias of subscriber_alias,
        topic::NAME => Topic of topic,
        publication::NAME | publication::NAME_V6 => Publication of publication,
        open_publication::NAME => OpenPublication of open_publication
    ))
}

/// The key of a table entry whose action may be missing, as in an idle timeout notification.
pub(crate) fn idle_row(
    p4info: &P4Info,
    entry: &v1::TableEntry,
) -> Result<Option<smac::Key>, EntityError> {
    let view = p4info.decode_entry(entry)?;
    if view.table.name == smac::NAME {
        smac::key_of(&view).map(Some)
    } else {
        Ok(None)
    }
}

/// One of two, by the family of an address.
pub(crate) fn of_family<T>(address: IpAddr, v4: T, v6: T) -> T {
    match address {
        IpAddr::V4(_) => v4,
        IpAddr::V6(_) => v6,
    }
}

/// An address of the family that its field has.
pub(crate) fn ip(bits: &Bitstring, v6: bool) -> Result<IpAddr, EntityError> {
    let address = match v6 {
        true => bits.to_ipv6().map(IpAddr::V6),
        false => bits.to_ipv4().map(IpAddr::V4),
    };
    value("an IP address", address)
}

/// Narrows a value that P4Info allows to be wider than the controller's type for it.
pub(crate) fn value<T>(
    field: &str,
    value: Result<T, p4runtime::bytes::BytesError>,
) -> Result<T, EntityError> {
    value.map_err(|source| EntityError::Value {
        field: field.to_owned(),
        source,
    })
}
