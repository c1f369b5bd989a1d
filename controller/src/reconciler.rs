//! The task that keeps one switch in the state that the broker wants.
//!
//! ```text
//!   connect ──▶ backup ──▶ primary: load the program, read the switch back
//!      ▲          ▲  ▲           │
//!      │  stream  │  │ demoted   ▼
//!      └──────────┴──┴────  link to the broker ──▶ snapshot, deltas … (write, renew the lease)
//!                                ▲                        │
//!                                └────── link lost ◀──────┘
//! ```

mod reads;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use offload::{ControllerEnd, FromBroker, FromController};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::apply::RowError;
use crate::config::{Config, ConfigError};
use crate::device::Device;
use crate::explain::report;
use crate::latency::Latencies;
use crate::lease::{Action, Lease};
use crate::standby::Standby;
use crate::status::{Handle, Mastership, Query, Status};
use crate::target::{
    Event, GrpcSwitch, PipelineConfig, PipelineError, Schema, Switch, Target, TargetError,
};
use crate::turns::Turn;

use reads::Outcome;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(2);
const QUERIES: usize = 16;

/// Why a link to the broker could not be had.
pub type LinkError = Box<dyn std::error::Error + Send + Sync>;

/// How to get a link to the broker: in this process, or over gRPC.
pub trait Connector: Send + 'static {
    /// A new link. The controller says Hello on it.
    fn connect(&mut self) -> BoxFuture<'static, Result<ControllerEnd, LinkError>>;
}

impl<F, Fut> Connector for F
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<ControllerEnd, LinkError>> + Send + 'static,
{
    fn connect(&mut self) -> BoxFuture<'static, Result<ControllerEnd, LinkError>> {
        Box::pin(self())
    }
}

/// Why a controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The configuration cannot work.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The program is not the one that this controller is for.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The switch does not take the program.
    #[error("{switch}: {source}")]
    Refused {
        /// Where the switch is.
        switch: String,
        /// What it said.
        source: TargetError,
    },
}

/// A controller, ready to run.
#[derive(Debug)]
pub struct Controller<S> {
    config: Arc<Config>,
    switch: S,
    queries: mpsc::Receiver<Query>,
}

impl Controller<GrpcSwitch> {
    /// A controller of the switch at `config.switch`.
    ///
    /// # Errors
    /// When the configuration cannot work, or P4Info is of another program.
    pub fn new(
        config: Config,
        pipeline: PipelineConfig,
    ) -> Result<(Self, Handle), ControllerError> {
        let schema = Schema::new(pipeline)?;
        let election_id = u128::from(config.election_id);
        let switch = GrpcSwitch::new(&config.switch, config.device_id, election_id, schema)
            .with_tls(config.tls.clone());
        Self::of(config, switch)
    }

    /// Uses a channel that is there already, in place of connecting to `config.switch`.
    #[must_use]
    pub fn with_channel(mut self, channel: Channel) -> Self {
        self.switch = self.switch.with_channel(channel);
        self
    }
}

