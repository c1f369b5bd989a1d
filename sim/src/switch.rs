//! The switch: a pipeline, its state, and the workers that move packets through it.

use std::sync::Arc;
use std::time::Duration;

use crate::bmv2::Pipeline;
use crate::control::Control;

/// Bounds beyond which the control plane gets
/// [`ControlError::Full`](crate::control::ControlError::Full). `None` is unbounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Entries of one table. The smaller of this and the program's `size` holds.
    pub table_entries: Option<usize>,
    /// Multicast groups.
    pub multicast_groups: Option<usize>,
    /// Replicas of all multicast groups together.
    pub multicast_replicas: Option<usize>,
    /// Replicas of one multicast group or clone session.
    pub replicas_per_group: Option<usize>,
    /// Greatest `instance` (egress_rid) of a replica.
    pub max_instance: Option<u16>,
    /// Clone sessions.
    pub clone_sessions: Option<usize>,
}

/// How a switch is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Seed of everything random, `random()` of the programs.
    pub seed: u64,
    /// Messages that wait in each digest's queue.
    pub digest_queue: usize,
    /// How often one packet may pass a parser (resubmits, recirculations and copies included)
    /// before it is dropped.
    pub max_passes: u32,
    /// Bounds of the control plane.
    pub limits: Limits,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        SwitchConfig { seed: 0, digest_queue: 1024, max_passes: 1024, limits: Limits::default() }
    }
}

/// Why packets were dropped, and how many moved. Sums over all workers since the switch started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwitchStats {
    /// Frames given to [`Worker::process`].
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Frames emitted.
    pub emitted: u64,
    /// Bytes of them.
    pub emitted_bytes: u64,
    /// Dropped since no pipeline was loaded.
    pub dropped_no_pipeline: u64,
    /// Dropped by the program at the end of ingress.
    pub dropped_ingress: u64,
    /// Dropped by the program at the end of egress.
    pub dropped_egress: u64,
    /// Multicast to a group that does not exist or is empty.
    pub dropped_no_group: u64,
    /// Clones to a session that does not exist.
    pub dropped_no_session: u64,
    /// Dropped by `max_passes`.
    pub dropped_too_many_passes: u64,
    /// Dropped by a failed `assert` or `assume`.
    pub dropped_assert: u64,
    /// Frames longer than a switch can carry (65 535 bytes).
    pub dropped_too_long: u64,
}

/// Where frames that leave the switch go.
pub trait Output {
    /// A frame leaves on `port`: the bytes of `head`, then those of `payload`.
    fn emit(&mut self, port: u32, head: &[u8], payload: &[u8]);
}

/// Collects frames, for tests and tools.
impl Output for Vec<(u32, Vec<u8>)> {
    fn emit(&mut self, port: u32, head: &[u8], payload: &[u8]) {
        self.push((port, [head, payload].concat()));
    }
}

/// An [`Output`] that calls a closure with port, head and payload.
pub struct OutputFn<F>(pub F);

impl<F: FnMut(u32, &[u8], &[u8])> Output for OutputFn<F> {
    fn emit(&mut self, port: u32, head: &[u8], payload: &[u8]) {
        (self.0)(port, head, payload);
    }
}

/// A software switch. Shared: `Arc<Switch>`.
pub struct Switch {}

impl Switch {
    /// A switch without a pipeline: it drops everything.
    #[must_use]
    pub fn new(config: SwitchConfig) -> Arc<Switch> {
        unimplemented!("{config:?}")
    }

    /// Loads a pipeline. It replaces the old one between two packets and starts without any state:
    /// no entries but the program's own, no groups, no sessions, counters and registers zero.
    pub fn load(&self, pipeline: Arc<Pipeline>) -> Control {
        unimplemented!("{pipeline:?}")
    }

    /// The control plane of the pipeline that runs now, if there is one.
    #[must_use]
    pub fn control(&self) -> Option<Control> {
        unimplemented!()
    }

    /// A worker: one per thread that moves packets. Frames of one flow that must stay in order go
    /// through one worker.
    #[must_use]
    pub fn worker(self: &Arc<Self>) -> Worker {
        unimplemented!()
    }

    /// Is called, on the packet's thread, after a digest message was queued; it must not block.
    /// There is one: a later one replaces it.
    pub fn on_digest(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = wake;
    }

    /// Says that a port is up or down (all are up at first): members of action selector groups
    /// that watch a port that is down are skipped.
    pub fn set_port_up(&self, port: u32, up: bool) {
        let _ = (port, up);
    }

    /// Sums over all workers.
    #[must_use]
    pub fn stats(&self) -> SwitchStats {
        unimplemented!()
    }
}

/// Moves packets: everything one packet needs while it is in the switch, reused for the next.
pub struct Worker {}

impl Worker {
    /// Runs one frame to completion: every copy that leaves has left when this returns.
    ///
    /// `now` is the time since the switch started, never less than in an earlier call.
    /// A packet-out of a control plane is a frame that arrives on the CPU port, which is a port
    /// like any other to the switch; a packet-in is a frame that leaves on it.
    pub fn process(
        &mut self,
        now: Duration,
        ingress_port: u32,
        frame: &[u8],
        out: &mut impl Output,
    ) {
        let _ = (now, ingress_port, frame, &out);
    }
}
