//! Which histories there are.

use controller::{OnBrokerLoss, Policy};
use mqttsn::types::Qos;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::client::LONG;
use super::events::{Connecting, Fault, History, Op, Pace, Room, Round, Step, What, WillOf};
use crate::topics::{FILTERS, NAMES, PREDEFINED, SHORT, Topic};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    Active,
    Asleep,
    Crashed,
}

#[derive(Clone)]
struct Known {
    state: State,
    keep_alive: u16,
    will: Option<WillOf>,
}

struct Generator {
    random: StdRng,
    /// Of [`FILTERS`], those that clients subscribe to.
    filters: Vec<&'static str>,
    /// Members of share groups.
    members: Vec<usize>,
    /// The QoS that all of them subscribe at: what they get must not depend on who is chosen.
    members_qos: Qos,
    /// Clients that publish slowly, with short keep-alive timers.
    slow: bool,
    clients: Vec<Known>,
    faults: bool,
    persistent: bool,
    /// A second controller stands by: more goes wrong, with both, and there is more time.
    standby: bool,
}

/// Of so many histories one has a standby.
const STANDBYS: u32 = 3;

/// Drawn by itself: histories without are those that they were before there was any.
fn standby(seed: u64) -> Option<u64> {
    let mut random = StdRng::seed_from_u64(!seed);
    let stands_by = random.random_ratio(1, STANDBYS);
    // The first one's is 2. To have the same is wrong, but people do.
    let election_id = *[1, 1, 1, 3, 3, 2].choose(&mut random).expect("some");
    stands_by.then_some(election_id)
}

