//! The switch without a network: frames from memory and from capture files, and what a second worker
//! adds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;
use sim::ports::{Port, PortCounters, PortSender, PortSpec, open_all};

use crate::bed::start;
use crate::control::Controller;
use crate::load::publish;

const FRAMES: usize = 1_000_000;

/// The same frame many times.
struct Repeat {
    frame: Vec<u8>,
    left: usize,
    wake: EventFd,
    counters: Arc<PortCounters>,
}

impl Repeat {
    fn boxed(flow: u8, times: usize) -> Box<dyn Port> {
        Box::new(Repeat {
            frame: publish(flow),
            left: times,
            wake: EventFd::from_value(1).expect("a descriptor"),
            counters: Arc::default(),
        })
    }
}

/// Takes everything and keeps nothing.
struct Nowhere;

impl PortSender for Nowhere {
    fn send(&mut self, head: &[u8], payload: &[u8]) {
        std::hint::black_box((head, payload));
    }
}

impl Port for Repeat {
    fn spec(&self) -> PortSpec {
        PortSpec::Mem("repeat".to_owned())
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn receive(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let now = budget.min(self.left);
        (0..now).for_each(|_| each(&self.frame));
        self.left -= now;
        Ok(now)
    }

    fn sender(&self) -> Box<dyn PortSender> {
        Box::new(Nowhere)
    }

    fn counters(&self) -> Arc<PortCounters> {
        Arc::clone(&self.counters)
    }
}

/// A port that gives its frames from a signal on and says when all were taken.
struct Gated {
    inner: Box<dyn Port>,
    open: Arc<AtomicBool>,
    left: usize,
    done: Option<Sender<Instant>>,
}

impl Port for Gated {
    fn spec(&self) -> PortSpec {
        self.inner.spec()
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.inner.wake_fd()
    }

    fn receive(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        if !self.open.load(Ordering::Acquire) {
            return Ok(0);
        }
        let shown = self.inner.receive(budget, each)?;
        self.left -= shown;
        if self.left == 0
            && let Some(done) = self.done.take()
        {
            let _ = done.send(Instant::now());
        }
        Ok(shown)
    }

    fn sender(&self) -> Box<dyn PortSender> {
        self.inner.sender()
    }

    fn counters(&self) -> Arc<PortCounters> {
        self.inner.counters()
    }
}

/// Runs the flows of `inputs` to their end and gives the frames a second.
fn run_flows(
    inputs: Vec<(u32, Box<dyn Port>)>,
    outputs: Vec<(u32, Box<dyn Port>)>,
    workers: usize,
    frames: usize,
) -> f64 {
    let open = Arc::new(AtomicBool::new(false));
    let (done, all_done) = channel();
    let flows = inputs.len();
    let gate = |(number, inner): (u32, Box<dyn Port>)| {
        let gated = Gated {
            inner,
            open: Arc::clone(&open),
            left: frames,
            done: Some(done.clone()),
        };
        let gated: Box<dyn Port> = Box::new(gated);
        (number, gated)
    };
    // Inputs first: they are dealt out to the workers in turn, one flow to each.
    let ports = inputs.into_iter().map(gate).chain(outputs).collect();
    let running = start(ports, workers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let service = running.service();
    runtime.spawn(sim::server::serve_tcp(
        service,
        listener,
        std::future::pending(),
    ));
    let controller = Controller::connect_to(&address, 1, flows as u64);
    let before = running.switch().stats().emitted;
    let start = Instant::now();
    open.store(true, Ordering::Release);
    let mut end = start;
    for _ in 0..flows {
        let one = all_done.recv_timeout(Duration::from_secs(60));
        end = end.max(one.expect("all frames pass within a minute"));
    }
    let emitted = running.switch().stats().emitted - before;
    assert_eq!(
        emitted,
        (flows * frames) as u64,
        "every PUBLISH is delivered"
    );
    drop(controller);
    running.shutdown();
    (flows * frames) as f64 / (end - start).as_secs_f64()
}

fn in_memory(flows: u8, workers: usize) -> f64 {
    let inputs = (0..flows).map(|f| (1 + 2 * u32::from(f), Repeat::boxed(f, FRAMES)));
    let outputs = (0..flows).map(|f| (2 + 2 * u32::from(f), Repeat::boxed(f, 0)));
    run_flows(inputs.collect(), outputs.collect(), workers, FRAMES)
}

fn through_files() -> f64 {
    let frames = 200_000;
    let directory = tempfile::tempdir().expect("room on the disk");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let frame = publish(0);
    let len = (frame.len() as u32).to_le_bytes();
    let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    for _ in 0..frames {
        bytes.extend([0; 8]);
        bytes.extend(len);
        bytes.extend(len);
        bytes.extend(&frame);
    }
    std::fs::write(at("in"), bytes).expect("room on the disk");
    let ports = [
        format!("1=pcap:{}", at("in")),
        format!("2=pcap:,{}", at("out")),
    ];
    let ports: Vec<_> = ports.iter().map(|p| p.parse().expect("valid")).collect();
    let mut inputs = open_all(&ports).expect("they open");
    let outputs = inputs.split_off(1);
    run_flows(inputs, outputs, 1, frames)
}

/// Prints the figures, each the median of three taken in turns.
pub(crate) fn run() {
    println!("\n## in one process, PUBLISH of 100 bytes to one subscriber");
    let mut rows = [const { Vec::new() }; 3];
    for _ in 0..3 {
        rows[0].push(in_memory(2, 1));
        rows[1].push(in_memory(2, 2));
        rows[2].push(through_files());
    }
    let [one, two, files] = rows.map(crate::median);
    println!("memory, 1 worker   {:>6.2} M/s", one / 1e6);
    println!(
        "memory, 2 workers  {:>6.2} M/s: {:.2} x",
        two / 1e6,
        two / one
    );
    println!("capture to capture {:>6.2} M/s", files / 1e6);
}
