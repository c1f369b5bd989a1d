//! Many datagrams with one system call: recvmmsg(2) and sendmmsg(2) on Linux, with UDP segmentation
//! offload (`UDP_SEGMENT`, `UDP_GRO` of udp(7)) where a run of datagrams goes to one destination.
//!
//! This is the crate's only unsafe code. Crates with safe wrappers do not fit: those of `nix` send
//! the same control messages with every datagram of a batch and want vectors of borrowed slices that
//! would have to be allocated for each batch; `quinn-udp` sends one destination per system call.

use std::io;
use std::mem::size_of;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::MAX_DATAGRAM;

/// From one receive buffer to the next: room for the longest datagram, and not a multiple of the
/// page size, so that the beginnings do not fall onto the same lines of the CPU's caches.
const STRIDE: usize = 65_536 + 320;

/// Messages that one sendmmsg takes.
const SEND_MESSAGES: usize = 128;

/// Parts that one sendmmsg takes, all messages together (IOV_MAX bounds those of one message).
const SEND_PARTS: usize = 1024;

/// Receive slots asked for where few datagrams come.
const FEW: usize = 8;

/// An IPv4 or IPv6 address as the kernel takes it.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Control messages of one datagram. Aligned as `cmsghdr`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 64]);

const NO_NAME: Name = Name {
    v6: libc::sockaddr_in6 {
        sin6_family: 0,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
        sin6_scope_id: 0,
    },
};
const NO_PART: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

/// The headers of one system call, in memory that is used again and again. The pointers in there mean
/// something only during the call that wrote them.
struct Headers {
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
}

// SAFETY: the raw pointers inside are written and used within one call with `&mut self`; between calls
// nobody follows them, so the thread that holds them does not matter.
unsafe impl Send for Headers {}

impl Headers {
    fn new(messages: usize, parts: usize) -> Self {
        // SAFETY: `mmsghdr` is a C struct of integers and pointers, for which all zeroes is a value.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        Headers {
            headers: vec![header; messages].into(),
            parts: vec![NO_PART; parts].into(),
            names: vec![NO_NAME; messages].into(),
            controls: vec![Control([0; 64]); messages].into(),
        }
    }
}

/// One received datagram, or several of one length but the last that the kernel has put together.
#[derive(Clone, Copy, Debug)]
struct Received {
    from: SocketAddr,
    start: usize,
    length: usize,
    /// Length of the datagrams in it.
    segment: usize,
}

/// Receives in batches.
pub(super) struct Receiving {
    headers: Headers,
    buffer: Box<[u8]>,
    received: Vec<Received>,
    /// Slots for the next call: more when many came.
    ask: usize,
    /// The socket's count of datagrams lost for want of room, as last told.
    lost: u32,
}

impl Receiving {
    /// For up to `batch` datagrams (or runs of them) at once.
    pub(super) fn new(batch: usize) -> Self {
        let batch = batch.max(1);
        Receiving {
            headers: Headers::new(batch, batch),
            buffer: vec![0; batch * STRIDE].into(),
            received: Vec::with_capacity(batch),
            ask: FEW.min(batch),
            lost: 0,
        }
    }

    /// Takes what is there; with `wait` it waits for the first, as the socket's own timeout says. What
    /// was received before is forgotten.
    ///
    /// # Errors
    /// As recvmmsg(2), and `WouldBlock` where nothing came.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<()> {
        self.received.clear();
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
            part.iov_base = buffer.as_mut_ptr().cast();
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
                start: number * STRIDE,
                length,
                segment: if segment == 0 { length } else { segment },
            });
        }
        self.ask = (2 * count).clamp(FEW.min(headers.len()), headers.len());
        Ok(())
    }

    /// What was received last, datagram by datagram.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.received.iter().flat_map(|received| {
            let bytes = &self.buffer[received.start..][..received.length];
            let from = received.from;
            // An empty datagram is one, too, though there is nothing to cut into pieces.
            let empty = bytes.is_empty().then_some(bytes);
            let pieces = bytes.chunks(received.segment.max(1));
            empty
                .into_iter()
                .chain(pieces)
                .map(move |bytes| (from, bytes))
        })
    }

    /// How many datagrams were received last.
    pub(super) fn count(&self) -> usize {
        let datagrams = |received: &Received| received.length.div_ceil(received.segment.max(1));
        self.received.iter().map(|r| datagrams(r).max(1)).sum()
    }

    /// How many datagrams the socket has lost so far for want of room; comes round after 2³².
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }
}

