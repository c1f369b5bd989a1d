//! Many associations behind one address.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls};

use crate::MAX_DATAGRAM;
use crate::association::{self, Association, Failure, Peer, Progress, Resolver};
use crate::cookie::Cookies;
use crate::credentials::{
    CredentialError, KeyPair, PskLookup, ServerCertificate, ServerCredentials,
};
use crate::crypto;
use crate::hello::{self, ClientHello};
use crate::limits::Limits;
use crate::output::{Event, Received, Transmit, Transmits};
use crate::timers::Timers;

/// TLS_PSK_WITH_AES_128_CCM_8 (RFC 6655).
const PSK_WITH_AES_128_CCM_8: u16 = 0xC0A8;

/// Why a datagram cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody at this address has an association.
    #[error("{0} has no DTLS association")]
    NoAssociation(SocketAddr),
    /// A record holds less.
    #[error("{0} octets are more than a DTLS record holds ({MAX_DATAGRAM})")]
    TooLong(usize),
    /// The association ends with it.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// What a server has counted since it began, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Associations now.
    pub connections: usize,
    /// Handshakes now.
    pub handshakes: usize,
    /// Cookies asked for: hellos that cost nothing but the answer.
    pub cookies_sent: u64,
    /// Handshakes begun.
    pub handshakes_begun: u64,
    /// Handshakes done.
    pub handshakes_done: u64,
    /// Handshakes that failed, by whatever side or by time.
    pub handshakes_failed: u64,
    /// Handshakes that had to make room for newer ones.
    pub handshakes_evicted: u64,
    /// Hellos, or handshakes when they were done, for which there was no room.
    pub refused_no_room: u64,
    /// Associations closed by their clients.
    pub closed_by_peer: u64,
    /// Associations closed because nothing came.
    pub closed_idle: u64,
    /// Associations that failed.
    pub closed_failed: u64,
    /// Datagrams received over associations.
    pub received: u64,
    /// Datagrams sent over associations.
    pub sent: u64,
    /// Datagrams that nobody was there to send to.
    pub dropped_no_association: u64,
    /// Datagrams that were longer than a record.
    pub dropped_too_long: u64,
    /// Datagrams from addresses without an association that begin none.
    pub ignored: u64,
}

/// A handshake in progress, and its turn among them.
struct Handshake {
    association: Box<Association>,
    turn: u64,
}

/// All there is of one address: an association, the handshake of the next one, or both (RFC 6347
/// §4.2.8: the old one lives until the new one has been proven).
#[derive(Default)]
struct Client {
    established: Option<Box<Association>>,
    handshake: Option<Handshake>,
    last_heard: Option<Instant>,
    timer: Option<Instant>,
}

/// A DTLS server without a socket.
pub struct Server {
    psk: Option<(Arc<Config>, Peer)>,
    certificate: Option<(Arc<Config>, KeyPair, Peer)>,
    max_connections: usize,
    max_handshakes: usize,
    idle_timeout: Duration,
    cookies: Cookies,
    clients: HashMap<SocketAddr, Client>,
    /// Handshakes in progress, oldest first.
    turns: BTreeMap<u64, SocketAddr>,
    next_turn: u64,
    timers: Timers,
    scratch: Vec<u8>,
    transmits: Transmits,
    received: Received,
    stats: Stats,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("psk", &self.psk.is_some())
            .field("certificate", &self.certificate.is_some())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server without associations.
    ///
    /// # Errors
    /// Credentials that cannot be used.
    pub fn new(
        credentials: ServerCredentials,
        limits: &Limits,
        now: Instant,
    ) -> Result<Self, CredentialError> {
        let ServerCredentials { psk, certificate } = credentials;
        if psk.is_none() && certificate.is_none() {
            return Err(CredentialError::Nothing);
        }
        Ok(Server {
            psk: psk.map(|lookup| with_psk(lookup, limits)).transpose()?,
            certificate: certificate
                .map(|certificate| with_certificate(certificate, limits))
                .transpose()?,
            max_connections: limits.max_connections,
            max_handshakes: limits.max_handshakes.max(1),
            idle_timeout: limits.idle_timeout,
            cookies: Cookies::new(now)?,
            clients: HashMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            timers: Timers::default(),
            scratch: association::scratch(),
            transmits: Transmits::default(),
            received: Received::default(),
            stats: Stats::default(),
        })
    }

