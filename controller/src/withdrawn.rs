//! When rows of publishers went, and with them what they knew.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::tables::publication;

/// The longest keep-alive with its tolerance, and more: nobody asks back further.
const MEMORY: Duration = Duration::from_secs(2 * 65_535);

/// When the last row of each publisher went that took its memory along.
#[derive(Debug, Default)]
pub(crate) struct Withdrawn {
    at: HashMap<SocketAddr, Instant>,
    order: VecDeque<(Instant, SocketAddr)>,
    /// Rows that are about to go, and what they know is known elsewhere.
    told: HashSet<publication::Key>,
}

impl Withdrawn {
    /// What the row knows is known elsewhere; it may go.
    pub(crate) fn told(&mut self, row: publication::Key) {
        self.told.insert(row);
    }

    /// The row was written.
    pub(crate) fn stays(&mut self, row: &publication::Key) {
        self.told.remove(row);
    }

    /// The row is gone.
    pub(crate) fn gone(&mut self, now: Instant, row: &publication::Key) {
        if self.told.remove(row) {
            return;
        }
        let publisher = SocketAddr::from((row.ip_src, row.udp_src));
        self.at.insert(publisher, now);
        self.order.push_back((now, publisher));
        while let Some(&(at, oldest)) = self.order.front()
            && at + MEMORY < now
        {
            self.order.pop_front();
            if self.at.get(&oldest) == Some(&at) {
                self.at.remove(&oldest);
            }
        }
    }

    /// When a row of the publisher went last: until then it may have been heard of.
    pub(crate) fn of(&self, publisher: &SocketAddr) -> Option<Instant> {
        self.at.get(publisher).copied()
    }
}
