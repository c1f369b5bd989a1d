//! Topics: one per topic name, with those who receive it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mqttsn::{Alias, Qos};
use offload::{SessionId, TopicIndex};
use rustc_hash::FxHashMap;

use crate::durable::Touched;
use crate::levels::Levels;
use crate::offloading::generations::{Generations, Sequence, ServedHistory};
use crate::shares::ShareId;

/// What a session is owed of a topic for itself, whatever share groups it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordinary {
    /// The highest QoS granted by a matching subscription.
    pub(crate) granted: Qos,
    /// Whether the SUBACK of a matching subscription was sent. Before that, the session is owed
    /// only what the data plane saw under a generation that counts it in.
    pub(crate) active: bool,
}

/// One session that receives a topic, by one or several of its subscriptions.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// `None` for one that is only a member of share groups.
    pub(crate) ordinary: Option<Ordinary>,
    /// What PUBLISH to the session calls the topic; `None` until the client knows a topic id.
    pub(crate) alias: Option<Alias>,
    /// The client refused a topic id for this topic: it gets nothing until it subscribes anew.
    pub(crate) rejected: bool,
    /// When the data plane served it, and since when it is counted in. Of a member of a share group
    /// alone: whether the data plane may choose it.
    pub(crate) served: ServedHistory,
}

/// A share group that a topic belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicShare {
    pub(crate) id: ShareId,
    /// The first generation that counts the group in; `None` until that one is made.
    pub(crate) since: Option<Sequence>,
}

/// One topic name.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    /// What most sessions call the topic. Fixed, so that no copy on its way is renamed.
    pub(crate) home: Alias,
    /// Predefined topic ids that mean it, for all or for single clients.
    pub(crate) predefined: u32,
    pub(crate) subscribers: BTreeMap<SessionId, Subscriber>,
    /// How many of them are more than members of share groups.
    ordinary: usize,
    /// The share groups whose filter matches the name.
    pub(crate) shares: Vec<TopicShare>,
    /// The one among whose members the data plane chooses.
    pub(crate) planned_share: Option<ShareId>,
    /// Aliases of sessions that may publish.
    pub(crate) publications: u32,
    /// Topic ids that sessions hold.
    pub(crate) topic_ids: u32,
    pub(crate) generations: Generations,
}

impl Topic {
    /// What the session is owed for itself from now on. It is among the subscribers.
    pub(crate) fn set_ordinary(&mut self, session: SessionId, ordinary: Option<Ordinary>) {
        if let Some(subscriber) = self.subscribers.get_mut(&session) {
            self.ordinary += usize::from(ordinary.is_some());
            self.ordinary -= usize::from(subscriber.ordinary.is_some());
            subscriber.ordinary = ordinary;
        }
    }

    /// Number of subscribers that are owed the topic for themselves.
    pub(crate) fn ordinary(&self) -> usize {
        self.ordinary
    }

    /// The session does not receive the topic any more.
    pub(crate) fn remove_subscriber(&mut self, session: SessionId) {
        self.set_ordinary(session, None);
        self.subscribers.remove(&session);
    }

    /// The topic belongs to the share group, since ever or from the next generation on.
    pub(crate) fn add_share(&mut self, id: ShareId, joining: bool) {
        if self.shares.iter().all(|share| share.id != id) {
            let since = (!joining).then_some(0);
            self.generations.joined |= joining;
            self.shares.push(TopicShare { id, since });
        }
    }

    /// The short topic name, where the name has exactly two octets (MQTT-SN 1.2 §3).
    pub(crate) fn short(&self) -> Option<Alias> {
        short_alias(&self.name)
    }
}

/// The alias of a name of exactly two octets.
pub(crate) fn short_alias(name: &str) -> Option<Alias> {
    Some(Alias::short(name.as_bytes().try_into().ok()?))
}

/// All topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    names: Levels<TopicIndex>,
    list: FxHashMap<TopicIndex, Topic>,
    predefined: HashMap<u16, TopicIndex>,
    predefined_of: HashMap<Box<str>, HashMap<u16, TopicIndex>>,
    name_octets: usize,
    last_index: u32,
    /// Topics that lost a reference and may be unused now.
    maybe_unused: Vec<TopicIndex>,
    pub(crate) touched: Touched<TopicIndex>,
}

impl Topics {
    /// Octets of all names.
    pub(crate) fn name_octets(&self) -> usize {
        self.name_octets
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, index: TopicIndex) -> Option<&Topic> {
        self.list.get(&index)
    }

    pub(crate) fn get_mut(&mut self, index: TopicIndex) -> Option<&mut Topic> {
        self.list.get_mut(&index)
    }

    pub(crate) fn named(&self, name: &str) -> Option<TopicIndex> {
        self.names.get(name).copied()
    }

