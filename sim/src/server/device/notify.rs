//! What the device tells unasked: digests and idle entries. And what goes wrong unasked: faults.

use std::sync::Arc;
use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::stream_message_response::Update as Response;
use tonic::Status;

use super::Device;
use crate::control::Control;
use crate::server::faults::{Left, Mishap};
use crate::server::pipeline::Loaded;
use crate::server::read::entry_key_to_wire;
use crate::server::roles::Access;
use crate::server::stream::StreamSender;
use crate::server::timestamp;

/// How often idle entries are looked for.
const IDLE_SCAN: Duration = Duration::from_millis(100);

/// The primaries, and what each may be told.
type Primaries = Vec<(StreamSender, Access)>;

impl Device {
    /// Sends digests and idle-timeout notifications that are due; gives the time at which to be
    /// called again at the latest (earlier after [`on_wake`](Self::on_wake) and after the
    /// switch's [`on_digest`](crate::Switch::on_digest)).
    pub fn poll(&self, now: Duration) -> Option<Duration> {
        let (mishap, next_fault) = self.faults.lock().poll(now);
        match mishap {
            Some(Mishap::EndStreams) => {
                self.end_streams(&Status::unavailable("fault on purpose: the stream ends"));
            }
            Some(Mishap::Restart(left)) => self.restart(left),
            None => {}
        }
        [self.notify(now), next_fault].into_iter().flatten().min()
    }

    fn notify(&self, now: Duration) -> Option<Duration> {
        let primaries: Primaries = {
            let sessions = self.sessions.lock();
            let primaries = sessions.arbitration.primaries().into_iter();
            primaries
                .filter_map(|(id, access)| Some((sessions.streams.get(&id)?.clone(), access)))
                .collect()
        };
        if primaries.is_empty() {
            return None;
        }
        let (loaded, control, digests) = {
            let forwarding = self.forwarding.read();
            let running = forwarding.running.as_ref()?;
            (
                Arc::clone(&running.loaded),
                running.control.clone(),
                Arc::clone(&running.digests),
            )
        };
        let digests = digests.poll(now, self.epoch(), &loaded, &control, |list| {
            for (sender, access) in &primaries {
                if access.object(&loaded.roles, list.digest_id) {
                    sender.offer(Response::Digest(list.clone()));
                }
            }
        });
        let idle = self.poll_idle(now, &loaded, &control, &primaries);
        [digests, idle].into_iter().flatten().min()
    }

    fn poll_idle(
        &self,
        now: Duration,
        loaded: &Loaded,
        control: &Control,
        primaries: &Primaries,
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
        if expired.is_empty() {
            return Some(now + IDLE_SCAN);
        }
        let entries: Vec<v1::TableEntry> = {
            let forwarding = self.forwarding.read();
            // Another pipeline may have come meanwhile: its notes are not of these entries.
            let running = forwarding.running.as_ref();
            let running = running.filter(|r| std::ptr::eq(&*r.loaded, loaded))?;
            let to_wire = |note: &crate::control::IdleNotification| {
                entry_key_to_wire(loaded, &running.notes, note.table, &note.entry)
            };
            expired.iter().filter_map(to_wire).collect()
        };
        let timestamp = timestamp(self.epoch(), now);
        for (sender, access) in primaries {
            let theirs = |entry: &&v1::TableEntry| access.object(&loaded.roles, entry.table_id);
            let table_entry: Vec<_> = entries.iter().filter(theirs).cloned().collect();
            if !table_entry.is_empty() {
                let notification = v1::IdleTimeoutNotification {
                    table_entry,
                    timestamp,
                };
                sender.offer(Response::IdleTimeoutNotification(notification));
            }
        }
        Some(now + IDLE_SCAN)
    }

    /// Restarts as a switch does that loses power: every stream ends with UNAVAILABLE, no entries
    /// are left, and nobody's election id is remembered.
    pub fn restart(&self, left: Left) {
        let streams: Vec<StreamSender> = {
            let mut sessions = self.sessions.lock();
            let mut forwarding = self.forwarding.write();
            sessions.forget(self.config.device_id);
            let before = std::mem::take(&mut *forwarding).running;
            match (left, before) {
                (Left::Pipeline, Some(before)) => {
                    forwarding.running = Some(self.again(&before.loaded));
                }
                _ => self.switch.unload(),
            }
            self.refresh_packet_path(&sessions, &forwarding);
            sessions.streams.drain().map(|(_, sender)| sender).collect()
        };
        for sender in streams {
            sender.end(Status::unavailable("the switch restarts"));
        }
        self.wake();
    }
}
