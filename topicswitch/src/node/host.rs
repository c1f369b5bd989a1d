//! The broker's socket where the broker lives in the same process as its switch.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};

use broker::driver::DatagramSocket;
use sim::ports::{Host, HostDatagram, HostError};

/// One UDP port of a host at the far end of a switch's `mem` port.
#[derive(Debug)]
pub struct HostSocket {
    host: Host,
    local: SocketAddrV4,
}

impl HostSocket {
    /// The socket of `host` at `port`.
    pub fn new(host: Host, port: u16) -> Self {
        let local = SocketAddrV4::new(host.ip(), port);
        HostSocket { host, local }
    }

    /// The datagram, if it is for this socket.
    fn take(&self, datagram: &HostDatagram, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        if datagram.local.port() != self.local.port() {
            return None;
        }
        // As UDP does: what the buffer cannot hold is cut off.
        let length = datagram.payload.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram.payload[..length]);
        Some((length, datagram.peer))
    }
}

impl DatagramSocket for HostSocket {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let Some(datagram) = self.host.recv().await else {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the switch has stopped",
                ));
            };
            if let Some(taken) = self.take(&datagram, buffer) {
                return Ok(taken);
            }
        }
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        while let Some(datagram) = self.host.try_recv() {
            if let Some(taken) = self.take(&datagram, buffer) {
                return Ok(taken);
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.host
            .send_to(to, self.local.port(), datagram)
            .map_err(|error| match error {
                HostError::NotIpv4(_) | HostError::TooLong(_) => {
                    io::Error::new(io::ErrorKind::InvalidInput, error)
                }
                HostError::Link(_) => io::Error::new(io::ErrorKind::WouldBlock, error),
            })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local.into())
    }
}
