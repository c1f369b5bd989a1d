//! Waiting for what may not be there.

use std::future::Future;
use std::time::Instant;

use offload::{ControllerEnd, FromBroker};
use tokio::sync::mpsc;

use crate::status::{Mastership, Query, Status};

/// Answers queries while `work` goes on without a switch to ask.
pub(super) async fn answering<T>(
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

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits for a moment that may never come.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The result of a future that may not be there.
pub(super) async fn some<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The next message of a link that may not be there.
pub(super) async fn receive(link: &mut Option<ControllerEnd>) -> Option<FromBroker> {
    match link {
        Some(link) => link.rx.recv().await,
        None => std::future::pending().await,
    }
}
