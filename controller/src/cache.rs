//! Publications as a cache: who has a row when there are more publishers than rows, and who has had
//! one for too long in silence.
//!
//! ```text
//!             there is room, or another gives way          silent
//!   outside ───────────────────────────────────▶ serving ─────────▶ parked
//!      ▲     new, or heard of by the broker         ▲                 │
//!      │                                            └─ hit meanwhile ─┤
//!      └────────────── not hit since it was looked at ────────────────┘
//! ```
//! A row knows when its publisher was heard last, and the broker may ask: that knowledge must outlive
//! the row. So a row that is to go is looked at, then *parked*: it leads to no topic, and what hits it
//! goes to the broker. If its counter then still says what it said before, nothing came in between,
//! and what is known of its last hit is told to the broker. Only then is it deleted.
//!
//! Who spoke last deserves the room. A row is safe for `hold`, gives way only to a publisher that was
//! heard so much later than its own, and no more than `swaps_per_s` do. A row whose topic has none is
//! of no use: it is looked at and goes.
//!
//! No I/O and no clock, and no look at the switch: room and readings are arguments.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use offload::{PublicationKey, Refusal};
use serde::{Deserialize, Serialize};

use crate::config::CacheConfig;
use crate::target::Hit;

/// Most rows that are looked at in one interval.
const MOST_LOOKS: usize = 4096;
/// Without need all rows are looked at so often within their idle time, a part each time.
const LOOKS: u32 = 4;
const PARTS: u32 = 16;

/// Who waits for a row, best first: heard last, and most.
type Waiting = [Vec<(Reverse<Instant>, Reverse<u64>, PublicationKey)>; 2];

/// Rows by the family of their publishers: IPv4, IPv6.
pub(crate) type Families = [usize; 2];

pub(crate) fn family(key: &PublicationKey) -> usize {
    usize::from(key.address.is_ipv6())
}

/// What a row said when it was looked at.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    packets: u64,
    /// When it was hit last; None: never, and the broker knows what was before.
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// It leads nowhere, or does as soon as that is written. Read from then on, once.
    Parked(Reading),
    /// Its topic is in software.
    NoTopic(Reading),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reading {
    /// Packets under way have passed then.
    from: Option<Instant>,
    asked: bool,
}

#[derive(Debug)]
struct Inside {
    since: Instant,
    /// The broker heard all that its publisher said before. Else a row that was never hit is one of
    /// whose publisher nothing is known from before it was there.
    heard: bool,
    seen: Option<Seen>,
    stage: Stage,
}

impl Inside {
    /// When there was last a reason to keep it.
    fn active(&self) -> Instant {
        let last = self.seen.and_then(|seen| seen.last);
        last.map_or(self.since, |last| last.max(self.since))
    }

    /// For how long its publisher has not been seen; None: nothing is known by this row.
    fn idle(&self, hit: &Hit) -> Option<Duration> {
        (hit.packets > 0 || !self.heard).then_some(hit.idle)
    }

    fn look(&self, now: Instant, hit: &Hit) -> Seen {
        let last = self.idle(hit).and_then(|idle| now.checked_sub(idle));
        Seen {
            at: now,
            packets: hit.packets,
            last,
        }
    }
}

#[derive(Debug)]
struct Outside {
    /// It had a row and was silent.
    idle: bool,
    /// Since it is outside; None: it is not to have a row.
    heard: Option<Instant>,
    packets: u64,
}

/// Where a publication belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its row serves.
    Serving,
    /// Its row leads nowhere.
    Parked,
    /// It has none.
    Outside(Refusal),
}

/// What follows from a look at a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing.
    Stays,
    /// It was hit after all, and serves again.
    Back,
    /// It goes; when it was hit last.
    Goes(Option<Instant>),
}

/// What is to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) admit: Vec<PublicationKey>,
    pub(crate) park: Vec<PublicationKey>,
}

/// How it went, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Publications that have a row.
    pub rows: usize,
    /// Those that were heard of and find no room.
    pub waiting: usize,
    /// Those that gave their rows up and are silent.
    pub silent: usize,
    /// How many gave their rows up.
    pub evicted: u64,
    /// How many of them came back.
    pub returned: u64,
}

/// The publications of planned topics and known places.
#[derive(Debug)]
pub(crate) struct Cache {
    config: CacheConfig,
    inside: BTreeMap<PublicationKey, Inside>,
    outside: BTreeMap<PublicationKey, Outside>,
    /// Those inside that are not serving.
    leaving: BTreeSet<PublicationKey>,
    used: Families,
    /// When rows were looked at last, and before that.
    looks: Option<(Instant, Instant)>,
    /// The last row that was.
    cursor: Option<PublicationKey>,
    tokens: f64,
    decided: Option<Instant>,
    evicted: u64,
    returned: u64,
}

