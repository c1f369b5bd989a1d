//! CONNECT, wills, DISCONNECT, sleep: the life of a session (MQTT-SN 1.2 §6.2, §6.3, §6.12, §6.14).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mqttsn::packet::{Connect, Disconnect, WillTopic};
use mqttsn::types::PROTOCOL_ID;
use mqttsn::{Alias, Packet, Qos, ReturnCode, TopicIdType};
use offload::{Change, PublicationKey, RefusedItem, SessionId, TopicIndex};

use super::Broker;
use super::deliver::{By, Message, Origin};
use crate::access::Client;
use crate::offloading::contract_alias;
use crate::offloading::gate::Reply;
use crate::session::State;
use crate::session::will::{ConnectRequest, Dialogue, Will, WillData};
use crate::shares::Publisher;
use crate::transmit::{Peer, Source, Via};

impl Broker {
    pub(super) fn on_connect(
        &mut self,
        now: Instant,
        source: &Source<'_>,
        peer: &Peer,
        connect: &Connect<'_>,
    ) {
        let admitted = match self.identify(source, peer, connect.client_id) {
            Ok(admitted) if connect.protocol_id == PROTOCOL_ID => admitted,
            Ok(_) | Err(_) => {
                self.transmits
                    .push(peer, &Packet::Connack(ReturnCode::NotSupported));
                return;
            }
        };
        let allowed = self.may_have_session(now, peer, admitted.name, admitted.proved);
        let allowed = allowed.and(match self.can_hold() {
            true => Ok(()),
            false => Err(ReturnCode::Congestion),
        });
        if let Err(code) = allowed {
            self.transmits.push(peer, &Packet::Connack(code));
            return;
        }
        let at_peer = self.sessions.at_peer(peer);
        if let Some(session) = at_peer.and_then(|id| self.sessions.get(id))
            && session.is_active()
            && !session.ready
            && !connect.will
            && *session.client_id == *admitted.name
            && session.clean == connect.clean_session
        {
            // The same CONNECT again, while its CONNACK waits: that CONNACK is the answer.
            return;
        }
        let request = ConnectRequest {
            client_id: admitted.name.into(),
            identity: source.identity.map(Into::into),
            proved: admitted.proved,
            clean: connect.clean_session,
            keep_alive: connect.duration.into(),
        };
        if !connect.will {
            // MQTT-SN 1.2 §6.3: without Will and without CleanSession the stored will stays.
            self.connect(now, peer, request, WillData::Kept);
            return;
        }
        if self.dialogues.get_mut(peer).is_none()
            && self.dialogues.len() >= self.config.max_unconfirmed_sessions
        {
            self.dialogues.evict();
            self.stats.dialogues_evicted += 1;
        }
        let deadline = now + self.dialogue_time();
        self.dialogues.start(peer, request, deadline);
        self.transmits.push(peer, &Packet::WillTopicReq);
    }

    pub(super) fn on_will_topic(
        &mut self,
        now: Instant,
        peer: &Peer,
        topic: Option<&WillTopic<'_>>,
    ) {
        let Some(dialogue) = self.dialogues.get_mut(peer) else {
            self.connack_again(peer, |will| topic.is_none() && will.is_none());
            return;
        };
        let Some(topic) = topic else {
            // MQTT-SN 1.2 §6.3: an empty WILLTOPIC deletes the will.
            if let Some(dialogue) = self.dialogues.finish(peer) {
                self.connect(now, peer, dialogue.request, WillData::New(None));
            }
            return;
        };
        let request = dialogue.request.clone();
        let client = Client::at(&request.client_id, peer, request.identity.as_deref());
        match self.checked_will_topic(&client, topic) {
            Ok(will) => {
                if let Some(dialogue) = self.dialogues.get_mut(peer) {
                    dialogue.will = Some(will);
                }
                self.transmits.push(peer, &Packet::WillMsgReq);
            }
            Err(code) => {
                self.dialogues.finish(peer);
                self.transmits.push(peer, &Packet::Connack(code));
            }
        }
    }

