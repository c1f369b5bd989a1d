//! Messages to subscribers: at once where nothing is in the way, else through the outbox.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use mqttsn::packet::{Puback, Publish, Regack, Register};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicIdType};
use offload::{SessionId, TopicIndex};

use super::Broker;
use crate::offloading::generations::Sequence;
use crate::session::State;
use crate::session::outbox::{Exchange, Full, InFlight, Queued, Room};
use crate::shares::Publisher;

/// Who was served before the broker got the message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// Nobody.
    Here,
    /// Nobody; and this one waits, because what it published is answered first.
    HereBut(SessionId),
    /// All but this one.
    HereOnly(SessionId),
    /// Those whom the data plane served under this generation.
    DataPlane(Sequence),
}

/// Who published a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// A client, by its session.
    Session(SessionId),
    /// Anybody who is there.
    Address(SocketAddr),
    /// One whose session may be gone.
    Publisher(Publisher),
}

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) topic: TopicIndex,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) data: &'a [u8],
    pub(super) by: By,
}

impl<'a> Message<'a> {
    pub(super) fn of(topic: TopicIndex, publish: &Publish<'a>, by: By) -> Self {
        Message {
            topic,
            qos: publish.qos,
            retain: publish.retain,
            data: publish.data,
            by,
        }
    }
}

/// QoS −1 counts as 0; a message is delivered at the lower of published and granted QoS
/// (MQTT 3.1.1 §3.8.4).
pub(super) fn delivered_qos(published: Qos, granted: Qos) -> Qos {
    match (published, granted) {
        (Qos::MinusOne | Qos::Zero, _) | (_, Qos::MinusOne | Qos::Zero) => Qos::Zero,
        (Qos::One, _) | (_, Qos::One) => Qos::One,
        (Qos::Two, Qos::Two) => Qos::Two,
    }
}

impl Broker {
    /// Keeps the message for later subscribers.
    pub(super) fn retain(&mut self, index: TopicIndex, qos: Qos, payload: &[u8]) {
        if !self.retained.put(index, qos, payload) {
            self.stats.retained_full += 1;
        }
        self.topics.released(index);
    }

    /// Gives a message to the subscribers that do not have it yet.
    pub(super) fn deliver(&mut self, now: Instant, message: &Message<'_>, origin: Origin) {
        let Message {
            topic: index,
            qos,
            retain,
            data: payload,
            ..
        } = *message;
        if retain && !matches!(origin, Origin::HereOnly(_)) {
            self.retain(index, qos, payload);
        }
        let in_force = self.offloading.in_force();
        let live = self.offloading.is_live(now);
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.clear();
        let Some(topic) = self.topics.get(index) else {
            return;
        };
        // Most subscribers know the topic by the same alias: the message is written once for them.
        let mut written: Option<(Alias, Range<usize>)> = None;
        let recipients = match origin {
            Origin::HereOnly(only) => topic.subscribers.range(only..=only),
            _ => topic.subscribers.range(..),
        };
        let shared = !topic.shares.is_empty();
        for (&id, subscriber) in recipients {
            let Some(ordinary) = subscriber.ordinary else {
                continue;
            };
            match origin {
                Origin::HereBut(publisher) if id == publisher => continue,
                Origin::Here | Origin::HereBut(_) | Origin::HereOnly(_) => {
                    if !ordinary.active {
                        continue;
                    }
                }
                Origin::DataPlane(sequence) => match subscriber.served.at(sequence) {
                    None => continue,
                    Some(served) => {
                        if if qos == Qos::One {
                            served.q1
                        } else {
                            served.q0
                        } {
                            self.stats.delivered_by_data_plane += 1;
                            continue;
                        }
                    }
                },
            }
            if subscriber.rejected {
                self.stats.dropped_no_topic_id += 1;
                continue;
            }
            let Some(session) = self.sessions.get(id) else {
                continue;
            };
            let delivered = delivered_qos(qos, ordinary.granted);
            let served = subscriber.served.current();
            // What the data plane also brings must not queue here: it would be overtaken. Order is
            // among messages published at the same QoS (MQTT 3.1.1 §4.6), and these were none in
            // the queue when the data plane began to serve the session.
            let served = match qos {
                Qos::One => served.q1,
                Qos::MinusOne | Qos::Zero | Qos::Two => served.q0,
            };
            let leaving = live && subscriber.served.is_leaving(in_force);
            let at_once = (session.listens() && (session.outbox.is_empty() || served))
                || (session.still_listens() && leaving);
            match subscriber.alias {
                Some(alias) if delivered == Qos::Zero && at_once && session.peer.is_direct() => {
                    self.stats.delivered += 1;
                    let range = match &written {
                        Some((same, range)) if *same == alias => range.clone(),
                        _ => {
                            let publish = publish_qos0(alias, false, payload);
                            let range = self.transmits.write(&[], &Packet::Publish(publish));
                            written = Some((alias, range.clone()));
                            range
                        }
                    };
                    self.transmits.push_written(&session.peer, range);
                }
                _ => waiting.push((id, delivered)),
            }
        }
        if !waiting.is_empty() {
            let payload: Arc<[u8]> = payload.into();
            for &(id, qos) in &waiting {
                self.append_in_turn(id, index, qos, retain, &payload);
                self.pump(now, id);
            }
        }
        self.waiting = waiting;
        if shared {
            self.serve_shares(now, message, origin);
        }
    }

