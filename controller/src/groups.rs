//! Replication ids of sessions and multicast groups of topics: allocated, shared, counted.

use std::collections::{BTreeMap, HashMap};

use offload::{Refusal, SessionId, TopicIndex};

use crate::constants::{GROUP_FIRST, GROUP_LAST, RID_FIRST, RID_LAST};
use crate::tables::Replicas;

/// No number is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {count} {what} are taken")]
pub(crate) struct Exhausted {
    /// What the numbers are.
    pub(crate) what: &'static str,
    /// How many there are.
    pub(crate) count: usize,
}

/// A topic cannot have a multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoGroup {
    /// There is none.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The switch could not queue what it would copy.
    #[error(
        "{copies} copies of one packet for port {port}; the switch can queue {limit} \
         (max_copies_per_port)"
    )]
    Copies {
        /// How many of the group's replicas go there.
        copies: usize,
        /// The port.
        port: u16,
        /// How many may.
        limit: u16,
    },
}

impl NoGroup {
    /// That no more than `limit` replicas go to one port; 0 is no limit.
    ///
    /// # Errors
    /// [`NoGroup::Copies`] names the first port with more.
    pub(crate) fn check(replicas: &Replicas, limit: u16) -> Result<(), Self> {
        if limit == 0 || replicas.len() <= usize::from(limit) {
            return Ok(());
        }
        // They are sorted by port.
        let mut ports = replicas.chunk_by(|one, next| one.port == next.port);
        match ports.find(|of_port| of_port.len() > usize::from(limit)) {
            None => Ok(()),
            Some(of_port) => Err(NoGroup::Copies {
                copies: of_port.len(),
                port: of_port[0].port, // a chunk is not empty
                limit,
            }),
        }
    }
}

/// Only room may come free with time; what the switch cannot copy it never can.
impl From<NoGroup> for Refusal {
    fn from(none: NoGroup) -> Self {
        match none {
            NoGroup::Exhausted(full) => Refusal::Capacity(full.to_string()),
            NoGroup::Copies { .. } => Refusal::Unsupported(none.to_string()),
        }
    }
}

/// Numbers from a range, given out in turn so that one comes back as late as possible.
#[derive(Debug)]
struct Numbers {
    first: u16,
    last: u16,
    next: u16,
    what: &'static str,
}

impl Numbers {
    fn count(&self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    fn take(&mut self, taken: impl Fn(u16) -> bool) -> Result<u16, Exhausted> {
        let count = self.count();
        for _ in 0..count {
            let number = self.next;
            self.next = if number == self.last {
                self.first
            } else {
                number + 1
            };
            if !taken(number) {
                return Ok(number);
            }
        }
        Err(Exhausted {
            what: self.what,
            count,
        })
    }
}

/// The replication ids of the sessions that some topic serves.
#[derive(Debug)]
pub(crate) struct Rids {
    numbers: Numbers,
    sessions: HashMap<SessionId, (u16, usize)>,
    owners: HashMap<u16, SessionId>,
}

impl Default for Rids {
    fn default() -> Self {
        Self::within(RID_LAST)
    }
}

impl Rids {
    /// Gives out no replication id above `last`.
    pub(crate) fn within(last: u16) -> Self {
        Self {
            numbers: Numbers {
                first: RID_FIRST,
                last: last.clamp(RID_FIRST, RID_LAST),
                next: RID_FIRST,
                what: "replication ids",
            },
            sessions: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    /// Counts one more user of the session's replication id, which is given to it if it has none:
    /// `known` if that is free, else any for which `taken` is false.
    ///
    /// # Errors
    /// When none is left.
    pub(crate) fn acquire(
        &mut self,
        session: SessionId,
        known: Option<u16>,
        taken: impl Fn(u16) -> bool,
    ) -> Result<u16, Exhausted> {
        if let Some((rid, users)) = self.sessions.get_mut(&session) {
            *users += 1;
            return Ok(*rid);
        }
        let owners = &self.owners;
        let known = known.filter(|rid| {
            (self.numbers.first..=self.numbers.last).contains(rid) && !owners.contains_key(rid)
        });
        let rid = match known {
            Some(rid) => rid,
            None => self
                .numbers
                .take(|rid| owners.contains_key(&rid) || taken(rid))?,
        };
        self.sessions.insert(session, (rid, 1));
        self.owners.insert(rid, session);
        Ok(rid)
    }

    /// Counts one user less; gives the replication id that nobody uses any more.
    pub(crate) fn release(&mut self, session: SessionId) -> Option<u16> {
        let (rid, users) = self.sessions.get_mut(&session)?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let rid = *rid;
        self.sessions.remove(&session);
        self.owners.remove(&rid);
        Some(rid)
    }

    /// How many are given out, and how many there are.
    pub(crate) fn numbers(&self) -> (usize, usize) {
        (self.sessions.len(), self.numbers.count())
    }

    /// Whether one topic alone uses the session's replication id.
    pub(crate) fn has_one_user(&self, session: SessionId) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(|(_, users)| *users == 1)
    }

    /// The session's replication id.
    pub(crate) fn of(&self, session: SessionId) -> Option<u16> {
        self.sessions.get(&session).map(|(rid, _)| *rid)
    }

    /// Whose replication id it is.
    pub(crate) fn owner(&self, rid: u16) -> Option<SessionId> {
        self.owners.get(&rid).copied()
    }
}

#[derive(Debug)]
struct Group {
    replicas: Replicas,
    /// Topics that use it, and at how many of the two QoS.
    users: BTreeMap<TopicIndex, usize>,
}

/// The multicast groups that topics are meant to use. Topics with equal replicas share one; the
/// replicas of a group never change.
#[derive(Debug)]
pub(crate) struct Groups {
    numbers: Numbers,
    groups: HashMap<u16, Group>,
    by_replicas: HashMap<Replicas, u16>,
}

impl Default for Groups {
    fn default() -> Self {
        Self::within(GROUP_LAST)
    }
}

impl Groups {
    /// Gives out no group above `last`.
    pub(crate) fn within(last: u16) -> Self {
        Self {
            numbers: Numbers {
                first: GROUP_FIRST,
                last: last.clamp(GROUP_FIRST, GROUP_LAST),
                next: GROUP_FIRST,
                what: "multicast groups",
            },
            groups: HashMap::new(),
            by_replicas: HashMap::new(),
        }
    }

