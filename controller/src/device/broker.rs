//! What the broker says, and what it is told.

use std::net::IpAddr;
use std::time::Instant;

use offload::{ApplyError, Change, Delta, FromController, Intent};

use super::Device;
use crate::config::OnBrokerLoss;
use crate::index::Index;

impl Device {
    /// A link to a broker is open: it is told who can be reached.
    pub fn link_opened(&mut self) {
        self.linked = true;
        self.synced = false;
        self.refusals.forget_told();
        self.installed = None;
        self.outbox.clear();
        let mut reachable: Vec<IpAddr> = self.learning.endpoints().map(|(ip, _)| *ip).collect();
        reachable.sort_unstable();
        self.outbox.push(FromController::Hello {
            controller: self.config.name.clone(),
            election_id: self.election_id,
            reachable,
        });
    }

    /// The link is gone. Nothing is renewed any more, and the lease runs out by itself.
    pub fn link_lost(&mut self) {
        self.linked = false;
        self.synced = false;
        self.installed = None;
        self.waiting.clear();
        self.outbox.clear();
        if self.config.on_broker_loss == OnBrokerLoss::Release
            && let Some(intent) = &self.intent
        {
            // Without the service's rows a forged tag would come through to a broker that is only cut off.
            let services = intent.services.clone();
            self.replace_intent(Intent {
                services,
                ..Intent::default()
            });
        }
    }

    /// The whole intent: it replaces what was said before.
    pub fn snapshot(&mut self, now: Instant, intent: Intent) {
        self.waiting.clear();
        self.waiting.push_back((intent.revision, now));
        self.installed = None;
        self.planned = None;
        self.synced = true;
        if let Some(hot) = &mut self.hot {
            hot.start_over();
        }
        self.cache.start_over();
        self.replace_intent(intent);
    }

    fn replace_intent(&mut self, intent: Intent) {
        let old = self.intent.take().unwrap_or_default();
        for intent in [&old, &intent] {
            self.dirty.sessions.extend(intent.sessions.keys());
            self.dirty.topics.extend(intent.topics.keys());
            self.dirty.publications.extend(intent.publications.keys());
            let aliases = intent.open_publications.keys();
            self.dirty.open_publications.extend(aliases);
        }
        self.dirty.services = true;
        // What is on the switch of an intent before is compared with the new one.
        for (key, _) in self.apply.installed.rows() {
            if key.of_intent() {
                self.plan.touch(*key);
            }
        }
        self.index = Index::of(&intent);
        self.intent = Some(intent);
    }

    /// The next step of the intent.
    ///
    /// # Errors
    /// When it does not fit: then only a new snapshot helps.
    pub fn delta(&mut self, now: Instant, delta: &Delta) -> Result<(), ApplyError> {
        let Some(intent) = self.intent.as_mut() else {
            return Err(ApplyError::WrongBase {
                have: 0,
                base: delta.base.0,
            });
        };
        for change in &delta.changes {
            self.index.forget(intent, change);
        }
        let result = intent.apply(delta);
        for change in &delta.changes {
            self.index.note(intent, change);
        }
        result?;
        self.waiting.push_back((delta.revision, now));
        for change in &delta.changes {
            match change {
                Change::Services(_) => {
                    self.dirty.services = true;
                    self.dirty.sessions.extend(intent.sessions.keys());
                    self.dirty.topics.extend(intent.topics.keys());
                }
                Change::Session(session, _) => {
                    self.dirty.sessions.insert(*session);
                }
                Change::Topic(index, _) => {
                    self.dirty.topics.insert(*index);
                }
                Change::Serve(index, step) if !step.shared.is_empty() => {
                    self.dirty.topics.insert(*index);
                }
                Change::Serve(index, step) => {
                    let sessions = step.members.iter().map(|(session, _)| *session);
                    self.dirty
                        .members
                        .entry(*index)
                        .or_default()
                        .extend(sessions);
                }
                Change::Publication(key, _) => {
                    self.dirty.publications.insert(*key);
                }
                Change::OpenPublication(alias, _) => {
                    self.dirty.open_publications.insert(*alias);
                }
            }
        }
        Ok(())
    }

    /// What is to be said to the broker, in order.
    pub fn take_messages(&mut self) -> Vec<FromController> {
        std::mem::take(&mut self.outbox)
    }

    pub(super) fn tell(&mut self, message: FromController) {
        if self.linked {
            self.outbox.push(message);
        }
    }

    pub(super) fn tell_reachable(&mut self, address: IpAddr, reachable: bool) {
        self.tell(FromController::Reachable { address, reachable });
    }

    /// Whether the lease may be renewed: the broker's intent is on the switch, and nothing of it
    /// has been waiting for too long.
    pub fn may_renew(&self, now: Instant) -> bool {
        let overdue = self.config.overdue();
        self.linked
            && self.installed.is_some()
            && self
                .waiting
                .front()
                .is_none_or(|(_, since)| now < *since + overdue)
    }
}
