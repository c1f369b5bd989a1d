//! One switch's controller without I/O: it takes in what the broker says and what the switch
//! reports, and gives out batches to write and messages for the broker. Time is an argument.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use offload::{
    Alias, ApplyError, Change, Delta, FromController, Intent, PublicationKey, Refusal, RefusedItem,
    Revision, SessionId, TopicIndex,
};

use crate::apply::{Apply, Failed, Op, RowError, Step, Update};
use crate::config::Config;
use crate::constants::{CPU_PORT, SESSION_ACK, SESSION_COPY};
use crate::index::Index;
use crate::installed::Installed;
use crate::learning::{Learning, News};
use crate::plan::{NotPlanned, Plan, View, open_key, publication_of, topic_key};
use crate::refusals::Refusals;
use crate::tables::digests::Learned;
use crate::tables::{GROUPS, Key, Mac, Value, smac, subscriber};

/// Clone sessions that the program uses.
const OWN_SESSIONS: std::ops::RangeInclusive<u32> = SESSION_COPY..=SESSION_ACK + CPU_PORT as u32;

/// A row is tried so often before whoever needs it is withdrawn.
const ATTEMPTS: u32 = 3;

/// What is to be planned anew.
#[derive(Debug, Default)]
struct Dirty {
    infrastructure: bool,
    services: bool,
    macs: BTreeSet<Mac>,
    clients: BTreeSet<Ipv4Addr>,
    sessions: BTreeSet<SessionId>,
    topics: BTreeSet<TopicIndex>,
    publications: BTreeSet<PublicationKey>,
    open_publications: BTreeSet<Alias>,
}

impl Dirty {
    fn is_clean(&self) -> bool {
        !self.infrastructure
            && !self.services
            && self.macs.is_empty()
            && self.clients.is_empty()
            && self.sessions.is_empty()
            && self.topics.is_empty()
            && self.publications.is_empty()
            && self.open_publications.is_empty()
    }
}

/// The controller of one switch.
#[derive(Debug)]
pub struct Device {
    config: Arc<Config>,
    /// None before the first broker.
    intent: Option<Intent>,
    index: Index,
    learning: Learning,
    plan: Plan,
    apply: Apply,
    refusals: Refusals,
    dirty: Dirty,
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
    Station(Mac),
    Client(Ipv4Addr),
}

impl Device {
    /// A controller that knows nothing of its switch yet. `sizes`: how many rows each table has
    /// room for, by its full name, where known.
    pub fn new(config: Arc<Config>, sizes: HashMap<&'static str, usize>) -> Self {
        let learning = Learning::new(config.broker_port);
        let plan = Plan::new(&config);
        let apply = Apply::new(config.batch, config.drain(), sizes);
        Self {
            config,
            intent: None,
            index: Index::default(),
            learning,
            plan,
            apply,
            refusals: Refusals::default(),
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
                && self.learning.station(key.eth_src) == Some(key.ingress_port)
            {
                self.dirty.macs.insert(key.eth_src);
            }
        }
        // A station without its `smac` row would never age: it is learned anew.
        let known: Vec<Mac> = installed
            .rows()
            .filter_map(|(key, _)| match key {
                Key::Dmac(key) => Some(key.eth_dst),
                _ => None,
            })
            .collect();
        for mac in known {
            if !self.dirty.macs.contains(&mac) {
                self.learning.forget_station(mac);
            }
        }
    }

    // ---- The broker ---------------------------------------------------------------------------

    /// A link to a broker is open: it is told who can be reached.
    pub fn link_opened(&mut self) {
        self.linked = true;
        self.synced = false;
        self.refusals.forget_told();
        self.installed = None;
        self.outbox.clear();
        self.outbox.push(FromController::Hello {
            controller: self.config.name.clone(),
        });
        let mut known: Vec<Ipv4Addr> = self.learning.endpoints().map(|(ip, _)| *ip).collect();
        known.sort_unstable();
        for address in known {
            self.tell_reachable(address, true);
        }
    }

    /// The link is gone. Nothing is renewed any more, and the lease runs out by itself.
    pub fn link_lost(&mut self) {
        self.linked = false;
        self.synced = false;
        self.installed = None;
        self.waiting.clear();
        self.outbox.clear();
        if self.config.on_broker_loss == crate::config::OnBrokerLoss::Withdraw
            && self.intent.is_some()
        {
            self.replace_intent(Intent::default());
        }
    }

    /// The whole intent: it replaces what was said before.
    pub fn snapshot(&mut self, now: Instant, intent: Intent) {
        self.waiting.clear();
        self.waiting.push_back((intent.revision, now));
        self.installed = None;
        self.planned = None;
        self.synced = true;
        self.replace_intent(intent);
    }