    /// Queues a message; whether there was room.
    pub(super) fn append(
        &mut self,
        id: SessionId,
        topic: TopicIndex,
        qos: Qos,
        retain: bool,
        payload: &Arc<[u8]>,
    ) -> bool {
        let Some(session) = self.sessions.get(id) else {
            return false;
        };
        if session.state == State::Disconnected && qos == Qos::Zero {
            self.stats.dropped_not_connected += 1;
            return false;
        }
        let message = Queued {
            seq: 0,
            topic,
            payload: Arc::clone(payload),
            qos,
            retain,
            sent_as: None,
            registered_again: false,
            shared: None,
        };
        match self.queue(id, message) {
            Ok(()) => return true,
            Err(Full::Client) => self.stats.dropped_queue_full += 1,
            Err(Full::All) => self.stats.dropped_total_full += 1,
        }
        false
    }

    /// Puts a message into the session's outbox.
    pub(super) fn queue(&mut self, id: SessionId, message: Queued) -> Result<(), Full> {
        let room = Room {
            messages: self.config.max_queued_messages,
            octets: self.config.max_queued_octets,
            total: self.config.max_total_queued_octets,
        };
        let session = self.sessions.get_mut(id).ok_or(Full::Client)?;
        let gave_way = session.outbox.push(message, room)?;
        self.stats.dropped_queue_full += gave_way as u64;
        Ok(())
    }

    /// Sends what can be sent from the session's outbox.
    pub(super) fn pump(&mut self, now: Instant, id: SessionId) {
        loop {
            let Some(session) = self.sessions.get_mut(id) else {
                return;
            };
            if !session.listens() || session.outbox.in_flight.is_some() {
                return;
            }
            if !session.outbox.due.is_empty() {
                self.catch_up(id);
            }
            let Some(session) = self.sessions.get_mut(id) else {
                return;
            };
            let Some(front) = session.outbox.front() else {
                if self.introduce_next(now, id) {
                    return;
                }
                break;
            };
            let index = front.topic;
            let Some(topic) = self.topics.get_mut(index) else {
                session.outbox.pop();
                continue;
            };
            let subscriber = topic.subscribers.get(&id);
            let wanted = match front.shared {
                None => subscriber.is_some_and(|subscriber| subscriber.ordinary.is_some()),
                Some(shared) => {
                    let filter = self.shares.filter(shared.share);
                    filter.is_some_and(|filter| session.filters.contains(filter))
                }
            };
            let Some(subscriber) = subscriber.filter(|_| wanted) else {
                // Unsubscribed meanwhile: what has not been sent need not be (MQTT 3.1.1 §3.10.4).
                if let Some(left) = session.outbox.pop() {
                    self.orphan(id, left);
                }
                continue;
            };
            let octets = match subscriber.alias {
                None => register(0, MsgId(0), &topic.name).encoded_len(),
                Some(alias) => {
                    Packet::Publish(publish_qos0(alias, false, &front.payload)).encoded_len()
                }
            };
            if octets > session.peer.capacity() {
                // MQTT-SN 1.2 §6.10: what is too long is not sent, and nobody is told.
                session.outbox.pop();
                self.stats.dropped_too_long += 1;
                continue;
            }
            let (msg_id, exchange) = match subscriber.alias {
                None => {
                    let limit = self.config.max_topic_ids;
                    let Some((topic_id, new)) = session.topic_ids.assign(index, limit) else {
                        session.outbox.pop();
                        self.stats.dropped_no_topic_id += 1;
                        continue;
                    };
                    topic.topic_ids += u32::from(new);
                    let register = Exchange::Register {
                        topic: index,
                        topic_id,
                    };
                    (session.next_msg_id(), register)
                }
                Some(alias) => {
                    let Some(message) = session.outbox.pop() else {
                        break;
                    };
                    self.stats.delivered += u64::from(message.sent_as.is_none());
                    if message.qos == Qos::Zero {
                        let publish = publish_qos0(alias, message.retain, &message.payload);
                        self.transmits
                            .push(&session.peer, &Packet::Publish(publish));
                        continue;
                    }
                    let msg_id = message.sent_as.unwrap_or_else(|| session.next_msg_id());
                    (msg_id, Exchange::Publish { message, alias })
                }
            };
            session.outbox.in_flight = Some(InFlight {
                msg_id,
                exchange,
                sent: now,
                retries: 0,
            });
            self.send_in_flight(now, id);
            return;
        }
        self.drained(id);
    }

