//! A client: topicswitch's own client protocol, a host around it, and what it observes.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mqttsn::types::{Alias, Qos};
use topicswitch::client::{ClientCore, ConnectOptions, RequestError, Retry, Will};

use super::events::{Connecting, Op};
use super::links::Millis;
use crate::hosts::BROKER;
use crate::topics::Topic;

mod frames;
mod hearing;

/// Until a client that has moved, and was heard, says so once more: to whom was not there then. What a
/// dead controller was told of is lost, and the first answer to the client goes to its old port.
const RETURNED: Millis = 10_000;
/// Until a client that has moved says so again.
const ANNOUNCED: Millis = 100;
/// How long a client sleeps.
const SLEEP: Duration = Duration::from_secs(20_000);
/// A keep-alive timer from this on never runs out in a history.
pub(super) const LONG: u16 = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Off,
    Active,
    Asleep,
    /// PINGREQ of a sleeping client.
    Waking,
    /// Gone without a word.
    Crashed,
}

/// What is left to do of the present step.
#[derive(Clone, Debug)]
enum Todo {
    Connect(ConnectOptions),
    Register(String),
    Subscribe(Topic, Qos),
    Unsubscribe(Topic),
    Publish {
        topic: Topic,
        qos: Qos,
        retain: bool,
        gap: u8,
    },
    Disconnect,
    Sleep,
    Wake,
    /// PINGREQ, so that the broker hears of the client in time.
    Ping,
    /// PINGREQ until there is an answer.
    Announce,
}

/// A step that the client took.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) round: usize,
    pub(super) op: Op,
    /// None while it waits.
    pub(super) answered: Option<Millis>,
    /// The filters that the client was subscribed to, wildcards or not, as far as it knows.
    pub(super) answers: Vec<String>,
}

/// A message that the client published.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) qos: Qos,
    pub(super) round: usize,
    pub(super) sent: Millis,
}

/// A message that the client received.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) round: usize,
    /// As the payload says.
    pub(super) id: String,
    /// As the client knows the alias.
    pub(super) topic: String,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) dup: bool,
    /// Whether the broker sent it, and not the data plane.
    pub(super) by_broker: bool,
}

pub(super) struct Client {
    pub(super) n: u8,
    core: ClientCore,
    pub(super) address: SocketAddr,
    /// The 802.1Q tag of its frames.
    tag: Option<u16>,
    pub(super) state: State,
    incarnation: u32,
    published_count: u32,
    roamed: u8,
    /// Behind its other port.
    moved: bool,
    /// When it says again that it has moved.
    again_at: Millis,
    keep_alive: u16,
    last_sent: Millis,
    connecting: Option<Connecting>,
    /// Which wills, by incarnation and connection, have been given.
    wills: u32,
    /// The last PUBLISH of QoS 1, and its message's id.
    last_publish: Option<(String, Vec<u8>)>,
    /// The messages that were sent again.
    pub(super) again: Vec<String>,
    aliases: BTreeMap<String, u16>,
    todo: VecDeque<Todo>,
    /// The next thing to do is not to be done before.
    pause_until: Millis,
    doing: Option<Todo>,
    /// A DISCONNECT belonged to the client that was here before.
    took_over: bool,
    frames: Vec<Vec<u8>>,
    pub(super) taken: Vec<Taken>,
    pub(super) published: Vec<Published>,
    pub(super) received: Vec<Delivery>,
    /// What must never be.
    pub(super) strange: Vec<String>,
}

/// Where the broker is.
pub(super) fn broker_at(v6: bool) -> SocketAddr {
    match v6 {
        true => BROKER.v6().socket(),
        false => BROKER.socket(),
    }
}

/// The address of client `n` after so many moves.
fn client_ip(v6: bool, roamed: u8, n: u8) -> IpAddr {
    match v6 {
        true => {
            let (roamed, n) = (roamed.into(), u16::from(n) + 2);
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0x1234, 0, 1, roamed, n))
        }
        false => IpAddr::V4(Ipv4Addr::new(10, 0, roamed, n + 2)),
    }
}

/// The switch's port of client `n`, or its other one.
pub(super) fn port(n: u8, other: bool) -> u32 {
    u32::from(n) + if other { 64 } else { 2 }
}

impl Client {
    pub(super) fn new(n: u8, v6: bool, tag: Option<u16>) -> Self {
        // A request sent again would be another observation; no frame is lost here.
        let retry = Retry {
            wait: Duration::from_secs(1 << 20),
            times: 0,
        };
        Client {
            n,
            core: ClientCore::new(retry),
            address: SocketAddr::new(client_ip(v6, 0, n), 40_000),
            tag,
            state: State::Off,
            incarnation: 0,
            published_count: 0,
            roamed: 0,
            moved: false,
            again_at: 0,
            keep_alive: LONG,
            last_sent: 0,
            connecting: None,
            wills: 0,
            last_publish: None,
            again: Vec::new(),
            aliases: BTreeMap::new(),
            todo: VecDeque::new(),
            pause_until: 0,
            doing: None,
            took_over: false,
            frames: Vec::new(),
            taken: Vec::new(),
            published: Vec::new(),
            received: Vec::new(),
            strange: Vec::new(),
        }
    }

