//! A port inside the process: two bounded queues of frames and a wake-up for each end.
//!
//! Buffers circulate (a second queue brings the empty ones back), so that frames of usual sizes
//! are carried without allocating once the buffers have grown.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::Notify;

use super::{DropReason, MAX_FRAME, Port, PortCounters, PortSender, PortSpec};

/// Makes a port for the switch and the link at its other end. Each direction holds up to
/// `capacity` frames; a frame sent into a full queue is dropped and counted.
///
/// # Panics
/// When the system has no file descriptor left.
pub fn mem_pair(name: &str, capacity: usize) -> (MemPort, MemLink) {
    let (to_switch_tx, to_switch_rx) = direction(capacity);
    let (from_switch_tx, from_switch_rx) = direction(capacity);
    let counters = Arc::new(PortCounters::default());
    let port = MemPort {
        name: name.to_owned(),
        input: to_switch_rx,
        output: Arc::new(from_switch_tx),
        counters: Arc::clone(&counters),
    };
    (
        port,
        MemLink {
            input: from_switch_rx,
            output: to_switch_tx,
        },
    )
}

/// The switch's end of a [`mem_pair`].
#[derive(Debug)]
pub struct MemPort {
    name: String,
    input: Consumer,
    output: Arc<Producer>,
    counters: Arc<PortCounters>,
}

impl Port for MemPort {
    fn spec(&self) -> PortSpec {
        PortSpec::Mem(self.name.clone())
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.input.wake.event.as_fd()
    }

    fn receive(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        self.input.wake.rearm();
        for shown in 0..budget {
            let counters = &self.counters;
            let took = self.input.take(|frame| {
                counters.received(frame.len());
                each(frame);
            });
            if !took {
                return Ok(shown);
            }
        }
        // More may wait: the descriptor must say so.
        self.input.wake.signal();
        Ok(budget)
    }

    fn sender(&self) -> Box<dyn PortSender> {
        Box::new(MemSender {
            output: Arc::clone(&self.output),
            counters: Arc::clone(&self.counters),
        })
    }

    fn counters(&self) -> Arc<PortCounters> {
        Arc::clone(&self.counters)
    }
}

/// One thread's way out through a [`MemPort`].
struct MemSender {
    output: Arc<Producer>,
    counters: Arc<PortCounters>,
}

impl PortSender for MemSender {
    fn send(&mut self, head: &[u8], payload: &[u8]) {
        match self.output.give(head, payload) {
            Ok(()) => self.counters.sent(head.len() + payload.len()),
            Err(LinkError::Full | LinkError::TooLong(_)) => {
                self.counters.tx_dropped(DropReason::QueueFull);
            }
            Err(LinkError::Closed) => self.counters.tx_dropped(DropReason::Refused),
        }
    }
}

/// Why a frame could not enter a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The queue is full: the switch is slower than its senders.
    #[error("the queue to the switch is full")]
    Full,
    /// The frame is longer than [`MAX_FRAME`].
    #[error("the frame has {0} bytes; a port carries at most {MAX_FRAME}")]
    TooLong(usize),
    /// The other end is gone.
    #[error("the other end of the link is gone")]
    Closed,
}

/// The far end of a [`mem_pair`]: frames in, frames out, from any thread or task.
#[derive(Debug)]
pub struct MemLink {
    input: Consumer,
    output: Producer,
}

impl MemLink {
    /// Sends a frame to the switch.
    ///
    /// # Errors
    /// [`LinkError`]; the frame is lost then.
    pub fn send(&self, frame: &[u8]) -> Result<(), LinkError> {
        self.output.give(frame, &[])
    }

