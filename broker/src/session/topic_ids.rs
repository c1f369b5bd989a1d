//! The topic ids of one session (MQTT-SN 1.2 §6.5).

use offload::TopicIndex;
use rustc_hash::FxHashMap;

use crate::topics::home_id;

#[derive(Clone, Copy, Debug)]
struct TopicId {
    id: u16,
    /// Whether the client has been told, in this connection.
    known: bool,
}

/// Which topic id means which topic, for one client.
#[derive(Debug, Default)]
pub(crate) struct TopicIds {
    by_id: FxHashMap<u16, TopicIndex>,
    by_topic: FxHashMap<TopicIndex, TopicId>,
}

impl TopicIds {
    pub(crate) fn topic(&self, id: u16) -> Option<TopicIndex> {
        self.by_id.get(&id).copied()
    }

    /// The topic id, if the client knows it.
    pub(crate) fn known(&self, topic: TopicIndex) -> Option<u16> {
        let entry = self.by_topic.get(&topic)?;
        entry.known.then_some(entry.id)
    }

    /// The topic's id; a new one is given out if there is room. True if it is new.
    pub(crate) fn assign(&mut self, topic: TopicIndex, limit: usize) -> Option<(u16, bool)> {
        if let Some(entry) = self.by_topic.get(&topic) {
            return Some((entry.id, false));
        }
        if self.by_topic.len() >= limit.min(0xFFFE) {
            return None;
        }
        // There are 0xFFFE ids and fewer are taken: the search ends.
        let mut id = home_id(topic);
        while self.by_id.contains_key(&id) {
            id = if id == 0xFFFE { 1 } else { id + 1 };
        }
        self.by_id.insert(id, topic);
        self.by_topic.insert(topic, TopicId { id, known: false });
        Some((id, true))
    }

    /// The client has been told the topic's id.
    pub(crate) fn set_known(&mut self, topic: TopicIndex, known: bool) {
        if let Some(entry) = self.by_topic.get_mut(&topic) {
            entry.known = known;
        }
    }

    /// A new connection: the client may have forgotten all.
    pub(crate) fn forget_known(&mut self) {
        for entry in self.by_topic.values_mut() {
            entry.known = false;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// All topics that have an id here, in no particular order.
    pub(crate) fn topics(&self) -> impl Iterator<Item = TopicIndex> {
        self.by_topic.keys().copied()
    }
}
