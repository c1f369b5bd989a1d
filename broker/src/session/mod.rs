//! One client's session, and the store of all of them.
//!
//! ```text
//!                 CONNECT (with Will: after the will dialogue, see `will`)
//!                    │
//!                    ▼           CONNACK sent
//!              ┌───────────┐ ─────────────────────► ┌────────┐ ◄──────────┐
//!              │  Active,  │                        │ Active │            │ CONNECT
//!              │ not ready │ ◄───────────────────── │ ready  │            │ (via not ready)
//!              └───────────┘        CONNECT         └───┬────┘            │
//!                    ▲                                  │ DISCONNECT(d)   │
//!                    │ CONNECT (persistent)             ▼                 │
//!            ┌───────┴──────┐   lost, DISCONNECT    ┌────────┐            │
//!            │ Disconnected │ ◄──────────────────── │ Asleep │ ───────────┤
//!            └──────────────┘                       └─┬────▲─┘            │
//!     a clean session is removed instead  PINGREQ(id) ▼    │ PINGRESP     │
//!                                                   ┌──────┴─┐            │
//!                                                   │ Awake  │ ───────────┘
//!                                                   └────────┘
//! ```
//! MQTT-SN 1.2 §6.2, §6.11, §6.12, §6.14. *Not ready* is the time in which CONNACK waits until the
//! data plane has dropped what it knew of the session before.

pub(crate) mod due;
pub(crate) mod held;
pub(crate) mod outbox;
pub(crate) mod store;
pub(crate) mod topic_ids;
pub(crate) mod will;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mqttsn::{Alias, MsgId};
use offload::{Refusal, SessionId, TopicIndex};
use serde::Serialize;

use crate::access::Client;
use crate::config::Config;
use crate::durable::Shadow;
use crate::rate::Bucket;
use crate::transmit::Peer;
use held::Total;
use outbox::Outbox;
use topic_ids::TopicIds;
use will::Will;

