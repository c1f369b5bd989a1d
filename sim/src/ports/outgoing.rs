//! Sending many frames or datagrams with one system call.

use std::io;
use std::net::SocketAddrV4;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use mmsg::{MAX_SEGMENTS, Sending};

/// Messages that are collected before they are sent.
const MESSAGES: usize = 128;
/// Bytes that are collected, though one message may be longer.
const BYTES: usize = 1 << 18;
/// The longest UDP message, as cut or not.
const LONGEST: usize = 65_507;

/// One message that waits.
#[derive(Debug, Clone)]
pub(super) struct Message {
    bytes: Range<usize>,
    /// Where to; `None` on a socket that is bound to where it sends.
    to: Option<SocketAddrV4>,
    /// The length of all its datagrams but the last, which may be shorter.
    segment: usize,
    /// Bytes to count for it.
    weight: usize,
}

impl Message {
    /// Datagrams or frames it is.
    pub(super) fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.segment.max(1)).max(1)
    }

    /// The sum of the weights given to [`Outgoing::push`].
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn is_segmented(&self) -> bool {
        self.count() > 1
    }
}

/// Collects messages and sends them; its memory is used again and again.
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    sending: Sending,
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing {
            bytes: Vec::with_capacity(BYTES),
            messages: Vec::with_capacity(MESSAGES),
            sending: Sending::default(),
        }
    }
}

impl Outgoing {
    /// Whether what waits should be sent before `len` bytes more are pushed.
    pub(super) fn is_full_for(&self, len: usize) -> bool {
        self.messages.len() == MESSAGES
            || (self.bytes.len() + len > BYTES && !self.messages.is_empty())
    }

    /// Adds a message of these parts, for which the bytes to count are `weight`. With `join`, a
    /// datagram that goes where the one before it went becomes its continuation if it may.
    pub(super) fn push(
        &mut self,
        to: Option<SocketAddrV4>,
        parts: [&[u8]; 2],
        weight: usize,
        join: bool,
    ) {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let end = self.bytes.len();
        if join
            && let Some(last) = self.messages.last_mut()
            && last.to == to
            && last.segment > 0
            && (1..=last.segment).contains(&(end - start))
            // Only the last datagram may be shorter.
            && last.bytes.len().is_multiple_of(last.segment)
            && last.bytes.len() / last.segment < MAX_SEGMENTS
            && end - last.bytes.start <= LONGEST
        {
            last.bytes.end = end;
            last.weight += weight;
            return;
        }
        self.messages.push(Message {
            bytes: start..end,
            to,
            segment: end - start,
            weight,
        });
    }

    /// What waits.
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }

    /// Replaces message `at` by its datagrams, each a message of its own.
    pub(super) fn split(&mut self, at: usize) {
        let Some(whole) = self.messages.get(at).cloned() else {
            return;
        };
        let (count, segment) = (whole.count(), whole.segment.max(1));
        let pieces = (0..count).map(|i| {
            let start = whole.bytes.start + i * segment;
            Message {
                bytes: start..(start + segment).min(whole.bytes.end),
                to: whole.to,
                segment,
                weight: whole.weight / count,
            }
        });
        self.messages.splice(at..=at, pieces);
    }

    /// Sends as many of the messages from number `from` on as go at once, in their order, and
    /// never waits; gives their number, at least one.
    ///
    /// # Errors
    /// As sendmmsg(2), for the first of them: none was sent.
    pub(super) fn send(&mut self, fd: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        let waiting = self.messages.get(from..).unwrap_or_default();
        let batch = waiting.iter().map(|message| mmsg::Message {
            to: message.to.map(Into::into),
            parts: [&self.bytes[message.bytes.clone()]],
            // A run's datagrams are no longer than its bytes, which fit a UDP message.
            segment: if message.is_segmented() {
                message.segment as u16
            } else {
                0
            },
        });
        self.sending.send(fd, batch)
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("messages", &self.messages.len())
            .finish_non_exhaustive()
    }
}
