//! The whole system: its state, and its steps.

use crate::broker::{Broker, FromBroker, FromController, Said, Transmit};
use crate::controller::{Controller, Fate};
use crate::ledger::{Message, Standing};
use crate::rules::{Mutant, Op, Rules};
use crate::switch::{Switch, ToBroker, ToClient, Verdict};
use crate::{CLIENTS, Client, TOPICS};

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subscriber {
    /// Its next step.
    pub next: u8,
    /// It waits for the answer to the one before.
    pub waits: bool,
    /// It sleeps: what is sent to it is lost.
    pub asleep: bool,
    /// Whether it is to get what is published.
    pub standing: Standing,
}

/// The state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Clients that subscribe.
    pub clients: [Subscriber; CLIENTS],
    /// What was published.
    pub messages: Vec<Message>,
    /// The switch.
    pub switch: Switch,
    /// The broker.
    pub broker: Broker,
    /// The controller, unless it has crashed.
    pub controller: Option<Controller>,
    /// The link between the two, in order.
    pub to_controller: Vec<FromBroker>,
    /// See `to_controller`.
    pub to_broker: Vec<FromController>,
    /// So often it has crashed.
    pub crashes: u8,
    /// So often the link was lost.
    pub unlinks: u8,
    /// So many writes have failed.
    pub failures: u8,
    /// A tagged copy came when nobody knew any more whom it was for.
    pub orphaned: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The publisher sends its next PUBLISH, and ingress decides.
    Publish,
    /// A client takes the next step of its script.
    Client(u8),
    /// The oldest packet is replicated.
    Replicate,
    /// The clients' port sends its oldest packet.
    Egress,
    /// The broker takes the oldest packet.
    BrokerReceives,
    /// The broker takes the oldest message of the controller.
    BrokerHears,
    /// The controller takes the oldest message of the broker.
    ControllerHears,
    /// An update of the write under way takes effect.
    Update(u8),
    /// It fails for want of room.
    Refuse(u8),
    /// A drain time is over, and the controller deletes.
    Collect,
    /// The controller asks for a lease.
    Renew,
    /// A packet-out that sets the lease arrives.
    SetLease,
    /// The oldest lease ends by the switch's clock.
    SwitchLeaseEnds,
    /// It ends by the broker's.
    BrokerLeaseEnds,
    /// The oldest revision becomes overdue.
    Overdue,
    /// The broker forgets the oldest generation of a topic.
    Forget(u8),
    /// A client's endpoint is learned.
    Learn(u8),
    /// The controller is gone.
    Crash,
    /// It starts anew and reads the switch.
    Start,
    /// The link is lost.
    Unlink,
    /// There is a link again.
    Link,
    /// An update of a controller that is gone takes effect.
    Orphan(u8),
}

impl State {
    /// Nothing was said yet; the controller is about to link to the broker.
    pub(crate) fn new(rules: &Rules) -> Self {
        let mut state = State {
            clients: Default::default(),
            messages: Vec::new(),
            switch: Switch {
                endpoints: ((1 << CLIENTS) - 1) & !rules.unknown,
                ..Switch::default()
            },
            broker: Broker::new(),
            controller: None,
            to_controller: Vec::new(),
            to_broker: Vec::new(),
            crashes: 0,
            unlinks: 0,
            failures: 0,
            orphaned: false,
        };
        state.step(rules, Action::Start);
        state.step(rules, Action::Link);
        state.rest(rules);
        if rules.begins_live {
            state.step(rules, Action::Renew);
            state.rest(rules);
        }
        for client in 0..CLIENTS {
            for _ in 0..rules.done[client] {
                state.step(rules, Action::Client(client as u8));
                state.rest(rules);
            }
        }
        state.broker.is_old();
        state
    }

    /// Takes the steps that nobody outside has a say in, until there are none: so a check begins.
    fn rest(&mut self, rules: &Rules) {
        let mut actions = Vec::new();
        loop {
            actions.clear();
            self.actions(rules, &mut actions);
            let next = actions.iter().copied().find(|action| {
                matches!(
                    action,
                    Action::Replicate
                        | Action::Egress
                        | Action::BrokerReceives
                        | Action::BrokerHears
                        | Action::ControllerHears
                        | Action::Update(_)
                        | Action::Collect
                        | Action::SetLease
                )
            });
            match next {
                Some(action) => self.step(rules, action),
                None => return,
            }
        }
    }

