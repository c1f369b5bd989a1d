//! The system calls of packet sockets (packet(7)) that no safe wrapper offers.
//!
//! This is the crate's one module with unsafe code.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::VNET_HEADER_LEN;

/// The VLAN tag that the kernel took out of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VlanTag {
    pub(super) tpid: u16,
    pub(super) tci: u16,
}

/// One received frame, its bytes being in the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// Bytes of frame in the buffer.
    pub(super) len: usize,
    /// The frame was longer than the buffer.
    pub(super) truncated: bool,
    /// The frame is one that this machine sends through the interface.
    pub(super) outgoing: bool,
    pub(super) vlan: Option<VlanTag>,
}

/// A non-blocking raw packet socket that receives nothing until it is bound.
pub(super) fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes three integers and touches no memory of ours.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    check(fd)?;
    // SAFETY: `fd` was just returned by the system as a new descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an integer option of level SOL_PACKET.
pub(super) fn set_packet_option(fd: BorrowedFd<'_>, option: c_int, value: c_int) -> io::Result<()> {
    set_option(fd, option, &value)
}

/// Makes the interface promiscuous for as long as the socket is open.
pub(super) fn set_promiscuous(fd: BorrowedFd<'_>, interface_index: c_int) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: interface_index,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(fd, libc::PACKET_ADD_MEMBERSHIP, &request)
}

fn set_option<T: Copy>(fd: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, a plain C value that lives across the
    // call; setsockopt(2) only reads it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

/// Binds the socket to one interface and all protocols; gives the interface's hardware type
/// (ARPHRD_*).
pub(super) fn bind(fd: BorrowedFd<'_>, interface_index: c_int) -> io::Result<u16> {
    // SAFETY: `sockaddr_ll` is a C struct of integers, for which all zeros is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface_index;
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `address`, which lives across the call and is
    // only read.
    check(unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) })?;
    let mut len = len;
    // SAFETY: both pointers are to live locals; the system writes at most `len` bytes, the size of
    // `address`, into it.
    check(unsafe {
        libc::getsockname(
            fd.as_raw_fd(),
            std::ptr::from_mut(&mut address).cast(),
            &mut len,
        )
    })?;
    Ok(address.sll_hatype)
}

/// Room for one control message with `tpacket_auxdata`, aligned as control messages must be.
#[repr(C, align(8))]
struct ControlBuffer([u8; 64]);

/// Receives one frame: the virtio header that PACKET_VNET_HDR puts in front into `vnet`, the frame
/// itself into `frame`.
pub(super) fn receive(
    fd: BorrowedFd<'_>,
    vnet: &mut [u8; VNET_HEADER_LEN],
    frame: &mut [u8],
) -> io::Result<Received> {
    let mut parts = [
        libc::iovec {
            iov_base: vnet.as_mut_ptr().cast(),
            iov_len: vnet.len(),
        },
        libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        },
    ];
    let mut control = ControlBuffer([0; 64]);
    // SAFETY: `sockaddr_ll` and `msghdr` are C structs of integers and pointers, for which all
    // zeros is a value.
    let (mut address, mut message): (libc::sockaddr_ll, libc::msghdr) =
        unsafe { (zeroed(), zeroed()) };
    message.msg_name = std::ptr::from_mut(&mut address).cast();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len();
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: every pointer in `message` is to a local or an argument that lives across the call
    // and is borrowed mutably for it, each with its true length; the system writes no further.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_TRUNC) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    // With MSG_TRUNC the length is that of the whole frame, even if less was stored.
    let len = len.saturating_sub(vnet.len());
    Ok(Received {
        len: len.min(frame.len()),
        truncated: len > frame.len(),
        outgoing: address.sll_pkttype == libc::PACKET_OUTGOING,
        vlan: vlan_of(&message),
    })
}

/// Finds the VLAN tag among the control messages of a successful recvmsg(2).
fn vlan_of(message: &libc::msghdr) -> Option<VlanTag> {
    // SAFETY: `message` was filled by recvmsg(2), so that `msg_control` and `msg_controllen`
    // describe a live buffer of well-formed control messages, which CMSG_FIRSTHDR and CMSG_NXTHDR
    // walk without leaving it; each header pointer is dereferenced only when not null. The data of
    // a PACKET_AUXDATA message is a `tpacket_auxdata`; `cmsg_len` is checked to hold one, and
    // `read_unaligned` needs no alignment.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let wanted = libc::CMSG_LEN(size_of::<libc::tpacket_auxdata>() as u32) as usize;
            if (*header).cmsg_level == libc::SOL_PACKET
                && (*header).cmsg_type == libc::PACKET_AUXDATA
                && (*header).cmsg_len >= wanted
            {
                let data = libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>();
                let data = data.read_unaligned();
                let tpid = match data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
                    0 => libc::ETH_P_8021Q as u16,
                    _ => data.tp_vlan_tpid,
                };
                return (data.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(VlanTag {
                    tpid,
                    tci: data.tp_vlan_tci,
                });
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
