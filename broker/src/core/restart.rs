//! A broker that goes on where another one ended (see `durable` for what holds then).

use std::time::Instant;

use mqttsn::Alias;
use offload::SessionId;

use super::Broker;
use crate::durable::{Parts, Recorder};
use crate::offloading::gate::Reply;
use crate::session::State;
use crate::shares;
use crate::subscriptions::Grant;

impl Broker {
    /// What is durable, and who notes its changes.
    pub(crate) fn durable_parts(&mut self) -> (Parts<'_>, Option<&mut Recorder>) {
        let parts = Parts {
            sessions: &mut self.sessions,
            topics: &mut self.topics,
            subscriptions: &mut self.subscriptions,
            retained: &mut self.retained,
            shares: &self.shares,
        };
        (parts, self.recorder.as_deref_mut())
    }

    /// The session subscribes as it did.
    pub(crate) fn restore_subscription(&mut self, id: SessionId, filter: &str, grant: Grant) {
        self.subscriptions.insert(filter, id, grant);
        if let Some(session) = self.sessions.get_mut(id) {
            session.filters.insert(filter.into());
        }
        if shares::matched(filter) != filter {
            self.join_share(id, filter, None);
            return;
        }
        for index in self.topics.matched_by(filter) {
            let Some(topic) = self.topics.get(index) else {
                continue;
            };
            // What the id means now is looked at when all is there.
            let alias = grant.predefined.map(Alias::predefined);
            if let Some(grant) = self.subscriptions.of_session(&topic.name, id) {
                self.add_subscriber(id, index, grant, alias, true);
            }
        }
    }

    /// Goes on with the sessions that were put in.
    pub(crate) fn take_up(&mut self, now: Instant, recorder: Recorder) {
        self.recorder = Some(Box::new(recorder));
        self.add_configured();
        let topics: Vec<_> = self.topics.all().iter().map(|&(index, _)| index).collect();
        for index in topics {
            // The publications that held some of them are not durable.
            self.topics.released(index);
        }
        let sessions: Vec<SessionId> = self.sessions.all().iter().map(|s| s.id).collect();
        for id in sessions {
            // The configuration may be another one than before.
            self.review(now, id);
            self.rename_undefined(id);
            self.take_up_session(now, id);
        }
        self.settle(now);
    }

    fn take_up_session(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(patience) = session.patience(&self.config) {
            self.timers.schedule(id, &mut session.timer, now + patience);
        }
        match session.state {
            State::Active if !session.ready => self.offloading.gate.push(Reply::Connack(id)),
            State::Asleep if session.ready => {
                let reply = Reply::Disconnect(session.peer.clone());
                self.offloading.gate.push(reply);
            }
            State::Active | State::Awake => self.resume(now, id),
            State::Asleep | State::Disconnected => {}
        }
    }
}
