//! One switch's controller without I/O: it takes in what the broker says and what the switch
//! reports, and gives out batches to write and messages for the broker. Time is an argument.

mod broker;
mod hot;
mod outcomes;
mod planning;
mod publications;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offload::{
    Alias, FromController, Intent, PublicationKey, Refusal, RefusedItem, Revision, SessionId,
    TopicIndex,
};

use crate::apply::{Apply, RowError, Step, Update};
use crate::cache::Cache;
use crate::config::Config;
use crate::constants::{CPU_PORT, SESSION_ACK, SESSION_COPY};
use crate::fullness::Fullness;
use crate::hot::Hot;
use crate::index::Index;
use crate::installed::Installed;
use crate::learning::{Learning, News, Station};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::refusals::Refusals;
use crate::tables::digests::Learned;
use crate::tables::{Key, Value, smac};

/// Clone sessions that the program uses.
const OWN_SESSIONS: std::ops::RangeInclusive<u32> = SESSION_COPY..=SESSION_ACK + CPU_PORT as u32;

/// What is to be planned anew.
#[derive(Debug, Default)]
struct Dirty {
    infrastructure: bool,
    services: bool,
    stations: BTreeSet<Station>,
    clients: BTreeSet<IpAddr>,
    sessions: BTreeSet<SessionId>,
    topics: BTreeSet<TopicIndex>,
    /// Sessions that are served otherwise, or elsewhere, on topics that are else as they were.
    members: BTreeMap<TopicIndex, BTreeSet<SessionId>>,
    publications: BTreeSet<PublicationKey>,
    open_publications: BTreeSet<Alias>,
}

impl Dirty {
    fn is_clean(&self) -> bool {
        !self.infrastructure
            && !self.services
            && self.stations.is_empty()
            && self.clients.is_empty()
            && self.sessions.is_empty()
            && self.topics.is_empty()
            && self.members.is_empty()
            && self.publications.is_empty()
            && self.open_publications.is_empty()
    }
}

/// The controller of one switch.
#[derive(Debug)]
pub struct Device {
    config: Arc<Config>,
    /// Its controller's at the switch.
    election_id: u128,
    /// None before the first broker.
    intent: Option<Intent>,
    index: Index,
    learning: Learning,
    plan: Plan,
    apply: Apply,
    refusals: Refusals,
    dirty: Dirty,
    /// How many rows each table has room for.
    sizes: HashMap<&'static str, usize>,
    fullness: Fullness,
    cache: Cache,
    /// Rows of publications to be read.
    readings: Vec<Key>,
    /// With policy `hot`.
    hot: Option<Hot>,
    measuring: hot::Measuring,
    /// Rows of stations and clients in the plan, to be taken out when they move.
    learned_rows: HashMap<Learner, Vec<Key>>,
    linked: bool,
    /// The intent is the one of the present link.
    synced: bool,
    /// Items were withdrawn because their writes failed, and the plan does not show it yet.
    redo: bool,
    /// Revision of the intent that the present round writes.
    planned: Option<Revision>,
    /// Last revision of which the broker was told that it holds.
    installed: Option<Revision>,
    /// Revisions that are not installed yet, and since when they are known.
    waiting: VecDeque<(Revision, Instant)>,
    outbox: Vec<FromController>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Learner {
    Station(Station),
    Client(IpAddr),
}

impl Device {
    /// A controller that knows nothing of its switch yet. `sizes`: how many rows each table has
    /// room for, by its full name, where known.
    pub fn new(config: Arc<Config>, sizes: HashMap<&'static str, usize>) -> Self {
        let learning = Learning::new(config.broker_port);
        let plan = Plan::new(&config);
        let apply = Apply::new(config.batch, config.drain(), sizes.clone());
        let hot = (config.policy == Policy::Hot).then(|| Hot::new(config.hot));
        let cache = Cache::new(config.publications);
        Self {
            election_id: config.election_id.into(),
            config,
            intent: None,
            index: Index::default(),
            learning,
            plan,
            apply,
            refusals: Refusals::default(),
            sizes,
            fullness: Fullness::default(),
            cache,
            readings: Vec::new(),
            hot,
            measuring: hot::Measuring::default(),
            dirty: Dirty {
                infrastructure: true,
                ..Dirty::default()
            },
            learned_rows: HashMap::new(),
            linked: false,
            synced: false,
            redo: false,
            planned: None,
            installed: None,
            waiting: VecDeque::new(),
            outbox: Vec::new(),
        }
    }

