//! The state that a switch should have: a function of the intent, the endpoints, the configuration
//! and the numbers allocated so far, kept up to date change by change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use offload::{Alias, AliasType, PublicationKey, Refusal, SessionId, Topic, TopicIndex};

use crate::config::Config;
use crate::constants::{GROUP_LAST, RID_COPY, RID_LAST, SESSION_COPY};
use crate::groups::{Exhausted, Groups, NoGroup, Rids};
use crate::hot::Room;
use crate::places::View;
use crate::shares::{Base, Members, SharePlan, shared_key};
use crate::tables::{
    Key, Replica, Replicas, Value, open_publication, publication, replication, subscriber,
    subscriber_alias, topic,
};

/// What a topic's row refers to.
#[derive(Debug, Default)]
pub(crate) struct TopicPlan {
    /// At QoS 0 and −1, and at QoS 1.
    pub(crate) groups: [Option<u16>; 2],
    /// What the groups hold.
    pub(crate) sets: [Replicas; 2],
    /// The sessions served, and where.
    pub(crate) members: BTreeMap<SessionId, Place>,
    /// How many of them are `translated`.
    translated: usize,
    /// Replication ids that have a row of `subscriber_alias`.
    pub(crate) aliases: BTreeSet<u16>,
    pub(crate) share: SharePlan,
}

/// The row or rows that make the switch serve a topic.
#[derive(Debug)]
enum Rows {
    Topic(topic::Action),
    Share(Vec<(u32, topic::Offload)>),
}

/// Where a session's copies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) replica: Replica,
    /// Over IPv6, so that a copy of what came over IPv4 needs another header.
    pub(crate) translated: bool,
}

impl TopicPlan {
    /// The session is served there, or (None) no longer.
    pub(crate) fn set_place(&mut self, session: SessionId, place: Option<Place>) {
        let old = match place {
            Some(place) => self.members.insert(session, place),
            None => self.members.remove(&session),
        };
        self.translated += usize::from(place.is_some_and(|place| place.translated));
        self.translated -= usize::from(old.is_some_and(|old| old.translated));
    }

    /// It serves one session, without a group: see [`to_one`].
    pub(crate) fn is_to_one(&self) -> bool {
        self.groups == [None, None] && !self.members.is_empty() && self.share.members.is_empty()
    }
}

/// A topic that is not planned: why, and which session alone is to blame where one is.
#[derive(Debug)]
pub(crate) struct NotPlanned {
    pub(crate) why: Refusal,
    pub(crate) session: Option<SessionId>,
}

impl From<Refusal> for NotPlanned {
    fn from(why: Refusal) -> Self {
        Self { why, session: None }
    }
}

/// The desired rows and what they were made of.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    rows: HashMap<Key, Value>,
    /// Rows whose desired value changed, or that are to be looked at again.
    touched: BTreeSet<Key>,
    pub(crate) topics: HashMap<TopicIndex, TopicPlan>,
    publications: HashMap<PublicationKey, Key>,
    rids: Rids,
    pub(crate) groups: Groups,
    pub(crate) members: Members,
}

impl Plan {
    pub(crate) fn new(config: &Config) -> Self {
        let or = |limit: u16, default: u16| if limit == 0 { default } else { limit };
        Self {
            rids: Rids::within(or(config.max_rid, RID_LAST)),
            groups: Groups::within(or(config.max_group, GROUP_LAST)),
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        self.rows.get(key)
    }

    pub(crate) fn rows(&self) -> &HashMap<Key, Value> {
        &self.rows
    }

    pub(crate) fn set(&mut self, key: Key, value: Value) {
        if self.rows.get(&key) != Some(&value) {
            self.rows.insert(key, value);
            self.touched.insert(key);
        }
    }

    pub(crate) fn unset(&mut self, key: Key) {
        if self.rows.remove(&key).is_some() {
            self.touched.insert(key);
        }
    }

    /// The row is to be compared with the switch again.
    pub(crate) fn touch(&mut self, key: Key) {
        self.touched.insert(key);
    }

    pub(crate) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(crate) fn take_touched(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.touched)
    }

