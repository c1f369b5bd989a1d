//! From planned rows to writes: what goes into which batch, and what becomes of failures.
//!
//! A batch promises no order, so what must happen after something else is in a later batch:
//!
//! ```text
//!   Prepare   INSERT and MODIFY what topics refer to: groups, subscribers, aliases, …
//!   Members   INSERT and MODIFY of members of share groups, then (Selectors) of their groups,
//!   Shares    then of the topics that have such a group
//!   Retire    DELETE and MODIFY of topics and publications
//!   Admit     INSERT of topics and publications
//!   Release   DELETE of topics that had a share group: where `topic` has a row, that comes first
//!             ── the revision is installed ──
//!   Collect   after the drain time, DELETE what no row refers to any more
//! ```
//!
//! Rows of one stage need nothing of each other: where they are several batches, these are under way
//! together, and the next stage waits for all their answers. What Collect deletes is in nobody's way
//! either, so it goes along with the first batch of a round when one begins.
//!
//! Nothing is undone as such. A topic whose group or row could not be written leaves the plan (or
//! waits for another attempt), and what was prepared for it alone is then garbage like any other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::batches::batches;
use crate::constants::SESSION_COPY;
use crate::installed::Installed;
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::tables::{Key, Value, subscriber, topic};
use crate::withdrawn::Withdrawn;

/// What a write does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The row is new.
    Insert,
    /// The row is there and gets another value.
    Modify,
    /// The row goes.
    Delete,
}

/// One row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What to do.
    pub op: Op,
    /// Which row.
    pub key: Key,
    /// Its value; none for [`Op::Delete`].
    pub value: Option<Value>,
}

/// Why the switch did not take a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct RowError {
    /// The canonical code.
    pub code: tonic::Code,
    /// What the switch said.
    pub message: String,
}

/// A row that failed, for whoever is responsible for it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) update: Update,
    pub(crate) error: RowError,
    /// The table has no room.
    pub(crate) full: bool,
    /// In a row.
    pub(crate) attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Prepare,
    Members,
    Selectors,
    Shares,
    Retire,
    Admit,
    Release,
    Collect,
}

impl Stage {
    /// When a row is switched over.
    fn of(key: &Key, op: Op) -> Stage {
        match key {
            Key::ShareMember(_) => Stage::Members,
            Key::ShareGroup(_) => Stage::Selectors,
            Key::SharedTopic(_) if op == Op::Delete => Stage::Release,
            Key::SharedTopic(_) => Stage::Shares,
            _ if op == Op::Insert => Stage::Admit,
            _ => Stage::Retire,
        }
    }
}

#[derive(Debug)]
struct Retry {
    attempts: u32,
    at: Instant,
}

/// What a step of [`Apply::next_batch`] came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Write this, and tell `done` what came of it.
    Write(Vec<Update>),
    /// What was planned is on the switch, but for rows that will be tried again.
    Finished,
    /// There is nothing to do now.
    Rest,
}

/// The writing of one switch.
#[derive(Debug)]
pub(crate) struct Apply {
    pub(crate) installed: Installed,
    stage: Stage,
    queue: VecDeque<Vec<Update>>,
    /// Batches of the present stage that are under way, oldest first.
    in_flight: VecDeque<Vec<Update>>,
    /// The present round has taken garbage along.
    collected: bool,
    /// Rows of the present round that are to be switched over once all is prepared.
    switching: BTreeSet<Key>,
    /// Rows that are to be deleted, and when: packets under way may still need them.
    garbage: Schedule<Key>,
    /// Rows that the switch did not take, and when to try again.
    retries: HashMap<Key, Retry>,
    /// A row of the present round was not taken.
    failed: bool,
    batch: usize,
    drain: Duration,
    sizes: HashMap<&'static str, usize>,
    pub(crate) withdrawn: Withdrawn,
}

/// Batches of one stage that are under way at a time.
const MOST_IN_FLIGHT: usize = 4;

