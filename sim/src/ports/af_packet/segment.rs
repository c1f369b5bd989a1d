//! What the kernel leaves to the NIC's hardware on a veth or a local interface: completing
//! checksums, and cutting super-packets (TSO, USO) into packets.

use super::super::frame::{fold, sum};

const FLAG_NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// The virtio header in front of each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct VnetHeader {
    needs_checksum: bool,
    gso_type: u8,
    gso_size: usize,
    checksum_start: usize,
    checksum_offset: usize,
}

/// How the payload of a super-packet is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// The frame is whole and ready.
    None,
    /// The checksum is still to be computed.
    Checksum,
    /// The frame is to be cut with [`Segments`].
    Segment,
    /// A kind of super-packet not known here.
    Unknown,
}

impl VnetHeader {
    /// Reads the header, the first [`VNET_HEADER_LEN`](super::VNET_HEADER_LEN) bytes; its numbers
    /// are in the machine's byte order.
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Self {
        let word = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        VnetHeader {
            needs_checksum: bytes[0] & FLAG_NEEDS_CSUM != 0,
            gso_type: bytes[1] & !GSO_ECN,
            gso_size: word(4),
            checksum_start: word(6),
            checksum_offset: word(8),
        }
    }

    /// What is to be done with the frame behind the header.
    pub(super) fn work(&self) -> Work {
        match self.gso_type {
            GSO_NONE if self.needs_checksum => Work::Checksum,
            GSO_NONE => Work::None,
            GSO_TCPV4 | GSO_TCPV6 | GSO_UDP_L4 if self.gso_size > 0 => Work::Segment,
            _ => Work::Unknown,
        }
    }

    /// Completes the checksum, whose field holds the sum of the pseudo header. `false` when the
    /// header points outside the frame.
    pub(super) fn complete_checksum(&self, frame: &mut [u8]) -> bool {
        let at = self.checksum_start + self.checksum_offset;
        if at + 2 > frame.len() {
            return false;
        }
        let value = match !fold(sum(&frame[self.checksum_start..])) {
            // RFC 768; for TCP both zeros mean the same.
            0 => 0xffff,
            value => value,
        };
        frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        true
    }
}

/// A super-packet being cut into packets.
#[derive(Debug, Default)]
pub(super) struct Segments {
    frame: Vec<u8>,
    header: VnetHeader,
    /// Where IP, the transport header and the payload begin.
    ip: usize,
    transport: usize,
    payload: usize,
    /// Payload bytes already given out.
    done: usize,
    index: u16,
}

impl Segments {
    /// Starts on a super-packet. `false` when its headers are not what the virtio header says.
    pub(super) fn start(&mut self, header: VnetHeader, frame: &[u8]) -> bool {
        let Some((ip, payload)) = layout(&header, frame) else {
            return false;
        };
        self.frame.clear();
        self.frame.extend_from_slice(frame);
        (self.header, self.ip, self.payload) = (header, ip, payload);
        (self.transport, self.done, self.index) = (header.checksum_start, 0, 0);
        true
    }

    /// Whether nothing is left to give out.
    #[inline]
    pub(super) fn is_finished(&self) -> bool {
        self.payload + self.done >= self.frame.len()
    }

    /// Writes the next packet into `room` and gives its length; `None` when finished or when it
    /// does not fit.
    pub(super) fn next_into(&mut self, room: &mut [u8]) -> Option<usize> {
        if self.is_finished() {
            return None;
        }
        let from = self.payload + self.done;
        let to = (from + self.header.gso_size).min(self.frame.len());
        let len = self.payload + (to - from);
        let packet = room.get_mut(..len)?;
        packet[..self.payload].copy_from_slice(&self.frame[..self.payload]);
        packet[self.payload..].copy_from_slice(&self.frame[from..to]);

        let first = self.done == 0;
        let last = to == self.frame.len();
        let pseudo = self.fix_ip(packet);
        self.fix_transport(packet, pseudo, first, last);
        self.done += to - from;
        self.index = self.index.wrapping_add(1);
        Some(len)
    }

