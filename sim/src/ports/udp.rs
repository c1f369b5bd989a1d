//! A port over a UDP socket, the embedded default: no privilege, no interface.
//!
//! Every datagram received becomes an Ethernet/IPv4/UDP frame from its sender, all senders behind
//! the port's own MAC address as behind a router; every frame sent to that MAC address is
//! unwrapped and leaves as a datagram to its IPv4 and UDP destination.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::frame::{self, Addresses, HEADERS_LEN, MAX_PAYLOAD, MacAddr, NotADatagram, UdpChecksum};
use super::{Batch, DropReason, MAX_FRAME, OpenPortError, Port, PortCounters, PortSpec, UdpSpec};

/// Room for bursts in the socket's queues; the system may give less.
const SOCKET_BUFFER: usize = 4 << 20;

/// The port of a bound UDP socket.
#[derive(Debug)]
pub struct UdpPort {
    spec: UdpSpec,
    socket: UdpSocket,
    /// Destination of received frames.
    local: SocketAddrV4,
    gateway_mac: MacAddr,
    /// Outgoing frames in one piece.
    scratch: Vec<u8>,
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
            socket,
            local: SocketAddrV4::new(local_ip, bound.port()),
            gateway_mac: spec
                .gateway_mac
                .unwrap_or_else(|| UdpSpec::default_gateway_mac(number)),
            scratch: Vec::with_capacity(MAX_FRAME),
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

    /// Why the frame in `scratch` cannot leave, or that it has left.
    fn send_scratch(&self) -> Result<(), DropReason> {
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
        loop {
            match self
                .socket
                .send_to(datagram.payload, SocketAddr::V4(datagram.addresses.dst))
            {
                Ok(_) => return Ok(()),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return Err(DropReason::QueueFull),
                    // The error belongs to an earlier datagram; this one was not sent. It is
                    // cleared by being reported, so the next attempt tells about this datagram.
                    ErrorKind::ConnectionRefused => self.counters.receive_failed(),
                    _ if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                        return Err(DropReason::TooLong);
                    }
                    _ => return Err(DropReason::Refused),
                },
            }
        }
    }
}

impl Port for UdpPort {
    fn spec(&self) -> PortSpec {
        PortSpec::Udp(self.spec.clone())
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        while let Some(room) = batch.spare() {
            match self.socket.recv_from(&mut room[HEADERS_LEN..]) {
                Ok((len, SocketAddr::V4(peer))) => {
                    let len = len.min(MAX_PAYLOAD);
                    let addresses = Addresses {
                        src_mac: self.gateway_mac,
                        dst_mac: self.spec.mac,
                        src: peer,
                        dst: self.local,
                    };
                    let end = HEADERS_LEN + len;
                    frame::write_headers(&mut room[..end], &addresses, UdpChecksum::None);
                    batch.push_filled(0..end);
                    self.counters.received(end);
                }
                // An IPv4 socket has no IPv6 peers.
                Ok((_, SocketAddr::V6(_))) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
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
                        return Ok(());
                    }
                },
            }
        }
        Ok(())
    }

    fn send(&mut self, head: &[u8], payload: &[u8]) {
        if head.len() + payload.len() > MAX_FRAME {
            self.counters.tx_dropped(DropReason::TooLong);
            return;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(head);
        self.scratch.extend_from_slice(payload);
        match self.send_scratch() {
            Ok(()) => self.counters.sent(self.scratch.len()),
            Err(reason) => self.counters.tx_dropped(reason),
        }
    }

    fn counters(&self) -> Arc<PortCounters> {
        Arc::clone(&self.counters)
    }
}
