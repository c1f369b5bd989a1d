//! The clients of the equivalence test: what they ask, what they get, and what they may expect.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mqttsn::packet::Unsubscribe;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, TopicIdType, TopicRef};

#[path = "checks.rs"]
mod checks;

use super::{Op, TRANSIT_US, Time};
use crate::world::{
    connect_with, disconnect, encode, pingreq, puback, publish_with, regack, register, subscribe,
};

pub const TOPICS: [&str; 4] = ["t/a", "t/b", "ab", "pre"];
const FILTERS: [&str; 6] = ["t/a", "t/b", "t/+", "#", "ab", "pre"];
const NEVER: Time = Time::MAX;
/// Publisher of messages without a session.
const ANYBODY: usize = 99;

fn filter_ref(filter: usize) -> TopicRef<'static> {
    match FILTERS[filter] {
        "ab" => TopicRef::Short(*b"ab"),
        "pre" => TopicRef::Predefined(7),
        name => TopicRef::Name(name),
    }
}

fn qos(level: u8) -> Qos {
    Qos::from_level(level as i8).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Out,
    In,
    Asleep,
    Awake,
}

/// The request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nothing,
    Connack,
    Regack {
        topic: usize,
        msg_id: MsgId,
    },
    Suback {
        filter: usize,
        qos: u8,
        msg_id: MsgId,
    },
    Unsuback {
        filter: usize,
        msg_id: MsgId,
    },
    Asleep,
    Out,
}

/// One subscription in time.
#[derive(Clone, Debug)]
struct Subscription {
    filter: usize,
    qos: u8,
    asked: Time,
    /// SUBACK.
    since: Time,
    /// It was asked to end.
    until: Time,
    /// That was acknowledged.
    ended: Time,
}

#[derive(Clone, Debug)]
struct Receipt {
    message: usize,
    qos: u8,
    retain: bool,
    /// Came before the CONNACK, when a client has no connection yet and so no order either.
    early: bool,
}

#[derive(Debug)]
struct Client {
    address: SocketAddr,
    /// Addresses of before.
    moves: u8,
    persistent: bool,
    state: State,
    waiting: Waiting,
    topic_ids: BTreeMap<u16, String>,
    publishes_as: BTreeMap<usize, Alias>,
    subscriptions: Vec<Subscription>,
    /// Not connected, or not surely so, in these times.
    gaps: Vec<(Time, Time)>,
    /// Asleep, or not surely awake, in these times.
    naps: Vec<(Time, Time)>,
    receipts: Vec<Receipt>,
    last_msg_id: u16,
}

#[derive(Debug)]
struct Message {
    publisher: usize,
    topic: usize,
    qos: u8,
    retain: bool,
    sent: Time,
    pubacks: u32,
}

#[derive(Debug, Default)]
pub struct Clients {
    list: Vec<Client>,
    messages: Vec<Message>,
    outgoing: Vec<(SocketAddr, Vec<u8>)>,
    acknowledgements: Vec<(SocketAddr, Vec<u8>)>,
    /// Where nobody may be spoken to any more, from when on, and why.
    silent: BTreeMap<SocketAddr, (Time, &'static str)>,
}

impl Clients {
    fn client(&mut self, number: usize) -> &mut Client {
        while self.list.len() <= number {
            let next = self.list.len();
            self.list.push(Client {
                address: SocketAddr::from(([10, 0, 0, next as u8], 4000)),
                moves: 0,
                persistent: next % 2 == 1,
                state: State::Out,
                waiting: Waiting::Nothing,
                topic_ids: BTreeMap::new(),
                publishes_as: BTreeMap::new(),
                subscriptions: Vec::new(),
                gaps: vec![(0, NEVER)],
                naps: Vec::new(),
                receipts: Vec::new(),
                last_msg_id: 0,
            });
        }
        &mut self.list[number]
    }

    pub fn address(&mut self, number: usize) -> SocketAddr {
        self.client(number).address
    }

    pub fn take_outgoing(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.outgoing)
    }

