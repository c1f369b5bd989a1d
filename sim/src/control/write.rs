//! Changes to tables, action profiles, value sets, multicast groups and clone sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::error::ControlError;
use super::info::TableInfo;
use super::key::{compile_call, compile_entry, compile_key, to_bytes, to_words};
use super::read::{Control, entry_name};
use super::types::{
    ActionCall, CloneSession, EntryKey, MulticastGroup, ProfileGroup, ProfileHandle, Replica,
    TableAction, TableEntry, TableHandle, ValueSetHandle,
};
use crate::pre::Replicated;
use crate::program::{Call, Table};
use crate::state::{Draft, Instance, ValueSetMember, default_entry};
use crate::switch::nanoseconds;
use crate::tables::{Entry, EntryAction, EntryState, Group, LiveTable, Member, hash_words};

/// The most that the weights of a group may sum up to.
const MAX_WEIGHTS: u64 = 1 << 32;

/// An open set of changes. Packets see all of it at once when it is committed or dropped; there
/// is no way back for the changes that succeeded. While it is open, other writers wait, packets
/// and readers do not.
///
/// A change costs a few microseconds, whatever the size of the table (`benches/pipeline.rs`). Put
/// a whole P4Runtime `WriteRequest` into one `Write`: packets then see it all at once.
pub struct Write<'a> {
    instance: &'a Instance,
    draft: MutexGuard<'a, Draft>,
    now: u64,
    changed: bool,
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if self.changed {
            self.instance
                .published
                .store(Arc::new(self.draft.next.clone()));
        }
    }
}

/// Counts the users of members and groups.
fn count(users: &mut HashMap<(u32, u32), usize>, key: (u32, u32), more: bool) {
    let n = users.entry(key).or_default();
    if more {
        *n += 1;
    } else if *n > 1 {
        *n -= 1;
    } else {
        users.remove(&key);
    }
}

impl<'a> Write<'a> {
    pub(super) fn new(control: &'a Control, now: Duration) -> Self {
        let instance = &*control.instance;
        Write {
            instance,
            draft: instance.draft.lock(),
            now: nanoseconds(now),
            changed: false,
        }
    }

    /// Makes the changes visible to packets. Dropping does the same.
    pub fn commit(self) {}

