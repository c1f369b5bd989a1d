//! What of the broker survives its process, without a word about where it is kept.
//!
//! ```text
//! handle_datagram … handle_timeout   change sessions, topics, subscriptions, retained messages
//!              │                     (which note what they changed)
//!              ▼
//! take_changes ─► Changes ─► commit ─► only now: poll_transmit
//! ```
//! Whoever drives the core takes the changes after each batch of calls and hands out nothing that the
//! core said until they are stored. So what a client was told is never forgotten. Taking looks only at
//! what was touched; what came and went within one batch is not stored at all.
//!
//! After a start, the entries are read back with [`Restore`]. What then holds, and why:
//!
//! - **Active sessions stay active, clean ones too.** MQTT-SN has no connection below it: a session
//!   ends by DISCONNECT, by a CONNECT with CleanSession, or by silence (MQTT-SN 1.2 §6.2, §6.11,
//!   §6.12), and the broker's end is none of them. A client that never noticed goes on. Silence counts
//!   from the start anew, and then publishes the will as usual (§6.3).
//! - **Sleeping sessions sleep on**, from the start for their whole duration (§6.14); an awake one
//!   gets what waits for it and then its PINGRESP.
//! - **A CONNACK, or the DISCONNECT before a sleep, that was still held** is sent when its time comes.
//!   Other held answers are not; the client asks again (§6.13). A subscription counts from its SUBACK,
//!   so one that was still held is none.
//! - **A will dialogue under way is forgotten**: who did not get a CONNACK has not connected (§6.3).
//! - **Messages of QoS 1 and 2 that wait are kept, of QoS 0 not.** One that was sent is sent again with
//!   DUP and its MsgId; a QoS 2 message that awaits PUBCOMP continues with PUBREL (§6.13, MQTT 3.1.1
//!   §4.3.3 and §4.4). A QoS 2 message of a client that was not released yet stays recognised.
//! - **Retained messages that a subscription was still owed stay owed** (MQTT 3.1.1 §3.3.1.3).
//! - **Topic ids stay what they were**, those told in the present connection included (§6.5).
//! - **Publications are not kept**: the right to publish is checked anew at the first PUBLISH, and the
//!   publication enters the intent again then. The intent starts from nothing, with generations that
//!   no copy tagged before can name.
//! - **When a client was last heard is not kept**: it would cost a write for each message.

mod changes;
mod record;
mod restore;
mod shadow;
mod touched;

pub use changes::Changes;
pub use restore::{Restore, RestoreError};
pub(crate) use shadow::Shadow;
pub(crate) use touched::Touched;

use crate::core::Broker;
use crate::retained::Retained;
use crate::session::store::Sessions;
use crate::shares::Shares;
use crate::subscriptions::Subscriptions;
use crate::topics::Topics;
use record::{Counters, Key, SubscriptionRecord};
use shadow::Bodies;

/// What changed since it was stored, across the broker.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    bodies: Bodies,
    counters: Counters,
    /// Payloads in the store that no message has.
    orphans: Vec<u64>,
}

/// The parts of a broker that are durable.
pub(crate) struct Parts<'a> {
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) topics: &'a mut Topics,
    pub(crate) subscriptions: &'a mut Subscriptions,
    pub(crate) retained: &'a mut Retained,
    /// Follows from the subscriptions.
    pub(crate) shares: &'a Shares,
}

impl Parts<'_> {
    /// From now on changes are noted.
    fn record(&mut self) {
        self.sessions.record();
        self.topics.touched.record();
        self.subscriptions.touched.record();
        self.retained.touched.record();
    }

    fn is_unchanged(&self) -> bool {
        !self.sessions.any_touched()
            && self.topics.touched.is_empty()
            && self.subscriptions.touched.is_empty()
            && self.retained.touched.is_empty()
    }
}

impl Broker {
    /// What changed since the last call, to be stored before anything that was said since is sent;
    /// `None` if nothing did, or if the broker did not come from [`Restore`] and so keeps nothing.
    pub fn take_changes(&mut self) -> Option<Changes> {
        let (mut parts, recorder) = self.durable_parts();
        let changes = recorder?.take(&mut parts);
        (!changes.is_empty()).then_some(changes)
    }
}

impl Recorder {
    fn take(&mut self, parts: &mut Parts<'_>) -> Changes {
        let mut changes = Changes::default();
        for body in self.orphans.drain(..) {
            changes.delete(&Key::Body(body));
        }
        if parts.is_unchanged() {
            return changes;
        }
        self.take_topics(parts, &mut changes);
        let bodies = &mut self.bodies;
        for ended in parts.sessions.take_ended() {
            shadow::ended_changes(&mut changes, bodies, &ended);
        }
        let mut octets = Vec::new();
        parts.sessions.take_touched(|session| {
            shadow::session_changes(&mut changes, bodies, &mut octets, parts.shares, session);
        });
        let Subscriptions { touched, .. } = parts.subscriptions;
        let touched: Vec<_> = touched.take().collect();
        for ((session, filter), stored) in touched {
            let key = Key::Subscription(session, &filter);
            let grant = parts.subscriptions.get(&filter, session);
            match grant.filter(|grant| grant.active) {
                Some(grant) => {
                    let record = SubscriptionRecord {
                        qos: grant.qos.bits(),
                        predefined: grant.predefined,
                    };
                    changes.put_record(&key, &record);
                }
                None if stored => changes.delete(&key),
                None => {}
            }
        }
        let counters = Counters {
            session: parts.sessions.last_id(),
            topic: parts.topics.last_index().0,
            body: self.bodies.last,
        };
        if self.counters != counters {
            self.counters = counters;
            changes.put_record(&Key::Counters, &counters);
        }
        changes
    }

    fn take_topics(&mut self, parts: &mut Parts<'_>, changes: &mut Changes) {
        let touched: Vec<_> = parts.topics.touched.take().collect();
        for (index, stored) in touched {
            let key = Key::Topic(index);
            match parts.topics.get(index) {
                // The name never changes.
                Some(_) if stored => {}
                Some(topic) => changes.put(&key, topic.name.as_bytes()),
                None if stored => changes.delete(&key),
                None => {}
            }
        }
        let touched: Vec<_> = parts.retained.touched.take().collect();
        let mut value = Vec::new();
        for (index, stored) in touched {
            let key = Key::Retained(index);
            match parts.retained.get(index) {
                Some(message) => {
                    value.clear();
                    value.push(message.qos.bits());
                    value.extend_from_slice(&message.payload);
                    changes.put(&key, &value);
                }
                None if stored => changes.delete(&key),
                None => {}
            }
        }
    }
}
