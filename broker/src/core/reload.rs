//! What can change while the broker runs: permissions, predefined topic ids, limits, timers.
//!
//! Rights that a client has acquired are asked for anew. One that is no longer permitted ends at once:
//! its publications (the next PUBLISH is refused), its subscriptions, its will, and where the client
//! may not be connected any more, its connection. MQTT-SN 1.2 has no message by which a server ends a
//! subscription, so the log says it.

use std::time::Instant;

use mqttsn::Alias;
use offload::{SessionId, TopicIndex};

use super::Broker;
use crate::access::Access;
use crate::config::{Config, ConfigError};
use crate::shares;

impl Broker {
    /// Takes over a changed configuration and its permissions. Returns the keys whose change needs a
    /// restart; for them the former value stays.
    ///
    /// # Errors
    /// When the configuration does not pass [`Config::check`]; then nothing changes.
    pub fn reload(
        &mut self,
        now: Instant,
        mut next: Config,
        access: Box<dyn Access>,
    ) -> Result<Vec<&'static str>, ConfigError> {
        next.check()?;
        let mut stay = Vec::new();
        // The intent, the lease and the link are built on these, and the socket is in that group.
        if next.offload != self.config.offload {
            stay.push("offload");
            next.offload = self.config.offload.clone();
        }
        let (advertise, current) = (&mut next.advertise, &self.config.advertise);
        if (advertise.group, advertise.hops) != (current.group, current.hops) {
            stay.push("advertise.group and advertise.hops");
            (advertise.group, advertise.hops) = (current.group, current.hops);
        }
        let predefined = next.predefined();
        // What is defined now stands in the configuration until `set_predefined` compares.
        next.predefined_topics
            .clone_from(&self.config.predefined_topics);
        next.predefined_topics_of
            .clone_from(&self.config.predefined_topics_of);
        self.retained
            .set_limits(next.max_retained, next.max_retained_octets);
        self.config = next;
        self.set_access(now, access);
        self.set_predefined(now, predefined)?;
        Ok(stay)
    }

    /// Asks `access` for permissions from now on, and for all that are in use.
    pub fn set_access(&mut self, now: Instant, access: Box<dyn Access>) {
        self.access = access;
        let sessions: Vec<SessionId> = self.sessions.all().iter().map(|s| s.id).collect();
        for id in sessions {
            self.review(now, id);
        }
        let open: Vec<u16> = self.config.predefined_topics.keys().copied().collect();
        for topic_id in open {
            self.open_publication(topic_id);
        }
        self.settle(now);
    }

    /// Ends what the session may not do any more.
    pub(super) fn review(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let client = session.client();
        // Who proved itself by a secret did so with words that are not kept.
        let by_secret = session.proved && session.identity.is_none();
        if !by_secret && let Err(why) = self.access.may_connect(&client) {
            tracing::info!(client = client.id, %why, "the session ends");
            self.stats.rights_withdrawn += 1;
            match session.is_connected() {
                true => self.lose(now, id),
                false => self.remove_session(id),
            }
            return;
        }
        let filters: Vec<Box<str>> = session
            .filters
            .iter()
            .filter(|filter| {
                let matched = shares::matched(filter);
                !self.access.may_subscribe(&client, matched)
            })
            .cloned()
            .collect();
        let may_publish = |index: TopicIndex| {
            let topic = self.topics.get(index);
            topic.is_some_and(|topic| self.access.may_publish(Some(&client), &topic.name))
        };
        let publications: Vec<Alias> = session
            .publications
            .iter()
            .filter(|&(_, &index)| !may_publish(index))
            .map(|(&alias, _)| alias)
            .collect();
        let will = session.will.as_ref();
        let will = will.is_some_and(|will| !self.access.may_publish(Some(&client), &will.topic));
        for filter in &filters {
            tracing::info!(client = client.id, %filter, "the subscription ends: it is not permitted any more");
        }
        let ended = filters.len() + publications.len() + usize::from(will);
        self.stats.rights_withdrawn += ended as u64;
        for filter in filters {
            self.unsubscribe(id, &filter);
        }
        for alias in publications {
            self.end_publication(id, alias);
        }
        if will && let Some(session) = self.sessions.get_mut(id) {
            tracing::info!(client = %session.client_id, "the will is deleted: it is not permitted any more");
            session.will = None;
        }
    }
}
