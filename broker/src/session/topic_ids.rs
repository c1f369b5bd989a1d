//! The topic ids of one session (MQTT-SN 1.2 §6.5).

use offload::TopicIndex;
use rustc_hash::FxHashMap;

use crate::topics::home_id;

#[derive(Clone, Copy, Debug)]
struct TopicId {
    id: u16,
    /// The connection in which the client has been told; 0 for none.
    known_in: u32,
}

/// Which topic id means which topic, for one client.
#[derive(Debug)]
pub(crate) struct TopicIds {
    by_id: FxHashMap<u16, TopicIndex>,
    by_topic: FxHashMap<TopicIndex, TopicId>,
    /// Number of the present connection, from 1. Topic ids told in another one count as unknown, so
    /// that a new connection changes (and stores) one number and not each of them.
    connection: u32,
    /// The changes to store, if they are stored.
    changed: Option<Vec<TopicIndex>>,
}

impl Default for TopicIds {
    fn default() -> Self {
        TopicIds {
            by_id: FxHashMap::default(),
            by_topic: FxHashMap::default(),
            connection: 1,
            changed: None,
        }
    }
}

impl TopicIds {
    pub(crate) fn topic(&self, id: u16) -> Option<TopicIndex> {
        self.by_id.get(&id).copied()
    }

    /// The topic id, if the client knows it.
    pub(crate) fn known(&self, topic: TopicIndex) -> Option<u16> {
        let entry = self.by_topic.get(&topic)?;
        (entry.known_in == self.connection).then_some(entry.id)
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
        self.by_topic.insert(topic, TopicId { id, known_in: 0 });
        self.changed(topic);
        Some((id, true))
    }

    /// The client has been told the topic's id.
    pub(crate) fn set_known(&mut self, topic: TopicIndex, known: bool) {
        if let Some(entry) = self.by_topic.get_mut(&topic) {
            let known_in = if known { self.connection } else { 0 };
            if entry.known_in != known_in {
                entry.known_in = known_in;
                self.changed(topic);
            }
        }
    }

    /// A new connection: the client may have forgotten all.
    pub(crate) fn forget_known(&mut self) {
        self.connection = match self.connection.wrapping_add(1) {
            0 => 1,
            next => next,
        };
    }

    fn changed(&mut self, topic: TopicIndex) {
        if let Some(changed) = &mut self.changed {
            changed.push(topic);
        }
    }

    /// From now on changes are noted.
    pub(crate) fn record(&mut self) {
        self.changed = Some(Vec::new());
    }

    /// The number of the present connection.
    pub(crate) fn connection(&self) -> u32 {
        self.connection
    }

    /// Goes on with the connection that was stored.
    pub(crate) fn set_connection(&mut self, connection: u32) {
        self.connection = connection;
    }

    /// Takes the changes since the last call: topic, topic id, and the connection in which it was
    /// told. A topic may come twice.
    pub(crate) fn take_changes(&mut self, mut visit: impl FnMut(TopicIndex, u16, u32)) {
        for topic in self
            .changed
            .iter_mut()
            .flat_map(|changed| changed.drain(..))
        {
            if let Some(entry) = self.by_topic.get(&topic) {
                visit(topic, entry.id, entry.known_in);
            }
        }
    }

    /// Puts back what was stored. False if the id means another topic already, or the topic has one.
    pub(crate) fn insert(&mut self, topic: TopicIndex, id: u16, known_in: u32) -> bool {
        if self.by_id.contains_key(&id) || self.by_topic.contains_key(&topic) {
            return false;
        }
        self.by_id.insert(id, topic);
        self.by_topic.insert(topic, TopicId { id, known_in });
        true
    }

    /// All topic ids in use, in no particular order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u16> {
        self.by_id.keys().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// All topics that have an id here, in no particular order.
    pub(crate) fn topics(&self) -> impl Iterator<Item = TopicIndex> {
        self.by_topic.keys().copied()
    }
}