/// State of a session (MQTT-SN 1.2 §6.14, Figure 4; *lost* is here `Disconnected`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// Connected.
    Active,
    /// Sleeping: messages are buffered.
    Asleep,
    /// Fetching its buffered messages.
    Awake,
    /// Not connected; kept because it asked for it (CleanSession 0).
    Disconnected,
}

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) client_id: Box<str>,
    pub(crate) peer: Peer,
    /// Who the transport said was there when it connected.
    pub(crate) identity: Option<Box<str>>,
    /// Whether the client has proved that it is this client: who has not cannot have its session.
    pub(crate) proved: bool,
    /// Whether more than a CONNECT was heard from there, or the transport has proved the address.
    pub(crate) confirmed: bool,
    /// What it has used of its rate.
    pub(crate) rate: Bucket,
    pub(crate) state: State,
    /// Whether the CONNACK was sent; asleep: whether the DISCONNECT was not, so that the client still
    /// listens.
    pub(crate) ready: bool,
    /// Whether the session ends with the connection.
    pub(crate) clean: bool,
    /// The keep-alive, or zero for none.
    pub(crate) keep_alive: Duration,
    /// The sleep duration announced, while asleep or awake.
    pub(crate) sleep: Duration,
    /// When the client was last heard of.
    pub(crate) heard: Instant,
    pub(crate) will: Option<Will>,
    pub(crate) topic_ids: TopicIds,
    /// The filters that it subscribes to; their QoS is in `Subscriptions`.
    pub(crate) filters: BTreeSet<Box<str>>,
    /// The topics that it is a subscriber of.
    pub(crate) topics: BTreeSet<TopicIndex>,
    /// The aliases that it publishes under: permitted, and of topics that exist.
    pub(crate) publications: BTreeMap<Alias, TopicIndex>,
    /// Those of them that the data plane does not know of yet.
    pub(crate) unannounced: Vec<Alias>,
    /// Topics that it is subscribed to and whose id it has learned from its own REGISTER. It may be
    /// publishing there at this moment, so the data plane serves it only from the next answer on
    /// that it waits for: else the later of its messages would reach it before the earlier ones.
    pub(crate) hand_over: Vec<TopicIndex>,
    /// Topics whose id it shall be told though no message waits: those of its share groups. The data
    /// plane chooses only among members that know the topic id.
    pub(crate) introduce: BTreeSet<TopicIndex>,
    pub(crate) outbox: Outbox,
    /// MsgIds of QoS 2 messages that were passed on and not yet released.
    pub(crate) received: BTreeSet<MsgId>,
    pub(crate) last_msg_id: u16,
    /// Its entry in `Timers`.
    pub(crate) timer: Option<Instant>,
    /// Why the data plane cannot deliver to it.
    pub(crate) refusal: Option<Refusal>,
    /// Topics that the data plane shall serve once nothing waits in the outbox.
    pub(crate) deferred: BTreeSet<TopicIndex>,
    /// The activity question that it is part of, and when to go on without an answer.
    pub(crate) asked: Option<(u64, Instant)>,
    /// What the store holds of it; `None` without a store.
    pub(crate) shadow: Option<Box<Shadow>>,
    /// Whether it may differ from that, and so is among `Sessions::touched`.
    pub(crate) touched: bool,
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        client_id: &str,
        peer: Peer,
        now: Instant,
        queued: Total,
    ) -> Self {
        Session {
            id,
            client_id: client_id.into(),
            peer,
            identity: None,
            proved: false,
            confirmed: true,
            rate: Bucket::default(),
            state: State::Active,
            ready: false,
            clean: true,
            keep_alive: Duration::ZERO,
            sleep: Duration::ZERO,
            heard: now,
            will: None,
            topic_ids: TopicIds::default(),
            filters: BTreeSet::new(),
            topics: BTreeSet::new(),
            publications: BTreeMap::new(),
            unannounced: Vec::new(),
            hand_over: Vec::new(),
            introduce: BTreeSet::new(),
            outbox: Outbox::new(queued),
            received: BTreeSet::new(),
            last_msg_id: 0,
            timer: None,
            refusal: None,
            deferred: BTreeSet::new(),
            asked: None,
            shadow: None,
            touched: false,
        }
    }

    /// The client, as permissions are asked for it.
    pub(crate) fn client(&self) -> Client<'_> {
        Client::at(&self.client_id, &self.peer, self.identity.as_deref())
    }

    /// Whether a message may be sent to it now.
    pub(crate) fn listens(&self) -> bool {
        match self.state {
            State::Active => self.ready,
            State::Awake => true,
            State::Asleep | State::Disconnected => false,
        }
    }

    /// Whether the client listens, though the session may not be ready to use that.
    pub(crate) fn still_listens(&self) -> bool {
        self.listens() || (self.state == State::Asleep && self.ready)
    }

    /// Whether it is somewhere: connected, asleep or awake.
    pub(crate) fn is_connected(&self) -> bool {
        self.state != State::Disconnected
    }

    /// Whether it is connected and may send requests.
    pub(crate) fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// How long it may be silent; `None` for ever.
    pub(crate) fn patience(&self, config: &Config) -> Option<Duration> {
        // MQTT-SN 1.2 §6.11 and §6.14: keep-alive, or the sleep duration, and a tolerance.
        let announced = match self.state {
            State::Active => self.keep_alive,
            State::Asleep | State::Awake => self.sleep,
            State::Disconnected => return None,
        };
        // At most 65535 s times a tolerance of at most 100: far from the limits of Duration.
        (!announced.is_zero()).then(|| announced.mul_f64(config.keep_alive_tolerance))
    }

    /// A MsgId for a message of the broker's own; never 0.
    pub(crate) fn next_msg_id(&mut self) -> MsgId {
        let unfinished = self.outbox.front().and_then(|front| front.sent_as);
        loop {
            self.last_msg_id = self.last_msg_id.wrapping_add(1);
            let next = MsgId(self.last_msg_id);
            if next != MsgId(0) && Some(next) != unfinished {
                return next;
            }
        }
    }
}