    /// The steps that can be taken.
    pub(crate) fn actions(&self, rules: &Rules, actions: &mut Vec<Action>) {
        if self.messages.len() < rules.messages.len() {
            actions.push(Action::Publish);
        }
        for (client, subscriber) in self.clients.iter().enumerate() {
            let more = usize::from(subscriber.next) < rules.scripts[client].len();
            if more && !subscriber.waits {
                actions.push(Action::Client(client as u8));
            }
        }
        let switch = &self.switch;
        actions.extend((!switch.decided.is_empty()).then_some(Action::Replicate));
        actions.extend((!switch.to_clients.is_empty()).then_some(Action::Egress));
        actions.extend((!switch.to_broker.is_empty()).then_some(Action::BrokerReceives));
        actions.extend((!self.to_broker.is_empty()).then_some(Action::BrokerHears));
        actions.extend((!self.to_controller.is_empty()).then_some(Action::ControllerHears));
        actions.extend((!switch.setting.is_empty()).then_some(Action::SetLease));
        self.controllers_actions(rules, actions);
        self.times_actions(rules, actions);
        for client in 0..CLIENTS {
            if switch.endpoints & (1 << client) == 0 {
                actions.push(Action::Learn(client as u8));
            }
        }
    }

    fn controllers_actions(&self, rules: &Rules, actions: &mut Vec<Action>) {
        for at in 0..self.switch.orphans.len() {
            actions.push(Action::Orphan(at as u8));
        }
        let Some(controller) = &self.controller else {
            actions.push(Action::Start);
            return;
        };
        for (at, (write, fate)) in controller.batch.iter().enumerate() {
            if *fate == Fate::Waits {
                actions.push(Action::Update(at as u8));
                if self.failures < rules.failures && !write.is_delete() {
                    actions.push(Action::Refuse(at as u8));
                }
            }
        }
        if !controller
            .garbage(|mark| self.is_drained(rules, mark))
            .is_empty()
        {
            actions.push(Action::Collect);
        }
        // One request at a time; the answer to an older one does not count.
        let asked = self.to_broker.contains(&FromController::RequestLease)
            || self
                .to_controller
                .iter()
                .any(|message| matches!(message, FromBroker::Grant(_)));
        if controller.may_renew(rules) && !asked && self.broker.granted < rules.grants {
            actions.push(Action::Renew);
        }
        if self.crashes < rules.crashes {
            actions.push(Action::Crash);
        }
        if !controller.linked {
            actions.push(Action::Link);
        } else if self.unlinks < rules.unlinks {
            actions.push(Action::Unlink);
        }
    }

    fn times_actions(&self, rules: &Rules, actions: &mut Vec<Action>) {
        let broker = &self.broker;
        if self.switch.expired < broker.granted {
            actions.push(Action::SwitchLeaseEnds);
        }
        // The grant counts from later than the reading from which the switch's deadline counts.
        let first = match rules.is(Mutant::BrokerClockAhead) {
            true => broker.granted,
            false => self.switch.expired,
        };
        if broker.expired < first {
            actions.push(Action::BrokerLeaseEnds);
        }
        if rules.ages && broker.overdue < broker.intent.revision {
            actions.push(Action::Overdue);
        }
        for index in 0..TOPICS {
            if rules.ages && self.may_forget(rules, index) {
                actions.push(Action::Forget(index as u8));
            }
        }
    }

    /// The memory is longer than overdue time and lease together, and a copy is not under way for long.
    fn may_forget(&self, rules: &Rules, index: usize) -> bool {
        let known = &self.broker.topics[index].known;
        let Some(oldest) = known.first() else {
            return false;
        };
        let Some(superseded) = oldest.superseded else {
            return false;
        };
        if rules.is(Mutant::ForgottenEarly) {
            return true;
        }
        let of_it = |message: u8, generation: u8| {
            usize::from(self.messages[usize::from(message)].topic) == index
                && generation == rules.generation(oldest.sequence)
        };
        superseded
            .aged
            .is_some_and(|lease| self.switch.expired >= lease)
            && !self.switch.tags(of_it)
    }

    /// No packet stays in the switch for longer than the drain time.
    fn is_drained(&self, rules: &Rules, mark: u8) -> bool {
        rules.is(Mutant::NoDrain) || !self.switch.holds_older_than(mark)
    }

