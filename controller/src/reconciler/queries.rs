//! What people ask: the status, and how one topic is served.

use super::primary::Primary;
use super::reads::Outcome;
use super::waiting::now;
use crate::explain::report;
use crate::status::{Query, Status};
use crate::target::Target;

impl<T: Target> Primary<T> {
    pub(super) fn query(&mut self, query: Query) {
        let target = self.target.clone();
        match query {
            Query::Status(answer) => {
                let lease = self.lease.remaining(now());
                let address = self.address.clone();
                let mut status = Status::of(&self.device, address, self.link.is_some(), lease);
                status.lease_why = self.lease_why();
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
