//! What comes out of an endpoint, in buffers that are used again and again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

/// A datagram to send on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// Records.
    pub bytes: &'a [u8],
}

/// What a peer has sent over its association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The peer's address.
    pub from: SocketAddr,
    /// The PSK identity or the certificate's common name; `None` where clients need no certificate.
    pub identity: Option<&'a str>,
    /// The content of one record.
    pub bytes: &'a [u8],
}

/// What happens to an application, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A peer has sent something.
    Datagram(Datagram<'a>),
    /// The association with this address has ended, however that came about, or another one has taken
    /// its place: what comes after is of that one.
    Ended(SocketAddr),
}

/// Octets, and where each entry of them begins and ends.
#[derive(Debug)]
struct Queue<K> {
    buffer: Vec<u8>,
    entries: VecDeque<(K, Range<usize>)>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Queue {
            buffer: Vec::new(),
            entries: VecDeque::new(),
        }
    }
}

impl<K> Queue<K> {
    fn push(&mut self, key: K, bytes: &[u8]) {
        if self.entries.is_empty() {
            self.buffer.clear();
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        self.entries.push_back((key, start..self.buffer.len()));
    }

    fn pop(&mut self) -> Option<(K, &[u8])> {
        let (key, range) = self.entries.pop_front()?;
        Some((key, &self.buffer[range]))
    }
}

/// What a [`Received`] has an entry for.
#[derive(Debug)]
enum Entry {
    /// A datagram, and who has sent it.
    Peer(SocketAddr, Option<Arc<str>>),
    Ended(SocketAddr),
}

/// Datagrams received and associations ended, and not yet taken.
#[derive(Debug, Default)]
pub struct Received {
    queue: Queue<Entry>,
    /// Keeps the identity of the datagram that was popped last.
    identity: Option<Arc<str>>,
}

impl Received {
    /// Takes the oldest one.
    pub fn pop(&mut self) -> Option<Event<'_>> {
        let (from, bytes) = self.queue.pop()?;
        Some(match from {
            Entry::Ended(address) => Event::Ended(address),
            Entry::Peer(from, identity) => {
                self.identity = identity;
                Event::Datagram(Datagram {
                    from,
                    identity: self.identity.as_deref(),
                    bytes,
                })
            }
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.entries.is_empty()
    }

    pub(crate) fn push(&mut self, from: SocketAddr, identity: Option<&Arc<str>>, bytes: &[u8]) {
        self.queue.push(Entry::Peer(from, identity.cloned()), bytes);
    }

    /// Notes the end of an association, behind all that it has sent.
    pub(crate) fn ended(&mut self, address: SocketAddr) {
        self.queue.push(Entry::Ended(address), &[]);
    }
}

/// Datagrams to send and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Transmits {
    queue: Queue<SocketAddr>,
}

impl Transmits {
    pub(crate) fn pop(&mut self) -> Option<Transmit<'_>> {
        let (to, bytes) = self.queue.pop()?;
        Some(Transmit { to, bytes })
    }

    pub(crate) fn push(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.queue.push(to, bytes);
    }
}
