//! PUBLISH from clients and from the data plane (MQTT-SN 1.2 §6.6 to §6.8).

use std::time::Instant;

use mqttsn::packet::Publish;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, Tag, TopicIdType};
use offload::{Generation, SessionId, TopicIndex};

use super::Broker;
use super::deliver::{By, Message, Origin};
use crate::session::Session;
use crate::transmit::Peer;

/// MsgIds of QoS 2 that one client may leave unreleased.
const MAX_UNRELEASED: usize = 256;

impl Broker {
    pub(super) fn on_publish(
        &mut self,
        now: Instant,
        peer: &Peer,
        tag: Option<Tag>,
        publish: &Publish<'_>,
    ) {
        match tag {
            Some(tag) => {
                self.stats.publish_tagged += 1;
                self.on_tagged(now, peer, tag, publish);
            }
            None => {
                self.stats.publish_untagged += 1;
                match publish.qos {
                    Qos::MinusOne => self.on_publish_without_session(now, peer, publish),
                    Qos::Zero | Qos::One | Qos::Two => self.on_untagged(now, peer, publish),
                }
            }
        }
    }

    /// A copy of a PUBLISH that the data plane admitted and served in part.
    fn on_tagged(&mut self, now: Instant, peer: &Peer, tag: Tag, publish: &Publish<'_>) {
        let index = TopicIndex(tag.topic_index);
        let memory = self.offloading.config.generation_memory();
        let origin = match self.topics.get(index) {
            None => {
                self.stats.tag_unknown_topic += 1;
                None
            }
            Some(topic) => {
                let sequence = self
                    .offloading
                    .sequence_of(Generation(tag.generation))
                    .filter(|&sequence| topic.generations.remembers(now, sequence, memory));
                match sequence {
                    Some(sequence) => Some(Origin::DataPlane(sequence)),
                    None => {
                        // Nobody knows who has it. At QoS 1 no PUBACK is sent: the message comes
                        // again with DUP, and so untagged. Somebody who makes up a tag has to guess.
                        self.stats.tag_unknown_generation += 1;
                        None
                    }
                }
            }
        };
        let Some(origin) = origin else {
            return;
        };
        let by = match self.sessions.at_peer(peer) {
            Some(id) if publish.qos != Qos::MinusOne => By::Session(id),
            _ => By::Address(peer.address),
        };
        let message = Message::of(index, publish, by);
        self.deliver(now, &message, origin);
        let session = self.sessions.active_at(peer);
        let connected = session
            .map(|session| {
                if publish.qos != Qos::MinusOne {
                    session.heard = now;
                }
            })
            .is_some();
        match publish.qos {
            Qos::MinusOne => {}
            // Its publication is about to leave the data plane; what that has served stays served.
            _ if !connected => self.answer_without_session(peer, &Packet::Publish(*publish)),
            Qos::One => {
                let topic_id = publish.alias.topic_id;
                self.send_puback(peer, topic_id, publish.msg_id, ReturnCode::Accepted);
            }
            Qos::Zero | Qos::Two => {}
        }
    }

    /// MQTT-SN 1.2 §6.8: QoS −1 needs no session, only an alias that needs none either.
    fn on_publish_without_session(&mut self, now: Instant, peer: &Peer, publish: &Publish<'_>) {
        if !self.admit_anybody(now) {
            return;
        }
        // It is anybody's, also from the address of a session: through the data plane nobody could tell
        // whose it is. So it is no sign of life either, and needs everybody's permission.
        let index = match publish.alias.topic_id_type {
            TopicIdType::Normal => None,
            TopicIdType::Predefined | TopicIdType::Short => {
                self.open_topic(None, publish.alias).ok()
            }
        };
        match index {
            Some(index) => {
                let message = Message::of(index, publish, By::Address(peer.address));
                self.deliver(now, &message, Origin::Here);
            }
            None => self.stats.invalid_topic += 1,
        }
    }

    /// The topic of an alias that every client knows, where publishing to it is permitted.
    fn open_topic(
        &mut self,
        id: Option<SessionId>,
        alias: Alias,
    ) -> Result<TopicIndex, ReturnCode> {
        let index = match alias.as_short() {
            Some(octets) => match std::str::from_utf8(&octets) {
                Ok(name) if mqttsn::topic::validate_name(name).is_ok() => {
                    self.topic_named(name).ok_or(ReturnCode::Congestion)?
                }
                _ => return Err(ReturnCode::NotSupported),
            },
            None => {
                let session = id.and_then(|id| self.sessions.get(id));
                let client_id = session.map(|session| &*session.client_id);
                let index = self.topics.predefined(client_id, alias.topic_id);
                index.ok_or(ReturnCode::InvalidTopicId)?
            }
        };
        let topic = self.topics.get(index).ok_or(ReturnCode::InvalidTopicId)?;
        let client = id.and_then(|id| self.sessions.get(id)).map(Session::client);
        if !self.access.may_publish(client.as_ref(), &topic.name) {
            self.stats.access_denied += 1;
            return Err(ReturnCode::NotSupported);
        }
        Ok(index)
    }

