//! What time brings: retransmissions, and sessions of which nothing is heard (MQTT-SN 1.2 §6.11).
//!
//! A publisher whose messages the data plane serves is silent here and yet alive:
//!
//! ```text
//! silent too long ─┬─ does not publish through the data plane ─────────────────────► lost
//!                  └─ it does ─┬─ a controller listens: ask ─┬─ idle too long ─────► lost
//!                              │                             ├─ idle less ─────────► alive since
//!                              │                             └─ no answer ┐
//!                              └─ none listens ───────────────────────────┴─► it may have been heard
//!                                   until the lease ran out: lost if silent for as long after that
//! ```

use std::time::Instant;

use offload::{Activity, SessionId};

use super::Broker;

impl Broker {
    pub(super) fn expire(&mut self, now: Instant) {
        self.dialogues.expire(now);
        let mut ask = Vec::new();
        while let Some(id) = self.timers.pop_due(now) {
            if let Some(session) = self.sessions.get_mut(id) {
                session.timer = None;
            }
            self.retry(now, id);
            self.check_silence(now, id, &mut ask);
            self.reschedule(now, id);
        }
        if !ask.is_empty() {
            self.offloading.ask_activity(now, ask);
        }
    }

    fn check_silence(&mut self, now: Instant, id: SessionId, ask: &mut Vec<SessionId>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(patience) = session.patience(&self.config) else {
            return;
        };
        if now < session.heard + patience {
            return;
        }
        let hidden = self.offloading.enabled()
            && session.is_active()
            && session.peer.is_direct()
            && !session.publications.is_empty();
        if !hidden {
            self.lose(now, id);
            return;
        }
        match session.asked {
            Some((_, until)) if now < until => {}
            None if self.offloading.has_controller()
                && !self.offloading.liveness.is_overdue(now) =>
            {
                let query = self.offloading.liveness.next_query();
                session.asked = Some((query, now + self.config.offload.activity_answer()));
                ask.push(id);
            }
            Some(_) | None => {
                // Nobody knows. While the question is overdue the lease is not granted anew, so
                // this moment comes.
                if now >= session.heard.max(self.offloading.lease.until) + patience {
                    self.lose(now, id);
                }
            }
        }
    }

    /// Enters the session's next deadline.
    fn reschedule(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let retry = match &session.outbox.in_flight {
            Some(in_flight) if session.listens() => Some(in_flight.sent + self.config.t_retry()),
            _ => None,
        };
        let silence = session.patience(&self.config).map(|patience| {
            let silent = session.heard + patience;
            match session.asked {
                _ if now < silent => silent,
                Some((_, until)) if now < until => until,
                _ => session.heard.max(self.offloading.lease.until) + patience,
            }
        });
        if let Some(at) = [retry, silence].into_iter().flatten().min() {
            self.timers.schedule(id, &mut session.timer, at);
        }
    }

    /// The answer to a question about activity.
    pub(super) fn on_activity(&mut self, now: Instant, query: u64, answers: &[Activity]) {
        // Also of sessions that nobody asked about: rows that knew it are about to go.
        for answer in answers {
            if let Some(session) = self.sessions.get_mut(answer.session)
                && let Some(idle) = answer.idle
                && let Some(heard) = now.checked_sub(idle)
            {
                session.heard = session.heard.max(heard);
            }
        }
        for id in self.offloading.liveness.answered(query).unwrap_or_default() {
            let Some(session) = self.sessions.get_mut(id) else {
                continue;
            };
            if session.asked.is_none_or(|(asked, _)| asked != query) {
                continue;
            }
            session.asked = None;
            let patience = session.patience(&self.config);
            if patience.is_some_and(|patience| now >= session.heard + patience) {
                self.lose(now, id);
            } else {
                self.reschedule(now, id);
            }
        }
    }
}
