//! A broker from what was stored.

use std::sync::Arc;
use std::time::Instant;

use mqttsn::{Alias, MsgId, Qos, TopicIdType};
use offload::{SessionId, TopicIndex};
use rustc_hash::{FxHashMap, FxHashSet};

use super::record::{
    Counters, DueRecord, ExchangeRecord, Key, QueuedRecord, SessionRecord, SharedRecord,
    SubscriptionRecord, TopicIdRecord, WillRecord,
};
use super::{Recorder, Shadow};
use crate::access::Access;
use crate::config::{Config, ConfigError};
use crate::core::Broker;
use crate::session::outbox::{Exchange, InFlight, Queued};
use crate::session::{Session, State};
use crate::shares::{Publisher, Shared};
use crate::subscriptions::Grant;

/// Why no broker can be made of what was stored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RestoreError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An entry is not one of this schema version.
    #[error(
        "the entry {key:02x?} cannot be read: {why}; restore the store from a backup, or move it away to start from nothing"
    )]
    Entry {
        /// The key as stored.
        key: Vec<u8>,
        /// What is wrong.
        why: &'static str,
    },
}

/// A broker in the making.
///
/// ```
/// # use std::{collections::BTreeMap, time::Instant};
/// # let stored: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
/// let allow = Box::new(broker::AllowAll);
/// let mut restore = broker::Restore::new(broker::Config::default(), allow, Instant::now())?;
/// for (key, value) in &stored {
///     restore.entry(key, value)?; // in the order of the keys
/// }
/// let mut broker = restore.finish();
/// let changes = broker.take_changes(); // to be stored before poll_transmit
/// # Ok::<(), broker::RestoreError>(())
/// ```
#[derive(Debug)]
pub struct Restore {
    broker: Broker,
    now: Instant,
    recorder: Recorder,
    exchanges: FxHashMap<SessionId, ExchangeRecord>,
    bodies: FxHashMap<u64, Arc<[u8]>>,
    used_bodies: FxHashSet<u64>,
    /// The predefined topic ids of topics for all clients, as configured now.
    predefined: FxHashMap<Box<str>, u16>,
}

impl Restore {
    /// Begins with nothing. The broker takes up its work at `now`.
    ///
    /// # Errors
    /// When the configuration does not pass [`Config::check`].
    pub fn new(
        config: Config,
        access: Box<dyn Access>,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        let predefined = config.predefined_topics.iter();
        let predefined = predefined
            .map(|(&id, name)| (name.as_str().into(), id))
            .collect();
        let mut broker = Broker::empty(config, access, now)?;
        broker.durable_parts().0.record();
        Ok(Restore {
            broker,
            now,
            recorder: Recorder::default(),
            exchanges: FxHashMap::default(),
            bodies: FxHashMap::default(),
            used_bodies: FxHashSet::default(),
            predefined,
        })
    }