    pub(crate) fn is_planned(&self, index: TopicIndex) -> bool {
        self.topics.contains_key(&index)
    }

    /// Groups and replication ids that are given out, and how many there are.
    pub(crate) fn numbers(&self) -> ((usize, usize), (usize, usize)) {
        (self.groups.numbers(), self.rids.numbers())
    }

    /// What the topic alone holds of the switch.
    pub(crate) fn held(&self, index: TopicIndex) -> Room {
        let plan = self.topics.get(&index);
        let groups = plan.map_or([None, None], |plan| plan.groups);
        let alone = |group: u16| self.groups.is_of(group, index);
        let sessions = plan.iter().flat_map(|plan| plan.members.keys());
        let mut groups: Vec<u16> = groups.into_iter().flatten().collect();
        groups.dedup();
        Room {
            topics: usize::from(plan.is_some()),
            groups: groups.into_iter().filter(|group| alone(*group)).count(),
            rids: sessions
                .filter(|session| self.rids.has_one_user(**session))
                .count(),
        }
    }

    pub(crate) fn rid_of(&self, session: SessionId) -> Option<u16> {
        self.rids.of(session)
    }

    pub(crate) fn owner(&self, rid: u16) -> Option<SessionId> {
        self.rids.owner(rid)
    }

    pub(crate) fn group_users(&self, group: u16) -> Vec<TopicIndex> {
        self.groups.users(group)
    }

    /// The topic whose share group the member of the selector belongs to.
    pub(crate) fn member_topic(&self, member: u32) -> Option<TopicIndex> {
        self.members.topic(member)
    }

    /// The session's number in the selector, as a member of the topic's share group.
    pub(crate) fn member_of(&self, index: TopicIndex, session: SessionId) -> Option<u32> {
        let plan = self.topics.get(&index)?;
        plan.share.members.get(&session).copied()
    }

    pub(crate) fn publication_row(&self, key: &PublicationKey) -> Option<Key> {
        self.publications.get(key).copied()
    }

    /// The rows that the topic's row refers to, and the row itself.
    pub(crate) fn topic_keys(&self, index: TopicIndex) -> Vec<Key> {
        let mut keys = vec![topic_key(index)];
        if let Some(plan) = self.topics.get(&index) {
            if !plan.share.members.is_empty() {
                keys.extend([shared_key(index), Key::ShareGroup(index.0)]);
                let members = plan.share.members.values();
                keys.extend(members.map(|member| Key::ShareMember(*member)));
                keys.extend(plan.share.groups().iter().map(|group| Key::Group(*group)));
            }
            keys.push(Key::CloneSession(SESSION_COPY));
            keys.extend(plan.groups.iter().flatten().map(|group| Key::Group(*group)));
            let rids = plan.members.values().map(|place| place.replica.rid);
            keys.extend(rids.map(|rid| Key::Subscriber(subscriber::Key { rid })));
            keys.extend(plan.aliases.iter().map(|rid| alias_key(index, *rid)));
        }
        keys
    }

    /// Whether the topic serves the replication id under its home alias, so that a row of
    /// `subscriber_alias` for it must be gone before the topic's row is written.
    pub(crate) fn alias_is_stale(&self, key: &subscriber_alias::Key) -> bool {
        let plan = self.topics.get(&TopicIndex(key.topic_index));
        let owner = self.rids.owner(key.rid);
        plan.is_some_and(|plan| {
            owner.is_some_and(|owner| plan.members.contains_key(&owner))
                && !plan.aliases.contains(&key.rid)
        })
    }

    /// The row of a session that has a replication id follows its address and its place.
    pub(crate) fn session(&mut self, view: &View<'_>, session: SessionId) {
        if let (Some(rid), Ok((_, deliver))) = (self.rids.of(session), view.place(session)) {
            let key = Key::Subscriber(subscriber::Key { rid });
            self.set(key, Value::Subscriber(deliver));
        }
    }