    pub(super) fn on_will_msg(&mut self, now: Instant, peer: &Peer, message: &[u8]) {
        match self.dialogues.finish(peer) {
            Some(Dialogue { will: Some(_), .. }) if message.len() > self.config.max_will_octets => {
                self.stats.refused_full += 1;
                self.transmits
                    .push(peer, &Packet::Connack(ReturnCode::NotSupported));
            }
            Some(Dialogue {
                request,
                will: Some(will),
                ..
            }) => {
                let payload = message.into();
                let will = Some(Will { payload, ..will });
                self.connect(now, peer, request, WillData::New(will));
            }
            // A message without its topic: the client must start over.
            Some(Dialogue { will: None, .. }) => {
                self.answer_without_session(peer, &Packet::WillMsg(message));
            }
            None => self.connack_again(peer, |will| {
                will.is_some_and(|will| *will.payload == *message)
            }),
        }
    }

    /// The last word of a will dialogue that is over: the CONNACK was lost (MQTT-SN 1.2 §6.13). Of
    /// a dialogue that never was, or took too long: the client must start over.
    fn connack_again(&mut self, peer: &Peer, said: impl FnOnce(Option<&Will>) -> bool) {
        match self.sessions.active_at(peer) {
            Some(session) if session.ready && said(session.will.as_ref()) => self
                .transmits
                .push(peer, &Packet::Connack(ReturnCode::Accepted)),
            Some(_) => self.stats.unexpected += 1,
            None => self.answer_without_session(peer, &Packet::WillTopicReq),
        }
    }

    fn checked_will_topic(
        &mut self,
        client: &Client<'_>,
        topic: &WillTopic<'_>,
    ) -> Result<Will, ReturnCode> {
        let name = mqttsn::topic::validate_name(topic.topic);
        if topic.qos == Qos::MinusOne || name.is_err() || self.too_deep(topic.topic) {
            return Err(ReturnCode::NotSupported);
        }
        if !self.access.may_publish(Some(client), topic.topic) {
            self.stats.access_denied += 1;
            return Err(ReturnCode::NotSupported);
        }
        Ok(Will {
            topic: topic.topic.into(),
            qos: topic.qos,
            retain: topic.retain,
            payload: Box::default(),
        })
    }

    /// MQTT-SN 1.2 §6.4.
    pub(super) fn on_will_topic_upd(&mut self, id: SessionId, topic: Option<&WillTopic<'_>>) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let (client_id, identity) = (session.client_id.clone(), session.identity.clone());
        let peer = session.peer.clone();
        let client = Client::at(&client_id, &peer, identity.as_deref());
        let checked = topic
            .map(|topic| self.checked_will_topic(&client, topic))
            .transpose();
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let code = match checked {
            Ok(will) => {
                let payload = session.will.take().map(|will| will.payload);
                session.will = will.map(|will| Will {
                    payload: payload.unwrap_or_default(),
                    ..will
                });
                ReturnCode::Accepted
            }
            Err(code) => code,
        };
        self.transmits
            .push(&session.peer, &Packet::WillTopicResp(code));
    }

