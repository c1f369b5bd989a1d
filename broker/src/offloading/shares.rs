//! Share groups in the data plane: among which members it may choose.
//!
//! A topic with one group can have it there: each member becomes one way to serve a PUBLISH, that member
//! and the ordinary subscribers, under a generation of its own. Which one the data plane takes is left
//! to it. Members that are away are left out, as they are by the broker; where a member is there and
//! cannot be served so, the broker serves the whole group, or that one would never get anything.

use std::collections::BTreeMap;
use std::time::Instant;

use mqttsn::Qos;
use offload::{Alias, Revision, SessionId, ShareMember, TopicIndex};

use super::generations::{Chosen, Served};
use super::intent::Unserved;
use super::{Offloading, contract_alias};
use crate::session::store::Sessions;
use crate::shares::{ShareId, Shares};
use crate::subscriptions::{Grant, Subscriptions};
use crate::topics::Topic;

/// All share groups and their members.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'a> {
    pub(crate) shares: &'a Shares,
    pub(crate) subscriptions: &'a Subscriptions,
}

impl Groups<'_> {
    fn members(&self, share: ShareId) -> Option<&BTreeMap<SessionId, Grant>> {
        self.subscriptions.of_filter(self.shares.filter(share)?)
    }
}

/// How the data plane could serve one member.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    q1: bool,
    alias: Option<Alias>,
}

/// What the data plane could do for the share groups of a topic.
#[derive(Debug, Default)]
pub(super) struct SharePlan {
    /// The group among whose members it chooses; `None` where the broker serves all groups.
    share: Option<ShareId>,
    members: BTreeMap<SessionId, Candidate>,
    /// The broker serves groups at QoS 0 and −1.
    pub(super) copy_q0: bool,
    /// The broker serves groups at QoS 1, or members who get that from it alone.
    pub(super) copy_q1: bool,
}

impl SharePlan {
    fn software() -> Self {
        SharePlan {
            copy_q0: true,
            copy_q1: true,
            ..SharePlan::default()
        }
    }
}

impl Offloading {
    /// What the data plane can do for the share groups of the topic.
    pub(super) fn share_plan(
        &self,
        index: TopicIndex,
        topic: &Topic,
        sessions: &mut Sessions,
        groups: Groups<'_>,
    ) -> SharePlan {
        let share = match topic.shares[..] {
            [] => return SharePlan::default(),
            [only] => only.id,
            // The data plane chooses once for a PUBLISH.
            _ => return SharePlan::software(),
        };
        let home = contract_alias(topic.home);
        let mut plan = SharePlan {
            share: Some(share),
            ..SharePlan::default()
        };
        for (&id, grant) in groups.members(share).into_iter().flatten() {
            let (Some(subscriber), Some(session)) =
                (topic.subscribers.get(&id), sessions.get_mut(id))
            else {
                continue;
            };
            if subscriber.ordinary.is_some() {
                // It is owed two copies, and a group of the switch brings it one.
                return SharePlan::software();
            }
            match self.eligible(index, session, subscriber) {
                Ok(()) => {}
                Err(Unserved::NotConnected | Unserved::TopicIdRejected) => continue,
                Err(Unserved::Queued) => {
                    session.deferred.insert(index);
                    continue;
                }
                Err(_) => return SharePlan::software(),
            }
            let q1 = grant.qos == Qos::Zero
                && (subscriber.served.current().q1 || session.outbox.is_empty());
            if grant.qos == Qos::Zero && !q1 {
                session.deferred.insert(index);
            }
            plan.copy_q1 |= !q1;
            let alias = subscriber.alias.map(contract_alias);
            let alias = alias.filter(|&alias| alias != home);
            plan.members.insert(id, Candidate { q1, alias });
        }
        match plan.members.is_empty() {
            true => SharePlan::software(),
            false => plan,
        }
    }

    /// The members that come, change or go; each change under a new generation of that member. With
    /// `anew` the topic has got a new generation itself, and so all members get one.
    pub(super) fn share_step(
        &mut self,
        now: Instant,
        topic: &mut Topic,
        before: &BTreeMap<SessionId, ShareMember>,
        plan: &SharePlan,
        anew: bool,
    ) -> Vec<(SessionId, Option<ShareMember>)> {
        let anew = anew || topic.planned_share != plan.share;
        topic.planned_share = plan.share;
        let memory = self.config.generation_memory();
        let revision = Revision(self.intent.revision.0 + 1);
        let mut step = Vec::new();
        for &id in before.keys().filter(|id| !plan.members.contains_key(id)) {
            topic.generations.supersede_member(now, id);
            note(topic, id, self.sequence, Served::default(), revision);
            step.push((id, None));
        }
        let Some(share) = plan.share else {
            return step;
        };
        for (&id, candidate) in &plan.members {
            let was = before.get(&id);
            let mut member = ShareMember {
                generation: was.map(|was| was.generation).unwrap_or_default(),
                serve_q1: candidate.q1,
                alias: candidate.alias,
            };
            if anew || was.is_none_or(|was| was.serve_q1 != candidate.q1) {
                topic.generations.supersede_member(now, id);
                self.sequence += 1;
                let served = Served {
                    q0: true,
                    q1: candidate.q1,
                };
                let chosen = Chosen {
                    share,
                    member: id,
                    served,
                };
                let sequence = self.sequence;
                topic
                    .generations
                    .start_member(now, sequence, memory, chosen);
                note(topic, id, sequence, served, revision);
                member.generation = self.generation(sequence);
            }
            if was != Some(&member) {
                step.push((id, Some(member)));
            }
        }
        step
    }
}

/// Notes what the data plane does for a member from now on.
fn note(topic: &mut Topic, id: SessionId, sequence: u64, served: Served, revision: Revision) {
    let subscriber = topic.subscribers.get_mut(&id);
    if let Some(subscriber) = subscriber.filter(|s| s.ordinary.is_none()) {
        // Nobody asks what it was before: that is in the generations.
        subscriber.served.record(sequence, served, revision, None);
    }
}
