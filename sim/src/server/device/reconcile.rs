//! RECONCILE_AND_COMMIT: the forwarding state moves from one pipeline into another, by reading all
//! of it and writing it again. What the other pipeline has no place for keeps it from running.

use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::entity::Entity;
use p4runtime::v1::packet_replication_engine_entry::Type as Replication;
use p4runtime::v1::update::Type;
use p4runtime::v1::write_request::Atomicity;

use super::{Device, Running};
use crate::server::Compat;
use crate::server::errors::{Outcome, Refusal};
use crate::server::roles::Access;
use crate::server::write::Batch;

impl Device {
    /// Writes the state of `from` into `to`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with the first thing that cannot be kept.
    pub(super) fn keep_state(&self, now: Duration, from: &Running, to: &mut Running) -> Outcome {
        for request in everything(self.config.compat) {
            let updates = self.state(now, from, &request)?;
            let target = to.target(self.config.compat);
            let outcomes = Batch::new(target, Access::default(), now).run(
                &updates,
                Atomicity::ContinueOnError,
                || Ok(()),
            )?;
            if let Some(refusal) = outcomes.into_iter().find_map(Result::err) {
                return Err(Refusal::invalid(format!(
                    "the forwarding state cannot be kept under this config: {}",
                    refusal.message
                )));
            }
        }
        Ok(())
    }

    /// The updates that make again what one request reads.
    fn state(
        &self,
        now: Duration,
        from: &Running,
        request: &v1::Entity,
    ) -> Outcome<Vec<v1::Update>> {
        let mut reader = from.reader(now, self.config.compat, Access::default());
        reader.request(request)?;
        let updates = reader.found.into_iter().filter_map(|entity| {
            let kind = update_type(from, entity.entity.as_ref()?)?;
            Some(v1::Update {
                r#type: kind.into(),
                entity: Some(entity),
            })
        });
        Ok(updates.collect())
    }
}

/// How an entity is made again; `None` for what is so without a write.
fn update_type(from: &Running, entity: &Entity) -> Option<Type> {
    match entity {
        Entity::TableEntry(entry) if entry.is_const => None,
        Entity::TableEntry(entry) if entry.is_default_action => {
            let (_, handle) = from.loaded.tables.get(entry.table_id).ok()?;
            let own = from
                .control
                .default_action(handle)
                .is_none_or(|(_, own)| own);
            (!own).then_some(Type::Modify)
        }
        Entity::TableEntry(_)
        | Entity::ActionProfileMember(_)
        | Entity::ActionProfileGroup(_)
        | Entity::PacketReplicationEngineEntry(_)
        | Entity::DigestEntry(_) => Some(Type::Insert),
        Entity::CounterEntry(entry) => {
            (entry.data != Some(v1::CounterData::default())).then_some(Type::Modify)
        }
        Entity::MeterEntry(entry) => entry.config.is_some().then_some(Type::Modify),
        Entity::RegisterEntry(entry) => (!is_zero(entry.data.as_ref())).then_some(Type::Modify),
        Entity::ValueSetEntry(entry) => (!entry.members.is_empty()).then_some(Type::Modify),
        Entity::DirectCounterEntry(_) | Entity::DirectMeterEntry(_) | Entity::ExternEntry(_) => {
            None
        }
    }
}

fn is_zero(data: Option<&v1::P4Data>) -> bool {
    use v1::p4_data::Data;
    match data.and_then(|data| data.data.as_ref()) {
        Some(Data::Bitstring(bytes)) => bytes.iter().all(|&byte| byte == 0),
        Some(Data::Bool(value)) => !value,
        _ => false,
    }
}

/// Requests for all state, in an order in which it can be written: members before groups before
/// entries.
fn everything(compat: Compat) -> Vec<v1::Entity> {
    let entries = |is_default_action| {
        Entity::TableEntry(v1::TableEntry {
            is_default_action,
            meter_config: Some(v1::MeterConfig::default()),
            counter_data: Some(v1::CounterData::default()),
            ..Default::default()
        })
    };
    let replication = |kind| {
        Entity::PacketReplicationEngineEntry(v1::PacketReplicationEngineEntry {
            r#type: Some(kind),
        })
    };
    let mut all = vec![
        Entity::ActionProfileMember(Default::default()),
        Entity::ActionProfileGroup(Default::default()),
        replication(Replication::MulticastGroupEntry(Default::default())),
        replication(Replication::CloneSessionEntry(Default::default())),
        Entity::CounterEntry(Default::default()),
        Entity::MeterEntry(Default::default()),
        Entity::DigestEntry(Default::default()),
        entries(false),
        entries(true),
    ];
    if compat == Compat::Spec {
        all.push(Entity::RegisterEntry(Default::default()));
        all.push(Entity::ValueSetEntry(Default::default()));
    }
    let entity = |entity| v1::Entity {
        entity: Some(entity),
    };
    all.into_iter().map(entity).collect()
}
