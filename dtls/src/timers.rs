//! One deadline per address.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

/// The deadlines, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, SocketAddr)>,
}

impl Timers {
    /// When the soonest one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_first().map(|(_, address)| address)
    }

    /// Replaces the deadline `before` of an address.
    pub(crate) fn set(
        &mut self,
        address: SocketAddr,
        before: Option<Instant>,
        after: Option<Instant>,
    ) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.queue.remove(&(before, address));
        }
        if let Some(after) = after {
            self.queue.insert((after, address));
        }
    }
}
