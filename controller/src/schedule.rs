//! Things and the moments at which they are due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Each thing at most once. What is asked for often (is anything due, when is the next) does not
/// cost more with many of them.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    moments: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self {
            moments: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> Schedule<K> {
    /// The thing is due then, whatever was said before.
    pub(crate) fn set(&mut self, thing: K, at: Instant) {
        self.remove(&thing);
        self.moments.insert(thing, at);
        self.order.insert((at, thing));
    }

    /// The thing is not due any more. Whether it was there.
    pub(crate) fn remove(&mut self, thing: &K) -> bool {
        match self.moments.remove(thing) {
            Some(at) => self.order.remove(&(at, *thing)),
            None => false,
        }
    }

    pub(crate) fn contains(&self, thing: &K) -> bool {
        self.moments.contains_key(thing)
    }

    /// When the thing is due.
    pub(crate) fn at(&self, thing: &K) -> Option<Instant> {
        self.moments.get(thing).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// The things between two of them, both included.
    pub(crate) fn between(&self, first: K, last: K) -> Vec<K> {
        let found = self.moments.range(first..=last);
        found.map(|(thing, _)| *thing).collect()
    }

    /// The things that are due now, in their own order. They stay.
    pub(crate) fn due(&self, now: Instant) -> Vec<K> {
        let due = self.order.iter().take_while(|(at, _)| *at <= now);
        let mut due: Vec<K> = due.map(|(_, thing)| *thing).collect();
        due.sort_unstable();
        due
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_thing_is_due_once_and_at_the_last_moment_given() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.set(2, now);
        schedule.set(1, now + Duration::from_secs(1));
        schedule.set(2, now + Duration::from_secs(2));
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(schedule.due(now + Duration::from_secs(2)), [1, 2]);
        assert!(schedule.remove(&1));
        assert!(!schedule.remove(&1));
        assert_eq!(schedule.between(0, 9), [2]);
    }
}
