//! Entries, members and groups as packets see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::trie::Keyed;
use crate::control::{ActionCall, ProfileGroup, TableEntry};
use crate::externs::counter::CounterCell;
use crate::externs::meter::Meter;
use crate::program::Call;

/// What an entry does.
#[derive(Debug, Clone)]
pub(crate) enum EntryAction {
    Call(Call),
    Member(u32),
    Group(u32),
}

/// What of an entry outlives a MODIFY: counter, meter and the idle timer.
#[derive(Debug, Default)]
pub(crate) struct EntryState {
    pub(crate) counter: CounterCell,
    pub(crate) meter: Meter,
    /// Nanoseconds since the switch started.
    last_hit: AtomicU64,
    /// When the control plane was last told that the entry is idle.
    told: AtomicU64,
}

impl EntryState {
    /// A packet hit the entry.
    #[inline]
    pub(crate) fn hit(&self, now: u64) {
        self.last_hit.fetch_max(now, Ordering::Relaxed);
    }

    /// The idle timer starts again.
    pub(crate) fn arm(&self, now: u64) {
        self.last_hit.store(now, Ordering::Relaxed);
    }

    pub(crate) fn idle(&self, now: u64) -> u64 {
        now.saturating_sub(self.last_hit.load(Ordering::Relaxed))
    }

    /// Whether the entry has been idle for so long, since its last hit and since somebody was told
    /// (P4Runtime specification, "Table Idle Timeout Notification": the timer starts again).
    pub(crate) fn expire(&self, now: u64, timeout: u64) -> bool {
        let since_told = now.saturating_sub(self.told.load(Ordering::Relaxed));
        let expired = self.idle(now).min(since_told) >= timeout;
        if expired {
            self.told.store(now, Ordering::Relaxed);
        }
        expired
    }
}

/// A range: first word and words in the key, least and greatest value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeMatch {
    pub(crate) at: usize,
    pub(crate) low: Box<[u64]>,
    pub(crate) high: Box<[u64]>,
}

impl RangeMatch {
    fn matches(&self, key: &[u64]) -> bool {
        let value = &key[self.at..self.at + self.low.len()];
        !less(value, &self.low) && !less(&self.high, value)
    }
}

/// `a < b`, unsigned, words least significant first.
pub(crate) fn less(a: &[u64], b: &[u64]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// An entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) hash: u64,
    /// The key, masked; behind it, in an lpm table, the prefix length.
    pub(crate) key: Box<[u64]>,
    /// Ternary tables: the mask of the key (0 where a range is).
    pub(crate) mask: Box<[u64]>,
    pub(crate) ranges: Box<[RangeMatch]>,
    pub(crate) priority: u32,
    pub(crate) action: EntryAction,
    /// As the control plane wrote it.
    pub(crate) source: TableEntry,
    pub(crate) state: Arc<EntryState>,
}

impl Entry {
    #[inline]
    pub(crate) fn in_ranges(&self, key: &[u64]) -> bool {
        self.ranges.iter().all(|range| range.matches(key))
    }
}

impl Keyed for Entry {
    fn hash(&self) -> u64 {
        self.hash
    }
    fn key(&self) -> &[u64] {
        &self.key
    }
}

/// A member of an action profile.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) hash: u64,
    pub(crate) id: [u64; 1],
    pub(crate) call: Call,
    pub(crate) source: ActionCall,
}

impl Keyed for Member {
    fn hash(&self) -> u64 {
        self.hash
    }
    fn key(&self) -> &[u64] {
        &self.id
    }
}

/// A group of an action selector.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) hash: u64,
    pub(crate) id: [u64; 1],
    pub(crate) source: ProfileGroup,
    /// Weights up to and including each member.
    pub(crate) cumulated: Vec<u64>,
    /// Some member watches a port.
    pub(crate) watches: bool,
}

impl Group {
    /// The member that a hash chooses. `down` says which ports are down.
    pub(crate) fn choose(&self, hash: u64, down: impl Fn(u32) -> bool) -> Option<u32> {
        if !self.watches {
            let total = *self.cumulated.last()?;
            let at = hash % total;
            let i = self.cumulated.partition_point(|&upto| upto <= at);
            return Some(self.source.members[i].member);
        }
        let live = || {
            let up = |m: &&crate::control::GroupMember| !m.watch_port.is_some_and(&down);
            self.source.members.iter().filter(up)
        };
        let total: u64 = live().map(|m| u64::from(m.weight)).sum();
        let mut at = hash.checked_rem(total)?;
        for member in live() {
            match at.checked_sub(u64::from(member.weight)) {
                Some(rest) => at = rest,
                None => return Some(member.member),
            }
        }
        None
    }
}

impl Keyed for Group {
    fn hash(&self) -> u64 {
        self.hash
    }
    fn key(&self) -> &[u64] {
        &self.id
    }
}