    /// Takes the step.
    pub(crate) fn step(&mut self, rules: &Rules, action: Action) {
        let mark = self.messages.len() as u8;
        match action {
            Action::Publish => self.publish(rules),
            Action::Client(client) => self.client(rules, client.into()),
            Action::Replicate => self.switch.replicate(),
            Action::Egress => self.egress(),
            Action::BrokerReceives => self.broker_receives(rules),
            Action::BrokerHears => {
                let message = self.to_broker.remove(0);
                let mut said = Said::default();
                self.broker.hear(rules, &message, &mut said);
                self.say(rules, said);
            }
            Action::ControllerHears => {
                let message = self.to_controller.remove(0);
                if let Some(controller) = &mut self.controller {
                    controller.hear(&message);
                    if let FromBroker::Grant(lease) = message
                        && controller.may_renew(rules)
                    {
                        self.switch.setting.push(lease);
                    }
                }
                self.pump(rules, mark);
            }
            Action::Update(at) => {
                if let Some(controller) = &mut self.controller {
                    let (write, fate) = &mut controller.batch[usize::from(at)];
                    self.switch.rows.apply(*write);
                    *fate = Fate::Done;
                }
                self.answered(rules, mark);
            }
            Action::Refuse(at) => {
                self.failures += 1;
                if let Some(controller) = &mut self.controller {
                    controller.batch[usize::from(at)].1 = Fate::Failed;
                }
                self.answered(rules, mark);
            }
            Action::Collect => {
                if let Some(controller) = &mut self.controller {
                    let nodrain = rules.is(Mutant::NoDrain);
                    let switch = &self.switch;
                    let garbage =
                        controller.garbage(|mark| nodrain || !switch.holds_older_than(mark));
                    controller.collect(garbage);
                }
            }
            Action::Renew => {
                self.to_broker.push(FromController::RequestLease);
                if let Some(controller) = &mut self.controller
                    && !controller.read_clock
                {
                    // `Lease::poll`: the first reading ends whatever lease there was.
                    controller.read_clock = true;
                    self.switch.lease = 0;
                }
            }
            Action::SetLease => self.switch.set_lease(rules),
            Action::SwitchLeaseEnds => self.switch.expired += 1,
            Action::BrokerLeaseEnds => {
                let mut said = Said::default();
                self.broker.lease_ends(rules, &mut said);
                self.say(rules, said);
            }
            Action::Overdue => self.broker.ages(),
            Action::Forget(topic) => {
                self.broker.topics[usize::from(topic)].known.remove(0);
            }
            Action::Learn(client) => {
                self.switch.endpoints |= 1 << client;
                if self.controller.as_ref().is_some_and(|one| one.linked) {
                    self.to_broker.push(FromController::Reachable(1 << client));
                }
            }
            Action::Crash => {
                self.crashes += 1;
                if let Some(controller) = self.controller.take() {
                    let batch = controller.batch.into_iter();
                    let waiting = batch.filter(|(_, fate)| *fate == Fate::Waits);
                    self.switch.orphans.extend(waiting.map(|(write, _)| write));
                }
                self.unlinked(rules);
            }
            Action::Start => {
                // A switch answers a former primary before it makes another one primary.
                if !rules.is(Mutant::OrphanLandsLate) {
                    self.switch.orphans.clear();
                }
                self.controller = Some(Controller::start(rules, &self.switch.rows));
            }
            Action::Unlink => {
                self.unlinks += 1;
                if let Some(controller) = &mut self.controller {
                    controller.unlink();
                }
                self.unlinked(rules);
            }
            Action::Link => {
                if let Some(controller) = &mut self.controller {
                    self.to_broker = controller.link(self.switch.endpoints);
                }
            }
            Action::Orphan(at) => {
                let write = self.switch.orphans.remove(at.into());
                self.switch.rows.apply(write);
            }
        }
    }

    fn pump(&mut self, rules: &Rules, mark: u8) {
        if let Some(controller) = &mut self.controller {
            let said = controller.pump(rules, mark);
            if controller.linked {
                self.to_broker.extend(said);
            }
        }
    }

    /// When all of a batch is decided the answer is there: to have it later would only make what
    /// follows later.
    fn answered(&mut self, rules: &Rules, mark: u8) {
        if let Some(controller) = &mut self.controller {
            if controller
                .batch
                .iter()
                .any(|(_, fate)| *fate == Fate::Waits)
            {
                return;
            }
            controller.batch_done(rules, mark);
        }
        self.pump(rules, mark);
    }

    fn unlinked(&mut self, rules: &Rules) {
        self.to_controller.clear();
        self.to_broker.clear();
        let mut said = Said::default();
        self.broker.link_down(rules, &mut said);
        self.say(rules, said);
    }

    fn publish(&mut self, rules: &Rules) {
        let number = self.messages.len();
        let (topic, qos1) = rules.messages[number];
        let mut message = Message::new(topic, qos1);
        let verdict = self.switch.ingress(number as u8, topic, qos1);
        if let Verdict::Offloaded { acknowledged } = verdict {
            message.takes_effect(|client| self.standing(rules, client, topic));
            message.pubacks += u8::from(acknowledged);
        }
        self.messages.push(message);
    }

    fn standing(&self, rules: &Rules, client: Client, topic: u8) -> Standing {
        match rules.covers[client] & (1 << topic) {
            0 => Standing::Out,
            _ => self.clients[client].standing,
        }
    }

