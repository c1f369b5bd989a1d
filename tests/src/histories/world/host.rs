//! The broker's host: the core that runs on it, and what it keeps on its disk.

use std::collections::BTreeMap;
use std::time::Instant;

use broker::{AllowAll, Broker, Restore};

use super::World;
use crate::histories::links::Millis;

/// So many generations are enough for one life of a broker.
const GENERATIONS: u32 = 1 << 20;

pub(super) struct Host {
    pub(super) broker: Broker,
    config: broker::Config,
    /// What it keeps when the broker ends, if it keeps anything.
    disk: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// When the broker starts again, while it does not run.
    pub(super) starts_at: Option<Millis>,
    /// What brokers before have counted.
    tagged: u64,
    untagged: u64,
}

impl Host {
    pub(super) fn new(config: broker::Config, persistent: bool, at: Instant) -> Self {
        let disk = persistent.then(BTreeMap::new);
        Host {
            broker: started(&config, disk.as_ref(), at),
            config,
            disk,
            starts_at: None,
            tagged: 0,
            untagged: 0,
        }
    }

    /// PUBLISH messages that brokers saw here, with a tag and without.
    pub(super) fn counted(&self) -> (u64, u64) {
        let stats = self.broker.stats();
        let tagged = self.tagged + stats.publish_tagged;
        (tagged, self.untagged + stats.publish_untagged)
    }

    /// Stores what changed: before anything is heard of it.
    pub(super) fn store(&mut self) {
        let Some(disk) = &mut self.disk else {
            return;
        };
        let Some(changes) = self.broker.take_changes() else {
            return;
        };
        for (key, value) in changes.iter() {
            match value {
                Some(value) => disk.insert(key.to_vec(), value.to_vec()),
                None => disk.remove(key),
            };
        }
    }

    /// A broker that goes on with what is on the disk.
    fn start(&mut self, at: Instant) {
        (self.tagged, self.untagged) = self.counted();
        self.starts_at = None;
        // As the driver does: no copy that was tagged before names one of them.
        self.config.offload.first_generation += GENERATIONS;
        self.broker = started(&self.config, self.disk.as_ref(), at);
    }
}

fn started(
    config: &broker::Config,
    disk: Option<&BTreeMap<Vec<u8>, Vec<u8>>>,
    at: Instant,
) -> Broker {
    let Some(disk) = disk else {
        return Broker::new(config.clone(), at).expect("a valid configuration");
    };
    let restore = Restore::new(config.clone(), Box::new(AllowAll), at);
    let mut restore = restore.expect("a valid configuration");
    for (key, value) in disk {
        let entry = restore.entry(key, value);
        entry.expect("what this version has stored");
    }
    restore.finish()
}

impl World<'_> {
    /// The broker is killed, and starts again then.
    pub(super) fn kill_broker(&mut self, until: Millis) {
        self.host.starts_at = Some(until);
        self.restarts.push(self.round);
        if let Some(control) = &mut self.control {
            for seat in &mut control.seats {
                seat.broker_cut_until = seat.broker_cut_until.max(until);
                seat.link = None;
            }
            self.leader = None;
            self.grants_wanted = 2;
        }
    }

    /// Starts the broker if it is time.
    pub(super) fn start_broker(&mut self) {
        if self.host.starts_at.is_some_and(|at| at <= self.now) {
            let at = self.at();
            self.host.start(at);
        }
    }

    /// Whether the broker is there.
    pub(super) fn broker_runs(&self) -> bool {
        self.host.starts_at.is_none()
    }
}
