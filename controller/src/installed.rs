//! What is on the switch, as far as reads and answered writes tell.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::constants::{RID_FIRST, RID_LAST};
use crate::tables::topic::{self, Offload};
use crate::tables::{Key, Replicas, Value, share};

/// How many there are for each of the 2^16 numbers.
#[derive(Debug, Default)]
struct Counts(Vec<u32>);

impl Counts {
    fn count(&mut self, number: u16, add: bool) {
        let number = usize::from(number);
        if self.0.len() <= number {
            self.0.resize(number + 1, 0);
        }
        let count = &mut self.0[number];
        *count = if add {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
    }

    fn any(&self, number: u16) -> bool {
        self.0
            .get(usize::from(number))
            .is_some_and(|count| *count > 0)
    }
}

/// A mirror of the controller's rows on one switch, with counts of who refers to whom.
///
/// It is filled by reading the switch and changes only with a write that the switch has answered.
#[derive(Debug, Default)]
pub struct Installed {
    rows: HashMap<Key, Value>,
    /// Rows by table, for status and for telling a full table.
    used: BTreeMap<&'static str, usize>,
    /// Topics (counted once per QoS) that refer to a group.
    group_users: Counts,
    /// Groups that hold a replication id.
    rid_groups: Counts,
    /// Rows of `subscriber_alias` that hold a replication id.
    rid_aliases: Counts,
    /// A group with exactly these replicas.
    group_by_replicas: HashMap<Replicas, u16>,
    /// The replication id that delivers to a client.
    rid_by_client: HashMap<(IpAddr, u16), u16>,
    /// Groups of the selector that hold a member.
    member_users: HashMap<u32, usize>,
    /// Rows of `shared_topic` that refer to a group of the selector.
    selector_users: HashMap<u32, usize>,
    /// The member with this generation.
    member_by_generation: HashMap<u32, u32>,
    /// Topics that refer to a replication id without a group.
    rid_topics: Counts,
}

impl Installed {
    /// What the row holds.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.rows.get(key)
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.rows.iter()
    }

    /// How many rows each table holds.
    pub fn used(&self) -> &BTreeMap<&'static str, usize> {
        &self.used
    }

    /// How many topics the switch serves, with a share group or without. One that is on its way from
    /// one to the other has both rows, and counts twice.
    pub fn topics(&self) -> usize {
        let rows = |table| self.used.get(table).copied().unwrap_or(0);
        rows(topic::NAME) + rows(share::NAME)
    }

    /// Notes that the row is there.
    pub fn set(&mut self, key: Key, value: Value) {
        self.remove(&key);
        *self.used.entry(key.table()).or_default() += 1;
        self.refer(&key, &value, true);
        self.rows.insert(key, value);
    }

    /// Notes that the row is gone.
    pub fn remove(&mut self, key: &Key) {
        if let Some(value) = self.rows.remove(key) {
            if let Some(used) = self.used.get_mut(key.table()) {
                *used = used.saturating_sub(1);
            }
            self.refer(key, &value, false);
        }
    }

    fn refer(&mut self, key: &Key, value: &Value, add: bool) {
        let count_wide = |counts: &mut HashMap<u32, usize>, id: u32| {
            let count = counts.entry(id).or_default();
            *count = if add {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                counts.remove(&id);
            }
        };
        match (key, value) {
            (Key::ShareMember(id), Value::ShareMember(offload)) => {
                for group in offload.groups() {
                    self.group_users.count(group, add);
                }
                if add {
                    self.member_by_generation.insert(offload.generation, *id);
                } else if self.member_by_generation.get(&offload.generation) == Some(id) {
                    self.member_by_generation.remove(&offload.generation);
                }
            }
            (Key::ShareGroup(_), Value::ShareGroup(members)) => {
                for member in members.iter() {
                    count_wide(&mut self.member_users, *member);
                }
            }
            (Key::SharedTopic(_), Value::SharedTopic(group)) => {
                count_wide(&mut self.selector_users, *group);
            }
            (Key::Topic(_), Value::Topic(action)) => {
                for group in action.groups().into_iter().flatten() {
                    self.group_users.count(group, add);
                }
                if let Some(rid) = action.rid() {
                    self.rid_topics.count(rid, add);
                }
            }
            (Key::Group(id), Value::Replicas(replicas)) => {
                for replica in replicas.iter() {
                    if (RID_FIRST..=RID_LAST).contains(&replica.rid) {
                        self.rid_groups.count(replica.rid, add);
                    }
                }
                if add {
                    self.group_by_replicas.insert(replicas.clone(), *id);
                } else if self.group_by_replicas.get(replicas) == Some(id) {
                    self.group_by_replicas.remove(replicas);
                }
            }
            (Key::SubscriberAlias(key), _) => self.rid_aliases.count(key.rid, add),
            (Key::Subscriber(key), Value::Subscriber(deliver)) => {
                let client = (deliver.ip_dst, deliver.udp_dst);
                if add {
                    self.rid_by_client.insert(client, key.rid);
                } else if self.rid_by_client.get(&client) == Some(&key.rid) {
                    self.rid_by_client.remove(&client);
                }
            }
            _ => {}
        }
    }

    /// Whether a topic on the switch refers to the group.
    pub fn group_in_use(&self, group: u16) -> bool {
        self.group_users.any(group)
    }

    /// Whether a topic, a group or an alias on the switch refers to the replication id.
    pub fn rid_in_use(&self, rid: u16) -> bool {
        self.rid_topics.any(rid) || self.rid_groups.any(rid) || self.rid_aliases.any(rid)
    }

    /// Whether a group of the selector holds the member.
    pub fn member_in_use(&self, member: u32) -> bool {
        self.member_users.contains_key(&member)
    }

    /// Whether a topic refers to the group of the selector.
    pub fn selector_in_use(&self, group: u32) -> bool {
        self.selector_users.contains_key(&group)
    }

    /// The member of the selector that carries this generation.
    pub fn share_member_of(&self, generation: u32) -> Option<u32> {
        self.member_by_generation.get(&generation).copied()
    }

    /// What the members of the topic's group in the selector do.
    pub fn share_members(&self, topic_index: u32) -> Vec<(u32, Offload)> {
        let key = Key::SharedTopic(topic::Key { topic_index });
        let Some(Value::SharedTopic(group)) = self.get(&key) else {
            return Vec::new();
        };
        let Some(Value::ShareGroup(members)) = self.get(&Key::ShareGroup(*group)) else {
            return Vec::new();
        };
        let members = members
            .iter()
            .filter_map(|id| match self.get(&Key::ShareMember(*id)) {
                Some(Value::ShareMember(offload)) => Some((*id, *offload)),
                _ => None,
            });
        members.collect()
    }

    /// A group that holds exactly these replicas.
    pub fn group_with(&self, replicas: &Replicas) -> Option<u16> {
        self.group_by_replicas.get(replicas).copied()
    }

    /// The replication id of a row that delivers to the client.
    pub fn rid_for(&self, address: IpAddr, port: u16) -> Option<u16> {
        self.rid_by_client.get(&(address, port)).copied()
    }
}
