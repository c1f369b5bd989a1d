//! The clock's thread: calls the core when its next deadline has come.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::shared::Shared;

/// When to call, and the thread that waits for it.
#[derive(Debug, Default)]
pub(super) struct Timer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    at: Option<Instant>,
    stopped: bool,
}

impl Timer {
    /// Calls at `at` or before.
    pub(super) fn arm(&self, at: Instant) {
        let mut state = self.lock();
        if state.at.is_none_or(|earlier| at < earlier) {
            state.at = Some(at);
            self.changed.notify_one();
        }
    }

    /// Ends [`Timer::run`].
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// The thread's work, until [`Timer::stop`].
    pub(super) fn run(&self, shared: &Shared) {
        while self.wait() {
            let called = shared.act(|core, now| {
                core.armed = None;
                core.broker.handle_timeout(now);
            });
            if called.is_none() {
                return;
            }
        }
    }

    /// Waits for the moment; false if it will not come.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return false;
            }
            state = match state.at {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(at) => match at.checked_duration_since(Instant::now()) {
                    None => {
                        state.at = None;
                        return true;
                    }
                    Some(left) if left.is_zero() => {
                        state.at = None;
                        return true;
                    }
                    Some(left) => {
                        let waited = self.changed.wait_timeout(state, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                },
            };
        }
    }

    /// A moment and a flag: no panic leaves them half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
