//! Sending.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::headers::{Control, Headers, set_address};

/// Datagrams in one message: what Linux took from the beginning (`UDP_MAX_SEGMENTS`).
pub const MAX_SEGMENTS: usize = 64;

/// Messages that one sendmmsg takes.
const MESSAGES: usize = 128;

/// Parts that one sendmmsg takes, all messages together (IOV_MAX bounds those of one message).
const PARTS: usize = 1024;

/// What one destination gets by one message of sendmmsg.
#[derive(Clone, Copy, Debug)]
pub struct Message<P> {
    /// Where to; `None` on a socket that is bound to where it sends.
    pub to: Option<SocketAddr>,
    /// The slices that make it up; at most 1024 of them.
    pub parts: P,
    /// Length of all datagrams in it but the last, which may be shorter; 0 for one datagram.
    pub segment: u16,
}

/// Sends in batches.
pub struct Sending {
    headers: Headers,
}

impl Default for Sending {
    fn default() -> Self {
        Sending {
            headers: Headers::new(MESSAGES, PARTS),
        }
    }
}

impl Sending {
    /// Sends as many of the messages as go at once, in their order, and never waits. Returns how many
    /// were sent, at least one.
    ///
    /// # Errors
    /// As sendmmsg(2), for the first message: none was sent.
    pub fn send<'a, P>(
        &mut self,
        socket: BorrowedFd<'_>,
        messages: impl IntoIterator<Item = Message<P>>,
    ) -> io::Result<usize>
    where
        P: IntoIterator<Item = &'a [u8]>,
    {
        let Headers {
            headers,
            parts,
            names,
            controls,
        } = &mut self.headers;
        let mut vectors = &mut parts[..];
        let mut count = 0;
        let slots = headers
            .iter_mut()
            .zip(names.iter_mut())
            .zip(controls.iter_mut());
        'messages: for (((header, name), control), message) in slots.zip(messages) {
            let mut used = 0;
            for bytes in message.parts {
                let Some(vector) = vectors.get_mut(used) else {
                    break 'messages;
                };
                // sendmmsg takes the same struct as recvmmsg and only reads.
                vector.iov_base = bytes.as_ptr().cast_mut().cast();
                vector.iov_len = bytes.len();
                used += 1;
            }
            let (own, rest) = std::mem::take(&mut vectors).split_at_mut(used);
            vectors = rest;
            let header = &mut header.msg_hdr;
            (header.msg_name, header.msg_namelen) = match message.to {
                None => (ptr::null_mut(), 0),
                Some(to) => {
                    let length = set_address(name, to);
                    (ptr::from_mut(name).cast(), length)
                }
            };
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
        // their own in `self`, vectors point to slices that live at least as long as `'a`, so beyond
        // the end of this function. The kernel reads them during the call only.
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

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}
