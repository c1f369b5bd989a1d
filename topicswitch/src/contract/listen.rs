//! The broker's side: a gRPC server, in plain text or over TLS with certificates that can be renewed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use offload::BrokerEnd;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;

use super::pem::{Files, PemError};
use super::trouble::describe;
use crate::config::ContractTlsFiles;

/// How long a controller may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at once; more wait in the listener's queue.
const HANDSHAKES: usize = 16;
/// Between two pings, and how long each may stay unanswered: a controller that is frozen or whose host
/// is gone loses its link, so that a standby hears that nobody leads.
const PING: Duration = Duration::from_secs(1);
const PONG: Duration = Duration::from_secs(3);
/// After an accept that failed, for want of descriptors say.
const PAUSE: Duration = Duration::from_millis(100);

/// The server's certificate and whom it trusts, as the files said last.
#[derive(Clone)]
pub struct Certificates {
    files: ContractTlsFiles,
    current: Arc<ArcSwap<ServerConfig>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// The first that is not what it should be.
    pub fn load(files: ContractTlsFiles) -> Result<Self, PemError> {
        let config = Files::read(&files)?.server_config(&files)?;
        Ok(Certificates {
            files,
            current: Arc::new(ArcSwap::from_pointee(config)),
        })
    }

    /// Reads the files again, for connections from now on. Those that stand go on.
    ///
    /// # Errors
    /// As [`Certificates::load`]; then nothing changes.
    pub fn reload(&self) -> Result<(), PemError> {
        let config = Files::read(&self.files)?.server_config(&self.files)?;
        self.current.store(Arc::new(config));
        Ok(())
    }
}

/// A bound socket, to be served.
pub struct ContractServer {
    listener: TcpListener,
    local: SocketAddr,
    certificates: Option<Certificates>,
}

impl ContractServer {
    /// Binds `address`.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn bind(
        address: SocketAddr,
        certificates: Option<Certificates>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve the contract at {address}"))?;
        let local = listener.local_addr()?;
        Ok(ContractServer {
            listener,
            local,
            certificates,
        })
    }

    /// Where it is.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until it fails or is dropped: links last as long as their controllers, so that they are
    /// cut at the end and not waited for.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(self, links: mpsc::Sender<BrokerEnd>) -> anyhow::Result<()> {
        let server = Server::builder()
            .http2_keepalive_interval(Some(PING))
            .http2_keepalive_timeout(Some(PONG))
            .add_service(offload::wire::service(links));
        match self.certificates {
            None => {
                let incoming = TcpListenerStream::new(self.listener).map(|connection| {
                    connection.inspect(|socket| {
                        // Without it a grant may wait for an acknowledgement; nothing else changes.
                        let _ = socket.set_nodelay(true);
                    })
                });
                server.serve_with_incoming(incoming).await?;
            }
            Some(certificates) => {
                let (ready, incoming) = mpsc::channel(HANDSHAKES);
                let incoming = ReceiverStream::new(incoming).map(std::io::Result::Ok);
                tokio::select! {
                    served = server.serve_with_incoming(incoming) => served?,
                    never = accept(self.listener, certificates, ready) => match never {},
                }
            }
        }
        Ok(())
    }
}

/// Shakes hands with who comes, each in a task of its own: one that is slow holds up no other.
async fn accept(
    listener: TcpListener,
    certificates: Certificates,
    ready: mpsc::Sender<TlsStream<TcpStream>>,
) -> std::convert::Infallible {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        // Never closed: it lives as long as this loop.
        let Ok(place) = places.clone().acquire_owned().await else {
            std::future::pending::<()>().await;
            continue;
        };
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a controller could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let _ = socket.set_nodelay(true); // See above.
        let acceptor = TlsAcceptor::from(certificates.current.load_full());
        let ready = ready.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
                // Nobody serves any more.
                Ok(Ok(stream)) => drop(ready.send(stream).await),
                Ok(Err(error)) => {
                    tracing::warn!(%peer, error = describe(&error), "a controller was refused");
                }
                Err(_) => tracing::warn!(%peer, "a controller did not finish its handshake"),
            }
            drop(place);
        });
    }
}
