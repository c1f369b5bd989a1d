//! Ethernet II, IPv4 and UDP as far as a port or an in-memory host needs them: building the frame
//! of one datagram and taking one apart, with the checksums of RFC 791 and RFC 768.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

/// Length in bytes of an Ethernet II header without a VLAN tag.
pub const ETHERNET_LEN: usize = 14;
/// Length in bytes of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Length in bytes of a UDP header.
pub const UDP_LEN: usize = 8;
/// Bytes in front of a UDP payload in the frames built here.
pub const HEADERS_LEN: usize = ETHERNET_LEN + IPV4_LEN + UDP_LEN;
/// The longest payload of a UDP datagram over IPv4.
pub const MAX_PAYLOAD: usize = 65_535 - IPV4_LEN - UDP_LEN;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_UDP: u8 = 17;

/// A 48-bit MAC address, written `02:00:54:53:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The broadcast address.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Whether the address names a group of stations (broadcast included) and not one.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address: write six bytes in hexadecimal, like 02:00:54:53:00:01")]
pub struct MacAddrError(String);

impl FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || MacAddrError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|p| (1..=2).contains(&p.len()))
                .ok_or_else(wrong)?;
            if !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(MacAddr(bytes))
    }
}

/// Where a datagram comes from and goes to, on layers 2 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Source MAC address.
    pub src_mac: MacAddr,
    /// Destination MAC address.
    pub dst_mac: MacAddr,
    /// Source IPv4 address and UDP port.
    pub src: SocketAddrV4,
    /// Destination IPv4 address and UDP port.
    pub dst: SocketAddrV4,
}

/// How the checksum field of a new UDP header is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpChecksum {
    /// Zero: the sender computed none (RFC 768; legal over IPv4).
    None,
    /// Computed over pseudo header, header and payload.
    Computed,
}

/// Writes the [`HEADERS_LEN`] bytes of headers in front of a payload that already stands at
/// `frame[HEADERS_LEN..]`. `frame` is the whole frame; its length says how long the payload is and
/// must be between [`HEADERS_LEN`] and [`HEADERS_LEN`] + [`MAX_PAYLOAD`].
pub fn write_headers(frame: &mut [u8], addresses: &Addresses, checksum: UdpChecksum) {
    debug_assert!((HEADERS_LEN..=HEADERS_LEN + MAX_PAYLOAD).contains(&frame.len()));
    let ip_len = (frame.len() - ETHERNET_LEN) as u16;
    let udp_len = ip_len - IPV4_LEN as u16;
    frame[0..6].copy_from_slice(&addresses.dst_mac.0);
    frame[6..12].copy_from_slice(&addresses.src_mac.0);
    frame[12..14].copy_from_slice(&ETHERTYPE_IPV4);

    let ip = &mut frame[ETHERNET_LEN..HEADERS_LEN - UDP_LEN];
    ip[0] = 0x45;
    ip[1] = 0;
    ip[2..4].copy_from_slice(&ip_len.to_be_bytes());
    // RFC 6864: an atomic datagram (DF set, never fragmented) needs no identification.
    ip[4..6].copy_from_slice(&[0, 0]);
    ip[6..8].copy_from_slice(&[0x40, 0]);
    ip[8] = 64;
    ip[9] = PROTOCOL_UDP;
    ip[10..12].copy_from_slice(&[0, 0]);
    ip[12..16].copy_from_slice(&addresses.src.ip().octets());
    ip[16..20].copy_from_slice(&addresses.dst.ip().octets());
    let ip_checksum = !fold(sum(ip));
    ip[10..12].copy_from_slice(&ip_checksum.to_be_bytes());

    let udp = &mut frame[ETHERNET_LEN + IPV4_LEN..];
    udp[0..2].copy_from_slice(&addresses.src.port().to_be_bytes());
    udp[2..4].copy_from_slice(&addresses.dst.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    udp[6..8].copy_from_slice(&[0, 0]);
    if checksum == UdpChecksum::Computed {
        let total = pseudo_header_sum(*addresses.src.ip(), *addresses.dst.ip(), udp_len) + sum(udp);
        let value = match !fold(total) {
            // RFC 768: a computed zero is sent as all ones, for zero says "none".
            0 => 0xffff,
            value => value,
        };
        udp[6..8].copy_from_slice(&value.to_be_bytes());
    }
}

/// Builds the whole frame of one datagram into `frame`, replacing what it held.
///
/// # Panics
/// Never: a payload longer than [`MAX_PAYLOAD`] is refused with `false` and `frame` is left empty.
#[must_use = "false means that the payload does not fit an IPv4 datagram"]
pub fn build(
    frame: &mut Vec<u8>,
    addresses: &Addresses,
    payload: &[u8],
    checksum: UdpChecksum,
) -> bool {
    frame.clear();
    if payload.len() > MAX_PAYLOAD {
        return false;
    }
    frame.resize(HEADERS_LEN, 0);
    frame.extend_from_slice(payload);
    write_headers(frame, addresses, checksum);
    true
}

/// One datagram taken out of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Layers 2 to 4.
    pub addresses: Addresses,
    /// The UDP payload, without Ethernet padding.
    pub payload: &'a [u8],
}

