//! Longest prefix match: one hash lookup for each prefix length in use, the longest first.

use std::sync::Arc;

use super::entry::Entry;
use super::trie::{Trie, hash_words};

/// All entries of a table. An entry's key has the prefix length behind it.
#[derive(Clone, Default)]
pub(crate) struct Lpm {
    /// Prefix lengths in use and how many entries have them, falling.
    lengths: Vec<(u32, usize)>,
    entries: Trie<Entry>,
    /// The words of the prefix in the key, and its width in bits.
    pub(super) at: usize,
    pub(super) words: usize,
}

/// Clears all but the first `prefix_len` bits of a value of `width` bits.
pub(crate) fn prefix_mask(width: u32, prefix_len: u32, word: usize) -> u64 {
    // Bit positions from the least significant: those below `clear` go.
    let clear = width - prefix_len.min(width);
    let low = word as u32 * 64;
    match clear.checked_sub(low) {
        None | Some(0) => u64::MAX,
        Some(bits) if bits >= 64 => 0,
        Some(bits) => u64::MAX << bits,
    }
}

impl Lpm {
    pub(crate) fn new(at: usize, words: usize) -> Self {
        Lpm {
            at,
            words,
            ..Lpm::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn lookup(&self, key: &[u64], width: u32) -> Option<&Entry> {
        let mut small = [0; 16];
        let mut large = Vec::new();
        let masked = match small.get_mut(..key.len() + 1) {
            Some(masked) => masked,
            None => {
                large.resize(key.len() + 1, 0);
                &mut large[..]
            }
        };
        masked[..key.len()].copy_from_slice(key);
        for &(length, _) in &self.lengths {
            for word in 0..self.words {
                masked[self.at + word] = key[self.at + word] & prefix_mask(width, length, word);
            }
            masked[key.len()] = u64::from(length);
            if let Some(entry) = self.entries.get(hash_words(masked), masked) {
                return Some(entry);
            }
        }
        None
    }

    pub(crate) fn find(&self, like: &Entry) -> Option<&Arc<Entry>> {
        self.entries.get(like.hash, &like.key)
    }

    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        let length = length_of(&entry);
        if self.entries.insert(entry).is_none() {
            match self.lengths.iter_mut().find(|(l, _)| *l == length) {
                Some((_, count)) => *count += 1,
                None => {
                    let place = self.lengths.partition_point(|(l, _)| *l > length);
                    self.lengths.insert(place, (length, 1));
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, like: &Entry) -> Option<Arc<Entry>> {
        let old = self.entries.remove(like.hash, &like.key)?;
        let length = length_of(&old);
        for (l, count) in &mut self.lengths {
            if *l == length {
                *count -= 1;
            }
        }
        self.lengths.retain(|(_, count)| *count > 0);
        Some(old)
    }

    pub(crate) fn for_each<'a>(&'a self, f: &mut impl FnMut(&'a Arc<Entry>)) {
        self.entries.for_each(f);
    }
}

fn length_of(entry: &Entry) -> u32 {
    entry.key.last().map_or(0, |length| *length as u32)
}

#[cfg(test)]
mod tests {
    use super::prefix_mask;

    #[test]
    fn a_prefix_mask_keeps_the_first_bits() {
        assert_eq!(prefix_mask(32, 24, 0) & 0xffff_ffff, 0xffff_ff00);
        assert_eq!(prefix_mask(32, 0, 0) & 0xffff_ffff, 0);
        assert_eq!(prefix_mask(32, 32, 0), u64::MAX);
        assert_eq!(prefix_mask(128, 64, 1), u64::MAX);
        assert_eq!(prefix_mask(128, 64, 0), 0);
        assert_eq!(prefix_mask(128, 65, 0), 1 << 63);
        assert_eq!(prefix_mask(128, 3, 1), 0b111 << 61);
    }
}