/// The sender that the kernel wrote.
fn address_of(header: &libc::msghdr, name: &Name) -> Option<SocketAddr> {
    let length = header.msg_namelen as usize;
    if length < size_of::<libc::sa_family_t>() {
        return None;
    }
    // SAFETY: both variants begin with the family and are plain integers throughout; the union was
    // initialised whole, so every octet of it has a value whatever the kernel wrote over it.
    let (family, v4, v6) = unsafe { (libc::c_int::from(name.v4.sin_family), name.v4, name.v6) };
    match family {
        libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => Some(
            SocketAddrV4::new(
                u32::from_be(v4.sin_addr.s_addr).into(),
                u16::from_be(v4.sin_port),
            )
            .into(),
        ),
        libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => Some(
            SocketAddrV6::new(
                Ipv6Addr::from(v6.sin6_addr.s6_addr),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            )
            .into(),
        ),
        _ => None,
    }
}

/// What one destination gets by one message of sendmmsg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Where to.
    pub(super) to: SocketAddr,
    /// Which of the parts make it up; at most 1024 of them.
    pub(super) parts: Range<usize>,
    /// Length of all datagrams in it but the last, which may be shorter; 0 for one datagram.
    pub(super) segment: u16,
    /// Number of datagrams.
    pub(super) datagrams: usize,
}

/// Sends in batches.
pub(super) struct Sending {
    headers: Headers,
}

impl Default for Sending {
    fn default() -> Self {
        Sending {
            headers: Headers::new(SEND_MESSAGES, SEND_PARTS),
        }
    }
}

impl Sending {
    /// Sends as many of the messages as go at once, in their order, and never waits. Each is made of
    /// some of `parts`, which are ranges of `buffer`. Returns how many were sent, at least one.
    ///
    /// # Errors
    /// As sendmmsg(2), for the first message: none was sent.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &[u8],
        messages: &[Message],
        parts: &[Range<usize>],
    ) -> io::Result<usize> {
        let Headers {
            headers,
            parts: vectors,
            names,
            controls,
        } = &mut self.headers;
        let mut vectors = &mut vectors[..];
        let mut count = 0;
        let slots = headers
            .iter_mut()
            .zip(names.iter_mut())
            .zip(controls.iter_mut());
        for (((header, name), control), message) in slots.zip(messages) {
            let parts = &parts[message.parts.clone()];
            if parts.len() > vectors.len() {
                break;
            }
            let (own, rest) = std::mem::take(&mut vectors).split_at_mut(parts.len());
            vectors = rest;
            for (vector, part) in own.iter_mut().zip(parts) {
                let bytes = &buffer[part.clone()];
                // sendmmsg takes the same struct as recvmmsg and only reads.
                vector.iov_base = bytes.as_ptr().cast_mut().cast();
                vector.iov_len = bytes.len();
            }
            let header = &mut header.msg_hdr;
            header.msg_namelen = set_address(name, message.to);
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_iov = own.as_mut_ptr();
            header.msg_iovlen = own.len();
            header.msg_flags = 0;
            if message.segment == 0 {
                header.msg_control = ptr::null_mut();
                header.msg_controllen = 0;
            } else {
                set_segment(header, control, message.segment);
            }
            count += 1;
        }
        // SAFETY: the first `count` headers were set just above: names and controls are slots of
        // their own in `self`, vectors point to slices of `buffer`, and all live until the end of this
        // function. The kernel reads them during the call only.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Adds the control message that says how the kernel is to cut the message into datagrams.
fn set_segment(header: &mut libc::msghdr, control: &mut Control, segment: u16) {
    const SIZE: libc::c_uint = size_of::<u16>() as libc::c_uint;
    header.msg_control = ptr::from_mut(control).cast();
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute: 24 and 18 octets, less than a `Control` has. With
    // `msg_control` and `msg_controllen` set to that, CMSG_FIRSTHDR gives the beginning of `control`,
    // which is aligned as a `cmsghdr`, and CMSG_DATA stays inside of it; the value is written
    // unaligned, as CMSG_DATA promises no alignment.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(SIZE) as usize;
        let message = libc::CMSG_FIRSTHDR(ptr::from_ref(header));
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(SIZE) as usize;
        libc::CMSG_DATA(message)
            .cast::<u16>()
            .write_unaligned(segment);
    }
}