    fn on_untagged(&mut self, now: Instant, peer: &Peer, publish: &Publish<'_>) {
        let Some(session) = self.sessions.active_at(peer) else {
            self.answer_without_session(peer, &Packet::Publish(*publish));
            return;
        };
        session.heard = now;
        let id = session.id;
        let known = session.publications.get(&publish.alias).copied();
        if !session.confirmed {
            self.confirm(id);
        }
        if !self.admit_publish(now, id, peer, publish) {
            return;
        }
        let (topic_id, msg_id) = (publish.alias.topic_id, publish.msg_id);
        let index = match known {
            Some(index) => index,
            None => match self.first_publish(id, publish.alias) {
                Ok(index) => index,
                Err(code) => {
                    self.stats.invalid_topic += 1;
                    // MQTT-SN 1.2 §5.4.13: also in answer to QoS 0, so that the client registers.
                    self.send_puback(peer, topic_id, msg_id, code);
                    return;
                }
            },
        };
        self.offloading.heard(index, peer, publish.alias);
        let message = Message::of(index, publish, By::Session(id));
        match publish.qos {
            Qos::MinusOne | Qos::Zero => self.deliver(now, &message, Origin::Here),
            Qos::One => {
                // The copies first: a publisher that waits for its PUBACK keeps its order. Its own
                // copy is behind it: simple clients take what comes next for the answer.
                self.deliver(now, &message, Origin::HereBut(id));
                // All that it has sent is on its way, ahead of what follows the PUBACK.
                self.announce_publications(id);
                self.send_puback(peer, topic_id, msg_id, ReturnCode::Accepted);
                self.deliver(now, &message, Origin::HereOnly(id));
            }
            Qos::Two => self.on_publish_qos2(now, id, peer, index, publish),
        }
    }

    /// The session publishes under this alias for the first time.
    fn first_publish(&mut self, id: SessionId, alias: Alias) -> Result<TopicIndex, ReturnCode> {
        let session = self.sessions.get(id).ok_or(ReturnCode::InvalidTopicId)?;
        let index = match alias.topic_id_type {
            TopicIdType::Normal => {
                let index = session
                    .topic_ids
                    .topic(alias.topic_id)
                    .ok_or(ReturnCode::InvalidTopicId)?;
                let topic = self.topics.get(index).ok_or(ReturnCode::InvalidTopicId)?;
                if !self
                    .access
                    .may_publish(Some(&session.client()), &topic.name)
                {
                    self.stats.access_denied += 1;
                    return Err(ReturnCode::NotSupported);
                }
                index
            }
            TopicIdType::Predefined | TopicIdType::Short => self.open_topic(Some(id), alias)?,
        };
        self.add_publication(id, alias, index);
        Ok(index)
    }

    /// MQTT-SN 1.2 §6.6 and MQTT 3.1.1 §4.3.3: passed on at once, its MsgId kept until PUBREL.
    fn on_publish_qos2(
        &mut self,
        now: Instant,
        id: SessionId,
        peer: &Peer,
        index: TopicIndex,
        publish: &Publish<'_>,
    ) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let msg_id = publish.msg_id;
        let message = Message::of(index, publish, By::Session(id));
        let new = !session.received.contains(&msg_id);
        if new {
            if session.received.len() >= MAX_UNRELEASED {
                let topic_id = publish.alias.topic_id;
                self.send_puback(peer, topic_id, msg_id, ReturnCode::Congestion);
                return;
            }
            session.received.insert(msg_id);
            self.deliver(now, &message, Origin::HereBut(id));
        }
        self.transmits.push(peer, &Packet::Pubrec(msg_id));
        if new {
            // As with PUBACK.
            self.deliver(now, &message, Origin::HereOnly(id));
        }
    }

    pub(super) fn on_pubrel(&mut self, id: SessionId, msg_id: MsgId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.received.remove(&msg_id);
            self.transmits.push(&session.peer, &Packet::Pubcomp(msg_id));
        }
    }
}
