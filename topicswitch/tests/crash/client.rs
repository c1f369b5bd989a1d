//! A client that repeats what is not answered, for as long as it takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mqttsn::Packet;
use mqttsn::packet::{
    Connect, Disconnect, Puback, Publish, Regack, Register, Subscribe, Unsubscribe,
};
use mqttsn::types::{Alias, MsgId, PROTOCOL_ID, Qos, ReturnCode, Seconds, TopicIdType, TopicRef};

/// T_retry of the client.
const RETRY: Duration = Duration::from_millis(150);

pub(crate) struct Client {
    socket: UdpSocket,
    last_msg_id: u16,
    /// Payloads, and how often each was delivered to the application.
    pub(crate) heard: HashMap<Vec<u8>, u32>,
    /// Payloads, and the topic of the last delivery where that is known.
    pub(crate) topics: HashMap<Vec<u8>, String>,
    names: BTreeMap<u16, String>,
    unreleased: BTreeSet<MsgId>,
    /// A DISCONNECT is expected.
    leaving: bool,
}

fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len()];
    packet.encode(&mut bytes).unwrap();
    bytes
}

impl Client {
    pub(crate) fn new(broker: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(broker).unwrap();
        Client {
            socket,
            last_msg_id: 0,
            heard: HashMap::new(),
            topics: HashMap::new(),
            names: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            leaving: false,
        }
    }

    fn send(&self, packet: &Packet<'_>) {
        // The broker may be away; that comes back as an error of a later call.
        let _ = self.socket.send(&encode(packet));
    }

    fn msg_id(&mut self) -> MsgId {
        self.last_msg_id = self.last_msg_id % 0xFFFE + 1;
        MsgId(self.last_msg_id)
    }