    /// Plans the topic as the intent has it, or not at all.
    pub(crate) fn topic(&mut self, view: &View<'_>, index: TopicIndex) -> Result<(), NotPlanned> {
        let wanted = view.intent.topics.get(&index);
        // New before old, so that what both use is never let go.
        let result = match wanted {
            Some(topic) => self.build(view, index, topic).map(Some),
            None => Ok(None),
        };
        let old = self.topics.remove(&index);
        let old_aliases = old.as_ref().map(|old| old.aliases.clone());
        if let Some(old) = old {
            let none = SharePlan::default();
            let new = match &result {
                Ok(Some((plan, _))) => &plan.share,
                _ => &none,
            };
            self.release_members(&old.share, new);
            self.release(index, &old);
        }
        let none = BTreeSet::new();
        let new_aliases = match &result {
            Ok(Some((plan, _))) => &plan.aliases,
            _ => &none,
        };
        let gone: Vec<u16> = old_aliases
            .into_iter()
            .flatten()
            .filter(|rid| !new_aliases.contains(rid))
            .collect();
        for rid in gone {
            self.unset(alias_key(index, rid));
        }
        match result {
            Ok(Some((plan, rows))) => {
                self.topics.insert(index, plan);
                match rows {
                    Rows::Topic(action) => {
                        self.unset_share(index);
                        self.set(topic_key(index), Value::Topic(action));
                    }
                    Rows::Share(rows) => {
                        self.set_share(index, rows);
                        self.unset(topic_key(index));
                    }
                }
                Ok(())
            }
            Ok(None) => {
                self.unset_share(index);
                self.unset(topic_key(index));
                Ok(())
            }
            Err(not) => {
                self.unset_share(index);
                self.unset(topic_key(index));
                Err(not)
            }
        }
    }

    /// Takes the topic out of the plan.
    pub(crate) fn drop_topic(&mut self, index: TopicIndex) {
        if let Some(old) = self.topics.remove(&index) {
            self.release_members(&old.share, &SharePlan::default());
            self.release(index, &old);
            for rid in old.aliases {
                self.unset(alias_key(index, rid));
            }
        }
        self.unset_share(index);
        self.unset(topic_key(index));
    }

    fn release(&mut self, index: TopicIndex, plan: &TopicPlan) {
        let share = plan.share.groups().iter().copied();
        for group in plan.groups.into_iter().flatten().chain(share) {
            self.release_group(index, Some(group));
        }
        for session in plan.members.keys() {
            self.release_rid(*session);
        }
    }

    pub(crate) fn release_group(&mut self, index: TopicIndex, group: Option<u16>) {
        if let Some(group) = group
            && self.groups.release(index, group)
        {
            self.unset(Key::Group(group));
        }
    }

    pub(crate) fn release_rid(&mut self, session: SessionId) {
        if let Some(rid) = self.rids.release(session) {
            self.unset(Key::Subscriber(subscriber::Key { rid }));
        }
    }

    pub(crate) fn acquire_group(
        &mut self,
        view: &View<'_>,
        index: TopicIndex,
        replicas: &Replicas,
    ) -> Result<u16, NoGroup> {
        NoGroup::check(replicas, view.config.max_copies_per_port)?;
        let installed = view.installed;
        let known = || installed.group_with(replicas);
        let taken = |id| installed.get(&Key::Group(id)).is_some();
        Ok(self.groups.acquire(index, replicas, known, taken)?)
    }

    pub(crate) fn acquire_rid(
        &mut self,
        view: &View<'_>,
        session: SessionId,
        deliver: &subscriber::Action,
    ) -> Result<u16, Exhausted> {
        let installed = view.installed;
        let known = installed.rid_for(deliver.ip_dst, deliver.udp_dst);
        self.rids.acquire(session, known, |rid| {
            installed.rid_in_use(rid)
                || installed
                    .get(&Key::Subscriber(subscriber::Key { rid }))
                    .is_some()
        })
    }

    fn build(
        &mut self,
        view: &View<'_>,
        index: TopicIndex,
        topic: &Topic,
    ) -> Result<(TopicPlan, Rows), NotPlanned> {
        let broker_port = view.check(topic)?;
        let mut plan = TopicPlan::default();
        let result = self.fill(view, index, topic, broker_port, &mut plan);
        if result.is_err() {
            self.release(index, &plan);
        }
        let rows = result?;
        Ok((plan, rows))
    }

