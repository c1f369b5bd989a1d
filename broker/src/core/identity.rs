//! Who a session belongs to, and how it may come to another address.
//!
//! ```text
//! CONNECT(ClientId) from B ─ who may use this ClientId? (`access`) ─┬─ no ─► CONNACK, not supported
//!                                                                   ▼
//!   nobody is connected under it ──────────────────────────────────────────► a session at B
//!   it is connected at B ──────────────────────────────────────────────────► the same session anew
//!   it is connected at A ─┬─ A proved itself and B did not ────────────────► CONNACK, not supported
//!                         ├─ takeover: refuse, and A is alive ─────────────► CONNACK, congestion
//!                         └─ else ─► DISCONNECT to A, the will of A's connection is published ─► at B
//! PINGREQ(ClientId) from B while asleep at A (MQTT-SN 1.2 §6.14) ─ as above, but without the will
//! ```
//! Nothing else moves a session: a datagram without a ClientId acts for whoever is at its address.
//!
//! The will is published, as MQTT 3.1.1 has it: of two clients with one ClientId the server
//! disconnects the former (§3.1.4), and a connection that the server ends is one that ended without
//! DISCONNECT (§3.1.2.5). A CONNECT from the same address is no second client but a repeated request
//! (MQTT-SN 1.2 §6.13), and a client that wakes up elsewhere is asleep, not connected: no will.

use std::net::SocketAddr;
use std::time::Instant;

use mqttsn::ReturnCode;
use mqttsn::types::{CLIENT_ID_MAX, CLIENT_ID_MIN};
use offload::SessionId;

use super::Broker;
use super::deliver::By;
use crate::access::{Admitted, Client, Denied};
use crate::config::Takeover;
use crate::session::{Session, State};
use crate::shares::Publisher;
use crate::transmit::{Peer, Source, Via};

impl Broker {
    /// Who the sender of this ClientId is, if it may be that.
    pub(super) fn identify<'a>(
        &mut self,
        source: &Source<'a>,
        peer: &Peer,
        client_id: &'a str,
    ) -> Result<Admitted<'a>, Denied> {
        let client = Client {
            id: client_id,
            source: *source,
            forwarded: !peer.encapsulation.is_empty(),
        };
        let admitted = self.access.may_connect(&client).and_then(|admitted| {
            // The limit is for the name, as a secret behind it is not part of it.
            match (CLIENT_ID_MIN..=CLIENT_ID_MAX).contains(&admitted.name.chars().count()) {
                true => Ok(admitted),
                false => Err(Denied::Form),
            }
        });
        match admitted {
            Ok(_) | Err(Denied::Form) => {}
            Err(why) => {
                self.stats.access_denied += 1;
                tracing::debug!(from = %source.address, %why, "client refused");
            }
        }
        admitted
    }

    /// Whether somebody who is `proved` to be this client or not may have its session at this peer.
    pub(super) fn may_have_session(
        &mut self,
        now: Instant,
        peer: &Peer,
        client_id: &str,
        proved: bool,
    ) -> Result<(), ReturnCode> {
        if let Some(session) = self.session_of(client_id) {
            if session.proved && !proved {
                self.stats.access_denied += 1;
                return Err(ReturnCode::NotSupported);
            }
            if session.peer != *peer && self.keeps(now, session) {
                self.stats.takeovers_refused += 1;
                return Err(ReturnCode::Congestion);
            }
        }
        // Another client at this very address: it was given to somebody else, or is forged.
        let other = self.sessions.at_peer(peer);
        if let Some(session) = other.and_then(|id| self.sessions.get(id))
            && *session.client_id != *client_id
            && self.keeps(now, session)
        {
            self.stats.takeovers_refused += 1;
            return Err(ReturnCode::Congestion);
        }
        Ok(())
    }

    fn session_of(&self, client_id: &str) -> Option<&Session> {
        self.sessions.get(self.sessions.of_client(client_id)?)
    }

    /// Whether the session stays with the client that has it, whoever else asks.
    fn keeps(&self, now: Instant, session: &Session) -> bool {
        if self.config.auth.takeover != Takeover::Refuse || !session.is_active() {
            return false;
        }
        // Who publishes through the data plane may be alive though nothing is heard of it here.
        let hidden = self.offloading.enabled()
            && session.peer.is_direct()
            && !session.publications.is_empty()
            && now < self.offloading.lease.until;
        hidden || session.keep_alive.is_zero() || now < session.heard + session.keep_alive
    }

    /// The session's client has connected from elsewhere: its former connection ends.
    pub(super) fn take_over(&mut self, now: Instant, id: SessionId, peer: &Peer) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let connected = matches!(session.state, State::Active | State::Awake);
        let will = session.will.clone().filter(|_| connected);
        let by = By::Publisher(Publisher::client(&session.client_id));
        if session.state == State::Disconnected || session.peer == *peer {
            return;
        }
        self.tell_former_address(id, peer);
        if !connected {
            // It sleeps: there is no connection to end, and what it has is kept for it.
            return;
        }
        self.end_connection(id);
        if let Some(will) = will {
            self.publish_will(now, &will, by);
        }
    }

    /// Who is at the address that the session leaves learns that it no longer has it.
    pub(super) fn tell_former_address(&mut self, id: SessionId, peer: &Peer) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let former = session.peer.clone();
        self.stats.takeovers += 1;
        tracing::info!(
            client = %session.client_id, from = %former.address, to = %peer.address,
            "the session moves to another address"
        );
        // A sleeping client may have left it to another one.
        if self.sessions.at_peer(&former) == Some(id) {
            self.send_disconnect(&former);
        }
    }

    /// A datagram of this identity comes from the peer. Whoever else was there is gone: what is meant
    /// for it must not be sent there, and what comes from there is not its.
    pub(super) fn meet(&mut self, now: Instant, source: &Source<'_>, peer: &Peer) {
        if source.via == Via::Udp {
            return;
        }
        let identity = source.identity;
        let at_peer = self.sessions.at_peer(peer);
        if let Some(session) = at_peer.and_then(|id| self.sessions.get(id))
            && session.identity.as_deref() == identity
        {
            return;
        }
        // Seldom: the first message, or none of a session. Forwarders have many sessions here.
        for id in self.sessions.at_ip(source.address.ip()) {
            let stranger = self.sessions.get(id).is_some_and(|session| {
                session.peer.via == source.via
                    && session.peer.address == source.address
                    && session.identity.as_deref() != identity
            });
            if stranger {
                self.leave_address(now, id);
            }
        }
        if self
            .dialogues
            .get_mut(peer)
            .is_some_and(|dialogue| dialogue.request.identity.as_deref() != identity)
        {
            self.dialogues.finish(peer);
        }
    }

    /// The transport's connection with this address has ended: nothing can be sent there any more.
    /// Connected clients are lost; those asleep may come back on another connection.
    pub fn transport_ended(&mut self, now: Instant, via: Via, address: SocketAddr) {
        for id in self.sessions.at_ip(address.ip()) {
            let there = self
                .sessions
                .get(id)
                .is_some_and(|session| session.peer.via == via && session.peer.address == address);
            if there {
                self.leave_address(now, id);
            }
        }
        self.dialogues.finish(&Peer {
            via,
            address,
            encapsulation: Box::default(),
        });
        self.settle(now);
    }

    fn leave_address(&mut self, now: Instant, id: SessionId) {
        match self.sessions.get(id).map(|session| session.state) {
            Some(State::Active | State::Asleep) => self.displace(now, id),
            // Its connection was in use.
            Some(State::Awake) => self.end_without_word(now, id),
            Some(State::Disconnected) | None => {}
        }
    }
}
