//! Which generation a tagged copy speaks of, and whom the data plane served under it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use offload::Revision;

/// Place of a generation in the order in which the broker made them; never repeats in one run,
/// while the 32 bits on the wire may come round.
pub(crate) type Sequence = u64;

/// The generations of one topic that are remembered, oldest first; the last one is in force.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    known: VecDeque<(Sequence, Option<Instant>)>,
    /// A subscriber joined since the last generation was made, so the next one must be new.
    pub(crate) joined: bool,
}

impl Generations {
    /// Starts a generation and supersedes the one before.
    pub(crate) fn start(&mut self, now: Instant, sequence: Sequence, memory: Duration) {
        self.supersede(now);
        while let Some(&(_, Some(superseded))) = self.known.front() {
            if superseded + memory >= now {
                break;
            }
            self.known.pop_front();
        }
        self.known.push_back((sequence, None));
        self.joined = false;
    }

    /// No generation is in force from now on.
    pub(crate) fn supersede(&mut self, now: Instant) {
        if let Some((_, superseded)) = self.known.back_mut() {
            superseded.get_or_insert(now);
        }
    }

    /// Whether the generation is one of this topic and not forgotten.
    pub(crate) fn remembers(&self, now: Instant, sequence: Sequence, memory: Duration) -> bool {
        self.known
            .binary_search_by_key(&sequence, |&(known, _)| known)
            .is_ok_and(|at| match self.known[at].1 {
                None => true,
                Some(superseded) => superseded + memory >= now,
            })
    }

    /// The oldest generation that may still be asked about.
    pub(crate) fn oldest(&self) -> Option<Sequence> {
        self.known.front().map(|&(sequence, _)| sequence)
    }
}

/// Which PUBLISH of a topic one session gets from the data plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Those of QoS 0 and −1.
    pub(crate) q0: bool,
    /// Those of QoS 1.
    pub(crate) q1: bool,
}

/// One subscriber's part in the generations of a topic.
///
/// Kept per subscriber and as changes only: a topic with many subscribers that come one by one
/// needs memory for each of them once, not for each set that ever was.
#[derive(Debug)]
pub(crate) struct ServedHistory {
    /// The first generation that counts the subscriber in; `None` until that one is made.
    since: Option<Sequence>,
    changes: Vec<(Sequence, Served)>,
    /// The revision from which the data plane no longer serves what it served before.
    left: Revision,
}

impl ServedHistory {
    /// Of a subscriber that every generation of the topic counts in: the topic came after it.
    pub(crate) fn always() -> Self {
        ServedHistory {
            since: Some(0),
            changes: Vec::new(),
            left: Revision(0),
        }
    }

    /// Of a subscriber that the next generation will be the first to count in.
    pub(crate) fn joining() -> Self {
        ServedHistory {
            since: None,
            changes: Vec::new(),
            left: Revision(0),
        }
    }

    /// Notes what the data plane does for the subscriber under a new generation.
    ///
    /// `revision` is the one in which that will be, `oldest` the oldest generation remembered.
    pub(crate) fn record(
        &mut self,
        sequence: Sequence,
        served: Served,
        revision: Revision,
        oldest: Option<Sequence>,
    ) {
        self.since.get_or_insert(sequence);
        let before = self.current();
        if before != served {
            if (before.q0 && !served.q0) || (before.q1 && !served.q1) {
                self.left = revision;
            }
            let oldest = oldest.unwrap_or(sequence);
            let passed = self
                .changes
                .partition_point(|&(from, _)| from <= oldest)
                .saturating_sub(1);
            self.changes.drain(..passed);
            self.changes.push((sequence, served));
        }
    }

    /// What the data plane does for the subscriber under the last generation.
    pub(crate) fn current(&self) -> Served {
        self.changes
            .last()
            .map(|&(_, served)| served)
            .unwrap_or_default()
    }

    /// Whether switches that hold revision `in_force` may still serve what `current` says they
    /// shall not.
    pub(crate) fn is_leaving(&self, in_force: Revision) -> bool {
        self.left > in_force
    }

    /// What the data plane did for the subscriber under this generation; `None` if the generation
    /// does not count it in, so that it is not owed the message at all.
    pub(crate) fn at(&self, sequence: Sequence) -> Option<Served> {
        if self.since? > sequence {
            return None;
        }
        let after = self.changes.partition_point(|&(from, _)| from <= sequence);
        Some(match after.checked_sub(1) {
            Some(at) => self.changes[at].1,
            None => Served::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(5);

    #[test]
    fn a_superseded_generation_is_remembered_for_a_while() {
        let start = Instant::now();
        let mut generations = Generations::default();
        generations.start(start, 1, MEMORY);
        generations.start(start + Duration::from_secs(60), 7, MEMORY);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(generations.remembers(at(64), 1, MEMORY));
        assert!(!generations.remembers(at(66), 1, MEMORY));
        assert!(generations.remembers(at(6000), 7, MEMORY));
        assert!(!generations.remembers(at(64), 3, MEMORY));
        generations.start(at(70), 8, MEMORY);
        assert_eq!(generations.oldest(), Some(7));
    }

    #[test]
    fn a_subscriber_is_owed_nothing_from_before_it_joined() {
        let q0 = Served {
            q0: true,
            q1: false,
        };
        let mut history = ServedHistory::joining();
        assert_eq!(history.at(9), None);
        history.record(4, Served::default(), Revision(1), Some(1));
        history.record(6, q0, Revision(2), Some(1));
        assert_eq!(history.at(3), None);
        assert_eq!(history.at(5), Some(Served::default()));
        assert_eq!(history.at(6), Some(q0));
        assert_eq!(history.at(9), Some(q0));
    }

    #[test]
    fn the_history_keeps_only_what_can_be_asked() {
        let mut history = ServedHistory::always();
        for sequence in 1..100 {
            let served = Served {
                q0: sequence % 2 == 0,
                q1: false,
            };
            history.record(
                sequence,
                served,
                Revision(1),
                Some(sequence.saturating_sub(3).max(1)),
            );
        }
        assert!(history.changes.len() <= 6, "{:?}", history.changes);
        assert_eq!(
            history.at(98),
            Some(Served {
                q0: true,
                q1: false
            })
        );
        assert_eq!(history.at(97), Some(Served::default()));
    }
}
