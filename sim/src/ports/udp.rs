//! A port over a UDP socket, the embedded default: no privilege, no interface.
//!
//! Every datagram received becomes an Ethernet/IPv4/UDP frame from its sender, all senders behind
//! the port's own MAC address as behind a router; every frame sent to that MAC address is
//! unwrapped and leaves as a datagram to its IPv4 and UDP destination. Datagrams are received and
//! sent many a system call, and runs to one destination as one message that the kernel cuts.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use mmsg::Receiving;
use nix::sys::socket::{setsockopt, sockopt};

use super::frame::{self, Addresses, HEADERS_LEN, MacAddr, NotADatagram, UdpChecksum};
use super::outgoing::Outgoing;
use super::{
    DropReason, MAX_FRAME, OpenPortError, Port, PortCounters, PortSender, PortSpec, UdpSpec,
};

/// Room for bursts in the socket's queues; the system may give less.
const SOCKET_BUFFER: usize = 4 << 20;
/// Datagrams, or runs of them, received with one system call.
const BATCH: usize = 64;

/// The port of a bound UDP socket.
#[derive(Debug)]
pub struct UdpPort {
    spec: UdpSpec,
    socket: Arc<UdpSocket>,
    /// Destination of received frames.
    local: SocketAddrV4,
    gateway_mac: MacAddr,
    receiving: Receiving,
    counters: Arc<PortCounters>,
}

impl UdpPort {
    /// Binds the socket of port `number`. Port 0 lets the system choose; see
    /// [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// [`OpenPortError::Bind`].
    pub fn bind(number: u32, spec: &UdpSpec) -> Result<Self, OpenPortError> {
        let failed = |source| OpenPortError::Bind {
            spec: spec.bind,
            source,
        };
        let socket = UdpSocket::bind(spec.bind).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let options = socket2::SockRef::from(&socket);
        // Smaller buffers only mean earlier loss under bursts.
        let _ = options.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = options.set_send_buffer_size(SOCKET_BUFFER);
        // Kernels without them receive and lose datagrams one by one, and do not tell.
        let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
        let _ = setsockopt(&socket, sockopt::RxqOvfl, &1);
        let bound = match socket.local_addr().map_err(failed)? {
            SocketAddr::V4(bound) => bound,
            // Bound to an IPv4 address above.
            SocketAddr::V6(other) => return Err(failed(io::Error::other(other.to_string()))),
        };
        let local_ip: Ipv4Addr = spec.local.unwrap_or(*bound.ip());
        Ok(UdpPort {
            spec: UdpSpec {
                bind: bound,
                ..spec.clone()
            },
            socket: Arc::new(socket),
            local: SocketAddrV4::new(local_ip, bound.port()),
            gateway_mac: spec
                .gateway_mac
                .unwrap_or_else(|| UdpSpec::default_gateway_mac(number)),
            receiving: Receiving::new(BATCH),
            counters: Arc::default(),
        })
    }

    /// The address that clients send to.
    pub fn local_addr(&self) -> SocketAddrV4 {
        self.local
    }

    /// The MAC address that all clients are behind.
    pub fn gateway_mac(&self) -> MacAddr {
        self.gateway_mac
    }
}

