//! topicswitch as it is installed: processes on hosts of their own, around a switch.
//!
//! Hosts are network namespaces: `broker`, `publisher` and `subscriber` on a network of their own
//! behind the switch, and the switch's host, where the controller runs too. Switch and broker share
//! a second network for what is not MQTT-SN.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::data_plane::Target;
use crate::netns::{self, Namespace};
use crate::process::Process;
use crate::system::{DEADLINE, TestClient};
use crate::workload::{Load, Place};
use crate::{on_path, repository, require};

/// Where clients find the broker.
pub const BROKER: &str = "10.0.0.1:1884";
/// Where clients find it over IPv6, in a network of both families.
pub const BROKER_V6: &str = "[fd00::1]:1884";
const CONTRACT: &str = "10.9.0.1:9560";
const BROKER_STATUS: &str = "10.9.0.1:9561";
const CONTROLLER_STATUS: &str = "127.0.0.1:9562";
const SWITCH_STATUS: &str = "127.0.0.1:9563";
const P4RUNTIME: &str = "127.0.0.1:9559";

/// The targets to run on: none where there are no namespaces, and BMv2 where there is ethtool.
pub fn targets() -> Vec<Target> {
    if !require("netns", netns::available()) {
        return Vec::new();
    }
    let ethtool = on_path("ethtool").is_some();
    Target::selected()
        .into_iter()
        .filter(|target| *target != Target::Bmv2 || require("ethtool", ethtool))
        .collect()
}

/// The `topicswitch` binary of this build: the one beside the tests where `TOPICSWITCH_BUILT` says that
/// they were built together (`cargo test --workspace` does, and so `make test`), else it is built now.
///
/// # Panics
/// When it is not there, or cannot be built.
pub fn topicswitch() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let test = std::env::current_exe().expect("this program has a file");
        // target/debug/deps/test-…
        let profile = test
            .parent()
            .and_then(|deps| deps.parent())
            .expect("a build directory");
        let binary = profile.join("topicswitch");
        if std::env::var_os("TOPICSWITCH_BUILT").is_some() {
            assert!(
                binary.exists(),
                "TOPICSWITCH_BUILT is set, and {} is not there",
                binary.display()
            );
            return binary;
        }
        let target = profile.parent().expect("a target directory");
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        // With these tests' package, whose features it shares, all that they are built of is there.
        let what = "build --quiet --package topicswitch --package system-tests --bin topicswitch";
        command
            .args(what.split_whitespace())
            .arg("--target-dir")
            .arg(target)
            .current_dir(repository());
        if profile.ends_with("release") {
            command.arg("--release");
        }
        // What cargo tells this test of its package would make build scripts run again.
        for (name, _) in std::env::vars_os() {
            let of_package =
                |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
            if name.to_str().is_some_and(of_package) {
                command.env_remove(name);
            }
        }
        assert!(
            command.status().expect("cargo runs").success(),
            "topicswitch does not build"
        );
        binary
    };
    BUILT.get_or_init(build).clone()
}

/// A running network.
pub struct Network {
    /// The publishers' host, 10.0.0.2.
    pub publisher: Namespace,
    /// The subscribers' host, 10.0.0.3.
    pub subscriber: Namespace,
    broker: Namespace,
    controller: Process,
    runtime: tokio::runtime::Runtime,
    broker_process: Process,
    switch: Process,
    host: Namespace,
}

impl Network {
    /// Starts everything, and waits until the controller has the lease.
    ///
    /// # Panics
    /// When a part of it cannot be started.
    pub fn start(target: Target) -> Self {
        Self::start_with(target, "")
    }

    /// The same with flags for the controller.
    ///
    /// # Panics
    /// When a part of it cannot be started.
    pub fn start_with(target: Target, controller_flags: &str) -> Self {
        Self::configured(target, None, controller_flags)
    }

    /// The same with a configuration file for broker, controller and `sim`.
    ///
    /// # Panics
    /// When a part of it cannot be started.
    pub fn configured(target: Target, config: Option<&Path>, controller_flags: &str) -> Self {
        Self::launch(target, config, controller_flags, false)
    }

    /// A network of both families: the hosts have the addresses fd00::1 to fd00::3 too.
    ///
    /// # Panics
    /// When a part of it cannot be started.
    pub fn start_dual_stack(target: Target) -> Self {
        Self::launch(target, None, "", true)
    }

