//! Bounds on what clients may ask for, so that no client, and no flood, costs the others their service.
//!
//! What anybody can cause without being reachable is bounded first. A CONNECT is one datagram from an
//! address that may be forged; its session is *unconfirmed* until more is heard from there, or the
//! transport (DTLS) has proved the address. Unconfirmed sessions have a pool of their own, in which the
//! oldest makes room for the newest, and they make room before any other client is refused. Will
//! dialogues have such a pool too. No other message leaves state behind without a session.

use std::time::Instant;

use mqttsn::packet::{Publish, Regack, Suback};
use mqttsn::{Packet, Qos, ReturnCode};
use offload::SessionId;

use super::Broker;
use crate::rate::Bucket;
use crate::transmit::{Peer, Via};

/// Answers that may wait for the data plane at a time.
const MAX_HELD_ANSWERS: usize = 1 << 16;

/// What all clients together have used of their rates.
#[derive(Debug, Default)]
pub(super) struct Rates {
    all: Bucket,
    anybody: Bucket,
}

impl Broker {
    /// Whether one more message of the session is within its rate and that of all.
    fn within_rate(&mut self, now: Instant, id: SessionId) -> bool {
        let rates = &self.config.rates;
        let (of_client, of_all) = (rates.of_client(), rates.of_all());
        if of_client.is_none() && of_all.is_none() {
            return true;
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        // The client's first: what it may not have does not count against all.
        session.rate.take(now, of_client) && self.rates.all.take(now, of_all)
    }

    /// Whether this PUBLISH is within the rates; if not, it is dropped or refused here.
    pub(super) fn admit_publish(
        &mut self,
        now: Instant,
        id: SessionId,
        peer: &Peer,
        publish: &Publish<'_>,
    ) -> bool {
        // What was taken already is no new message: refused, it would be sent, and taken, as another.
        let taken = publish.qos == Qos::Two
            && (self.sessions.get(id)).is_some_and(|s| s.received.contains(&publish.msg_id));
        if taken || self.within_rate(now, id) {
            return true;
        }
        match publish.qos {
            Qos::MinusOne | Qos::Zero => self.stats.dropped_rate += 1,
            Qos::One | Qos::Two => {
                self.stats.refused_rate += 1;
                let topic_id = publish.alias.topic_id;
                self.send_puback(peer, topic_id, publish.msg_id, ReturnCode::Congestion);
            }
        }
        false
    }

    /// Whether a PUBLISH that comes from nobody is within the rates.
    pub(super) fn admit_anybody(&mut self, now: Instant) -> bool {
        let rates = &self.config.rates;
        let (of_anybody, of_all) = (rates.of_anybody(), rates.of_all());
        let admitted = self.rates.anybody.take(now, of_anybody) && self.rates.all.take(now, of_all);
        self.stats.dropped_rate += u64::from(!admitted);
        admitted
    }

    /// Whether this request is within the rates and its answer can be kept until it may be sent; if
    /// not, it is refused here where its answer has a return code, else dropped: it comes again.
    pub(super) fn admit_request(
        &mut self,
        now: Instant,
        id: SessionId,
        request: &Packet<'_>,
    ) -> bool {
        if self.can_hold() && self.within_rate(now, id) {
            return true;
        }
        self.stats.refused_rate += 1;
        let return_code = ReturnCode::Congestion;
        let refusal = match request {
            Packet::Register(register) => Packet::Regack(Regack {
                topic_id: 0,
                msg_id: register.msg_id,
                return_code,
            }),
            Packet::Subscribe(subscribe) => Packet::Suback(Suback {
                qos: Qos::Zero,
                topic_id: 0,
                msg_id: subscribe.msg_id,
                return_code,
            }),
            _ => return false,
        };
        if let Some(session) = self.sessions.get(id) {
            self.transmits.push(&session.peer, &refusal);
        }
        false
    }

    /// Whether one more topic name or filter of this length can be kept.
    pub(super) fn has_room_for(&self, name: &str) -> bool {
        let kept = self.topics.name_octets() + self.subscriptions.filter_octets();
        kept + name.len() <= self.config.max_name_octets
    }

    /// Whether one more answer may wait for the data plane.
    pub(super) fn can_hold(&self) -> bool {
        self.offloading.gate.len() < MAX_HELD_ANSWERS
    }

    /// More than a CONNECT has come from the session's address.
    pub(super) fn confirm(&mut self, id: SessionId) {
        self.sessions.confirm(id);
    }

    /// Room for one more session at this peer; false if there is none.
    pub(super) fn make_room(&mut self, peer: &Peer) -> bool {
        let per_address = self.config.max_sessions_per_address;
        let ip = peer.address.ip();
        if per_address > 0 && self.sessions.count_at_ip(ip) >= per_address {
            let oldest = self
                .sessions
                .at_ip(ip)
                .into_iter()
                .find(|&id| self.sessions.get(id).is_some_and(|s| !s.confirmed));
            if !self.evict(oldest) {
                self.stats.sessions_refused += 1;
                return false;
            }
        }
        if self.sessions.len() >= self.config.max_sessions
            && !self.evict(self.sessions.oldest_unconfirmed())
        {
            self.stats.sessions_refused += 1;
            return false;
        }
        // The session that comes is unconfirmed itself, but over DTLS.
        if peer.via == Via::Udp
            && self.sessions.unconfirmed() >= self.config.max_unconfirmed_sessions
        {
            self.evict(self.sessions.oldest_unconfirmed());
        }
        true
    }

    /// Ends a session of which only a CONNECT was heard. Its address, should somebody be there, is told;
    /// DISCONNECT is shorter than the CONNECT was.
    fn evict(&mut self, id: Option<SessionId>) -> bool {
        let Some(id) = id else {
            return false;
        };
        let Some(peer) = self.sessions.get(id).map(|session| session.peer.clone()) else {
            return false;
        };
        self.stats.sessions_evicted += 1;
        self.send_disconnect(&peer);
        self.remove_session(id);
        true
    }
}
