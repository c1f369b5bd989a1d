//! A port on a network interface, through raw packet sockets (packet(7)).
//!
//! One socket receives into a ring shared with the kernel, where the switch reads the frames; the
//! other sends, many frames a system call (on a veth that is faster than a send ring, whose frames
//! the kernel must copy once more: `docs/benchmarks.md`).
//!
//! The receiving socket asks for the virtio header (PACKET_VNET_HDR): on a veth the kernel leaves
//! checksums and segmentation to hardware that does not exist, so the port does that work and
//! users need no `ethtool -K … tx off`. A VLAN tag that the kernel took out is put back.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::net::if_::if_nameindex;

use super::sys::{self, Ring, VNET_HEADER_LEN, VlanTag};
use super::{DropReason, MAX_FRAME, OpenPortError, Port, PortCounters, PortSender, PortSpec};

mod segment;
mod sender;

use segment::{Segments, VnetHeader, Work};
use sender::AfPacketSender;

/// ARPHRD_ETHER and ARPHRD_LOOPBACK: the interface types whose frames begin with Ethernet.
const ETHERNET_TYPES: [u16; 2] = [1, 772];
const TAG_LEN: usize = 4;
/// Frames that wait in the ring, if they are not longer than the MTU; longer ones wait in the
/// socket's queue.
const SLOTS: usize = 2048;
/// A slot has room for frames of this length even if the MTU is greater: the rest takes the queue.
const LONGEST_IN_RING: usize = 16_000;
/// Bytes that wait in the socket's queues.
const SOCKET_BUFFER: usize = 4 << 20;
/// How often an interface that is down or gone is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The port of a network interface.
#[derive(Debug)]
pub struct AfPacketPort {
    interface: String,
    /// The interface that the sockets are bound to.
    index: i32,
    up: bool,
    ring: Ring,
    socket: OwnedFd,
    sending: Arc<OwnedFd>,
    /// A super-packet of which packets are still to be given.
    segments: Segments,
    segments_vlan: Option<VlanTag>,
    /// A frame outside the ring, with room for a tag in front.
    scratch: Box<[u8]>,
    counters: Arc<PortCounters>,
}

impl AfPacketPort {
    /// Opens raw sockets on `interface`, in the network namespace of the calling thread, and makes
    /// the interface promiscuous.
    ///
    /// # Errors
    /// [`OpenPortError::NoInterface`], [`OpenPortError::NoRawCapability`],
    /// [`OpenPortError::NotEthernet`], [`OpenPortError::System`].
    pub fn open(interface: &str) -> Result<Self, OpenPortError> {
        let failed = |step| {
            move |source: io::Error| OpenPortError::System {
                interface: interface.to_owned(),
                step,
                source,
            }
        };
        let socket = || {
            sys::socket().map_err(|error| match error.kind() {
                ErrorKind::PermissionDenied => OpenPortError::NoRawCapability(interface.to_owned()),
                _ => failed("raw socket")(error),
            })
        };
        let (socket, sending) = (socket()?, socket()?);
        let fd = socket.as_fd();
        let index =
            sys::interface_index(fd, interface).map_err(|_| OpenPortError::NoInterface {
                name: interface.to_owned(),
                existing: existing_interfaces(),
            })?;
        sys::set_packet_option(fd, libc::PACKET_VNET_HDR, 1)
            .map_err(failed("virtio header (PACKET_VNET_HDR)"))?;
        sys::set_packet_option(fd, libc::PACKET_AUXDATA, 1)
            .map_err(failed("VLAN tags (PACKET_AUXDATA)"))?;
        sys::set_packet_option(fd, libc::PACKET_COPY_THRESH, 1)
            .map_err(failed("a queue for long frames (PACKET_COPY_THRESH)"))?;
        sys::set_packet_option(fd, libc::PACKET_IGNORE_OUTGOING, 1).map_err(failed(
            "leaving out what it sends itself (PACKET_IGNORE_OUTGOING, Linux 4.20)",
        ))?;
        let mtu = sys::interface_mtu(fd, interface).map_err(failed("MTU"))?;
        let ring = Ring::new(fd, SLOTS, (mtu + 64).min(LONGEST_IN_RING))
            .map_err(failed("receive ring (PACKET_RX_RING)"))?;
        for socket in [&socket, &sending] {
            let options = socket2::SockRef::from(socket);
            // Smaller buffers only mean earlier loss under bursts.
            let _ = options.set_recv_buffer_size(SOCKET_BUFFER);
            let _ = options.set_send_buffer_size(SOCKET_BUFFER);
        }
        let mut port = AfPacketPort {
            interface: interface.to_owned(),
            index,
            up: true,
            ring,
            socket,
            sending: Arc::new(sending),
            segments: Segments::default(),
            segments_vlan: None,
            scratch: vec![0; TAG_LEN + MAX_FRAME].into(),
            counters: Arc::default(),
        };
        let hardware = port.bind(index).map_err(failed("bind"))?;
        if !ETHERNET_TYPES.contains(&hardware) {
            return Err(OpenPortError::NotEthernet(interface.to_owned()));
        }
        port.look();
        Ok(port)
    }

    /// Binds both sockets to the interface of that index; gives its hardware type.
    fn bind(&mut self, index: i32) -> io::Result<u16> {
        let hardware = sys::bind(self.socket.as_fd(), index, true)?;
        sys::set_promiscuous(self.socket.as_fd(), index)?;
        sys::bind(self.sending.as_fd(), index, false)?;
        self.index = index;
        Ok(hardware)
    }

