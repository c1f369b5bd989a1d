//! Any octets, read as a history of a broker: datagrams of several peers over several transports, time,
//! a controller's words, changes of the configuration. After each step the broker must be within its
//! limits, and all that it says must be MQTT-SN.
//!
//! The property in `histories` and the fuzz target `broker/fuzz` both play these.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use broker::auth::Keys;
use broker::{Broker, Config, Policy, Predefined, Source, Via};
use mqttsn::packet::{
    Connect, Disconnect, Pingreq, Puback, Publish, Regack, Register, SearchGw, Subscribe,
    Unsubscribe, WillTopic,
};
use mqttsn::{Alias, Frame, MsgId, Packet, Qos, ReturnCode, Seconds, Tag, TopicRef};
use offload::{
    Activity, FromBroker, FromController, Refusal, RefusedItem, Revision, SessionId, TopicIndex,
};

const KEY: &str = "pump:000102030405060708090a0b0c0d0e0f";
const TOPICS: [&str; 7] = ["a", "ab", "a/b", "b/c", "pre", "own/x", "$SYS/x"];
const FILTERS: [&str; 8] = ["a", "ab", "a/+", "#", "+", "+/b", "$SYS/#", "a/#/b"];
const CLIENTS: [&str; 6] = ["x", "y", "z", "pump", KEY, "own"];
const RULES: [&str; 3] = [
    "{}",
    "{default: deny, rules: [{permit: allow, client: '*', topic: a/#}, {permit: allow, topic: pre}]}",
    "{rules: [{permit: deny, client: x, topic: '#'}, {permit: deny, topic: '%c/#'}]}",
];

/// Plays the history and checks the broker after each step.
pub fn play(octets: &[u8]) {
    let mut octets = Octets(octets);
    let mut play = Play::new(&mut octets);
    while !octets.0.is_empty() {
        play.step(&mut octets);
        play.check();
    }
    // What has a time limit is over once that has passed.
    play.advance(Duration::from_secs(3600));
    play.check();
    let sizes = play.broker.sizes();
    assert_eq!((sizes.answers, sizes.dialogues), (0, 0), "{sizes:?}");
}

/// The octets not yet read; behind the end all are zero.
struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    fn bit(&mut self) -> bool {
        self.next() % 2 == 1
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.next()) % list.len()]
    }

    fn small(&mut self) -> u16 {
        u16::from(self.next() % 6)
    }

    fn some(&mut self) -> Vec<u8> {
        let length = usize::from(self.next() % 40).min(self.0.len());
        let (some, rest) = self.0.split_at(length);
        self.0 = rest;
        some.to_vec()
    }
}

struct Play {
    broker: Broker,
    config: Config,
    now: Instant,
    linked: bool,
}

fn configuration(octets: &mut Octets<'_>) -> Config {
    let yaml = "{max_sessions: 5, max_unconfirmed_sessions: 3, max_topics: 6, max_topic_levels: 4, \
         max_subscriptions: 3, max_total_subscriptions: 8, max_topic_ids: 3, max_name_octets: 60, \
         max_queued_messages: 3, max_queued_octets: 200, max_total_queued_octets: 900, \
         max_retained: 2, max_retained_octets: 50, max_will_octets: 20, t_retry_ms: 100, n_retry: 2, \
         predefined_topics: {1: pre}, predefined_topics_of: {own: {1: own/x, 2: a}}}";
    // A constant, and so right or wrong whatever is played.
    let mut config: Config = serde_yaml::from_str(yaml).expect("the configuration above is valid");
    config.offload.enabled = octets.bit();
    if octets.bit() {
        config.auth.takeover = broker::Takeover::Refuse;
    }
    config.auth.secret_in_client_id = octets.bit();
    config.auth.keys = Some("keys".into());
    if octets.bit() {
        config.rates.per_client = 20;
        config.rates.per_client_burst = 4;
        config.rates.total = 50;
        config.rates.anybody = 5;
    }
    if octets.bit() {
        config.max_sessions_per_address = 2;
    }
    if octets.bit() {
        config.advertise.group = Some(SocketAddr::from(([225, 1, 1, 1], 1883)));
    }
    config.acl = serde_yaml::from_str(octets.of(&RULES)).expect("the rules above are valid");
    config
}

fn policy(config: &Config) -> Box<Policy> {
    let keys = Keys::parse(KEY, Path::new("keys")).expect("the key above is valid");
    Box::new(Policy::new(config, keys))
}

impl Play {
    fn new(octets: &mut Octets<'_>) -> Self {
        let config = configuration(octets);
        let now = Instant::now();
        let broker = Broker::with_access(config.clone(), policy(&config), now);
        Play {
            broker: broker.expect("the configuration is valid"),
            config,
            now,
            linked: false,
        }
    }

