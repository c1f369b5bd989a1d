//! Whether every message arrived once, and each publisher's in order.

/// What was sent and what arrived, each subscriber and publisher by itself.
#[derive(Debug)]
pub(super) struct Tally {
    publishers: usize,
    /// The sequence number that subscriber × publisher shall see next.
    next: Vec<u64>,
    counts: Counts,
}

/// The sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Deliveries, repeated ones not counted.
    pub(super) delivered: u64,
    /// Sequence numbers that were skipped: lost, or overtaken.
    pub(super) skipped: u64,
    /// Deliveries behind a later one of the same publisher: reordered, or twice.
    pub(super) behind: u64,
    /// The greatest sequence number of those.
    pub(super) last_behind: u64,
}

impl Tally {
    pub(super) fn new(subscribers: usize, publishers: usize) -> Self {
        Tally {
            publishers,
            next: vec![0; subscribers * publishers],
            counts: Counts::default(),
        }
    }

    /// Notes a delivery. False if it came behind a later one, or a second time.
    pub(super) fn arrived(&mut self, subscriber: usize, publisher: usize, sequence: u64) -> bool {
        if publisher >= self.publishers {
            return false;
        }
        let next = &mut self.next[subscriber * self.publishers + publisher];
        if sequence < *next {
            self.counts.behind += 1;
            self.counts.last_behind = self.counts.last_behind.max(sequence);
            return false;
        }
        self.counts.skipped += sequence - *next;
        *next = sequence + 1;
        self.counts.delivered += 1;
        true
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_counted_as_skipped_and_its_late_arrival_as_behind() {
        let mut tally = Tally::new(2, 2);
        assert!(tally.arrived(0, 1, 0));
        assert!(tally.arrived(0, 1, 3));
        assert!(!tally.arrived(0, 1, 1));
        // Another subscriber has a count of its own.
        assert!(tally.arrived(1, 1, 0));
        assert_eq!(
            tally.counts(),
            Counts {
                delivered: 3,
                skipped: 2,
                behind: 1,
                last_behind: 1,
            }
        );
    }

    #[test]
    fn a_second_delivery_is_not_counted_again() {
        let mut tally = Tally::new(1, 1);
        assert!(tally.arrived(0, 0, 0));
        assert!(!tally.arrived(0, 0, 0));
        assert_eq!(tally.counts().delivered, 1);
    }
}
