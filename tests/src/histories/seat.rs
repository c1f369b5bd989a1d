//! One of the controllers: the real one, in virtual time, and how it hangs together with the rest.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use controller::target::PipelineConfig;
use controller::{Controller, ControllerError};
use offload::{BrokerEnd, ControllerEnd, FromController};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::links::Millis;
use super::rpc::{Asks, VirtualSwitch};

/// Who of the controllers: 0 is the first, 1 the standby.
pub(super) type Who = u8;

/// Of a controller that says nothing, the broker closes the link after this time: a twentieth of what
/// it takes over a network, for histories are short.
const SILENCE: Millis = 200;

type Task = Pin<Box<dyn Future<Output = Result<(), ControllerError>>>>;

/// A link of a controller to the broker, at the broker's end.
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) end: BrokerEnd,
    /// It has begun with Standby.
    pub(super) watches: bool,
}

/// A controller.
pub(super) struct Seat {
    pub(super) who: Who,
    config: controller::Config,
    pub(super) asks: Asks,
    running: Option<Task>,
    pub(super) frozen_until: Millis,
    /// When it starts, or, killed, starts again.
    pub(super) starts_at: Option<Millis>,
    /// Links to the broker that are asked for and cannot be had yet.
    pub(super) dialling: Vec<oneshot::Sender<ControllerEnd>>,
    pub(super) link: Option<Link>,
    pub(super) switch_cut_until: Millis,
    pub(super) broker_cut_until: Millis,
    /// Until when the broker hears nothing of it.
    silent_until: Millis,
    /// When the broker has enough of that.
    pub(super) given_up_at: Option<Millis>,
}

impl Seat {
    pub(super) fn new(who: Who, config: controller::Config) -> Self {
        Seat {
            who,
            config,
            asks: Asks::default(),
            running: None,
            frozen_until: 0,
            starts_at: Some(0),
            dialling: Vec::new(),
            link: None,
            switch_cut_until: 0,
            broker_cut_until: 0,
            silent_until: 0,
            given_up_at: None,
        }
    }

    pub(super) fn start(&mut self, pipeline: &PipelineConfig) {
        let election_id = self.config.election_id.into();
        let switch = VirtualSwitch::new(self.asks.clone(), pipeline.clone(), election_id);
        self.starts_at = None;
        self.frozen_until = 0;
        let (controller, _handle) =
            Controller::of(self.config.clone(), switch).expect("a valid configuration");
        let asks = self.asks.clone();
        let run = controller.run(move || asks.link(), CancellationToken::new());
        self.running = Some(Box::pin(run));
    }

    pub(super) fn kill(&mut self) {
        self.running = None;
        self.dialling.clear();
    }

    /// The broker hears nothing of it from now to then.
    pub(super) fn silent(&mut self, now: Millis, until: Millis) {
        if self.silent_until <= now {
            self.given_up_at = Some(now + SILENCE);
        }
        self.silent_until = self.silent_until.max(until);
    }

    /// Whether the broker gives it up now.
    pub(super) fn is_given_up(&mut self, now: Millis) -> bool {
        let due = self.given_up_at.take_if(|at| *at <= now);
        due.is_some() && self.silent_until > now
    }

    /// Lets the controller do what it can do now; what it says if it ends.
    pub(super) fn poll(&mut self, now: Millis, context: &mut Context<'_>) -> Option<String> {
        if now < self.frozen_until {
            return None;
        }
        let task = self.running.as_mut()?;
        let span = tracing::info_span!(target: "controller", "of", who = self.who);
        let Poll::Ready(end) = span.in_scope(|| task.as_mut().poll(context)) else {
            return None;
        };
        self.running = None;
        Some(format!("controller {} ended: {end:?}", self.who))
    }

    /// What it says to the broker. True once when it has closed the link.
    pub(super) fn take_messages(&mut self) -> (Vec<FromController>, bool) {
        let mut messages = Vec::new();
        let Some(link) = &mut self.link else {
            return (messages, false);
        };
        loop {
            match link.end.rx.try_recv() {
                Ok(message) => messages.push(message),
                Err(mpsc::error::TryRecvError::Empty) => return (messages, false),
                Err(mpsc::error::TryRecvError::Disconnected) => return (messages, true),
            }
        }
    }

    /// Gives it a link to the broker, if it still wants one.
    pub(super) fn connect(&mut self, number: u64, dialling: oneshot::Sender<ControllerEnd>) {
        let (broker, controller) = offload::link();
        if dialling.send(controller).is_ok() {
            self.link = Some(Link {
                number,
                end: broker,
                watches: false,
            });
        }
    }

    /// What is due next.
    pub(super) fn next(&self, now: Millis) -> Option<Millis> {
        let later = [self.frozen_until, self.broker_cut_until];
        let later = later.into_iter().filter(|at| *at > now);
        later.chain(self.starts_at).chain(self.given_up_at).min()
    }
}