    /// Nothing waits for the session any more.
    fn drained(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.state == State::Awake {
            // MQTT-SN 1.2 §6.14: PINGRESP says that there is no more; the client may sleep on.
            session.state = State::Asleep;
            self.transmits.push(&session.peer, &Packet::Pingresp);
        }
        for index in std::mem::take(&mut session.deferred) {
            self.offloading.mark_subscriber(index, id);
        }
    }

    /// Sends the message of the exchange under way, for the first time or again.
    pub(super) fn send_in_flight(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(in_flight) = &mut session.outbox.in_flight else {
            return;
        };
        in_flight.sent = now;
        let msg_id = in_flight.msg_id;
        match &in_flight.exchange {
            Exchange::Register { topic, topic_id } => {
                if let Some(topic) = self.topics.get(*topic) {
                    let register = register(*topic_id, msg_id, &topic.name);
                    self.transmits.push(&session.peer, &register);
                }
            }
            Exchange::Publish { message, alias } => {
                let publish = Publish {
                    dup: in_flight.retries > 0 || message.sent_as.is_some(),
                    qos: message.qos,
                    retain: message.retain,
                    alias: *alias,
                    msg_id,
                    data: &message.payload,
                };
                self.transmits
                    .push(&session.peer, &Packet::Publish(publish));
            }
            Exchange::Release => {
                self.transmits.push(&session.peer, &Packet::Pubrel(msg_id));
            }
        }
        self.schedule(id, now + self.config.t_retry());
    }

    /// A client that can hear again: takes up what was under way, and what has come since.
    pub(super) fn resume(&mut self, now: Instant, id: SessionId) {
        self.send_in_flight(now, id);
        self.pump(now, id);
    }

