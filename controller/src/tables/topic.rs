//! `topic`: what becomes of a PUBLISH to one topic. One MODIFY of one row switches the topic from
//! one served set to the next.

use p4runtime::bytes::Bitstring;
use p4runtime::p4info::{EntityError, EntryView, P4Info};
use p4runtime::v1;

use super::value;

/// Full name of the table.
pub const NAME: &str = "MqttsnIngress.topic";

/// A topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The broker's index of it.
    pub topic_index: u32,
}

/// What to do with a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Copy it to the subscribers served here.
    Offload(Offload),
    /// It goes to the one subscriber there is.
    ToOne(ToOne),
    /// Nobody subscribes: it ends here, acknowledged at QoS 1.
    Discard {
        /// Names the (empty) served sets.
        generation: u32,
    },
}

/// The parameters of `offload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Multicast group of those served at QoS 0 and −1, and of the broker with `copy_q0`; 0 where
    /// nobody is served: a copy for the broker is then the packet itself, untagged.
    pub group_q0: u16,
    /// The same at QoS 1, with `copy_q1`.
    pub group_q1: u16,
    /// The broker gets a copy at QoS 0 and −1.
    pub copy_q0: bool,
    /// The broker gets a copy at QoS 1.
    pub copy_q1: bool,
    /// The data plane acknowledges at QoS 1.
    pub ack_q1: bool,
    /// Some subscriber has a row in `subscriber_alias`.
    pub aliased: bool,
    /// Some subscriber is reached over IPv6.
    pub translated: bool,
    /// Names the pair of served sets.
    pub generation: u32,
    /// The finished Flags octet of the copies: the TopicIdType bits of the home alias.
    pub copy_flags: u8,
    /// The TopicId of the home alias.
    pub copy_topic_id: u16,
}

/// The parameters of `offload_to_one`: no group is needed, and the switch makes no replica. The
/// broker gets no copy at QoS 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToOne {
    /// The subscriber's port.
    pub port: u16,
    /// Its row of `subscriber`.
    pub rid: u16,
    /// It is served at QoS 1 too, and the data plane acknowledges; else the broker does both.
    pub ack_q1: bool,
    /// It is reached over IPv6.
    pub translated: bool,
    /// Names the pair of served sets.
    pub generation: u32,
    /// The finished Flags octet of the copy: the TopicIdType bits of its own alias.
    pub copy_flags: u8,
    /// The TopicId of its own alias.
    pub copy_topic_id: u16,
}

impl Offload {
    /// The multicast groups that it refers to.
    pub fn groups(&self) -> impl Iterator<Item = u16> + use<> {
        let groups = [self.group_q0, self.group_q1];
        groups.into_iter().filter(|&group| group != 0)
    }
}

impl Action {
    /// Names the pair of served sets.
    pub fn generation(&self) -> u32 {
        match self {
            Action::Offload(offload) => offload.generation,
            Action::ToOne(to_one) => to_one.generation,
            Action::Discard { generation } => *generation,
        }
    }

    /// The multicast groups that the row refers to, at QoS 0 and QoS 1.
    pub fn groups(&self) -> [Option<u16>; 2] {
        match self {
            Action::Offload(offload) => {
                [offload.group_q0, offload.group_q1].map(|group| (group != 0).then_some(group))
            }
            Action::ToOne(_) | Action::Discard { .. } => [None, None],
        }
    }

    /// The row of `subscriber` that it refers to without a group.
    pub fn rid(&self) -> Option<u16> {
        match self {
            Action::ToOne(to_one) => Some(to_one.rid),
            Action::Offload(_) | Action::Discard { .. } => None,
        }
    }
}

pub(crate) fn encode(
    p4info: &P4Info,
    key: &Key,
    action: Option<&Action>,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info
        .table(NAME)?
        .entry()
        .exact("topic_index", key.topic_index)?;
    match action {
        Some(Action::Offload(offload)) => entry
            .action("offload")?
            .param("group_q0", offload.group_q0)?
            .param("group_q1", offload.group_q1)?
            .param("copy_q0", offload.copy_q0)?
            .param("copy_q1", offload.copy_q1)?
            .param("ack_q1", offload.ack_q1)?
            .param("aliased", offload.aliased)?
            .param("translated", offload.translated)?
            .param("generation", offload.generation)?
            .param("copy_flags", offload.copy_flags)?
            .param("copy_topic_id", offload.copy_topic_id)?
            .build(),
        Some(Action::ToOne(to_one)) => entry
            .action("offload_to_one")?
            .param("port", to_one.port)?
            .param("rid", to_one.rid)?
            .param("ack_q1", to_one.ack_q1)?
            .param("translated", to_one.translated)?
            .param("generation", to_one.generation)?
            .param("copy_flags", to_one.copy_flags)?
            .param("copy_topic_id", to_one.copy_topic_id)?
            .build(),
        Some(Action::Discard { generation }) => entry
            .action("discard")?
            .param("generation", *generation)?
            .build(),
        None => entry.build_key(),
    }
}

pub(crate) fn decode(view: &EntryView<'_>) -> Result<Option<(Key, Action)>, EntityError> {
    let key = Key {
        topic_index: value("topic_index", view.exact("topic_index")?.to_u32())?,
    };
    let generation = value("generation", view.param("generation")?.to_u32())?;
    let name = view.action_name();
    if name == Some("MqttsnIngress.discard") {
        return Ok(Some((key, Action::Discard { generation })));
    }
    let number = |name: &str| value(name, view.param(name)?.to_u16());
    let flag = |name: &str| -> Result<bool, EntityError> {
        let value: &Bitstring = view.param(name)?;
        Ok(!value.is_zero())
    };
    let [copy_flags] = value("copy_flags", view.param("copy_flags")?.to_array())?;
    let action = if name == Some("MqttsnIngress.offload_to_one") {
        Action::ToOne(ToOne {
            port: number("port")?,
            rid: number("rid")?,
            ack_q1: flag("ack_q1")?,
            translated: flag("translated")?,
            generation,
            copy_flags,
            copy_topic_id: number("copy_topic_id")?,
        })
    } else {
        Action::Offload(Offload {
            group_q0: number("group_q0")?,
            group_q1: number("group_q1")?,
            copy_q0: flag("copy_q0")?,
            copy_q1: flag("copy_q1")?,
            ack_q1: flag("ack_q1")?,
            aliased: flag("aliased")?,
            translated: flag("translated")?,
            generation,
            copy_flags,
            copy_topic_id: number("copy_topic_id")?,
        })
    };
    Ok(Some((key, action)))
}
