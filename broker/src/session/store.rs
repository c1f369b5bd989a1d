//! All sessions, and the ways to find one.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use offload::SessionId;
use rustc_hash::FxHashMap;

use super::held::Total;
use super::{Session, State};
use crate::durable::Shadow;
use crate::transmit::Peer;

/// What the store may hold of a session that is no more.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: SessionId,
    pub(crate) shadow: Box<Shadow>,
    pub(crate) topic_ids: Vec<u16>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    list: FxHashMap<SessionId, Session>,
    by_client: HashMap<Box<str>, SessionId>,
    /// Sessions that are connected or asleep, by where they are.
    /// Looked up for each datagram, and its keys are what strangers write: a fast hash, keyed at
    /// random. Nothing depends on the order of the entries.
    by_peer: HashMap<Peer, SessionId, foldhash::quality::RandomState>,
    by_ip: HashMap<IpAddr, BTreeSet<SessionId>>,
    /// Those of which only a CONNECT was heard; their ids grow with time.
    unconfirmed: BTreeSet<SessionId>,
    /// Octets that wait for all of them.
    pub(crate) queued: Total,
    last_id: u32,
    /// Whether changes are to be stored.
    recording: bool,
    /// Sessions that may have changed since they were stored.
    touched: Vec<SessionId>,
    /// Sessions that have ended since.
    ended: Vec<Ended>,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.list.get(&id)
    }

    /// The session, to change it: what is durable of it is looked at when changes are taken.
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let session = self.list.get_mut(&id)?;
        if self.recording && !session.touched {
            session.touched = true;
            self.touched.push(id);
        }
        Some(session)
    }

    pub(crate) fn of_client(&self, client_id: &str) -> Option<SessionId> {
        self.by_client.get(client_id).copied()
    }

    pub(crate) fn at_peer(&self, peer: &Peer) -> Option<SessionId> {
        self.by_peer.get(peer).copied()
    }

    /// The connected session at this peer, to note a sign of life. Nothing durable may be changed
    /// through this: it is not recorded, so that a PUBLISH at QoS 0 costs no look at the session.
    pub(crate) fn active_at(&mut self, peer: &Peer) -> Option<&mut Session> {
        let session = self.list.get_mut(self.by_peer.get(peer)?)?;
        session.is_active().then_some(session)
    }

    /// The sessions behind an IP address, in order.
    pub(crate) fn at_ip(&self, ip: IpAddr) -> Vec<SessionId> {
        let found = self.by_ip.get(&ip);
        found
            .map(|ids| ids.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Number of sessions behind an IP address.
    pub(crate) fn count_at_ip(&self, ip: IpAddr) -> usize {
        self.by_ip.get(&ip).map_or(0, BTreeSet::len)
    }

    /// Only a CONNECT was heard of the session.
    pub(crate) fn set_unconfirmed(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id) {
            session.confirmed = false;
            self.unconfirmed.insert(id);
        }
    }

    /// More was heard of the session.
    pub(crate) fn confirm(&mut self, id: SessionId) {
        let unconfirmed = self.list.get(&id).is_some_and(|session| !session.confirmed);
        if unconfirmed && let Some(session) = self.get_mut(id) {
            session.confirmed = true;
            self.unconfirmed.remove(&id);
        }
    }

    /// Number of sessions of which only a CONNECT was heard.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.unconfirmed.len()
    }

    /// The oldest of them.
    pub(crate) fn oldest_unconfirmed(&self) -> Option<SessionId> {
        self.unconfirmed.first().copied()
    }

    /// All sessions, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<&Session> {
        let mut all: Vec<_> = self.list.values().collect();
        all.sort_unstable_by_key(|session| session.id);
        all
    }

    /// Adds a session for a client that has none; `None` when no id is left.
    pub(crate) fn add(&mut self, client_id: &str, peer: &Peer, now: Instant) -> Option<SessionId> {
        let number = self.last_id.checked_add(1)?;
        self.last_id = number;
        let id = SessionId(number);
        let session = Session::new(id, client_id, peer.clone(), now, self.queued.clone());
        self.insert(session, true);
        Some(id)
    }

    /// Puts a session where it was, or where [`Sessions::add`] wants it. `bound` says whether it is
    /// at its peer.
    pub(crate) fn insert(&mut self, mut session: Session, bound: bool) {
        let (id, peer) = (session.id, session.peer.clone());
        if self.recording {
            session.topic_ids.record();
            session
                .shadow
                .get_or_insert_with(|| Box::new(Shadow::default()));
            session.touched = true;
            self.touched.push(id);
        }
        self.last_id = self.last_id.max(id.0);
        if !session.confirmed {
            self.unconfirmed.insert(id);
        }
        self.by_client.insert(session.client_id.clone(), id);
        self.list.insert(id, session);
        if bound {
            self.bind(id, &peer);
        }
    }

    /// From now on changes are noted.
    pub(crate) fn record(&mut self) {
        self.recording = true;
    }

    /// The id that was given out last, or 0.
    pub(crate) fn last_id(&self) -> u32 {
        self.last_id
    }

    /// No id up to this one is given out any more.
    pub(crate) fn skip_to(&mut self, last_id: u32) {
        self.last_id = self.last_id.max(last_id);
    }

    /// Whether a session may have changed, or has ended, since changes were taken last.
    pub(crate) fn any_touched(&self) -> bool {
        !self.touched.is_empty() || !self.ended.is_empty()
    }

    /// The sessions that have ended since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Visits the sessions that may have changed since the last call.
    pub(crate) fn take_touched(&mut self, mut visit: impl FnMut(&mut Session)) {
        for id in self.touched.drain(..) {
            if let Some(session) = self.list.get_mut(&id) {
                session.touched = false;
                visit(session);
            }
        }
    }

    /// The session is at this peer from now on. Nobody else may be there.
    pub(crate) fn bind(&mut self, id: SessionId, peer: &Peer) {
        self.unbind(id);
        if let Some(session) = self.get_mut(id) {
            session.peer = peer.clone();
            self.by_peer.insert(peer.clone(), id);
            self.by_ip.entry(peer.address.ip()).or_default().insert(id);
        }
    }

    /// The session is nowhere from now on.
    pub(crate) fn unbind(&mut self, id: SessionId) {
        let Some(session) = self.list.get(&id) else {
            return;
        };
        if self.by_peer.get(&session.peer) == Some(&id) {
            self.by_peer.remove(&session.peer);
        }
        let ip = session.peer.address.ip();
        if let Some(ids) = self.by_ip.get_mut(&ip) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_ip.remove(&ip);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.unbind(id);
        let mut session = self.list.remove(&id)?;
        self.unconfirmed.remove(&id);
        self.by_client.remove(&session.client_id);
        if let Some(shadow) = session.shadow.take() {
            let topic_ids = session.topic_ids.ids().collect();
            self.ended.push(Ended {
                id,
                shadow,
                topic_ids,
            });
        }
        Some(session)
    }

    /// Number of sessions in this state.
    pub(crate) fn in_state(&self, state: State) -> usize {
        self.list.values().filter(|s| s.state == state).count()
    }
}
