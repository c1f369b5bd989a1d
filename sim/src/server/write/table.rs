//! Table entries, default entries and their direct counters and meters (P4Runtime specification,
//! "TableEntry").

use std::time::Duration;

use p4runtime::p4info;
use p4runtime::v1;
use p4runtime::v1::table_action;
use p4runtime::v1::update::Type;

use super::arrays::clears_colors;
use super::{Batch, only_modify};
use crate::control::{
    CounterData, EntryKey, MeterConfig, ProfileHandle, TableAction, TableEntry, TableHandle,
};
use crate::server::convert::{
    ActionUse, action_from_wire, counter_from_wire, key_from_wire, meter_from_wire,
};
use crate::server::errors::{Outcome, Refusal};
use crate::server::notes::DefaultNote;
use crate::server::pipeline::Loaded;

/// The direct resources of an entry as an update gives them.
#[derive(Debug, Clone, Copy)]
struct Resources {
    counter: Option<CounterData>,
    meter: Option<MeterConfig>,
    clear_colors: bool,
}

impl Batch<'_> {
    pub(super) fn table_entry(&mut self, kind: Type, entry: &v1::TableEntry) -> Outcome {
        let (table, handle) = self.loaded.tables.get(entry.table_id)?;
        let outcome = if entry.is_default_action {
            self.default_entry(kind, table, handle, entry)
        } else {
            self.match_entry(kind, table, handle, entry)
        };
        outcome.map_err(|refusal| refusal.at(format_args!("table \"{}\"", table.name)))
    }

    fn match_entry(
        &mut self,
        kind: Type,
        table: &p4info::Table,
        handle: TableHandle,
        entry: &v1::TableEntry,
    ) -> Outcome {
        let loaded = self.loaded;
        let info = loaded.pipeline.table_info(handle);
        let key = key_from_wire(table, &info.keys, &entry.r#match, entry.priority)?;
        if entry.is_const {
            return Err(Refusal::invalid("is_const cannot be written"));
        }
        let is_const = table.is_const || info.const_entries;
        if is_const && kind != Type::Modify {
            return Err(Refusal::denied(
                "the entries are const: they cannot be added or removed",
            ));
        }
        if kind == Type::Delete {
            return self.delete_entry(handle, key);
        }
        if kind == Type::Insert && table.match_fields.is_empty() {
            return Err(Refusal::invalid(
                "the table has no key and thus only a default entry",
            ));
        }
        check_written(table, entry)?;
        let resources = resources(table, entry)?;
        if is_const {
            if entry.action.is_some() {
                return Err(Refusal::denied(
                    "the entries are const: leave the action out",
                ));
            }
            self.changes.entry(handle, &key)?;
            return self.set_resources(handle, Some(&key), kind, resources);
        }

        let before = match (kind, info.profile, &entry.action) {
            // The action stays as it is, or what stood behind it has to go.
            (Type::Modify, _, None) | (Type::Modify, Some(_), Some(_)) => {
                Some(self.changes.entry(handle, &key)?.action)
            }
            _ => None,
        };
        let action = match (&entry.action, &before) {
            (Some(action), _) => self.table_action(table, handle, info.profile, action)?,
            (None, Some(before)) => before.clone(),
            (None, None) => return Err(Refusal::invalid("the entry has no action")),
        };
        let idle_timeout = Duration::from_nanos(u64::try_from(entry.idle_timeout_ns).unwrap_or(0));
        let new = TableEntry {
            key: key.clone(),
            action: action.clone(),
            idle_timeout,
            metadata: entry.metadata.clone(),
        };
        let written = if kind == Type::Insert {
            self.changes.insert(handle, new)
        } else {
            self.changes.modify(handle, new)
        };
        let replaced = before.filter(|before| *before != action);
        if let Some(profile) = info.profile {
            // Behind a one-shot that was refused, or that was replaced.
            match (&written, &action, &replaced) {
                (Err(_), TableAction::Group(group), _)
                | (Ok(()), _, Some(TableAction::Group(group))) => {
                    self.drop_one_shot(profile, *group);
                }
                _ => {}
            }
        }
        written?;
        #[allow(deprecated)] // controllers older than P4Runtime 1.4 use it
        let cookie = entry.controller_metadata;
        if cookie == 0 {
            self.forget_cookie(handle, &key);
        } else {
            self.notes.cookies.insert((handle, key.clone()), cookie);
        }
        self.set_resources(handle, Some(&key), kind, resources)
    }

    fn delete_entry(&mut self, handle: TableHandle, key: EntryKey) -> Outcome {
        let profile = self.loaded.pipeline.table_info(handle).profile;
        let group = match profile {
            Some(profile) if self.notes.has_one_shots(profile) => {
                match self.changes.entry(handle, &key)?.action {
                    TableAction::Group(group) => Some((profile, group)),
                    _ => None,
                }
            }
            _ => None,
        };
        self.changes.delete(handle, &key)?;
        if let Some((profile, group)) = group {
            self.drop_one_shot(profile, group);
        }
        self.forget_cookie(handle, &key);
        Ok(())
    }

    fn forget_cookie(&mut self, handle: TableHandle, key: &EntryKey) {
        // To look costs a copy of the key, and few controllers use cookies.
        if !self.notes.cookies.is_empty() {
            self.notes.cookies.remove(&(handle, key.clone()));
        }
    }

    /// What an entry does, in the form that the table's `implementation` asks for.
    fn table_action(
        &mut self,
        table: &p4info::Table,
        handle: TableHandle,
        profile: Option<ProfileHandle>,
        action: &v1::TableAction,
    ) -> Outcome<TableAction> {
        use table_action::Type as Given;
        let given = action
            .r#type
            .as_ref()
            .ok_or_else(|| Refusal::invalid("the action has no content"))?;
        match (given, profile) {
            (Given::Action(action), None) => Ok(TableAction::Direct(action_from_wire(
                self.loaded,
                table,
                handle,
                action,
                ActionUse::Entry,
            )?)),
            (Given::ActionProfileMemberId(member), Some(_)) => Ok(TableAction::Member(*member)),
            (Given::ActionProfileGroupId(group), Some(_)) => Ok(TableAction::Group(*group)),
            (Given::ActionProfileActionSet(set), Some(profile)) => Ok(TableAction::Group(
                self.make_one_shot(table, handle, profile, set)?,
            )),
            (Given::Action(_), Some(_)) => Err(Refusal::invalid(
                "the table has an action profile: name a member, a group or an action set",
            )),
            (_, None) => Err(Refusal::invalid(
                "the table has no action profile: name an action",
            )),
        }
    }

    fn default_entry(
        &mut self,
        kind: Type,
        table: &p4info::Table,
        handle: TableHandle,
        entry: &v1::TableEntry,
    ) -> Outcome {
        only_modify(kind, "the default entry")?;
        check_default_key(entry)?;
        check_written(table, entry)?;
        if entry.idle_timeout_ns != 0 {
            return Err(Refusal::invalid("the default entry has no idle timeout"));
        }
        if table.implementation.is_some() {
            return Err(Refusal::denied(
                "the default action of a table with an action profile is const",
            ));
        }
        let resources = resources(table, entry)?;
        let action = match entry.action.as_ref().map(|action| &action.r#type) {
            None => None,
            Some(Some(table_action::Type::Action(action))) => Some(action_from_wire(
                self.loaded,
                table,
                handle,
                action,
                ActionUse::Default,
            )?),
            Some(_) => return Err(Refusal::invalid("the default entry needs an action")),
        };
        let reset = action.is_none();
        self.changes.set_default_action(handle, action)?;
        #[allow(deprecated)] // controllers older than P4Runtime 1.4 use it
        let note = DefaultNote {
            metadata: entry.metadata.clone(),
            cookie: entry.controller_metadata,
        };
        if reset || note == DefaultNote::default() {
            self.notes.defaults.remove(&handle);
        } else {
            self.notes.defaults.insert(handle, note);
        }
        let info = self.loaded.pipeline.table_info(handle);
        let counter = match resources.counter {
            None if reset && info.direct_counter => Some(CounterData::default()),
            counter => counter,
        };
        let resources = Resources {
            counter,
            clear_colors: resources.clear_colors || (reset && info.direct_meter.is_some()),
            ..resources
        };
        self.set_resources(handle, None, kind, resources)
    }

    /// Writes what was given; a MODIFY without a meter configuration resets it (P4Runtime
    /// specification, "Direct Resources").
    fn set_resources(
        &mut self,
        handle: TableHandle,
        key: Option<&EntryKey>,
        kind: Type,
        resources: Resources,
    ) -> Outcome {
        let has_meter = self
            .loaded
            .pipeline
            .table_info(handle)
            .direct_meter
            .is_some();
        if resources.meter.is_some() || (has_meter && kind == Type::Modify) {
            self.changes
                .set_direct_meter(handle, key, resources.meter)?;
        }
        if resources.clear_colors {
            self.changes.clear_direct_meter_colors(handle, key)?;
        }
        if let Some(counter) = resources.counter {
            self.changes.set_direct_counter(handle, key, counter)?;
        }
        Ok(())
    }

    pub(super) fn direct_counter(&mut self, kind: Type, entry: &v1::DirectCounterEntry) -> Outcome {
        only_modify(kind, "a direct counter")?;
        let (handle, key) = resource_key(self.loaded, entry.table_entry.as_ref())?;
        let info = self.loaded.pipeline.table_info(handle);
        if !info.direct_counter {
            return Err(Refusal::invalid(format!(
                "table \"{}\" has no direct counter",
                info.name
            )));
        }
        match &entry.data {
            Some(data) => {
                let data = counter_from_wire(data)?;
                self.changes
                    .set_direct_counter(handle, key.as_ref(), data)?;
            }
            // Without data the counter stays as it is, but it must exist.
            None => self.changes.has_entry(handle, key.as_ref())?,
        }
        Ok(())
    }

    pub(super) fn direct_meter(&mut self, kind: Type, entry: &v1::DirectMeterEntry) -> Outcome {
        only_modify(kind, "a direct meter")?;
        let (handle, key) = resource_key(self.loaded, entry.table_entry.as_ref())?;
        let table = self.loaded.tables.of_handle(handle);
        let meter = table
            .and_then(|table| table.direct_meter.as_ref())
            .ok_or_else(|| {
                let info = self.loaded.pipeline.table_info(handle);
                Refusal::invalid(format!("table \"{}\" has no direct meter", info.name))
            })?;
        let clear_colors = clears_colors(entry.counter_data.as_ref())?;
        let config = entry
            .config
            .as_ref()
            .map(|config| meter_from_wire(meter.meter_type, config));
        let resources = Resources {
            counter: None,
            meter: config.transpose()?,
            clear_colors,
        };
        self.set_resources(handle, key.as_ref(), kind, resources)
    }
}

