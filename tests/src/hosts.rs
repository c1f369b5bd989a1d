//! The hosts around the switch under test: one behind each port, and one more behind a router.

use std::net::{Ipv4Addr, SocketAddrV4};

/// A host as the switch sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The switch's port that it is behind.
    pub port: u16,
    /// MAC address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub ip: Ipv4Addr,
    /// UDP port.
    pub udp: u16,
}

impl Host {
    const fn new(port: u16, last_octet: u8, udp: u16) -> Self {
        Host {
            port,
            mac: [2, 0, 0, 0, 0, last_octet],
            ip: Ipv4Addr::new(10, 0, 0, last_octet),
            udp,
        }
    }

    /// Address and UDP port.
    pub fn socket(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, self.udp)
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
