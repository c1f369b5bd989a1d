//! `subscriber_alias`: what a session calls a topic, where it is not the home alias.

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::value;

/// Full name of the table.
pub const NAME: &str = "MqttsnEgress.subscriber_alias";

/// One subscriber of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The topic.
    pub topic_index: u32,
    /// The subscriber's replication id.
    pub rid: u16,
}

/// `set_alias`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The finished Flags octet of the copy: the TopicIdType bits.
    pub copy_flags: u8,
    /// The TopicId of the copy.
    pub topic_id: u16,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(NAME)?
        .entry()
        .exact("topic_index", key.topic_index)?
        .exact("rid", key.rid)?;
    match action {
        Some(action) => entry
            .action("set_alias")?
            .param("copy_flags", action.copy_flags)?
            .param("topic_id", action.topic_id)?
            .build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        topic_index: value("topic_index", view.exact("topic_index")?.to_u32())?,
        rid: value("rid", view.exact("rid")?.to_u16())?,
    };
    let [copy_flags] = value("copy_flags", view.param("copy_flags")?.to_array())?;
    let action = Action {
        copy_flags,
        topic_id: value("topic_id", view.param("topic_id")?.to_u16())?,
    };
    Ok(Some((key, action)))
}
