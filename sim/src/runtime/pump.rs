//! Moves frames: a group of ports and the worker that serves them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outlets::Outlets;
use super::stop::Stop;
use crate::ports::sys::PollSet;
use crate::ports::{NumberedPort, Port};
use crate::{Switch, Worker};

/// How long a worker whose ports have nothing looks again before it sleeps: about what falling
/// asleep and being woken costs.
const SPIN: Duration = Duration::from_micros(50);
/// Rounds without a frame after which a port is only asked when its descriptor says so.
const PATIENCE: u16 = 256;
/// Rounds after which a busy worker looks at the descriptors of the quiet ports.
const LOOK: u32 = 16;

/// One group of ports and the worker that serves them.
pub(super) struct Pump {
    worker: Worker,
    switch: Arc<Switch>,
    budget: usize,
    /// How long to look again without frames before sleeping.
    spin: Duration,
    places: Vec<Place>,
    outlets: Outlets,
}

struct Place {
    number: u32,
    port: Box<dyn Port>,
    /// Its receiving side failed for good.
    lost: bool,
    up: bool,
    /// Rounds in which it will still be asked unprompted.
    credit: u16,
}

impl Place {
    fn lose(&mut self, error: &std::io::Error) {
        let (port, spec) = (self.number, self.port.spec());
        tracing::error!(port, %spec, %error, "the port is lost");
        self.lost = true;
    }
}

impl Pump {
    /// A worker for these ports that takes up to `budget` frames at a time from each.
    pub(super) fn new(
        worker: Worker,
        switch: Arc<Switch>,
        (budget, spin): (usize, Option<Duration>),
        ports: Vec<NumberedPort>,
        outlets: Outlets,
    ) -> Self {
        let place = |(number, port): NumberedPort| Place {
            number,
            up: true,
            port,
            lost: false,
            // Frames may have come before anybody looked.
            credit: PATIENCE,
        };
        Pump {
            worker,
            switch,
            budget: budget.max(1),
            spin: spin.unwrap_or_else(|| {
                // With one CPU, whoever would send something cannot while this thread looks for it.
                let alone = std::thread::available_parallelism().is_ok_and(|n| n.get() == 1);
                if alone { Duration::ZERO } else { SPIN }
            }),
            places: ports.into_iter().map(place).collect(),
            outlets,
        }
    }

    /// Moves frames until none waits, all of them at this time; gives their number.
    pub(super) fn drain(&mut self, now: Duration) -> usize {
        let mut frames = 0;
        loop {
            let places = 0..self.places.len();
            let turn: usize = places.map(|place| self.turn(place, &|| now)).sum();
            frames += turn;
            if turn == 0 {
                return frames;
            }
        }
    }

    /// Moves one batch from one place; gives the number of frames.
    ///
    /// Each frame's time is read when the frame is taken, so that it is never before the frame came,
    /// however long the thread was kept from running within the batch. A program that compares it with
    /// a deadline relies on that.
    fn turn(&mut self, place: usize, clock: &impl Fn() -> Duration) -> usize {
        let Pump {
            worker, outlets, ..
        } = self;
        let Some(place) = self.places.get_mut(place).filter(|place| !place.lost) else {
            return 0;
        };
        let number = place.number;
        let mut frames = 0;
        let result = place.port.receive(self.budget, &mut |frame| {
            worker.process(clock(), number, frame, outlets);
            frames += 1;
        });
        outlets.flush();
        if let Err(error) = result {
            place.lose(&error);
        }
        if place.port.is_up() != place.up {
            place.up = !place.up;
            self.switch.set_port_up(number, place.up);
        }
        frames
    }

    /// Serves the places until told to stop; sleeps while there is nothing to do.
    pub(super) fn run(&mut self, start: Instant, stop: &Stop) {
        let mut waiting = PollSet::default();
        for place in &self.places {
            waiting.add(place.port.wake_fd());
        }
        waiting.add(stop.wake_fd());
        let mut last_frame = start.elapsed();
        let mut round = 0_u32;
        while !stop.is_stopped() {
            let now = start.elapsed();
            let moved = self.round(&|| start.elapsed(), &mut waiting);
            round = round.wrapping_add(1);
            if moved > 0 {
                last_frame = now;
            }
            let timeout = if moved > 0 || now.saturating_sub(last_frame) < self.spin {
                if !round.is_multiple_of(LOOK) {
                    std::hint::spin_loop();
                    continue;
                }
                Some(Duration::ZERO)
            } else {
                let times = self.places.iter().filter(|place| !place.lost);
                times.filter_map(|place| place.port.wake_after()).min()
            };
            self.wait(&mut waiting, timeout);
        }
    }

    /// Gives each place that may have frames its turn; gives the number of frames.
    fn round(&mut self, clock: &impl Fn() -> Duration, waiting: &mut PollSet) -> usize {
        let mut moved = 0;
        for index in 0..self.places.len() {
            if self.places[index].credit == 0 {
                continue;
            }
            let frames = self.turn(index, clock);
            moved += frames;
            let place = &mut self.places[index];
            place.credit = match frames {
                _ if place.lost => {
                    waiting.forget(index);
                    0
                }
                0 => place.credit - 1,
                _ => PATIENCE,
            };
        }
        moved
    }

    /// Waits until something happens at a place, and mends what failed.
    fn wait(&mut self, waiting: &mut PollSet, timeout: Option<Duration>) {
        match waiting.wait(timeout) {
            // Time to look at those that asked for it.
            Ok(0) if timeout != Some(Duration::ZERO) => {
                for index in 0..self.places.len() {
                    if self.places[index].port.wake_after().is_some() {
                        self.places[index].credit = 1;
                        if !self.places[index].port.is_up() {
                            self.recover(index);
                        }
                    }
                }
            }
            Ok(_) => {
                for event in waiting.events() {
                    // The place behind the last is the order to stop.
                    let Some(place) = self.places.get_mut(event.place) else {
                        continue;
                    };
                    place.credit = PATIENCE;
                    if event.failed {
                        self.recover(event.place);
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(%error, "cannot wait for ports: looking at all of them");
                for place in &mut self.places {
                    place.credit = PATIENCE;
                }
            }
        }
    }

    fn recover(&mut self, index: usize) {
        let Some(place) = self.places.get_mut(index).filter(|place| !place.lost) else {
            return;
        };
        if let Err(error) = place.port.recover() {
            place.lose(&error);
        }
        // The turn that follows tells the switch whether the port is up, and forgets a lost one.
        place.credit = place.credit.max(1);
    }
}
