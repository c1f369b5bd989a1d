//! `Write`: one update after the other, each with its own outcome (P4Runtime specification,
//! "Write RPC"). Packets see the tables' changes of one request together.

use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::entity::Entity;
use p4runtime::v1::packet_replication_engine_entry::Type as Replication;
use p4runtime::v1::update::Type;
use p4runtime::v1::write_request::Atomicity;
use tonic::Code;

use super::Compat;
use super::digests::Digests;
use super::errors::{Outcome, Refusal};
use super::notes::Notes;
use super::pipeline::Loaded;
use super::roles::Access;
use crate::control::{Control, DigestHandle, Write};

mod arrays;
mod profile;
mod replication;
mod table;

pub(super) use table::resource_key;

/// What updates are applied to.
pub(super) struct Target<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) control: &'a Control,
    pub(super) notes: &'a mut Notes,
    pub(super) digests: &'a Digests,
    pub(super) compat: Compat,
}

/// The updates of one request at work.
pub(super) struct Batch<'a> {
    loaded: &'a Loaded,
    control: &'a Control,
    notes: &'a mut Notes,
    digests: &'a Digests,
    compat: Compat,
    access: Access,
    changes: Write<'a>,
    /// How the digests were configured before this batch, oldest first.
    digests_before: Vec<(DigestHandle, Option<v1::digest_entry::Config>)>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(target: Target<'a>, access: Access, now: Duration) -> Self {
        let Target {
            loaded,
            control,
            notes,
            digests,
            compat,
        } = target;
        Batch {
            loaded,
            control,
            notes,
            digests,
            compat,
            access,
            changes: control.write(now),
            digests_before: Vec::new(),
        }
    }

    /// Tries the updates and publishes what is to stand. `admit` has a say before each.
    ///
    /// # Errors
    /// UNIMPLEMENTED for a DATAPLANE_ATOMIC batch that cannot be kept atomic; nothing is changed.
    pub(super) fn run(
        mut self,
        updates: &[v1::Update],
        atomicity: Atomicity,
        mut admit: impl FnMut() -> Outcome,
    ) -> Outcome<Vec<Outcome>> {
        let mut update = |batch: &mut Self, update| admit().and_then(|()| batch.update(update));
        if atomicity == Atomicity::ContinueOnError {
            let outcomes = updates.iter().map(|u| update(&mut self, u)).collect();
            self.changes.commit();
            return Ok(outcomes);
        }
        let before = self.notes.clone();
        let mut outcomes = Vec::with_capacity(updates.len());
        for one in updates {
            outcomes.push(update(&mut self, one));
            if outcomes.last().is_some_and(Result::is_err) {
                self.roll_back(before);
                return Ok(rolled_back(outcomes, updates.len()));
            }
        }
        if atomicity == Atomicity::DataplaneAtomic
            && let Some(apart) = self.changes.apart()
        {
            self.roll_back(before);
            return Err(Refusal::unimplemented(format!(
                "DATAPLANE_ATOMIC for {apart}: they are changed in place, apart from tables"
            )));
        }
        self.changes.commit();
        Ok(outcomes)
    }

    /// Takes everything back.
    fn roll_back(self, notes: Notes) {
        self.changes.abandon();
        *self.notes = notes;
        for (digest, config) in self.digests_before.into_iter().rev() {
            self.digests.restore(digest, config);
        }
    }

    fn update(&mut self, update: &v1::Update) -> Outcome {
        let kind = update.r#type();
        if kind == Type::Unspecified {
            return Err(Refusal::invalid(
                "the update has no type: INSERT, MODIFY or DELETE",
            ));
        }
        let entity = update
            .entity
            .as_ref()
            .and_then(|entity| entity.entity.as_ref())
            .ok_or_else(|| Refusal::invalid("the update has no entity"))?;
        if !self.access.entity(&self.loaded.roles, entity) {
            return Err(Refusal::denied(format!(
                "this is not within the scope of the role \"{}\"",
                self.access.role
            )));
        }
        match entity {
            Entity::TableEntry(entry) => self.table_entry(kind, entry),
            Entity::ActionProfileMember(member) => self.member(kind, member),
            Entity::ActionProfileGroup(group) => self.group(kind, group),
            Entity::MeterEntry(entry) => self.meter(kind, entry),
            Entity::DirectMeterEntry(entry) => self.direct_meter(kind, entry),
            Entity::CounterEntry(entry) => self.counter(kind, entry),
            Entity::DirectCounterEntry(entry) => self.direct_counter(kind, entry),
            Entity::PacketReplicationEngineEntry(entry) => match &entry.r#type {
                Some(Replication::MulticastGroupEntry(group)) => self.multicast_group(kind, group),
                Some(Replication::CloneSessionEntry(session)) => self.clone_session(kind, session),
                None => Err(Refusal::invalid(
                    "the packet replication engine entry is neither a group nor a session",
                )),
            },
            Entity::ValueSetEntry(entry) => self.value_set(kind, entry),
            Entity::RegisterEntry(entry) => self.register(kind, entry),
            Entity::DigestEntry(entry) => self.digest(kind, entry),
            Entity::ExternEntry(_) => Err(Refusal::unimplemented(
                "v1model has no externs beyond P4Runtime's own",
            )),
        }
    }

    fn digest(&mut self, kind: Type, entry: &v1::DigestEntry) -> Outcome {
        let (digest, handle) = self.loaded.digests.get(entry.digest_id)?;
        let config = entry.config.unwrap_or_default();
        if kind != Type::Delete
            && (config.max_timeout_ns < 0 || config.max_list_size < 0 || config.ack_timeout_ns < 0)
        {
            return Err(Refusal::invalid(format!(
                "digest \"{}\": timeouts and list size must not be negative",
                digest.name
            )));
        }
        let before = self.digests.config(handle);
        self.digests
            .configure(kind, handle, config, self.control)
            .map_err(|refusal| refusal.at(format_args!("digest \"{}\"", digest.name)))?;
        self.digests_before.push((handle, before));
        Ok(())
    }
}

/// The outcomes of a batch that one update failed: no other was applied.
fn rolled_back(mut outcomes: Vec<Outcome>, updates: usize) -> Vec<Outcome> {
    let failed = outcomes.len().saturating_sub(1);
    let aborted = || {
        let message = format!("not applied: update {failed} of the batch failed");
        Err(Refusal::new(Code::Aborted, message))
    };
    outcomes[..failed].fill_with(aborted);
    outcomes.resize_with(updates, aborted);
    outcomes
}

/// Refuses anything but MODIFY, for entities that always exist.
fn only_modify(kind: Type, what: &str) -> Outcome {
    match kind {
        Type::Modify => Ok(()),
        _ => Err(Refusal::invalid(format!("{what} can only be modified"))),
    }
}