    /// The table, to be changed.
    fn table(&mut self, table: TableHandle) -> &mut LiveTable {
        self.changed = true;
        Arc::make_mut(&mut self.draft.next.tables[table.index()])
    }

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
        match (action, table.profile) {
            (TableAction::Direct(call), None) => {
                let (compiled, canonical) = self.call(call, &table.actions, &info.name)?;
                *call = canonical;
                Ok(EntryAction::Call(compiled))
            }
            (TableAction::Member(member), Some(profile)) => {
                let id = [u64::from(*member)];
                match self.profile(profile).members.get(hash_words(&id), &id) {
                    Some(_) => Ok(EntryAction::Member(*member)),
                    None => Err(self.no_member(ProfileHandle(profile), "member", *member)),
                }
            }
            (TableAction::Group(group), Some(profile)) => {
                let id = [u64::from(*group)];
                match self.profile(profile).groups.get(hash_words(&id), &id) {
                    Some(_) => Ok(EntryAction::Group(*group)),
                    None => Err(self.no_member(ProfileHandle(profile), "group", *group)),
                }
            }
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

    fn call(
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

    fn profile(&self, profile: u32) -> &crate::state::LiveProfile {
        &self.draft.next.profiles[profile as usize]
    }

    fn no_member(&self, profile: ProfileHandle, what: &str, id: u32) -> ControlError {
        ControlError::NotFound(self.member_name(profile, what, id))
    }

    fn member_name(&self, profile: ProfileHandle, what: &str, id: u32) -> String {
        let info = self.instance.pipeline.profile_info(profile);
        format!("{what} {id} of action profile `{}`", info.name)
    }

    /// Keeps the users of an entry's member or group.
    fn use_action(&mut self, table: TableHandle, action: &EntryAction, more: bool) {
        let profile = self.instance.pipeline.program.tables[table.index()].profile;
        match (profile, action) {
            (Some(profile), EntryAction::Member(id)) => {
                count(&mut self.draft.member_users, (profile, *id), more);
            }
            (Some(profile), EntryAction::Group(id)) => {
                count(&mut self.draft.group_users, (profile, *id), more);
            }
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
        let live = &self.draft.next.tables[table.index()];
        if live.find(&entry).is_some() {
            return Err(ControlError::AlreadyExists(entry_name(
                info,
                &entry.source.key,
            )));
        }
        let limit = self
            .instance
            .limits
            .table_entries
            .map_or(info.size, |n| n.min(info.size));
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
        let Some(old) = self.draft.next.tables[table.index()].find(&entry).cloned() else {
            return Err(ControlError::NotFound(entry_name(info, &entry.source.key)));
        };
        entry.state = old.state.clone();
        entry.state.arm(self.now);
        self.use_action(table, &entry.action, true);
        self.use_action(table, &old.action, false);
        self.table(table).insert(Arc::new(entry));
        Ok(())
    }

    /// DELETE of an entry.
    pub fn delete(&mut self, table: TableHandle, key: &EntryKey) -> Result<(), ControlError> {
        let (program, info) = self.writable(table)?;
        let like = compile_key(program, info, key)?;
        if self.draft.next.tables[table.index()].find(&like).is_none() {
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

    /// INSERT of a member of an action profile.
    pub fn insert_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
        action: ActionCall,
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.profile_info(profile);
        let id = [u64::from(member)];
        let live = &self.draft.next.profiles[profile.index()];
        if live.members.get(hash_words(&id), &id).is_some() {
            return Err(ControlError::AlreadyExists(
                self.member_name(profile, "member", member),
            ));
        }
        if live.members.len() >= info.size {
            let what = format!("action profile `{}`", info.name);
            return Err(ControlError::Full {
                what,
                limit: info.size,
            });
        }
        self.put_member(profile, member, &action)
    }

    /// MODIFY of a member: every entry and group that uses it has the new action at once.
    pub fn modify_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
        action: ActionCall,
    ) -> Result<(), ControlError> {
        let id = [u64::from(member)];
        if self
            .profile(profile.0)
            .members
            .get(hash_words(&id), &id)
            .is_none()
        {
            return Err(self.no_member(profile, "member", member));
        }
        self.put_member(profile, member, &action)
    }

    fn put_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
        action: &ActionCall,
    ) -> Result<(), ControlError> {
        let pipeline = &self.instance.pipeline;
        let allowed = &pipeline.program.profiles[profile.index()].actions;
        let name = &pipeline.profile_info(profile).name;
        let (call, source) = self.call(action, allowed, name)?;
        let id = [u64::from(member)];
        let member = Member {
            hash: hash_words(&id),
            id,
            call,
            source,
        };
        self.changed = true;
        self.draft.next.profiles[profile.index()]
            .members
            .insert(Arc::new(member));
        Ok(())
    }

    /// DELETE of a member. `FailedPrecondition` while an entry or a group uses it.
    pub fn delete_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
    ) -> Result<(), ControlError> {
        let id = [u64::from(member)];
        if self
            .profile(profile.0)
            .members
            .get(hash_words(&id), &id)
            .is_none()
        {
            return Err(self.no_member(profile, "member", member));
        }
        if self.draft.member_users.contains_key(&(profile.0, member)) {
            let name = self.member_name(profile, "member", member);
            return Err(ControlError::FailedPrecondition(format!(
                "{name} is in use"
            )));
        }
        self.changed = true;
        self.draft.next.profiles[profile.index()]
            .members
            .remove(hash_words(&id), &id);
        Ok(())
    }

    /// INSERT of a group of an action selector. All its members must exist.
    pub fn insert_group(
        &mut self,
        profile: ProfileHandle,
        group: u32,
        value: ProfileGroup,
    ) -> Result<(), ControlError> {
        let id = [u64::from(group)];
        let info = self.instance.pipeline.profile_info(profile);
        if !info.with_selector {
            return Err(ControlError::Unsupported(format!(
                "action profile `{}` has no selector, so it has no groups",
                info.name
            )));
        }
        if self
            .profile(profile.0)
            .groups
            .get(hash_words(&id), &id)
            .is_some()
        {
            return Err(ControlError::AlreadyExists(
                self.member_name(profile, "group", group),
            ));
        }
        self.put_group(profile, group, value)
    }

    /// MODIFY of a group.
    pub fn modify_group(
        &mut self,
        profile: ProfileHandle,
        group: u32,
        value: ProfileGroup,
    ) -> Result<(), ControlError> {
        let id = [u64::from(group)];
        if self
            .profile(profile.0)
            .groups
            .get(hash_words(&id), &id)
            .is_none()
        {
            return Err(self.no_member(profile, "group", group));
        }
        self.put_group(profile, group, value)
    }

    fn put_group(
        &mut self,
        profile: ProfileHandle,
        group: u32,
        source: ProfileGroup,
    ) -> Result<(), ControlError> {
        let mut total = 0u64;
        let mut cumulated = Vec::with_capacity(source.members.len());
        for member in &source.members {
            let id = [u64::from(member.member)];
            if self
                .profile(profile.0)
                .members
                .get(hash_words(&id), &id)
                .is_none()
            {
                return Err(self.no_member(profile, "member", member.member));
            }
            if member.weight == 0 {
                return Err(ControlError::InvalidArgument(format!(
                    "member {} of group {group} has weight 0",
                    member.member
                )));
            }
            total += u64::from(member.weight);
            cumulated.push(total);
        }
        let limit = match source.max_size {
            0 => MAX_WEIGHTS,
            max_size => u64::from(max_size),
        };
        if total > limit {
            let what = self.member_name(profile, "group", group);
            return Err(ControlError::Full {
                what,
                limit: limit as usize,
            });
        }
        let id = [u64::from(group)];
        let watches = source
            .members
            .iter()
            .any(|member| member.watch_port.is_some());
        let value = Group {
            hash: hash_words(&id),
            id,
            source,
            cumulated,
            watches,
        };
        let members: Vec<u32> = value.source.members.iter().map(|m| m.member).collect();
        for member in members {
            count(&mut self.draft.member_users, (profile.0, member), true);
        }
        self.changed = true;
        let groups = &mut self.draft.next.profiles[profile.index()].groups;
        if let Some(old) = groups.insert(Arc::new(value)) {
            self.release_members(profile, &old);
        }
        Ok(())
    }

    fn release_members(&mut self, profile: ProfileHandle, group: &Group) {
        for member in &group.source.members {
            count(
                &mut self.draft.member_users,
                (profile.0, member.member),
                false,
            );
        }
    }

    /// DELETE of a group. `FailedPrecondition` while an entry uses it.
    pub fn delete_group(&mut self, profile: ProfileHandle, group: u32) -> Result<(), ControlError> {
        let id = [u64::from(group)];
        if self
            .profile(profile.0)
            .groups
            .get(hash_words(&id), &id)
            .is_none()
        {
            return Err(self.no_member(profile, "group", group));
        }
        if self.draft.group_users.contains_key(&(profile.0, group)) {
            let name = self.member_name(profile, "group", group);
            return Err(ControlError::FailedPrecondition(format!(
                "{name} is in use"
            )));
        }
        self.changed = true;
        let groups = &mut self.draft.next.profiles[profile.index()].groups;
        if let Some(old) = groups.remove(hash_words(&id), &id) {
            self.release_members(profile, &old);
        }
        Ok(())
    }

    /// Replaces the members of a value set. A member is the concatenation of the set's fields.
    pub fn set_value_set(
        &mut self,
        value_set: ValueSetHandle,
        members: &[Vec<u8>],
    ) -> Result<(), ControlError> {
        let pipeline = &self.instance.pipeline;
        let info = pipeline.value_set_info(value_set);
        if members.len() > info.size {
            let what = format!("value set `{}`", info.name);
            return Err(ControlError::Full {
                what,
                limit: info.size,
            });
        }
        let parts = &pipeline.program.value_sets[value_set.index()].parts;
        let mut new = Vec::with_capacity(members.len());
        for member in members {
            let value = to_words(member, info.width, &format!("value set `{}`", info.name))?;
            let bytes = to_bytes(&value, info.width);
            new.push(ValueSetMember {
                bytes,
                words: split(&value, parts),
            });
        }
        self.changed = true;
        self.draft.next.value_sets[value_set.index()] = new.into();
        Ok(())
    }

    fn check_replicas(&self, what: &str, replicas: &[Replica]) -> Result<(), ControlError> {
        let limits = &self.instance.limits;
        if let Some(limit) = limits
            .replicas_per_group
            .filter(|limit| replicas.len() > *limit)
        {
            return Err(ControlError::Full {
                what: what.to_owned(),
                limit,
            });
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ControlError::InvalidArgument(format!(
                "{what} has the replica on port {} with instance {} twice",
                twice[0].port, twice[0].instance
            )));
        }
        if let Some(limit) = limits.max_instance
            && let Some(over) = replicas.iter().find(|replica| replica.instance > limit)
        {
            return Err(ControlError::InvalidArgument(format!(
                "{what} has a replica with instance {}; this target ends at {limit}",
                over.instance
            )));
        }
        Ok(())
    }

