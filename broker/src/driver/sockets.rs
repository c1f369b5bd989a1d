//! The broker's UDP sockets: one per worker and address family, and one that hears the multicast group.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::io::{IoConfig, IoConfigError};
use crate::config::AdvertiseConfig;

/// A worker that waits for datagrams looks up at least so often.
const LOOK_UP: Duration = Duration::from_millis(500);

/// The longest datagram that is ever put into a run: more would not fit an Ethernet frame.
const SEGMENT_V4: usize = 1500 - 20 - 8;
const SEGMENT_V6: usize = 1500 - 40 - 8;

/// Why the sockets cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Nowhere to listen.
    #[error("there is no address to listen at")]
    NoAddress,
    /// An answer must leave from where the question came to, and only the family tells where that was.
    #[error("cannot listen at both {0} and {1}: at most one IPv4 and one IPv6 address")]
    SameFamily(SocketAddr, SocketAddr),
    /// A value of the configuration.
    #[error("io: {0}")]
    Config(#[from] IoConfigError),
    /// An address that cannot be used.
    #[error("cannot listen for MQTT-SN at {at}: {source}")]
    Listen {
        /// The address.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A group that cannot be joined.
    #[error(
        "cannot hear the multicast group {group} (advertise.group): {source}; it needs an address of \
         its family to listen at, and an interface with multicast there"
    )]
    Group {
        /// The group.
        group: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Bound sockets of a broker.
#[derive(Debug)]
pub struct UdpSockets {
    pub(super) outlets: Arc<Outlets>,
    group: Option<Arc<UdpSocket>>,
    pub(super) config: IoConfig,
    local: Vec<SocketAddr>,
}

impl UdpSockets {
    /// Listens at these addresses, at most one of each family, and to the group if there is one.
    ///
    /// # Errors
    /// An address or group that cannot be used, or values that make no sense.
    pub fn bind(
        listen: &[SocketAddr],
        config: &IoConfig,
        advertise: &AdvertiseConfig,
    ) -> Result<Self, BindError> {
        config.check()?;
        let one_of = |v4: bool| -> Result<Option<SocketAddr>, BindError> {
            let mut found = listen.iter().copied().filter(|at| at.is_ipv4() == v4);
            match (found.next(), found.next()) {
                (Some(one), Some(other)) => Err(BindError::SameFamily(one, other)),
                (found, _) => Ok(found),
            }
        };
        let (v4, v6) = (one_of(true)?, one_of(false)?);
        let mut local = Vec::new();
        let mut bind = |at: Option<SocketAddr>| -> Result<Vec<Arc<UdpSocket>>, BindError> {
            let Some(mut at) = at else {
                return Ok(Vec::new());
            };
            let only_v6 = v4.is_some();
            let sockets = bind_workers(&mut at, only_v6, config, advertise)
                .map_err(|source| BindError::Listen { at, source })?;
            local.push(at);
            Ok(sockets)
        };
        let (v4, v6) = (bind(v4)?, bind(v6)?);
        if local.is_empty() {
            return Err(BindError::NoAddress);
        }
        let group = match advertise.group {
            None => None,
            Some(group) => {
                let near = local.iter().find(|at| at.is_ipv4() == group.is_ipv4());
                let joined = match near {
                    None => Err(io::ErrorKind::AddrNotAvailable.into()),
                    Some(near) => join(group, near.ip()),
                };
                let joined = joined.map_err(|source| BindError::Group { group, source })?;
                Some(Arc::new(joined))
            }
        };
        let limit = |octets| AtomicUsize::new(if config.segmentation { octets } else { 0 });
        let outlets = Arc::new(Outlets {
            v4,
            v6,
            longest_v4: limit(SEGMENT_V4),
            longest_v6: limit(SEGMENT_V6),
        });
        Ok(UdpSockets {
            outlets,
            group,
            config: config.clone(),
            local,
        })
    }

    /// Where it listens, ports filled in.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// All sockets to receive from, each with its address for people.
    pub(super) fn inlets(&self) -> impl Iterator<Item = &Arc<UdpSocket>> {
        let Outlets { v4, v6, .. } = &*self.outlets;
        v4.iter().chain(v6).chain(&self.group)
    }
}

/// The sockets by which datagrams leave.
#[derive(Debug)]
pub(super) struct Outlets {
    v4: Vec<Arc<UdpSocket>>,
    v6: Vec<Arc<UdpSocket>>,
    longest_v4: AtomicUsize,
    longest_v6: AtomicUsize,
}

impl Outlets {
    /// The socket that lane `lane` sends to `to` by. All sockets of a family have one address.
    pub(super) fn socket(&self, lane: usize, to: SocketAddr) -> Option<BorrowedFd<'_>> {
        let sockets = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let at = lane.checked_rem(sockets.len())?;
        Some(sockets[at].as_fd())
    }

    /// The longest datagram to put into a run; 0 for no runs.
    pub(super) fn longest_segment(&self) -> usize {
        let of = |limit: &AtomicUsize, sockets: &[_]| match sockets {
            [] => usize::MAX,
            _ => limit.load(Ordering::Relaxed),
        };
        // Where both families are served the lower limit is good for both.
        of(&self.longest_v4, &self.v4).min(of(&self.longest_v6, &self.v6))
    }

    /// The system would not take a run of datagrams of this length.
    pub(super) fn refused(&self, to: SocketAddr, segment: usize, error: &io::Error) {
        let limit = match to {
            SocketAddr::V4(_) => &self.longest_v4,
            SocketAddr::V6(_) => &self.longest_v6,
        };
        // EINVAL and EMSGSIZE: longer than the path's packets. EIO and others: not at all here.
        let longest = match error.raw_os_error() {
            Some(libc::EINVAL | libc::EMSGSIZE) => segment.saturating_sub(1),
            _ => 0,
        };
        if limit.fetch_min(longest, Ordering::Relaxed) > longest {
            tracing::info!(
                %error, longest,
                "the system takes no run of datagrams of {segment} octets; longer ones than \
                 `longest` leave one by one from now on"
            );
        }
    }
}

