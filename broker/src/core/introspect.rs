//! What an operator may want to know.

use std::net::SocketAddr;
use std::time::Duration;

use mqttsn::{Packet, Qos};
use offload::{Refusal, RefusedItem, SessionId};
use serde::Serialize;

use super::Broker;
use crate::offloading::contract_alias;
use crate::offloading::intent::Unserved;
use crate::session::{Session, State};
use crate::topics::Topic;

/// The broker as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Sessions kept.
    pub sessions: usize,
    /// Those of them that are connected.
    pub active: usize,
    /// Those of them that sleep or fetch their messages.
    pub asleep: usize,
    /// Topics kept.
    pub topics: usize,
    /// Retained messages kept.
    pub retained: usize,
    /// Whether work may be given to the network.
    pub offload: bool,
    /// Name of the controller that is connected.
    pub controller: Option<String>,
    /// Its election id.
    pub election_id: Option<u128>,
    /// Revision of the intent.
    pub revision: u64,
    /// The revision that the switches hold.
    pub installed: u64,
    /// Answers that wait for their revision.
    pub answers_waiting: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Topics of the intent.
    pub intent_topics: usize,
    /// Publications of the intent.
    pub intent_publications: usize,
}

/// How much the broker holds, to be compared with its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Sessions kept.
    pub sessions: usize,
    /// Those of which only a CONNECT was heard.
    pub unconfirmed: usize,
    /// Will dialogues under way.
    pub dialogues: usize,
    /// Topics kept.
    pub topics: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Share groups that have members.
    pub share_groups: usize,
    /// Octets of topic names and filters.
    pub name_octets: usize,
    /// Octets that wait for all clients, overhead included.
    pub queued_octets: usize,
    /// Retained messages kept.
    pub retained: usize,
    /// Payload octets of them.
    pub retained_octets: usize,
    /// Answers that wait for the data plane.
    pub answers: usize,
    /// Topics of the intent.
    pub intent_topics: usize,
    /// Publications of the intent.
    pub intent_publications: usize,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionInfo {
    /// The broker's identity of the session, as the controller knows it.
    pub session: u32,
    /// The client's own name.
    pub client_id: String,
    /// Where it is, or was last.
    pub address: SocketAddr,
    /// Whether it is behind a forwarder.
    pub forwarded: bool,
    /// Its state.
    pub state: State,
    /// Whether it ends with the connection.
    pub clean: bool,
    /// Keep-alive; zero for none.
    pub keep_alive: Duration,
    /// Its topic filters.
    pub subscriptions: Vec<String>,
    /// Topic ids that it holds.
    pub topic_ids: usize,
    /// Aliases under which it publishes, and whether each is refused by the controller (why).
    pub publications: Vec<(String, String, Option<String>)>,
    /// Messages that wait for it.
    pub queued: usize,
    /// Whether a will is stored.
    pub will: bool,
    /// Why the controller refuses to deliver to it.
    pub refusal: Option<String>,
}

/// One subscriber of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubscriberInfo {
    /// The broker's identity of the session.
    pub session: u32,
    /// The client's own name.
    pub client_id: String,
    /// The granted QoS; `None` for one that is only a member of share groups.
    pub granted: Option<i8>,
    /// The share groups by which it receives the topic, as their whole filters.
    pub share_groups: Vec<String>,
    /// What PUBLISH to it calls the topic; `None` before it knows a topic id.
    pub alias: Option<String>,
    /// Whether the data plane serves it PUBLISH of QoS 0.
    pub served_q0: bool,
    /// Whether the data plane serves it PUBLISH of QoS 1.
    pub served_q1: bool,
    /// Why the data plane does not serve it.
    pub unserved: Option<Unserved>,
}

/// One topic, and what the network does for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicInfo {
    /// The broker's identity of the topic.
    pub topic: u32,
    /// Its name.
    pub name: String,
    /// What most sessions call it.
    pub home_alias: String,
    /// Aliases of sessions that publish to it.
    pub publications: u32,
    /// Whether a message is retained.
    pub retained: bool,
    /// Whether it is part of the intent.
    pub offloaded: bool,
    /// The generation in force at the broker.
    pub generation: u32,
    /// Whether the broker wants copies of PUBLISH of QoS 0 and −1.
    pub copy_q0: bool,
    /// Whether the broker wants copies of PUBLISH of QoS 1.
    pub copy_q1: bool,
    /// Whether the data plane acknowledges QoS 1.
    pub ack_q1: bool,
    /// Why the controller leaves it in software.
    pub refusal: Option<String>,
    /// Who receives it.
    pub subscribers: Vec<SubscriberInfo>,
}

impl Broker {
    /// The broker as a whole.
    pub fn status(&self) -> Status {
        let intent = &self.offloading.intent;
        Status {
            sessions: self.sessions.len(),
            active: self.sessions.in_state(State::Active),
            asleep: self.sessions.in_state(State::Asleep) + self.sessions.in_state(State::Awake),
            topics: self.topics.len(),
            retained: self.retained.len(),
            offload: self.offloading.enabled(),
            controller: self.offloading.controller().map(str::to_owned),
            election_id: self.offloading.election_id(),
            revision: intent.revision.0,
            installed: self.offloading.installed().0,
            answers_waiting: self.offloading.gate.len(),
            subscriptions: self.subscriptions.len(),
            intent_topics: intent.topics.len(),
            intent_publications: intent.publications.len(),
        }
    }

    /// The configuration as it is now, predefined topic ids included.
    pub fn config(&self) -> &crate::config::Config {
        &self.config
    }

