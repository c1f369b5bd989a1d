//! Share groups at work: which member gets a message, and what becomes of it when that one leaves
//! (see `shares`).

use std::sync::Arc;
use std::time::Instant;

use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode};
use offload::{SessionId, TopicIndex};

use super::Broker;
use super::deliver::{By, Message, Origin, delivered_qos, publish_qos0};
use crate::session::State;
use crate::session::outbox::{Exchange, Full, InFlight, Queued};
use crate::shares::{self, Publisher, ShareId, Shared};

/// A message that its member left behind.
#[derive(Debug)]
pub(super) struct Orphan {
    shared: Shared,
    topic: TopicIndex,
    qos: Qos,
    payload: Arc<[u8]>,
    from: SessionId,
}

/// How soon a member can be had; the greater, the sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// Its SUBACK was not sent: it is owed only what the data plane saw when it was counted in.
    Joining,
    /// It has a session and may come back.
    Away,
    Asleep,
    Connected,
}

/// A member's place among all members, for one publisher: the greatest is chosen.
type Rank = (Nearness, bool, u64, SessionId);

/// What is asked of a member.
#[derive(Clone, Copy, Debug)]
struct Wish {
    topic: TopicIndex,
    qos: Qos,
    shared: Shared,
    /// The member that the data plane chose, if it did.
    first: Option<SessionId>,
    /// Who must not be chosen.
    but: Option<SessionId>,
    /// Also members whose SUBACK waits.
    joining: bool,
}

impl Broker {
    // ---- Joining and leaving -------------------------------------------------------------------

    /// The session is a member of the group from now on, if it was not.
    pub(super) fn join_share(&mut self, id: SessionId, filter: &str, alias: Option<Alias>) {
        let (share, new) = self.shares.add(filter);
        for index in self.topics.matched_by(shares::matched(filter)) {
            if new && let Some(topic) = self.topics.get_mut(index) {
                topic.add_share(share, true);
            }
            self.add_receiver(id, index, alias);
            self.offloading.mark(index);
        }
    }

    /// A topic that is new belongs to the groups whose filters match its name.
    pub(super) fn join_shares(&mut self, index: TopicIndex, name: &str) {
        for share in self.shares.of_name(name) {
            if let Some(topic) = self.topics.get_mut(index) {
                topic.add_share(share, false);
            }
            let members = self.shares.filter(share);
            let members = members.and_then(|filter| self.subscriptions.of_filter(filter));
            let members: Vec<SessionId> = members
                .map(|members| members.keys().copied().collect())
                .unwrap_or_default();
            for id in members {
                self.add_receiver(id, index, None);
            }
        }
    }

    /// The session has left the group, and `filter` is no filter of its own any more.
    pub(super) fn left_share(&mut self, id: SessionId, filter: &str) {
        let Some(share) = self.shares.find(filter) else {
            return;
        };
        let last = self.subscriptions.of_filter(filter).is_none();
        for index in self.topics.matched_by(shares::matched(filter)) {
            if last && let Some(topic) = self.topics.get_mut(index) {
                topic.shares.retain(|of_topic| of_topic.id != share);
            }
            self.release_receiver(id, index);
            self.offloading.mark(index);
        }
        if last {
            self.shares.remove(share);
        }
    }

    /// Whether the session receives the topic as a member of a group.
    pub(super) fn is_member(&self, id: SessionId, index: TopicIndex) -> bool {
        let (Some(session), Some(topic)) = (self.sessions.get(id), self.topics.get(index)) else {
            return false;
        };
        topic.shares.iter().any(|share| {
            let filter = self.shares.filter(share.id);
            filter.is_some_and(|filter| session.filters.contains(filter))
        })
    }

    // ---- Messages ------------------------------------------------------------------------------

