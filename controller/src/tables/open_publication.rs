//! `open_publication`: aliases under which anybody may publish with QoS −1.

use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::value;

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.open_publication";

/// An alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The TopicIdType bits.
    pub topic_id_type: u8,
    /// The TopicId.
    pub topic_id: u16,
}

/// `admit_open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The topic that it means.
    pub topic_index: u32,
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(NAME)?
        .entry()
        .exact("topic_id_type", key.topic_id_type)?
        .exact("topic_id", key.topic_id)?;
    match action {
        Some(action) => entry
            .action("admit_open")?
            .param("topic_index", action.topic_index)?
            .build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let [topic_id_type] = value("topic_id_type", view.exact("topic_id_type")?.to_array())?;
    let key = Key {
        topic_id_type,
        topic_id: value("topic_id", view.exact("topic_id")?.to_u16())?,
    };
    let action = Action {
        topic_index: value("topic_index", view.param("topic_index")?.to_u32())?,
    };
    Ok(Some((key, action)))
}