/// Why a frame is not one valid UDP datagram over IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotADatagram {
    /// Another EtherType or IP protocol (ARP, IPv6, TCP…), a VLAN tag, or a fragment.
    #[error("not an unfragmented UDP datagram over IPv4")]
    OtherProtocol,
    /// A length field contradicts another or the frame's own length.
    #[error("a length field contradicts the frame's length")]
    BadLength,
    /// The IPv4 header checksum or the UDP checksum is wrong.
    #[error("wrong checksum")]
    BadChecksum,
}

/// Takes the datagram out of an Ethernet II / IPv4 / UDP frame. IPv4 options are skipped; both
/// checksums are verified (a zero UDP checksum means that there is none).
pub fn parse(frame: &[u8]) -> Result<Datagram<'_>, NotADatagram> {
    use NotADatagram::{BadChecksum, BadLength, OtherProtocol};
    let (ethernet, ip) = frame
        .split_first_chunk::<ETHERNET_LEN>()
        .ok_or(OtherProtocol)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *ethernet;
    if [t0, t1] != ETHERTYPE_IPV4 {
        return Err(OtherProtocol);
    }
    let fixed = ip.first_chunk::<IPV4_LEN>().ok_or(BadLength)?;
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if fixed[0] >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len {
        return Err(BadLength);
    }
    // Bytes behind the datagram are Ethernet's padding to 60 bytes.
    let ip = ip.get(..total_len).ok_or(BadLength)?;
    let more_fragments_or_offset = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff;
    if fixed[9] != PROTOCOL_UDP || more_fragments_or_offset != 0 {
        return Err(OtherProtocol);
    }
    if fold(sum(&ip[..header_len])) != 0xffff {
        return Err(BadChecksum);
    }
    let src_ip = Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]);
    let dst_ip = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]);

    let udp = &ip[header_len..];
    let header = udp.first_chunk::<UDP_LEN>().ok_or(BadLength)?;
    let udp_len = u16::from_be_bytes([header[4], header[5]]);
    if usize::from(udp_len) < UDP_LEN {
        return Err(BadLength);
    }
    let udp = udp.get(..usize::from(udp_len)).ok_or(BadLength)?;
    if [header[6], header[7]] != [0, 0]
        && fold(pseudo_header_sum(src_ip, dst_ip, udp_len) + sum(udp)) != 0xffff
    {
        return Err(BadChecksum);
    }
    let addresses = Addresses {
        src_mac: MacAddr([s0, s1, s2, s3, s4, s5]),
        dst_mac: MacAddr([d0, d1, d2, d3, d4, d5]),
        src: SocketAddrV4::new(src_ip, u16::from_be_bytes([header[0], header[1]])),
        dst: SocketAddrV4::new(dst_ip, u16::from_be_bytes([header[2], header[3]])),
    };
    Ok(Datagram {
        addresses,
        payload: &udp[UDP_LEN..],
    })
}

