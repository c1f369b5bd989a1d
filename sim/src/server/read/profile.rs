//! Action profile members and groups. Those behind one-shot action sets are not shown: the entries
//! that have them are.

use p4runtime::v1;
use p4runtime::v1::action_profile_group::member::WatchKind;

use super::Reader;
use crate::control::ProfileGroup;
use crate::server::convert::{action_to_wire, port_to_wire};
use crate::server::errors::Outcome;
use crate::server::notes::FIRST_ONE_SHOT_ID;
use crate::server::selector::SelectorRules;

impl Reader<'_> {
    pub(super) fn members(&mut self, filter: &v1::ActionProfileMember) -> Outcome {
        for (profile, handle) in self.loaded.profiles.select(filter.action_profile_id)? {
            let members = match filter.member_id {
                id if id == 0 || filter.action_profile_id == 0 => self.control.members(handle),
                id => vec![(id, self.control.member(handle, id)?)],
            };
            for (member_id, call) in members {
                if member_id < FIRST_ONE_SHOT_ID {
                    self.give(v1::ActionProfileMember {
                        action_profile_id: profile.id,
                        member_id,
                        action: action_to_wire(self.loaded, &call),
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn groups(&mut self, filter: &v1::ActionProfileGroup) -> Outcome {
        for (profile, handle) in self.loaded.profiles.select(filter.action_profile_id)? {
            if !profile.with_selector {
                continue;
            }
            let groups = match filter.group_id {
                id if id == 0 || filter.action_profile_id == 0 => self.control.groups(handle),
                id => vec![(id, self.control.group(handle, id)?)],
            };
            let rules = self.loaded.selector(profile);
            for (group_id, group) in groups {
                let noted = self.notes.max_members.get(&(handle, group_id));
                let max_size = noted.copied().unwrap_or(group.max_size);
                if group_id < FIRST_ONE_SHOT_ID {
                    self.give(v1::ActionProfileGroup {
                        action_profile_id: profile.id,
                        group_id,
                        members: members_to_wire(&group, &rules),
                        max_size: i32::try_from(max_size).unwrap_or(i32::MAX),
                    });
                }
            }
        }
        Ok(())
    }
}

fn members_to_wire(
    group: &ProfileGroup,
    rules: &SelectorRules,
) -> Vec<v1::action_profile_group::Member> {
    group
        .members
        .iter()
        .map(|member| v1::action_profile_group::Member {
            member_id: member.member,
            weight: rules.weight_to_wire(member.weight),
            watch_kind: member
                .watch_port
                .map(|port| WatchKind::WatchPort(port_to_wire(port))),
        })
        .collect()
}
