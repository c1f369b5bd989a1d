//! Who joins or leaves a topic that is planned: planned at the cost of who moves.
//!
//! A group is never changed in place, however small the change, even if one topic alone uses it.
//! Between the write of the group and that of the topic's row a PUBLISH would go to the group's new
//! members under the topic's old generation. The broker counts those it serves for a tagged copy
//! by that generation: it would serve a member that came back a second time, and one that left not
//! at all. Any topic may need a tagged copy, if only for a PUBLISH with Retain. So a join makes a
//! new group, and the MODIFY of the topic's row switches group and generation in one.

use std::collections::BTreeSet;

use offload::{Member, SessionId, TopicIndex};

use crate::constants::RID_COPY;
use crate::places::View;
use crate::plan::{Place, Plan, TopicPlan, action, alias_key, to_one};
use crate::tables::{Key, Replica, Replicas, Value, subscriber};

/// One session's step.
struct Step {
    session: SessionId,
    was: Option<Place>,
    is: Option<(Place, subscriber::Action, Member)>,
}

impl Plan {
    /// Plans what the intent now has of these sessions on a topic that is planned without them. True
    /// if that is done; else nothing has changed, and the topic is to be planned whole.
    pub(crate) fn serve(
        &mut self,
        view: &View<'_>,
        index: TopicIndex,
        sessions: &BTreeSet<SessionId>,
    ) -> bool {
        let Some(topic) = view.intent.topics.get(&index) else {
            return false;
        };
        if !topic.shared.is_empty() {
            return false;
        }
        let Ok(broker_port) = view.check(topic) else {
            return false;
        };
        let grouped = |plan: &TopicPlan| !plan.is_to_one() && plan.share.members.is_empty();
        if to_one(topic).is_some() || !self.topics.get(&index).is_some_and(grouped) {
            return false;
        }
        let Some(mut plan) = self.topics.remove(&index) else {
            return false;
        };
        let mut steps = Vec::with_capacity(sessions.len());
        let mut done = self.steps(view, topic, &plan, sessions, &mut steps);
        let mut groups = Vec::new();
        if done {
            let copy = Replica {
                port: broker_port,
                rid: RID_COPY,
            };
            for side in [0, 1] {
                let after = changed(&plan, &steps, side, topic, copy);
                if after == plan.sets[side] {
                    continue;
                }
                let group = if after.is_empty() {
                    Ok(None)
                } else {
                    self.acquire_group(view, index, &after).map(Some)
                };
                match group {
                    Ok(group) => groups.push((side, group, after)),
                    Err(_) => {
                        done = false;
                        break;
                    }
                }
            }
        }
        if !done {
            for (_, group, _) in groups {
                self.release_group(index, group);
            }
            for step in steps {
                if step.was.is_none() && step.is.is_some() {
                    self.release_rid(step.session);
                }
            }
            self.topics.insert(index, plan);
            return false;
        }

        for (side, group, after) in groups {
            if let Some(group) = group {
                self.set(Key::Group(group), Value::Replicas(after.clone()));
            }
            let old = std::mem::replace(&mut plan.groups[side], group);
            plan.sets[side] = after;
            self.release_group(index, old);
        }
        for step in steps {
            let alias = match (&step.is, step.was) {
                (Some((place, deliver, member)), _) => {
                    plan.set_place(step.session, Some(*place));
                    let rid = place.replica.rid;
                    let row = Key::Subscriber(subscriber::Key { rid });
                    self.set(row, Value::Subscriber(*deliver));
                    let alias = member.alias.filter(|alias| *alias != topic.home_alias);
                    Some((rid, alias))
                }
                (None, Some(place)) => {
                    plan.set_place(step.session, None);
                    Some((place.replica.rid, None))
                }
                (None, None) => None,
            };
            if let Some((rid, alias)) = alias {
                self.set_alias(view, index, &mut plan, rid, alias);
            }
            if step.is.is_none() && step.was.is_some() {
                self.release_rid(step.session);
            }
        }
        let action = action(topic, &plan);
        self.topics.insert(index, plan);
        self.set(crate::plan::topic_key(index), Value::Topic(action));
        true
    }

    /// Finds the place of each session; what `steps` then holds is acquired. False where one has
    /// none.
    fn steps(
        &mut self,
        view: &View<'_>,
        topic: &offload::Topic,
        plan: &TopicPlan,
        sessions: &BTreeSet<SessionId>,
        steps: &mut Vec<Step>,
    ) -> bool {
        for &session in sessions {
            let was = plan.members.get(&session).copied();
            let is = match topic.member(session) {
                None => None,
                Some(member) => {
                    let Ok((endpoint, deliver)) = view.place(session) else {
                        return false;
                    };
                    let rid = match was {
                        Some(place) => place.replica.rid,
                        None => match self.acquire_rid(view, session, &deliver) {
                            Ok(rid) => rid,
                            Err(_) => return false,
                        },
                    };
                    let place = Place {
                        replica: Replica {
                            port: endpoint.port,
                            rid,
                        },
                        translated: deliver.ip_dst.is_ipv6(),
                    };
                    Some((place, deliver, member))
                }
            };
            steps.push(Step { session, was, is });
        }
        true
    }

    fn set_alias(
        &mut self,
        view: &View<'_>,
        index: TopicIndex,
        plan: &mut TopicPlan,
        rid: u16,
        alias: Option<offload::Alias>,
    ) {
        let key = alias_key(index, rid);
        match alias {
            Some(alias) => {
                plan.aliases.insert(rid);
                self.set(key, crate::plan::alias_value(alias));
            }
            None if plan.aliases.remove(&rid) => self.unset(key),
            // It may still be on the switch, of a time before: see `alias_is_stale`.
            None if view.installed.get(&key).is_some() => self.touch(key),
            None => {}
        }
    }
}

/// The replicas of one side after the steps.
fn changed(
    plan: &TopicPlan,
    steps: &[Step],
    side: usize,
    topic: &offload::Topic,
    copy: Replica,
) -> Replicas {
    let before = &plan.sets[side];
    let (served, wants_copy) = match side {
        0 => (&topic.served_q0, topic.copy_q0),
        _ => (&topic.served_q1, topic.copy_q1),
    };
    let (mut out, mut add) = (Vec::new(), Vec::new());
    let mut put = |was: Option<Replica>, is: Option<Replica>| {
        let was = was.filter(|replica| before.has(*replica));
        if was != is {
            out.extend(was);
            add.extend(is);
        }
    };
    for step in steps {
        let is = step.is.as_ref().and_then(|(place, _, member)| {
            let served = if side == 0 { member.q0 } else { member.q1 };
            served.then_some(place.replica)
        });
        put(step.was.map(|place| place.replica), is);
    }
    let wants_copy = wants_copy && !served.is_empty();
    put(Some(copy), wants_copy.then_some(copy));
    if out.is_empty() && add.is_empty() {
        return before.clone();
    }
    before.changed(&out, &add)
}
