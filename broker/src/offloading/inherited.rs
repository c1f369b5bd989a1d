//! Refusals that outlive the controller that spoke them.
//!
//! What had no room for one controller has none for the next, as a rule. If its session were welcome at once,
//! the topics would change, and change back when it is refused again: all for nothing, each time a controller
//! takes over or starts anew. A successor that knows better says so; else it is tried again after a while,
//! as a controller does itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use offload::{Refusal, SessionId};

/// The longest time after which a controller tries again what it refused for want of room.
const AGAIN: Duration = Duration::from_secs(30);

/// Sessions refused by a controller before the present one, of which that has not spoken.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sessions: BTreeSet<SessionId>,
    /// When they are welcome again. Not moved by the next controller's coming.
    until: Option<Instant>,
}

impl Inherited {
    /// A new controller is there. Whether the session stays refused.
    pub(crate) fn keeps(&mut self, now: Instant, id: SessionId, why: &Refusal) -> bool {
        let keeps = matches!(why, Refusal::Capacity(_));
        if keeps {
            self.until.get_or_insert(now + AGAIN);
            self.sessions.insert(id);
        }
        keeps
    }

    /// The present controller has spoken of the session.
    pub(crate) fn spoken_of(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    /// Those that are welcome again now.
    pub(crate) fn due(&mut self, now: Instant) -> BTreeSet<SessionId> {
        match self.until {
            Some(until) if until <= now => {
                self.until = None;
                std::mem::take(&mut self.sessions)
            }
            _ => BTreeSet::new(),
        }
    }
}