    /// The election id with which the controller is primary; at first the configured one.
    pub fn set_election_id(&mut self, election_id: u128) {
        self.election_id = election_id;
    }

    /// Takes over what was read from the switch: before anything is written.
    pub fn adopt(&mut self, mut rows: Vec<(Key, Value)>) {
        rows.sort_by_key(|(key, _)| matches!(key, Key::Endpoint(_)));
        for (key, value) in rows {
            let foreign = matches!(key, Key::CloneSession(id) if !OWN_SESSIONS.contains(&id));
            if foreign {
                continue;
            }
            self.learning.adopt(&key, &value);
            if !key.of_intent() {
                self.plan.touch(key);
            }
            self.apply.installed.set(key, value);
        }
        self.dirty.clients = self.learning.endpoints().map(|(ip, _)| *ip).collect();
        let installed = &self.apply.installed;
        for (key, _) in installed.rows() {
            if let Key::Smac(key) = key
                && self.learning.station(key.station()) == Some(key.ingress_port)
            {
                self.dirty.stations.insert(key.station());
            }
        }
        // A station without its `smac` row would never age: it is learned anew.
        let known: Vec<Station> = installed
            .rows()
            .filter_map(|(key, _)| match key {
                Key::Dmac(key) => Some(key.station()),
                _ => None,
            })
            .collect();
        for station in known {
            if !self.dirty.stations.contains(&station) {
                self.learning.forget_station(station);
            }
        }
    }

    // ---- The switch ---------------------------------------------------------------------------

    /// Digest messages.
    pub fn learned(&mut self, learned: impl IntoIterator<Item = Learned>) {
        let mut news = News::default();
        let believed = self.learning.believed_port();
        for learned in learned {
            self.learning.learn(learned, &mut news);
        }
        self.dirty.services |= self.learning.believed_port() != believed;
        self.dirty.stations.extend(news.stations);
        for address in news.endpoints {
            self.client_changed(address);
            self.tell_reachable(address, true);
        }
        if news.broker_moved {
            self.dirty.infrastructure = true;
            if let Some(intent) = &self.intent {
                self.dirty.topics.extend(intent.topics.keys());
            }
        }
    }

    fn client_changed(&mut self, address: IpAddr) {
        self.dirty.clients.insert(address);
        self.dirty.sessions.extend(self.index.sessions_at(address));
        let publications = self.index.publications_at(address);
        self.dirty.publications.extend(publications);
    }

    /// A station was silent for the time that its row allows.
    pub fn station_idle(&mut self, key: smac::Key) {
        let station = key.station();
        if self.learning.station(station) != Some(key.ingress_port) {
            return;
        }
        let believed = self.learning.believed_port();
        self.learning.forget_station(station);
        self.dirty.services |= self.learning.believed_port() != believed;
        self.dirty.stations.insert(station);
        let gone: Vec<IpAddr> = self
            .learning
            .behind(station)
            .filter(|ip| !self.index.is_used(*ip))
            .collect();
        for address in gone {
            self.learning.forget_client(address);
            self.client_changed(address);
            self.tell_reachable(address, false);
        }
    }

    /// The next batch to write, in any order with those that are under way; none while it must wait
    /// for their answers.
    pub fn next_batch(&mut self, now: Instant) -> Option<Vec<Update>> {
        loop {
            let was_idle = self.apply.is_idle();
            if was_idle {
                self.wake(now);
                self.measure(now);
                self.tend_publications(now);
                let replanned = self.replan(now);
                let revision = self.intent.as_ref().map(|intent| intent.revision);
                if self.plan.is_touched() {
                    self.planned = revision;
                    self.apply.begin(now, &mut self.plan);
                } else if replanned || self.planned != revision {
                    // Nothing to write for it on this switch.
                    self.planned = revision;
                    self.finish();
                }
            }
            match self.apply.next_step(now, &self.plan) {
                Step::Write(batch) => return Some(batch),
                Step::Finished => self.finish(),
                // What came while leftovers were deleted has not been looked at yet.
                Step::Rest if !was_idle && self.apply.is_idle() => {}
                Step::Rest => return None,
            }
        }
    }

