//! What a client's messages travel by: UDP as they are, or DTLS.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls::{ClientCredentials, CredentialError, Failure, SendError};
use tokio::net::UdpSocket;

/// How long a DTLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why nothing can be sent or received any more.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The socket failed.
    #[error("socket to the broker: {0}")]
    Socket(#[from] io::Error),
    /// What the client should show who it is with is of no use.
    #[error("DTLS")]
    Credentials(#[from] CredentialError),
    /// No association.
    #[error("DTLS handshake with {broker}: {why}{}", advice(why))]
    Handshake {
        /// The broker.
        broker: SocketAddr,
        /// The reason.
        why: Failure,
    },
    /// The association is over.
    #[error("DTLS: {0}")]
    Ended(Failure),
    /// The message is too long for a record.
    #[error("DTLS: {0}")]
    Send(SendError),
}

impl From<Failure> for TransportError {
    fn from(failure: Failure) -> Self {
        TransportError::Ended(failure)
    }
}

/// What to do about a handshake that failed.
fn advice(failure: &Failure) -> &'static str {
    match failure {
        Failure::Timeout => "; is that where the broker listens for DTLS?",
        Failure::Alert(alert) => match alert.0 {
            51 => "; the broker has no such identity, or another key for it",
            40 => "; it may want a key (--psk-file) or a client certificate (--cert and --key)",
            42..=46 | 48 => "; it does not take the client's certificate (--cert and --key)",
            _ => "",
        },
        Failure::Certificate(_) => "; check --ca and --server-name",
        _ => "",
    }
}

/// A socket, and the association over it if there is one.
#[derive(Debug)]
pub(super) struct Transport {
    socket: UdpSocket,
    dtls: Option<Box<dtls::Client>>,
    /// What came from the socket, before it is taken apart.
    buffer: Vec<u8>,
}

impl Transport {
    /// Binds a socket and names the broker.
    pub(super) async fn udp(broker: SocketAddr) -> Result<Self, TransportError> {
        let any: SocketAddr = if broker.is_ipv4() {
            (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(broker).await?;
        Ok(Transport {
            socket,
            dtls: None,
            buffer: vec![0; usize::from(u16::MAX)],
        })
    }

    /// As [`Transport::udp`], and makes an association.
    pub(super) async fn dtls(
        broker: SocketAddr,
        credentials: ClientCredentials,
    ) -> Result<Self, TransportError> {
        let mut transport = Transport::udp(broker).await?;
        let dtls = dtls::Client::new(credentials, HANDSHAKE, Instant::now())?;
        let dtls = transport.dtls.insert(Box::new(dtls));
        let failed = |why| TransportError::Handshake { broker, why };
        while !dtls.is_connected() {
            flush(&transport.socket, dtls).await?;
            let deadline = dtls.next_deadline().unwrap_or_else(Instant::now);
            tokio::select! {
                received = transport.socket.recv(&mut transport.buffer) => match received {
                    Ok(length) => {
                        let handled =
                            dtls.handle_datagram(Instant::now(), &transport.buffer[..length]);
                        if let Err(failure) = handled {
                            // The broker learns why.
                            flush(&transport.socket, dtls).await?;
                            return Err(failed(failure));
                        }
                    }
                    // Nobody listens there at the moment: the handshake's time will be over.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) => return Err(error.into()),
                },
                () = tokio::time::sleep_until(deadline.into()) => {
                    dtls.handle_timeout(Instant::now()).map_err(failed)?;
                }
            }
        }
        flush(&transport.socket, dtls).await?;
        Ok(transport)
    }

    /// The client's own address.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends one message.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), TransportError> {
        match &mut self.dtls {
            Some(dtls) => {
                dtls.send(message).map_err(|error| match error {
                    SendError::Failure(failure) => TransportError::Ended(failure),
                    other => TransportError::Send(other),
                })?;
                flush(&self.socket, dtls).await
            }
            None => send(&self.socket, message).await,
        }
    }

    /// Waits for a message; its length in `buffer`. `None` for a sign that nobody listens at the
    /// moment. Dropping the future loses no message.
    pub(super) async fn recv(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, TransportError> {
        loop {
            let received = match &mut self.dtls {
                None => self.socket.recv(buffer).await,
                Some(dtls) => {
                    if let Some(message) = dtls.poll_received() {
                        // A message is never longer than the record that it came in.
                        let length = message.len().min(buffer.len());
                        buffer[..length].copy_from_slice(&message[..length]);
                        return Ok(Some(length));
                    }
                    self.socket.recv(&mut self.buffer).await
                }
            };
            match (received, &mut self.dtls) {
                (Ok(length), None) => return Ok(Some(length)),
                (Ok(length), Some(dtls)) => {
                    dtls.handle_datagram(Instant::now(), &self.buffer[..length])?;
                    while let Some(datagram) = dtls.poll_transmit() {
                        // A flight that the broker has missed. It will ask again.
                        let _ = self.socket.try_send(&datagram);
                    }
                }
                (Err(error), _) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    return Ok(None);
                }
                (Err(error), _) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Some(dtls) = &mut self.dtls {
            dtls.close();
            while let Some(goodbye) = dtls.poll_transmit() {
                // Without it the broker's idle timeout ends the association.
                let _ = self.socket.try_send(&goodbye);
            }
        }
    }
}

async fn flush(socket: &UdpSocket, dtls: &mut dtls::Client) -> Result<(), TransportError> {
    while let Some(datagram) = dtls.poll_transmit() {
        send(socket, &datagram).await?;
    }
    Ok(())
}

async fn send(socket: &UdpSocket, datagram: &[u8]) -> Result<(), TransportError> {
    match socket.send(datagram).await {
        Ok(_) => Ok(()),
        // Nobody listens there at the moment: the retry, or its end, says so.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error.into()),
    }
}