    /// MQTT-SN 1.2 §6.13, from the gateway's side: sends again, or gives the client up. False if the
    /// session is over.
    pub(super) fn retry(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id).filter(|s| s.listens()) else {
            return;
        };
        let Some(in_flight) = &mut session.outbox.in_flight else {
            return;
        };
        if now < in_flight.sent + self.config.t_retry() {
            return;
        }
        if in_flight.retries >= self.config.n_retry {
            match session.state {
                // MQTT-SN 1.2 §6.14: it may go back to sleep before the PINGRESP. What it did not
                // acknowledge waits for its next PINGREQ; the sleep timer says when it is lost.
                State::Awake => {
                    session.state = State::Asleep;
                    session.outbox.suspend();
                }
                State::Active | State::Asleep | State::Disconnected => self.lose(now, id),
            }
            return;
        }
        in_flight.retries += 1;
        self.stats.retransmissions += 1;
        self.send_in_flight(now, id);
    }

    pub(super) fn on_regack(&mut self, now: Instant, id: SessionId, regack: &Regack) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let (index, topic_id) = match &session.outbox.in_flight {
            Some(InFlight {
                msg_id,
                exchange: Exchange::Register { topic, topic_id },
                ..
            }) if *msg_id == regack.msg_id => (*topic, *topic_id),
            _ => return,
        };
        session.outbox.in_flight = None;
        if regack.return_code.is_accepted() {
            self.topic_id_known(id, index, topic_id);
        } else {
            let dropped = session.outbox.take(|message| message.topic == index);
            for message in dropped {
                if !self.orphan(id, message) {
                    self.stats.dropped_no_topic_id += 1;
                }
            }
            // Congestion passes; the other reasons do not.
            if regack.return_code != ReturnCode::Congestion {
                self.reject_topic(id, index);
            }
        }
        self.pump(now, id);
    }

    fn reject_topic(&mut self, id: SessionId, index: TopicIndex) {
        let subscriber = self
            .topics
            .get_mut(index)
            .and_then(|topic| topic.subscribers.get_mut(&id));
        if let Some(subscriber) = subscriber {
            subscriber.rejected = true;
            self.offloading.mark_subscriber(index, id);
        }
    }

    /// The client no longer knows the topic id: the next message registers it anew.
    fn topic_id_unknown(&mut self, id: SessionId, index: TopicIndex) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.topic_ids.set_known(index, false);
        }
        if let Some(topic) = self.topics.get_mut(index)
            && let Some(subscriber) = topic.subscribers.get_mut(&id)
            && subscriber
                .alias
                .is_some_and(|alias| alias.topic_id_type == TopicIdType::Normal)
        {
            subscriber.alias = None;
            self.offloading.mark_subscriber(index, id);
        }
    }

    pub(super) fn on_puback(&mut self, now: Instant, id: SessionId, puback: &Puback) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let rejected = !puback.return_code.is_accepted();
        let unknown_id = puback.return_code == ReturnCode::InvalidTopicId;
        let answered = matches!(&session.outbox.in_flight, Some(InFlight {
            msg_id,
            exchange: Exchange::Publish { message, .. },
            ..
        }) if *msg_id == puback.msg_id && (message.qos == Qos::One || rejected));
        if !answered {
            // The answer to a QoS 0 message, from here or from the data plane.
            if unknown_id && let Some(index) = session.topic_ids.topic(puback.topic_id) {
                self.topic_id_unknown(id, index);
            }
            return;
        }
        if puback.return_code == ReturnCode::Congestion
            && let Some(in_flight) = &mut session.outbox.in_flight
        {
            // It is there and has no room now: the message comes again, after T_retry.
            in_flight.sent = now;
            in_flight.retries = 0;
            return;
        }
        let Some(InFlight {
            exchange: Exchange::Publish { mut message, alias },
            ..
        }) = session.outbox.in_flight.take()
        else {
            return;
        };
        if unknown_id && alias.topic_id_type == TopicIdType::Normal && !message.registered_again {
            let index = message.topic;
            message.registered_again = true;
            message.sent_as = Some(puback.msg_id);
            session.outbox.push_front(message);
            self.topic_id_unknown(id, index);
        }
        self.pump(now, id);
    }

    pub(super) fn on_pubrec(&mut self, now: Instant, id: SessionId, msg_id: MsgId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.outbox.received_suspended(now, msg_id) {
            // The client has it, though it went to sleep or started over meanwhile. Had it been told
            // PUBREL here, it would take the message that was to come again for another one.
            if session.listens() {
                self.send_in_flight(now, id);
            }
            return;
        }
        match &mut session.outbox.in_flight {
            Some(in_flight) if in_flight.msg_id == msg_id => match &in_flight.exchange {
                Exchange::Publish { message, .. } if message.qos == Qos::Two => {
                    in_flight.exchange = Exchange::Release;
                    in_flight.retries = 0;
                    self.send_in_flight(now, id);
                }
                Exchange::Release => self.send_in_flight(now, id),
                Exchange::Publish { .. } | Exchange::Register { .. } => {}
            },
            // MQTT 3.1.1 §4.3.3: a PUBREC of an exchange that is over is answered too.
            _ => self.transmits.push(&session.peer, &Packet::Pubrel(msg_id)),
        }
    }

    pub(super) fn on_pubcomp(&mut self, now: Instant, id: SessionId, msg_id: MsgId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if matches!(&session.outbox.in_flight, Some(InFlight {
            msg_id: sent,
            exchange: Exchange::Release,
            ..
        }) if *sent == msg_id)
        {
            session.outbox.in_flight = None;
            self.pump(now, id);
        }
    }
}

pub(super) fn register(topic_id: u16, msg_id: MsgId, topic_name: &str) -> Packet<'_> {
    Packet::Register(Register {
        topic_id,
        msg_id,
        topic_name,
    })
}

pub(super) fn publish_qos0(alias: Alias, retain: bool, data: &[u8]) -> Publish<'_> {
    Publish {
        dup: false,
        qos: Qos::Zero,
        retain,
        alias,
        msg_id: MsgId(0),
        data,
    }
}
