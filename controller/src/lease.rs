//! The lease: for how long the switch may offload without hearing from here.
//!
//! ```text
//!             renewal due, nothing overdue            echo (the switch's time s)
//!   Resting ───────────────────────────▶ Reading ───────────────────────────▶ Asking
//!      ▲   packet-out: the old deadline             RequestLease to the broker   │
//!      │                                                                         │ Grant{lease}
//!      │                    echo                                                 ▼
//!      └──────────────────────────────────────────────────────────────────── Setting
//!                                              packet-out: deadline = s + lease
//! ```
//!
//! The deadline is absolute, in the switch's own clock, and counted from a reading that was taken
//! before the broker was asked: however late the packet-out arrives, it extends nothing beyond what
//! the broker granted. Whatever stays without answer starts again at the reading.

use std::time::{Duration, Instant};

/// What to do for the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Packet-out `OUT_LEASE`.
    PacketOut {
        /// In the switch's clock, µs.
        deadline_us: u64,
        /// Echoed by the packet-in.
        request: u32,
    },
    /// Ask the broker.
    Request {
        /// Echoed by the grant.
        request: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resting,
    Reading {
        request: u32,
        since: Instant,
    },
    Asking {
        reading_us: u64,
        since: Instant,
    },
    Setting {
        request: u32,
        deadline_us: u64,
        since: Instant,
    },
}

/// Who let a renewal wait for longer than the patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It did not echo a packet-out.
    Switch,
    /// It did not answer `RequestLease`.
    Broker,
}

/// Renews the lease of one switch.
#[derive(Debug)]
pub struct Lease {
    state: State,
    /// Of the last renewal, unless it succeeded.
    late: Option<Late>,
    /// Written to the switch last; zero is over.
    deadline_us: u64,
    next_request: u32,
    /// No renewal starts before.
    due: Option<Instant>,
    /// Of the last grant.
    granted: Option<Duration>,
    /// A reading of the switch's clock and when it came.
    clock: Option<(u64, Instant)>,
    patience: Duration,
}

impl Lease {
    /// No lease. What stays unanswered for `patience` is begun anew.
    pub fn new(patience: Duration) -> Self {
        Self {
            state: State::Resting,
            late: None,
            deadline_us: 0,
            next_request: 1,
            due: None,
            granted: None,
            clock: None,
            patience,
        }
    }

    /// What is due now. `may_renew`: the broker is linked and no write is overdue.
    pub fn poll(&mut self, now: Instant, may_renew: bool) -> Option<Action> {
        if let State::Reading { since, .. }
        | State::Asking { since, .. }
        | State::Setting { since, .. } = self.state
            && (now >= since + self.patience || !may_renew)
        {
            if now >= since + self.patience {
                self.late = Some(match self.state {
                    State::Asking { .. } => Late::Broker,
                    _ => Late::Switch,
                });
            }
            self.state = State::Resting;
        }
        if self.state != State::Resting || !may_renew || self.due.is_some_and(|due| now < due) {
            return None;
        }
        let request = self.take_request();
        self.state = State::Reading {
            request,
            since: now,
        };
        Some(Action::PacketOut {
            deadline_us: self.deadline_us,
            request,
        })
    }

    fn take_request(&mut self) -> u32 {
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        request
    }

    /// The switch echoed a packet-out at `timestamp_us` of its clock.
    pub fn echoed(&mut self, now: Instant, echo: u32, timestamp_us: u64) -> Option<Action> {
        match self.state {
            State::Reading { request, .. } if request == echo => {
                self.clock = Some((timestamp_us, now));
                self.state = State::Asking {
                    reading_us: timestamp_us,
                    since: now,
                };
                Some(Action::Request {
                    request: echo.into(),
                })
            }
            State::Setting {
                request,
                deadline_us,
                ..
            } if request == echo => {
                self.clock = Some((timestamp_us, now));
                self.deadline_us = deadline_us;
                self.state = State::Resting;
                self.late = None;
                self.due = self.granted.map(|lease| now + lease / 3);
                None
            }
            _ => None,
        }
    }

    /// The broker granted a lease; only the answer to the request in flight counts.
    pub fn granted(
        &mut self,
        now: Instant,
        request: u64,
        lease: Duration,
        may_renew: bool,
    ) -> Option<Action> {
        let State::Asking { reading_us, .. } = self.state else {
            return None;
        };
        if request != u64::from(self.next_request.wrapping_sub(1)) || !may_renew {
            return None;
        }
        let request = self.take_request();
        let length_us = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        // `packet_out.deadline` is bit<48>.
        let deadline_us = reading_us.saturating_add(length_us).min((1 << 48) - 1);
        self.granted = Some(lease);
        self.state = State::Setting {
            request,
            deadline_us,
            since: now,
        };
        // It may take effect although its echo gets lost: a later reading must not cut it short.
        self.deadline_us = self.deadline_us.max(deadline_us);
        Some(Action::PacketOut {
            deadline_us,
            request,
        })
    }

