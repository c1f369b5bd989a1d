//! Who a peer is, and how this side shows who it is: keys, certificates and authorities.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dimpl::crypto::{Buf, rust_crypto};
use dimpl::{DtlsCertificate, SignatureAlgorithm};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::alert::AlertDescription;
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

/// Authorities whose signature under a certificate is trusted.
#[derive(Clone)]
pub struct Authorities {
    anchors: Vec<TrustAnchor<'static>>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.anchors.len())
    }
}

impl Authorities {
    /// Reads the certificates of a PEM file. As peers send no intermediate certificates, those that
    /// sign for clients must be among them.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let pem = read(path)?;
        let unusable = |why: String| CredentialError::NoCertificate {
            path: path.to_owned(),
            why,
        };
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            let anchor = anchor_from_trusted_cert(&certificate)
                .map_err(|error| unusable(format!("{error:?}")))?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(unusable("no items found".to_owned()));
        }
        Ok(Authorities { anchors })
    }

    /// The common name in a client's certificate, if these authorities stand for it.
    pub(crate) fn client(&self, certificate: &[u8]) -> Result<Arc<str>, CertificateRefused> {
        self.verify(certificate, KeyUsage::client_auth(), None)?;
        let parsed =
            Certificate::from_der(certificate).map_err(|_| CertificateRefused::Unreadable)?;
        let name = parsed.tbs_certificate().subject().common_name();
        match name {
            Ok(Some(name)) if !name.value().is_empty() => Ok(name.value().into()),
            _ => Err(CertificateRefused::NoCommonName),
        }
    }

    /// Whether these authorities stand for a server of this name.
    pub(crate) fn server(
        &self,
        certificate: &[u8],
        name: Option<&ServerName<'_>>,
    ) -> Result<(), CertificateRefused> {
        self.verify(certificate, KeyUsage::server_auth(), name)
    }

    fn verify(
        &self,
        certificate: &[u8],
        usage: KeyUsage,
        name: Option<&ServerName<'_>>,
    ) -> Result<(), CertificateRefused> {
        let der = CertificateDer::from(certificate);
        let end_entity = EndEntityCert::try_from(&der)?;
        end_entity.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.anchors,
            &[],
            UnixTime::now(),
            usage,
            None,
            None,
        )?;
        if let Some(name) = name {
            end_entity.verify_is_valid_for_subject_name(name)?;
        }
        Ok(())
    }
}

/// Why a peer's certificate is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// It is no X.509 certificate.
    #[error("it cannot be read")]
    Unreadable,
    /// Nobody is named in it.
    #[error("its subject has no common name (CN), which is the client's identity")]
    NoCommonName,
    /// Its dates.
    #[error("it has expired or is not valid yet")]
    Expired,
    /// Its signature.
    #[error("none of the trusted authorities has signed it")]
    UnknownAuthority,
    /// It is for a server of another name.
    #[error("it is for a server of another name (its subject alternative names do not have it)")]
    OtherName,
    /// `openssl x509 -req` makes such where it is given no extensions.
    #[error("it is of X.509 version 1; make one with extensions (version 3)")]
    OldVersion,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl CertificateRefused {
    /// What the peer is told.
    pub(crate) fn alert(&self) -> AlertDescription {
        match self {
            CertificateRefused::Expired => AlertDescription::CERTIFICATE_EXPIRED,
            CertificateRefused::UnknownAuthority => AlertDescription::UNKNOWN_CA,
            _ => AlertDescription::BAD_CERTIFICATE,
        }
    }
}

impl From<webpki::Error> for CertificateRefused {
    fn from(error: webpki::Error) -> Self {
        match error {
            webpki::Error::BadDer => CertificateRefused::Unreadable,
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                CertificateRefused::Expired
            }
            webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
                CertificateRefused::UnknownAuthority
            }
            webpki::Error::CertNotValidForName(_) => CertificateRefused::OtherName,
            webpki::Error::UnsupportedCertVersion => CertificateRefused::OldVersion,
            other => CertificateRefused::Other(other.to_string()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
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