    /// Gives the message to one member of each group that the topic belongs to.
    pub(super) fn serve_shares(&mut self, now: Instant, message: &Message<'_>, origin: Origin) {
        if let Origin::HereOnly(publisher) = origin {
            for (shared, qos) in std::mem::take(&mut self.to_publisher) {
                self.give(now, publisher, message, shared, qos);
            }
            return;
        }
        self.to_publisher.clear();
        let publisher = match message.by {
            By::Publisher(publisher) => publisher,
            By::Address(address) => Publisher::address(address),
            By::Session(id) => match self.sessions.get(id) {
                Some(session) => Publisher::client(&session.client_id),
                None => Publisher(id.0),
            },
        };
        let mut at = 0;
        while let Some(topic) = self.topics.get(message.topic)
            && let Some(&share) = topic.shares.get(at)
        {
            at += 1;
            let mut first = None;
            if let Origin::DataPlane(sequence) = origin {
                if share.since.is_none_or(|since| since > sequence) {
                    continue;
                }
                if let Some(chosen) = topic.generations.chosen(sequence)
                    && chosen.share == share.id
                {
                    let served = match message.qos {
                        Qos::One => chosen.served.q1,
                        Qos::MinusOne | Qos::Zero | Qos::Two => chosen.served.q0,
                    };
                    if served {
                        self.stats.delivered_by_data_plane += 1;
                        continue;
                    }
                    first = Some(chosen.member);
                }
            }
            let wish = Wish {
                topic: message.topic,
                qos: message.qos,
                shared: Shared {
                    share: share.id,
                    publisher,
                },
                first,
                but: None,
                joining: matches!(origin, Origin::DataPlane(_)),
            };
            self.serve_share(now, message, &wish, origin);
        }
    }

    fn serve_share(&mut self, now: Instant, message: &Message<'_>, wish: &Wish, origin: Origin) {
        let mut after = None;
        while let Some((rank, qos)) = self.choose(wish, after) {
            let (_, _, _, member) = rank;
            if matches!(origin, Origin::HereBut(publisher) if publisher == member) {
                self.to_publisher.push((wish.shared, qos));
                return;
            }
            if self.give(now, member, message, wish.shared, qos) {
                return;
            }
            after = Some(rank);
        }
        match after {
            // Nobody's queue has room.
            Some(_) => self.stats.dropped_queue_full += 1,
            None => self.stats.dropped_not_connected += 1,
        }
    }

    /// The best member behind `after`, and the QoS at which it gets the message.
    fn choose(&self, wish: &Wish, after: Option<Rank>) -> Option<(Rank, Qos)> {
        let topic = self.topics.get(wish.topic)?;
        let filter = self.shares.filter(wish.shared.share)?;
        let mut best: Option<(Rank, Qos)> = None;
        for (&id, grant) in self.subscriptions.of_filter(filter)? {
            let qos = delivered_qos(wish.qos, grant.qos);
            let subscriber = topic.subscribers.get(&id);
            if wish.but == Some(id) || subscriber.is_none_or(|subscriber| subscriber.rejected) {
                continue;
            }
            let Some(session) = self.sessions.get(id) else {
                continue;
            };
            let nearness = match session.state {
                _ if !grant.active && !wish.joining => continue,
                // Nothing of QoS 0 waits for a client that is away.
                State::Disconnected if qos == Qos::Zero => continue,
                _ if !grant.active => Nearness::Joining,
                State::Disconnected => Nearness::Away,
                State::Asleep | State::Awake => Nearness::Asleep,
                State::Active => Nearness::Connected,
            };
            let affinity = wish.shared.publisher.affinity(id);
            let rank = (nearness, wish.first == Some(id), affinity, id);
            if after.is_none_or(|after| rank < after) && best.is_none_or(|(best, _)| rank > best) {
                best = Some((rank, qos));
            }
        }
        best
    }

