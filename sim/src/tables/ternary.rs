//! Ternary, range and optional matching, by priority.
//!
//! Entries with the same mask share a hash map keyed by the masked key. A lookup tries the masks,
//! the one with the greatest priority first, and stops where no later one can win. A range has
//! mask 0 and is compared entry by entry.

use std::sync::Arc;

use super::entry::Entry;
use super::trie::{Keyed, Trie, hash_words};

/// Entries with the same mask and masked key, by falling priority.
struct Bucket {
    hash: u64,
    key: Box<[u64]>,
    entries: Vec<Arc<Entry>>,
}

impl Keyed for Bucket {
    fn hash(&self) -> u64 {
        self.hash
    }
    fn key(&self) -> &[u64] {
        &self.key
    }
}

/// Entries with the same mask.
#[derive(Clone)]
struct Masked {
    mask: Box<[u64]>,
    best: u32,
    buckets: Trie<Bucket>,
}

/// All entries of a table.
#[derive(Clone, Default)]
pub(crate) struct Ternary {
    /// By falling best priority.
    masks: Vec<Masked>,
    len: usize,
}

impl Ternary {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn lookup(&self, key: &[u64]) -> Option<&Entry> {
        let mut small = [0; 16];
        let mut large = Vec::new();
        let masked = match small.get_mut(..key.len()) {
            Some(masked) => masked,
            None => {
                large.resize(key.len(), 0);
                &mut large[..]
            }
        };
        let mut winner: Option<&Entry> = None;
        for group in &self.masks {
            if winner.is_some_and(|winner| winner.priority >= group.best) {
                break;
            }
            for ((to, word), mask) in masked.iter_mut().zip(key).zip(&group.mask) {
                *to = word & mask;
            }
            let Some(bucket) = group.buckets.get(hash_words(masked), masked) else {
                continue;
            };
            let found = bucket.entries.iter().find(|entry| entry.in_ranges(key));
            if let Some(entry) = found
                && winner.is_none_or(|winner| entry.priority > winner.priority)
            {
                winner = Some(entry);
            }
        }
        winner
    }

    /// The entry with exactly this match and priority.
    pub(crate) fn find(&self, like: &Entry) -> Option<&Arc<Entry>> {
        let group = self.masks.iter().find(|group| group.mask == like.mask)?;
        let bucket = group.buckets.get(like.hash, &like.key)?;
        bucket.entries.iter().find(|entry| same(entry, like))
    }

    /// Inserts an entry; the one with the same match and priority goes.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        self.remove(&entry);
        let at = match self.masks.iter().position(|group| group.mask == entry.mask) {
            Some(at) => at,
            None => {
                let buckets = Trie::default();
                self.masks.push(Masked {
                    mask: entry.mask.clone(),
                    best: 0,
                    buckets,
                });
                self.masks.len() - 1
            }
        };
        let group = &mut self.masks[at];
        group.best = group.best.max(entry.priority);
        let old = group.buckets.get(entry.hash, &entry.key);
        let mut entries = old.map_or(Vec::new(), |bucket| bucket.entries.clone());
        let place = entries.partition_point(|other| other.priority >= entry.priority);
        entries.insert(place, entry.clone());
        let bucket = Bucket {
            hash: entry.hash,
            key: entry.key.clone(),
            entries,
        };
        group.buckets.insert(Arc::new(bucket));
        self.len += 1;
        self.order();
    }

    /// Removes the entry with the same match and priority.
    pub(crate) fn remove(&mut self, like: &Entry) -> Option<Arc<Entry>> {
        let at = self
            .masks
            .iter()
            .position(|group| group.mask == like.mask)?;
        let group = &mut self.masks[at];
        let bucket = group.buckets.get(like.hash, &like.key)?;
        let place = bucket.entries.iter().position(|entry| same(entry, like))?;
        let mut entries = bucket.entries.clone();
        let old = entries.remove(place);
        if entries.is_empty() {
            group.buckets.remove(like.hash, &like.key);
        } else {
            let bucket = Bucket {
                hash: like.hash,
                key: like.key.clone(),
                entries,
            };
            group.buckets.insert(Arc::new(bucket));
        }
        self.len -= 1;
        if group.buckets.len() == 0 {
            self.masks.remove(at);
        } else if old.priority == group.best {
            let mut best = 0;
            group
                .buckets
                .for_each(&mut |bucket| best = best.max(bucket.entries[0].priority));
            group.best = best;
            self.order();
        }
        Some(old)
    }

    fn order(&mut self) {
        self.masks
            .sort_by_key(|group| std::cmp::Reverse(group.best));
    }

    pub(crate) fn for_each<'a>(&'a self, f: &mut impl FnMut(&'a Arc<Entry>)) {
        for group in &self.masks {
            group
                .buckets
                .for_each(&mut |bucket| bucket.entries.iter().for_each(&mut *f));
        }
    }
}

fn same(a: &Entry, b: &Entry) -> bool {
    a.priority == b.priority && a.ranges == b.ranges
}
