//! Which switch the tests run on, and how it is started.

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::time::{Duration, Instant};

use p4runtime::client::Client;
use p4runtime::p4info::P4Info;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use sim::ports::{AfPacketPort, MemLink, Port, mem_pair};
use sim::runtime::{RunningRuntime, Runtime, RuntimeConfig};
use sim::server::{DeviceConfig, connect_in_memory, serve_tcp};

use super::{DataPlane, Link};
use crate::hosts::{BROKER, HOSTS};
use crate::netns::{self, Namespace, RawInterface};
use crate::process::Process;
use crate::{on_path, repository, require};

/// The source address of the fixture's own frames.
pub(super) const FENCE_MAC: [u8; 6] = [2, 0, 0, 0, 0xfe, 0xce];

/// Each switch that has a server on a socket has a namespace of its own, so this is always free.
const GRPC: &str = "127.0.0.1:9559";
/// sim's device id.
const SIM_DEVICE: u64 = 7;
/// Frames that wait in a mem port.
const QUEUE: usize = 1024;

/// A kind of switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// sim in this process, with ports in memory.
    Sim,
    /// sim in this process, on veth pairs in a namespace of its own, and its server on TCP.
    SimOnVeth,
    /// BMv2's `simple_switch_grpc`, on veth pairs in a namespace of its own.
    Bmv2,
}

impl Target {
    /// The targets that the environment asks for; see the crate's documentation.
    ///
    /// # Panics
    /// When `TOPICSWITCH_TARGET` is something else.
    pub fn selected() -> Vec<Target> {
        let has_bmv2 = on_path("simple_switch_grpc").is_some();
        let wanted = match std::env::var("TOPICSWITCH_TARGET").as_deref() {
            Ok("sim") => vec![Target::Sim],
            Ok("sim-veth") => vec![Target::SimOnVeth],
            Ok("bmv2") => vec![Target::Bmv2],
            Ok(other) => panic!("TOPICSWITCH_TARGET={other}: it is sim, sim-veth or bmv2"),
            Err(_) => vec![Target::Sim, Target::Bmv2],
        };
        let is_there = |target: &Target| match target {
            Target::Sim => true,
            Target::SimOnVeth => require("netns", netns::available()),
            Target::Bmv2 => require("bmv2", has_bmv2) && require("netns", netns::available()),
        };
        wanted.into_iter().filter(is_there).collect()
    }
}

/// Runs a test on each selected target, each time with a fresh switch.
///
/// # Panics
/// As the test does.
pub fn on_each_target(test: impl Fn(&mut DataPlane) + Sync) {
    for target in Target::selected() {
        on_target(target, &test);
    }
}

/// Runs a test on each selected target, each time with a fresh switch of these ports, among them those
/// of [`BROKER`] and of the publisher.
///
/// # Panics
/// As the test does.
pub fn on_each_target_with_ports(ports: &[u16], test: impl Fn(&mut DataPlane) + Sync) {
    for target in Target::selected() {
        on(target, ports, &test);
    }
}

/// Runs a test on one target.
///
/// # Panics
/// As the test does.
pub fn on_target(target: Target, test: impl Fn(&mut DataPlane) + Sync) {
    on(target, &HOSTS.map(|host| host.port), test);
}

fn on(target: Target, ports: &[u16], test: impl Fn(&mut DataPlane) + Sync) {
    eprintln!("target: {target:?}");
    match target {
        Target::Sim => test(&mut sim_in_memory(ports)),
        Target::SimOnVeth => {
            let namespace = Namespace::new().expect("a namespace");
            // The connection to the switch is made inside too.
            namespace.run(|| test(&mut sim_on_veth(&namespace, ports)));
        }
        Target::Bmv2 => {
            let namespace = Namespace::new().expect("a namespace");
            namespace.run(|| test(&mut bmv2(&namespace, ports)));
        }
    }
}

/// What keeps the switch running.
pub(super) enum Switch {
    Process { _process: Process },
    Sim { _runtime: RunningRuntime },
}

impl Link for RawInterface {
    fn send(&mut self, frame: &[u8]) {
        RawInterface::send(self, frame);
    }

    fn recv(&mut self, deadline: Instant) -> Option<Vec<u8>> {
        RawInterface::recv(self, deadline)
    }
}

impl Link for MemLink {
    fn send(&mut self, frame: &[u8]) {
        MemLink::send(self, frame).expect("there is room, and the switch is there");
    }

    fn recv(&mut self, deadline: Instant) -> Option<Vec<u8>> {
        self.recv_deadline(deadline)
    }
}

type Links = BTreeMap<u16, Box<dyn Link>>;

