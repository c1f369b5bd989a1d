//! The core behind its lock, and what happens around every call of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use offload::FromBroker;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::lanes::{Lanes, Touched};
use super::timer::Timer;
use super::ways::Ways;
use crate::core::Broker;
use crate::store::{CommitError, Store, StoreStatus};
use crate::transmit::Source;

/// Datagrams that the core may emit before they are handed on, so that a batch of messages to very
/// many subscribers does not pile up.
const HELD: usize = 4096;

/// What all threads of a driver share.
#[derive(Debug)]
pub(super) struct Shared {
    /// `None` once the broker has stopped.
    core: Mutex<Option<Core>>,
    pub(super) lanes: Lanes,
    pub(super) ways: Ways,
    pub(super) timer: Timer,
    /// Why nothing can be stored any more.
    not_stored: Mutex<Option<CommitError>>,
    pub(super) store_failed: Notify,
}

/// What is behind the lock.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) broker: Broker,
    store: Option<Store>,
    link: Option<Link>,
    links: u64,
    /// When the timer will call.
    pub(super) armed: Option<Instant>,
}

#[derive(Debug)]
struct Link {
    number: u64,
    tx: UnboundedSender<FromBroker>,
}

impl Shared {
    /// Takes the broker; its datagrams will leave through `lanes` lanes.
    pub(super) fn new(mut broker: Broker, lanes: usize) -> Arc<Self> {
        broker.transmits().make_room();
        let core = Core {
            broker,
            store: None,
            link: None,
            links: 0,
            armed: None,
        };
        Arc::new(Shared {
            core: Mutex::new(Some(core)),
            lanes: Lanes::new(lanes),
            ways: Ways::default(),
            timer: Timer::default(),
            not_stored: Mutex::default(),
            store_failed: Notify::new(),
        })
    }

    /// From now on what is durable is stored before anybody hears of it.
    pub(super) fn set_store(&self, store: Store) {
        if let Some(mut guard) = self.lock()
            && let Some(core) = guard.as_mut()
        {
            core.store = Some(store);
        }
    }

    /// What there is to say of the store, if there is one.
    pub(super) fn store_status(&self) -> Option<StoreStatus> {
        let guard = self.lock()?;
        Some(guard.as_ref()?.store.as_ref()?.status())
    }

    /// Why the broker has stopped by itself, if its store was the reason.
    pub(super) fn take_store_error(&self) -> Option<CommitError> {
        let mut not_stored = self
            .not_stored
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        not_stored.take()
    }

    /// Does something with the core, then lets out what follows from it. `None` when the broker has
    /// stopped.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut Core, Instant) -> T) -> Option<T> {
        let mut guard = self.lock()?;
        let core = guard.as_mut()?;
        // Taken under the lock, so that the core never sees time go back.
        let now = Instant::now();
        let done = act(core, now);
        let touched = match self.let_out(core, now) {
            Ok(touched) => touched,
            Err(error) => {
                // What the core has said may acknowledge what is lost: nobody hears it.
                *guard = None;
                drop(guard);
                self.fail(error);
                return None;
            }
        };
        drop(guard);
        self.lanes.empty(touched, &self.ways);
        Some(done)
    }

    /// Looks at the core, which says nothing to that. `None` when the broker has stopped.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Broker) -> T) -> Option<T> {
        let guard = self.lock()?;
        guard.as_ref().map(|core| look(&core.broker))
    }

    /// Takes datagrams in their order. False when the broker has stopped.
    pub(super) fn handle<'a>(
        &self,
        mut datagrams: impl Iterator<Item = (Source<'a>, &'a [u8])>,
    ) -> bool {
        let mut more = true;
        while more {
            let done = self.act(|core, now| {
                more = false;
                for (source, datagram) in &mut datagrams {
                    core.broker.handle_datagram(now, source, datagram);
                    if core.broker.transmits().len() >= HELD {
                        more = true;
                        break;
                    }
                }
            });
            if done.is_none() {
                return false;
            }
        }
        true
    }

    /// What has been decided in this turn becomes true: it is made durable, then told. Still under
    /// the lock, so that both happen in the core's order.
    fn let_out(&self, core: &mut Core, now: Instant) -> Result<Touched, CommitError> {
        core.tell_controller(now);
        core.store()?;
        let next = core.broker.next_deadline();
        if let Some(next) = next
            && core.armed.is_none_or(|armed| next < armed)
        {
            core.armed = Some(next);
            self.timer.arm(next);
        }
        Ok(self.lanes.fill(core.broker.transmits()))
    }

    fn fail(&self, error: CommitError) {
        tracing::error!(%error, "the broker stops, and acknowledges nothing more");
        let mut not_stored = self
            .not_stored
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        not_stored.get_or_insert(error);
        self.store_failed.notify_one();
    }

    /// Tells the connected clients, and stops. Nothing is heard or answered after that.
    pub(super) fn stop(&self) {
        self.act(|core, _| core.broker.shut_down());
        if let Some(mut guard) = self.lock() {
            *guard = None;
        }
        self.timer.stop();
    }

    /// `None` when a thread has panicked in the core, and left who knows what behind: as if the
    /// broker had stopped, which it is about to.
    fn lock(&self) -> Option<MutexGuard<'_, Option<Core>>> {
        self.core.lock().ok()
    }
}

impl Core {
    /// A controller has connected. The number of its link.
    pub(super) fn link_up(&mut self, now: Instant, tx: UnboundedSender<FromBroker>) -> u64 {
        self.links += 1;
        let number = self.links;
        self.link = Some(Link { number, tx });
        self.broker.link_up(now);
        number
    }

    /// The controller of this link is gone.
    pub(super) fn link_down(&mut self, now: Instant, number: u64) {
        if self.is_linked(number) {
            self.link = None;
            self.broker.link_down(now);
        }
    }

    /// Whether this link is the present one.
    pub(super) fn is_linked(&self, number: u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.number == number)
    }

    /// Makes what has changed durable.
    fn store(&mut self) -> Result<(), CommitError> {
        match &mut self.store {
            Some(store) => match self.broker.take_changes() {
                Some(changes) => store.commit(&changes),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    fn tell_controller(&mut self, now: Instant) {
        while let Some(message) = self.broker.poll_offload() {
            let gone = match &self.link {
                Some(link) => link.tx.send(message).is_err(),
                None => true,
            };
            if gone && self.link.take().is_some() {
                self.broker.link_down(now);
            }
        }
    }
}
