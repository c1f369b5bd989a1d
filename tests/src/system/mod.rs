//! Whole systems inside this process: the broker alone, or broker, controller and switch.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use broker::driver::{Handle, IoConfig};
use mqttsn::types::Qos;
use sim::ports::{DEFAULT_SERVICE_MAC, Host, MacAddr, Port, mem_pair};
use tokio_util::sync::CancellationToken;
use topicswitch::config::{SimConfig, StoreConfig};
use topicswitch::node::{
    self, BrokerNode, EmbeddedSwitch, HostSocket, Program, SwitchNode, Tasks, run_controller,
};

mod client;

pub use client::{Received, TestClient};

/// How long to wait for what must come.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// Frames that wait in a mem port.
const QUEUE: usize = 4096;
/// The broker's UDP port where clients are hosts of their own.
const BROKER_UDP: u16 = 1884;

/// Which system clients talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The broker on a UDP socket of the loopback interface, and nothing else.
    BrokerAlone,
    /// What `topicswitch up` runs: clients on UDP sockets of the loopback interface, the broker
    /// behind the switch.
    Loopback,
    /// The same parts, and each client a host behind a port of its own, all in memory.
    Memory,
}

/// A switch with little room, and how its controller shares it out.
#[derive(Clone, Debug, Default)]
pub struct Small {
    /// The switch's bounds.
    pub limits: sim::Limits,
    /// The controller's configuration, but for its device and ports.
    pub controller: controller::Config,
}

/// A running system.
pub struct System {
    /// The broker's, for its counters and what it knows.
    pub broker: Handle,
    /// The controller's, where there is one.
    pub controller: Option<controller::Handle>,
    kind: Kind,
    at: SocketAddr,
    hosts: Vec<Option<Host>>,
    tasks: Tasks,
    // Dropped when the tasks have ended.
    _switch: Option<SwitchHold>,
}

#[expect(dead_code, reason = "held, so that the switch runs")]
enum SwitchHold {
    Embedded(EmbeddedSwitch),
    Node(SwitchNode),
}

impl System {
    /// Starts a system for up to `clients` clients.
    ///
    /// # Panics
    /// When a part of it cannot be started.
    pub async fn start(kind: Kind, config: broker::Config, clients: u8) -> Self {
        match kind {
            Kind::BrokerAlone => Self::broker_alone(config).await,
            Kind::Loopback => Self::loopback(config),
            Kind::Memory => Self::memory(config, clients, Small::default()),
        }
    }

    /// A system in memory ([`Kind::Memory`]) with a switch of these bounds.
    ///
    /// # Panics
    /// When a part of it cannot be started.
    pub fn start_small(config: broker::Config, clients: u8, small: Small) -> Self {
        Self::memory(config, clients, small)
    }

    async fn broker_alone(config: broker::Config) -> Self {
        let tasks = Tasks::new(CancellationToken::new());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (node, at) = BrokerNode::listen(
            config,
            &StoreConfig::default(),
            &[any],
            &IoConfig::default(),
            &tasks,
        )
        .expect("a free port and a valid configuration");
        let at = at[0];
        System {
            broker: node.handle,
            controller: None,
            kind: Kind::BrokerAlone,
            at,
            hosts: Vec::new(),
            tasks,
            _switch: None,
        }
    }

    fn loopback(mut config: broker::Config) -> Self {
        let tasks = Tasks::new(CancellationToken::new());
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let sim = SimConfig::default();
        let mut embedded = EmbeddedSwitch::start(any, &[], &sim).expect("a switch");
        config.offload.enabled = true;
        let socket = embedded.take_broker_socket(&mut config).expect("the first");
        let node = BrokerNode::start(config, &StoreConfig::default(), socket, &tasks)
            .expect("a valid configuration");
        let config = controller::Config {
            device_id: sim.device_id,
            ports: embedded.ports(&[]).expect("ports"),
            ..controller::Config::default()
        };
        let controller = control(&node, embedded.switch(), config, &tasks);
        System {
            broker: node.handle,
            controller: Some(controller),
            kind: Kind::Loopback,
            at: embedded.clients(),
            hosts: Vec::new(),
            tasks,
            _switch: Some(SwitchHold::Embedded(embedded)),
        }
    }

