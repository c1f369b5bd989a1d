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
///
/// Cheap to clone, to hash and, where they differ, to compare, however many they are.
#[derive(Clone)]
pub struct Replicas {
    set: Arc<[Replica]>,
    /// Of what each replica is mixed to: it follows a change without a look at the rest.
    sum: u64,
}

impl Replicas {
    /// This set without `out` and with `add`.
    #[must_use]
    pub fn changed(&self, out: &[Replica], add: &[Replica]) -> Self {
        let mut add = add.to_vec();
        add.sort_unstable();
        add.dedup();
        let mut sum = self.sum;
        let mut set = Vec::with_capacity(self.set.len() + add.len());
        let mut add = add.into_iter().peekable();
        for &replica in &*self.set {
            while let Some(new) = add.next_if(|new| *new < replica) {
                sum = sum.wrapping_add(mixed(new));
                set.push(new);
            }
            let again = add.next_if_eq(&replica).is_some();
            if !again && out.contains(&replica) {
                sum = sum.wrapping_sub(mixed(replica));
            } else {
                set.push(replica);
            }
        }
        for new in add {
            sum = sum.wrapping_add(mixed(new));
            set.push(new);
        }
        let set = set.into();
        Self { set, sum }
    }

    /// Whether the replica is one of them.
    pub fn has(&self, replica: Replica) -> bool {
        self.set.binary_search(&replica).is_ok()
    }
}

/// The finalizer of SplitMix64: one bit of difference changes half of the result.
fn mixed(replica: Replica) -> u64 {
    let mut x = u64::from(replica.port) << 16 | u64::from(replica.rid);
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Default for Replicas {
    fn default() -> Self {
        replicas([])
    }
}

impl std::ops::Deref for Replicas {
    type Target = [Replica];
    fn deref(&self) -> &[Replica] {
        &self.set
    }
}

impl PartialEq for Replicas {
    fn eq(&self, other: &Self) -> bool {
        self.sum == other.sum && (Arc::ptr_eq(&self.set, &other.set) || self.set == other.set)
    }
}

impl Eq for Replicas {}

impl std::hash::Hash for Replicas {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.sum);
    }
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.set.fmt(f)
    }
}

/// Sorts replicas into the form in which two sets can be compared.
pub fn replicas(replicas: impl IntoIterator<Item = Replica>) -> Replicas {
    let mut set: Vec<Replica> = replicas.into_iter().collect();
    set.sort_unstable();
    set.dedup();
    let sum = set
        .iter()
        .fold(0, |sum: u64, replica| sum.wrapping_add(mixed(*replica)));
    let set = set.into();
    Replicas { set, sum }
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
            let replicas = decode_replicas(&group.replicas).unwrap_or_else(|| replicas([]));
            Some((Key::Group(id), Value::Replicas(replicas)))
        }
        Type::CloneSessionEntry(session) => {
            let replicas = decode_replicas(&session.replicas).unwrap_or_else(|| replicas([]));
            Some((
                Key::CloneSession(session.session_id),
                Value::Replicas(replicas),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_set_is_the_set_made_anew() {
        let at = |rid| Replica { port: rid % 3, rid };
        let all = |rids: &[u16]| replicas(rids.iter().map(|&rid| at(rid)));
        let before = all(&[1, 4, 6, 9]);
        let after = before.changed(&[at(4), at(7)], &[at(9), at(2), at(30), at(2)]);
        assert_eq!(after, all(&[1, 2, 6, 9, 30]));
        assert_eq!(after.sum, all(&[1, 2, 6, 9, 30]).sum);
        assert_ne!(after, before);
        assert_eq!(before.changed(&[at(4)], &[at(4)]), before);
    }
}
