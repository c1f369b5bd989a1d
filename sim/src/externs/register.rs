//! Register arrays. Reads and writes of one word are atomic; those of more are under a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// One register array.
#[derive(Debug)]
pub(crate) struct RegisterCells {
    words: usize,
    size: u64,
    cells: Box<[AtomicU64]>,
    wide: Mutex<()>,
}

impl RegisterCells {
    pub(crate) fn new(size: usize, width: u32) -> Self {
        let words = width.div_ceil(64) as usize;
        let cells = (0..size.saturating_mul(words))
            .map(|_| AtomicU64::new(0))
            .collect();
        RegisterCells {
            words,
            size: size as u64,
            cells,
            wide: Mutex::new(()),
        }
    }

    pub(crate) fn words(&self) -> usize {
        self.words
    }

    fn cell(&self, index: u64) -> Option<&[AtomicU64]> {
        // The array exists in memory, so the product does not overflow.
        let start = (index < self.size).then_some(index as usize * self.words)?;
        self.cells.get(start..start + self.words)
    }

    /// Reads a cell into the first words of `out`; leaves them alone beyond the end of the array.
    pub(crate) fn read(&self, index: u64, out: &mut [u64]) -> bool {
        let Some(cell) = self.cell(index) else {
            return false;
        };
        let _guard = (self.words > 1).then(|| self.wide.lock());
        for (to, word) in out.iter_mut().zip(cell) {
            *to = word.load(Ordering::Relaxed);
        }
        true
    }

    /// Writes a cell; does nothing beyond the end of the array.
    pub(crate) fn write(&self, index: u64, value: &[u64]) -> bool {
        let Some(cell) = self.cell(index) else {
            return false;
        };
        let _guard = (self.words > 1).then(|| self.wide.lock());
        for (word, value) in cell.iter().zip(value) {
            word.store(*value, Ordering::Relaxed);
        }
        true
    }
}
