//! Which generation a tagged copy speaks of, and whom the data plane served under it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use offload::{Revision, SessionId};

use crate::shares::ShareId;

/// Place of a generation in the order in which the broker made them; never repeats in one run,
/// while the 32 bits on the wire may come round.
pub(crate) type Sequence = u64;

/// The member of a share group that the data plane chose for a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) share: ShareId,
    pub(crate) member: SessionId,
    /// What it then got from the data plane.
    pub(crate) served: Served,
}

/// One generation of a topic.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When it ceased to be in force.
    superseded: Option<Instant>,
    chosen: Option<Chosen>,
}

/// The generations of one topic that are remembered.
///
/// One is in force for the topic, and with a share group one more for each member: a PUBLISH carries
/// that of the member chosen for it. A member that comes or goes makes no other's generation new.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    known: BTreeMap<Sequence, Known>,
    in_force: Vec<Sequence>,
    /// Those that are not in force, in the order in which they were superseded.
    passed: VecDeque<Sequence>,
    /// A subscriber joined since the last generation was made, so the next one must be new.
    pub(crate) joined: bool,
}

impl Generations {
    /// Starts a generation and supersedes all before.
    pub(crate) fn start(&mut self, now: Instant, sequence: Sequence, memory: Duration) {
        self.supersede(now);
        self.forget(now, memory);
        self.enter(sequence, None);
        self.joined = false;
    }

    /// Starts the generation of a share member, beside all others.
    pub(crate) fn start_member(
        &mut self,
        now: Instant,
        sequence: Sequence,
        memory: Duration,
        chosen: Chosen,
    ) {
        self.forget(now, memory);
        self.enter(sequence, Some(chosen));
    }

    fn enter(&mut self, sequence: Sequence, chosen: Option<Chosen>) {
        let known = Known {
            superseded: None,
            chosen,
        };
        self.known.insert(sequence, known);
        self.in_force.push(sequence);
    }

    fn forget(&mut self, now: Instant, memory: Duration) {
        while let Some(&sequence) = self.passed.front()
            && let Some(known) = self.known.get(&sequence)
            && known.superseded.is_some_and(|at| at + memory < now)
        {
            self.known.remove(&sequence);
            self.passed.pop_front();
        }
    }

    /// No generation is in force from now on.
    pub(crate) fn supersede(&mut self, now: Instant) {
        for sequence in std::mem::take(&mut self.in_force) {
            self.pass(now, sequence);
        }
    }

    /// No generation of the share member is in force from now on.
    pub(crate) fn supersede_member(&mut self, now: Instant, member: SessionId) {
        let known = &self.known;
        let of_member = |sequence: &Sequence| {
            let chosen = known.get(sequence).and_then(|known| known.chosen);
            chosen.is_some_and(|chosen| chosen.member == member)
        };
        if let Some(at) = self.in_force.iter().position(of_member) {
            let sequence = self.in_force.swap_remove(at);
            self.pass(now, sequence);
        }
    }

    fn pass(&mut self, now: Instant, sequence: Sequence) {
        if let Some(known) = self.known.get_mut(&sequence)
            && known.superseded.is_none()
        {
            known.superseded = Some(now);
            self.passed.push_back(sequence);
        }
    }

    /// Whether the generation is one of this topic and not forgotten.
    pub(crate) fn remembers(&self, now: Instant, sequence: Sequence, memory: Duration) -> bool {
        let known = self.known.get(&sequence);
        known.is_some_and(|known| known.superseded.is_none_or(|at| at + memory >= now))
    }

    /// Whom the data plane chose under this generation.
    pub(crate) fn chosen(&self, sequence: Sequence) -> Option<Chosen> {
        self.known.get(&sequence)?.chosen
    }

    /// The oldest generation that may still be asked about.
    pub(crate) fn oldest(&self) -> Option<Sequence> {
        self.known.keys().next().copied()
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
    /// Every generation of the topic counts the subscriber in, since the topic came after it; or the
    /// next one is the first to do so.
    pub(crate) fn count_in(&mut self, always: bool) {
        self.since = always.then_some(0);
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
        let mut history = ServedHistory::joining();
        history.count_in(true);
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
