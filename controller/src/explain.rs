//! One topic as the controller and its switch have it.

use std::net::SocketAddr;

use offload::{
    Alias, Intent, PublicationKey, RefusedItem, SessionId, ShareMember, Topic, TopicIndex,
};
use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::plan::{open_key, topic_key};
use crate::shares::shared_key;
use crate::tables::topic::Action;
use crate::tables::{Key, Value, subscriber};
use crate::target::Counter;

/// Whether a topic is offloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// One of its share group, of whose members each message goes to one.
    pub shared: bool,
    /// What the switch does when it is chosen.
    pub selected: Option<Selected>,
    /// Copies made for it, of this and other topics.
    pub packets: u64,
}

/// One member of the action selector: a message for which it is chosen goes to that client and to all
/// ordinary subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selected {
    /// Its id in the selector; None while the switch does not hold it.
    pub member_id: Option<u32>,
    /// The generation that the broker wants.
    pub generation: u32,
    /// The generation on the switch.
    pub generation_installed: Option<u32>,
    /// Multicast groups at QoS 0 and QoS 1.
    pub groups: [Option<u16>; 2],
}

/// One (client, alias) that may publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationReport {
    /// The publisher's address; None for anybody, at QoS −1.
    pub address: Option<SocketAddr>,
    /// What it calls the topic.
    pub alias: String,
    /// Whether the switch admits it.
    pub installed: bool,
    /// Why not.
    pub why: Option<String>,
    /// Packets admitted.
    pub packets: u64,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicReport {
    /// The broker's index of it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is offloaded.
    pub state: TopicState,
    /// The generation that the broker wants.
    pub generation: u32,
    /// The generation on the switch; None with a share group, of which each member has its own.
    pub generation_installed: Option<u32>,
    /// The group of the action selector, where the switch chooses a member of a share group.
    pub share_group: Option<u32>,
    /// Multicast groups at QoS 0 and QoS 1.
    pub groups: [Option<u16>; 2],
    /// The replication id of the one subscriber that is served without a group.
    pub to_one: Option<u16>,
    /// What the broker wants copied or acknowledged.
    pub copies: String,
    /// Who is served.
    pub members: Vec<Member>,
    /// Publications of it on the switch.
    pub publications: usize,
    /// All publications of it.
    pub publishers: Vec<PublicationReport>,
    /// Packets that its row has counted.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
}

/// A report, and the rows whose counters belong into it.
pub(crate) struct Counted {
    report: TopicReport,
    rows: Vec<(Place, Key)>,
}

#[derive(Clone, Copy)]
enum Place {
    Topic,
    Member(usize),
    Publication(usize),
}

impl Counted {
    /// The rows to be read.
    pub(crate) fn rows(&self) -> Vec<Key> {
        self.rows.iter().map(|(_, row)| *row).collect()
    }

    /// The report with what was read of them, in their order.
    pub(crate) fn with(mut self, counters: &[Counter]) -> TopicReport {
        for ((place, _), counter) in self.rows.iter().zip(counters) {
            match *place {
                Place::Topic => {
                    self.report.packets = counter.packets;
                    self.report.bytes = counter.bytes;
                }
                Place::Member(n) => self.report.members[n].packets = counter.packets,
                Place::Publication(n) => self.report.publishers[n].packets = counter.packets,
            }
        }
        self.report
    }
}

/// What is on the switch of a share member.
fn selected(device: &Device, index: TopicIndex, session: SessionId, of: &ShareMember) -> Selected {
    let member_id = device.share_member_of(index, session);
    let installed = member_id.and_then(|id| {
        let on_switch = device.installed().share_members(index.0);
        on_switch.into_iter().find(|(other, _)| *other == id)
    });
    let offload = installed.map(|(_, offload)| offload);
    Selected {
        member_id: installed.map(|(id, _)| id),
        generation: of.generation.0,
        generation_installed: offload.map(|offload| offload.generation),
        groups: offload.map_or([None, None], |offload| Action::Offload(offload).groups()),
    }
}

/// Whether the switch holds all that is planned for the topic, and something is.
fn is_installed(device: &Device, index: TopicIndex, topic: &Topic) -> bool {
    let same = |key: &Key| device.planned_rows().get(key) == device.installed().get(key);
    let there = |key: &Key| device.installed().get(key).is_some();
    let (row, shared) = (topic_key(index), shared_key(index));
    let own = same(&row) && same(&shared) && (there(&row) || there(&shared));
    // The row may stay as it is while a member changes.
    let group = Key::ShareGroup(index.0);
    own && (!there(&shared) || (there(&group) && same(&group)))
        && topic.shared.keys().all(|session| {
            let member = device.share_member_of(index, *session);
            member.is_some_and(|id| there(&Key::ShareMember(id)) && same(&Key::ShareMember(id)))
        })
}