    /// The broker behind port 1, client n behind port n + 2.
    fn memory(mut config: broker::Config, clients: u8, small: Small) -> Self {
        let tasks = Tasks::new(CancellationToken::new());
        let mut ports: Vec<(u32, Box<dyn Port>)> = Vec::new();
        let mut attach = |number: u8, mac: MacAddr, ip: Ipv4Addr| {
            let (port, link) = mem_pair(&format!("host{number}"), QUEUE);
            ports.push((number.into(), Box::new(port)));
            Host::new(link, mac, ip)
        };
        let broker_ip = Ipv4Addr::new(10, 0, 0, 1);
        let broker = attach(1, DEFAULT_SERVICE_MAC, broker_ip);
        let hosts: Vec<Option<Host>> = (0..clients)
            .map(|n| {
                let mac = MacAddr([2, 0, 0, 0, 1, n]);
                let ip = Ipv4Addr::new(10, 0, 0, n + 2);
                // Nobody speaks ARP here.
                broker.set_neighbour(ip, mac);
                let host = attach(n + 2, mac, ip);
                host.set_neighbour(broker_ip, DEFAULT_SERVICE_MAC);
                Some(host)
            })
            .collect();
        let sim = SimConfig::default();
        let numbers = (1..=u16::from(clients) + 1).collect();
        let mut runtime = topicswitch::commands::sim::runtime_config(&sim);
        runtime.switch.limits = small.limits;
        let switch = SwitchNode::start(runtime, ports).expect("a switch");
        let at = SocketAddr::from((broker_ip, BROKER_UDP));
        config.offload.enabled = true;
        config.offload.services = vec![at];
        let socket = HostSocket::new(broker, BROKER_UDP);
        let node = BrokerNode::start(config, &StoreConfig::default(), socket, &tasks)
            .expect("a valid configuration");
        let config = controller::Config {
            device_id: sim.device_id,
            ports: numbers,
            ..small.controller
        };
        let controller = control(&node, &switch, config, &tasks);
        System {
            broker: node.handle,
            controller: Some(controller),
            kind: Kind::Memory,
            at,
            hosts,
            tasks,
            _switch: Some(SwitchHold::Node(switch)),
        }
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// The socket of client `n`; each can be taken once.
    ///
    /// # Panics
    /// When it was taken before, or there are not so many.
    pub async fn client(&mut self, n: u8) -> TestClient {
        match self.kind {
            Kind::BrokerAlone | Kind::Loopback => TestClient::on_udp(self.at).await,
            Kind::Memory => {
                let host = self.hosts[usize::from(n)].take().expect("taken once");
                TestClient::on_host(host, self.at)
            }
        }
    }

    /// Waits until the switch holds what the broker wants and may offload. Nothing to wait for
    /// where there is no switch.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn until_in_force(&self) {
        if self.kind == Kind::BrokerAlone {
            return;
        }
        let grants = self.broker.stats().await.expect("the broker runs").grants;
        // One grant may have been under way; the next one says that the lease is running.
        self.until_installed_and(grants + 2).await;
    }

    /// Waits until the switch holds what the broker wants. Nothing to wait for where there is no
    /// switch.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn until_installed(&self) {
        if self.kind != Kind::BrokerAlone {
            self.until_installed_and(0).await;
        }
    }

    async fn until_installed_and(&self, grants: u64) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        loop {
            tick.tick().await;
            let look = |broker: &broker::Broker| (broker.status(), broker.stats().grants);
            let (status, now) = self.broker.look(look).await.expect("the broker runs");
            let installed = status.controller.is_some() && status.installed == status.revision;
            if installed && now >= grants {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not in force: {status:?}"
            );
        }
    }

    /// Whether every topic with subscribers is served by the data plane at this QoS, so that the
    /// broker need not see its messages.
    pub async fn is_wholly_offloaded(&self, qos: Qos) -> bool {
        let topics = self.broker.topics().await.expect("the broker runs");
        let mut with_subscribers = topics.iter().filter(|topic| !topic.subscribers.is_empty());
        with_subscribers.all(|topic| topic.is_wholly_offloaded(qos))
    }

    /// Stops it.
    ///
    /// # Panics
    /// When a part of it had failed.
    pub async fn stop(self) {
        self.tasks.shutdown().cancel();
        self.tasks
            .finish()
            .await
            .unwrap_or_else(|error| panic!("a part failed: {error:#}"));
    }
}

/// Starts the controller of the switch.
fn control(
    node: &BrokerNode,
    switch: &SwitchNode,
    config: controller::Config,
    tasks: &Tasks,
) -> controller::Handle {
    let program = Program::built_in().expect("the built-in program");
    let channel = node::Switch::Channel(switch.channel());
    let broker = node::Broker::Local(node.links.clone());
    run_controller(config, program, channel, broker, tasks).expect("a valid configuration")
}
