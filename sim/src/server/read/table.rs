//! Table entries and their direct resources (P4Runtime specification, "Wildcard Reads" of
//! "TableEntry").

use p4runtime::p4info;
use p4runtime::v1;
use p4runtime::v1::table_action;

use super::Reader;
use crate::control::{ControlError, EntryKey, TableAction, TableEntry, TableHandle};
use crate::server::convert::{
    action_to_wire, colors_to_wire, counter_to_wire, key_from_wire, matches_from_wire,
    matches_to_wire, meter_to_wire,
};
use crate::server::errors::{Outcome, Refusal};
use crate::server::notes::Notes;
use crate::server::pipeline::Loaded;
use crate::server::write::resource_key;

impl Reader<'_> {
    pub(super) fn table_entries(&mut self, filter: &v1::TableEntry) -> Outcome {
        if filter.table_id == 0 {
            let none = v1::TableEntry::default();
            let every = v1::TableEntry {
                // What to tell of each entry is no filter.
                meter_config: filter.meter_config,
                counter_data: filter.counter_data,
                meter_counter_data: filter.meter_counter_data,
                time_since_last_hit: filter.time_since_last_hit,
                is_default_action: filter.is_default_action,
                ..none
            };
            for (table, handle) in self.loaded.tables.iter() {
                self.entries_of(table, handle, &every)?;
            }
            return Ok(());
        }
        let (table, handle) = self.loaded.tables.get(filter.table_id)?;
        check_asked(table, filter)
            .and_then(|()| self.entries_of(table, handle, filter))
            .map_err(|refusal| refusal.at(format_args!("table \"{}\"", table.name)))
    }

    fn entries_of(
        &mut self,
        table: &p4info::Table,
        handle: TableHandle,
        filter: &v1::TableEntry,
    ) -> Outcome {
        if filter.is_default_action {
            return self.default_entry(table, handle, filter);
        }
        let action_id = wanted_action(filter)?;
        for entry in self.matching(table, handle, filter)? {
            let Some(wire) = self.entry_to_wire(table, handle, &entry, filter)? else {
                continue;
            };
            #[allow(deprecated)] // controllers older than P4Runtime 1.4 use it
            let wanted = (filter.controller_metadata == 0
                || filter.controller_metadata == wire.controller_metadata)
                && (filter.metadata.is_empty() || filter.metadata == wire.metadata)
                && action_id.is_none_or(|id| has_action(&wire, id));
            if wanted {
                self.give(wire);
            }
        }
        Ok(())
    }

    /// The entries with the filter's match and priority.
    fn matching(
        &self,
        table: &p4info::Table,
        handle: TableHandle,
        filter: &v1::TableEntry,
    ) -> Outcome<Vec<TableEntry>> {
        let keys = &self.loaded.pipeline.table_info(handle).keys;
        let has_match = !filter.r#match.is_empty();
        if has_match && (filter.priority > 0 || !table.needs_priority()) {
            let key = key_from_wire(table, keys, &filter.r#match, filter.priority)?;
            return match self.control.entry(handle, &key) {
                Ok(entry) => Ok(vec![entry]),
                Err(ControlError::NotFound(_)) => Ok(Vec::new()),
                Err(error) => Err(error.into()),
            };
        }
        let mut entries = self.control.entries(handle);
        if has_match {
            let matches = matches_from_wire(table, keys, &filter.r#match)?;
            entries.retain(|entry| entry.key.matches == matches);
        }
        if let Ok(priority) = u32::try_from(filter.priority)
            && priority > 0
        {
            entries.retain(|entry| entry.key.priority == priority);
        }
        Ok(entries)
    }

    /// One entry as the filter asks for it; `None` when it went away meanwhile.
    fn entry_to_wire(
        &self,
        table: &p4info::Table,
        handle: TableHandle,
        entry: &TableEntry,
        asked: &v1::TableEntry,
    ) -> Outcome<Option<v1::TableEntry>> {
        let key = &entry.key;
        let mut wire = v1::TableEntry {
            table_id: table.id,
            r#match: matches_to_wire(table, key),
            action: self.action_of(handle, &entry.action),
            priority: i32::try_from(key.priority).unwrap_or(i32::MAX),
            idle_timeout_ns: i64::try_from(entry.idle_timeout.as_nanos()).unwrap_or(i64::MAX),
            metadata: entry.metadata.clone(),
            is_const: table.is_const || self.loaded.pipeline.table_info(handle).const_entries,
            ..Default::default()
        };
        #[allow(deprecated)] // controllers older than P4Runtime 1.4 use it
        {
            wire.controller_metadata = self.notes.cookie(handle, key);
        }
        match self.add_resources(table, handle, Some(key), asked, &mut wire) {
            Ok(()) => Ok(Some(wire)),
            Err(ControlError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn add_resources(
        &self,
        table: &p4info::Table,
        handle: TableHandle,
        key: Option<&EntryKey>,
        asked: &v1::TableEntry,
        wire: &mut v1::TableEntry,
    ) -> Result<(), ControlError> {
        if asked.counter_data.is_some() && table.direct_counter.is_some() {
            wire.counter_data = Some(counter_to_wire(self.control.direct_counter(handle, key)?));
        }
        if (asked.meter_config.is_some() || asked.meter_counter_data.is_some())
            && table.direct_meter.is_some()
        {
            wire.meter_config = self.control.direct_meter(handle, key)?.map(meter_to_wire);
        }
        if asked.meter_counter_data.is_some() && table.direct_meter.is_some() {
            let colors = self.control.direct_meter_colors(handle, key)?;
            wire.meter_counter_data = Some(colors_to_wire(colors));
        }
        if let (Some(_), true, Some(key)) = (asked.time_since_last_hit, table.idle_timeout, key) {
            let elapsed = self.control.time_since_last_hit(handle, key, self.now)?;
            wire.time_since_last_hit = Some(v1::table_entry::IdleTimeout {
                elapsed_ns: i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX),
            });
        }
        Ok(())
    }

    fn action_of(&self, handle: TableHandle, action: &TableAction) -> Option<v1::TableAction> {
        let given = match action {
            TableAction::Direct(call) => {
                table_action::Type::Action(action_to_wire(self.loaded, call)?)
            }
            TableAction::Member(member) => table_action::Type::ActionProfileMemberId(*member),
            TableAction::Group(group) => {
                let profile = self.loaded.pipeline.table_info(handle).profile?;
                match self.notes.one_shots.get(&(profile, *group)) {
                    Some(one_shot) => {
                        table_action::Type::ActionProfileActionSet(one_shot.set.clone())
                    }
                    None => table_action::Type::ActionProfileGroupId(*group),
                }
            }
        };
        Some(v1::TableAction {
            r#type: Some(given),
        })
    }

    fn default_entry(
        &mut self,
        table: &p4info::Table,
        handle: TableHandle,
        asked: &v1::TableEntry,
    ) -> Outcome {
        let action = self
            .control
            .default_action(handle)
            .and_then(|(call, _)| action_to_wire(self.loaded, &call))
            .map(|action| v1::TableAction {
                r#type: Some(table_action::Type::Action(action)),
            });
        let note = self
            .notes
            .defaults
            .get(&handle)
            .cloned()
            .unwrap_or_default();
        let mut wire = v1::TableEntry {
            table_id: table.id,
            action,
            is_default_action: true,
            // The default action of a table with an action profile is a constant NoAction.
            is_const: table.const_default_action.is_some() || table.implementation.is_some(),
            metadata: note.metadata,
            ..Default::default()
        };
        #[allow(deprecated)] // controllers older than P4Runtime 1.4 use it
        {
            wire.controller_metadata = note.cookie;
        }
        self.add_resources(table, handle, None, asked, &mut wire)?;
        self.give(wire);
        Ok(())
    }

    pub(super) fn direct_counters(&mut self, filter: &v1::DirectCounterEntry) -> Outcome {
        let has = |table: &p4info::Table| table.direct_counter.is_some();
        for (handle, key, entry) in
            self.resource_keys(filter.table_entry.as_ref(), "direct counter", has)?
        {
            let data = self.control.direct_counter(handle, key.as_ref())?;
            let data = Some(counter_to_wire(data));
            self.give(v1::DirectCounterEntry {
                table_entry: Some(entry),
                data,
            });
        }
        Ok(())
    }

    pub(super) fn direct_meters(&mut self, filter: &v1::DirectMeterEntry) -> Outcome {
        let has = |table: &p4info::Table| table.direct_meter.is_some();
        for (handle, key, entry) in
            self.resource_keys(filter.table_entry.as_ref(), "direct meter", has)?
        {
            let config = self
                .control
                .direct_meter(handle, key.as_ref())?
                .map(meter_to_wire);
            let counter_data = match filter.counter_data {
                Some(_) => {
                    let colors = self.control.direct_meter_colors(handle, key.as_ref())?;
                    Some(colors_to_wire(colors))
                }
                None => None,
            };
            self.give(v1::DirectMeterEntry {
                table_entry: Some(entry),
                config,
                counter_data,
            });
        }
        Ok(())
    }

    /// The entries whose direct resource is asked for: one, those of a table, or all.
    fn resource_keys(
        &self,
        filter: Option<&v1::TableEntry>,
        what: &str,
        has: impl Fn(&p4info::Table) -> bool,
    ) -> Outcome<Vec<(TableHandle, Option<EntryKey>, v1::TableEntry)>> {
        let none = v1::TableEntry::default();
        let filter = filter.unwrap_or(&none);
        let mut keys = Vec::new();
        for (table, handle) in self.loaded.tables.select(filter.table_id)? {
            if !has(table) {
                if filter.table_id == 0 {
                    continue;
                }
                return Err(Refusal::invalid(format!(
                    "table \"{}\" has no {what}",
                    table.name
                )));
            }
            let keys_of_wire = |key: &EntryKey| v1::TableEntry {
                table_id: table.id,
                r#match: matches_to_wire(table, key),
                priority: i32::try_from(key.priority).unwrap_or(i32::MAX),
                ..Default::default()
            };
            if filter.table_id != 0 && filter.is_default_action {
                let (_, key) = resource_key(self.loaded, Some(filter))?;
                let is_default_action = true;
                let entry = v1::TableEntry {
                    table_id: table.id,
                    is_default_action,
                    ..Default::default()
                };
                keys.push((handle, key, entry));
            } else if filter.table_id != 0 && !filter.r#match.is_empty() {
                let (_, key) = resource_key(self.loaded, Some(filter))?;
                let key = key.ok_or_else(|| Refusal::invalid("no key"))?;
                self.control.entry(handle, &key)?;
                let entry = keys_of_wire(&key);
                keys.push((handle, Some(key), entry));
            } else {
                let all = self
                    .control
                    .entries(handle)
                    .into_iter()
                    .map(|entry| entry.key);
                keys.extend(all.map(|key| {
                    let entry = keys_of_wire(&key);
                    (handle, Some(key), entry)
                }));
            }
        }
        Ok(keys)
    }
}

/// What an idle-timeout notification tells of an entry; `None` for a table not in P4Info.
pub(in crate::server) fn entry_key_to_wire(
    loaded: &Loaded,
    notes: &Notes,
    handle: TableHandle,
    entry: &TableEntry,
) -> Option<v1::TableEntry> {
    let table = loaded.tables.of_handle(handle)?;
    let mut wire = v1::TableEntry {
        table_id: table.id,
        r#match: matches_to_wire(table, &entry.key),
        priority: i32::try_from(entry.key.priority).unwrap_or(i32::MAX),
        idle_timeout_ns: i64::try_from(entry.idle_timeout.as_nanos()).unwrap_or(i64::MAX),
        metadata: entry.metadata.clone(),
        ..Default::default()
    };
    #[allow(deprecated)] // controllers older than P4Runtime 1.4 use it
    {
        wire.controller_metadata = notes.cookie(handle, &entry.key);
    }
    Some(wire)
}

/// What cannot be asked of this table.
fn check_asked(table: &p4info::Table, asked: &v1::TableEntry) -> Outcome {
    if asked.time_since_last_hit.is_some() && (!table.idle_timeout || asked.is_default_action) {
        return Err(Refusal::invalid(
            "there is no idle timeout (time_since_last_hit)",
        ));
    }
    if asked.counter_data.is_some() && table.direct_counter.is_none() {
        return Err(Refusal::invalid("the table has no direct counter"));
    }
    if (asked.meter_config.is_some() || asked.meter_counter_data.is_some())
        && table.direct_meter.is_none()
    {
        return Err(Refusal::invalid("the table has no direct meter"));
    }
    Ok(())
}

/// The action that entries are filtered by.
fn wanted_action(filter: &v1::TableEntry) -> Outcome<Option<u32>> {
    match filter
        .action
        .as_ref()
        .and_then(|action| action.r#type.as_ref())
    {
        None => Ok(None),
        Some(table_action::Type::Action(action)) => Ok(Some(action.action_id)),
        Some(_) => Err(Refusal::unimplemented(
            "filtering by member, group or action set",
        )),
    }
}

fn has_action(entry: &v1::TableEntry, id: u32) -> bool {
    matches!(
        entry.action.as_ref().and_then(|action| action.r#type.as_ref()),
        Some(table_action::Type::Action(action)) if action.action_id == id
    )
}
