//! Many datagrams with one system call: recvmmsg(2) and sendmmsg(2) on Linux, with UDP segmentation
//! offload (`UDP_SEGMENT`, `UDP_GRO` of udp(7)) where a run of datagrams goes to one destination.
//!
//! It neither opens sockets nor sets their options, waits for nothing but the first datagram, and
//! retries nothing: that is for whoever knows what the datagrams are.
//!
//! Crates with safe wrappers do not fit: those of `nix` send the same control messages with every
//! datagram of a batch and want vectors of borrowed slices that would have to be allocated for each
//! batch; `quinn-udp` sends one destination per system call.
//!
//! ```
//! use std::net::UdpSocket;
//! use std::os::fd::AsFd;
//! let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
//! let message = mmsg::Message { to: Some(to.local_addr()?), parts: [&b"on"[..], b"e"], segment: 0 };
//! assert_eq!(mmsg::Sending::default().send(from.as_fd(), [message])?, 1);
//! let mut receiving = mmsg::Receiving::new(8);
//! receiving.receive(to.as_fd(), true)?;
//! assert_eq!(receiving.datagrams().next(), Some((from.local_addr()?, &b"one"[..])));
//! # Ok::<(), std::io::Error>(())
//! ```

// The crate is this: nothing else of the workspace's network code is unsafe but sim's packet sockets.
#![allow(unsafe_code)]

mod headers;
mod receiving;
mod sending;

pub use receiving::{HEADROOM, MAX_DATAGRAM, Receiving};
pub use sending::{MAX_SEGMENTS, Message, Sending};
