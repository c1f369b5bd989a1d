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
const BACKLOG: usize = 1 << 12;

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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::sync::{Arc, Barrier};
    use std::time::Duration;

    use mqttsn::Packet;
    use proptest::prelude::*;

    use super::super::ways::{Outbound, Way};
    use super::*;
    use crate::transmit::{Peer, Via};

    fn to(number: u8) -> SocketAddr {
        ([10, 0, 0, number], 4000).into()
    }

    /// Queues a message of its own for each recipient, or one for all.
    fn emit(transmits: &mut Transmits, recipients: &[u8], mark: u8, shared: bool) {
        let mut range = 0..0;
        for (at, &number) in recipients.iter().enumerate() {
            if at == 0 || !shared {
                range = transmits.write(&[mark], &Packet::Pingresp);
            }
            transmits.push_written(&Peer::direct(to(number)), range.clone());
        }
    }

    /// Keeps what it is given: destination and mark.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<(SocketAddr, u8)>>);

    impl Outbound for Recorder {
        fn send(&self, to: SocketAddr, datagram: &[u8]) {
            assert_eq!(datagram[1..], [2, 0x17]);
            locked(&self.0).push((to, datagram[0]));
        }
    }

    fn recording() -> (Ways, Arc<Recorder>) {
        let (ways, recorder) = (Ways::default(), Arc::<Recorder>::default());
        assert!(ways.set_udp(Way::Outbound(Arc::clone(&recorder) as Arc<dyn Outbound>)));
        (ways, recorder)
    }

    proptest! {
        #[test]
        fn each_destination_gets_its_datagrams_in_the_cores_order_whenever_they_leave(
            lanes in 1_usize..9,
            rounds in prop::collection::vec(
                (prop::collection::vec(0_u8..6, 1..8), any::<bool>(), any::<bool>()),
                1..40,
            ),
        ) {
            let lanes = Lanes::new(lanes);
            let (ways, recorder) = recording();
            let mut transmits = Transmits::default();
            let mut expected = Vec::new();
            let mut waiting = Touched::default();
            for (mark, (recipients, shared, leave)) in rounds.iter().enumerate() {
                let mark = mark as u8;
                emit(&mut transmits, recipients, mark, *shared);
                expected.extend(recipients.iter().map(|&number| (to(number), mark)));
                waiting.0 |= lanes.fill(&mut transmits).0;
                prop_assert!(transmits.is_empty());
                if *leave {
                    lanes.empty(std::mem::take(&mut waiting), &ways);
                }
            }
            lanes.empty(waiting, &ways);
            let sent = locked(&recorder.0);
            for number in 0..6 {
                let of = |all: &[(SocketAddr, u8)]| -> Vec<u8> {
                    all.iter().filter(|(at, _)| *at == to(number)).map(|&(_, mark)| mark).collect()
                };
                prop_assert_eq!(of(&sent), of(&expected));
            }
        }
    }

    #[test]
    fn copies_of_one_message_share_their_bytes_in_a_lane_that_is_not_empty() {
        let lanes = Lanes::new(1);
        let mut transmits = Transmits::default();
        for _ in 0..2 {
            emit(&mut transmits, &[1, 2, 3], 0, true);
            let _ = lanes.fill(&mut transmits);
        }
        let inbox = locked(&lanes.lanes[0].inbox);
        assert_eq!(inbox.len(), 6);
        assert_eq!(inbox.buffer().len(), 2 * 3);
    }

    /// Says when it is in a call, and stays there until it is told to go on.
    struct Slow {
        entered: SyncSender<u8>,
        go_on: Mutex<Receiver<()>>,
    }

    impl Outbound for Slow {
        fn send(&self, _to: SocketAddr, datagram: &[u8]) {
            self.entered.send(datagram[0]).unwrap();
            let wait = Duration::from_secs(20);
            locked(&self.go_on).recv_timeout(wait).unwrap();
        }
    }

    #[test]
    fn who_finds_a_lane_being_emptied_leaves_its_datagrams_there_and_does_not_wait() {
        let lanes = Lanes::new(1);
        let ways = Ways::default();
        let (entered, enters) = sync_channel(8);
        let (go, go_on) = sync_channel(8);
        let slow = Slow {
            entered,
            go_on: Mutex::new(go_on),
        };
        assert!(ways.set_udp(Way::Outbound(Arc::new(slow))));
        let mut transmits = Transmits::default();
        emit(&mut transmits, &[1], 1, false);
        let touched = lanes.fill(&mut transmits);
        let wait = Duration::from_secs(20);
        std::thread::scope(|scope| {
            let emptying = scope.spawn(|| lanes.empty(touched, &ways));
            assert_eq!(enters.recv_timeout(wait), Ok(1));
            emit(&mut transmits, &[1], 2, false);
            let touched = lanes.fill(&mut transmits);
            // Comes back although the other thread is still at its first datagram.
            lanes.empty(touched, &ways);
            go.send(()).unwrap();
            assert_eq!(enters.recv_timeout(wait), Ok(2));
            go.send(()).unwrap();
            emptying.join().unwrap();
        });
    }

    #[test]
    fn nothing_stays_behind_when_threads_fill_and_empty_at_once() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 2_000;
        let lanes = Lanes::new(2);
        let (ways, recorder) = recording();
        let core = Mutex::new(Transmits::default());
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for round in 0..ROUNDS {
                        let touched = {
                            let mut transmits = locked(&core);
                            emit(&mut transmits, &[1, 2, 3], round as u8, true);
                            lanes.fill(&mut transmits)
                        };
                        lanes.empty(touched, &ways);
                    }
                });
            }
        });
        assert_eq!(locked(&recorder.0).len(), THREADS * ROUNDS * 3);
    }

    #[test]
    fn without_a_way_out_datagrams_are_lost_and_counted() {
        let lanes = Lanes::new(1);
        let ways = Ways::default();
        let mut transmits = Transmits::default();
        emit(&mut transmits, &[1, 2], 0, true);
        let mut dtls = Peer::direct(to(3));
        dtls.via = Via::Dtls;
        transmits.push(&dtls, &Packet::Pingresp);
        let touched = lanes.fill(&mut transmits);
        lanes.empty(touched, &ways);
        assert_eq!(ways.counters.read().dropped, 3);
    }
}