impl Apply {
    pub(crate) fn new(batch: usize, drain: Duration, sizes: HashMap<&'static str, usize>) -> Self {
        Self {
            installed: Installed::default(),
            stage: Stage::Idle,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            collected: false,
            switching: BTreeSet::new(),
            garbage: Schedule::default(),
            retries: HashMap::new(),
            failed: false,
            batch: batch.max(1),
            drain,
            sizes,
            withdrawn: Withdrawn::default(),
        }
    }

    /// Whether a new round may begin.
    pub(crate) fn is_idle(&self) -> bool {
        self.stage == Stage::Idle && self.in_flight.is_empty()
    }

    /// Begins a round: whatever of the touched rows differs from the switch is written.
    pub(crate) fn begin(&mut self, now: Instant, plan: &mut Plan) {
        self.failed = false;
        self.collected = false;
        let mut prepare = Vec::new();
        for key in plan.take_touched() {
            let (wanted, there) = (plan.get(&key), self.installed.get(&key));
            if wanted == there {
                self.retries.remove(&key);
                self.garbage.remove(&key);
                continue;
            }
            match &key {
                Key::Topic(_)
                | Key::SharedTopic(_)
                | Key::Publication(_)
                | Key::OpenPublication(_) => {
                    self.switching.insert(key);
                }
                Key::ShareMember(_) | Key::ShareGroup(_) if wanted.is_some() => {
                    self.garbage.remove(&key);
                    self.switching.insert(key);
                }
                _ if wanted.is_some() => {
                    self.garbage.remove(&key);
                    prepare.push(key);
                }
                Key::Group(_) | Key::Subscriber(_) | Key::ShareMember(_) | Key::ShareGroup(_) => {
                    // Whatever it was to become, it goes.
                    self.retries.remove(&key);
                    self.discard(now, key);
                }
                Key::SubscriberAlias(alias) => {
                    if plan.alias_is_stale(alias) {
                        prepare.push(key);
                    } else {
                        // As above; or the attempt that is due would begin round after round.
                        self.retries.remove(&key);
                        self.discard(now, key);
                    }
                }
                _ => {
                    self.switching.insert(key);
                }
            }
        }
        let updates = prepare.iter().filter_map(|key| self.difference(plan, key));
        let updates: Vec<Update> = updates.collect();
        self.stage = Stage::Prepare;
        self.enqueue_with_garbage(now, plan, updates);
    }

    /// Nothing that is planned refers to the row any more.
    fn discard(&mut self, now: Instant, key: Key) {
        if !self.garbage.contains(&key) {
            self.garbage.set(key, now + self.drain);
        }
    }

    fn difference(&self, plan: &Plan, key: &Key) -> Option<Update> {
        let (wanted, there) = (plan.get(key), self.installed.get(key));
        let (op, value) = match (wanted, there) {
            (None, None) => return None,
            (Some(wanted), Some(there)) if wanted == there => return None,
            (Some(wanted), Some(_)) => (Op::Modify, Some(wanted.clone())),
            (Some(wanted), None) => (Op::Insert, Some(wanted.clone())),
            (None, Some(_)) => (Op::Delete, None),
        };
        let key = *key;
        Some(Update { op, key, value })
    }

    fn enqueue(&mut self, updates: Vec<Update>) {
        self.queue.extend(batches(updates, self.batch));
    }

    /// Updates of a round, and before them, once in a round, the deletes that are due: while changes
    /// come without a pause there is no time between rounds.
    fn enqueue_with_garbage(&mut self, now: Instant, plan: &Plan, updates: Vec<Update>) {
        if updates.is_empty() {
            return;
        }
        if !self.collected {
            self.collected = true;
            let mut together = self.collect(now, plan);
            // A stale alias may be due as well.
            let deletes = updates.iter().filter(|update| update.op == Op::Delete);
            let deletes: HashSet<Key> = deletes.map(|update| update.key).collect();
            together.retain(|garbage| !deletes.contains(&garbage.key));
            together.extend(updates);
            self.enqueue(together);
        } else {
            self.enqueue(updates);
        }
    }

