//! From sessions and subscriptions to the intent: which sessions the data plane serves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use mqttsn::Qos;
use offload::{
    Alias, Change, Generation, Member, Revision, Serve, SessionId, Topic as Wanted, TopicIndex,
};

use super::generations::Served;
use super::shares::Groups;
use super::{Offloading, contract_alias};
use crate::session::store::Sessions;
use crate::session::{Session, State};
use crate::topics::{Subscriber, Topic, Topics};

/// Why a session is not served by the data plane, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Unserved {
    /// It is not connected, asleep, or its CONNACK waits.
    NotConnected,
    /// It does not know a topic id yet.
    NoTopicId,
    /// It refused the topic id.
    TopicIdRejected,
    /// It is behind a forwarder.
    BehindForwarder,
    /// The controller does not know how to reach its address.
    Unreachable,
    /// The controller refused it.
    Refused,
    /// Older messages still wait for it.
    Queued,
    /// The data plane serves its share group by other members, or not at all.
    Shared,
}

impl Offloading {
    /// Whether the data plane can serve the session on a topic, else why not.
    pub(crate) fn eligible(
        &self,
        index: TopicIndex,
        session: &Session,
        subscriber: &Subscriber,
    ) -> Result<(), Unserved> {
        let ip = session.peer.address.ip();
        if session.state != State::Active || !session.ready {
            Err(Unserved::NotConnected)
        } else if subscriber.rejected {
            Err(Unserved::TopicIdRejected)
        } else if subscriber.alias.is_none() {
            Err(Unserved::NoTopicId)
        } else if !session.peer.is_direct() {
            Err(Unserved::BehindForwarder)
        } else if session.refusal.is_some() {
            Err(Unserved::Refused)
        } else if !self.is_reachable(ip) {
            Err(Unserved::Unreachable)
        } else if session.hand_over.contains(&index) {
            Err(Unserved::Queued)
        } else if !subscriber.served.current().q0 && !session.outbox.is_empty() {
            // A newer message must not overtake those that wait. A session that is served already
            // stays so: what it gets at QoS 0 no longer waits in its outbox (see `deliver`).
            Err(Unserved::Queued)
        } else {
            Ok(())
        }
    }

