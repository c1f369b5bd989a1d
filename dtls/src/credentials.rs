//! How this side shows who it is, and knows whom it lets in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dimpl::crypto::{Buf, rust_crypto};
use dimpl::{DtlsCertificate, SignatureAlgorithm};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::authorities::{Authorities, common_name};
use crate::crypto::{self, CryptoFailure};

/// The pre-shared key of an identity, asked for at each handshake; `None` for who is unknown.
pub type PskLookup = Arc<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;

/// How a server knows its clients, and they it. One of the two at least.
#[derive(Clone, Default)]
pub struct ServerCredentials {
    /// Clients with pre-shared keys.
    pub psk: Option<PskLookup>,
    /// Clients that want a certificate.
    pub certificate: Option<ServerCertificate>,
}

impl fmt::Debug for ServerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCredentials")
            .field("psk", &self.psk.is_some())
            .field("certificate", &self.certificate)
            .finish()
    }
}

/// A server's certificate, and what it asks of its clients.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// What the server shows.
    pub key_pair: KeyPair,
    /// Who must have signed the certificates of clients; without it clients need none and have no
    /// identity.
    pub clients: Option<Authorities>,
}

/// Why keys or certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; check that it exists and that this user may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Everybody on this machine can read the key.
    #[error(
        "the private key {} may be read by every user (mode {mode:04o}): chmod 600 it, and make a \
         new key if others were on this machine", path.display()
    )]
    OpenToAll {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// No PEM file of certificates.
    #[error(
        "{} holds no certificate: {why}; a PEM file with -----BEGIN CERTIFICATE----- is needed",
        path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No PEM file of a private key.
    #[error(
        "{} holds no private key: {why}; a PEM file with -----BEGIN PRIVATE KEY----- or -----BEGIN \
         EC PRIVATE KEY-----, without a passphrase, is needed",
        path.display()
    )]
    NoPrivateKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A key of another kind.
    #[error(
        "the private key {} is not an ECDSA key on P-256 or P-384; make one with `openssl genpkey \
         -algorithm EC -pkeyopt ec_paramgen_curve:P-256`", path.display()
    )]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
    },
    /// The certificate was made for another key.
    #[error("the certificate {} is not that of the private key {}: give the two that belong together",
        certificate.display(), private_key.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        private_key: PathBuf,
    },
    /// Neither keys nor a certificate.
    #[error(
        "neither pre-shared keys nor a certificate: give a key file, or a certificate and its private key"
    )]
    Nothing,
    /// No randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
    /// The library refuses its configuration.
    #[error("the DTLS library refuses its configuration: {0}")]
    Library(String),
}

/// A certificate and its private key.
#[derive(Clone)]
pub struct KeyPair {
    pub(crate) dtls: DtlsCertificate,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

impl KeyPair {
    /// Reads two PEM files, and checks that they belong together.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn read(certificate: &Path, private_key: &Path) -> Result<Self, CredentialError> {
        let certificate_pem = read(certificate)?;
        let key_pem = read(private_key)?;
        refuse_open_to_all(private_key)?;
        let certificate_der =
            CertificateDer::from_pem_slice(&certificate_pem).map_err(|error| {
                CredentialError::NoCertificate {
                    path: certificate.to_owned(),
                    why: error.to_string(),
                }
            })?;
        Certificate::from_der(&certificate_der).map_err(|error| {
            CredentialError::NoCertificate {
                path: certificate.to_owned(),
                why: error.to_string(),
            }
        })?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| {
            CredentialError::NoPrivateKey {
                path: private_key.to_owned(),
                why: error.to_string(),
            }
        })?;
        let provider = rust_crypto::default_provider();
        let mut signing = provider
            .key_provider
            .load_private_key(key.secret_der())
            .map_err(|_| CredentialError::UnsupportedKey {
                path: private_key.to_owned(),
            })?;
        // A signature of the one must be right by the other.
        let hash = signing.hash_algorithm();
        let mut signature = Buf::new();
        let belong_together = signing.sign(b"probe", hash, &mut signature).is_ok()
            && provider
                .signature_verification
                .verify_signature(
                    &certificate_der,
                    b"probe",
                    &signature,
                    hash,
                    SignatureAlgorithm::ECDSA,
                )
                .is_ok();
        if !belong_together {
            return Err(CredentialError::Mismatch {
                certificate: certificate.to_owned(),
                private_key: private_key.to_owned(),
            });
        }
        Ok(KeyPair {
            dtls: DtlsCertificate {
                certificate: certificate_der.to_vec(),
                private_key: key.secret_der().to_vec(),
            },
        })
    }

    /// The common name in the certificate, if it has one.
    pub fn common_name(&self) -> Option<String> {
        common_name(&self.dtls.certificate)
    }

    /// What a client shows that has no certificate: nobody takes it for one.
    pub(crate) fn nobody() -> Result<Self, CryptoFailure> {
        // RFC 5915: an ECPrivateKey of version 1 on the named curve secp256r1.
        let mut private_key = vec![0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
        let mut secret = crypto::random()?;
        // Below the group's order, and not zero.
        secret[0] = 0x7F;
        private_key.extend_from_slice(&secret);
        private_key.extend_from_slice(&[0xA0, 0x0A, 0x06, 0x08]);
        private_key.extend_from_slice(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]);
        Ok(KeyPair {
            dtls: DtlsCertificate {
                certificate: vec![0x30, 0x00],
                private_key,
            },
        })
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    std::fs::read(path).map_err(|source| CredentialError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(unix)]
fn refuse_open_to_all(path: &Path) -> Result<(), CredentialError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).map_err(|source| CredentialError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o004 == 0 {
        Ok(())
    } else {
        Err(CredentialError::OpenToAll {
            path: path.to_owned(),
            mode,
        })
    }
}

#[cfg(not(unix))]
fn refuse_open_to_all(_: &Path) -> Result<(), CredentialError> {
    Ok(())
}
