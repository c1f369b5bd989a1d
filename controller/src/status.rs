//! What there is to see of a running controller.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use offload::{Alias, RefusedItem, SessionId, TopicIndex};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::device::Device;
use crate::plan::topic_key;
use crate::tables::{Key, Value, topic};

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
    /// What stays in software, and why.
    pub refused: Vec<(String, String)>,
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
            tables: BTreeMap::new(),
            topics_offloaded: 0,
            topics_wanted: 0,
            broker_port: None,
            endpoints: Vec::new(),
            refused: Vec::new(),
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
        let refused = device.refusals();
        Self {
            switch,
            mastership: Mastership::Primary,
            broker_linked: linked,
            revision_wanted: device.intent().map(|intent| intent.revision.0),
            revision_installed: device.installed_revision().map(|revision| revision.0),
            lease_remaining_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            tables: used
                .iter()
                .map(|(table, rows)| ((*table).to_owned(), *rows))
                .collect(),
            topics_offloaded: used.get(topic::NAME).copied().unwrap_or(0),
            topics_wanted: device.intent().map_or(0, |intent| intent.topics.len()),
            broker_port: device.learning().broker_port(),
            endpoints,
            refused: refused
                .map(|(item, why)| (describe(item), why.to_string()))
                .collect(),
            paths: BTreeMap::new(),
        }
    }
}

fn describe(item: &RefusedItem) -> String {
    match item {
        RefusedItem::Topic(index) => format!("topic {}", index.0),
        RefusedItem::Session(session) => format!("session {}", session.0),
        RefusedItem::Publication(key) => format!("publication of {} as {}", key.address, key.alias),
    }
}

/// Whether a topic is offloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum TopicState {
    /// The switch holds what the broker wants.
    Offloaded,
    /// The switch holds an earlier state, or nothing yet.
    Pending,
    /// It stays in software: why.
    Software(String),
}

/// One subscriber of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The broker's number of the session.
    pub session: u32,
    /// Where the client is.
    pub address: Option<SocketAddr>,
    /// Its port of the switch.
    pub port: Option<u16>,
    /// Its replication id.
    pub rid: Option<u16>,
    /// What it calls the topic.
    pub alias: String,
    /// Served at QoS 0.
    pub q0: bool,
    /// Served at QoS 1.
    pub q1: bool,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicReport {
    /// The broker's index of it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is offloaded.
    pub state: TopicState,
    /// The generation that the broker wants.
    pub generation: u32,
    /// The generation on the switch.
    pub generation_installed: Option<u32>,
    /// Multicast groups at QoS 0 and QoS 1.
    pub groups: [Option<u16>; 2],
    /// What the broker wants copied or acknowledged.
    pub copies: String,
    /// Who is served.
    pub members: Vec<Member>,
    /// Publications of it on the switch.
    pub publications: usize,
    /// Packets that its row has counted.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
}

/// All but the counters.
pub(crate) fn report(device: &Device, name: &str) -> Option<(TopicReport, Key)> {
    let intent = device.intent()?;
    let by_number = name.parse().ok().map(TopicIndex);
    let (index, topic) = intent
        .topics
        .iter()
        .find(|(index, topic)| topic.name == name || Some(**index) == by_number)?;
    let row = topic_key(*index);
    let installed = match device.installed().get(&row) {
        Some(Value::Topic(action)) => Some(*action),
        _ => None,
    };
    let state = match device.refusal(&RefusedItem::Topic(*index)) {
        Some(why) => TopicState::Software(why.to_string()),
        None if device.planned_rows().get(&row) == device.installed().get(&row)
            && installed.is_some() =>
        {
            TopicState::Offloaded
        }
        None => TopicState::Pending,
    };
    let member = |session: &SessionId| {
        let address = intent.sessions.get(session).copied();
        let alias: &Alias = topic.aliases.get(session).unwrap_or(&topic.home_alias);
        let endpoint = address.and_then(|address| device.learning().endpoint(address.ip()));
        Member {
            session: session.0,
            address,
            port: endpoint.map(|endpoint| endpoint.port),
            rid: device.rid_of(*session),
            alias: alias.to_string(),
            q0: topic.served_q0.contains(session),
            q1: topic.served_q1.contains(session),
        }
    };
    let publications = device
        .installed()
        .rows()
        .filter(|(_, value)| {
            matches!(value, Value::Publication(action) if action.topic_index == index.0)
        })
        .count();
    let mut copies = Vec::new();
    for (set, what) in [
        (topic.copy_q0, "copy of QoS 0"),
        (topic.copy_q1, "copy of QoS 1"),
        (topic.ack_q1, "PUBACK by the switch"),
    ] {
        if set {
            copies.push(what);
        }
    }
    let report = TopicReport {
        index: index.0,
        name: topic.name.clone(),
        state,
        generation: topic.generation.0,
        generation_installed: installed.map(|action| action.generation()),
        groups: installed.map_or([None, None], |action| action.groups()),
        copies: copies.join(", "),
        members: topic
            .served_q0
            .union(&topic.served_q1)
            .map(member)
            .collect(),
        publications,
        packets: 0,
        bytes: 0,
    };
    Some((report, row))
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
