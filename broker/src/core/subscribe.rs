//! REGISTER, SUBSCRIBE, UNSUBSCRIBE (MQTT-SN 1.2 §6.5, §6.9).

use std::time::Instant;

use mqttsn::packet::{Regack, Register, Suback, Subscribe, Unsubscribe};
use mqttsn::topic::{has_wildcards, validate_filter, validate_name};
use mqttsn::{Alias, Packet, Qos, ReturnCode, TopicRef};
use offload::{Change, Publication, PublicationKey, SessionId, TopicIndex};

use super::Broker;
use crate::offloading::contract_alias;
use crate::offloading::gate::Reply;
use crate::offloading::generations::ServedHistory;
use crate::session::outbox::Queued;
use crate::shares;
use crate::subscriptions::Grant;
use crate::topics::{Ordinary, Subscriber};

impl Broker {
    pub(super) fn on_register(&mut self, _now: Instant, id: SessionId, register: &Register<'_>) {
        let (topic_id, return_code) = match self.register(id, register.topic_name) {
            Ok((index, topic_id)) => {
                let regack = Regack {
                    topic_id,
                    msg_id: register.msg_id,
                    return_code: ReturnCode::Accepted,
                };
                // Held until the data plane knows the publication: else the first messages would
                // take the longer path and arrive after those behind them.
                self.hand_over(id);
                self.offloading.gate.push(Reply::Regack(id, regack, index));
                return;
            }
            Err(code) => (0, code),
        };
        if let Some(session) = self.sessions.get(id) {
            let regack = Regack {
                topic_id,
                msg_id: register.msg_id,
                return_code,
            };
            self.transmits.push(&session.peer, &Packet::Regack(regack));
        }
    }

    fn register(&mut self, id: SessionId, name: &str) -> Result<(TopicIndex, u16), ReturnCode> {
        if validate_name(name).is_err() || self.too_deep(name) {
            return Err(ReturnCode::NotSupported);
        }
        let session = self.sessions.get(id).ok_or(ReturnCode::NotSupported)?;
        if !self.access.may_publish(Some(&session.client()), name) {
            self.stats.access_denied += 1;
            return Err(ReturnCode::NotSupported);
        }
        let index = self.topic_named(name).ok_or(ReturnCode::Congestion)?;
        let topic_id = self
            .assign_topic_id(id, index)
            .ok_or(ReturnCode::Congestion)?;
        self.add_publication(id, Alias::normal(topic_id), index);
        Ok((index, topic_id))
    }

    /// The session's topic id of the topic; `None` where the session has no room.
    pub(super) fn assign_topic_id(&mut self, id: SessionId, index: TopicIndex) -> Option<u16> {
        let session = self.sessions.get_mut(id)?;
        let (topic_id, new) = session.topic_ids.assign(index, self.config.max_topic_ids)?;
        if new && let Some(topic) = self.topics.get_mut(index) {
            topic.topic_ids += 1;
        }
        Some(topic_id)
    }

    /// The session may publish to the topic under this alias; the data plane learns of it with the
    /// next answer that the client waits for (see [`Broker::announce_publications`]).
    pub(super) fn add_publication(&mut self, id: SessionId, alias: Alias, index: TopicIndex) {
        let limit = self.config.max_topic_ids;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.publications.len() >= limit || session.publications.contains_key(&alias) {
            return;
        }
        let Some(topic) = self.topics.get_mut(index) else {
            return;
        };
        session.publications.insert(alias, index);
        topic.publications += 1;
        self.offloading.mark(index);
        // The data plane tells publishers apart by their address, and forwarders share theirs.
        if session.peer.is_direct() && self.offloading.enabled() {
            session.unannounced.push(alias);
        }
    }