    /// INSERT of a multicast group; its id must not be 0.
    pub fn insert_multicast_group(
        &mut self,
        id: u16,
        group: MulticastGroup,
    ) -> Result<(), ControlError> {
        if self.draft.next.pre.group(id.into()).is_some() {
            return Err(ControlError::AlreadyExists(format!("multicast group {id}")));
        }
        let limit = self.instance.limits.multicast_groups;
        if let Some(limit) = limit.filter(|n| self.draft.next.pre.groups.len() >= *n) {
            return Err(ControlError::Full {
                what: "the multicast group table".to_owned(),
                limit,
            });
        }
        self.put_multicast_group(id, group, 0)
    }

    /// MODIFY of a multicast group. A packet goes to all of the old or all of the new replicas.
    pub fn modify_multicast_group(
        &mut self,
        id: u16,
        group: MulticastGroup,
    ) -> Result<(), ControlError> {
        match self
            .draft
            .next
            .pre
            .group(id.into())
            .map(|old| old.replicas.len())
        {
            Some(old) => self.put_multicast_group(id, group, old),
            None => Err(ControlError::NotFound(format!("multicast group {id}"))),
        }
    }

    fn put_multicast_group(
        &mut self,
        id: u16,
        group: MulticastGroup,
        old_replicas: usize,
    ) -> Result<(), ControlError> {
        let what = format!("multicast group {id}");
        if id == 0 {
            let reason = "multicast group 0 means no multicast".to_owned();
            return Err(ControlError::InvalidArgument(reason));
        }
        self.check_replicas(&what, &group.replicas)?;
        let total = self.draft.multicast_replicas - old_replicas + group.replicas.len();
        let limit = self.instance.limits.multicast_replicas;
        if let Some(limit) = limit.filter(|limit| total > *limit) {
            let what = "the multicast replica table".to_owned();
            return Err(ControlError::Full { what, limit });
        }
        self.changed = true;
        self.draft.multicast_replicas = total;
        let replicas = group.replicas.clone();
        let group = Replicated::new(id.into(), group, &replicas);
        self.draft.next.pre.groups.insert(Arc::new(group));
        Ok(())
    }

