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
    /// What P4 calls its parameters, and their values: those of `offload` and of `offload_to_member`.
    pub(crate) fn params(&self) -> [(&'static str, Bitstring); 10] {
        [
            ("group_q0", self.group_q0.into()),
            ("group_q1", self.group_q1.into()),
            ("copy_q0", self.copy_q0.into()),
            ("copy_q1", self.copy_q1.into()),
            ("ack_q1", self.ack_q1.into()),
            ("aliased", self.aliased.into()),
            ("translated", self.translated.into()),
            ("generation", self.generation.into()),
            ("copy_flags", self.copy_flags.into()),
            ("copy_topic_id", self.copy_topic_id.into()),
        ]
    }

    /// The other way: `param` gives the value of a name.
    pub(crate) fn of_params<'a>(
        param: impl Fn(&str) -> Result<&'a Bitstring, EntityError>,
    ) -> Result<Self, EntityError> {
        let params = Params(param);
        Ok(Offload {
            group_q0: params.number("group_q0")?,
            group_q1: params.number("group_q1")?,
            copy_q0: params.flag("copy_q0")?,
            copy_q1: params.flag("copy_q1")?,
            ack_q1: params.flag("ack_q1")?,
            aliased: params.flag("aliased")?,
            translated: params.flag("translated")?,
            generation: params.generation()?,
            copy_flags: params.flags_octet()?,
            copy_topic_id: params.number("copy_topic_id")?,
        })
    }

    /// The multicast groups that it refers to.
    pub fn groups(&self) -> impl Iterator<Item = u16> + use<> {
        let groups = [self.group_q0, self.group_q1];
        groups.into_iter().filter(|&group| group != 0)
    }
}

/// The parameters of an action that was read.
struct Params<F>(F);

impl<'a, F: Fn(&str) -> Result<&'a Bitstring, EntityError>> Params<F> {
    fn number(&self, name: &str) -> Result<u16, EntityError> {
        value(name, (self.0)(name)?.to_u16())
    }

    fn flag(&self, name: &str) -> Result<bool, EntityError> {
        Ok(!(self.0)(name)?.is_zero())
    }

    fn generation(&self) -> Result<u32, EntityError> {
        value("generation", (self.0)("generation")?.to_u32())
    }

    fn flags_octet(&self) -> Result<u8, EntityError> {
        let [octet] = value("copy_flags", (self.0)("copy_flags")?.to_array())?;
        Ok(octet)
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
        Some(Action::Offload(offload)) => {
            let mut entry = entry.action("offload")?;
            for (name, value) in offload.params() {
                entry = entry.param(name, value)?;
            }
            entry.build()
        }
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
    let param = |name: &str| view.param(name);
    let params = Params(param);
    let generation = params.generation()?;
    let action = match view.action_name() {
        Some("MqttsnIngress.discard") => Action::Discard { generation },
        Some("MqttsnIngress.offload_to_one") => Action::ToOne(ToOne {
            port: params.number("port")?,
            rid: params.number("rid")?,
            ack_q1: params.flag("ack_q1")?,
            translated: params.flag("translated")?,
            generation,
            copy_flags: params.flags_octet()?,
            copy_topic_id: params.number("copy_topic_id")?,
        }),
        _ => Action::Offload(Offload::of_params(param)?),
    };
    Ok(Some((key, action)))
}