    /// Gives the message to this member; whether there was room.
    fn give(
        &mut self,
        now: Instant,
        id: SessionId,
        message: &Message<'_>,
        shared: Shared,
        qos: Qos,
    ) -> bool {
        let in_force = self.offloading.in_force();
        let live = self.offloading.is_live(now);
        let topic = self.topics.get(message.topic);
        let subscriber = topic.and_then(|topic| topic.subscribers.get(&id));
        let (Some(subscriber), Some(session)) = (subscriber, self.sessions.get(id)) else {
            return false;
        };
        // As for ordinary subscribers, see `deliver`.
        let served = subscriber.served.current();
        let served = match message.qos {
            Qos::One => served.q1,
            Qos::MinusOne | Qos::Zero | Qos::Two => served.q0,
        };
        let leaving = live && subscriber.served.is_leaving(in_force);
        let at_once = (session.listens() && (session.outbox.is_empty() || served))
            || (session.still_listens() && leaving);
        if let Some(alias) = subscriber.alias
            && qos == Qos::Zero
            && at_once
        {
            self.stats.delivered += 1;
            let publish = publish_qos0(alias, false, message.data);
            self.transmits
                .push(&session.peer, &Packet::Publish(publish));
        } else {
            let queued = Queued {
                seq: 0,
                topic: message.topic,
                payload: message.data.into(),
                qos,
                retain: false,
                sent_as: None,
                registered_again: false,
                shared: Some(shared),
            };
            match self.queue(id, queued) {
                Ok(()) => self.pump(now, id),
                Err(Full::Client | Full::All) => return false,
            }
        }
        self.introduce(now, message.topic, shared.share);
        true
    }

    // ---- What a member leaves behind -----------------------------------------------------------

    /// The message has lost its member. False if it came by no group, or must not go to another.
    pub(super) fn orphan(&mut self, from: SessionId, message: Queued) -> bool {
        let Some(shared) = message.shared else {
            return false;
        };
        if !may_change_hands(&message) {
            return false;
        }
        self.orphans.push_back(Orphan {
            shared,
            topic: message.topic,
            qos: message.qos,
            payload: message.payload,
            from,
        });
        true
    }

