//! Receiving.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::headers::{Control, Headers, Name, address_of};

/// The longest UDP payload.
pub const MAX_DATAGRAM: usize = 65_535;

/// Octets in front of each datagram that may be overwritten: see [`Receiving::next_mut`].
pub const HEADROOM: usize = 64;

/// From one receive buffer to the next: room for the longest datagram and what is in front of it, and
/// not a multiple of the page size, so that the beginnings do not fall onto the same lines of the CPU's
/// caches.
const STRIDE: usize = HEADROOM + 65_536 + 256;

/// Receive slots asked for where few datagrams come.
const FEW: usize = 8;

/// One received datagram, or several of one length but the last that the kernel has put together.
#[derive(Clone, Copy, Debug)]
struct Received {
    from: SocketAddr,
    start: usize,
    length: usize,
    /// Length of the datagrams in it, at least 1.
    segment: usize,
}

/// Receives in batches.
pub struct Receiving {
    headers: Headers,
    buffer: Box<[u8]>,
    received: Vec<Received>,
    /// Where [`Receiving::next_mut`] is: which of them, and how much of it was shown.
    shown: (usize, usize),
    /// Slots for the next call: more when many came.
    ask: usize,
    /// The socket's count of datagrams lost for want of room, as last told; comes round after 2³².
    lost: u32,
    /// How much of it was taken.
    lost_taken: u32,
}

impl Receiving {
    /// For up to `batch` datagrams (or runs of them) at once.
    pub fn new(batch: usize) -> Self {
        let batch = batch.max(1);
        Receiving {
            headers: Headers::new(batch, batch),
            buffer: vec![0; batch * STRIDE].into(),
            received: Vec::with_capacity(batch),
            shown: (0, 0),
            ask: FEW.min(batch),
            lost: 0,
            lost_taken: 0,
        }
    }

    /// Takes what is there; with `wait` it waits for the first, as the socket's own timeout says. What
    /// was received before is forgotten.
    ///
    /// # Errors
    /// As recvmmsg(2), and `WouldBlock` where nothing came.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<()> {
        self.received.clear();
        self.shown = (0, 0);
        let Headers {
            headers,
            parts,
            names,
            controls,
        } = &mut self.headers;
        let slots = headers
            .iter_mut()
            .zip(parts.iter_mut())
            .zip(names.iter_mut())
            .zip(controls.iter_mut())
            .zip(self.buffer.chunks_exact_mut(STRIDE))
            .take(self.ask);
        for ((((header, part), name), control), buffer) in slots {
            part.iov_base = buffer[HEADROOM..].as_mut_ptr().cast();
            part.iov_len = MAX_DATAGRAM;
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = size_of::<Control>();
            header.msg_flags = 0;
        }
        let flags = match wait {
            true => libc::MSG_WAITFORONE,
            false => libc::MSG_DONTWAIT,
        };
        // SAFETY: the first `ask` headers (`ask` is at most their number) were set just above to
        // names, parts, controls and buffers of their own, all owned by `self` and of the lengths
        // given; the kernel writes there during the call only. The timeout may be null.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                self.ask as libc::c_uint,
                flags as _,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            return Err(io::Error::last_os_error());
        };
        for (number, (header, name)) in headers.iter().zip(names.iter()).enumerate().take(count) {
            // A datagram without a sender: the socket was shut down.
            let Some(from) = address_of(&header.msg_hdr, name) else {
                continue;
            };
            let length = (header.msg_len as usize).min(MAX_DATAGRAM);
            let mut segment = length;
            // SAFETY: the kernel has filled this header, so that `msg_control` and `msg_controllen`
            // describe the control messages it wrote into the slot's own `Control`, which still lives;
            // the macros walk them within that length and give null at the end. The values are read
            // unaligned, as CMSG_DATA promises no alignment, and lie within their message, whose type
            // says their size.
            unsafe {
                let mut message = libc::CMSG_FIRSTHDR(&raw const header.msg_hdr);
                while !message.is_null() {
                    let data = libc::CMSG_DATA(message);
                    match ((*message).cmsg_level, (*message).cmsg_type) {
                        (libc::SOL_UDP, libc::UDP_GRO) => {
                            let size = data.cast::<libc::c_int>().read_unaligned();
                            segment = usize::try_from(size).unwrap_or(0);
                        }
                        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                            self.lost = data.cast::<u32>().read_unaligned();
                        }
                        _ => {}
                    }
                    message = libc::CMSG_NXTHDR(&raw const header.msg_hdr, message);
                }
            }
            self.received.push(Received {
                from,
                start: number * STRIDE + HEADROOM,
                length,
                segment: segment.max(1),
            });
        }
        self.ask = (2 * count).clamp(FEW.min(headers.len()), headers.len());
        Ok(())
    }

    /// What was received last, datagram by datagram.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.received.iter().flat_map(|received| {
            let bytes = &self.buffer[received.start..][..received.length];
            let from = received.from;
            // An empty datagram is one, too, though there is nothing to cut into pieces.
            let empty = bytes.is_empty().then_some(bytes);
            let pieces = bytes.chunks(received.segment);
            empty
                .into_iter()
                .chain(pieces)
                .map(move |bytes| (from, bytes))
        })
    }

    /// How many datagrams were received last.
    pub fn count(&self) -> usize {
        let datagrams = |received: &Received| received.length.div_ceil(received.segment);
        self.received.iter().map(|r| datagrams(r).max(1)).sum()
    }

    /// The next of the datagrams received last, with `headroom` octets (at most [`HEADROOM`]) in front
    /// of it that may be overwritten.
    pub fn next_mut(&mut self, headroom: usize) -> Option<(SocketAddr, &mut [u8])> {
        let (number, start) = self.shown;
        let received = *self.received.get(number)?;
        let end = (start + received.segment).min(received.length);
        self.shown = if end == received.length {
            (number + 1, 0)
        } else {
            (number, end)
        };
        // In front of a later datagram of a run are earlier ones, which are done with.
        let from = received.start + start - headroom.min(HEADROOM);
        Some((received.from, &mut self.buffer[from..received.start + end]))
    }

    /// How many datagrams the socket has lost for want of room since this was last asked.
    pub fn take_lost(&mut self) -> u32 {
        self.lost
            .wrapping_sub(std::mem::replace(&mut self.lost_taken, self.lost))
    }
}

impl std::fmt::Debug for Receiving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiving")
            .field("received", &self.received.len())
            .finish_non_exhaustive()
    }
}
