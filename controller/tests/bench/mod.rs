//! A device and a switch in memory, driven step by step in virtual time.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)] // Each test file uses its part.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use controller::Config;
use controller::apply::Update;
use controller::constants::{RID_COPY, RID_FIRST, RID_LAST};
use controller::device::Device;
use controller::tables::digests::Learned;
use controller::tables::{Key, Mac, Value, subscriber, topic};
use controller::target::fake::State;
use offload::{
    Alias, AliasType, Change, Delta, FromController, Generation, Intent, Publication,
    PublicationKey, Refusal, RefusedItem, Revision, SessionId, Topic, TopicIndex,
};

pub const BROKER: Mac = Mac([2, 0, 0, 0, 0, 0xb0]);
pub const BROKER_PORT: u16 = 1;
pub const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub const SERVICE_PORT: u16 = 1883;

/// The IPv4 address of client `n`.
pub fn ip(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 1, n))
}

/// The socket address of client `n`.
pub fn address(n: u8) -> SocketAddr {
    SocketAddr::from((ip(n), 5000))
}

pub fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, n])
}

/// Client `n` lives behind port 2 + n % 4.
pub fn port(n: u8) -> u16 {
    2 + u16::from(n % 4)
}

pub fn normal(id: u16) -> Alias {
    Alias {
        id_type: AliasType::Normal,
        id,
    }
}

pub fn predefined(id: u16) -> Alias {
    Alias {
        id_type: AliasType::Predefined,
        id,
    }
}

/// The broker answers client `n`, which is seen at the given port.
pub fn call_from(n: u8, port: u16) -> [Learned; 2] {
    let station = Learned::Mac {
        mac: mac(n),
        vid: 0,
        port,
    };
    let answered = Learned::Endpoint {
        port: BROKER_PORT,
        vid: 0,
        eth_src: BROKER,
        eth_dst: mac(n),
        ip_src: SERVICE,
        ip_dst: ip(n),
    };
    [station, answered]
}

pub fn call(n: u8) -> [Learned; 2] {
    call_from(n, port(n))
}

pub fn answer() -> Learned {
    Learned::Mac {
        mac: BROKER,
        vid: 0,
        port: BROKER_PORT,
    }
}

/// A topic that serves these clients at both QoS, acknowledged by the switch.
pub fn topic(generation: u32, served: &[u8]) -> Topic {
    let served: BTreeSet<SessionId> = served.iter().map(|&n| SessionId(n.into())).collect();
    Topic {
        name: "t".into(),
        generation: Generation(generation),
        home_alias: normal(7),
        served_q0: served.clone(),
        served_q1: served,
        copy_q0: false,
        copy_q1: false,
        ack_q1: true,
        shared: BTreeMap::new(),
        aliases: BTreeMap::new(),
    }
}

pub fn publication(n: u8, alias: Alias) -> PublicationKey {
    PublicationKey {
        address: address(n),
        alias,
    }
}

pub fn config() -> Config {
    Config {
        ports: (1..=8).collect(),
        ..Config::default()
    }
}

/// Which clients a generation of a topic serves, at QoS 0 and 1, and whether the broker gets a copy.
type Served = [(BTreeSet<SocketAddr>, bool); 2];

pub struct Bench {
    pub device: Device,
    pub state: State,
    pub now: Instant,
    pub messages: Vec<FromController>,
    pub intent: Intent,
    /// What each generation of each topic serves, as the intent had it.
    served: HashMap<(TopicIndex, u32), Vec<Served>>,
}

impl Bench {
    /// Linked, with a snapshot that has the service and the sessions 1 to 9, nobody learned.
    pub fn new(config: Config) -> Self {
        Self::with(config, State::default())
    }

    /// The same with a switch that is not empty.
    pub fn with(config: Config, state: State) -> Self {
        let mut bench = Self::unlinked(config, state);
        let mut intent = Intent {
            revision: Revision(1),
            ..Intent::default()
        };
        intent
            .services
            .insert(SocketAddr::from((SERVICE, SERVICE_PORT)));
        for n in 1..=9 {
            intent.sessions.insert(SessionId(n), address(n as u8));
        }
        bench.link(intent);
        bench.settle();
        bench
    }

    pub fn unlinked(config: Config, state: State) -> Self {
        let mut device = Device::new(Arc::new(config), HashMap::new());
        device.adopt(state.rows.clone().into_iter().collect());
        Self {
            device,
            state,
            now: Instant::now(),
            messages: Vec::new(),
            intent: Intent::default(),
            served: HashMap::new(),
        }
    }

    pub fn link(&mut self, intent: Intent) {
        self.device.link_opened();
        self.intent = intent.clone();
        self.note_served();
        self.device.snapshot(self.now, intent);
    }

