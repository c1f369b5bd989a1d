//! The broker's side of the contract. Each function names the one of the crate `broker` that it stands for.

use crate::history::{History, Known, Served, Superseded};
use crate::rules::{Mutant, Rules};
use crate::{CLIENTS, Client, Clients, TOPICS};

/// What the data plane shall do with a topic (`offload::Topic`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// As it is on the wire.
    pub generation: u8,
    /// Who is served at QoS 0 and at QoS 1.
    pub served: [Clients; 2],
    /// Whether the broker wants a copy, at QoS 0 and 1. Where it wants none of QoS 1 the switch
    /// acknowledges.
    pub copy: [bool; 2],
}

/// The full state wanted of the network (`offload::Intent`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Intent {
    /// Which one.
    pub revision: u8,
    /// By topic index.
    pub topics: [Option<Wanted>; TOPICS],
}

/// To the controller (`offload::FromBroker`). A delta is told as the state that it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FromBroker {
    /// The first word on a link.
    Snapshot(Intent),
    /// The next step.
    Delta(Intent),
    /// The lease with this number.
    Grant(u8),
}

/// To the broker (`offload::FromController`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FromController {
    /// The first word on a link.
    Hello(Clients),
    /// Copies can be sent to these clients.
    Reachable(Clients),
    /// May the data plane offload on?
    RequestLease,
    /// The switch holds this revision.
    Installed(u8),
}

/// What the broker sends to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// A message to a client.
    Publish(Client, u8),
    /// A PUBACK for a message.
    Puback(u8),
    /// SUBACK, UNSUBACK or CONNACK.
    Answer(Client),
    /// The DISCONNECT that lets the client sleep.
    SleepAck(Client),
}

/// An answer at the gate (`gate::Reply`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The subscription stands.
    Suback(u8),
    /// It is gone.
    Unsuback(u8),
    /// The client may sleep.
    Disconnect(u8),
    /// The client is back.
    Connack(u8),
}

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    /// `State::Active`, else `State::Asleep`.
    active: bool,
    ready: bool,
    reachable: bool,
    outbox: Vec<u8>,
}

impl Session {
    fn listens(&self) -> bool {
        self.active && self.ready
    }