    /// The next frame from the switch, if one waits.
    pub fn try_recv(&self) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        self.try_recv_with(|bytes| frame.extend_from_slice(bytes))
            .then_some(frame)
    }

    /// Shows the next frame from the switch to `look` without copying it; `false` when none waits.
    pub fn try_recv_with(&self, look: impl FnOnce(&[u8])) -> bool {
        self.input.take(look)
    }

    /// The next frame from the switch, waiting for it until `deadline`.
    pub fn recv_deadline(&self, deadline: Instant) -> Option<Vec<u8>> {
        loop {
            self.input.wake.rearm();
            if let Some(frame) = self.try_recv() {
                return Some(frame);
            }
            if !self.input.wake.wait(deadline) {
                return self.try_recv();
            }
        }
    }

    /// The next frame from the switch; `None` when the switch's end is gone and nothing waits.
    /// Cancelling loses nothing. One task at a time is woken for each frame.
    pub async fn recv(&self) -> Option<Vec<u8>> {
        loop {
            // Created before looking: a frame that arrives in between leaves a permit.
            let woken = self.input.wake.task.notified();
            if let Some(frame) = self.try_recv() {
                return Some(frame);
            }
            if self.is_closed() {
                return self.try_recv();
            }
            woken.await;
        }
    }

    /// Whether the switch's end is gone.
    pub fn is_closed(&self) -> bool {
        self.input.peer.is_closed()
    }

    /// Waits until a frame may wait or the other end is gone.
    pub(crate) async fn readable(&self) {
        self.input.wake.task.notified().await;
    }

    /// As [`readable`](Self::readable) for threads; `false` once `deadline` is past.
    pub(crate) fn wait_readable(&self, deadline: Instant) -> bool {
        self.input.wake.wait(deadline)
    }

    /// To be called before the last look that precedes [`wait_readable`](Self::wait_readable).
    pub(crate) fn rearm(&self) {
        self.input.wake.rearm();
    }
}

fn direction(capacity: usize) -> (Producer, Consumer) {
    let capacity = capacity.max(1);
    let (full_tx, full_rx) = bounded(capacity);
    let (empty_tx, empty_rx) = bounded(capacity);
    let wake = Arc::new(Wake::new());
    let peer = Arc::new(Peer::default());
    let producer = Producer {
        full: full_tx,
        empty: empty_rx,
        wake: Arc::clone(&wake),
        peer: PeerHold::new(&peer, &wake),
    };
    (
        producer,
        Consumer {
            full: full_rx,
            empty: empty_tx,
            wake,
            peer,
        },
    )
}

#[derive(Debug)]
struct Producer {
    full: Sender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    wake: Arc<Wake>,
    #[expect(
        dead_code,
        reason = "its drop tells the consumer that no more frames come"
    )]
    peer: PeerHold,
}

