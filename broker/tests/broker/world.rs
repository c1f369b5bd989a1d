//! A broker in virtual time, and clients that are no more than addresses.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use broker::{Broker, Config, OffloadConfig};
use mqttsn::packet::{
    Connect, Disconnect, Pingreq, Puback, Publish, Regack, Register, Suback, Subscribe,
    Unsubscribe, WillTopic,
};
use mqttsn::types::PROTOCOL_ID;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, Seconds, Tag, TopicRef};
use offload::{FromBroker, FromController, Intent, Revision};

/// Address of the client with this number.
pub fn at(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 4000))
}

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// So many cases of a property, or as many as `PROPTEST_CASES` says.
pub fn cases(cases: u32) -> proptest::test_runner::Config {
    let default = proptest::test_runner::Config::default();
    proptest::test_runner::Config {
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => default.cases,
            None => cases,
        },
        failure_persistence: None,
        ..default
    }
}

pub struct World {
    pub broker: Broker,
    pub now: Instant,
    pub inboxes: BTreeMap<SocketAddr, VecDeque<Vec<u8>>>,
    pub said: VecDeque<FromBroker>,
    next_msg_id: u16,
}

pub fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len()];
    packet.encode(&mut bytes).unwrap();
    bytes
}

pub fn offloading() -> Config {
    Config {
        offload: OffloadConfig {
            enabled: true,
            ..OffloadConfig::default()
        },
        ..Config::default()
    }
}

impl World {
    pub fn new(config: Config) -> Self {
        let now = Instant::now();
        World {
            broker: Broker::new(config, now).unwrap(),
            now,
            inboxes: BTreeMap::new(),
            said: VecDeque::new(),
            next_msg_id: 0,
        }
    }

    pub fn plain() -> Self {
        Self::new(Config::default())
    }

    /// With offload, and a controller whose snapshot is installed and whose lease is granted.
    pub fn offloading(config: Config) -> Self {
        let mut world = Self::new(config);
        world.advance(ms(1000));
        world.greet();
        world.install();
        assert!(world.grant(1), "the lease is granted");
        world
    }

    pub fn greet(&mut self) -> Intent {
        self.greet_reaching([])
    }

    /// A controller links that reaches these clients.
    pub fn greet_reaching(&mut self, numbers: impl IntoIterator<Item = u8>) -> Intent {
        self.said.clear();
        self.broker.link_up(self.now);
        self.tell(FromController::Hello {
            controller: "test".into(),
            election_id: 1,
            reachable: numbers.into_iter().map(|number| at(number).ip()).collect(),
        });
        match self.said.pop_front() {
            Some(FromBroker::Snapshot(intent)) => intent,
            other => panic!("a snapshot first, not {other:?}"),
        }
    }

    /// The switches hold the intent as it is.
    pub fn install(&mut self) {
        let revision = self.broker.intent().revision;
        self.installed(revision);
    }

    pub fn installed(&mut self, revision: Revision) {
        self.tell(FromController::Installed { revision });
    }

    pub fn tell(&mut self, message: FromController) {
        self.broker.handle_offload(self.now, message);
        self.collect();
    }

    pub fn reachable(&mut self, numbers: impl IntoIterator<Item = u8>) {
        for number in numbers {
            self.tell(FromController::Reachable {
                address: at(number).ip(),
                reachable: true,
            });
        }
        self.install();
    }

    /// Asks for a lease; whether it was granted.
    pub fn grant(&mut self, request: u64) -> bool {
        self.said.clear();
        self.tell(FromController::RequestLease { request });
        self.said
            .drain(..)
            .any(|said| matches!(said, FromBroker::Grant { request: r, .. } if r == request))
    }

    pub fn collect(&mut self) {
        while let Some(transmit) = self.broker.poll_transmit() {
            self.inboxes
                .entry(transmit.to)
                .or_default()
                .push_back(transmit.bytes.to_vec());
        }
        while let Some(message) = self.broker.poll_offload() {
            self.said.push_back(message);
        }
    }

