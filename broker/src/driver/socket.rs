//! Where datagrams come from and go to.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::sync::{Mutex, mpsc};

/// A socket of datagrams.
pub trait DatagramSocket: Send + Sync {
    /// Waits for a datagram; its length and sender. Dropping the future loses no datagram.
    fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;

    /// Takes a datagram that is there already, else fails with `WouldBlock`.
    ///
    /// # Errors
    /// As the system says, and `WouldBlock`.
    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends a datagram without waiting.
    ///
    /// # Errors
    /// As the system says, and `WouldBlock` where there is no room. The datagram is lost then.
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;

    /// The socket's own address.
    ///
    /// # Errors
    /// As the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A socket inside one process: a pair of channels of (peer, datagram).
///
/// It behaves as a network does: what does not fit is lost.
#[derive(Debug)]
pub struct ChannelSocket {
    local: SocketAddr,
    from_network: Mutex<mpsc::Receiver<(SocketAddr, Vec<u8>)>>,
    to_network: mpsc::Sender<(SocketAddr, Vec<u8>)>,
}

impl ChannelSocket {
    /// A socket at address `local`. `from_network` carries datagrams with their sender, `to_network`
    /// those of the broker with their destination.
    pub fn new(
        local: SocketAddr,
        from_network: mpsc::Receiver<(SocketAddr, Vec<u8>)>,
        to_network: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    ) -> Self {
        ChannelSocket {
            local,
            from_network: Mutex::new(from_network),
            to_network,
        }
    }
}

fn copy(buffer: &mut [u8], from: SocketAddr, datagram: &[u8]) -> (usize, SocketAddr) {
    // As UDP does: what the buffer cannot hold is cut off.
    let length = datagram.len().min(buffer.len());
    buffer[..length].copy_from_slice(&datagram[..length]);
    (length, from)
}

impl DatagramSocket for ChannelSocket {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self.from_network.lock().await.recv().await {
            Some((from, datagram)) => Ok(copy(buffer, from, &datagram)),
            None => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the network is gone",
            )),
        }
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
        let mut from_network = self.from_network.try_lock().map_err(|_| would_block())?;
        let (from, datagram) = from_network.try_recv().map_err(|_| would_block())?;
        Ok(copy(buffer, from, &datagram))
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.to_network
            .try_send((to, datagram.to_vec()))
            .map_err(|error| io::Error::new(io::ErrorKind::WouldBlock, error.to_string()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}
