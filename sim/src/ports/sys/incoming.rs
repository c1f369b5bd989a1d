//! Receiving many UDP datagrams with one system call.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Bytes kept free in front of each datagram, for the headers of its frame.
const HEADROOM: usize = 64;
/// The longest datagram.
const LONGEST: usize = 65_507;
/// From one slot to the next: not a multiple of the page size, so that the beginnings do not fall
/// onto the same lines of the CPU's caches.
const STRIDE: usize = HEADROOM + 65_536 + 192;
/// Slots asked for where few datagrams come.
const FEW: usize = 4;
/// Slots.
const SLOTS: usize = 64;

/// Room for control messages, aligned as those must be.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
struct Control([u8; 64]);

/// One datagram, or several of one length but the last that the kernel has put together.
#[derive(Debug, Clone, Copy)]
struct Received {
    from: SocketAddrV4,
    /// What is left of it in the buffer, and the length of its datagrams.
    start: usize,
    end: usize,
    segment: usize,
    shown: bool,
}

/// Receives in batches; its memory is used again and again.
pub(in crate::ports) struct Incoming {
    buffer: Box<[u8]>,
    received: Vec<Received>,
    /// The next of them to show.
    next: usize,
    ask: usize,
    /// The socket's count of datagrams lost for want of room, as last told.
    lost: u32,
    // The pointers in these mean something only during the call that wrote them.
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_in]>,
    controls: Box<[Control]>,
}

// SAFETY: the raw pointers inside are written and followed within one call with `&mut self`, so the
// thread that holds them between calls does not matter.
unsafe impl Send for Incoming {}

impl Default for Incoming {
    fn default() -> Self {
        // SAFETY: these are C structs of integers and pointers, for which all zeros is a value.
        let (header, part, name): (libc::mmsghdr, libc::iovec, libc::sockaddr_in) =
            unsafe { (zeroed(), zeroed(), zeroed()) };
        Incoming {
            // The system gives the memory only when a datagram first fills it.
            buffer: vec![0; SLOTS * STRIDE].into(),
            received: Vec::with_capacity(SLOTS),
            next: 0,
            ask: FEW,
            lost: 0,
            headers: vec![header; SLOTS].into(),
            parts: vec![part; SLOTS].into(),
            names: vec![name; SLOTS].into(),
            controls: vec![Control([0; 64]); SLOTS].into(),
        }
    }
}

impl Incoming {
    /// The next datagram of those received: its sender, and its bytes with `headroom` bytes (at
    /// most 64) in front of it that may be overwritten.
    pub(in crate::ports) fn next(&mut self, headroom: usize) -> Option<(SocketAddrV4, &mut [u8])> {
        loop {
            let one = self.received.get_mut(self.next)?;
            if one.shown && one.start >= one.end {
                self.next += 1;
                continue;
            }
            one.shown = true;
            let start = one.start;
            let end = (start + one.segment).min(one.end);
            one.start = end;
            // In front of a later datagram of a run are earlier ones, which are done with.
            return Some((
                one.from,
                &mut self.buffer[start - headroom.min(HEADROOM)..end],
            ));
        }
    }

    /// Takes what waits at the socket, once everything received before was shown.
    ///
    /// # Errors
    /// As recvmmsg(2); `WouldBlock` when nothing waits.
    pub(in crate::ports) fn receive(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.received.clear();
        self.next = 0;
        let slots = self
            .headers
            .iter_mut()
            .zip(self.parts.iter_mut())
            .zip(self.names.iter_mut())
            .zip(self.controls.iter_mut())
            .zip(self.buffer.chunks_exact_mut(STRIDE));
        for ((((header, part), name), control), buffer) in slots.take(self.ask) {
            part.iov_base = buffer[HEADROOM..].as_mut_ptr().cast();
            part.iov_len = LONGEST;
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = size_of::<Control>();
            header.msg_flags = 0;
        }
        // SAFETY: the first `ask` headers (`ask` is at most their number) were set just above to
        // names, parts, controls and buffers of their own, all owned by `self` and of the lengths
        // given; the kernel writes there during the call only. The timeout may be null.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.ask as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let count = super::check(count)? as usize;
        for (slot, (header, name)) in self.headers.iter().zip(&self.names).take(count).enumerate() {
            let len = (header.msg_len as usize).min(LONGEST);
            let mut segment = len;
            // SAFETY: the kernel has filled this header, so that `msg_control` and `msg_controllen`
            // describe the control messages it wrote into the slot's own `Control`, which still
            // lives; the macros walk them within that length and give null at the end. The values
            // are read unaligned, as CMSG_DATA promises no alignment, and lie within their message,
            // whose type says their size.
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
            let start = slot * STRIDE + HEADROOM;
            self.received.push(Received {
                from: SocketAddrV4::new(
                    Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)),
                    u16::from_be(name.sin_port),
                ),
                start,
                end: start + len,
                segment: segment.max(1),
                shown: false,
            });
        }
        self.ask = (2 * count).clamp(FEW, SLOTS);
        Ok(())
    }

    /// How many datagrams the socket has lost so far for want of room; comes round after 2³².
    pub(in crate::ports) fn lost(&self) -> u32 {
        self.lost
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("received", &self.received.len())
            .finish_non_exhaustive()
    }
}

/// Asks a UDP socket to put runs of datagrams together and to tell how many it has lost. Both are
/// tried; the first failure is told.
pub(in crate::ports) fn ask_for_runs_and_losses(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let options = [
        (libc::SOL_UDP, libc::UDP_GRO),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
    ];
    let set = |(level, option)| {
        // SAFETY: the pointer and the length describe `on`, which lives across the call;
        // setsockopt(2) only reads it.
        super::check(unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                level,
                option,
                ptr::from_ref(&on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        })
    };
    let results = options.map(set);
    results.into_iter().try_for_each(|result| result.map(drop))
}
