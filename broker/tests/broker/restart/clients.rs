//! Clients that keep what MQTT-SN asks them to keep, and remember what they received.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use broker::Broker;
use mqttsn::packet::{Publish, Regack, Unsubscribe, WillTopic};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicRef};

use super::{Stored, store};
use crate::world::{
    connect_with, disconnect, encode, pingreq, puback, regack, register, subscribe,
};

pub const CLIENTS: usize = 4;

/// By name, one of them short, two of them predefined topics 7 and 8; `#` does not match the last one,
/// so that nobody gets what is for its share group by another way too.
const TOPICS: [&str; 7] = ["a/b", "a/c", "d", "xy", "fixed/one", "fixed/two", "$s/1"];
const FILTERS: [&str; 10] = [
    "a/b",
    "a/c",
    "d",
    "xy",
    "fixed/one",
    "fixed/two",
    "a/+",
    "#",
    "fixed/#",
    "$share/g/$s/+",
];

fn predefined(topic: usize) -> Option<u16> {
    match topic {
        4 => Some(7),
        5 => Some(8),
        _ => None,
    }
}

#[derive(Clone, Debug)]
struct Client {
    address: SocketAddr,
    name: String,
    /// Whether its last CONNECT asked for a clean session.
    clean: bool,
    /// What comes before the CONNACK is of the connection before.
    connecting: bool,
    /// Topic ids that the broker told.
    topic_ids: BTreeMap<String, u16>,
    asked: BTreeMap<u16, String>,
    last_msg_id: u16,
    inbox: VecDeque<Vec<u8>>,
    /// MsgIds of QoS 2 messages that were received and not released.
    unreleased: BTreeSet<MsgId>,
    /// The last QoS 2 message sent, while it has no PUBREC.
    unanswered: Option<(Alias, MsgId, Vec<u8>)>,
    /// Payloads of QoS 1 and 2 in the order of their first arrival.
    heard: Vec<Vec<u8>>,
    heard_twice: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub struct Clients {
    list: Vec<Client>,
    messages: u32,
    moves: u16,
}

impl Clients {
    pub fn new() -> Self {
        let client = |number: usize| Client {
            address: SocketAddr::from(([10, 0, 0, number as u8 + 1], 4000)),
            name: format!("client-{number}"),
            clean: true,
            connecting: true,
            topic_ids: BTreeMap::new(),
            asked: BTreeMap::new(),
            last_msg_id: 0,
            inbox: VecDeque::new(),
            unreleased: BTreeSet::new(),
            unanswered: None,
            heard: Vec::new(),
            heard_twice: Vec::new(),
        };
        Clients {
            list: (0..CLIENTS).map(client).collect(),
            messages: 0,
            moves: 0,
        }
    }

    /// What each client has received; a QoS 2 message more than once is a failure.
    pub fn heard(&self) -> Vec<Vec<&[u8]>> {
        for client in &self.list {
            assert_eq!(client.heard_twice, Vec::<Vec<u8>>::new(), "exactly once");
        }
        let heard = self.list.iter().map(|client| {
            // Wills have publishers of their own, and their order with others is free.
            let is_will = |data: &&[u8]| data.starts_with(b"will");
            let all = || client.heard.iter().map(Vec::as_slice);
            let mut wills: Vec<&[u8]> = all().filter(is_will).collect();
            wills.sort_unstable();
            all().filter(|data| !is_will(data)).chain(wills).collect()
        });
        heard.collect()
    }

    /// Takes what the broker says to their inboxes.
    pub fn collect(&mut self, broker: &mut Broker) {
        while let Some(transmit) = broker.poll_transmit() {
            let client = self.list.iter_mut().find(|c| c.address == transmit.to);
            if let Some(client) = client {
                client.inbox.push_back(transmit.bytes.to_vec());
            }
        }
    }

    /// Until nobody has anything to say.
    pub fn talk(&mut self, broker: &mut Broker, now: Instant, stored: &mut Stored) {
        loop {
            store(broker, stored);
            self.collect(broker);
            if self.list.iter().all(|client| client.inbox.is_empty()) {
                return;
            }
            for client in 0..CLIENTS {
                self.answer(broker, now, client);
            }
        }
    }

    fn say(&self, broker: &mut Broker, now: Instant, client: usize, packet: &Packet<'_>) {
        broker.handle_datagram(now, self.list[client].address, &encode(packet));
    }

