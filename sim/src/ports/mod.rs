//! Ports: where frames enter and leave the switch.
//!
//! A [`Port`] gives frames in batches and takes them one by one as head and payload. Kinds:
//! [`MemPort`] (a queue pair inside the process, with a [`MemLink`] or a [`Host`] at the other
//! end), [`UdpPort`] (a socket; each datagram travels as a frame; needs no privilege) and
//! [`AfPacketPort`] (a network interface).
//!
//! ```
//! use sim::ports::{Batch, Port, mem_pair};
//! let (mut port, link) = mem_pair("example", 16);
//! link.send(b"an Ethernet frame").expect("there is room for 16");
//! let mut batch = Batch::new(8);
//! port.receive(&mut batch).expect("mem ports do not fail");
//! assert_eq!(batch.frames().next(), Some(&b"an Ethernet frame"[..]));
//! ```

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

mod af_packet;
mod batch;
mod counters;
pub mod frame;
mod host;
mod mem;
mod spec;
mod udp;

pub use af_packet::AfPacketPort;
pub use batch::{Batch, MAX_FRAME};
pub use counters::{DropReason, PortCounters, PortCounts};
pub use frame::{MacAddr, MacAddrError};
pub use host::{Host, HostDatagram, HostError};
pub use mem::{LinkError, MemLink, MemPort, mem_pair};
pub use spec::{DEFAULT_SERVICE_MAC, PortConfig, PortSpec, PortSpecError, UdpSpec};
pub use udp::UdpPort;

/// One attachment of the switch to the world.
pub trait Port: Send {
    /// What is behind the port.
    fn spec(&self) -> PortSpec;

    /// Becomes readable when [`receive`](Port::receive) may have something to give. A worker that
    /// finds all its ports idle waits on these.
    fn wake_fd(&self) -> BorrowedFd<'_>;

    /// Appends waiting frames to `batch` without blocking, until it is full or none waits. A full
    /// batch says that more may wait.
    ///
    /// # Errors
    /// Only when the port is lost for good (the interface is gone). Passing troubles are counted.
    fn receive(&mut self, batch: &mut Batch) -> io::Result<()>;

    /// Sends the frame `head` followed by `payload`. What cannot be sent is counted and dropped,
    /// as a NIC would.
    fn send(&mut self, head: &[u8], payload: &[u8]);

    /// Hands frames that [`send`](Port::send) kept back for a batch to the system. Called once
    /// after each batch of received frames.
    fn flush(&mut self) {}

    /// The port's counters, readable from any thread.
    fn counters(&self) -> Arc<PortCounters>;
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenPortError {
    /// `mem:` in a place where nobody holds the other end.
    #[error(
        "mem:{0} exists only inside one process (tests, `topicswitch up`): use udp:ADDR:PORT or \
         af-packet:IFACE"
    )]
    MemOutsideProcess(String),
    /// The socket of a udp port could not be bound.
    #[error("cannot bind udp:{spec}: {source}")]
    Bind {
        /// The address asked for.
        spec: std::net::SocketAddrV4,
        /// The system's reason.
        source: io::Error,
    },
    /// No interface of that name.
    #[error("there is no network interface `{name}`; this machine has: {existing}")]
    NoInterface {
        /// The name asked for.
        name: String,
        /// The names that exist.
        existing: String,
    },
    /// The process may not open raw sockets.
    #[error(
        "opening af-packet:{0} needs the capability CAP_NET_RAW: run as root, or give the binary \
         the capability (setcap cap_net_raw+ep), or use a udp port, which needs none"
    )]
    NoRawCapability(String),
    /// The interface is not Ethernet.
    #[error("interface `{0}` is not an Ethernet interface; af-packet ports carry Ethernet frames")]
    NotEthernet(String),
    /// Another step failed.
    #[error("opening af-packet:{interface}: {step}: {source}")]
    System {
        /// The interface asked for.
        interface: String,
        /// What was being done.
        step: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// Opens the port an operator asked for.
///
/// # Errors
/// Those of [`OpenPortError`]; `mem` ports are made with [`mem_pair`] instead.
pub fn open(config: &PortConfig) -> Result<Box<dyn Port>, OpenPortError> {
    match &config.spec {
        PortSpec::Mem(name) => Err(OpenPortError::MemOutsideProcess(name.clone())),
        PortSpec::Udp(spec) => Ok(Box::new(UdpPort::bind(config.number, spec)?)),
        PortSpec::AfPacket(interface) => Ok(Box::new(AfPacketPort::open(interface)?)),
    }
}
