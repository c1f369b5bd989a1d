//! Policy `hot`: the room of the switch goes to the topics with which it saves the broker most.
//!
//! ```text
//!   score = rate × (subscribers served + 1 if the broker gets no copy)
//!
//!   software ── there is room ─────────────────────────────────────────▶ switch
//!   software ── score > margin × the weakest one's, for `hold` ─ swap ─▶ switch
//!   switch ─── weakest when another takes its place ───────────────────▶ software
//! ```
//! Rates come from the counters of the topics' rows and, for topics in software, from the broker.
//! A topic that came is safe for `hold`, a challenger must stay ahead for as long, and no more than
//! `swaps_per_s` give way: what is measured wrongly for a moment moves nothing.
//!
//! No I/O and no clock, and no look at the switch: room and needs are arguments.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use offload::TopicIndex;
use serde::{Deserialize, Serialize};

/// How policy `hot` weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HotConfig {
    /// Time between two measurements, ms.
    pub interval_ms: u64,
    /// A topic takes another's place if its score is so many percent of the other's.
    pub margin_percent: u32,
    /// For so long must it have been so, and for so long is a topic safe that came, ms.
    pub hold_ms: u64,
    /// Most topics that give way in a second, on average.
    pub swaps_per_s: u32,
}

impl Default for HotConfig {
    fn default() -> Self {
        Self {
            interval_ms: 1000,
            margin_percent: 150,
            hold_ms: 3000,
            swaps_per_s: 10,
        }
    }
}

/// Room of the switch, or what a topic takes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) topics: usize,
    pub(crate) groups: usize,
    pub(crate) rids: usize,
}

impl Room {
    pub(crate) fn fits(&self, need: &Room) -> bool {
        need.topics <= self.topics && need.groups <= self.groups && need.rids <= self.rids
    }

    fn take(&mut self, need: &Room) {
        self.topics = self.topics.saturating_sub(need.topics);
        self.groups = self.groups.saturating_sub(need.groups);
        self.rids = self.rids.saturating_sub(need.rids);
    }

    fn give(&mut self, freed: &Room) {
        self.topics += freed.topics;
        self.groups += freed.groups;
        self.rids += freed.rids;
    }
}

/// A topic of the intent as a decision sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) topic: TopicIndex,
    /// Sends and receives that a PUBLISH in the data plane saves the broker.
    pub(crate) saved: usize,
    /// What it takes of the switch, or gives back.
    pub(crate) need: Room,
}

/// What is known of one topic's rate, PUBLISH per second.
#[derive(Clone, Copy, Debug, Default)]
struct Measure {
    /// Those that came to the broker.
    software: f64,
    /// The same in the last interval alone, so that a burst is over when it is over.
    latest: f64,
    /// Those that hit the topic's row.
    hardware: f64,
    /// What the row's counter said when it was read last.
    counter: Option<(u64, Instant)>,
}

/// What is to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) admit: Vec<TopicIndex>,
    pub(crate) evict: Vec<TopicIndex>,
}

/// The topics that have room, and why.
#[derive(Debug)]
pub(crate) struct Hot {
    config: HotConfig,
    /// Each with the moment since when it has room; None: safe no longer.
    admitted: HashMap<TopicIndex, Instant>,
    /// Topics that were given or denied room once: they wait for the next decision.
    known: HashSet<TopicIndex>,
    measures: HashMap<TopicIndex, Measure>,
    /// Since when a topic is ahead of the weakest one.
    ahead: HashMap<TopicIndex, Instant>,
    asked: Option<Instant>,
    decided: Option<Instant>,
    tokens: f64,
}

/// Below this a rate is silence.
const SILENCE: f64 = 1e-3;
/// The most that is given up for one topic.
const MOST_VICTIMS: usize = 8;

/// Half of what was, half of what is.
fn smooth(old: f64, new: f64) -> f64 {
    let smooth = (old + new) / 2.0;
    if smooth < SILENCE { 0.0 } else { smooth }
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}

impl Hot {
    pub(crate) fn new(config: HotConfig) -> Self {
        Self {
            config,
            admitted: HashMap::new(),
            known: HashSet::new(),
            measures: HashMap::new(),
            ahead: HashMap::new(),
            asked: None,
            decided: None,
            tokens: f64::from(config.swaps_per_s),
        }
    }

    fn hold(&self) -> Duration {
        Duration::from_millis(self.config.hold_ms)
    }

    pub(crate) fn has(&self, topic: TopicIndex) -> bool {
        self.admitted.contains_key(&topic)
    }

    /// Whether the topic is new here, so that it may have room without waiting for a decision.
    pub(crate) fn meet(&mut self, topic: TopicIndex) -> bool {
        self.known.insert(topic)
    }

    /// The topic gets room.
    pub(crate) fn admit(&mut self, now: Instant, topic: TopicIndex) {
        self.admitted.insert(topic, now);
        self.ahead.remove(&topic);
        if let Some(measure) = self.measures.get_mut(&topic) {
            measure.hardware += std::mem::take(&mut measure.software);
        }
    }

    /// The topic has no room any more, or got none after all.
    pub(crate) fn evict(&mut self, topic: TopicIndex) {
        if self.admitted.remove(&topic).is_some()
            && let Some(measure) = self.measures.get_mut(&topic)
        {
            measure.software += std::mem::take(&mut measure.hardware);
            measure.latest = measure.software;
            measure.counter = None;
        }
    }

    /// The topic is not of the intent any more.
    pub(crate) fn forget(&mut self, topic: TopicIndex) {
        self.admitted.remove(&topic);
        self.known.remove(&topic);
        self.measures.remove(&topic);
        self.ahead.remove(&topic);
    }

