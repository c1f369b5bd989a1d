//! Packet sockets (packet(7)).

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// The length of `struct virtio_net_hdr` (VIRTIO 1.2 §5.1.6, legacy form), which PACKET_VNET_HDR
/// puts in front of each frame.
pub(in crate::ports) const VNET_HEADER_LEN: usize = 10;

/// The VLAN tag that the kernel took out of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ports) struct VlanTag {
    pub(in crate::ports) tpid: u16,
    pub(in crate::ports) tci: u16,
}

impl VlanTag {
    /// The tag that the fields of a `tpacket2_hdr` or a `tpacket_auxdata` tell of.
    pub(super) fn from_status(status: u32, tpid: u16, tci: u16) -> Option<Self> {
        let tpid = match status & libc::TP_STATUS_VLAN_TPID_VALID {
            0 => libc::ETH_P_8021Q as u16,
            _ => tpid,
        };
        (status & libc::TP_STATUS_VLAN_VALID != 0).then_some(VlanTag { tpid, tci })
    }
}

/// One received frame, its bytes being in the buffer.
#[derive(Debug, Clone, Copy)]
pub(in crate::ports) struct Received {
    /// Bytes of frame in the buffer.
    pub(in crate::ports) len: usize,
    /// The frame was longer than the buffer.
    pub(in crate::ports) truncated: bool,
    pub(in crate::ports) vlan: Option<VlanTag>,
}

/// A non-blocking raw packet socket that receives nothing until it is bound.
pub(in crate::ports) fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes three integers and touches no memory of ours.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    check(fd)?;
    // SAFETY: `fd` was just returned by the system as a new descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an integer option of level SOL_PACKET.
pub(in crate::ports) fn set_packet_option(
    fd: BorrowedFd<'_>,
    option: c_int,
    value: c_int,
) -> io::Result<()> {
    set_option(fd, option, &value)
}

/// Makes the interface promiscuous for as long as the socket is open.
pub(in crate::ports) fn set_promiscuous(
    fd: BorrowedFd<'_>,
    interface_index: c_int,
) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: interface_index,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(fd, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// Sets an option of level SOL_PACKET to a plain C value.
pub(in crate::ports) fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    option: c_int,
    value: &T,
) -> io::Result<()> {
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

/// How many frames the socket has dropped for want of room since it was last asked.
pub(in crate::ports) fn dropped(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut statistics = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: both pointers are to live locals; the system writes at most `len` bytes, the size of
    // `statistics`, into it.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            std::ptr::from_mut(&mut statistics).cast(),
            &mut len,
        )
    })?;
    Ok(statistics.tp_drops)
}

/// Asks the network namespace of the socket about an interface.
fn ask(fd: BorrowedFd<'_>, request: libc::c_ulong, name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is a C struct of integers, characters and pointers, for which all zeros is a
    // value.
    let mut question: libc::ifreq = unsafe { zeroed() };
    // The last character stays zero: it ends the name.
    let room = question.ifr_name.len() - 1;
    if name.is_empty() || name.len() > room {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in question.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the requests used here read the name of the `ifreq` they are given and write its
    // union; it is a local that lives across the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, &mut question) })?;
    Ok(question)
}

/// The index of an interface in the socket's network namespace, whichever the thread is in.
pub(in crate::ports) fn interface_index(fd: BorrowedFd<'_>, name: &str) -> io::Result<c_int> {
    let answer = ask(fd, libc::SIOCGIFINDEX as _, name)?;
    // SAFETY: SIOCGIFINDEX succeeded, so this is the member it wrote.
    Ok(unsafe { answer.ifr_ifru.ifru_ifindex })
}

/// Whether an interface was set up by its administrator (IFF_UP).
pub(in crate::ports) fn interface_is_up(fd: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    let answer = ask(fd, libc::SIOCGIFFLAGS as _, name)?;
    // SAFETY: SIOCGIFFLAGS succeeded, so this is the member it wrote.
    let flags = unsafe { answer.ifr_ifru.ifru_flags };
    Ok(c_int::from(flags) & libc::IFF_UP != 0)
}

/// The longest IP packet an interface carries now.
pub(in crate::ports) fn interface_mtu(fd: BorrowedFd<'_>, name: &str) -> io::Result<usize> {
    let answer = ask(fd, libc::SIOCGIFMTU as _, name)?;
    // SAFETY: SIOCGIFMTU succeeded, so this is the member it wrote.
    let mtu = unsafe { answer.ifr_ifru.ifru_mtu };
    Ok(usize::try_from(mtu).unwrap_or(0))
}

/// Binds the socket to one interface and, when it is to `receive`, all protocols; gives the
/// interface's hardware type (ARPHRD_*).
pub(in crate::ports) fn bind(
    fd: BorrowedFd<'_>,
    interface_index: c_int,
    receive: bool,
) -> io::Result<u16> {
    // SAFETY: `sockaddr_ll` is a C struct of integers, for which all zeros is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    if receive {
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    }
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
pub(in crate::ports) fn receive(
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
    // SAFETY: `msghdr` is a C struct of integers and pointers, for which all zeros is a value.
    let mut message: libc::msghdr = unsafe { zeroed() };
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
                return VlanTag::from_status(data.tp_status, data.tp_vlan_tpid, data.tp_vlan_tci);
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}
