//! What stays in software and why; and what the broker has been told of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use offload::{FromController, Refusal, RefusedItem};

use crate::schedule::Schedule;

/// Until a withheld item is tried again, at first; each time it fails anew it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Withheld {
    why: Refusal,
    /// The table that was full, if that is why.
    full: Option<&'static str>,
    /// When there is room before its time to be tried again: not sooner than this.
    room_at: Instant,
    attempts: u32,
}

/// Refusals in force, and those of them that follow from failed writes and so outlast planning.
///
/// Most topics may be refused, so that nothing here looks at all of them for the sake of one.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    current: BTreeMap<RefusedItem, Refusal>,
    told: BTreeMap<RefusedItem, Refusal>,
    /// Items whose refusal may not be what the broker was told.
    changed: BTreeSet<RefusedItem>,
    withheld: HashMap<RefusedItem, Withheld>,
    /// When withheld items are tried again. One that is not here is being tried.
    retries: Schedule<RefusedItem>,
    /// Withheld items that are being tried.
    trying: BTreeSet<RefusedItem>,
    /// Withheld items that wait for room, by the table that was full.
    waiting: HashMap<&'static str, BTreeSet<RefusedItem>>,
}

impl Refusals {
    /// The item is refused, or (None) no longer.
    pub(crate) fn set(&mut self, item: RefusedItem, why: Option<Refusal>) {
        let same = match &why {
            Some(why) => self.current.get(&item) == Some(why),
            None => !self.current.contains_key(&item),
        };
        if same {
            return;
        }
        self.changed.insert(item);
        match why {
            Some(why) => self.current.insert(item, why),
            None => self.current.remove(&item),
        };
    }

    /// Why the item is refused.
    pub(crate) fn get(&self, item: &RefusedItem) -> Option<&Refusal> {
        self.current.get(item)
    }

    /// All refusals in force.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RefusedItem, &Refusal)> {
        self.current.iter()
    }

    /// Its writes failed: keep the item out until it is time to try again, or until there is room
    /// in the table that was full.
    pub(crate) fn withhold(
        &mut self,
        now: Instant,
        item: RefusedItem,
        why: Refusal,
        full: Option<&'static str>,
    ) {
        let attempts = self.withheld.get(&item).map_or(0, |w| w.attempts);
        let wait = FIRST_RETRY
            .saturating_mul(1 << attempts.min(5))
            .min(LAST_RETRY);
        self.release(&item);
        let withheld = Withheld {
            why,
            full,
            // What was prepared for the item is deleted too, and makes room that is not enough.
            room_at: now + wait / 4,
            attempts: attempts + 1,
        };
        self.withheld.insert(item, withheld);
        self.retries.set(item, now + wait);
        if let Some(table) = full {
            self.waiting.entry(table).or_default().insert(item);
        }
    }

    /// The item is not withheld any more.
    pub(crate) fn release(&mut self, item: &RefusedItem) {
        self.stop_waiting(item);
        self.trying.remove(item);
        self.withheld.remove(item);
    }

    fn stop_waiting(&mut self, item: &RefusedItem) {
        self.retries.remove(item);
        let full = self.withheld.get(item).and_then(|withheld| withheld.full);
        if let Some(waiting) = full.and_then(|table| self.waiting.get_mut(table)) {
            waiting.remove(item);
        }
    }

    /// Why the item is kept out although it could be planned.
    pub(crate) fn withheld(&self, item: &RefusedItem) -> Option<&Refusal> {
        if !self.retries.contains(item) {
            return None;
        }
        self.withheld.get(item).map(|withheld| &withheld.why)
    }

    /// All that is planned is on the switch: the failures of what is not refused are forgotten.
    pub(crate) fn settle(&mut self) {
        for item in std::mem::take(&mut self.trying) {
            if self.current.contains_key(&item) {
                self.trying.insert(item);
            } else {
                self.withheld.remove(&item);
            }
        }
    }

    /// The item left the intent, perhaps because it was refused. What time may cure is welcome
    /// again after a while, and the broker is told so; a refusal for good is forgotten.
    pub(crate) fn left(&mut self, now: Instant, item: &RefusedItem) {
        if self.retries.contains(item) {
            return;
        }
        if self.withheld.contains_key(item) {
            self.release(item);
            self.set(*item, None);
        } else if self.told.get(item) == Some(&Refusal::Unreachable) {
            self.withhold(now, *item, Refusal::Unreachable, None);
        } else {
            self.current.remove(item);
            self.told.remove(item);
            self.changed.remove(item);
        }
    }

    /// The items that are to be tried again now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<RefusedItem> {
        let due = self.retries.due(now);
        for item in &due {
            // The count of attempts stays, until the item succeeds.
            self.stop_waiting(item);
            self.trying.insert(*item);
        }
        due
    }

    /// Room became free in the table for `rows` rows: as many items need not wait any longer.
    pub(crate) fn room(&mut self, now: Instant, table: &'static str, rows: usize) {
        let Some(waiting) = self.waiting.get(table) else {
            return;
        };
        for item in waiting.iter().take(rows) {
            if let Some(withheld) = self.withheld.get(item) {
                let at = now.max(withheld.room_at);
                if self.retries.at(item).is_some_and(|retry_at| at < retry_at) {
                    self.retries.set(*item, at);
                }
            }
        }
    }

    /// When `due` has something next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.retries.next()
    }

    /// A new broker has been told nothing.
    pub(crate) fn forget_told(&mut self) {
        self.told.clear();
        self.changed = self.current.keys().copied().collect();
    }

    /// What the broker does not know yet: first what is welcome again.
    pub(crate) fn news(&mut self) -> Vec<FromController> {
        let mut news = Vec::new();
        let mut refused = Vec::new();
        for item in std::mem::take(&mut self.changed) {
            let why = self.current.get(&item).cloned();
            if self.told.get(&item) == why.as_ref() {
                continue;
            }
            match &why {
                Some(why) => {
                    self.told.insert(item, why.clone());
                    refused.push(FromController::Refused {
                        item,
                        why: Some(why.clone()),
                    });
                }
                None => {
                    self.told.remove(&item);
                    news.push(FromController::Refused { item, why: None });
                }
            }
        }
        news.append(&mut refused);
        news
    }
}
