//! Members and groups of action profiles.

use std::sync::Arc;

use super::Write;
use crate::control::error::ControlError;
use crate::control::types::{ActionCall, GroupMember, ProfileGroup, ProfileHandle};
use crate::tables::{Group, Member, hash_words};

/// The most that the weights of a group may sum up to.
const MAX_WEIGHTS: u64 = 1 << 32;

impl Write<'_> {
    pub(super) fn member_name(&self, profile: ProfileHandle, what: &str, id: u32) -> String {
        let info = self.instance.pipeline.profile_info(profile);
        format!("{what} {id} of action profile `{}`", info.name)
    }

    fn must_have_member(&self, profile: ProfileHandle, id: u32) -> Result<(), ControlError> {
        if self.has_member(profile, id) {
            return Ok(());
        }
        let name = self.member_name(profile, "member", id);
        Err(ControlError::NotFound(name))
    }

    fn must_have_group(&self, profile: ProfileHandle, id: u32) -> Result<(), ControlError> {
        if self.has_group(profile, id) {
            return Ok(());
        }
        let name = self.member_name(profile, "group", id);
        Err(ControlError::NotFound(name))
    }

    /// INSERT of a member of an action profile.
    pub fn insert_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
        action: ActionCall,
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.profile_info(profile);
        if self.has_member(profile, member) {
            let name = self.member_name(profile, "member", member);
            return Err(ControlError::AlreadyExists(name));
        }
        if self.profile(profile).members.len() >= info.size {
            let what = format!("action profile `{}`", info.name);
            let limit = info.size;
            return Err(ControlError::Full { what, limit });
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
        self.must_have_member(profile, member)?;
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
        let members = &mut self.draft.next.profiles[profile.index()].members;
        members.insert(Arc::new(member));
        Ok(())
    }

    /// DELETE of a member. `FailedPrecondition` while an entry or a group uses it.
    pub fn delete_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
    ) -> Result<(), ControlError> {
        self.must_have_member(profile, member)?;
        if self.draft.member_users.contains_key(&(profile.0, member)) {
            let name = self.member_name(profile, "member", member);
            return Err(in_use(&name));
        }
        self.changed = true;
        let id = [u64::from(member)];
        let members = &mut self.draft.next.profiles[profile.index()].members;
        members.remove(hash_words(&id), &id);
        Ok(())
    }

    /// INSERT of a group of an action selector. All its members must exist.
    pub fn insert_group(
        &mut self,
        profile: ProfileHandle,
        group: u32,
        value: ProfileGroup,
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.profile_info(profile);
        if !info.with_selector {
            return Err(ControlError::Unsupported(format!(
                "action profile `{}` has no selector, so it has no groups",
                info.name
            )));
        }
        if self.has_group(profile, group) {
            let name = self.member_name(profile, "group", group);
            return Err(ControlError::AlreadyExists(name));
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
        self.must_have_group(profile, group)?;
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
            self.must_have_member(profile, member.member)?;
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
            let limit = limit as usize;
            return Err(ControlError::Full { what, limit });
        }
        let id = [u64::from(group)];
        let watches = source.members.iter().any(|m| m.watch_port.is_some());
        for member in &source.members {
            self.member_user((profile.0, member.member), true);
        }
        let value = Group {
            hash: hash_words(&id),
            id,
            source,
            cumulated,
            watches,
        };
        self.changed = true;
        let groups = &mut self.draft.next.profiles[profile.index()].groups;
        if let Some(old) = groups.insert(Arc::new(value)) {
            self.release_members(profile, &old);
        }
        Ok(())
    }

    fn release_members(&mut self, profile: ProfileHandle, group: &Group) {
        for GroupMember { member, .. } in &group.source.members {
            self.member_user((profile.0, *member), false);
        }
    }

    /// DELETE of a group. `FailedPrecondition` while an entry uses it.
    pub fn delete_group(&mut self, profile: ProfileHandle, group: u32) -> Result<(), ControlError> {
        self.must_have_group(profile, group)?;
        if self.draft.group_users.contains_key(&(profile.0, group)) {
            let name = self.member_name(profile, "group", group);
            return Err(in_use(&name));
        }
        self.changed = true;
        let id = [u64::from(group)];
        let groups = &mut self.draft.next.profiles[profile.index()].groups;
        if let Some(old) = groups.remove(hash_words(&id), &id) {
            self.release_members(profile, &old);
        }
        Ok(())
    }

    /// A group of an action selector.
    pub fn group(&self, profile: ProfileHandle, group: u32) -> Result<ProfileGroup, ControlError> {
        self.must_have_group(profile, group)?;
        let id = [u64::from(group)];
        let found = self.profile(profile).groups.get(hash_words(&id), &id);
        Ok(found.map(|found| found.source.clone()).unwrap_or_default())
    }
}

fn in_use(name: &str) -> ControlError {
    ControlError::FailedPrecondition(format!("{name} is in use"))
}