/// Writes the address; its length.
fn set_address(name: &mut Name, to: SocketAddr) -> libc::socklen_t {
    match to {
        SocketAddr::V4(to) => {
            name.v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: to.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*to.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(to) => {
            name.v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: to.port().to_be(),
                sin6_flowinfo: to.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: to.ip().octets(),
                },
                sin6_scope_id: to.scope_id(),
            };
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Makes the kernel refuse runs of datagrams at this socket: it segments only what has checksums.
#[cfg(test)]
pub(super) fn refuse_segmentation(socket: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, which lives until the call returns.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(done, 0);
}

impl std::fmt::Debug for Receiving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiving")
            .field("received", &self.received.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    fn pair(at: &str) -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind((at, 0)).unwrap();
        let (from, to) = (bind(), bind());
        to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (from, to)
    }

    fn received(to: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut receiving = Receiving::new(4);
        let mut all = Vec::new();
        while all.len() < count {
            receiving.receive(to.as_fd(), true).unwrap();
            let datagrams = receiving.datagrams();
            all.extend(datagrams.map(|(from, bytes)| (from, bytes.to_vec())));
        }
        all
    }

    #[test]
    fn datagrams_arrive_whole_and_in_order_over_ipv4_and_ipv6() {
        for at in ["127.0.0.1", "::1"] {
            let (from, to) = pair(at);
            let buffer: Vec<u8> = (0..100).collect();
            let local = from.local_addr().unwrap();
            let destination = to.local_addr().unwrap();
            // Two parts, one part, and the longest message but one.
            let parts = [0..10, 50..60, 20..21];
            let message = |parts, segment| Message {
                to: destination,
                parts,
                segment,
                datagrams: 1,
            };
            let messages = [message(0..2, 0), message(2..3, 0)];
            let mut sending = Sending::default();
            let sent = sending.send(from.as_fd(), &buffer, &messages, &parts);
            assert_eq!(sent.unwrap(), 2);
            let joined: Vec<u8> = (0..10).chain(50..60).collect();
            let expected = [(local, joined), (local, vec![20])];
            assert_eq!(received(&to, 2), expected);
        }
    }

    #[test]
    fn a_segmented_message_arrives_as_its_datagrams() {
        let (from, to) = pair("127.0.0.1");
        let buffer: Vec<u8> = (0..250).collect();
        let message = Message {
            to: to.local_addr().unwrap(),
            parts: 0..1,
            segment: 100,
            datagrams: 3,
        };
        let mut sending = Sending::default();
        let part = std::slice::from_ref(&(0..250));
        sending
            .send(from.as_fd(), &buffer, &[message], part)
            .unwrap();
        let lengths: Vec<_> = received(&to, 3).iter().map(|(_, b)| b.len()).collect();
        assert_eq!(lengths, [100, 100, 50]);
    }

    #[test]
    fn a_run_put_together_by_the_kernel_is_taken_apart_again() {
        let (from, to) = pair("127.0.0.1");
        nix::sys::socket::setsockopt(&to, nix::sys::socket::sockopt::UdpGroSegment, &true).unwrap();
        let buffer: Vec<u8> = (0..250).collect();
        let message = Message {
            to: to.local_addr().unwrap(),
            parts: 0..1,
            segment: 100,
            datagrams: 3,
        };
        let part = std::slice::from_ref(&(0..250));
        let mut sending = Sending::default();
        sending
            .send(from.as_fd(), &buffer, &[message], part)
            .unwrap();
        let mut receiving = Receiving::new(1);
        receiving.receive(to.as_fd(), true).unwrap();
        let got: Vec<_> = receiving.datagrams().map(|(_, b)| b.to_vec()).collect();
        assert_eq!(got, [&buffer[..100], &buffer[100..200], &buffer[200..]]);
    }

    #[test]
    fn an_empty_datagram_is_a_datagram() {
        let (from, to) = pair("127.0.0.1");
        from.send_to(&[], to.local_addr().unwrap()).unwrap();
        let local = from.local_addr().unwrap();
        assert_eq!(received(&to, 1), [(local, vec![])]);
    }

    #[test]
    fn nothing_there_is_told_and_not_waited_for() {
        let (_, to) = pair("127.0.0.1");
        let mut receiving = Receiving::new(4);
        let error = receiving.receive(to.as_fd(), false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(receiving.datagrams().count(), 0);
    }
}
