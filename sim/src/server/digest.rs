//! Digests on their way to the controller: lists, duplicates, acknowledgements (P4Runtime
//! specification, "DigestEntry").

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use p4runtime::v1;

use crate::control::DigestMessage;

/// Messages of one list when the controller sets no bound (`max_list_size` 0).
const DEFAULT_LIST_SIZE: usize = 256;
/// Messages remembered as sent and not acknowledged, per digest; beyond it the oldest list is
/// forgotten, so that a controller that never acknowledges costs bounded memory.
const MAX_CACHED: usize = 65_536;

/// One digest of the loaded pipeline, as the controller configured it.
#[derive(Debug)]
pub(super) struct DigestChannel {
    pub(super) config: v1::digest_entry::Config,
    buffer: Vec<DigestMessage>,
    buffered: HashSet<DigestMessage>,
    first_at: Duration,
    /// Lists sent and not acknowledged, oldest first.
    sent: Vec<SentList>,
    unacknowledged: HashMap<DigestMessage, u64>,
}

#[derive(Debug)]
struct SentList {
    id: u64,
    at: Duration,
    messages: Vec<DigestMessage>,
}

impl DigestChannel {
    pub(super) fn new(config: v1::digest_entry::Config) -> Self {
        DigestChannel {
            config,
            buffer: Vec::new(),
            buffered: HashSet::new(),
            first_at: Duration::ZERO,
            sent: Vec::new(),
            unacknowledged: HashMap::new(),
        }
    }

    /// Messages of one list.
    pub(super) fn list_size(&self) -> usize {
        match usize::try_from(self.config.max_list_size) {
            Ok(0) | Err(_) => DEFAULT_LIST_SIZE,
            Ok(size) => size,
        }
    }

    /// Takes a message from the data plane unless it is a duplicate of one that waits or was sent
    /// and not acknowledged.
    pub(super) fn push(&mut self, now: Duration, message: DigestMessage) {
        if self.unacknowledged.contains_key(&message) || !self.buffered.insert(message.clone()) {
            return;
        }
        if self.buffer.is_empty() {
            self.first_at = now;
        }
        self.buffer.push(message);
    }

    /// Whether a list is to be sent now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        !self.buffer.is_empty()
            && (self.buffer.len() >= self.list_size()
                || now >= self.first_at + nanos(self.config.max_timeout_ns))
    }

    /// When [`is_due`](Self::is_due) will be true without another message.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (!self.buffer.is_empty()).then(|| self.first_at + nanos(self.config.max_timeout_ns))
    }

    /// Takes the list that is due, remembering it under `id` until it is acknowledged.
    pub(super) fn take_list(&mut self, now: Duration, id: u64) -> Vec<DigestMessage> {
        let rest = self
            .buffer
            .split_off(self.buffer.len().min(self.list_size()));
        let messages = std::mem::replace(&mut self.buffer, rest);
        for message in &messages {
            self.buffered.remove(message);
        }
        self.first_at = now;
        if self.config.ack_timeout_ns > 0 {
            self.unacknowledged
                .extend(messages.iter().map(|message| (message.clone(), id)));
            self.sent.push(SentList {
                id,
                at: now,
                messages: messages.clone(),
            });
            while self.unacknowledged.len() > MAX_CACHED && !self.sent.is_empty() {
                let oldest = self.sent.remove(0);
                self.forget(&oldest);
            }
        }
        messages
    }

    /// Handles an acknowledgement; one for a list that is not known means nothing.
    pub(super) fn acknowledge(&mut self, id: u64) {
        if let Some(position) = self.sent.iter().position(|list| list.id == id) {
            let list = self.sent.remove(position);
            self.forget(&list);
        }
    }

    /// Forgets lists that were not acknowledged in time: their messages may come again.
    pub(super) fn expire(&mut self, now: Duration) {
        let timeout = nanos(self.config.ack_timeout_ns);
        let old = self
            .sent
            .iter()
            .take_while(|list| now >= list.at + timeout)
            .count();
        for list in self.sent.drain(..old).collect::<Vec<_>>() {
            self.forget(&list);
        }
    }

    /// Forgets what was sent and what waits: another controller knows nothing of it.
    pub(super) fn reset(&mut self) {
        *self = DigestChannel::new(self.config);
    }

    fn forget(&mut self, list: &SentList) {
        for message in &list.messages {
            if self.unacknowledged.get(message) == Some(&list.id) {
                self.unacknowledged.remove(message);
            }
        }
    }
}

/// A duration of the wire; negative ones are zero.
fn nanos(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn channel(max_timeout: Duration, max_list_size: i32, ack_timeout: Duration) -> DigestChannel {
        DigestChannel::new(v1::digest_entry::Config {
            max_timeout_ns: max_timeout.as_nanos() as i64,
            max_list_size,
            ack_timeout_ns: ack_timeout.as_nanos() as i64,
        })
    }

    fn message(n: u8) -> DigestMessage {
        DigestMessage {
            fields: vec![vec![n]],
        }
    }

    #[test]
    fn a_list_is_due_when_it_is_full_or_old_enough() {
        let mut digests = channel(10 * MS, 2, MS);
        digests.push(MS, message(1));
        assert!(!digests.is_due(10 * MS));
        assert_eq!(digests.deadline(), Some(11 * MS));
        assert!(digests.is_due(11 * MS));
        digests.push(2 * MS, message(2));
        assert!(digests.is_due(2 * MS));
        assert_eq!(digests.take_list(2 * MS, 1), [message(1), message(2)]);
        assert_eq!(digests.deadline(), None);
    }

    #[test]
    fn duplicates_are_left_out_until_acknowledged() {
        let mut digests = channel(Duration::ZERO, 1, 100 * MS);
        digests.push(MS, message(1));
        digests.push(MS, message(1));
        assert_eq!(digests.take_list(MS, 7), [message(1)]);
        assert!(!digests.is_due(MS));
        digests.push(2 * MS, message(1));
        assert!(!digests.is_due(2 * MS));
        digests.acknowledge(7);
        digests.push(3 * MS, message(1));
        assert!(digests.is_due(3 * MS));
    }

    #[test]
    fn an_unacknowledged_message_may_come_again_after_the_timeout() {
        let mut digests = channel(Duration::ZERO, 1, 10 * MS);
        digests.push(MS, message(1));
        assert_eq!(digests.take_list(MS, 1).len(), 1);
        digests.expire(10 * MS);
        digests.push(10 * MS, message(1));
        assert!(!digests.is_due(10 * MS));
        digests.expire(11 * MS);
        digests.push(11 * MS, message(1));
        assert!(digests.is_due(11 * MS));
    }

    #[test]
    fn without_an_ack_timeout_nothing_is_remembered() {
        let mut digests = channel(Duration::ZERO, 1, Duration::ZERO);
        for at in 1..3 {
            digests.push(at * MS, message(1));
            assert_eq!(digests.take_list(at * MS, u64::from(at)), [message(1)]);
        }
    }
}
