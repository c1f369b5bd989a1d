//! One association: dimpl's state machine, who the peer is, and how it ends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dimpl::{Dtls, Output, PskResolver, SecurityError, TimeoutError};

use crate::MAX_DATAGRAM;
use crate::alert::AlertDescription;
use crate::authorities::{Authorities, CertificateRefused};
use crate::credentials::PskLookup;
use crate::crypto;
use crate::hello::{COOKIE, ClientHello};
use crate::output::{Received, Transmits};

/// Records that one side may protect with one key: the explicit nonce of dimpl's AEAD records is 64
/// random bits, and the chance that two of 2²⁴ are the same is below 2⁻¹⁶.
const MAX_RECORDS_SENT: u32 = 1 << 24;

/// Octets that a record adds at most: header, explicit nonce, tag.
const RECORD_OVERHEAD: usize = 64;

/// Why an association ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No answer.
    #[error("the handshake took too long")]
    Timeout,
    /// The peer's certificate.
    #[error("the peer's certificate is refused: {0}")]
    Certificate(CertificateRefused),
    /// The peer gives up, and says why.
    #[error("the peer ended it: {0}")]
    Alert(AlertDescription),
    /// Keys that differ, an unknown identity, or something changed on the way.
    #[error("the keys of both sides do not fit: {0}")]
    Keys(String),
    /// What the peer sent is not what the protocol wants.
    #[error("the handshake failed: {0}")]
    Protocol(String),
    /// So many records that nonces might repeat.
    #[error("so many records were sent that the association needs new keys")]
    WornOut,
    /// The peer has closed it.
    #[error("the peer closed it")]
    Closed,
}

impl Failure {
    /// What the peer is told, if it does not know yet.
    pub(crate) fn alert(&self) -> Option<AlertDescription> {
        match self {
            Failure::Timeout | Failure::Alert(_) | Failure::Closed | Failure::WornOut => None,
            Failure::Certificate(refused) => Some(refused.alert()),
            Failure::Keys(_) => Some(AlertDescription::DECRYPT_ERROR),
            Failure::Protocol(_) => Some(AlertDescription::HANDSHAKE_FAILURE),
        }
    }
}

impl From<dimpl::Error> for Failure {
    fn from(error: dimpl::Error) -> Self {
        match error {
            dimpl::Error::Timeout(TimeoutError::Connect | TimeoutError::Handshake) => {
                Failure::Timeout
            }
            dimpl::Error::SecurityError(SecurityError::FatalAlert { description }) => {
                Failure::Alert(AlertDescription(description))
            }
            dimpl::Error::CryptoError(error) => Failure::Keys(error.to_string()),
            dimpl::Error::SecurityError(
                error @ (SecurityError::ClientFinishedVerificationFailed
                | SecurityError::ServerFinishedVerificationFailed),
            ) => Failure::Keys(error.to_string()),
            other => Failure::Protocol(other.to_string()),
        }
    }
}

/// Looks keys up, and remembers whose key was asked for last.
pub(crate) struct Resolver {
    lookup: std::panic::AssertUnwindSafe<PskLookup>,
    asked: Mutex<Option<Arc<str>>>,
}

impl Resolver {
    pub(crate) fn new(lookup: PskLookup) -> Self {
        Resolver {
            lookup: std::panic::AssertUnwindSafe(lookup),
            asked: Mutex::new(None),
        }
    }

    /// The identity of the last key that was found, once. As it is called after each datagram, the
    /// identity is one that this datagram has named.
    fn take(&self) -> Option<Arc<str>> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl PskResolver for Resolver {
    fn resolve(&self, identity: &[u8]) -> Option<Vec<u8>> {
        let identity = std::str::from_utf8(identity).ok()?;
        // An empty key would be one that everybody has.
        let key = (self.lookup)(identity).filter(|key| !key.is_empty())?;
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity.into());
        Some(key)
    }
}

/// How a server learns who its client is.
#[derive(Clone)]
pub(crate) enum Peer {
    /// By the identity whose key it has.
    Psk(Arc<Resolver>),
    /// By its certificate.
    Certificate(Arc<Authorities>),
    /// Not at all.
    Anybody,
}

/// What became of an association while it was driven.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The handshake has just been done.
    pub(crate) connected: bool,
    /// Authentic datagrams that came.
    pub(crate) received: u32,
    /// The peer has closed it.
    pub(crate) closed: bool,
}

