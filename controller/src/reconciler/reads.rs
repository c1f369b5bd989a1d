//! What is asked of the switch beside the writes, and what becomes of the answers.

use std::time::Duration;

use offload::SessionId;

use super::primary::Primary;
use super::waiting::now;
use crate::tables::Key;
use crate::target::{Counter, Hit, Target};

/// What came of something asked of the switch.
pub(super) enum Outcome {
    /// The broker waits in vain: why.
    Unlink(&'static str),
    /// Counters that the policy asked for.
    Counted(Vec<(Key, Counter)>),
    /// What rows of publications say.
    Read(Vec<(Key, Option<Hit>)>),
    /// They could not be read.
    Unread(Vec<Key>),
    /// What they say, for the broker's question.
    Activity {
        query: u64,
        asked: Vec<(SessionId, Vec<Key>)>,
        hits: Vec<Option<Hit>>,
    },
    /// That was all.
    Done,
}

impl<T: Target> Primary<T> {
    /// Reads what the device wants to know.
    pub(super) fn read(&mut self) {
        if let Some(rows) = self.device.take_survey() {
            let target = self.target.clone();
            self.jobs.push(Box::pin(async move {
                match target.counters(rows.clone()).await {
                    Ok(counters) => Outcome::Counted(rows.into_iter().zip(counters).collect()),
                    Err(error) => {
                        tracing::warn!(%error, "counters cannot be read");
                        Outcome::Done
                    }
                }
            }));
        }
        if let Some(rows) = self.device.take_readings() {
            let target = self.target.clone();
            self.jobs.push(Box::pin(async move {
                match target.hits(rows.clone()).await {
                    Ok(hits) => Outcome::Read(rows.into_iter().zip(hits).collect()),
                    Err(error) => {
                        tracing::warn!(%error, "rows of publications cannot be read");
                        Outcome::Unread(rows)
                    }
                }
            }));
        }
    }

    /// The broker asks when sessions were heard of last.
    pub(super) fn ask_activity(&mut self, query: u64, sessions: Vec<SessionId>) {
        let asked = self.device.rows_of(sessions);
        let target = self.target.clone();
        let patience = Duration::from_millis(self.config.write_timeout_ms);
        self.jobs.push(Box::pin(async move {
            let rows: Vec<Key> = asked.iter().flat_map(|(_, rows)| rows.clone()).collect();
            let hits = if rows.is_empty() {
                Vec::new()
            } else {
                // Without an answer: the broker must not take this for silence of the clients.
                match tokio::time::timeout(patience, target.hits(rows)).await {
                    Ok(Ok(hits)) => hits,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "activity cannot be read");
                        return Outcome::Unlink("activity cannot be read");
                    }
                    Err(_) => return Outcome::Unlink("the switch does not tell activity"),
                }
            };
            Outcome::Activity { query, asked, hits }
        }));
    }

    /// Something asked was answered.
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            // The broker waits for that answer; a new link starts without questions.
            Outcome::Unlink(why) => self.unlink(why),
            Outcome::Counted(counters) => self.device.surveyed(now(), &counters),
            Outcome::Read(hits) => self.device.read(now(), &hits),
            Outcome::Unread(rows) => self.device.unread(now(), &rows),
            Outcome::Activity { query, asked, hits } => {
                let answer = self.device.activity(now(), query, &asked, &hits);
                self.say(answer);
            }
            Outcome::Done => {}
        }
    }
}
