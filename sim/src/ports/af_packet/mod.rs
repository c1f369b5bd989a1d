//! A port on a network interface, through a raw packet socket (packet(7)).
//!
//! The socket asks for the virtio header (PACKET_VNET_HDR): on a veth the kernel leaves checksums
//! and segmentation to hardware that does not exist, so the port does that work and users need no
//! `ethtool -K … tx off`. A VLAN tag that the kernel took out is put back.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::net::if_::{if_nameindex, if_nametoindex};

use super::{Batch, DropReason, MAX_FRAME, OpenPortError, Port, PortCounters, PortSpec};

mod segment;
mod sys;

use segment::{Segments, VNET_HEADER_LEN, VnetHeader, Work};

/// ARPHRD_ETHER and ARPHRD_LOOPBACK: the interface types whose frames begin with Ethernet.
const ETHERNET_TYPES: [u16; 2] = [1, 772];
/// Bytes of a VLAN tag, kept free in front of each received frame.
const TAG_LEN: usize = 4;

/// The port of a network interface.
#[derive(Debug)]
pub struct AfPacketPort {
    interface: String,
    socket: OwnedFd,
    /// A super-packet of which packets are still to be given.
    segments: Segments,
    segments_vlan: Option<sys::VlanTag>,
    counters: Arc<PortCounters>,
}

impl AfPacketPort {
    /// Opens a raw socket on `interface` and makes it promiscuous.
    ///
    /// # Errors
    /// [`OpenPortError::NoInterface`], [`OpenPortError::NoRawCapability`],
    /// [`OpenPortError::NotEthernet`], [`OpenPortError::System`].
    pub fn open(interface: &str) -> Result<Self, OpenPortError> {
        let index = if_nametoindex(interface)
            .ok()
            .and_then(|index| i32::try_from(index).ok())
            .ok_or_else(|| OpenPortError::NoInterface {
                name: interface.to_owned(),
                existing: existing_interfaces(),
            })?;
        let failed = |step| {
            move |source: io::Error| OpenPortError::System {
                interface: interface.to_owned(),
                step,
                source,
            }
        };
        let socket = sys::socket().map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => OpenPortError::NoRawCapability(interface.to_owned()),
            _ => failed("raw socket")(error),
        })?;
        let fd = socket.as_fd();
        sys::set_packet_option(fd, libc::PACKET_VNET_HDR, 1)
            .map_err(failed("virtio header (PACKET_VNET_HDR)"))?;
        sys::set_packet_option(fd, libc::PACKET_AUXDATA, 1)
            .map_err(failed("VLAN tags (PACKET_AUXDATA)"))?;
        // Kernels before 4.20 do not know it; `receive` looks at each frame's type anyway.
        let _ = sys::set_packet_option(fd, libc::PACKET_IGNORE_OUTGOING, 1);
        let hardware = sys::bind(fd, index).map_err(failed("bind"))?;
        if !ETHERNET_TYPES.contains(&hardware) {
            return Err(OpenPortError::NotEthernet(interface.to_owned()));
        }
        sys::set_promiscuous(fd, index).map_err(failed("promiscuous mode"))?;
        let options = socket2::SockRef::from(&socket);
        // Smaller buffers only mean earlier loss under bursts.
        let _ = options.set_recv_buffer_size(4 << 20);
        Ok(AfPacketPort {
            interface: interface.to_owned(),
            socket,
            segments: Segments::default(),
            segments_vlan: None,
            counters: Arc::default(),
        })
    }

    /// Gives out packets of the super-packet at hand while there is room.
    fn continue_segments(&mut self, batch: &mut Batch) {
        while !self.segments.is_finished() {
            let Some(room) = batch.spare() else { return };
            let Some(len) = self.segments.next_into(&mut room[TAG_LEN..]) else {
                return;
            };
            push(batch, len, self.segments_vlan, &self.counters);
        }
    }

    /// Reads one frame into the batch. `false` when none waits.
    fn receive_one(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let Some(room) = batch.spare() else {
            return Ok(false);
        };
        let mut vnet = [0; VNET_HEADER_LEN];
        let got = match sys::receive(self.socket.as_fd(), &mut vnet, &mut room[TAG_LEN..]) {
            Ok(got) => got,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(false),
                ErrorKind::Interrupted => return Ok(true),
                // The interface went down and may come up again.
                ErrorKind::NetworkDown => {
                    self.counters.receive_failed();
                    return Ok(true);
                }
                _ => {
                    self.counters.receive_failed();
                    return Err(error);
                }
            },
        };
        if got.outgoing {
            return Ok(true);
        }
        if got.truncated || got.len < 14 {
            self.counters.rx_dropped(DropReason::TooLong);
            return Ok(true);
        }
        let header = VnetHeader::read(&vnet);
        let frame = &mut room[TAG_LEN..TAG_LEN + got.len];
        match header.work() {
            Work::None => push(batch, got.len, got.vlan, &self.counters),
            Work::Checksum if header.complete_checksum(frame) => {
                push(batch, got.len, got.vlan, &self.counters);
            }
            Work::Segment if self.segments.start(header, frame) => {
                self.segments_vlan = got.vlan;
                self.continue_segments(batch);
            }
            Work::Checksum | Work::Segment | Work::Unknown => {
                self.counters.rx_dropped(DropReason::Offload);
            }
        }
        Ok(true)
    }
}

/// Makes the `len` bytes at [`TAG_LEN`] of the spare buffer a frame, with `vlan` put back.
fn push(batch: &mut Batch, len: usize, vlan: Option<sys::VlanTag>, counters: &PortCounters) {
    let Some(room) = batch.spare() else { return };
    let start = match vlan {
        None => TAG_LEN,
        Some(tag) => {
            // The tag stands behind the two MAC addresses, which move to the front.
            room.copy_within(TAG_LEN..TAG_LEN + 12, 0);
            room[12..14].copy_from_slice(&tag.tpid.to_be_bytes());
            room[14..16].copy_from_slice(&tag.tci.to_be_bytes());
            0
        }
    };
    batch.push_filled(start..TAG_LEN + len);
    counters.received(TAG_LEN + len - start);
}

impl Port for AfPacketPort {
    fn spec(&self) -> PortSpec {
        PortSpec::AfPacket(self.interface.clone())
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.continue_segments(batch);
        while batch.room() > 0 && self.receive_one(batch)? {}
        Ok(())
    }

    fn send(&mut self, head: &[u8], payload: &[u8]) {
        if head.len() + payload.len() > MAX_FRAME {
            self.counters.tx_dropped(DropReason::TooLong);
            return;
        }
        // All zeros: nothing is left to the NIC.
        let vnet = [0; VNET_HEADER_LEN];
        let parts = [
            IoSlice::new(&vnet),
            IoSlice::new(head),
            IoSlice::new(payload),
        ];
        loop {
            match nix::sys::uio::writev(&self.socket, &parts) {
                Ok(_) => return self.counters.sent(head.len() + payload.len()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    return self.counters.tx_dropped(DropReason::QueueFull);
                }
                Err(Errno::EMSGSIZE) => return self.counters.tx_dropped(DropReason::TooLong),
                Err(_) => return self.counters.tx_dropped(DropReason::Refused),
            }
        }
    }

    fn counters(&self) -> Arc<PortCounters> {
        Arc::clone(&self.counters)
    }
}

/// The names of this machine's interfaces, for the error message.
fn existing_interfaces() -> String {
    let names: Vec<String> = if_nameindex()
        .map(|all| {
            all.iter()
                .map(|i| i.name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
