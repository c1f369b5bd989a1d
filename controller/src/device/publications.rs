//! Publications at work: their rows, what is read of them, and what becomes of the cache's decisions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use offload::{
    Activity, FromController, Intent, Publication, PublicationKey, Refusal, RefusedItem, SessionId,
    UNASKED,
};

use super::Device;
use crate::cache::{CacheStatus, Look, Place};
use crate::constants::TOPIC_PARKED;
use crate::plan::{publication_of, topic_key};
use crate::shares::shared_key;
use crate::tables::{Key, Value, publication};
use crate::target::Hit;

impl Device {
    /// Plans the publications anew. Those on the switch come first: they have their room.
    pub(super) fn replan_publications(
        &mut self,
        now: Instant,
        intent: &Intent,
        keys: BTreeSet<PublicationKey>,
    ) {
        let (there, new): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| {
            let row = self.learning.publication_key(key).ok();
            row.is_some_and(|row| self.apply.installed.get(&Key::Publication(row)).is_some())
        });
        for key in there.into_iter().chain(new) {
            let item = RefusedItem::Publication(key);
            let Some(publication) = intent.publications.get(&key) else {
                self.drop_publication(&key);
                self.refusals.left(now, &item);
                continue;
            };
            let why = match self.refusals.withheld(&item).cloned() {
                Some(why) => {
                    self.drop_publication(&key);
                    Some(why)
                }
                None => self.replan_publication(now, key, publication).err(),
            };
            self.refusals.set(item, why);
        }
    }

    fn drop_publication(&mut self, key: &PublicationKey) {
        self.plan.drop_publication(key);
        self.cache.left(key);
    }

    fn replan_publication(
        &mut self,
        now: Instant,
        key: PublicationKey,
        publication: &Publication,
    ) -> Result<(), Refusal> {
        if !self.plan.is_planned(publication.topic) {
            let row = self.plan.publication_row(&key);
            let there = row.is_some_and(|row| self.apply.installed.get(&row).is_some());
            // It does no harm without its topic, and what it knows is to be read.
            if !self.cache.no_topic(&key) || !there {
                self.drop_publication(&key);
            }
            return Ok(());
        }
        let row = match self.learning.publication_key(&key) {
            Ok(row) => row,
            Err(why) => {
                self.drop_publication(&key);
                return Err(why);
            }
        };
        if self
            .plan
            .publication_row(&key)
            .is_some_and(|old| old != Key::Publication(row))
        {
            // What was read is of the row at its former place.
            self.cache.left(&key);
        }
        let there = self.apply.installed.get(&Key::Publication(row));
        if matches!(there, Some(Value::Publication(action)) if action.is_parked()) {
            self.cache.found_parked(now, key, self.config.drain());
        }
        let limit = self.publication_limit(now, row.table());
        let topic_index = match self.cache.place(now, key, limit) {
            Place::Serving => publication.topic.0,
            Place::Parked => TOPIC_PARKED,
            Place::Outside(why) => {
                self.plan.drop_publication(&key);
                return Err(why);
            }
        };
        let action = publication::Action {
            topic_index,
            idle_timeout: Duration::from_secs(self.config.activity_window_s),
            rate: self.config.publication_rate,
        };
        self.plan.set_publication(key, row, action);
        Ok(())
    }

    fn publication_limit(&self, now: Instant, table: &'static str) -> usize {
        let size = self.sizes.get(table).copied().unwrap_or(usize::MAX);
        self.fullness.limit(now, table, size)
    }

    /// Looks at rows, decides who enters and who gives way, and asks for what is to be known for that.
    pub(super) fn tend_publications(&mut self, now: Instant) {
        if !self.synced {
            return;
        }
        for (key, parked) in self.cache.leaving() {
            if self.leads_nowhere(&key, parked)
                && self.cache.read_now(now, &key, self.config.drain())
            {
                self.readings.extend(self.plan.publication_row(&key));
            }
        }
        let Some(rows) = self.cache.look(now) else {
            return;
        };
        self.admit_and_park(now);
        // What they say leads to the next decision.
        let rows = rows.iter().filter_map(|key| self.plan.publication_row(key));
        self.readings
            .extend(rows.filter(|row| self.apply.installed.get(row).is_some()));
        if self.cache.is_short() && self.hot.is_none() {
            self.ask_rates();
        }
    }

    fn admit_and_park(&mut self, now: Instant) {
        let limits = [publication::NAME, publication::NAME_V6];
        let limits = limits.map(|table| self.publication_limit(now, table));
        let decision = self.cache.decide(now, limits);
        if !decision.park.is_empty() {
            tracing::debug!(?decision, "publications give way");
        }
        self.dirty.publications.extend(decision.admit);
        self.dirty.publications.extend(decision.park);
    }

    /// Whether what hits the publication's row on the switch goes to the broker.
    fn leads_nowhere(&self, key: &PublicationKey, parked: bool) -> bool {
        let installed = &self.apply.installed;
        if parked {
            let row = self.plan.publication_row(key);
            let value = row.and_then(|row| installed.get(&row));
            return matches!(value, Some(Value::Publication(action)) if action.is_parked());
        }
        let publication = self
            .intent
            .as_ref()
            .and_then(|intent| intent.publications.get(key));
        publication.is_none_or(|publication| {
            let topic = publication.topic;
            installed.get(&topic_key(topic)).is_none()
                && installed.get(&shared_key(topic)).is_none()
        })
    }

    /// When a publication's row is to be looked at, or read.
    pub(super) fn publications_deadline(&self) -> Option<Instant> {
        self.cache.next_deadline().filter(|_| self.synced)
    }

    /// Rows to be read now, if any: see [`Device::read`] and [`Device::unread`].
    pub fn take_readings(&mut self) -> Option<Vec<Key>> {
        let rows = std::mem::take(&mut self.readings);
        (!rows.is_empty()).then_some(rows)
    }

    /// The rows could not be read.
    pub fn unread(&mut self, now: Instant, rows: &[Key]) {
        for row in rows {
            if let Some(key) = self.publication_at(row) {
                self.cache.unread(now, &key);
            }
        }
    }

    /// What the rows said, read now; None for one that is not there.
    pub fn read(&mut self, now: Instant, hits: &[(Key, Option<Hit>)]) {
        if !self.synced {
            return; // Nobody could be told; a new link begins anew.
        }
        let mut told = Vec::new();
        for (row, hit) in hits {
            let Some(key) = self.publication_at(row) else {
                continue;
            };
            match self.cache.seen(now, &key, hit.as_ref()) {
                Look::Stays => continue,
                Look::Back => {}
                Look::Goes(last) => {
                    // Of what it knows the broker is told, and it can go for good.
                    if let (Some(last), Some(session)) = (last, self.session_of(&key)) {
                        let idle = Some(now.saturating_duration_since(last));
                        told.push(Activity { session, idle });
                    }
                    // One that has gone by itself tells nothing, and nothing may be known of it.
                    let known = last.is_some() || hit.is_some();
                    if let Key::Publication(row) = row
                        && known
                    {
                        self.apply.withdrawn.told(*row);
                    }
                    self.plan.drop_publication(&key);
                }
            }
            self.dirty.publications.insert(key);
        }
        self.admit_and_park(now);
        if !told.is_empty() {
            self.tell(FromController::Activity {
                query: UNASKED,
                sessions: told,
            });
        }
    }

    fn session_of(&self, key: &PublicationKey) -> Option<SessionId> {
        let intent = self.intent.as_ref()?;
        Some(intent.publications.get(key)?.session)
    }

    /// The publication that has this row.
    fn publication_at(&self, row: &Key) -> Option<PublicationKey> {
        let Key::Publication(of) = row else {
            return None;
        };
        let key = publication_of(of)?;
        (self.plan.publication_row(&key) == Some(*row)).then_some(key)
    }

    /// The broker heard of publications that are refused.
    pub fn publishers(&mut self, now: Instant, heard: &[(PublicationKey, u64)]) {
        if !heard.is_empty() && self.synced {
            self.cache.heard(now, heard);
            self.admit_and_park(now);
        }
    }

    /// The switch had no room for the publication.
    pub(super) fn publication_refused(&mut self, now: Instant, key: PublicationKey) {
        self.cache.refused(now, key);
        self.dirty.publications.insert(key);
        self.redo = true;
    }

    /// How the publications stand.
    pub fn cache(&self) -> CacheStatus {
        self.cache.status()
    }

    // ---- Liveness -----------------------------------------------------------------------------

    /// The rows to read for the broker's question about these sessions.
    pub fn rows_of(&self, sessions: Vec<SessionId>) -> Vec<(SessionId, Vec<Key>)> {
        let rows = sessions.into_iter();
        rows.map(|session| (session, self.publication_rows(session)))
            .collect()
    }

    /// The answer to that question: what the rows said, in their order, and what is known of rows
    /// that are gone.
    pub fn activity(
        &self,
        now: Instant,
        query: u64,
        asked: &[(SessionId, Vec<Key>)],
        hits: &[Option<Hit>],
    ) -> FromController {
        let mut hits = hits.iter();
        let sessions = asked.iter().map(|(session, rows)| {
            let said = rows.iter().zip(hits.by_ref());
            let idle = said.filter_map(|(row, hit)| self.idle_of(now, row, hit.as_ref()?));
            Activity {
                session: *session,
                idle: idle.chain(self.idle_since_withdrawn(now, *session)).min(),
            }
        });
        FromController::Activity {
            query,
            sessions: sessions.collect(),
        }
    }

    fn idle_of(&self, now: Instant, row: &Key, hit: &Hit) -> Option<Duration> {
        match row {
            Key::Publication(of) => self.cache.idle_of(now, &publication_of(of)?, hit),
            _ => Some(hit.idle),
        }
    }
}