    /// The next step of the round, or of collecting garbage between rounds.
    pub(crate) fn next_step(&mut self, now: Instant, plan: &Plan) -> Step {
        loop {
            if self.in_flight.len() < MOST_IN_FLIGHT
                && let Some(batch) = self.queue.pop_front()
            {
                self.in_flight.push_back(batch.clone());
                return Step::Write(batch);
            }
            if !self.in_flight.is_empty() {
                return Step::Rest;
            }
            match self.stage {
                Stage::Idle => {
                    let garbage = self.collect(now, plan);
                    if garbage.is_empty() {
                        return Step::Rest;
                    }
                    self.enqueue(garbage);
                    self.stage = Stage::Collect;
                }
                Stage::Prepare => self.enter(now, plan, Stage::Members),
                Stage::Members => self.enter(now, plan, Stage::Selectors),
                Stage::Selectors => self.enter(now, plan, Stage::Shares),
                Stage::Shares => self.enter(now, plan, Stage::Retire),
                Stage::Retire => self.enter(now, plan, Stage::Admit),
                Stage::Admit => self.enter(now, plan, Stage::Release),
                Stage::Release => {
                    self.switching.clear();
                    self.stage = Stage::Idle;
                    return Step::Finished;
                }
                Stage::Collect => self.stage = Stage::Idle,
            }
        }
    }

    /// Queues what is switched over in this stage.
    fn enter(&mut self, now: Instant, plan: &Plan, stage: Stage) {
        let mut updates = Vec::new();
        let mut blocked = Vec::new();
        for key in &self.switching {
            let Some(update) = self.difference(plan, key) else {
                continue;
            };
            if Stage::of(key, update.op) != stage {
                continue;
            }
            if self.is_ready(plan, &update) {
                updates.push(update);
            } else {
                blocked.push(*key);
            }
        }
        for key in blocked {
            // What it lacks has failed and will be tried again; so must this be.
            self.note_failure(now, key);
        }
        self.stage = stage;
        self.enqueue_with_garbage(now, plan, updates);
    }

    /// Whether all that the row refers to is on the switch as planned.
    fn is_ready(&self, plan: &Plan, update: &Update) -> bool {
        let same = |key: &Key| {
            let wanted = plan.get(key);
            wanted.is_some() && wanted == self.installed.get(key)
        };
        let (topic_index, action) = match (&update.key, &update.value) {
            (Key::Topic(key), Some(Value::Topic(action))) => (key.topic_index, *action),
            (Key::ShareMember(id), Some(Value::ShareMember(offload))) => {
                let Some(topic) = plan.member_topic(*id) else {
                    return false;
                };
                (topic.0, topic::Action::Offload(*offload))
            }
            (_, Some(Value::ShareGroup(members))) => {
                return members.iter().all(|id| same(&Key::ShareMember(*id)));
            }
            (_, Some(Value::SharedTopic(group))) => {
                return same(&Key::CloneSession(SESSION_COPY)) && same(&Key::ShareGroup(*group));
            }
            _ => return true,
        };
        if !same(&Key::CloneSession(SESSION_COPY)) {
            return false;
        }
        // What was planned is on the switch, unless the switch did not take it.
        if !self.failed && self.retries.is_empty() {
            return true;
        }
        if let Some(rid) = action.rid() {
            return same(&Key::Subscriber(subscriber::Key { rid }));
        }
        let aliased = matches!(action, topic::Action::Offload(offload) if offload.aliased);
        action.groups().into_iter().flatten().all(|group| {
            let group = Key::Group(group);
            let Some(Value::Replicas(replicas)) = plan.get(&group) else {
                return false;
            };
            same(&group)
                && replicas.iter().all(|replica| {
                    let rid = replica.rid;
                    if rid == crate::constants::RID_COPY {
                        return true;
                    }
                    let alias = Key::SubscriberAlias(crate::tables::subscriber_alias::Key {
                        topic_index,
                        rid,
                    });
                    same(&Key::Subscriber(subscriber::Key { rid }))
                        && (!aliased || plan.get(&alias) == self.installed.get(&alias))
                })
        })
    }