    /// The client waits for an answer: until it comes it sends nothing that could overtake what is
    /// still on the software path, so now its publications may enter the data plane. False if there
    /// are none to enter.
    pub(super) fn announce_publications(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let unannounced = std::mem::take(&mut session.unannounced);
        for &alias in &unannounced {
            let Some(&topic) = session.publications.get(&alias) else {
                continue;
            };
            let key = PublicationKey {
                address: session.peer.address,
                alias: contract_alias(alias),
            };
            let publication = Publication { session: id, topic };
            self.offloading
                .change(Change::Publication(key, Some(publication)));
        }
        !unannounced.is_empty()
    }

    /// The client waits for an answer that the caller holds at the gate: what was to be kept from
    /// the data plane until then may enter it. False if there is nothing.
    pub(super) fn hand_over(&mut self, id: SessionId) -> bool {
        let mut any = self.announce_publications(id);
        if let Some(session) = self.sessions.get_mut(id) {
            for index in std::mem::take(&mut session.hand_over) {
                self.offloading.mark_subscriber(index, id);
                any = true;
            }
        }
        any
    }

    /// The client has learned the topic id from the REGACK that goes out now.
    pub(super) fn topic_id_registered(&mut self, id: SessionId, index: TopicIndex, topic_id: u16) {
        let waits = self.topics.get(index).is_some_and(|topic| {
            let subscriber = topic.subscribers.get(&id);
            subscriber.is_some_and(|subscriber| subscriber.alias.is_none())
        });
        if waits
            && self.offloading.enabled()
            && let Some(session) = self.sessions.get_mut(id)
        {
            session.hand_over.push(index);
        }
        self.topic_id_known(id, index, topic_id);
    }