    fn step(&mut self, octets: &mut Octets<'_>) {
        match octets.next() % 16 {
            0..=10 => self.datagram(octets),
            11 => self.advance(Duration::from_millis(u64::from(octets.next()) * 4)),
            12 => self.advance(Duration::from_secs(u64::from(octets.next()))),
            13 | 14 => self.controller(octets),
            _ => self.operator(octets),
        }
    }

    fn datagram(&mut self, octets: &mut Octets<'_>) {
        let peer = octets.next();
        let address = SocketAddr::from(([10, 0, 0, 1 + peer % 3], 4000 + u16::from(peer / 3 % 2)));
        let (via, identity) = match peer / 6 % 5 {
            0..=2 => (Via::Udp, None),
            3 => (Via::Dtls, Some("pump")),
            _ => (Via::Dtls, Some("x")),
        };
        let source = Source {
            via,
            address,
            identity,
        };
        let mut bytes = match octets.next() % 8 {
            0 => {
                let tag = Tag {
                    topic_index: octets.small().into(),
                    generation: octets.small().into(),
                };
                tag.to_encapsulation().to_vec()
            }
            1 => vec![4, 0xFE, 1, b'f'],
            _ => Vec::new(),
        };
        match octets.next() % 12 {
            0 => bytes.extend(octets.some()),
            kind => bytes.extend(message(kind, octets)),
        }
        self.broker.handle_datagram(self.now, source, &bytes);
    }

    fn controller(&mut self, octets: &mut Octets<'_>) {
        let revision = self.broker.intent().revision;
        let session = SessionId(octets.small().into());
        let message = match octets.next() % 9 {
            0 => {
                self.linked = !self.linked;
                match self.linked {
                    true => self.broker.link_up(self.now),
                    false => self.broker.link_down(self.now),
                }
                FromController::Hello {
                    controller: "c".into(),
                    election_id: 1,
                    reachable: Vec::new(),
                }
            }
            1 | 2 => FromController::Installed { revision },
            3 => FromController::Installed {
                revision: Revision(octets.next().into()),
            },
            4 | 5 => FromController::RequestLease { request: 1 },
            6 => FromController::Reachable {
                address: [10, 0, 0, octets.next() % 4].into(),
                reachable: !octets.next().is_multiple_of(4),
            },
            7 => FromController::Refused {
                item: match octets.bit() {
                    true => RefusedItem::Session(session),
                    false => RefusedItem::Topic(TopicIndex(octets.small().into())),
                },
                why: octets.bit().then_some(Refusal::Capacity("topic".into())),
            },
            _ => FromController::Activity {
                query: octets.small().into(),
                sessions: vec![Activity {
                    session,
                    idle: octets.bit().then_some(Duration::from_millis(1)),
                }],
            },
        };
        self.broker.handle_offload(self.now, message);
    }

    fn operator(&mut self, octets: &mut Octets<'_>) {
        match octets.next() % 4 {
            0 => {
                let address = SocketAddr::from(([10, 0, 0, 1 + octets.next() % 3], 4000));
                self.broker.transport_ended(self.now, Via::Dtls, address);
            }
            1 => {
                let next = Predefined {
                    all: BTreeMap::from([(octets.small() + 1, octets.of(&TOPICS).to_owned())]),
                    of: BTreeMap::from([("own".into(), BTreeMap::from([(2, "b/c".into())]))]),
                };
                let set = self.broker.set_predefined(self.now, next);
                set.expect("ids and names above are valid");
            }
            _ => {
                self.config.acl =
                    serde_yaml::from_str(octets.of(&RULES)).expect("the rules above are valid");
                let access = policy(&self.config);
                let stay = self.broker.reload(self.now, self.config.clone(), access);
                assert!(stay.expect("the configuration is valid").is_empty());
            }
        }
    }

    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.broker.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.now);
            let next = self.broker.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline rests");
            self.check();
        }
        self.now = end;
    }

    /// What it says can be read, and what it holds is within its limits.
    fn check(&mut self) {
        while let Some(transmit) = self.broker.poll_transmit() {
            let said = Frame::decode(transmit.bytes).and_then(|frame| frame.packet().map(|_| ()));
            assert!(said.is_ok(), "{said:?}: {:?}", transmit.bytes);
        }
        while let Some(message) = self.broker.poll_offload() {
            if let FromBroker::Delta(delta) = message {
                assert!(delta.revision > delta.base);
            }
        }
        let (sizes, config) = (self.broker.sizes(), &self.config);
        // What the operator names is beside what clients may fill.
        let (own, own_octets) = (4, 24);
        // A message that was under way and waits again counts, though it no longer did.
        let under_way = config.max_sessions * 500;
        for (name, size, limit) in [
            ("sessions", sizes.sessions, config.max_sessions),
            (
                "unconfirmed",
                sizes.unconfirmed,
                config.max_unconfirmed_sessions,
            ),
            (
                "dialogues",
                sizes.dialogues,
                config.max_unconfirmed_sessions,
            ),
            ("topics", sizes.topics, config.max_topics + own),
            (
                "subscriptions",
                sizes.subscriptions,
                config.max_total_subscriptions,
            ),
            (
                "name octets",
                sizes.name_octets,
                config.max_name_octets + own_octets,
            ),
            (
                "queued octets",
                sizes.queued_octets,
                config.max_total_queued_octets + under_way,
            ),
            ("retained", sizes.retained, config.max_retained),
            (
                "retained octets",
                sizes.retained_octets,
                config.max_retained_octets,
            ),
            ("intent topics", sizes.intent_topics, sizes.topics),
            (
                "intent publications",
                sizes.intent_publications,
                config.max_topic_ids * config.max_sessions,
            ),
        ] {
            assert!(size <= limit, "{size} {name}, more than {limit}");
        }
        for session in self.broker.sessions() {
            assert!(
                session.queued <= config.max_queued_messages + 1,
                "{session:?}"
            );
            assert!(session.topic_ids <= config.max_topic_ids, "{session:?}");
            assert!(
                session.subscriptions.len() <= config.max_subscriptions,
                "{session:?}"
            );
        }
    }
}