    fn still_listens(&self) -> bool {
        self.ready
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subscriber {
    active: bool,
    history: History,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Topic {
    subscribers: [Option<Subscriber>; CLIENTS],
    /// Oldest first.
    pub known: Vec<Known>,
    joined: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Link {
    snapshot: u8,
    installed: u8,
}

/// The broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broker {
    sessions: [Session; CLIENTS],
    /// By topic index.
    pub topics: [Topic; TOPICS],
    sequence: u8,
    /// What is wanted now.
    pub intent: Intent,
    link: Option<Link>,
    in_force: u8,
    fresh: Vec<Reply>,
    held: Vec<(u8, Reply)>,
    released: u8,
    /// Leases granted.
    pub granted: u8,
    /// Of those, by the broker's clock surely over.
    pub expired: u8,
    /// Revisions up to this one are older than the overdue time.
    pub overdue: u8,
}

/// Where a message comes from (`deliver::Origin`).
#[derive(Clone, Copy)]
enum Origin {
    Here,
    DataPlane(u8),
}

/// What the broker says in one step.
#[derive(Debug, Default)]
pub struct Said {
    pub(crate) to_clients: Vec<Transmit>,
    pub(crate) to_controller: Vec<FromBroker>,
    /// What was said to the controller before in this step and on this link does not count.
    pub(crate) starts_over: bool,
}

impl Broker {
    /// All clients are connected, and the broker wants nothing yet.
    pub(crate) fn new() -> Self {
        let session = Session {
            active: true,
            ready: true,
            ..Session::default()
        };
        let mut broker = Broker {
            sessions: std::array::from_fn(|_| session.clone()),
            ..Broker::default()
        };
        broker.intent.revision = 1;
        broker
    }

    /// Whether the data plane may be offloading (`Offloading::is_live`).
    pub(crate) fn is_live(&self, rules: &Rules) -> bool {
        self.granted > self.expired && !rules.is(Mutant::AckBeforeInstall)
    }

    // ---- Clients ------------------------------------------------------------------------------

    /// `Broker::on_subscribe`.
    pub(crate) fn subscribe(&mut self, rules: &Rules, client: Client, said: &mut Said) {
        for (index, topic) in self.topics.iter_mut().enumerate() {
            if rules.covers[client] & (1 << index) != 0 {
                topic.joined = true;
                topic.subscribers[client] = Some(Subscriber {
                    active: false,
                    history: History::joining(),
                });
            }
        }
        self.fresh.push(Reply::Suback(client as u8));
        self.settle(rules, said);
    }

    /// `Broker::on_unsubscribe`.
    pub(crate) fn unsubscribe(&mut self, rules: &Rules, client: Client, said: &mut Said) {
        for topic in &mut self.topics {
            topic.subscribers[client] = None;
        }
        self.fresh.push(Reply::Unsuback(client as u8));
        self.settle(rules, said);
    }

    /// `Broker::sleep`.
    pub(crate) fn sleep(&mut self, rules: &Rules, client: Client, said: &mut Said) {
        self.sessions[client].active = false;
        self.fresh.push(Reply::Disconnect(client as u8));
        self.settle(rules, said);
    }

    /// `Broker::on_pingreq` of one that sleeps: it gets what was buffered, and sleeps on.
    pub(crate) fn ping(&mut self, rules: &Rules, client: Client, said: &mut Said) {
        self.sessions[client].ready = false;
        let buffered = std::mem::take(&mut self.sessions[client].outbox);
        for message in buffered {
            said.to_clients.push(Transmit::Publish(client, message));
        }
        self.settle(rules, said);
    }

    /// `Broker::connect` of one that sleeps.
    pub(crate) fn connect(&mut self, rules: &Rules, client: Client, said: &mut Said) {
        let session = &mut self.sessions[client];
        session.active = true;
        session.ready = false;
        self.fresh.push(Reply::Connack(client as u8));
        self.settle(rules, said);
    }

    /// `Broker::on_untagged`.
    pub(crate) fn on_untagged(
        &mut self,
        rules: &Rules,
        message: u8,
        topic: u8,
        qos1: bool,
        said: &mut Said,
    ) {
        self.deliver(rules, message, topic, qos1, Origin::Here, said);
        if qos1 {
            said.to_clients.push(Transmit::Puback(message));
        }
        self.settle(rules, said);
    }

    /// `Broker::on_tagged`. False if nobody knows any more who has it.
    pub(crate) fn on_tagged(
        &mut self,
        rules: &Rules,
        (message, generation): (u8, u8),
        topic: u8,
        qos1: bool,
        said: &mut Said,
    ) -> bool {
        let sequence = self.sequence_of(rules, generation).filter(|&sequence| {
            let mut known = self.topics[usize::from(topic)].known.iter();
            known.any(|known| known.sequence == sequence)
        });
        let Some(sequence) = sequence else {
            return false;
        };
        self.deliver(
            rules,
            message,
            topic,
            qos1,
            Origin::DataPlane(sequence),
            said,
        );
        if qos1 {
            said.to_clients.push(Transmit::Puback(message));
        }
        self.settle(rules, said);
        true
    }

    /// `Offloading::sequence_of`: the latest one with this number.
    fn sequence_of(&self, rules: &Rules, generation: u8) -> Option<u8> {
        let same = |sequence: &u8| rules.generation(*sequence) == generation;
        (1..=self.sequence).rev().find(same)
    }

    /// `Broker::deliver`.
    fn deliver(
        &mut self,
        rules: &Rules,
        message: u8,
        topic: u8,
        qos1: bool,
        origin: Origin,
        said: &mut Said,
    ) {
        let live = self.is_live(rules);
        let mut waiting = Vec::new();
        let subscribers = self.topics[usize::from(topic)].subscribers.iter();
        for (client, subscriber) in subscribers.enumerate() {
            let Some(subscriber) = subscriber else {
                continue;
            };
            match origin {
                Origin::Here if !subscriber.active => continue,
                Origin::Here => {}
                Origin::DataPlane(sequence) => match subscriber.history.at(rules, sequence) {
                    None => continue,
                    Some(served) if served.at(qos1) => continue,
                    Some(_) => {}
                },
            }
            let session = &self.sessions[client];
            let served = subscriber.history.current().at(qos1);
            let leaving = live && subscriber.history.is_leaving(self.in_force);
            let at_once = (session.listens() && (session.outbox.is_empty() || served))
                || (session.still_listens() && leaving);
            let delivered_at_qos1 = qos1 && rules.granted_q1 & (1 << client) != 0;
            if at_once && !delivered_at_qos1 {
                said.to_clients.push(Transmit::Publish(client, message));
            } else {
                waiting.push(client);
            }
        }
        for client in waiting {
            self.sessions[client].outbox.push(message);
            self.pump(client, said);
        }
    }

    /// `Broker::pump`. What it sends at QoS 1 is acknowledged at once.
    fn pump(&mut self, client: Client, said: &mut Said) {
        if self.sessions[client].listens() {
            let waiting = std::mem::take(&mut self.sessions[client].outbox);
            for message in waiting {
                said.to_clients.push(Transmit::Publish(client, message));
            }
        }
    }

    /// Whether a message waits for somebody.
    pub(crate) fn keeps(&self, message: u8) -> bool {
        let mut sessions = self.sessions.iter();
        sessions.any(|session| session.outbox.contains(&message))
    }

    // ---- The controller -----------------------------------------------------------------------

    /// `Broker::handle_offload`.
    pub(crate) fn hear(&mut self, rules: &Rules, message: &FromController, said: &mut Said) {
        match message {
            // `link_up` and `on_hello`.
            FromController::Hello(reachable) => {
                self.link = Some(Link::default());
                for (client, session) in self.sessions.iter_mut().enumerate() {
                    session.reachable = reachable & (1 << client) != 0;
                }
                self.settle(rules, said);
                said.to_controller.clear();
                said.to_controller
                    .push(FromBroker::Snapshot(self.intent.clone()));
                said.starts_over = true;
                self.link = Some(Link {
                    snapshot: self.intent.revision,
                    installed: 0,
                });
            }
            FromController::Reachable(clients) => {
                for client in 0..CLIENTS {
                    self.sessions[client].reachable |= clients & (1 << client) != 0;
                }
            }
            FromController::RequestLease => self.request_lease(rules, said),
            // `set_installed`.
            FromController::Installed(revision) => {
                if let Some(link) = &mut self.link {
                    link.installed = link.installed.max(*revision);
                    self.in_force = self.in_force.max(link.installed);
                }
            }
        }
        self.settle(rules, said);
    }

    /// `Offloading::request_lease`.
    fn request_lease(&mut self, rules: &Rules, said: &mut Said) {
        let Some(link) = self.link else {
            return;
        };
        // `unconfirmed` has the deltas of this link.
        let confirmed = link.installed.max(link.snapshot);
        let stale = self.overdue > confirmed && !rules.is(Mutant::GrantWhileStale);
        let behind = link.installed < self.released && !rules.is(Mutant::GrantWhileBehind);
        let early = link.installed < link.snapshot && !rules.is(Mutant::GrantBeforeSnapshot);
        if stale || behind || early || self.granted >= rules.grants {
            return;
        }
        self.granted += 1;
        said.to_controller.push(FromBroker::Grant(self.granted));
    }

    /// `Broker::link_down`.
    pub(crate) fn link_down(&mut self, rules: &Rules, said: &mut Said) {
        self.link = None;
        self.settle(rules, said);
    }

    // ---- Time ---------------------------------------------------------------------------------

    /// The oldest lease is over by the broker's clock.
    pub(crate) fn lease_ends(&mut self, rules: &Rules, said: &mut Said) {
        self.expired += 1;
        self.settle(rules, said);
    }

    /// All that was ever changed is long ago.
    pub(crate) fn is_old(&mut self) {
        self.overdue = self.intent.revision;
        for topic in &mut self.topics {
            topic.known.retain(|known| known.superseded.is_none());
        }
    }

    /// The next revision becomes older than the overdue time.
    pub(crate) fn ages(&mut self) {
        self.overdue += 1;
        for topic in &mut self.topics {
            for known in &mut topic.known {
                if let Some(superseded) = &mut known.superseded
                    && superseded.revision == self.overdue
                {
                    superseded.aged = Some(self.granted);
                }
            }
        }
    }

    // ---- The intent ---------------------------------------------------------------------------

    /// `Broker::settle`: the intent is brought up to date, and answers go out that need not wait.
    pub(crate) fn settle(&mut self, rules: &Rules, said: &mut Said) {
        loop {
            self.update(rules, said);
            let revision = self.intent.revision;
            let fresh = std::mem::take(&mut self.fresh);
            self.held
                .extend(fresh.into_iter().map(|reply| (revision, reply)));
            // `Gate::open`.
            let installed = self.link.map_or(0, |link| link.installed);
            let Some(&(revision, reply)) = self.held.first() else {
                return;
            };
            if revision > installed {
                if self.is_live(rules) {
                    return;
                }
                self.released = self.released.max(revision);
            }
            self.held.remove(0);
            self.send_reply(reply, said);
        }
    }

    /// `Broker::send_reply`.
    fn send_reply(&mut self, reply: Reply, said: &mut Said) {
        match reply {
            Reply::Suback(client) => {
                for topic in &mut self.topics {
                    if let Some(subscriber) = &mut topic.subscribers[usize::from(client)] {
                        subscriber.active = true;
                    }
                }
                said.to_clients.push(Transmit::Answer(client.into()));
            }
            Reply::Unsuback(client) => said.to_clients.push(Transmit::Answer(client.into())),
            Reply::Disconnect(client) => {
                let session = &mut self.sessions[usize::from(client)];
                session.ready &= session.active;
                said.to_clients.push(Transmit::SleepAck(client.into()));
            }
            // `Broker::connected`.
            Reply::Connack(client) => {
                self.sessions[usize::from(client)].ready = true;
                said.to_clients.push(Transmit::Answer(client.into()));
                self.pump(client.into(), said);
            }
        }
    }

    /// `Offloading::update` and `commit`.
    fn update(&mut self, rules: &Rules, said: &mut Said) {
        let revision = self.intent.revision + 1;
        let mut changed = false;
        for index in 0..TOPICS {
            let before = self.intent.topics[index];
            let next = self.next_topic(rules, index, revision);
            changed |= before != Some(next);
            self.intent.topics[index] = Some(next);
        }
        if changed {
            self.intent.revision = revision;
            if self.link.is_some() {
                said.to_controller
                    .push(FromBroker::Delta(self.intent.clone()));
            }
        }
    }

    /// `Offloading::next_topic`. There is a publisher, so the topic is always of the intent.
    fn next_topic(&mut self, rules: &Rules, index: usize, revision: u8) -> Wanted {
        let before = self.intent.topics[index];
        let topic = &mut self.topics[index];
        let mut next = Wanted {
            generation: before.map_or(rules.generation(0), |before| before.generation),
            served: [0; 2],
            copy: [false; 2],
        };
        for (client, subscriber) in topic.subscribers.iter().enumerate() {
            let Some(subscriber) = subscriber else {
                continue;
            };
            let session = &self.sessions[client];
            let current = subscriber.history.current();
            let serve_q0 =
                session.listens() && session.reachable && (current.q0 || session.outbox.is_empty());
            let serve_q1 = serve_q0
                && rules.granted_q1 & (1 << client) == 0
                && (current.q1 || session.outbox.is_empty());
            for (side, serve) in [serve_q0, serve_q1].into_iter().enumerate() {
                if serve {
                    next.served[side] |= 1 << client;
                } else {
                    next.copy[side] = true;
                }
            }
        }
        let same_sets = before.is_some_and(|before| before.served == next.served);
        let kept = rules.is(Mutant::GenerationKept) && self.sequence > 0;
        if (same_sets && !topic.joined) || kept {
            return next;
        }
        self.sequence += 1;
        next.generation = rules.generation(self.sequence);
        // `Generations::start`.
        if let Some(last) = topic.known.last_mut() {
            last.superseded.get_or_insert(Superseded {
                revision,
                aged: None,
            });
        }
        topic.known.push(Known {
            sequence: self.sequence,
            superseded: None,
        });
        topic.joined = false;
        let oldest = topic.known[0].sequence;
        for (client, subscriber) in topic.subscribers.iter_mut().enumerate() {
            if let Some(subscriber) = subscriber {
                let served = Served {
                    q0: next.served[0] & (1 << client) != 0,
                    q1: next.served[1] & (1 << client) != 0,
                };
                subscriber
                    .history
                    .record(self.sequence, served, revision, oldest);
            }
        }
        next
    }
}
