//! The driver's threads: one for each socket that receives, and the clock.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mmsg::Receiving;
use tokio::sync::mpsc;

use super::DriverError;
use super::io::IoConfig;
use super::shared::Shared;
use super::sockets::wake;
use crate::transmit::Source;

/// The running threads. They stop when this is dropped.
#[derive(Debug)]
pub(super) struct Threads {
    shared: Arc<Shared>,
    sockets: Vec<Arc<UdpSocket>>,
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
    ended: (
        mpsc::UnboundedSender<DriverError>,
        mpsc::UnboundedReceiver<DriverError>,
    ),
}

impl Threads {
    /// None yet.
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Threads {
            shared: Arc::clone(shared),
            sockets: Vec::new(),
            stop: Arc::default(),
            handles: Vec::new(),
            ended: mpsc::unbounded_channel(),
        }
    }

    /// Starts the clock.
    pub(super) fn start_clock(&mut self) -> Result<(), DriverError> {
        let shared = Arc::clone(&self.shared);
        self.start("broker clock".into(), move || {
            shared.timer.run(&shared);
            Ok(())
        })
    }

    /// Starts a worker.
    pub(super) fn start_worker(
        &mut self,
        socket: &Arc<UdpSocket>,
        config: &IoConfig,
    ) -> Result<(), DriverError> {
        let mut worker = Worker {
            shared: Arc::clone(&self.shared),
            socket: Arc::clone(socket),
            stop: Arc::clone(&self.stop),
            spin: config.spin(),
            receiving: Receiving::new(config.batch),
        };
        let name = format!("broker {}", self.sockets.len());
        self.sockets.push(Arc::clone(socket));
        self.start(name, move || worker.run())
    }

    fn start(
        &mut self,
        name: String,
        work: impl FnOnce() -> Result<(), DriverError> + Send + 'static,
    ) -> Result<(), DriverError> {
        let ended = Ended {
            name: name.clone(),
            to: self.ended.0.clone(),
        };
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                // Dropped by a panic, it tells that.
                let ended = ended;
                if let Err(error) = work() {
                    // Nobody listens when all is over anyway.
                    let _ = ended.to.send(error);
                }
            })
            .map_err(DriverError::Thread)?;
        self.handles.push(handle);
        Ok(())
    }

    /// Waits until a thread fails.
    pub(super) async fn failed(&mut self) -> DriverError {
        match self.ended.1.recv().await {
            Some(error) => error,
            // There is always the sender kept here.
            None => std::future::pending().await,
        }
    }

    fn tell_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.shared.timer.stop();
        for socket in &self.sockets {
            wake(socket);
        }
    }

    /// Ends all threads and waits for them.
    pub(super) async fn join(mut self) {
        self.tell_to_stop();
        let handles = std::mem::take(&mut self.handles);
        let joined = tokio::task::spawn_blocking(move || {
            for handle in handles {
                // A panic was told by `Ended`.
                let _ = handle.join();
            }
        });
        let _ = joined.await;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

/// Tells when its thread panics.
struct Ended {
    name: String,
    to: mpsc::UnboundedSender<DriverError>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::mem::take(&mut self.name);
            let _ = self.to.send(DriverError::Panicked { thread });
        }
    }
}

/// Receives from one socket, and sends what follows.
struct Worker {
    shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    spin: Duration,
    receiving: Receiving,
}

impl Worker {
    fn run(&mut self) -> Result<(), DriverError> {
        while !self.stop.load(Ordering::Acquire) {
            match self.receive() {
                Ok(()) => {
                    self.count();
                    let datagrams = self.receiving.datagrams();
                    let from_udp = datagrams.map(|(from, bytes)| (Source::from(from), bytes));
                    if !self.shared.handle(from_udp) {
                        return Ok(());
                    }
                }
                Err(error) if super::is_passing(&error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tracing::debug!(%error, "a datagram of before did not arrive");
                    }
                }
                Err(source) => {
                    let local = self.socket.local_addr();
                    return Err(DriverError::Receive {
                        local: local.map_or_else(|_| "?".to_owned(), |local| local.to_string()),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// The next batch.
    fn receive(&mut self) -> io::Result<()> {
        let socket = self.socket.as_fd();
        if !self.spin.is_zero() {
            let start = Instant::now();
            while start.elapsed() < self.spin {
                match self.receiving.receive(socket, false) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => return received,
                }
            }
        }
        self.receiving.receive(socket, true)
    }

    fn count(&mut self) {
        let counters = &self.shared.ways.counters;
        counters.receive_calls.add(1);
        counters.received.add(self.receiving.count() as u64);
        match self.receiving.take_lost() {
            0 => {}
            lost => counters.lost_by_system.add(lost.into()),
        }
    }
}