    /// Finds out how the interface is, and binds to it again when it is another one of that name.
    fn look(&mut self) {
        let fd = self.socket.as_fd();
        // Reading the error clears it; what it was about is asked for below.
        let _ = socket2::SockRef::from(&self.socket).take_error();
        let _ = socket2::SockRef::from(&*self.sending).take_error();
        let trouble = match sys::interface_index(fd, &self.interface) {
            Err(_) => Some("is gone"),
            Ok(index) if index != self.index && self.bind(index).is_err() => {
                Some("cannot be bound to")
            }
            Ok(_) => match sys::interface_is_up(self.socket.as_fd(), &self.interface) {
                Ok(true) => None,
                _ => Some("is down"),
            },
        };
        let interface = &self.interface;
        match trouble {
            Some(trouble) if self.up => {
                self.counters.receive_failed();
                tracing::warn!("interface `{interface}` {trouble}: its port waits for it");
            }
            None if !self.up => tracing::info!("interface `{interface}` is up: its port goes on"),
            _ => {}
        }
        self.up = trouble.is_none();
    }

    /// Shows packets of the super-packet at hand; gives their number.
    fn continue_segments(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let mut shown = 0;
        while shown < budget {
            let Some(len) = self.segments.next_into(&mut self.scratch[TAG_LEN..]) else {
                break;
            };
            let bytes = &mut self.scratch[..TAG_LEN + len];
            show(bytes, TAG_LEN, self.segments_vlan, &self.counters, each);
            shown += 1;
        }
        shown
    }

    /// Takes a frame that was longer than a slot from the socket's queue.
    fn receive_long(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let mut vnet = [0; VNET_HEADER_LEN];
        let room = &mut self.scratch[TAG_LEN..];
        let got = match sys::receive(self.socket.as_fd(), &mut vnet, room) {
            Ok(got) if !got.truncated => got,
            Ok(_) => {
                self.counters.rx_dropped(DropReason::TooLong);
                return 0;
            }
            Err(_) => {
                self.counters.rx_dropped(DropReason::QueueFull);
                return 0;
            }
        };
        let header = VnetHeader::read(&vnet);
        let bytes = &mut self.scratch[..TAG_LEN + got.len];
        let frame = &mut bytes[TAG_LEN..];
        match header.work() {
            Work::Checksum if !header.complete_checksum(frame) => {}
            Work::None | Work::Checksum => {
                show(bytes, TAG_LEN, got.vlan, &self.counters, each);
                return 1;
            }
            Work::Segment if self.segments.start(header, frame) => {
                self.segments_vlan = got.vlan;
                return self.continue_segments(budget, each);
            }
            Work::Segment | Work::Unknown => {}
        }
        self.counters.rx_dropped(DropReason::Offload);
        0
    }

    fn count_lost(&mut self) {
        if let Ok(lost) = sys::dropped(self.socket.as_fd()) {
            self.counters
                .rx_dropped_many(DropReason::QueueFull, lost.into());
        }
    }
}

/// Shows the frame that begins at `start`, at least [`TAG_LEN`], with `vlan` put back.
#[inline]
fn show(
    bytes: &mut [u8],
    start: usize,
    vlan: Option<VlanTag>,
    counters: &PortCounters,
    each: &mut dyn FnMut(&[u8]),
) {
    let start = match vlan {
        None => start,
        Some(tag) => {
            // The tag stands behind the two MAC addresses, which move to the front.
            let to = start - TAG_LEN;
            bytes.copy_within(start..start + 12, to);
            bytes[to + 12..to + 14].copy_from_slice(&tag.tpid.to_be_bytes());
            bytes[to + 14..to + 16].copy_from_slice(&tag.tci.to_be_bytes());
            to
        }
    };
    let frame = &bytes[start..];
    counters.received(frame.len());
    each(frame);
}

impl Port for AfPacketPort {
    fn spec(&self) -> PortSpec {
        PortSpec::AfPacket(self.interface.clone())
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let mut shown = self.continue_segments(budget, each);
        while shown < budget {
            let Some(mut slot) = self.ring.next() else {
                break;
            };
            let lost = slot.frames_were_lost();
            if slot.is_queued() {
                drop(slot);
                shown += self.receive_long(budget - shown, each);
            } else if !slot.is_whole() || slot.len() < 14 {
                // A super-packet for which the socket's queue had no room; or no frame at all.
                drop(slot);
                self.counters.rx_dropped(DropReason::QueueFull);
            } else {
                let vlan = slot.vlan();
                let bytes = slot.bytes();
                let (vnet, frame) = bytes.split_at_mut(VNET_HEADER_LEN);
                let header = VnetHeader::read(vnet);
                let refused = match header.work() {
                    Work::Checksum if !header.complete_checksum(frame) => true,
                    Work::None | Work::Checksum => {
                        show(bytes, VNET_HEADER_LEN, vlan, &self.counters, each);
                        shown += 1;
                        false
                    }
                    Work::Segment => !self.segments.start(header, frame),
                    Work::Unknown => true,
                };
                drop(slot);
                if refused {
                    self.counters.rx_dropped(DropReason::Offload);
                } else if !self.segments.is_finished() {
                    self.segments_vlan = vlan;
                    shown += self.continue_segments(budget - shown, each);
                }
            }
            if lost {
                self.count_lost();
            }
        }
        Ok(shown)
    }

    fn sender(&self) -> Box<dyn PortSender> {
        Box::new(AfPacketSender::new(
            Arc::clone(&self.sending),
            Arc::clone(&self.counters),
        ))
    }

    fn recover(&mut self) -> io::Result<()> {
        self.look();
        self.count_lost();
        Ok(())
    }

    fn is_up(&self) -> bool {
        self.up
    }

    fn wake_after(&self) -> Option<Duration> {
        (!self.up).then_some(LOOK_AGAIN)
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