    pub fn take_acknowledgements(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.acknowledgements)
    }

    /// Whether the client is still there to acknowledge what it got.
    pub fn may_acknowledge(&self, from: SocketAddr) -> bool {
        let client = self.list.iter().find(|client| client.address == from);
        client.is_some_and(|client| match client.waiting {
            Waiting::Connack | Waiting::Asleep | Waiting::Out => false,
            _ => matches!(client.state, State::In | State::Awake),
        })
    }

    fn acknowledge(&mut self, from: SocketAddr, packet: &Packet<'_>) {
        self.acknowledgements.push((from, encode(packet)));
    }

    fn send(&mut self, from: SocketAddr, packet: &Packet<'_>) {
        self.silent.remove(&from);
        self.outgoing.push((from, encode(packet)));
    }

    pub fn operate(&mut self, now: Time, op: Op) {
        match op {
            Op::Connect(c) => self.connect(now, c),
            Op::ComeBack(c) => {
                if self.client(c).state == State::Out {
                    self.connect(now, c);
                }
            }
            Op::Move(c) => {
                let client = self.client(c);
                if client.waiting == Waiting::Nothing && client.state != State::Awake {
                    client.moves += 1;
                    let ip = [10, 0, client.moves, c as u8];
                    client.address = SocketAddr::from((ip, 4000));
                    self.connect(now, c);
                }
            }
            Op::Disconnect(c) => {
                let client = self.client(c);
                if client.waiting == Waiting::Nothing && client.state == State::In {
                    client.waiting = Waiting::Out;
                    client.gaps.push((now, NEVER));
                    if !client.persistent {
                        client.end_subscriptions(now);
                    }
                    let address = client.address;
                    self.send(address, &disconnect(None));
                }
            }
            Op::Sleep(c) => {
                let client = self.client(c);
                if client.waiting == Waiting::Nothing && client.state == State::In {
                    client.waiting = Waiting::Asleep;
                    client.naps.push((now, NEVER));
                    let address = client.address;
                    self.send(address, &disconnect(Some(60_000)));
                }
            }
            Op::Ping(c) => {
                let client = self.client(c);
                if client.waiting == Waiting::Nothing && client.state == State::Asleep {
                    client.state = State::Awake;
                    let address = client.address;
                    self.send(address, &pingreq(&format!("c{c}")));
                }
            }
            Op::Subscribe(c, filter, level) => {
                let client = self.client(c);
                if client.is_idle() {
                    let msg_id = client.msg_id();
                    client.waiting = Waiting::Suback {
                        filter,
                        qos: level,
                        msg_id,
                    };
                    client.subscriptions.push(Subscription {
                        filter,
                        qos: level,
                        asked: now,
                        since: NEVER,
                        until: NEVER,
                        ended: NEVER,
                    });
                    let address = client.address;
                    self.send(address, &subscribe(filter_ref(filter), qos(level), msg_id));
                }
            }
            Op::Unsubscribe(c, filter) => {
                let client = self.client(c);
                if client.is_idle() {
                    let msg_id = client.msg_id();
                    client.waiting = Waiting::Unsuback { filter, msg_id };
                    for subscription in &mut client.subscriptions {
                        if subscription.filter == filter && subscription.until == NEVER {
                            subscription.until = now;
                        }
                    }
                    let address = client.address;
                    let topic = filter_ref(filter);
                    self.send(address, &Packet::Unsubscribe(Unsubscribe { msg_id, topic }));
                }
            }
            Op::Publish(c, topic, level, retain) => self.publish(now, c, topic, level, retain),
            Op::Open(retain) => {
                let from = SocketAddr::from(([10, 9, 9, 9], 4000));
                let message = self.messages.len();
                self.messages.push(Message {
                    publisher: ANYBODY,
                    topic: 3,
                    qos: 0,
                    retain,
                    sent: now,
                    pubacks: 0,
                });
                let data = (message as u32).to_be_bytes();
                let alias = Alias::predefined(7);
                self.send(from, &publish_with(alias, Qos::MinusOne, 0, retain, &data));
            }
            Op::Reach(..) | Op::KillController | Op::ReviveController | Op::SlowController(_) => {
                unreachable!("not for clients")
            }
        }
    }

    fn connect(&mut self, now: Time, c: usize) {
        let client = self.client(c);
        if client.waiting != Waiting::Nothing || client.state == State::Awake {
            return;
        }
        client.waiting = Waiting::Connack;
        client.gaps.push((now, NEVER));
        if !client.persistent {
            client.end_subscriptions(now);
        }
        client.topic_ids.clear();
        client.publishes_as.clear();
        let (address, clean) = (client.address, !client.persistent);
        let client_id = format!("c{c}");
        self.send(address, &connect_with(&client_id, clean, false, 0));
    }

    fn publish(&mut self, now: Time, c: usize, topic: usize, level: u8, retain: bool) {
        let client = self.client(c);
        if !client.is_idle() {
            return;
        }
        let address = client.address;
        let alias = match TOPICS[topic] {
            "ab" => Alias::short(*b"ab"),
            "pre" => Alias::predefined(7),
            name => match client.publishes_as.get(&topic) {
                Some(&alias) => alias,
                None => {
                    let msg_id = client.msg_id();
                    client.waiting = Waiting::Regack { topic, msg_id };
                    self.send(address, &register(name, msg_id));
                    return;
                }
            },
        };
        let message = self.messages.len();
        self.messages.push(Message {
            publisher: c,
            topic,
            qos: level,
            retain,
            sent: now,
            pubacks: 0,
        });
        let data = (message as u32).to_be_bytes();
        let msg_id = if level == 0 { 0 } else { message as u16 };
        self.send(
            address,
            &publish_with(alias, qos(level), msg_id, retain, &data),
        );
    }

    pub fn receive(&mut self, now: Time, to: SocketAddr, bytes: &[u8]) {
        let packet = Packet::decode(bytes).unwrap();
        let at = self.list.iter().position(|client| client.address == to);
        if at.is_none() && matches!(packet, Packet::Disconnect(_)) {
            // An address that its client has left is told that the session went with it.
            return;
        }
        if let Some((from, why)) = self.silent.get(&to)
            && *from <= now
        {
            panic!("at {now} µs {to} got {packet:?}, {why}");
        }
        let Some(c) = at else {
            return;
        };
        match packet {
            Packet::Publish(publish) => {
                let message = u32::from_be_bytes(publish.data.try_into().unwrap()) as usize;
                let client = &mut self.list[c];
                assert!(
                    client.state != State::Asleep || client.waiting != Waiting::Nothing,
                    "at {now} µs client {c} got {publish:?} in its sleep"
                );
                if publish.alias.topic_id_type == TopicIdType::Normal
                    && let Some(known) = client.topic_ids.get(&publish.alias.topic_id)
                {
                    let topic = TOPICS[self.messages[message].topic];
                    assert_eq!(known, topic, "at {now} µs client {c} read another topic");
                }
                let before = client.receipts.iter().any(|r| r.message == message);
                // At least once: what was not acknowledged comes again, marked as such.
                if !(publish.dup && before) {
                    client.receipts.push(Receipt {
                        message,
                        qos: publish.qos.level() as u8,
                        retain: publish.retain,
                        early: client.waiting == Waiting::Connack,
                    });
                }
                if publish.qos == Qos::One {
                    let topic_id = publish.alias.topic_id;
                    self.acknowledge(
                        to,
                        &puback(topic_id, publish.msg_id.0, ReturnCode::Accepted),
                    );
                }
            }
            Packet::Register(register) => {
                let name = register.topic_name.to_owned();
                self.list[c].topic_ids.insert(register.topic_id, name);
                let (topic_id, msg_id) = (register.topic_id, register.msg_id);
                self.acknowledge(to, &regack(topic_id, msg_id, ReturnCode::Accepted));
            }
            Packet::Puback(puback) => {
                assert_eq!(
                    puback.return_code,
                    ReturnCode::Accepted,
                    "at {now} µs client {c}"
                );
                let message = &mut self.messages[usize::from(puback.msg_id.0)];
                assert_eq!(message.publisher, c);
                message.pubacks += 1;
            }
            Packet::Pingresp => self.list[c].state = State::Asleep,
            answer => self.answered(now, c, &answer),
        }
    }

    fn answered(&mut self, now: Time, c: usize, answer: &Packet<'_>) {
        let client = &mut self.list[c];
        let waiting = std::mem::replace(&mut client.waiting, Waiting::Nothing);
        match (waiting, answer) {
            (Waiting::Connack, Packet::Connack(ReturnCode::Accepted)) => {
                client.state = State::In;
                client.close_gaps(now);
                let (address, moves) = (client.address, client.moves);
                for before in 0..moves {
                    let old = SocketAddr::from(([10, 0, before, c as u8], 4000));
                    // Packets to the old address took another way than the CONNACK.
                    let from = now + TRANSIT_US;
                    self.silent
                        .insert(old, (from, "though the client has moved"));
                }
                self.silent.remove(&address);
            }
            (Waiting::Regack { topic, msg_id }, Packet::Regack(regack)) => {
                assert_eq!(
                    (regack.msg_id, regack.return_code),
                    (msg_id, ReturnCode::Accepted)
                );
                let alias = Alias::normal(regack.topic_id);
                client.publishes_as.insert(topic, alias);
                let name = TOPICS[topic].to_owned();
                client.topic_ids.insert(regack.topic_id, name);
            }
            (
                Waiting::Suback {
                    filter,
                    qos,
                    msg_id,
                },
                Packet::Suback(suback),
            ) => {
                assert_eq!(
                    (suback.msg_id, suback.return_code),
                    (msg_id, ReturnCode::Accepted)
                );
                assert_eq!(suback.qos.level() as u8, qos);
                if FILTERS[filter].starts_with("t/") && suback.topic_id != 0 {
                    let name = FILTERS[filter].to_owned();
                    client.topic_ids.insert(suback.topic_id, name);
                }
                let (last, before) = client.subscriptions.split_last_mut().unwrap();
                last.since = now;
                // One that it replaces was in force until here.
                for old in before {
                    if old.filter == filter && old.until == NEVER {
                        (old.until, old.ended) = (now, now);
                    }
                }
            }
            (Waiting::Unsuback { filter, msg_id }, Packet::Unsuback(answered)) => {
                assert_eq!(*answered, msg_id);
                for subscription in &mut client.subscriptions {
                    if subscription.filter == filter && subscription.ended == NEVER {
                        subscription.ended = now;
                    }
                }
            }
            (Waiting::Asleep, Packet::Disconnect(_)) => {
                client.state = State::Asleep;
                let address = client.address;
                self.silent.insert(address, (now, "though it sleeps"));
            }
            (Waiting::Out, Packet::Disconnect(_)) => {
                client.state = State::Out;
                client.finish_subscriptions(now);
                let address = client.address;
                self.silent
                    .insert(address, (now, "though it has disconnected"));
            }
            (waiting, answer) => {
                panic!("at {now} µs client {c}, waiting for {waiting:?}, got {answer:?}")
            }
        }
    }

    pub fn start_last_client(&mut self) -> usize {
        let last = 4;
        self.client(last);
        self.connect(0, last);
        last
    }

    pub fn subscribe_last_client(&mut self, last: usize) {
        assert_eq!(self.list[last].state, State::In);
        self.operate(0, Op::Subscribe(last, 3, 1));
    }
}