    pub fn send_bytes(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.broker.handle_datagram(self.now, from, bytes);
        self.collect();
    }

    pub fn send(&mut self, from: SocketAddr, packet: &Packet<'_>) {
        self.send_bytes(from, &encode(packet));
    }

    /// As the data plane would send a copy of it.
    pub fn send_tagged(&mut self, from: SocketAddr, tag: Tag, packet: &Packet<'_>) {
        let mut bytes = tag.to_encapsulation().to_vec();
        bytes.extend(encode(packet));
        self.send_bytes(from, &bytes);
    }

    /// Lets time pass; the broker is woken at each of its deadlines.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(deadline) = self.broker.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(deadline);
            self.broker.handle_timeout(self.now);
            self.collect();
            let next = self.broker.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline rests");
        }
        self.now = end;
    }

    /// The next message for this client must be this one.
    #[track_caller]
    pub fn expect(&mut self, client: SocketAddr, packet: &Packet<'_>) {
        let bytes = self.inboxes.get_mut(&client).and_then(VecDeque::pop_front);
        let bytes = bytes.unwrap_or_else(|| panic!("{client} got nothing, not {packet:?}"));
        assert_eq!(Packet::decode(&bytes).as_ref(), Ok(packet));
    }

    #[track_caller]
    pub fn expect_nothing(&mut self, client: SocketAddr) {
        if let Some(bytes) = self.inboxes.get_mut(&client).and_then(VecDeque::pop_front) {
            panic!("{client} got {:?}", Packet::decode(&bytes));
        }
    }

    #[track_caller]
    pub fn take(&mut self, client: SocketAddr) -> Vec<u8> {
        let bytes = self.inboxes.get_mut(&client).and_then(VecDeque::pop_front);
        bytes.unwrap_or_else(|| panic!("{client} got nothing"))
    }

    pub fn msg_id(&mut self) -> MsgId {
        self.next_msg_id += 1;
        MsgId(self.next_msg_id)
    }

    #[track_caller]
    pub fn connect(&mut self, client: SocketAddr, client_id: &str) {
        self.send(client, &connect(client_id));
        self.install_if_linked();
        self.expect(client, &Packet::Connack(ReturnCode::Accepted));
    }

    /// A controller that keeps up.
    fn install_if_linked(&mut self) {
        if self.broker.status().controller.is_some() {
            self.install();
        }
    }

    /// Registers; the topic id.
    #[track_caller]
    pub fn register(&mut self, client: SocketAddr, name: &str) -> u16 {
        let msg_id = self.msg_id();
        self.send(client, &register(name, msg_id));
        self.install_if_linked();
        let bytes = self.take(client);
        match Packet::decode(&bytes) {
            Ok(Packet::Regack(Regack {
                topic_id,
                msg_id: answered,
                return_code: ReturnCode::Accepted,
            })) if answered == msg_id => topic_id,
            other => panic!("REGACK, not {other:?}"),
        }
    }

    /// Subscribes; the topic id.
    #[track_caller]
    pub fn subscribe(&mut self, client: SocketAddr, topic: TopicRef<'_>, qos: Qos) -> u16 {
        let msg_id = self.msg_id();
        self.send(client, &subscribe(topic, qos, msg_id));
        self.install_if_linked();
        let bytes = self.take(client);
        match Packet::decode(&bytes) {
            Ok(Packet::Suback(suback)) => {
                assert_eq!(
                    (suback.return_code, suback.msg_id, suback.qos),
                    (ReturnCode::Accepted, msg_id, qos)
                );
                suback.topic_id
            }
            other => panic!("SUBACK, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn unsubscribe(&mut self, client: SocketAddr, topic: TopicRef<'_>) {
        let msg_id = self.msg_id();
        self.send(client, &Packet::Unsubscribe(Unsubscribe { msg_id, topic }));
        self.install_if_linked();
        self.expect(client, &Packet::Unsuback(msg_id));
    }

    /// Answers the next REGISTER; name and topic id.
    #[track_caller]
    pub fn accept_register(&mut self, client: SocketAddr) -> (String, u16) {
        let bytes = self.take(client);
        let Ok(Packet::Register(register)) = Packet::decode(&bytes) else {
            panic!("REGISTER, not {:?}", Packet::decode(&bytes));
        };
        let name = register.topic_name.to_owned();
        let regack = Regack {
            topic_id: register.topic_id,
            msg_id: register.msg_id,
            return_code: ReturnCode::Accepted,
        };
        self.send(client, &Packet::Regack(regack));
        (name, regack.topic_id)
    }

    /// The next message must be a PUBLISH at QoS 1 or 2 on this alias with this payload; its MsgId.
    #[track_caller]
    pub fn expect_publish(
        &mut self,
        client: SocketAddr,
        alias: Alias,
        qos: Qos,
        data: &[u8],
    ) -> MsgId {
        let bytes = self.take(client);
        match Packet::decode(&bytes) {
            Ok(Packet::Publish(p)) => {
                assert_eq!((p.alias, p.qos, p.data), (alias, qos, data));
                p.msg_id
            }
            other => panic!("PUBLISH, not {other:?}"),
        }
    }
}

pub fn connect(client_id: &str) -> Packet<'_> {
    connect_with(client_id, true, false, 0)
}