fn member(
    device: &Device,
    intent: &Intent,
    (index, topic): (TopicIndex, &Topic),
    session: SessionId,
) -> Member {
    let address = intent.sessions.get(&session).copied();
    let shared = topic.shared.get(&session);
    let own = shared.and_then(|shared| shared.alias.as_ref());
    let alias: &Alias = own
        .or(topic.aliases.get(&session))
        .unwrap_or(&topic.home_alias);
    let endpoint = address.and_then(|address| device.learning().endpoint(address.ip()));
    Member {
        session: session.0,
        address,
        port: endpoint.map(|endpoint| endpoint.port),
        rid: device.rid_of(session),
        alias: alias.to_string(),
        q0: topic.served_q0.contains(&session) || shared.is_some(),
        q1: topic.served_q1.contains(&session) || shared.is_some_and(|shared| shared.serve_q1),
        shared: shared.is_some(),
        selected: shared.map(|shared| selected(device, index, session, shared)),
        packets: 0,
    }
}

fn publication(device: &Device, key: &PublicationKey, row: Option<&Key>) -> PublicationReport {
    let installed = row.and_then(|row| device.installed().get(row));
    let installed = matches!(installed, Some(Value::Publication(action)) if !action.is_parked());
    let refusal = device.refusal(&RefusedItem::Publication(*key));
    PublicationReport {
        address: Some(key.address),
        alias: key.alias.to_string(),
        installed,
        why: refusal.map(ToString::to_string),
        packets: 0,
    }
}

/// The topic of this name or index, without its counters.
pub(crate) fn report(device: &Device, name: &str) -> Option<Counted> {
    let intent = device.intent()?;
    let by_number = name.parse().ok().map(TopicIndex);
    let (&index, topic) = intent
        .topics
        .iter()
        .find(|(index, topic)| topic.name == name || Some(**index) == by_number)?;
    let row = topic_key(index);
    let installed = match device.installed().get(&row) {
        Some(Value::Topic(action)) => Some(*action),
        _ => None,
    };
    let state = match device.refusal(&RefusedItem::Topic(index)) {
        Some(why) => TopicState::Software(why.to_string()),
        None if is_installed(device, index, topic) => TopicState::Offloaded,
        None => TopicState::Pending,
    };
    let mut rows = Vec::new();
    let shared = shared_key(index);
    let share_group = match device.installed().get(&shared) {
        Some(Value::SharedTopic(group)) => Some(*group),
        _ => None,
    };
    // With both the one without a share group is asked first.
    if installed.is_some() {
        rows.push((Place::Topic, row));
    } else if share_group.is_some() {
        rows.push((Place::Topic, shared));
    }
    let ordinary = topic.served_q0.union(&topic.served_q1);
    let members: Vec<Member> = ordinary
        .chain(topic.shared.keys())
        .map(|session| member(device, intent, (index, topic), *session))
        .collect();
    for (n, member) in members.iter().enumerate() {
        let row = member
            .rid
            .map(|rid| Key::Subscriber(subscriber::Key { rid }));
        if let Some(row) = row.filter(|row| device.installed().get(row).is_some()) {
            rows.push((Place::Member(n), row));
        }
    }
    let mut publishers = Vec::new();
    for (key, row) in device.publications_to(index) {
        let report = publication(device, &key, row.as_ref());
        if let Some(row) = row.filter(|_| report.installed) {
            rows.push((Place::Publication(publishers.len()), row));
        }
        publishers.push(report);
    }
    for (alias, _) in intent
        .open_publications
        .iter()
        .filter(|(_, to)| **to == index)
    {
        publishers.push(PublicationReport {
            address: None,
            alias: alias.to_string(),
            installed: device.installed().get(&open_key(*alias)).is_some(),
            why: None,
            packets: 0,
        });
    }
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
    let publications = publishers
        .iter()
        .filter(|p| p.installed && p.address.is_some());
    let report = TopicReport {
        index: index.0,
        name: topic.name.clone(),
        state,
        generation: topic.generation.0,
        generation_installed: installed.map(|action| action.generation()),
        share_group,
        groups: installed.map_or([None, None], |action| action.groups()),
        to_one: installed.and_then(|action| action.rid()),
        copies: copies.join(", "),
        members,
        publications: publications.count(),
        publishers,
        packets: 0,
        bytes: 0,
    };
    Some(Counted { report, rows })
}
