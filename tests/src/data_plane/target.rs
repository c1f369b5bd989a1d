//! Which switch the tests run on, and how it is started.

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::time::{Duration, Instant};

use p4runtime::client::Client;
use p4runtime::p4info::P4Info;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action;

use super::{DataPlane, Link};
use crate::hosts::{BROKER, HOSTS};
use crate::netns::{self, Namespace, RawInterface};
use crate::process::Process;
use crate::{on_path, repository, require};

/// The source address of the fixture's own frames.
pub(super) const FENCE_MAC: [u8; 6] = [2, 0, 0, 0, 0xfe, 0xce];

const GRPC: &str = "127.0.0.1:9559";

/// A kind of switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
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
            Ok("bmv2") => vec![Target::Bmv2],
            Ok(other) => panic!("TOPICSWITCH_TARGET={other}: it is sim or bmv2"),
            Err(_) => vec![Target::Bmv2],
        };
        wanted
            .into_iter()
            .filter(|target| match target {
                Target::Bmv2 => require("bmv2", has_bmv2) && require("netns", netns::available()),
            })
            .collect()
    }
}

/// Runs a test on each selected target, each time with a fresh switch.
///
/// # Panics
/// As the test does.
pub fn on_each_target(test: impl Fn(&mut DataPlane) + Sync) {
    for target in Target::selected() {
        eprintln!("target: {target:?}");
        match target {
            Target::Bmv2 => {
                let namespace = Namespace::new().expect("a namespace");
                // The connection to the switch is made inside too.
                namespace.run(|| test(&mut bmv2(&namespace)));
            }
        }
    }
}

/// What keeps the switch running.
pub(super) enum Switch {
    Process { _process: Process },
}

impl Link for RawInterface {
    fn send(&mut self, frame: &[u8]) {
        RawInterface::send(self, frame);
    }

    fn recv(&mut self, deadline: Instant) -> Option<Vec<u8>> {
        RawInterface::recv(self, deadline)
    }
}

/// To be called inside the namespace.
fn bmv2(namespace: &Namespace) -> DataPlane {
    let mut command = Command::new("simple_switch_grpc");
    let mut links: BTreeMap<u16, Box<dyn Link>> = BTreeMap::new();
    for host in HOSTS {
        let (near, far) = (format!("sw{}", host.port), format!("host{}", host.port));
        namespace.veth(&near, namespace, &far);
        command.arg("-i").arg(format!("{}@{near}", host.port));
        links.insert(host.port, Box::new(namespace.open(&far)));
    }
    command.args(["--no-p4", "--", "--grpc-server-addr", GRPC]);
    command.args(["--cpu-port", &super::CPU_PORT.to_string()]);
    let process = Process::start(command, Some(namespace));
    connect(
        Target::Bmv2,
        GRPC,
        0,
        links,
        Switch::Process { _process: process },
    )
}

/// Connects to a switch, loads the program and installs what it always needs.
fn connect(
    target: Target,
    address: &str,
    device_id: u64,
    links: BTreeMap<u16, Box<dyn Link>>,
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
        let mut client = connected(address, device_id).await;
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
    plane.install_base(&HOSTS.map(|host| host.port), BROKER.port);
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
            Err(error) => assert!(
                Instant::now() < deadline,
                "the switch does not answer: {error}"
            ),
        }
    }
}