    /// The same with a configuration file for broker, controller and `sim`.
    ///
    /// # Panics
    /// When a part of it cannot be started.
    pub fn configured_dual_stack(target: Target, config: &Path) -> Self {
        Self::launch(target, Some(config), "", true)
    }

    fn launch(
        target: Target,
        config: Option<&Path>,
        controller_flags: &str,
        dual_stack: bool,
    ) -> Self {
        let namespace = || Namespace::new().expect("a namespace");
        let (host, broker, publisher, subscriber) =
            (namespace(), namespace(), namespace(), namespace());
        for (n, other) in (1..).zip([&broker, &publisher, &subscriber]) {
            host.veth(&format!("sw{n}"), other, "eth0");
            other.ip(&format!("addr add 10.0.0.{n}/24 dev eth0"));
            if dual_stack {
                let enable = || std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0");
                other.run(enable).expect("the kernel has IPv6");
                other.ip(&format!("-6 addr add fd00::{n}/64 dev eth0 nodad"));
            }
            if target == Target::Bmv2 {
                other.leave_nothing_to_the_nic("eth0");
            }
        }
        host.veth("control", &broker, "control");
        broker.ip("addr add 10.9.0.1/24 dev control");
        host.ip("addr add 10.9.0.2/24 dev control");

        let binary = topicswitch();
        let command = |arguments: &str| {
            let mut command = Command::new(&binary);
            command.args(arguments.split_whitespace());
            command
        };
        let mut switch = match target {
            Target::Bmv2 => {
                let mut bmv2 = Command::new("simple_switch_grpc");
                bmv2.args(["--no-p4", "-i", "1@sw1", "-i", "2@sw2", "-i", "3@sw3", "--"]);
                bmv2.args(["--grpc-server-addr", P4RUNTIME, "--cpu-port", "510"]);
                bmv2
            }
            Target::Sim | Target::SimOnVeth => command(&format!(
                "sim run --device-id 0 --p4runtime {P4RUNTIME} --status {SWITCH_STATUS} \
                 --port 1=af-packet:sw1 --port 2=af-packet:sw2 --port 3=af-packet:sw3"
            )),
        };
        if let Some(config) = config.filter(|_| target != Target::Bmv2) {
            switch.arg("--config").arg(config);
        }
        let switch = Process::start(switch, Some(&host));
        let listen = match dual_stack {
            true => format!("--listen {BROKER} --listen {BROKER_V6}"),
            false => format!("--listen {BROKER}"),
        };
        let mut broker_process = command(&format!(
            "broker {listen} --offload {CONTRACT} --contract-insecure --status {BROKER_STATUS}"
        ));
        if let Some(config) = config {
            broker_process.arg("--config").arg(config);
        }
        let broker_process = Process::start(broker_process, Some(&broker));
        let mut controller = command(&format!(
            "controller --switch {P4RUNTIME} --device-id 0 --broker {CONTRACT} --contract-insecure \
             --ports 1,2,3 --status {CONTROLLER_STATUS} {controller_flags}"
        ));
        if let Some(config) = config {
            controller.arg("--config").arg(config);
        }
        let controller = Process::start(controller, Some(&host));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let network = Network {
            publisher,
            subscriber,
            broker,
            controller,
            runtime: runtime.expect("a runtime"),
            broker_process,
            switch,
            host,
        };
        network.until(|status| status["broker"]["counters"]["grants"].as_u64() >= Some(2));
        network
    }

    /// What the broker says of itself; null while it does not answer.
    pub fn status(&self) -> serde_json::Value {
        ask(&self.broker, BROKER_STATUS)
    }

    /// What the controller says of itself and its switch; null while it does not answer.
    pub fn controller_status(&self) -> serde_json::Value {
        ask(&self.host, CONTROLLER_STATUS)
    }

    /// What `sim` says of itself; null of another switch.
    pub fn switch_status(&self) -> serde_json::Value {
        ask(&self.host, SWITCH_STATUS)
    }

