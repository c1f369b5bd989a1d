//! Moves frames: a group of ports and the worker that serves them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::RuntimeError;
use super::stop::Stop;
use crate::ports::{Batch, MemPort, Port};
use crate::server::Device;
use crate::{Output, Worker};

/// v1model's ports have 9 bits.
const PORTS: usize = 512;
const NO_PORT: u16 = u16::MAX;
const STOP: u64 = u64::MAX;

/// The ports as frames leave through them.
pub(super) struct Outlets {
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
    pub(super) fn new(
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
pub(super) struct Pump {
    worker: Worker,
    batch: Batch,
    cpu: MemPort,
    outlets: Outlets,
}

impl Pump {
    /// A worker for these ports that takes up to `batch` frames at a time.
    pub(super) fn new(worker: Worker, batch: usize, cpu: MemPort, outlets: Outlets) -> Self {
        Pump {
            worker,
            batch: Batch::new(batch.max(1)),
            cpu,
            outlets,
        }
    }

    /// Moves frames until none waits; gives their number.
    pub(super) fn drain(&mut self, now: Duration) -> usize {
        let mut frames = 0;
        loop {
            let turn: usize = (0..self.places())
                .map(|place| self.turn(place, now).0)
                .sum();
            frames += turn;
            if turn == 0 {
                return frames;
            }
        }
    }

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
    pub(super) fn watch(&self, stop: &Stop) -> io::Result<Epoll> {
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
    pub(super) fn run(&mut self, epoll: &Epoll, start: Instant, stop: &Stop) {
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
