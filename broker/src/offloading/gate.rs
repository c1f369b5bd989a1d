//! Answers that wait until the data plane does what they say: install, then acknowledge.
//!
//! ```text
//! request ─ the intent changes to revision R ─ held ─┬─ Installed{≥ R} ─────────► sent
//!                                                    └─ no lease can be live ──► sent, R is *released*
//! ```
//! Past the lease the data plane offloads nothing, so what it holds does not matter. It may offload
//! again only after it has installed what was released meanwhile (see `lease`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mqttsn::MsgId;
use mqttsn::packet::{Regack, Suback};
use offload::{Revision, SessionId, TopicIndex};

use crate::transmit::Peer;

/// An answer to a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The session is set up.
    Connack(SessionId),
    /// The topic id is given out.
    Regack(SessionId, Regack, TopicIndex),
    /// The subscription stands.
    Suback(SessionId, Suback, Box<str>),
    /// The subscription is gone.
    Unsuback(SessionId, MsgId),
    /// The client is heard.
    Pingresp(Peer),
    /// The connection has ended, or the sleep begins.
    Disconnect(Peer),
}

#[derive(Debug)]
struct Held {
    revision: Revision,
    since: Instant,
    reply: Reply,
}

/// The answers that wait, in the order of their requests.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Of the present call; their revision is not known yet.
    fresh: Vec<Reply>,
    held: VecDeque<Held>,
    /// The greatest revision that was acknowledged without being installed.
    released: Revision,
}

/// An answer to send now.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) reply: Reply,
    /// It was sent because no lease could be live.
    pub(crate) by_lapse: bool,
}

impl Gate {
    /// The answer is to be sent when the changes made so far are in force.
    pub(crate) fn push(&mut self, reply: Reply) {
        self.fresh.push(reply);
    }

    /// All changes of the present call are part of this revision. The number of answers that wait
    /// for something.
    pub(crate) fn seal(&mut self, now: Instant, revision: Revision, installed: Revision) -> u64 {
        if self.fresh.is_empty() {
            return 0;
        }
        let fresh = self.fresh.len() as u64;
        let held = self.fresh.drain(..).map(|reply| Held {
            revision,
            since: now,
            reply,
        });
        self.held.extend(held);
        if revision > installed { fresh } else { 0 }
    }

    /// The next answer that may be sent. `live` says whether the data plane may be offloading.
    pub(crate) fn open(&mut self, installed: Revision, live: bool) -> Option<Opened> {
        let front = self.held.front()?;
        let by_lapse = front.revision > installed;
        if by_lapse && live {
            return None;
        }
        if by_lapse {
            self.released = self.released.max(front.revision);
        }
        let Held { reply, .. } = self.held.pop_front()?;
        Some(Opened { reply, by_lapse })
    }

    /// Takes back the answers that this peer waits for: it has started over.
    pub(crate) fn forget_disconnect(&mut self, peer: &Peer) {
        self.held
            .retain(|held| !matches!(&held.reply, Reply::Disconnect(to) if to == peer));
    }

    /// The greatest revision that was acknowledged without being installed.
    pub(crate) fn released(&self) -> Revision {
        self.released
    }

    /// Whether an answer has waited longer than `bound`.
    pub(crate) fn is_overdue(&self, now: Instant, bound: Duration) -> bool {
        self.held
            .front()
            .is_some_and(|held| now.saturating_duration_since(held.since) > bound)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}
