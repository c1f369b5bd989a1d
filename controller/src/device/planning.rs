//! What changed is planned anew, and nothing else.

use std::time::{Duration, Instant};

use offload::{Intent, Refusal, RefusedItem, TopicIndex};

use super::hot::{self, is_cold};
use super::{Device, Dirty, Learner};
use crate::places::View;
use crate::plan::NotPlanned;
use crate::tables::{GROUPS, Key, Value, subscriber};

impl Device {
    /// What waited for its time is due.
    pub(super) fn wake(&mut self, now: Instant) {
        for item in self.refusals.due(now) {
            match item {
                RefusedItem::Topic(index) => {
                    self.dirty.topics.insert(index);
                }
                RefusedItem::Session(session) => {
                    self.dirty.sessions.insert(session);
                }
                RefusedItem::Publication(key) => {
                    self.dirty.publications.insert(key);
                }
            }
        }
        for key in self.apply.due_retries(now) {
            self.plan.touch(key);
            if let Key::Topic(key) = key {
                for key in self.plan.topic_keys(TopicIndex(key.topic_index)) {
                    self.plan.touch(key);
                }
            }
        }
    }

    pub(super) fn replan(&mut self, now: Instant) -> bool {
        self.redo = false;
        if self.dirty.is_clean() {
            return false;
        }
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.infrastructure {
            let broker_port = self.learning.broker_port();
            self.plan.infrastructure(&self.config, broker_port);
        }
        let timeout = Duration::from_secs(self.config.station_timeout_s);
        for station in &dirty.stations {
            let rows = self.learning.station_rows(*station, timeout);
            self.plan_learned(Learner::Station(*station), rows);
        }
        for address in &dirty.clients {
            let rows = self.learning.client_rows(*address);
            self.plan_learned(Learner::Client(*address), rows);
        }
        // Taken out, so that planning can look at it while it changes the rest.
        // Until there is one, the rows of an intent before stay as they are.
        if let Some(intent) = self.intent.take() {
            self.replan_intent(now, &intent, dirty);
            self.intent = Some(intent);
        }
        true
    }

    fn plan_learned(&mut self, learner: Learner, rows: Vec<(Key, Value)>) {
        let keys: Vec<Key> = rows.iter().map(|(key, _)| *key).collect();
        let old = self.learned_rows.remove(&learner).unwrap_or_default();
        for key in old {
            if !keys.contains(&key) {
                self.plan.unset(key);
            }
        }
        for (key, value) in rows {
            self.plan.set(key, value);
        }
        if !keys.is_empty() {
            self.learned_rows.insert(learner, keys);
        }
    }

    fn replan_intent(&mut self, now: Instant, intent: &Intent, mut dirty: Dirty) {
        let view = View {
            config: &self.config,
            intent,
            learning: &self.learning,
            installed: &self.apply.installed,
        };
        if dirty.services {
            self.plan.services(&view);
        }
        for session in dirty.sessions {
            for index in self.index.topics_of(session) {
                dirty.members.entry(index).or_default().insert(session);
            }
            let item = RefusedItem::Session(session);
            if !intent.sessions.contains_key(&session) {
                self.refusals.left(now, &item);
                continue;
            }
            self.plan.session(&view, session);
            let why = match self.refusals.withheld(&item) {
                Some(why) => Some(why.clone()),
                None => match view.place(session) {
                    Err(why @ Refusal::Unsupported(_)) => Some(why),
                    _ => None,
                },
            };
            self.refusals.set(item, why);
        }
        for (index, sessions) in std::mem::take(&mut dirty.members) {
            let withheld = |item: &RefusedItem| self.refusals.withheld(item).is_some();
            let whole = dirty.topics.contains(&index)
                || withheld(&RefusedItem::Topic(index))
                || sessions
                    .iter()
                    .any(|session| withheld(&RefusedItem::Session(*session)));
            if whole || !self.plan.serve(&view, index, &sessions) {
                dirty.topics.insert(index);
            }
        }
        for index in dirty.topics {
            let was_planned = self.plan.is_planned(index);
            let item = RefusedItem::Topic(index);
            let wanted = intent.topics.get(&index);
            if let Some(topic) = wanted {
                let mut served = topic.served_q0.union(&topic.served_q1);
                let session = served
                    .find_map(|session| self.refusals.withheld(&RefusedItem::Session(*session)));
                let withheld = self.refusals.withheld(&item).or(session).cloned();
                let withheld = withheld.or_else(|| {
                    let hot = self.hot.as_mut()?;
                    let sizes = (&self.fullness, &self.sizes);
                    let room = || hot::room(now, &self.plan, sizes).0;
                    is_cold(now, hot, &self.plan, room, index, topic).then_some(Refusal::Policy)
                });
                let why = match withheld {
                    Some(why) => {
                        self.plan.drop_topic(index);
                        Some(why)
                    }
                    None => match self.plan.topic(&view, index) {
                        Ok(()) => None,
                        Err(NotPlanned { why, session }) => {
                            if let Some(session) = session {
                                let item = RefusedItem::Session(session);
                                self.refusals.set(item, Some(why.clone()));
                                let full = Some(subscriber::NAME);
                                self.refusals.withhold(now, item, why.clone(), full);
                            } else if matches!(why, Refusal::Capacity(_)) {
                                let full = Some(GROUPS);
                                self.refusals.withhold(now, item, why.clone(), full);
                            }
                            Some(why)
                        }
                    },
                };
                self.refusals.set(item, why);
            } else {
                self.plan.drop_topic(index);
                self.refusals.left(now, &item);
                if let Some(hot) = &mut self.hot {
                    hot.forget(index);
                }
            }
            if was_planned != self.plan.is_planned(index) {
                dirty.publications.extend(self.index.publications_to(index));
                let aliases = self.index.open_publications_to(index);
                dirty.open_publications.extend(aliases);
            }
        }
        for alias in dirty.open_publications {
            self.plan.open_publication(&view, alias);
        }
        self.replan_publications(now, intent, dirty.publications);
    }
}