impl<S: Switch> Controller<S> {
    /// A controller of any switch.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn of(config: Config, switch: S) -> Result<(Self, Handle), ControllerError> {
        config.check()?;
        let (sender, queries) = mpsc::channel(QUERIES);
        let controller = Self {
            config: Arc::new(config),
            switch,
            queries,
        };
        Ok((controller, Handle { queries: sender }))
    }

    /// Works until `shutdown`. What is on the switch stays there; the lease runs out by itself.
    ///
    /// # Errors
    /// When the switch does not take the program: another attempt would not help.
    pub async fn run(
        mut self,
        mut connector: impl Connector,
        shutdown: CancellationToken,
    ) -> Result<(), ControllerError> {
        let running = self.keep_connected(&mut connector);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            result = running => result,
        }
    }

    async fn keep_connected(
        &mut self,
        connector: &mut impl Connector,
    ) -> Result<(), ControllerError> {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let address = self.switch.address();
            let connecting = answering(
                &mut self.queries,
                &address,
                Mastership::Disconnected("connecting".into()),
                self.switch.connect(),
            );
            let error = match connecting.await {
                Ok((target, events)) => {
                    backoff = FIRST_BACKOFF;
                    tracing::info!(switch = address, "connected to the switch");
                    let mut session = Session {
                        config: self.config.clone(),
                        address: address.clone(),
                        election_id: self.switch.election_id(),
                        target: Arc::new(target),
                        events,
                        queries: &mut self.queries,
                    };
                    match session.run(connector).await {
                        Ended::Lost(error) => error,
                        Ended::TakeOver(election_id) => {
                            tracing::warn!(switch = address, election_id, "takes over");
                            self.switch.raise(election_id);
                            continue;
                        }
                    }
                }
                Err(error) => error,
            };
            if let TargetError::Pipeline(_) = error {
                let switch = address;
                return Err(ControllerError::Refused {
                    switch,
                    source: error,
                });
            }
            tracing::warn!(switch = address, %error, retry_in = ?backoff, "no switch");
            let why = Mastership::Disconnected(error.to_string());
            let pause = tokio::time::sleep(backoff);
            answering(&mut self.queries, &address, why, pause).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }
}

/// A controller of the switch at `config.switch`, from start to `shutdown`. For a [`Handle`], use
/// [`Controller::new`].
///
/// # Errors
/// See [`Controller::new`] and [`Controller::run`].
pub async fn run(
    config: Config,
    pipeline: PipelineConfig,
    connector: impl Connector,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    let (controller, _handle) = Controller::new(config, pipeline)?;
    controller.run(connector, shutdown).await
}

/// Answers queries while `work` goes on without a switch to ask.
async fn answering<T>(
    queries: &mut mpsc::Receiver<Query>,
    address: &str,
    mastership: Mastership,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            Some(query) = queries.recv() => match query {
                Query::Status(answer) => {
                    let status = Status::disconnected(address.to_owned(), mastership.clone());
                    let _ = answer.send(status); // Whoever asked may be gone.
                }
                Query::Explain(_, answer) => {
                    let _ = answer.send(None);
                }
            },
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What ended a connection.
enum Ended {
    /// The switch did, or the network.
    Lost(TargetError),
    /// This controller is to bid with that election id.
    TakeOver(u128),
}

impl From<TargetError> for Ended {
    fn from(error: TargetError) -> Self {
        Ended::Lost(error)
    }
}

/// What a standby hears.
enum Heard {
    Switch(Option<Event>),
    Broker(Option<FromBroker>),
    Linked(Result<ControllerEnd, LinkError>),
    Due,
}

/// The time from one connection to its loss.
struct Session<'a, T> {
    config: Arc<Config>,
    address: String,
    election_id: u128,
    target: Arc<T>,
    events: mpsc::Receiver<Event>,
    queries: &'a mut mpsc::Receiver<Query>,
}

fn stream_ended() -> TargetError {
    TargetError::Lost("its stream has ended".into())
}