    /// Takes what comes, until then.
    pub(crate) fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        self.wait(until, |_| None::<()>);
    }

    /// Takes what comes until this payload has; false if it does not.
    pub(crate) fn listen_for(&mut self, data: &[u8]) -> bool {
        let until = Instant::now() + super::PATIENCE;
        while !self.heard.contains_key(data) {
            let published = self.wait(until, |packet| match packet {
                Packet::Publish(_) => Some(()),
                _ => None,
            });
            if published.is_none() {
                return false;
            }
        }
        true
    }

    /// Takes what comes until `pick` has found what it looks for.
    fn wait<T>(&mut self, until: Instant, pick: impl Fn(&Packet<'_>) -> Option<T>) -> Option<T> {
        let mut buffer = [0; 2048];
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            let left = left.max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).unwrap();
            let Ok(length) = self.socket.recv(&mut buffer) else {
                // Nothing yet, or the broker is away: its host says so once for each datagram.
                continue;
            };
            let packet = Packet::decode(&buffer[..length]).unwrap();
            self.hear(&packet);
            if let Some(found) = pick(&packet) {
                return Some(found);
            }
        }
    }

    /// Asks until there is an answer.
    fn ask<T>(
        &mut self,
        mut question: impl FnMut(bool) -> Vec<u8>,
        pick: impl Fn(&Packet<'_>) -> Option<T>,
    ) -> T {
        let start = Instant::now();
        let mut dup = false;
        loop {
            assert!(start.elapsed() < super::PATIENCE, "no answer");
            let _ = self.socket.send(&question(dup));
            dup = true;
            if let Some(found) = self.wait(Instant::now() + RETRY, &pick) {
                return found;
            }
        }
    }

    fn hear(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Register(register) => {
                let name = register.topic_name.to_owned();
                self.names.insert(register.topic_id, name);
                self.send(&Packet::Regack(Regack {
                    topic_id: register.topic_id,
                    msg_id: register.msg_id,
                    return_code: ReturnCode::Accepted,
                }));
            }
            Packet::Publish(publish) => match publish.qos {
                Qos::Two => {
                    if self.unreleased.insert(publish.msg_id) {
                        self.deliver(publish);
                    }
                    self.send(&Packet::Pubrec(publish.msg_id));
                }
                Qos::One => {
                    self.deliver(publish);
                    self.send(&Packet::Puback(Puback {
                        topic_id: publish.alias.topic_id,
                        msg_id: publish.msg_id,
                        return_code: ReturnCode::Accepted,
                    }));
                }
                Qos::Zero | Qos::MinusOne => self.deliver(publish),
            },
            Packet::Pubrel(msg_id) => {
                self.unreleased.remove(msg_id);
                self.send(&Packet::Pubcomp(*msg_id));
            }
            Packet::Disconnect(_) => assert!(self.leaving, "the broker forgot this session"),
            _ => {}
        }
    }

    fn deliver(&mut self, publish: &Publish<'_>) {
        *self.heard.entry(publish.data.to_vec()).or_default() += 1;
        if publish.alias.topic_id_type == TopicIdType::Normal
            && let Some(name) = self.names.get(&publish.alias.topic_id)
        {
            self.topics.insert(publish.data.to_vec(), name.clone());
        }
    }

    pub(crate) fn connect(&mut self, client_id: &str, clean_session: bool) {
        let connect = Packet::Connect(Connect {
            will: false,
            clean_session,
            protocol_id: PROTOCOL_ID,
            duration: Seconds(0),
            client_id,
        });
        let bytes = encode(&connect);
        self.leaving = true;
        let code = self.ask(
            |_| bytes.clone(),
            |packet| match packet {
                Packet::Connack(code) => Some(*code),
                _ => None,
            },
        );
        assert_eq!(code, ReturnCode::Accepted);
        self.leaving = false;
    }

    pub(crate) fn disconnect(&mut self) {
        self.leaving = true;
        let bytes = encode(&Packet::Disconnect(Disconnect { duration: None }));
        self.ask(
            |_| bytes.clone(),
            |packet| matches!(packet, Packet::Disconnect(_)).then_some(()),
        );
    }

    pub(crate) fn register(&mut self, topic_name: &str) -> u16 {
        let msg_id = self.msg_id();
        let bytes = encode(&Packet::Register(Register {
            topic_id: 0,
            msg_id,
            topic_name,
        }));
        let regack = self.ask(
            |_| bytes.clone(),
            |packet| match packet {
                Packet::Regack(regack) if regack.msg_id == msg_id => Some(*regack),
                _ => None,
            },
        );
        assert_eq!(regack.return_code, ReturnCode::Accepted);
        regack.topic_id
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: Qos) {
        let msg_id = self.msg_id();
        let question = |dup| {
            encode(&Packet::Subscribe(Subscribe {
                dup,
                qos,
                msg_id,
                topic: TopicRef::Name(filter),
            }))
        };
        let suback = self.ask(question, |packet| match packet {
            Packet::Suback(suback) if suback.msg_id == msg_id => Some(*suback),
            _ => None,
        });
        assert_eq!(suback.return_code, ReturnCode::Accepted);
        if suback.topic_id != 0 {
            self.names.insert(suback.topic_id, filter.to_owned());
        }
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str) {
        let msg_id = self.msg_id();
        let bytes = encode(&Packet::Unsubscribe(Unsubscribe {
            msg_id,
            topic: TopicRef::Name(filter),
        }));
        self.ask(
            |_| bytes.clone(),
            |packet| matches!(packet, Packet::Unsuback(id) if *id == msg_id).then_some(()),
        );
    }

    /// Publishes, and returns when that is acknowledged to the end.
    pub(crate) fn publish(&mut self, alias: Alias, qos: Qos, retain: bool, data: &[u8]) {
        let msg_id = self.msg_id();
        let question = |dup| {
            encode(&Packet::Publish(Publish {
                dup,
                qos,
                retain,
                alias,
                msg_id,
                data,
            }))
        };
        let code = self.ask(question, |packet| match packet {
            Packet::Puback(puback) if puback.msg_id == msg_id => Some(puback.return_code),
            Packet::Pubrec(id) if *id == msg_id => Some(ReturnCode::Accepted),
            _ => None,
        });
        assert_eq!(code, ReturnCode::Accepted, "{alias:?}");
        if qos == Qos::Two {
            let pubrel = encode(&Packet::Pubrel(msg_id));
            self.ask(
                |_| pubrel.clone(),
                |packet| matches!(packet, Packet::Pubcomp(id) if *id == msg_id).then_some(()),
            );
        }
    }
}
