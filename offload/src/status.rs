//! The messages of the contract, both ways.

use std::net::IpAddr;
use std::time::Duration;

use crate::intent::{Delta, Intent, PublicationKey, Revision, SessionId, TopicIndex};

/// The longest lease that a grant may give: for so long a dead controller costs messages.
pub const MAX_LEASE: Duration = Duration::from_secs(60);

/// The query of an [`FromController::Activity`] that answers none; questions have greater numbers.
pub const UNASKED: u64 = 0;

/// What the broker says to the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBroker {
    /// The whole intent: the first message of every link. It replaces all that was said before.
    Snapshot(Intent),
    /// The next step of the intent.
    Delta(Delta),
    /// Answer to [`FromController::RequestLease`]: the data plane may offload for `lease`.
    ///
    /// The lease counts from a reading of the switch's clock that was taken before the request was
    /// sent. So it surely has run out on the switch when `lease` has passed at the broker since it
    /// sent the grant, however late the renewal reaches the switch.
    Grant {
        /// Which request this answers.
        request: u64,
        /// How long the data plane may offload, at most [`MAX_LEASE`].
        lease: Duration,
    },
    /// When did these sessions last publish through the data plane?
    AskActivity {
        /// Echoed by the answer.
        query: u64,
        /// The sessions asked about.
        sessions: Vec<SessionId>,
    },
    /// Answer to [`FromController::AskRates`].
    Rates {
        /// Which question this answers.
        query: u64,
        /// Topics and how many PUBLISH came for each on the software path (those of which a tagged copy
        /// came are not among them) since the question before; the topics with the most, the rest
        /// left out. The first answer of a link is empty.
        topics: Vec<(TopicIndex, u64)>,
        /// The same for publications that the controller has refused and that were heard of; the ones
        /// with the most.
        publications: Vec<(PublicationKey, u64)>,
    },
    /// Whether a controller that is primary at its switch is linked. Only for standbys.
    Led(bool),
}

/// What the controller says to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromController {
    /// The first message of every link; the broker answers with a snapshot.
    Hello {
        /// Who this is, for logs and status.
        controller: String,
        /// Its election id as primary at the switch. While another with a higher one is linked, or its
        /// lease may be live, the broker closes this link: who has the lower one was primary before.
        election_id: u128,
        /// The addresses that the data plane can deliver to; all others it cannot. They are told here,
        /// so that the snapshot serves whoever was served before: what is right on the switch stays.
        reachable: Vec<IpAddr>,
    },
    /// In place of Hello, from a controller that is not primary: the broker answers with
    /// [`FromBroker::Led`] whenever that changes, and with nothing else.
    Standby {
        /// Who this is, for logs and status.
        controller: String,
    },
    /// May the data plane offload on? Sent after a reading of the switch's clock (see
    /// [`FromBroker::Grant`]).
    RequestLease {
        /// Echoed by the grant.
        request: u64,
    },
    /// The switches hold this revision: what is not refused is in force, what was withdrawn is gone.
    Installed {
        /// The revision that holds.
        revision: Revision,
    },
    /// The item stays in software, or (None) a refusal of before no longer holds.
    Refused {
        /// What is refused.
        item: RefusedItem,
        /// Why, or None where the item is welcome again.
        why: Option<Refusal>,
    },
    /// The data plane can, or can no longer, deliver to this address: what became new since Hello.
    ///
    /// The broker serves only reachable sessions through the data plane.
    Reachable {
        /// The address of one or more clients.
        address: IpAddr,
        /// Whether copies can be sent there.
        reachable: bool,
    },
    /// How much is published that the data plane does not see? Asked by a policy that measures.
    AskRates {
        /// Echoed by the answer.
        query: u64,
    },
    /// Answer to [`FromBroker::AskActivity`]; also unasked, before rows go that know when the sessions
    /// published last.
    Activity {
        /// Which question this answers; [`UNASKED`].
        query: u64,
        /// One answer per session asked about, in any order.
        sessions: Vec<Activity>,
    },
}

/// When a session last published through the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The session asked about.
    pub session: SessionId,
    /// How long ago a publication of it was last hit; None when no packet was seen.
    pub idle: Option<Duration>,
}

/// What a refusal speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusedItem {
    /// The topic is not offloaded at all.
    Topic(TopicIndex),
    /// Copies cannot be delivered to the session by the data plane.
    Session(SessionId),
    /// Packets of the publication go to the broker.
    Publication(PublicationKey),
}

/// Why the controller leaves an item in software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A table, group or id space is full.
    Capacity(String),
    /// Nobody knows behind which port the address lives.
    Unreachable,
    /// The data plane cannot do it (IPv6, for example).
    Unsupported(String),
    /// The policy gives the room to others.
    Policy,
    /// Writes for it keep failing.
    Failing(String),
    /// A publication whose publisher was silent for long: its room is free for others until it is heard
    /// of again.
    Idle,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Capacity(what) => write!(f, "no room: {what}"),
            Refusal::Unreachable => f.write_str("unreachable: no endpoint learned for its address"),
            Refusal::Unsupported(what) => write!(f, "unsupported by the data plane: {what}"),
            Refusal::Policy => f.write_str("left in software by policy"),
            Refusal::Idle => f.write_str("silent: its row gave way until it publishes again"),
            Refusal::Failing(why) => write!(f, "withdrawn, writes keep failing: {why}"),
        }
    }
}