    /// Acquires what the topic needs; what `plan` then holds is to be released on an error.
    fn fill(
        &mut self,
        view: &View<'_>,
        index: TopicIndex,
        topic: &Topic,
        broker_port: u16,
        plan: &mut TopicPlan,
    ) -> Result<Rows, NotPlanned> {
        let mut rows = Vec::new();
        let ordinary = topic.served_q0.union(&topic.served_q1);
        for &session in ordinary.chain(topic.shared.keys()) {
            let (endpoint, deliver) = view.place(session)?;
            let rid = self
                .acquire_rid(view, session, &deliver)
                .map_err(|full| NotPlanned {
                    why: Refusal::Capacity(full.to_string()),
                    session: Some(session),
                })?;
            let place = Place {
                replica: Replica {
                    port: endpoint.port,
                    rid,
                },
                translated: deliver.ip_dst.is_ipv6(),
            };
            plan.set_place(session, Some(place));
            rows.push((rid, deliver));
        }

        if to_one(topic).is_some() {
            for (rid, deliver) in rows {
                let key = Key::Subscriber(subscriber::Key { rid });
                self.set(key, Value::Subscriber(deliver));
            }
            return Ok(Rows::Topic(action(topic, plan)));
        }

        let sides = [
            (&topic.served_q0, topic.copy_q0),
            (&topic.served_q1, topic.copy_q1),
        ];
        let mut made: Vec<(u16, Replicas)> = Vec::new();
        for (side, (served, copy)) in sides.into_iter().enumerate() {
            // With a share group each member has groups of its own.
            if served.is_empty() || !topic.shared.is_empty() {
                continue;
            }
            let copy = copy.then_some(Replica {
                port: broker_port,
                rid: RID_COPY,
            });
            let places = served
                .iter()
                .filter_map(|s| plan.members.get(s).map(|p| p.replica));
            let replicas = replication::replicas(places.chain(copy));
            let group = self
                .acquire_group(view, index, &replicas)
                .map_err(Refusal::from)?;
            plan.groups[side] = Some(group);
            plan.sets[side] = replicas.clone();
            made.push((group, replicas));
        }

        let shared = topic.shared.iter();
        let shared = shared.filter_map(|(session, member)| Some((session, member.alias.as_ref()?)));
        let aliases: Vec<(SessionId, Alias)> = topic
            .aliases
            .iter()
            .chain(shared)
            .filter(|(session, alias)| {
                plan.members.contains_key(session) && **alias != topic.home_alias
            })
            .map(|(session, alias)| (*session, *alias))
            .collect();
        let share = match topic.shared.is_empty() {
            true => None,
            false => {
                let copy = Replica {
                    port: broker_port,
                    rid: RID_COPY,
                };
                let offload = topic::Offload {
                    aliased: !aliases.is_empty(),
                    ..offload(topic, plan)
                };
                let base = Base { copy, offload };
                Some(self.share(view, index, topic, base, plan)?)
            }
        };

        // Nothing below fails: what is acquired becomes rows.
        for (rid, deliver) in rows {
            let key = Key::Subscriber(subscriber::Key { rid });
            self.set(key, Value::Subscriber(deliver));
        }
        for (group, replicas) in made {
            self.set(Key::Group(group), Value::Replicas(replicas));
        }
        for (session, alias) in aliases {
            if let Some(Place { replica: place, .. }) = plan.members.get(&session) {
                plan.aliases.insert(place.rid);
                self.set(alias_key(index, place.rid), alias_value(alias));
            }
        }
        // An alias that is still on the switch, of a time before: see `alias_is_stale`.
        for Place { replica: place, .. } in plan.members.values() {
            let key = alias_key(index, place.rid);
            if !plan.aliases.contains(&place.rid) && view.installed.get(&key).is_some() {
                self.touched.insert(key);
            }
        }
        if let Some(share) = share {
            return Ok(Rows::Share(share));
        }
        Ok(Rows::Topic(action(topic, plan)))
    }