/// The sum of 16-bit words of RFC 1071, not yet folded; an odd last byte is padded with zero.
/// The sum of at most 2^48 words cannot overflow.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let even: u64 = words
        .by_ref()
        .map(|w| u64::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    even + words
        .remainder()
        .first()
        .map_or(0, |&last| u64::from(last) << 8)
}

/// Folds the carries of a [`sum`] back in; the checksum is the complement of the result.
pub(crate) fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The [`sum`] of the IPv4 pseudo header of UDP (RFC 768).
fn pseudo_header_sum(src: Ipv4Addr, dst: Ipv4Addr, udp_len: u16) -> u64 {
    sum(&src.octets()) + sum(&dst.octets()) + u64::from(PROTOCOL_UDP) + u64::from(udp_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            src_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            dst_mac: MacAddr([2, 0, 0, 0, 0, 2]),
            src: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 4000),
            dst: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 1884),
        }
    }

    fn built(payload: &[u8], checksum: UdpChecksum) -> Vec<u8> {
        let mut frame = Vec::new();
        assert!(build(&mut frame, &addresses(), payload, checksum));
        frame
    }

    #[test]
    fn a_built_frame_parses_back_to_its_datagram() {
        for checksum in [UdpChecksum::None, UdpChecksum::Computed] {
            for payload in [&b""[..], b"odd", b"even"] {
                let frame = built(payload, checksum);
                assert_eq!(
                    parse(&frame),
                    Ok(Datagram {
                        addresses: addresses(),
                        payload
                    })
                );
            }
        }
    }

    #[test]
    fn checksums_are_those_of_a_known_frame() {
        // Worked out by hand: IPv4 words of `addresses()` with total length 0x1e.
        let frame = built(b"hi", UdpChecksum::Computed);
        assert_eq!(frame[24..26], [0x26, 0xcd]);
        // Pseudo header 0a00+0001+0a00+0002+0011+000a, UDP 0fa0+075c+000a, payload 6869.
        assert_eq!(frame[40..42], [0x6c, 0x72]);
    }

    #[test]
    fn any_corrupted_byte_behind_ethernet_is_noticed() {
        let frame = built(b"payload", UdpChecksum::Computed);
        for at in ETHERNET_LEN..frame.len() {
            let mut bad = frame.clone();
            bad[at] ^= 0x04;
            assert!(parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_zero_udp_checksum_is_not_verified() {
        let mut frame = built(b"payload", UdpChecksum::None);
        frame[HEADERS_LEN] ^= 0xff;
        assert!(parse(&frame).is_ok());
    }

    #[test]
    fn a_checksum_that_computes_to_zero_is_sent_as_all_ones() {
        let mut frame = built(&[0, 0], UdpChecksum::Computed);
        let sum_without = [frame[40], frame[41]];
        frame = built(&sum_without, UdpChecksum::Computed);
        assert_eq!(frame[40..42], [0xff, 0xff]);
        assert!(parse(&frame).is_ok());
    }

    #[test]
    fn ethernet_padding_is_not_payload() {
        let mut frame = built(b"x", UdpChecksum::Computed);
        frame.resize(60, 0);
        assert_eq!(parse(&frame).expect("valid").payload, b"x");
    }

    #[test]
    fn fragments_arp_and_truncated_frames_are_not_datagrams() {
        let good = built(b"payload", UdpChecksum::Computed);
        let mut fragment = good.clone();
        fragment[20] = 0x20;
        assert_eq!(parse(&fragment), Err(NotADatagram::OtherProtocol));
        let mut arp = good.clone();
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(parse(&arp), Err(NotADatagram::OtherProtocol));
        for len in 0..good.len() {
            assert!(parse(&good[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn mac_addresses_are_read_and_written() {
        let mac: MacAddr = "02:00:54:53:00:01".parse().expect("valid");
        assert_eq!(mac, MacAddr([2, 0, 0x54, 0x53, 0, 1]));
        assert_eq!(mac.to_string(), "02:00:54:53:00:01");
        for wrong in [
            "",
            "02:00:54:53:00",
            "02:00:54:53:00:01:02",
            "02:00:54:53:00:zz",
            "+2:0:0:0:0:0",
        ] {
            assert!(wrong.parse::<MacAddr>().is_err(), "{wrong}");
        }
    }
}