    /// Takes a datagram of the socket.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if let Some(hello) = ClientHello::parse(datagram) {
            self.on_hello(now, from, &hello, datagram);
            return;
        }
        let (Some(epoch), Some(client)) = (hello::epoch(datagram), self.clients.get_mut(&from))
        else {
            self.stats.ignored += 1;
            return;
        };
        // Records of the established keys are that association's, also while another handshake goes
        // on; they would end that one, where nothing but the next keys' Finished is expected.
        if let Some(established) = &mut client.established
            && (epoch > 0 || client.handshake.is_none())
        {
            let result = established.handle(now, datagram);
            let progress = self.finish_established(now, from, result);
            if progress.received > 0 || progress.closed {
                return;
            }
        }
        if let Some(client) = self.clients.get_mut(&from)
            && let Some(handshake) = &mut client.handshake
        {
            let result = handshake.association.handle(now, datagram);
            self.finish_handshake(now, from, result);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(address) = self.timers.pop_due(now) {
            let Some(client) = self.clients.get_mut(&address) else {
                continue;
            };
            client.timer = None;
            if let Some(handshake) = &mut client.handshake
                && handshake.association.deadline <= now
            {
                let result = handshake.association.handle_timeout(now);
                self.finish_handshake(now, address, result);
            }
            self.close_idle(now, address);
            self.set_timer(address);
        }
    }

    /// When [`Server::handle_timeout`] wants to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Protects a datagram for `to`; [`Server::poll_transmit`] has it then.
    ///
    /// # Errors
    /// Nobody is there, or it is too long. It is counted and dropped.
    pub fn send(&mut self, now: Instant, to: SocketAddr, datagram: &[u8]) -> Result<(), SendError> {
        if datagram.len() > MAX_DATAGRAM {
            self.stats.dropped_too_long += 1;
            return Err(SendError::TooLong(datagram.len()));
        }
        let established = self
            .clients
            .get_mut(&to)
            .and_then(|c| c.established.as_mut());
        let Some(established) = established else {
            self.stats.dropped_no_association += 1;
            return Err(SendError::NoAssociation(to));
        };
        let result = established.send(datagram);
        if result.is_ok() {
            self.stats.sent += 1;
        }
        self.finish_established(now, to, result.clone());
        Ok(result?)
    }

    /// Takes a datagram that is to be sent on the socket.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.transmits.pop()
    }

    /// Takes a datagram that a client has sent, or the end of an association.
    pub fn poll_received(&mut self) -> Option<Event<'_>> {
        self.received.pop()
    }

    /// Whether [`Server::poll_received`] has something: sending, too, can be the end of an association.
    pub fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Takes all that clients have sent, in exchange for an empty one that is to be used next.
    pub fn swap_received(&mut self, received: &mut Received) {
        std::mem::swap(&mut self.received, received);
    }

    /// Closes all associations; [`Server::poll_transmit`] has the goodbyes then.
    pub fn close(&mut self, now: Instant) {
        let addresses: Vec<SocketAddr> = self.clients.keys().copied().collect();
        for address in addresses {
            self.drop_handshake(address);
            if let Some(established) = self.established(address) {
                established.close();
                self.finish_established(now, address, Ok(()));
                self.remove_established(address);
            }
            self.set_timer(address);
        }
    }

    /// Who is at the other end of the association with `address`; outer `None` where there is none.
    pub fn identity(&self, address: SocketAddr) -> Option<Option<&str>> {
        let client = self.clients.get(&address)?;
        client
            .established
            .as_ref()
            .map(|association| association.identity())
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        Stats {
            handshakes: self.turns.len(),
            ..self.stats
        }
    }

    fn on_hello(
        &mut self,
        now: Instant,
        from: SocketAddr,
        hello: &ClientHello<'_>,
        datagram: &[u8],
    ) {
        if let Some(client) = self.clients.get_mut(&from) {
            if let Some(handshake) = &mut client.handshake
                && handshake.association.began_with(hello.cookie)
            {
                // It comes again because our answer was lost.
                let result = handshake.association.handle(now, datagram);
                self.finish_handshake(now, from, result);
                return;
            }
            if let Some(established) = &client.established
                && established.began_with(hello.cookie)
            {
                // Late, or played back: that handshake is done.
                return;
            }
        }
        match self.cookies.check(now, from, hello) {
            Ok(Some(cookie)) => self.accept(now, from, hello, cookie, datagram),
            Ok(None) => {
                if let Ok(cookie) = self.cookies.make(now, from, hello) {
                    self.transmits.push(from, &hello.verify_request(&cookie));
                    self.stats.cookies_sent += 1;
                }
            }
            // Without randomness nobody is let in.
            Err(_) => self.stats.ignored += 1,
        }
    }

    /// Begins the handshake of a client whose address is proven.
    fn accept(
        &mut self,
        now: Instant,
        from: SocketAddr,
        hello: &ClientHello<'_>,
        cookie: [u8; hello::COOKIE],
        datagram: &[u8],
    ) {
        let again = self.established(from).is_some();
        if !again && self.stats.connections >= self.max_connections {
            self.stats.refused_no_room += 1;
            return;
        }
        let psk = self
            .psk
            .as_ref()
            .filter(|_| self.certificate.is_none() || hello.offers(PSK_WITH_AES_128_CCM_8));
        let (dtls, peer) = match (psk, &self.certificate) {
            (Some((config, peer)), _) => (Dtls::new_12_psk(config.clone(), now), peer.clone()),
            (None, Some((config, own, peer))) => (
                Dtls::new_12(config.clone(), own.dtls.clone(), now),
                peer.clone(),
            ),
            (None, None) => return,
        };
        self.drop_handshake(from);
        if self.turns.len() >= self.max_handshakes
            && let Some((_, oldest)) = self.turns.first_key_value()
        {
            let oldest = *oldest;
            self.stats.handshakes_evicted += 1;
            self.drop_handshake(oldest);
            self.set_timer(oldest);
        }
        self.stats.handshakes_begun += 1;
        let association =
            Association::accept(now, dtls, peer, hello, cookie, datagram, &mut self.scratch);
        let association = match association {
            Ok(association) => association,
            Err(failure) => {
                self.stats.handshakes_failed += 1;
                self.tell(from, &failure);
                return;
            }
        };
        let turn = self.next_turn;
        self.next_turn += 1;
        self.turns.insert(turn, from);
        self.clients.entry(from).or_default().handshake = Some(Handshake {
            association: Box::new(association),
            turn,
        });
        self.finish_handshake(now, from, Ok(()));
    }

    /// Takes out what the handshake has to say, and draws the consequences.
    fn finish_handshake(&mut self, now: Instant, address: SocketAddr, result: Result<(), Failure>) {
        let Some(client) = self.clients.get_mut(&address) else {
            return;
        };
        let Some(handshake) = &mut client.handshake else {
            return;
        };
        let result = result.and_then(|()| {
            handshake.association.drive(
                address,
                &mut self.scratch,
                &mut self.transmits,
                &mut self.received,
            )
        });
        match result {
            Err(failure) => {
                self.stats.handshakes_failed += 1;
                self.drop_handshake(address);
                self.tell(address, &failure);
            }
            Ok(progress) if progress.connected => self.establish(now, address, progress),
            Ok(_) => {}
        }
        self.set_timer(address);
    }

    /// The handshake is done: its association takes the place of the one before.
    fn establish(&mut self, now: Instant, address: SocketAddr, progress: Progress) {
        let Some(client) = self.clients.get_mut(&address) else {
            return;
        };
        let Some(mut handshake) = client.handshake.take() else {
            return;
        };
        self.turns.remove(&handshake.turn);
        if client.established.is_none() {
            if self.stats.connections >= self.max_connections {
                self.stats.refused_no_room += 1;
                handshake.association.close();
                // The goodbye, if it can be said.
                let _ = handshake.association.drive(
                    address,
                    &mut self.scratch,
                    &mut self.transmits,
                    &mut self.received,
                );
                return;
            }
            self.stats.connections += 1;
        } else {
            // Before the new one's first word: that needs our Finished, which is not sent yet.
            self.received.ended(address);
        }
        client.established = Some(handshake.association);
        client.last_heard = Some(now);
        self.stats.handshakes_done += 1;
        self.stats.received += u64::from(progress.received);
        if progress.closed {
            self.stats.closed_by_peer += 1;
            self.remove_established(address);
        }
    }

    /// Takes out what the association has to say, and draws the consequences.
    fn finish_established(
        &mut self,
        now: Instant,
        address: SocketAddr,
        result: Result<(), Failure>,
    ) -> Progress {
        let Some(client) = self.clients.get_mut(&address) else {
            return Progress::default();
        };
        let Some(established) = &mut client.established else {
            return Progress::default();
        };
        let worn_out = result == Err(Failure::WornOut);
        let result = result.and_then(|()| {
            established.drive(
                address,
                &mut self.scratch,
                &mut self.transmits,
                &mut self.received,
            )
        });
        match result {
            Ok(progress) => {
                if progress.received > 0 {
                    client.last_heard = Some(now);
                    self.stats.received += u64::from(progress.received);
                }
                if progress.closed {
                    // RFC 5246 §7.2.1: a goodbye is answered with one.
                    self.stats.closed_by_peer += 1;
                    self.say_goodbye(address);
                    self.remove_established(address);
                    self.set_timer(address);
                }
                progress
            }
            Err(_) => {
                self.stats.closed_failed += 1;
                if worn_out {
                    self.say_goodbye(address);
                }
                self.remove_established(address);
                self.set_timer(address);
                Progress::default()
            }
        }
    }

    fn close_idle(&mut self, now: Instant, address: SocketAddr) {
        let heard = self
            .clients
            .get(&address)
            .filter(|client| client.established.is_some())
            .and_then(|client| client.last_heard);
        if heard.is_some_and(|heard| heard + self.idle_timeout <= now) {
            self.stats.closed_idle += 1;
            self.say_goodbye(address);
            self.remove_established(address);
        }
    }

    fn say_goodbye(&mut self, address: SocketAddr) {
        if let Some(established) = self
            .clients
            .get_mut(&address)
            .and_then(|client| client.established.as_mut())
        {
            established.close();
            // What it cannot say any more is not said.
            let _ = established.drive(
                address,
                &mut self.scratch,
                &mut self.transmits,
                &mut self.received,
            );
        }
    }

    fn established(&mut self, address: SocketAddr) -> Option<&mut Association> {
        self.clients.get_mut(&address)?.established.as_deref_mut()
    }

    fn remove_established(&mut self, address: SocketAddr) {
        if let Some(client) = self.clients.get_mut(&address)
            && client.established.take().is_some()
        {
            self.stats.connections -= 1;
            self.received.ended(address);
        }
    }

    fn drop_handshake(&mut self, address: SocketAddr) {
        if let Some(handshake) = self
            .clients
            .get_mut(&address)
            .and_then(|client| client.handshake.take())
        {
            self.turns.remove(&handshake.turn);
        }
    }

    /// Tells the client in the clear why its handshake failed.
    fn tell(&mut self, address: SocketAddr, failure: &Failure) {
        if let Some(alert) = failure.alert() {
            self.transmits.push(address, &alert.record());
        }
    }

    /// Sets the timer of an address, or forgets the address when nothing is left of it.
    fn set_timer(&mut self, address: SocketAddr) {
        let Some(client) = self.clients.get_mut(&address) else {
            return;
        };
        let handshake = client.handshake.as_ref().map(|h| h.association.deadline);
        // What is heard of an association moves its deadline on; its timer is left where it is and
        // looked at when it fires, so that a datagram costs no change of the queue.
        let idle = client
            .established
            .as_ref()
            .and(client.last_heard)
            .map(|heard| {
                let at = heard + self.idle_timeout;
                client.timer.map_or(at, |timer| timer.min(at))
            });
        let at = match (handshake, idle) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.timers.set(address, client.timer, at);
        client.timer = at;
        if client.established.is_none() && client.handshake.is_none() {
            self.clients.remove(&address);
        }
    }
}

fn builder(limits: &Limits) -> dimpl::ConfigBuilder {
    Config::builder()
        .with_crypto_provider(crypto::provider())
        .handshake_timeout(limits.handshake_timeout)
        .dtls13_cipher_suites(&[])
}

fn with_psk(lookup: PskLookup, limits: &Limits) -> Result<(Arc<Config>, Peer), CredentialError> {
    let resolver = Arc::new(Resolver::new(lookup));
    let config = builder(limits)
        .with_psk_server(None, resolver.clone())
        .build()
        .map_err(|error| CredentialError::Library(error.to_string()))?;
    Ok((Arc::new(config), Peer::Psk(resolver)))
}

fn with_certificate(
    certificate: ServerCertificate,
    limits: &Limits,
) -> Result<(Arc<Config>, KeyPair, Peer), CredentialError> {
    let config = builder(limits)
        .require_client_certificate(certificate.clients.is_some())
        .build()
        .map_err(|error| CredentialError::Library(error.to_string()))?;
    let peer = match certificate.clients {
        Some(authorities) => Peer::Certificate(Arc::new(authorities)),
        None => Peer::Anybody,
    };
    Ok((Arc::new(config), certificate.key_pair, peer))
}
