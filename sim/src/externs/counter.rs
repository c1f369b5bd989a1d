//! Counters: packets and bytes, always both, as in BMv2.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::control::CounterData;

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct CounterCell {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl CounterCell {
    #[inline]
    pub(crate) fn count(&self, bytes: u64) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> CounterData {
        CounterData {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn write(&self, data: CounterData) {
        self.packets.store(data.packets, Ordering::Relaxed);
        self.bytes.store(data.bytes, Ordering::Relaxed);
    }
}

/// An indirect counter.
#[derive(Debug)]
pub(crate) struct CounterArray(Box<[CounterCell]>);

impl CounterArray {
    pub(crate) fn new(size: usize) -> Self {
        CounterArray((0..size).map(|_| CounterCell::default()).collect())
    }

    /// Counts; an index out of bounds counts nothing, as in BMv2.
    #[inline]
    pub(crate) fn count(&self, index: u64, bytes: u64) {
        if let Some(cell) = self.get(index) {
            cell.count(bytes);
        }
    }

    pub(crate) fn get(&self, index: u64) -> Option<&CounterCell> {
        self.0.get(usize::try_from(index).ok()?)
    }
}