    /// Datagrams for which no socket of the host had room, of each host.
    pub fn receive_buffer_errors(&self) -> [(&'static str, u64); 3] {
        [
            ("the broker's host", &self.broker),
            ("the publishers' host", &self.publisher),
            ("the subscribers' host", &self.subscriber),
        ]
        .map(|(name, host)| (name, host.run(receive_buffer_errors).unwrap_or(0)))
    }

    /// Asks for the broker's status until it is as it should be.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn until(&self, is_so: impl Fn(&serde_json::Value) -> bool) {
        let asked = async {
            let mut again = tokio::time::interval(Duration::from_millis(20));
            loop {
                again.tick().await;
                if is_so(&self.status()) {
                    return;
                }
            }
        };
        let waited = self
            .runtime
            .block_on(async { tokio::time::timeout(DEADLINE, asked).await });
        assert!(
            waited.is_ok(),
            "it did not come to that: {:#}",
            self.status()
        );
    }

    async fn installed_and(&self, is_so: impl Fn(&serde_json::Value) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut again = tokio::time::interval(Duration::from_millis(5));
        loop {
            again.tick().await;
            let status = self.status();
            let state = &status["broker"]["state"];
            let installed =
                !state["controller"].is_null() && state["installed"] == state["revision"];
            if installed && is_so(&status) {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not in force: {status:#}"
            );
        }
    }

    /// PUBLISH messages that came to the broker, with a tag or without.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub fn seen_by_broker(&self) -> u64 {
        let counters = &self.status()["broker"]["counters"];
        let count = |name: &str| counters[name].as_u64().expect("a counter");
        count("publish_untagged") + count("publish_tagged")
    }

    /// The process ids of switch, broker and controller.
    pub fn processes(&self) -> [(&'static str, u32); 3] {
        [
            ("switch", self.switch.id()),
            ("broker", self.broker_process.id()),
            ("controller", self.controller.id()),
        ]
    }

    /// Kills the controller.
    pub fn kill_controller(&mut self) {
        self.controller.kill();
    }

    /// Runs `work` on a host: sockets that it makes are the host's.
    pub fn on<R: Send>(&self, host: &Namespace, work: impl AsyncFnOnce() -> R + Send) -> R {
        // `block_on` runs it on the thread that calls, which is in the namespace.
        host.run(|| self.runtime.block_on(work()))
    }

    /// A client on the host that runs this.
    ///
    /// # Panics
    /// When it cannot have a socket.
    pub async fn client() -> TestClient {
        TestClient::on_udp(BROKER.parse().expect("an address")).await
    }
}

/// Clients with even numbers live on the publishers' host, the others on the subscribers'.
impl Place for Network {
    async fn client(&mut self, n: u8) -> TestClient {
        let host = match n % 2 {
            0 => &self.publisher,
            _ => &self.subscriber,
        };
        let socket = host.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
            socket.connect(BROKER).expect("an address");
            socket
        });
        TestClient::on_socket(socket)
    }

    async fn until_in_force(&self) {
        let grants = |status: &serde_json::Value| status["broker"]["counters"]["grants"].as_u64();
        let before = grants(&self.status()).unwrap_or(0);
        // One grant may have been under way; the next one says that the lease is running.
        self.installed_and(|status| grants(status) >= Some(before + 2))
            .await;
    }

    async fn until_installed(&self) {
        self.installed_and(|_| true).await;
    }

    async fn load(&self) -> Load {
        let status = self.status();
        let counter = |name: &str| {
            let counter = &status["broker"]["counters"][name];
            counter.as_u64().expect("a counter")
        };
        Load {
            untagged: counter("publish_untagged"),
            tagged: counter("publish_tagged"),
        }
    }
}

/// UDP's `RcvbufErrors` of this thread's network namespace.
fn receive_buffer_errors() -> Option<u64> {
    let counters = std::fs::read_to_string("/proc/thread-self/net/snmp").ok()?;
    let mut udp = counters.lines().filter(|line| line.starts_with("Udp: "));
    let names = udp.next()?.split_whitespace();
    let at = names.into_iter().position(|name| name == "RcvbufErrors")?;
    udp.next()?.split_whitespace().nth(at)?.parse().ok()
}

fn ask(host: &Namespace, address: &str) -> serde_json::Value {
    let mut command = Command::new(topicswitch());
    command.args(["status", "--json", "--at", address]);
    let output = host.run(|| command.output()).expect("topicswitch runs");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}
