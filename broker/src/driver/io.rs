//! What may be set about sockets and threads, and what they count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the broker uses the machine's network and cores.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IoConfig {
    /// Threads that receive, 0 for one per core. With more than one the kernel spreads the clients over
    /// them (`SO_REUSEPORT`), each client to one. Default 1.
    pub workers: usize,
    /// Datagrams received at once, 1 to 1024. Default 64.
    pub batch: usize,
    /// Octets asked of the system for what arrives and waits, per worker; it may give less. Default
    /// 4194304.
    pub receive_buffer: usize,
    /// The same for what is sent and waits. Default 4194304.
    pub send_buffer: usize,
    /// Whether runs of datagrams to one client are given to the system as one (`UDP_SEGMENT`). Default
    /// true.
    pub segmentation: bool,
    /// Whether the system may hand over runs of datagrams of one client as one (`UDP_GRO`). Default
    /// true.
    pub coalescing: bool,
    /// How long a worker looks again and again for the next datagram before it sleeps, in microseconds.
    /// Saves the time to wake up, at the price of a core. Default 0.
    pub spin_us: u64,
}

impl Default for IoConfig {
    fn default() -> Self {
        IoConfig {
            workers: 1,
            batch: 64,
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
            segmentation: true,
            coalescing: true,
            spin_us: 0,
        }
    }
}

/// Why an [`IoConfig`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IoConfigError {
    /// More threads than make sense.
    #[error("workers is {0}; at most 64, or 0 for one per core")]
    Workers(usize),
    /// A batch of nothing, or one that takes too much memory.
    #[error("batch is {0}; it must be from 1 to 1024")]
    Batch(usize),
    /// Buffers of more than the system's interface can say.
    #[error("{0} is {1} octets; at most 1073741824")]
    Buffer(&'static str, usize),
    /// Longer than any wait for a datagram should burn a core.
    #[error("spin_us is {0}; at most 1000000")]
    Spin(u64),
}

impl IoConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first [`IoConfigError`] found.
    pub fn check(&self) -> Result<(), IoConfigError> {
        const MAX_BUFFER: usize = 1 << 30;
        if self.workers > 64 {
            return Err(IoConfigError::Workers(self.workers));
        }
        if !(1..=1024).contains(&self.batch) {
            return Err(IoConfigError::Batch(self.batch));
        }
        for (name, octets) in [
            ("receive_buffer", self.receive_buffer),
            ("send_buffer", self.send_buffer),
        ] {
            if octets > MAX_BUFFER {
                return Err(IoConfigError::Buffer(name, octets));
            }
        }
        if self.spin_us > 1_000_000 {
            return Err(IoConfigError::Spin(self.spin_us));
        }
        Ok(())
    }

    /// The number of workers.
    pub(super) fn workers(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(64)),
            workers => workers,
        }
    }

    pub(super) fn spin(&self) -> Duration {
        Duration::from_micros(self.spin_us)
    }
}

/// Datagrams and system calls of plain UDP since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IoStats {
    /// Datagrams received.
    pub received: u64,
    /// System calls that received them.
    pub receive_calls: u64,
    /// Datagrams that the system threw away because they came faster than they were taken.
    pub lost_by_system: u64,
    /// Datagrams given to the system.
    pub sent: u64,
    /// System calls that sent them.
    pub send_calls: u64,
    /// How many of those sent left in runs that the system, or the network card, takes apart.
    pub segmented: u64,
    /// Datagrams that could not be sent, whatever they should have left by.
    pub dropped: u64,
}

/// The counters behind [`IoStats`].
#[derive(Debug, Default)]
pub(super) struct IoCounters {
    pub(super) received: Counter,
    pub(super) receive_calls: Counter,
    pub(super) lost_by_system: Counter,
    pub(super) sent: Counter,
    pub(super) send_calls: Counter,
    pub(super) segmented: Counter,
    pub(super) dropped: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Counts up. The numbers are for people: nothing is decided by their order.
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl IoCounters {
    pub(super) fn read(&self) -> IoStats {
        IoStats {
            received: self.received.read(),
            receive_calls: self.receive_calls.read(),
            lost_by_system: self.lost_by_system.read(),
            sent: self.sent.read(),
            send_calls: self.send_calls.read(),
            segmented: self.segmented.read(),
            dropped: self.dropped.read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_extremes_are_not() {
        assert_eq!(IoConfig::default().check(), Ok(()));
        let with = |change: fn(&mut IoConfig)| {
            let mut config = IoConfig::default();
            change(&mut config);
            config.check()
        };
        assert_eq!(with(|c| c.workers = 65), Err(IoConfigError::Workers(65)));
        assert_eq!(with(|c| c.batch = 0), Err(IoConfigError::Batch(0)));
        assert!(with(|c| c.send_buffer = usize::MAX).is_err());
        assert!(with(|c| c.spin_us = u64::MAX).is_err());
    }
}
