//! Action profile members and groups, and one-shot action sets (P4Runtime specification,
//! "ActionProfileMember & ActionProfileGroup").

use p4runtime::p4info;
use p4runtime::v1;
use p4runtime::v1::update::Type;
use tonic::Code;

use super::Batch;
use crate::control::{ActionCall, GroupMember, ProfileGroup, ProfileHandle, TableHandle};
use crate::server::Compat;
use crate::server::convert::{ActionUse, action_from_wire, action_to_wire, port_from_wire};
use crate::server::errors::{Outcome, Refusal};
use crate::server::notes::{FIRST_ONE_SHOT_ID, OneShot};

impl Batch<'_> {
    pub(super) fn member(&mut self, kind: Type, entry: &v1::ActionProfileMember) -> Outcome {
        let (_, handle) = self.loaded.profiles.get(entry.action_profile_id)?;
        let id = programmed_id("member_id", entry.member_id)?;
        if kind == Type::Delete {
            self.changes.delete_member(handle, id)?;
            self.count_programmed(handle, -1);
            return Ok(());
        }
        self.refuse_one_shots(handle)?;
        let action = entry
            .action
            .as_ref()
            .ok_or_else(|| Refusal::invalid("the action profile member has no action"))?;
        let call = self.profile_action(handle, action)?;
        if kind == Type::Insert {
            self.changes.insert_member(handle, id, call)?;
            self.count_programmed(handle, 1);
        } else {
            self.changes.modify_member(handle, id, call)?;
        }
        Ok(())
    }

    pub(super) fn group(&mut self, kind: Type, entry: &v1::ActionProfileGroup) -> Outcome {
        let (profile, handle) = self.loaded.profiles.get(entry.action_profile_id)?;
        if !profile.with_selector {
            return Err(Refusal::invalid(format!(
                "action profile \"{}\" has no selector and thus no groups",
                profile.name
            )));
        }
        let id = programmed_id("group_id", entry.group_id)?;
        if kind == Type::Delete {
            self.changes.delete_group(handle, id)?;
            self.notes.max_members.remove(&(handle, id));
            self.count_programmed(handle, -1);
            return Ok(());
        }
        self.refuse_one_shots(handle)?;
        let rules = self.loaded.selector(profile);
        let max_size = self.max_size(profile, entry.max_size)?;
        let mut members = Vec::with_capacity(entry.members.len());
        for member in &entry.members {
            if members
                .iter()
                .any(|m: &GroupMember| m.member == member.member_id)
            {
                return Err(Refusal::invalid(format!(
                    "member {} is given twice: use its weight",
                    member.member_id
                )));
            }
            use v1::action_profile_group::member::WatchKind;
            let watch_port = match &member.watch_kind {
                Some(WatchKind::WatchPort(port)) => watch_port(port)?,
                #[allow(deprecated)] // controllers older than P4Runtime 1.2 send it
                Some(WatchKind::Watch(port)) => u32::try_from(*port).ok().filter(|&p| p != 0),
                None => None,
            };
            members.push(GroupMember {
                member: member.member_id,
                weight: rules.weight(member.weight)?,
                watch_port,
            });
        }
        let size = rules.size(members.iter().map(|member| member.weight));
        if max_size > 0 && size > u64::from(max_size) {
            return Err(Refusal::new(
                Code::ResourceExhausted,
                format!("the group has size {size}, more than max_size {max_size}"),
            ));
        }
        let group = ProfileGroup {
            members,
            max_size: if rules.counts_members { 0 } else { max_size },
        };
        if kind == Type::Insert {
            self.changes.insert_group(handle, id, group)?;
            self.count_programmed(handle, 1);
            if rules.counts_members {
                self.notes.max_members.insert((handle, id), max_size);
            }
            return Ok(());
        }
        let before = self.changes.group(handle, id)?.max_size;
        let noted = self.notes.max_members.get(&(handle, id));
        let before = noted.copied().unwrap_or(before);
        if before != max_size {
            return Err(Refusal::invalid(format!(
                "max_size of group {id} is {before} and cannot be changed"
            )));
        }
        Ok(self.changes.modify_group(handle, id, group)?)
    }

    /// Makes the members and the group of a one-shot action set; gives the group.
    pub(super) fn make_one_shot(
        &mut self,
        table: &p4info::Table,
        table_handle: TableHandle,
        profile: ProfileHandle,
        set: &v1::ActionProfileActionSet,
    ) -> Outcome<u32> {
        let selector = table
            .implementation
            .as_ref()
            .filter(|implementation| implementation.with_selector)
            .ok_or_else(|| Refusal::invalid("the table has no action selector"))?;
        if self.notes.is_programmed(profile) {
            return Err(Refusal::invalid(format!(
                "action selector \"{}\" is programmed with members and groups: one-shot action \
                 sets cannot be mixed with them",
                selector.name
            )));
        }
        if set.group_action.is_some() || set.action_selection_mode != 0 || set.size_semantics != 0 {
            return Err(Refusal::unimplemented(
                "group actions, selection modes and size semantics of action sets",
            ));
        }
        let mut calls = Vec::with_capacity(set.action_profile_actions.len());
        let rules = self.loaded.selector(selector);
        for given in &set.action_profile_actions {
            let action = given
                .action
                .as_ref()
                .ok_or_else(|| Refusal::invalid("an action of the action set is missing"))?;
            let call =
                action_from_wire(self.loaded, table, table_handle, action, ActionUse::Entry)?;
            use v1::action_profile_action::WatchKind;
            let watch_port = match &given.watch_kind {
                Some(WatchKind::WatchPort(port)) => watch_port(port)?,
                #[allow(deprecated)] // controllers older than P4Runtime 1.2 send it
                Some(WatchKind::Watch(port)) => u32::try_from(*port).ok().filter(|&p| p != 0),
                None => None,
            };
            let weight = rules.weight(given.weight)?;
            calls.push((call, weight, watch_port));
        }
        let size = rules.size(calls.iter().map(|(_, weight, _)| *weight));
        if selector.max_group_size > 0 && size > u64::from(selector.max_group_size) {
            return Err(Refusal::invalid(format!(
                "the action set has size {size}, more than max_group_size {}",
                selector.max_group_size
            )));
        }
        // What reads give back: as written, values in canonical form.
        let mut written = set.clone();
        for (given, (call, ..)) in written.action_profile_actions.iter_mut().zip(&calls) {
            given.action = action_to_wire(self.loaded, call);
        }
        self.insert_one_shot(profile, calls, written)
    }

    fn insert_one_shot(
        &mut self,
        profile: ProfileHandle,
        calls: Vec<(ActionCall, u32, Option<u32>)>,
        set: v1::ActionProfileActionSet,
    ) -> Outcome<u32> {
        let mut made = OneShot {
            set,
            members: Vec::with_capacity(calls.len()),
        };
        let mut members = Vec::with_capacity(calls.len());
        for (call, weight, watch_port) in calls {
            match self.insert_fresh(|changes, id| changes.insert_member(profile, id, call.clone()))
            {
                Ok(member) => {
                    made.members.push(member);
                    members.push(GroupMember {
                        member,
                        weight,
                        watch_port,
                    });
                }
                Err(refusal) => {
                    self.delete_members(profile, &made.members);
                    return Err(refusal);
                }
            }
        }
        let group = ProfileGroup {
            members,
            max_size: 0,
        };
        match self.insert_fresh(|changes, id| changes.insert_group(profile, id, group.clone())) {
            Ok(id) => {
                self.notes.one_shots.insert((profile, id), made);
                Ok(id)
            }
            Err(refusal) => {
                self.delete_members(profile, &made.members);
                Err(refusal)
            }
        }
    }

    /// Inserts under an id that is not in use.
    fn insert_fresh(
        &mut self,
        insert: impl Fn(&mut crate::control::Write<'_>, u32) -> Result<(), crate::control::ControlError>,
    ) -> Outcome<u32> {
        loop {
            let id = self.notes.one_shot_id();
            match insert(&mut self.changes, id) {
                Ok(()) => return Ok(id),
                // Ids came round after 2^31 of them; the next one is free sooner or later.
                Err(crate::control::ControlError::AlreadyExists(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes what stands behind a one-shot action set that no entry has any more.
    pub(super) fn drop_one_shot(&mut self, profile: ProfileHandle, group: u32) {
        let Some(one_shot) = self.notes.one_shots.remove(&(profile, group)) else {
            return;
        };
        if let Err(error) = self.changes.delete_group(profile, group) {
            tracing::error!(%error, group, "a one-shot action set is still in use");
            return;
        }
        self.delete_members(profile, &one_shot.members);
    }

    fn delete_members(&mut self, profile: ProfileHandle, members: &[u32]) {
        for &member in members {
            if let Err(error) = self.changes.delete_member(profile, member) {
                tracing::error!(%error, member, "a one-shot member is still in use");
            }
        }
    }

    /// The action of a member, through any table that uses the profile.
    fn profile_action(&self, profile: ProfileHandle, action: &v1::Action) -> Outcome<ActionCall> {
        let info = self.loaded.pipeline.profile_info(profile);
        let found = info.tables.iter().find_map(|&handle| {
            let table = self.loaded.tables.of_handle(handle)?;
            table.actions.by_id(action.action_id).ok()?;
            Some((table, handle))
        });
        let (table, handle) = found.ok_or_else(|| {
            Refusal::invalid(format!(
                "no table with action profile \"{}\" has an action with the id {:#x}",
                info.name, action.action_id
            ))
        })?;
        action_from_wire(self.loaded, table, handle, action, ActionUse::Entry)
    }

    /// P4Runtime specification, "Rules on Setting max_size".
    fn max_size(&self, profile: &p4info::ActionProfile, max_size: i32) -> Outcome<u32> {
        let bound = profile.max_group_size;
        match u32::try_from(max_size) {
            Err(_) => Err(Refusal::invalid(format!("max_size {max_size} is negative"))),
            // BMv2's server takes 0 for "as much as there is".
            Ok(0) if bound > 0 && self.compat != Compat::Bmv2 => Err(Refusal::invalid(format!(
                "max_size must be within 1 and {bound}, the selector's max_group_size"
            ))),
            Ok(size) if bound > 0 && size > bound => Err(Refusal::invalid(format!(
                "max_size {size} is beyond the selector's max_group_size {bound}"
            ))),
            Ok(size) => Ok(size),
        }
    }

    fn refuse_one_shots(&self, profile: ProfileHandle) -> Outcome {
        if self.notes.has_one_shots(profile) {
            return Err(Refusal::invalid(
                "the action selector is programmed with one-shot action sets: members and groups \
                 cannot be mixed with them",
            ));
        }
        Ok(())
    }

    fn count_programmed(&mut self, profile: ProfileHandle, change: isize) {
        let count = self.notes.programmed.entry(profile).or_default();
        *count = count.saturating_add_signed(change);
    }
}

fn programmed_id(what: &str, id: u32) -> Outcome<u32> {
    match id {
        0 => Err(Refusal::invalid(format!("{what} must not be 0"))),
        id if id >= FIRST_ONE_SHOT_ID => Err(Refusal::new(
            Code::OutOfRange,
            format!("{what} {id} is beyond {}", FIRST_ONE_SHOT_ID - 1),
        )),
        id => Ok(id),
    }
}

/// An empty watch port is none.
fn watch_port(port: &[u8]) -> Outcome<Option<u32>> {
    if port.is_empty() {
        Ok(None)
    } else {
        port_from_wire(port).map(Some)
    }
}
