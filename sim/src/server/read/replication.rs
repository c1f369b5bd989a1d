//! Multicast groups and clone sessions.

use p4runtime::v1;
use p4runtime::v1::packet_replication_engine_entry::Type;
use p4runtime::v1::replica::PortKind;

use super::Reader;
use crate::control::{CloneSession, MulticastGroup, Replica};
use crate::server::convert::port_to_wire;
use crate::server::errors::{Outcome, Refusal};

impl Reader<'_> {
    pub(super) fn replication(&mut self, filter: &v1::PacketReplicationEngineEntry) -> Outcome {
        match &filter.r#type {
            Some(Type::MulticastGroupEntry(filter)) => {
                self.multicast_groups(filter.multicast_group_id)
            }
            Some(Type::CloneSessionEntry(filter)) => self.clone_sessions(filter.session_id),
            None => Err(Refusal::invalid(
                "the packet replication engine entry is neither a group nor a session",
            )),
        }
    }

    fn multicast_groups(&mut self, id: u32) -> Outcome {
        let groups = match id {
            0 => self.control.multicast_groups(),
            id => {
                let found = u16::try_from(id)
                    .ok()
                    .and_then(|id| self.control.multicast_group(id).map(|group| (id, group)));
                vec![found.ok_or_else(|| {
                    Refusal::not_found(format!("multicast group {id} does not exist"))
                })?]
            }
        };
        for (id, MulticastGroup { replicas, metadata }) in groups {
            let numbered = self.notes.numbered_groups.contains(&id);
            self.give(v1::MulticastGroupEntry {
                multicast_group_id: id.into(),
                replicas: replicas_to_wire(&replicas, numbered),
                metadata,
            });
        }
        Ok(())
    }

    fn clone_sessions(&mut self, id: u32) -> Outcome {
        let sessions = match id {
            0 => self.control.clone_sessions(),
            id => {
                let found = self.control.clone_session(id).ok_or_else(|| {
                    Refusal::not_found(format!("clone session {id} does not exist"))
                })?;
                vec![(id, found)]
            }
        };
        for (
            id,
            CloneSession {
                replicas,
                packet_length_bytes,
                class_of_service,
            },
        ) in sessions
        {
            let numbered = self.notes.numbered_sessions.contains(&id);
            self.give(v1::CloneSessionEntry {
                session_id: id,
                replicas: replicas_to_wire(&replicas, numbered),
                class_of_service,
                packet_length_bytes: i32::try_from(packet_length_bytes).unwrap_or(i32::MAX),
            });
        }
        Ok(())
    }
}

fn replicas_to_wire(replicas: &[Replica], numbered: bool) -> Vec<v1::Replica> {
    let one = |replica: &Replica| v1::Replica {
        port_kind: Some(if numbered {
            #[allow(deprecated)] // as it was written
            PortKind::EgressPort(replica.port)
        } else {
            PortKind::Port(port_to_wire(replica.port))
        }),
        instance: replica.instance.into(),
        backup_replicas: Vec::new(),
    };
    replicas.iter().map(one).collect()
}