/// The history of this seed.
pub fn history(seed: u64) -> History {
    let standby = standby(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let clients = random.random_range(2..=5);
    let pace = Pace {
        links: *[0, 0, 1, 3].choose(&mut random).expect("some"),
        contract: *[0, 1, 5, 30].choose(&mut random).expect("some"),
        switch: *[0, 1, 5, 30, 80].choose(&mut random).expect("some"),
    };
    let room = random.random_ratio(1, 5).then(|| Room {
        entries: random.random_range(4..16),
        groups: random.random_range(2..8),
    });
    let off = Known {
        state: State::Off,
        keep_alive: LONG,
        will: None,
    };
    let mut some = |of: u32| -> Vec<u8> {
        let none = random.random_ratio(2, 3);
        let chosen = (0..clients as u8).filter(|_| random.random_ratio(1, of));
        let chosen: Vec<u8> = chosen.collect();
        if none { Vec::new() } else { chosen }
    };
    let (v6, tagged) = (some(2), some(3));
    let policy = match random.random_range(0..8) {
        0 => Policy::Pinned(vec!["a/#".to_owned()]),
        1 => Policy::Hot,
        _ => Policy::All,
    };
    // With few filters, what is subscribed to is the sooner unsubscribed from, and published to.
    let mut filters = FILTERS.to_vec();
    if random.random() {
        filters.shuffle(&mut random);
        filters.truncate(2);
    }
    let members = match random.random_ratio(1, 4) {
        true => (0..clients).filter(|_| random.random_ratio(2, 3)).collect(),
        false => Vec::new(),
    };
    let members_qos = *[Qos::Zero, Qos::One].choose(&mut random).expect("some");
    let mut generator = Generator {
        filters,
        members,
        members_qos,
        slow: random.random_ratio(1, 8),
        faults: random.random_ratio(1, 2) || standby.is_some(),
        standby: standby.is_some(),
        persistent: random.random_ratio(2, 3),
        random,
        clients: vec![off; clients],
    };
    let mut rounds = Vec::new();
    // Everybody begins by connecting, each in its own time.
    let mut first = Round::default();
    for n in 0..clients {
        let at = generator.random.random_range(0..20);
        let op = generator.connect(n, true);
        first.steps.push(client(at, n, op));
    }
    first.steps.sort_by_key(|step| step.at);
    rounds.push(first);
    let persistent = generator.persistent;
    let on_broker_loss = generator.of(&[OnBrokerLoss::Keep, OnBrokerLoss::Release]);
    let count = generator.random.random_range(4..16);
    while rounds.len() < count {
        rounds.push(generator.round());
    }
    History {
        seed,
        clients: clients as u8,
        v6,
        tagged,
        pace,
        room,
        policy,
        persistent,
        on_broker_loss,
        standby,
        rounds,
    }
}

fn client(at: u16, n: usize, op: Op) -> Step {
    Step {
        at,
        what: What::Client(n as u8, op),
    }
}

impl Generator {
    fn of<T: Clone>(&mut self, some: &[T]) -> T {
        some.choose(&mut self.random).expect("some").clone()
    }

    fn qos(&mut self) -> Qos {
        self.of(&[Qos::Zero, Qos::Zero, Qos::One, Qos::One, Qos::Two])
    }

    fn alias_topic(&mut self) -> Topic {
        match self.random.random() {
            true => Topic::Predefined(self.of(&PREDEFINED).0),
            false => Topic::Short(self.of(&SHORT)),
        }
    }

    fn topic(&mut self, names: &[&str]) -> Topic {
        match self.random.random_ratio(1, 5) {
            true => self.alias_topic(),
            false => Topic::Name(self.of(names).to_owned()),
        }
    }

    fn filter(&mut self, n: usize) -> (Topic, Qos) {
        let filters = self.filters.clone();
        if self.members.contains(&n) && self.random.random_ratio(5, 6) {
            let filter = format!("$share/g/{}", self.of(&filters));
            return (Topic::Name(filter), self.members_qos);
        }
        (self.topic(&filters), self.qos())
    }

    fn connecting(&mut self, clean: bool) -> Connecting {
        let will = self.random.random_ratio(1, 3).then(|| WillOf {
            topic: self.of(&NAMES).to_owned(),
            qos: self.qos(),
            retain: self.random.random_ratio(1, 4),
        });
        let keep_alive = match self.random.random_ratio(if self.slow { 3 } else { 1 }, 3) {
            true => self.random.random_range(2..6),
            false => LONG,
        };
        Connecting {
            clean,
            keep_alive,
            will,
        }
    }

    fn connect(&mut self, n: usize, or_dirty: bool) -> Op {
        let clean = !or_dirty || self.random.random_ratio(2, 3);
        let how = self.connecting(clean);
        // Without CleanSession the will before stays, if there is no new one.
        let will = self.clients[n].will.take().filter(|_| !clean);
        self.clients[n] = Known {
            state: State::Active,
            keep_alive: how.keep_alive,
            will: how.will.clone().or(will),
        };
        Op::Connect(how)
    }

    fn publish(&mut self, retain: bool, n: usize) -> Op {
        let without = self.clients[n].state == State::Off || self.random.random_ratio(1, 12);
        let (topic, qos) = match without {
            true => (self.alias_topic(), Qos::MinusOne),
            false => (self.topic(&NAMES), self.qos()),
        };
        if self.random.random_ratio(1, if self.slow { 8 } else { 60 }) {
            // So slow that the broker may miss the client, if it does not ask who publishes.
            return Op::Publish {
                topic,
                qos,
                retain: false,
                count: self.random.random_range(10..24),
                gap: 255,
            };
        }
        Op::Publish {
            topic,
            qos,
            retain: retain && !without && self.random.random_ratio(1, 4),
            count: self.random.random_range(1..8),
            gap: self.of(&[0, 0, 1, 3, 10]),
        }
    }

    /// What changes something for the client itself. The second is whether a will may come of it.
    fn change(&mut self, n: usize) -> (Op, bool) {
        let known = self.clients[n].clone();
        let will = known.will.is_some();
        match known.state {
            State::Off | State::Crashed => (self.connect(n, true), false),
            State::Asleep if self.random.random_ratio(2, 3) => (Op::Wake, false),
            State::Asleep => (self.connect(n, true), false),
            State::Active => match self.random.random_range(0..100) {
                0..45 => {
                    let (filter, qos) = self.filter(n);
                    (Op::Subscribe(filter, qos), false)
                }
                45..60 => (Op::Unsubscribe(self.filter(n).0), false),
                60..74 => {
                    self.clients[n].state = State::Asleep;
                    (Op::Sleep, false)
                }
                74..80 => {
                    self.clients[n].state = State::Off;
                    (Op::Disconnect, false)
                }
                80..85 => (self.connect(n, true), will),
                85..90 => {
                    let Op::Connect(how) = self.connect(n, true) else {
                        unreachable!("connect gives CONNECT")
                    };
                    self.clients[n].will = how.will.clone();
                    (Op::Lose(how), will)
                }
                90..92 if known.keep_alive == LONG => (Op::Move, false),
                90..95 => {
                    let (clean, ip) = (self.random.random_ratio(1, 3), self.random.random());
                    (Op::Roam { clean, ip }, will)
                }
                _ if known.keep_alive < LONG => {
                    self.clients[n].state = State::Crashed;
                    (Op::Crash, will)
                }
                _ => {
                    let (filter, qos) = self.filter(n);
                    (Op::Subscribe(filter, qos), false)
                }
            },
        }
    }

    fn restart_broker(&mut self) -> Fault {
        if !self.persistent && self.clients.iter().all(|known| known.keep_alive == LONG) {
            // It knows nobody any more.
            for known in &mut self.clients {
                known.state = State::Off;
                known.will = None;
            }
        }
        Fault::RestartBroker(self.of(&[0, 20, 150, 350, 800]))
    }

    fn fault(&mut self) -> What {
        let who = match self.standby {
            true => self.random.random_range(0..2),
            false => 0,
        };
        let ms = self.of(&[0, 20, 150, 350, 800, 2000]);
        let fault = match self.random.random_range(0..7) {
            0 => Fault::Kill(ms),
            1 => Fault::Freeze(ms),
            2 => Fault::CutBroker(ms),
            3 => Fault::StallBroker(ms),
            4 => Fault::CutSwitch(ms),
            5 => Fault::StallSwitch(ms),
            _ => Fault::Refuse(self.random.random_range(1..12)),
        };
        What::Fault(who, fault)
    }

    /// What a controller asks of the switch is under way for long, and so for long that another has
    /// taken over before it arrives.
    fn isolation(&mut self) -> [Step; 2] {
        let who = self.random.random_range(0..2);
        let at = self.random.random_range(0..100);
        let (later, ms) = (self.of(&[0, 3, 50]), self.of(&[0, 350, 800, 2000]));
        let lost = self.of(&[
            Fault::Kill(ms),
            Fault::CutBroker(800),
            Fault::StallBroker(800),
            Fault::CutBroker(2000),
        ]);
        [(at, Fault::StallSwitch(2000)), (at + later, lost)].map(|(at, fault)| Step {
            at,
            what: What::Fault(who, fault),
        })
    }

    fn round(&mut self) -> Round {
        let mut steps = Vec::new();
        if self.faults && self.random.random_ratio(1, 15) {
            let fault = match self.random.random() {
                true => Fault::Restart,
                false => self.restart_broker(),
            };
            let what = What::Fault(0, fault);
            return Round {
                steps: vec![Step { at: 0, what }],
            };
        }
        let mut free: Vec<usize> = (0..self.clients.len()).collect();
        let mut subscribes = false;
        let mut will_comes = false;
        let changes = self.of(&[0, 1, 1, 1, 2]);
        for _ in 0..changes {
            let n = self.of(&free);
            let before = self.clients[n].clone();
            let (op, will) = self.change(n);
            // Whoever subscribes while a will or a retained message comes may get one, both, or
            // none: nothing to compare.
            let joins = !matches!(
                op,
                Op::Disconnect | Op::Sleep | Op::Wake | Op::Unsubscribe(_)
            );
            if (will || will_comes) && changes > 1 {
                self.clients[n] = before;
                continue;
            }
            subscribes |= joins;
            will_comes |= will;
            free.retain(|it| *it != n);
            let at = self.random.random_range(0..12);
            steps.push(client(at, n, op));
        }
        let publishers = self.random.random_range(0..=3);
        let retain = !subscribes && !will_comes;
        for _ in 0..publishers {
            let able: Vec<usize> = free
                .iter()
                .copied()
                .filter(|n| matches!(self.clients[*n].state, State::Active | State::Off))
                .collect();
            if able.is_empty() {
                break;
            }
            let n = self.of(&able);
            let op = self.publish(retain, n);
            free.retain(|it| *it != n);
            let at = self.random.random_range(0..12);
            steps.push(client(at, n, op));
        }
        // Of two that retain on one topic, either may be the last.
        let mut retained = 0;
        for step in &mut steps {
            if let What::Client(_, Op::Publish { retain, .. }) = &mut step.what {
                retained += u8::from(*retain);
                *retain &= retained <= 1;
            }
        }
        if !free.is_empty() && self.random.random_ratio(1, 5) {
            let n = self.of(&free);
            let name = self.of(&SHORT);
            let op = match self.random.random_range(0..5) {
                0 => Op::Again,
                1 => Op::Long(name),
                2 => Op::Damaged(name),
                3 => Op::Spoof(self.random.random_range(0..self.clients.len() as u8)),
                _ => Op::Forge {
                    topic: self.random.random_range(0..8),
                    generation: self.random.random_range(0..40),
                },
            };
            let at = self.random.random_range(0..12);
            steps.push(client(at, n, op));
        }
        if self.faults && self.random.random_ratio(1, 3) {
            let at = self.random.random_range(0..15);
            let what = self.fault();
            steps.push(Step { at, what });
        }
        if self.standby && self.random.random_ratio(1, 3) {
            let at = self.random.random_range(0..1000);
            let what = self.fault();
            steps.push(Step { at, what });
        }
        if self.standby && self.random.random_ratio(1, 8) {
            steps.extend(self.isolation());
        }
        if self.random.random_ratio(1, 10) {
            let at = self.random.random_range(100..6000);
            let what = What::Wait;
            steps.push(Step { at, what });
        }
        steps.sort_by_key(|step| step.at);
        Round { steps }
    }
}

/// Rounds of the ending.
pub(super) const ENDING: usize = 2;

/// What every history ends with: whatever waits for somebody is asked for.
pub(super) fn ending(clients: u8) -> [Round; ENDING] {
    let all = |op: &Op| Round {
        steps: (0..clients)
            .map(|n| client(0, n.into(), op.clone()))
            .collect(),
    };
    let dirty = Connecting {
        clean: false,
        keep_alive: LONG,
        will: None,
    };
    [all(&Op::Wake), all(&Op::Connect(dirty))]
}
