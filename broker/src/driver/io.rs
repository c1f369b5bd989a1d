//! What the driver counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Datagrams and system calls since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IoStats {
    /// Datagrams that could not be sent.
    pub dropped: u64,
}

/// The counters behind [`IoStats`].
#[derive(Debug, Default)]
pub(super) struct IoCounters {
    dropped: AtomicU64,
}

impl IoCounters {
    pub(super) fn dropped(&self, datagrams: u64) {
        self.dropped.fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> IoStats {
        IoStats {
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}