    /// Between a request and the broker nothing can happen that would not be possible at the broker
    /// before it, so it is there at once.
    fn client(&mut self, rules: &Rules, client: Client) {
        let subscriber = &mut self.clients[client];
        let op = rules.scripts[client][usize::from(subscriber.next)];
        subscriber.next += 1;
        subscriber.waits = true;
        let mut said = Said::default();
        match op {
            Op::Subscribe => {
                subscriber.standing = Standing::Between;
                self.broker.subscribe(rules, client, &mut said);
            }
            Op::Unsubscribe => {
                subscriber.standing = Standing::Between;
                // What has not arrived may come before or after this request, and need not then.
                for number in 0..self.messages.len() {
                    if self.is_under_way(number) {
                        self.messages[number].owed &= !(1 << client);
                    }
                }
                self.broker.unsubscribe(rules, client, &mut said);
            }
            Op::Sleep => self.broker.sleep(rules, client, &mut said),
            Op::Ping => {
                // PINGRESP lets it sleep on.
                subscriber.asleep = false;
                self.broker.ping(rules, client, &mut said);
                self.say(rules, said);
                self.clients[client].asleep = true;
                self.clients[client].waits = false;
                return;
            }
            Op::Connect => {
                subscriber.asleep = false;
                self.broker.connect(rules, client, &mut said);
            }
        }
        self.say(rules, said);
    }

    /// What the broker says reaches clients at once, but for what must stay behind copies in the switch.
    fn say(&mut self, rules: &Rules, said: Said) {
        for transmit in said.to_clients {
            match transmit {
                Transmit::Publish(client, message) => self.receives(client, message),
                Transmit::Puback(message) => self.messages[usize::from(message)].pubacks += 1,
                Transmit::Answer(client) => {
                    let subscriber = &mut self.clients[client];
                    let before = usize::from(subscriber.next).saturating_sub(1);
                    subscriber.waits = false;
                    subscriber.standing = match rules.scripts[client][before] {
                        Op::Subscribe => Standing::In,
                        Op::Unsubscribe => Standing::Out,
                        Op::Sleep | Op::Ping | Op::Connect => subscriber.standing,
                    };
                }
                Transmit::SleepAck(client) => self.switch.sleep_ack(rules, client as u8),
            }
        }
        if said.starts_over {
            self.to_controller.clear();
        }
        if self.controller.as_ref().is_some_and(|one| one.linked) {
            self.to_controller.extend(said.to_controller);
        }
    }

    fn receives(&mut self, client: Client, message: u8) {
        if !self.clients[client].asleep {
            let times = &mut self.messages[usize::from(message)].got[client];
            *times = times.saturating_add(1);
        }
    }

    fn egress(&mut self) {
        match self.switch.to_clients.remove(0) {
            ToClient::Copy { message, rid } => {
                // A copy for a row that is gone goes nowhere (`egress.p4`).
                if let Some(client) = self.switch.rows.subscribers[usize::from(rid)] {
                    self.receives(client.into(), message);
                }
            }
            ToClient::SleepAck(client) => {
                let subscriber = &mut self.clients[usize::from(client)];
                subscriber.asleep = true;
                subscriber.waits = false;
            }
        }
    }

    fn broker_receives(&mut self, rules: &Rules) {
        let mut said = Said::default();
        match self.switch.to_broker.remove(0) {
            ToBroker::Untagged(number) => {
                let mut message = self.messages[usize::from(number)];
                let (topic, qos1) = (message.topic, message.qos1);
                message.takes_effect(|client| self.standing(rules, client, topic));
                self.messages[usize::from(number)] = message;
                let broker = &mut self.broker;
                broker.on_untagged(rules, number, topic, qos1, &mut said);
            }
            ToBroker::Tagged {
                message: number,
                generation,
            } => {
                let Message { topic, qos1, .. } = self.messages[usize::from(number)];
                let tag = (number, generation);
                let known = self.broker.on_tagged(rules, tag, topic, qos1, &mut said);
                self.orphaned |= !known;
            }
        }
        self.say(rules, said);
    }

    // ---- What must hold -----------------------------------------------------------------------

    /// Whether somebody may still get the message.
    pub fn is_under_way(&self, message: usize) -> bool {
        let message = message as u8;
        self.switch.carries(message) || self.broker.keeps(message)
    }

    /// All is published, all scripts are over, and broker, controller and switch are of one mind.
    pub fn is_over(&self, rules: &Rules) -> bool {
        let controller = self.controller.as_ref();
        self.messages.len() == rules.messages.len()
            && (0..self.messages.len()).all(|message| !self.is_under_way(message))
            && self
                .clients
                .iter()
                .zip(rules.scripts)
                .all(|(client, script)| usize::from(client.next) == script.len() && !client.waits)
            && self.to_broker.is_empty()
            && self.to_controller.is_empty()
            && controller.is_some_and(Controller::is_settled)
    }
}