    /// Takes one stored entry; they come in the order of their keys.
    ///
    /// # Errors
    /// When the entry is not one that this version has written.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let error = |why| RestoreError::Entry {
            key: key.to_vec(),
            why,
        };
        let decoded = Key::decode(key).map_err(|_| error("the key has an unknown form"))?;
        self.take(&decoded, value).map_err(error)
    }

    fn take(&mut self, key: &Key<'_>, value: &[u8]) -> Result<(), &'static str> {
        match *key {
            Key::Counters => {
                let counters: Counters = record(value)?;
                let parts = self.broker.durable_parts().0;
                parts.sessions.skip_to(counters.session);
                parts.topics.skip_to(counters.topic);
                self.recorder.counters = counters;
                self.recorder.bodies.last = counters.body;
            }
            Key::Topic(index) => {
                let name = std::str::from_utf8(value).map_err(|_| "the topic name is not UTF-8")?;
                let topics = self.broker.durable_parts().0.topics;
                if topics.named(name).is_some() {
                    return Err("another topic has the same name");
                }
                topics.insert(index, name, self.predefined.get(name).copied());
            }
            Key::Session(id) => self.session(id, &record(value)?)?,
            Key::Will(id) => {
                let will: WillRecord<'_> = record(value)?;
                self.session_mut(id)?.will = Some(will.will());
            }
            Key::TopicId(id, topic_id) => {
                let TopicIdRecord { topic, known_in } = record(value)?;
                let index = TopicIndex(topic);
                let session = self.session_mut(id)?;
                if !session.topic_ids.insert(index, topic_id, known_in) {
                    return Err("the topic or the topic id comes twice");
                }
                let topics = self.broker.durable_parts().0.topics;
                topics
                    .get_mut(index)
                    .ok_or("its topic is missing")?
                    .topic_ids += 1;
            }
            Key::Subscription(id, filter) => {
                let SubscriptionRecord { qos, predefined } = record(value)?;
                self.session_mut(id)?;
                let grant = Grant {
                    qos: Qos::from_bits(qos),
                    active: true,
                    predefined,
                };
                self.broker.restore_subscription(id, filter, grant);
            }
            Key::Exchange(id) => {
                let exchange: ExchangeRecord = record(value)?;
                let now = self.now;
                let session = self.session_mut(id)?;
                session.last_msg_id = exchange.last_msg_id;
                if let Some(msg_id) = exchange.release {
                    session.outbox.in_flight = Some(InFlight {
                        msg_id: MsgId(msg_id),
                        exchange: Exchange::Release,
                        sent: now,
                        retries: 0,
                    });
                }
                self.exchanges.insert(id, exchange);
            }
            Key::Received(id, msg_id) => {
                self.session_mut(id)?.received.insert(msg_id);
            }
            Key::Body(id) => {
                self.bodies.insert(id, value.into());
            }
            Key::Queued(id, seq) => self.queued(id, seq, &record(value)?)?,
            Key::Due(id) => {
                let due: Vec<DueRecord<'_>> = record(value)?;
                let outbox = &mut self.session_mut(id)?.outbox;
                due.iter().for_each(|due| outbox.due.restore(due.due()));
            }
            Key::Shared(id, seq) => {
                let SharedRecord { filter, publisher } = record(value)?;
                let share = self.broker.durable_parts().0.shares.find(filter);
                let publisher = Publisher(publisher);
                let outbox = &mut self.session_mut(id)?.outbox;
                // The last member may have left with an exchange under way, which it finishes.
                if let Some(share) = share
                    && !outbox.restore_shared(seq, Shared { share, publisher })
                {
                    return Err("its message is missing");
                }
            }
            Key::Retained(index) => {
                let (&qos, payload) = value.split_first().ok_or("the QoS is missing")?;
                let parts = self.broker.durable_parts().0;
                parts.topics.get(index).ok_or("its topic is missing")?;
                let qos = Qos::from_bits(qos);
                parts.retained.insert(index, qos, payload.into());
            }
        }
        Ok(())
    }

    fn session_mut(&mut self, id: SessionId) -> Result<&mut Session, &'static str> {
        let sessions = self.broker.durable_parts().0.sessions;
        sessions.get_mut(id).ok_or("its session is missing")
    }

    fn session(&mut self, id: SessionId, record: &SessionRecord<'_>) -> Result<(), &'static str> {
        let sessions = self.broker.durable_parts().0.sessions;
        if sessions.of_client(record.client_id).is_some() {
            return Err("another session has the same client id");
        }
        let queued = sessions.queued.clone();
        let mut session = Session::new(id, record.client_id, record.peer(), self.now, queued);
        session.state = record.state().ok_or("the state is unknown")?;
        session.identity = record.identity.map(Into::into);
        session.proved = record.proved;
        session.confirmed = record.confirmed;
        session.ready = record.ready;
        session.clean = record.clean;
        session.keep_alive = record.keep_alive();
        session.sleep = record.sleep();
        session.topic_ids.set_connection(record.connection);
        let bound = session.state != State::Disconnected;
        if bound && sessions.at_peer(&session.peer).is_some() {
            return Err("another session is at the same address");
        }
        sessions.insert(session, bound);
        Ok(())
    }

    fn queued(
        &mut self,
        id: SessionId,
        seq: u64,
        record: &QueuedRecord,
    ) -> Result<(), &'static str> {
        let payload = self
            .bodies
            .get(&record.body)
            .ok_or("its payload is missing")?;
        let payload = Arc::clone(payload);
        self.used_bodies.insert(record.body);
        self.recorder.bodies.adopt(&payload, record.body);
        let message = Queued {
            seq,
            topic: TopicIndex(record.topic),
            payload,
            qos: Qos::from_bits(record.qos),
            retain: record.retain,
            sent_as: None,
            registered_again: false,
            shared: None,
        };
        self.session_mut(id)?.outbox.restore(message);
        Ok(())
    }

    /// The broker, at work from now on: what was under way is sent again.
    pub fn finish(mut self) -> Broker {
        let mut recorder = self.recorder;
        recorder.orphans = self
            .bodies
            .into_keys()
            .filter(|id| !self.used_bodies.contains(id))
            .collect();
        let parts = self.broker.durable_parts().0;
        let (exchanges, now) = (&self.exchanges, self.now);
        parts.sessions.take_touched(|session| {
            let exchange = exchanges.get(&session.id).copied().unwrap_or_default();
            let mut shadow = Shadow::of_stored(session, exchange);
            for message in session.outbox.unfinished() {
                shadow.stored_message(message);
            }
            session.shadow = Some(Box::new(shadow));
            if let Some(sent) = exchange.sent {
                let alias = sent.alias.and_then(|(topic_id_type, topic_id)| {
                    let topic_id_type = TopicIdType::from_bits(topic_id_type)?;
                    Some(Alias {
                        topic_id_type,
                        topic_id,
                    })
                });
                let msg_id = MsgId(sent.msg_id);
                session.outbox.restore_sent(now, sent.seq, msg_id, alias);
            }
        });
        self.broker.take_up(self.now, recorder);
        self.broker
    }
}

fn record<'a, T: serde::Deserialize<'a>>(value: &'a [u8]) -> Result<T, &'static str> {
    match postcard::take_from_bytes(value) {
        Ok((record, [])) => Ok(record),
        Ok(_) => Err("the value is too long"),
        Err(_) => Err("the value has an unknown form"),
    }
}