    /// The switch's answer to the oldest batch under way: one result for each update, in their order.
    pub fn batch_done(&mut self, now: Instant, results: Vec<Result<(), RowError>>) {
        let (failed, deleted) = self.apply.done(now, &self.plan, results);
        for (table, rows) in deleted {
            self.refusals.room(now, table, rows);
        }
        for failed in failed {
            self.failed(now, failed);
        }
    }

    /// When `next_batch` has something to do by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        let apply = self.apply.next_deadline();
        let refusals = self.refusals.next_deadline();
        let measuring = self.measuring_deadline();
        let publications = self.publications_deadline();
        [apply, refusals, measuring, publications]
            .into_iter()
            .flatten()
            .min()
    }

    // ---- Looking at it ------------------------------------------------------------------------

    /// The broker's intent, once there is one.
    pub fn intent(&self) -> Option<&Intent> {
        self.intent.as_ref()
    }

    /// Revision of which the broker was told last that it holds.
    pub fn installed_revision(&self) -> Option<Revision> {
        self.installed
    }

    /// The election id with which its controller is primary.
    pub fn election_id(&self) -> u128 {
        self.election_id
    }

    /// Which topics deserve room, for people.
    pub fn policy(&self) -> String {
        self.config.policy.to_string()
    }

    /// The topic's publications, each with its row where it has one, in order.
    pub fn publications_to(&self, index: TopicIndex) -> Vec<(PublicationKey, Option<Key>)> {
        let mut keys = self.index.publications_to(index);
        keys.sort_unstable();
        keys.into_iter()
            .map(|key| (key, self.plan.publication_row(&key)))
            .collect()
    }

    /// What is on the switch.
    pub fn installed(&self) -> &Installed {
        &self.apply.installed
    }

    /// Who lives where.
    pub fn learning(&self) -> &Learning {
        &self.learning
    }

    /// What is refused and why.
    pub fn refusals(&self) -> impl Iterator<Item = (&RefusedItem, &Refusal)> {
        self.refusals.iter()
    }

    /// Why the item is refused.
    pub fn refusal(&self, item: &RefusedItem) -> Option<&Refusal> {
        self.refusals.get(item)
    }

    /// The session's replication id.
    pub fn rid_of(&self, session: SessionId) -> Option<u16> {
        self.plan.rid_of(session)
    }

    /// The session's member in the selector, for the topic's share group.
    pub fn share_member_of(&self, index: TopicIndex, session: SessionId) -> Option<u32> {
        self.plan.member_of(index, session)
    }

    /// Whether nothing is left to write, now or later.
    pub fn is_settled(&self) -> bool {
        self.apply.is_idle()
            && self.dirty.is_clean()
            && !self.plan.is_touched()
            && !self.apply.is_draining()
            && !self.cache.is_leaving()
            && self.apply.failing(&self.plan).is_empty()
    }

    /// The rows that are planned.
    pub fn planned_rows(&self) -> &HashMap<Key, Value> {
        self.plan.rows()
    }

    /// For how long at least nothing can have been seen of the session by rows that are gone: a row
    /// takes its memory of the last packet along, and what it saw before counts as seen at that moment.
    pub fn idle_since_withdrawn(&self, now: Instant, session: SessionId) -> Option<Duration> {
        let keys = self.index.publications_of(session);
        let withdrawn = keys
            .iter()
            .filter_map(|key| self.apply.withdrawn.of(&key.address));
        let last = withdrawn.max()?;
        Some(now.saturating_duration_since(last))
    }

    /// Rows of the session's publications that are on the switch.
    pub fn publication_rows(&self, session: SessionId) -> Vec<Key> {
        let keys: HashSet<PublicationKey> = self.index.publications_of(session);
        let mut rows: Vec<Key> = keys
            .iter()
            .filter_map(|key| self.plan.publication_row(key))
            .filter(|row| self.apply.installed.get(row).is_some())
            .collect();
        rows.sort_unstable();
        rows
    }
}
