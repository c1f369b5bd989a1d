//! Generations and who was served under each (`broker::offloading::generations`).

use crate::rules::{Mutant, Rules};

/// A generation of a topic that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its place in the order of all.
    pub sequence: u8,
    /// When another took its place.
    pub superseded: Option<Superseded>,
}

/// When a generation was superseded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Superseded {
    /// By this revision.
    pub revision: u8,
    /// The overdue time has passed since then, and this was the last lease granted before.
    pub aged: Option<u8>,
}

/// Which PUBLISH of a topic a session gets from the data plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Served {
    /// Those of QoS 0.
    pub q0: bool,
    /// Those of QoS 1.
    pub q1: bool,
}

impl Served {
    pub(crate) fn at(self, qos1: bool) -> bool {
        if qos1 { self.q1 } else { self.q0 }
    }
}

/// One subscriber's part in the generations (`ServedHistory`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    since: Option<u8>,
    changes: Vec<(u8, Served)>,
    left: u8,
}

impl History {
    /// The next generation will be the first to count it in.
    pub(crate) fn joining() -> Self {
        History {
            since: None,
            changes: Vec::new(),
            left: 0,
        }
    }

    /// `ServedHistory::record`.
    pub(crate) fn record(&mut self, sequence: u8, served: Served, revision: u8, oldest: u8) {
        self.since.get_or_insert(sequence);
        let before = self.current();
        if before == served {
            return;
        }
        if (before.q0 && !served.q0) || (before.q1 && !served.q1) {
            self.left = revision;
        }
        let passed = self.changes.partition_point(|&(from, _)| from <= oldest);
        self.changes.drain(..passed.saturating_sub(1));
        self.changes.push((sequence, served));
    }

    /// `ServedHistory::current`.
    pub(crate) fn current(&self) -> Served {
        self.changes
            .last()
            .map(|&(_, served)| served)
            .unwrap_or_default()
    }

    /// `ServedHistory::is_leaving`.
    pub(crate) fn is_leaving(&self, in_force: u8) -> bool {
        self.left > in_force
    }

    /// `ServedHistory::at`.
    pub(crate) fn at(&self, rules: &Rules, sequence: u8) -> Option<Served> {
        if rules.is(Mutant::HistoryIgnored) {
            return Some(self.current());
        }
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