    /// Takes from the session what other members of its groups can have sooner: those that are
    /// nearer than it is now.
    pub(super) fn hand_on(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let limit = match session.state {
            State::Disconnected => Nearness::Away,
            State::Asleep | State::Awake => Nearness::Asleep,
            State::Active => return,
        };
        // What a sleeping client was sent, it may have; it says so when it wakes up.
        let sent_too = limit == Nearness::Away;
        let nearer: Vec<ShareId> = session
            .filters
            .iter()
            .filter_map(|filter| self.shares.find(filter))
            .filter(|&share| self.nearest_of(share, Some(id)) > Some(limit))
            .collect();
        if nearer.is_empty() {
            return;
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let left = session.outbox.take(|message| {
            message
                .shared
                .is_some_and(|shared| nearer.contains(&shared.share))
                && may_change_hands(message)
                && (sent_too || message.sent_as.is_none())
        });
        for message in left {
            self.orphan(id, message);
        }
    }

    /// How near the nearest member is, that one not counted.
    fn nearest_of(&self, share: ShareId, but: Option<SessionId>) -> Option<Nearness> {
        let members = self.subscriptions.of_filter(self.shares.filter(share)?)?;
        let nearness = members.iter().filter_map(|(&id, grant)| {
            let session = self.sessions.get(id)?;
            match session.state {
                _ if Some(id) == but || !grant.active => None,
                State::Disconnected => Some(Nearness::Away),
                State::Asleep | State::Awake => Some(Nearness::Asleep),
                State::Active => Some(Nearness::Connected),
            }
        });
        nearness.max()
    }

    /// A member is there: where it is the first one, what waits for members that are away is its.
    pub(super) fn take_on(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let shares = session.filters.iter();
        let shares: Vec<ShareId> = shares.filter_map(|f| self.shares.find(f)).collect();
        for share in shares {
            if self.nearest_of(share, Some(id)) != Some(Nearness::Away) {
                continue;
            }
            let members = self.shares.filter(share);
            let members = members.and_then(|filter| self.subscriptions.of_filter(filter));
            let away: Vec<SessionId> = members
                .map(|members| members.keys().copied().filter(|&m| m != id).collect())
                .unwrap_or_default();
            for member in away {
                self.hand_on(member);
            }
        }
    }

    /// Finds other members for the messages that members left behind in this call.
    pub(super) fn rehome(&mut self, now: Instant) {
        while let Some(orphan) = self.orphans.pop_front() {
            let message = Message {
                topic: orphan.topic,
                qos: orphan.qos,
                retain: false,
                data: &orphan.payload,
                by: By::Publisher(orphan.shared.publisher),
            };
            let wish = Wish {
                topic: orphan.topic,
                qos: orphan.qos,
                shared: orphan.shared,
                first: None,
                but: Some(orphan.from),
                joining: false,
            };
            let mut after = None;
            let mut found = false;
            while let Some((rank, qos)) = self.choose(&wish, after) {
                found = self.give(now, rank.3, &message, orphan.shared, qos);
                if found {
                    break;
                }
                after = Some(rank);
            }
            // Nobody else has room: it may have left only for others' sake.
            let back = Wish { but: None, ..wish };
            if !found
                && let Some((rank, qos)) = self.choose(&back, None)
                && rank.3 == orphan.from
            {
                found = self.give(now, orphan.from, &message, orphan.shared, qos);
            }
            self.stats.handed_over += u64::from(found);
        }
    }

    // ---- Topic ids of members ------------------------------------------------------------------

    /// Members that do not know the topic's id are told (MQTT-SN 1.2 §6.10), so that the data plane
    /// can choose among all: it would never choose one that it must not, and so that one would never
    /// be told with a message.
    fn introduce(&mut self, now: Instant, index: TopicIndex, share: ShareId) {
        if !self.offloading.enabled() {
            return;
        }
        let Some(topic) = self.topics.get(index) else {
            return;
        };
        let members = self.shares.filter(share);
        let members = members.and_then(|filter| self.subscriptions.of_filter(filter));
        let strangers: Vec<SessionId> = members
            .into_iter()
            .flat_map(|members| members.keys())
            .copied()
            .filter(|&id| {
                let subscriber = topic.subscribers.get(&id);
                let stranger = subscriber.is_some_and(|s| s.alias.is_none() && !s.rejected);
                let session = self.sessions.get(id);
                stranger && session.is_some_and(|s| s.listens() && !s.introduce.contains(&index))
            })
            .collect();
        for id in strangers {
            if let Some(session) = self.sessions.get_mut(id) {
                session.introduce.insert(index);
            }
            self.pump(now, id);
        }
    }

    /// Nothing waits for the session: it is told the next topic id. False if there is none to tell.
    pub(super) fn introduce_next(&mut self, now: Instant, id: SessionId) -> bool {
        loop {
            let Some(session) = self.sessions.get_mut(id) else {
                return false;
            };
            let Some(index) = session.introduce.pop_first() else {
                return false;
            };
            let Some(topic) = self.topics.get_mut(index) else {
                continue;
            };
            let subscriber = topic.subscribers.get(&id);
            if subscriber.is_none_or(|s| s.alias.is_some() || s.rejected) {
                continue;
            }
            let limit = self.config.max_topic_ids;
            let register = super::deliver::register(0, MsgId(0), &topic.name);
            if register.encoded_len() > session.peer.capacity() {
                continue;
            }
            let Some((topic_id, new)) = session.topic_ids.assign(index, limit) else {
                continue;
            };
            topic.topic_ids += u32::from(new);
            let exchange = Exchange::Register {
                topic: index,
                topic_id,
            };
            session.outbox.in_flight = Some(InFlight {
                msg_id: session.next_msg_id(),
                exchange,
                sent: now,
                retries: 0,
            });
            self.send_in_flight(now, id);
            return true;
        }
    }

    /// The code for a filter that begins like one of a share group and is none.
    pub(super) fn checked_share<'f>(&self, filter: &'f str) -> Result<Option<&'f str>, ReturnCode> {
        shares::inner(filter).map_err(|shares::NotAShare| ReturnCode::NotSupported)
    }
}

/// What was sent at QoS 2 is the client's own, whatever becomes of it (MQTT 5 §4.8.2-4, §4.8.2-5).
fn may_change_hands(message: &Queued) -> bool {
    message.qos != Qos::Two || message.sent_as.is_none()
}