impl Cache {
    pub(crate) fn new(config: CacheConfig) -> Self {
        Self {
            config,
            inside: BTreeMap::new(),
            outside: BTreeMap::new(),
            leaving: BTreeSet::new(),
            used: [0; 2],
            looks: None,
            cursor: None,
            tokens: f64::from(config.swaps_per_s),
            decided: None,
            evicted: 0,
            returned: 0,
        }
    }

    /// A link to a broker, whose publications may be others.
    pub(crate) fn start_over(&mut self) {
        let (evicted, returned) = (self.evicted, self.returned);
        *self = Self {
            evicted,
            returned,
            ..Self::new(self.config)
        };
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.config.interval_ms)
    }

    fn hold(&self) -> Duration {
        Duration::from_millis(self.config.hold_ms)
    }

    fn idle(&self) -> Option<Duration> {
        (self.config.idle_s > 0).then(|| Duration::from_secs(self.config.idle_s))
    }

    // ---- The plan asks ------------------------------------------------------------------------

    /// Where the publication belongs, whose topic is planned. A new one has a row while there are
    /// less than `limit`.
    pub(crate) fn place(&mut self, now: Instant, key: PublicationKey, limit: usize) -> Place {
        self.looks.get_or_insert((now, now));
        if let Some(inside) = self.inside.get_mut(&key) {
            return match inside.stage {
                Stage::Serving => Place::Serving,
                Stage::Parked(_) => Place::Parked,
                Stage::NoTopic(_) => {
                    inside.stage = Stage::Serving;
                    self.leaving.remove(&key);
                    Place::Serving
                }
            };
        }
        if let Some(outside) = self.outside.get(&key) {
            return Place::Outside(outside.why());
        }
        if self.used[family(&key)] < limit {
            self.enter(now, key, false);
            return Place::Serving;
        }
        self.stay_outside(now, key)
    }

    /// The publication's row was parked by another controller, or for another link. It goes as if it had
    /// been parked here, and its clock tells: that started when it was parked, and what came since came to
    /// the broker.
    pub(crate) fn found_parked(&mut self, now: Instant, key: PublicationKey, drain: Duration) {
        if self.inside.contains_key(&key) || self.outside.contains_key(&key) {
            return; // It was parked here.
        }
        self.enter(now, key, false);
        if let Some(inside) = self.inside.get_mut(&key) {
            inside.stage = Stage::Parked(Reading {
                from: Some(now + drain),
                asked: false,
            });
        }
        self.leaving.insert(key);
    }

    fn stay_outside(&mut self, now: Instant, key: PublicationKey) -> Place {
        let outside = Outside {
            idle: false,
            // Its client has just asked for it.
            heard: Some(now),
            packets: 0,
        };
        let why = outside.why();
        self.outside.insert(key, outside);
        Place::Outside(why)
    }

    fn enter(&mut self, now: Instant, key: PublicationKey, heard: bool) {
        self.used[family(&key)] += 1;
        let inside = Inside {
            since: now,
            heard,
            seen: None,
            stage: Stage::Serving,
        };
        self.inside.insert(key, inside);
    }

    /// The publication's topic is in software. Whether its row stays for a look.
    pub(crate) fn no_topic(&mut self, key: &PublicationKey) -> bool {
        self.outside.remove(key);
        let Some(inside) = self.inside.get_mut(key) else {
            return false;
        };
        if inside.stage == Stage::Serving {
            inside.stage = Stage::NoTopic(Reading::default());
            self.leaving.insert(*key);
        }
        true
    }

    /// The publication is not to be planned, or has no row any more.
    pub(crate) fn left(&mut self, key: &PublicationKey) {
        self.outside.remove(key);
        self.leave(key);
    }

    fn leave(&mut self, key: &PublicationKey) -> Option<Inside> {
        self.leaving.remove(key);
        let inside = self.inside.remove(key)?;
        let used = &mut self.used[family(key)];
        *used = used.saturating_sub(1);
        Some(inside)
    }

    /// The switch had no room for it.
    pub(crate) fn refused(&mut self, now: Instant, key: PublicationKey) {
        if self.leave(&key).is_some() {
            self.stay_outside(now, key);
        }
    }

    // ---- What is heard and read -----------------------------------------------------------------

    /// The broker heard of these publications.
    pub(crate) fn heard(&mut self, now: Instant, publications: &[(PublicationKey, u64)]) {
        for (key, packets) in publications {
            if let Some(outside) = self.outside.get_mut(key) {
                outside.heard = Some(now);
                outside.packets = *packets;
            }
        }
    }

    /// Somebody is without a row: the broker is to be asked whom it hears.
    pub(crate) fn is_short(&self) -> bool {
        !self.outside.is_empty()
    }

    /// Whether rows are on their way out.
    pub(crate) fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Rows on their way out that are not being read, and whether they are parked.
    pub(crate) fn leaving(&self) -> Vec<(PublicationKey, bool)> {
        let unread = |key: &PublicationKey| match self.inside.get(key)?.stage {
            Stage::Parked(reading) if !reading.asked => Some((*key, true)),
            Stage::NoTopic(reading) if !reading.asked => Some((*key, false)),
            _ => None,
        };
        self.leaving.iter().filter_map(unread).collect()
    }

    fn reading(&mut self, key: &PublicationKey) -> Option<&mut Reading> {
        match &mut self.inside.get_mut(key)?.stage {
            Stage::Parked(reading) | Stage::NoTopic(reading) => Some(reading),
            Stage::Serving => None,
        }
    }

    /// The switch does not serve by the row any more; whether it is to be read now. Packets under way
    /// get their time.
    pub(crate) fn read_now(&mut self, now: Instant, key: &PublicationKey, drain: Duration) -> bool {
        let Some(reading) = self.reading(key) else {
            return false;
        };
        let from = *reading.from.get_or_insert(now + drain);
        reading.asked |= from <= now;
        reading.asked
    }

    /// It could not be read: again later.
    pub(crate) fn unread(&mut self, now: Instant, key: &PublicationKey) {
        let again = now + self.interval();
        if let Some(reading) = self.reading(key) {
            *reading = Reading {
                from: Some(again),
                asked: false,
            };
        }
    }

    /// What the publication's row says; None: there is none.
    pub(crate) fn seen(&mut self, now: Instant, key: &PublicationKey, hit: Option<&Hit>) -> Look {
        let Some(inside) = self.inside.get_mut(key) else {
            return Look::Stays;
        };
        let seen = hit.map(|hit| inside.look(now, hit));
        match inside.stage {
            Stage::Serving => {
                inside.seen = seen;
                return Look::Stays;
            }
            Stage::NoTopic(reading) if reading.asked => {
                self.leave(key);
                return Look::Goes(seen.and_then(|seen| seen.last));
            }
            Stage::Parked(reading) if reading.asked => {}
            _ => return Look::Stays, // A look from before.
        }
        let before = inside.seen;
        let hit_since = match (before, seen) {
            (Some(before), Some(seen)) => before.packets != seen.packets,
            // It was found parked, or it has gone by itself.
            _ => false,
        };
        if hit_since {
            inside.since = now;
            inside.seen = seen;
            inside.stage = Stage::Serving;
            self.leaving.remove(key);
            return Look::Back;
        }
        self.leave(key);
        self.evicted += 1;
        let outside = Outside {
            idle: true,
            heard: None,
            packets: 0,
        };
        self.outside.insert(*key, outside);
        Look::Goes(before.or(seen).and_then(|seen| seen.last))
    }

    /// For how long the publisher has not been seen, where its row said this; None: nothing is known
    /// by it.
    pub(crate) fn idle_of(
        &self,
        now: Instant,
        key: &PublicationKey,
        hit: &Hit,
    ) -> Option<Duration> {
        if self.outside.contains_key(key) {
            return None; // The broker was told.
        }
        let Some(inside) = self.inside.get(key) else {
            return Some(hit.idle);
        };
        match (inside.stage, inside.seen) {
            // To write it anew has started its clock again.
            (Stage::Parked(_), Some(before)) if before.packets == hit.packets => {
                Some(now.saturating_duration_since(before.last?))
            }
            _ => inside.idle(hit),
        }
    }

    // ---- Time -----------------------------------------------------------------------------------

    /// When something is due that nobody brings about.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let readings = self
            .leaving
            .iter()
            .filter_map(|key| match self.inside.get(key)?.stage {
                Stage::Parked(reading) | Stage::NoTopic(reading) if !reading.asked => reading.from,
                _ => None,
            });
        readings.chain(self.next_look()).min()
    }

    fn next_look(&self) -> Option<Instant> {
        let (last, _) = self.looks?;
        let wait = if self.is_short() {
            self.interval()
        } else if self.inside.is_empty() {
            return None;
        } else {
            self.interval().max(self.idle()? / (LOOKS * PARTS))
        };
        Some(last + wait)
    }

    /// The rows to look at now, if it is time for that.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Vec<PublicationKey>> {
        if self.next_look().is_none_or(|at| now < at) {
            return None;
        }
        self.looks = Some((now, self.looks.map_or(now, |(last, _)| last)));
        let wanted = self.outside.values().any(|outside| outside.heard.is_some());
        let most = if wanted {
            MOST_LOOKS
        } else if self.idle().is_some() {
            let part = self.inside.len().div_ceil(PARTS as usize);
            part.clamp(64, MOST_LOOKS)
        } else {
            0
        };
        // From where the last look ended, once around.
        let from = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.inside.range((from, Bound::Unbounded));
        let before = self
            .cursor
            .iter()
            .flat_map(|cursor| self.inside.range(..=*cursor));
        let around = after.chain(before);
        let serving = around.filter(|(_, inside)| inside.stage == Stage::Serving);
        let rows: Vec<PublicationKey> = serving.map(|(key, _)| *key).take(most).collect();
        self.cursor = rows.last().copied().or(self.cursor);
        Some(rows)
    }

    /// Who enters, and who gives way. `limits`: how many rows there are.
    pub(crate) fn decide(&mut self, now: Instant, limits: Families) -> Decision {
        let passed = self.decided.replace(now).map_or(Duration::ZERO, |before| {
            now.saturating_duration_since(before)
        });
        let most = f64::from(self.config.swaps_per_s);
        self.tokens = (self.tokens + passed.as_secs_f64() * most).min(most.max(1.0));
        let mut decision = Decision::default();
        let mut waiting = Waiting::default();
        for (key, outside) in &self.outside {
            if let Some(heard) = outside.heard {
                let rank = (Reverse(heard), Reverse(outside.packets), *key);
                waiting[family(key)].push(rank);
            }
        }
        for (family, waiting) in waiting.iter_mut().enumerate() {
            waiting.sort_unstable();
            let free = limits[family]
                .saturating_sub(self.used[family])
                .min(waiting.len());
            for (_, _, key) in waiting.drain(..free) {
                self.returned += u64::from(self.outside.remove(&key).is_some_and(|of| of.idle));
                self.enter(now, key, true);
                decision.admit.push(key);
            }
        }
        if self.idle().is_some() || waiting.iter().any(|waiting| !waiting.is_empty()) {
            self.choose(now, &waiting, &mut decision);
        }
        decision
    }

    /// Chooses whose rows go: the ones silent longest.
    fn choose(&mut self, now: Instant, waiting: &Waiting, decision: &mut Decision) {
        let (hold, idle) = (self.hold(), self.idle());
        let fresh = self.looks.map_or(now, |(_, before)| before);
        let mut silent: Vec<(Instant, PublicationKey)> = Vec::new();
        for (key, inside) in &self.inside {
            let looked = inside.seen.is_some_and(|seen| seen.at >= fresh);
            if inside.stage == Stage::Serving && looked && inside.since + hold <= now {
                silent.push((inside.active(), *key));
            }
        }
        silent.sort_unstable();
        let mut waiting = waiting.each_ref().map(|waiting| waiting.iter());
        // As many rows are on their way out already.
        for key in &self.leaving {
            waiting[family(key)].next();
        }
        for (active, key) in silent {
            let wanted = waiting[family(&key)].as_slice().first();
            let gives_way = wanted.is_some_and(|(heard, _, _)| active + hold < heard.0);
            let expired = idle.is_some_and(|idle| active + idle <= now);
            if !gives_way && !expired {
                continue;
            }
            if self.tokens < 1.0 {
                break;
            }
            self.tokens -= 1.0;
            waiting[family(&key)].next();
            if let Some(inside) = self.inside.get_mut(&key) {
                inside.stage = Stage::Parked(Reading::default());
            }
            self.leaving.insert(key);
            decision.park.push(key);
        }
    }

    /// How it went.
    pub(crate) fn status(&self) -> CacheStatus {
        let waiting = self
            .outside
            .values()
            .filter(|outside| outside.heard.is_some())
            .count();
        CacheStatus {
            rows: self.inside.len(),
            waiting,
            silent: self.outside.len() - waiting,
            evicted: self.evicted,
            returned: self.returned,
        }
    }
}

impl Outside {
    fn why(&self) -> Refusal {
        if self.idle {
            Refusal::Idle
        } else {
            Refusal::Capacity("publication: all rows are taken, by who spoke later".into())
        }
    }
}
