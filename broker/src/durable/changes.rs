//! What is to be stored of one batch of calls.

use std::ops::Range;

use serde::Serialize;

use super::record::Key;

/// Entries to put and to delete, all or none of them: keys and values as octets, each key at most
/// once. Whoever stores them need not know what they mean.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    octets: Vec<u8>,
    entries: Vec<(Range<usize>, Option<Range<usize>>)>,
}

impl Changes {
    /// Each key, with its value or `None` where it is to be deleted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries.iter().map(|(key, value)| {
            let value = value.clone().map(|value| &self.octets[value]);
            (&self.octets[key.clone()], value)
        })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn delete(&mut self, key: &Key<'_>) {
        let key = self.key(key);
        self.entries.push((key, None));
    }

    pub(super) fn put(&mut self, key: &Key<'_>, value: &[u8]) {
        let key = self.key(key);
        let start = self.octets.len();
        self.octets.extend_from_slice(value);
        self.entries.push((key, Some(start..self.octets.len())));
    }

    pub(super) fn put_record(&mut self, key: &Key<'_>, record: &impl Serialize) {
        let key = self.key(key);
        let start = self.octets.len();
        encode(&mut self.octets, record);
        self.entries.push((key, Some(start..self.octets.len())));
    }

    fn key(&mut self, key: &Key<'_>) -> Range<usize> {
        let start = self.octets.len();
        key.encode(&mut self.octets);
        start..self.octets.len()
    }
}

/// Appends the record's encoding.
pub(super) fn encode(to: &mut Vec<u8>, record: &impl Serialize) {
    let start = to.len();
    match postcard::to_extend(record, std::mem::take(to)) {
        Ok(written) => *to = written,
        // The records are plain structs of sized sequences, and a Vec takes any number of octets:
        // postcard has nothing to refuse.
        Err(error) => unreachable!("a record of {start} octets cannot be encoded: {error}"),
    }
}