    /// Sets lengths and header checksum; gives the sum of the pseudo header.
    fn fix_ip(&self, packet: &mut [u8]) -> u64 {
        let transport_len = (packet.len() - self.transport) as u64;
        let ip_len = packet.len() - self.ip;
        let ip = &mut packet[self.ip..];
        if ip[0] >> 4 == 4 {
            ip[2..4].copy_from_slice(&(ip_len as u16).to_be_bytes());
            let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(self.index);
            ip[4..6].copy_from_slice(&id.to_be_bytes());
            ip[10..12].copy_from_slice(&[0, 0]);
            let checksum = !fold(sum(&ip[..self.transport - self.ip]));
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            sum(&ip[12..20]) + u64::from(ip[9]) + transport_len
        } else {
            ip[4..6].copy_from_slice(&((ip_len - 40) as u16).to_be_bytes());
            let protocol = if self.header.gso_type == GSO_UDP_L4 {
                17
            } else {
                6
            };
            sum(&ip[8..40]) + protocol + transport_len
        }
    }

    fn fix_transport(&self, packet: &mut [u8], pseudo: u64, first: bool, last: bool) {
        let transport = &mut packet[self.transport..];
        if self.header.gso_type == GSO_UDP_L4 {
            let len = transport.len() as u16;
            transport[4..6].copy_from_slice(&len.to_be_bytes());
        } else {
            let seq = [transport[4], transport[5], transport[6], transport[7]];
            let seq = u32::from_be_bytes(seq).wrapping_add(self.done as u32);
            transport[4..8].copy_from_slice(&seq.to_be_bytes());
            if !last {
                transport[13] &= !0b0000_1001; // FIN and PSH belong to the last segment
            }
            if !first {
                transport[13] &= !0b1000_0000; // CWR belongs to the first
            }
        }
        let at = self.header.checksum_offset;
        transport[at..at + 2].copy_from_slice(&[0, 0]);
        let checksum = match !fold(pseudo + sum(transport)) {
            0 => 0xffff,
            value => value,
        };
        transport[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Where the IP header and the payload begin, if the frame is as `header` says.
fn layout(header: &VnetHeader, frame: &[u8]) -> Option<(usize, usize)> {
    let transport = header.checksum_start;
    let mut ip = 14;
    while matches!(frame.get(ip - 2..ip)?, [0x81, 0x00] | [0x88, 0xa8]) {
        ip += 4;
    }
    let fixed = match (frame.get(ip)? >> 4, header.gso_type) {
        (4, GSO_TCPV4 | GSO_UDP_L4) => 20,
        (6, GSO_TCPV6 | GSO_UDP_L4) => 40,
        _ => return None,
    };
    let (transport_len, checksum_offset) = if header.gso_type == GSO_UDP_L4 {
        (8, 6)
    } else {
        (usize::from(frame.get(transport + 12)? >> 4) * 4, 16)
    };
    let payload = transport + transport_len;
    let sane = transport >= ip + fixed
        && transport_len >= checksum_offset + 2
        && header.checksum_offset == checksum_offset
        && payload < frame.len();
    sane.then_some((ip, payload))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::super::super::frame::{self, Addresses, HEADERS_LEN, MacAddr, UdpChecksum};
    use super::*;

    fn udp_frame(payload: &[u8]) -> Vec<u8> {
        let addresses = Addresses {
            src_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            dst_mac: MacAddr([2, 0, 0, 0, 0, 2]),
            src: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 4000),
            dst: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 1884),
        };
        let mut bytes = Vec::new();
        assert!(frame::build(
            &mut bytes,
            &addresses,
            payload,
            UdpChecksum::Computed
        ));
        bytes
    }

    fn header(flags: u8, gso_type: u8, size: u16, start: u16, offset: u16) -> VnetHeader {
        let mut bytes = [0; super::super::VNET_HEADER_LEN];
        (bytes[0], bytes[1]) = (flags, gso_type);
        bytes[4..6].copy_from_slice(&size.to_ne_bytes());
        bytes[6..8].copy_from_slice(&start.to_ne_bytes());
        bytes[8..10].copy_from_slice(&offset.to_ne_bytes());
        VnetHeader::read(&bytes)
    }

    #[test]
    fn a_checksum_left_to_the_nic_is_completed() {
        let good = udp_frame(b"payload");
        let mut partial = good.clone();
        // What the kernel leaves there: the folded sum of the pseudo header.
        let pseudo = fold(sum(&good[26..34]) + 17 + (good.len() - 34) as u64);
        partial[40..42].copy_from_slice(&pseudo.to_be_bytes());
        let header = header(FLAG_NEEDS_CSUM, 0, 0, 34, 6);
        assert_eq!(header.work(), Work::Checksum);
        assert!(header.complete_checksum(&mut partial));
        assert_eq!(partial, good);
    }

    #[test]
    fn offsets_outside_the_frame_are_refused() {
        assert!(!header(FLAG_NEEDS_CSUM, 0, 0, 60, 6).complete_checksum(&mut [0; 66]));
    }

    #[test]
    fn a_udp_super_packet_becomes_valid_datagrams() {
        let payload: Vec<u8> = (0..250).collect();
        let mut segments = Segments::default();
        let header = header(FLAG_NEEDS_CSUM, GSO_UDP_L4, 100, 34, 6);
        assert_eq!(header.work(), Work::Segment);
        assert!(segments.start(header, &udp_frame(&payload)));
        let mut room = [0; 200];
        let mut got = Vec::new();
        while let Some(len) = segments.next_into(&mut room) {
            got.push(
                frame::parse(&room[..len])
                    .expect("checksums are right")
                    .payload
                    .to_vec(),
            );
        }
        assert_eq!(
            got,
            payload.chunks(100).map(<[u8]>::to_vec).collect::<Vec<_>>()
        );
        assert!(segments.is_finished());
    }

    #[test]
    fn a_tcp_super_packet_keeps_sequence_and_flags() {
        // Ethernet and IPv4 from the UDP builder, then a 20-byte TCP header with FIN, PSH, CWR.
        let mut bytes = udp_frame(&[0; 12 + 250]);
        bytes[23] = 6;
        bytes[34..HEADERS_LEN + 12].fill(0);
        bytes[38..42].copy_from_slice(&1000_u32.to_be_bytes());
        bytes[46] = 0x50;
        bytes[47] = 0b1001_1001;
        let mut segments = Segments::default();
        assert!(segments.start(header(FLAG_NEEDS_CSUM, GSO_TCPV4, 100, 34, 16), &bytes));
        let mut room = [0; 400];
        let mut seen = Vec::new();
        while let Some(len) = segments.next_into(&mut room) {
            let packet = &room[..len];
            let pseudo = sum(&packet[26..34]) + 6 + (len - 34) as u64;
            assert_eq!(fold(pseudo + sum(&packet[34..])), 0xffff);
            assert_eq!(fold(sum(&packet[14..34])), 0xffff);
            assert_eq!(
                usize::from(u16::from_be_bytes([packet[16], packet[17]])),
                len - 14
            );
            let seq = u32::from_be_bytes([packet[38], packet[39], packet[40], packet[41]]);
            seen.push((seq, packet[47], len - 54));
        }
        assert_eq!(
            seen,
            [
                (1000, 0b1001_0000, 100),
                (1100, 0b0001_0000, 100),
                (1200, 0b0001_1001, 50)
            ]
        );
    }

    #[test]
    fn a_super_packet_that_contradicts_its_header_is_refused() {
        let mut segments = Segments::default();
        let frame = udp_frame(&[0; 50]);
        assert!(!segments.start(header(1, GSO_TCPV6, 10, 34, 16), &frame));
        assert!(!segments.start(header(1, GSO_UDP_L4, 10, 20, 6), &frame));
        assert!(!segments.start(header(1, GSO_UDP_L4, 10, 34, 6), &frame[..30]));
    }
}
