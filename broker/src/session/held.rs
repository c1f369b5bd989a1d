//! Octets that wait, for one client and for all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets that wait for all clients together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Total(Arc<AtomicUsize>);

impl Total {
    pub(crate) fn octets(&self) -> usize {
        // One thread at a time has the broker: there is nothing to order.
        self.0.load(Ordering::Relaxed)
    }
}

/// Octets that wait for one client. They leave the total with it.
#[derive(Debug, Default)]
pub(crate) struct Held {
    octets: usize,
    total: Total,
}

impl Held {
    pub(crate) fn new(total: Total) -> Self {
        Held { octets: 0, total }
    }

    pub(crate) fn octets(&self) -> usize {
        self.octets
    }

    pub(crate) fn total(&self) -> usize {
        self.total.octets()
    }

    pub(crate) fn add(&mut self, octets: usize) {
        self.octets += octets;
        self.total.0.fetch_add(octets, Ordering::Relaxed);
    }

    pub(crate) fn remove(&mut self, octets: usize) {
        self.octets -= octets;
        self.total.0.fetch_sub(octets, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.remove(self.octets);
    }
}
