//! A switch as a process of its own, with four ports on veth pairs, for controllers that nobody
//! here wrote.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::data_plane::Target;
use crate::netns::{Namespace, RawInterface};
use crate::network::topicswitch;
use crate::process::Process;
use crate::repository;
use crate::system::DEADLINE;

/// The switch's ports.
pub const PORTS: [u16; 4] = [1, 2, 3, 4];
/// Where it serves P4Runtime; each has a namespace of its own, so this is always free.
const P4RUNTIME: &str = "127.0.0.1:9559";
/// Between two attempts to connect: a connection refused is no event to wait for.
const AGAIN: Duration = Duration::from_millis(10);

/// A running switch without a program.
#[derive(Debug)]
pub struct VethSwitch {
    /// Where it runs; the far end of port N is the interface `host`N there.
    pub namespace: Namespace,
    ports: BTreeMap<u16, RawInterface>,
    // Ends before its interfaces do.
    _process: Process,
}

impl VethSwitch {
    /// Starts one: BMv2, or sim, which is `topicswitch sim run` then. It has device id 1, which
    /// controllers take for granted.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(target: Target) -> Self {
        let namespace = Namespace::new().expect("a namespace");
        let mut command = match target {
            Target::Bmv2 => {
                let mut command = Command::new("simple_switch_grpc");
                command.args(["--no-p4", "--device-id", "1"]);
                command
            }
            Target::Sim | Target::SimOnVeth => {
                let mut command = Command::new(topicswitch());
                command.args(["sim", "run", "--p4runtime", P4RUNTIME]);
                command
            }
        };
        for number in PORTS {
            let near = format!("switch{number}");
            namespace.veth(&near, &namespace, &format!("host{number}"));
            match target {
                Target::Bmv2 => command.args(["-i", &format!("{number}@{near}")]),
                Target::Sim | Target::SimOnVeth => {
                    command.args(["--port", &format!("{number}=af-packet:{near}")])
                }
            };
        }
        if target == Target::Bmv2 {
            command.args(["--", "--grpc-server-addr", P4RUNTIME, "--cpu-port", "510"]);
        }
        let ports = PORTS.map(|number| (number, namespace.open(&format!("host{number}"))));
        let process = Process::start(command, Some(&namespace));
        let switch = VethSwitch {
            namespace,
            ports: ports.into(),
            _process: process,
        };
        switch.wait_until_up();
        switch
    }

    fn wait_until_up(&self) {
        let connect = async {
            let mut again = tokio::time::interval(AGAIN);
            while tokio::net::TcpStream::connect(P4RUNTIME).await.is_err() {
                again.tick().await;
            }
        };
        let up = self.namespace.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async { tokio::time::timeout(DEADLINE, connect).await })
        });
        up.expect("the switch serves P4Runtime before the deadline");
    }

    /// Where it serves P4Runtime, seen from its namespace.
    pub fn address(&self) -> SocketAddr {
        P4RUNTIME.parse().expect("an address and a port")
    }

    /// Sends a frame in at a port.
    ///
    /// # Panics
    /// When there is no such port.
    pub fn send(&mut self, port: u16, frame: &[u8]) {
        self.port(port).send(frame);
    }

    /// The next frame that comes out of a port.
    ///
    /// # Panics
    /// When none comes before the deadline.
    pub fn recv(&mut self, port: u16) -> Vec<u8> {
        self.port(port)
            .recv(Instant::now() + DEADLINE)
            .unwrap_or_else(|| panic!("nothing came out of port {port}"))
    }

    fn port(&mut self, port: u16) -> &mut RawInterface {
        self.ports.get_mut(&port).expect("a port of the switch")
    }
}

/// P4Info and BMv2 JSON of the program with every entity that P4Runtime can name.
pub fn program() -> [PathBuf; 2] {
    let programs = repository().join("sim/tests/programs");
    ["everything.p4info.txtpb", "everything.json"].map(|file| programs.join(file))
}
