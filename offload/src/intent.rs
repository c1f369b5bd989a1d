//! What the broker wants of the network: the full state, and the changes between two states.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// The broker's identity of one topic name. Never on a client's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIndex(pub u32);

/// The broker's identity of one client session that publishes or subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// Names one exact set of subscribers that the data plane serves for a topic.
///
/// The broker chooses it, so it knows who was served before the first tagged copy can arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

/// Number of a state of the intent; grows by each delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// How a `TopicId` on the wire is to be read (MQTT-SN 1.2 §5.3.4, TopicIdType).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AliasType {
    /// A topic id from REGISTER, REGACK or SUBACK.
    Normal,
    /// A topic id known in advance to the client and the broker.
    Predefined,
    /// A topic name of exactly two octets, carried in the id.
    Short,
}

impl AliasType {
    /// The two bits of the Flags octet (MQTT-SN 1.2 §5.3.4).
    pub fn bits(self) -> u8 {
        match self {
            AliasType::Normal => 0b00,
            AliasType::Predefined => 0b01,
            AliasType::Short => 0b10,
        }
    }

    /// The type for the two bits of the Flags octet; `None` for the reserved value 0b11.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0b00 => Some(AliasType::Normal),
            0b01 => Some(AliasType::Predefined),
            0b10 => Some(AliasType::Short),
            _ => None,
        }
    }
}

/// What a client calls a topic on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias {
    /// How `id` is to be read.
    pub id_type: AliasType,
    /// The `TopicId` field; for a short name its two octets, the first one in the high byte.
    pub id: u16,
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id_type {
            AliasType::Normal => write!(f, "normal:{}", self.id),
            AliasType::Predefined => write!(f, "predefined:{}", self.id),
            AliasType::Short => {
                let [a, b] = self.id.to_be_bytes();
                write!(
                    f,
                    "short:{}{}",
                    char::from(a).escape_default(),
                    char::from(b).escape_default()
                )
            }
        }
    }
}

/// One member of a share group that the data plane may choose for a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareMember {
    /// Names the served sets of a PUBLISH for which this member is chosen: those of the topic, and the
    /// member. A tagged copy carries it, and so says who was chosen.
    pub generation: Generation,
    /// The data plane serves the member at QoS 1 too. Where it does not, `copy_q1` of the topic is set.
    pub serve_q1: bool,
    /// What it calls the topic, where that is not the home alias.
    pub alias: Option<Alias>,
}

/// What the data plane shall do with a PUBLISH to one topic.
///
/// The broker alone decides who is served where. A controller installs exactly this, under exactly
/// this generation, or refuses the topic as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The topic name, for people and for policies.
    pub name: String,
    /// Names the pair of served sets below; changes whenever one of them does. With share members each
    /// PUBLISH carries the generation of the member chosen for it instead.
    pub generation: Generation,
    /// What most sessions call the topic; copies carry it unless `aliases` says otherwise.
    pub home_alias: Alias,
    /// Sessions that get a PUBLISH of QoS 0 or −1 from the data plane.
    pub served_q0: BTreeSet<SessionId>,
    /// Sessions that get a PUBLISH of QoS 1 from the data plane (as QoS 0: that is what they were granted).
    pub served_q1: BTreeSet<SessionId>,
    /// The broker wants a tagged copy of a PUBLISH of QoS 0 or −1.
    pub copy_q0: bool,
    /// The broker wants a tagged copy of a PUBLISH of QoS 1, and will acknowledge it.
    pub copy_q1: bool,
    /// The data plane acknowledges a PUBLISH of QoS 1. Never together with `copy_q1`.
    pub ack_q1: bool,
    /// Members of the topic's one share group (`$share/…`), of which the data plane chooses exactly one
    /// for each PUBLISH, the same one for all of a publisher's as long as it stays. Empty where there is
    /// no such group or the broker serves it. None of them is in `served_q0` or `served_q1`.
    pub shared: BTreeMap<SessionId, ShareMember>,
    /// Sessions of `served_q0` or `served_q1` that know the topic by another alias than the home alias.
    pub aliases: BTreeMap<SessionId, Alias>,
}