/// One association of a server.
pub(crate) struct Association {
    dtls: Dtls,
    peer: Peer,
    /// The cookie of the hello that it began with; tells that hello's repetition from another one.
    cookie: [u8; COOKIE],
    identity: Option<Arc<str>>,
    authenticated: bool,
    sent: u32,
    /// When dimpl wants to be called again.
    pub(crate) deadline: Instant,
}

impl Association {
    /// Starts the handshake of the client that sent `hello`, whose cookie has been checked.
    /// `datagram` is the one that the hello came in.
    pub(crate) fn accept(
        now: Instant,
        mut dtls: Dtls,
        peer: Peer,
        hello: &ClientHello<'_>,
        cookie: [u8; COOKIE],
        datagram: &[u8],
        scratch: &mut [u8],
    ) -> Result<Self, Failure> {
        crypto::with_cookie(cookie, || {
            dtls.handle_timeout(now)?;
            // The state of before the cookie was asked for, made after the fact.
            for message_seq in 0..hello.message_seq() {
                dtls.handle_packet(&hello.without_cookie(message_seq))?;
                while !matches!(dtls.poll_output(scratch), Output::Timeout(_)) {}
            }
            dtls.handle_packet(datagram)
        })?;
        Ok(Association {
            dtls,
            peer,
            cookie,
            identity: None,
            authenticated: false,
            sent: 0,
            deadline: now,
        })
    }

    pub(crate) fn began_with(&self, cookie: &[u8]) -> bool {
        self.cookie == cookie
    }

    /// Takes a datagram of the peer; [`Association::drive`] follows.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) -> Result<(), Failure> {
        self.dtls.handle_timeout(now)?;
        let result = self.dtls.handle_packet(datagram);
        if let Peer::Psk(resolver) = &self.peer {
            // Taken in any case: what a failed handshake has asked for must not become the identity
            // of whoever is handled next.
            let asked = resolver.take();
            if !self.authenticated && asked.is_some() {
                self.identity = asked;
            }
        }
        Ok(result?)
    }

    /// Time has passed; [`Association::drive`] follows.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        Ok(self.dtls.handle_timeout(now)?)
    }

    /// Takes out all that dimpl has to say.
    pub(crate) fn drive(
        &mut self,
        address: SocketAddr,
        scratch: &mut Vec<u8>,
        transmits: &mut Transmits,
        received: &mut Received,
    ) -> Result<Progress, Failure> {
        let mut progress = Progress::default();
        loop {
            match self.dtls.poll_output(scratch) {
                Output::Packet(datagram) => transmits.push(address, datagram),
                Output::BufferTooSmall { needed } => scratch.resize(needed, 0),
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return Ok(progress);
                }
                // It comes before anything of the handshake that follows it is to be sent.
                Output::PeerCert(certificate) => {
                    if let Peer::Certificate(authorities) = &self.peer {
                        let identity = authorities
                            .client(certificate)
                            .map_err(Failure::Certificate)?;
                        self.identity = Some(identity);
                    }
                }
                Output::Connected => {
                    if self.identity.is_none() && !matches!(self.peer, Peer::Anybody) {
                        return Err(Failure::Keys("the client did not say who it is".to_owned()));
                    }
                    self.authenticated = true;
                    progress.connected = true;
                }
                Output::ApplicationData(datagram) if self.authenticated => {
                    received.push(address, self.identity.as_ref(), datagram);
                    progress.received += 1;
                }
                Output::CloseNotify => progress.closed = true,
                _ => {}
            }
        }
    }

    /// Protects one datagram; [`Association::drive`] follows.
    pub(crate) fn send(&mut self, datagram: &[u8]) -> Result<(), Failure> {
        if self.sent >= MAX_RECORDS_SENT {
            return Err(Failure::WornOut);
        }
        self.sent += 1;
        self.dtls.send_application_data(datagram)?;
        Ok(())
    }

    /// Says goodbye; [`Association::drive`] follows.
    pub(crate) fn close(&mut self) {
        // It can fail only where there is nothing to say goodbye to.
        let _ = self.dtls.close();
    }

    /// Who the peer is, once the handshake is done.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.identity.as_deref().filter(|_| self.authenticated)
    }
}

/// A buffer for whatever dimpl has to say.
pub(crate) fn scratch() -> Vec<u8> {
    vec![0; MAX_DATAGRAM + RECORD_OVERHEAD]
}