impl Port for UdpPort {
    fn spec(&self) -> PortSpec {
        PortSpec::Udp(self.spec.clone())
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let mut shown = 0;
        while shown < budget {
            if let Some((peer, frame)) = self.receiving.next_mut(HEADERS_LEN) {
                let SocketAddr::V4(peer) = peer else {
                    // Bound to an IPv4 address: no other can send to it.
                    continue;
                };
                let addresses = Addresses {
                    src_mac: self.gateway_mac,
                    dst_mac: self.spec.mac,
                    src: peer,
                    dst: self.local,
                };
                frame::write_headers(frame, &addresses, UdpChecksum::None);
                self.counters.received(frame.len());
                each(frame);
                shown += 1;
                continue;
            }
            match self.receiving.receive(self.socket.as_fd(), false) {
                Ok(()) => match self.receiving.take_lost() {
                    0 => {}
                    lost => self
                        .counters
                        .rx_dropped_many(DropReason::QueueFull, lost.into()),
                },
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => break,
                    ErrorKind::Interrupted => {}
                    // ICMP errors of datagrams sent earlier (nobody listens there any more, no
                    // route…) are reported here and end with the report.
                    ErrorKind::ConnectionRefused
                    | ErrorKind::ConnectionReset
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::PermissionDenied => self.counters.receive_failed(),
                    _ => {
                        self.counters.receive_failed();
                        break;
                    }
                },
            }
        }
        Ok(shown)
    }

    fn sender(&self) -> Box<dyn PortSender> {
        Box::new(UdpSender {
            socket: Arc::clone(&self.socket),
            gateway_mac: self.gateway_mac,
            outgoing: Outgoing::default(),
            scratch: Vec::with_capacity(2048),
            counters: Arc::clone(&self.counters),
        })
    }

    fn counters(&self) -> Arc<PortCounters> {
        Arc::clone(&self.counters)
    }
}

/// One thread's way out through a [`UdpPort`].
struct UdpSender {
    socket: Arc<UdpSocket>,
    gateway_mac: MacAddr,
    outgoing: Outgoing,
    /// The frame at hand in one piece.
    scratch: Vec<u8>,
    counters: Arc<PortCounters>,
}

impl UdpSender {
    /// Why the frame in `scratch` cannot leave, or that it waits to.
    fn push_scratch(&mut self) -> Result<(), DropReason> {
        let datagram = match frame::parse(&self.scratch) {
            Ok(datagram) => datagram,
            // A corrupted payload must not leave with the fresh checksum of a new datagram.
            Err(NotADatagram::BadChecksum) => return Err(DropReason::BadChecksum),
            Err(_) => return Err(DropReason::NotUdp),
        };
        // A flooded frame for someone else would otherwise reach its receiver twice: through its
        // own port, and from here.
        if datagram.addresses.dst_mac != self.gateway_mac {
            return Err(DropReason::NotForPort);
        }
        let to = Some(datagram.addresses.dst);
        let weight = self.scratch.len();
        self.outgoing
            .push(to, [datagram.payload, &[]], weight, true);
        Ok(())
    }
}

impl PortSender for UdpSender {
    fn send(&mut self, head: &[u8], payload: &[u8]) {
        let len = head.len() + payload.len();
        if len > MAX_FRAME {
            return self.counters.tx_dropped(DropReason::TooLong);
        }
        if self.outgoing.is_full_for(len) {
            self.flush();
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(head);
        self.scratch.extend_from_slice(payload);
        if let Err(reason) = self.push_scratch() {
            self.counters.tx_dropped(reason);
        }
    }

    fn flush(&mut self) {
        let mut done = 0;
        while done < self.outgoing.messages().len() {
            let error = match self.outgoing.send(self.socket.as_fd(), done) {
                Ok(sent) => {
                    for message in &self.outgoing.messages()[done..done + sent] {
                        self.counters.sent_many(message.count(), message.weight());
                    }
                    done += sent;
                    continue;
                }
                Err(error) => error,
            };
            let reason = match (error.kind(), error.raw_os_error()) {
                (ErrorKind::Interrupted, _) => continue,
                // The error belongs to an earlier datagram; this one was not sent. It is cleared
                // by being reported, so the next attempt tells about this datagram.
                (ErrorKind::ConnectionRefused, _) => {
                    self.counters.receive_failed();
                    continue;
                }
                // Not every route can cut (no checksum offload, a smaller MTU): then one by one.
                (_, Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP))
                    if self.outgoing.messages()[done].is_segmented() =>
                {
                    self.outgoing.split(done);
                    continue;
                }
                (ErrorKind::WouldBlock, _) | (_, Some(libc::ENOBUFS)) => DropReason::QueueFull,
                (_, Some(libc::EMSGSIZE)) => DropReason::TooLong,
                _ => DropReason::Refused,
            };
            for _ in 0..self.outgoing.messages()[done].count() {
                self.counters.tx_dropped(reason);
            }
            done += 1;
        }
        self.outgoing.clear();
    }
}