impl Producer {
    fn give(&self, head: &[u8], payload: &[u8]) -> Result<(), LinkError> {
        let len = head.len() + payload.len();
        if len > MAX_FRAME {
            return Err(LinkError::TooLong(len));
        }
        if self.full.is_full() {
            return Err(LinkError::Full);
        }
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(head);
        buffer.extend_from_slice(payload);
        match self.full.try_send(buffer) {
            Ok(()) => {
                self.wake.signal();
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(LinkError::Full),
            Err(TrySendError::Disconnected(_)) => Err(LinkError::Closed),
        }
    }
}

#[derive(Debug)]
struct Consumer {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    wake: Arc<Wake>,
    peer: Arc<Peer>,
}

impl Consumer {
    fn take(&self, look: impl FnOnce(&[u8])) -> bool {
        let Ok(buffer) = self.full.try_recv() else {
            return false;
        };
        look(&buffer);
        // When the producer is gone, or more buffers exist than places, this one is freed.
        let _ = self.empty.try_send(buffer);
        true
    }
}

/// Whether the producers of a direction are gone.
#[derive(Debug, Default)]
struct Peer {
    holds: AtomicUsize,
}

impl Peer {
    fn is_closed(&self) -> bool {
        self.holds.load(Ordering::Acquire) == 0
    }
}

#[derive(Debug)]
struct PeerHold {
    peer: Arc<Peer>,
    wake: Arc<Wake>,
}

impl PeerHold {
    fn new(peer: &Arc<Peer>, wake: &Arc<Wake>) -> Self {
        peer.holds.fetch_add(1, Ordering::AcqRel);
        PeerHold {
            peer: Arc::clone(peer),
            wake: Arc::clone(wake),
        }
    }
}

impl Drop for PeerHold {
    fn drop(&mut self) {
        self.peer.holds.fetch_sub(1, Ordering::AcqRel);
        self.wake.signal();
    }
}

/// Wakes the consumer of a queue: a thread that polls a descriptor, or a task.
#[derive(Debug)]
struct Wake {
    event: EventFd,
    /// Whether the descriptor is readable already: one system call per burst, not per frame.
    signalled: AtomicBool,
    task: Notify,
}

impl Wake {
    #[expect(
        clippy::expect_used,
        reason = "fails only when no file descriptor is left"
    )]
    fn new() -> Self {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags).expect("no file descriptor is left");
        Wake {
            event,
            signalled: AtomicBool::new(false),
            task: Notify::new(),
        }
    }

    /// To be called after the frame is in the queue.
    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // Only a counter at its maximum refuses, and then the descriptor is readable anyway.
            let _ = self.event.write(1);
        }
        self.task.notify_one();
    }

    /// To be called before looking into the queue: a frame that comes later signals again.
    fn rearm(&self) {
        if !self.signalled.load(Ordering::Acquire) {
            return;
        }
        // Read first, then clear: a signal in between is not needed, for the look into the queue is
        // still to come; the swap makes its frame visible. When nothing is there to read, whoever
        // set the flag is about to write, and the flag stays until that was read.
        if self.event.read().is_ok() {
            self.signalled.swap(false, Ordering::AcqRel);
        }
    }

    /// Waits for a signal; `false` when `deadline` came first.
    fn wait(&self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the last wait does not end just before the deadline and spin.
            let millis = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
            let mut fds = [PollFd::new(self.event.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, PollTimeout::from(millis)) {
                Ok(0) if Instant::now() >= deadline => return false,
                // EINTR: a signal handler ran; look at the clock again.
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn frames_cross_in_both_directions_in_order() {
        let (mut port, link) = mem_pair("t", 4);
        link.send(b"a").expect("room");
        link.send(b"b").expect("room");
        let mut got = Vec::new();
        let shown = port.receive(8, &mut |frame| got.push(frame.to_vec()));
        assert_eq!(shown.expect("never fails"), 2);
        assert_eq!(got, [b"a", b"b"]);
        port.sender().send(b"he", b"ad");
        assert_eq!(link.recv_deadline(soon()).as_deref(), Some(&b"head"[..]));
        assert_eq!(port.counters().read().rx_frames, 2);
        assert_eq!(port.counters().read().tx_bytes, 4);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (port, link) = mem_pair("t", 1);
        assert_eq!(link.send(b"a"), Ok(()));
        assert_eq!(link.send(b"b"), Err(LinkError::Full));
        port.sender().send(b"a", b"");
        port.sender().send(b"b", b"");
        assert_eq!(port.counters().tx_drops(DropReason::QueueFull), 1);
    }

    #[test]
    fn the_descriptor_stays_readable_behind_a_full_batch() {
        let (mut port, link) = mem_pair("t", 4);
        for frame in [b"a", b"b", b"c"] {
            link.send(frame).expect("room");
        }
        let mut ignore = |_: &[u8]| {};
        assert_eq!(port.receive(2, &mut ignore).expect("never fails"), 2);
        assert!(port.input.wake.wait(soon()));
        assert_eq!(port.receive(2, &mut ignore).expect("never fails"), 1);
        assert!(!port.input.wake.wait(Instant::now()));
    }

    #[test]
    fn a_waiting_thread_is_woken_by_each_frame() {
        let (port, link) = mem_pair("t", 1024);
        let mut sender = port.sender();
        let reader = std::thread::spawn(move || {
            (0..500).all(|i: u32| link.recv_deadline(soon()) == Some(i.to_be_bytes().to_vec()))
        });
        for i in 0..500_u32 {
            sender.send(&i.to_be_bytes(), &[]);
        }
        assert!(reader.join().expect("no panic"));
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken_and_told_of_the_end() {
        let (port, link) = mem_pair("t", 4);
        let reader = tokio::spawn(async move { (link.recv().await, link.recv().await) });
        tokio::task::yield_now().await;
        port.sender().send(b"x", b"");
        drop(port);
        let (first, second) = reader.await.expect("no panic");
        assert_eq!(first.as_deref(), Some(&b"x"[..]));
        assert_eq!(second, None);
    }
}