/// How the data plane serves one session on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// It gets a PUBLISH of QoS 0 or −1 from the data plane.
    pub q0: bool,
    /// It gets a PUBLISH of QoS 1 from the data plane.
    pub q1: bool,
    /// What it calls the topic, where that is not the home alias.
    pub alias: Option<Alias>,
}

/// A step of one topic that is offloaded already: who joins, who leaves, who is served otherwise.
///
/// It says in full what the topic is to be but for the sessions that it does not name, which stay
/// as they are. So a join costs the same on a topic of ten subscribers and of ten thousand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Names the served sets that result.
    pub generation: Generation,
    /// See [`Topic::copy_q0`].
    pub copy_q0: bool,
    /// See [`Topic::copy_q1`].
    pub copy_q1: bool,
    /// See [`Topic::ack_q1`].
    pub ack_q1: bool,
    /// The sessions that are served otherwise than before; None: no longer.
    pub members: Vec<(SessionId, Option<Member>)>,
    /// The share members that come, are served otherwise, or (None) go.
    pub shared: Vec<(SessionId, Option<ShareMember>)>,
}

impl Topic {
    /// How the session is served, a share member aside; None if it is not.
    pub fn member(&self, session: SessionId) -> Option<Member> {
        let q0 = self.served_q0.contains(&session);
        let q1 = self.served_q1.contains(&session);
        (q0 || q1).then(|| Member {
            q0,
            q1,
            alias: self.aliases.get(&session).copied(),
        })
    }

    /// Takes the step.
    pub fn serve(&mut self, step: &Serve) {
        self.generation = step.generation;
        self.copy_q0 = step.copy_q0;
        self.copy_q1 = step.copy_q1;
        self.ack_q1 = step.ack_q1;
        for &(session, member) in &step.members {
            self.set_member(session, member);
        }
        for &(session, member) in &step.shared {
            set(&mut self.shared, session, member);
        }
    }

    fn set_member(&mut self, session: SessionId, member: Option<Member>) {
        for (set, is_in) in [
            (&mut self.served_q0, member.is_some_and(|m| m.q0)),
            (&mut self.served_q1, member.is_some_and(|m| m.q1)),
        ] {
            if is_in {
                set.insert(session);
            } else {
                set.remove(&session);
            }
        }
        set(
            &mut self.aliases,
            session,
            member.and_then(|member| member.alias),
        );
    }
}

/// Key of one publication: what identifies it in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicationKey {
    /// The publisher's address, as the broker sees it.
    pub address: SocketAddr,
    /// What the publisher calls the topic.
    pub alias: Alias,
}

/// One (client, alias) that may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Whose publication it is; an activity question names the session.
    pub session: SessionId,
    /// The topic that it publishes to. Need not be a topic of the intent: then it stays in software.
    pub topic: TopicIndex,
}

/// The full state that the broker wants of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// Which state this is.
    pub revision: Revision,
    /// The broker's own addresses. Only PUBLISH to one of them may be offloaded.
    pub services: BTreeSet<SocketAddr>,
    /// Where each session that some topic serves is to be reached.
    pub sessions: BTreeMap<SessionId, SocketAddr>,
    /// The topics to offload.
    pub topics: BTreeMap<TopicIndex, Topic>,
    /// Who may publish, from where, under which alias.
    pub publications: BTreeMap<PublicationKey, Publication>,
    /// Aliases under which anybody may publish with QoS −1 (predefined and short ones only).
    pub open_publications: BTreeMap<Alias, TopicIndex>,
}

/// One step from one intent to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The broker's addresses are now these.
    Services(BTreeSet<SocketAddr>),
    /// The session is reached at this address, or (None) no longer of interest.
    Session(SessionId, Option<SocketAddr>),
    /// The topic is to be offloaded so, or (None) no longer.
    Topic(TopicIndex, Option<Topic>),
    /// The topic, which is offloaded already, serves these sessions otherwise.
    Serve(TopicIndex, Serve),
    /// The publication stands, or (None) is withdrawn.
    Publication(PublicationKey, Option<Publication>),
    /// The alias is open for QoS −1, or (None) closed.
    OpenPublication(Alias, Option<TopicIndex>),
}

