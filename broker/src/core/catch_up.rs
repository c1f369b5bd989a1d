//! A new subscription catches up with what is retained (MQTT 3.1.1 §3.3.1.3), as fast as its client
//! takes it: however much that is, none of it is dropped for want of room.

use std::sync::Arc;
use std::time::Instant;

use mqttsn::Qos;
use offload::{SessionId, TopicIndex};

use super::Broker;
use super::deliver::delivered_qos;

impl Broker {
    /// The subscription begins.
    pub(super) fn owe_retained(&mut self, now: Instant, id: SessionId, filter: &str) {
        let last = self.topics.last_index();
        if let Some(session) = self.sessions.get_mut(id) {
            session.outbox.due.add(filter, last);
        }
        self.pump(now, id);
    }

    /// Queues retained messages that are due, where few messages wait. The other half of the queue is
    /// for what is published meanwhile.
    pub(super) fn catch_up(&mut self, id: SessionId) {
        let most = (self.config.max_queued_messages / 2).max(1);
        loop {
            let Some(session) = self.sessions.get_mut(id) else {
                return;
            };
            if session.outbox.len() > most / 2 {
                return;
            }
            let Some(due) = session.outbox.due.front() else {
                return;
            };
            let matched = self.topics.matched_by(&due.filter);
            let rest: Vec<TopicIndex> = matched
                .into_iter()
                .filter(|&index| due.is_ahead(index) && self.retained.get(index).is_some())
                .collect();
            for index in rest {
                let Some(session) = self.sessions.get_mut(id) else {
                    return;
                };
                if session.outbox.len() >= most {
                    if let Some(due) = session.outbox.due.front() {
                        due.next = index;
                    }
                    return;
                }
                self.queue_retained(id, index);
            }
            if let Some(session) = self.sessions.get_mut(id) {
                session.outbox.due.pop();
            }
        }
    }

    /// Queues what is published to a topic that the session may not have caught up with. What is
    /// retained there comes first, unless this has taken its place.
    pub(super) fn append_in_turn(
        &mut self,
        id: SessionId,
        index: TopicIndex,
        qos: Qos,
        replaces: bool,
        payload: &Arc<[u8]>,
    ) {
        let behind = self.is_behind(id, index);
        if behind && !replaces && self.queue_retained(id, index) {
            self.pass(id, index);
        }
        let queued = self.append(id, index, qos, false, payload);
        if behind && replaces && queued {
            self.pass(id, index);
        }
    }

    /// Whether what is retained on the topic is still to come.
    fn is_behind(&self, id: SessionId, index: TopicIndex) -> bool {
        let Some(session) = self.sessions.get(id) else {
            return false;
        };
        !session.outbox.due.is_empty()
            && self
                .topics
                .get(index)
                .is_some_and(|topic| session.outbox.due.is_ahead(index, &topic.name))
    }

    /// What is retained on the topic is not to come any more.
    fn pass(&mut self, id: SessionId, index: TopicIndex) {
        if let Some(session) = self.sessions.get_mut(id)
            && let Some(topic) = self.topics.get(index)
        {
            session.outbox.due.pass(index, &topic.name);
        }
    }

    /// Whether it is queued.
    fn queue_retained(&mut self, id: SessionId, index: TopicIndex) -> bool {
        let Some(retained) = self.retained.get(index) else {
            return false;
        };
        let subscriber = self
            .topics
            .get(index)
            .and_then(|topic| topic.subscribers.get(&id));
        let subscriber = subscriber.filter(|subscriber| !subscriber.rejected);
        let Some(ordinary) = subscriber.and_then(|subscriber| subscriber.ordinary) else {
            return false;
        };
        let qos = delivered_qos(retained.qos, ordinary.granted);
        let payload = Arc::clone(&retained.payload);
        self.append(id, index, qos, true, &payload)
    }
}
