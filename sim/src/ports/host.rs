//! A tiny host at the far end of a `mem` port: datagrams in, datagrams out.
//!
//! It answers nothing by itself (no ARP, no ICMP). It learns the MAC addresses of its peers from
//! their datagrams and broadcasts to those it has not heard. It computes and verifies checksums,
//! so that what the data plane did to them on the way is really tested.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use super::frame::{self, Addresses, MacAddr, NotADatagram, UdpChecksum};
use super::{DropReason, LinkError, MemLink, PortCounters};

/// A host with one MAC and one IPv4 address. All methods take `&self`: share it in an
/// [`Arc`] between a task that receives and tasks that send.
#[derive(Debug)]
pub struct Host {
    link: MemLink,
    mac: MacAddr,
    ip: Ipv4Addr,
    gateway: Option<MacAddr>,
    neighbours: RwLock<HashMap<Ipv4Addr, MacAddr>>,
    counters: Arc<PortCounters>,
}

/// A received datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDatagram {
    /// Who sent it.
    pub peer: SocketAddr,
    /// The host's own address and the port it was sent to.
    pub local: SocketAddr,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Why a host could not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The destination is an IPv6 address.
    #[error("{0} is an IPv6 address; in-memory hosts speak IPv4 only")]
    NotIpv4(SocketAddr),
    /// The payload does not fit a datagram.
    #[error("a datagram carries at most {max} bytes, not {0}", max = frame::MAX_PAYLOAD)]
    TooLong(usize),
    /// The link refused the frame.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Host {
    /// Puts a host at the end of `link`.
    pub fn new(link: MemLink, mac: MacAddr, ip: Ipv4Addr) -> Self {
        Host {
            link,
            mac,
            ip,
            gateway: None,
            neighbours: RwLock::default(),
            counters: Arc::default(),
        }
    }

    /// Sends to peers whose MAC address is not known through `gateway`, and not to everyone.
    #[must_use]
    pub fn with_gateway(mut self, gateway: MacAddr) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// The host's MAC address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// The host's IPv4 address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Frames received and sent; `rx_drops` counts what arrived and was not for this host
    /// ([`DropReason::NotForPort`]), no datagram ([`DropReason::NotUdp`]) or corrupted
    /// ([`DropReason::BadChecksum`]).
    pub fn counters(&self) -> &PortCounters {
        &self.counters
    }

    /// The frames beneath the datagrams, for a test that wants to forge or inspect them.
    pub fn link(&self) -> &MemLink {
        &self.link
    }

    /// Makes `mac` the address for frames to `ip`, as a static ARP entry does.
    pub fn set_neighbour(&self, ip: Ipv4Addr, mac: MacAddr) {
        self.neighbours.write().insert(ip, mac);
    }

    /// Sends `payload` to `to` from UDP port `from_port`.
    ///
    /// # Errors
    /// [`HostError`]; nothing was sent then.
    pub fn send_to(&self, to: SocketAddr, from_port: u16, payload: &[u8]) -> Result<(), HostError> {
        let frame = self.frame_to(to, from_port, payload)?;
        self.link.send(&frame)?;
        self.counters.sent(frame.len());
        Ok(())
    }

    /// The frame that [`send_to`](Self::send_to) would send.
    ///
    /// # Errors
    /// [`HostError::NotIpv4`] and [`HostError::TooLong`].
    pub fn frame_to(
        &self,
        to: SocketAddr,
        from_port: u16,
        payload: &[u8],
    ) -> Result<Vec<u8>, HostError> {
        let SocketAddr::V4(dst) = to else {
            return Err(HostError::NotIpv4(to));
        };
        let known = self.neighbours.read().get(dst.ip()).copied();
        let addresses = Addresses {
            src_mac: self.mac,
            dst_mac: known.or(self.gateway).unwrap_or(MacAddr::BROADCAST),
            src: SocketAddrV4::new(self.ip, from_port),
            dst,
        };
        let mut bytes = Vec::new();
        if !frame::build(&mut bytes, &addresses, payload, UdpChecksum::Computed) {
            return Err(HostError::TooLong(payload.len()));
        }
        Ok(bytes)
    }

    /// The next datagram for this host, if one waits.
    pub fn try_recv(&self) -> Option<HostDatagram> {
        let mut datagram = None;
        while datagram.is_none() && self.link.try_recv_with(|f| datagram = self.accept(f)) {}
        datagram
    }

    /// The next datagram for this host, waiting for it until `deadline`.
    pub fn recv_deadline(&self, deadline: Instant) -> Option<HostDatagram> {
        loop {
            self.link.rearm();
            if let Some(datagram) = self.try_recv() {
                return Some(datagram);
            }
            if !self.link.wait_readable(deadline) {
                return self.try_recv();
            }
        }
    }

    /// The next datagram for this host; `None` when the switch is gone. Cancelling loses nothing.
    pub async fn recv(&self) -> Option<HostDatagram> {
        loop {
            if let Some(datagram) = self.try_recv() {
                return Some(datagram);
            }
            if self.link.is_closed() {
                return self.try_recv();
            }
            // A frame that came since the look above has left a permit behind.
            self.link.readable().await;
        }
    }

    fn accept(&self, bytes: &[u8]) -> Option<HostDatagram> {
        let datagram = match frame::parse(bytes) {
            Ok(datagram) => datagram,
            Err(NotADatagram::BadChecksum) => {
                self.counters.rx_dropped(DropReason::BadChecksum);
                return None;
            }
            Err(NotADatagram::OtherProtocol | NotADatagram::BadLength) => {
                self.counters.rx_dropped(DropReason::NotUdp);
                return None;
            }
        };
        let Addresses {
            src_mac,
            dst_mac,
            src,
            dst,
        } = datagram.addresses;
        let for_us = (dst_mac == self.mac || dst_mac.is_group())
            && (*dst.ip() == self.ip || dst.ip().is_broadcast() || dst.ip().is_multicast());
        if !for_us {
            self.counters.rx_dropped(DropReason::NotForPort);
            return None;
        }
        self.counters.received(bytes.len());
        if self.neighbours.read().get(src.ip()) != Some(&src_mac) {
            self.neighbours.write().insert(*src.ip(), src_mac);
        }
        Some(HostDatagram {
            peer: src.into(),
            local: dst.into(),
            payload: datagram.payload.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Port, mem_pair};
    use super::*;

    const SERVER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    /// Two hosts and the two ports between which the test is the wire.
    fn two_hosts() -> (Host, Host, impl FnMut()) {
        let (mut port_a, link_a) = mem_pair("a", 8);
        let (mut port_b, link_b) = mem_pair("b", 8);
        let a = Host::new(
            link_a,
            MacAddr([2, 0, 0, 0, 0, 1]),
            Ipv4Addr::new(10, 0, 0, 1),
        );
        let b = Host::new(link_b, MacAddr([2, 0, 0, 0, 0, 2]), SERVER_IP);
        let carry = |from: &mut dyn Port, to: &mut dyn Port| {
            let mut to = to.sender();
            from.receive(8, &mut |frame| to.send(frame, &[]))
                .expect("never fails");
        };
        let wire = move || {
            carry(&mut port_a, &mut port_b);
            carry(&mut port_b, &mut port_a);
        };
        (a, b, wire)
    }

    #[test]
    fn a_datagram_arrives_and_its_answer_goes_to_the_learned_mac() {
        let (a, b, mut wire) = two_hosts();
        let service = SocketAddr::from((SERVER_IP, 1884));
        a.send_to(service, 4000, b"question").expect("sent");
        wire();
        let got = b.try_recv().expect("arrived");
        assert_eq!((got.local, &got.payload[..]), (service, &b"question"[..]));
        let answer = b.frame_to(got.peer, 1884, b"answer").expect("fits");
        assert_eq!(answer[..6], a.mac().0);
        b.send_to(got.peer, 1884, b"answer").expect("sent");
        wire();
        assert_eq!(a.try_recv().expect("arrived").payload, b"answer");
    }

    #[test]
    fn frames_for_others_and_corrupted_ones_are_counted_and_not_given() {
        let (a, b, mut wire) = two_hosts();
        a.send_to(SocketAddr::from(([10, 0, 0, 9], 1884)), 4000, b"other")
            .expect("sent");
        let mut bad = a
            .frame_to(SocketAddr::from((SERVER_IP, 1884)), 4000, b"bad")
            .expect("fits");
        bad[frame::HEADERS_LEN] ^= 1;
        a.link().send(&bad).expect("room");
        wire();
        assert_eq!(b.try_recv(), None);
        assert_eq!(b.counters().rx_drops(DropReason::NotForPort), 1);
        assert_eq!(b.counters().rx_drops(DropReason::BadChecksum), 1);
    }

    #[test]
    fn ipv6_and_over_long_payloads_are_refused() {
        let (a, _b, _wire) = two_hosts();
        let v6 = "[::1]:1".parse().expect("valid");
        assert_eq!(a.send_to(v6, 1, b""), Err(HostError::NotIpv4(v6)));
        let v4 = SocketAddr::from((SERVER_IP, 1));
        assert_eq!(
            a.send_to(v4, 1, &vec![0; 65_508]),
            Err(HostError::TooLong(65_508))
        );
    }
}
