//! The other side: one association, begun by us.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, Output};
use rustls_pki_types::ServerName;

use crate::MAX_DATAGRAM;
use crate::association::{self, Failure, Resolver};
use crate::authorities::Authorities;
use crate::credentials::{CredentialError, KeyPair};
use crate::crypto;
use crate::server::SendError;

/// How the client shows who it is, and knows its server.
#[derive(Clone)]
pub enum ClientCredentials {
    /// Both sides have the key of an identity.
    Psk {
        /// The identity.
        identity: String,
        /// The key.
        key: Vec<u8>,
    },
    /// The server has a certificate.
    Certificate {
        /// Who must have signed it.
        authorities: Authorities,
        /// What the server must be called in it.
        server: ServerIdentity,
        /// The client's own, where the server wants one.
        own: Option<KeyPair>,
    },
}

impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ClientCredentials::Psk { .. } => "Psk",
            ClientCredentials::Certificate { .. } => "Certificate",
        })
    }
}

/// The server's name in its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity(ServerName<'static>);

impl ServerIdentity {
    /// A DNS name or an IP address; `None` for what is neither.
    pub fn parse(name: &str) -> Option<Self> {
        ServerName::try_from(name.to_owned())
            .ok()
            .map(ServerIdentity)
    }
}

impl From<IpAddr> for ServerIdentity {
    fn from(address: IpAddr) -> Self {
        ServerIdentity(ServerName::IpAddress(address.into()))
    }
}

/// A DTLS client without a socket.
pub struct Client {
    dtls: Dtls,
    server: Option<(Authorities, ServerIdentity)>,
    connected: bool,
    deadline: Instant,
    scratch: Vec<u8>,
    transmits: VecDeque<Vec<u8>>,
    received: VecDeque<Vec<u8>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("connected", &self.connected)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Begins a handshake that may take as long as `timeout`.
    ///
    /// # Errors
    /// Credentials that cannot be used.
    pub fn new(
        credentials: ClientCredentials,
        timeout: Duration,
        now: Instant,
    ) -> Result<Self, CredentialError> {
        let library = |error: dimpl::Error| CredentialError::Library(error.to_string());
        let builder = Config::builder()
            .with_crypto_provider(crypto::provider())
            .handshake_timeout(timeout)
            .dtls13_cipher_suites(&[]);
        let (mut dtls, server) = match credentials {
            ClientCredentials::Psk { identity, key } => {
                let resolver = Resolver::new(Arc::new(move |_| Some(key.clone())));
                let config = builder
                    .with_psk_client(identity.into_bytes(), Arc::new(resolver))
                    .build()
                    .map_err(library)?;
                (Dtls::new_12_psk(Arc::new(config), now), None)
            }
            ClientCredentials::Certificate {
                authorities,
                server,
                own,
            } => {
                let config = builder.build().map_err(library)?;
                let own = match own {
                    Some(own) => own,
                    None => KeyPair::nobody()?,
                };
                let dtls = Dtls::new_12(Arc::new(config), own.dtls, now);
                (dtls, Some((authorities, server)))
            }
        };
        dtls.set_active(true);
        let mut client = Client {
            dtls,
            server,
            connected: false,
            deadline: now,
            scratch: association::scratch(),
            transmits: VecDeque::new(),
            received: VecDeque::new(),
        };
        client
            .dtls
            .handle_timeout(now)
            .map_err(|error| CredentialError::Library(error.to_string()))?;
        client
            .drive()
            .map_err(|error| CredentialError::Library(error.to_string()))?;
        Ok(client)
    }

    /// Takes a datagram of the socket.
    ///
    /// # Errors
    /// The association's end.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), Failure> {
        self.dtls.handle_timeout(now)?;
        self.dtls.handle_packet(datagram)?;
        self.drive()
    }

    /// Time has passed.
    ///
    /// # Errors
    /// The association's end.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        self.dtls.handle_timeout(now)?;
        self.drive()
    }

    /// When [`Client::handle_timeout`] wants to be called; `None` once the handshake is done.
    pub fn next_deadline(&self) -> Option<Instant> {
        (!self.connected).then_some(self.deadline)
    }

    /// Whether the handshake is done.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Protects a datagram; before the handshake is done it waits for that.
    ///
    /// # Errors
    /// It is too long, or the association has ended.
    pub fn send(&mut self, datagram: &[u8]) -> Result<(), SendError> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(SendError::TooLong(datagram.len()));
        }
        self.dtls
            .send_application_data(datagram)
            .map_err(Failure::from)?;
        Ok(self.drive()?)
    }

    /// Takes a datagram that is to be sent on the socket.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// Takes a datagram that the server has sent.
    pub fn poll_received(&mut self) -> Option<Vec<u8>> {
        self.received.pop_front()
    }

    /// Says goodbye; [`Client::poll_transmit`] has it then.
    pub fn close(&mut self) {
        // Both fail only where there is nothing to say goodbye to.
        let _ = self.dtls.close();
        let _ = self.drive();
    }

    fn drive(&mut self) -> Result<(), Failure> {
        let mut closed = false;
        loop {
            match self.dtls.poll_output(&mut self.scratch) {
                Output::Packet(datagram) => self.transmits.push_back(datagram.to_vec()),
                Output::BufferTooSmall { needed } => self.scratch.resize(needed, 0),
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return if closed { Err(Failure::Closed) } else { Ok(()) };
                }
                // It comes before anything that follows it in the handshake is sent.
                Output::PeerCert(certificate) => {
                    if let Some((authorities, ServerIdentity(name))) = &self.server {
                        authorities
                            .server(certificate, Some(name))
                            .map_err(|refused| {
                                self.transmits.push_back(refused.alert().record().to_vec());
                                Failure::Certificate(refused)
                            })?;
                    }
                }
                Output::Connected => self.connected = true,
                Output::ApplicationData(datagram) => self.received.push_back(datagram.to_vec()),
                Output::CloseNotify => closed = true,
                _ => {}
            }
        }
    }
}
