//! Everything that is under way, and in which order it arrives.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::seat::Who;

/// Virtual time: milliseconds since the history began.
pub(super) type Millis = u64;

/// One direction of one way. What enters it leaves it in the same order; between two of them there
/// is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From a client to the switch.
    Up(u8),
    /// From the switch to a client.
    Down(u8),
    /// From the switch to the broker.
    ToBroker,
    /// From the broker to the switch.
    FromBroker,
    /// From the broker to a controller.
    ContractDown(Who),
    /// From a controller to the broker.
    ContractUp(Who),
    /// From a controller to the switch: requests.
    Requests(Who),
    /// From the switch to a controller: answers to requests.
    Answers(Who),
    /// From a controller to the switch: messages of the stream.
    StreamIn(Who),
    /// From the switch to a controller: messages of the stream.
    StreamOut(Who),
}

impl Way {
    /// Whether frames of clients and of the broker take it.
    pub(super) fn carries_frames(self) -> bool {
        matches!(
            self,
            Way::Up(_) | Way::Down(_) | Way::ToBroker | Way::FromBroker
        )
    }
}

struct Queue<T> {
    items: VecDeque<(Millis, T)>,
    last: Millis,
    stalled_until: Millis,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue {
            items: VecDeque::new(),
            last: 0,
            stalled_until: 0,
        }
    }
}

impl<T> Queue<T> {
    fn due(&self) -> Option<Millis> {
        let (due, _) = self.items.front()?;
        Some((*due).max(self.stalled_until))
    }
}

/// All ways.
pub(super) struct Links<T> {
    ways: BTreeMap<Way, Queue<T>>,
    random: StdRng,
}

impl<T> Links<T> {
    pub(super) fn new(seed: u64) -> Self {
        Links {
            ways: BTreeMap::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Something sets out, and takes up to `most`.
    pub(super) fn send(&mut self, now: Millis, way: Way, most: u16, item: T) {
        let latency = match most {
            0 => 0,
            // Most often it takes no time: then everything happens at once, in any order.
            most => [0, 0, self.random.random_range(0..=most)][self.random.random_range(0..3)],
        };
        let queue = self.ways.entry(way).or_default();
        let due = (now + Millis::from(latency)).max(queue.last);
        queue.last = due;
        queue.items.push_back((due, item));
    }

    /// What arrives next at `now`, if anything does.
    pub(super) fn arrive(&mut self, now: Millis) -> Option<(Way, T)> {
        let due = |queue: &Queue<T>| queue.due().is_some_and(|due| due <= now);
        let ready: Vec<Way> = self
            .ways
            .iter()
            .filter(|(_, queue)| due(queue))
            .map(|(way, _)| *way)
            .collect();
        let way = match ready.len() {
            0 => return None,
            1 => ready[0],
            many => ready[self.random.random_range(0..many)],
        };
        let (_, item) = self.ways.get_mut(&way)?.items.pop_front()?;
        Some((way, item))
    }

    /// When the next thing arrives.
    pub(super) fn next(&self) -> Option<Millis> {
        self.ways.values().filter_map(Queue::due).min()
    }

    /// Whether no frame is under way.
    pub(super) fn is_quiet(&self) -> bool {
        let mut frames = self.ways.iter().filter(|(way, _)| way.carries_frames());
        frames.all(|(_, queue)| queue.items.is_empty())
    }

    /// Nothing arrives on this way before `until`.
    pub(super) fn stall(&mut self, way: Way, until: Millis) {
        let queue = self.ways.entry(way).or_default();
        queue.stalled_until = queue.stalled_until.max(until);
    }

    /// What is on this way is lost.
    pub(super) fn lose(&mut self, way: Way) -> Vec<T> {
        match self.ways.get_mut(&way) {
            Some(queue) => queue.items.drain(..).map(|(_, item)| item).collect(),
            None => Vec::new(),
        }
    }
}
