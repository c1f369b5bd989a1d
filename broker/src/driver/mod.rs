//! The broker on a socket: reads, the clock, the link to a controller, and questions of operators.

mod handle;
mod socket;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use offload::{BrokerEnd, FromController};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use handle::Question;
pub use handle::{Gone, Handle};
pub use socket::{ChannelSocket, DatagramSocket};

use crate::core::Broker;

/// The longest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// Datagrams or messages taken in a row before the other sources get their turn.
const BATCH: usize = 64;

/// Questions that may wait.
const QUESTIONS: usize = 32;

/// Why the driver gave up.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// Reading failed in a way that will not pass.
    #[error("cannot read from the socket {local}: {source}")]
    Receive {
        /// The socket's own address.
        local: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A broker around which a socket and a clock are put.
#[derive(Debug)]
pub struct Driver<S> {
    broker: Broker,
    socket: S,
    links: mpsc::Receiver<BrokerEnd>,
    /// False once no controller can come any more.
    links_open: bool,
    link: Option<BrokerEnd>,
    questions: mpsc::Receiver<Question>,
}

impl<S: DatagramSocket> Driver<S> {
    /// Puts the socket around the broker. Each `BrokerEnd` that comes from `links` replaces the
    /// controller before. The handle answers questions while [`Driver::run`] runs.
    pub fn new(mut broker: Broker, socket: S, links: mpsc::Receiver<BrokerEnd>) -> (Self, Handle) {
        if broker.intent().services.is_empty()
            && let Ok(local) = socket.local_addr()
            && !local.ip().is_unspecified()
        {
            broker.set_services(Instant::now(), BTreeSet::from([local]));
        }
        if broker.status().offload && broker.intent().services.is_empty() {
            tracing::warn!(
                "nothing can be offloaded: the socket listens on all addresses, so list those that \
                 clients write to under offload.services"
            );
        }
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let driver = Driver {
            broker,
            socket,
            links,
            links_open: true,
            link: None,
            questions,
        };
        (driver, Handle::new(ask))
    }

    /// Serves until `shutdown` is cancelled; then tells the connected clients and returns.
    ///
    /// # Errors
    /// When the socket cannot be read any more.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), DriverError> {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            self.flush().await;
            let deadline = self
                .broker
                .next_deadline()
                .map(tokio::time::Instant::from_std);
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.broker.shut_down();
                    self.flush().await;
                    return Ok(());
                }
                received = self.socket.recv_from(&mut buffer) => {
                    self.on_received(received, &mut buffer).await?;
                }
                () = sleep_until(deadline) => self.broker.handle_timeout(Instant::now()),
                message = next_message(&mut self.link) => self.on_message(message),
                link = self.links.recv(), if self.links_open => match link {
                    Some(link) => {
                        self.link = Some(link);
                        self.broker.link_up(Instant::now());
                    }
                    None => self.links_open = false,
                },
                Some(question) = self.questions.recv() => question(&self.broker),
            }
        }
    }

    /// Sends all that the broker has to say.
    async fn flush(&mut self) {
        while let Some(message) = self.broker.poll_offload() {
            let gone = match &self.link {
                Some(link) => link.tx.send(message).is_err(),
                None => true,
            };
            if gone && self.link.take().is_some() {
                self.broker.link_down(Instant::now());
            }
        }
        while let Some(transmit) = self.broker.poll_transmit() {
            if let Err(error) = self.socket.send_to(transmit.bytes, transmit.to).await {
                // As a lost datagram: MQTT-SN's retransmissions make up for it where it matters.
                tracing::debug!(to = %transmit.to, %error, "datagram not sent");
            }
        }
    }

    /// Takes the datagram, and those that are there already.
    async fn on_received(
        &mut self,
        mut received: io::Result<(usize, SocketAddr)>,
        buffer: &mut [u8],
    ) -> Result<(), DriverError> {
        let now = Instant::now();
        for _ in 0..BATCH {
            match received {
                Ok((length, from)) => {
                    self.broker.handle_datagram(now, from, &buffer[..length]);
                    self.flush().await;
                }
                Err(error) if is_passing(&error) => {
                    tracing::debug!(%error, "a datagram of before did not arrive");
                }
                Err(source) => {
                    let local = self.socket.local_addr();
                    return Err(DriverError::Receive {
                        local: local.map_or_else(|_| "?".to_owned(), |local| local.to_string()),
                        source,
                    });
                }
            }
            received = match self.socket.try_recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                received => received,
            };
        }
        // The last one was read but not taken yet.
        if let Ok((length, from)) = received {
            self.broker.handle_datagram(now, from, &buffer[..length]);
        }
        Ok(())
    }

    fn on_message(&mut self, message: Option<FromController>) {
        let now = Instant::now();
        match message {
            Some(message) => self.broker.handle_offload(now, message),
            None => {
                self.link = None;
                self.broker.link_down(now);
            }
        }
    }
}

/// Errors that say something about one datagram or one peer, not about the socket: ICMP errors are
/// reported on the next read.
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
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::OutOfMemory
    )
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn next_message(link: &mut Option<BrokerEnd>) -> Option<FromController> {
    match link {
        Some(link) => link.rx.recv().await,
        None => std::future::pending().await,
    }
}
