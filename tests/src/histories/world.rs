//! One run of a history: on the broker alone, or on broker, controller and switch.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use controller::target::PipelineConfig;
use offload::{BrokerEnd, FromBroker, FromController};

use super::client::{Client, broker_at};
use super::control::{Answer, Control, Said, way_of};
use super::events::History;
use super::links::{Links, Millis, Way};
use super::rpc::{Ask, Connection};
use super::sabotage::Sabotage;
use super::seat::Who;
use crate::frame::{Checksum, Datagram};
use crate::hosts::BROKER;
use crate::topics::PREDEFINED;
use host::Host;

mod arrivals;
mod contract;
mod host;
mod rounds;

/// A round that takes so much longer than it has to is stuck.
const STUCK: Millis = 60_000;

/// What is under way.
#[expect(clippy::large_enum_variant, reason = "few are under way at a time")]
enum Item {
    Frame {
        frame: Vec<u8>,
        by_broker: bool,
    },
    ToController(u64, FromBroker),
    ToBroker(u64, FromController),
    /// The controller has closed this link.
    Closed(u64),
    /// The broker has closed the link with this end.
    HungUp(BrokerEnd),
    Ask(Ask),
    Answer(Answer),
    Event(Connection, Option<controller::target::Event>),
}

/// What came of a run.
pub(super) struct Run {
    pub(super) clients: Vec<Client>,
    /// When each round began.
    pub(super) starts: Vec<Millis>,
    /// Rounds in which the broker was killed.
    pub(super) restarts: Vec<usize>,
    pub(super) strange: Vec<String>,
    /// PUBLISH messages that the broker saw, with a tag and without.
    pub(super) tagged: u64,
    pub(super) untagged: u64,
    /// How often another controller leads than before.
    pub(super) takeovers: u64,
    /// Writes of former primaries that reached the switch.
    pub(super) late: u64,
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
    host: Host,
    clients: Vec<Client>,
    control: Option<Control>,
    /// The link of the controller that leads.
    leader: Option<u64>,
    /// Whether standbys know of one.
    told: bool,
    /// Who has led last.
    led_by: Option<Who>,
    takeovers: u64,
    phase: Phase,
    round: usize,
    starts: Vec<Millis>,
    restarts: Vec<usize>,
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
            host: Host::new(config, history.persistent, base),
            clients: (0..history.clients).map(|n| history.client(n)).collect(),
            grants_wanted: if control.is_some() { 2 } else { 0 },
            control,
            leader: None,
            told: false,
            led_by: None,
            takeovers: 0,
            phase: Phase::Before(0),
            round: 0,
            starts: Vec::new(),
            restarts: Vec::new(),
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
        for client in &mut self.clients {
            let n = client.n;
            let strange = client.strange.drain(..);
            self.strange
                .extend(strange.map(|why| format!("client {n}: {why}")));
        }
        let (tagged, untagged) = self.host.counted();
        Run {
            tagged,
            untagged,
            takeovers: self.takeovers,
            late: self.control.as_ref().map_or(0, |control| control.late),
            clients: self.clients,
            starts: self.starts,
            restarts: self.restarts,
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
            self.start_broker();
            // First, so that what the last arrival led to is under way before a round may end.
            self.pump_broker();
            self.advance();
            let (now, at, round) = (self.now, self.at(), self.round);
            for n in 0..self.clients.len() {
                self.clients[n].poll(now, at, round);
                self.send_frames(n);
            }
            let due = self.host.broker.next_deadline();
            if due.is_some_and(|next| next <= at) && self.broker_runs() {
                self.host.broker.handle_timeout(at);
            }
            if let Some(control) = &mut self.control
                && control.switch_next.is_none_or(|next| next <= now)
            {
                let left = control.step(now);
                self.leave(left, None);
            }
            if let Some(control) = &mut self.control {
                control.start(now);
            }
            self.give_up();
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
        let seats = control.map_or(&[][..], |control| &control.seats);
        let seats = seats.iter().filter_map(|seat| seat.next(self.now)).min();
        let clients = self.clients.iter().filter_map(Client::next).min();
        let deadline = self.host.broker.next_deadline();
        let deadline = deadline.filter(|_| self.broker_runs());
        [
            phase.filter(|at| *at > self.now),
            self.links.next(),
            clients,
            deadline.map(since),
            self.host.starts_at,
            control.and_then(|control| control.switch_next),
            seats,
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

    /// Lets the controllers work, and sends what they say on its way.
    fn pump_control(&mut self, context: &mut std::task::Context<'_>) {
        if self.control.is_none() {
            return;
        }
        self.now = self.clock();
        let Some(control) = &mut self.control else {
            return;
        };
        let (now, pace) = (self.now, self.history.pace);
        for seat in &mut control.seats {
            let who = seat.who;
            self.strange.extend(seat.poll(now, context));
            while let Some(ask) = seat.asks.take() {
                let way = way_of(who, &ask);
                self.links.send(now, way, pace.switch, Item::Ask(ask));
            }
            let (messages, closed) = seat.take_messages();
            let up = Way::ContractUp(who);
            if let Some(link) = &seat.link {
                let number = link.number;
                for message in messages {
                    let item = Item::ToBroker(number, message);
                    self.links.send(now, up, pace.contract, item);
                }
            }
            if closed && let Some(link) = seat.link.take() {
                let item = Item::Closed(link.number);
                self.links.send(now, up, pace.contract, item);
            }
            if now >= seat.broker_cut_until {
                for dialling in std::mem::take(&mut seat.dialling) {
                    control.last_link += 1;
                    seat.connect(control.last_link, dialling);
                }
            }
        }
        for (who, said) in std::mem::take(&mut control.said) {
            let (way, item) = match said {
                Said::Answer(answer) => (Way::Answers(who), Item::Answer(answer)),
                Said::Event(connection, event) => {
                    (Way::StreamOut(who), Item::Event(connection, event))
                }
                Said::Acknowledge(connection, message) => {
                    let ask = Ask::Stream(connection, message);
                    (Way::StreamIn(who), Item::Ask(ask))
                }
            };
            self.links.send(now, way, pace.switch, item);
        }
    }

    fn pump_broker(&mut self) {
        if !self.broker_runs() {
            return;
        }
        self.host.store();
        let links = self.history.pace.links;
        while let Some(transmit) = self.host.broker.poll_transmit() {
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
        while let Some(message) = self.host.broker.poll_offload() {
            if self.sabotage == Some(Sabotage::InstalledTooEarly)
                && let FromBroker::Delta(delta) = &message
            {
                let revision = delta.revision;
                let at = self.at();
                self.host
                    .broker
                    .handle_offload(at, FromController::Installed { revision });
            }
            self.tell_leader(message);
        }
        self.tell_standbys();
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
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
