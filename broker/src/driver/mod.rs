//! The broker on the network: sockets, the clock, the link to a controller, and questions of operators.
//!
//! The core is one state behind one lock. Whoever brings it something (a datagram, a moment, a word of
//! the controller) locks it, lets it decide, and then sends what it said, outside the lock and without
//! handing it to another thread (see `lanes`).

mod handle;
mod ingress;
mod io;
mod lanes;
mod links;
mod plan;
mod shared;
mod socket;
mod sockets;
mod timer;
mod ways;
mod worker;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use offload::BrokerEnd;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use handle::{Gone, Handle};
pub use ingress::Ingress;
pub use io::{IoConfig, IoConfigError, IoStats};
pub use socket::{ChannelSocket, DatagramSocket};
pub use sockets::{BindError, UdpSockets};
pub use ways::Outbound;

use crate::core::Broker;
use crate::store::{CommitError, Store};
use crate::transmit::Source;
use shared::Shared;
use ways::Way;
use worker::Threads;

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
    /// What was to be acknowledged cannot be stored.
    #[error(transparent)]
    Store(#[from] CommitError),
    /// A defect of the broker.
    #[error("the thread `{thread}` has panicked; its message is above")]
    Panicked {
        /// Its name.
        thread: String,
    },
}

/// A broker around which sockets and a clock are put.
pub struct Driver {
    shared: Arc<Shared>,
    transport: Transport,
    links: mpsc::Receiver<BrokerEnd>,
}

/// What brings the datagrams.
enum Transport {
    /// Threads at the system's sockets.
    Udp(UdpSockets),
    /// A task at another socket.
    Task(Pin<Box<dyn Future<Output = Result<(), DriverError>> + Send>>),
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Puts a socket around the broker. Each `BrokerEnd` that comes from `links` replaces the
    /// controller before. The handle answers questions until [`Driver::run`] ends.
    pub fn new<S: DatagramSocket + 'static>(
        mut broker: Broker,
        socket: S,
        links: mpsc::Receiver<BrokerEnd>,
    ) -> (Self, Handle) {
        name_services(&mut broker, &local(&socket));
        let shared = Shared::new(broker, 1);
        let socket = Arc::new(socket);
        let outbound = Arc::new(SocketOutbound(Arc::clone(&socket)));
        shared.ways.set_udp(Way::Outbound(outbound));
        let receiver = Arc::clone(&shared);
        let task = async move { receive(&receiver, &*socket).await };
        Self::with(shared, Transport::Task(Box::pin(task)), links)
    }

    /// Puts UDP sockets around the broker, as [`Driver::new`] does, with threads of their own.
    pub fn udp(
        mut broker: Broker,
        sockets: UdpSockets,
        links: mpsc::Receiver<BrokerEnd>,
    ) -> (Self, Handle) {
        name_services(&mut broker, sockets.local_addrs());
        // Alone a worker has nobody to share with; several should seldom meet.
        let lanes = match sockets.config.workers() {
            1 => 1,
            workers => 4 * workers,
        };
        let shared = Shared::new(broker, lanes);
        shared
            .ways
            .set_udp(Way::Sockets(Arc::clone(&sockets.outlets)));
        Self::with(shared, Transport::Udp(sockets), links)
    }

    fn with(
        shared: Arc<Shared>,
        transport: Transport,
        links: mpsc::Receiver<BrokerEnd>,
    ) -> (Self, Handle) {
        let handle = Handle::new(Arc::clone(&shared));
        let driver = Driver {
            shared,
            transport,
            links,
        };
        (driver, handle)
    }

    /// Keeps what is durable in `store`; the broker is what
    /// [`Restore`](crate::Restore) made of it.
    pub fn set_store(&self, store: Store) {
        self.shared.set_store(store);
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
    /// When a socket cannot be read any more, a thread cannot go on, or the store takes nothing more.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), DriverError> {
        let Driver {
            shared,
            transport,
            links,
        } = self;
        let mut threads = Threads::new(&shared);
        let serving = async {
            threads.start_clock()?;
            // What the broker wanted to say and do before there was a network.
            shared.act(|_, _| ());
            let task = match transport {
                Transport::Udp(sockets) => {
                    for socket in sockets.inlets() {
                        threads.start_worker(socket, &sockets.config)?;
                    }
                    None
                }
                Transport::Task(task) => Some(task),
            };
            let task = async {
                match task {
                    Some(task) => task.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                failed = threads.failed() => Err(failed),
                () = shared.store_failed.notified() => Ok(()),
                ended = task => ended,
                never = links::follow(&shared, links) => match never {},
            }
        };
        let served = serving.await;
        shared.stop();
        threads.join().await;
        match shared.take_store_error() {
            Some(error) => Err(error.into()),
            None => served,
        }
    }
}

/// The addresses that clients write to are those of the sockets, if nobody has said others.
fn name_services(broker: &mut Broker, local: &[SocketAddr]) {
    let named = local.iter().filter(|at| !at.ip().is_unspecified());
    let named: BTreeSet<SocketAddr> = named.copied().collect();
    if broker.intent().services.is_empty() && !named.is_empty() {
        broker.set_services(Instant::now(), named);
    }
    if broker.status().offload && broker.intent().services.is_empty() {
        tracing::warn!(
            "nothing can be offloaded: the socket listens on all addresses, so list those that \
             clients write to under broker.offload.services"
        );
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
    let mut buffer = vec![0; mmsg::MAX_DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let datagram = (Source::from(from), &buffer[..length]);
                if !shared.handle(std::iter::once(datagram)) {
                    // A thread has panicked, and is about to tell.
                    return std::future::pending().await;
                }
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

fn local(socket: &impl DatagramSocket) -> Vec<SocketAddr> {
    socket.local_addr().into_iter().collect()
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
