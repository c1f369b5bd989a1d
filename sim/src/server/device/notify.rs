//! What the device tells unasked: digests and idle entries.

use std::sync::Arc;
use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::stream_message_response::Update as Response;

use super::Device;
use crate::control::Control;
use crate::server::pipeline::Loaded;
use crate::server::read::entry_key_to_wire;
use crate::server::stream::StreamSender;
use crate::server::timestamp;

/// How often idle entries are looked for.
const IDLE_SCAN: Duration = Duration::from_millis(100);

impl Device {
    /// Sends digests and idle-timeout notifications that are due; gives the time at which to be
    /// called again at the latest (earlier after [`on_wake`](Self::on_wake) and after the
    /// switch's [`on_digest`](Switch::on_digest)).
    pub fn poll(&self, now: Duration) -> Option<Duration> {
        let primary = {
            let sessions = self.sessions.lock();
            let primary = sessions.arbitration.primary()?;
            sessions.streams.get(&primary)?.clone()
        };
        let (loaded, control) = {
            let forwarding = self.forwarding.read();
            let running = forwarding.running.as_ref()?;
            (Arc::clone(&running.loaded), running.control.clone())
        };
        let digests = self
            .digests
            .poll(now, self.epoch(), &loaded, &control, |list| {
                primary.offer(Response::Digest(list));
            });
        let idle = self.poll_idle(now, &loaded, &control, &primary);
        [digests, idle].into_iter().flatten().min()
    }

    fn poll_idle(
        &self,
        now: Duration,
        loaded: &Loaded,
        control: &Control,
        primary: &StreamSender,
    ) -> Option<Duration> {
        if !loaded.tables.iter().any(|(table, _)| table.idle_timeout) {
            return None;
        }
        let mut last = self.last_idle_scan.lock();
        if now < *last + IDLE_SCAN {
            return Some(*last + IDLE_SCAN);
        }
        *last = now;
        let expired = control.expired(now);
        if !expired.is_empty() {
            let forwarding = self.forwarding.read();
            let to_wire = |note: &crate::control::IdleNotification| {
                entry_key_to_wire(loaded, &forwarding.notes, note.table, &note.entry)
            };
            let table_entry: Vec<v1::TableEntry> = expired.iter().filter_map(to_wire).collect();
            if !table_entry.is_empty() {
                let timestamp = timestamp(self.epoch(), now);
                let notification = v1::IdleTimeoutNotification {
                    table_entry,
                    timestamp,
                };
                primary.offer(Response::IdleTimeoutNotification(notification));
            }
        }
        Some(now + IDLE_SCAN)
    }
}
