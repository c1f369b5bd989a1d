//! The network of the equivalence test: switch, controller, links.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use broker::{Broker, Config};
use mqttsn::packet::{Puback, Publish};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, Tag};
use offload::{AliasType, FromBroker, FromController, Intent, PublicationKey, TopicIndex};

#[path = "clients.rs"]
mod clients;

use crate::world::{encode, offloading};
use clients::Clients;

/// Virtual time in microseconds.
pub type Time = u64;

/// The longest time from a client to the broker, or back, where packets take time.
pub const TRANSIT_US: Time = 3_000;

/// The longest time that a client takes to acknowledge, where it does take time.
const THINKING_US: Time = 60_000;

#[derive(Clone, Copy, Debug)]
pub enum Op {
    Connect(usize),
    /// Connects if it has disconnected.
    ComeBack(usize),
    Move(usize),
    Disconnect(usize),
    Sleep(usize),
    Ping(usize),
    Subscribe(usize, usize, u8),
    Unsubscribe(usize, usize),
    Publish(usize, usize, u8, bool),
    Open(bool),
    Reach(usize, bool),
    KillController,
    ReviveController,
    SlowController(bool),
}

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub offload: bool,
    pub transit: bool,
    /// Clients take their time to acknowledge, so that messages queue up for them.
    pub thinking: bool,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub copies: u64,
    pub tagged: u64,
    pub acknowledged: u64,
}

enum Event {
    Op(Op),
    AtSwitch(SocketAddr, Vec<u8>),
    AtBroker(SocketAddr, Vec<u8>),
    /// From the broker, at the switch on its way to a client.
    Leaving(SocketAddr, Vec<u8>),
    AtClient(SocketAddr, Vec<u8>),
    /// A client has thought about its acknowledgement.
    Acknowledge(SocketAddr, Vec<u8>),
    AtController(u64, FromBroker),
    Install(u64, FromBroker),
    FromController(u64, FromController),
    AskLease(u64),
    Renew(Time),
}

struct Queued(Time, u64, Event);

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Links that keep the order of what travels on them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    ClientToSwitch(SocketAddr),
    SwitchToBroker,
    BrokerToSwitch,
    SwitchToClient(SocketAddr),
    BrokerToController,
    ControllerToSwitch,
    ControllerToBroker,
}

pub struct Net {
    setup: Setup,
    rng: u64,
    start: Instant,
    pub now: Time,
    events: BinaryHeap<Reverse<Queued>>,
    sequence: u64,
    last: BTreeMap<Link, Time>,
    broker: Broker,
    /// The switch: what is installed, and until when it may offload.
    installed: Intent,
    lease_until: Time,
    /// The controller: grows whenever one dies or comes.
    epoch: u64,
    alive: bool,
    slow: bool,
    requests: BTreeMap<u64, Time>,
    last_request: u64,
    seen: BTreeSet<IpAddr>,
    unreachable: BTreeSet<IpAddr>,
    clients: Clients,
    counts: Counts,
}

impl Net {
    /// Runs the history and checks every observation.
    pub fn run(setup: Setup, history: &[(u64, Op)]) -> Counts {
        let start = Instant::now();
        let mut config = match setup.offload {
            true => offloading(),
            false => Config::default(),
        };
        config.predefined_topics = [(7, "pre".to_owned())].into();
        config.offload.first_generation = setup.seed as u32;
        let mut net = Net {
            setup,
            rng: setup.seed | 1,
            start,
            now: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            last: BTreeMap::new(),
            broker: Broker::new(config, start).unwrap(),
            installed: Intent::default(),
            lease_until: 0,
            epoch: 0,
            alive: false,
            slow: false,
            requests: BTreeMap::new(),
            last_request: 0,
            seen: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            clients: Clients::default(),
            counts: Counts::default(),
        };
        let mut time = 1_000_000;
        net.push(time, Event::Op(Op::ReviveController));
        for client in 0..4 {
            time += 1_000;
            net.push(time, Event::Op(Op::Connect(client)));
        }
        for &(gap_ms, op) in history {
            time += gap_ms * 1_000;
            net.push(time, Event::Op(op));
        }
        // Everybody comes to rest, sleepers fetch what they have.
        time += 5_000_000;
        for client in 0..4 {
            for _ in 0..2 {
                net.push(time, Event::Op(Op::Ping(client)));
                time += 1_000_000;
            }
            net.push(time, Event::Op(Op::ComeBack(client)));
        }
        net.advance(time + 5_000_000);
        net.clients.check(setup);
        net.check_retained();
        net.counts
    }

    /// A client that comes last gets exactly the last retained message of each topic.
    fn check_retained(&mut self) {
        let last = self.clients.start_last_client();
        self.send_from_clients();
        self.advance(self.now + 3_000_000);
        self.clients.subscribe_last_client(last);
        self.send_from_clients();
        self.advance(self.now + 3_000_000);
        self.clients.check_last_client(last, self.setup.transit);
    }