    /// A link to a broker, whose topics may be others.
    pub(crate) fn start_over(&mut self) {
        *self = Self::new(self.config);
    }

    /// What the broker heard since it was asked before.
    pub(crate) fn heard(&mut self, now: Instant, topics: &[(TopicIndex, u64)]) {
        let Some(before) = self.asked.replace(now) else {
            return; // It has only begun to count.
        };
        let passed = now.saturating_duration_since(before).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let heard: HashMap<TopicIndex, u64> = topics.iter().copied().collect();
        self.measures.retain(|topic, measure| {
            let packets = heard.get(topic).copied().unwrap_or(0);
            measure.latest = packets as f64 / passed;
            measure.software = smooth(measure.software, measure.latest);
            measure.software > 0.0 || measure.hardware > 0.0 || measure.counter.is_some()
        });
        for (topic, packets) in heard {
            if self.known.contains(&topic) {
                self.measures.entry(topic).or_insert_with(|| Measure {
                    software: smooth(0.0, packets as f64 / passed),
                    latest: packets as f64 / passed,
                    ..Measure::default()
                });
            }
        }
    }

    /// What the counter of the topic's row says.
    pub(crate) fn counted(&mut self, now: Instant, topic: TopicIndex, packets: u64) {
        if !self.has(topic) {
            return;
        }
        let measure = self.measures.entry(topic).or_default();
        if let Some((before, at)) = measure.counter.replace((packets, now)) {
            let passed = now.saturating_duration_since(at).as_secs_f64();
            // A row that was written anew counts from zero.
            let new = packets.checked_sub(before).unwrap_or(packets);
            if passed > 0.0 {
                measure.hardware = smooth(measure.hardware, new as f64 / passed);
            }
        }
    }

    /// What the switch saves the broker by the topic, in sends and receives per second.
    fn score(&self, candidate: &Candidate) -> f64 {
        let rate = match self.measures.get(&candidate.topic) {
            Some(measure) if self.has(candidate.topic) => measure.hardware + measure.software,
            Some(measure) => measure.software.min(measure.latest),
            None => 0.0,
        };
        rate * candidate.saved as f64
    }

    /// Topics with room first come, then who of the others takes it and whose place. `room` is what
    /// is free, `total` what there is.
    pub(crate) fn decide(
        &mut self,
        now: Instant,
        inside: &[Candidate],
        outside: &[Candidate],
        mut room: Room,
        total: Room,
    ) -> Decision {
        let passed = self.decided.replace(now).map_or(Duration::ZERO, |before| {
            now.saturating_duration_since(before)
        });
        let most = f64::from(self.config.swaps_per_s);
        self.tokens = (self.tokens + passed.as_secs_f64() * most).min(most.max(1.0));

        let mut decision = Decision::default();
        let mut outside: Vec<(f64, &Candidate)> =
            outside.iter().map(|c| (self.score(c), c)).collect();
        outside.sort_by(|a, b| descending(a.0, b.0).then(a.1.topic.cmp(&b.1.topic)));
        let hold = self.hold();
        let mut weakest: Vec<(f64, &Candidate)> = inside
            .iter()
            .filter(|c| {
                self.admitted
                    .get(&c.topic)
                    .is_some_and(|at| *at + hold <= now)
            })
            .map(|c| (self.score(c), c))
            .collect();
        weakest.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.topic.cmp(&a.1.topic)));
        let mut weakest = weakest.into_iter().peekable();
        let margin = f64::from(self.config.margin_percent) / 100.0;

        let mut ahead = HashMap::new();
        for (score, candidate) in outside {
            if room.fits(&candidate.need) {
                room.take(&candidate.need);
                decision.admit.push(candidate.topic);
                continue;
            }
            let Some((low, _)) = weakest.peek() else {
                break;
            };
            // The best of the others comes first: if it is not ahead, none is.
            if score <= SILENCE || score <= margin * low {
                break;
            }
            if !total.fits(&candidate.need) {
                continue;
            }
            let since = *self.ahead.get(&candidate.topic).unwrap_or(&now);
            ahead.insert(candidate.topic, since);
            if now.saturating_duration_since(since) < hold {
                continue;
            }
            // As many as must give way, if all of them together are worth less.
            let mut freed = room;
            let mut given = 0.0;
            let mut victims = Vec::new();
            while !freed.fits(&candidate.need) && victims.len() < MOST_VICTIMS {
                let worth = |(low, _): &(f64, &Candidate)| score > margin * (given + low);
                let Some((low, victim)) = weakest.next_if(worth) else {
                    break;
                };
                given += low;
                freed.give(&victim.need);
                victims.push(victim.topic);
            }
            if !freed.fits(&candidate.need) || self.tokens < victims.len() as f64 {
                break;
            }
            self.tokens -= victims.len() as f64;
            decision.evict.append(&mut victims);
            ahead.remove(&candidate.topic);
            let rows = Room {
                topics: usize::MAX,
                ..room
            };
            if rows.fits(&candidate.need) {
                // The rows of topics that go are deleted before others are inserted.
                room = freed;
                room.take(&candidate.need);
                decision.admit.push(candidate.topic);
            } else {
                // Groups are there before the topic and go long after: it comes next time, before all
                // that are worth less.
                break;
            }
        }
        self.ahead = ahead;
        for topic in &decision.evict {
            self.evict(*topic);
        }
        for topic in &decision.admit {
            self.admit(now, *topic);
        }
        decision
    }

    /// The topics that have room.
    pub(crate) fn admitted(&self) -> BTreeSet<TopicIndex> {
        self.admitted.keys().copied().collect()
    }
}
