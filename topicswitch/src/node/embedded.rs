//! The switch of `up` and `demo`: clients on a UDP socket, the broker on a host in memory.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::Context;
use sim::ports::{DEFAULT_SERVICE_MAC, Host, Port, PortConfig, UdpPort, UdpSpec, mem_pair};

use super::host::HostSocket;
use super::switch::SwitchNode;
use crate::commands::sim::{open_ports, runtime_config};
use crate::config::SimConfig;

/// Where the clients are.
const CLIENTS_PORT: u32 = 1;
/// Where the broker is.
const BROKER_PORT: u16 = 2;
/// Frames that wait between switch and broker.
const QUEUE: usize = 4096;
/// The broker's address inside the switch where the UDP socket listens on all addresses
/// (RFC 5737: an address that nobody has).
const NAMELESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A switch with its two usual ports, and maybe more.
pub struct EmbeddedSwitch {
    switch: SwitchNode,
    clients: SocketAddrV4,
    broker: Option<Host>,
}

impl EmbeddedSwitch {
    /// Its ports, as `controller --ports` takes them.
    pub const PORTS: &str = "1,2";

    /// Starts the switch with a UDP port at `listen`.
    ///
    /// # Errors
    /// A port that cannot be opened, or a number that is taken.
    pub fn start(
        listen: SocketAddrV4,
        more: &[PortConfig],
        config: &SimConfig,
    ) -> anyhow::Result<Self> {
        let nameless = listen.ip().is_unspecified();
        let spec = UdpSpec {
            local: nameless.then_some(NAMELESS),
            ..UdpSpec::new(listen)
        };
        let udp = UdpPort::bind(CLIENTS_PORT, &spec).context("clients' port")?;
        let (local, gateway) = (udp.local_addr(), udp.gateway_mac());
        let (port, link) = mem_pair("broker", QUEUE);
        let mut ports: Vec<(u32, Box<dyn Port>)> = vec![
            (CLIENTS_PORT, Box::new(udp)),
            (BROKER_PORT.into(), Box::new(port)),
        ];
        ports.extend(open_ports(more)?);
        let broker = Host::new(link, DEFAULT_SERVICE_MAC, *local.ip()).with_gateway(gateway);
        let switch = SwitchNode::start(runtime_config(config), ports)?;
        Ok(EmbeddedSwitch {
            switch,
            clients: SocketAddrV4::new(*listen.ip(), local.port()),
            broker: Some(broker),
        })
    }

    /// The switch.
    pub fn switch(&self) -> &SwitchNode {
        &self.switch
    }

    /// The numbers of its ports: the two usual ones and `more`.
    ///
    /// # Errors
    /// A number that no port of the switch can have.
    pub fn ports(&self, more: &[PortConfig]) -> anyhow::Result<Vec<u16>> {
        [CLIENTS_PORT, BROKER_PORT.into()]
            .into_iter()
            .chain(more.iter().map(|port| port.number))
            .map(|number| u16::try_from(number).with_context(|| format!("port {number}")))
            .collect()
    }

    /// Behind which of them the broker is.
    pub fn broker_port(&self) -> u16 {
        BROKER_PORT
    }

    /// Where clients send to.
    pub fn clients(&self) -> SocketAddr {
        self.clients.into()
    }

    /// The socket of the broker behind the switch, once; the broker is told its address.
    ///
    /// # Errors
    /// It was taken before.
    pub fn take_broker_socket(
        &mut self,
        config: &mut broker::Config,
    ) -> anyhow::Result<HostSocket> {
        let host = self
            .broker
            .take()
            .context("the broker's socket is taken already")?;
        if config.offload.services.is_empty() {
            config.offload.services = vec![(host.ip(), self.clients.port()).into()];
        }
        Ok(HostSocket::new(host, self.clients.port()))
    }
}
