//! Wills (MQTT-SN 1.2 §6.3) and the dialogue that asks for one.
//!
//! ```text
//! CONNECT(Will) → WILLTOPICREQ ─ WILLTOPIC → WILLMSGREQ ─ WILLMSG → the session is set up
//!                      └─ WILLTOPIC, empty: no will ────────────────────────────▲
//! ```
//! Nothing of an earlier session changes before the dialogue is complete: a client that vanishes in
//! the middle of it has not connected.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use mqttsn::Qos;

use crate::transmit::Peer;

/// What to publish when the client is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: Box<str>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) payload: Box<[u8]>,
}

/// What a CONNECT does to the will that is stored (MQTT-SN 1.2 §6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WillData {
    /// Nothing: it did not ask for the dialogue.
    Kept,
    /// Takes its place, or deletes it.
    New(Option<Will>),
}

/// What a CONNECT asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectRequest {
    pub(crate) client_id: Box<str>,
    /// Who the transport says it is.
    pub(crate) identity: Option<Box<str>>,
    /// Whether it has proved that it is this client.
    pub(crate) proved: bool,
    pub(crate) clean: bool,
    pub(crate) keep_alive: Duration,
}

/// A CONNECT whose will is not complete.
#[derive(Debug)]
pub(crate) struct Dialogue {
    pub(crate) request: ConnectRequest,
    /// The will without its message, once WILLTOPIC has come.
    pub(crate) will: Option<Will>,
    number: u64,
}

/// The will dialogues under way, each for a bounded time.
#[derive(Debug, Default)]
pub(crate) struct Dialogues {
    by_peer: HashMap<Peer, Dialogue>,
    /// By deadline, since all get the same time; an entry whose number is not current is void.
    deadlines: VecDeque<(Instant, Peer, u64)>,
    last_number: u64,
}

impl Dialogues {
    pub(crate) fn len(&self) -> usize {
        self.by_peer.len()
    }

    /// Starts over for this peer.
    pub(crate) fn start(&mut self, peer: &Peer, request: ConnectRequest, deadline: Instant) {
        self.last_number += 1;
        let number = self.last_number;
        // The same CONNECT again may have been overtaken by the topic that answers the first.
        let same = self.by_peer.remove(peer).filter(|d| d.request == request);
        let dialogue = Dialogue {
            request,
            will: same.and_then(|dialogue| dialogue.will),
            number,
        };
        self.by_peer.insert(peer.clone(), dialogue);
        // One peer that starts over again and again must not grow the list.
        if self.deadlines.len() > 2 * self.by_peer.len() + 16 {
            self.deadlines.retain(|(_, peer, number)| {
                self.by_peer
                    .get(peer)
                    .is_some_and(|current| current.number == *number)
            });
        }
        self.deadlines.push_back((deadline, peer.clone(), number));
    }

    /// Ends the oldest dialogue.
    pub(crate) fn evict(&mut self) {
        while let Some((_, peer, number)) = self.deadlines.pop_front() {
            if self
                .by_peer
                .get(&peer)
                .is_some_and(|current| current.number == number)
            {
                self.by_peer.remove(&peer);
                return;
            }
        }
    }

    pub(crate) fn get_mut(&mut self, peer: &Peer) -> Option<&mut Dialogue> {
        self.by_peer.get_mut(peer)
    }

    pub(crate) fn finish(&mut self, peer: &Peer) -> Option<Dialogue> {
        self.by_peer.remove(peer)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|&(at, _, _)| at)
    }

    /// Ends the dialogues that took too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((at, _, _)) = self.deadlines.front() {
            if *at > now {
                break;
            }
            let Some((_, peer, number)) = self.deadlines.pop_front() else {
                break;
            };
            if self
                .by_peer
                .get(&peer)
                .is_some_and(|current| current.number == number)
            {
                self.by_peer.remove(&peer);
            }
        }
    }
}
