//! The files of one side, read and looked through before TLS uses them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::config::ContractTlsFiles;

/// What gRPC speaks (RFC 9113 §3.2).
const HTTP2: &[u8] = b"h2";

/// Files that TLS cannot use.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// One that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// One without a certificate.
    #[error("{} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// One without a private key.
    #[error("{} holds no private key in PEM", .0.display())]
    NoKey(PathBuf),
    /// One with a certificate that cannot authorise another.
    #[error("{} holds what is no certificate of an authority: {source}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: rustls::Error,
    },
    /// Authorities that cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: VerifierBuilderError,
    },
    /// A key of another certificate, or of a kind that is not known.
    #[error("{} is not the key of {}: {source}", key.display(), cert.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The reason.
        source: rustls::Error,
    },
}

/// The files of one side, in PEM as they were read.
pub(super) struct Files {
    pub(super) ca: Vec<u8>,
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|source| PemError::Read {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(PemError::NoCertificate(path.to_owned())),
    }
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// The first that is not what it should be.
    pub(super) fn read(files: &ContractTlsFiles) -> Result<Self, PemError> {
        let read = Files {
            ca: read(&files.ca)?,
            cert: read(&files.cert)?,
            key: read(&files.key)?,
        };
        // What a client's library would only call "invalid" is named here.
        read.server_config(files)?;
        Ok(read)
    }

    /// A server that lets in who is signed by the authorities, and nobody else.
    ///
    /// # Errors
    /// The first file that is not what it should be.
    pub(super) fn server_config(&self, files: &ContractTlsFiles) -> Result<ServerConfig, PemError> {
        let provider: Arc<CryptoProvider> = Arc::new(default_provider());
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.ca, &self.ca)? {
            roots.add(authority).map_err(|source| PemError::Authority {
                path: files.ca.clone(),
                source,
            })?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let clients = clients.build().map_err(|source| PemError::Authorities {
            path: files.ca.clone(),
            source,
        })?;
        let chain = certificates(&files.cert, &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| PemError::NoKey(files.key.clone()))?;
        let pair = |source| PemError::Pair {
            cert: files.cert.clone(),
            key: files.key.clone(),
            source,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(pair)?;
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(config)
    }
}