    /// MQTT-SN 1.2 §6.4.
    pub(super) fn on_will_msg_upd(&mut self, id: SessionId, message: &[u8]) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let code = match &mut session.will {
            Some(_) if message.len() > self.config.max_will_octets => {
                self.stats.refused_full += 1;
                ReturnCode::NotSupported
            }
            Some(will) => {
                will.payload = message.into();
                ReturnCode::Accepted
            }
            // There is no topic to publish it to.
            None => ReturnCode::NotSupported,
        };
        self.transmits
            .push(&session.peer, &Packet::WillMsgResp(code));
    }

    /// Sets up the session; CONNACK follows when the data plane has forgotten what was before.
    fn connect(&mut self, now: Instant, peer: &Peer, request: ConnectRequest, will: WillData) {
        self.dialogues.finish(peer);
        self.offloading.gate.forget_disconnect(peer);
        // Asked again: a will dialogue takes its time.
        let allowed = self.may_have_session(now, peer, &request.client_id, request.proved);
        if let Err(code) = allowed {
            self.transmits.push(peer, &Packet::Connack(code));
            return;
        }
        if let Some(other) = self.sessions.at_peer(peer)
            && self.sessions.of_client(&request.client_id) != Some(other)
        {
            self.displace(now, other);
        }
        if let Some(id) = self.sessions.of_client(&request.client_id) {
            self.take_over(now, id, peer);
        }
        let mut found = self.sessions.of_client(&request.client_id);
        // A will dialogue is more than a CONNECT, and who has proved itself can be reached.
        let before = found.and_then(|id| self.sessions.get(id));
        let confirmed = peer.via == Via::Dtls
            || request.proved
            || will != WillData::Kept
            || before.is_some_and(|session| session.confirmed);
        if let Some(id) = found
            && request.clean
        {
            // MQTT-SN 1.2 §6.3: without CleanSession all is kept that is there; that is also what a
            // clean session has that did not end but sleeps.
            self.remove_session(id);
            found = None;
        }
        let id = match found {
            Some(id) => {
                self.withdraw(id);
                self.sessions.bind(id, peer);
                id
            }
            None => {
                let added = match self.make_room(peer) {
                    true => self.sessions.add(&request.client_id, peer, now),
                    false => None,
                };
                let Some(id) = added else {
                    self.transmits
                        .push(peer, &Packet::Connack(ReturnCode::Congestion));
                    return;
                };
                if !confirmed {
                    self.sessions.set_unconfirmed(id);
                }
                id
            }
        };
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.identity = request.identity;
        session.proved = request.proved;
        session.state = State::Active;
        session.ready = false;
        session.clean = request.clean;
        session.keep_alive = request.keep_alive;
        session.heard = now;
        session.asked = None;
        if let WillData::New(will) = will {
            session.will = will;
        }
        session.outbox.suspend();
        // MQTT-SN 1.2 §6.5: after a reconnection the gateway registers its topic ids anew.
        session.topic_ids.forget_known();
        for &index in &session.topics {
            if let Some(topic) = self.topics.get_mut(index)
                && let Some(subscriber) = topic.subscribers.get_mut(&id)
            {
                subscriber.rejected = false;
                if subscriber
                    .alias
                    .is_some_and(|alias| alias.topic_id_type == TopicIdType::Normal)
                {
                    subscriber.alias = None;
                }
            }
            self.offloading.mark_subscriber(index, id);
        }
        if let Some(patience) = session.patience(&self.config) {
            self.timers.schedule(id, &mut session.timer, now + patience);
        }
        self.offloading.gate.push(Reply::Connack(id));
    }

    /// Sends the CONNACK.
    pub(super) fn connected(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id).filter(|s| s.is_active()) else {
            return;
        };
        session.ready = true;
        self.transmits
            .push(&session.peer, &Packet::Connack(ReturnCode::Accepted));
        for &index in &session.topics {
            self.offloading.mark_subscriber(index, id);
        }
        self.take_on(id);
        self.resume(now, id);
    }

    pub(super) fn on_disconnect(&mut self, now: Instant, peer: &Peer, disconnect: &Disconnect) {
        self.dialogues.finish(peer);
        let Some(id) = self.sessions.at_peer(peer) else {
            // The answer to a DISCONNECT whose answer was lost.
            self.hold_disconnect(peer);
            return;
        };
        let duration = disconnect
            .duration
            .map(Duration::from)
            .filter(|duration| !duration.is_zero());
        match duration {
            None => self.end_connection(id),
            Some(duration) => self.sleep(now, id, duration),
        }
        self.hold_disconnect(peer);
    }

    /// Anybody may send DISCONNECT, and often: without room the answer waits for the next one.
    fn hold_disconnect(&mut self, peer: &Peer) {
        if self.can_hold() {
            self.offloading.gate.push(Reply::Disconnect(peer.clone()));
        }
    }

    /// MQTT-SN 1.2 §6.14: the client will not listen for a while.
    fn sleep(&mut self, now: Instant, id: SessionId, duration: Duration) {
        self.withdraw(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.state = State::Asleep;
        session.sleep = duration;
        session.heard = now;
        session.asked = None;
        session.outbox.suspend();
        if let Some(patience) = session.patience(&self.config) {
            self.timers.schedule(id, &mut session.timer, now + patience);
        }
        self.hand_on(id);
    }

    pub(super) fn on_pingreq(
        &mut self,
        now: Instant,
        source: &Source<'_>,
        peer: &Peer,
        client_id: &str,
    ) {
        let found = match client_id {
            "" => self.sessions.at_peer(peer),
            client_id => self.of_pinging_client(source, peer, client_id),
        };
        let Some(session) = found.and_then(|id| self.sessions.get_mut(id)) else {
            self.answer_without_session(peer, &Packet::Pingresp);
            return;
        };
        let id = session.id;
        match session.state {
            // MQTT-SN 1.2 §6.11.
            State::Active if session.peer == *peer => {
                session.heard = now;
                self.confirm(id);
                if self.hand_over(id) {
                    self.offloading.gate.push(Reply::Pingresp(peer.clone()));
                } else {
                    self.transmits.push(peer, &Packet::Pingresp);
                }
            }
            // MQTT-SN 1.2 §6.14: PINGREQ with its ClientId fetches what was buffered.
            State::Asleep | State::Awake if !client_id.is_empty() => {
                session.heard = now;
                session.state = State::Awake;
                session.ready = false;
                session.outbox.suspend();
                session.identity = source.identity.map(Into::into);
                let moves = session.peer != *peer;
                match self.sessions.at_peer(peer) {
                    Some(other) if other == id => {}
                    other => {
                        if let Some(other) = other {
                            self.displace(now, other);
                        }
                        if moves {
                            self.tell_former_address(id, peer);
                        }
                        self.sessions.bind(id, peer);
                    }
                }
                self.resume(now, id);
            }
            // MQTT-SN 1.2 §5.4.19: without its ClientId it does not ask for what was buffered, only
            // whether the gateway is alive. A PINGRESP to one that is awake would say that there is
            // no more (§5.4.20); it comes in its time.
            State::Asleep => {
                session.heard = now;
                self.transmits.push(peer, &Packet::Pingresp);
            }
            State::Awake => session.heard = now,
            State::Active | State::Disconnected => {
                self.answer_without_session(peer, &Packet::Pingresp);
            }
        }
    }

    /// The session of the client that says by PINGREQ that it is this one, if it may.
    fn of_pinging_client(
        &mut self,
        source: &Source<'_>,
        peer: &Peer,
        client_id: &str,
    ) -> Option<SessionId> {
        let admitted = self.identify(source, peer, client_id).ok()?;
        let id = self.sessions.of_client(admitted.name)?;
        let stranger = self.sessions.get(id)?.proved && !admitted.proved;
        self.stats.access_denied += u64::from(stranger);
        (!stranger).then_some(id)
    }

    /// Nothing is heard of the client any more.
    pub(super) fn lose(&mut self, now: Instant, id: SessionId) {
        let Some(peer) = self.sessions.get(id).map(|session| session.peer.clone()) else {
            return;
        };
        // MQTT-SN 1.2 §5.4.21: should it still be there, it learns that it must connect.
        if self.sessions.at_peer(&peer) == Some(id) {
            self.send_disconnect(&peer);
        }
        self.end_without_word(now, id);
    }

    /// Another client speaks from where this one was.
    pub(super) fn displace(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        match session.state {
            // MQTT-SN 1.2 §6.14: it is known by its ClientId when it wakes up, wherever that is, and
            // only the sleep timer says that it is lost.
            State::Asleep | State::Awake => {
                session.state = State::Asleep;
                session.ready = false;
                session.outbox.suspend();
                self.sessions.unbind(id);
            }
            // Gone without a word.
            State::Active | State::Disconnected => self.end_without_word(now, id),
        }
    }

    /// The connection ends without DISCONNECT: the will is published (MQTT-SN 1.2 §6.3).
    pub(super) fn end_without_word(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        self.stats.sessions_lost += 1;
        let will = session.will.clone();
        let by = By::Publisher(Publisher::client(&session.client_id));
        tracing::debug!(client = %session.client_id, "session lost");
        self.end_connection(id);
        if let Some(will) = will {
            self.publish_will(now, &will, by);
        }
    }

    pub(super) fn publish_will(&mut self, now: Instant, will: &Will, by: By) {
        let Some(index) = self.topic_named(&will.topic) else {
            return;
        };
        self.stats.wills += 1;
        let message = Message {
            topic: index,
            qos: will.qos,
            retain: will.retain,
            data: &will.payload,
            by,
        };
        self.deliver(now, &message, Origin::Here);
    }

    /// The connection is over: the session stays if it asked for it.
    pub(super) fn end_connection(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.clean {
            self.remove_session(id);
            return;
        }
        session.state = State::Disconnected;
        session.ready = false;
        session.outbox.suspend();
        session.asked = None;
        self.timers.cancel(id, &mut session.timer);
        self.withdraw(id);
        self.sessions.unbind(id);
        self.hand_on(id);
    }

    /// Takes all that the session has out of the data plane.
    fn withdraw(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.deferred.clear();
        session.unannounced.clear();
        session.hand_over.clear();
        session.introduce.clear();
        let direct = session.peer.is_direct().then_some(session.peer.address);
        for (alias, index) in std::mem::take(&mut session.publications) {
            self.release_publication(direct.map(|address| (address, alias)), index);
        }
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        for &index in &session.topics {
            self.offloading.mark_subscriber(index, id);
        }
    }

    /// A session has given up a publication of the topic. `told` is what the data plane may know it
    /// by: where its PUBLISH come from, and the alias in them.
    pub(super) fn release_publication(
        &mut self,
        told: Option<(SocketAddr, Alias)>,
        index: TopicIndex,
    ) {
        if let Some((address, alias)) = told {
            let key = PublicationKey {
                address,
                alias: contract_alias(alias),
            };
            self.offloading.change(Change::Publication(key, None));
            self.offloading
                .set_refusal(RefusedItem::Publication(key), None);
        }
        if let Some(topic) = self.topics.get_mut(index) {
            topic.publications = topic.publications.saturating_sub(1);
        }
        self.topics.released(index);
        self.offloading.mark(index);
    }

    pub(super) fn remove_session(&mut self, id: SessionId) {
        self.withdraw(id);
        let Some(mut session) = self.sessions.remove(id) else {
            return;
        };
        self.timers.cancel(id, &mut session.timer);
        for filter in &session.filters {
            self.subscriptions.remove(filter, id);
            self.left_share(id, filter);
        }
        session.outbox.suspend();
        for message in session.outbox.take(|message| message.shared.is_some()) {
            self.orphan(id, message);
        }
        for &index in &session.topics {
            if let Some(topic) = self.topics.get_mut(index) {
                topic.remove_subscriber(id);
            }
            self.topics.released(index);
        }
        let mut named: Vec<_> = session.topic_ids.topics().collect();
        named.sort_unstable();
        for index in named {
            if let Some(topic) = self.topics.get_mut(index) {
                topic.topic_ids = topic.topic_ids.saturating_sub(1);
            }
            self.topics.released(index);
        }
    }
}