    fn advance(&mut self, end: Time) {
        loop {
            let event = self.events.peek().map(|Reverse(queued)| queued.0);
            let deadline = self.broker.next_deadline().map(|at| {
                let wait = at.saturating_duration_since(self.start);
                // Rounded up: a deadline has come when it has come.
                (wait.as_nanos().div_ceil(1_000) as Time).max(self.now)
            });
            match (event, deadline) {
                (event, Some(at)) if at <= end && event.is_none_or(|event| at <= event) => {
                    self.now = at;
                    self.broker.handle_timeout(self.instant());
                    self.after_broker();
                }
                (Some(at), _) if at <= end => {
                    let Some(Reverse(Queued(_, _, event))) = self.events.pop() else {
                        return;
                    };
                    self.now = at;
                    self.happen(event);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    fn random(&mut self, below: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng % below.max(1)
    }

    fn push(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse(Queued(at, self.sequence, event)));
    }

    fn travel(&mut self, link: Link, event: Event) {
        let longest = match link {
            Link::ControllerToSwitch if self.slow => 800_000,
            Link::ControllerToSwitch => 30_000,
            Link::BrokerToController | Link::ControllerToBroker => 10_000,
            _ if self.setup.transit => TRANSIT_US / 2,
            _ => 0,
        };
        let delay = self.random(longest + 1);
        let last = self.last.entry(link).or_default();
        let at = (self.now + delay).max(*last);
        *last = at;
        self.push(at, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Op(op) => self.operate(op),
            Event::AtSwitch(from, bytes) => self.at_switch(from, bytes),
            Event::AtBroker(from, bytes) => {
                self.broker.handle_datagram(self.instant(), from, &bytes);
                self.after_broker();
            }
            Event::Leaving(to, bytes) => {
                self.travel(Link::SwitchToClient(to), Event::AtClient(to, bytes));
            }
            Event::AtClient(to, bytes) => {
                self.clients.receive(self.now, to, &bytes);
                self.send_from_clients();
            }
            Event::Acknowledge(from, bytes) => {
                if self.clients.may_acknowledge(from) {
                    self.travel(Link::ClientToSwitch(from), Event::AtSwitch(from, bytes));
                }
            }
            Event::AtController(epoch, said) if epoch == self.epoch => self.at_controller(said),
            Event::Install(epoch, said) if epoch == self.epoch => self.install(&said),
            Event::FromController(epoch, said) if epoch == self.epoch => {
                self.broker.handle_offload(self.instant(), said);
                self.after_broker();
            }
            Event::AskLease(epoch) if epoch == self.epoch => {
                self.last_request += 1;
                let request = self.last_request;
                self.requests.insert(request, self.now);
                self.say(FromController::RequestLease { request });
                self.push(self.now + 80_000, Event::AskLease(epoch));
            }
            // A renewal on its way outlives the controller that sent it.
            Event::Renew(until) => self.lease_until = self.lease_until.max(until),
            Event::AtController(..)
            | Event::Install(..)
            | Event::FromController(..)
            | Event::AskLease(_) => {}
        }
    }

    fn operate(&mut self, op: Op) {
        match op {
            Op::Reach(client, reachable) => {
                let ip = self.clients.address(client).ip();
                match reachable {
                    true => self.unreachable.remove(&ip),
                    false => self.unreachable.insert(ip),
                };
                if self.alive && self.seen.contains(&ip) {
                    self.say(FromController::Reachable {
                        address: ip,
                        reachable,
                    });
                }
            }
            Op::KillController => {
                if self.alive {
                    self.alive = false;
                    self.epoch += 1;
                    self.broker.link_down(self.instant());
                    self.after_broker();
                }
            }
            Op::ReviveController => {
                if !self.alive && self.setup.offload {
                    self.alive = true;
                    self.epoch += 1;
                    self.requests.clear();
                    self.broker.link_up(self.instant());
                    let reachable = self.seen.difference(&self.unreachable).copied().collect();
                    self.say(FromController::Hello {
                        controller: "model".into(),
                        election_id: 1,
                        reachable,
                    });
                    self.push(self.now, Event::AskLease(self.epoch));
                }
            }
            Op::SlowController(slow) => self.slow = slow,
            op => {
                self.clients.operate(self.now, op);
                self.send_from_clients();
            }
        }
    }

    fn send_from_clients(&mut self) {
        for (from, bytes) in self.clients.take_acknowledgements() {
            let thought = if self.setup.thinking { THINKING_US } else { 0 };
            let at = self.now + self.random(thought + 1);
            self.push(at, Event::Acknowledge(from, bytes));
        }
        for (from, bytes) in self.clients.take_outgoing() {
            self.travel(Link::ClientToSwitch(from), Event::AtSwitch(from, bytes));
        }
    }

    fn after_broker(&mut self) {
        let mut out = Vec::new();
        while let Some(transmit) = self.broker.poll_transmit() {
            out.push((transmit.to, transmit.bytes.to_vec()));
        }
        for (to, bytes) in out {
            self.travel(Link::BrokerToSwitch, Event::Leaving(to, bytes));
        }
        while let Some(said) = self.broker.poll_offload() {
            let epoch = self.epoch;
            self.travel(Link::BrokerToController, Event::AtController(epoch, said));
        }
    }

    fn say(&mut self, said: FromController) {
        let epoch = self.epoch;
        self.travel(Link::ControllerToBroker, Event::FromController(epoch, said));
    }

    fn at_controller(&mut self, said: FromBroker) {
        match said {
            FromBroker::Snapshot(_) | FromBroker::Delta(_) => {
                let epoch = self.epoch;
                self.travel(Link::ControllerToSwitch, Event::Install(epoch, said));
            }
            FromBroker::Grant { request, lease } => {
                if let Some(asked) = self.requests.remove(&request) {
                    let until = asked + lease.as_micros() as Time;
                    let delay = self.random(20_000);
                    self.push(self.now + delay, Event::Renew(until));
                }
            }
            FromBroker::AskActivity { .. } => panic!("nobody here has a keep-alive"),
            FromBroker::Rates { .. } => panic!("nobody here asks for rates"),
            FromBroker::Led(_) => panic!("this controller is no standby"),
        }
    }

    fn install(&mut self, said: &FromBroker) {
        match said {
            FromBroker::Snapshot(intent) => self.installed = intent.clone(),
            FromBroker::Delta(delta) => self.installed.apply(delta).unwrap(),
            _ => return,
        }
        for topic in self.installed.topics.values() {
            assert!(topic.served_q1.is_subset(&topic.served_q0));
            assert!(!(topic.ack_q1 && topic.copy_q1));
            for session in topic.served_q0.iter() {
                assert!(self.installed.sessions.contains_key(session));
            }
        }
        let revision = self.installed.revision;
        self.say(FromController::Installed { revision });
    }

    fn at_switch(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        if self.seen.insert(from.ip()) && self.alive {
            let address = from.ip();
            let reachable = !self.unreachable.contains(&address);
            self.say(FromController::Reachable { address, reachable });
        }
        let to_broker = match Packet::decode(&bytes) {
            Ok(Packet::Publish(publish)) if self.setup.offload && self.now < self.lease_until => {
                self.offload(from, &publish, &bytes)
            }
            _ => Some(bytes.clone()),
        };
        if let Some(bytes) = to_broker {
            self.travel(Link::SwitchToBroker, Event::AtBroker(from, bytes));
        }
    }

    /// Does what the installed intent says; what goes to the broker.
    fn offload(
        &mut self,
        from: SocketAddr,
        publish: &Publish<'_>,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let untouched = Some(bytes.to_vec());
        let alias = crate_alias(publish.alias);
        let index = match publish.qos {
            Qos::MinusOne => self.installed.open_publications.get(&alias).copied(),
            Qos::Zero | Qos::One if !publish.dup => {
                let key = PublicationKey {
                    address: from,
                    alias,
                };
                self.installed
                    .publications
                    .get(&key)
                    .map(|publication| publication.topic)
            }
            _ => None,
        };
        let found = index.and_then(|index| Some((index, self.installed.topics.get(&index)?)));
        let Some((TopicIndex(topic_index), topic)) = found else {
            return untouched;
        };
        let (served, copy, ack) = match publish.qos {
            Qos::One => (&topic.served_q1, topic.copy_q1, topic.ack_q1),
            _ => (&topic.served_q0, topic.copy_q0, false),
        };
        let mut copies = Vec::new();
        for session in served {
            let alias = topic.aliases.get(session).unwrap_or(&topic.home_alias);
            let copy = Publish {
                dup: false,
                qos: Qos::Zero,
                retain: false,
                alias: codec_alias(*alias),
                msg_id: MsgId(0),
                data: publish.data,
            };
            let to = self.installed.sessions[session];
            copies.push((to, encode(&Packet::Publish(copy))));
        }
        let tag = Tag {
            topic_index,
            generation: topic.generation.0,
        };
        self.counts.copies += copies.len() as u64;
        for (to, bytes) in copies {
            self.travel(Link::SwitchToClient(to), Event::AtClient(to, bytes));
        }
        if copy || publish.retain {
            self.counts.tagged += 1;
            let mut tagged = tag.to_encapsulation().to_vec();
            tagged.extend(bytes);
            return Some(tagged);
        }
        if ack {
            self.counts.acknowledged += 1;
            let puback = Packet::Puback(Puback {
                topic_id: publish.alias.topic_id,
                msg_id: publish.msg_id,
                return_code: ReturnCode::Accepted,
            });
            self.travel(
                Link::SwitchToClient(from),
                Event::AtClient(from, encode(&puback)),
            );
        }
        None
    }
}

fn crate_alias(alias: Alias) -> offload::Alias {
    offload::Alias {
        id_type: AliasType::from_bits(alias.topic_id_type.bits()).unwrap(),
        id: alias.topic_id,
    }
}

fn codec_alias(alias: offload::Alias) -> Alias {
    Alias {
        topic_id_type: mqttsn::TopicIdType::from_bits(alias.id_type.bits()).unwrap(),
        topic_id: alias.id,
    }
}