    fn payload(&mut self, what: &str) -> Vec<u8> {
        self.messages += 1;
        format!("{what}{}", self.messages).into_bytes()
    }

    pub fn connect(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        client: usize,
        clean: bool,
        will: bool,
    ) {
        let payload = self.payload("will");
        let c = &mut self.list[client];
        c.topic_ids.clear();
        c.connecting = true;
        // A clean session leaves nothing behind either.
        if clean || c.clean {
            c.unreleased.clear();
            c.unanswered = None;
        }
        c.clean = clean;
        let name = c.name.clone();
        self.say(broker, now, client, &connect_with(&name, clean, will, 6000));
        if will {
            let topic = WillTopic {
                qos: Qos::Two,
                retain: false,
                topic: TOPICS[0],
            };
            self.say(broker, now, client, &Packet::WillTopic(Some(topic)));
            self.say(broker, now, client, &Packet::WillMsg(&payload));
        }
    }

    pub fn disconnect(&self, broker: &mut Broker, now: Instant, client: usize, sleep: Option<u16>) {
        self.say(broker, now, client, &disconnect(sleep));
    }

    pub fn ping(&self, broker: &mut Broker, now: Instant, client: usize) {
        let name = self.list[client].name.clone();
        self.say(broker, now, client, &pingreq(&name));
    }

    /// The client gets another address; nobody else had it.
    pub fn move_away(&mut self, client: usize) {
        self.moves += 1;
        let c = &mut self.list[client];
        c.address.set_port(4000 + self.moves);
        c.inbox.clear();
    }

    pub fn register(&mut self, broker: &mut Broker, now: Instant, client: usize, topic: usize) {
        let msg_id = self.ask(client, TOPICS[topic]);
        self.say(broker, now, client, &register(TOPICS[topic], msg_id));
    }

    fn ask(&mut self, client: usize, name: &str) -> MsgId {
        let c = &mut self.list[client];
        c.last_msg_id += 1;
        c.asked.insert(c.last_msg_id, name.to_owned());
        MsgId(c.last_msg_id)
    }

    fn filter(filter: usize) -> TopicRef<'static> {
        match (predefined(filter), FILTERS[filter]) {
            (Some(id), _) => TopicRef::Predefined(id),
            (None, "xy") => TopicRef::Short(*b"xy"),
            (None, filter) => TopicRef::Name(filter),
        }
    }

    pub fn subscribe(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        client: usize,
        filter: usize,
        qos: Qos,
    ) {
        let msg_id = self.ask(client, FILTERS[filter]);
        let packet = subscribe(Self::filter(filter), qos, msg_id);
        self.say(broker, now, client, &packet);
    }

    pub fn unsubscribe(&mut self, broker: &mut Broker, now: Instant, client: usize, filter: usize) {
        let msg_id = self.ask(client, FILTERS[filter]);
        let topic = Self::filter(filter);
        let packet = Packet::Unsubscribe(Unsubscribe { msg_id, topic });
        self.say(broker, now, client, &packet);
    }

    fn alias(&self, client: usize, topic: usize) -> Option<Alias> {
        if let Some(id) = predefined(topic) {
            return Some(Alias::predefined(id));
        }
        match TOPICS[topic] {
            "xy" => Some(Alias::short(*b"xy")),
            name => self.list[client]
                .topic_ids
                .get(name)
                .map(|&id| Alias::normal(id)),
        }
    }

    pub fn publish(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        client: usize,
        topic: usize,
        qos: Qos,
        retain: bool,
    ) {
        let Some(alias) = self.alias(client, topic) else {
            return;
        };
        let data = self.payload("message");
        let c = &mut self.list[client];
        c.last_msg_id += 1;
        let msg_id = MsgId(c.last_msg_id);
        if qos == Qos::Two {
            c.unanswered = Some((alias, msg_id, data.clone()));
        }
        let publish = Publish {
            dup: false,
            qos,
            retain,
            alias,
            msg_id,
            data: &data,
        };
        self.say(broker, now, client, &Packet::Publish(publish));
    }

    pub fn repeat(&self, broker: &mut Broker, now: Instant, client: usize) {
        let Some((alias, msg_id, data)) = &self.list[client].unanswered else {
            return;
        };
        let publish = Publish {
            dup: true,
            qos: Qos::Two,
            retain: false,
            alias: *alias,
            msg_id: *msg_id,
            data,
        };
        self.say(broker, now, client, &Packet::Publish(publish));
    }