impl<T: Target> Session<'_, T> {
    /// Ends with what ended the connection.
    async fn run(&mut self, connector: &mut impl Connector) -> Ended {
        let mut standby = Standby::new(&self.config);
        loop {
            if let Err(ended) = self.wait_until_primary(&mut standby, connector).await {
                return ended;
            }
            tracing::info!(
                switch = self.address,
                election_id = self.election_id,
                "primary"
            );
            let work = self.start();
            let device = match work.await {
                Ok(device) => device,
                Err(TargetError::NotPrimary(why)) => {
                    tracing::warn!(switch = self.address, why, "not primary after all");
                    continue;
                }
                Err(error) => return error.into(),
            };
            let mut primary = Primary {
                config: self.config.clone(),
                address: self.address.clone(),
                target: self.target.clone(),
                latencies: Latencies::default(),
                lease: Lease::new(Duration::from_millis(self.config.lease_patience_ms)),
                device,
                link: None,
                writing: None,
                jobs: FuturesUnordered::new(),
            };
            match primary.run(&mut self.events, self.queries, connector).await {
                Ok((highest, vacant)) => {
                    tracing::warn!(switch = self.address, "another controller took over");
                    standby = Standby::new(&self.config);
                    standby.backup(now(), highest, vacant);
                }
                Err(error) => return error.into(),
            }
        }
    }

    async fn wait_until_primary(
        &mut self,
        standby: &mut Standby,
        connector: &mut impl Connector,
    ) -> Result<(), Ended> {
        // Tells who leads: see `Standby`.
        let mut watch: Option<ControllerEnd> = None;
        let mut linking = None;
        let mut pause = Duration::ZERO;
        loop {
            if standby.watches() && watch.is_none() && linking.is_none() {
                let (wait, connect) = (pause, connector.connect());
                pause = (pause * 2).clamp(FIRST_BACKOFF, LAST_BACKOFF);
                linking = Some(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    connect.await
                }));
            }
            let deadline = standby.next_deadline();
            let hearing = async {
                tokio::select! {
                    biased;
                    event = self.events.recv() => Heard::Switch(event),
                    told = receive(&mut watch) => Heard::Broker(told),
                    link = some(&mut linking) => {
                        linking = None;
                        Heard::Linked(link)
                    }
                    () = until(deadline) => Heard::Due,
                }
            };
            let why = standby.describe(self.election_id);
            let mastership = Mastership::Backup(why);
            let heard = answering(self.queries, &self.address, mastership, hearing).await;
            match heard {
                Heard::Switch(Some(Event::Primary)) => return Ok(()),
                Heard::Switch(Some(Event::Backup { highest, vacant })) => {
                    standby.backup(now(), highest, vacant);
                    let why = standby.describe(self.election_id);
                    tracing::info!(switch = self.address, why, "backup");
                }
                Heard::Switch(Some(_)) => {}
                Heard::Switch(None) => return Err(stream_ended().into()),
                Heard::Broker(Some(FromBroker::Led(led))) => standby.led(now(), Some(led)),
                Heard::Broker(Some(_)) => {}
                Heard::Broker(None) => {
                    watch = None;
                    standby.led(now(), None);
                }
                Heard::Linked(Ok(link)) => {
                    pause = FIRST_BACKOFF;
                    let controller = self.config.name.clone();
                    if link.tx.send(FromController::Standby { controller }).is_ok() {
                        watch = Some(link);
                    }
                }
                Heard::Linked(Err(error)) => {
                    let error = crate::target::error_chain(&*error);
                    if standby.unlinked(error.clone()) {
                        tracing::warn!(%error, "a standby has no link to the broker; it tries again");
                    }
                }
                Heard::Due => {}
            }
            if let Some(election_id) = standby.due(now()) {
                return Err(Ended::TakeOver(election_id));
            }
        }
    }

    /// Loads the program and reads back what the switch holds.
    async fn start(&mut self) -> Result<Device, TargetError> {
        let mastership = Mastership::Primary;
        let target = self.target.clone();
        let reading = async {
            let loaded = target.prepare().await?;
            if loaded {
                tracing::info!("the program is loaded");
            }
            target.read().await
        };
        let rows = answering(self.queries, &self.address, mastership, reading).await?;
        tracing::info!(rows = rows.len(), "the switch is read back");
        let mut device = Device::new(self.config.clone(), self.target.sizes());
        device.set_election_id(self.election_id);
        device.adopt(rows);
        Ok(device)
    }
}

/// What came of a batch.
type Written = Result<Vec<Result<(), RowError>>, TargetError>;
type Writing = Pin<Box<dyn Future<Output = Written> + Send>>;

/// What a primary hears again and again.
enum News {
    Switch(Option<Event>),
    Written(Written),
    Broker(Option<FromBroker>),
}

/// The time as primary.
struct Primary<T> {
    config: Arc<Config>,
    address: String,
    target: Arc<T>,
    device: Device,
    lease: Lease,
    latencies: Latencies,
    link: Option<ControllerEnd>,
    writing: Option<Writing>,
    /// Reads for the broker and for queries.
    jobs: FuturesUnordered<BoxFuture<'static, Outcome>>,
}

