//! The broker on the network: sockets, the clock, the link to a controller, and questions of operators.
//!
//! The core is one state behind one lock. Whoever brings it something (a datagram, a moment, a word of
//! the controller) locks it, lets it decide, and then sends what it said, outside the lock and without
//! handing it to another thread (see `lanes`).

mod handle;
mod ingress;
mod io;
mod lanes;
mod shared;
mod socket;
mod timer;
mod ways;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use offload::BrokerEnd;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use handle::{Gone, Handle};
pub use ingress::Ingress;
pub use io::IoStats;
pub use socket::{ChannelSocket, DatagramSocket};
pub use ways::Outbound;

use crate::core::Broker;
use crate::transmit::Source;
use shared::Shared;
use ways::Way;

/// The longest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// Why the driver gave up.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// Reading failed in a way that will not pass.
    #[error("cannot read from the socket {local}: {source}")]
    Receive {
        /// The socket's own address.
        local: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread of the broker: {0}")]
    Thread(std::io::Error),
}

/// A broker around which a socket and a clock are put.
#[derive(Debug)]
pub struct Driver<S> {
    shared: Arc<Shared>,
    socket: Arc<S>,
    links: mpsc::Receiver<BrokerEnd>,
}

impl<S: DatagramSocket + 'static> Driver<S> {
    /// Puts the socket around the broker. Each `BrokerEnd` that comes from `links` replaces the
    /// controller before. The handle answers questions until [`Driver::run`] ends.
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
        let socket = Arc::new(socket);
        let shared = Shared::new(broker, 1);
        let outbound = Arc::new(SocketOutbound(Arc::clone(&socket)));
        shared.ways.set_udp(Way::Outbound(outbound));
        let driver = Driver {
            shared: Arc::clone(&shared),
            socket,
            links,
        };
        (driver, Handle::new(shared))
    }

    /// Where another transport puts in what it receives.
    pub fn ingress(&self) -> Ingress {
        Ingress::new(Arc::clone(&self.shared))
    }

    /// What is for clients behind DTLS leaves by `outbound`. The first one set stays; false for those
    /// after it.
    pub fn set_dtls(&self, outbound: Arc<dyn Outbound>) -> bool {
        self.shared.ways.set_dtls(outbound)
    }

    /// Serves until `shutdown` is cancelled; then tells the connected clients and returns.
    ///
    /// # Errors
    /// When the socket cannot be read any more.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), DriverError> {
        let Driver {
            shared,
            socket,
            links,
        } = self;
        let _clock = Clock::start(&shared)?;
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = receive(&shared, &*socket) => ended,
            never = follow_links(&shared, links) => match never {},
        };
        shared.stop();
        ended
    }
}

/// The clock's thread; ends with this value.
struct Clock {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Clock {
    fn start(shared: &Arc<Shared>) -> Result<Self, DriverError> {
        let timed = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name("broker clock".into())
            .spawn(move || timed.timer.run(&timed))
            .map_err(DriverError::Thread)?;
        Ok(Clock {
            shared: Arc::clone(shared),
            thread: Some(thread),
        })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.timer.stop();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but the core's lock. A panic in there has poisoned the core.
            let _ = thread.join();
        }
    }
}

/// A socket as a way out.
struct SocketOutbound<S>(Arc<S>);

impl<S: DatagramSocket> Outbound for SocketOutbound<S> {
    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        if let Err(error) = self.0.send_to(datagram, to) {
            // As a lost datagram: MQTT-SN's retransmissions make up for it where it matters.
            tracing::debug!(%to, %error, "datagram not sent");
        }
    }
}

/// Takes what the socket brings, until that fails for good.
async fn receive(shared: &Shared, socket: &impl DatagramSocket) -> Result<(), DriverError> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let datagram = (Source::from(from), &buffer[..length]);
                shared.handle(std::iter::once(datagram));
            }
            Err(error) if is_passing(&error) => {
                tracing::debug!(%error, "a datagram of before did not arrive");
            }
            Err(source) => {
                let local = socket.local_addr();
                return Err(DriverError::Receive {
                    local: local.map_or_else(|_| "?".to_owned(), |local| local.to_string()),
                    source,
                });
            }
        }
    }
}

/// Passes the controllers' words to the core, one controller after the other.
async fn follow_links(
    shared: &Shared,
    mut links: mpsc::Receiver<BrokerEnd>,
) -> std::convert::Infallible {
    let mut next = links.recv().await;
    loop {
        let Some(BrokerEnd { tx, mut rx }) = next else {
            // No controller can come any more.
            return std::future::pending().await;
        };
        let Some(number) = shared.act(|core, now| core.link_up(now, tx)) else {
            return std::future::pending().await;
        };
        next = loop {
            tokio::select! {
                message = rx.recv() => {
                    let linked = shared.act(|core, now| match message {
                        Some(message) if core.is_linked(number) => {
                            core.broker.handle_offload(now, message);
                        }
                        Some(_) => {}
                        None => core.link_down(now, number),
                    });
                    let linked = linked.and_then(|()| shared.act(|core, _| core.is_linked(number)));
                    if linked != Some(true) {
                        break links.recv().await;
                    }
                }
                Some(link) = links.recv() => break Some(link),
            }
        };
    }
}

/// Errors that say something about one datagram or one peer, not about the socket: ICMP errors are
/// reported on the next read.
fn is_passing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::ConnectionRefused
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::HostUnreachable
            | std::io::ErrorKind::NetworkUnreachable
            | std::io::ErrorKind::NetworkDown
            | std::io::ErrorKind::PermissionDenied
            | std::io::ErrorKind::Interrupted
            | std::io::ErrorKind::WouldBlock
            | std::io::ErrorKind::OutOfMemory
    )
}
