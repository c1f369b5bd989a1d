//! Waiting for one of many descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// The descriptors a thread waits for. Unlike an epoll(7) descriptor it costs those who wake it
/// nothing while nobody waits: a socket calls into epoll for every frame it receives.
#[derive(Debug, Default)]
pub(crate) struct PollSet(Vec<libc::pollfd>);

/// What happened at a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// The place in the set.
    pub(crate) place: usize,
    /// An error is to be looked at: the descriptor is readable for that, too.
    pub(crate) failed: bool,
}

impl PollSet {
    /// Adds a descriptor at the next place. It is known by its number: once it is closed, the
    /// place is to be [`forget`](Self::forget)ten.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'_>) {
        self.0.push(libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
    }

    /// Waits no longer for a place.
    pub(crate) fn forget(&mut self, place: usize) {
        if let Some(entry) = self.0.get_mut(place) {
            // poll(2) ignores negative descriptors.
            entry.fd = -1;
            entry.revents = 0;
        }
    }

    /// Waits until something happens, at most as long as said.
    ///
    /// # Errors
    /// As ppoll(2).
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
        });
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the pointer and the number describe the vector's elements, which the system
        // changes during the call only; `timeout` is null or a local that lives across the call;
        // a null mask leaves signals alone.
        let result = unsafe {
            libc::ppoll(
                self.0.as_mut_ptr(),
                self.0.len() as libc::nfds_t,
                timeout,
                std::ptr::null(),
            )
        };
        super::check(result).map(|count| count as usize)
    }

    /// What the latest [`wait`](Self::wait) found.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let happened = |(place, entry): (usize, &libc::pollfd)| {
            (entry.revents != 0).then_some(Event {
                place,
                failed: entry.revents & !libc::POLLIN != 0,
            })
        };
        self.0.iter().enumerate().filter_map(happened)
    }
}