/// The changes from one revision of the intent to a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The revision to which the changes apply.
    pub base: Revision,
    /// The revision that results.
    pub revision: Revision,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// Why a delta does not fit an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The delta starts from another state; the receiver needs a snapshot.
    #[error(
        "delta starts at revision {base}, but the intent here is at revision {have}: ask for a snapshot"
    )]
    WrongBase {
        /// Revision of the intent at hand.
        have: u64,
        /// Revision from which the delta starts.
        base: u64,
    },
    /// A delta must lead forward.
    #[error("delta leads from revision {base} back to revision {revision}")]
    NotForward {
        /// Revision from which the delta starts.
        base: u64,
        /// Revision to which it claims to lead.
        revision: u64,
    },
    /// It speaks of a topic that is not there.
    #[error(
        "the delta serves sessions on topic {topic}, which is not offloaded: ask for a snapshot"
    )]
    NoTopic {
        /// The topic's index.
        topic: u32,
    },
}

impl Intent {
    /// The state that `changes` lead to from nothing.
    pub fn from_changes(revision: Revision, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut intent = Intent {
            revision,
            ..Intent::default()
        };
        for change in changes {
            intent.change(change);
        }
        intent
    }

    /// The changes that lead from nothing to this state.
    pub fn into_changes(self) -> impl Iterator<Item = Change> {
        std::iter::once(Change::Services(self.services))
            .chain(
                self.sessions
                    .into_iter()
                    .map(|(id, a)| Change::Session(id, Some(a))),
            )
            .chain(
                self.topics
                    .into_iter()
                    .map(|(i, t)| Change::Topic(i, Some(t))),
            )
            .chain(
                self.publications
                    .into_iter()
                    .map(|(k, p)| Change::Publication(k, Some(p))),
            )
            .chain(
                self.open_publications
                    .into_iter()
                    .map(|(a, t)| Change::OpenPublication(a, Some(t))),
            )
    }

