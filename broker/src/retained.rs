//! Retained messages, in memory.

use std::sync::Arc;

use mqttsn::Qos;
use offload::TopicIndex;
use rustc_hash::FxHashMap;

use crate::durable::Touched;

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
    octets: usize,
    max_octets: usize,
    pub(crate) touched: Touched<TopicIndex>,
}

impl Retained {
    pub(crate) fn new(limit: usize, max_octets: usize) -> Self {
        Retained {
            messages: FxHashMap::default(),
            limit,
            octets: 0,
            max_octets,
            touched: Touched::default(),
        }
    }

    /// What is kept already stays.
    pub(crate) fn set_limits(&mut self, limit: usize, max_octets: usize) {
        self.limit = limit;
        self.max_octets = max_octets;
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Payload octets of all of them.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }

    pub(crate) fn get(&self, topic: TopicIndex) -> Option<&RetainedMessage> {
        self.messages.get(&topic)
    }

    /// Keeps the message; an empty one deletes (MQTT 3.1.1 §3.3.1.3). False if there was no room.
    pub(crate) fn put(&mut self, topic: TopicIndex, qos: Qos, payload: &[u8]) -> bool {
        if payload.is_empty() {
            if let Some(before) = self.messages.remove(&topic) {
                self.octets -= before.payload.len();
                self.touched.touch(topic, true);
            }
            return true;
        }
        let before = self.messages.get(&topic).map(|before| before.payload.len());
        let octets = self.octets - before.unwrap_or(0) + payload.len();
        if octets > self.max_octets || (before.is_none() && self.messages.len() >= self.limit) {
            return false;
        }
        let replaced = self.insert(topic, qos, payload.into());
        self.touched.touch(topic, replaced);
        true
    }

    /// The message as it was stored. True if it replaced another.
    pub(crate) fn insert(&mut self, topic: TopicIndex, qos: Qos, payload: Arc<[u8]>) -> bool {
        self.octets += payload.len();
        let message = RetainedMessage { qos, payload };
        let replaced = self.messages.insert(topic, message);
        if let Some(replaced) = &replaced {
            self.octets -= replaced.payload.len();
        }
        replaced.is_some()
    }
}
