//! Asking the data plane about publishers that the broker does not hear.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use offload::SessionId;

/// The questions without an answer.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    last_query: u64,
    asked: BTreeMap<u64, Question>,
}

#[derive(Debug)]
struct Question {
    due: Instant,
    sessions: Vec<SessionId>,
}

impl Liveness {
    /// The number of the next question.
    pub(crate) fn next_query(&self) -> u64 {
        self.last_query + 1
    }

    /// Notes the question `next_query`.
    pub(crate) fn ask(&mut self, now: Instant, patience: Duration, sessions: Vec<SessionId>) {
        self.last_query += 1;
        let due = now + patience;
        self.asked
            .insert(self.last_query, Question { due, sessions });
    }

    /// The sessions that this question was about, if it was still open.
    pub(crate) fn answered(&mut self, query: u64) -> Option<Vec<SessionId>> {
        Some(self.asked.remove(&query)?.sessions)
    }

    /// Whether an answer is overdue.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        // Questions are asked in the order of their deadlines.
        self.asked
            .first_key_value()
            .is_some_and(|(_, question)| question.due <= now)
    }

    /// The link is gone: nobody will answer. The sessions that were asked about.
    pub(crate) fn forget(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.asked)
            .into_values()
            .flat_map(|question| question.sessions)
            .collect()
    }
}