    /// How much it holds.
    pub fn sizes(&self) -> Sizes {
        let intent = &self.offloading.intent;
        Sizes {
            sessions: self.sessions.len(),
            unconfirmed: self.sessions.unconfirmed(),
            dialogues: self.dialogues.len(),
            topics: self.topics.len(),
            subscriptions: self.subscriptions.len(),
            share_groups: self.shares.len(),
            name_octets: self.topics.name_octets() + self.subscriptions.filter_octets(),
            queued_octets: self.sessions.queued.octets(),
            retained: self.retained.len(),
            retained_octets: self.retained.octets(),
            answers: self.offloading.gate.len(),
            intent_topics: intent.topics.len(),
            intent_publications: intent.publications.len(),
        }
    }

    /// The intent as it stands.
    pub fn intent(&self) -> &offload::Intent {
        &self.offloading.intent
    }

    /// All sessions, by their number.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let sessions = self.sessions.all().into_iter();
        sessions
            .map(|session| SessionInfo {
                session: session.id.0,
                client_id: session.client_id.to_string(),
                address: session.peer.address,
                forwarded: !session.peer.is_direct(),
                state: session.state,
                clean: session.clean,
                keep_alive: session.keep_alive,
                subscriptions: session.filters.iter().map(|f| f.to_string()).collect(),
                topic_ids: session.topic_ids.len(),
                publications: session
                    .publications
                    .iter()
                    .map(|(&alias, &index)| {
                        let alias = contract_alias(alias);
                        let key = offload::PublicationKey {
                            address: session.peer.address,
                            alias,
                        };
                        let topic = self.topics.get(index).map(|topic| topic.name.to_string());
                        let refusal = self.offloading.refusal(RefusedItem::Publication(key));
                        (
                            alias.to_string(),
                            topic.unwrap_or_default(),
                            refusal.map(Refusal::to_string),
                        )
                    })
                    .collect(),
                queued: session.outbox.len(),
                will: session.will.is_some(),
                refusal: session.refusal.as_ref().map(Refusal::to_string),
            })
            .collect()
    }

    /// All topics, by their number.
    pub fn topics(&self) -> Vec<TopicInfo> {
        let topics = self.topics.all().into_iter();
        topics
            .map(|(index, topic)| self.topic_info(index, topic))
            .collect()
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<TopicInfo> {
        let index = self.topics.named(name)?;
        Some(self.topic_info(index, self.topics.get(index)?))
    }

    fn topic_info(&self, index: offload::TopicIndex, topic: &Topic) -> TopicInfo {
        let wanted = self.offloading.intent.topics.get(&index);
        let serves = |id: &SessionId, q1: bool| {
            wanted.is_some_and(|wanted| {
                let member = wanted.shared.get(id);
                match q1 {
                    false => wanted.served_q0.contains(id) || member.is_some(),
                    true => wanted.served_q1.contains(id) || member.is_some_and(|m| m.serve_q1),
                }
            })
        };
        let groups = |session: &Session| -> Vec<String> {
            let groups = topic.shares.iter();
            let filters = groups.filter_map(|share| self.shares.filter(share.id));
            let own = filters.filter(|&filter| session.filters.contains(filter));
            own.map(str::to_owned).collect()
        };
        TopicInfo {
            topic: index.0,
            name: topic.name.to_string(),
            home_alias: contract_alias(topic.home).to_string(),
            publications: topic.publications,
            retained: self.retained.get(index).is_some(),
            offloaded: wanted.is_some(),
            generation: wanted.map_or(0, |wanted| wanted.generation.0),
            copy_q0: wanted.is_some_and(|wanted| wanted.copy_q0),
            copy_q1: wanted.is_some_and(|wanted| wanted.copy_q1),
            ack_q1: wanted.is_some_and(|wanted| wanted.ack_q1),
            refusal: self
                .offloading
                .refusal(RefusedItem::Topic(index))
                .map(Refusal::to_string),
            subscribers: topic
                .subscribers
                .iter()
                .filter_map(|(&id, subscriber)| {
                    let session = self.sessions.get(id)?;
                    Some(SubscriberInfo {
                        session: id.0,
                        client_id: session.client_id.to_string(),
                        granted: subscriber.ordinary.map(|ordinary| ordinary.granted.level()),
                        share_groups: groups(session),
                        alias: subscriber.alias.map(|a| contract_alias(a).to_string()),
                        served_q0: serves(&id, false),
                        served_q1: serves(&id, true),
                        unserved: match self.offloading.eligible(index, session, subscriber) {
                            Err(why) => Some(why),
                            // Nothing is in the way of this one; something is of its group.
                            Ok(()) if !serves(&id, false) => Some(Unserved::Shared),
                            Ok(()) => None,
                        },
                    })
                })
                .collect(),
        }
    }

    /// Ends the service: tells every connected client so (MQTT-SN 1.2 §5.4.21 lets a gateway send
    /// DISCONNECT). Wills are not published; nobody is lost. With a store nothing is said: the
    /// sessions go on when the broker comes back.
    pub fn shut_down(&mut self) {
        if self.recorder.is_some() {
            return;
        }
        let connected: Vec<_> = self
            .sessions
            .all()
            .into_iter()
            .filter(|session| session.is_active())
            .map(|session| session.peer.clone())
            .collect();
        for peer in connected {
            let disconnect = mqttsn::packet::Disconnect { duration: None };
            self.transmits.push(&peer, &Packet::Disconnect(disconnect));
        }
    }
}

impl TopicInfo {
    /// Whether a PUBLISH at this QoS takes the data plane alone.
    pub fn is_wholly_offloaded(&self, qos: Qos) -> bool {
        self.offloaded
            && self.refusal.is_none()
            && match qos {
                Qos::MinusOne | Qos::Zero => !self.copy_q0,
                Qos::One => !self.copy_q1,
                Qos::Two => false,
            }
    }
}
