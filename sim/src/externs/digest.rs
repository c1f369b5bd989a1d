//! Digests: a bounded queue of messages for each, that packets fill without allocating.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Messages of one digest, each of a fixed number of words.
#[derive(Debug)]
pub(crate) struct DigestQueue {
    words: usize,
    capacity: usize,
    ring: Mutex<Ring>,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Ring {
    cells: Box<[u64]>,
    /// Index of the oldest message, and how many there are.
    first: usize,
    len: usize,
}

impl DigestQueue {
    pub(crate) fn new(words: usize, capacity: usize) -> Self {
        let cells = vec![0; words.saturating_mul(capacity)].into();
        let ring = Mutex::new(Ring {
            cells,
            first: 0,
            len: 0,
        });
        DigestQueue {
            words,
            capacity,
            ring,
            lost: AtomicU64::new(0),
        }
    }

    /// Queues a message, which `fill` writes; `false` if the queue is full.
    pub(crate) fn push(&self, fill: impl FnOnce(&mut [u64])) -> bool {
        let mut ring = self.ring.lock();
        if ring.len == self.capacity {
            drop(ring);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let at = (ring.first + ring.len) % self.capacity * self.words;
        fill(&mut ring.cells[at..at + self.words]);
        ring.len += 1;
        true
    }

    /// Takes up to `max` messages, oldest first.
    pub(crate) fn take(&self, max: usize, mut each: impl FnMut(&[u64])) {
        let mut ring = self.ring.lock();
        for _ in 0..max.min(ring.len) {
            let at = ring.first * self.words;
            each(&ring.cells[at..at + self.words]);
            ring.first = (ring.first + 1) % self.capacity;
            ring.len -= 1;
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_order_and_a_full_queue_loses_new_ones() {
        let queue = DigestQueue::new(2, 3);
        for i in 0..5 {
            assert_eq!(queue.push(|cell| cell.copy_from_slice(&[i, i * 10])), i < 3);
        }
        assert_eq!(queue.lost(), 2);
        let mut taken = Vec::new();
        queue.take(2, |cell| taken.push((cell[0], cell[1])));
        assert!(queue.push(|cell| cell.copy_from_slice(&[7, 70])));
        queue.take(10, |cell| taken.push((cell[0], cell[1])));
        assert_eq!(taken, [(0, 0), (1, 10), (2, 20), (7, 70)]);
    }

    #[test]
    fn a_queue_without_room_loses_everything() {
        let queue = DigestQueue::new(1, 0);
        assert!(!queue.push(|_| ()));
        assert_eq!(queue.lost(), 1);
    }
}