/// The table and key that a direct resource belongs to; no key for the default entry.
pub(in crate::server) fn resource_key(
    loaded: &Loaded,
    entry: Option<&v1::TableEntry>,
) -> Outcome<(TableHandle, Option<EntryKey>)> {
    let entry = entry.ok_or_else(|| Refusal::invalid("the direct resource has no table entry"))?;
    let (table, handle) = loaded.tables.get(entry.table_id)?;
    if entry.is_default_action {
        check_default_key(entry)?;
        return Ok((handle, None));
    }
    let keys = &loaded.pipeline.table_info(handle).keys;
    let key = key_from_wire(table, keys, &entry.r#match, entry.priority)
        .map_err(|refusal| refusal.at(format_args!("table \"{}\"", table.name)))?;
    Ok((handle, Some(key)))
}

fn check_default_key(entry: &v1::TableEntry) -> Outcome {
    if !entry.r#match.is_empty() || entry.priority != 0 {
        return Err(Refusal::invalid(
            "the default entry has no match and no priority",
        ));
    }
    Ok(())
}

/// What an INSERT or MODIFY may not carry.
fn check_written(table: &p4info::Table, entry: &v1::TableEntry) -> Outcome {
    if entry.is_const {
        return Err(Refusal::invalid("is_const cannot be written"));
    }
    if entry.time_since_last_hit.is_some() {
        return Err(Refusal::invalid("time_since_last_hit cannot be written"));
    }
    if entry.idle_timeout_ns < 0 {
        return Err(Refusal::invalid(format!(
            "idle_timeout_ns {} is negative",
            entry.idle_timeout_ns
        )));
    }
    if entry.idle_timeout_ns != 0 && !table.idle_timeout {
        return Err(Refusal::invalid(
            "the table has no idle timeouts (support_timeout)",
        ));
    }
    Ok(())
}

fn resources(table: &p4info::Table, entry: &v1::TableEntry) -> Outcome<Resources> {
    let counter = match &entry.counter_data {
        Some(_) if table.direct_counter.is_none() => {
            return Err(Refusal::invalid("the table has no direct counter"));
        }
        data => data.as_ref().map(counter_from_wire).transpose()?,
    };
    let meter = match (&entry.meter_config, &table.direct_meter) {
        (None, _) => None,
        (Some(_), None) => return Err(Refusal::invalid("the table has no direct meter")),
        (Some(config), Some(meter)) => Some(meter_from_wire(meter.meter_type, config)?),
    };
    let clear_colors = clears_colors(entry.meter_counter_data.as_ref())?;
    if clear_colors && table.direct_meter.is_none() {
        return Err(Refusal::invalid("the table has no direct meter"));
    }
    Ok(Resources {
        counter,
        meter,
        clear_colors,
    })
}
