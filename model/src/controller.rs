//! The controller: plan, phases, garbage. Each function names the one of the crate `controller` that it
//! stands for.

use crate::broker::{FromBroker, FromController, Intent, Wanted};
use crate::rules::{Mutant, Rules};
use crate::switch::{Replicas, Rows, TopicRow, Write};
use crate::{CLIENTS, Clients, GROUPS, RIDS, TOPICS};

/// `apply::Stage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    #[default]
    Idle,
    Prepare,
    Retire,
    Admit,
    Collect,
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The switch has not come to it.
    Waits,
    /// It took effect.
    Done,
    /// There was no room.
    Failed,
}

/// `plan::TopicPlan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TopicPlan {
    groups: [Option<u8>; 2],
    clients: Clients,
}

/// A number given out, and how many use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Given<T> {
    what: T,
    users: u8,
}

/// No number is left.
struct Exhausted;

/// The controller of the switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Controller {
    /// It has a link to the broker.
    pub linked: bool,
    synced: bool,
    intent: Option<Intent>,
    dirty: u8,
    withheld: u8,
    redo: bool,
    topics: [Option<TopicPlan>; TOPICS],
    /// By client.
    rids: [Option<Given<u8>>; CLIENTS],
    groups: [Option<Given<Replicas>>; GROUPS],
    desired: Rows,
    touched: bool,
    /// What is on the switch (`installed::Installed`).
    mirror: Rows,
    stage: Stage,
    /// The write under way. Its updates take effect in any order.
    pub batch: Vec<(Write, Fate)>,
    switching: u8,
    /// To be deleted when no packet from before this message is in the switch any more.
    garbage_groups: [Option<u8>; GROUPS],
    garbage_rids: [Option<u8>; RIDS],
    planned: Option<u8>,
    installed: Option<u8>,
    /// It has read the switch's clock, which ends whatever lease there was.
    pub read_clock: bool,
}

impl Controller {
    /// `Session::start`: the switch is read back.
    pub(crate) fn start(rules: &Rules, rows: &Rows) -> Self {
        let mirror = if rules.is(Mutant::NoReadBack) {
            Rows::default()
        } else {
            rows.clone()
        };
        Controller {
            mirror,
            ..Controller::default()
        }
    }

    /// `Device::link_opened`.
    pub(crate) fn link(&mut self, endpoints: Clients) -> Vec<FromController> {
        self.linked = true;
        vec![FromController::Hello(endpoints)]
    }

    /// `Device::link_lost`.
    pub(crate) fn unlink(&mut self) {
        self.linked = false;
        self.synced = false;
        self.installed = None;
    }

    /// `Device::may_renew`, but for its overdue check: the broker's own must do.
    pub(crate) fn may_renew(&self, rules: &Rules) -> bool {
        self.linked && (self.installed.is_some() || rules.is(Mutant::GrantBeforeSnapshot))
    }

    /// `Device::snapshot` and `Device::delta`.
    pub(crate) fn hear(&mut self, message: &FromBroker) {
        match message {
            FromBroker::Snapshot(intent) => {
                self.planned = None;
                self.installed = None;
                self.synced = true;
                self.intent = Some(intent.clone());
                self.dirty = (1 << TOPICS) - 1;
                self.touched = true;
            }
            FromBroker::Delta(intent) => {
                for index in 0..TOPICS {
                    let before = self.intent.as_ref().and_then(|old| old.topics[index]);
                    if before != intent.topics[index] {
                        self.dirty |= 1 << index;
                    }
                }
                self.intent = Some(intent.clone());
            }
            FromBroker::Grant(_) => {}
        }
    }

    /// `Device::next_batch`: goes on until something is to be written or nothing is left to do.
    /// `mark` is the number of the next message.
    pub(crate) fn pump(&mut self, rules: &Rules, mark: u8) -> Vec<FromController> {
        let mut said = Vec::new();
        while self.batch.is_empty() {
            if self.stage == Stage::Idle {
                let replanned = self.replan(rules);
                let revision = self.intent.as_ref().map(|intent| intent.revision);
                if self.touched {
                    self.planned = revision;
                    self.begin(rules, mark);
                    continue;
                } else if replanned || self.planned != revision {
                    self.planned = revision;
                    self.finish(&mut said);
                }
            }
            // `Apply::next_step`.
            match self.stage {
                Stage::Idle => return said,
                Stage::Prepare => {
                    self.switch(|write, there| write.is_delete() || there);
                    self.stage = Stage::Retire;
                }
                Stage::Retire => {
                    self.switch(|write, there| !write.is_delete() && !there);
                    self.stage = Stage::Admit;
                }
                Stage::Admit => {
                    self.switching = 0;
                    self.stage = Stage::Idle;
                    self.finish(&mut said);
                }
                Stage::Collect => self.stage = Stage::Idle,
            }
        }
        said
    }

