//! The controller's side: links to a broker on another host, or in another process.

use std::time::Duration;

use controller::LinkError;
use offload::ControllerEnd;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::pem::Files;
use super::trouble::{advice, describe};
use crate::config::{ContractTlsConfig, ContractTlsFiles};

/// How long a controller waits for the broker's host to answer before it tries again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A broker that does not answer pings for so long is gone.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A broker's contract over gRPC.
#[derive(Clone, Debug)]
pub struct RemoteBroker {
    address: String,
    endpoint: Endpoint,
    files: Option<ContractTlsFiles>,
    server_name: String,
}

impl RemoteBroker {
    /// The contract at `host:port`.
    ///
    /// # Errors
    /// An address that is none, a configuration that does not go together, files that TLS cannot use,
    /// or none where they are needed.
    pub fn new(address: &str, tls: &ContractTlsConfig) -> anyhow::Result<Self> {
        let files = tls.files_for(address)?;
        if let Some(files) = &files {
            Files::read(files)?;
        }
        let scheme = if files.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .ok()
            .filter(|endpoint| endpoint.uri().port().is_some())
            .ok_or_else(|| {
                anyhow::anyhow!("the broker's contract is at HOST:PORT, not `{address}`")
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        let host = endpoint.uri().host().unwrap_or_default();
        // An IPv6 address has brackets in a URI, and none in a certificate.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let server_name = tls.server_name.clone().unwrap_or_else(|| host.to_owned());
        Ok(RemoteBroker {
            address: address.to_owned(),
            endpoint,
            files,
            server_name,
        })
    }

    /// A new link. The files are read again for it.
    ///
    /// # Errors
    /// Why there is none, and what to do about it where that can be told.
    pub async fn link(&self) -> Result<ControllerEnd, LinkError> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            LinkError::from(format!("broker {}: {}", self.address, describe(error)))
        };
        let mut endpoint = self.endpoint.clone();
        if let Some(files) = &self.files {
            let files = Files::read(files)?;
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(files.ca))
                .identity(Identity::from_pem(files.cert, files.key))
                .domain_name(&self.server_name);
            endpoint = endpoint.tls_config(tls).map_err(|error| failed(&error))?;
        }
        let channel = endpoint.connect().await.map_err(|error| failed(&error))?;
        let linked = offload::wire::connect(channel).await;
        linked.map_err(|error| match advice(&error) {
            Some(_) => failed(&error),
            // The other side's alert comes after the handshake (RFC 8446 §4.4.2), and gRPC hides it.
            None => LinkError::from(format!(
                "broker {}: it answers, and ends the connection ({})",
                self.address,
                self.guess(error.code()),
            )),
        })
    }

    /// What is probably wrong where a connection was made and came to nothing.
    fn guess(&self, code: tonic::Code) -> &'static str {
        match (code, &self.files) {
            (tonic::Code::Unimplemented, _) => {
                "no contract is served there: is it the address of `broker --offload`?"
            }
            (_, Some(_)) => {
                "it probably refuses contract_tls.cert, whose authority its contract_tls.ca must \
                 hold; its log says"
            }
            (_, None) => "it probably wants TLS: give contract_tls; its log says",
        }
    }
}
