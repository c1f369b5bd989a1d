//! Datagrams on their way out, in a buffer that is used again and again.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
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
#[derive(Clone, Debug, Eq)]
pub struct Peer {
    /// What datagrams come and go over.
    pub via: Via,
    /// Where datagrams come from and go to.
    pub address: SocketAddr,
    /// The octets of the forwarder encapsulation (MQTT-SN 1.2 §5.5) in front of each message; empty
    /// for a client that is spoken to directly.
    pub encapsulation: Box<[u8]>,
}

// By hand, since each datagram's sender is looked up: nearly all encapsulations are empty, and to
// compare nothing by a call of memcmp costs more than all else (an empty box points to no memory, and
// the processor is slow to find that it need not read there).
impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        let (own, its) = (&self.encapsulation, &other.encapsulation);
        self.address == other.address
            && self.via == other.via
            && own.len() == its.len()
            && (own.is_empty() || own == its)
    }
}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
        self.via.hash(state);
        if !self.encapsulation.is_empty() {
            self.encapsulation.hash(state);
        }
    }
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

    /// Octets of the longest message that can be sent there in one datagram.
    pub(crate) fn capacity(&self) -> usize {
        let datagram: usize = match (self.via, self.address.ip().to_canonical()) {
            // The lengths that UDP and IP leave, and the plaintext of one record (RFC 6347 §4.1).
            (Via::Udp, IpAddr::V4(_)) => 65_507,
            (Via::Udp, IpAddr::V6(_)) => 65_527,
            (Via::Dtls, _) => 16_384,
        };
        datagram.saturating_sub(self.encapsulation.len())
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

/// A datagram in the buffer of its [`Transmits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// What to send it over.
    pub(crate) via: Via,
    /// Where to.
    pub(crate) to: SocketAddr,
    start: usize,
    end: usize,
}

impl Entry {
    /// Where its bytes are.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// The datagrams not yet taken, in their order. Several may share their bytes.
#[derive(Debug, Default)]
pub(crate) struct Transmits {
    buffer: Vec<u8>,
    entries: Vec<Entry>,
    /// How many of the entries [`Transmits::pop`] has taken.
    popped: usize,
}

/// Octets of datagrams that it is ordinary to have room for.
const ORDINARY: usize = 1 << 20;

impl Transmits {
    /// Takes the oldest datagram.
    pub(crate) fn pop(&mut self) -> Option<Transmit<'_>> {
        let Some(&entry) = self.entries.get(self.popped) else {
            self.clear();
            return None;
        };
        self.popped += 1;
        Some(Transmit {
            via: entry.via,
            to: entry.to,
            bytes: &self.buffer[entry.range()],
        })
    }

    /// The datagrams not yet taken.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries[self.popped..]
    }

    /// What the entries' ranges are of.
    pub(crate) fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// Number of datagrams not yet taken.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.popped
    }

    /// Whether all datagrams are taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for a batch of ordinary size, so that it need not grow in use.
    pub(crate) fn make_room(&mut self) {
        self.buffer.reserve(ORDINARY / 16);
        self.entries.reserve(ORDINARY / 1024);
    }

    /// Forgets what was not taken. The memory is kept, as far as it is of ordinary size.
    pub(crate) fn clear(&mut self) {
        self.popped = 0;
        self.buffer.clear();
        self.entries.clear();
        if self.buffer.capacity() > 4 * ORDINARY {
            self.buffer.shrink_to(ORDINARY);
        }
        if self.entries.capacity() > ORDINARY / 16 {
            self.entries.shrink_to(ORDINARY / 64);
        }
    }

    /// Queues a datagram of another queue. `copied` is where the caller keeps what of `from` is here
    /// already, so that bytes shared there are shared here; it starts as the default.
    pub(crate) fn append(&mut self, from: &Transmits, entry: &Entry, copied: &mut Copied) {
        if self.is_empty() {
            self.clear();
            *copied = Copied::default();
        }
        if copied.length == 0 || copied.from != entry.start || copied.length != entry.range().len()
        {
            copied.from = entry.start;
            copied.to = self.buffer.len();
            copied.length = entry.range().len();
            self.buffer.extend_from_slice(&from.buffer[entry.range()]);
        }
        self.entries.push(Entry {
            start: copied.to,
            end: copied.to + copied.length,
            ..*entry
        });
    }

    /// Queues one message.
    pub(crate) fn push(&mut self, peer: &Peer, packet: &Packet<'_>) {
        let range = self.write(&peer.encapsulation, packet);
        self.push_written(peer, range);
    }

    /// Queues what [`Transmits::write`] wrote.
    pub(crate) fn push_written(&mut self, to: &Peer, range: Range<usize>) {
        if !range.is_empty() {
            self.entries.push(Entry {
                via: to.via,
                to: to.address,
                start: range.start,
                end: range.end,
            });
        }
    }

    /// Writes a datagram, for one or several recipients.
    ///
    /// The range is empty when the message is longer than its Length field can say; that can only
    /// be a message taken from another message of that length, so nobody could have received it.
    pub(crate) fn write(&mut self, encapsulation: &[u8], packet: &Packet<'_>) -> Range<usize> {
        if self.is_empty() {
            self.clear();
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

/// The last bytes that [`Transmits::append`] took from the other queue, and where they are now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    from: usize,
    to: usize,
    length: usize,
}
