//! Where it is measured.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use mqttsn::types::Alias;
use serde_json::Value;
use system_tests::data_plane::Target;
use system_tests::netns::Namespace;
use system_tests::network::{self, Network, topicswitch};
use system_tests::process::Process;
use topicswitch::load::ProcessUse;

use crate::speaker::Speaker;

const DEADLINE: Duration = Duration::from_secs(30);
/// Topics outside of these stay in software, by policy.
const OFFLOADED: &str = "controller: {policy: {pinned: [fast/#, bench/#]}}\n";

/// A kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// `topicswitch up`: broker, controller and sim in one process, clients on UDP sockets of loopback.
    Up,
    /// `topicswitch sim`, `broker` and `controller`, and every host in a network namespace of its own.
    Sim,
    /// The same with BMv2's `simple_switch_grpc`.
    Bmv2,
}

impl Site {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "up" => Some(Site::Up),
            "sim" => Some(Site::Sim),
            "bmv2" => Some(Site::Bmv2),
            _ => None,
        }
    }

    pub(crate) fn needs_namespaces(self) -> bool {
        self != Site::Up
    }
}

enum Parts {
    Up {
        status: SocketAddr,
        process: Process,
    },
    Network(Network),
}

/// A running system.
pub(crate) struct Lab {
    pub(crate) broker: SocketAddr,
    parts: Parts,
    _config: tempfile::NamedTempFile,
}

