//! What the system calls take: message headers, addresses and control messages.

use std::mem::size_of;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;

/// An IPv4 or IPv6 address as the kernel takes it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Control messages of one datagram. Aligned as `cmsghdr`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control([u8; 64]);

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
pub(crate) struct Headers {
    pub(crate) headers: Box<[libc::mmsghdr]>,
    pub(crate) parts: Box<[libc::iovec]>,
    pub(crate) names: Box<[Name]>,
    pub(crate) controls: Box<[Control]>,
}

// SAFETY: the raw pointers inside are written and used within one call with `&mut self`; between calls
// nobody follows them, so the thread that holds them does not matter.
unsafe impl Send for Headers {}

impl Headers {
    pub(crate) fn new(messages: usize, parts: usize) -> Self {
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

/// The sender that the kernel wrote.
pub(crate) fn address_of(header: &libc::msghdr, name: &Name) -> Option<SocketAddr> {
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

/// Writes the address; its length.
pub(crate) fn set_address(name: &mut Name, to: SocketAddr) -> libc::socklen_t {
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
