//! Who stands for a peer's certificate, and whose it is.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::alert::AlertDescription;
use crate::credentials::{CredentialError, read};

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
        match common_name(certificate) {
            Some(name) => Ok(name.into()),
            None => Err(CertificateRefused::NoCommonName),
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

/// The common name of a certificate's subject, unless it is empty.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let name = subject.common_name().ok().flatten()?.value().into_owned();
    (!name.is_empty()).then_some(name)
}