    /// Everybody up to client `n` has called the broker, and it has answered.
    pub fn learn(&mut self, n: u8) {
        self.device.learned((1..=n).flat_map(call));
        self.device.learned([answer()]);
        self.settle();
    }

    pub fn change(&mut self, changes: Vec<Change>) -> Revision {
        let base = self.intent.revision;
        let delta = Delta {
            base,
            revision: Revision(base.0 + 1),
            changes,
        };
        self.intent.apply(&delta).unwrap();
        self.note_served();
        self.device.delta(self.now, &delta).unwrap();
        delta.revision
    }

    pub fn set_topic(&mut self, index: u32, to: Topic) -> Revision {
        self.change(vec![Change::Topic(TopicIndex(index), Some(to))])
    }

    pub fn set_publication(&mut self, n: u8, alias: Alias, index: u32) -> Revision {
        let publication_of = Publication {
            session: SessionId(n.into()),
            topic: TopicIndex(index),
        };
        let key = publication(n, alias);
        self.change(vec![Change::Publication(key, Some(publication_of))])
    }

    fn note_served(&mut self) {
        for (index, topic) in &self.intent.topics {
            let addresses = |sessions: &BTreeSet<SessionId>| {
                let of = |session| self.intent.sessions.get(session).copied();
                sessions.iter().filter_map(of).collect::<BTreeSet<_>>()
            };
            let served = [
                (addresses(&topic.served_q0), topic.copy_q0),
                (addresses(&topic.served_q1), topic.copy_q1),
            ];
            for (session, member) in &topic.shared {
                let own = self.intent.sessions.get(session).copied();
                let mut served = served.clone();
                served[0].0.extend(own);
                served[1].0.extend(own.filter(|_| member.serve_q1));
                let generation = member.generation.0;
                let known = self.served.entry((*index, generation)).or_default();
                if !known.contains(&served) {
                    known.push(served);
                }
            }
            let known = self.served.entry((*index, topic.generation.0)).or_default();
            if !known.contains(&served) {
                known.push(served);
            }
        }
    }

    /// One write, if there is one to do now.
    pub fn step(&mut self) -> Option<Vec<Update>> {
        let batch = self.device.next_batch(self.now);
        self.read();
        self.messages.extend(self.device.take_messages());
        let batch = batch?;
        let results = self.state.write(&batch);
        self.check();
        self.device.batch_done(self.now, results);
        self.messages.extend(self.device.take_messages());
        Some(batch)
    }

    /// The switch answers what is asked of publications' rows.
    fn read(&mut self) {
        if let Some(rows) = self.device.take_readings() {
            let hits: Vec<_> = rows.iter().map(|row| (*row, self.state.hit(row))).collect();
            self.device.read(self.now, &hits);
        }
    }

