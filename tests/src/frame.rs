//! UDP datagrams in Ethernet frames, built and read octet by octet.
//!
//! Checksums are computed over everything, one word at a time (RFC 1071), to be independent of
//! both the P4 program's incremental updates (RFC 1624) and sim's own code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::hosts::Host;

/// Octets before the UDP payload: Ethernet, IPv4 without options, UDP.
pub const HEADERS: usize = 14 + 20 + 8;

/// What the UDP checksum field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The right one.
    Right,
    /// Zero: the sender computed none.
    None,
    /// The right one, then these bits flipped.
    Flipped(u16),
}

/// A UDP datagram and the headers around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Ethernet source.
    pub eth_src: [u8; 6],
    /// Ethernet destination.
    pub eth_dst: [u8; 6],
    /// The 802.1Q tag's control information: PCP, DEI, VID.
    pub tag: Option<u16>,
    /// IP and UDP source.
    pub src: SocketAddr,
    /// IP and UDP destination, of the same family.
    pub dst: SocketAddr,
    /// DSCP and ECN.
    pub tos: u8,
    /// IPv4 identification, or IPv6 flow label.
    pub identification: u16,
    /// IPv4 TTL, or IPv6 hop limit.
    pub ttl: u8,
    /// UDP checksum.
    pub checksum: Checksum,
    /// UDP payload.
    pub payload: Vec<u8>,
}

impl Datagram {
    /// A datagram from one host to another, with the right checksum and the tag of the sender's
    /// VLAN.
    pub fn between(from: &Host, to: &Host, payload: impl Into<Vec<u8>>) -> Self {
        Datagram {
            eth_src: from.mac,
            eth_dst: to.mac,
            tag: (from.vid != 0).then_some(from.vid),
            src: from.socket(),
            dst: to.socket(),
            tos: 0,
            identification: 0x1234,
            ttl: 64,
            checksum: Checksum::Right,
            payload: payload.into(),
        }
    }

    /// The frame.
    ///
    /// # Panics
    /// When the payload does not fit an IP packet, or the addresses are of two families.
    pub fn frame(&self) -> Vec<u8> {
        let udp_length = u16::try_from(8 + self.payload.len()).expect("fits");
        let mut udp = Vec::new();
        udp.extend(self.src.port().to_be_bytes());
        udp.extend(self.dst.port().to_be_bytes());
        udp.extend(udp_length.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(&self.payload);
        let right = udp_checksum(self.src.ip(), self.dst.ip(), &udp);
        let checksum = match self.checksum {
            Checksum::Right => right,
            Checksum::None => 0,
            Checksum::Flipped(bits) => right ^ bits,
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());

        let mut frame = Vec::new();
        frame.extend(self.eth_dst);
        frame.extend(self.eth_src);
        if let Some(tag) = self.tag {
            frame.extend([0x81, 0x00]);
            frame.extend(tag.to_be_bytes());
        }
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                frame.extend([0x08, 0x00]);
                frame.extend(self.ipv4(src, dst, udp_length));
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                frame.extend([0x86, 0xdd]);
                frame.extend([0x60 | self.tos >> 4, self.tos << 4]);
                frame.extend(self.identification.to_be_bytes());
                frame.extend(udp_length.to_be_bytes());
                frame.extend([17, self.ttl]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            families => panic!("addresses of two families: {families:?}"),
        }
        frame.extend(udp);
        frame
    }

    fn ipv4(&self, src: Ipv4Addr, dst: Ipv4Addr, udp_length: u16) -> Vec<u8> {
        let total_length = udp_length.checked_add(20).expect("fits");
        let mut ip = vec![0x45, self.tos];
        ip.extend(total_length.to_be_bytes());
        ip.extend(self.identification.to_be_bytes());
        ip.extend([0x40, 0x00, self.ttl, 17, 0, 0]);
        ip.extend(src.octets());
        ip.extend(dst.octets());
        let ip_checksum = internet_checksum(&ip);
        ip[10..12].copy_from_slice(&ip_checksum.to_be_bytes());
        ip
    }

    /// Reads a frame that must be exactly one datagram, nothing behind it.
    ///
    /// # Errors
    /// Which octets are not what they must be: ethertype, IP version and header, a length that
    /// contradicts the frame's, the IPv4 checksum. A wrong UDP checksum is told by the field.
    pub fn read(frame: &[u8]) -> Result<Self, String> {
        let word = |octets: &[u8], at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let (eth, mut ip) = frame.split_at_checked(14).ok_or("no Ethernet header")?;
        let mut ethertype = word(eth, 12);
        let mut tag = None;
        if ethertype == 0x8100 {
            let (vlan, rest) = ip.split_at_checked(4).ok_or("no VLAN tag")?;
            tag = Some(word(vlan, 0));
            ethertype = word(vlan, 2);
            ip = rest;
        }
        let mac = |at: usize| <[u8; 6]>::try_from(&eth[at..at + 6]).expect("6");
        let datagram = match ethertype {
            0x0800 => Self::read_ipv4(ip)?,
            0x86dd => Self::read_ipv6(ip)?,
            other => return Err(format!("ethertype {other:#06x}")),
        };
        Ok(Datagram {
            eth_src: mac(6),
            eth_dst: mac(0),
            tag,
            ..datagram
        })
    }

    fn read_ipv4(ip: &[u8]) -> Result<Self, String> {
        let (header, udp) = ip.split_at_checked(20).ok_or("no IPv4 header")?;
        if header[0] != 0x45 || header[6] & 0xbf != 0 || header[7] != 0 || header[9] != 17 {
            return Err(format!("not plain UDP over IPv4: {header:02x?}"));
        }
        if usize::from(u16::from_be_bytes([header[2], header[3]])) != ip.len() {
            return Err(format!(
                "total length of {} octets: {header:02x?}",
                ip.len()
            ));
        }
        if ones_complement_sum(header) != 0xffff {
            return Err(format!("wrong IPv4 checksum: {header:02x?}"));
        }
        let address =
            |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&header[at..at + 4]).expect("4"));
        let datagram = Self::read_udp(address(12).into(), address(16).into(), udp)?;
        Ok(Datagram {
            tos: header[1],
            identification: u16::from_be_bytes([header[4], header[5]]),
            ttl: header[8],
            ..datagram
        })
    }

    fn read_ipv6(ip: &[u8]) -> Result<Self, String> {
        let (header, udp) = ip.split_at_checked(40).ok_or("no IPv6 header")?;
        if header[0] >> 4 != 6 || header[6] != 17 {
            return Err(format!("not plain UDP over IPv6: {header:02x?}"));
        }
        if usize::from(u16::from_be_bytes([header[4], header[5]])) != udp.len() {
            return Err(format!("payload of {} octets: {header:02x?}", udp.len()));
        }
        let address =
            |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&header[at..at + 16]).expect("16"));
        let datagram = Self::read_udp(address(8).into(), address(24).into(), udp)?;
        if datagram.checksum == Checksum::None {
            return Err("no UDP checksum over IPv6".into());
        }
        Ok(Datagram {
            tos: header[0] << 4 | header[1] >> 4,
            identification: u16::from_be_bytes([header[2], header[3]]),
            ttl: header[7],
            ..datagram
        })
    }

    fn read_udp(src: IpAddr, dst: IpAddr, udp: &[u8]) -> Result<Self, String> {
        let word = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
        if udp.len() < 8 || usize::from(word(4)) != udp.len() {
            return Err(format!("UDP length of {} octets: {udp:02x?}", udp.len()));
        }
        let right = udp_checksum(src, dst, udp);
        let checksum = match word(6) {
            0 => Checksum::None,
            found if found == right => Checksum::Right,
            found => Checksum::Flipped(found ^ right),
        };
        Ok(Datagram {
            eth_src: [0; 6],
            eth_dst: [0; 6],
            tag: None,
            src: SocketAddr::new(src, word(0)),
            dst: SocketAddr::new(dst, word(2)),
            tos: 0,
            identification: 0,
            ttl: 0,
            checksum,
            payload: udp[8..].to_vec(),
        })
    }
}