impl Client {
    fn is_idle(&self) -> bool {
        self.waiting == Waiting::Nothing && self.state == State::In
    }

    fn msg_id(&mut self) -> MsgId {
        self.last_msg_id += 1;
        MsgId(self.last_msg_id)
    }

    /// A clean session ends, and all its subscriptions with it.
    fn end_subscriptions(&mut self, now: Time) {
        for subscription in &mut self.subscriptions {
            subscription.until = subscription.until.min(now);
        }
    }

    fn finish_subscriptions(&mut self, now: Time) {
        for subscription in &mut self.subscriptions {
            if subscription.until != NEVER && subscription.ended == NEVER {
                subscription.ended = now;
            }
        }
    }

    fn close_gaps(&mut self, now: Time) {
        for (_, end) in self.gaps.iter_mut().chain(&mut self.naps) {
            *end = (*end).min(now);
        }
        self.finish_subscriptions(now);
    }

    /// Whether it was away at some time from `after` before the moment until `before` after it.
    fn is_away(&self, sent: Time, before: Time, after: Time) -> bool {
        let mut gaps = self.gaps.iter();
        gaps.any(|&(from, to)| from <= sent + before && sent <= to.saturating_add(after))
    }

    fn naps(&self, sent: Time, margin: Time) -> bool {
        let mut naps = self.naps.iter();
        naps.any(|&(from, to)| from <= sent + margin && sent <= to.saturating_add(margin))
    }

    fn ever_naps(&self) -> bool {
        !self.naps.is_empty()
    }
}