    /// Writes what can be written without waiting.
    pub fn run(&mut self) -> Vec<Vec<Update>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.step() {
            batches.push(batch);
            assert!(batches.len() < 10_000, "it writes for ever");
        }
        batches
    }

    /// Lets time pass, writing whatever falls due.
    pub fn pass(&mut self, time: Duration) -> Vec<Vec<Update>> {
        let until = self.now + time;
        let mut batches = self.run();
        while let Some(at) = self.device.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            batches.extend(self.run());
            self.now += Duration::from_micros(10);
            assert!(batches.len() < 100_000, "it writes for ever");
        }
        self.now = self.now.max(until);
        batches
    }

    /// Until nothing is left to write.
    pub fn settle(&mut self) {
        let until = self.now + Duration::from_secs(120);
        self.run();
        while !self.device.is_settled() {
            let at = self.device.next_deadline().expect("it waits for nothing");
            self.now = self.now.max(at) + Duration::from_micros(10);
            assert!(self.now < until, "it does not settle");
            self.run();
        }
    }

    /// The controller starts anew; the switch and the broker stay.
    pub fn restart(&mut self) {
        let mut device = Device::new(Arc::new(config()), HashMap::new());
        device.adopt(self.state.rows.clone().into_iter().collect());
        self.device = device;
        let intent = self.intent.clone();
        self.link(intent);
    }

    pub fn take_messages(&mut self) -> Vec<FromController> {
        std::mem::take(&mut self.messages)
    }

    pub fn installed(&self) -> Option<Revision> {
        self.messages
            .iter()
            .rev()
            .find_map(|message| match message {
                FromController::Installed { revision } => Some(*revision),
                _ => None,
            })
    }

    pub fn refused(&self, item: RefusedItem) -> Option<Option<Refusal>> {
        self.messages
            .iter()
            .rev()
            .find_map(|message| match message {
                FromController::Refused { item: of, why } if *of == item => Some(why.clone()),
                _ => None,
            })
    }

    pub fn topic_row(&self, index: u32) -> Option<topic::Action> {
        let key = Key::Topic(topic::Key { topic_index: index });
        match self.state.rows.get(&key) {
            Some(Value::Topic(action)) => Some(*action),
            _ => None,
        }
    }

    pub fn count(&self, table: &str) -> usize {
        let rows = self.state.rows.keys();
        rows.filter(|key| key.table() == table).count()
    }

    /// Whom a group on the switch reaches, and whether the broker is among them.
    pub fn members(&self, group: u16) -> (BTreeSet<SocketAddr>, bool) {
        if group == 0 {
            return (BTreeSet::new(), false);
        }
        let Some(Value::Replicas(replicas)) = self.state.rows.get(&Key::Group(group)) else {
            panic!("group {group} is not there");
        };
        let mut members = BTreeSet::new();
        let mut copy = false;
        for replica in replicas.iter() {
            if replica.rid == RID_COPY {
                copy = true;
                continue;
            }
            assert!((RID_FIRST..=RID_LAST).contains(&replica.rid));
            let key = Key::Subscriber(subscriber::Key { rid: replica.rid });
            let Some(Value::Subscriber(deliver)) = self.state.rows.get(&key) else {
                panic!("replica {replica:?} of group {group} has no row");
            };
            members.insert(SocketAddr::from((deliver.ip_dst, deliver.udp_dst)));
        }
        (members, copy)
    }

    /// Whom a row reaches at both QoS, and whether the broker gets a copy.
    fn sides(&self, offload: &topic::Offload) -> Served {
        let groups = [offload.group_q0, offload.group_q1];
        let copies = [offload.copy_q0, offload.copy_q1];
        [0, 1].map(|side| {
            let (members, copied) = self.members(groups[side]);
            assert_eq!(copied, groups[side] != 0 && copies[side], "{offload:?}");
            (members, copies[side])
        })
    }

    /// The members that a topic's row leads to; empty without such a row.
    pub fn share(&self, index: u32) -> Vec<(u32, topic::Offload)> {
        let key = Key::SharedTopic(topic::Key { topic_index: index });
        let Some(Value::SharedTopic(group)) = self.state.rows.get(&key) else {
            return Vec::new();
        };
        let Some(Value::ShareGroup(members)) = self.state.rows.get(&Key::ShareGroup(*group)) else {
            panic!("group {group} of the selector is not there");
        };
        let members = members
            .iter()
            .map(|id| match self.state.rows.get(&Key::ShareMember(*id)) {
                Some(Value::ShareMember(offload)) => (*id, *offload),
                _ => panic!("member {id} of group {group} is not there"),
            });
        members.collect()
    }

    /// The law of the switch's state, at every moment: a topic's groups are there, and reach
    /// exactly those whom its generation serves.
    pub fn check(&self) {
        for (key, value) in &self.state.rows {
            if let Key::SharedTopic(key) = key {
                for (_, offload) in self.share(key.topic_index) {
                    let index = TopicIndex(key.topic_index);
                    let Some(served) = self.served.get(&(index, offload.generation)) else {
                        continue;
                    };
                    let is = self.sides(&offload);
                    assert!(
                        served.contains(&is),
                        "{index:?} {offload:?} reaches {is:?}, not {served:?}"
                    );
                }
                continue;
            }
            let (Key::Topic(key), Value::Topic(action)) = (key, value) else {
                continue;
            };
            let index = TopicIndex(key.topic_index);
            let Some(served) = self.served.get(&(index, action.generation())) else {
                continue; // Of a broker before.
            };
            let is = match action {
                topic::Action::Offload(offload) => self.sides(offload),
                topic::Action::Discard { .. } => {
                    [(BTreeSet::new(), false), (BTreeSet::new(), false)]
                }
                topic::Action::ToOne(to_one) => {
                    let key = Key::Subscriber(subscriber::Key { rid: to_one.rid });
                    let Some(Value::Subscriber(deliver)) = self.state.rows.get(&key) else {
                        panic!("{to_one:?} has no row");
                    };
                    let client = SocketAddr::from((deliver.ip_dst, deliver.udp_dst));
                    let q1 = to_one.ack_q1.then_some(client);
                    let is = [
                        (BTreeSet::from([client]), false),
                        (q1.into_iter().collect(), !to_one.ack_q1),
                    ];
                    assert!(
                        served.contains(&is),
                        "{index:?} {action:?} reaches {is:?}, not {served:?}"
                    );
                    continue;
                }
            };
            assert!(
                served.contains(&is),
                "{index:?} {action:?} reaches {is:?}, not {served:?}"
            );
        }
    }
}
