//! Subscriptions by topic filter.

use std::collections::BTreeMap;

use mqttsn::Qos;
use offload::SessionId;

use crate::durable::Touched;
use crate::levels::Levels;
use crate::shares;

/// What one subscription, or several overlapping ones of a session, give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) qos: Qos,
    /// Whether its SUBACK was sent.
    pub(crate) active: bool,
    /// The predefined topic id by which the client named the topic.
    pub(crate) predefined: Option<u16>,
}

impl Grant {
    /// Overlapping subscriptions give one copy at the highest QoS (MQTT 3.1.1 §3.3.5).
    fn and(self, other: Grant) -> Grant {
        Grant {
            qos: if self.qos.level() >= other.qos.level() {
                self.qos
            } else {
                other.qos
            },
            active: self.active || other.active,
            predefined: self.predefined.or(other.predefined),
        }
    }
}

/// All subscriptions of all sessions, those in share groups included, each under its whole filter.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    filters: Levels<BTreeMap<SessionId, Grant>>,
    count: usize,
    filter_octets: usize,
    /// Only those whose SUBACK was sent are durable.
    pub(crate) touched: Touched<(SessionId, Box<str>)>,
}

impl Subscriptions {
    /// Adds the subscription. One that stands already keeps having had its SUBACK.
    pub(crate) fn add(
        &mut self,
        filter: &str,
        session: SessionId,
        qos: Qos,
        predefined: Option<u16>,
    ) {
        let sessions = self.filters.get_or_insert_with(filter, BTreeMap::new);
        let grant = sessions.entry(session).or_insert_with(|| {
            self.count += 1;
            self.filter_octets += filter.len();
            Grant {
                qos,
                active: false,
                predefined,
            }
        });
        grant.qos = qos;
        grant.predefined = predefined;
        if grant.active {
            self.touched.touch_with(|| ((session, filter.into()), true));
        }
    }

    /// The subscription itself.
    pub(crate) fn get(&self, filter: &str, session: SessionId) -> Option<Grant> {
        self.filters.get(filter)?.get(&session).copied()
    }

    /// Puts back what was stored.
    pub(crate) fn insert(&mut self, filter: &str, session: SessionId, grant: Grant) {
        let sessions = self.filters.get_or_insert_with(filter, BTreeMap::new);
        if sessions.insert(session, grant).is_none() {
            self.count += 1;
            self.filter_octets += filter.len();
        }
    }

    /// Number of subscriptions.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Octets of the filters of all of them.
    pub(crate) fn filter_octets(&self) -> usize {
        self.filter_octets
    }

    /// Notes that the SUBACK was sent. False if the subscription is gone.
    pub(crate) fn activate(&mut self, filter: &str, session: SessionId) -> bool {
        let grant = self
            .filters
            .get_mut(filter)
            .and_then(|sessions| sessions.get_mut(&session));
        match grant {
            Some(grant) => {
                let stored = grant.active;
                grant.active = true;
                self.touched
                    .touch_with(|| ((session, filter.into()), stored));
                true
            }
            None => false,
        }
    }

    pub(crate) fn remove(&mut self, filter: &str, session: SessionId) {
        let Some(sessions) = self.filters.get_mut(filter) else {
            return;
        };
        if let Some(grant) = sessions.remove(&session) {
            self.count -= 1;
            self.filter_octets -= filter.len();
            if grant.active {
                self.touched.touch_with(|| ((session, filter.into()), true));
            }
        }
        if sessions.is_empty() {
            self.filters.remove(filter);
        }
    }

    /// Who has a subscription of exactly this filter, and how.
    pub(crate) fn of_filter(&self, filter: &str) -> Option<&BTreeMap<SessionId, Grant>> {
        self.filters.get(filter)
    }

    /// Who subscribes to the topic name for itself, not in a share group, and how.
    pub(crate) fn for_name(&self, name: &str) -> BTreeMap<SessionId, Grant> {
        let mut found: BTreeMap<SessionId, Grant> = BTreeMap::new();
        if shares::is_reserved(name) {
            return found;
        }
        self.filters.matching(name, |sessions| {
            for (&session, &grant) in sessions {
                found
                    .entry(session)
                    .and_modify(|sum| *sum = sum.and(grant))
                    .or_insert(grant);
            }
        });
        found
    }

    /// How this session subscribes to the topic name for itself.
    pub(crate) fn of_session(&self, name: &str, session: SessionId) -> Option<Grant> {
        let mut found: Option<Grant> = None;
        if shares::is_reserved(name) {
            return None;
        }
        self.filters.matching(name, |sessions| {
            if let Some(&grant) = sessions.get(&session) {
                found = Some(found.map_or(grant, |sum| sum.and(grant)));
            }
        });
        found
    }
}