    /// What the predefined topic id means to the client, or to anybody (`None`).
    pub(crate) fn predefined(&self, client: Option<&str>, id: u16) -> Option<TopicIndex> {
        let own = client
            .and_then(|client| self.predefined_of.get(client))
            .and_then(|of| of.get(&id));
        own.or_else(|| self.predefined.get(&id)).copied()
    }

    /// The predefined topic id, for one client or for all, means this topic from now on, or nothing.
    pub(crate) fn predefine(&mut self, client: Option<&str>, id: u16, index: Option<TopicIndex>) {
        let ids = match client {
            None => &mut self.predefined,
            Some(client) => self.predefined_of.entry(client.into()).or_default(),
        };
        let before = match index {
            Some(index) => ids.insert(id, index),
            None => ids.remove(&id),
        };
        if let Some(client) = client.filter(|_| ids.is_empty()) {
            self.predefined_of.remove(client);
        }
        if let Some(topic) = index.and_then(|index| self.list.get_mut(&index)) {
            topic.predefined += 1;
        }
        if let Some(before) = before {
            if let Some(topic) = self.list.get_mut(&before) {
                topic.predefined = topic.predefined.saturating_sub(1);
            }
            self.released(before);
        }
    }

    /// The index of the youngest topic, also where that is gone.
    pub(crate) fn last_index(&self) -> TopicIndex {
        TopicIndex(self.last_index)
    }

    /// The topics that the filter matches, in the order of their index.
    pub(crate) fn matched_by(&self, filter: &str) -> Vec<TopicIndex> {
        let mut found = Vec::new();
        if mqttsn::topic::has_wildcards(filter) {
            self.names.matched_by(filter, |&index| found.push(index));
            found.sort_unstable();
        } else {
            found.extend(self.named(filter));
        }
        found
    }

    /// All topics, in the order of their index.
    pub(crate) fn all(&self) -> Vec<(TopicIndex, &Topic)> {
        let mut all: Vec<_> = self
            .list
            .iter()
            .map(|(&index, topic)| (index, topic))
            .collect();
        all.sort_unstable_by_key(|&(index, _)| index);
        all
    }

    /// Adds a topic whose name is new; `None` when no index is left. `home` is the predefined topic id
    /// that all clients have for it.
    pub(crate) fn add(&mut self, name: &str, home: Option<u16>) -> Option<TopicIndex> {
        let number = self.last_index.checked_add(1)?;
        let index = TopicIndex(number);
        self.insert(index, name, home);
        self.touched.touch(index, false);
        Some(index)
    }

    /// No index up to this one is given out any more.
    pub(crate) fn skip_to(&mut self, last_index: u32) {
        self.last_index = self.last_index.max(last_index);
    }

    /// Puts a topic where it was, or where [`Topics::add`] wants it.
    pub(crate) fn insert(&mut self, index: TopicIndex, name: &str, home: Option<u16>) {
        self.skip_to(index.0);
        let home = match home {
            Some(id) => Alias::predefined(id),
            None => match short_alias(name) {
                Some(short) => short,
                None => Alias::normal(home_id(index)),
            },
        };
        self.names.get_or_insert_with(name, || index);
        self.name_octets += name.len();
        self.list.insert(
            index,
            Topic {
                name: name.into(),
                home,
                predefined: 0,
                subscribers: BTreeMap::new(),
                ordinary: 0,
                shares: Vec::new(),
                planned_share: None,
                publications: 0,
                topic_ids: 0,
                generations: Generations::default(),
            },
        );
    }

    /// Notes that the topic may have become unused.
    pub(crate) fn released(&mut self, index: TopicIndex) {
        self.maybe_unused.push(index);
    }

    /// Removes the topics that lost their last reference; `kept` says what else holds one.
    pub(crate) fn remove_unused(
        &mut self,
        kept: impl Fn(TopicIndex) -> bool,
        mut removed: impl FnMut(TopicIndex),
    ) {
        for index in std::mem::take(&mut self.maybe_unused) {
            let unused = self.list.get(&index).is_some_and(|topic| {
                topic.subscribers.is_empty()
                    && topic.publications == 0
                    && topic.topic_ids == 0
                    && topic.predefined == 0
                    && !kept(index)
            });
            if unused && let Some(topic) = self.list.remove(&index) {
                self.names.remove(&topic.name);
                self.name_octets -= topic.name.len();
                self.touched.touch(index, true);
                removed(index);
            }
        }
    }
}

/// The topic id that every session gets for the topic, where it is free in that session.
///
/// 0x0000 and 0xFFFF are reserved (MQTT-SN 1.2 §5.3.11).
pub(crate) fn home_id(index: TopicIndex) -> u16 {
    const IDS: u32 = 0xFFFE;
    // The remainder is below 0xFFFE.
    1 + (index.0.wrapping_sub(1) % IDS) as u16
}
