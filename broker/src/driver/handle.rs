//! Questions from other tasks.

use std::sync::Arc;
use std::time::Instant;

use super::ingress::Ingress;
use super::io::IoStats;
use super::shared::Shared;
use super::ways::Outbound;
use crate::core::{Broker, SessionInfo, Status, TopicAccount, TopicInfo};
use crate::stats::Stats;
use crate::store::StoreStatus;

/// The broker no longer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker has stopped")]
pub struct Gone;

/// Looks into a running broker.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Handle { shared }
    }

    /// What `look` finds, between two batches of datagrams. They wait meanwhile: let it be short.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Broker) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        self.shared.look(look).ok_or(Gone)
    }

    /// Changes something in the broker, between two batches of datagrams; what follows from it is sent.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Broker, Instant) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        self.shared
            .act(|core, now| change(&mut core.broker, now))
            .ok_or(Gone)
    }

    /// What the driver has counted.
    pub fn io(&self) -> IoStats {
        self.shared.ways.counters.read()
    }

    /// The store, if there is one.
    pub fn store(&self) -> Option<StoreStatus> {
        self.shared.store_status()
    }

    /// Where another transport puts in what it receives.
    pub fn ingress(&self) -> Ingress {
        Ingress::new(Arc::clone(&self.shared))
    }

    /// What is for clients behind DTLS leaves by `outbound`. The first one set stays; false for those
    /// after it.
    pub fn set_dtls(&self, outbound: Arc<dyn Outbound>) -> bool {
        self.shared.ways.set_dtls(outbound)
    }

    /// The broker as a whole.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn status(&self) -> Result<Status, Gone> {
        self.look(Broker::status).await
    }

    /// The counters.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn stats(&self) -> Result<Stats, Gone> {
        self.look(|broker| broker.stats().clone()).await
    }

    /// All sessions.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, Gone> {
        self.look(Broker::sessions).await
    }

    /// All topics.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, Gone> {
        self.look(Broker::topics).await
    }

    /// All there is to know of a topic name.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn explain(&self, name: impl Into<String>) -> Result<TopicAccount, Gone> {
        let name = name.into();
        self.look(move |broker| broker.explain(Instant::now(), &name))
            .await
    }

    /// The topic of this name.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn topic(&self, name: impl Into<String>) -> Result<Option<TopicInfo>, Gone> {
        let name = name.into();
        self.look(move |broker| broker.topic(&name)).await
    }
}