    /// A group with these replicas for one more use by the topic: one that other topics use, or
    /// `known` (which holds them already), or any for which `taken` is false.
    ///
    /// # Errors
    /// When none is left.
    pub(crate) fn acquire(
        &mut self,
        topic: TopicIndex,
        replicas: &Replicas,
        known: impl FnOnce() -> Option<u16>,
        taken: impl Fn(u16) -> bool,
    ) -> Result<u16, Exhausted> {
        let id = match self.by_replicas.get(replicas) {
            Some(id) => *id,
            None => {
                let groups = &self.groups;
                let known = known().filter(|id| {
                    (self.numbers.first..=self.numbers.last).contains(id)
                        && !groups.contains_key(id)
                });
                let id = match known {
                    Some(id) => id,
                    None => self
                        .numbers
                        .take(|id| groups.contains_key(&id) || taken(id))?,
                };
                self.by_replicas.insert(replicas.clone(), id);
                self.groups.insert(
                    id,
                    Group {
                        replicas: replicas.clone(),
                        users: BTreeMap::new(),
                    },
                );
                id
            }
        };
        if let Some(group) = self.groups.get_mut(&id) {
            *group.users.entry(topic).or_default() += 1;
        }
        Ok(id)
    }

    /// Counts one use less; true when nobody uses the group any more.
    pub(crate) fn release(&mut self, topic: TopicIndex, id: u16) -> bool {
        let Some(group) = self.groups.get_mut(&id) else {
            return false;
        };
        if let Some(uses) = group.users.get_mut(&topic) {
            *uses -= 1;
            if *uses == 0 {
                group.users.remove(&topic);
            }
        }
        if !group.users.is_empty() {
            return false;
        }
        if let Some(group) = self.groups.remove(&id) {
            self.by_replicas.remove(&group.replicas);
        }
        true
    }

    /// How many are given out, and how many there are.
    pub(crate) fn numbers(&self) -> (usize, usize) {
        (self.groups.len(), self.numbers.count())
    }

    /// Whether the topic alone uses the group.
    pub(crate) fn is_of(&self, id: u16, topic: TopicIndex) -> bool {
        let group = self.groups.get(&id);
        group.is_some_and(|group| group.users.len() == 1 && group.users.contains_key(&topic))
    }

    /// The topics that use the group.
    pub(crate) fn users(&self, id: u16) -> Vec<TopicIndex> {
        self.groups
            .get(&id)
            .map(|group| group.users.keys().copied().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{Replica, replication};

    fn set(rids: &[u16]) -> Replicas {
        replication::replicas(rids.iter().map(|&rid| Replica { port: 1, rid }))
    }

    #[test]
    fn topics_with_the_same_members_share_one_group_until_the_last_lets_go() {
        let mut groups = Groups::default();
        let (a, b) = (TopicIndex(1), TopicIndex(2));
        let first = groups
            .acquire(a, &set(&[1, 2]), || None, |_| false)
            .unwrap();
        let second = groups
            .acquire(b, &set(&[2, 1]), || None, |_| false)
            .unwrap();
        assert_eq!(first, second);
        assert_eq!(groups.users(first), [a, b]);
        assert!(!groups.release(a, first));
        assert!(groups.release(b, first));
    }

    #[test]
    fn a_group_that_is_still_on_the_switch_is_not_given_to_others() {
        let mut groups = Groups::within(3);
        let taken = |id| id == 2;
        assert_eq!(
            groups.acquire(TopicIndex(1), &set(&[1]), || None, taken),
            Ok(3)
        );
        let full = groups.acquire(TopicIndex(1), &set(&[2]), || None, taken);
        assert_eq!(
            full.unwrap_err().to_string(),
            "all 2 multicast groups are taken"
        );
    }

    #[test]
    fn a_replication_id_comes_back_as_late_as_possible() {
        let mut rids = Rids::within(3);
        let (a, b) = (SessionId(1), SessionId(2));
        assert_eq!(rids.acquire(a, None, |_| false), Ok(1));
        assert_eq!(rids.acquire(a, None, |_| false), Ok(1));
        assert_eq!(rids.release(a), None);
        assert_eq!(rids.release(a), Some(1));
        assert_eq!(rids.acquire(b, None, |_| false), Ok(2));
        assert_eq!(rids.owner(2), Some(b));
        assert_eq!(
            rids.acquire(a, Some(1), |_| true),
            Ok(1),
            "known rows are adopted"
        );
    }
}
