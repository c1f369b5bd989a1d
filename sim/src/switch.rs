//! The switch: a pipeline, its state, and the workers that move packets through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Cache};
use parking_lot::Mutex;

use crate::bmv2::Pipeline;
use crate::control::Control;
use crate::exec::Random;
use crate::state::{Instance, PortsDown, Snapshot};
use crate::v1model::{Context, Drop, Scratch};

/// The longest frame a switch carries: as a port does, the longest IPv4 packet behind an Ethernet
/// header with an 802.1Q tag.
const MAX_FRAME: usize = crate::ports::MAX_FRAME;

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
    /// Updates that a P4Runtime device takes a second; a tenth of them may come at once.
    pub updates_per_second: Option<u64>,
}

/// How a switch is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Seed of everything random, `random()` of the programs.
    pub seed: u64,
    /// Messages that wait in each digest's queue.
    pub digest_queue: usize,
    /// How often one frame may begin ingress or be cloned or multicast, all its copies together,
    /// before what is left of it is dropped. The replicas of one group count once.
    pub max_passes: u32,
    /// Bounds of the control plane.
    pub limits: Limits,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        SwitchConfig {
            seed: 0,
            digest_queue: 1024,
            max_passes: 1024,
            limits: Limits::default(),
        }
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
    /// Frames longer than a switch can carry ([`MAX_FRAME`](crate::ports::MAX_FRAME)).
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

/// One counter per reason, written by one worker and read by anyone.
#[derive(Default)]
struct WorkerStats {
    received: AtomicU64,
    received_bytes: AtomicU64,
    emitted: AtomicU64,
    emitted_bytes: AtomicU64,
    no_pipeline: AtomicU64,
    ingress: AtomicU64,
    egress: AtomicU64,
    no_group: AtomicU64,
    no_session: AtomicU64,
    too_many_passes: AtomicU64,
    assert: AtomicU64,
    too_long: AtomicU64,
}

/// Adds to a counter that has one writer.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(n),
        Ordering::Relaxed,
    );
}

type Wake = Box<dyn Fn() + Send + Sync>;

/// A software switch. Shared: `Arc<Switch>`.
pub struct Switch {
    config: SwitchConfig,
    instance: Arc<ArcSwapOption<Instance>>,
    ports: PortsDown,
    workers: Mutex<Vec<Arc<WorkerStats>>>,
    wake: ArcSwapOption<Wake>,
}

impl Switch {
    /// A switch without a pipeline: it drops everything.
    #[must_use]
    pub fn new(config: SwitchConfig) -> Arc<Switch> {
        Arc::new(Switch {
            config,
            instance: Arc::default(),
            ports: PortsDown::default(),
            workers: Mutex::default(),
            wake: ArcSwapOption::empty(),
        })
    }

    /// Loads a pipeline. It replaces the old one between two packets and starts without any state:
    /// no entries but the program's own, no groups, no sessions, counters and registers zero.
    pub fn load(&self, pipeline: Arc<Pipeline>) -> Control {
        let control = self.prepare(pipeline);
        self.install(&control);
        control
    }

    /// An instance of a pipeline that no packet sees until it is [installed](Self::install).
    #[must_use]
    pub fn prepare(&self, pipeline: Arc<Pipeline>) -> Control {
        let SwitchConfig {
            digest_queue,
            limits,
            ..
        } = &self.config;
        Control {
            instance: Arc::new(Instance::new(pipeline, *digest_queue, limits.clone())),
        }
    }

    /// Puts an instance in the place of the one that runs, between two packets.
    pub fn install(&self, control: &Control) {
        self.instance.store(Some(control.instance.clone()));
    }

    /// Runs no pipeline any more: everything is dropped.
    pub fn unload(&self) {
        self.instance.store(None);
    }

    /// The bounds it was configured with.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// The control plane of the pipeline that runs now, if there is one.
    #[must_use]
    pub fn control(&self) -> Option<Control> {
        self.instance
            .load_full()
            .map(|instance| Control { instance })
    }

    /// A worker: one per thread that moves packets. Frames of one flow that must stay in order go
    /// through one worker.
    #[must_use]
    pub fn worker(self: &Arc<Self>) -> Worker {
        let stats = Arc::<WorkerStats>::default();
        let mut workers = self.workers.lock();
        let seed = self.config.seed.wrapping_add(workers.len() as u64);
        workers.push(stats.clone());
        Worker {
            switch: self.clone(),
            instance: Cache::new(self.instance.clone()),
            loaded: None,
            stats,
            seed,
        }
    }

    /// Is called, on the packet's thread, after a digest message was queued; it must not block.
    /// There is one: a later one replaces it.
    pub fn on_digest(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.wake.store(Some(Arc::new(Box::new(wake))));
    }