impl<T: Target> Primary<T> {
    /// Ends without error when another controller takes over: what the switch says of that one.
    async fn run(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        queries: &mut mpsc::Receiver<Query>,
        connector: &mut impl Connector,
    ) -> Result<(Option<u128>, bool), TargetError> {
        let mut linking = Some(connector.connect());
        let mut backoff = FIRST_BACKOFF;
        let mut turn = Turn::default();
        loop {
            self.pump().await?;
            if self.link.is_none() && linking.is_none() {
                let (pause, connect) = (backoff, connector.connect());
                linking = Some(Box::pin(async move {
                    tokio::time::sleep(pause).await;
                    connect.await
                }));
            }
            let deadline = self.next_deadline();
            let sleep = until(deadline);
            let mut event = |context: &mut Context<'_>| events.poll_recv(context).map(News::Switch);
            let mut written = |context: &mut Context<'_>| match &mut self.writing {
                Some(writing) => writing.as_mut().poll(context).map(News::Written),
                None => Poll::Pending,
            };
            let mut message = |context: &mut Context<'_>| match &mut self.link {
                Some(link) => link.rx.poll_recv(context).map(News::Broker),
                None => Poll::Pending,
            };
            let news = turn.next([&mut event, &mut written, &mut message]);
            tokio::select! {
                // Not by chance; what comes first of what comes seldom, and what is due last, for
                // `pump` looks at that each time.
                biased;
                link = some(&mut linking) => {
                    linking = None;
                    match link {
                        Ok(link) => {
                            tracing::info!("linked to the broker");
                            backoff = FIRST_BACKOFF;
                            self.link = Some(link);
                            self.device.link_opened();
                        }
                        Err(error) => {
                            let error = crate::target::error_chain(&*error);
                            tracing::warn!(%error, retry_in = ?backoff, "no link to the broker");
                            backoff = (backoff * 2).min(LAST_BACKOFF);
                        }
                    }
                }
                Some(query) = queries.recv() => self.query(query),
                Some(outcome) = self.jobs.next(), if !self.jobs.is_empty() => {
                    self.outcome(outcome);
                }
                news = news => match news {
                    News::Switch(None) => return Err(stream_ended()),
                    News::Switch(Some(Event::Backup { highest, vacant })) => {
                        return Ok((highest, vacant));
                    }
                    News::Switch(Some(event)) => self.event(event).await?,
                    News::Written(results) => {
                        self.writing = None;
                        self.device.batch_done(now(), results?);
                    }
                    News::Broker(Some(message)) => self.message(message).await?,
                    News::Broker(None) => self.unlink("the broker closed the link"),
                },
                () = sleep => {}
            }
        }
    }

    /// Starts whatever can be started now.
    async fn pump(&mut self) -> Result<(), TargetError> {
        let at = now();
        if self.writing.is_none()
            && let Some(batch) = self.device.next_batch(at)
        {
            let target = self.target.clone();
            let patience = Duration::from_millis(self.config.write_timeout_ms);
            self.writing = Some(Box::pin(async move {
                tracing::debug!(updates = batch.len(), "write");
                match tokio::time::timeout(patience, target.write(batch)).await {
                    Ok(results) => results,
                    Err(_) => Err(TargetError::Lost(format!(
                        "a write was not answered within {patience:?}"
                    ))),
                }
            }));
        }
        for message in self.device.take_messages() {
            self.say(message);
        }
        self.read();
        let may_renew = self.may_renew(at);
        if let Some(action) = self.lease.poll(at, may_renew) {
            self.act(action).await?;
        }
        Ok(())
    }

    fn may_renew(&self, at: Instant) -> bool {
        self.link.is_some() && self.device.may_renew(at)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let device = match self.writing {
            Some(_) => None,
            None => self.device.next_deadline(),
        };
        // While it may not be renewed, only an event can change that.
        let lease = if self.may_renew(now()) {
            self.lease.next_deadline()
        } else {
            None
        };
        device.into_iter().chain(lease).min()
    }

    async fn act(&mut self, action: Action) -> Result<(), TargetError> {
        match action {
            Action::PacketOut {
                deadline_us,
                request,
            } => self.target.send_lease(deadline_us, request).await,
            Action::Request { request } => {
                self.say(FromController::RequestLease { request });
                Ok(())
            }
        }
    }

    fn say(&mut self, message: FromController) {
        if let FromController::Installed { revision } = message {
            self.latencies.installed(now(), revision);
        }
        let sent = self.link.as_ref().map(|link| link.tx.send(message));
        if let Some(Err(_)) = sent {
            self.unlink("the broker does not listen any more");
        }
    }

    fn unlink(&mut self, why: &str) {
        tracing::warn!(why, "the link to the broker is lost");
        self.link = None;
        self.lease.unlinked();
        self.latencies.unlinked();
        self.device.link_lost();
    }

    async fn event(&mut self, event: Event) -> Result<(), TargetError> {
        match event {
            Event::Learned(learned) => self.device.learned(learned),
            Event::StationsIdle(stations) => {
                for station in stations {
                    self.device.station_idle(station);
                }
            }
            Event::Echo {
                request,
                timestamp_us,
            } => {
                if let Some(action) = self.lease.echoed(now(), request, timestamp_us) {
                    self.act(action).await?;
                }
            }
            Event::Primary | Event::Backup { .. } => {}
        }
        Ok(())
    }

    async fn message(&mut self, message: FromBroker) -> Result<(), TargetError> {
        let at = now();
        match message {
            FromBroker::Snapshot(intent) => {
                self.latencies.wanted(at, intent.revision);
                self.device.snapshot(at, intent);
            }
            FromBroker::Delta(delta) => {
                self.latencies.wanted(at, delta.revision);
                if let Err(error) = self.device.delta(at, &delta) {
                    tracing::error!(%error, "a delta does not fit; a new link brings a snapshot");
                    self.unlink("a delta did not fit");
                }
            }
            FromBroker::Grant { request, lease } => {
                let may_renew = self.may_renew(at);
                if let Some(action) = self.lease.granted(at, request, lease, may_renew) {
                    self.act(action).await?;
                }
            }
            FromBroker::Rates {
                topics,
                publications,
                ..
            } => {
                self.device.rates(at, &topics);
                self.device.publishers(at, &publications);
            }
            FromBroker::AskActivity { query, sessions } => self.ask_activity(query, sessions),
            FromBroker::Led(_) => {} // Only for standbys.
        }
        Ok(())
    }

    fn query(&mut self, query: Query) {
        let target = self.target.clone();
        match query {
            Query::Status(answer) => {
                let lease = self.lease.remaining(now());
                let address = self.address.clone();
                let mut status = Status::of(&self.device, address, self.link.is_some(), lease);
                status.install = self.latencies.summary();
                let waiting = self.latencies.oldest(now());
                status.waiting_ms = waiting.and_then(|waiting| waiting.as_millis().try_into().ok());
                let sizes = target.sizes().into_iter();
                status.table_sizes = sizes
                    .map(|(table, size)| (table.to_owned(), size))
                    .collect();
                self.jobs.push(Box::pin(async move {
                    match target.paths().await {
                        Ok(paths) => status.paths = paths,
                        Err(error) => tracing::warn!(%error, "path counters cannot be read"),
                    }
                    let _ = answer.send(status); // Whoever asked may be gone.
                    Outcome::Done
                }));
            }
            Query::Explain(name, answer) => {
                let Some(report) = report(&self.device, &name) else {
                    let _ = answer.send(None);
                    return;
                };
                self.jobs.push(Box::pin(async move {
                    let counters = target.counters(report.rows()).await.unwrap_or_default();
                    let _ = answer.send(Some(report.with(&counters)));
                    Outcome::Done
                }));
            }
        }
    }
}

/// Waits for a moment that may never come.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The result of a future that may not be there.
async fn some<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The next message of a link that may not be there.
async fn receive(link: &mut Option<ControllerEnd>) -> Option<FromBroker> {
    match link {
        Some(link) => link.rx.recv().await,
        None => std::future::pending().await,
    }
}
