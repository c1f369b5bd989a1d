//! What stays in software and why; and what the broker has been told of it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use offload::{FromController, Refusal, RefusedItem};

/// Until a withheld item is tried again, at first; each time it fails anew it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Withheld {
    why: Refusal,
    /// The table that was full, if that is why.
    full: Option<&'static str>,
    retry_at: Option<Instant>,
    /// When there is room before `retry_at`: not sooner than this.
    room_at: Instant,
    attempts: u32,
}

/// Refusals in force, and those of them that follow from failed writes and so outlast planning.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    current: BTreeMap<RefusedItem, Refusal>,
    told: BTreeMap<RefusedItem, Refusal>,
    withheld: HashMap<RefusedItem, Withheld>,
}

impl Refusals {
    /// The item is refused, or (None) no longer.
    pub(crate) fn set(&mut self, item: RefusedItem, why: Option<Refusal>) {
        match why {
            Some(why) => {
                self.current.insert(item, why);
            }
            None => {
                self.current.remove(&item);
            }
        }
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
        let withheld = Withheld {
            why,
            full,
            retry_at: Some(now + wait),
            // What was prepared for the item is deleted too, and makes room that is not enough.
            room_at: now + wait / 4,
            attempts: attempts + 1,
        };
        self.withheld.insert(item, withheld);
    }

    /// Why the item is kept out although it could be planned.
    pub(crate) fn withheld(&self, item: &RefusedItem) -> Option<&Refusal> {
        let withheld = self.withheld.get(item)?;
        withheld.retry_at.is_some().then_some(&withheld.why)
    }

    /// All that is planned is on the switch: the failures of what is not refused are forgotten.
    pub(crate) fn settle(&mut self) {
        let current = &self.current;
        self.withheld
            .retain(|item, withheld| withheld.retry_at.is_some() || current.contains_key(item));
    }

    /// The item left the intent, perhaps because it was refused. What time may cure is welcome
    /// again after a while, and the broker is told so; a refusal for good is forgotten.
    pub(crate) fn left(&mut self, now: Instant, item: &RefusedItem) {
        match self.withheld.get(item) {
            Some(withheld) if withheld.retry_at.is_some() => {}
            Some(_) => {
                self.withheld.remove(item);
                self.current.remove(item);
            }
            None if self.told.get(item) == Some(&Refusal::Unreachable) => {
                self.withhold(now, *item, Refusal::Unreachable, None);
            }
            None => {
                self.current.remove(item);
                self.told.remove(item);
            }
        }
    }

    /// The items that are to be tried again now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<RefusedItem> {
        let mut due = Vec::new();
        for (item, withheld) in &mut self.withheld {
            if withheld.retry_at.is_some_and(|at| at <= now) {
                // The count of attempts stays, until the item succeeds.
                withheld.retry_at = None;
                due.push(*item);
            }
        }
        due.sort_unstable();
        due
    }

    /// Room became free in the table for `rows` rows: as many items need not wait any longer.
    pub(crate) fn room(&mut self, now: Instant, table: &'static str, rows: usize) {
        let mut waiting: Vec<_> = self
            .withheld
            .iter_mut()
            .filter(|(_, w)| w.retry_at.is_some() && w.full == Some(table))
            .collect();
        waiting.sort_unstable_by_key(|(item, _)| **item);
        for (_, withheld) in waiting.into_iter().take(rows) {
            let at = now.max(withheld.room_at);
            withheld.retry_at = withheld.retry_at.map(|retry_at| retry_at.min(at));
        }
    }

    /// When `due` has something next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.withheld.values().filter_map(|w| w.retry_at).min()
    }

    /// A new broker has been told nothing.
    pub(crate) fn forget_told(&mut self) {
        self.told.clear();
    }

    /// What the broker does not know yet.
    pub(crate) fn news(&mut self) -> Vec<FromController> {
        let mut news = Vec::new();
        for item in self.told.keys() {
            if !self.current.contains_key(item) {
                let item = *item;
                news.push(FromController::Refused { item, why: None });
            }
        }
        for (item, why) in &self.current {
            if self.told.get(item) != Some(why) {
                news.push(FromController::Refused {
                    item: *item,
                    why: Some(why.clone()),
                });
            }
        }
        if !news.is_empty() {
            self.told = self.current.clone();
        }
        news
    }
}