    fn replace_intent(&mut self, intent: Intent) {
        let old = self.intent.take().unwrap_or_default();
        for intent in [&old, &intent] {
            self.dirty.sessions.extend(intent.sessions.keys());
            self.dirty.topics.extend(intent.topics.keys());
            self.dirty.publications.extend(intent.publications.keys());
            let aliases = intent.open_publications.keys();
            self.dirty.open_publications.extend(aliases);
        }
        self.dirty.services = true;
        // What is on the switch of an intent before is compared with the new one.
        for (key, _) in self.apply.installed.rows() {
            if key.of_intent() {
                self.plan.touch(*key);
            }
        }
        self.index = Index::of(&intent);
        self.intent = Some(intent);
    }

    /// The next step of the intent.
    ///
    /// # Errors
    /// When it does not fit: then only a new snapshot helps.
    pub fn delta(&mut self, now: Instant, delta: &Delta) -> Result<(), ApplyError> {
        let Some(intent) = self.intent.as_mut() else {
            return Err(ApplyError::WrongBase {
                have: 0,
                base: delta.base.0,
            });
        };
        for change in &delta.changes {
            self.index.forget(intent, change);
        }
        let result = intent.apply(delta);
        for change in &delta.changes {
            self.index.note(intent, change);
        }
        result?;
        self.waiting.push_back((delta.revision, now));
        for change in &delta.changes {
            match change {
                Change::Services(_) => {
                    self.dirty.services = true;
                    self.dirty.sessions.extend(intent.sessions.keys());
                    self.dirty.topics.extend(intent.topics.keys());
                }
                Change::Session(session, _) => {
                    self.dirty.sessions.insert(*session);
                }
                Change::Topic(index, _) => {
                    self.dirty.topics.insert(*index);
                }
                Change::Publication(key, _) => {
                    self.dirty.publications.insert(*key);
                }
                Change::OpenPublication(alias, _) => {
                    self.dirty.open_publications.insert(*alias);
                }
            }
        }
        Ok(())
    }

    /// What is to be said to the broker, in order.
    pub fn take_messages(&mut self) -> Vec<FromController> {
        std::mem::take(&mut self.outbox)
    }

    fn tell(&mut self, message: FromController) {
        if self.linked {
            self.outbox.push(message);
        }
    }

    fn tell_reachable(&mut self, address: Ipv4Addr, reachable: bool) {
        self.tell(FromController::Reachable {
            address: IpAddr::V4(address),
            reachable,
        });
    }

    /// Whether the lease may be renewed: the broker's intent is on the switch, and nothing of it
    /// has been waiting for too long.
    pub fn may_renew(&self, now: Instant) -> bool {
        let overdue = self.config.overdue();
        self.linked
            && self.installed.is_some()
            && self
                .waiting
                .front()
                .is_none_or(|(_, since)| now < *since + overdue)
    }

    // ---- The switch ---------------------------------------------------------------------------

