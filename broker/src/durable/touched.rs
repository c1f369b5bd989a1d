//! Which entries of a collection changed since they were stored.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// The keys that changed, and whether each was stored before its first change. Empty, and free, while
/// nothing is recorded.
#[derive(Debug)]
pub(crate) struct Touched<K> {
    recording: bool,
    keys: FxHashMap<K, bool>,
}

impl<K> Default for Touched<K> {
    fn default() -> Self {
        Touched {
            recording: false,
            keys: FxHashMap::default(),
        }
    }
}

impl<K: Eq + Hash> Touched<K> {
    /// From now on changes are noted.
    pub(crate) fn record(&mut self) {
        self.recording = true;
    }

    /// The entry changed; `stored` says whether it was there before.
    pub(crate) fn touch(&mut self, key: K, stored: bool) {
        self.touch_with(|| (key, stored));
    }

    /// As [`Touched::touch`], for a key that costs something to make.
    pub(crate) fn touch_with(&mut self, key: impl FnOnce() -> (K, bool)) {
        if self.recording {
            let (key, stored) = key();
            self.keys.entry(key).or_insert(stored);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes the keys, and whether each was stored.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (K, bool)> {
        self.keys.drain()
    }
}
