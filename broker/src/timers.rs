//! One deadline per session, in order.

use std::collections::BTreeSet;
use std::time::Instant;

use offload::SessionId;

/// The earliest moment at which each session must be looked at.
///
/// A session's deadline only ever moves forward by being looked at, so that the arrival of a
/// message need not touch this structure.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Instant, SessionId)>,
}

impl Timers {
    /// Looks at the session at `at` or earlier. `scheduled` is the session's own note of its entry.
    pub(crate) fn schedule(
        &mut self,
        session: SessionId,
        scheduled: &mut Option<Instant>,
        at: Instant,
    ) {
        match *scheduled {
            Some(earlier) if earlier <= at => return,
            Some(later) => {
                self.due.remove(&(later, session));
            }
            None => {}
        }
        self.due.insert((at, session));
        *scheduled = Some(at);
    }

    /// Forgets the session.
    pub(crate) fn cancel(&mut self, session: SessionId, scheduled: &mut Option<Instant>) {
        if let Some(at) = scheduled.take() {
            self.due.remove(&(at, session));
        }
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Takes out the next session whose deadline has come. Its own note is the caller's to clear.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<SessionId> {
        let &(at, session) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        Some(session)
    }
}
