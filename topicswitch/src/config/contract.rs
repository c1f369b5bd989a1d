//! `contract_tls`: how broker and controller prove who they are where they meet.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// TLS between broker and controller: both show a certificate, and both look at the other's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContractTlsConfig {
    /// Authorities (PEM) one of which must have signed the other side's certificate. Default: no TLS.
    pub ca: Option<PathBuf>,
    /// This side's certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    pub key: Option<PathBuf>,
    /// The name in the broker's certificate, for the controller. Default: the host that it connects to.
    pub server_name: Option<String>,
    /// Whether plain text may cross the network. Default no.
    pub insecure: bool,
}

/// The files of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractTlsFiles {
    /// See [`ContractTlsConfig::ca`].
    pub ca: PathBuf,
    /// See [`ContractTlsConfig::cert`].
    pub cert: PathBuf,
    /// See [`ContractTlsConfig::key`].
    pub key: PathBuf,
}

/// Why a configuration of the contract's TLS is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractTlsError {
    /// Some of the files, but not all.
    #[error(
        "contract_tls: {0} is missing: ca, cert and key belong together, as both sides verify each \
         other"
    )]
    Incomplete(&'static str),
    /// A name without TLS.
    #[error("contract_tls.server_name is of no use without ca, cert and key")]
    NameAlone,
    /// Plain text between hosts.
    #[error(
        "the contract at {0} would cross the network in plain text, and whoever reaches it decides \
         what the switch does: give contract_tls.ca, cert and key (--contract-ca, --contract-cert, \
         --contract-key), use a loopback address, or allow it with --contract-insecure"
    )]
    Plain(String),
}

impl ContractTlsConfig {
    /// The files, or none of them.
    ///
    /// # Errors
    /// Some of them.
    pub fn files(&self) -> Result<Option<ContractTlsFiles>, ContractTlsError> {
        match (&self.ca, &self.cert, &self.key) {
            (Some(ca), Some(cert), Some(key)) => Ok(Some(ContractTlsFiles {
                ca: ca.clone(),
                cert: cert.clone(),
                key: key.clone(),
            })),
            (None, None, None) => Ok(None),
            (None, ..) => Err(ContractTlsError::Incomplete("ca")),
            (_, None, _) => Err(ContractTlsError::Incomplete("cert")),
            (.., None) => Err(ContractTlsError::Incomplete("key")),
        }
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first [`ContractTlsError`] found.
    pub fn check(&self) -> Result<(), ContractTlsError> {
        if self.files()?.is_none() && self.server_name.is_some() {
            return Err(ContractTlsError::NameAlone);
        }
        Ok(())
    }

    /// The files for a contract at `host:port`; none where plain text is allowed.
    ///
    /// # Errors
    /// Some of the files, or none where they are needed.
    pub fn files_for(&self, address: &str) -> Result<Option<ContractTlsFiles>, ContractTlsError> {
        self.check()?;
        let files = self.files()?;
        if files.is_none() && !self.insecure && !is_local(address) {
            return Err(ContractTlsError::Plain(address.to_owned()));
        }
        Ok(files)
    }
}

/// Whether nobody else's host can be meant.
fn is_local(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => address
            .rsplit_once(':')
            .is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(ca: bool, cert: bool, key: bool) -> ContractTlsConfig {
        let file = |wanted: bool, name: &str| wanted.then(|| PathBuf::from(name));
        ContractTlsConfig {
            ca: file(ca, "ca.pem"),
            cert: file(cert, "cert.pem"),
            key: file(key, "key.pem"),
            ..ContractTlsConfig::default()
        }
    }

    #[test]
    fn all_three_files_or_none() {
        let missing = |config: ContractTlsConfig| config.check().unwrap_err();
        assert_eq!(
            missing(with(false, true, true)),
            ContractTlsError::Incomplete("ca")
        );
        assert_eq!(
            missing(with(true, false, true)),
            ContractTlsError::Incomplete("cert")
        );
        assert_eq!(
            missing(with(true, true, false)),
            ContractTlsError::Incomplete("key")
        );
        assert!(with(true, true, true).check().is_ok());
        assert!(with(false, false, false).check().is_ok());
    }

    #[test]
    fn plain_text_stays_on_this_host_unless_it_is_allowed_to_leave() {
        let mut config = ContractTlsConfig::default();
        for local in ["127.0.0.1:1", "127.3.2.1:1", "[::1]:1", "localhost:1"] {
            assert_eq!(config.files_for(local), Ok(None), "{local}");
        }
        for far in ["10.0.0.1:1", "0.0.0.0:1", "[::]:1", "[fe80::1]:1", "host:1"] {
            let refused = config.files_for(far).unwrap_err();
            assert_eq!(refused, ContractTlsError::Plain(far.to_owned()));
        }
        config.insecure = true;
        assert_eq!(config.files_for("10.0.0.1:1"), Ok(None));
        assert!(
            with(true, true, true)
                .files_for("10.0.0.1:1")
                .unwrap()
                .is_some()
        );
    }
}
