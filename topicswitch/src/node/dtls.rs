//! DTLS in front of a broker in this process: a socket and a clock around [`dtls::Server`].

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use broker::auth::Keys;
use broker::driver::{Handle, Ingress, Outbound};
use broker::{Source, Via};
use dtls::{
    Authorities, Event, KeyPair, Received, Server, ServerCertificate, ServerCredentials, Stats,
};
use tokio::sync::Notify;

use super::{BrokerNode, Tasks};
use crate::config::DtlsConfig;

/// The longest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// Datagrams taken in a row before the broker gets what was in them.
const BATCH: usize = 64;

/// How often a broker that is about to stop is asked whether it has, and how many times.
const POLL: Duration = Duration::from_millis(5);
const POLLS: usize = 200;

/// A running DTLS server.
#[derive(Clone)]
pub struct DtlsNode {
    endpoint: Arc<Endpoint>,
    local: SocketAddr,
}

/// The server and the socket that it sends by.
struct Endpoint {
    server: Mutex<Server>,
    socket: UdpSocket,
    /// Sending was the end of an association, of which the broker is to be told.
    ended: Notify,
}

impl DtlsNode {
    /// Takes clients of `broker` over DTLS, if the configuration says where.
    ///
    /// # Errors
    /// Keys and certificates that cannot be used, or an address that cannot be bound.
    pub async fn start(
        config: &DtlsConfig,
        broker: &BrokerNode,
        tasks: &Tasks,
    ) -> anyhow::Result<Option<Self>> {
        let Some(listen) = config.listen else {
            return Ok(None);
        };
        let credentials = credentials(config, &broker.keys)?;
        let server = Server::new(credentials, &config.limits(), Instant::now()).context(
            "DTLS: list the clients' keys in a file (broker.auth.keys, --keys), or give a \
             certificate (dtls.certificate, --dtls-cert)",
        )?;
        let socket = tokio::net::UdpSocket::bind(listen)
            .await
            .with_context(|| format!("cannot listen for DTLS at {listen}"))?;
        let local = socket.local_addr()?;
        // Two handles of one socket: this one sends from whatever thread the broker speaks in.
        let socket = socket.into_std()?;
        let endpoint = Arc::new(Endpoint {
            server: Mutex::new(server),
            socket: socket.try_clone()?,
            ended: Notify::new(),
        });
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        anyhow::ensure!(
            broker.handle.set_dtls(endpoint.clone()),
            "the broker has a DTLS server already"
        );
        let (served, ingress) = (endpoint.clone(), broker.handle.ingress());
        let (handle, shutdown) = (broker.handle.clone(), tasks.shutdown());
        tasks.spawn("DTLS", async move {
            let ended = tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                ended = served.run(&socket, &ingress) => ended,
            };
            stopped(&handle).await;
            served.close();
            ended
        });
        tracing::info!(listen = %local, "DTLS ready");
        Ok(Some(DtlsNode { endpoint, local }))
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.endpoint.lock().stats()
    }
}

impl Endpoint {
    fn lock(&self) -> MutexGuard<'_, Server> {
        // A panic amid a datagram leaves at worst that association in disorder.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all that the server has to say. Under its lock, as records must not overtake each other
    /// by more than their receiver's replay window.
    fn flush(&self, server: &mut Server) {
        while let Some(transmit) = server.poll_transmit() {
            if let Err(error) = self.socket.send_to(transmit.bytes, transmit.to) {
                // As a lost datagram.
                tracing::debug!(to = %transmit.to, %error, "datagram not sent");
            }
        }
    }

    /// Receives until the socket fails.
    async fn run(&self, socket: &tokio::net::UdpSocket, ingress: &Ingress) -> anyhow::Result<()> {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut received = Received::default();
        loop {
            let deadline = self.lock().next_deadline();
            tokio::select! {
                readable = socket.readable() => {
                    readable?;
                    self.receive(socket, &mut buffer)?;
                }
                () = sleep_until(deadline) => {
                    let mut server = self.lock();
                    server.handle_timeout(Instant::now());
                    self.flush(&mut server);
                }
                () = self.ended.notified() => {}
            }
            self.lock().swap_received(&mut received);
            // Without the lock: the broker may answer at once.
            while let Some(event) = received.pop() {
                let datagram = match event {
                    Event::Datagram(datagram) => datagram,
                    Event::Ended(address) => {
                        ingress.ended(Via::Dtls, address);
                        continue;
                    }
                };
                let source = Source {
                    via: Via::Dtls,
                    address: datagram.from,
                    identity: datagram.identity,
                };
                ingress.handle(source, datagram.bytes);
            }
        }
    }

    /// Takes what is there.
    fn receive(&self, socket: &tokio::net::UdpSocket, buffer: &mut [u8]) -> io::Result<()> {
        let mut server = self.lock();
        let now = Instant::now();
        for _ in 0..BATCH {
            match socket.try_recv_from(buffer) {
                Ok((length, from)) => server.handle_datagram(now, from, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It says something about a datagram of before, not about the socket.
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.flush(&mut server);
        Ok(())
    }

    fn close(&self) {
        let mut server = self.lock();
        server.close(Instant::now());
        self.flush(&mut server);
    }
}

impl Outbound for Endpoint {
    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let mut server = self.lock();
        if let Err(error) = server.send(Instant::now(), to, datagram) {
            // Counted by the server.
            tracing::debug!(%to, %error, "datagram not sent");
            if server.has_received() {
                // Not from here: the broker is amid sending.
                self.ended.notify_one();
            }
        }
        self.flush(&mut server);
    }
}

fn credentials(config: &DtlsConfig, keys: &Keys) -> anyhow::Result<ServerCredentials> {
    let certificate = match (&config.certificate, &config.private_key) {
        (Some(certificate), Some(private_key)) => Some(ServerCertificate {
            key_pair: KeyPair::read(certificate, private_key)?,
            clients: config
                .client_ca
                .as_deref()
                .map(Authorities::read)
                .transpose()?,
        }),
        _ => None,
    };
    let psk = (!keys.is_empty()).then(|| {
        let keys = keys.clone();
        let lookup: dtls::PskLookup =
            Arc::new(move |identity| keys.key(identity).map(|key| key.to_vec()));
        lookup
    });
    Ok(ServerCredentials { psk, certificate })
}

/// Waits until the broker has said its goodbyes, which the connections are still needed for.
async fn stopped(broker: &Handle) {
    let mut tick = tokio::time::interval(POLL);
    for _ in 0..POLLS {
        if broker.look(|_| ()).await.is_err() {
            return;
        }
        tick.tick().await;
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Interrupted
            | io::ErrorKind::OutOfMemory
    )
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