    /// Brings the intent up to date with the topics marked, and makes it one revision.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        topics: &mut Topics,
        sessions: &mut Sessions,
        groups: Groups<'_>,
    ) {
        if !self.config.enabled {
            return;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut moved = BTreeSet::new();
        let mut topic_changes = Vec::new();
        for (index, marked) in dirty {
            let change = match topics.get_mut(index) {
                Some(topic) if !topic.subscribers.is_empty() || topic.publications > 0 => {
                    if self.intent.topics.contains_key(&index) {
                        self.next_step(now, index, &marked, topic, sessions, groups)
                    } else {
                        let next = self.first_step(now, index, topic, sessions, groups);
                        Some(Change::Topic(index, Some(next)))
                    }
                }
                topic => {
                    if let Some(topic) = topic {
                        topic.generations.supersede(now);
                    }
                    let known = self.intent.topics.contains_key(&index);
                    known.then_some(Change::Topic(index, None))
                }
            };
            if let Some(change) = change {
                self.count_served(&change, &mut moved);
                topic_changes.push(change);
            }
        }
        self.change_sessions(moved, topic_changes, sessions);
        self.commit(now);
    }

    /// Counts the topics that serve each session; `moved` are those of whom that changed.
    fn count_served(&mut self, change: &Change, moved: &mut BTreeSet<SessionId>) {
        let mut count = |session, was: bool, is: bool| {
            if was == is {
                return;
            }
            moved.insert(session);
            let count = self.served.entry(session).or_default();
            *count = if is {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        };
        match change {
            Change::Topic(index, next) => {
                let before = self.intent.topics.get(index);
                let served = |topic: &Wanted| {
                    let ordinary = topic.served_q0.iter();
                    ordinary.chain(topic.shared.keys()).copied().collect()
                };
                let was: Vec<SessionId> = before.map(served).unwrap_or_default();
                let is: Vec<SessionId> = next.as_ref().map(served).unwrap_or_default();
                was.into_iter().for_each(|id| count(id, true, false));
                is.into_iter().for_each(|id| count(id, false, true));
            }
            Change::Serve(index, step) => {
                let before = self.intent.topics.get(index);
                for (session, to) in &step.members {
                    let was = before.is_some_and(|topic| topic.served_q0.contains(session));
                    count(*session, was, to.is_some_and(|member| member.q0));
                }
                for (session, to) in &step.shared {
                    let was = before.is_some_and(|topic| topic.shared.contains_key(session));
                    count(*session, was, to.is_some());
                }
            }
            _ => {}
        }
    }

    /// A session stands in the intent before the first topic that serves it, until after the last.
    fn change_sessions(
        &mut self,
        moved: BTreeSet<SessionId>,
        topic_changes: Vec<Change>,
        sessions: &Sessions,
    ) {
        let mut gone = Vec::new();
        for id in moved {
            let count = self.served.get(&id).copied().unwrap_or(0);
            let address = sessions.get(id).map(|session| session.peer.address);
            match address.filter(|_| count > 0) {
                Some(address) => {
                    if self.intent.sessions.get(&id) != Some(&address) {
                        self.changes.push(Change::Session(id, Some(address)));
                    }
                }
                None => {
                    self.served.remove(&id);
                    if self.intent.sessions.contains_key(&id) {
                        gone.push(Change::Session(id, None));
                    }
                }
            }
        }
        self.changes.extend(topic_changes);
        self.changes.extend(gone);
    }

    /// How the data plane shall serve the session on the topic; None: not at all.
    fn member(
        &self,
        index: TopicIndex,
        home: Alias,
        session: &mut Session,
        subscriber: &Subscriber,
    ) -> Option<Member> {
        let ordinary = subscriber.ordinary?;
        let eligible = self.eligible(index, session, subscriber);
        let alias = subscriber.alias.filter(|_| eligible.is_ok());
        let serve_q1 = alias.is_some()
            && ordinary.granted == Qos::Zero
            && (subscriber.served.current().q1 || session.outbox.is_empty());
        let waits_for_q1 = alias.is_some() && ordinary.granted == Qos::Zero && !serve_q1;
        if eligible == Err(Unserved::Queued) || waits_for_q1 {
            session.deferred.insert(index);
        }
        let alias = contract_alias(alias?);
        Some(Member {
            q0: true,
            q1: serve_q1,
            alias: (alias != home).then_some(alias),
        })
    }

    /// What the data plane shall do with a topic that is not part of the intent.
    fn first_step(
        &mut self,
        now: Instant,
        index: TopicIndex,
        topic: &mut Topic,
        sessions: &mut Sessions,
        groups: Groups<'_>,
    ) -> Wanted {
        let home = contract_alias(topic.home);
        let plan = self.share_plan(index, topic, sessions, groups);
        let mut members = Vec::new();
        let ordinary = topic.subscribers.iter();
        for (&id, subscriber) in ordinary.filter(|(_, s)| s.ordinary.is_some()) {
            if let Some(session) = sessions.get_mut(id) {
                members.push((id, self.member(index, home, session, subscriber)));
            }
        }
        let everybody = |of: fn(Member) -> bool| members.iter().all(|(_, to)| to.is_some_and(of));
        let copy_q0 = plan.copy_q0 || !everybody(|m| m.q0);
        let copy_q1 = plan.copy_q1 || !everybody(|m| m.q1);
        let mut next = Wanted {
            name: topic.name.as_ref().to_owned(),
            generation: Generation::default(),
            home_alias: home,
            served_q0: BTreeSet::new(),
            served_q1: BTreeSet::new(),
            copy_q0,
            copy_q1,
            ack_q1: !copy_q1,
            shared: BTreeMap::new(),
            aliases: BTreeMap::new(),
        };
        let generation = self.start_generation(now, topic, &members);
        let shared = self.share_step(now, topic, &BTreeMap::new(), &plan, true);
        next.serve(&Serve {
            generation,
            copy_q0,
            copy_q1,
            ack_q1: !copy_q1,
            members,
            shared,
        });
        next
    }

    /// What becomes of a topic of the intent now that these sessions were marked; None if nothing.
    ///
    /// Costs what was marked, not what subscribes; but each step costs all members of a share group.
    fn next_step(
        &mut self,
        now: Instant,
        index: TopicIndex,
        marked: &BTreeSet<SessionId>,
        topic: &mut Topic,
        sessions: &mut Sessions,
        groups: Groups<'_>,
    ) -> Option<Change> {
        let plan = self.share_plan(index, topic, sessions, groups);
        let before = self.intent.topics.get(&index)?;
        let mut marked_now = Vec::with_capacity(marked.len());
        let mut members = Vec::new();
        let mut same_sets = true;
        let (mut q0, mut q1) = (before.served_q0.len(), before.served_q1.len());
        for &id in marked {
            let is = match (topic.subscribers.get(&id), sessions.get_mut(id)) {
                (Some(subscriber), Some(session)) => {
                    self.member(index, before.home_alias, session, subscriber)
                }
                _ => None,
            };
            marked_now.push((id, is));
            let was = before.member(id);
            if was == is {
                continue;
            }
            members.push((id, is));
            let sides = |member: Option<Member>| member.map_or((false, false), |m| (m.q0, m.q1));
            let (was, is) = (sides(was), sides(is));
            same_sets &= was == is;
            q0 = q0 + usize::from(is.0) - usize::from(was.0);
            q1 = q1 + usize::from(is.1) - usize::from(was.1);
        }
        // Whoever is not served there is served here.
        let copy_q0 = plan.copy_q0 || q0 < topic.ordinary();
        let copy_q1 = plan.copy_q1 || q1 < topic.ordinary();
        let flags = (before.copy_q0, before.copy_q1, before.ack_q1);
        let mut generation = before.generation;
        let next_flags = (copy_q0, copy_q1, !copy_q1);
        let shared_before = before.shared.clone();
        let anew = !same_sets || topic.generations.joined;
        if anew {
            generation = self.start_generation(now, topic, &marked_now);
        }
        let shared = self.share_step(now, topic, &shared_before, &plan, anew);
        if !anew && members.is_empty() && shared.is_empty() && flags == next_flags {
            return None;
        }
        let step = Serve {
            generation,
            copy_q0,
            copy_q1,
            ack_q1: !copy_q1,
            members,
            shared,
        };
        Some(Change::Serve(index, step))
    }

    /// A new generation of the topic, in which these sessions are served so.
    fn start_generation(
        &mut self,
        now: Instant,
        topic: &mut Topic,
        members: &[(SessionId, Option<Member>)],
    ) -> Generation {
        self.sequence += 1;
        let sequence = self.sequence;
        let memory = self.config.generation_memory();
        let revision = Revision(self.intent.revision.0 + 1);
        topic.generations.start(now, sequence, memory);
        let oldest = topic.generations.oldest();
        for share in &mut topic.shares {
            share.since.get_or_insert(sequence);
        }
        for (id, member) in members {
            // A member of a share group alone is counted with its group.
            let subscriber = topic.subscribers.get_mut(id);
            if let Some(subscriber) = subscriber.filter(|s| s.ordinary.is_some()) {
                let served = Served {
                    q0: member.is_some_and(|member| member.q0),
                    q1: member.is_some_and(|member| member.q1),
                };
                subscriber.served.record(sequence, served, revision, oldest);
            }
        }
        self.generation(sequence)
    }
}