    /// The client knows that this topic id means the topic.
    pub(super) fn topic_id_known(&mut self, id: SessionId, index: TopicIndex, topic_id: u16) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.topic_ids.set_known(index, true);
        if let Some(topic) = self.topics.get_mut(index)
            && let Some(subscriber) = topic.subscribers.get_mut(&id)
            && subscriber.alias.is_none()
        {
            subscriber.alias = Some(Alias::normal(topic_id));
            self.offloading.mark_subscriber(index, id);
        }
    }

    pub(super) fn on_subscribe(&mut self, _now: Instant, id: SessionId, request: &Subscribe<'_>) {
        let msg_id = request.msg_id;
        match self.subscribe(id, request) {
            Ok((filter, topic_id)) => {
                let suback = Suback {
                    qos: request.qos,
                    topic_id,
                    msg_id,
                    return_code: ReturnCode::Accepted,
                };
                self.hand_over(id);
                self.offloading.gate.push(Reply::Suback(id, suback, filter));
            }
            Err(return_code) => {
                let suback = Suback {
                    qos: Qos::Zero,
                    topic_id: 0,
                    msg_id,
                    return_code,
                };
                if let Some(session) = self.sessions.get(id) {
                    self.transmits.push(&session.peer, &Packet::Suback(suback));
                }
            }
        }
    }

    fn subscribe(
        &mut self,
        id: SessionId,
        request: &Subscribe<'_>,
    ) -> Result<(Box<str>, u16), ReturnCode> {
        let filter = self.filter_of(id, &request.topic)?;
        // Shared subscriptions are MQTT 5's; MQTT-SN 1.2 does not know them, and its SUBSCRIBE carries
        // them as it carries any topic name.
        let inner = self.checked_share(&filter)?;
        let by_name = matches!(request.topic, TopicRef::Name(_));
        let matched = inner.unwrap_or(&filter);
        if request.qos == Qos::MinusOne || (inner.is_some() && !by_name) || self.too_deep(matched) {
            return Err(ReturnCode::NotSupported);
        }
        let session = self.sessions.get(id).ok_or(ReturnCode::NotSupported)?;
        if !self.access.may_subscribe(&session.client(), matched) {
            self.stats.access_denied += 1;
            return Err(ReturnCode::NotSupported);
        }
        let full = session.filters.len() >= self.config.max_subscriptions
            || self.subscriptions.len() >= self.config.max_total_subscriptions
            || !self.has_room_for(&filter);
        if full && !session.filters.contains(&filter) {
            self.stats.refused_full += 1;
            return Err(ReturnCode::Congestion);
        }
        let mut alias = None;
        let mut topic_id = 0;
        if !has_wildcards(matched) {
            alias = request.topic.alias();
            let index = self.topic_named(matched).ok_or(ReturnCode::Congestion)?;
            match request.topic {
                TopicRef::Name(_) => {
                    topic_id = self
                        .assign_topic_id(id, index)
                        .ok_or(ReturnCode::Congestion)?;
                    // The SUBACK is about to tell it.
                    alias = Some(Alias::normal(topic_id));
                    if let Some(session) = self.sessions.get_mut(id) {
                        session.topic_ids.set_known(index, true);
                    }
                }
                TopicRef::Predefined(predefined) => topic_id = predefined,
                // MQTT-SN 1.2 §5.4.16: not relevant for a short topic name.
                TopicRef::Short(_) => {}
            }
        }
        let predefined = match request.topic {
            TopicRef::Predefined(topic_id) => Some(topic_id),
            TopicRef::Name(_) | TopicRef::Short(_) => None,
        };
        self.subscriptions.add(&filter, id, request.qos, predefined);
        if let Some(session) = self.sessions.get_mut(id) {
            session.filters.insert(filter.clone());
        }
        if inner.is_some() {
            self.join_share(id, &filter, alias);
            return Ok((filter, topic_id));
        }
        for index in self.topics.matched_by(&filter) {
            let grant = match self.topics.get(index) {
                Some(topic) => self.subscriptions.of_session(&topic.name, id),
                None => None,
            };
            if let Some(grant) = grant {
                self.add_subscriber(id, index, grant, alias, true);
            }
        }
        Ok((filter, topic_id))
    }

    /// The topic filter that a SUBSCRIBE or UNSUBSCRIBE names.
    fn filter_of(&self, id: SessionId, topic: &TopicRef<'_>) -> Result<Box<str>, ReturnCode> {
        match *topic {
            TopicRef::Name(name) => match validate_filter(name) {
                Ok(()) => Ok(name.into()),
                Err(_) => Err(ReturnCode::NotSupported),
            },
            TopicRef::Predefined(topic_id) => {
                let client_id = self.sessions.get(id).map(|session| &*session.client_id);
                let index = self.topics.predefined(client_id, topic_id);
                index
                    .and_then(|index| self.topics.get(index))
                    .map(|topic| topic.name.as_ref().into())
                    .ok_or(ReturnCode::InvalidTopicId)
            }
            TopicRef::Short(octets) => match std::str::from_utf8(&octets) {
                // MQTT-SN 1.2 §6.7: the rules of topic names hold for short ones, wildcards included.
                Ok(name) if validate_filter(name).is_ok() => Ok(name.into()),
                _ => Err(ReturnCode::NotSupported),
            },
        }
    }

    pub(super) fn too_deep(&self, topic: &str) -> bool {
        topic.split('/').count() > self.config.max_topic_levels
    }

    /// The session receives the topic, or receives it otherwise. `joining` is false for a topic that
    /// is younger than the subscription.
    pub(super) fn add_subscriber(
        &mut self,
        id: SessionId,
        index: TopicIndex,
        grant: Grant,
        alias: Option<Alias>,
        joining: bool,
    ) {
        self.add_receiver(id, index, alias);
        let Some(topic) = self.topics.get_mut(index) else {
            return;
        };
        let Some(subscriber) = topic.subscribers.get_mut(&id) else {
            return;
        };
        let before = subscriber.ordinary;
        if before.is_none() {
            let joining = joining || !grant.active;
            subscriber.served.count_in(!joining);
            topic.generations.joined |= joining;
        }
        let ordinary = Ordinary {
            granted: grant.qos,
            active: grant.active || before.is_some_and(|before| before.active),
        };
        topic.set_ordinary(id, Some(ordinary));
        self.offloading.mark_subscriber(index, id);
    }

    /// The session can be told of messages on the topic, as a subscriber or a member of a group.
    pub(super) fn add_receiver(&mut self, id: SessionId, index: TopicIndex, alias: Option<Alias>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(topic) = self.topics.get_mut(index) else {
            return;
        };
        let known = session.topic_ids.known(index).map(Alias::normal);
        let alias = alias.or(topic.short()).or(known);
        session.topics.insert(index);
        let subscriber = topic.subscribers.entry(id).or_insert_with(|| Subscriber {
            ordinary: None,
            alias: None,
            rejected: false,
            served: ServedHistory::joining(),
        });
        // The alias in use stays: no copy on its way is renamed.
        subscriber.alias = subscriber.alias.or(alias);
        subscriber.rejected = false;
    }

    /// Forgets the session as a receiver of the topic, unless it still is one.
    pub(super) fn release_receiver(&mut self, id: SessionId, index: TopicIndex) {
        let member = self.is_member(id, index);
        let Some(topic) = self.topics.get_mut(index) else {
            return;
        };
        let subscriber = topic.subscribers.get(&id);
        if member || subscriber.is_none_or(|subscriber| subscriber.ordinary.is_some()) {
            return;
        }
        topic.remove_subscriber(id);
        if let Some(session) = self.sessions.get_mut(id) {
            session.topics.remove(&index);
            session.deferred.remove(&index);
            session.introduce.remove(&index);
        }
        self.topics.released(index);
    }

    /// The SUBACK was sent: from now on the session is owed what is published.
    pub(super) fn subscribed(&mut self, now: Instant, id: SessionId, filter: &str) {
        if !self.subscriptions.activate(filter, id) {
            return;
        }
        if shares::matched(filter) != filter {
            // MQTT 5 §3.3.1.3: what is retained is not for share groups.
            self.take_on(id);
            return;
        }
        for index in self.topics.matched_by(filter) {
            if let Some(topic) = self.topics.get_mut(index)
                && let Some(subscriber) = topic.subscribers.get(&id)
                && let Some(ordinary) = subscriber.ordinary
            {
                let active = true;
                topic.set_ordinary(id, Some(Ordinary { active, ..ordinary }));
            }
        }
        self.owe_retained(now, id, filter);
    }

    pub(super) fn on_unsubscribe(
        &mut self,
        _now: Instant,
        id: SessionId,
        request: &Unsubscribe<'_>,
    ) {
        // UNSUBACK has no return code: what never was is gone as well (MQTT 3.1.1 §3.10.4).
        if let Ok(filter) = self.filter_of(id, &request.topic) {
            self.unsubscribe(id, &filter);
        }
        self.hand_over(id);
        self.offloading
            .gate
            .push(Reply::Unsuback(id, request.msg_id));
    }

    pub(super) fn unsubscribe(&mut self, id: SessionId, filter: &str) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !session.filters.remove(filter) {
            return;
        }
        session.outbox.due.remove(filter);
        self.subscriptions.remove(filter, id);
        if let Some(share) = self.shares.find(filter) {
            let of_share = |message: &Queued| message.shared.is_some_and(|s| s.share == share);
            let left = session.outbox.take(of_share);
            self.left_share(id, filter);
            for message in left {
                self.orphan(id, message);
            }
            return;
        }
        for index in self.topics.matched_by(filter) {
            let Some(topic) = self.topics.get_mut(index) else {
                continue;
            };
            let active = topic.subscribers.get(&id).and_then(|s| s.ordinary);
            let active = active.is_some_and(|ordinary| ordinary.active);
            let grant = self.subscriptions.of_session(&topic.name, id);
            let granted = grant.map(|grant| grant.qos);
            topic.set_ordinary(id, granted.map(|granted| Ordinary { granted, active }));
            self.release_receiver(id, index);
            self.offloading.mark_subscriber(index, id);
        }
    }
}
