//! Predefined topic ids (MQTT-SN 1.2 §6.7), for all clients and for single ones, as they are now.
//!
//! They may change while clients use them. An id that vanishes, or means another topic from now on:
//! - *publications* under it end. The next PUBLISH under it goes to what the id means then, or is
//!   answered with "invalid topic id".
//! - *subscriptions* made with it stay, as subscriptions to the topic of that name: the client asked
//!   for what is published there. It no longer can be told by that id, so it gets a REGISTER with an
//!   ordinary id before the next message; a message under way is sent again under that.
//! - *QoS −1* goes to what the id for all means from now on, or is dropped and counted.
//!
//! A retained message belongs to its topic's name and stays. What the data plane still copies while it
//! has not heard of the change counts as published before it.

use std::time::Instant;

use mqttsn::{Alias, TopicIdType};
use offload::{Change, SessionId, TopicIndex};

use super::Broker;
use crate::config::{ConfigError, Predefined};
use crate::offloading::contract_alias;
use crate::session::outbox::{Exchange, InFlight};

impl Broker {
    /// Makes these the predefined topic ids from now on.
    ///
    /// # Errors
    /// An id or name that cannot be; then nothing changes.
    pub fn set_predefined(&mut self, now: Instant, next: Predefined) -> Result<(), ConfigError> {
        next.check()?;
        if self.config.max_topics < next.len() {
            return Err(ConfigError::MaxTopics(self.config.max_topics));
        }
        self.define(next);
        let sessions: Vec<SessionId> = self.sessions.all().iter().map(|s| s.id).collect();
        for id in sessions {
            self.forget_undefined(now, id);
        }
        self.settle(now);
        Ok(())
    }

    /// Enters the ids into the topics and the intent.
    pub(super) fn define(&mut self, next: Predefined) {
        let before = Predefined {
            all: std::mem::take(&mut self.config.predefined_topics),
            of: std::mem::take(&mut self.config.predefined_topics_of),
        };
        // The new ones first, so that a topic that only changes its id is not forgotten meanwhile.
        for (client, id, name) in next.entries() {
            let home = client.is_none().then_some(id);
            if let Some(index) = self.operators_topic(name, home) {
                self.topics.predefine(client, id, Some(index));
            }
        }
        for (client, id, _) in before.entries() {
            let stays = match client {
                None => next.all.contains_key(&id),
                Some(client) => next.of.get(client).is_some_and(|of| of.contains_key(&id)),
            };
            if !stays {
                self.topics.predefine(client, id, None);
            }
        }
        let ids: std::collections::BTreeSet<u16> =
            before.all.keys().chain(next.all.keys()).copied().collect();
        for id in ids {
            self.open_publication(id);
        }
        self.config.predefined_topics = next.all;
        self.config.predefined_topics_of = next.of;
    }

    /// Tells the data plane what anybody may publish under this id, at QoS −1.
    pub(super) fn open_publication(&mut self, id: u16) {
        let index = self.topics.predefined(None, id).filter(|&index| {
            let topic = self.topics.get(index);
            topic.is_some_and(|topic| self.access.may_publish(None, &topic.name))
        });
        let alias = contract_alias(Alias::predefined(id));
        if self.offloading.intent.open_publications.get(&alias) != index.as_ref() {
            self.offloading
                .change(Change::OpenPublication(alias, index));
        }
    }

    /// The topic of a name that the operator chose: limits are for clients.
    fn operators_topic(&mut self, name: &str, home: Option<u16>) -> Option<TopicIndex> {
        match self.topics.named(name) {
            Some(index) => Some(index),
            None => self.add_topic(name, home),
        }
    }

    /// Ends what the session does under ids that mean something else now.
    fn forget_undefined(&mut self, now: Instant, id: SessionId) {
        if self.rename_undefined(id) {
            self.pump(now, id);
        }
    }

    /// True if what the session called a topic means something else now: messages may wait to be sent
    /// under another alias.
    pub(super) fn rename_undefined(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get(id) else {
            return false;
        };
        let client = Some(&*session.client_id);
        let means = |alias: Alias, index: TopicIndex| {
            alias.topic_id_type != TopicIdType::Predefined
                || self.topics.predefined(client, alias.topic_id) == Some(index)
        };
        let publications = session.publications.iter();
        let gone: Vec<Alias> = publications
            .filter(|&(&alias, &index)| !means(alias, index))
            .map(|(&alias, _)| alias)
            .collect();
        let renamed: Vec<TopicIndex> = session
            .topics
            .iter()
            .copied()
            .filter(|&index| {
                let subscriber = self.topics.get(index).and_then(|t| t.subscribers.get(&id));
                let alias = subscriber.and_then(|subscriber| subscriber.alias);
                alias.is_some_and(|alias| !means(alias, index))
            })
            .collect();
        for alias in gone {
            self.end_publication(id, alias);
        }
        for &index in &renamed {
            self.rename(id, index);
        }
        !renamed.is_empty()
    }

    /// The client may not publish under this alias any longer.
    pub(super) fn end_publication(&mut self, id: SessionId, alias: Alias) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(index) = session.publications.remove(&alias) else {
            return;
        };
        let announced = !session.unannounced.contains(&alias);
        session.unannounced.retain(|&other| other != alias);
        let told = (session.peer.is_direct() && announced).then_some((session.peer.address, alias));
        self.release_publication(told, index);
    }

    /// What the session called the topic means something else now.
    fn rename(&mut self, id: SessionId, index: TopicIndex) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let known = session.topic_ids.known(index).map(Alias::normal);
        if let Some(topic) = self.topics.get_mut(index) {
            let alias = topic.short().or(known);
            if let Some(subscriber) = topic.subscribers.get_mut(&id) {
                subscriber.alias = alias;
            }
        }
        let under_way = matches!(&session.outbox.in_flight, Some(InFlight {
            exchange: Exchange::Publish { message, .. },
            ..
        }) if message.topic == index);
        if under_way {
            session.outbox.suspend();
        }
        self.offloading.mark_subscriber(index, id);
    }
}
