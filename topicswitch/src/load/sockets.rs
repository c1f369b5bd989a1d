//! Many datagrams in one system call.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt, sockopt,
};

/// Datagrams in one system call.
pub(super) const BATCH: usize = 64;

/// The largest sum of a GSO send: what fits one IPv4 packet.
const GSO_MAX: usize = 65_000;

/// A GRO read returns at most one whole IPv4 packet's worth of datagrams.
const GRO_SLOT: usize = 65_536;
const GRO_BATCH: usize = 8;

/// Octets asked for as receive buffer; the system may give less.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A socket of a client's own, which takes and sends without waiting.
pub(super) fn open(broker: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match broker {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    open_at(any, broker)
}

/// The same, at an address of its own.
pub(super) fn open_at(local: SocketAddr, broker: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local)?;
    socket.connect(broker)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Makes room for a broker that is faster than this generator, for a moment.
pub(super) fn enlarge_receive_buffer(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?)
}

/// Lets the system hand over several datagrams of one sender as one.
pub(super) fn enable_gro(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::UdpGroSegment, &true)?)
}

/// From now on what is sent is cut into datagrams of this length.
pub(super) fn enable_gso(socket: &UdpSocket, length: usize) -> io::Result<()> {
    let length = i32::try_from(length).map_err(io::Error::other)?;
    Ok(setsockopt(socket, sockopt::UdpGsoSegment, &length)?)
}

/// Reads datagrams in batches.
pub(super) struct Receiver {
    headers: MultiHeaders<SockaddrStorage>,
    buffer: Vec<u8>,
    slot: usize,
    lengths: [usize; BATCH],
}

impl Receiver {
    /// For datagrams of at most `longest` octets.
    pub(super) fn new(longest: usize, gro: bool) -> Self {
        let (slot, slots) = if gro {
            (GRO_SLOT, GRO_BATCH)
        } else {
            (longest.next_multiple_of(64), BATCH)
        };
        Receiver {
            headers: MultiHeaders::preallocate(slots, None),
            buffer: vec![0; slot * slots],
            slot,
            lengths: [0; BATCH],
        }
    }

    /// Takes what is there; how many reads that made. 0: nothing is there.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut slots = self.buffer.chunks_exact_mut(self.slot);
        // An empty slot ends the list: the headers are as many as the slots.
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        match received {
            Ok(datagrams) => {
                let mut count = 0;
                for (length, datagram) in self.lengths.iter_mut().zip(datagrams) {
                    *length = datagram.bytes;
                    count += 1;
                }
                Ok(count)
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What the last [`Receiver::receive`] read at `index`: one datagram, or with GRO several of one
    /// length in a row.
    pub(super) fn read(&self, index: usize) -> &[u8] {
        &self.buffer[index * self.slot..][..self.lengths[index]]
    }
}

/// Sends datagrams of one length in batches.
pub(super) struct Sender {
    headers: MultiHeaders<SockaddrStorage>,
    addresses: [Option<SockaddrStorage>; BATCH],
    gso: bool,
}

impl Sender {
    /// With `gso`, the sockets must have been told the length ([`enable_gso`]).
    pub(super) fn new(gso: bool) -> Self {
        Sender {
            headers: MultiHeaders::preallocate(BATCH, None),
            addresses: [None; BATCH],
            gso,
        }
    }

    /// Sends `datagrams`, each `length` octets and one behind the other; how many went. Fewer than all
    /// when the system has no room.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        datagrams: &[u8],
        length: usize,
    ) -> io::Result<usize> {
        let count = datagrams.len() / length;
        if count == 1 {
            return would_block_is_none(socket.send(datagrams)).map(|sent| sent / length);
        }
        if self.gso {
            let fits = (GSO_MAX / length).min(BATCH).min(count) * length;
            return would_block_is_none(socket.send(&datagrams[..fits])).map(|sent| sent / length);
        }
        let mut rest = datagrams.chunks_exact(length);
        let slices: [[IoSlice<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSlice::new(rest.next().unwrap_or_default())]);
        let count = count.min(BATCH);
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            &slices[..count],
            &self.addresses[..count],
            [],
            MsgFlags::MSG_DONTWAIT,
        );
        match sent {
            Ok(sent) => Ok(sent.count()),
            Err(nix::Error::EAGAIN | nix::Error::EINTR | nix::Error::ENOBUFS) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn would_block_is_none(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(0)
        }
        sent => sent,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = open(server.local_addr().unwrap()).unwrap();
        server.connect(client_address(&client)).unwrap();
        server.set_nonblocking(true).unwrap();
        (client, server)
    }

    fn client_address(client: &UdpSocket) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, client.local_addr().unwrap().port()).into()
    }

    fn all(receiver: &mut Receiver, socket: &UdpSocket, octets: usize) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut found = Vec::new();
        while found.len() < octets && Instant::now() < deadline {
            for read in 0..receiver.receive(socket).unwrap() {
                found.extend_from_slice(receiver.read(read));
            }
        }
        found
    }

    #[test]
    fn a_batch_arrives_whole_and_in_order_with_and_without_segmentation_offload() {
        for offload in [false, true] {
            let (client, server) = pair();
            if offload {
                enable_gso(&client, 10).unwrap();
                enable_gro(&server).unwrap();
            }
            let datagrams: Vec<u8> = (0..200).collect();
            let mut sender = Sender::new(offload);
            assert_eq!(sender.send(&client, &datagrams, 10).unwrap(), 20);
            let mut receiver = Receiver::new(64, offload);
            assert_eq!(all(&mut receiver, &server, 200), datagrams);
        }
    }

    #[test]
    fn nothing_to_read_is_no_error() {
        let (client, _server) = pair();
        assert_eq!(Receiver::new(64, false).receive(&client).unwrap(), 0);
    }
}