    /// DELETE of a multicast group.
    pub fn delete_multicast_group(&mut self, id: u16) -> Result<(), ControlError> {
        let id = u64::from(id);
        match self.draft.next.pre.groups.remove(hash_words(&[id]), &[id]) {
            Some(old) => {
                self.changed = true;
                self.draft.multicast_replicas -= old.replicas.len();
                Ok(())
            }
            None => Err(ControlError::NotFound(format!("multicast group {id}"))),
        }
    }

    /// INSERT of a clone session; its id must not be 0.
    pub fn insert_clone_session(
        &mut self,
        id: u32,
        session: CloneSession,
    ) -> Result<(), ControlError> {
        if self.draft.next.pre.session(id.into()).is_some() {
            return Err(ControlError::AlreadyExists(format!("clone session {id}")));
        }
        let limit = self.instance.limits.clone_sessions;
        if let Some(limit) = limit.filter(|n| self.draft.next.pre.sessions.len() >= *n) {
            return Err(ControlError::Full {
                what: "the clone session table".to_owned(),
                limit,
            });
        }
        self.put_clone_session(id, session)
    }

    /// MODIFY of a clone session.
    pub fn modify_clone_session(
        &mut self,
        id: u32,
        session: CloneSession,
    ) -> Result<(), ControlError> {
        match self.draft.next.pre.session(id.into()) {
            Some(_) => self.put_clone_session(id, session),
            None => Err(ControlError::NotFound(format!("clone session {id}"))),
        }
    }

    fn put_clone_session(&mut self, id: u32, session: CloneSession) -> Result<(), ControlError> {
        let what = format!("clone session {id}");
        if id == 0 {
            let reason = "the id of a clone session must not be 0".to_owned();
            return Err(ControlError::InvalidArgument(reason));
        }
        self.check_replicas(&what, &session.replicas)?;
        self.changed = true;
        let replicas = session.replicas.clone();
        let session = Replicated::new(id.into(), session, &replicas);
        self.draft.next.pre.sessions.insert(Arc::new(session));
        Ok(())
    }

    /// DELETE of a clone session.
    pub fn delete_clone_session(&mut self, id: u32) -> Result<(), ControlError> {
        let id = u64::from(id);
        match self
            .draft
            .next
            .pre
            .sessions
            .remove(hash_words(&[id]), &[id])
        {
            Some(_) => {
                self.changed = true;
                Ok(())
            }
            None => Err(ControlError::NotFound(format!("clone session {id}"))),
        }
    }
}

/// Splits a concatenation of fields into the words of each.
fn split(value: &[u64], parts: &[u32]) -> Box<[u64]> {
    let word = |i: u32| value.get(i as usize).copied().unwrap_or(0);
    let mut words = Vec::new();
    let mut end: u32 = parts.iter().sum();
    for &width in parts {
        let start = end - width;
        for limb in 0..width.div_ceil(64) {
            let at = start + limb * 64;
            let low = word(at / 64) >> (at % 64);
            let high = match at % 64 {
                0 => 0,
                shift => word(at / 64 + 1) << (64 - shift),
            };
            let bits = (width - limb * 64).min(64);
            words.push((low | high) & (u64::MAX >> (64 - bits)));
        }
        end = start;
    }
    words.into()
}
