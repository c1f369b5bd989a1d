//! From sessions and subscriptions to the intent: which sessions the data plane serves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use mqttsn::Qos;
use offload::{Change, Revision, SessionId, Topic as Wanted, TopicIndex};

use super::generations::Served;
use super::{Offloading, contract_alias};
use crate::session::store::Sessions;
use crate::session::{Session, State};
use crate::topics::{Subscriber, Topic, Topics};

/// Why a session is not served by the data plane, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Unserved {
    /// It is not connected, asleep, or its CONNACK waits.
    NotConnected,
    /// It does not know a topic id yet.
    NoTopicId,
    /// It refused the topic id.
    TopicIdRejected,
    /// It is behind a forwarder.
    BehindForwarder,
    /// The data plane copies to IPv4 addresses only.
    NotIpv4,
    /// The controller does not know how to reach its address.
    Unreachable,
    /// The controller refused it.
    Refused,
    /// Older messages still wait for it.
    Queued,
}

impl Offloading {
    /// Whether the data plane can serve the session on a topic, else why not.
    pub(crate) fn eligible(
        &self,
        index: TopicIndex,
        session: &Session,
        subscriber: &Subscriber,
    ) -> Result<(), Unserved> {
        let ip = session.peer.address.ip();
        if session.state != State::Active || !session.ready {
            Err(Unserved::NotConnected)
        } else if subscriber.rejected {
            Err(Unserved::TopicIdRejected)
        } else if subscriber.alias.is_none() {
            Err(Unserved::NoTopicId)
        } else if !session.peer.is_direct() {
            Err(Unserved::BehindForwarder)
        } else if !ip.is_ipv4() {
            Err(Unserved::NotIpv4)
        } else if session.refusal.is_some() {
            Err(Unserved::Refused)
        } else if !self.is_reachable(ip) {
            Err(Unserved::Unreachable)
        } else if session.hand_over.contains(&index) {
            Err(Unserved::Queued)
        } else if !subscriber.served.current().q0 && !session.outbox.is_empty() {
            // A newer message must not overtake those that wait. A session that is served already
            // stays so: what it gets at QoS 0 no longer waits in its outbox (see `deliver`).
            Err(Unserved::Queued)
        } else {
            Ok(())
        }
    }

    /// Brings the intent up to date with the topics marked, and makes it one revision.
    pub(crate) fn update(&mut self, now: Instant, topics: &mut Topics, sessions: &mut Sessions) {
        if !self.config.enabled {
            return;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut moved = BTreeSet::new();
        let mut topic_changes = Vec::new();
        for index in dirty {
            let next = match topics.get_mut(index) {
                Some(topic) => self.next_topic(now, index, topic, sessions),
                None => None,
            };
            let before = self.intent.topics.get(&index);
            if before == next.as_ref() {
                continue;
            }
            let none = BTreeSet::new();
            let was = before.map_or(&none, |topic| &topic.served_q0);
            let is = next.as_ref().map_or(&none, |topic| &topic.served_q0);
            for &session in was.difference(is) {
                moved.insert(session);
                if let Some(count) = self.served.get_mut(&session) {
                    *count = count.saturating_sub(1);
                }
            }
            for &session in is.difference(was) {
                moved.insert(session);
                *self.served.entry(session).or_default() += 1;
            }
            topic_changes.push(Change::Topic(index, next));
        }
        self.change_sessions(moved, topic_changes, sessions);
        self.commit();
    }

    /// A session stands in the intent before the first topic that serves it, until after the last.
    fn change_sessions(
        &mut self,
        moved: BTreeSet<SessionId>,
        topic_changes: Vec<Change>,
        sessions: &Sessions,
    ) {
        let mut gone = Vec::new();
        for id in moved {
            let count = self.served.get(&id).copied().unwrap_or(0);
            let address = sessions.get(id).map(|session| session.peer.address);
            match address.filter(|_| count > 0) {
                Some(address) => {
                    if self.intent.sessions.get(&id) != Some(&address) {
                        self.changes.push(Change::Session(id, Some(address)));
                    }
                }
                None => {
                    self.served.remove(&id);
                    if self.intent.sessions.contains_key(&id) {
                        gone.push(Change::Session(id, None));
                    }
                }
            }
        }
        self.changes.extend(topic_changes);
        self.changes.extend(gone);
    }

    /// What the data plane shall do with the topic now; a new generation where that serves others.
    fn next_topic(
        &mut self,
        now: Instant,
        index: TopicIndex,
        topic: &mut Topic,
        sessions: &mut Sessions,
    ) -> Option<Wanted> {
        if topic.subscribers.is_empty() && topic.publications == 0 {
            topic.generations.supersede(now);
            return None;
        }
        let before = self.intent.topics.get(&index);
        let home_alias = contract_alias(topic.home);
        let mut next = Wanted {
            name: topic.name.as_ref().to_owned(),
            generation: before.map(|before| before.generation).unwrap_or_default(),
            home_alias,
            served_q0: BTreeSet::new(),
            served_q1: BTreeSet::new(),
            copy_q0: false,
            copy_q1: false,
            ack_q1: false,
            shared: BTreeMap::new(),
            aliases: BTreeMap::new(),
        };
        for (&id, subscriber) in &topic.subscribers {
            let Some(session) = sessions.get_mut(id) else {
                continue;
            };
            let eligible = self.eligible(index, session, subscriber);
            let alias = subscriber.alias.filter(|_| eligible.is_ok());
            let serve_q1 = alias.is_some()
                && subscriber.granted == Qos::Zero
                && (subscriber.served.current().q1 || session.outbox.is_empty());
            match alias.map(contract_alias) {
                Some(alias) => {
                    next.served_q0.insert(id);
                    if alias != home_alias {
                        next.aliases.insert(id, alias);
                    }
                }
                None => next.copy_q0 = true,
            }
            if serve_q1 {
                next.served_q1.insert(id);
            } else {
                next.copy_q1 = true;
            }
            let waits_for_q1 = alias.is_some() && subscriber.granted == Qos::Zero && !serve_q1;
            if eligible == Err(Unserved::Queued) || waits_for_q1 {
                session.deferred.insert(index);
            }
        }
        next.ack_q1 = !next.copy_q1;
        let same_sets = before.is_some_and(|before| {
            before.served_q0 == next.served_q0 && before.served_q1 == next.served_q1
        });
        if !same_sets || topic.generations.joined {
            self.sequence += 1;
            let sequence = self.sequence;
            next.generation = self.generation(sequence);
            let memory = self.config.generation_memory();
            let revision = Revision(self.intent.revision.0 + 1);
            topic.generations.start(now, sequence, memory);
            let oldest = topic.generations.oldest();
            for (id, subscriber) in &mut topic.subscribers {
                let served = Served {
                    q0: next.served_q0.contains(id),
                    q1: next.served_q1.contains(id),
                };
                subscriber.served.record(sequence, served, revision, oldest);
            }
        }
        Some(next)
    }
}
