//! Who depends on whom in the intent, so that a change costs what it changes.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use offload::{Alias, Change, Intent, PublicationKey, SessionId, TopicIndex};

/// A map from one to many.
#[derive(Debug)]
struct Many<K, V>(HashMap<K, HashSet<V>>);

impl<K, V> Default for Many<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, V: Hash + Eq + Copy> Many<K, V> {
    fn add(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().insert(value);
    }

    fn remove(&mut self, key: K, value: &V) {
        if let Some(values) = self.0.get_mut(&key) {
            values.remove(value);
            if values.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    fn get(&self, key: &K) -> Vec<V> {
        self.0
            .get(key)
            .map(|values| values.iter().copied().collect())
            .unwrap_or_default()
    }
}

/// The intent turned round.
#[derive(Debug, Default)]
pub(crate) struct Index {
    topics_of: Many<SessionId, TopicIndex>,
    sessions_at: Many<IpAddr, SessionId>,
    publications_at: Many<IpAddr, PublicationKey>,
    publications_to: Many<TopicIndex, PublicationKey>,
    publications_of: Many<SessionId, PublicationKey>,
    open_to: Many<TopicIndex, Alias>,
}

impl Index {
    pub(crate) fn of(intent: &Intent) -> Self {
        let mut index = Self::default();
        for session in intent.sessions.keys() {
            index.note(intent, &Change::Session(*session, None));
        }
        for topic in intent.topics.keys() {
            index.note(intent, &Change::Topic(*topic, None));
        }
        for key in intent.publications.keys() {
            index.note(intent, &Change::Publication(*key, None));
        }
        for alias in intent.open_publications.keys() {
            index.note(intent, &Change::OpenPublication(*alias, None));
        }
        index
    }

    /// Forgets what the intent says of the changed item; `note` must follow.
    pub(crate) fn forget(&mut self, intent: &Intent, change: &Change) {
        self.update(intent, change, false);
    }

    /// Notes what the intent says of the changed item now.
    pub(crate) fn note(&mut self, intent: &Intent, change: &Change) {
        self.update(intent, change, true);
    }

    fn update(&mut self, intent: &Intent, change: &Change, add: bool) {
        fn put<K: Hash + Eq, V: Hash + Eq + Copy>(
            many: &mut Many<K, V>,
            add: bool,
            key: K,
            value: V,
        ) {
            if add {
                many.add(key, value);
            } else {
                many.remove(key, &value);
            }
        }
        match change {
            Change::Services(_) => {}
            Change::Session(session, _) => {
                if let Some(address) = intent.sessions.get(session) {
                    put(&mut self.sessions_at, add, address.ip(), *session);
                }
            }
            Change::Topic(index, _) => {
                if let Some(topic) = intent.topics.get(index) {
                    let ordinary = topic.served_q0.union(&topic.served_q1);
                    for session in ordinary.chain(topic.shared.keys()) {
                        put(&mut self.topics_of, add, *session, *index);
                    }
                }
            }
            Change::Serve(index, step) => {
                if let Some(topic) = intent.topics.get(index) {
                    let ordinary = step.members.iter().map(|(session, _)| session);
                    let shared = step.shared.iter().map(|(session, _)| session);
                    for session in ordinary.chain(shared) {
                        if topic.member(*session).is_some() || topic.shared.contains_key(session) {
                            put(&mut self.topics_of, add, *session, *index);
                        }
                    }
                }
            }
            Change::Publication(key, _) => {
                if let Some(publication) = intent.publications.get(key) {
                    put(&mut self.publications_at, add, key.address.ip(), *key);
                    put(&mut self.publications_to, add, publication.topic, *key);
                    put(&mut self.publications_of, add, publication.session, *key);
                }
            }
            Change::OpenPublication(alias, _) => {
                if let Some(topic) = intent.open_publications.get(alias) {
                    put(&mut self.open_to, add, *topic, *alias);
                }
            }
        }
    }

    pub(crate) fn topics_of(&self, session: SessionId) -> Vec<TopicIndex> {
        self.topics_of.get(&session)
    }

    pub(crate) fn sessions_at(&self, address: IpAddr) -> Vec<SessionId> {
        self.sessions_at.get(&address)
    }

    pub(crate) fn publications_at(&self, address: IpAddr) -> Vec<PublicationKey> {
        self.publications_at.get(&address)
    }

    pub(crate) fn publications_to(&self, topic: TopicIndex) -> Vec<PublicationKey> {
        self.publications_to.get(&topic)
    }

    pub(crate) fn publications_of(&self, session: SessionId) -> HashSet<PublicationKey> {
        self.publications_of.get(&session).into_iter().collect()
    }

    pub(crate) fn open_publications_to(&self, topic: TopicIndex) -> Vec<Alias> {
        self.open_to.get(&topic)
    }

    /// Whether the intent names the address at all.
    pub(crate) fn is_used(&self, address: IpAddr) -> bool {
        self.sessions_at.0.contains_key(&address) || self.publications_at.0.contains_key(&address)
    }
}