    /// `Device::finish`.
    fn finish(&mut self, said: &mut Vec<FromController>) {
        if self.redo || self.touched || !self.synced {
            return;
        }
        if let Some(planned) = self.planned
            && self.linked
            && self.installed != Some(planned)
        {
            self.installed = Some(planned);
            said.push(FromController::Installed(planned));
        }
    }

    // ---- Planning -----------------------------------------------------------------------------

    /// `Device::replan`.
    fn replan(&mut self, rules: &Rules) -> bool {
        self.redo = false;
        if self.dirty == 0 {
            return false;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let Some(intent) = self.intent.take() else {
            return true;
        };
        for index in 0..TOPICS {
            if dirty & (1 << index) != 0 {
                let withheld = self.withheld & (1 << index) != 0;
                let wanted = intent.topics[index].filter(|_| !withheld);
                self.plan_topic(rules, index, wanted);
            }
        }
        self.intent = Some(intent);
        let groups = self.groups.map(|group| group.map(|given| given.what));
        let mut subscribers = [None; RIDS];
        for (client, rid) in self.rids.iter().enumerate() {
            if let Some(given) = rid {
                subscribers[usize::from(given.what)] = Some(client as u8);
            }
        }
        if self.desired.groups != groups || self.desired.subscribers != subscribers {
            self.desired.groups = groups;
            self.desired.subscribers = subscribers;
            self.touched = true;
        }
        true
    }

    /// `Plan::topic`: new before old, so that what both use is never let go.
    fn plan_topic(&mut self, rules: &Rules, index: usize, wanted: Option<Wanted>) {
        let built = wanted.and_then(|wanted| {
            let mut plan = TopicPlan {
                groups: [None; 2],
                clients: 0,
            };
            let result = self.fill(rules, &wanted, &mut plan);
            if result.is_err() {
                self.release(plan);
                self.withheld |= 1 << index;
            }
            result.ok().map(|row| (plan, row))
        });
        if let Some(old) = self.topics[index].take() {
            self.release(old);
        }
        self.topics[index] = built.map(|(plan, _)| plan);
        let row = built.map(|(_, row)| row);
        if self.desired.topics[index] != row {
            self.desired.topics[index] = row;
            self.touched = true;
        }
    }

    /// `Plan::fill`.
    fn fill(
        &mut self,
        rules: &Rules,
        wanted: &Wanted,
        plan: &mut TopicPlan,
    ) -> Result<TopicRow, Exhausted> {
        let all = wanted.served[0] | wanted.served[1];
        for client in (0..CLIENTS).filter(|client| all & (1 << client) != 0) {
            self.acquire_rid(rules, client)?;
            plan.clients |= 1 << client;
        }
        for side in 0..2 {
            let mut rids = 0;
            for client in (0..CLIENTS).filter(|client| wanted.served[side] & (1 << client) != 0) {
                if let Some(given) = self.rids[client] {
                    rids |= 1 << given.what;
                }
            }
            if rids != 0 {
                let copy = wanted.copy[side];
                let group = self.acquire_group(rules, Replicas { rids, copy })?;
                plan.groups[side] = Some(group);
            }
        }
        Ok(TopicRow {
            generation: wanted.generation,
            groups: plan.groups,
            copy: wanted.copy,
            ack_q1: !wanted.copy[1],
        })
    }

    /// `Rids::acquire`. Free numbers are given out lowest first here, which brings them back sooner.
    fn acquire_rid(&mut self, rules: &Rules, client: usize) -> Result<(), Exhausted> {
        if let Some(given) = &mut self.rids[client] {
            given.users += 1;
            return Ok(());
        }
        let rids = &self.rids;
        let owned = |rid: usize| {
            rids.iter()
                .flatten()
                .any(|given| usize::from(given.what) == rid)
        };
        let mut rows = self.mirror.subscribers.iter();
        let known = rows
            .position(|row| *row == Some(client as u8))
            .filter(|rid| !owned(*rid));
        let taken = |rid: usize| {
            !rules.is(Mutant::RidReusedEarly)
                && (self.mirror.rid_in_use(rid) || self.mirror.subscribers[rid].is_some())
        };
        let free = || (0..RIDS).find(|rid| !owned(*rid) && !taken(*rid));
        let what = known.or_else(free).ok_or(Exhausted)? as u8;
        self.rids[client] = Some(Given { what, users: 1 });
        Ok(())
    }

    /// `Groups::acquire`.
    fn acquire_group(&mut self, rules: &Rules, replicas: Replicas) -> Result<u8, Exhausted> {
        let mut groups = self.groups.iter_mut();
        let planned = groups.position(|group| group.is_some_and(|given| given.what == replicas));
        if let Some(at) = planned {
            if let Some(given) = &mut self.groups[at] {
                given.users += 1;
            }
            return Ok(at as u8);
        }
        let owned = |group: usize| self.groups[group].is_some();
        let mut rows = self.mirror.groups.iter();
        let known = rows
            .position(|row| *row == Some(replicas))
            .filter(|group| !owned(*group));
        let taken = |group: usize| {
            !rules.is(Mutant::GroupReusedEarly) && self.mirror.groups[group].is_some()
        };
        let free = || (0..GROUPS).find(|group| !owned(*group) && !taken(*group));
        let at = known.or_else(free).ok_or(Exhausted)?;
        self.groups[at] = Some(Given {
            what: replicas,
            users: 1,
        });
        Ok(at as u8)
    }

    /// `Plan::release`.
    fn release(&mut self, plan: TopicPlan) {
        fn less<T: Copy>(slot: &mut Option<Given<T>>) {
            *slot = slot.and_then(|given| {
                let users = given.users - 1;
                (users > 0).then_some(Given { users, ..given })
            });
        }
        for group in plan.groups.into_iter().flatten() {
            less(&mut self.groups[usize::from(group)]);
        }
        for client in (0..CLIENTS).filter(|client| plan.clients & (1 << client) != 0) {
            less(&mut self.rids[client]);
        }
    }

    // ---- Writing ------------------------------------------------------------------------------

    /// `Apply::begin`.
    fn begin(&mut self, rules: &Rules, mark: u8) {
        self.touched = false;
        for group in 0..GROUPS {
            let (wanted, there) = (self.desired.groups[group], self.mirror.groups[group]);
            if wanted.is_some() || there.is_none() {
                self.garbage_groups[group] = None;
            } else {
                self.garbage_groups[group].get_or_insert(mark);
            }
            if wanted.is_some() && wanted != there {
                self.write(Write::Group(group as u8, wanted));
            }
        }
        for rid in 0..RIDS {
            let (wanted, there) = (self.desired.subscribers[rid], self.mirror.subscribers[rid]);
            if wanted.is_some() || there.is_none() {
                self.garbage_rids[rid] = None;
            } else {
                self.garbage_rids[rid].get_or_insert(mark);
            }
            if wanted.is_some() && wanted != there {
                self.write(Write::Subscriber(rid as u8, wanted));
            }
        }
        for topic in 0..TOPICS {
            if self.desired.topics[topic] != self.mirror.topics[topic] {
                self.switching |= 1 << topic;
            }
        }
        self.stage = Stage::Prepare;
        if rules.is(Mutant::OneBatch) {
            for topic in 0..TOPICS {
                if self.switching & (1 << topic) != 0 {
                    self.write(Write::Topic(topic as u8, self.desired.topics[topic]));
                }
            }
            self.switching = 0;
        }
    }

    fn write(&mut self, write: Write) {
        self.batch.push((write, Fate::Waits));
    }

    /// `Apply::switch`: topics whose groups and subscribers are as planned.
    fn switch(&mut self, of: impl Fn(&Write, bool) -> bool) {
        for topic in 0..TOPICS {
            let (wanted, there) = (self.desired.topics[topic], self.mirror.topics[topic]);
            let write = Write::Topic(topic as u8, wanted);
            let due = self.switching & (1 << topic) != 0 && wanted != there;
            if due && of(&write, there.is_some()) && wanted.is_none_or(|row| self.is_ready(&row)) {
                self.write(write);
            }
        }
    }

    /// `Apply::is_ready`.
    fn is_ready(&self, row: &TopicRow) -> bool {
        row.groups.iter().flatten().all(|&group| {
            let group = usize::from(group);
            let Some(replicas) = self.desired.groups[group] else {
                return false;
            };
            let rids = (0..RIDS).filter(|rid| replicas.rids & (1 << rid) != 0);
            let same = |rid: usize| self.desired.subscribers[rid] == self.mirror.subscribers[rid];
            self.mirror.groups[group] == Some(replicas) && rids.into_iter().all(same)
        })
    }

    /// `Apply::done` and `Device::failed`: all of the batch is answered.
    pub(crate) fn batch_done(&mut self, rules: &Rules, mark: u8) {
        for (write, fate) in std::mem::take(&mut self.batch) {
            if fate == Fate::Failed {
                self.withhold(write);
                continue;
            }
            if let Write::Topic(topic, _) = write
                && let Some(before) = self.mirror.topics[usize::from(topic)]
                && !rules.is(Mutant::DrainFromPlan)
            {
                // `Apply::has_left`.
                for group in before.groups.into_iter().flatten() {
                    if let Some(at) = &mut self.garbage_groups[usize::from(group)] {
                        *at = mark;
                    }
                }
            }
            match write {
                Write::Group(group, None) => self.garbage_groups[usize::from(group)] = None,
                Write::Subscriber(rid, None) => self.garbage_rids[usize::from(rid)] = None,
                _ => {}
            }
            self.mirror.apply(write);
            if write.is_delete() {
                // `Refusals::room`.
                self.dirty |= std::mem::take(&mut self.withheld);
            }
        }
    }

    /// `Device::withhold_topic`, of all topics that need the row.
    fn withhold(&mut self, write: Write) {
        let mut needs = 0u8;
        for (index, plan) in self.topics.iter().enumerate() {
            let Some(plan) = plan else { continue };
            let needed = match write {
                Write::Topic(topic, _) => usize::from(topic) == index,
                Write::Group(group, _) => plan.groups.contains(&Some(group)),
                Write::Subscriber(rid, _) => (0..CLIENTS).any(|client| {
                    let owns = self.rids[client].is_some_and(|given| given.what == rid);
                    owns && plan.clients & (1 << client) != 0
                }),
            };
            needs |= u8::from(needed) << index;
        }
        self.withheld |= needs;
        self.dirty |= needs;
        self.redo = true;
        // `Device::failed` has the row looked at again, and `Apply::enter` the topics that lack it: a
        // delete of the same round may make room for them before they are planned anew.
        self.touched = true;
    }

    // ---- Garbage ------------------------------------------------------------------------------

    /// `Apply::collect`: deletes of what is due and nothing refers to. `is_drained` says whether the
    /// drain time from that message on is over.
    ///
    /// They go alone, or along with a batch that has just begun (`Apply::enqueue_with_garbage`).
    pub(crate) fn garbage(&self, is_drained: impl Fn(u8) -> bool) -> Vec<Write> {
        let garbage =
            |write: &Write| matches!(write, Write::Group(_, None) | Write::Subscriber(_, None));
        let begins = self
            .batch
            .iter()
            .all(|(write, fate)| *fate == Fate::Waits && !garbage(write));
        let has_place = match self.stage {
            Stage::Idle => self.batch.is_empty(),
            Stage::Prepare | Stage::Retire | Stage::Admit => !self.batch.is_empty() && begins,
            Stage::Collect => false,
        };
        if !has_place {
            return Vec::new();
        }
        let due = |mark: Option<u8>| mark.is_some_and(&is_drained);
        let groups = (0..GROUPS)
            .filter(|&group| due(self.garbage_groups[group]) && !self.mirror.group_in_use(group))
            .map(|group| Write::Group(group as u8, None));
        let rids = (0..RIDS)
            .filter(|&rid| due(self.garbage_rids[rid]) && !self.mirror.rid_in_use(rid))
            .map(|rid| Write::Subscriber(rid as u8, None));
        groups.chain(rids).collect()
    }

    /// The drain time is over.
    pub(crate) fn collect(&mut self, garbage: Vec<Write>) {
        if self.stage == Stage::Idle {
            self.stage = Stage::Collect;
        }
        for write in garbage {
            self.write(write);
        }
    }

    /// Whether nothing is left to write, now or later, and the broker knows.
    pub(crate) fn is_settled(&self) -> bool {
        let revision = self.intent.as_ref().map(|intent| intent.revision);
        self.stage == Stage::Idle
            && self.desired == self.mirror
            && self.installed.is_some()
            && self.installed == revision
    }
}