    /// Says that a port (up to 4095) is up or down (all are up at first): members of action
    /// selector groups that watch a port that is down are skipped.
    pub fn set_port_up(&self, port: u32, up: bool) {
        self.ports.set(port, !up);
    }

    /// Sums over all workers.
    #[must_use]
    pub fn stats(&self) -> SwitchStats {
        let workers = self.workers.lock();
        let sum = |counter: fn(&WorkerStats) -> &AtomicU64| {
            workers
                .iter()
                .map(|worker| counter(worker).load(Ordering::Relaxed))
                .sum()
        };
        SwitchStats {
            received: sum(|w| &w.received),
            received_bytes: sum(|w| &w.received_bytes),
            emitted: sum(|w| &w.emitted),
            emitted_bytes: sum(|w| &w.emitted_bytes),
            dropped_no_pipeline: sum(|w| &w.no_pipeline),
            dropped_ingress: sum(|w| &w.ingress),
            dropped_egress: sum(|w| &w.egress),
            dropped_no_group: sum(|w| &w.no_group),
            dropped_no_session: sum(|w| &w.no_session),
            dropped_too_many_passes: sum(|w| &w.too_many_passes),
            dropped_assert: sum(|w| &w.assert),
            dropped_too_long: sum(|w| &w.too_long),
        }
    }

    fn digest_queued(&self) {
        if let Some(wake) = self.wake.load().as_ref() {
            wake();
        }
    }
}

/// A pipeline in a worker: what its packets see, and what one packet needs.
struct Loaded {
    instance: Arc<Instance>,
    snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    scratch: Scratch,
}

/// Moves packets: everything one packet needs while it is in the switch, reused for the next.
pub struct Worker {
    switch: Arc<Switch>,
    instance: Cache<Arc<ArcSwapOption<Instance>>, Option<Arc<Instance>>>,
    loaded: Option<Loaded>,
    stats: Arc<WorkerStats>,
    seed: u64,
}

/// Counts what passes through to the real output.
struct Counted<'a, O> {
    out: &'a mut O,
    stats: &'a WorkerStats,
}

impl<O: Output> Output for Counted<'_, O> {
    fn emit(&mut self, port: u32, head: &[u8], payload: &[u8]) {
        add(&self.stats.emitted, 1);
        add(
            &self.stats.emitted_bytes,
            (head.len() + payload.len()) as u64,
        );
        self.out.emit(port, head, payload);
    }
}

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
        self.run(now, ingress_port, frame, out, None);
    }

    /// As [`process`](Self::process), and tells, line by line, what the frame and its copies meet:
    /// everything if the pipeline was loaded for it
    /// ([`LoadOptions::trace`](crate::LoadOptions::trace)), else only what happens between the
    /// program's blocks.
    pub fn process_traced(
        &mut self,
        now: Duration,
        ingress_port: u32,
        frame: &[u8],
        out: &mut impl Output,
        trace: &dyn Fn(&str),
    ) {
        self.run(now, ingress_port, frame, out, Some(trace));
    }

    #[inline]
    fn run(
        &mut self,
        now: Duration,
        ingress_port: u32,
        frame: &[u8],
        out: &mut impl Output,
        trace: Option<&dyn Fn(&str)>,
    ) {
        let stats = &*self.stats;
        add(&stats.received, 1);
        add(&stats.received_bytes, frame.len() as u64);
        if frame.len() > MAX_FRAME {
            return add(&stats.too_long, 1);
        }
        let Some(instance) = self.instance.load() else {
            self.loaded = None;
            return add(&stats.no_pipeline, 1);
        };
        let loaded = match &mut self.loaded {
            Some(loaded) if Arc::ptr_eq(&loaded.instance, instance) => loaded,
            loaded => loaded.insert(Loaded {
                instance: instance.clone(),
                snapshot: Cache::new(instance.published.clone()),
                scratch: Scratch::new(&instance.pipeline.program, Random::new(self.seed)),
            }),
        };
        let switch = &*self.switch;
        let context = Context {
            program: &loaded.instance.pipeline.program,
            snapshot: loaded.snapshot.load(),
            state: &loaded.instance.state,
            ports: &switch.ports,
            now: nanoseconds(now),
            max_passes: switch.config.max_passes,
            on_digest: &|| switch.digest_queued(),
            trace,
        };
        let mut out = Counted { out, stats };
        let mut dropped = |reason| {
            add(
                match reason {
                    Drop::Ingress => &stats.ingress,
                    Drop::Egress => &stats.egress,
                    Drop::NoGroup => &stats.no_group,
                    Drop::NoSession => &stats.no_session,
                    Drop::TooManyPasses => &stats.too_many_passes,
                    Drop::Assert => &stats.assert,
                },
                1,
            );
        };
        loaded
            .scratch
            .process(&context, ingress_port, frame, &mut out, &mut dropped);
    }
}

/// Time in nanoseconds; it ends after 584 years.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
