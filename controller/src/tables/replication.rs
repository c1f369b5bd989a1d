//! The packet replication engine: multicast groups and clone sessions.

use std::sync::Arc;

use p4runtime::bytes::Bitstring;
use p4runtime::v1;
use p4runtime::v1::packet_replication_engine_entry::Type;

use super::{Key, Value};

/// One copy: to a port, marked with a replication id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replica {
    /// The egress port.
    pub port: u16,
    /// `egress_rid`, by which egress knows what to make of the copy.
    pub rid: u16,
}

/// The copies of a group or session, sorted, none twice.
pub type Replicas = Arc<[Replica]>;

/// Sorts replicas into the form in which two sets can be compared.
pub fn replicas(replicas: impl IntoIterator<Item = Replica>) -> Replicas {
    let mut replicas: Vec<Replica> = replicas.into_iter().collect();
    replicas.sort_unstable();
    replicas.dedup();
    replicas.into()
}

fn encode_replicas(replicas: &[Replica]) -> Vec<v1::Replica> {
    replicas
        .iter()
        .map(|replica| v1::Replica {
            port_kind: Some(v1::replica::PortKind::Port(
                Bitstring::from(replica.port).into_bytes(),
            )),
            instance: replica.rid.into(),
            ..Default::default()
        })
        .collect()
}

pub(crate) fn encode_group(id: u16, replicas: &[Replica]) -> v1::Entity {
    v1::MulticastGroupEntry {
        multicast_group_id: id.into(),
        replicas: encode_replicas(replicas),
        ..Default::default()
    }
    .into()
}

pub(crate) fn encode_session(id: u32, replicas: &[Replica]) -> v1::Entity {
    v1::CloneSessionEntry {
        session_id: id,
        replicas: encode_replicas(replicas),
        ..Default::default()
    }
    .into()
}

/// `None` for what the controller could not have written.
fn decode_replicas(entries: &[v1::Replica]) -> Option<Replicas> {
    let decoded = entries
        .iter()
        .map(|replica| {
            let port = match replica.port_kind.as_ref()? {
                v1::replica::PortKind::Port(bytes) => {
                    Bitstring::parse(bytes, 16).ok()?.to_u16().ok()?
                }
                #[allow(deprecated)] // A target may still answer so.
                v1::replica::PortKind::EgressPort(port) => u16::try_from(*port).ok()?,
            };
            let rid = u16::try_from(replica.instance).ok()?;
            Some(Replica { port, rid })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(replicas(decoded))
}

pub(crate) fn decode(entry: v1::PacketReplicationEngineEntry) -> Option<(Key, Value)> {
    match entry.r#type? {
        Type::MulticastGroupEntry(group) => {
            let id = u16::try_from(group.multicast_group_id).ok()?;
            // A group of others' is one of ours all the same: what it holds must be replaced.
            let replicas = decode_replicas(&group.replicas).unwrap_or_else(|| Arc::new([]));
            Some((Key::Group(id), Value::Replicas(replicas)))
        }
        Type::CloneSessionEntry(session) => {
            let replicas = decode_replicas(&session.replicas).unwrap_or_else(|| Arc::new([]));
            Some((
                Key::CloneSession(session.session_id),
                Value::Replicas(replicas),
            ))
        }
    }
}
