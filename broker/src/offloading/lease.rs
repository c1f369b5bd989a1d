//! When the data plane may offload.
//!
//! ```text
//!            RequestLease, all conditions hold                RequestLease, all conditions hold
//!   lapsed ──────────────────────────────────────► live ───────────────────────────────────────┐
//!    ▲  │                                          │  ▲                                         │
//!    │  │ RequestLease, but acknowledged           │  └─────────────────────────────────────────┘
//!    │  │ revisions are not installed yet          │ lease passes without a grant
//!    │  ▼                                          │
//!    │ arming: answers are held, so that the       │
//!    │ controller can catch up                     │
//!    └─────────────────────────────────────────────┘
//! ```
//! The lease outlives the link: a controller that died may have renewed it last thing.

use std::time::{Duration, Instant};

use offload::Revision;

/// What the broker knows of the lease.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The data plane surely does not offload after this moment.
    pub(crate) until: Instant,
    /// Answers are held until then though no lease is live.
    arming_until: Instant,
    /// What was installed when arming began; it is not begun again before there was progress.
    armed_at: Option<Revision>,
    /// Whether this broker has granted any.
    granted: bool,
}

impl Lease {
    /// A broker that has just started does not know what its predecessor granted.
    pub(crate) fn unknown(now: Instant, lease: Duration) -> Self {
        Lease {
            until: now + lease,
            arming_until: now,
            armed_at: None,
            granted: false,
        }
    }

    /// A grant was sent.
    pub(crate) fn grant(&mut self, now: Instant, lease: Duration) {
        self.until = self.until.max(now + lease);
        self.armed_at = None;
        self.granted = true;
    }

    /// Whether what `until` says comes from a grant, and not from caution after a start.
    pub(crate) fn was_granted(&self) -> bool {
        self.granted
    }

    /// Holds answers for a while, so that a controller that lags can catch up with them: without
    /// that, a steady stream of requests would keep the lease from ever being granted.
    pub(crate) fn arm(&mut self, now: Instant, bound: Duration, installed: Revision) {
        if self.armed_at.is_none_or(|armed_at| armed_at < installed) {
            self.armed_at = Some(installed);
            self.arming_until = now + bound;
        }
    }

    /// A new link starts from nothing.
    pub(crate) fn disarm(&mut self) {
        self.armed_at = None;
    }

    /// Answers need not wait from then on.
    pub(crate) fn holds_until(&self) -> Instant {
        self.until.max(self.arming_until)
    }
}