    /// The publication has this row, and no other.
    pub(crate) fn set_publication(
        &mut self,
        key: PublicationKey,
        row: publication::Key,
        action: publication::Action,
    ) {
        let row = Key::Publication(row);
        if let Some(old) = self.publications.insert(key, row)
            && old != row
        {
            self.unset(old);
        }
        self.set(row, Value::Publication(action));
    }

    pub(crate) fn drop_publication(&mut self, key: &PublicationKey) {
        if let Some(row) = self.publications.remove(key) {
            self.unset(row);
        }
    }

    /// Plans the open alias if its topic is planned.
    pub(crate) fn open_publication(&mut self, view: &View<'_>, alias: Alias) {
        let key = open_key(alias);
        match view.intent.open_publications.get(&alias) {
            Some(index) if self.is_planned(*index) => {
                let action = open_publication::Action {
                    topic_index: index.0,
                };
                self.set(key, Value::OpenPublication(action));
            }
            _ => self.unset(key),
        }
    }
}

/// The session, if the topic serves one alone and the broker gets no copy beside it: such a topic
/// needs no group. At QoS 1 the session is served alike, or the broker does everything.
pub(crate) fn to_one(topic: &Topic) -> Option<SessionId> {
    let session = *topic.served_q0.first()?;
    if topic.served_q0.len() > 1 || topic.copy_q0 || !topic.shared.is_empty() {
        return None;
    }
    let alike = topic.served_q1 == topic.served_q0 && topic.ack_q1;
    let broker = topic.served_q1.is_empty() && topic.copy_q1;
    (alike || broker).then_some(session)
}

pub(crate) fn topic_key(index: TopicIndex) -> Key {
    Key::Topic(topic::Key {
        topic_index: index.0,
    })
}

/// The topic's row, which refers to what is planned for it.
pub(crate) fn action(topic: &Topic, plan: &TopicPlan) -> topic::Action {
    let generation = topic.generation.0;
    if plan.members.is_empty() && topic.ack_q1 && !topic.copy_q0 {
        return topic::Action::Discard { generation };
    }
    let translated = plan.translated > 0;
    if let Some(session) = to_one(topic)
        && let Some(Place { replica, .. }) = plan.members.get(&session)
    {
        let alias = topic.aliases.get(&session).unwrap_or(&topic.home_alias);
        return topic::Action::ToOne(topic::ToOne {
            port: replica.port,
            rid: replica.rid,
            ack_q1: topic.ack_q1,
            translated,
            generation,
            copy_flags: alias.id_type.bits(),
            copy_topic_id: alias.id,
        });
    }
    topic::Action::Offload(offload(topic, plan))
}

fn offload(topic: &Topic, plan: &TopicPlan) -> topic::Offload {
    topic::Offload {
        group_q0: plan.groups[0].unwrap_or(0),
        group_q1: plan.groups[1].unwrap_or(0),
        copy_q0: topic.copy_q0,
        copy_q1: topic.copy_q1,
        ack_q1: topic.ack_q1,
        aliased: !plan.aliases.is_empty(),
        translated: plan.translated > 0,
        generation: topic.generation.0,
        copy_flags: topic.home_alias.id_type.bits(),
        copy_topic_id: topic.home_alias.id,
    }
}

pub(crate) fn alias_value(alias: Alias) -> Value {
    Value::SubscriberAlias(subscriber_alias::Action {
        copy_flags: alias.id_type.bits(),
        topic_id: alias.id,
    })
}

pub(crate) fn alias_key(index: TopicIndex, rid: u16) -> Key {
    Key::SubscriberAlias(subscriber_alias::Key {
        topic_index: index.0,
        rid,
    })
}

pub(crate) fn open_key(alias: Alias) -> Key {
    Key::OpenPublication(open_publication::Key {
        topic_id_type: alias.id_type.bits(),
        topic_id: alias.id,
    })
}

/// The publication that a row stands for.
pub(crate) fn publication_of(key: &publication::Key) -> Option<PublicationKey> {
    Some(PublicationKey {
        address: SocketAddr::from((key.ip_src, key.udp_src)),
        alias: Alias {
            id_type: AliasType::from_bits(key.topic_id_type)?,
            id: key.topic_id,
        },
    })
}
