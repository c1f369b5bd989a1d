//! What a failed handshake means for who has to mend it.

use std::error::Error;

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// What to do about the error, where TLS is its cause.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return advice_on(tls);
        }
        // An I/O error that wraps another names that one's source as its own.
        if let Some(inner) = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            && let Some(tls) = inner.downcast_ref::<rustls::Error>()
        {
            return advice_on(tls);
        }
        next = error.source();
    }
    None
}

fn advice_on(error: &rustls::Error) -> Option<&'static str> {
    use rustls::Error as Tls;
    Some(match error {
        // An authority of the same name and another key gives a bad signature.
        Tls::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "the other side's certificate is not signed by an authority of contract_tls.ca",
        Tls::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the other side's certificate has expired, or this host's clock is wrong",
        Tls::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "the other side's certificate is not valid yet, or this host's clock is wrong",
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "the broker's certificate is for another name: connect to that name, or give it as \
             contract_tls.server_name"
        }
        Tls::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => {
            "the other side's certificate is not for that purpose: a broker's is for server \
             authentication, a controller's for client authentication"
        }
        Tls::NoCertificatesPresented => {
            "the controller shows no certificate: give it contract_tls.cert and key"
        }
        Tls::InvalidMessage(_) => "the other side does not speak TLS: give it contract_tls too",
        Tls::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError,
        ) => "the other side does not know the authority that signed contract_tls.cert",
        Tls::AlertReceived(AlertDescription::CertificateExpired) => {
            "the other side says that contract_tls.cert has expired"
        }
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            "the other side wants a certificate: give contract_tls.cert and key"
        }
        Tls::AlertReceived(_) => "the other side refuses; its log says why",
        _ => return None,
    })
}

/// The error with all its causes, and what to do about it.
pub(super) fn describe(error: &(dyn Error + 'static)) -> String {
    let text = controller::target::error_chain(error);
    match advice(error) {
        Some(advice) => format!("{text} ({advice})"),
        None => text,
    }
}
