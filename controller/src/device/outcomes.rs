//! What became of the writes: revisions that are installed, items that are withheld.

use std::time::Instant;

use offload::{FromController, Refusal, RefusedItem, TopicIndex};

use super::Device;
use crate::apply::{Failed, Op, Update};
use crate::plan::{publication_of, topic_key};
use crate::shares::shared_key;
use crate::tables::Key;

/// A row is tried so often before whoever needs it is withdrawn.
const ATTEMPTS: u32 = 3;

impl Device {
    /// A round is over.
    pub(super) fn finish(&mut self) {
        // Whoever was withdrawn in this round is written out in the next, and only then told.
        if self.redo || self.plan.is_touched() || !self.synced {
            return;
        }
        if self.apply.failing(&self.plan).iter().any(holds_up) {
            return;
        }
        self.refusals.settle();
        let news = self.refusals.news();
        for message in news {
            self.tell(message);
        }
        let Some(planned) = self.planned else {
            return;
        };
        while self
            .waiting
            .front()
            .is_some_and(|(revision, _)| *revision <= planned)
        {
            self.waiting.pop_front();
        }
        if self.linked && self.installed != Some(planned) {
            self.installed = Some(planned);
            self.tell(FromController::Installed { revision: planned });
        }
    }

    pub(super) fn failed(&mut self, now: Instant, failed: Failed) {
        let Failed {
            update,
            error,
            full,
            attempts,
        } = failed;
        let Update { op, key, .. } = update;
        if full {
            // The normal case of a small switch: the status tells.
            tracing::debug!(table = key.table(), ?key, ?op, %error, "no room");
        } else {
            tracing::warn!(table = key.table(), ?key, ?op, %error, attempts, "a write failed");
        }
        if op == Op::Delete {
            return; // Tried again until it is gone; the lease is not renewed meanwhile.
        }
        let full = full.then_some(key.table());
        if let Some(table) = full {
            self.note_full(now, table);
        }
        let why = if full.is_some() {
            Refusal::Capacity(format!("{}: {}", key.table(), error.message))
        } else if attempts >= ATTEMPTS {
            Refusal::Failing(format!("{}: {error}", key.table()))
        } else {
            return;
        };
        // Another that is planned meanwhile may need the same row: then it is written after all.
        self.plan.touch(key);
        match key {
            Key::Topic(key) => self.withhold_topic(now, TopicIndex(key.topic_index), why, full),
            Key::SubscriberAlias(alias) => {
                self.apply.forget_retry(&key);
                self.withhold_topic(now, TopicIndex(alias.topic_index), why, full);
            }
            Key::SharedTopic(topic) => {
                self.withhold_topic(now, TopicIndex(topic.topic_index), why, full);
            }
            Key::ShareGroup(index) => self.withhold_topic(now, TopicIndex(index), why, full),
            Key::ShareMember(id) => {
                self.apply.forget_retry(&key);
                if let Some(topic) = self.plan.member_topic(id) {
                    self.withhold_topic(now, topic, why, full);
                }
            }
            Key::Group(group) if key.of_intent() => {
                self.apply.forget_retry(&key);
                for topic in self.plan.group_users(group) {
                    self.withhold_topic(now, topic, why.clone(), full);
                }
            }
            Key::Subscriber(row) => {
                if let Some(session) = self.plan.owner(row.rid) {
                    self.apply.forget_retry(&key);
                    let item = RefusedItem::Session(session);
                    self.refusals.withhold(now, item, why, full);
                    self.dirty.sessions.insert(session);
                    self.redo = true;
                }
            }
            Key::Publication(row) => {
                if let Some(publication) = publication_of(&row) {
                    self.apply.forget_retry(&key);
                    if full.is_some() {
                        return self.publication_refused(now, publication);
                    }
                    let item = RefusedItem::Publication(publication);
                    self.refusals.withhold(now, item, why, full);
                    self.dirty.publications.insert(publication);
                    self.redo = true;
                }
            }
            Key::Smac(_) | Key::Dmac(_) | Key::Endpoint(_) | Key::OpenPublication(_) => {
                // The switch does without: it floods, asks again, or leaves it to the broker.
                self.apply.forget_retry(&key);
                self.plan.unset(key);
            }
            Key::Digest(_)
            | Key::CloneSession(_)
            | Key::Group(_)
            | Key::Meter(..)
            | Key::Vlan(_)
            | Key::Service(_)
            | Key::Answer(_) => {}
        }
    }

    fn withhold_topic(
        &mut self,
        now: Instant,
        index: TopicIndex,
        why: Refusal,
        full: Option<&'static str>,
    ) {
        for key in [
            topic_key(index),
            shared_key(index),
            Key::ShareGroup(index.0),
        ] {
            self.apply.forget_retry(&key);
        }
        self.refusals
            .withhold(now, RefusedItem::Topic(index), why, full);
        self.dirty.topics.insert(index);
        self.redo = true;
    }
}

/// Whether a revision is not installed while this row fails.
fn holds_up(key: &Key) -> bool {
    !matches!(key, Key::Smac(_) | Key::Dmac(_) | Key::Endpoint(_))
}
