//! Questions from other tasks.

use tokio::sync::{mpsc, oneshot};

use crate::core::{Broker, SessionInfo, Status, TopicInfo};
use crate::stats::Stats;

/// Something to look up in the broker, between two datagrams.
pub(super) type Question = Box<dyn FnOnce(&Broker) + Send>;

/// The broker no longer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker has stopped")]
pub struct Gone;

/// Looks into a running broker.
#[derive(Clone, Debug)]
pub struct Handle {
    questions: mpsc::Sender<Question>,
}

impl Handle {
    pub(super) fn new(questions: mpsc::Sender<Question>) -> Self {
        Handle { questions }
    }

    /// What `look` finds. It runs in the broker's task: let it be short.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Broker) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (answer, found) = oneshot::channel();
        let question: Question = Box::new(move |broker| {
            // Whoever asked may have gone meanwhile.
            let _ = answer.send(look(broker));
        });
        self.questions.send(question).await.map_err(|_| Gone)?;
        found.await.map_err(|_| Gone)
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

    /// The topic of this name.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn topic(&self, name: impl Into<String>) -> Result<Option<TopicInfo>, Gone> {
        let name = name.into();
        self.look(move |broker| broker.topic(&name)).await
    }
}