    /// Digest messages.
    pub fn learned(&mut self, learned: impl IntoIterator<Item = Learned>) {
        let mut news = News::default();
        for learned in learned {
            self.learning.learn(learned, &mut news);
        }
        self.dirty.macs.extend(news.macs);
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

    fn client_changed(&mut self, address: Ipv4Addr) {
        self.dirty.clients.insert(address);
        self.dirty.sessions.extend(self.index.sessions_at(address));
        let publications = self.index.publications_at(address);
        self.dirty.publications.extend(publications);
    }

    /// A station was silent for the time that its row allows.
    pub fn station_idle(&mut self, key: smac::Key) {
        if self.learning.station(key.eth_src) != Some(key.ingress_port) {
            return;
        }
        self.learning.forget_station(key.eth_src);
        self.dirty.macs.insert(key.eth_src);
        let gone: Vec<Ipv4Addr> = self
            .learning
            .endpoints()
            .filter(|(ip, endpoint)| endpoint.mac == key.eth_src && !self.index.is_used(**ip))
            .map(|(ip, _)| *ip)
            .collect();
        for address in gone {
            self.learning.forget_client(address);
            self.client_changed(address);
            self.tell_reachable(address, false);
        }
    }

    /// The next batch to write; then `batch_done` must follow before another is given.
    pub fn next_batch(&mut self, now: Instant) -> Option<Vec<Update>> {
        loop {
            if self.apply.is_idle() {
                self.wake(now);
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
                Step::Rest => return None,
            }
        }
    }

    /// The switch's answer to the batch: one result for each update, in their order.
    pub fn batch_done(&mut self, now: Instant, results: Vec<Result<(), RowError>>) {
        let (failed, deleted) = self.apply.done(now, results);
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
        apply.into_iter().chain(refusals).min()
    }

    // ---- Planning -----------------------------------------------------------------------------

    /// What waited for its time is due.
    fn wake(&mut self, now: Instant) {
        for item in self.refusals.due(now) {
            match item {
                RefusedItem::Topic(index) => {
                    self.dirty.topics.insert(index);
                }
                RefusedItem::Session(session) => {
                    self.dirty.sessions.insert(session);
                }
                RefusedItem::Publication(key) => {
                    self.dirty.publications.insert(key);
                }
            }
        }
        for key in self.apply.due_retries(now) {
            self.plan.touch(key);
            if let Key::Topic(key) = key {
                for key in self.plan.topic_keys(TopicIndex(key.topic_index)) {
                    self.plan.touch(key);
                }
            }
        }
    }

    fn replan(&mut self, now: Instant) -> bool {
        self.redo = false;
        if self.dirty.is_clean() {
            return false;
        }
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.infrastructure {
            let broker_port = self.learning.broker_port();
            self.plan.infrastructure(&self.config, broker_port);
        }
        let timeout = Duration::from_secs(self.config.station_timeout_s);
        for mac in &dirty.macs {
            let rows = self.learning.station_rows(*mac, timeout);
            self.plan_learned(Learner::Station(*mac), rows);
        }
        for address in &dirty.clients {
            let rows = self.learning.client_rows(*address);
            self.plan_learned(Learner::Client(*address), rows);
        }
        // Taken out, so that planning can look at it while it changes the rest.
        // Until there is one, the rows of an intent before stay as they are.
        if let Some(intent) = self.intent.take() {
            self.replan_intent(now, &intent, dirty);
            self.intent = Some(intent);
        }
        true
    }

    fn plan_learned(&mut self, learner: Learner, rows: Vec<(Key, Value)>) {
        let keys: Vec<Key> = rows.iter().map(|(key, _)| *key).collect();
        let old = self.learned_rows.remove(&learner).unwrap_or_default();
        for key in old {
            if !keys.contains(&key) {
                self.plan.unset(key);
            }
        }
        for (key, value) in rows {
            self.plan.set(key, value);
        }
        if !keys.is_empty() {
            self.learned_rows.insert(learner, keys);
        }
    }

    fn replan_intent(&mut self, now: Instant, intent: &Intent, mut dirty: Dirty) {
        let view = View {
            config: &self.config,
            intent,
            learning: &self.learning,
            installed: &self.apply.installed,
        };
        if dirty.services {
            self.plan.services(&view);
        }
        for session in dirty.sessions {
            dirty.topics.extend(self.index.topics_of(session));
            let item = RefusedItem::Session(session);
            let Some(address) = intent.sessions.get(&session) else {
                self.refusals.left(now, &item);
                continue;
            };
            self.plan.session(&view, session);
            let why = match (address, self.refusals.withheld(&item)) {
                (_, Some(why)) => Some(why.clone()),
                (SocketAddr::V6(_), None) => view.place(session).err(),
                (SocketAddr::V4(_), None) => None,
            };
            self.refusals.set(item, why);
        }
        for index in dirty.topics {
            let was_planned = self.plan.is_planned(index);
            let item = RefusedItem::Topic(index);
            if let Some(topic) = intent.topics.get(&index) {
                let mut served = topic.served_q0.union(&topic.served_q1);
                let session = served
                    .find_map(|session| self.refusals.withheld(&RefusedItem::Session(*session)));
                let withheld = self.refusals.withheld(&item).or(session).cloned();
                let why = match withheld {
                    Some(why) => {
                        self.plan.drop_topic(index);
                        Some(why)
                    }
                    None => match self.plan.topic(&view, index) {
                        Ok(()) => None,
                        Err(NotPlanned { why, session }) => {
                            if let Some(session) = session {
                                let item = RefusedItem::Session(session);
                                self.refusals.set(item, Some(why.clone()));
                                let full = Some(subscriber::NAME);
                                self.refusals.withhold(now, item, why.clone(), full);
                            } else if matches!(why, Refusal::Capacity(_)) {
                                let full = Some(GROUPS);
                                self.refusals.withhold(now, item, why.clone(), full);
                            }
                            Some(why)
                        }
                    },
                };
                self.refusals.set(item, why);
            } else {
                self.plan.drop_topic(index);
                self.refusals.left(now, &item);
            }
            if was_planned != self.plan.is_planned(index) {
                dirty.publications.extend(self.index.publications_to(index));
                let aliases = self.index.open_publications_to(index);
                dirty.open_publications.extend(aliases);
            }
        }
        for key in dirty.publications {
            let item = RefusedItem::Publication(key);
            if !intent.publications.contains_key(&key) {
                self.plan.drop_publication(&key);
                self.refusals.left(now, &item);
                continue;
            }
            let why = match self.refusals.withheld(&item).cloned() {
                Some(why) => {
                    self.plan.drop_publication(&key);
                    Some(why)
                }
                None => self.plan.publication(&view, &key).err(),
            };
            self.refusals.set(item, why);
        }
        for alias in dirty.open_publications {
            self.plan.open_publication(&view, alias);
        }
    }

    // ---- Outcomes -----------------------------------------------------------------------------

    /// A round is over.
    fn finish(&mut self) {
        // Whoever was withdrawn in this round is written out in the next, and only then told.
        if self.redo || self.plan.is_touched() || !self.synced {
            return;
        }
        if self.apply.failing(&self.plan).iter().any(holds_up) {
            return;
        }
        self.refusals.settle();
        let news = self.refusals.news();
        for message in news {
            self.tell(message);
        }
        let Some(planned) = self.planned else {
            return;
        };
        while self
            .waiting
            .front()
            .is_some_and(|(revision, _)| *revision <= planned)
        {
            self.waiting.pop_front();
        }
        if self.linked && self.installed != Some(planned) {
            self.installed = Some(planned);
            self.tell(FromController::Installed { revision: planned });
        }
    }

    fn failed(&mut self, now: Instant, failed: Failed) {
        let Failed {
            update,
            error,
            full,
            attempts,
        } = failed;
        let Update { op, key, .. } = update;
        tracing::warn!(table = key.table(), ?key, ?op, %error, attempts, "a write failed");
        if op == Op::Delete {
            return; // Tried again until it is gone; the lease is not renewed meanwhile.
        }
        let full = full.then_some(key.table());
        let why = if full.is_some() {
            Refusal::Capacity(format!("{}: {}", key.table(), error.message))
        } else if attempts >= ATTEMPTS {
            Refusal::Failing(format!("{}: {error}", key.table()))
        } else {
            return;
        };
        match key {
            Key::Topic(key) => self.withhold_topic(now, TopicIndex(key.topic_index), why, full),
            Key::SubscriberAlias(alias) => {
                self.apply.forget_retry(&key);
                self.withhold_topic(now, TopicIndex(alias.topic_index), why, full);
            }
            Key::Group(group) if key.of_intent() => {
                self.apply.forget_retry(&key);
                for topic in self.plan.group_users(group) {
                    self.withhold_topic(now, topic, why.clone(), full);
                }
            }
            Key::Subscriber(row) => {
                if let Some(session) = self.plan.owner(row.rid) {
                    self.apply.forget_retry(&key);
                    let item = RefusedItem::Session(session);
                    self.refusals.withhold(now, item, why, full);
                    self.dirty.sessions.insert(session);
                    self.redo = true;
                }
            }
            Key::Publication(row) => {
                if let Some(publication) = publication_of(&row) {
                    self.apply.forget_retry(&key);
                    let item = RefusedItem::Publication(publication);
                    self.refusals.withhold(now, item, why, full);
                    self.dirty.publications.insert(publication);
                    self.redo = true;
                }
            }
            Key::Smac(_) | Key::Dmac(_) | Key::Endpoint(_) | Key::OpenPublication(_) => {
                // The switch does without: it floods, asks again, or leaves it to the broker.
                self.apply.forget_retry(&key);
                self.plan.unset(key);
            }
            Key::Digest(_) | Key::CloneSession(_) | Key::Group(_) | Key::Service(_) => {}
        }
    }

    fn withhold_topic(
        &mut self,
        now: Instant,
        index: TopicIndex,
        why: Refusal,
        full: Option<&'static str>,
    ) {
        self.apply.forget_retry(&topic_key(index));
        self.refusals
            .withhold(now, RefusedItem::Topic(index), why, full);
        self.dirty.topics.insert(index);
        self.redo = true;
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

    /// Whether nothing is left to write, now or later.
    pub fn is_settled(&self) -> bool {
        self.apply.is_idle()
            && self.dirty.is_clean()
            && !self.plan.is_touched()
            && !self.apply.is_draining()
            && self.apply.failing(&self.plan).is_empty()
    }

    /// The rows that are planned.
    pub fn planned_rows(&self) -> &HashMap<Key, Value> {
        self.plan.rows()
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

    /// The row of an open alias, for status.
    pub fn open_row(alias: Alias) -> Key {
        open_key(alias)
    }
}

/// Whether a revision is not installed while this row fails.
fn holds_up(key: &Key) -> bool {
    !matches!(key, Key::Smac(_) | Key::Dmac(_) | Key::Endpoint(_))
}
