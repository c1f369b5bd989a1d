//! Table entries and default entries, with their counters and meters.

use std::sync::Arc;

use super::Write;
use super::in_place::InPlace;
use crate::control::error::ControlError;
use crate::control::info::TableInfo;
use crate::control::key::{compile_call, compile_entry, compile_key};
use crate::control::read::{
    check_meter, entry_name, no_default, no_direct_counter, no_direct_meter,
};
use crate::control::types::{
    ActionCall, CounterData, EntryKey, MeterConfig, ProfileHandle, TableAction, TableEntry,
    TableHandle,
};
use crate::program::{Call, Table};
use crate::state::default_entry;
use crate::tables::{Entry, EntryAction, EntryState};

impl<'a> Write<'a> {
    fn writable(&self, table: TableHandle) -> Result<(&'a Table, &'a TableInfo), ControlError> {
        let pipeline = &self.instance.pipeline;
        let info = pipeline.table_info(table);
        if info.const_entries {
            return Err(ControlError::PermissionDenied(format!(
                "the entries of table `{}` are const",
                info.name
            )));
        }
        Ok((&pipeline.program.tables[table.index()], info))
    }

    /// Checks an action of a table and brings its values into their canonical form.
    fn action(
        &self,
        table: &Table,
        info: &TableInfo,
        action: &mut TableAction,
    ) -> Result<EntryAction, ControlError> {
        match (action, info.profile) {
            (TableAction::Direct(call), None) => {
                let (compiled, canonical) = self.call(call, &table.actions, &info.name)?;
                *call = canonical;
                Ok(EntryAction::Call(compiled))
            }
            (TableAction::Member(member), Some(profile)) => {
                match self.has_member(profile, *member) {
                    true => Ok(EntryAction::Member(*member)),
                    false => Err(self.no_member(profile, *member)),
                }
            }
            (TableAction::Group(group), Some(profile)) => match self.has_group(profile, *group) {
                true => Ok(EntryAction::Group(*group)),
                false => Err(self.no_group(profile, *group)),
            },
            (TableAction::Direct(_), Some(_)) => Err(ControlError::InvalidArgument(format!(
                "entries of table `{}` name a member or group of its action profile",
                info.name
            ))),
            (_, None) => Err(ControlError::InvalidArgument(format!(
                "table `{}` has no action profile",
                info.name
            ))),
        }
    }

    pub(super) fn call(
        &self,
        call: &ActionCall,
        allowed: &[u32],
        whose: &str,
    ) -> Result<(Call, ActionCall), ControlError> {
        if !allowed.contains(&call.action.0) {
            return Err(ControlError::InvalidArgument(format!(
                "`{whose}` does not have the action with handle {}",
                call.action.index()
            )));
        }
        compile_call(self.instance.pipeline.action_info(call.action), call)
    }

    /// Keeps the users of an entry's member or group.
    fn use_action(&mut self, table: TableHandle, action: &EntryAction, more: bool) {
        let profile = self.instance.pipeline.program.tables[table.index()].profile;
        match (profile, action) {
            (Some(profile), EntryAction::Member(id)) => self.member_user((profile, *id), more),
            (Some(profile), EntryAction::Group(id)) => self.group_user((profile, *id), more),
            _ => {}
        }
    }

    fn checked_entry(
        &self,
        table: TableHandle,
        mut entry: TableEntry,
    ) -> Result<Entry, ControlError> {
        let (program, info) = self.writable(table)?;
        if !entry.idle_timeout.is_zero() && !info.idle_timeout {
            return Err(ControlError::Unsupported(format!(
                "table `{}` has no idle timeouts",
                info.name
            )));
        }
        let action = self.action(program, info, &mut entry.action)?;
        compile_entry(program, info, entry, action)
    }

    /// INSERT of an entry. `AlreadyExists` if an entry has the same matches and priority.
    pub fn insert(&mut self, table: TableHandle, entry: TableEntry) -> Result<(), ControlError> {
        let entry = self.checked_entry(table, entry)?;
        let info = self.instance.pipeline.table_info(table);
        let live = self.live(table);
        if live.find(&entry).is_some() {
            return Err(ControlError::AlreadyExists(entry_name(
                info,
                &entry.source.key,
            )));
        }
        let limit = self.instance.limits.table_entries;
        let limit = limit.map_or(info.size, |n| n.min(info.size));
        if live.len() >= limit {
            let what = format!("table `{}`", info.name);
            return Err(ControlError::Full { what, limit });
        }
        entry.state.arm(self.now);
        self.use_action(table, &entry.action, true);
        self.table(table).insert(Arc::new(entry));
        Ok(())
    }

    /// MODIFY of an entry: its action, idle timeout and metadata. Its counter and meter stay; its
    /// idle timer starts again.
    pub fn modify(&mut self, table: TableHandle, entry: TableEntry) -> Result<(), ControlError> {
        let mut entry = self.checked_entry(table, entry)?;
        let info = self.instance.pipeline.table_info(table);
        let Some(old) = self.live(table).find(&entry).cloned() else {
            return Err(ControlError::NotFound(entry_name(info, &entry.source.key)));
        };
        entry.state = old.state.clone();
        if info.idle_timeout {
            let arm = InPlace::Arm(entry.state.clone(), self.now);
            self.in_place.push(arm);
        }
        self.use_action(table, &entry.action, true);
        self.use_action(table, &old.action, false);
        self.table(table).insert(Arc::new(entry));
        Ok(())
    }

