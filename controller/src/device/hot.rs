//! Policy `hot` at work: what it is told of the switch, and what becomes of its decisions.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use offload::{FromController, Refusal, RefusedItem, Topic, TopicIndex};

use super::Device;
use crate::fullness::Fullness;
use crate::hot::{Candidate, Hot, Room};
use crate::plan::{Plan, to_one};
use crate::tables::{GROUPS, Key, subscriber, topic};
use crate::target::Counter;

/// Most counters that are read at once; of more topics a part is read each time.
const MOST_COUNTERS: usize = 16_384;
/// Of groups and replication ids one in so many is kept free, for changes of topics that have room:
/// a new group is made before the old one goes.
const RESERVE: usize = 64;

/// When to measure next, and what is not as the program says.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    next: Option<Instant>,
    query: u64,
    survey: Option<Vec<Key>>,
    /// The last topic whose counter was read.
    last: Option<TopicIndex>,
}

/// What the topic takes of the switch when it gets room; for one that has it, what it holds.
fn need(plan: &Plan, wanted: &Topic) -> Room {
    let groups = if to_one(wanted).is_some() {
        0
    } else {
        let same = wanted.served_q0.len() == wanted.served_q1.len()
            && wanted.copy_q0 == wanted.copy_q1
            && wanted.served_q0 == wanted.served_q1;
        let sides = [&wanted.served_q0, &wanted.served_q1];
        let used = sides.iter().filter(|served| !served.is_empty()).count();
        if same { used.min(1) } else { used }
    };
    let shared = wanted.shared.keys();
    let sessions = wanted.served_q0.union(&wanted.served_q1).chain(shared);
    Room {
        topics: 1,
        groups: groups + wanted.shared.len(),
        rids: sessions.filter(|s| plan.rid_of(**s).is_none()).count(),
    }
}

/// Whether the policy leaves the topic in software. A new one has room at once while there is some.
pub(super) fn is_cold(
    now: Instant,
    hot: &mut Hot,
    plan: &Plan,
    room: impl FnOnce() -> Room,
    index: TopicIndex,
    wanted: &Topic,
) -> bool {
    let new = hot.meet(index);
    if !hot.has(index) && new && room().fits(&need(plan, wanted)) {
        hot.admit(now, index);
    }
    !hot.has(index)
}

/// What is free for topics, and what there is.
pub(super) fn room(
    now: Instant,
    plan: &Plan,
    (fullness, sizes): (&Fullness, &HashMap<&'static str, usize>),
) -> (Room, Room) {
    let limit = |table: &'static str, limit: usize| {
        let size = sizes.get(table).copied().unwrap_or(usize::MAX);
        fullness.limit(now, table, limit.min(size))
    };
    let kept = |limit: usize| limit.max(1) - (limit / RESERVE).max(1).min(limit / 2);
    let (groups, rids) = plan.numbers();
    let total = Room {
        topics: limit(topic::NAME, usize::MAX),
        groups: kept(limit(GROUPS, groups.1)),
        rids: limit(subscriber::NAME, rids.1),
    };
    let room = Room {
        topics: total.topics.saturating_sub(plan.topics.len()),
        groups: total.groups.saturating_sub(groups.0),
        rids: total.rids.saturating_sub(rids.0),
    };
    (room, total)
}
impl Device {
    /// The switch had no room in this table, whatever the program says.
    pub(super) fn note_full(&mut self, now: Instant, table: &'static str) {
        if self.fullness.is_noted(now, table) {
            return;
        }
        let used = self.apply.installed.used().get(table).copied();
        let own = |key: &&Key| matches!(key, Key::Group(_)) && !key.of_intent();
        let not_for_topics = if table == GROUPS && self.hot.is_some() {
            self.plan.rows().keys().filter(own).count()
        } else {
            0
        };
        let rows = used.unwrap_or(0).saturating_sub(not_for_topics);
        if self.fullness.note(now, table, rows) {
            tracing::info!(
                table,
                rows,
                "the table is full: what finds no room stays in software"
            );
        }
    }

    /// Decides on what was measured, and measures anew.
    pub(super) fn measure(&mut self, now: Instant) {
        if !self.synced || self.measuring.next.is_some_and(|at| now < at) {
            return;
        }
        let Some(mut hot) = self.hot.take() else {
            return;
        };
        self.measuring.next = Some(now + Duration::from_millis(self.config.hot.interval_ms));
        let (room, total) = room(now, &self.plan, (&self.fullness, &self.sizes));
        // What was not planned after all has no room, and waits like the others.
        for index in hot.admitted() {
            if !self.plan.is_planned(index) && !self.dirty.topics.contains(&index) {
                hot.evict(index);
            }
        }
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for (index, wanted) in self.intent.iter().flat_map(|intent| &intent.topics) {
            let candidate = || Candidate {
                topic: *index,
                saved: wanted.served_q0.len()
                    + wanted.shared.len().min(1)
                    + usize::from(!wanted.copy_q0),
                need: need(&self.plan, wanted),
            };
            if hot.has(*index) {
                inside.push(Candidate {
                    need: self.plan.held(*index),
                    ..candidate()
                });
            } else if self.refusals.get(&RefusedItem::Topic(*index)) == Some(&Refusal::Policy) {
                outside.push(candidate());
            }
        }
        let decision = hot.decide(now, &inside, &outside, room, total);
        if !decision.evict.is_empty() {
            tracing::debug!(?decision, "topics give way");
        }
        self.dirty.topics.extend(decision.admit);
        self.dirty.topics.extend(decision.evict);

        let admitted = hot.admitted();
        let after = self
            .measuring
            .last
            .map_or(0, |last| last.0.saturating_add(1));
        let mut rows: Vec<TopicIndex> = admitted.range(TopicIndex(after)..).copied().collect();
        rows.extend(admitted.range(..TopicIndex(after)));
        rows.truncate(MOST_COUNTERS);
        self.measuring.last = rows.last().copied();
        rows.retain(|index| self.plan.is_planned(*index));
        self.measuring.survey = Some(rows.into_iter().map(crate::plan::topic_key).collect());
        self.ask_rates();
        self.hot = Some(hot);
    }

    /// Asks the broker how much it hears.
    pub(super) fn ask_rates(&mut self) {
        self.measuring.query += 1;
        let query = self.measuring.query;
        self.tell(FromController::AskRates { query });
    }

    /// When `measure` is due.
    pub(super) fn measuring_deadline(&self) -> Option<Instant> {
        (self.hot.is_some() && self.synced)
            .then_some(self.measuring.next)
            .flatten()
    }

    /// Rows whose counters the policy wants to know, if it does: see [`Device::surveyed`].
    pub fn take_survey(&mut self) -> Option<Vec<Key>> {
        self.measuring.survey.take().filter(|rows| !rows.is_empty())
    }

    /// The counters that were asked for, read now.
    pub fn surveyed(&mut self, now: Instant, counters: &[(Key, Counter)]) {
        let Some(hot) = &mut self.hot else {
            return;
        };
        for (key, counter) in counters {
            if let Key::Topic(key) = key {
                hot.counted(now, TopicIndex(key.topic_index), counter.packets);
            }
        }
    }

    /// What clients publish through the broker.
    pub fn rates(&mut self, now: Instant, topics: &[(TopicIndex, u64)]) {
        if let Some(hot) = &mut self.hot {
            hot.heard(now, topics);
        }
    }
}
