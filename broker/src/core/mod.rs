//! The broker without sockets and clocks: bytes, moments and the controller's words in, bytes and
//! words for the controller out.

mod catch_up;
mod connect;
mod deliver;
mod discovery;
mod expire;
mod explain;
mod identity;
mod introspect;
mod limits;
mod malformed;
mod network;
mod predefined;
mod publish;
mod reload;
mod restart;
mod share;
mod subscribe;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mqttsn::packet::Puback;
use mqttsn::{DecodeError, Frame, MsgId, MsgType, Packet, Qos, ReturnCode, Tag};
use offload::{FromBroker, SessionId, TopicIndex};

use share::Orphan;

pub use explain::{PublisherPart, SubscriberPart, TopicAccount, TopicPart};
pub use introspect::{SessionInfo, Sizes, Status, SubscriberInfo, TopicInfo};

use crate::access::{Access, Policy};
use crate::auth::Keys;
use crate::config::{Config, ConfigError};
use crate::durable::Recorder;
use crate::offloading::Offloading;
use crate::offloading::gate::{Opened, Reply};
use crate::offloading::shares::Groups;
use crate::retained::Retained;
use crate::session::State;
use crate::session::store::Sessions;
use crate::session::will::Dialogues;
use crate::shares::{Shared, Shares};
use crate::stats::Stats;
use crate::subscriptions::Subscriptions;
use crate::timers::Timers;
use crate::topics::Topics;
use crate::transmit::{Peer, Source, Transmit, Transmits, Via};

/// An MQTT-SN 1.2 server.
///
/// Each `handle_*` call takes the present moment, which must not go back. After it, take what is to
/// be sent with [`Broker::poll_transmit`] and [`Broker::poll_offload`] until both give `None`, and
/// call [`Broker::handle_timeout`] at [`Broker::next_deadline`]. The same calls give the same
/// answers: there is no clock, no randomness and no thread inside.
pub struct Broker {
    config: Config,
    access: Box<dyn Access>,
    sessions: Sessions,
    topics: Topics,
    subscriptions: Subscriptions,
    shares: Shares,
    retained: Retained,
    dialogues: Dialogues,
    timers: Timers,
    transmits: Transmits,
    offloading: Offloading,
    discovery: discovery::Discovery,
    rates: limits::Rates,
    stats: Stats,
    /// What is to be stored; `None` if nothing is.
    recorder: Option<Box<Recorder>>,
    /// Recipients for whom a message must wait; kept for its memory only.
    waiting: Vec<(SessionId, Qos)>,
    /// Share groups that chose the publisher itself, which gets its copy behind the answer.
    to_publisher: Vec<(Shared, Qos)>,
    /// Messages that a member of a share group left behind, until the call ends.
    orphans: VecDeque<Orphan>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("sessions", &self.sessions.len())
            .field("topics", &self.topics.len())
            .field("revision", &self.offloading.intent.revision)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker that starts now and permits what the configuration permits.
    ///
    /// # Errors
    /// When the configuration does not pass [`Config::check`], and when it names a key file: reading
    /// it is the caller's, with [`Broker::with_access`] and a [`Policy`].
    pub fn new(config: Config, now: Instant) -> Result<Self, ConfigError> {
        if config.auth.keys.is_some() {
            return Err(ConfigError::KeysNotRead);
        }
        let policy = Policy::new(&config, Keys::default());
        Self::with_access(config, Box::new(policy), now)
    }

    /// A broker that asks `access` for permissions.
    ///
    /// # Errors
    /// When the configuration does not pass [`Config::check`].
    pub fn with_access(
        config: Config,
        access: Box<dyn Access>,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        let mut broker = Self::empty(config, access, now)?;
        broker.add_configured();
        broker.settle(now);
        Ok(broker)
    }