    /// DELETE of an entry.
    pub fn delete(&mut self, table: TableHandle, key: &EntryKey) -> Result<(), ControlError> {
        let (program, info) = self.writable(table)?;
        let like = compile_key(program, info, key)?;
        if self.live(table).find(&like).is_none() {
            return Err(ControlError::NotFound(entry_name(info, key)));
        }
        if let Some(old) = self.table(table).remove(&like) {
            self.use_action(table, &old.action, false);
        }
        Ok(())
    }

    /// Sets the default action; `None` goes back to the program's own. The default entry's counter
    /// and meter stay.
    pub fn set_default_action(
        &mut self,
        table: TableHandle,
        action: Option<ActionCall>,
    ) -> Result<(), ControlError> {
        let pipeline = &self.instance.pipeline;
        let info = pipeline.table_info(table);
        let program = &pipeline.program.tables[table.index()];
        if info.const_default_action {
            return Err(ControlError::PermissionDenied(format!(
                "the default action of table `{}` is const",
                info.name
            )));
        }
        if info.profile.is_some() {
            return Err(ControlError::Unsupported(format!(
                "table `{}` has an action profile: its default action cannot be set",
                info.name
            )));
        }
        let call = match &action {
            Some(action) => Some(self.call(action, &program.actions, &info.name)?.0),
            None => program.default.clone(),
        };
        let live = self.table(table);
        let state: Arc<EntryState> = live
            .default
            .as_ref()
            .map_or_else(Arc::default, |entry| entry.state.clone());
        live.default = call.map(|call| {
            let mut entry = default_entry(pipeline, &call);
            // The entry was just made: there is no other reference.
            if let Some(entry) = Arc::get_mut(&mut entry) {
                entry.state = state;
            }
            entry
        });
        Ok(())
    }

    /// Whether the entry, or the default entry (`None`), exists.
    pub fn has_entry(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<(), ControlError> {
        self.state(table, key).map(|_| ())
    }

    /// The entry with this key.
    pub fn entry(&self, table: TableHandle, key: &EntryKey) -> Result<TableEntry, ControlError> {
        Ok(self.find(table, key)?.source.clone())
    }

    fn find(&self, table: TableHandle, key: &EntryKey) -> Result<&Arc<Entry>, ControlError> {
        let info = self.instance.pipeline.table_info(table);
        let program = &self.instance.pipeline.program.tables[table.index()];
        let like = compile_key(program, info, key)?;
        let found = self.live(table).find(&like);
        found.ok_or_else(|| ControlError::NotFound(entry_name(info, key)))
    }

    /// The state of an entry, or of the default entry (`None`).
    fn state(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<Arc<EntryState>, ControlError> {
        let entry = match key {
            Some(key) => Some(self.find(table, key)?),
            None => self.live(table).default.as_ref(),
        };
        let info = self.instance.pipeline.table_info(table);
        entry
            .map(|entry| entry.state.clone())
            .ok_or_else(|| no_default(info))
    }

    /// Whether packets can see the state: that of an entry inserted just now they cannot.
    fn is_seen(&self, table: TableHandle, key: Option<&EntryKey>, state: &Arc<EntryState>) -> bool {
        let published = self.instance.published.load();
        let live = &published.tables[table.index()];
        let seen = match key {
            Some(key) => {
                let info = self.instance.pipeline.table_info(table);
                let program = &self.instance.pipeline.program.tables[table.index()];
                let like = compile_key(program, info, key);
                like.ok().and_then(|like| live.find(&like).cloned())
            }
            None => live.default.clone(),
        };
        seen.is_some_and(|seen| Arc::ptr_eq(&seen.state, state))
    }

    /// Sets the direct counter of an entry, or of the default entry (`None`).
    pub fn set_direct_counter(
        &mut self,
        table: TableHandle,
        key: Option<&EntryKey>,
        data: CounterData,
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.table_info(table);
        if !info.direct_counter {
            return Err(no_direct_counter(info));
        }
        let state = self.state(table, key)?;
        if self.is_seen(table, key, &state) {
            self.in_place.push(InPlace::Counter(state, data));
        } else {
            state.counter.write(data);
        }
        Ok(())
    }

    /// Configures the direct meter of an entry, or of the default entry (`None`): full buckets
    /// from now on, unless it is so configured already. No configuration marks everything green.
    pub fn set_direct_meter(
        &mut self,
        table: TableHandle,
        key: Option<&EntryKey>,
        config: Option<MeterConfig>,
    ) -> Result<(), ControlError> {
        let state = self.metered(table, key)?;
        check_meter(config)?;
        if !self.is_seen(table, key, &state) {
            state.meter.configure(config);
        } else if state.meter.config() != config || self.meters_wait {
            self.meters_wait = true;
            self.in_place.push(InPlace::Meter(state, config));
        }
        Ok(())
    }

    /// Sets the counts per colour of an entry's direct meter to 0.
    pub fn clear_direct_meter_colors(
        &mut self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<(), ControlError> {
        let state = self.metered(table, key)?;
        self.in_place.push(InPlace::ClearColors(state));
        Ok(())
    }

    fn metered(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<Arc<EntryState>, ControlError> {
        let info = self.instance.pipeline.table_info(table);
        if info.direct_meter.is_none() {
            return Err(no_direct_meter(info));
        }
        self.state(table, key)
    }

    fn no_member(&self, profile: ProfileHandle, id: u32) -> ControlError {
        ControlError::NotFound(self.member_name(profile, "member", id))
    }

    fn no_group(&self, profile: ProfileHandle, id: u32) -> ControlError {
        ControlError::NotFound(self.member_name(profile, "group", id))
    }
}