/// A message that means something, with values that often meet those of another one.
fn message(kind: u8, octets: &mut Octets<'_>) -> Vec<u8> {
    const LEVELS: [Qos; 4] = [Qos::Zero, Qos::One, Qos::Two, Qos::MinusOne];
    const CODES: [ReturnCode; 5] = [
        ReturnCode::Accepted,
        ReturnCode::Accepted,
        ReturnCode::InvalidTopicId,
        ReturnCode::Congestion,
        ReturnCode::NotSupported,
    ];
    let msg_id = MsgId(octets.small());
    let topic_id = octets.small();
    let data = octets.some();
    let topic = match octets.next() % 4 {
        0 => TopicRef::Predefined(topic_id),
        1 => TopicRef::Short(*b"ab"),
        _ => TopicRef::Name(octets.of(&FILTERS)),
    };
    let packet = match kind {
        1 | 2 => Packet::Connect(Connect {
            will: octets.bit(),
            clean_session: octets.bit(),
            protocol_id: 1,
            duration: Seconds(octets.small()),
            client_id: octets.of(&CLIENTS),
        }),
        3 => match octets.next() % 6 {
            0 => Packet::WillTopic(None),
            1 => Packet::WillMsgUpd(&data),
            2 | 3 => Packet::WillMsg(&data),
            update => {
                let will = WillTopic {
                    qos: octets.of(&LEVELS),
                    retain: octets.bit(),
                    topic: octets.of(&TOPICS),
                };
                match update {
                    4 => Packet::WillTopicUpd(Some(will)),
                    _ => Packet::WillTopic(Some(will)),
                }
            }
        },
        4 => Packet::Register(Register {
            topic_id: 0,
            msg_id,
            topic_name: octets.of(&TOPICS),
        }),
        5 => Packet::Subscribe(Subscribe {
            dup: false,
            qos: octets.of(&LEVELS),
            msg_id,
            topic,
        }),
        6 | 7 => Packet::Publish(Publish {
            dup: octets.bit(),
            qos: octets.of(&LEVELS),
            retain: octets.bit(),
            alias: match octets.next() % 3 {
                0 => Alias::normal(topic_id),
                1 => Alias::predefined(topic_id),
                _ => Alias::short(*b"ab"),
            },
            msg_id,
            data: &data,
        }),
        8 => {
            let return_code = octets.of(&CODES);
            match octets.bit() {
                true => Packet::Puback(Puback {
                    topic_id,
                    msg_id,
                    return_code,
                }),
                false => Packet::Regack(Regack {
                    topic_id,
                    msg_id,
                    return_code,
                }),
            }
        }
        9 => match octets.next() % 4 {
            0 => Packet::Pubrec(msg_id),
            1 => Packet::Pubrel(msg_id),
            2 => Packet::Pubcomp(msg_id),
            _ => Packet::Unsubscribe(Unsubscribe { msg_id, topic }),
        },
        10 => match octets.next() % 4 {
            0 => Packet::SearchGw(SearchGw { radius: 0 }),
            1 => Packet::Pingreq(Pingreq { client_id: "" }),
            _ => Packet::Pingreq(Pingreq {
                client_id: octets.of(&CLIENTS),
            }),
        },
        _ => Packet::Disconnect(Disconnect {
            duration: octets.bit().then_some(Seconds(octets.small())),
        }),
    };
    let mut bytes = vec![0; packet.encoded_len()];
    let length = packet.encode(&mut bytes);
    bytes.truncate(length.expect("as many octets as it needs"));
    bytes
}
