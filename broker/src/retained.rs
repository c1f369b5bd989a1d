//! Retained messages, in memory.

use std::sync::Arc;

use mqttsn::Qos;
use offload::TopicIndex;
use rustc_hash::FxHashMap;

/// The last message of a topic that was published with Retain.
#[derive(Clone, Debug)]
pub(crate) struct RetainedMessage {
    pub(crate) qos: Qos,
    pub(crate) payload: Arc<[u8]>,
}

/// At most one message per topic, and a bounded number of them.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: FxHashMap<TopicIndex, RetainedMessage>,
    limit: usize,
}

impl Retained {
    pub(crate) fn new(limit: usize) -> Self {
        Retained {
            messages: FxHashMap::default(),
            limit,
        }
    }

    /// What is kept already stays.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn get(&self, topic: TopicIndex) -> Option<&RetainedMessage> {
        self.messages.get(&topic)
    }

    /// Keeps the message; an empty one deletes (MQTT 3.1.1 §3.3.1.3). False if there was no room.
    pub(crate) fn put(&mut self, topic: TopicIndex, qos: Qos, payload: &[u8]) -> bool {
        if payload.is_empty() {
            self.messages.remove(&topic);
            return true;
        }
        if self.messages.len() >= self.limit && !self.messages.contains_key(&topic) {
            return false;
        }
        let payload = payload.into();
        self.messages
            .insert(topic, RetainedMessage { qos, payload });
        true
    }
}
