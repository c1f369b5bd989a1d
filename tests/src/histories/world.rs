//! One run of a history: on the broker alone, or on broker, controller and switch.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use broker::Broker;
use controller::target::PipelineConfig;
use offload::{FromBroker, FromController};

use super::client::{Client, LONG, broker_at};
use super::control::{Answer, Control, Said, way_of};
use super::events::{Fault, History, Op, PREDEFINED, What};
use super::links::{Links, Millis, Way};
use super::rpc::{Ask, Connection};
use super::sabotage::Sabotage;
use crate::frame::{Checksum, Datagram};
use crate::hosts::BROKER;

/// A round that takes so much longer than it has to is stuck.
const STUCK: Millis = 60_000;

/// What is under way.
#[expect(clippy::large_enum_variant, reason = "few are under way at a time")]
enum Item {
    Frame { frame: Vec<u8>, by_broker: bool },
    ToController(u64, FromBroker),
    ToBroker(u64, FromController),
    Closed,
    Ask(Ask),
    Answer(Answer),
    Event(Connection, Option<controller::target::Event>),
}

/// What came of a run.
pub(super) struct Run {
    pub(super) clients: Vec<Client>,
    /// When each round began.
    pub(super) starts: Vec<Millis>,
    pub(super) strange: Vec<String>,
    /// PUBLISH messages that the broker saw, with a tag and without.
    pub(super) tagged: u64,
    pub(super) untagged: u64,
    /// Frames, writes and what the controller said, summed up: the same history gives the same.
    pub(super) trace: u64,
}

enum Phase {
    /// The next round begins then, if the data plane is in force.
    Before(Millis),
    During {
        start: Millis,
        /// It does not end before.
        until: Millis,
        next: usize,
    },
    Over,
}

pub(super) struct World<'a> {
    history: &'a History,
    now: Millis,
    base: Instant,
    links: Links<Item>,
    broker: Broker,
    clients: Vec<Client>,
    control: Option<Control>,
    phase: Phase,
    round: usize,
    starts: Vec<Millis>,
    not_before: &'a [Millis],
    grants_wanted: u64,
    sabotage: Option<Sabotage>,
    strange: Vec<String>,
    trace: u64,
}

impl<'a> World<'a> {
    /// The broker alone; each round begins at or after the given time.
    pub(super) fn alone(history: &'a History, not_before: &'a [Millis]) -> Self {
        Self::new(history, None, Instant::now(), not_before)
    }

    /// The whole system.
    pub(super) fn whole(history: &'a History, pipeline: PipelineConfig) -> Self {
        let control = Control::new(history, pipeline);
        let base = tokio::time::Instant::now().into_std();
        Self::new(history, Some(control), base, &[])
    }