    /// A broker to be filled; [`Broker::take_up`] or the configuration's topics come next.
    pub(crate) fn empty(
        config: Config,
        access: Box<dyn Access>,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Broker {
            sessions: Sessions::default(),
            topics: Topics::default(),
            subscriptions: Subscriptions::default(),
            shares: Shares::default(),
            retained: Retained::new(config.max_retained, config.max_retained_octets),
            dialogues: Dialogues::default(),
            timers: Timers::default(),
            transmits: Transmits::default(),
            offloading: Offloading::new(config.offload.clone(), now),
            discovery: discovery::Discovery::new(&config.advertise, now),
            rates: limits::Rates::default(),
            stats: Stats::default(),
            recorder: None,
            waiting: Vec::new(),
            to_publisher: Vec::new(),
            orphans: VecDeque::new(),
            config,
            access,
        })
    }

    /// What the configuration names: predefined topics and services.
    fn add_configured(&mut self) {
        let predefined = self.config.predefined();
        self.define(predefined);
        let services: BTreeSet<SocketAddr> = self.config.offload.services.iter().copied().collect();
        if !services.is_empty() {
            self.offloading.change(offload::Change::Services(services));
        }
    }

    /// Takes one datagram as it came from the network.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        from: impl Into<Source<'a>>,
        datagram: &[u8],
    ) {
        let from = from.into();
        match Frame::decode(datagram).and_then(|frame| Ok((frame, frame.packet()?))) {
            Ok((frame, packet)) => {
                self.stats.count_received(packet.msg_type());
                let tag = match from.via {
                    Via::Udp => self.trusted_tag(&frame),
                    // The data plane cannot read, or write, what is encrypted.
                    Via::Dtls => None,
                };
                let peer = Peer {
                    via: from.via,
                    address: from.address,
                    encapsulation: match tag {
                        // The data plane put it there; the publisher is spoken to directly.
                        Some(_) => Box::default(),
                        None => frame.encapsulation().into(),
                    },
                };
                self.meet(now, &from, &peer);
                match (tag, packet) {
                    (tag, Packet::Publish(publish)) => self.on_publish(now, &peer, tag, &publish),
                    (Some(_), _) => self.stats.unexpected += 1,
                    (None, packet) => self.on_packet(now, &from, &peer, &packet),
                }
            }
            Err(error) => {
                tracing::debug!(from = %from.address, %error, octets = datagram.len(), "malformed datagram");
                self.stats.count_malformed(&error);
                if error == DecodeError::ReservedTopicIdType(MsgType::Subscribe) {
                    self.refuse_reserved_subscribe(from, datagram);
                }
            }
        }
        self.settle(now);
    }

    /// The tag of a copy from the data plane.
    fn trusted_tag(&self, frame: &Frame<'_>) -> Option<Tag> {
        if !self.offloading.enabled() || frame.encapsulation().is_empty() {
            return None;
        }
        let mut layers = frame.layers();
        let tag = Tag::from_encapsulation(&layers.next()?)?;
        // The data plane tags plain messages only.
        layers.next().is_none().then_some(tag)
    }

    fn on_packet(&mut self, now: Instant, from: &Source<'_>, peer: &Peer, packet: &Packet<'_>) {
        match packet {
            Packet::SearchGw(_) => self.on_search_gw(now, peer),
            Packet::Connect(connect) => self.on_connect(now, from, peer, connect),
            Packet::WillTopic(topic) => self.on_will_topic(now, peer, topic.as_ref()),
            Packet::WillMsg(message) => self.on_will_msg(now, peer, message),
            Packet::Pingreq(pingreq) => self.on_pingreq(now, from, peer, pingreq.client_id),
            Packet::Disconnect(disconnect) => self.on_disconnect(now, peer, disconnect),
            Packet::Advertise(_)
            | Packet::GwInfo(_)
            | Packet::Connack(_)
            | Packet::WillTopicReq
            | Packet::WillMsgReq
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp
            | Packet::WillTopicResp(_)
            | Packet::WillMsgResp(_) => self.stats.unexpected += 1,
            Packet::Regack(_)
            | Packet::Puback(_)
            | Packet::Pubcomp(_)
            | Packet::Pubrec(_)
            | Packet::Pubrel(_)
            | Packet::Register(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::WillTopicUpd(_)
            | Packet::WillMsgUpd(_)
            | Packet::Publish(_) => self.on_session_packet(now, peer, packet),
        }
    }

    /// What only a connected client may send; answers of an awake client belong here too.
    fn on_session_packet(&mut self, now: Instant, peer: &Peer, packet: &Packet<'_>) {
        let found = self.sessions.at_peer(peer);
        let Some(session) = found.and_then(|id| self.sessions.get_mut(id)) else {
            self.answer_without_session(peer, packet);
            return;
        };
        let id = session.id;
        let is_active = session.is_active();
        if is_active || session.state == State::Awake {
            session.heard = now;
        }
        self.confirm(id);
        match packet {
            Packet::Regack(regack) => self.on_regack(now, id, regack),
            Packet::Puback(puback) => self.on_puback(now, id, puback),
            Packet::Pubrec(msg_id) => self.on_pubrec(now, id, *msg_id),
            Packet::Pubcomp(msg_id) => self.on_pubcomp(now, id, *msg_id),
            // MQTT-SN 1.2 §6.14: a sleeping client must connect before it asks for anything.
            _ if !is_active => self.answer_without_session(peer, packet),
            Packet::Pubrel(msg_id) => self.on_pubrel(id, *msg_id),
            Packet::Register(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_)
                if !self.admit_request(now, id, packet) => {}
            Packet::Register(register) => self.on_register(now, id, register),
            Packet::Subscribe(subscribe) => self.on_subscribe(now, id, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(now, id, unsubscribe),
            Packet::WillTopicUpd(topic) => self.on_will_topic_upd(id, topic.as_ref()),
            Packet::WillMsgUpd(message) => self.on_will_msg_upd(id, message),
            _ => self.stats.unexpected += 1,
        }
    }

    /// MQTT-SN 1.2 §5.4.21: DISCONNECT tells a client that it is not connected (any more).
    fn answer_without_session(&mut self, peer: &Peer, packet: &Packet<'_>) {
        self.stats.without_session += 1;
        if !matches!(
            packet,
            Packet::Regack(_) | Packet::Puback(_) | Packet::Pubrec(_) | Packet::Pubcomp(_)
        ) {
            self.send_disconnect(peer);
        }
    }

    fn send_disconnect(&mut self, peer: &Peer) {
        let disconnect = mqttsn::packet::Disconnect { duration: None };
        self.transmits.push(peer, &Packet::Disconnect(disconnect));
    }

    fn send_puback(&mut self, peer: &Peer, topic_id: u16, msg_id: MsgId, return_code: ReturnCode) {
        let puback = Puback {
            topic_id,
            msg_id,
            return_code,
        };
        self.transmits.push(peer, &Packet::Puback(puback));
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advertise(now);
        self.expire(now);
        self.settle(now);
    }

    /// When [`Broker::handle_timeout`] is to be called next. It may turn out that nothing is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        [
            self.timers.next(),
            self.dialogues.next_deadline(),
            self.offloading.next_deadline(),
            self.discovery.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.transmits.pop()
    }

    /// All datagrams to send, for a driver that takes them at once.
    pub(crate) fn transmits(&mut self) -> &mut Transmits {
        &mut self.transmits
    }

    /// The next message for the controller.
    pub fn poll_offload(&mut self) -> Option<FromBroker> {
        self.offloading.poll()
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Ends a call: brings the intent up to date and sends the answers that need not wait.
    fn settle(&mut self, now: Instant) {
        loop {
            self.rehome(now);
            let groups = Groups {
                shares: &self.shares,
                subscriptions: &self.subscriptions,
            };
            self.offloading
                .update(now, &mut self.topics, &mut self.sessions, groups);
            // A held answer with a revision that is in force is not held at all: it opens below.
            let revision = self.offloading.intent.revision;
            let installed = self.offloading.installed();
            let live = self.offloading.is_live(now);
            let waiting = self.offloading.gate.seal(now, revision, installed);
            if live {
                self.stats.answers_held += waiting;
            }
            let Some(opened) = self.offloading.gate.open(installed, live) else {
                break;
            };
            if opened.by_lapse && self.offloading.enabled() {
                self.stats.answers_released_by_lapse += 1;
            }
            self.send_reply(now, opened);
        }
        let Broker {
            topics,
            retained,
            offloading,
            ..
        } = self;
        topics.remove_unused(
            |index| retained.get(index).is_some(),
            |index| offloading.set_refusal(offload::RefusedItem::Topic(index), None),
        );
    }

    fn send_reply(&mut self, now: Instant, opened: Opened) {
        match opened.reply {
            Reply::Connack(id) => self.connected(now, id),
            Reply::Regack(id, regack, topic) => {
                let Some(session) = self.sessions.get_mut(id).filter(|s| s.is_active()) else {
                    return;
                };
                self.transmits.push(&session.peer, &Packet::Regack(regack));
                self.topic_id_registered(id, topic, regack.topic_id);
            }
            Reply::Suback(id, suback, filter) => {
                let Some(session) = self.sessions.get(id).filter(|s| s.is_active()) else {
                    return;
                };
                self.transmits.push(&session.peer, &Packet::Suback(suback));
                self.subscribed(now, id, &filter);
            }
            Reply::Unsuback(id, msg_id) => {
                if let Some(session) = self.sessions.get(id).filter(|s| s.is_active()) {
                    self.transmits
                        .push(&session.peer, &Packet::Unsuback(msg_id));
                }
            }
            Reply::Pingresp(peer) => self.transmits.push(&peer, &Packet::Pingresp),
            Reply::Disconnect(peer) => {
                let asleep = self.sessions.at_peer(&peer);
                if let Some(session) = asleep.and_then(|id| self.sessions.get_mut(id)) {
                    session.ready &= session.is_active();
                }
                self.send_disconnect(&peer);
            }
        }
    }

    /// Looks at the session again at `at`, or earlier.
    fn schedule(&mut self, id: SessionId, at: Instant) {
        if let Some(session) = self.sessions.get_mut(id) {
            self.timers.schedule(id, &mut session.timer, at);
        }
    }

    /// The topic of this name; a new one where there is room.
    fn topic_named(&mut self, name: &str) -> Option<TopicIndex> {
        if let Some(index) = self.topics.named(name) {
            return Some(index);
        }
        if self.topics.len() >= self.config.max_topics
            || name.split('/').count() > self.config.max_topic_levels
            || !self.has_room_for(name)
        {
            return None;
        }
        self.add_topic(name, None)
    }

    /// A topic whose name is new, with those who subscribe to it already.
    fn add_topic(&mut self, name: &str, home: Option<u16>) -> Option<TopicIndex> {
        let index = self.topics.add(name, home)?;
        // Whoever uses it says so in this call, or it goes again.
        self.topics.released(index);
        for (id, grant) in self.subscriptions.for_name(name) {
            self.add_subscriber(id, index, grant, None, false);
        }
        self.join_shares(index, name);
        Some(index)
    }

    /// Time for a client to answer, retransmissions included.
    fn dialogue_time(&self) -> Duration {
        self.config.t_retry() * (self.config.n_retry.min(1000) + 1)
    }
}
