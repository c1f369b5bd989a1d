//! The controller's words.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use offload::{Change, FromController, Refusal, RefusedItem, SessionId};

use super::Broker;

impl Broker {
    /// The broker is reached at these addresses. Only PUBLISH to one of them may be offloaded.
    pub fn set_services(&mut self, now: Instant, services: BTreeSet<SocketAddr>) {
        if self.offloading.intent.services != services {
            self.offloading.change(Change::Services(services));
        }
        self.settle(now);
    }

    /// Whether a controller that says Hello with this election id is the one to listen to: one that
    /// was primary before the present one is not.
    pub fn takes_controller(&self, now: Instant, election_id: u128) -> bool {
        self.offloading.takes(now, election_id)
    }

    /// A controller has connected; it replaces the one before.
    pub fn link_up(&mut self, now: Instant) {
        self.forget_questions();
        self.offloading.link_up();
        self.settle(now);
    }

    /// The link to the controller is gone. What its switches hold stays in force until the lease
    /// runs out.
    pub fn link_down(&mut self, now: Instant) {
        if let Some(controller) = self.offloading.controller() {
            tracing::warn!(
                controller,
                "the link to the controller is lost; the switch serves no longer than the lease"
            );
        }
        self.offloading.link_down();
        self.forget_questions();
        self.settle(now);
    }

    /// Nobody will answer; the sessions asked about are looked at again.
    fn forget_questions(&mut self) {
        for id in self.offloading.liveness.forget() {
            if let Some(session) = self.sessions.get_mut(id) {
                session.asked = None;
            }
        }
    }

    /// Takes one message of the controller. Ignored unless offload is enabled and the link is up.
    pub fn handle_offload(&mut self, now: Instant, message: FromController) {
        if !self.offloading.enabled() {
            return;
        }
        match message {
            FromController::Hello {
                controller,
                election_id,
                reachable,
            } => self.on_hello(now, controller, election_id, reachable),
            FromController::Standby { .. } => {
                tracing::warn!("a controller that leads calls itself a standby");
            }
            _ if !self.offloading.has_controller() => {
                tracing::warn!("the controller speaks before its Hello");
            }
            FromController::RequestLease { request } => {
                self.offloading.request_lease(now, request, &mut self.stats);
            }
            FromController::Installed { revision } => self.offloading.set_installed(revision),
            FromController::Refused { item, why } => self.on_refused(item, why),
            FromController::Reachable { address, reachable } => {
                self.on_reachable(address, reachable);
            }
            FromController::AskRates { query } => self.offloading.tell_rates(query),
            FromController::Activity { query, sessions } => self.on_activity(now, query, &sessions),
        }
        for id in self.offloading.inherited.due(now) {
            self.set_session_refusal(id, None);
            self.look_again(id);
        }
        self.settle(now);
    }

    fn on_hello(
        &mut self,
        now: Instant,
        controller: String,
        election_id: u128,
        reachable: Vec<IpAddr>,
    ) {
        tracing::info!(%controller, election_id, "controller connected");
        self.offloading.greeted(controller, election_id, reachable);
        let sessions: Vec<SessionId> = self.sessions.all().iter().map(|s| s.id).collect();
        for id in sessions {
            let refusal = self.sessions.get(id).and_then(|s| s.refusal.as_ref());
            if !refusal.is_some_and(|why| self.offloading.inherited.keeps(now, id, why)) {
                self.set_session_refusal(id, None);
            }
            self.look_again(id);
        }
        // The snapshot tells what holds after that, and so stands for the deltas up to here.
        self.settle(now);
        self.offloading.send_snapshot();
    }

    fn on_refused(&mut self, item: RefusedItem, why: Option<Refusal>) {
        match item {
            RefusedItem::Session(id) => {
                self.offloading.inherited.spoken_of(id);
                self.set_session_refusal(id, why);
                self.look_again(id);
            }
            // A topic or publication that does not exist any more is not worth a note.
            RefusedItem::Topic(index) if self.topics.get(index).is_none() => {}
            RefusedItem::Publication(key)
                if !self.offloading.intent.publications.contains_key(&key) => {}
            RefusedItem::Topic(_) | RefusedItem::Publication(_) => {
                self.offloading.set_refusal(item, why);
            }
        }
    }

    fn set_session_refusal(&mut self, id: SessionId, why: Option<Refusal>) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.refusal = why;
        }
    }

    fn on_reachable(&mut self, ip: IpAddr, reachable: bool) {
        if self.offloading.set_reachable(ip, reachable) {
            for id in self.sessions.at_ip(ip) {
                self.look_again(id);
            }
        }
    }

    /// Whether the data plane can serve the session may have changed.
    fn look_again(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get(id) {
            for &index in &session.topics {
                self.offloading.mark_subscriber(index, id);
            }
        }
    }
}