fn free_address(of: impl Fn(SocketAddr) -> std::io::Result<SocketAddr>) -> SocketAddr {
    of((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port")
}

impl Lab {
    pub(crate) fn start(site: Site, spin_us: Option<u64>) -> Self {
        let config = tempfile::NamedTempFile::new().expect("a temporary file");
        let spin = spin_us.map(|us| format!("sim: {{spin_us: {us}}}\n"));
        let text = OFFLOADED.to_owned() + &spin.unwrap_or_default();
        std::fs::write(config.path(), text).expect("it is written");
        let (broker, parts) = match site {
            Site::Up => {
                let broker = free_address(|any| UdpSocket::bind(any)?.local_addr());
                let status = free_address(|any| std::net::TcpListener::bind(any)?.local_addr());
                let mut command = Command::new(topicswitch());
                command.arg("--config").arg(config.path()).arg("up");
                command.args(["--listen", &broker.to_string()]);
                command.args(["--status", &status.to_string()]);
                let process = Process::start(command, None);
                (broker, Parts::Up { status, process })
            }
            Site::Sim | Site::Bmv2 => {
                let target = match site {
                    Site::Bmv2 => Target::Bmv2,
                    Site::Up | Site::Sim => Target::SimOnVeth,
                };
                let broker = network::BROKER.parse().expect("an address");
                let network = Network::configured(target, Some(config.path()), "");
                (broker, Parts::Network(network))
            }
        };
        let lab = Lab {
            broker,
            parts,
            _config: config,
        };
        lab.until("the lease is in force", |lab| lab.counter("grants") >= 2);
        lab
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "not in {DEADLINE:?}: {what}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What the broker says of itself.
    fn broker_status(&self) -> Value {
        match &self.parts {
            Parts::Up { status, .. } => ask(*status),
            Parts::Network(network) => network.status(),
        }
    }

    /// One of the broker's counters; 0 while it does not answer.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counter = &self.broker_status()["broker"]["counters"][name];
        counter.as_u64().unwrap_or(0)
    }

    /// All of the broker's counters.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        let counters = self.broker_status()["broker"]["counters"]
            .as_object()
            .cloned();
        let counters = counters.unwrap_or_default().into_iter();
        counters
            .filter_map(|(name, count)| Some((name, count.as_u64()?)))
            .collect()
    }

    /// PUBLISH that the broker has seen, with a tag or without.
    pub(crate) fn seen_by_broker(&self) -> u64 {
        let status = self.broker_status();
        let counters = &status["broker"]["counters"];
        let count = |name: &str| counters[name].as_u64().expect("a counter");
        count("publish_untagged") + count("publish_tagged")
    }

    /// CPU time that each process has used until now, the generator's with them.
    pub(crate) fn cpu(&self) -> Vec<(&'static str, Duration)> {
        let mut processes = match &self.parts {
            Parts::Up { process, .. } => vec![("topicswitch", process.id())],
            Parts::Network(network) => network.processes().to_vec(),
        };
        processes.push(("generator", std::process::id()));
        processes
            .into_iter()
            .map(|(name, pid)| (name, ProcessUse::of(pid).expect("it runs").cpu))
            .collect()
    }

    /// Packets to the broker by what became of them, as the switch counts them.
    pub(crate) fn paths(&self) -> Vec<(String, u64)> {
        let status = match &self.parts {
            Parts::Up { status, .. } => ask(*status),
            Parts::Network(network) => network.controller_status(),
        };
        let paths = status["controller"]["paths"].as_object().cloned();
        let paths = paths.unwrap_or_default().into_iter();
        paths
            .map(|(path, count)| (path, count.as_u64().unwrap_or(0)))
            .collect()
    }

    /// Frames and datagrams that were dropped on the way, as `sim` and the hosts' kernels count them.
    pub(crate) fn dropped(&self) -> Vec<(String, u64)> {
        let Parts::Network(network) = &self.parts else {
            return Vec::new();
        };
        let status = network.switch_status();
        let ports = status["switch"]["ports"].as_object().cloned();
        let mut dropped = Vec::new();
        for (port, counters) in ports.unwrap_or_default() {
            for way in ["rx_drops", "tx_drops"] {
                let reasons = counters[way].as_object().cloned().unwrap_or_default();
                for (reason, count) in reasons {
                    let what = format!("port {port} {way} {reason}");
                    dropped.push((what, count.as_u64().unwrap_or(0)));
                }
            }
        }
        for (host, count) in network.receive_buffer_errors() {
            dropped.push((format!("sockets of {host} were full"), count));
        }
        dropped.retain(|(_, count)| *count > 0);
        dropped
    }

    fn host(&self, of: impl Fn(&Network) -> &Namespace) -> Option<&Namespace> {
        match &self.parts {
            Parts::Up { .. } => None,
            Parts::Network(network) => Some(of(network)),
        }
    }

    /// Runs `work` on the publishers' host.
    pub(crate) fn on_publisher<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self.host(|network| &network.publisher) {
            Some(host) => host.run(work),
            None => work(),
        }
    }

    /// Runs `work` on the subscribers' host.
    pub(crate) fn on_subscriber<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self.host(|network| &network.subscriber) {
            Some(host) => host.run(work),
            None => work(),
        }
    }

    /// A connected client on the publishers' host.
    pub(crate) fn publisher(&self, client_id: &str) -> Speaker {
        let mut speaker = self.on_publisher(|| Speaker::open(self.broker));
        speaker.connect(client_id);
        speaker
    }

    /// A connected client on the subscribers' host.
    pub(crate) fn subscriber(&self, client_id: &str) -> Speaker {
        let mut speaker = self.on_subscriber(|| Speaker::open(self.broker));
        speaker.connect(client_id);
        speaker
    }

    /// Publishes until the broker does not see it any more.
    pub(crate) fn until_offloaded(&self, publisher: &Speaker, alias: Alias) {
        self.until("messages bypass the broker", |lab| {
            let before = lab.seen_by_broker();
            for _ in 0..3 {
                publisher.publish(alias, u64::MAX);
            }
            std::thread::park_timeout(Duration::from_millis(50));
            lab.seen_by_broker() == before
        });
    }
}

fn ask(status: SocketAddr) -> Value {
    let output = Command::new(topicswitch())
        .args(["status", "--json", "--at", &status.to_string()])
        .output()
        .expect("topicswitch runs");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}