pub fn connect_with(client_id: &str, clean: bool, will: bool, keep_alive: u16) -> Packet<'_> {
    Packet::Connect(Connect {
        will,
        clean_session: clean,
        protocol_id: PROTOCOL_ID,
        duration: Seconds(keep_alive),
        client_id,
    })
}

pub fn register(topic_name: &str, msg_id: MsgId) -> Packet<'_> {
    Packet::Register(Register {
        topic_id: 0,
        msg_id,
        topic_name,
    })
}

pub fn subscribe(topic: TopicRef<'_>, qos: Qos, msg_id: MsgId) -> Packet<'_> {
    Packet::Subscribe(Subscribe {
        dup: false,
        qos,
        msg_id,
        topic,
    })
}

pub fn suback(topic_id: u16, qos: Qos, msg_id: MsgId, return_code: ReturnCode) -> Packet<'static> {
    Packet::Suback(Suback {
        qos,
        topic_id,
        msg_id,
        return_code,
    })
}

pub fn publish(alias: Alias, qos: Qos, msg_id: u16, data: &[u8]) -> Packet<'_> {
    publish_with(alias, qos, msg_id, false, data)
}

pub fn publish_with(alias: Alias, qos: Qos, msg_id: u16, retain: bool, data: &[u8]) -> Packet<'_> {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain,
        alias,
        msg_id: MsgId(msg_id),
        data,
    })
}

pub fn puback(topic_id: u16, msg_id: u16, return_code: ReturnCode) -> Packet<'static> {
    Packet::Puback(Puback {
        topic_id,
        msg_id: MsgId(msg_id),
        return_code,
    })
}

pub fn regack(topic_id: u16, msg_id: MsgId, return_code: ReturnCode) -> Packet<'static> {
    Packet::Regack(Regack {
        topic_id,
        msg_id,
        return_code,
    })
}

pub fn disconnect(duration: Option<u16>) -> Packet<'static> {
    Packet::Disconnect(Disconnect {
        duration: duration.map(Seconds),
    })
}

pub fn pingreq(client_id: &str) -> Packet<'_> {
    Packet::Pingreq(Pingreq { client_id })
}

pub fn will_topic(topic: &str, qos: Qos, retain: bool) -> Packet<'_> {
    Packet::WillTopic(Some(WillTopic { qos, retain, topic }))
}

pub fn name(name: &str) -> TopicRef<'_> {
    TopicRef::Name(name)
}
