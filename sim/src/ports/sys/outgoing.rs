//! Sending many frames or datagrams with one system call.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddrV4;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Messages that are collected before they are sent.
const MESSAGES: usize = 128;
/// Bytes that are collected, though one message may be longer.
const BYTES: usize = 1 << 18;
/// Datagrams that the kernel cuts from one message (UDP_MAX_SEGMENTS was 64 for long).
const SEGMENTS: usize = 64;
/// The longest UDP message, as cut or not.
const LONGEST: usize = 65_507;

/// One message that waits.
#[derive(Debug, Clone)]
pub(in crate::ports) struct Message {
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
    pub(in crate::ports) fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.segment.max(1)).max(1)
    }

    /// The sum of the weights given to [`Outgoing::push`].
    pub(in crate::ports) fn weight(&self) -> usize {
        self.weight
    }

    pub(in crate::ports) fn is_segmented(&self) -> bool {
        self.count() > 1
    }
}

/// Room for the control message that says the length of segments, aligned as those must be.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
struct Control([u8; 32]);

/// Collects messages and sends them; its memory is used again and again.
pub(in crate::ports) struct Outgoing {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    // The pointers in these mean something only during the call that wrote them.
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_in]>,
    controls: Box<[Control]>,
}

// SAFETY: the raw pointers inside are written and followed within one call with `&mut self`, so the
// thread that holds them between calls does not matter.
unsafe impl Send for Outgoing {}

impl Default for Outgoing {
    fn default() -> Self {
        // SAFETY: these are C structs of integers and pointers, for which all zeros is a value.
        let (header, part, name): (libc::mmsghdr, libc::iovec, libc::sockaddr_in) =
            unsafe { (zeroed(), zeroed(), zeroed()) };
        Outgoing {
            bytes: Vec::with_capacity(BYTES),
            messages: Vec::with_capacity(MESSAGES),
            headers: vec![header; MESSAGES].into(),
            parts: vec![part; MESSAGES].into(),
            names: vec![name; MESSAGES].into(),
            controls: vec![Control([0; 32]); MESSAGES].into(),
        }
    }
}

impl Outgoing {
    /// Whether what waits should be sent before `len` bytes more are pushed.
    pub(in crate::ports) fn is_full_for(&self, len: usize) -> bool {
        self.messages.len() == MESSAGES
            || (self.bytes.len() + len > BYTES && !self.messages.is_empty())
    }

    /// Adds a message of these parts, for which the bytes to count are `weight`. With `join`, a
    /// datagram that goes where the one before it went becomes its continuation if it may.
    pub(in crate::ports) fn push(
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
            && last.bytes.len() / last.segment < SEGMENTS
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
    pub(in crate::ports) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Forgets everything.
    pub(in crate::ports) fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }

    /// Replaces message `at` by its datagrams, each a message of its own.
    pub(in crate::ports) fn split(&mut self, at: usize) {
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
    pub(in crate::ports) fn send(&mut self, fd: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        let slots = self
            .headers
            .iter_mut()
            .zip(self.parts.iter_mut())
            .zip(self.names.iter_mut())
            .zip(self.controls.iter_mut());
        let mut count = 0;
        for ((((header, part), name), control), message) in
            slots.zip(self.messages.get(from..).unwrap_or_default())
        {
            let bytes = &self.bytes[message.bytes.clone()];
            // sendmmsg takes the same struct as recvmmsg and only reads.
            part.iov_base = bytes.as_ptr().cast_mut().cast();
            part.iov_len = bytes.len();
            let header = &mut header.msg_hdr;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            (header.msg_name, header.msg_namelen) = match message.to {
                None => (ptr::null_mut(), 0),
                Some(to) => {
                    name.sin_family = libc::AF_INET as libc::sa_family_t;
                    name.sin_port = to.port().to_be();
                    name.sin_addr.s_addr = u32::from(*to.ip()).to_be();
                    let len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                    (ptr::from_mut(name).cast(), len)
                }
            };
            if message.is_segmented() {
                set_segment(header, control, message.segment as u16);
            } else {
                header.msg_control = ptr::null_mut();
                header.msg_controllen = 0;
            }
            count += 1;
        }
        // SAFETY: the first `count` headers were set just above to parts, names and controls in
        // slots of their own and to bytes, all owned by `self`, which is borrowed until the end of
        // this function. The kernel reads them during the call only.
        let sent = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        super::check(sent).map(|sent| sent as usize)
    }
}

/// Adds the control message that says how the kernel is to cut the message into datagrams.
fn set_segment(header: &mut libc::msghdr, control: &mut Control, segment: u16) {
    const SIZE: libc::c_uint = size_of::<u16>() as libc::c_uint;
    header.msg_control = ptr::from_mut(control).cast();
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute: 24 and 18 bytes, less than a `Control` has. With
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

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("messages", &self.messages.len())
            .finish_non_exhaustive()
    }
}
