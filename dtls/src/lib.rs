//! DTLS 1.2 (RFC 6347) for datagram services: a [`Server`] of many associations behind one address,
//! and a [`Client`]. Neither has a socket, a clock or a thread, and neither knows what is inside the
//! datagrams: one datagram of the application is one record, and who sent it has been authenticated
//! by a pre-shared key (RFC 4279) or by a certificate (RFC 5280).
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! let keys: dtls::PskLookup = Arc::new(|identity| (identity == "sensor-7").then(|| vec![7; 16]));
//! let credentials = dtls::ServerCredentials { psk: Some(keys), certificate: None };
//! let mut server = dtls::Server::new(credentials, &dtls::Limits::default(), Instant::now())?;
//! server.handle_datagram(Instant::now(), "10.0.0.1:4000".parse::<std::net::SocketAddr>()?, b"no record");
//! assert!(server.poll_transmit().is_none(), "what is no record is not answered");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **What the library does, and what is here.** One association — handshake, retransmission, record
//! protection, replay window — is `dimpl`'s. Here is what a server of many needs around it: the
//! stateless cookie exchange bound to the client's address (§4.2.1), the table of associations and
//! its bounds, a second handshake from an address in use (§4.2.8), who the peer is, alerts, and time.
//!
//! **Why `dimpl`.**
//! - `rtc-dtls` (its source was read): a record whose MAC is wrong ends an established PSK association
//!   with a fatal alert, so one forged datagram cuts a client off (§4.1.2.7 wants it discarded); the
//!   first ClientHello already costs an association and a key pair.
//! - `openssl` and `mbedtls`: need a system library, or perl and make, or cmake; `wolfssl` is GPL.
//! - `dimpl` (its source was read): no unsafe code, no I/O, pure Rust; discards what is not authentic; a replay window; tested
//!   against OpenSSL and wolfSSL. Its gaps: of the PSK suites only `TLS_PSK_WITH_AES_128_CCM_8` (the
//!   one that constrained devices have, RFC 7925 §4.2), ECDSA keys only (P-256, P-384; the CA's may be
//!   RSA), no intermediate certificates, no session resumption. Its DTLS 1.3 is not used: OpenSSL and
//!   the clients of this field have none yet.
//!
//! Its explicit nonces are random, 64 bits of them, so an association ends after 2²⁴ records sent:
//! long before two of them are likely to be the same.
#![forbid(unsafe_code)]

mod alert;
mod association;
mod authorities;
mod client;
mod cookie;
mod credentials;
mod crypto;
mod hello;
mod limits;
mod output;
mod server;
mod timers;

pub use crate::alert::AlertDescription;
pub use crate::association::Failure;
pub use crate::authorities::{Authorities, CertificateRefused};
pub use crate::client::{Client, ClientCredentials, ServerIdentity};
pub use crate::credentials::{
    CredentialError, KeyPair, PskLookup, ServerCertificate, ServerCredentials,
};
pub use crate::limits::Limits;
pub use crate::output::{Datagram, Event, Received, Transmit};
pub use crate::server::{SendError, Server, Stats};

/// The most octets that one record carries (RFC 5246 §6.2.1).
pub const MAX_DATAGRAM: usize = 1 << 14;