    /// The switch's port that it is behind.
    pub(super) fn port(&self) -> u32 {
        port(self.n, self.moved)
    }

    pub(super) fn mac(n: u8) -> [u8; 6] {
        [2, 0, 0, 0, 1, n]
    }

    /// Whether nothing is left to do or to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.todo.is_empty() && self.doing.is_none()
    }

    /// The 802.1Q tag of its frames.
    pub(super) fn tag(&self) -> Option<u16> {
        self.tag
    }

    /// Its keep-alive timer, in seconds.
    pub(super) fn keep_alive(&self) -> u16 {
        self.keep_alive
    }

    /// Whether it says PINGREQ by itself.
    pub(super) fn pings(&self) -> bool {
        self.state == State::Active && self.keep_alive < LONG
    }

    /// The id of its will.
    pub(super) fn will_id(&self) -> String {
        format!("w{}:{}", self.n, self.wills)
    }

    fn client_id(&self) -> String {
        format!("client-{}-{}", self.n, self.incarnation)
    }

    fn options(&mut self, how: &Connecting) -> ConnectOptions {
        self.wills += 1;
        let id = self.will_id();
        ConnectOptions {
            client_id: self.client_id(),
            clean_session: how.clean,
            keep_alive: Duration::from_secs(how.keep_alive.into()),
            will: how.will.as_ref().map(|will| Will {
                topic: will.topic.clone(),
                data: format!("{id} {}", will.topic).into_bytes(),
                qos: will.qos,
                retain: will.retain,
            }),
        }
    }

    /// Begins a step. One that makes no sense in the client's state is left out, so that any part
    /// of a history is a history.
    pub(super) fn begin(&mut self, now: Millis, round: usize, op: &Op) {
        let Some(todo) = self.plan(now, round, op) else {
            return;
        };
        self.taken.push(Taken {
            round,
            op: op.clone(),
            answered: None,
            answers: Vec::new(),
        });
        self.todo = todo;
        self.pause_until = now;
    }

    fn plan(&mut self, now: Millis, round: usize, op: &Op) -> Option<VecDeque<Todo>> {
        let mut todo = VecDeque::new();
        let active = self.state == State::Active;
        match op {
            Op::Connect(how) | Op::Lose(how) => {
                if matches!(op, Op::Lose(_)) {
                    self.incarnation += 1;
                    // Otherwise nobody was there to lose.
                    self.took_over = self.state != State::Off && self.state != State::Crashed;
                }
                self.connecting = Some(how.clone());
                self.keep_alive = how.keep_alive;
                todo.push_back(Todo::Connect(self.options(how)));
            }
            Op::Roam { clean, ip } => {
                let how = Connecting {
                    clean: *clean,
                    ..self.connecting.clone()?
                };
                self.roamed += 1;
                // What is under way to its former address it does not hear: a PINGRESP.
                self.core.abandon();
                self.doing = None;
                self.address = match ip {
                    true => {
                        let ip = client_ip(self.address.is_ipv6(), self.roamed, self.n);
                        SocketAddr::new(ip, self.address.port())
                    }
                    false => SocketAddr::new(self.address.ip(), 40_000 + u16::from(self.roamed)),
                };
                self.connecting = Some(how.clone());
                todo.push_back(Todo::Connect(self.options(&how)));
            }
            Op::Subscribe(filter, qos) if active => {
                todo.push_back(Todo::Subscribe(filter.clone(), *qos));
            }
            Op::Unsubscribe(filter) if active => todo.push_back(Todo::Unsubscribe(filter.clone())),
            Op::Publish {
                topic,
                qos,
                retain,
                count,
                gap,
            } => {
                let without_session = *qos == Qos::MinusOne
                    && topic.alias().is_some()
                    && matches!(self.state, State::Off | State::Active);
                if !active && !without_session {
                    return None;
                }
                if let Topic::Name(name) = topic {
                    if *qos == Qos::MinusOne {
                        return None;
                    }
                    if !self.aliases.contains_key(name) {
                        todo.push_back(Todo::Register(name.clone()));
                    }
                }
                for _ in 0..*count {
                    todo.push_back(Todo::Publish {
                        topic: topic.clone(),
                        qos: *qos,
                        retain: *retain,
                        gap: *gap,
                    });
                }
            }
            Op::Again if active => self.again(),
            Op::Long(name) | Op::Damaged(name)
                if matches!(self.state, State::Off | State::Active) =>
            {
                self.publish_alone(now, round, op, *name);
            }
            Op::Spoof(whom) if *whom != self.n => {
                let ip = client_ip(self.address.is_ipv6(), 0, *whom);
                self.send_from(SocketAddr::new(ip, 40_000), vec![3, 0x7f, 0]);
            }
            Op::Forge { topic, generation } => {
                let tag = [
                    14,
                    0xfe,
                    0,
                    0x54,
                    0x53,
                    1,
                    0,
                    0,
                    0,
                    *topic,
                    0,
                    0,
                    0,
                    *generation,
                ];
                let publish = [8, 0x0c, 0x02, b'x', b'y', 0, 0, b'!'];
                let from = SocketAddr::new(self.address.ip(), 9);
                self.send_from(from, [&tag[..], &publish].concat());
            }
            Op::Move if active && !self.pings() => {
                self.moved = !self.moved;
                todo.extend([Todo::Announce, Todo::Announce]);
            }
            Op::Disconnect if active => todo.push_back(Todo::Disconnect),
            Op::Sleep if active => todo.push_back(Todo::Sleep),
            Op::Wake if self.state == State::Asleep => todo.push_back(Todo::Wake),
            Op::Crash if active => {
                self.state = State::Crashed;
                self.core.abandon();
            }
            _ => return None,
        }
        Some(todo)
    }

    /// When it wants to do something by itself.
    pub(super) fn next(&self) -> Option<Millis> {
        if self.doing.is_some() {
            let announces = matches!(self.doing, Some(Todo::Announce));
            return announces.then_some(self.again_at);
        }
        let todo = (!self.todo.is_empty()).then_some(self.pause_until);
        let ping = self.last_sent + u64::from(self.keep_alive) * 750;
        let ping = self.pings().then_some(ping);
        todo.into_iter().chain(ping).min()
    }

    /// Does what is to be done.
    pub(super) fn poll(&mut self, now: Millis, at: Instant, round: usize) {
        while self.doing.is_none() && self.next().is_some_and(|next| next <= now) {
            let todo = match self.pause_until <= now {
                true => self.todo.pop_front(),
                false => None,
            };
            self.act(now, at, round, todo.unwrap_or(Todo::Ping));
        }
        if matches!(self.doing, Some(Todo::Announce)) && self.again_at <= now {
            self.announce(now);
        }
        self.flush(now);
        if self.is_idle()
            && let Some(taken) = self.taken.last_mut()
        {
            taken.answered.get_or_insert(now);
        }
    }

    fn act(&mut self, now: Millis, at: Instant, round: usize, todo: Todo) {
        let id = self.client_id();
        let started = match &todo {
            Todo::Connect(options) => {
                self.aliases.clear();
                self.state = State::Active;
                self.core.connect(at, options)
            }
            Todo::Register(name) => self.core.register(at, name),
            Todo::Subscribe(filter, qos) => self.core.subscribe(at, filter.as_ref(), *qos),
            Todo::Unsubscribe(filter) => self.core.unsubscribe(at, filter.as_ref()),
            Todo::Disconnect => self.core.disconnect(at, None),
            Todo::Sleep => self.core.disconnect(at, Some(SLEEP)),
            Todo::Wake => {
                self.state = State::Waking;
                self.core.ping(at, &id)
            }
            Todo::Ping => self.core.ping(at, ""),
            Todo::Announce => {
                self.again_at = now + ANNOUNCED;
                self.pause_until = now + RETURNED;
                self.core.ping(at, "")
            }
            Todo::Publish {
                topic,
                qos,
                retain,
                gap,
            } => {
                self.pause_until = now + u64::from(*gap);
                self.publish(now, at, round, topic, (*qos, *retain))
            }
        };
        match started {
            Ok(()) => {
                let waits = self.core.next_deadline().is_some();
                self.doing = waits.then_some(todo);
            }
            Err(error) => self.strange.push(format!("{todo:?}: {error}")),
        }
    }

    fn publish(
        &mut self,
        now: Millis,
        at: Instant,
        round: usize,
        topic: &Topic,
        (qos, retain): (Qos, bool),
    ) -> Result<(), RequestError> {
        let name = topic.name();
        let known = self.aliases.get(&name).map(|id| Alias::normal(*id));
        let Some(alias) = topic.alias().or(known) else {
            // Its REGISTER was refused.
            return Ok(());
        };
        self.published_count += 1;
        let id = format!("p{}:{}", self.n, self.published_count);
        let mut data = format!("{id} {name} ").into_bytes();
        // Of all lengths, so that both forms of the Length and odd sums occur.
        data.resize(
            data.len() + (self.published_count as usize * 37) % 300,
            b'.',
        );
        self.published.push(Published {
            id,
            topic: name,
            qos,
            round,
            sent: now,
        });
        self.core.publish(at, alias, qos, retain, &data)
    }
}
