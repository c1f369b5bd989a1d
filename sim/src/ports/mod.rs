//! Ports: where frames enter and leave the switch.
//!
//! A [`Port`] shows the frames that came in, in place, and makes [`PortSender`]s, one for each
//! thread that sends through it, which take frames one by one as head and payload. Kinds:
//! [`MemPort`] (a queue pair inside the process, with a [`MemLink`] or a [`Host`] at the other
//! end), [`UdpPort`] (a socket; each datagram travels as a frame; needs no privilege),
//! [`AfPacketPort`] (a network interface) and [`PcapPort`] (capture files).
//!
//! ```
//! use sim::ports::{Port, mem_pair};
//! let (mut port, link) = mem_pair("example", 16);
//! link.send(b"an Ethernet frame").expect("there is room for 16");
//! let mut sender = port.sender();
//! let shown = port.receive(8, &mut |frame| {
//!     assert_eq!(frame, b"an Ethernet frame");
//!     sender.send(&frame[..5], &frame[5..]); // back to where it came from
//! });
//! assert_eq!(shown.expect("mem ports do not fail"), 1);
//! sender.flush();
//! assert_eq!(link.try_recv().as_deref(), Some(&b"an Ethernet frame"[..]));
//! ```

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

mod af_packet;
mod counters;
pub mod frame;
mod host;
mod mem;
mod outgoing;
mod pcap;
mod spec;
pub(crate) mod sys;
mod udp;

pub use af_packet::AfPacketPort;
pub use counters::{DropReason, PortCounters, PortCounts};
pub use frame::{MacAddr, MacAddrError};
pub use host::{Host, HostDatagram, HostError};
pub use mem::{LinkError, MemLink, MemPort, mem_pair};
pub use pcap::{PcapError, PcapPort, Timeline};
pub use spec::{DEFAULT_SERVICE_MAC, PcapSpec, PortConfig, PortSpec, PortSpecError, UdpSpec};
pub use udp::UdpPort;

/// The longest frame any port carries: Ethernet with a VLAN tag around the longest IPv4 packet.
pub const MAX_FRAME: usize = 14 + 4 + 65_535;

/// One attachment of the switch to the world, as the one thread that receives from it has it.
pub trait Port: Send {
    /// What is behind the port.
    fn spec(&self) -> PortSpec;

    /// Becomes readable when [`receive`](Port::receive) may have something to give. A worker that
    /// finds all its ports idle waits on these. The descriptor stays the same one.
    fn wake_fd(&self) -> BorrowedFd<'_>;

    /// Shows waiting frames to `each`, oldest first and without blocking, until `budget` were
    /// shown or none waits; gives how many were. `budget` says that more may wait, even where
    /// [`wake_fd`](Port::wake_fd) is silent about them.
    ///
    /// # Errors
    /// Only when the port is lost for good. Passing troubles are counted.
    fn receive(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize>;

    /// A way out for one thread. Frames of one sender leave in their order.
    fn sender(&self) -> Box<dyn PortSender>;

    /// Looks for what is wrong and mends what it can. Called when [`wake_fd`](Port::wake_fd)
    /// reports an error, and after [`wake_after`](Port::wake_after) while the port is not up.
    ///
    /// # Errors
    /// When the port is lost for good.
    fn recover(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether frames can pass, as far as known.
    fn is_up(&self) -> bool {
        true
    }

    /// The time after which to look at the port even if [`wake_fd`](Port::wake_fd) is silent.
    fn wake_after(&self) -> Option<Duration> {
        None
    }

    /// The port's counters, readable from any thread.
    fn counters(&self) -> Arc<PortCounters>;
}

/// A way out through a port.
pub trait PortSender: Send {
    /// Sends the frame `head` followed by `payload`, perhaps only with the next
    /// [`flush`](PortSender::flush). What cannot be sent is counted and dropped, as a NIC would.
    fn send(&mut self, head: &[u8], payload: &[u8]);

    /// Hands frames that were kept back for a batch to the system. Called once after each batch
    /// of received frames.
    fn flush(&mut self) {}
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
    /// A capture file.
    #[error(transparent)]
    Pcap(#[from] PcapError),
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

/// A port and its number.
pub type NumberedPort = (u32, Box<dyn Port>);

/// Opens the ports an operator asked for. Those that read capture files take turns by the times in
/// the files.
///
/// # Errors
/// Those of [`OpenPortError`]; `mem` ports are made with [`mem_pair`] instead.
pub fn open_all(configs: &[PortConfig]) -> Result<Vec<NumberedPort>, OpenPortError> {
    let timeline = Arc::new(Timeline::default());
    let open = |config: &PortConfig| {
        let port: Box<dyn Port> = match &config.spec {
            PortSpec::Mem(name) => return Err(OpenPortError::MemOutsideProcess(name.clone())),
            PortSpec::Udp(spec) => Box::new(UdpPort::bind(config.number, spec)?),
            PortSpec::AfPacket(interface) => Box::new(AfPacketPort::open(interface)?),
            PortSpec::Pcap(spec) => Box::new(PcapPort::open(spec, &timeline)?),
        };
        Ok((config.number, port))
    };
    configs.iter().map(open).collect()
}

/// Opens one port an operator asked for.
///
/// # Errors
/// As [`open_all`].
pub fn open(config: &PortConfig) -> Result<Box<dyn Port>, OpenPortError> {
    let mut ports = open_all(std::slice::from_ref(config))?;
    // One port was asked for and opened.
    ports
        .pop()
        .map(|(_, port)| port)
        .ok_or_else(|| OpenPortError::MemOutsideProcess(String::new()))
}
