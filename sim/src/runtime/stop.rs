//! Waking and ending the runtime's threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::server::Device;

/// Sends digests and notifications when they are due.
pub(super) fn notify(device: &Device, start: Instant, stop: &Stop) {
    while !stop.is_stopped() {
        match device.poll(start.elapsed()) {
            Some(next) => {
                let wait = next.saturating_sub(start.elapsed());
                std::thread::park_timeout(wait);
            }
            None => std::thread::park(),
        }
        stop.rearm();
    }
}

/// Wakes the notifying thread, at the cost of one atomic operation while it is awake already.
pub(super) struct Waker {
    thread: Thread,
    pending: AtomicBool,
}

impl Waker {
    pub(super) fn new(thread: Thread) -> Arc<Self> {
        Arc::new(Waker {
            thread,
            pending: AtomicBool::new(false),
        })
    }

    pub(super) fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Tells the threads to end.
pub(super) struct Stop {
    stopped: AtomicBool,
    event: EventFd,
    waker: parking_lot::Mutex<Option<Arc<Waker>>>,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)?;
        Ok(Stop {
            stopped: AtomicBool::new(false),
            event,
            waker: parking_lot::Mutex::default(),
        })
    }

    pub(super) fn set_waker(&self, waker: Arc<Waker>) {
        *self.waker.lock() = Some(waker);
    }

    /// Becomes readable when the threads are to end.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// To be called by the notifying thread before it looks: a later wake counts again.
    fn rearm(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.pending.swap(false, Ordering::AcqRel);
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Only a counter at its maximum refuses, and then the descriptor is readable anyway.
        let _ = self.event.write(1);
        if let Some(waker) = &*self.waker.lock() {
            waker.thread.unpark();
        }
    }
}
