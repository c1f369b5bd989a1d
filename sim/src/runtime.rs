//! Runs a switch: frames from its ports through its pipeline to its ports and its controllers.
//!
//! Two ways to drive it. [`Runtime::start`] gives it threads: workers, each for its group of ports,
//! that move packets and sleep when there are none; and one that sends digests and idle-timeout notifications. [`Runtime::step`] gives it
//! no thread and a virtual time: each call moves what waits at that time, and nothing else
//! happens, so that a test is the same each time it runs.
//!
//! ```no_run
//! use sim::ports::{self, PortConfig};
//! use sim::runtime::{Runtime, RuntimeConfig};
//! let port: PortConfig = "1=udp:127.0.0.1:1884".parse()?;
//! let ports = vec![(port.number, ports::open(&port)?)];
//! let running = Runtime::new(RuntimeConfig::default(), ports)?.start()?;
//! let service = running.service(); // serve it: sim::server::serve_tcp
//! # drop(service);
//! running.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ports::{NumberedPort, PortCounters, PortSpec, mem_pair};
use crate::server::{Clock, Device, DeviceConfig, P4RuntimeService};
use crate::{Switch, SwitchConfig};

mod outlets;
mod pump;
mod stop;

use outlets::Outlets;
use pump::Pump;
use stop::{Stop, Waker, notify};

/// The CPU port unless configured otherwise, as BMv2 is usually started (`--cpu-port 510`).
pub const DEFAULT_CPU_PORT: u32 = 510;
/// Packets of controllers that wait for a worker.
const CPU_QUEUE: usize = 4096;

/// How a runtime is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// The switch.
    pub switch: SwitchConfig,
    /// The P4Runtime device.
    pub device: DeviceConfig,
    /// The port that packets to and from controllers take.
    pub cpu_port: u32,
    /// Frames taken from one port before the next port has its turn.
    pub batch: usize,
    /// Threads that move packets; the ports are dealt out to them in turn. What one port receives
    /// is handled and sent in its order, however many there are. More than there are ports are of
    /// no use and are not started. Counters and meters are exact with any number, and a register is
    /// read or written whole; but a program that reads a register, computes and writes it back may
    /// lose a step when two workers do so at once, where BMv2 locks the register for the action.
    pub workers: usize,
    /// How long a worker without frames looks again and again before it sleeps. A frame that comes
    /// meanwhile does not wait for a thread to be woken, at the price of a core. None: about what
    /// being woken costs, or not at all where there is one CPU.
    pub spin: Option<Duration>,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        RuntimeConfig {
            switch: SwitchConfig::default(),
            device: DeviceConfig::default(),
            cpu_port: DEFAULT_CPU_PORT,
            batch: 64,
            workers: 1,
            spin: None,
        }
    }
}

/// Why a runtime could not be made or started.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Two ports with one number, or one with the CPU port's.
    #[error("port {0} is there twice: give each port its own number, and none the CPU port's")]
    DuplicatePort(u32),
    /// A number beyond what v1model can name.
    #[error("port {0} is beyond 510: v1model's ports have 9 bits and 511 drops")]
    PortOutOfRange(u32),
    /// The system refused a descriptor or a thread.
    #[error("cannot start the switch: {0}")]
    System(#[from] io::Error),
}

/// A port as reports show it.
#[derive(Debug, Clone)]
pub struct PortReport {
    /// Its number.
    pub number: u32,
    /// What is behind it.
    pub spec: PortSpec,
    /// What it has done.
    pub counters: Arc<PortCounters>,
}

/// What one [`Runtime::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Frames taken from ports and from controllers.
    pub frames: usize,
    /// The time by which to step again even if no frame arrives.
    pub next: Option<Duration>,
}

/// A switch with its ports and its P4Runtime device, not running by itself.
pub struct Runtime {
    device: Arc<Device>,
    pumps: Vec<Pump>,
    reports: Vec<PortReport>,
    virtual_now: Arc<AtomicU64>,
}

