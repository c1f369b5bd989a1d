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

mod primary;
mod queries;
mod reads;
mod session;
mod waiting;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use offload::ControllerEnd;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::config::{Config, ConfigError};
use crate::standby::Standby;
use crate::status::{Handle, Mastership, Query};
use crate::target::{GrpcSwitch, PipelineConfig, PipelineError, Schema, Switch, TargetError};
use session::{Ended, Session};
use waiting::answering;

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
        let mut standby = Standby::new(&self.config);
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
                        standby: &mut standby,
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