/// One socket for each worker, all at one address. `at` gets its port.
fn bind_workers(
    at: &mut SocketAddr,
    only_v6: bool,
    config: &IoConfig,
    advertise: &AdvertiseConfig,
) -> io::Result<Vec<Arc<UdpSocket>>> {
    let workers = config.workers();
    if workers > 1 {
        // Sockets that share their port would also share it with another broker, silently: a socket
        // that does not share tells whether there is one.
        let alone = open(*at, only_v6)?;
        alone.bind(&(*at).into())?;
        if let Some(bound) = alone.local_addr()?.as_socket() {
            at.set_port(bound.port());
        }
    }
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = open(*at, only_v6)?;
        socket.set_reuse_port(workers > 1)?;
        if let Some(group) = advertise.group
            && group.is_ipv4() == at.is_ipv4()
        {
            // The socket of the group needs the same port where both are given it.
            let shares = group.port() == at.port() && at.ip().is_unspecified();
            socket.set_reuse_address(shares)?;
            send_to_groups(&socket, at.ip(), advertise)?;
        }
        socket.bind(&(*at).into())?;
        if let Some(bound) = socket.local_addr()?.as_socket() {
            at.set_port(bound.port());
        }
        size(&socket, config);
        // What an old kernel lacks is not needed.
        if config.coalescing
            && let Err(error) = setsockopt(&socket, sockopt::UdpGroSegment, &true)
        {
            tracing::debug!(%error, "runs of datagrams cannot be received as one");
        }
        if let Err(error) = setsockopt(&socket, sockopt::RxqOvfl, &1) {
            tracing::debug!(%error, "what the system throws away cannot be counted");
        }
        socket.set_read_timeout(Some(LOOK_UP))?;
        sockets.push(Arc::new(socket.into()));
    }
    Ok(sockets)
}

fn open(at: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() && only_v6 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// How ADVERTISE and GWINFO leave, and that the workers do not hear groups: one socket does.
fn send_to_groups(socket: &Socket, near: IpAddr, advertise: &AdvertiseConfig) -> io::Result<()> {
    match near {
        IpAddr::V4(near) => {
            socket.set_multicast_all_v4(false)?;
            socket.set_multicast_ttl_v4(advertise.hops.into())?;
            if !near.is_unspecified() {
                socket.set_multicast_if_v4(&near)?;
            }
        }
        IpAddr::V6(_) => {
            socket.set_multicast_all_v6(false)?;
            socket.set_multicast_hops_v6(advertise.hops.into())?;
        }
    }
    Ok(())
}

/// Asks for buffers of the size wanted.
fn size(socket: &Socket, config: &IoConfig) {
    // With CAP_NET_ADMIN the system's own bound does not count.
    if setsockopt(socket, sockopt::RcvBufForce, &config.receive_buffer).is_err() {
        let _ = socket.set_recv_buffer_size(config.receive_buffer);
    }
    if setsockopt(socket, sockopt::SndBufForce, &config.send_buffer).is_err() {
        let _ = socket.set_send_buffer_size(config.send_buffer);
    }
    // The system says twice of what it was asked for: it counts its own overhead.
    let (receive, send) = (socket.recv_buffer_size(), socket.send_buffer_size());
    let given = |octets: io::Result<usize>| octets.map_or(0, |octets| octets / 2);
    let (receive, send) = (given(receive), given(send));
    if receive < config.receive_buffer || send < config.send_buffer {
        tracing::info!(
            receive,
            send,
            "the system gives smaller socket buffers than io.receive_buffer and io.send_buffer say; \
             raise net.core.rmem_max and wmem_max to change that"
        );
    }
}

/// A socket that hears what is sent to the group, and nothing else.
fn join(group: SocketAddr, near: IpAddr) -> io::Result<UdpSocket> {
    let socket = open(group, true)?;
    // Others on this machine may listen to the group, too.
    socket.set_reuse_address(true)?;
    socket.bind(&group.into())?;
    match group.ip() {
        IpAddr::V4(ip) => {
            let near = match near {
                IpAddr::V4(near) => near,
                IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
            };
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4(&ip, &near)?;
        }
        IpAddr::V6(ip) => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&ip, 0)?;
        }
    }
    socket.set_read_timeout(Some(LOOK_UP))?;
    Ok(socket.into())
}

/// Makes the threads that wait at this socket look up. Sending goes on.
pub(super) fn wake(socket: &UdpSocket) {
    // Linux says ENOTCONN and wakes them all the same; elsewhere they look up by themselves.
    let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Read);
}
