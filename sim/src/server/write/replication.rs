//! Multicast groups and clone sessions (P4Runtime specification, "PacketReplicationEngineEntry").

use p4runtime::v1;
use p4runtime::v1::replica::PortKind;
use p4runtime::v1::update::Type;

use super::Batch;
use crate::control::{CloneSession, MulticastGroup, Replica};
use crate::server::convert::port_from_wire;
use crate::server::errors::{Outcome, Refusal};

impl Batch<'_> {
    pub(super) fn multicast_group(
        &mut self,
        kind: Type,
        entry: &v1::MulticastGroupEntry,
    ) -> Outcome {
        let id = u16::try_from(entry.multicast_group_id)
            .ok()
            .filter(|&id| id != 0)
            .ok_or_else(|| {
                Refusal::invalid(format!(
                    "multicast_group_id {} is not within 1 and 65535",
                    entry.multicast_group_id
                ))
            })?;
        if kind == Type::Delete {
            self.changes.delete_multicast_group(id)?;
            self.notes.numbered_groups.remove(&id);
            return Ok(());
        }
        let (replicas, numbered) = replicas(&entry.replicas)?;
        let group = MulticastGroup {
            replicas,
            metadata: entry.metadata.clone(),
        };
        if kind == Type::Insert {
            self.changes.insert_multicast_group(id, group)?;
        } else {
            self.changes.modify_multicast_group(id, group)?;
        }
        note(&mut self.notes.numbered_groups, id, numbered);
        Ok(())
    }

    pub(super) fn clone_session(&mut self, kind: Type, entry: &v1::CloneSessionEntry) -> Outcome {
        let id = entry.session_id;
        if id == 0 {
            return Err(Refusal::invalid("session_id must not be 0"));
        }
        if kind == Type::Delete {
            self.changes.delete_clone_session(id)?;
            self.notes.numbered_sessions.remove(&id);
            return Ok(());
        }
        let (replicas, numbered) = replicas(&entry.replicas)?;
        let packet_length_bytes = u32::try_from(entry.packet_length_bytes).map_err(|_| {
            Refusal::invalid(format!(
                "packet_length_bytes {} is negative",
                entry.packet_length_bytes
            ))
        })?;
        let session = CloneSession {
            replicas,
            packet_length_bytes,
            class_of_service: entry.class_of_service,
        };
        if kind == Type::Insert {
            self.changes.insert_clone_session(id, session)?;
        } else {
            self.changes.modify_clone_session(id, session)?;
        }
        note(&mut self.notes.numbered_sessions, id, numbered);
        Ok(())
    }
}

fn note<T: std::hash::Hash + Eq>(notes: &mut std::collections::HashSet<T>, id: T, numbered: bool) {
    if numbered {
        notes.insert(id);
    } else {
        notes.remove(&id);
    }
}

/// The replicas, and whether their ports were given as numbers.
fn replicas(given: &[v1::Replica]) -> Outcome<(Vec<Replica>, bool)> {
    let mut replicas = Vec::with_capacity(given.len());
    let mut numbered = false;
    for replica in given {
        if !replica.backup_replicas.is_empty() {
            return Err(Refusal::unimplemented("backup replicas"));
        }
        let port = match &replica.port_kind {
            Some(PortKind::Port(port)) => port_from_wire(port)?,
            #[allow(deprecated)] // controllers older than P4Runtime 1.4 send it
            Some(PortKind::EgressPort(port)) => {
                numbered = true;
                *port
            }
            None => return Err(Refusal::invalid("a replica has no port")),
        };
        let instance = u16::try_from(replica.instance).map_err(|_| {
            Refusal::invalid(format!("instance {} is beyond 65535", replica.instance))
        })?;
        let replica = Replica { port, instance };
        replicas.push(replica);
    }
    Ok((replicas, numbered))
}
