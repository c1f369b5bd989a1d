//! What there is to see of a running controller.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use offload::{Refusal, RefusedItem};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::cache::CacheStatus;
use crate::device::Device;
use crate::explain::TopicReport;
use crate::latency::InstallLatency;

/// Refusals that a status lists one by one.
const REFUSED_SHOWN: usize = 100;

/// How the controller stands with its switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Mastership {
    /// There is no connection: why.
    Disconnected(String),
    /// Another controller is primary.
    Backup(String),
    /// This one is.
    Primary,
}

/// Where a client lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointStatus {
    /// Its IP address.
    pub address: IpAddr,
    /// Its port of the switch.
    pub port: u16,
    /// The VLAN whose tag its frames carry; 0 for none.
    pub vid: u16,
    /// Its Ethernet address, or its router's.
    pub mac: String,
}

/// The whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Where the switch is.
    pub switch: String,
    /// How the controller stands with it.
    pub mastership: Mastership,
    /// Whether there is a link to the broker.
    pub broker_linked: bool,
    /// Revision of the broker's intent.
    pub revision_wanted: Option<u64>,
    /// Revision that the switch holds.
    pub revision_installed: Option<u64>,
    /// For how long the switch still offloads.
    pub lease_remaining_ms: u64,
    /// What keeps the lease from being renewed.
    pub lease_why: Option<String>,
    /// Rows by table.
    pub tables: BTreeMap<String, usize>,
    /// Topics on the switch.
    pub topics_offloaded: usize,
    /// Topics in the intent.
    pub topics_wanted: usize,
    /// The port behind which the broker lives.
    pub broker_port: Option<u16>,
    /// Known clients.
    pub endpoints: Vec<EndpointStatus>,
    /// Rows that each table has room for, where known.
    pub table_sizes: BTreeMap<String, usize>,
    /// How much stays in software, by reason.
    pub refused_by_reason: BTreeMap<String, usize>,
    /// What stays in software, and why; the first hundred.
    pub refused: Vec<(String, String)>,
    /// Which topics deserve room.
    pub policy: String,
    /// How publications come by their rows.
    pub publications: CacheStatus,
    /// Its election id, as primary or as it bids.
    pub election_id: u128,
    /// From a change of the intent until the switch holds it.
    pub install: InstallLatency,
    /// For how long the oldest change waits for the switch.
    pub waiting_ms: Option<u64>,
    /// Packets to the broker's addresses by what became of them; empty when not to be read.
    pub paths: BTreeMap<String, u64>,
}

impl Status {
    pub(crate) fn disconnected(switch: String, mastership: Mastership) -> Self {
        Self {
            switch,
            mastership,
            broker_linked: false,
            revision_wanted: None,
            revision_installed: None,
            lease_remaining_ms: 0,
            lease_why: None,
            tables: BTreeMap::new(),
            topics_offloaded: 0,
            topics_wanted: 0,
            broker_port: None,
            endpoints: Vec::new(),
            table_sizes: BTreeMap::new(),
            refused_by_reason: BTreeMap::new(),
            refused: Vec::new(),
            policy: String::new(),
            publications: CacheStatus::default(),
            election_id: 0,
            install: InstallLatency::default(),
            waiting_ms: None,
            paths: BTreeMap::new(),
        }
    }

    /// All but the path counters.
    pub(crate) fn of(device: &Device, switch: String, linked: bool, lease: Duration) -> Self {
        let used = device.installed().used();
        let mut endpoints: Vec<EndpointStatus> = device
            .learning()
            .endpoints()
            .map(|(address, endpoint)| EndpointStatus {
                address: *address,
                port: endpoint.port,
                vid: endpoint.vid,
                mac: endpoint.mac.to_string(),
            })
            .collect();
        endpoints.sort_by_key(|endpoint| endpoint.address);
        let mut refused_by_reason = BTreeMap::new();
        for (_, why) in device.refusals() {
            *refused_by_reason.entry(reason(why).to_owned()).or_default() += 1;
        }
        let refused = device.refusals().take(REFUSED_SHOWN);
        Self {
            switch,
            mastership: Mastership::Primary,
            broker_linked: linked,
            revision_wanted: device.intent().map(|intent| intent.revision.0),
            revision_installed: device.installed_revision().map(|revision| revision.0),
            lease_remaining_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            lease_why: None,
            tables: used
                .iter()
                .map(|(table, rows)| ((*table).to_owned(), *rows))
                .collect(),
            topics_offloaded: device.installed().topics(),
            topics_wanted: device.intent().map_or(0, |intent| intent.topics.len()),
            broker_port: device.learning().broker_port(),
            endpoints,
            table_sizes: BTreeMap::new(),
            refused_by_reason,
            policy: device.policy(),
            publications: device.cache(),
            election_id: device.election_id(),
            install: InstallLatency::default(),
            waiting_ms: None,
            refused: refused
                .map(|(item, why)| (describe(item), why.to_string()))
                .collect(),
            paths: BTreeMap::new(),
        }
    }
}

/// The kind of a refusal.
fn reason(why: &Refusal) -> &'static str {
    match why {
        Refusal::Capacity(_) => "capacity",
        Refusal::Unreachable => "unreachable",
        Refusal::Unsupported(_) => "unsupported",
        Refusal::Policy => "policy",
        Refusal::Failing(_) => "failing",
        Refusal::Idle => "idle",
    }
}

fn describe(item: &RefusedItem) -> String {
    match item {
        RefusedItem::Topic(index) => format!("topic {}", index.0),
        RefusedItem::Session(session) => format!("session {}", session.0),
        RefusedItem::Publication(key) => format!("publication of {} as {}", key.address, key.alias),
    }
}

/// Something asked of a running controller.
#[derive(Debug)]
pub(crate) enum Query {
    Status(oneshot::Sender<Status>),
    Explain(String, oneshot::Sender<Option<TopicReport>>),
}

/// The controller is not running any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the controller is not running any more")]
pub struct Stopped;

/// Asks a running controller.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) queries: mpsc::Sender<Query>,
}

impl Handle {
    /// How things stand.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn status(&self) -> Result<Status, Stopped> {
        self.ask(Query::Status).await
    }

    /// How a topic of the broker's intent stands, by name or index; None if it has no such topic
    /// or there is no intent.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn explain(&self, topic: &str) -> Result<Option<TopicReport>, Stopped> {
        self.ask(|answer| Query::Explain(topic.to_owned(), answer))
            .await
    }

    async fn ask<T>(&self, query: impl Fn(oneshot::Sender<T>) -> Query) -> Result<T, Stopped> {
        loop {
            let (answer, answered) = oneshot::channel();
            let asked = self.queries.send(query(answer)).await;
            asked.map_err(|_| Stopped)?;
            // A query whose switch is lost while it reads there is lost with it: the next answer
            // says so.
            if let Ok(answer) = answered.await {
                return Ok(answer);
            }
        }
    }
}
