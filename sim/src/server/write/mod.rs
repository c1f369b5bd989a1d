//! `Write`: one update after the other, each with its own outcome (P4Runtime specification,
//! "Write RPC"). Packets see the tables' changes of one request together.

use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::entity::Entity;
use p4runtime::v1::packet_replication_engine_entry::Type as Replication;
use p4runtime::v1::update::Type;

use super::Compat;
use super::digests::Digests;
use super::errors::{Outcome, Refusal};
use super::notes::Notes;
use super::pipeline::Loaded;
use crate::control::{Control, Write};

mod arrays;
mod profile;
mod replication;
mod table;

pub(super) use table::resource_key;

/// The updates of one request at work.
pub(super) struct Batch<'a> {
    loaded: &'a Loaded,
    control: &'a Control,
    notes: &'a mut Notes,
    digests: &'a Digests,
    compat: Compat,
    now: Duration,
    open: Option<Write<'a>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        loaded: &'a Loaded,
        control: &'a Control,
        notes: &'a mut Notes,
        digests: &'a Digests,
        compat: Compat,
        now: Duration,
    ) -> Self {
        Batch {
            loaded,
            control,
            notes,
            digests,
            compat,
            now,
            open: None,
        }
    }

    /// The open set of changes.
    fn changes(&mut self) -> &mut Write<'a> {
        let (control, now) = (self.control, self.now);
        self.open.get_or_insert_with(|| control.write(now))
    }

    /// Publishes the changes made so far, so that [`Control`] tells of them.
    fn settle(&mut self) -> &'a Control {
        if let Some(open) = self.open.take() {
            open.commit();
        }
        self.control
    }

    /// Tries all updates (CONTINUE_ON_ERROR) and publishes what succeeded.
    pub(super) fn run(mut self, updates: &[v1::Update]) -> Vec<Outcome> {
        let outcomes = updates.iter().map(|update| self.update(update)).collect();
        self.settle();
        outcomes
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
            .and_then(|entity| entity.entity.as_ref());
        match entity.ok_or_else(|| Refusal::invalid("the update has no entity"))? {
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
        self.digests
            .configure(kind, handle, config, self.control)
            .map_err(|refusal| refusal.at(format_args!("digest \"{}\"", digest.name)))
    }
}

/// Refuses anything but MODIFY, for entities that always exist.
fn only_modify(kind: Type, what: &str) -> Outcome {
    match kind {
        Type::Modify => Ok(()),
        _ => Err(Refusal::invalid(format!("{what} can only be modified"))),
    }
}
