//! All that the broker knows of one topic name, for the question why its messages take which way.

use std::net::SocketAddr;
use std::time::Instant;

use offload::{PublicationKey, Refusal, RefusedItem};
use serde::{Deserialize, Serialize};

use super::Broker;
use super::introspect::TopicInfo;
use crate::offloading::contract_alias;
use crate::offloading::intent::Unserved;
use crate::session::Session;

/// One topic name, whether anybody uses it or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicAccount {
    /// The name asked about.
    pub name: String,
    /// Whether work may be given to the network at all.
    pub offload: bool,
    /// The broker's addresses that the switch is told.
    #[serde(default)]
    pub services: Vec<SocketAddr>,
    /// The controller that is connected.
    pub controller: Option<String>,
    /// Revision of the intent.
    pub revision: u64,
    /// The revision that the switch holds.
    pub installed: u64,
    /// For how long the data plane may still offload.
    pub lease_remaining_ms: u64,
    /// The topic, if the name is in use.
    pub topic: Option<TopicPart>,
    /// Who receives it, or would if it came to be.
    pub subscribers: Vec<SubscriberPart>,
    /// Who may publish to it, under which alias.
    pub publishers: Vec<PublisherPart>,
    /// Aliases under which anybody may publish to it at QoS −1.
    pub anybody: Vec<String>,
}

/// What the broker wants of the network for a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPart {
    /// The broker's identity of the topic.
    pub index: u32,
    /// What most sessions call it.
    pub home_alias: String,
    /// Whether a message is retained.
    pub retained: bool,
    /// Whether it is part of the intent.
    pub wanted: bool,
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
}

/// One who receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriberPart {
    /// The broker's identity of the session.
    pub session: u32,
    /// The client's own name.
    pub client_id: String,
    /// Where it is, or was last.
    pub address: SocketAddr,
    /// Its state.
    pub state: String,
    /// The granted QoS; `None` for one that is only a member of share groups.
    pub granted: Option<i8>,
    /// The share groups by which it receives the topic.
    pub share_groups: Vec<String>,
    /// What PUBLISH to it calls the topic; `None` before it knows a topic id.
    pub alias: Option<String>,
    /// Whether the data plane is to serve it PUBLISH of QoS 0.
    pub served_q0: bool,
    /// Whether the data plane is to serve it PUBLISH of QoS 1.
    pub served_q1: bool,
    /// Why the data plane is not to serve it.
    pub why: Option<String>,
}

/// One who may publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherPart {
    /// The broker's identity of the session.
    pub session: u32,
    /// The client's own name.
    pub client_id: String,
    /// Where it is, or was last.
    pub address: SocketAddr,
    /// What it calls the topic.
    pub alias: String,
    /// Why the data plane leaves its messages to the broker.
    pub why: Option<String>,
}

impl Broker {
    /// All there is to know of a topic name.
    pub fn explain(&self, now: Instant, name: &str) -> TopicAccount {
        let status = self.status();
        let lease = self.offloading.lease.until.saturating_duration_since(now);
        let live = status.offload && self.offloading.lease.was_granted();
        let info = self.topic(name);
        let index = self.topics.named(name);
        let open = &self.offloading.intent.open_publications;
        TopicAccount {
            name: name.to_owned(),
            offload: status.offload,
            services: self.offloading.intent.services.iter().copied().collect(),
            controller: status.controller,
            revision: status.revision,
            installed: status.installed,
            lease_remaining_ms: if live { lease.as_millis() as u64 } else { 0 },
            subscribers: match &info {
                Some(info) => self.subscribers_of(info),
                None => self.subscribers_to_be(name),
            },
            publishers: self.publishers_to(name),
            anybody: open
                .iter()
                .filter(|&(_, &to)| Some(to) == index)
                .map(|(alias, _)| alias.to_string())
                .collect(),
            topic: info.map(|info| TopicPart {
                index: info.topic,
                home_alias: info.home_alias,
                retained: info.retained,
                wanted: info.offloaded,
                generation: info.generation,
                copy_q0: info.copy_q0,
                copy_q1: info.copy_q1,
                ack_q1: info.ack_q1,
                refusal: info.refusal,
            }),
        }
    }

    fn subscribers_of(&self, info: &TopicInfo) -> Vec<SubscriberPart> {
        let part = |subscriber: &crate::SubscriberInfo| {
            let session = self.sessions.get(offload::SessionId(subscriber.session))?;
            let why = subscriber.unserved.map(|why| unserved(why, session));
            Some(SubscriberPart {
                session: subscriber.session,
                client_id: subscriber.client_id.clone(),
                address: session.peer.address,
                state: state(session),
                granted: subscriber.granted,
                share_groups: subscriber.share_groups.clone(),
                alias: subscriber.alias.clone(),
                served_q0: subscriber.served_q0,
                served_q1: subscriber.served_q1,
                why,
            })
        };
        info.subscribers.iter().filter_map(part).collect()
    }

    /// Who would receive a message under a name that nobody has used yet.
    fn subscribers_to_be(&self, name: &str) -> Vec<SubscriberPart> {
        let grants = self.subscriptions.for_name(name).into_iter();
        let part = |(id, grant): (offload::SessionId, crate::subscriptions::Grant)| {
            let session = self.sessions.get(id)?;
            Some(SubscriberPart {
                session: id.0,
                client_id: session.client_id.to_string(),
                address: session.peer.address,
                state: state(session),
                granted: Some(grant.qos.level()),
                share_groups: Vec::new(),
                alias: None,
                served_q0: false,
                served_q1: false,
                why: Some("nobody uses this topic name".into()),
            })
        };
        grants.filter_map(part).collect()
    }

    fn publishers_to(&self, name: &str) -> Vec<PublisherPart> {
        let Some(index) = self.topics.named(name) else {
            return Vec::new();
        };
        let mut parts = Vec::new();
        for session in self.sessions.all() {
            for (&alias, _) in session.publications.iter().filter(|&(_, &to)| to == index) {
                let (alias, address) = (contract_alias(alias), session.peer.address);
                let item = RefusedItem::Publication(PublicationKey { address, alias });
                let refusal = self.offloading.refusal(item).map(Refusal::to_string);
                let forwarded = (!session.peer.is_direct())
                    .then(|| "it is behind a forwarder, whose packets go to the broker".to_owned());
                parts.push(PublisherPart {
                    session: session.id.0,
                    client_id: session.client_id.to_string(),
                    address,
                    alias: alias.to_string(),
                    why: refusal.or(forwarded),
                });
            }
        }
        parts
    }
}

fn state(session: &Session) -> String {
    format!("{:?}", session.state).to_lowercase()
}

/// Why the data plane does not serve a session, as a sentence.
fn unserved(why: Unserved, session: &Session) -> String {
    match why {
        Unserved::NotConnected => format!("it is {}", state(session)),
        Unserved::NoTopicId => "it has not acknowledged a topic id for this topic yet".into(),
        Unserved::TopicIdRejected => "it refused the topic id".into(),
        Unserved::BehindForwarder => {
            "it is behind a forwarder, which only the broker wraps for".into()
        }
        Unserved::Unreachable => {
            "the switch has seen nothing that was sent to it yet, so nobody knows behind which port it is"
                .into()
        }
        Unserved::Refused => {
            let refusal = session.refusal.as_ref();
            let refusal = refusal.map_or("no reason given".into(), Refusal::to_string);
            format!("the controller refuses: {refusal}")
        }
        Unserved::Shared => "its share group is served otherwise".into(),
        Unserved::Queued => "older messages still wait for it".into(),
    }
}