/// The one's complement sum of 16-bit words; an odd last octet is the high one of its word.
pub fn ones_complement_sum(octets: &[u8]) -> u16 {
    let mut sum = 0u16;
    for pair in octets.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        let (wrapped, carry) = sum.overflowing_add(word);
        sum = wrapped + u16::from(carry);
    }
    sum
}

/// RFC 1071.
fn internet_checksum(octets: &[u8]) -> u16 {
    !ones_complement_sum(octets)
}

/// RFC 768, over pseudo header, header and payload; the checksum field counts as zero. A computed
/// zero is all ones.
pub fn udp_checksum(src: IpAddr, dst: IpAddr, udp: &[u8]) -> u16 {
    let mut covered = Vec::with_capacity(40 + udp.len());
    for address in [src, dst] {
        match address {
            IpAddr::V4(address) => covered.extend(address.octets()),
            IpAddr::V6(address) => covered.extend(address.octets()),
        }
    }
    let length = u16::try_from(udp.len()).expect("UDP has 16 bits for it");
    match src {
        IpAddr::V4(_) => {
            covered.extend([0, 17]);
            covered.extend(length.to_be_bytes());
        }
        // RFC 8200 §8.1.
        IpAddr::V6(_) => {
            covered.extend(u32::from(length).to_be_bytes());
            covered.extend([0, 0, 0, 17]);
        }
    }
    covered.extend(&udp[..6]);
    covered.extend([0, 0]);
    covered.extend(&udp[8..]);
    match internet_checksum(&covered) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::{ALICE, BROKER};

    #[test]
    fn a_datagram_summed_by_hand_has_that_checksum() {
        let mut datagram = Datagram::between(&ALICE, &BROKER, *b"hi");
        datagram.src = "10.0.0.1:4000".parse().expect("address");
        datagram.dst = "10.0.0.2:1884".parse().expect("address");
        let frame = datagram.frame();
        // Pseudo header 0a00+0001+0a00+0002+0011+000a, UDP 0fa0+075c+000a, payload 6869: by hand.
        assert_eq!(frame[40..42], [0x6c, 0x72]);
    }

    #[test]
    fn every_flipped_bit_behind_ethernet_is_noticed() {
        let good = Datagram::between(&ALICE, &BROKER, *b"payload");
        for bit in 14 * 8..good.frame().len() * 8 {
            let mut frame = good.frame();
            frame[bit / 8] ^= 0x80 >> (bit % 8);
            assert_ne!(Datagram::read(&frame), Ok(good.clone()), "bit {bit}");
        }
    }
}
