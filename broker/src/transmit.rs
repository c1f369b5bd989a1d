//! Datagrams on their way out, in a buffer that is used again and again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;

use mqttsn::Packet;

/// How datagrams reach the broker: one address may be one client over each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// As they are.
    #[default]
    Udp,
    /// As records of a DTLS connection.
    Dtls,
}

/// Where a datagram came from, and who the transport says that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// What it came over.
    pub via: Via,
    /// The sender's address.
    pub address: SocketAddr,
    /// The name that the transport has authenticated (the PSK identity, or the certificate's common
    /// name); `None` where it authenticates nobody.
    pub identity: Option<&'a str>,
}

impl From<SocketAddr> for Source<'_> {
    /// Plain UDP, which authenticates nobody.
    fn from(address: SocketAddr) -> Self {
        Source {
            via: Via::Udp,
            address,
            identity: None,
        }
    }
}

/// Who a message is for: an address, and the forwarders before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// What datagrams come and go over.
    pub via: Via,
    /// Where datagrams come from and go to.
    pub address: SocketAddr,
    /// The octets of the forwarder encapsulation (MQTT-SN 1.2 §5.5) in front of each message; empty
    /// for a client that is spoken to directly.
    pub encapsulation: Box<[u8]>,
}

impl Peer {
    /// A client that is spoken to directly.
    pub fn direct(address: SocketAddr) -> Self {
        Peer {
            via: Via::Udp,
            address,
            encapsulation: Box::default(),
        }
    }

    /// Whether the client's own datagrams cross the network: no forwarder in between, no DTLS.
    pub fn is_direct(&self) -> bool {
        self.via == Via::Udp && self.encapsulation.is_empty()
    }
}

/// One datagram to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// What to send it over.
    pub via: Via,
    /// Where to.
    pub to: SocketAddr,
    /// The whole datagram.
    pub bytes: &'a [u8],
}

/// The datagrams not yet taken. Several may share their bytes.
#[derive(Debug, Default)]
pub(crate) struct Transmits {
    buffer: Vec<u8>,
    queue: VecDeque<(Via, SocketAddr, Range<usize>)>,
}

impl Transmits {
    /// Takes the oldest datagram.
    pub(crate) fn pop(&mut self) -> Option<Transmit<'_>> {
        let (via, to, range) = self.queue.pop_front()?;
        Some(Transmit {
            via,
            to,
            bytes: &self.buffer[range],
        })
    }

    /// Queues one message.
    pub(crate) fn push(&mut self, peer: &Peer, packet: &Packet<'_>) {
        let range = self.write(&peer.encapsulation, packet);
        self.push_written(peer, range);
    }

    /// Queues what [`Transmits::write`] wrote.
    pub(crate) fn push_written(&mut self, to: &Peer, range: Range<usize>) {
        if !range.is_empty() {
            self.queue.push_back((to.via, to.address, range));
        }
    }

    /// Writes a datagram, for one or several recipients.
    ///
    /// The range is empty when the message is longer than its Length field can say; that can only
    /// be a message taken from another message of that length, so nobody could have received it.
    pub(crate) fn write(&mut self, encapsulation: &[u8], packet: &Packet<'_>) -> Range<usize> {
        if self.queue.is_empty() {
            self.buffer.clear();
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(encapsulation);
        let message = self.buffer.len();
        self.buffer.resize(message + packet.encoded_len(), 0);
        match packet.encode(&mut self.buffer[message..]) {
            Ok(length) => self.buffer.truncate(message + length),
            Err(error) => {
                tracing::debug!(%error, "message dropped: it cannot be encoded");
                self.buffer.truncate(start);
            }
        }
        start..self.buffer.len()
    }
}
