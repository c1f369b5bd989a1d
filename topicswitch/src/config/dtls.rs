//! `dtls`: where it listens, whom it knows, and how much it holds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// DTLS in front of the broker.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DtlsConfig {
    /// Where clients reach it. Default nowhere.
    pub listen: Option<SocketAddr>,
    /// The server's certificate (PEM). Default none: only clients with pre-shared keys.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    pub private_key: Option<PathBuf>,
    /// Authorities (PEM) that have signed the certificates of clients. Default none: clients need no
    /// certificate.
    pub client_ca: Option<PathBuf>,
    /// Connections kept. Default 10000.
    pub max_connections: usize,
    /// Handshakes in progress. Default 1000.
    pub max_handshakes: usize,
    /// How long a handshake may take, in seconds. Default 10.
    pub handshake_timeout_s: u64,
    /// How long a connection may be silent, in seconds. Default 3600.
    pub idle_timeout_s: u64,
}

impl Default for DtlsConfig {
    fn default() -> Self {
        DtlsConfig {
            listen: None,
            certificate: None,
            private_key: None,
            client_ca: None,
            max_connections: 10_000,
            max_handshakes: 1_000,
            handshake_timeout_s: 10,
            idle_timeout_s: 3_600,
        }
    }
}

/// Why a configuration of DTLS is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtlsConfigError {
    /// One without the other.
    #[error("dtls.certificate and dtls.private_key belong together: give both or none")]
    HalfAKeyPair,
    /// Nobody would be asked for a certificate.
    #[error(
        "dtls.client_ca is of no use without dtls.certificate and dtls.private_key: clients show \
         a certificate only to a server that shows one"
    )]
    ClientCaAlone,
    /// Nobody could get in.
    #[error("dtls.{0} is 0: no client could get in; give it at least 1")]
    Zero(&'static str),
    /// A time that clocks may not bear.
    #[error("dtls.{0} is longer than a year")]
    Long(&'static str),
}

impl DtlsConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first [`DtlsConfigError`] found.
    pub fn check(&self) -> Result<(), DtlsConfigError> {
        if self.certificate.is_some() != self.private_key.is_some() {
            return Err(DtlsConfigError::HalfAKeyPair);
        }
        if self.client_ca.is_some() && self.certificate.is_none() {
            return Err(DtlsConfigError::ClientCaAlone);
        }
        for (name, value) in [
            ("max_connections", self.max_connections as u64),
            ("max_handshakes", self.max_handshakes as u64),
            ("handshake_timeout_s", self.handshake_timeout_s),
            ("idle_timeout_s", self.idle_timeout_s),
        ] {
            if value == 0 {
                return Err(DtlsConfigError::Zero(name));
            }
        }
        for (name, seconds) in [
            ("handshake_timeout_s", self.handshake_timeout_s),
            ("idle_timeout_s", self.idle_timeout_s),
        ] {
            if seconds > 366 * 86_400 {
                return Err(DtlsConfigError::Long(name));
            }
        }
        Ok(())
    }

    /// The bounds of the server.
    pub fn limits(&self) -> dtls::Limits {
        dtls::Limits {
            max_connections: self.max_connections,
            max_handshakes: self.max_handshakes,
            handshake_timeout: Duration::from_secs(self.handshake_timeout_s),
            idle_timeout: Duration::from_secs(self.idle_timeout_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_belongs_together_is_refused() {
        let certificate = Some(PathBuf::from("server.pem"));
        let mut config = DtlsConfig {
            certificate: certificate.clone(),
            ..DtlsConfig::default()
        };
        assert_eq!(config.check(), Err(DtlsConfigError::HalfAKeyPair));
        config.private_key = Some("server.key".into());
        assert_eq!(config.check(), Ok(()));
        let config = DtlsConfig {
            client_ca: certificate,
            ..DtlsConfig::default()
        };
        assert_eq!(config.check(), Err(DtlsConfigError::ClientCaAlone));
    }

    #[test]
    fn bounds_that_would_let_nobody_in_are_refused() {
        let config = DtlsConfig {
            max_handshakes: 0,
            ..DtlsConfig::default()
        };
        assert_eq!(config.check(), Err(DtlsConfigError::Zero("max_handshakes")));
        let config = DtlsConfig {
            idle_timeout_s: u64::MAX,
            ..DtlsConfig::default()
        };
        assert_eq!(config.check(), Err(DtlsConfigError::Long("idle_timeout_s")));
    }
}
