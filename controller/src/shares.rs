//! Share groups on the switch: which rows a topic's members become.

use std::collections::{BTreeMap, HashMap};

use offload::{Refusal, SessionId, Topic, TopicIndex};

use crate::places::View;
use crate::plan::{NotPlanned, Plan, TopicPlan};
use crate::tables::{Key, Replica, Replicas, Value, replication, share, topic};

/// The numbers of members in the selector.
#[derive(Debug, Default)]
pub(crate) struct Members {
    last: u32,
    topics: HashMap<u32, TopicIndex>,
}

impl Members {
    /// A number for a member of the topic: `known` (which holds its generation already) if that is
    /// free, else one for which `taken` is false.
    fn acquire(
        &mut self,
        topic: TopicIndex,
        known: Option<u32>,
        taken: impl Fn(u32) -> bool,
    ) -> u32 {
        let known = known.filter(|id| !self.topics.contains_key(id));
        let id = known.unwrap_or_else(|| {
            // Far fewer are taken than there are numbers: the search ends.
            loop {
                self.last = self.last.wrapping_add(1);
                let free = self.last != 0 && !self.topics.contains_key(&self.last);
                if free && !taken(self.last) {
                    break self.last;
                }
            }
        });
        self.topics.insert(id, topic);
        id
    }

    fn release(&mut self, id: u32) {
        self.topics.remove(&id);
    }

    /// Whose member it is.
    pub(crate) fn topic(&self, id: u32) -> Option<TopicIndex> {
        self.topics.get(&id).copied()
    }
}

/// What one topic has in the selector.
#[derive(Debug, Default)]
pub(crate) struct SharePlan {
    pub(crate) members: BTreeMap<SessionId, u32>,
    /// The multicast groups of each member.
    groups: Vec<u16>,
}

impl SharePlan {
    pub(crate) fn groups(&self) -> &[u16] {
        &self.groups
    }
}

/// What all members of a topic's share group have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// The broker's copy, where it wants one.
    pub(crate) copy: Replica,
    /// The topic's row, if there were no share group.
    pub(crate) offload: topic::Offload,
}

impl Plan {
    /// Plans one member of the selector for each share member: it and the ordinary subscribers.
    pub(crate) fn share(
        &mut self,
        view: &View<'_>,
        index: TopicIndex,
        topic: &Topic,
        base: Base,
        plan: &mut TopicPlan,
    ) -> Result<Vec<(u32, topic::Offload)>, NotPlanned> {
        let installed = view.installed;
        let mut made: Vec<(u16, Replicas)> = Vec::new();
        let mut members = Vec::new();
        for (&session, member) in &topic.shared {
            let mut groups = [0; 2];
            let sides = [
                (&topic.served_q0, topic.copy_q0, true),
                (&topic.served_q1, topic.copy_q1, member.serve_q1),
            ];
            for (group, (served, copy, own)) in groups.iter_mut().zip(sides) {
                if served.is_empty() && !own {
                    continue;
                }
                let copy = copy.then_some(base.copy);
                let own = own.then_some(&session);
                let served = served.iter().chain(own);
                let served = served
                    .filter_map(|session| plan.members.get(session).map(|place| place.replica));
                let replicas = replication::replicas(served.chain(copy));
                let id = self
                    .acquire_group(view, index, &replicas)
                    .map_err(Refusal::from)?;
                plan.share.groups.push(id);
                made.push((id, replicas));
                *group = id;
            }
            let offload = topic::Offload {
                group_q0: groups[0],
                group_q1: groups[1],
                generation: member.generation.0,
                ..base.offload
            };
            members.push((session, offload));
        }
        // Nothing below fails.
        for (group, replicas) in made {
            self.set(Key::Group(group), Value::Replicas(replicas));
        }
        let mut rows = Vec::new();
        for (session, offload) in members {
            let before = self.member_of(index, session);
            let id = before.unwrap_or_else(|| {
                let known = installed.share_member_of(offload.generation);
                let taken = |id| installed.get(&Key::ShareMember(id)).is_some();
                self.members.acquire(index, known, taken)
            });
            plan.share.members.insert(session, id);
            rows.push((id, offload));
        }
        Ok(rows)
    }

    /// The rows of a topic that has a share group now.
    pub(crate) fn set_share(&mut self, index: TopicIndex, rows: Vec<(u32, topic::Offload)>) {
        let members = share::members(rows.iter().map(|&(id, _)| id));
        for (id, offload) in rows {
            self.set(Key::ShareMember(id), Value::ShareMember(offload));
        }
        self.set(Key::ShareGroup(index.0), Value::ShareGroup(members));
        self.set(shared_key(index), Value::SharedTopic(index.0));
    }

    /// The topic has no share group any more.
    pub(crate) fn unset_share(&mut self, index: TopicIndex) {
        self.unset(shared_key(index));
        self.unset(Key::ShareGroup(index.0));
    }

    /// Members that the topic had and has no more.
    pub(crate) fn release_members(&mut self, old: &SharePlan, new: &SharePlan) {
        for (session, &id) in &old.members {
            if new.members.get(session) != Some(&id) {
                self.members.release(id);
                self.unset(Key::ShareMember(id));
            }
        }
    }
}

pub(crate) fn shared_key(index: TopicIndex) -> Key {
    Key::SharedTopic(topic::Key {
        topic_index: index.0,
    })
}
