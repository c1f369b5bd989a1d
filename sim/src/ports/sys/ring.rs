//! A receive ring shared with the kernel (PACKET_RX_RING, TPACKET_V2).
//!
//! Version 2 and not 3: version 3 hands over blocks of frames, and a block that is not full only
//! when its timer of at least a millisecond has run out; here each frame is seen when it is there.
//! A frame longer than a slot (a super-packet) is also put into the socket's queue
//! (PACKET_COPY_THRESH), from where the reader takes it in its turn.

use std::io;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::packet::{VNET_HEADER_LEN, VlanTag, set_option};

/// A block: what the kernel allocates in one piece.
const BLOCK: usize = 1 << 16;

/// The mapped ring of one socket. The kernel fills slots in their order, and gets them back.
#[derive(Debug)]
pub(in crate::ports) struct Ring {
    memory: NonNull<u8>,
    slot_len: usize,
    slots: usize,
    next: usize,
}

// SAFETY: the mapping belongs to this value alone and is not bound to the thread that made it.
unsafe impl Send for Ring {}

impl Ring {
    /// Gives the socket a ring of about `slots` slots for frames of up to `longest` bytes. To be
    /// called before the socket is bound and after PACKET_VNET_HDR was set.
    ///
    /// # Errors
    /// Those of setsockopt(2) and mmap(2).
    pub(in crate::ports) fn new(
        fd: BorrowedFd<'_>,
        slots: usize,
        longest: usize,
    ) -> io::Result<Self> {
        let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
        set_option(fd, libc::PACKET_VERSION, &version)?;
        // Headers of a slot are less than 128 bytes.
        let slot_len = (longest + 128).next_power_of_two().clamp(2048, BLOCK);
        let blocks = (slots.max(1) * slot_len).div_ceil(BLOCK);
        let slots = blocks * (BLOCK / slot_len);
        let request = libc::tpacket_req {
            tp_block_size: BLOCK as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: slot_len as u32,
            tp_frame_nr: slots as u32,
        };
        set_option(fd, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new shared mapping at an address of the system's choice, of the length that
        // the socket's ring has; it replaces no mapping of ours.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                blocks * BLOCK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Ring {
            memory,
            slot_len,
            slots,
            next: 0,
        })
    }

    /// The next frame, if one is there. Its slot goes back to the kernel when dropped.
    #[inline]
    pub(in crate::ports) fn next(&mut self) -> Option<Slot<'_>> {
        // SAFETY: `next` is below `slots`, so the slot lies inside the mapping.
        let slot = unsafe { self.memory.add(self.next * self.slot_len) };
        // SAFETY: a slot begins with the `tp_status` of its `tpacket2_hdr`, aligned as slots are,
        // which the kernel and we change by whole words only, as an atomic does.
        let status = unsafe { slot.cast::<AtomicU32>().as_ref() };
        let flags = status.load(Ordering::Acquire);
        if flags & libc::TP_STATUS_USER == 0 {
            return None;
        }
        self.next = (self.next + 1) % self.slots;
        // SAFETY: TP_STATUS_USER says that the slot is ours until we give it back, and the load
        // that saw it makes visible what the kernel wrote before. A slot is longer than its
        // header, which is plain integers.
        let header = unsafe { slot.cast::<libc::tpacket2_hdr>().read() };
        // What the kernel says is inside the slot; it is not taken on trust.
        let start =
            usize::from(header.tp_mac).clamp(size_of::<libc::tpacket2_hdr>(), self.slot_len);
        let len = (header.tp_snaplen as usize).min(self.slot_len - start);
        Some(Slot {
            memory: slot,
            flags,
            start,
            len,
            whole: header.tp_snaplen == header.tp_len,
            vlan: VlanTag::from_status(flags, header.tp_vlan_tpid, header.tp_vlan_tci),
            ring: PhantomData,
        })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping of this very length was made in `new`; no slot lives, for each
        // borrows the ring. A failure would leave the mapping, which harms nobody.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.slots * self.slot_len) };
    }
}

/// One received frame in its slot.
#[derive(Debug)]
pub(in crate::ports) struct Slot<'r> {
    memory: NonNull<u8>,
    flags: u32,
    start: usize,
    len: usize,
    whole: bool,
    vlan: Option<VlanTag>,
    ring: PhantomData<&'r mut Ring>,
}

impl Slot<'_> {
    /// The frame was longer than the slot and waits whole in the socket's queue.
    pub(in crate::ports) fn is_queued(&self) -> bool {
        self.flags & libc::TP_STATUS_COPY != 0
    }

    /// The slot holds the whole frame.
    pub(in crate::ports) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Frames were lost since the socket's statistics were read last.
    pub(in crate::ports) fn frames_were_lost(&self) -> bool {
        self.flags & libc::TP_STATUS_LOSING != 0
    }

    /// The VLAN tag that the kernel took out.
    pub(in crate::ports) fn vlan(&self) -> Option<VlanTag> {
        self.vlan
    }

    /// Bytes of the frame in the slot.
    pub(in crate::ports) fn len(&self) -> usize {
        self.len
    }

    /// The virtio header, and the frame behind it: [`VNET_HEADER_LEN`] bytes and
    /// [`len`](Self::len) bytes.
    #[inline]
    pub(in crate::ports) fn bytes(&mut self) -> &mut [u8] {
        // `start` is at least the 32 bytes of the slot's header, so this does not underflow.
        let start = self.start - VNET_HEADER_LEN;
        // SAFETY: the range lies inside the slot (`start` and `len` were bounded by its length),
        // which is ours until this value is dropped; `&mut self` makes it the only borrow. What
        // the kernel puts directly in front of the frame is its virtio header; where there is
        // none, these are bytes of the slot's header, which nobody reads any more.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.memory.as_ptr().add(start),
                VNET_HEADER_LEN + self.len,
            )
        }
    }
}

impl Drop for Slot<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `Ring::next`; the bytes are not borrowed any more, and the release order
        // puts our last access before the kernel's first.
        let status = unsafe { self.memory.cast::<AtomicU32>().as_ref() };
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}
