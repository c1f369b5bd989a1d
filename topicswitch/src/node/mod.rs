//! The parts that a process is put together from. `up`, `demo` and the commands that run one part
//! alone all use these, so that all-in-one and spread-out are the same code.

mod broker;
mod controller;
mod dtls;
mod embedded;
mod host;
mod program;
mod reload;
mod switch;

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::broker::BrokerNode;
pub use self::controller::{Broker, Switch, run_controller};
pub use self::dtls::DtlsNode;
pub use self::embedded::EmbeddedSwitch;
pub use self::host::HostSocket;
pub use self::program::Program;
pub use self::reload::{Hangup, reload_on_hangup};
pub use self::switch::SwitchNode;

/// The long-running parts of one process: if one of them fails, all stop.
#[derive(Clone)]
pub struct Tasks {
    shutdown: CancellationToken,
    tracker: TaskTracker,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Tasks {
    /// Tasks that stop when `shutdown` is cancelled.
    pub fn new(shutdown: CancellationToken) -> Self {
        Tasks {
            shutdown,
            tracker: TaskTracker::new(),
            failure: Arc::default(),
        }
    }

    /// Cancelled when the process is to stop.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Runs a part. When it fails, the whole process stops and says why.
    pub fn spawn(
        &self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let (shutdown, failure) = (self.shutdown.clone(), self.failure.clone());
        // In a task of its own, so that a panic is a failure too and leaves no half-dead process.
        let part = tokio::spawn(part);
        self.tracker.spawn(async move {
            let ended = part.await.unwrap_or_else(|panic| Err(panic.into()));
            if let Err(error) = ended {
                let mut first = failure
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                first.get_or_insert(error.context(name));
            }
            // A part that ends early, even in peace, leaves nothing to do for the others.
            shutdown.cancel();
        });
    }

    /// Waits until the process is to stop and all parts have stopped.
    ///
    /// # Errors
    /// The first part's error.
    pub async fn finish(self) -> anyhow::Result<()> {
        self.shutdown.cancelled().await;
        self.tracker.close();
        self.tracker.wait().await;
        let mut failure = self
            .failure
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_stops_all() {
        let tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("weak", async { panic!("on purpose") });
        let error = tasks.finish().await.unwrap_err();
        assert!(format!("{error:#}").contains("panicked"), "{error:#}");
    }

    #[tokio::test]
    async fn one_part_that_fails_stops_all_and_is_named() {
        let tasks = Tasks::new(CancellationToken::new());
        let other = tasks.shutdown();
        tasks.spawn("patient", async move {
            other.cancelled().await;
            Ok(())
        });
        tasks.spawn("weak", async { anyhow::bail!("no more") });
        let error = tasks.finish().await.unwrap_err();
        assert_eq!(format!("{error:#}"), "weak: no more");
    }
}
