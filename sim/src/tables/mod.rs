//! Tables as packets see them: immutable, sharing structure with the snapshots before and after.

mod entry;
mod lpm;
mod ternary;
mod trie;

use std::sync::Arc;

pub(crate) use entry::{Entry, EntryAction, EntryState, Group, Member, RangeMatch, less};
pub(crate) use lpm::{Lpm, prefix_mask};
pub(crate) use ternary::Ternary;
pub(crate) use trie::{Keyed, Trie, hash_words};

use crate::program::{Table, TableKind};

/// What a lookup found: the entry, or the default entry.
pub(crate) struct Found<'a> {
    pub(crate) entry: Option<&'a Entry>,
    pub(crate) hit: bool,
}

/// The entries, by the kind of the table.
#[derive(Clone)]
pub(crate) enum Entries {
    Keyless,
    Exact(Trie<Entry>),
    Lpm { lpm: Lpm, width: u32 },
    Ternary(Ternary),
}

/// A table with its entries.
#[derive(Clone)]
pub(crate) struct LiveTable {
    pub(crate) entries: Entries,
    pub(crate) default: Option<Arc<Entry>>,
}

impl LiveTable {
    /// A table without entries.
    pub(crate) fn new(table: &Table, widths: &[u32]) -> Self {
        let entries = match table.kind {
            TableKind::Keyless => Entries::Keyless,
            TableKind::Exact => Entries::Exact(Trie::default()),
            TableKind::Ternary => Entries::Ternary(Ternary::default()),
            TableKind::Lpm(prefix) => {
                let prefix = prefix as usize;
                let before: u32 = table.keys[..prefix].iter().map(|key| key.span.words).sum();
                let words = table.keys[prefix].span.words as usize;
                Entries::Lpm {
                    lpm: Lpm::new(before as usize, words),
                    width: widths[prefix],
                }
            }
        };
        LiveTable {
            entries,
            default: None,
        }
    }

    #[inline]
    pub(crate) fn lookup(&self, key: &[u64]) -> Found<'_> {
        let entry = match &self.entries {
            Entries::Keyless => None,
            Entries::Exact(entries) => match entries.len() {
                0 => None,
                _ => entries.get(hash_words(key), key).map(|entry| &**entry),
            },
            Entries::Lpm { lpm, width } => lpm.lookup(key, *width),
            Entries::Ternary(ternary) => ternary.lookup(key),
        };
        match entry {
            Some(entry) => Found {
                entry: Some(entry),
                hit: true,
            },
            None => Found {
                entry: self.default.as_deref(),
                hit: false,
            },
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::Keyless => 0,
            Entries::Exact(entries) => entries.len(),
            Entries::Lpm { lpm, .. } => lpm.len(),
            Entries::Ternary(ternary) => ternary.len(),
        }
    }

    /// The entry that has the same match and priority as this one.
    pub(crate) fn find(&self, like: &Entry) -> Option<&Arc<Entry>> {
        match &self.entries {
            Entries::Keyless => None,
            Entries::Exact(entries) => entries.get(like.hash, &like.key),
            Entries::Lpm { lpm, .. } => lpm.find(like),
            Entries::Ternary(ternary) => ternary.find(like),
        }
    }

    /// Inserts an entry in place of the one with the same match and priority.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        match &mut self.entries {
            Entries::Keyless => {}
            Entries::Exact(entries) => {
                entries.insert(entry);
            }
            Entries::Lpm { lpm, .. } => lpm.insert(entry),
            Entries::Ternary(ternary) => ternary.insert(entry),
        }
    }

    /// Removes the entry that has the same match and priority as this one.
    pub(crate) fn remove(&mut self, like: &Entry) -> Option<Arc<Entry>> {
        match &mut self.entries {
            Entries::Keyless => None,
            Entries::Exact(entries) => entries.remove(like.hash, &like.key),
            Entries::Lpm { lpm, .. } => lpm.remove(like),
            Entries::Ternary(ternary) => ternary.remove(like),
        }
    }

    /// Every entry, in no particular order.
    pub(crate) fn for_each<'a>(&'a self, f: &mut impl FnMut(&'a Arc<Entry>)) {
        match &self.entries {
            Entries::Keyless => {}
            Entries::Exact(entries) => entries.for_each(f),
            Entries::Lpm { lpm, .. } => lpm.for_each(f),
            Entries::Ternary(ternary) => ternary.for_each(f),
        }
    }
}