    /// Takes the step `delta`.
    ///
    /// # Errors
    /// When the delta starts from another revision, leads backwards or speaks of a topic that is not
    /// there; the intent is then unchanged.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), ApplyError> {
        if delta.base != self.revision {
            return Err(ApplyError::WrongBase {
                have: self.revision.0,
                base: delta.base.0,
            });
        }
        if delta.revision <= delta.base {
            return Err(ApplyError::NotForward {
                base: delta.base.0,
                revision: delta.revision.0,
            });
        }
        self.check(&delta.changes)?;
        for change in &delta.changes {
            self.change(change.clone());
        }
        self.revision = delta.revision;
        Ok(())
    }

    /// Whether every topic that the changes speak of is there when its turn comes.
    fn check(&self, changes: &[Change]) -> Result<(), ApplyError> {
        let mut made = BTreeMap::new();
        for change in changes {
            match change {
                Change::Topic(index, to) => {
                    made.insert(*index, to.is_some());
                }
                Change::Serve(index, _) => {
                    let there = made.get(index).copied();
                    if !there.unwrap_or_else(|| self.topics.contains_key(index)) {
                        return Err(ApplyError::NoTopic { topic: index.0 });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Services(services) => self.services = services,
            Change::Session(id, to) => set(&mut self.sessions, id, to),
            Change::Topic(index, to) => set(&mut self.topics, index, to),
            Change::Serve(index, step) => {
                if let Some(topic) = self.topics.get_mut(&index) {
                    topic.serve(&step);
                }
            }
            Change::Publication(key, to) => set(&mut self.publications, key, to),
            Change::OpenPublication(alias, to) => set(&mut self.open_publications, alias, to),
        }
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, to: Option<V>) {
    match to {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_from_another_revision_is_refused_and_changes_nothing() {
        let mut intent = Intent::default();
        let address = "10.0.0.1:4000".parse().unwrap();
        let delta = Delta {
            base: Revision(3),
            revision: Revision(4),
            changes: vec![Change::Session(SessionId(1), Some(address))],
        };
        assert_eq!(
            intent.apply(&delta),
            Err(ApplyError::WrongBase { have: 0, base: 3 })
        );
        assert_eq!(intent, Intent::default());
    }

    #[test]
    fn changes_apply_in_order() {
        let mut intent = Intent::default();
        let address = "10.0.0.1:4000".parse().unwrap();
        let session = SessionId(1);
        let delta = Delta {
            base: Revision(0),
            revision: Revision(5),
            changes: vec![
                Change::Session(session, Some(address)),
                Change::Session(session, None),
            ],
        };
        intent.apply(&delta).unwrap();
        assert!(intent.sessions.is_empty());
        assert_eq!(intent.revision, Revision(5));
    }

    fn served() -> Topic {
        Topic {
            name: "t".into(),
            generation: Generation(1),
            home_alias: Alias {
                id_type: AliasType::Normal,
                id: 7,
            },
            served_q0: [SessionId(1), SessionId(2)].into(),
            served_q1: [SessionId(2)].into(),
            copy_q0: false,
            copy_q1: true,
            ack_q1: false,
            shared: BTreeMap::new(),
            aliases: BTreeMap::new(),
        }
    }

    fn step(members: Vec<(SessionId, Option<Member>)>) -> Serve {
        Serve {
            generation: Generation(2),
            copy_q0: false,
            copy_q1: false,
            ack_q1: true,
            members,
            shared: vec![],
        }
    }

    #[test]
    fn a_step_of_a_topic_changes_the_sessions_it_names_and_no_other() {
        let alias = Alias {
            id_type: AliasType::Predefined,
            id: 9,
        };
        let joins = Member {
            q0: true,
            q1: true,
            alias: Some(alias),
        };
        let shared = ShareMember {
            generation: Generation(3),
            serve_q1: true,
            alias: None,
        };
        let mut topic = served();
        topic.shared = [(SessionId(4), shared), (SessionId(5), shared)].into();
        topic.serve(&Serve {
            shared: vec![(SessionId(5), None), (SessionId(6), Some(shared))],
            ..step(vec![(SessionId(1), None), (SessionId(3), Some(joins))])
        });
        assert_eq!(
            topic.shared,
            [(SessionId(4), shared), (SessionId(6), shared)].into()
        );
        assert_eq!(topic.served_q0, [SessionId(2), SessionId(3)].into());
        assert_eq!(topic.served_q1, [SessionId(2), SessionId(3)].into());
        assert_eq!(topic.aliases, [(SessionId(3), alias)].into());
        assert_eq!((topic.generation, topic.ack_q1), (Generation(2), true));
        assert_eq!(topic.member(SessionId(3)), Some(joins));
        assert_eq!(topic.member(SessionId(1)), None);
    }

    #[test]
    fn a_step_of_a_topic_that_is_not_there_is_refused_and_changes_nothing() {
        let index = TopicIndex(4);
        let delta = |changes| Delta {
            base: Revision(0),
            revision: Revision(1),
            changes,
        };
        let mut intent = Intent::default();
        let gone = delta(vec![
            Change::Topic(index, Some(served())),
            Change::Topic(index, None),
            Change::Serve(index, step(vec![])),
        ]);
        assert_eq!(intent.apply(&gone), Err(ApplyError::NoTopic { topic: 4 }));
        assert_eq!(intent, Intent::default());
        let there = delta(vec![
            Change::Topic(index, Some(served())),
            Change::Serve(index, step(vec![])),
        ]);
        intent.apply(&there).unwrap();
        assert_eq!(intent.topics[&index].generation, Generation(2));
    }

    #[test]
    fn short_aliases_read_as_their_two_octets() {
        let alias = Alias {
            id_type: AliasType::Short,
            id: u16::from_be_bytes(*b"ab"),
        };
        assert_eq!(alias.to_string(), "short:ab");
        assert_eq!(AliasType::from_bits(0b11), None);
    }
}
