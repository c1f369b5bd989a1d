//! The hosts around the switch under test: one behind each port, and one more behind a router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A host as the switch sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The switch's port that it is behind.
    pub port: u16,
    /// MAC address.
    pub mac: [u8; 6],
    /// IPv4 or IPv6 address.
    pub ip: IpAddr,
    /// UDP port.
    pub udp: u16,
    /// The VLAN whose tag its frames carry; 0 for none.
    pub vid: u16,
}

impl Host {
    const fn new(port: u16, last_octet: u8, udp: u16) -> Self {
        Host {
            port,
            mac: [2, 0, 0, 0, 0, last_octet],
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last_octet)),
            udp,
            vid: 0,
        }
    }

    /// Address and UDP port.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.udp)
    }

    /// The same host at its IPv6 address.
    #[must_use]
    pub fn v6(&self) -> Self {
        let last = self.mac[5].into();
        Host {
            ip: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0x1234, 0, 0, 0, last)),
            ..*self
        }
    }

    /// The same host behind a port that carries a VLAN's tag.
    #[must_use]
    pub fn tagged(&self, vid: u16) -> Self {
        Host { vid, ..*self }
    }
}

/// The broker: the one service.
pub const BROKER: Host = Host::new(1, 1, 1884);
/// Publishes.
pub const PUBLISHER: Host = Host::new(2, 2, 40_002);
/// Subscribes.
pub const ALICE: Host = Host::new(3, 3, 40_003);
/// Subscribes.
pub const BOB: Host = Host::new(4, 4, 40_004);
/// Every host, by port.
pub const HOSTS: [Host; 4] = [BROKER, PUBLISHER, ALICE, BOB];