    pub fn forget_retained(&self, broker: &mut Broker, now: Instant, topic: usize) {
        let publish = Publish {
            dup: false,
            qos: Qos::Zero,
            retain: true,
            alias: match (predefined(topic), TOPICS[topic]) {
                (Some(id), _) => Alias::predefined(id),
                _ => Alias::short(*b"xy"),
            },
            msg_id: MsgId(0),
            data: &[],
        };
        self.say(broker, now, 0, &Packet::Publish(publish));
    }

    pub fn update_will(&mut self, broker: &mut Broker, now: Instant, client: usize) {
        let payload = self.payload("will");
        self.say(broker, now, client, &Packet::WillMsgUpd(&payload));
    }

    pub fn lose(&mut self, client: usize) {
        self.list[client].inbox.clear();
    }

    pub fn answer(&mut self, broker: &mut Broker, now: Instant, client: usize) {
        for bytes in std::mem::take(&mut self.list[client].inbox) {
            let packet = Packet::decode(&bytes).unwrap();
            if let Some(answer) = self.list[client].hear(&packet) {
                self.say(broker, now, client, &answer);
            }
        }
    }

    /// Everybody comes once more, and leaves nothing; retained messages are deleted.
    pub fn leave(&mut self, broker: &mut Broker, now: Instant) {
        let nowhere = &mut Stored::new();
        for client in 0..CLIENTS {
            self.connect(broker, now, client, true, false);
        }
        self.collect(broker);
        for client in 0..CLIENTS {
            self.answer(broker, now, client);
        }
        for topic in 0..TOPICS.len() {
            self.register(broker, now, 0, topic);
            self.collect(broker);
            self.answer(broker, now, 0);
            let publish = Publish {
                dup: false,
                qos: Qos::Zero,
                retain: true,
                alias: self.alias(0, topic).unwrap(),
                msg_id: MsgId(0),
                data: &[],
            };
            self.say(broker, now, 0, &Packet::Publish(publish));
        }
        for client in 0..CLIENTS {
            self.disconnect(broker, now, client, None);
        }
        let _ = nowhere;
    }
}

impl Client {
    fn hear(&mut self, packet: &Packet<'_>) -> Option<Packet<'static>> {
        if self.connecting {
            self.connecting = !matches!(packet, Packet::Connack(_));
            return None;
        }
        match packet {
            Packet::Register(Register {
                topic_id,
                msg_id,
                topic_name,
            }) => {
                self.topic_ids.insert((*topic_name).to_owned(), *topic_id);
                Some(regack(*topic_id, *msg_id, ReturnCode::Accepted))
            }
            Packet::Regack(Regack {
                topic_id, msg_id, ..
            }) => {
                if let Some(name) = self.asked.remove(&msg_id.0) {
                    self.topic_ids.insert(name, *topic_id);
                }
                None
            }
            Packet::Suback(suback) => {
                let name = self.asked.remove(&suback.msg_id.0);
                if let Some(name) = name.filter(|_| suback.topic_id > 8) {
                    self.topic_ids.insert(name, suback.topic_id);
                }
                None
            }
            Packet::Publish(publish) => match publish.qos {
                Qos::One => {
                    self.note(publish.data, publish.retain, false);
                    Some(puback(
                        publish.alias.topic_id,
                        publish.msg_id.0,
                        ReturnCode::Accepted,
                    ))
                }
                Qos::Two => {
                    if self.unreleased.insert(publish.msg_id) {
                        self.note(publish.data, publish.retain, true);
                    }
                    Some(Packet::Pubrec(publish.msg_id))
                }
                Qos::Zero | Qos::MinusOne => None,
            },
            Packet::Pubrel(msg_id) => {
                self.unreleased.remove(msg_id);
                Some(Packet::Pubcomp(*msg_id))
            }
            Packet::Pubrec(msg_id) => {
                if self
                    .unanswered
                    .as_ref()
                    .is_some_and(|(_, id, _)| id == msg_id)
                {
                    self.unanswered = None;
                }
                Some(Packet::Pubrel(*msg_id))
            }
            _ => None,
        }
    }

    fn note(&mut self, data: &[u8], retain: bool, once: bool) {
        if !self.heard.iter().any(|heard| heard == data) {
            self.heard.push(data.to_vec());
        } else if once && !retain && !data.starts_with(b"will") {
            // A will is published each time that its client is lost.
            self.heard_twice.push(data.to_vec());
        }
    }
}

use mqttsn::packet::Register;