    /// Deletes of what is due and nothing refers to.
    fn collect(&mut self, now: Instant, plan: &Plan) -> Vec<Update> {
        let due = self.garbage.due(now);
        let mut updates = Vec::new();
        for key in due {
            if plan.get(&key).is_some() || self.installed.get(&key).is_none() {
                self.garbage.remove(&key);
                continue;
            }
            let free = match &key {
                Key::Group(group) => !self.installed.group_in_use(*group),
                Key::Subscriber(key) => !self.installed.rid_in_use(key.rid),
                Key::SubscriberAlias(alias) => !self.topic_sends_to(alias.topic_index, alias.rid),
                Key::ShareMember(id) => !self.installed.member_in_use(*id),
                Key::ShareGroup(id) => !self.installed.selector_in_use(*id),
                _ => true,
            };
            if free {
                updates.extend(self.difference(plan, &key));
            } else if matches!(key, Key::Subscriber(_) | Key::ShareMember(_)) {
                // Its groups and aliases are deleted just now, or wait for their topics.
                self.garbage.set(key, now + Duration::from_millis(1));
            } else {
                self.garbage.set(key, now + self.drain);
            }
        }
        updates
    }

    /// Whether the topic's row on the switch leads to a copy with this replication id.
    fn topic_sends_to(&self, topic_index: u32, rid: u16) -> bool {
        let groups = self.groups_of(topic_index);
        groups
            .into_iter()
            .any(|group| match self.installed.get(&Key::Group(group)) {
                Some(Value::Replicas(replicas)) => replicas.iter().any(|r| r.rid == rid),
                _ => false,
            })
    }

    /// The multicast groups that the topic leads to on the switch.
    fn groups_of(&self, topic_index: u32) -> Vec<u16> {
        let key = Key::Topic(topic::Key { topic_index });
        let ordinary = match self.installed.get(&key) {
            Some(Value::Topic(action)) => action.groups(),
            _ => [None, None],
        };
        let shared = self.installed.share_members(topic_index).into_iter();
        let shared = shared.flat_map(|(_, offload)| offload.groups());
        ordinary.into_iter().flatten().chain(shared).collect()
    }

    /// Takes the switch's answer to the oldest batch in flight: one result a row, in its order. Gives
    /// the rows that failed and how many were deleted of each table.
    pub(crate) fn done(
        &mut self,
        now: Instant,
        plan: &Plan,
        results: Vec<Result<(), RowError>>,
    ) -> (Vec<Failed>, BTreeMap<&'static str, usize>) {
        let Some(batch) = self.in_flight.pop_front() else {
            return (Vec::new(), BTreeMap::new());
        };
        let mut failed = Vec::new();
        let mut deleted: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut again = Vec::new();
        let mut results = results.into_iter();
        for update in batch {
            let lacking = || RowError {
                code: tonic::Code::Internal,
                message: "the switch answered fewer updates than it got".into(),
            };
            let error = match results.next().unwrap_or_else(|| Err(lacking())) {
                Ok(()) => None,
                Err(error) => match (update.op, error.code) {
                    (Op::Delete, tonic::Code::NotFound) => None,
                    _ => Some(error),
                },
            };
            let Some(error) = error else {
                if update.op == Op::Delete {
                    *deleted.entry(update.key.table()).or_default() += 1;
                }
                self.retries.remove(&update.key);
                match &update.key {
                    Key::Topic(topic) | Key::SharedTopic(topic) => {
                        self.has_left(now, topic.topic_index);
                    }
                    // Its number is the topic's.
                    Key::ShareGroup(topic_index) => self.has_left(now, *topic_index),
                    Key::ShareMember(id) => {
                        if let Some(topic) = plan.member_topic(*id) {
                            self.has_left(now, topic.0);
                        }
                    }
                    _ => {}
                }
                match update.value {
                    Some(value) => {
                        if let Key::Publication(row) = &update.key {
                            self.withdrawn.stays(row);
                        }
                        self.installed.set(update.key, value);
                    }
                    None => {
                        self.garbage.remove(&update.key);
                        self.installed.remove(&update.key);
                        if let Key::Publication(row) = &update.key {
                            self.withdrawn.gone(now, row);
                        }
                    }
                }
                continue;
            };
            let attempts = self
                .retries
                .get(&update.key)
                .map_or(0, |retry| retry.attempts);
            // A row that the mirror did not know of, or knew in vain: once, the other way round.
            let other = match (update.op, error.code) {
                (Op::Insert, tonic::Code::AlreadyExists) => Some(Op::Modify),
                (Op::Modify, tonic::Code::NotFound) => Some(Op::Insert),
                _ => None,
            };
            if let Some(op) = other
                && attempts == 0
            {
                self.note_failure(now, update.key);
                again.push(Update { op, ..update });
                continue;
            }
            let full = error.code == tonic::Code::ResourceExhausted
                || (update.op == Op::Insert
                    && error.code == tonic::Code::Unknown
                    && self.is_full(&update.key));
            self.note_failure(now, update.key);
            if update.op == Op::Delete && self.garbage.contains(&update.key) {
                // Nothing waits for it.
                self.garbage.set(update.key, now + Duration::from_secs(1));
                self.retries.remove(&update.key);
            }
            failed.push(Failed {
                attempts: attempts + 1,
                update,
                error,
                full,
            });
        }
        if !again.is_empty() {
            self.queue.push_front(again);
        }
        (failed, deleted)
    }

