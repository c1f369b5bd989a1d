//! `shared_topic` and its action selector `share_group`: a topic of whose share group the switch
//! chooses one member for each PUBLISH, by a hash over the publisher's address.
//!
//! ```text
//! shared_topic (topic index) ─► group ─┬─► member ─ offload_to_member(…): groups of that member and
//!                                      ├─► member     the ordinary subscribers, its own generation
//!                                      └─► member
//! ```
//! The row in `shared_topic` is asked only where `topic` has none.

use std::sync::Arc;

use p4runtime::p4info::{EntityError, EntryView, LookupError, P4Info, TableActionView};
use p4runtime::v1;

use super::topic::{Key, Offload};
use super::{Value, value};

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.shared_topic";

/// Full name of the action selector.
pub const SELECTOR: &str = "MqttsnIngress.share_group";

/// What messages call the selector's members.
pub const MEMBERS: &str = "share members";

/// What messages call the selector's groups.
pub const GROUPS: &str = "share groups";

const ACTION: &str = "MqttsnIngress.offload_to_member";

/// The members of a group, sorted, none twice.
pub type Members = Arc<[u32]>;

pub(crate) fn encode_topic(
    p4info: &P4Info,
    key: &Key,
    group: Option<u32>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(NAME)?
        .entry()
        .exact("topic_index", key.topic_index)?;
    match group {
        Some(group) => entry.group(group).build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode_topic(view: &EntryView<'_>) -> Result<Option<(Key, u32)>, EntityError> {
    let key = Key {
        topic_index: value("topic_index", view.exact("topic_index")?.to_u32())?,
    };
    Ok(match view.action {
        Some(TableActionView::Group(group)) => Some((key, group)),
        // A row of others' is one of ours all the same: what it does must be replaced.
        _ => Some((key, 0)),
    })
}

pub(crate) fn encode_member(
    p4info: &P4Info,
    id: u32,
    offload: Option<&Offload>,
) -> Result<v1::Entity, EntityError> {
    let action = match offload {
        None => None,
        Some(offload) => {
            let mut call = p4info.action(ACTION)?.call();
            for (name, value) in offload.params() {
                call = call.param(name, value)?;
            }
            Some(call.build()?)
        }
    };
    Ok(v1::ActionProfileMember {
        action_profile_id: p4info.action_profile(SELECTOR)?.id,
        member_id: id,
        action,
    }
    .into())
}

pub(crate) fn encode_group(
    p4info: &P4Info,
    id: u32,
    members: &[u32],
) -> Result<v1::Entity, EntityError> {
    let members = members
        .iter()
        .map(|&member_id| v1::action_profile_group::Member {
            member_id,
            weight: 1,
            ..Default::default()
        });
    Ok(v1::ActionProfileGroup {
        action_profile_id: p4info.action_profile(SELECTOR)?.id,
        group_id: id,
        members: members.collect(),
        // It cannot change later; 0 leaves it to the selector's size.
        max_size: 0,
    }
    .into())
}

/// Asks for all members.
pub(crate) fn read_members(p4info: &P4Info) -> Result<v1::Entity, LookupError> {
    Ok(v1::ActionProfileMember {
        action_profile_id: p4info.action_profile(SELECTOR)?.id,
        ..Default::default()
    }
    .into())
}

/// Asks for all groups.
pub(crate) fn read_groups(p4info: &P4Info) -> Result<v1::Entity, LookupError> {
    Ok(v1::ActionProfileGroup {
        action_profile_id: p4info.action_profile(SELECTOR)?.id,
        ..Default::default()
    }
    .into())
}

pub(crate) fn decode_member(
    p4info: &P4Info,
    member: &v1::ActionProfileMember,
) -> Result<Option<(super::Key, Value)>, EntityError> {
    if member.action_profile_id != p4info.action_profile(SELECTOR)?.id {
        return Ok(None);
    }
    let Some(action) = &member.action else {
        return Ok(None);
    };
    let view = p4info.action(ACTION)?.decode(action)?;
    let offload = Offload::of_params(|name| Ok(view.param(name)?))?;
    let key = super::Key::ShareMember(member.member_id);
    Ok(Some((key, Value::ShareMember(offload))))
}

pub(crate) fn decode_group(
    p4info: &P4Info,
    group: &v1::ActionProfileGroup,
) -> Result<Option<(super::Key, Value)>, EntityError> {
    if group.action_profile_id != p4info.action_profile(SELECTOR)?.id {
        return Ok(None);
    }
    let members = group.members.iter().map(|member| member.member_id);
    let key = super::Key::ShareGroup(group.group_id);
    Ok(Some((key, Value::ShareGroup(self::members(members)))))
}

/// Sorts members into the form in which two groups can be compared.
pub fn members(members: impl IntoIterator<Item = u32>) -> Members {
    let mut members: Vec<u32> = members.into_iter().collect();
    members.sort_unstable();
    members.dedup();
    members.into()
}
