//! The system calls that no safe wrapper offers: packet sockets and their receive ring
//! (packet(7)), and a poll(2) whose descriptors are kept between calls.
//!
//! This is the crate's one module with unsafe code. Crates with safe wrappers do not fit: those of
//! `nix` know neither the ring nor its options.
#![allow(unsafe_code)]

mod packet;
mod poll;
mod ring;

pub(super) use packet::{
    VNET_HEADER_LEN, VlanTag, bind, dropped, interface_index, interface_is_up, interface_mtu,
    receive, set_packet_option, set_promiscuous, socket,
};
pub(crate) use poll::PollSet;
pub(super) use ring::Ring;

use std::ffi::c_int;
use std::io;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
