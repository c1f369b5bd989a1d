//! The time as primary: what the broker wants is written, and the lease renewed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use offload::{ControllerEnd, FromBroker, FromController};
use tokio::sync::mpsc;

use super::reads::Outcome;
use super::session::stream_ended;
use super::waiting::{now, some, until};
use super::{Connector, FIRST_BACKOFF, LAST_BACKOFF};
use crate::apply::RowError;
use crate::config::Config;
use crate::device::Device;
use crate::latency::Latencies;
use crate::lease::{Action, Late, Lease};
use crate::status::Query;
use crate::target::{Event, Target, TargetError};
use crate::turns::Turn;

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
pub(super) struct Primary<T> {
    pub(super) config: Arc<Config>,
    pub(super) address: String,
    pub(super) target: Arc<T>,
    pub(super) device: Device,
    pub(super) lease: Lease,
    /// What the log has said of it.
    lease_runs: bool,
    pub(super) latencies: Latencies,
    pub(super) link: Option<ControllerEnd>,
    /// Before the next link is opened.
    backoff: Duration,
    /// The broker has sent a snapshot.
    has_led: bool,
    /// Answers are taken in the order of the batches.
    writing: FuturesOrdered<Writing>,
    /// Reads for the broker and for queries.
    pub(super) jobs: FuturesUnordered<BoxFuture<'static, Outcome>>,
}

/// Messages of the broker that are taken in a row. What they ask for together is planned and written
/// once.
const MESSAGES: usize = 1024;

impl<T: Target> Primary<T> {
    pub(super) fn new(
        config: Arc<Config>,
        address: String,
        target: Arc<T>,
        device: Device,
    ) -> Self {
        Primary {
            lease: Lease::new(Duration::from_millis(config.lease_patience_ms)),
            lease_runs: false,
            config,
            address,
            target,
            latencies: Latencies::default(),
            device,
            link: None,
            backoff: FIRST_BACKOFF,
            has_led: false,
            writing: FuturesOrdered::new(),
            jobs: FuturesUnordered::new(),
        }
    }

    /// Ends without error when another controller takes over: what the switch says of that one.
    pub(super) async fn run(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        queries: &mut mpsc::Receiver<Query>,
        connector: &mut impl Connector,
    ) -> Result<(Option<u128>, bool), TargetError> {
        let mut linking = Some(connector.connect());
        let mut turn = Turn::default();
        loop {
            self.pump().await?;
            if self.link.is_none() && linking.is_none() {
                let (pause, connect) = (self.backoff, connector.connect());
                // Until there is a snapshot: what listens there may be no broker.
                self.backoff = (pause * 2).min(LAST_BACKOFF);
                linking = Some(Box::pin(async move {
                    tokio::time::sleep(pause).await;
                    connect.await
                }));
            }
            let deadline = self.next_deadline();
            let sleep = until(deadline);
            let mut event = |context: &mut Context<'_>| events.poll_recv(context).map(News::Switch);
            let mut written =
                |context: &mut Context<'_>| match self.writing.poll_next_unpin(context) {
                    Poll::Ready(Some(results)) => Poll::Ready(News::Written(results)),
                    // Nothing is under way.
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
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
                            self.link = Some(link);
                            self.device.link_opened();
                        }
                        Err(error) => {
                            let error = crate::target::error_chain(&*error);
                            tracing::warn!(%error, retry_in = ?self.backoff, "no link to the broker");
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
                    News::Written(results) => self.device.batch_done(now(), results?),
                    News::Broker(Some(message)) => self.messages(message).await?,
                    News::Broker(None) => self.unlink("the broker closed the link"),
                },
                () = sleep => {}
            }
        }
    }

    /// Starts whatever can be started now.
    async fn pump(&mut self) -> Result<(), TargetError> {
        let at = now();
        while let Some(batch) = self.device.next_batch(at) {
            let target = self.target.clone();
            let patience = Duration::from_millis(self.config.write_timeout_ms);
            self.writing.push_back(Box::pin(async move {
                tracing::debug!(updates = batch.len(), "write");
                tracing::trace!(?batch);
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
        self.tell_lapse();
        Ok(())
    }

    /// Whether the broker took it for the one that leads.
    pub(super) fn has_led(&self) -> bool {
        self.has_led
    }

    fn may_renew(&self, at: Instant) -> bool {
        self.link.is_some() && self.device.may_renew(at)
    }

    /// What keeps the lease from being renewed, if it is not.
    pub(super) fn lease_why(&self) -> Option<String> {
        let patience = self.config.lease_patience_ms;
        if self.link.is_none() {
            return Some("there is no link to the broker".into());
        }
        if !self.may_renew(now()) {
            return Some("the switch does not hold yet what the broker wants".into());
        }
        self.lease.late().map(|late| match late {
            Late::Switch => format!("the switch did not echo a packet-out within {patience} ms"),
            Late::Broker => format!("the broker did not answer within {patience} ms"),
        })
    }

    /// Says in the log when the lease has run out and when it runs again.
    fn tell_lapse(&mut self) {
        let runs = !self.lease.remaining(now()).is_zero();
        if runs == self.lease_runs {
            return;
        }
        self.lease_runs = runs;
        match (runs, self.link.is_some()) {
            (true, _) => tracing::info!("the lease runs"),
            // Else the log has said that the link is lost.
            (false, true) => {
                let why = self.lease_why();
                tracing::warn!(why, "the lease has run out; the broker serves");
            }
            (false, false) => {}
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let device = match self.writing.is_empty() {
            true => self.device.next_deadline(),
            false => None,
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

    pub(super) fn say(&mut self, message: FromController) {
        if let FromController::Installed { revision } = message {
            self.latencies.installed(now(), revision);
        }
        let sent = self.link.as_ref().map(|link| link.tx.send(message));
        if let Some(Err(_)) = sent {
            self.unlink("the broker does not listen any more");
        }
    }

    pub(super) fn unlink(&mut self, why: &str) {
        tracing::warn!(why, "the link to the broker is lost");
        self.link = None;
        self.lease.unlinked();
        self.latencies.unlinked();
        self.device.link_lost();
    }

    async fn event(&mut self, event: Event) -> Result<(), TargetError> {
        match event {
            Event::Learned(learned) => {
                tracing::trace!(?learned);
                self.device.learned(learned);
            }
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

    /// This message, and what else is there already.
    async fn messages(&mut self, first: FromBroker) -> Result<(), TargetError> {
        self.message(first).await?;
        for _ in 1..MESSAGES {
            // The link may be lost on the way, and its end is told by the next `recv`.
            let next = self.link.as_mut().map(|link| link.rx.try_recv());
            let Some(Ok(message)) = next else {
                break;
            };
            self.message(message).await?;
        }
        Ok(())
    }

    async fn message(&mut self, message: FromBroker) -> Result<(), TargetError> {
        let at = now();
        match message {
            FromBroker::Snapshot(intent) => {
                self.backoff = FIRST_BACKOFF;
                self.has_led = true;
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
}