    fn new(
        history: &'a History,
        control: Option<Control>,
        base: Instant,
        not_before: &'a [Millis],
    ) -> Self {
        let mut config = broker::Config {
            predefined_topics: PREDEFINED.map(|(id, name)| (id, name.to_owned())).into(),
            ..broker::Config::default()
        };
        if control.is_some() {
            config.offload.enabled = true;
            config.offload.services = vec![broker_at(false), broker_at(true)];
        }
        let seed = match &control {
            Some(_) => history.seed,
            None => !history.seed,
        };
        World {
            history,
            now: 0,
            base,
            links: Links::new(seed),
            broker: Broker::new(config, base).expect("a valid configuration"),
            clients: (0..history.clients).map(|n| history.client(n)).collect(),
            grants_wanted: if control.is_some() { 2 } else { 0 },
            control,
            phase: Phase::Before(0),
            round: 0,
            starts: Vec::new(),
            not_before,
            sabotage: None,
            strange: Vec::new(),
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Breaks the system on purpose.
    pub(super) fn sabotaged(mut self, sabotage: Option<Sabotage>) -> Self {
        self.sabotage = sabotage;
        self
    }

    /// Runs to the end.
    pub(super) async fn run(mut self) -> Run {
        loop {
            self.settle().await;
            if matches!(self.phase, Phase::Over) {
                break;
            }
            let next = self.next();
            self.wait(next).await;
        }
        if let Some(control) = &mut self.control {
            self.strange.append(&mut control.strange);
        }
        for client in &mut self.clients {
            let n = client.n;
            let strange = client.strange.drain(..);
            self.strange
                .extend(strange.map(|why| format!("client {n}: {why}")));
        }
        let stats = self.broker.stats();
        Run {
            tagged: stats.publish_tagged,
            untagged: stats.publish_untagged,
            clients: self.clients,
            starts: self.starts,
            strange: self.strange,
            trace: self.trace,
        }
    }

    fn at(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    /// Does all that is due now.
    async fn settle(&mut self) {
        loop {
            // First, so that what the last arrival led to is under way before a round may end.
            self.pump_broker();
            self.advance();
            let (now, at, round) = (self.now, self.at(), self.round);
            for n in 0..self.clients.len() {
                self.clients[n].poll(now, at, round);
                self.send_frames(n);
            }
            if self.broker.next_deadline().is_some_and(|next| next <= at) {
                self.broker.handle_timeout(at);
            }
            if let Some(control) = &mut self.control {
                if control.switch_next.is_none_or(|next| next <= now) {
                    let left = control.step(now);
                    self.leave(left, None);
                }
                if self
                    .control
                    .as_ref()
                    .and_then(|control| control.starts_at)
                    .is_some_and(|starts| starts <= now)
                    && let Some(control) = &mut self.control
                {
                    control.starts_at = None;
                    control.start();
                }
            }
            self.pump_broker();
            std::future::poll_fn(|context| {
                self.pump_control(context);
                std::task::Poll::Ready(())
            })
            .await;
            match self.links.arrive(now) {
                Some((way, item)) => self.arrive(way, item),
                None => return,
            }
        }
    }

    /// When something is to be done next.
    fn next(&self) -> Millis {
        let since = |at: Instant| {
            let time = at.saturating_duration_since(self.base);
            time.as_micros().div_ceil(1000) as Millis
        };
        let phase = match &self.phase {
            Phase::Before(at) => Some(*at),
            Phase::During { start, until, next } => {
                let steps = &self.history.rounds[self.round].steps;
                let step = steps.get(*next).map(|step| start + Millis::from(step.at));
                Some(step.unwrap_or(*until))
            }
            Phase::Over => None,
        };
        let control = self.control.as_ref();
        let thaw = control.map(|control| control.frozen_until);
        let join = control.map(|control| control.broker_cut_until);
        let clients = self.clients.iter().filter_map(Client::next).min();
        [
            phase.filter(|at| *at > self.now),
            self.links.next(),
            clients,
            self.broker.next_deadline().map(since),
            control.and_then(|control| control.switch_next),
            control.and_then(|control| control.starts_at),
            thaw.filter(|at| *at > self.now),
            join.filter(|at| *at > self.now),
            // Whether it is stuck.
            Some(self.now + 1000),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.now)
        .max(self.now + 1)
    }

    /// Until `next`, or until the controller wants something.
    async fn wait(&mut self, next: Millis) {
        if self.control.is_none() {
            self.now = next;
            return;
        }
        let at = self.base + Duration::from_millis(next);
        let sleep = tokio::time::sleep_until(at.into());
        tokio::pin!(sleep);
        std::future::poll_fn(|context| {
            self.pump_control(context);
            if self.links.next().is_some_and(|next| next <= self.clock()) {
                return std::task::Poll::Ready(());
            }
            sleep.as_mut().poll(context)
        })
        .await;
        self.now = self.clock();
    }

    fn clock(&self) -> Millis {
        let now = tokio::time::Instant::now().into_std();
        now.saturating_duration_since(self.base).as_millis() as Millis
    }

    /// Lets the controller work, and sends what it says on its way.
    fn pump_control(&mut self, context: &mut std::task::Context<'_>) {
        if self.control.is_none() {
            return;
        }
        self.now = self.clock();
        let Some(control) = &mut self.control else {
            return;
        };
        let pace = self.history.pace;
        control.poll(self.now, context);
        while let Some(ask) = control.asks.take() {
            let way = way_of(&ask);
            self.links.send(self.now, way, pace.switch, Item::Ask(ask));
        }
        let (messages, closed) = control.take_messages();
        if let Some(link) = &control.link {
            let number = link.number;
            for message in messages {
                let item = Item::ToBroker(number, message);
                self.links
                    .send(self.now, Way::ContractUp, pace.contract, item);
            }
        }
        if closed && control.link.take().is_some() {
            let item = Item::Closed;
            self.links
                .send(self.now, Way::ContractUp, pace.contract, item);
        }
        if self.now >= control.broker_cut_until {
            for dialling in std::mem::take(&mut control.dialling) {
                control.connect(dialling);
            }
        }
        for said in std::mem::take(&mut control.said) {
            let (way, item) = match said {
                Said::Answer(answer) => (Way::Answers, Item::Answer(answer)),
                Said::Event(connection, event) => (Way::StreamOut, Item::Event(connection, event)),
                Said::Acknowledge(connection, message) => {
                    (Way::StreamIn, Item::Ask(Ask::Stream(connection, message)))
                }
            };
            self.links.send(self.now, way, pace.switch, item);
        }
    }

    fn pump_broker(&mut self) {
        let links = self.history.pace.links;
        while let Some(transmit) = self.broker.poll_transmit() {
            let to = transmit.to;
            let Some((n, tag)) = neighbour(&self.clients, to.ip()) else {
                continue;
            };
            let frame = Datagram {
                eth_src: BROKER.mac,
                eth_dst: Client::mac(n),
                tag,
                src: broker_at(to.is_ipv6()),
                dst: to,
                tos: 0,
                identification: 0,
                ttl: 64,
                checksum: Checksum::Right,
                payload: transmit.bytes.to_vec(),
            };
            let item = Item::Frame {
                frame: frame.frame(),
                by_broker: true,
            };
            self.links.send(self.now, Way::FromBroker, links, item);
        }
        while let Some(message) = self.broker.poll_offload() {
            if self.sabotage == Some(Sabotage::InstalledTooEarly)
                && let FromBroker::Delta(delta) = &message
            {
                let revision = delta.revision;
                let at = self.at();
                self.broker
                    .handle_offload(at, FromController::Installed { revision });
            }
            let link = self.control.as_ref().and_then(|c| c.link.as_ref());
            if let Some(link) = link.filter(|link| link.leads) {
                let item = Item::ToController(link.number, message);
                let contract = self.history.pace.contract;
                self.links.send(self.now, Way::ContractDown, contract, item);
            }
        }
    }

    fn send_frames(&mut self, n: usize) {
        for frame in self.clients[n].take_frames() {
            let item = Item::Frame {
                frame,
                by_broker: false,
            };
            let way = Way::Up(n as u8);
            self.links
                .send(self.now, way, self.history.pace.links, item);
        }
    }

    /// Frames that leave the switch; `by_broker` where the broker sent what made them.
    fn leave(&mut self, left: Vec<(u32, Vec<u8>)>, from: Option<u32>) {
        let broker = u32::from(BROKER.port);
        let by_broker = from == Some(broker);
        for (port, frame) in left {
            let way = match port {
                port if port == broker => Way::ToBroker,
                port => Way::Down((port - 2) as u8),
            };
            let item = Item::Frame { frame, by_broker };
            self.links
                .send(self.now, way, self.history.pace.links, item);
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn arrive(&mut self, way: Way, item: Item) {
        match &item {
            Item::Ask(Ask::Write(_, updates, _)) => self.note(format!("{updates:?}").as_bytes()),
            Item::ToBroker(_, message) => self.note(format!("{message:?}").as_bytes()),
            _ => {}
        }
        let (now, at, round) = (self.now, self.at(), self.round);
        match (way, item) {
            (Way::Up(n), Item::Frame { frame, .. }) => {
                self.note(&frame);
                match &mut self.control {
                    Some(control) => {
                        let port = Client::port(n);
                        let left = control.frame(now, port, &frame);
                        self.leave(left, Some(port));
                    }
                    None => self.leave(vec![(BROKER.port.into(), frame)], None),
                }
            }
            (Way::FromBroker, Item::Frame { frame, .. }) => {
                let port = u32::from(BROKER.port);
                match &mut self.control {
                    Some(control) => {
                        let left = control.frame(now, port, &frame);
                        self.leave(left, Some(port));
                    }
                    None => {
                        let n = frame[5];
                        self.leave(vec![(Client::port(n), frame)], Some(port));
                    }
                }
            }
            (Way::ToBroker, Item::Frame { frame, .. }) => self.broker_hears(at, &frame),
            (Way::Down(n), Item::Frame { frame, by_broker }) => {
                self.note(&frame);
                self.clients[usize::from(n)].hear(now, at, round, (&frame, by_broker));
                self.send_frames(n.into());
            }
            (_, Item::ToBroker(number, message)) => self.contract(at, number, message),
            // Another link may have come meanwhile, and stands for this one.
            (_, Item::Closed) => {
                let link = self.control.as_ref().and_then(|c| c.link.as_ref());
                if link.is_none_or(|link| !link.leads) {
                    self.broker.link_down(at);
                }
            }
            (_, Item::ToController(number, message)) => {
                if let Some(control) = &self.control
                    && let Some(link) = &control.link
                    && link.number == number
                {
                    // The controller may have closed it: that is seen when it is polled.
                    let _ = link.end.tx.send(message);
                }
            }
            (_, Item::Ask(Ask::Link(dialling))) => {
                if let Some(control) = &mut self.control {
                    control.dialling.push(dialling);
                }
            }
            (_, Item::Ask(mut ask)) => {
                if let Some(sabotage) = self.sabotage {
                    sabotage.spoil(&mut ask);
                }
                if let Some(control) = &mut self.control {
                    let left = control.ask(now, ask);
                    self.leave(left, None);
                }
            }
            (_, Item::Answer(answer)) => answer(),
            (_, Item::Event(connection, event)) => {
                if let Some(control) = &mut self.control {
                    control.hear(connection, event);
                }
            }
            (_, Item::Frame { .. }) => {}
        }
    }

    /// What the broker's driver does with a message of the contract: a link begins with Hello.
    fn contract(&mut self, at: Instant, number: u64, message: FromController) {
        let Some(control) = &mut self.control else {
            return;
        };
        let Some(link) = control.link.as_mut().filter(|link| link.number == number) else {
            return;
        };
        match &message {
            FromController::Hello { election_id, .. } => {
                if !self.broker.takes_controller(at, *election_id) {
                    control.link = None;
                    return;
                }
                link.leads = true;
                self.broker.link_up(at);
            }
            FromController::Standby { .. } => {
                // Nobody else is there to lead. Whoever closed the link is seen when polled.
                let _ = link.end.tx.send(FromBroker::Led(false));
                return;
            }
            _ if !link.leads => return,
            _ => {}
        }
        let message = match (self.sabotage, message) {
            (
                Some(Sabotage::NobodyPublishes),
                FromController::Activity {
                    query,
                    mut sessions,
                },
            ) => {
                for session in &mut sessions {
                    session.idle = None;
                }
                FromController::Activity { query, sessions }
            }
            (_, message) => message,
        };
        self.broker.handle_offload(at, message);
    }

    fn broker_hears(&mut self, at: Instant, frame: &[u8]) {
        self.note(frame);
        let Ok(datagram) = Datagram::read(frame) else {
            return;
        };
        if datagram.eth_dst != BROKER.mac
            || datagram.dst != broker_at(datagram.dst.is_ipv6())
            || matches!(datagram.checksum, Checksum::Flipped(_))
        {
            return;
        }
        let mut payload = &datagram.payload[..];
        if self.sabotage == Some(Sabotage::NoGenerations) && payload.starts_with(&[14, 0xfe]) {
            payload = &payload[14..];
        }
        self.broker.handle_datagram(at, datagram.src, payload);
    }

    // ---- Rounds -------------------------------------------------------------------------------

    /// Begins and ends rounds, and begins steps.
    fn advance(&mut self) {
        loop {
            match self.phase {
                Phase::Over => return,
                Phase::Before(start) => {
                    let not_before = self.not_before.get(self.round).copied().unwrap_or(0);
                    let in_force = self.broker.stats().grants >= self.grants_wanted;
                    if self.now > start + STUCK {
                        self.stuck(format!("not in force before round {}", self.round));
                        return;
                    }
                    if self.now < start.max(not_before) || !in_force {
                        return self.postpone(not_before);
                    }
                    if self.round >= self.history.rounds.len() {
                        self.phase = Phase::Over;
                        return;
                    }
                    self.starts.push(self.now);
                    self.phase = Phase::During {
                        start: self.now,
                        until: self.now,
                        next: 0,
                    };
                }
                Phase::During { start, until, next } => {
                    let steps = &self.history.rounds[self.round].steps;
                    if let Some(step) = steps.get(next) {
                        if self.now < start + Millis::from(step.at) {
                            return;
                        }
                        let what = step.what.clone();
                        let until = until.max(self.begin(&what));
                        self.phase = Phase::During {
                            start,
                            until,
                            next: next + 1,
                        };
                        continue;
                    }
                    let busy = self.clients.iter().find(|client| !client.is_idle());
                    if self.now > until + STUCK {
                        let who = busy.map(|client| (client.n, client.taken.last().cloned()));
                        self.stuck(format!("round {} does not end: {who:?}", self.round));
                        return;
                    }
                    if self.now < until || busy.is_some() || !self.links.is_quiet() {
                        return;
                    }
                    self.round += 1;
                    self.phase = Phase::Before(self.now + 1);
                }
            }
        }
    }

    fn postpone(&mut self, not_before: Millis) {
        if let Phase::Before(start) = &mut self.phase
            && *start < not_before
        {
            *start = not_before;
        }
    }

    fn stuck(&mut self, why: String) {
        self.strange.push(why);
        self.phase = Phase::Over;
    }

    /// Begins a step; until when the round lasts at least.
    fn begin(&mut self, what: &What) -> Millis {
        let (now, at, round) = (self.now, self.at(), self.round);
        match what {
            What::Wait => now,
            What::Client(n, op) => {
                let index = usize::from(*n);
                let keep_alive = self.clients[index].keep_alive();
                self.clients[index].begin(now, round, op);
                self.clients[index].poll(now, at, round);
                self.send_frames(index);
                match op {
                    // Until the broker must have noticed: its tolerance, once more if a row of the
                    // publisher's came or went meanwhile (docs/data-plane.md), and the time in
                    // which it asks for activity.
                    Op::Crash if keep_alive < LONG => {
                        now + Millis::from(keep_alive) * 1500 * 2 + 2500
                    }
                    _ => now,
                }
            }
            What::Fault(fault) => {
                self.fault(*fault);
                now
            }
        }
    }

    fn fault(&mut self, fault: Fault) {
        let now = self.now;
        let at = self.at();
        let until = |ms: u16| now + Millis::from(ms);
        let toward_controller = [Way::Answers, Way::StreamOut, Way::ContractDown];
        let Some(control) = &mut self.control else {
            return;
        };
        match fault {
            Fault::Kill(ms) => {
                control.kill();
                control.starts_at = Some(until(ms));
                for way in toward_controller {
                    self.links.lose(way);
                }
            }
            Fault::Freeze(ms) => {
                control.frozen_until = control.frozen_until.max(until(ms));
                for way in toward_controller {
                    self.links.stall(way, until(ms));
                }
            }
            Fault::CutBroker(ms) => {
                control.broker_cut_until = control.broker_cut_until.max(until(ms));
                if control.link.take().is_some_and(|link| link.leads) {
                    self.broker.link_down(at);
                }
            }
            Fault::StallBroker(ms) => {
                self.links.stall(Way::ContractDown, until(ms));
                self.links.stall(Way::ContractUp, until(ms));
            }
            Fault::CutSwitch(ms) => {
                control.switch_cut_until = control.switch_cut_until.max(until(ms));
                control.cut_switch();
                self.links.lose(Way::Requests);
                self.links.lose(Way::Answers);
            }
            Fault::StallSwitch(ms) => {
                for way in [Way::Requests, Way::Answers, Way::StreamIn, Way::StreamOut] {
                    self.links.stall(way, until(ms));
                }
            }
            Fault::Refuse(updates) => control.refuses = control.refuses.saturating_add(updates),
            Fault::Restart => {
                // Frames are lost until the controller has been there: nobody may miss one.
                if self.clients.iter().any(Client::pings) {
                    return;
                }
                control.restart();
                self.grants_wanted = self.broker.stats().grants + 2;
            }
        }
    }
}

/// Which client is at an address, and the tag of its frames. Its host's neighbour table is
/// right: whoever spoofs an address does not answer for it.
fn neighbour(clients: &[Client], ip: IpAddr) -> Option<(u8, Option<u16>)> {
    let last = match ip {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    };
    let n = last.checked_sub(2)?;
    Some((n, clients.get(usize::from(n))?.tag()))
}