fn sim_in_memory(numbers: &[u16]) -> DataPlane {
    let mut links = Links::new();
    let mut ports: Vec<(u32, Box<dyn Port>)> = Vec::new();
    for &number in numbers {
        let (port, link) = mem_pair(&format!("host{number}"), QUEUE);
        ports.push((number.into(), Box::new(port)));
        links.insert(number, Box::new(link));
    }
    let running = sim(ports);
    let service = running.service();
    let connect = async || Client::new(connect_in_memory(service.clone()), SIM_DEVICE);
    control(
        Target::Sim,
        connect,
        links,
        Switch::Sim { _runtime: running },
    )
}

/// To be called inside the namespace.
fn sim_on_veth(namespace: &Namespace, numbers: &[u16]) -> DataPlane {
    let mut ports: Vec<(u32, Box<dyn Port>)> = Vec::new();
    let links = veths(namespace, numbers, |number, interface| {
        let port = AfPacketPort::open(interface).expect("the interface is there");
        ports.push((number.into(), Box::new(port)));
    });
    let running = sim(ports);
    let service = running.service();
    let connect = async || {
        let listener = tokio::net::TcpListener::bind(GRPC)
            .await
            .expect("the port is free");
        tokio::spawn(serve_tcp(service.clone(), listener, std::future::pending()));
        connected(GRPC, SIM_DEVICE).await
    };
    control(
        Target::SimOnVeth,
        connect,
        links,
        Switch::Sim { _runtime: running },
    )
}

fn sim(ports: Vec<(u32, Box<dyn Port>)>) -> RunningRuntime {
    let device = DeviceConfig {
        device_id: SIM_DEVICE,
        ..DeviceConfig::default()
    };
    let config = RuntimeConfig {
        device,
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config, ports).expect("ports of the fixture");
    runtime.start().expect("threads")
}

/// To be called inside the namespace.
fn bmv2(namespace: &Namespace, numbers: &[u16]) -> DataPlane {
    let mut command = Command::new("simple_switch_grpc");
    let links = veths(namespace, numbers, |number, interface| {
        command.arg("-i").arg(format!("{number}@{interface}"));
    });
    command.args(["--no-p4", "--", "--grpc-server-addr", GRPC]);
    command.args(["--cpu-port", &super::CPU_PORT.to_string()]);
    let process = Process::start(command, Some(namespace));
    let connect = async || connected(GRPC, 0).await;
    control(
        Target::Bmv2,
        connect,
        links,
        Switch::Process { _process: process },
    )
}

/// A veth pair for each port: tells the switch's end, opens the host's.
fn veths(namespace: &Namespace, numbers: &[u16], mut attach: impl FnMut(u16, &str)) -> Links {
    let mut links = Links::new();
    for &number in numbers {
        let (near, far) = (format!("sw{number}"), format!("host{number}"));
        namespace.veth(&near, namespace, &far);
        attach(number, &near);
        links.insert(number, Box::new(namespace.open(&far)));
    }
    links
}

/// Connects to a switch, loads the program and installs what it always needs.
fn control(
    target: Target,
    connect: impl AsyncFnOnce() -> Client,
    links: Links,
    switch: Switch,
) -> DataPlane {
    let p4info = P4Info::load(repository().join("p4src/compiled/mqttsn.p4info.txtpb"));
    let p4info = p4info.expect("compiled P4Info");
    let json =
        std::fs::read(repository().join("p4src/compiled/mqttsn.json")).expect("compiled JSON");
    // Its thread moves what is sent while the test does something else; it starts where the test
    // runs, in the same namespace.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (client, stream) = runtime.block_on(async {
        let mut client = connect().await;
        let stream = client.open_stream(1, None).await.expect("the stream");
        assert!(stream.is_primary(), "nobody else controls this switch");
        client
            .set_forwarding_pipeline_config(
                Action::VerifyAndCommit,
                p4info.message().clone(),
                json,
                1,
            )
            .await
            .unwrap_or_else(|error| panic!("the switch did not take the program: {error}"));
        (client, stream)
    });
    let mut plane = DataPlane {
        target,
        p4info,
        runtime,
        client,
        stream,
        packet_ins: VecDeque::new(),
        digests: VecDeque::new(),
        links,
        fences: 0,
        requests: 0,
        _switch: switch,
    };
    let ports: Vec<u16> = plane.links.keys().copied().collect();
    plane.install_base(&ports, BROKER.port);
    plane
}

/// Asks until the switch's server is up: a connection refused is no event to wait for.
async fn connected(address: &str, device_id: u64) -> Client {
    let deadline = Instant::now() + super::DEADLINE;
    let mut again = tokio::time::interval(Duration::from_millis(10));
    loop {
        again.tick().await;
        match Client::connect(address, device_id, Some(super::DEADLINE)).await {
            Ok(client) => return client,
            Err(error) => {
                assert!(
                    Instant::now() < deadline,
                    "the switch does not answer: {error}"
                );
            }
        }
    }
}