    /// The topic's row was written: packets that still follow the row of before are under way from
    /// now on, however long ago it was planned to go.
    fn has_left(&mut self, now: Instant, topic_index: u32) {
        let drained = now + self.drain;
        for group in self.groups_of(topic_index) {
            if self.garbage.contains(&Key::Group(group)) {
                self.garbage.set(Key::Group(group), drained);
            }
        }
        let alias =
            |rid| Key::SubscriberAlias(crate::tables::subscriber_alias::Key { topic_index, rid });
        for key in self.garbage.between(alias(0), alias(u16::MAX)) {
            self.garbage.set(key, drained);
        }
    }

    /// BMv2 answers UNKNOWN where a table is full, and where it has no replicas left for a group: of how
    /// many it has nothing tells.
    fn is_full(&self, key: &Key) -> bool {
        if matches!(key, Key::Group(_)) {
            return true;
        }
        let used = self.installed.used().get(key.table()).copied();
        match (self.sizes.get(key.table()), used) {
            (Some(size), Some(used)) => used >= *size,
            _ => false,
        }
    }

    fn note_failure(&mut self, now: Instant, key: Key) {
        self.failed = true;
        let retry = self.retries.entry(key).or_insert(Retry {
            attempts: 0,
            at: now,
        });
        let wait = Duration::from_millis(10).saturating_mul(1 << retry.attempts.min(7));
        retry.attempts += 1;
        retry.at = now + wait;
    }

    /// Rows whose time for another attempt has come.
    pub(crate) fn due_retries(&mut self, now: Instant) -> Vec<Key> {
        let mut due: Vec<Key> = self
            .retries
            .iter()
            .filter(|(_, retry)| retry.at <= now)
            .map(|(key, _)| *key)
            .collect();
        due.sort_unstable();
        due
    }

    /// Nobody is to try this row again.
    pub(crate) fn forget_retry(&mut self, key: &Key) {
        self.retries.remove(key);
    }

    /// Rows that the switch does not hold as planned, because it did not take them.
    pub(crate) fn failing(&self, plan: &Plan) -> Vec<Key> {
        self.retries
            .keys()
            .filter(|key| plan.get(key) != self.installed.get(key))
            .copied()
            .collect()
    }

    /// Whether anything that is not planned is still on the switch.
    pub(crate) fn is_draining(&self) -> bool {
        !self.garbage.is_empty()
    }

    /// When something is to be done that no answer brings about.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if !self.in_flight.is_empty() {
            return None;
        }
        let retries = self.retries.values().map(|retry| retry.at);
        retries.chain(self.garbage.next()).min()
    }
}
