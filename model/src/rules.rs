//! How much of the world a check looks at, and what may be broken in it.

use crate::{CLIENTS, Clients};

/// A way to break the protocol, or something that it relies on. The checker must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// SUBACK, UNSUBACK and the DISCONNECT that starts a sleep do not wait.
    AckBeforeInstall,
    /// A group or row is deleted as soon as no row refers to it.
    NoDrain,
    /// The drain time counts from the plan and not from the write that leaves the group.
    DrainFromPlan,
    /// A replication id is given out again while its row is still on the switch.
    RidReusedEarly,
    /// A group is given another set while topics or packets still use it.
    GroupReusedEarly,
    /// All of a round is one batch.
    OneBatch,
    /// There are two generations, and they take turns.
    TwoGenerations,
    /// A set of subscribers may change under its generation.
    GenerationKept,
    /// The broker serves those whom the data plane does not serve now, whatever the tag says.
    HistoryIgnored,
    /// A superseded generation is forgotten at once.
    ForgottenEarly,
    /// A lease is granted though a revision has been waiting for longer than the overdue time.
    GrantWhileStale,
    /// A lease is granted though what was acknowledged without the switch is not installed.
    GrantWhileBehind,
    /// A lease is asked for and granted on a new link before its snapshot is installed.
    GrantBeforeSnapshot,
    /// A lease counts from the moment that the renewal reaches the switch.
    LateRenewalExtends,
    /// The broker takes its lease to be over when the switch may still live by it.
    BrokerClockAhead,
    /// A controller trusts that the switch is empty.
    NoReadBack,
    /// A write of a controller that is gone takes effect after the next one has read the switch.
    OrphanLandsLate,
    /// A packet from the broker overtakes copies that were decided before it.
    SwitchReorders,
}

/// A step of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// SUBSCRIBE with a filter that matches all of the client's topics.
    Subscribe,
    /// UNSUBSCRIBE of that filter.
    Unsubscribe,
    /// DISCONNECT with a duration.
    Sleep,
    /// PINGREQ of a sleeping client.
    Ping,
    /// CONNECT of a sleeping client.
    Connect,
}

/// One world to check.
#[derive(Clone, Debug)]
pub struct Rules {
    /// For people.
    pub name: &'static str,
    /// What each client does, one after the other; each waits for the answer to the one before.
    pub scripts: [&'static [Op]; CLIENTS],
    /// How many steps of each script are over when the check begins.
    pub done: [u8; CLIENTS],
    /// The topics that each client's filter matches, a bit for each.
    pub covers: [u8; CLIENTS],
    /// Clients whose subscription is granted QoS 1; the others' is granted QoS 0.
    pub granted_q1: Clients,
    /// Clients whose endpoint is not known at first.
    pub unknown: Clients,
    /// What is published, in this order: topic and whether at QoS 1.
    pub messages: &'static [(u8, bool)],
    /// How many leases may be granted.
    pub grants: u8,
    /// Whether one is in force when the check begins.
    pub begins_live: bool,
    /// How often the controller may crash.
    pub crashes: u8,
    /// How often the link may be lost.
    pub unlinks: u8,
    /// How many writes may fail for want of room.
    pub failures: u8,
    /// Whether revisions become overdue and generations are forgotten.
    pub ages: bool,
    /// What is broken.
    pub mutant: Option<Mutant>,
}

impl Rules {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The number on the wire of the generation with this place in their order.
    pub(crate) fn generation(&self, sequence: u8) -> u8 {
        if self.is(Mutant::TwoGenerations) {
            sequence % 2
        } else {
            sequence
        }
    }

    /// The same world with something broken.
    #[must_use]
    pub fn with(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }
}
