//! The way out: queues between the core and the network.
//!
//! The core emits datagrams in an order that must hold per destination (a PUBLISH behind the
//! REGACK that it needs, the messages of one publisher one behind the other). Sending is slow beside
//! deciding what to send, so it happens outside the core's lock, and in parallel:
//!
//! ```text
//!              under the core's lock           outside of it
//! core ─ emits ─► Transmits ─ by destination ─┬─► lane 0: inbox ═ swap ═► outbox ─► network
//!                                             └─► lane 1: inbox ═ swap ═► outbox ─► network
//! ```
//! A destination has one lane, a lane is filled in the core's order and emptied by one thread at a
//! time. Whoever has filled a lane empties it; if another thread is at it, that thread takes what
//! was added too, and nobody waits.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rustc_hash::FxBuildHasher;

use super::ways::{Sender, Ways};
use crate::transmit::{Copied, Entry, Transmits};

/// Datagrams in an inbox from which on its fillers wait for their turn to empty it, instead of
/// leaving even more to the thread that is at it.
const BACKLOG: usize = 1 << 14;

/// At most so many lanes: one bit of [`Touched`] each.
const MAX_LANES: usize = 64;

/// The lanes that were filled and are to be emptied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "what is in the lanes must be sent"]
pub(super) struct Touched(u64);

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Box<[Lane]>,
}

#[derive(Debug, Default)]
struct Lane {
    inbox: Mutex<Transmits>,
    outlet: Mutex<Outlet>,
}

/// What the thread that empties a lane works with.
#[derive(Debug, Default)]
struct Outlet {
    outbox: Transmits,
    sender: Sender,
}

impl Lanes {
    /// `count` lanes, from 1 to 64.
    pub(super) fn new(count: usize) -> Self {
        let lanes = (0..count.clamp(1, MAX_LANES)).map(|_| Lane::new());
        Lanes {
            lanes: lanes.collect(),
        }
    }

    /// Moves all datagrams of `from` into the lanes. To be called under the core's lock: that is
    /// what keeps a lane in the core's order.
    pub(super) fn fill(&self, from: &mut Transmits) -> Touched {
        let mut touched = 0;
        if from.is_empty() {
            return Touched(touched);
        }
        if let [lane] = &*self.lanes {
            let mut inbox = locked(&lane.inbox);
            if inbox.is_empty() {
                inbox.clear();
                std::mem::swap(&mut *inbox, from);
            } else {
                let mut copied = Copied::default();
                for entry in from.entries() {
                    inbox.append(from, entry, &mut copied);
                }
            }
            touched = 1;
        } else {
            let mut copied = [Copied::default(); MAX_LANES];
            for entry in from.entries() {
                let at = self.lane_of(entry);
                locked(&self.lanes[at].inbox).append(from, entry, &mut copied[at]);
                touched |= 1 << at;
            }
        }
        from.clear();
        Touched(touched)
    }

    fn lane_of(&self, entry: &Entry) -> usize {
        let hash = FxBuildHasher.hash_one((entry.via, entry.to));
        // The upper half is the better mixed one; the remainder is below the number of lanes.
        ((hash >> 32) as usize) % self.lanes.len()
    }

    /// Sends what is in these lanes, or leaves it to the thread that is at it.
    pub(super) fn empty(&self, touched: Touched, ways: &Ways) {
        let mut left = touched.0;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            self.lanes[at].empty(at, ways);
        }
    }
}

impl Lane {
    fn new() -> Self {
        let mut lane = Lane::default();
        for transmits in [
            lane.inbox.get_mut().unwrap_or_else(PoisonError::into_inner),
            &mut lane
                .outlet
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner)
                .outbox,
        ] {
            transmits.make_room();
        }
        lane
    }

    fn empty(&self, number: usize, ways: &Ways) {
        loop {
            let Some(mut outlet) = self.turn() else {
                return;
            };
            let Outlet { outbox, sender } = &mut *outlet;
            // What a panic has left here was sent or is lost.
            outbox.clear();
            loop {
                let mut inbox = locked(&self.inbox);
                if inbox.is_empty() {
                    break;
                }
                std::mem::swap(&mut *inbox, outbox);
                drop(inbox);
                sender.send(outbox, number, ways);
                outbox.clear();
            }
            drop(outlet);
            // Who filled the lane after the last look, but tried for its turn before the outlet was
            // free, has left it to this thread.
            if locked(&self.inbox).is_empty() {
                return;
            }
        }
    }

    /// The right to empty the lane, if nobody has it.
    fn turn(&self) -> Option<MutexGuard<'_, Outlet>> {
        match self.outlet.try_lock() {
            Ok(outlet) => Some(outlet),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                let crowded = locked(&self.inbox).len() > BACKLOG;
                crowded.then(|| locked(&self.outlet))
            }
        }
    }
}

/// A lane is left usable by a thread that panics: at worst what it was about to send is lost.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