impl Runtime {
    /// A switch without a pipeline, with these ports (number and port).
    ///
    /// # Errors
    /// [`RuntimeError::DuplicatePort`], [`RuntimeError::PortOutOfRange`].
    pub fn new(config: RuntimeConfig, ports: Vec<NumberedPort>) -> Result<Self, RuntimeError> {
        let switch = Switch::new(config.switch);
        let (cpu, link) = mem_pair("cpu", CPU_QUEUE);
        let device = Device::new(config.device, Arc::clone(&switch), link);
        let report = |(number, port): &NumberedPort| PortReport {
            number: *number,
            spec: port.spec(),
            counters: port.counters(),
        };
        let reports = ports.iter().map(report).collect();
        let workers = config.workers.clamp(1, ports.len().max(1));
        let outlets = (0..workers)
            .map(|_| Outlets::new(config.cpu_port, &ports, Arc::clone(&device)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut groups: Vec<Vec<NumberedPort>> = (0..workers).map(|_| Vec::new()).collect();
        for (index, port) in ports.into_iter().enumerate() {
            groups[index % workers].push(port);
        }
        // The last group has the fewest ports: it serves the controllers' packets, too.
        groups[workers - 1].push((config.cpu_port, Box::new(cpu)));
        let pump = |(ports, outlets)| {
            let worker = switch.worker();
            Pump::new(
                worker,
                Arc::clone(&switch),
                (config.batch, config.spin),
                ports,
                outlets,
            )
        };
        Ok(Runtime {
            device,
            pumps: groups.into_iter().zip(outlets).map(pump).collect(),
            reports,
            virtual_now: Arc::default(),
        })
    }

    /// The P4Runtime device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The switch.
    pub fn switch(&self) -> &Arc<Switch> {
        self.device.switch()
    }

    /// The ports and their counters.
    pub fn ports(&self) -> &[PortReport] {
        &self.reports
    }

    /// The gRPC service in virtual time: its clock is the time of the latest
    /// [`step`](Self::step).
    pub fn service(&self) -> P4RuntimeService {
        let now = Arc::clone(&self.virtual_now);
        let clock = Clock::from_fn(move || Duration::from_nanos(now.load(Ordering::Acquire)));
        P4RuntimeService::new(Arc::clone(&self.device), clock)
    }

    /// Moves everything that waits at time `now` (the time since the switch started, never less
    /// than in an earlier call): frames at ports, packets of controllers, digests, idle timeouts.
    pub fn step(&mut self, now: Duration) -> Step {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.virtual_now.store(nanos, Ordering::Release);
        let frames = self.pumps.iter_mut().map(|pump| pump.drain(now)).sum();
        Step {
            frames,
            next: self.device.poll(now),
        }
    }

    /// Gives the switch its threads.
    ///
    /// # Errors
    /// [`RuntimeError::System`].
    pub fn start(self) -> Result<RunningRuntime, RuntimeError> {
        let start = Instant::now();
        self.device.start_at(unix_time());
        let stop = Arc::new(Stop::new()?);
        let mut threads = Vec::new();

        let (device, stopped) = (Arc::clone(&self.device), Arc::clone(&stop));
        let notifier = std::thread::Builder::new()
            .name("sim-notify".to_owned())
            .spawn(move || notify(&device, start, &stopped))?;
        let waker = Waker::new(notifier.thread().clone());
        let wake = {
            let waker = Arc::clone(&waker);
            move || waker.wake()
        };
        stop.set_waker(Arc::clone(&waker));
        self.device.switch().on_digest(wake.clone());
        self.device.on_wake(wake);
        threads.push(notifier);

        for (index, mut pump) in self.pumps.into_iter().enumerate() {
            let stopped = Arc::clone(&stop);
            let thread = std::thread::Builder::new()
                .name(format!("sim-packets-{index}"))
                .spawn(move || pump.run(start, &stopped))
                .inspect_err(|_| stop.stop())?;
            threads.push(thread);
        }
        Ok(RunningRuntime {
            device: self.device,
            reports: self.reports,
            start,
            stop,
            threads,
        })
    }
}

/// A switch that runs until it is shut down or dropped.
pub struct RunningRuntime {
    device: Arc<Device>,
    reports: Vec<PortReport>,
    start: Instant,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

impl RunningRuntime {
    /// The P4Runtime device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The switch.
    pub fn switch(&self) -> &Arc<Switch> {
        self.device.switch()
    }

    /// The ports and their counters.
    pub fn ports(&self) -> &[PortReport] {
        &self.reports
    }

    /// The time since the switch started, as its packets see it.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The gRPC service.
    pub fn service(&self) -> P4RuntimeService {
        P4RuntimeService::new(Arc::clone(&self.device), Clock::since(self.start))
    }

    /// Ends the threads and closes the ports; packets in work are finished.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the switch had panicked");
            }
        }
    }
}

impl Drop for RunningRuntime {
    fn drop(&mut self) {
        self.end();
    }
}

/// The time since the Unix epoch; zero on a machine whose clock is before it.
#[expect(
    clippy::disallowed_methods,
    reason = "P4Runtime's timestamps are wall-clock times; nothing here is timed by it"
)]
fn unix_time() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
