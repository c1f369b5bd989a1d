//! `Read`: each request a filter over one kind of entity (P4Runtime specification, "Read RPC").

use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::entity::Entity;

use super::Compat;
use super::digests::Digests;
use super::errors::{Outcome, Refusal};
use super::notes::Notes;
use super::pipeline::Loaded;
use super::roles::Access;
use crate::control::Control;

mod arrays;
mod profile;
mod replication;
mod table;

pub(super) use table::entry_key_to_wire;

/// The requests of one `Read` at work.
pub(super) struct Reader<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) control: &'a Control,
    pub(super) notes: &'a Notes,
    pub(super) digests: &'a Digests,
    pub(super) compat: Compat,
    /// Only what is within this is given.
    pub(super) access: Access,
    pub(super) now: Duration,
    /// The entities found.
    pub(super) found: Vec<v1::Entity>,
}

impl Reader<'_> {
    /// Appends what one request asks for to `found`.
    pub(super) fn request(&mut self, request: &v1::Entity) -> Outcome {
        match request
            .entity
            .as_ref()
            .ok_or_else(|| Refusal::invalid("an entity must be set"))?
        {
            Entity::TableEntry(filter) => self.table_entries(filter),
            Entity::ActionProfileMember(filter) => self.members(filter),
            Entity::ActionProfileGroup(filter) => self.groups(filter),
            Entity::MeterEntry(filter) => self.meters(filter),
            Entity::DirectMeterEntry(filter) => self.direct_meters(filter),
            Entity::CounterEntry(filter) => self.counters(filter),
            Entity::DirectCounterEntry(filter) => self.direct_counters(filter),
            Entity::PacketReplicationEngineEntry(filter) => self.replication(filter),
            Entity::ValueSetEntry(filter) => self.value_sets(filter),
            Entity::RegisterEntry(filter) => self.registers(filter),
            Entity::DigestEntry(filter) => self.digest_configs(filter),
            // There are none, and "all of none" is an answer.
            Entity::ExternEntry(filter) if filter.extern_type_id == 0 => Ok(()),
            Entity::ExternEntry(_) => Err(Refusal::unimplemented(
                "v1model has no externs beyond P4Runtime's own",
            )),
        }
    }

    fn give(&mut self, entity: impl Into<v1::Entity>) {
        let entity = entity.into();
        let theirs = |entity: &Entity| self.access.entity(&self.loaded.roles, entity);
        if entity.entity.as_ref().is_some_and(theirs) {
            self.found.push(entity);
        }
    }

    fn digest_configs(&mut self, filter: &v1::DigestEntry) -> Outcome {
        for (digest, handle) in self.loaded.digests.select(filter.digest_id)? {
            if let Some(config) = self.digests.config(handle) {
                self.give(v1::DigestEntry {
                    digest_id: digest.id,
                    config: Some(config),
                });
            }
        }
        Ok(())
    }
}
