//! Runs a switch: frames from its ports through its pipeline to its ports and its controllers.
//!
//! Two ways to drive it. [`Runtime::start`] gives it threads: one moves packets and sleeps when
//! there are none, one sends digests and idle-timeout notifications. [`Runtime::step`] gives it
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::ports::{Batch, MemPort, Port, PortCounters, PortSpec, mem_pair};
use crate::server::{Clock, Device, DeviceConfig, P4RuntimeService};
use crate::{Output, Switch, SwitchConfig, Worker};

/// The CPU port unless configured otherwise, as BMv2 is usually started (`--cpu-port 510`).
pub const DEFAULT_CPU_PORT: u32 = 510;
/// v1model's ports have 9 bits.
const PORTS: usize = 512;
/// Packets of controllers that wait for the packet thread.
const CPU_QUEUE: usize = 4096;
const NO_PORT: u16 = u16::MAX;
const STOP: u64 = u64::MAX;

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
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        RuntimeConfig {
            switch: SwitchConfig::default(),
            device: DeviceConfig::default(),
            cpu_port: DEFAULT_CPU_PORT,
            batch: 64,
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
    pump: Pump,
    reports: Vec<PortReport>,
    virtual_now: Arc<AtomicU64>,
}

impl Runtime {
    /// A switch without a pipeline, with these ports (number and port).
    ///
    /// # Errors
    /// [`RuntimeError::DuplicatePort`], [`RuntimeError::PortOutOfRange`].
    pub fn new(
        config: RuntimeConfig,
        ports: Vec<(u32, Box<dyn Port>)>,
    ) -> Result<Self, RuntimeError> {
        let switch = Switch::new(config.switch);
        let (cpu, link) = mem_pair("cpu", CPU_QUEUE);
        let device = Device::new(config.device, Arc::clone(&switch), link);
        let report = |(number, port): &(u32, Box<dyn Port>)| PortReport {
            number: *number,
            spec: port.spec(),
            counters: port.counters(),
        };
        let reports = ports.iter().map(report).collect();
        let worker = switch.worker();
        let outlets = Outlets::new(config.cpu_port, ports, Arc::clone(&device))?;
        let batch = Batch::new(config.batch.max(1));
        let pump = Pump {
            worker,
            batch,
            cpu,
            outlets,
        };
        Ok(Runtime {
            device,
            pump,
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
        let mut frames = 0;
        loop {
            let turn: usize = (0..self.pump.places())
                .map(|i| self.pump.turn(i, now).0)
                .sum();
            frames += turn;
            if turn == 0 {
                break;
            }
        }
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
        let stop = Arc::new(Stop::new()?);
        let epoll = self.pump.watch(&stop)?;
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

        let (mut pump, stopped) = (self.pump, Arc::clone(&stop));
        threads.push(
            std::thread::Builder::new()
                .name("sim-packets".to_owned())
                .spawn(move || pump.run(&epoll, start, &stopped))
                .inspect_err(|_| stop.stop())?,
        );
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

/// The ports as frames leave through them.
struct Outlets {
    cpu_port: u32,
    /// By port number: the place in `ports`, or [`NO_PORT`].
    place: [u16; PORTS],
    ports: Vec<Place>,
    device: Arc<Device>,
}

struct Place {
    number: u32,
    port: Box<dyn Port>,
    /// Its receiving side failed for good.
    lost: bool,
}

impl Outlets {
    fn new(
        cpu_port: u32,
        ports: Vec<(u32, Box<dyn Port>)>,
        device: Arc<Device>,
    ) -> Result<Self, RuntimeError> {
        let mut place = [NO_PORT; PORTS];
        let mut places = Vec::with_capacity(ports.len());
        for (number, port) in ports {
            let slot = place
                .get_mut(number as usize)
                .filter(|_| number < 511)
                .ok_or(RuntimeError::PortOutOfRange(number))?;
            if *slot != NO_PORT || number == cpu_port {
                return Err(RuntimeError::DuplicatePort(number));
            }
            // At most 511 ports, as just checked.
            *slot = places.len() as u16;
            places.push(Place {
                number,
                port,
                lost: false,
            });
        }
        Ok(Outlets {
            cpu_port,
            place,
            ports: places,
            device,
        })
    }
}

impl Output for Outlets {
    fn emit(&mut self, port: u32, head: &[u8], payload: &[u8]) {
        if port == self.cpu_port {
            self.device.packet_in(head, payload);
            return;
        }
        let place = self.place.get(port as usize).copied().unwrap_or(NO_PORT);
        // A port that is not there is a cable that leads nowhere.
        if let Some(place) = self.ports.get_mut(usize::from(place)) {
            place.port.send(head, payload);
        }
    }
}

/// One group of ports and the worker that serves them.
struct Pump {
    worker: Worker,
    batch: Batch,
    cpu: MemPort,
    outlets: Outlets,
}

impl Pump {
    /// Places to take frames from: the ports, and the CPU port last.
    fn places(&self) -> usize {
        self.outlets.ports.len() + 1
    }

    /// Moves one batch from one place; gives the number of frames and whether more may wait.
    fn turn(&mut self, place: usize, now: Duration) -> (usize, bool) {
        self.batch.clear();
        let (number, result) = match self.outlets.ports.get_mut(place) {
            Some(place) if place.lost => return (0, false),
            Some(place) => (place.number, place.port.receive(&mut self.batch)),
            None => (self.outlets.cpu_port, self.cpu.receive(&mut self.batch)),
        };
        if let (Err(error), Some(place)) = (result, self.outlets.ports.get_mut(place)) {
            tracing::error!(port = number, spec = %place.port.spec(), %error, "the port is lost");
            place.lost = true;
        }
        for frame in self.batch.frames() {
            self.worker.process(now, number, frame, &mut self.outlets);
        }
        if !self.batch.is_empty() {
            self.outlets
                .ports
                .iter_mut()
                .for_each(|place| place.port.flush());
        }
        (self.batch.len(), self.batch.room() == 0)
    }

    /// Watches all places and `stop`; the data of an event is the place, [`STOP`] for `stop`.
    fn watch(&self, stop: &Stop) -> io::Result<Epoll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let event = |data| EpollEvent::new(EpollFlags::EPOLLIN, data);
        for (index, place) in self.outlets.ports.iter().enumerate() {
            epoll.add(place.port.wake_fd(), event(index as u64))?;
        }
        epoll.add(self.cpu.wake_fd(), event(self.outlets.ports.len() as u64))?;
        epoll.add(&stop.event, event(STOP))?;
        Ok(epoll)
    }

    /// Serves the places until told to stop; sleeps while there is nothing to do.
    fn run(&mut self, epoll: &Epoll, start: Instant, stop: &Stop) {
        // Frames may have come before anybody watched, and full batches leave some behind.
        let mut ready = vec![true; self.places()];
        while !stop.is_stopped() {
            for (place, ready) in ready.iter_mut().enumerate() {
                if !std::mem::take(ready) {
                    continue;
                }
                let (_, more) = self.turn(place, start.elapsed());
                *ready = more;
                if let Some(place) = self.outlets.ports.get(place)
                    && place.lost
                {
                    // Already gone from the system's side when the descriptor is.
                    let _ = epoll.delete(place.port.wake_fd());
                }
            }
            let hurry = ready.contains(&true);
            let timeout = if hurry {
                EpollTimeout::ZERO
            } else {
                EpollTimeout::NONE
            };
            let mut events = [EpollEvent::empty(); 64];
            match epoll.wait(&mut events, timeout) {
                Ok(count) => {
                    for event in &events[..count] {
                        if let Some(ready) = ready.get_mut(event.data() as usize) {
                            *ready = true;
                        }
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot wait for ports: looking at all of them");
                    ready.fill(true);
                }
            }
        }
    }
}

/// Sends digests and notifications when they are due.
fn notify(device: &Device, start: Instant, stop: &Stop) {
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
struct Waker {
    thread: Thread,
    pending: AtomicBool,
}

impl Waker {
    fn new(thread: Thread) -> Arc<Self> {
        Arc::new(Waker {
            thread,
            pending: AtomicBool::new(false),
        })
    }

    fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Tells the threads to end.
struct Stop {
    stopped: AtomicBool,
    event: EventFd,
    waker: parking_lot::Mutex<Option<Arc<Waker>>>,
}

impl Stop {
    fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)?;
        Ok(Stop {
            stopped: AtomicBool::new(false),
            event,
            waker: parking_lot::Mutex::default(),
        })
    }

    fn set_waker(&self, waker: Arc<Waker>) {
        *self.waker.lock() = Some(waker);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// To be called by the notifying thread before it looks: a later wake counts again.
    fn rearm(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.pending.swap(false, Ordering::AcqRel);
        }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Only a counter at its maximum refuses, and then the descriptor is readable anyway.
        let _ = self.event.write(1);
        if let Some(waker) = &*self.waker.lock() {
            waker.thread.unpark();
        }
    }
}