    /// The link to the broker is gone: nothing is in flight any more.
    pub fn unlinked(&mut self) {
        self.state = State::Resting;
        self.late = None;
        self.due = None;
    }

    /// Whom the last renewal waited for in vain; none once one succeeds.
    pub fn late(&self) -> Option<Late> {
        self.late
    }

    /// When `poll` has something to do by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting => self.due,
            State::Reading { since, .. }
            | State::Asking { since, .. }
            | State::Setting { since, .. } => Some(since + self.patience),
        }
    }

    /// How long the switch still offloads, as far as known here.
    pub fn remaining(&self, now: Instant) -> Duration {
        let Some((clock_us, at)) = self.clock else {
            return Duration::ZERO;
        };
        Duration::from_micros(self.deadline_us.saturating_sub(clock_us))
            .saturating_sub(now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(300);
    const PATIENCE: Duration = Duration::from_millis(100);

    /// One whole renewal; the switch's clock is at `clock_us`.
    fn renew(lease: &mut Lease, now: Instant, clock_us: u64) -> u64 {
        let Some(Action::PacketOut { request, .. }) = lease.poll(now, true) else {
            panic!("no reading at {clock_us}")
        };
        let Some(Action::Request { request }) = lease.echoed(now, request, clock_us) else {
            panic!("no request")
        };
        let Some(Action::PacketOut {
            deadline_us,
            request,
        }) = lease.granted(now, request, LEASE, true)
        else {
            panic!("no packet-out")
        };
        assert_eq!(lease.echoed(now, request, clock_us), None);
        deadline_us
    }

    #[test]
    fn the_first_reading_ends_whatever_lease_there_was() {
        let mut lease = Lease::new(PATIENCE);
        let action = lease.poll(Instant::now(), true);
        assert!(matches!(
            action,
            Some(Action::PacketOut { deadline_us: 0, .. })
        ));
    }

    #[test]
    fn the_deadline_counts_from_a_reading_taken_before_the_broker_was_asked() {
        let mut lease = Lease::new(PATIENCE);
        let now = Instant::now();
        assert_eq!(renew(&mut lease, now, 5_000_000), 5_300_000);
        assert_eq!(lease.remaining(now), LEASE);
        assert_eq!(lease.remaining(now + LEASE), Duration::ZERO);
    }

    #[test]
    fn a_renewal_waits_for_a_third_of_the_lease_and_its_reading_extends_nothing() {
        let mut lease = Lease::new(PATIENCE);
        let now = Instant::now();
        renew(&mut lease, now, 1_000_000);
        assert_eq!(lease.poll(now + LEASE / 4, true), None);
        assert_eq!(lease.next_deadline(), Some(now + LEASE / 3));
        let action = lease.poll(now + LEASE / 3, true);
        assert!(matches!(
            action,
            Some(Action::PacketOut {
                deadline_us: 1_300_000,
                ..
            })
        ));
    }

    #[test]
    fn nothing_is_asked_while_a_write_is_overdue() {
        let mut lease = Lease::new(PATIENCE);
        let now = Instant::now();
        assert_eq!(lease.poll(now, false), None);
        let Some(Action::PacketOut { request, .. }) = lease.poll(now, true) else {
            panic!("no reading")
        };
        let Some(Action::Request { request }) = lease.echoed(now, request, 7) else {
            panic!("no request")
        };
        assert_eq!(lease.granted(now, request, LEASE, false), None);
    }

    #[test]
    fn whoever_lets_a_renewal_wait_is_named_until_one_succeeds() {
        let mut lease = Lease::new(PATIENCE);
        let now = Instant::now();
        renew(&mut lease, now, 1_000_000);
        assert_eq!(lease.late(), None);
        let reading = now + LEASE / 3;
        lease.poll(reading, true);
        let Some(Action::PacketOut { request, .. }) = lease.poll(reading + PATIENCE, true) else {
            panic!("nothing is begun anew")
        };
        assert_eq!(lease.late(), Some(Late::Switch));
        lease.echoed(reading + PATIENCE, request, 1_200_000);
        lease.poll(reading + PATIENCE * 2, true);
        assert_eq!(lease.late(), Some(Late::Broker));
        // The reading of that renewal stays without an answer, too.
        renew(&mut lease, reading + PATIENCE * 3, 1_400_000);
        assert_eq!(lease.late(), None);
    }

    #[test]
    fn an_answer_to_an_older_question_is_not_taken() {
        let mut lease = Lease::new(PATIENCE);
        let now = Instant::now();
        let Some(Action::PacketOut { request, .. }) = lease.poll(now, true) else {
            panic!("no reading")
        };
        let Some(Action::Request { request: old }) = lease.echoed(now, request, 7) else {
            panic!("no request")
        };
        let later = now + PATIENCE;
        let Some(Action::PacketOut { request, .. }) = lease.poll(later, true) else {
            panic!("nothing is begun anew")
        };
        assert!(lease.echoed(later, request, 8).is_some());
        assert_eq!(lease.granted(later, old, LEASE, true), None);
    }
}
